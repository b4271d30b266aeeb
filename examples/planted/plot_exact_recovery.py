r"""
Two layers, recovered exactly: from how many rows?
==================================================

Several outputs that share k hidden units,

.. math:: y_i = U \max(0, V x_i), \qquad x_i \sim N(0, I_d), \quad V \in \mathbb{R}^{k \times d},
   \; U \in \mathbb{R}^{m \times k},

determine both layers. Bakshi, Jayaram and Woodruff (2019) [1]_ prove that they can be recovered in polynomial time and
without any error. This page counts from how many rows that happens, for as many outputs as units (m = k) and d = 20.
"""

import warnings
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import binom
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from skrelu import TwoLayerReLURecovery
from skrelu.datasets import make_two_layer_relu
from skrelu.metrics import recovery_error
from skrelu.plotting import RecoveryDisplay

d, n_trials = 20, 5
ratios = np.array([1.5, 2, 2.5, 3, 4, 6, 8, 12, 16, 24])
units = np.array([2, 4, 6, 8])
warnings.simplefilter("ignore", ConvergenceWarning)  # failures are counted instead

# %%
# Which draws can be recovered at all
# -----------------------------------
#
# A unit shows its weights only in rows where it is active, about half of them. On fewer than d such rows the d weights
# of the unit are not determined: along some direction they can change and no output does. So these draws are counted as
# failures without a fit. The line is where one draw in two is of this kind: with ``Binomial(n, 1/2)`` active rows for
# each unit, near n = 2d whatever k is.


def is_determined(X, truth):
    return np.all(np.sum(X @ truth.hidden_coef_.T > 0, axis=0) >= d)


def share_determined(n, k):
    return binom.sf(d - 1, n, 0.5) ** k


counts = np.arange(d, 6 * d)
line = [counts[np.argmax(share_determined(counts, k) > 0.5)] / d for k in units]

# %%
# Three ways
# ----------
#
# The default solver; its start and the exact steps alone, which are a version of the paper's algorithm (one start and
# one iteration); and, for 8 units, a perceptron of scikit-learn of the same size, by its own L-BFGS, the best of ten
# random starts, by its loss.

models = {
    "default solver": TwoLayerReLURecovery(fit_intercept=False, random_state=0),
    "moments and exact steps alone": TwoLayerReLURecovery(fit_intercept=False, random_state=0, n_init=1, max_iter=1),
}


def perceptron(X, y, k):
    fits = [
        MLPRegressor(
            hidden_layer_sizes=(k,), solver="lbfgs", alpha=0, max_iter=1000, tol=1e-10, random_state=start
        ).fit(X, y)
        for start in range(10)
    ]
    return min(fits, key=lambda fit: fit.loss_).coefs_[0].T


success = {name: np.zeros((len(units), len(ratios))) for name in models}
errors = {"default solver": {}, "perceptron, best of ten starts": {}}  # of 8 units: for each n / d those of all draws
n_determined = 0
for (i, k), (j, ratio), trial in product(enumerate(units), enumerate(ratios), range(n_trials)):
    X, y, truth = make_two_layer_relu(int(ratio * d), d, k, k, return_teacher=True, random_state=trial)
    if not is_determined(X, truth):
        continue
    n_determined += 1
    found = {name: model.set_params(n_hidden=k).fit(X, y).hidden_coef_ for name, model in models.items()}
    if k == 8 and ratio in (3, 4, 24):
        found["perceptron, best of ten starts"] = perceptron(X, y, k)
    for name, hidden in found.items():
        error = recovery_error(truth.hidden_coef_, hidden, scale_invariant=True)
        if name in success:
            success[name][i, j] += (error < 1e-6) / n_trials
        if name in errors and k == 8:
            errors[name].setdefault(ratio, []).append(error)

recovered = round(success["default solver"].sum() * n_trials)
print(f"default solver: {recovered} of the {n_determined} draws that the rows determine")

# %%
# The pictures
# ------------

fig = plt.figure(figsize=(12.5, 4.6), layout="constrained")
maps = fig.subfigures(1, 2, width_ratios=(1.75, 1))
left, middle = maps[0].subplots(1, 2, sharey=True)
for ax, (name, shares) in zip((left, middle), success.items(), strict=True):
    display = RecoveryDisplay(
        success=shares, n_samples=ratios, size=units, theory=line, size_name="Units k, as many outputs"
    )
    display.plot(ax)
    display.colorbar_.remove()
    ax.get_legend().remove()
    ax.set(xscale="log", xlabel="Rows for each column, n / d", title=name.capitalize())
    ax.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
    ax.minorticks_off()
    ax.label_outer()
arrow = {"arrowstyle": "->", "linewidth": 1.5}
left.annotate("left of the line most draws\nare not determined", (2.5, 7.3), (4.4, 7.3), va="center", arrowprops=arrow)
maps[0].colorbar(display.mesh_, ax=[left, middle], label="Share of exact recoveries", location="bottom", shrink=0.6)

right = maps[1].subplots()
styles = {"color": ("black", "C1"), "marker": ("o", "^"), "linestyle": ("-", "--")}
for (name, values), color, marker, linestyle in zip(errors.items(), *styles.values(), strict=True):
    points = [(ratio, error) for ratio, found in values.items() for error in found]
    right.loglog(*zip(*points, strict=True), color=color, marker=marker, markersize=4, linestyle="", alpha=0.4)
    medians = [np.median(found) for found in values.values()]
    right.loglog(list(values), medians, color=color, linestyle=linestyle, label=name)
right.set(
    xlabel="Rows for each column, n / d", ylabel="Relative error of V", title="8 units: how exact", ylim=(1e-16, 1e3)
)
right.set_xticks(ratios[2:], [f"{ratio:g}" for ratio in ratios[2:]])
right.set_yticks(10.0 ** np.arange(-15, 1, 3))
right.minorticks_off()
right.legend(loc="upper right", fontsize="small")
plt.show()

# %%
# What is seen
# ------------
#
# The default solver recovers both layers as soon as the rows determine them: nearly every draw that is counted as a
# failure is one without enough active rows for some unit. Moments and exact steps alone, which the theorem is about,
# need several times as many rows, and more of them for more units: a moment has to be estimated well enough that most
# rows fall on the right side of each unit. Then one linear equation after the other is exact. What is gained to the
# left of that comes from descent with the output layer eliminated, and from wider random starts; nothing is proved of
# them, and nothing need be: a residual of zero certifies itself (`exact_`).
#
# Descent alone, as in a perceptron, comes near the planted units from ten starts where there are four rows a column or
# more, and stops at an error of about 1e-4. What is exact is exact to rounding.
#
# References
# ----------
# .. [1] A. Bakshi, R. Jayaram, D. P. Woodruff, "Learning Two Layer Rectified Neural Networks in Polynomial Time",
#    Conference on Learning Theory, 2019. arXiv:1811.01885.
