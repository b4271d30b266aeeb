r"""
Enough units leave no bad valleys
=================================

Gradient descent on a quadratic network :math:`f(x) = \sum_j v_j \langle w_j, x \rangle^2`, :math:`v_j = \pm 1`, may
come to rest at a local minimum. With d units of either sign, d the number of columns, it cannot: there is no local
minimum that is not global, whatever the data are (Soltanolkotabi, Javanmard and Lee 2019 [1]_). The picture shows where
twelve starts end for each number of units, and that ``optimality_gap_``, computed from the fit alone, tells which of
these ends are the global optimum.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skrelu import QuadraticNet

warnings.simplefilter("ignore", ConvergenceWarning)  # what descent does not reach is drawn

# Whatever the data are: y is noise. Over all symmetric matrices M the fit of x' M x is a convex problem, which the
# default solver solves; no number of units has a lower loss.
random = np.random.default_rng(1)
n, d = 80, 10
X, y = random.standard_normal((n, d)), random.standard_normal(n)
papers = {"fit_linear": False, "fit_intercept": False}
convex = QuadraticNet(alpha=0, **papers).fit(X, y)

n_units, n_starts = (2, 3, 4, 6, 8, 10, 12, 16, 20), 12
loss, gap = np.zeros((2, len(n_units), n_starts))
for i, k in enumerate(n_units):
    for seed in range(n_starts):
        model = QuadraticNet(k, init="random", solver="gd", max_iter=3000, random_state=seed, **papers).fit(X, y)
        loss[i, seed], gap[i, seed] = model.loss_, model.optimality_gap_

by_loss = np.argsort(loss, axis=1)
fig, (top, bottom) = plt.subplots(2, 1, figsize=(8.0, 6.0), layout="constrained", sharex=True)
for ax, values in ((top, 2 * loss / np.mean(y**2)), (bottom, gap)):
    ax.axvspan(len(n_units) - 1.5, len(n_units) - 0.5, color="0.88", label="d units of either sign: the theorem")
    for i, ends in enumerate(np.take_along_axis(values, by_loss, axis=1)):
        ax.plot(i + np.linspace(-0.3, 0.3, n_starts), ends, "ok", markersize=5, fillstyle="none")
top.axhline(2 * convex.loss_ / np.mean(y**2), color="C0", linestyle="--", label="optimum over all matrices")
top.set(ylabel="Final loss (mean squares of y)", title="Twelve random starts each, by their loss", ylim=(0, 0.7))
top.legend()
bottom.set(xlabel="Number of units", ylabel="optimality_gap_ (relative gradient)", yscale="log")
bottom.set_xticks(range(len(n_units)), n_units)
plt.show()

# %%
# With 2, 3 and 6 units the start decides where descent comes to rest: there are bad valleys. With 4 and 8 all starts
# end alike, and yet above the optimum over all matrices, whose rank is 10. From 10 units on every start comes to that
# optimum. The theorem says so from 20 on, for any data; for these fewer are enough.
#
# The gap is zero at a global optimum over all numbers of units, and nowhere else. It knows nothing of the convex
# problem: it takes one pass over the rows. Up to 8 units it stays above 0.06 wherever descent rests. From 10 on it
# falls for as long as gradient descent runs, here for 3000 iterations.
# ``certified_`` is True when it is at most ``tol``. With weight decay the gap bounds how much is to be gained:
# :doc:`/guide/quadratic`.

print(f"rank of the optimum {np.linalg.matrix_rank(convex.matrix_)}, certified: {convex.certified_}")
print(f"gaps up to 8 units: {gap[:5].min():.2f} and more, beyond: {gap[5:].max():.4f} and less")

# %%
# .. [1] M. Soltanolkotabi, A. Javanmard, J. D. Lee, "Theoretical insights into the optimization landscape of
#    over-parameterized shallow neural networks", IEEE Transactions on Information Theory 65, 2019. arXiv:1707.04926.
