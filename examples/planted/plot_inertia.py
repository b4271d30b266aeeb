r"""
How many outputs are negative
=============================

Descent on the hidden weights of :math:`f(x) = \sum_j v_j \max(0, \langle w_j, x \rangle)` does not change the signs of
the outputs :math:`v_j = \pm 1`. Left: with a wrong number of negative outputs no start comes to zero. Right: the right
number can be read off before any descent. By Stein's identity, for :math:`x \sim N(0, I)` and :math:`|w_j| = 1`,

.. math:: E[y (x x' - I)] = \frac{1}{\sqrt{2 \pi}} \sum_j v_j w_j w_j' ,

and if the :math:`w_j` are independent, this matrix has as many negative eigenvalues as there are negative outputs
(Sylvester's law of inertia).
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

from skrelu.datasets import make_one_hidden_layer
from skrelu.moments import hermite_moments
from skrelu.rows import Rows
from skrelu.whitening import whitening

n, d, k = 2000, 20, 5
signs = np.array([1.0, 1.0, 1.0, -1.0, -1.0])
X, y, teacher = make_one_hidden_layer(n, d, output_coef=signs, return_teacher=True, random_state=0)


def final_objective(n_negative, seed):
    """Half the mean squared error where L-BFGS ends, from a random start with so many negative outputs."""
    v = np.where(np.arange(k) < n_negative, -1.0, 1.0)

    def objective(w):
        Z = X @ w.reshape(k, d).T
        residual = np.maximum(Z, 0) @ v - y
        gradient = (residual[:, None] * (Z > 0) * v).T @ X
        return residual @ residual / n / 2, gradient.ravel() / n

    start = np.random.default_rng(seed).standard_normal(k * d) / d**0.5
    options = {"maxiter": 500, "maxcor": 20, "ftol": 0, "gtol": 1e-13}
    return minimize(objective, start, jac=True, method="L-BFGS-B", options=options).fun


final = np.array([[final_objective(q, seed) for seed in range(6)] for q in range(k + 1)])

for m in (300, n):
    rows = Rows(X[:m], y[:m])
    moments = hermite_moments(rows, whitening(rows, centered=True))
    above, below = np.sum(moments.spectrum > moments.edge), np.sum(moments.spectrum < -moments.edge)
    print(f"{m} rows: {above} eigenvalues above the band that noise alone would give, {below} below it")
exact = (teacher.hidden_coef_.T * signs) @ teacher.hidden_coef_ / (2 * np.pi) ** 0.5 / rows.target_scale()

# %%

fig, (left, right) = plt.subplots(1, 2, figsize=(9.0, 4.8), layout="constrained")
left.axvspan(1.5, 2.5, color="0.88", label="as planted")
for seed, values in enumerate(final.T):
    left.semilogy(np.arange(k + 1) + (seed - 2.5) / 12, values, "ok", fillstyle="none")
left.set(xlabel="Negative outputs of the start, of 5", ylabel="Final objective (squared units of y)", ylim=(1e-27, 1e2))
left.set_title("Six random starts each")
left.legend(loc="center right")
right.axhspan(-moments.edge, moments.edge, color="0.88", label="what noise alone would give")
right.plot(np.arange(1, d + 1), np.sort(moments.spectrum), "ok", markersize=5, label=f"estimate from {n} rows")
right.plot(np.arange(1, d + 1), np.linalg.eigvalsh(exact), "x", color="C1", markersize=8, label="exact")
right.set(xlabel="Number of the eigenvalue", xticks=(1, 5, 10, 15, 20))
right.set(ylabel="Eigenvalue (root mean squares of y)", title="Spectrum of the second moment")
right.legend(loc="upper left")
plt.show()

# %%
# Two of five planted outputs are negative. With two every start ends at zero; every other number leaves a residual of
# its own, which no descent removes. In the spectrum two eigenvalues stand out below and three above the band, whose
# width follows from d, n and the residual of y about its linear fit. So the starts of
# :class:`~skrelu.OneHiddenLayerReLU` take the signs from the second moment.
#
# From the first 300 of these rows the band is wider, and the smaller eigenvalues drown in it. Then the count may be
# wrong, and the default solver relies on networks whose outputs are free and change sign on the way:
# :doc:`/guide/one_hidden_layer`.
