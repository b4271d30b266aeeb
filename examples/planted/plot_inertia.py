r"""
How many outputs are negative
=============================

In a network :math:`f(x) = \sum_j v_j \max(0, \langle w_j, x \rangle)` with :math:`v_j = \pm 1` magnitudes are in the
:math:`w_j`, and the signs are all there is to learn about the outputs. Descent on the :math:`w_j` does not change them.
So their number must be right before it begins. This page shows what happens when it is not, and where the right number
can be read off.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

from skrelu.activations import relu
from skrelu.datasets import make_one_hidden_layer
from skrelu.moments import hermite_moments
from skrelu.rows import Rows
from skrelu.whitening import whitening

d, k = 20, 5
signs = np.array([1.0, 1.0, 1.0, -1.0, -1.0])


def planted(n):
    return make_one_hidden_layer(n, d, output_coef=signs, return_teacher=True, random_state=0)


# %%
# Descent with q negative outputs
# -------------------------------
#
# Two of five planted outputs are negative. L-BFGS of scipy minimises half the mean squared error over the weights of
# the units, the outputs fixed, from six random starts for each q.


def final_objective(X, y, n_negative, seed):
    v = np.where(np.arange(k) < n_negative, -1.0, 1.0)

    def objective(theta):
        Z = X @ theta.reshape(k, d).T
        residual = np.maximum(Z, 0) @ v - y
        gradient = (residual[:, None] * (Z > 0) * v).T @ X
        return residual @ residual / len(y) / 2, gradient.ravel() / len(y)

    start = np.random.default_rng(seed).standard_normal(k * d) / d**0.5
    options = {"maxiter": 500, "maxcor": 20, "ftol": 0, "gtol": 1e-13}
    return minimize(objective, start, jac=True, method="L-BFGS-B", options=options).fun


X, y, teacher = planted(2000)
final = np.array([[final_objective(X, y, q, seed) for seed in range(6)] for q in range(k + 1)])
print("negative outputs   lowest and highest final objective of six starts")
for q, values in enumerate(final):
    print(f"{q:16}   {values.min():8.1e} {values.max():8.1e}")

# %%
# The spectrum of the second moment
# ---------------------------------
#
# For :math:`x \sim N(0, I)` the second Hermite moment of y is
#
# .. math:: E[y (x x' - I)] = c_2 \sum_j v_j |w_j| u_j u_j', \qquad c_2 = \frac{1}{\sqrt{2 \pi}},
#
# :math:`u_j = w_j / |w_j|`. For independent :math:`w_j` it has as many negative eigenvalues as there are negative
# outputs (Sylvester's law of inertia). Its estimate has d eigenvalues, and those beyond the k true ones are noise:
# below an edge that the residual of y about its linear fit, d and n determine. What stands out of the noise is the
# number of units, and its signs are those of the outputs.


def spectrum(n):
    X, y, teacher = planted(n)
    rows = Rows(X, y)
    moments = hermite_moments(rows, whitening(rows, centered=True))
    W = teacher.hidden_coef_
    exact = relu.hermite_coefficients(2)[2] * (W.T * signs) @ W / rows.target_scale()
    return np.sort(moments.spectrum), np.sort(np.linalg.eigvalsh(exact)), moments.edge


spectra = {n: spectrum(n) for n in (300, 5000)}
for n, (values, _, edge) in spectra.items():
    print(f"n = {n}: {np.sum(values > edge)} eigenvalues above the edge, {np.sum(values < -edge)} below its negative")

# %%
# The pictures
# ------------

fig, axes = plt.subplots(1, 3, figsize=(12.0, 4.2), layout="constrained", width_ratios=(1.1, 1, 1))
axes[0].axvspan(1.5, 2.5, color="0.9", label="the planted number")
for seed, values in enumerate(final.T):
    axes[0].semilogy(np.arange(k + 1) + (seed - 2.5) / 12, values, "ok", markersize=5, fillstyle="none")
axes[0].set(xlabel="Negative outputs of the start q", ylabel="Final objective (squared units of y)", ylim=(1e-27, 1e2))
axes[0].set_title("Six random starts for each q, n = 2000", fontsize="medium")
axes[0].legend(loc="center right")
for ax, (n, (values, exact, edge)) in zip(axes[1:], spectra.items(), strict=True):
    ax.axhspan(-edge, edge, color="0.9", label="noise: within the edge")
    ax.plot(np.arange(1, d + 1), values, "ok", markersize=5, label="estimate")
    ax.plot(np.arange(1, d + 1), exact, "x", color="C1", markersize=7, markeredgewidth=1.5, label="exact")
    ax.set(xlabel="Number of the eigenvalue", ylim=(-0.62, 0.75), xticks=(1, 5, 10, 15, 20))
    ax.set_title(f"Spectrum of the second moment, n = {n}", fontsize="medium")
axes[1].set_ylabel("Eigenvalue (units of the root mean square of y)")
axes[2].sharey(axes[1])
axes[1].legend(loc="upper left")
plt.show()

# %%
# What is seen
# ------------
#
# With two negative outputs every start ends at zero, with any other number none does: each wrong number has a residual
# of its own that no descent removes. So :class:`~skrelu.OneHiddenLayerReLU` takes the number from the second moment,
# for random starts, too. From 5000 rows three eigenvalues stand out above and two below, and they are close to the
# exact ones. From 300 rows the smaller ones drown, and the count may be wrong; then the default solver relies on
# networks with free outputs, which find the number on the way.
