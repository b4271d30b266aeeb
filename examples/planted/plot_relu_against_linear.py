r"""
One ReLU against one linear unit
================================

What does it cost that a ReLU shows only the positive half of a linear function? This is the figure of `Soltanolkotabi
(2017) <https://arxiv.org/abs/1705.04591>`__, drawn again from its description: the error of projected gradient descent
against its iterations, for observations :math:`\max(0, \langle w^*, x_i \rangle)` and :math:`\langle w^*, x_i \rangle`
of the same 1000 weights, 20 of them not zero, in 625 Gaussian rows. Lines are medians over 20 trials (100 in the
paper), bands reach from quartile to quartile.

A straight line is a linear rate. The theorem promises that each step at least halves the error (dotted), once n exceeds
a constant times the phase-transition number, a constant without a value. At this n the median is a little slower. The
linear unit is ahead, because each of its rows is an equation, and for the ReLU only those with y > 0.

The default solver searches for the support, and once it has it, Newton steps end at rounding. No theorem covers it, and
its iterations are dearer than gradient steps, up to about four times. More in :doc:`/guide/projected`.
"""

import warnings
from math import floor, log

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skrelu import ProjectedReLURegressor
from skrelu.constraints import L0Ball
from skrelu.datasets import make_relu_regression

d, s = 1000, 20
n = floor(8 * s * log(d / s))
n_iter, n_trials = 30, 20
sparse = L0Ball(s)
warnings.simplefilter("ignore", ConvergenceWarning)  # fits are stopped early on purpose


def relu_by_gradient_descent(X, y):
    """With the steps of the paper, 2, 1, 1, ...; a constraint that writes down what it returns shows every iterate."""
    iterates = []

    def project(w):
        iterates.append(sparse.project(w))
        return iterates[-1]

    ProjectedReLURegressor(project, step_size=1.0, fit_intercept=False, max_iter=n_iter, tol=0).fit(X, y)
    return iterates[:n_iter]


def linear_by_gradient_descent(X, y):
    """With step 1: iterative hard thresholding."""
    w, iterates = np.zeros(d), []
    for _ in range(n_iter):
        w = sparse.project(w + X.T @ (y - X @ w) / n)
        iterates.append(w)
    return iterates


def relu_by_default(X, y):
    """The best weights after 1, 2, ... iterations."""
    model = ProjectedReLURegressor(sparse, fit_intercept=False)
    return [model.set_params(max_iter=t + 1).fit(X, y).coef_ for t in range(n_iter)]


methods = {
    "ReLU, gradient descent": (relu_by_gradient_descent, "-.", "C2"),
    "linear, gradient descent": (linear_by_gradient_descent, "--", "C1"),
    "ReLU, default solver": (relu_by_default, "-", "C0"),
}
errors = {name: np.ones((n_trials, n_iter + 1)) for name in methods}  # at the start, w = 0, the error is |w*| = 1
for trial in range(n_trials):
    X, y, teacher = make_relu_regression(n, d, n_nonzero=s, return_teacher=True, random_state=trial)
    for name, (method, _, _) in methods.items():
        observations = X @ teacher.coef_ if name.startswith("linear") else y
        distances = np.array(method(X, observations)) - teacher.coef_
        errors[name][trial, 1:] = np.linalg.norm(distances, axis=1)

fig, ax = plt.subplots(figsize=(8, 4.6), layout="constrained")
for name, (_, linestyle, color) in methods.items():
    lower, median, upper = np.quantile(errors[name], [0.25, 0.5, 0.75], axis=0)
    ax.fill_between(range(n_iter + 1), lower, upper, color=color, alpha=0.25, linewidth=0)
    ax.semilogy(median, color=color, linestyle=linestyle, linewidth=2, label=name)
ax.semilogy(0.5 ** np.arange(n_iter + 1), ":", color="black", label="factor 1/2 a step")
ax.set(xlabel="Iteration t", ylabel="Error $|w_t - w^*|_2$, with $|w^*|_2 = 1$", xlim=(0, n_iter), ylim=(1e-17, 3))
ax.legend(loc="upper right")
plt.show()
