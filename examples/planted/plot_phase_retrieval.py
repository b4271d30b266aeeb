r"""
Phase retrieval: from how many rows?
====================================

One quadratic unit, :math:`y_i = \langle w, x_i \rangle^2`, is the real version of phase retrieval: the sign of each
linear measurement is lost, and w, up to its own sign, is to be found. This page counts how often it is, from n rows
that are independent and normal, without noise.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skrelu import QuadraticNet
from skrelu.datasets import make_quadratic

d, n_trials = 30, 10
ratios = np.array([1.25, 1.5, 2, 3, 4, 6, 8, 10])
warnings.simplefilter("ignore", ConvergenceWarning)  # failures are counted instead

# %%
# Four ways
# ---------
#
# The unit adds, and there is neither a linear part nor an intercept: this is the model of the theorems. Gradient
# descent takes the step 1/L, L the largest eigenvalue of the Hessian at the spectral start or at its own start,
# whichever is larger. The default solver is asked twice: with all its starts, and with the spectral start alone.

model = QuadraticNet(n_hidden=1, output_weights="positive", fit_linear=False, fit_intercept=False, random_state=0)
gd = {"step_size": 1.0, "max_iter": 3000}
ways = {
    "default solver": {},
    "default solver, spectral start alone": {"n_init": 1},
    "gradient descent, spectral start": gd,
    "gradient descent, random start": {"init": "random", **gd},
}

success = {name: np.zeros(len(ratios)) for name in ways}
for i, ratio in enumerate(ratios):
    for trial in range(n_trials):
        X, y, truth = make_quadratic(
            int(ratio * d), d, 1, output_weights="positive", return_teacher=True, random_state=trial
        )
        for name, options in ways.items():
            matrix = QuadraticNet(**{**model.get_params(), **options}).fit(X, y).matrix_
            error = np.linalg.norm(matrix - truth.matrix_) / np.linalg.norm(truth.matrix_)
            success[name][i] += error < 1e-6

print(f"{'recovered, of ' + str(n_trials) + ', n / d =':37}", *(f"{ratio:5.4g}" for ratio in ratios))
for name, counts in success.items():
    print(f"{name:37}", *(f"{int(count):5}" for count in counts))

# %%
# The picture
# -----------

fig, ax = plt.subplots(figsize=(8.0, 4.6), layout="constrained")
styles = {"color": ("black", "C0", "C1", "C3"), "linestyle": ("-", "--", "-.", ":"), "marker": ("o", "s", "^", "v")}
for (name, counts), color, linestyle, marker in zip(success.items(), *styles.values(), strict=True):
    ax.semilogx(ratios, counts / n_trials, color=color, linestyle=linestyle, marker=marker, label=name)
ax.axvline((2 * d - 1) / d, color="0.5", linewidth=1)
ax.text((2 * d - 1) / d * 1.03, 1.06, "n = 2d - 1: enough for every w at once", color="0.35", fontsize="small")
ax.set(xlabel="Rows for each unknown, n / d", ylabel="Fraction of exact recoveries", ylim=(-0.03, 1.15))
ax.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios], fontsize="small")
ax.minorticks_off()
ax.legend(loc="lower right", fontsize="small")
plt.show()

# %%
# What is seen
# ------------
#
# As equations go, n = 2d - 1 generic rows determine every w up to its sign, and n = d + 1 almost every one (Balan,
# Casazza and Edidin 2006 [1]_). The default solver comes close to what the equations tell: from 1.5 rows for each
# unknown, with d = 30, most draws are solved. It owes that to its further starts: wider networks of quadratic units
# under decreasing weight decay, cut down to one unit. Nothing is proved about them, but no proof is needed to trust a
# result: where the residual is zero to rounding, the fit is certified.
#
# One descent, from the spectral start or from a random one, needs several times as many rows. For gradient descent from
# a random start and n above a constant times d, up to a power of log d, Chen et al. (2019) [2]_ prove that it comes to
# w within of the order of log d iterations and a linear rate thereafter. The picture shows what the constant is about.
# Here the spectral start is hardly better than a random one.
#
# References
# ----------
# .. [1] R. Balan, P. Casazza, D. Edidin, "On signal reconstruction without phase", Applied and Computational Harmonic
#    Analysis 20, 2006.
# .. [2] Y. Chen, Y. Chi, J. Fan, C. Ma, "Gradient descent with random initialization: fast global convergence for
#    nonconvex phase retrieval", Mathematical Programming 176, 2019. arXiv:1803.07726.
