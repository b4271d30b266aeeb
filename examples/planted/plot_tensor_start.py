r"""
A start from tensors, and a start at random
===========================================

Data planted by one hidden layer of k = 5 ReLUs of d = 20 inputs,

.. math:: y_i = \sum_{j=1}^{k} v_j \max(0, \langle w_j, x_i \rangle), \qquad v_j = \pm 1, \quad x_i \sim N(0, I),

determine the weights, up to the order of the units. Descent finds them from some starts and not from others. This page
shows what a start near the planted weights changes, and from how many rows the weights come back.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from skrelu import OneHiddenLayerReLU
from skrelu.datasets import make_one_hidden_layer
from skrelu.metrics import recovery_error
from skrelu.plotting import ConvergenceDisplay, WeightsDisplay

d, k = 20, 5
warnings.simplefilter("ignore", ConvergenceWarning)  # failures are drawn and counted instead

# %%
# Gradient descent from both starts
# ---------------------------------
#
# The tensor start reads the units from the moments of y and x up to degree four. Gradient descent with the step 1/L,
# as the papers analyse it, runs from there and from three random starts on the same rows. Random starts, too, know one
# thing from the moments: how many of the outputs are negative. Without intercepts this is the model of the theorem.


def gradient_descent(init, seed):
    model = OneHiddenLayerReLU(k, init=init, step_size=1.0, fit_intercept=False, max_iter=1500, random_state=seed)
    return model.fit(X, y)


X, y, teacher = make_one_hidden_layer(5000, d, k, return_teacher=True, random_state=0)
models = {"gd, tensor start": gradient_descent("tensor", 0)}
models |= {f"gd, random start {i + 1}": gradient_descent("random", i) for i in range(3)}
models["default solver"] = OneHiddenLayerReLU(k, fit_intercept=False, random_state=0).fit(X, y)

print("relative error of the weights        start      end  iterations")
for name, model in models.items():
    errors = (recovery_error(teacher.hidden_coef_, coef) for coef in (model.init_coef_, model.hidden_coef_))
    print(f"{name:32}", *(f"{error:8.0e}" for error in errors), f"{model.n_iter_:8}")

# %%
# How many rows?
# --------------
#
# There are k d = 100 weights. Eight networks are planted for each number of rows, and the weights count as recovered
# when their relative error is below :math:`10^{-6}`. The default solver is asked twice: with all its starts, and with
# the tensor start alone. Beside it stands what one would write by hand: L-BFGS of scipy on the exact model from one
# random start, with the output weights free, or with their true signs given, which the other fits must find.


def by_hand(X, y, signs=None, seed=0):
    rng = np.random.default_rng(seed)
    v = rng.choice([-1.0, 1.0], k) if signs is None else signs

    def objective(theta):
        W, outputs = theta[: k * d].reshape(k, d), theta[k * d :] if signs is None else v
        Z = X @ W.T
        units = np.maximum(Z, 0)
        residual = units @ outputs - y
        gradient = (residual[:, None] * (Z > 0) * outputs).T @ X
        by_output = units.T @ residual if signs is None else []
        return residual @ residual / len(y) / 2, np.append(gradient, by_output) / len(y)

    start = np.append(rng.standard_normal(k * d) / d**0.5, v if signs is None else [])
    options = {"maxiter": 3000, "maxfun": 5000, "maxcor": 20, "ftol": 1e-20, "gtol": 1e-12}
    theta = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x
    W = theta[: k * d].reshape(k, d)
    return W if signs is not None else np.abs(theta[k * d :, None]) * W


def default(X, y, n_init=10):
    return OneHiddenLayerReLU(k, n_init=n_init, fit_intercept=False, random_state=0).fit(X, y).hidden_coef_


fits = {
    "default solver": lambda X, y, truth: default(X, y),
    "default solver, tensor start alone": lambda X, y, truth: default(X, y, n_init=1),
    "L-BFGS by hand, true signs given": lambda X, y, truth: by_hand(X, y, truth.output_coef_),
    "L-BFGS by hand, signs unknown": lambda X, y, truth: by_hand(X, y),
}
n_samples, n_trials = np.array([150, 200, 300, 500, 1000, 3000]), 8
success = {name: np.zeros(len(n_samples)) for name in fits}
for i, n in enumerate(n_samples):
    for trial in range(n_trials):
        X_n, y_n, truth = make_one_hidden_layer(n, d, k, return_teacher=True, random_state=trial)
        for name, fit in fits.items():
            success[name][i] += recovery_error(truth.hidden_coef_, fit(X_n, y_n, truth)) < 1e-6

print(f"{'recovered, of ' + str(n_trials):36}", *(f"{n:5}" for n in n_samples))
for name, counts in success.items():
    print(f"{name:36}", *(f"{int(count):5}" for count in counts))

# %%
# The picture
# -----------

fig, (left, right) = plt.subplots(1, 2, figsize=(11.5, 5.0), layout="constrained")
ConvergenceDisplay(curves={name: model.loss_curve_ for name, model in models.items()}).plot(ax=left)
left.lines[-1].set(color="black", linewidth=2.5, linestyle="-")
left.set(xlim=(0, 1500), ylim=(1e-29, 1e1), title="Objective against iterations, n = 5000")
left.legend(loc="lower right", fontsize="small")

styles = {"color": ("black", "C0", "C1", "C3"), "linestyle": ("-", "--", "-.", ":"), "marker": ("o", "s", "^", "v")}
for (name, counts), color, linestyle, marker in zip(success.items(), *styles.values(), strict=True):
    right.semilogx(n_samples, counts / n_trials, color=color, linestyle=linestyle, marker=marker, label=name)
right.axvline(k * d, color="0.5", linewidth=1)
right.text(k * d * 1.03, 0.35, "as many rows\nas weights", color="0.35", fontsize="small")
right.set(xlabel="Number of rows n", ylabel="Fraction of exact recoveries", title="Recovery against rows")
right.set_xticks(n_samples, n_samples)
right.minorticks_off()
right.set_ylim(-0.03, 1.42)
right.set_yticks(np.linspace(0, 1, 6))
right.legend(loc="upper left", fontsize="small")
plt.show()

# %%
# The weights themselves
# ----------------------
#
# Recovered from 200 rows, twice as many as there are weights. The outlines of the true weights run along the tips of
# the recovered bars; the units come in an order of their own.

X, y, teacher = make_one_hidden_layer(200, d, k, return_teacher=True, random_state=0)
model = OneHiddenLayerReLU(k, fit_intercept=False, random_state=0).fit(X, y)
WeightsDisplay.from_estimator(model, coef_true=teacher.hidden_coef_)
plt.show()

# %%
# What is seen
# ------------
#
# Gradient descent from the tensor start goes down a straight line, the linear rate of the theorem of Zhang et al.
# (2019) [1]_. From random starts it does so after a plateau, or stays on the plateau: then the planted weights are not
# found, and the objective tells, for without noise it should be zero.
#
# The default solver needs a few dozen iterations: L-BFGS in the metric of the network, and Newton steps where that
# leaves a residual. It ends at the rounding of the data.
#
# From few rows the moments are mostly noise. There the tensor start is no better than a random one, and it is the
# further starts of the default solver, wider networks that are pruned, that recover the weights from twice as many
# rows as weights. Nothing is proved for that.
#
# One descent by hand with free output weights fails now and then even from 3000 rows: its output weights end with the
# wrong number of negative signs, see :ref:`sphx_glr_gallery_planted_plot_inertia.py`.
#
# References
# ----------
# .. [1] X. Zhang, Y. Yu, L. Wang, Q. Gu, "Learning One-hidden-layer ReLU Networks via Gradient Descent", AISTATS 2019.
#    arXiv:1806.07808.
