"""
Where recovery sets in
======================

How many rows determine 200 weights of which s are not zero, if each row shows only the positive part of a linear
function? Colours are the fraction of planted, noiseless trials in which the default solver recovers the weights, to a
relative error of 1e-6. Black lines are other methods: the number of rows from which they recover half of the trials.

The white curve is theory. Half of the rows have y > 0, and each of these is a linear equation. Such equations determine
sparse weights in an l1 ball once there are more of them than δ, the statistical dimension of the ball's descent cone
(`Amelunxen et al. 2014 <https://arxiv.org/abs/1303.6672>`__). So a ReLU needs n = 2δ rows.

Told the l1 norm of the weights, the default solver follows the curve; told s, it needs fewer rows. The Lasso on the
rows with y > 0 follows the curve, too, but only without noise: rows chosen by a noisy y give biased weights. Matching
pursuit on these rows needs up to about twice as many, for weights of equal magnitude, its hard case. So does gradient
descent with the step of the theorem, and four times as many in the l1 ball, where half of the step does better: the
theorem asks for a constant times δ, and here is the constant. More in :doc:`/guide/projected`.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import lars_path, orthogonal_mp

from skrelu import ProjectedReLURegressor
from skrelu.constraints import L0Ball, L1Ball
from skrelu.datasets import make_relu_regression
from skrelu.metrics import recovery_error
from skrelu.plotting import RecoveryDisplay

d, n_trials = 200, 5
n_samples, sizes = np.arange(20, 461, 40), np.arange(4, 41, 6)
warnings.simplefilter("ignore", ConvergenceWarning)  # failures are counted instead


def share_recovered(method, n, s):
    """The nonzero weights are +-1/s, so that their l1 norm is 1 for every s."""
    recovered = 0
    for seed in range(n_trials):
        rng = np.random.default_rng([n, s, seed])
        coef = np.zeros(d)
        coef[rng.permutation(d)[:s]] = rng.choice([-1.0, 1.0], s) / s
        X, y = make_relu_regression(n, coef=coef, random_state=seed)
        recovered += recovery_error(coef, method(X, y, s)) < 1e-6
    return recovered / n_trials


def rows_for_half(method, s, most=460):
    """Return the number of rows, to within 15, from which half of the trials recover; NaN if more than `most`."""
    low, high = 0, most if share_recovered(method, most, s) >= 0.5 else np.nan
    while high - low > 15:
        middle = (low + high) // 2
        low, high = (low, middle) if share_recovered(method, middle, s) >= 0.5 else (middle, high)
    return high


def statistical_dimension(s):
    def squared_distance(tau):
        return s * (1 + tau**2) + (d - s) * 2 * ((1 + tau**2) * norm.sf(tau) - tau * norm.pdf(tau))

    return minimize_scalar(squared_distance, bounds=(0, 10), method="bounded").fun


def projected(make_set, **options):
    model = ProjectedReLURegressor(fit_intercept=False, **options)
    return lambda X, y, s: model.set_params(constraint=make_set(s)).fit(X, y).coef_


def matching_pursuit(X, y, s):
    return orthogonal_mp(X[y > 0], y[y > 0], n_nonzero_coefs=min(s, np.sum(y > 0)))


def lasso(X, y, s):
    return lars_path(X[y > 0], y[y > 0], method="lasso")[2][:, -1]  # its end: least l1 norm among the solutions


def descent(make_set, step_size):
    return projected(make_set, step_size=step_size, max_iter=250)


def unit_ball(s):
    return L1Ball(1.0)


panels = {
    "Told s": (L0Ball, {"gradient descent": descent(L0Ball, 1.0), "matching pursuit": matching_pursuit}),
    "Told the l1 norm": (
        unit_ball,
        {
            "gradient descent": descent(unit_ball, 1.0),
            "Lasso, told nothing": lasso,
            "gradient descent, half step": descent(unit_ball, 0.5),
        },
    ),
}

fig, axes = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained", sharey=True)
theory = [2 * statistical_dimension(s) for s in sizes]
for ax, (told, (make_set, others)) in zip(axes, panels.items(), strict=True):
    default = projected(make_set)
    success = [[share_recovered(default, n, s) for n in n_samples] for s in sizes]
    display = RecoveryDisplay(
        success=success, n_samples=n_samples, size=sizes, theory=theory, size_name="Number of nonzero weights s"
    ).plot(ax, colorbar=False)
    for (name, method), style in zip(others.items(), ("--o", ":s", "-.^"), strict=False):
        ax.plot([rows_for_half(method, s) for s in sizes], sizes, style + "k", linewidth=2, label=name)
    ax.set_title(told, loc="left")
    ax.legend(handles=ax.lines[1:], loc="upper left", bbox_to_anchor=(0, -0.14), frameon=False)
    ax.label_outer()
fig.colorbar(display.mesh_, ax=axes, label="Default solver: fraction recovered")
plt.show()
