r"""
A published experiment: squared ReLUs from a tensor start
=========================================================

Section 7 of Zhong et al. (2017) [1]_ plants k = 5 squared ReLUs,

.. math:: y_i = \sum_{j=1}^{k} v_j \max(0, \langle w_j, x_i \rangle)^2, \qquad v_j = \pm 1, \quad x_i \sim N(0, I),

without noise, the matrix of the :math:`w_j` with singular values from 1 to 2, equally spaced. It asks how far from
these weights the tensor start is, for numbers of inputs d and of rows n, and how gradient descent goes on from it and
from random starts. Here both are done again.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skrelu import OneHiddenLayerNet
from skrelu.datasets import make_one_hidden_layer
from skrelu.metrics import recovery_error
from skrelu.plotting import ConvergenceDisplay

k = 5
warnings.simplefilter("ignore", ConvergenceWarning)  # few iterations are meant here, and failures are drawn


def planted(n, d, seed):
    rng = np.random.default_rng(seed)
    U, V = (np.linalg.qr(rng.standard_normal((size, k)))[0] for size in (d, k))
    W, v = V @ (U * np.linspace(1, 2, k)).T, rng.choice([-1.0, 1.0], k)
    return make_one_hidden_layer(
        n, coef=W, output_coef=v, activation="squared_relu", return_teacher=True, random_state=seed
    )


def gradient_descent(**options):
    return OneHiddenLayerNet(k, activation="squared_relu", solver="gd", fit_intercept=False, random_state=0, **options)


# %%
# The error of the start
# ----------------------
#
# ``init_coef_`` holds the weights before any descent, so that one iteration is enough. As everywhere here, all moments
# are taken from the same rows, with control variates. The relative error is that of the matrix of all units, in their
# best order; one network is planted for each d and n.

dimensions, n_samples = (10, 20, 30, 40, 50), (10_000, 30_000, 100_000)
errors = np.zeros((len(dimensions), len(n_samples)))
for i, d in enumerate(dimensions):
    for j, n in enumerate(n_samples):
        X, y, teacher = planted(n, d, seed=0)
        errors[i, j] = recovery_error(teacher.hidden_coef_, gradient_descent(max_iter=1).fit(X, y).init_coef_)

print("error of the start, n =", *(f"{n:9}" for n in n_samples))
for d, row in zip(dimensions, errors, strict=True):
    print(f"{'d = ' + str(d):23}", *(f"{error:9.3f}" for error in row))

# %%
# Three kinds of starts
# ---------------------
#
# d = 10, n = 10,000. Random starts have normal weights, of the same sum of squares as the planted ones, and either the
# planted :math:`v_j` or random ones; three draws of each. An array given as ``init`` would have its outputs fitted, so
# the weights are given as those of a previous fit, from which ``warm_start`` goes on as they are. Gradient descent
# moves the :math:`w_j` only.


def from_weights(W, v):
    model = gradient_descent(max_iter=1, warm_start=True).fit(X, y)
    model.hidden_coef_, model.output_coef_ = W, v
    return model.set_params(max_iter=1000).fit(X, y)


X, y, teacher = planted(10_000, 10, seed=0)
true_v, size = teacher.output_coef_, np.linalg.norm(teacher.hidden_coef_)
fits = {"tensor start": [gradient_descent(max_iter=1000).fit(X, y)], "random w, planted v": [], "random w and v": []}
for seed in range(3):
    rng = np.random.default_rng(seed)
    W = rng.standard_normal(teacher.hidden_coef_.shape)
    W *= size / np.linalg.norm(W)
    fits["random w, planted v"].append(from_weights(W, true_v))
    fits["random w and v"].append(from_weights(W, rng.choice([-1.0, 1.0], k)))

print(f"planted: {np.sum(true_v < 0)} negative outputs")
for name, models in fits.items():
    for model in models:
        negative = np.sum(model.output_coef_ < 0)
        print(f"{name:20} {negative} negative, {model.n_iter_:5} iterations, objective {model.loss_curve_[-1]:.1e}")

# %%
# The pictures
# ------------

fig, (left, right) = plt.subplots(1, 2, figsize=(11.0, 4.6), layout="constrained")
for d, row, marker in zip(dimensions, errors, "os^vD", strict=True):
    shade = str(0.6 - 0.6 * (d - 10) / 40)
    left.loglog(n_samples, row, marker=marker, color=shade, label=f"d = {d}")
left.loglog(n_samples, 0.02 * (np.array(n_samples) / 1e4) ** -0.5, ":", color="0.3", label=r"slope of $n^{-1/2}$")
left.set(xlabel="Number of rows n", ylabel="Relative error of the weights", title="Error of the tensor start")
left.set_xticks(n_samples, [f"{n:,}" for n in n_samples])
left.set_yticks([0.01, 0.02, 0.05, 0.1, 0.2], ["0.01", "0.02", "0.05", "0.1", "0.2"])
left.minorticks_off()
left.legend(fontsize="small", ncols=2)

styles = {"tensor start": ("black", "-"), "random w, planted v": ("C0", "--"), "random w and v": ("C1", ":")}
for name, models in fits.items():
    for i, model in enumerate(models):
        color, linestyle = styles[name]
        label = name if i == 0 else "_"
        ConvergenceDisplay.from_estimator(model, name=label, ax=right, color=color, linestyle=linestyle, linewidth=2)
right.set_title("Gradient descent, d = 10, n = 10,000")
right.legend(loc="lower left", fontsize="small")
plt.show()

# %%
# What is seen
# ------------
#
# The error of the start falls like the inverse square root of n, and grows with d; at n = 10,000 and d = 50 it is 0.18,
# close enough for gradient descent all the same. From the tensor start the objective goes down a straight line, the
# linear rate of the theorem. From random weights with the planted outputs it does so after a detour. With random
# outputs it stalls where their signs are not those planted, in number: descent on the weights cannot change them. One
# of the three draws has two negative outputs, as planted, by chance, and succeeds.
#
# The paper draws the same three kinds of starts, one of each. Its start decomposes one contracted moment and is taken
# from fresh rows; what is reproduced here is the experiment, with the start of this package.
#
# References
# ----------
# .. [1] K. Zhong, Z. Song, P. Jain, P. L. Bartlett, I. S. Dhillon, "Recovery Guarantees for One-hidden-layer Neural
#    Networks", ICML 2017. arXiv:1706.03175.
