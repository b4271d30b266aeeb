r"""
One ReLU against one linear unit
================================

How much does it cost that a ReLU shows only the positive half of a linear function? Soltanolkotabi (2017) [1]_ answers
with one picture: the error of projected gradient descent against its iterations, for

* ReLU observations :math:`y_i = \max(0, \langle w^*, x_i \rangle)`, and
* linear observations :math:`y_i = \langle w^*, x_i \rangle`,

of the same sparse weights. This page draws it again from the description of the setting: d = 1000 weights of which
s = 20 are not zero, :math:`|w^*|_2 = 1`, Gaussian inputs, :math:`n = \lfloor 8 s \log(d/s) \rfloor` rows, the set of
vectors with at most s nonzero entries, no intercept. The weights, inputs and trials are ours, and there are 20 trials
instead of 100; nothing here is copied from the published figure.
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
print(f"{n} rows, {d} columns, {s} nonzero weights")

# %%
# Three ways to the weights
# -------------------------
#
# The ReLU by the paper's iteration, with its steps 2, 1, 1, ... A constraint may be any function that projects, so one
# that also writes down what it returns shows every iterate.


def relu_by_gradient_descent(X, y):
    iterates = []

    def project(w):
        iterates.append(sparse.project(w))
        return iterates[-1]

    model = ProjectedReLURegressor(project, step_size=1.0, fit_intercept=False, max_iter=n_iter, tol=0)
    model.fit(X, y)
    return iterates[:n_iter]


# %%
# The linear unit by the same iteration with step 1, known as iterative hard thresholding.


def linear_by_gradient_descent(X, y):
    w, iterates = np.zeros(d), []
    for _ in range(n_iter):
        w = sparse.project(w + X.T @ (y - X @ w) / n)
        iterates.append(w)
    return iterates


# %%
# The ReLU by the default solver, stopped after 1, 2, ... iterations: the best weights found so far. It warns that it
# was stopped early, which is the point.


def relu_by_default(X, y):
    model = ProjectedReLURegressor(sparse, fit_intercept=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [model.set_params(max_iter=t + 1).fit(X, y).coef_ for t in range(n_iter)]


# %%
# Errors over the trials
# ----------------------

methods = {
    "ReLU, default solver": relu_by_default,
    "linear, gradient descent": linear_by_gradient_descent,
    "ReLU, gradient descent": relu_by_gradient_descent,
}
# At the start, w = 0, the error is |w*| = 1.
errors = {name: np.ones((n_trials, n_iter + 1)) for name in methods}
for trial in range(n_trials):
    X, y, teacher = make_relu_regression(n, d, n_nonzero=s, return_teacher=True, random_state=trial)
    for name, method in methods.items():
        observations = X @ teacher.coef_ if name.startswith("linear") else y
        distances = np.array(method(X, observations)) - teacher.coef_
        errors[name][trial, 1:] = np.linalg.norm(distances, axis=1)

print("median error after 5, 10, 20, 30 iterations")
for name, error in errors.items():
    medians = np.median(error, axis=0)[[5, 10, 20, 30]]
    print(f"{name:24}", *(f"{median:.0e}" for median in medians))

# %%
# The picture
# -----------
#
# Lines are medians, bands go from the lower to the upper quartile of the trials. A straight line is a linear rate. The
# theorem promises that each step at least halves the error (dotted) once n exceeds a multiple of the phase-transition
# number of the set; the multiple is a constant without a value. At this n the median is a little slower.

fig, ax = plt.subplots(figsize=(7.2, 4.6), layout="constrained")
iterations = np.arange(n_iter + 1)
styles = {"color": ("C0", "C1", "C2"), "linestyle": ("-", "--", "-.")}
for (name, error), color, linestyle in zip(errors.items(), *styles.values(), strict=True):
    lower, median, upper = np.quantile(error, [0.25, 0.5, 0.75], axis=0)
    ax.fill_between(iterations, lower, upper, color=color, alpha=0.25, linewidth=0)
    ax.semilogy(median, color=color, linestyle=linestyle, linewidth=2, label=name)
ax.semilogy(0.5**iterations, ":", color="black", label="factor 1/2 a step")
ax.set(
    xlabel="Iteration t",
    ylabel="Error $|w_t - w^*|_2$, with $|w^*|_2 = 1$",
    xlim=(0, n_iter),
    ylim=(1e-17, 3),
)
ax.legend(loc="upper right")
plt.show()

# %%
# What is seen
# ------------
#
# Both gradient descents settle to a straight line, and the linear one is ahead: a row with y > 0 gives a ReLU one
# equation, as it gives the linear unit, but half of the rows have y = 0 and give only an inequality.
#
# The default solver searches for the support, and once it has it, Newton steps end at rounding. Its iterations are
# dearer: a gradient step, one pass over X, then up to three Newton steps on the support, each of a further pass and
# the matrix of the support columns. So the horizontal axis flatters it by a factor of up to about four. No theorem
# covers it.
#
# References
# ----------
# .. [1] M. Soltanolkotabi, "Learning ReLUs via Gradient Descent", Advances in Neural Information Processing Systems 30,
#    2017. arXiv:1705.04591.
