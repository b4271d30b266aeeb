r"""
Rain, and other targets that are exactly zero
=============================================

Rainfall, hours worked, spending, visits: zero in many rows, positive in the others. A line cut off at zero is the
natural model, and where the noise enters decides how to fit it:

.. math::

   \text{after the rectifier:} \quad y = \max(0, \langle w, x \rangle + b) \cdot \varepsilon, \quad
   \mathbb{E}(\varepsilon \mid x) = 1, \qquad \qquad
   \text{inside:} \quad y = \max(0, \langle w, x \rangle + b + \varepsilon), \quad \varepsilon \sim N(0, \sigma^2) .

The first is what least squares on a ReLU are made for, `ProjectedReLURegressor`. The second is the Tobit model, for
maximum likelihood. This page holds them beside each other, on four years of rain and on planted weights;
:doc:`/guide/censored` says what each of them estimates.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import log_ndtr, ndtr
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LassoCV, LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from vega_datasets import local_data

from skrelu import ProjectedReLURegressor, ProjectedReLURegressorCV

# %%
# Maximum likelihood
# ------------------
#
# In Olsen's parameters, :math:`\delta = (w, b) / \sigma` and :math:`\gamma = 1 / \sigma`, the likelihood is concave, so
# that any ascent finds its maximum. The prediction is the mean of y, not that of :math:`\langle w, x \rangle + b`.


def density(z):
    return np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def tobit_loss(theta, A, y):
    """Return minus the mean log likelihood and its gradient in theta = (delta, gamma)."""
    z, gamma, positive = A @ theta[:-1], theta[-1], y > 0
    residual = np.where(positive, gamma * y - z, -np.exp(-(z**2) / 2 - log_ndtr(-z)) / np.sqrt(2 * np.pi))
    value = np.sum(positive * (residual**2 / 2 - np.log(gamma)) - ~positive * log_ndtr(-z))
    gradient = np.append(-A.T @ residual, residual @ (positive * y) - positive.sum() / gamma)
    return value / len(y), gradient / len(y)


class Tobit(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        mean, scale, unit = X.mean(axis=0), X.std(axis=0), y.std()
        A = np.column_stack([(X - mean) / scale, np.ones(len(y))])
        start, bounds = np.append(np.zeros(A.shape[1]), 1.0), [(None, None)] * A.shape[1] + [(1e-10, None)]
        options = {"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-8}
        theta = minimize(tobit_loss, start, (A, y / unit), "L-BFGS-B", jac=True, bounds=bounds, options=options).x
        self.sigma_ = unit / theta[-1]
        self.coef_ = theta[:-2] * self.sigma_ / scale
        self.intercept_ = theta[-2] * self.sigma_ - self.coef_ @ mean
        return self

    def predict(self, X):
        t = (X @ self.coef_ + self.intercept_) / self.sigma_
        return self.sigma_ * (t * ndtr(t) + density(t))


# %%
# Gaps in a record of rain
# ------------------------
#
# Seattle, 2012 to 2015, a row a day, 57 % of them without rain. The rain gauge is to be filled in where it failed, from
# the temperatures and the wind of the day and of the three days before and after, and from the rain of these six. Each
# year is predicted by fits to the three others.


def rain_table(window):
    """Return X, y in millimetres a day, and the dates."""
    days = local_data.seattle_weather().set_index("date").drop(columns="weather")
    shifted = {k: days.shift(-k).add_suffix(f" {k:+d} d") for k in range(-window, window + 1)}
    table = pd.concat(shifted.values(), axis=1).dropna()
    return table.drop(columns="precipitation +0 d").to_numpy(), table["precipitation +0 d"].to_numpy(), table.index


def clipped(regressor):
    return TransformedTargetRegressor(
        regressor, func=np.positive, inverse_func=lambda z: np.maximum(z, 0), check_inverse=False
    )


regressors = {
    "Least squares, clipped": clipped(LinearRegression()),
    "LassoCV, clipped": clipped(LassoCV()),
    "Tobit": Tobit(),
    "ReLU": ProjectedReLURegressor(),
    "ReLU, l1 ball by CV": ProjectedReLURegressorCV(),
}


def held_out(window):
    """Return the rain of each day, its predictions by fits without its year, and the dates."""
    X, y, dates = rain_table(window)
    parts = {"groups": dates.year, "cv": LeaveOneGroupOut()}
    models = {name: make_pipeline(StandardScaler(), regressor) for name, regressor in regressors.items()}
    return y, {name: cross_val_predict(model, X, y, **parts) for name, model in models.items()}, dates


def against(y, predicted, reference, dates):
    """Return by how much the mean squared error exceeds that of a reference, and the standard error over months."""
    gain = pd.Series((y - predicted) ** 2 - (y - reference) ** 2).groupby([dates.year, dates.month]).sum()
    return gain.sum() / len(y), gain.std() * np.sqrt(len(gain)) / len(y)


y, predictions, dates = held_out(3)
print(f"{len(y)} days, {np.mean(y == 0):.0%} without rain, mean {y.mean():.2f} mm")
for name, predicted in predictions.items():
    more, deviation = against(y, predicted, predictions["Least squares, clipped"], dates)
    print(
        f"{name:22} R2 {r2_score(y, predicted):.3f}, mean {predicted.mean():.2f} mm, squared error against the first "
        f"{more:+.2f} mm2, standard error {deviation:.2f}"
    )

# %%
# Planted weights
# ---------------
#
# Ten weights, Gaussian columns, b = 0: half of the rows are zero. The noise after the rectifier is an exponential
# factor; the noise inside is as large as the signal.

weights = np.array([3, -2, 2, -1, 1, 0, 0, 0, 0, 0]) / np.sqrt(19)
sizes, n_trials = np.array([300, 1000, 3000, 10_000, 30_000, 100_000]), 10


def planted(noise, n, seed):
    random = np.random.default_rng(seed)
    X = random.standard_normal((n, len(weights)))
    z = X @ weights
    if noise == "after":
        return X, np.maximum(z, 0) * random.exponential(size=n)
    return X, np.maximum(z + random.standard_normal(n), 0)


fitted = {"Least squares, clipped": LinearRegression(), "Tobit": Tobit(), "ReLU": ProjectedReLURegressor()}


def error(model, noise, n, seed):
    return np.linalg.norm(model.fit(*planted(noise, n, seed)).coef_ - weights)


errors = {
    noise: {
        name: np.array([[error(model, noise, n, seed) for n in sizes] for seed in range(n_trials)])
        for name, model in fitted.items()
    }
    for noise in ("after", "inside")
}
for noise, values in errors.items():
    for name, value in values.items():
        print(f"{noise:6} {name:22}", *(f"{v:.3f}" for v in np.median(value, axis=0)))

# %%
# The pictures
# ------------
#
# On the left, what each prediction misses, in six groups of 242 or 243 days; bars are standard errors. On the right,
# lines are medians, bands go from the lower to the upper quartile of ten trials.

styles = {
    "Least squares, clipped": {"color": "C1", "linestyle": "--", "marker": "s"},
    "Tobit": {"color": "C0", "linestyle": "-.", "marker": "^", "markerfacecolor": "white"},
    "ReLU": {"color": "black", "linestyle": "-", "marker": "o"},
}


def groups(name):
    return np.array_split(np.argsort(predictions[name], kind="stable"), 6)


fig, axes = plt.subplots(1, 3, figsize=(13.0, 4.6), layout="constrained")
for name, style in styles.items():
    label = "ReLU, l1 ball by CV" if name == "ReLU" else name
    sixths = [predictions[label][days] for days in groups(label)]
    missed = [(y - predictions[label])[days] for days in groups(label)]
    deviations = [values.std() / np.sqrt(len(values)) for values in missed]
    means = [[values.mean() for values in parts] for parts in (sixths, missed)]
    axes[0].errorbar(*means, yerr=deviations, capsize=3, label=label, **style)
axes[0].axhline(0, color="0.5", linestyle=":")
axes[0].set(
    xlabel="Predicted rain (mm a day)",
    ylabel="Rain that fell less prediction (mm a day)",
    title="Seattle: sixths of the days, by prediction",
)
axes[0].legend(loc="lower left", fontsize="small")
for ax, (noise, values) in zip(axes[1:], errors.items(), strict=True):
    for name, style in styles.items():
        lower, median, upper = np.quantile(values[name], [0.25, 0.5, 0.75], axis=0)
        ax.fill_between(sizes, lower, upper, color=style["color"], alpha=0.2, linewidth=0)
        ax.loglog(sizes, median, label=name, **style)
    ax.loglog(sizes, 2 / np.sqrt(sizes), ":", color="0.5", label=r"slope of $1 / \sqrt{n}$")
    ax.set(xlabel="Number of rows n", ylim=(0.005, 1.5), title=f"Planted: noise {noise} the rectifier")
axes[1].set_ylabel(r"Error of the weights $|\hat{w} - w|_2$, with $|w|_2 = 1$")
axes[1].legend(loc="lower left", fontsize="small")
plt.show()

# %%
# What is seen
# ------------
#
# **Rain.** Clipping leaves the positive predictions of a linear fit as they are and raises the others to zero, so that
# the sum is 7 % too high. Tobit's normal noise has to account for the days of heavy rain: the mean that follows from it
# is 12 % too high, most of all on the wettest days. The ReLU in an l1 ball has the right mean and the smallest squared
# error, but the gain is small: 0.44 of 34 square millimetres on clipped least squares (three standard errors), 0.32 on
# the clipped lasso (two). The ball is needed for it. Only the rows where a ReLU is positive determine its weights, and
# without a constraint 27 weights are too many for them.
#
# **Planted weights.** Each method wins on its own noise: there its error falls as :math:`1 / \sqrt{n}`. When the noise
# is a factor, Tobit ends with weights that are 1.47 times as long as the planted ones. When it is inside, the ReLU ends
# with weights that are 0.73 times as long, for it fits a line with a kink to a mean that is smooth. Least squares find
# half of w in both: the share of the rows that is positive.
#
# In short: for the mean of y, or with few rows and a set to name, the ReLU; for the weights behind normal noise inside,
# and many rows, Tobit. :doc:`/guide/censored` has the formulas, more kinds of noise, and more columns than rows.
