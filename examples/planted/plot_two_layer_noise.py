r"""
Noise, and what the fit says about it
=====================================

With mean-zero noise nothing is recovered exactly any more. Fitting :math:`y_i = U \max(0, V x_i) + e_i` is then
nonlinear least squares, and ``TwoLayerReLURecovery`` reports standard errors of both layers, computed from the data of
the one fit. Planted networks let us hold them against the errors themselves.

Left: the errors of V (markers, six networks each) are proportional to the noise and to :math:`1 / \sqrt{n}`, and the
standard errors (lines) say so. Right: divided by their standard errors, the errors of single weights are normal, so
that about 95 of 100 are within 1.96; the counts are printed. This holds from 300 rows on. From 100 rows, under noise as
large as the signal, the network is no longer nearly linear in its weights, and some errors are several times what the
fit says. More in :doc:`/guide/two_layer`.
"""

from itertools import count

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from skrelu import TwoLayerReLURecovery
from skrelu.datasets import make_two_layer_relu
from skrelu.metrics import match_units

d, k, m = 10, 3, 4


def trial(n, noise, seed):
    """Return errors and standard errors of V, whose rows have length 1, and of U."""
    X, y, truth = make_two_layer_relu(n, d, k, m, noise=noise, return_teacher=True, random_state=seed)
    model = TwoLayerReLURecovery(k, alpha=0, fit_intercept=False, random_state=0).fit(X, y)
    rows, columns, _ = match_units(truth.hidden_coef_, model.hidden_coef_)
    return {
        "V": (model.hidden_coef_[columns] - truth.hidden_coef_[rows], model.hidden_coef_std_[columns]),
        "U": (model.output_coef_[:, columns] - truth.output_coef_[:, rows], model.output_coef_std_[:, columns]),
    }


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


sizes, noises, seeds = (100, 300, 1000, 3000), (1.0, 0.1, 0.01), count()
trials = {(noise, n): [trial(n, noise, next(seeds)) for _ in range(6)] for noise in noises for n in sizes}

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for noise, marker, linestyle in zip(noises, "os^", ("-", "--", ":"), strict=True):
    errors = [[rms(t["V"][0]) for t in trials[noise, n]] for n in sizes]
    left.loglog(sizes, errors, marker, color="C0", alpha=0.5)
    predicted = [rms([t["V"][1] for t in trials[noise, n]]) for n in sizes]
    left.loglog(sizes, predicted, linestyle, color="black", label=f"{noise:g}")
left.set(xlabel="Number of rows n", ylabel="Error of a weight of V, root mean square")
left.legend(title="Standard deviation of the noise", loc="lower left", ncols=3)

bins, z = np.linspace(-4, 4, 33), np.linspace(-4, 4, 201)
for layer, color, linestyle in (("V", "black", "-"), ("U", "C1", "--")):
    enough = [t[layer] for (_, n), group in trials.items() for t in group if n >= 300]
    ratios = np.concatenate([(error / predicted).ravel() for error, predicted in enough])
    right.hist(
        ratios, bins, density=True, histtype="step", color=color, linestyle=linestyle, label=f"weights of {layer}"
    )
    print(f"{layer}: {np.mean(np.abs(ratios) < 1.96):.1%} of {len(ratios)} errors within 1.96 standard errors")
right.plot(z, norm.pdf(z), color="C0", linewidth=2, label="normal density")
right.set(xlabel="Error of a weight / its standard error", ylabel="Density", ylim=(0, 0.5), title="From 300 rows on")
right.legend(loc="upper left", fontsize="small")
plt.show()
