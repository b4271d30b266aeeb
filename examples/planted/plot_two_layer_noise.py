r"""
Noise: how far off both layers are, and what the fit says about it
==================================================================

With mean-zero noise nothing is recovered exactly any more. Fitting two layers is then nonlinear least squares, and
`TwoLayerReLURecovery` reports standard errors of both: `hidden_coef_std_` and `output_coef_std_`. Here they are held
against the errors themselves, which planted networks let us see.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from skrelu import TwoLayerReLURecovery
from skrelu.datasets import make_two_layer_relu
from skrelu.metrics import match_units

d, k, m, n_trials = 10, 3, 4, 6

# %%
# The trials
# ----------
#
# Six planted networks with d = 10 columns, k = 3 units and m = 4 outputs, each of a standard deviation of about 1.
# First the noise grows at n = 1000 rows, then the rows grow at noise of standard deviation 0.1. Errors, and standard
# errors of the same fits, are root mean squares over all entries of V, whose rows have length one, and of U.


def trial(n, noise, seed):
    X, y, truth = make_two_layer_relu(n, d, k, m, noise=noise, return_teacher=True, random_state=seed)
    model = TwoLayerReLURecovery(k, fit_intercept=False, random_state=0).fit(X, y)
    rows, columns, _ = match_units(truth.hidden_coef_, model.hidden_coef_)
    return {
        "first layer, V": (
            model.hidden_coef_[columns] - truth.hidden_coef_[rows],
            model.hidden_coef_std_[columns],
        ),
        "second layer, U": (
            model.output_coef_[:, columns] - truth.output_coef_[:, rows],
            model.output_coef_std_[:, columns],
        ),
    }


def root_mean_squares(trials):
    """Return, for each layer, the errors of all trials and the mean prediction."""
    return {
        layer: (
            [np.sqrt(np.mean(t[layer][0] ** 2)) for t in trials],
            np.sqrt(np.mean([np.mean(t[layer][1] ** 2) for t in trials])),
        )
        for layer in trials[0]
    }


noises = np.array([0.001, 0.01, 0.1, 0.3, 1.0, 3.0])
sizes = np.array([100, 200, 500, 1000, 2000, 5000, 10000])
by_noise = [[trial(1000, noise, seed) for seed in range(n_trials)] for noise in noises]
by_size = [[trial(n, 0.1, seed) for seed in range(n_trials)] for n in sizes]

# %%
# The pictures
# ------------

fig, axes = plt.subplots(1, 3, figsize=(13.0, 4.6), layout="constrained")
styles = {"first layer, V": ("black", "o", "-"), "second layer, U": ("C1", "s", "--")}
for ax, values, trials in ((axes[0], noises, by_noise), (axes[1], sizes, by_size)):
    measured = [root_mean_squares(group) for group in trials]
    for layer, (color, marker, linestyle) in styles.items():
        errors = np.array([group[layer][0] for group in measured])
        ax.loglog(values, errors, color=color, marker=marker, markersize=4, linestyle="", alpha=0.45)
        predicted = [group[layer][1] for group in measured]
        ax.loglog(values, predicted, color=color, linestyle=linestyle, label=layer)
axes[1].loglog(sizes, 0.04 / np.sqrt(sizes), color="0.5", linestyle=":", label=r"slope of $1 / \sqrt{n}$")
axes[0].set(xlabel="Standard deviation of the noise", ylabel="Error of a weight, root mean square")
axes[0].set_title("1000 rows: in proportion to the noise")
axes[1].set(xlabel="Number of rows n")
axes[1].set_title(r"Noise 0.1: in proportion to $1 / \sqrt{n}$")
axes[1].legend(handles=axes[1].lines[-1:], loc="lower left", fontsize="small")
axes[0].legend(
    title="Markers: errors of six networks\nLines: standard errors of the fits", loc="upper left", fontsize="small"
)

ratios = {
    layer: np.concatenate([(t[layer][0] / t[layer][1]).ravel() for group in by_size[1:] for t in group])
    for layer in styles
}
bins, z = np.linspace(-4, 4, 33), np.linspace(-4, 4, 201)
for layer, (color, _, linestyle) in styles.items():
    axes[2].hist(ratios[layer], bins=bins, density=True, histtype="step", color=color, linestyle=linestyle, label=layer)
axes[2].plot(z, norm.pdf(z), color="C0", linewidth=2, label="normal density")
axes[2].set(
    xlabel="Error of a weight / its standard error",
    ylabel="Density",
    title="In units of the standard error",
    ylim=(0, 0.58),
)
axes[2].legend(loc="upper left", fontsize="small")
plt.show()

for layer, ratio in ratios.items():
    print(f"{layer}: {np.mean(np.abs(ratio) < 1.96):.1%} of {len(ratio)} errors within 1.96 standard errors")

# %%
# What is seen
# ------------
#
# The errors of both layers are proportional to the noise, over three orders of magnitude, and fall as
# :math:`1 / \sqrt{n}`. Entries of V have the smaller ones: rows of V have length one, columns of U are longer. The
# standard errors, computed from the data of one fit, are right on average, and divided by them the errors are normal:
# about 95 of 100 are within 1.96. That holds while the noise is not much larger than the signal: at noise of three
# times the standard deviation of y some errors of U are several times their standard error, for there the network is no
# longer nearly linear in its weights.
