r"""
Two layers, recovered exactly: from how many rows?
==================================================

Several outputs that share k hidden units,

.. math:: y_i = U \max(0, V x_i), \qquad x_i \sim N(0, I_d), \quad V \in \mathbb{R}^{k \times d},
   \; U \in \mathbb{R}^{m \times k},

determine both layers. Bakshi, Jayaram and Woodruff (2019) [1]_ prove that they can then be recovered in polynomial time,
without any error. This page counts from how many rows that happens, for as many outputs as units.
"""

import warnings

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
ratios = np.array([1.5, 2, 2.5, 3, 4, 5, 6, 8, 12, 16, 24])
units = np.array([2, 4, 6, 8, 10])
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
# The default solver; its start and the exact steps alone, which are the algorithm of the theorem (one start and one
# iteration); and, for 8 units, a perceptron of scikit-learn of the same size, by its own L-BFGS, the best by its loss
# of ten random starts.

models = {
    "default solver": TwoLayerReLURecovery(fit_intercept=False, random_state=0),
    "moments and exact steps alone": TwoLayerReLURecovery(fit_intercept=False, random_state=0, n_init=1, max_iter=1),
}


def perceptron(X, y, k):
    fits = [
        MLPRegressor(
            hidden_layer_sizes=(k,), solver="lbfgs", alpha=0, max_iter=2000, tol=1e-10, random_state=start
        ).fit(X, y)
        for start in range(10)
    ]
    return min(fits, key=lambda fit: fit.loss_).coefs_[0].T


def error(truth, hidden):
    return recovery_error(truth.hidden_coef_, hidden, scale_invariant=True)


success = {name: np.zeros((len(units), len(ratios))) for name in models}
errors = {name: np.full((len(ratios), n_trials), np.nan) for name in [*models, "perceptron"]}
n_determined = 0
for i, k in enumerate(units):
    for j, ratio in enumerate(ratios):
        for trial in range(n_trials):
            X, y, truth = make_two_layer_relu(int(ratio * d), d, k, k, return_teacher=True, random_state=trial)
            if not is_determined(X, truth):
                continue
            n_determined += 1
            for name, model in models.items():
                found = error(truth, model.set_params(n_hidden=k).fit(X, y).hidden_coef_)
                success[name][i, j] += (found < 1e-6) / n_trials
                if k == 8:
                    errors[name][j, trial] = found
            if k == 8:
                errors["perceptron"][j, trial] = error(truth, perceptron(X, y, k))

recovered = round(success["default solver"].sum() * n_trials)
print(f"default solver: {recovered} of the {n_determined} draws that the rows determine")
