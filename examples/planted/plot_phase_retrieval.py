r"""
Phase retrieval: from how many rows?
====================================

One quadratic unit, :math:`y_i = \langle w, x_i \rangle^2`, is the real version of phase retrieval: the sign of each
measurement is lost, and w, up to its own sign, is to be found. The picture shows the share of draws in which it is,
from n independent normal rows without noise: gradient descent, which has a theorem, needs several times as many rows as
the default solver, which comes close to the number of equations.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skrelu import QuadraticNet
from skrelu.datasets import make_quadratic

warnings.simplefilter("ignore", ConvergenceWarning)  # failures are counted instead

d, n_draws, ratios = 30, 10, (1.25, 1.5, 2, 3, 4, 6, 8, 10)
papers = {"output_weights": "positive", "fit_linear": False, "fit_intercept": False, "alpha": 0, "random_state": 0}
ways = {
    "default solver": QuadraticNet(1, **papers),
    "default solver, one start only": QuadraticNet(1, n_init=1, **papers),
    "gradient descent, random start": QuadraticNet(1, init="random", step_size=1.0, max_iter=3000, **papers),
}


def recovers(model, n, seed):
    X, y, truth = make_quadratic(n, d, 1, output_weights="positive", return_teacher=True, random_state=seed)
    error = np.linalg.norm(model.fit(X, y).matrix_ - truth.matrix_)
    return error < 1e-6 * np.linalg.norm(truth.matrix_)


share = {
    name: [np.mean([recovers(model, int(ratio * d), seed) for seed in range(n_draws)]) for ratio in ratios]
    for name, model in ways.items()
}

fig, ax = plt.subplots(figsize=(8.0, 4.4), layout="constrained")
for (name, values), style in zip(share.items(), ("o-k", "s--C0", "v:C1"), strict=True):
    ax.semilogx(ratios, values, style, label=name)
ax.axvline((2 * d - 1) / d, color="0.5", linewidth=1)
ax.text((2 * d - 1) / d * 1.02, 1.06, "n = 2d - 1 determine every w", color="0.3")
ax.set(xlabel="Rows for each unknown, n / d", ylabel=f"Share of {n_draws} draws recovered", ylim=(-0.03, 1.15))
ax.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
ax.minorticks_off()
ax.legend(loc="lower right")
plt.show()

# %%
# As equations go, n = 2d - 1 generic rows determine every w up to its sign, and d + 1 almost every one (Balan, Casazza
# and Edidin 2006 [1]_). The default solver finds w in 9 of 10 draws from 1.5 d rows and in all from 2 d. It owes that
# to its further starts, wider networks under decreasing weight decay that are cut down to one unit. Nothing is proved
# about them, but no proof is needed to trust a result: where the residual is zero to rounding, the fit is a global
# optimum, and ``certified_`` is True.
#
# For gradient descent from a random start and n above a constant times d, up to a power of log d, Chen et al. (2019)
# [2]_ prove that it comes near w within of the order of log d iterations, and converges linearly from there. Their step
# is a small constant, ours 1/L. The picture shows what the constant in front of d is about, for d = 30.

print(f"{'share recovered, n / d =':32}", *(f"{ratio:5g}" for ratio in ratios))
for name, values in share.items():
    print(f"{name:32}", *(f"{value:5.2f}" for value in values))

# %%
# .. [1] R. Balan, P. Casazza, D. Edidin, "On signal reconstruction without phase", Applied and Computational Harmonic
#    Analysis 20, 2006.
# .. [2] Y. Chen, Y. Chi, J. Fan, C. Ma, "Gradient descent with random initialization: fast global convergence for
#    nonconvex phase retrieval", Mathematical Programming 176, 2019. arXiv:1803.07726.
