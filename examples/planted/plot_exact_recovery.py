r"""
Two layers, recovered to rounding
=================================

Eight outputs that share eight hidden units of 20 inputs, :math:`y_i = U \max(0, V x_i)` with Gaussian :math:`x_i` and
without noise, determine both layers, up to the order and the scale of the units. Left: they come back to 1e-15, the
rounding of the arithmetic, where scikit-learn's perceptron stops at 1e-4. Right: from how many rows.

A unit shows its weights only in rows where it is active, about half of them. Fewer than 20 such rows do not determine
them: along some direction they can change and no output does. So no method leaves the shaded area, and the default
solver nearly fills it.

The theorem of `Bakshi, Jayaram and Woodruff (2019) <https://arxiv.org/abs/1811.01885>`__ is about moments and exact
steps. Alone, these need several times as many rows. What the default solver adds is descent from several starts:
nothing is proved of it, but a residual of zero certifies itself (``exact_``). L-BFGS written by hand for exactly this
network, the best of ten random starts, is as exact, and fails more often on few rows. More in :doc:`/guide/two_layer`.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from skrelu import TwoLayerReLURecovery
from skrelu.datasets import make_two_layer_relu
from skrelu.metrics import recovery_error

d, k, n_trials = 20, 8, 10
ratios = np.array([2, 2.5, 3, 4, 6, 8, 12, 16, 24])
warnings.simplefilter("ignore", ConvergenceWarning)  # failures are counted instead


def default(X, y, **options):
    model = TwoLayerReLURecovery(k, fit_intercept=False, random_state=0, **options).fit(X, y)
    return model.hidden_coef_, model.output_coef_


def moments_alone(X, y):
    return default(X, y, n_init=1, max_iter=1)


def by_hand(X, y):
    def objective(theta):
        V, U = np.split(theta.reshape(k, -1), [d], axis=1)  # U transposed: one row a unit
        Z = X @ V.T
        units = np.maximum(Z, 0)
        residual = units @ U - y
        gradient = ((residual @ U.T) * (Z > 0)).T @ X, units.T @ residual
        return np.sum(residual**2) / 2, np.hstack(gradient).ravel()

    options = {"maxiter": 1000, "maxfun": 1500, "maxcor": 20, "ftol": 1e-30, "gtol": 1e-15}
    fits = []
    for start in range(10):
        theta = np.random.default_rng(start).standard_normal(k * (d + k)) / d**0.5
        fits.append(minimize(objective, theta, jac=True, method="L-BFGS-B", options=options))
        if fits[-1].fun < 1e-20:
            break
    V, U = np.split(min(fits, key=lambda fit: fit.fun).x.reshape(k, -1), [d], axis=1)
    return V, U.T


def perceptron(X, y):
    options = {"hidden_layer_sizes": (k,), "solver": "lbfgs", "alpha": 0, "max_iter": 1000, "tol": 1e-10}
    fits = [MLPRegressor(random_state=start, **options).fit(X, y) for start in range(10)]
    return (coefs.T for coefs in min(fits, key=lambda fit: fit.loss_).coefs_)


def planted(ratio, seed):
    X, y, truth = make_two_layer_relu(int(ratio * d), d, k, k, return_teacher=True, random_state=seed)
    determined = np.all(np.sum(X @ truth.hidden_coef_.T > 0, axis=0) >= d)
    return X, y, (truth.hidden_coef_, truth.output_coef_), determined


def error(truth, found):
    """Relative error of the products of V_ji and U_oj, which do not depend on the scale that the layers share."""
    return recovery_error(*(np.einsum("ji,oj->jio", V, U).reshape(k, -1) for V, U in (truth, found)))


methods = {
    "default solver": (default, "o-"),
    "L-BFGS by hand": (by_hand, "s--"),
    "moments, exact steps": (moments_alone, "^:"),
    "MLPRegressor": (perceptron, "x"),
}
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")

for place, (method, style) in enumerate(methods.values()):
    draws = [planted(12, seed) for seed in range(n_trials)]
    errors = [error(truth, method(X, y)) for X, y, truth, _ in draws]
    scatter = np.random.default_rng(0).uniform(-0.25, 0.25, n_trials)
    left.semilogx(errors, place + scatter, style[0], color=f"C{place}", alpha=0.7)
left.axvline(np.finfo(float).eps, color="0.5", linestyle=":")
left.text(3e-16, -0.6, "rounding, 2.2e-16", color="0.35", va="center")
left.set(xlabel="Relative error of both layers", title=f"{12 * d} rows: errors of {n_trials} networks")
left.set(xlim=(1e-17, 10), ylim=(-0.9, 3.5), xticks=10.0 ** np.arange(-16, 1, 4))
left.set_yticks(range(len(methods)), methods)
left.invert_yaxis()

determined = np.zeros(len(ratios))
success = {name: np.zeros(len(ratios)) for name in list(methods)[:3]}
for i, ratio in enumerate(ratios):
    for seed in range(n_trials):
        X, y, truth, is_determined = planted(ratio, seed)
        if is_determined:  # any other draw is a failure without a fit
            determined[i] += 1 / n_trials
            for name, shares in success.items():
                shares[i] += (error(truth, methods[name][0](X, y)) < 1e-10) / n_trials
right.fill_between(ratios, determined, color="0.88", label="determined by the rows")
for place, (name, shares) in enumerate(success.items()):
    right.semilogx(ratios, shares, methods[name][1], color=f"C{place}", label=name)
right.set(xlabel="Rows for each column, n / d", ylabel="Fraction recovered to 1e-10", ylim=(0, 1.02))
right.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
right.minorticks_off()
right.legend(loc="lower right")
plt.show()
