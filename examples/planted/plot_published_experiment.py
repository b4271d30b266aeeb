r"""
A published experiment: squared ReLUs from a tensor start
=========================================================

Section 7 of `Zhong et al. (2017) <https://arxiv.org/abs/1706.03175>`__ plants five squared ReLUs without noise,
:math:`y_i = \sum_j v_j \max(0, \langle w_j, x_i \rangle)^2` with :math:`v_j = \pm 1`, Gaussian :math:`x_i` and weights
of singular values from 1 to 2, and asks two questions, here asked again. How far from the weights is the tensor start,
for d inputs and n rows (left, one network each)? How does gradient descent on the :math:`w_j` go on from it, and from
random starts (right)?

The error of the start falls like :math:`n^{-1/2}` and grows with d. From it the objective goes down a straight line,
the linear rate of the theorem. From random weights with the planted :math:`v_j` it does so after a detour. With random
:math:`v_j` it stalls when the number of negative ones is not that of the planted, for descent on the weights cannot
change it; one of the three draws has the right number, by chance, and succeeds.

The paper draws one start of each kind. Its own tensor start decomposes one contracted moment of fresh rows; ours takes
all moments from the same rows. More in :doc:`/guide/smooth`.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skrelu import OneHiddenLayerNet
from skrelu.datasets import make_one_hidden_layer
from skrelu.metrics import recovery_error
from skrelu.plotting import ConvergenceDisplay

k = 5
warnings.simplefilter("ignore", ConvergenceWarning)  # few iterations are meant here, and failures are drawn


def planted(n, d, seed):
    rng = np.random.default_rng(seed)
    U, V = (np.linalg.qr(rng.standard_normal((size, k)))[0] for size in (d, k))
    W, v = V @ (U * np.linspace(1, 2, k)).T, rng.choice([-1.0, 1.0], k)
    return make_one_hidden_layer(
        n, coef=W, output_coef=v, activation="squared_relu", return_teacher=True, random_state=seed
    )


def gradient_descent(**options):
    return OneHiddenLayerNet(k, activation="squared_relu", solver="gd", fit_intercept=False, random_state=0, **options)


def start_error(n, d):
    X, y, teacher = planted(n, d, seed=0)
    return recovery_error(teacher.hidden_coef_, gradient_descent(max_iter=1).fit(X, y).init_coef_)


def from_weights(W, v):
    """Descend from W with these v; of weights given as `init` the outputs would be fitted, those of a fit are kept."""
    model = gradient_descent(max_iter=1, warm_start=True).fit(X, y)
    model.hidden_coef_, model.output_coef_ = W, v
    return model.set_params(max_iter=1000).fit(X, y)


fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
n_samples = np.array([10_000, 30_000, 100_000])
for d, marker in zip((10, 20, 30, 40, 50), "os^vD", strict=True):
    errors = [start_error(n, d) for n in n_samples]
    left.loglog(n_samples, errors, marker=marker, color=str(0.75 - d / 67), label=f"d = {d}")
left.loglog(n_samples, 2 / n_samples**0.5, ":", color="0.3", label=r"slope of $n^{-1/2}$")
left.set(xlabel="Number of rows n", ylabel="Relative error of the weights", title="Tensor start")
left.set_xticks(n_samples, [f"{n:,}" for n in n_samples])
left.set_yticks([0.01, 0.02, 0.05, 0.1, 0.2], ["0.01", "0.02", "0.05", "0.1", "0.2"])
left.minorticks_off()
left.legend(fontsize="small", ncols=2)

X, y, teacher = planted(10_000, 10, seed=0)
fits = {"tensor start": [gradient_descent(max_iter=1000).fit(X, y)], "random w, planted v": [], "random w and v": []}
for seed in range(3):
    rng = np.random.default_rng(seed)
    W = rng.standard_normal(teacher.hidden_coef_.shape)
    W *= np.linalg.norm(teacher.hidden_coef_) / np.linalg.norm(W)
    fits["random w, planted v"].append(from_weights(W, teacher.output_coef_))
    fits["random w and v"].append(from_weights(W, rng.choice([-1.0, 1.0], k)))
for (name, models), color, linestyle in zip(fits.items(), ("black", "C0", "C1"), ("-", "--", ":"), strict=True):
    for label, model in zip((name, "_", "_"), models, strict=False):
        style = {"color": color, "linestyle": linestyle, "linewidth": 2, "marker": ""}
        ConvergenceDisplay.from_estimator(model, name=label, ax=right, **style)
right.set_title("Gradient descent, d = 10, n = 10,000")
plt.show()
