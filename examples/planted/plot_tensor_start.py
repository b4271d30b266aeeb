r"""
A start from tensors, and a start at random
===========================================

Descent finds a network from some starts and not from others. Left: ten planted ReLUs of 20 inputs (outlines), and the
weights from which descent starts (bars), read from the moments of y and x up to degree four, or drawn at random. Right:
the objective of gradient descent from these starts, on the same 5000 rows without noise.

From the tensor start it soon goes down a straight line, the linear rate of the theorem of `Zhang et al. (2019)
<https://arxiv.org/abs/1806.07808>`__. From random starts it does so after a plateau, or it stays there, as three of the
six do for 2000 iterations: the planted weights are not found. The objective, which should be zero, tells.

The default solver starts from the tensors, too, and ends at rounding within a few dozen iterations. From few rows the
moments are mostly noise; then it is its further starts that find the weights. From how many rows, and what is proved:
:doc:`/guide/one_hidden_layer`.
"""

import warnings

import matplotlib.pyplot as plt
from sklearn.exceptions import ConvergenceWarning

from skrelu import OneHiddenLayerReLU
from skrelu.datasets import make_one_hidden_layer
from skrelu.plotting import ConvergenceDisplay, WeightsDisplay

k = 10
X, y, teacher = make_one_hidden_layer(5000, 20, k, return_teacher=True, random_state=0)


def gradient_descent(init, seed):
    """The iteration of the papers, with the step 1/L. Random starts, too, are told how many outputs are negative."""
    model = OneHiddenLayerReLU(k, init=init, step_size=1.0, fit_intercept=False, max_iter=2000, random_state=seed)
    return model.fit(X, y)


with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)  # from plateaus that are not left
    tensor = gradient_descent("tensor", 0)
    randoms = [gradient_descent("random", seed) for seed in range(6)]
default = OneHiddenLayerReLU(k, fit_intercept=False, random_state=0).fit(X, y)

fig, axes = plt.subplot_mosaic([["tensor", "right"], ["random", "right"]], figsize=(10, 6), layout="constrained")
for name, model in {"tensor": tensor, "random": randoms[0]}.items():
    WeightsDisplay(coef=model.init_coef_, coef_true=teacher.hidden_coef_).plot(axes[name], label="Start")
    axes[name].set_title(f"A start {'from tensors' if name == 'tensor' else 'at random'}")

curves = {
    "default solver": (default, "-", "black"),
    "gradient descent, tensor start": (tensor, "-", "C0"),
    "gradient descent, random starts": (randoms[0], "--", "C1"),
} | {f"_{i}": (model, "--", "C1") for i, model in enumerate(randoms[1:])}
for name, (model, linestyle, color) in curves.items():
    style = {"linestyle": linestyle, "color": color, "linewidth": 2, "marker": ""}
    ConvergenceDisplay.from_estimator(model, name=name, ax=axes["right"], **style)
plt.show()
