r"""
Enough units leave no bad valleys
=================================

A quadratic network, :math:`f(x) = c + \sum_j v_j \langle w_j, x \rangle^2` with :math:`v_j = \pm 1`, is a quadratic
form: :math:`f(x) = c + x' M x`. Over all symmetric matrices M fitting it is a convex problem, over the :math:`w_j` it
is not. With at least d units of either sign, d the number of columns, there is no local minimum that is not global,
whatever the data are (Soltanolkotabi, Javanmard and Lee 2019 [1]_). This page looks at it on real data, and at the
number that tells, for any number of units, whether a fit is a global optimum.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale

from skrelu import QuadraticNet

warnings.simplefilter("ignore", ConvergenceWarning)  # what gradient descent does not reach is drawn

# %%
# The data are the diabetes data of scikit-learn, 442 rows: the first d = 8 principal components, each with variance 1
# so that gradient descent is not slow for another reason, and y with variance 1. They are real, and not Gaussian.

X, y = load_diabetes(return_X_y=True)
d = 8
X, y = PCA(d, whiten=True).fit_transform(X), scale(y)

# %%
# Where gradient descent ends
# ---------------------------
#
# Eight small random starts for each number of units, half of these with negative outputs. The question is how far the
# loss at the end is above that of the convex problem, which the default solver solves and certifies.

best = QuadraticNet(alpha=0, fit_linear=False).fit(X, y)
print(f"convex problem: loss {best.loss_:.6f}, gap {best.optimality_gap_:.0e}, certified: {best.certified_}")
print("eigenvalues of its matrix:", np.linalg.eigvalsh(best.matrix_).round(3))

n_units, n_starts = (2, 4, 6, 8, 10, 12, 16), 8
excess = np.zeros((len(n_units), n_starts))
for i, k in enumerate(n_units):
    for seed in range(n_starts):
        model = QuadraticNet(k, init="random", solver="gd", fit_linear=False, max_iter=10_000, random_state=seed)
        excess[i, seed] = model.set_params(tol=1e-7).fit(X, y).loss_ / best.loss_ - 1
    negative = np.sum(model.output_coef_ < 0)
    print(f"{k:2} units, {negative} negative: {excess[i].min():.1e} to {excess[i].max():.1e} above")

# %%
# The certificate along the iterations
# ------------------------------------
#
# With weight decay alpha > 0, ``optimality_gap_`` is a bound: at most this share of the objective P can still be
# gained, by any number of units. Gradient descent with 16 units and with 4 is stopped after 1, 2, 5, ... iterations and
# asked. The truth is known here from the convex problem.

alpha, iterations = 0.1, np.unique(np.geomspace(1, 1000, 25).astype(int))
optimum = QuadraticNet(alpha=alpha, fit_linear=False).fit(X, y).loss_curve_[-1]
gaps, truth = {}, {}
for k in (4, 16):
    model = QuadraticNet(k, alpha=alpha, init="random", solver="gd", fit_linear=False, tol=0, random_state=0)
    gaps[k], truth[k] = np.zeros(len(iterations)), np.zeros(len(iterations))
    for i, n in enumerate(iterations):
        model.set_params(max_iter=n).fit(X, y)
        gaps[k][i], truth[k][i] = model.optimality_gap_, 1 - optimum / model.loss_curve_[-1]
    print(f"{k:2} units, {iterations[-1]} iterations: gap {gaps[k][-1]:.1e}, truth {truth[k][-1]:.1e}")

# %%
# The pictures
# ------------

fig, (left, right) = plt.subplots(1, 2, figsize=(11.0, 4.6), layout="constrained")
left.axvspan(2 * d - 1, 2 * d + 1, color="0.88", label="2d units: the theorem")
for seed, values in enumerate(excess.T):
    shifted = np.array(n_units) + (seed - 3.5) / 10
    left.semilogy(shifted, np.maximum(values, 1e-12), "ok", markersize=5, fillstyle="none")
left.set(xlabel="Number of units, half of either sign", ylabel="Loss above that of the convex problem (relative)")
left.set(title="Eight random starts each", xticks=n_units)
left.legend(loc="lower left", fontsize="small")

for k, color, marker in ((4, "C1", "s"), (16, "black", "o")):
    right.loglog(iterations, gaps[k], color=color, marker=marker, markersize=4, label=f"{k} units: certified bound")
    right.loglog(iterations, np.maximum(truth[k], 1e-15), color=color, linestyle=":", label=f"{k} units: truth")
right.set(xlabel="Iteration", ylabel="Share of the objective to be gained", title="Bound and truth, alpha = 0.1")
right.legend(loc="lower left", fontsize="small")
plt.show()

# %%
# What is seen
# ------------
#
# With 2 to 10 units gradient descent ends above the convex problem: with few of them because matrices of so low a rank
# fit worse, with 10 because its five positive units are fewer than the six positive eigenvalues. There six starts end
# fifty times as far above as the two others: it depends on the start where descent comes to rest. From 12 units on, six
# of either sign, every start ends at the global optimum, to the tolerance of the descent. The theorem says so from 16
# on, for any data; for these fewer are enough.
#
# The certificate knows nothing of the convex problem. It is computed from the residuals of the fit in one pass over the
# rows, and yet bounds what any number of units could gain: by much at first, closely towards the end. For 16 units it
# ends at rounding, which proves that gradient descent has found the global optimum. For 4 units it stays at 0.57, where
# in truth 1.5 % could be gained: it is a bound, and says that this fit is not certified. ``certified_`` is True when it
# is below ``tol``.
#
# References
# ----------
# .. [1] M. Soltanolkotabi, A. Javanmard, J. D. Lee, "Theoretical insights into the optimization landscape of
#    over-parameterized shallow neural networks", IEEE Transactions on Information Theory 65, 2019. arXiv:1707.04926.
