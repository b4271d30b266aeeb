r"""
Searching for a step size
=========================

The theorem of one ReLU [1]_ has a step: :math:`\mu_t = 1` after a first one of 2. In expectation a step of :math:`\eta`
times that multiplies the error by :math:`|1 - \eta|` near the true weights, so that 1 is the best and 2 the limit. What
of that is left with 900 rows? A grid search over ``step_size`` answers, as over any parameter of any estimator of
scikit-learn; while it runs a progress bar shows how far it is, and a monitor writes down every iteration.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import GridSearchCV

from skrelu import ProjectedReLURegressor
from skrelu.constraints import L0Ball
from skrelu.datasets import make_relu_regression

X, y = make_relu_regression(900, 500, n_nonzero=10, random_state=0)

# %%
# The search
# ----------
#
# 1.0 is the step of the paper, ``"auto"`` begins with it and halves it whenever it would raise the objective. Several
# steps reach the planted weights to rounding, so the error alone does not tell them apart: of those within 1e-6 of the
# smallest error the one with the fewest iterations is refitted.

steps = 2 ** np.arange(-3, 2.5, 0.5)
grid = {"step_size": [*steps.tolist(), "auto"]}


def judge(model, X, y):
    return {"error": root_mean_squared_error(y, model.predict(X)), "iterations": model.n_iter_}


def quickest(results):
    error, iterations = results["mean_test_error"], results["mean_test_iterations"]
    return int(np.argmin(np.where(error < error.min() + 1e-6, iterations, np.inf)))


descent = ProjectedReLURegressor(L0Ball(10), solver="gd", fit_intercept=False, max_iter=100)
search = GridSearchCV(descent, grid, cv=3, scoring=judge, refit=quickest)
in_other_units = clone(search)

# %%
# Callbacks are set, not passed to ``fit``. The bar of the search is set on the search; deeper bars, one for each of the
# 36 fits, would come with ``max_propagation_depth=1``. The monitor is set on what it watches. The second search, not
# watched, has the same rows with every column twice as large. Steps that are too short or too long do not converge in
# 100 iterations, and would warn.

monitor = ScoringMonitor(scoring="neg_root_mean_squared_error")
descent.set_callbacks(monitor)
search.set_callbacks(ProgressBar(max_propagation_depth=0))
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    search.fit(X, y)
    in_other_units.fit(2 * X, y)

print(f"chosen for X: {search.best_params_}, for 2 X: {in_other_units.best_params_}")

# %%
# The picture
# -----------
#
# On the left what the monitor wrote down: a row of its log for each iteration, with the path of its task in the tree of
# tasks. Fits are numbered, three folds for each step; of each step the first fold is drawn. On the right the result of
# the search.

curves = {}
for row in monitor.get_logs().data:
    if row["task_name"] == "iterations":
        curves.setdefault(row["parent_task_id_path"], []).append(-row["neg_root_mean_squared_error"])

panels = [["curves", "error"], ["curves", "iterations"]]
fig, axes = plt.subplot_mosaic(panels, figsize=(9.2, 4.8), layout="constrained")
ax = axes["curves"]
for i in (0, 2, 4, 6, 7, 8):
    curve = np.array(curves[0, 0, 3 * i])
    curve = curve[curve < 1e3]
    iterations = np.arange(1, len(curve) + 1)
    ax.semilogy(iterations, curve, "-" if steps[i] <= 1 else "--", color=str(0.6 - i / 15))
    end = (iterations[-1], curve[-1])
    ax.annotate(f"{steps[i]:.3g}", end, (4, 0), textcoords="offset points", va="center")
ax.set(xlabel="Iteration", ylabel="Error on training rows", xlim=(0, 118), ylim=(1e-12, 1e4))
ax.set_title("Descent with each step size (numbers)", fontsize="medium")

styles = {"columns of variance 1": (search, "ok-"), "columns of variance 4": (in_other_units, "sC1--")}
for name in ("error", "iterations"):
    for label, (result, style) in styles.items():
        *values, auto = result.cv_results_[f"mean_test_{name}"]
        axes[name].semilogx(steps, values, style, base=2, label=label, markersize=5)
    axes[name].axhline(auto, color="0.4", linestyle=":", label='"auto", for both')
    axes[name].set_xticks(steps[::2], [f"{step:g}" for step in steps[::2]])
axes["error"].set(yscale="log", ylabel="Error on left-out rows")
axes["iterations"].set(xlabel="step_size", ylabel="Iterations, at most 100", ylim=(0, 110))
axes["error"].legend(loc="center right", fontsize="small")
axes["error"].set_title("Result of the search: mean of three folds", fontsize="medium")
for ax in axes.values():
    ax.grid(alpha=0.3)
plt.show()

# %%
# What is seen
# ------------
#
# Half the step, about twice the iterations. The step of the paper is the best of the grid. The limit is below 2, for
# 600 rows of a training fold are not an expectation: 1.41 does not settle in two folds of three, and from 2 on the
# error grows without bound. The fit then keeps the best weights that it met, those of the start, zero. Too short a step
# has a price besides time: at 0.125 the fold that is drawn stands still above zero, one of the ten weights missing. The
# set of sparse weights is not convex, and a short step does not bring a small weight in.
#
# With columns of variance 4 all curves move by a factor of 4, as they must: the theorem has columns of variance 1, and
# the best step depends on the units. ``"auto"`` needs no search; here it takes as many iterations as the best of the
# grid, in both units. The default, ``solver="auto"``, goes another way: it scales the columns and has no step to choose
# (:doc:`/guide/projected`). Nothing of the theorem covers a step that was searched, or one that adapts.
#
# References
# ----------
# .. [1] M. Soltanolkotabi, "Learning ReLUs via Gradient Descent", Advances in Neural Information Processing Systems 30,
#    2017. arXiv:1705.04591.
