r"""
Where recovery sets in
======================

How many rows determine d = 200 weights of which s are not zero, when each row shows only the positive part of a linear
function? Below, data of all sizes are planted without noise and fitted, and each cell shows how often the planted
weights come back to a relative error below :math:`10^{-6}`: for two sets (the l1 ball of the true radius, and the
vectors with at most s nonzero entries) and two solvers (the paper's gradient descent, and the default).
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning

from skrelu import ProjectedReLURegressor
from skrelu.constraints import L0Ball, L1Ball
from skrelu.datasets import make_relu_regression
from skrelu.plotting import RecoveryDisplay

d = 200
n_samples = np.arange(20, 501, 40)
sizes = np.array([1, 5, 10, 15, 20, 25, 30, 35, 40])

# %%
# What theory says
# ----------------
#
# For *linear* Gaussian observations and a convex set, recovery sets in where the number of equations passes the
# statistical dimension of the descent cone at the planted weights, the cone of directions in which the set can be
# entered (Chandrasekaran et al. 2012 [1]_, Amelunxen et al. 2014 [2]_). At an s-sparse vector on the sphere of the l1
# ball it is, up to a small error,
#
# .. math:: \delta = \inf_{\tau \ge 0} \Bigl( s (1 + \tau^2) + (d - s)\, E \max(|g| - \tau, 0)^2 \Bigr)
#
# for g standard normal, where :math:`E \max(|g| - \tau, 0)^2 = 2 (1 + \tau^2) \Phi(-\tau) - 2 \tau \varphi(\tau)`.
#
# For *ReLU* observations half of the rows have y > 0, and each of these is an equation; the others only say that
# :math:`\langle w, x_i \rangle \le 0`, which the planted weights satisfy with a margin, so that it rules out no other
# solution near them. Hence :math:`n = 2 \delta`. To the left of this curve, up to fluctuations of a few rows, other
# points of the l1 ball fit the data just as well, and no method can tell them from the planted weights by the data and
# the ball alone. About the vectors with s nonzero entries, not a convex set, the curve says nothing: it serves there as
# a yardstick.


def statistical_dimension(s):
    def squared_distance(tau):
        excess = 2 * (1 + tau**2) * norm.sf(tau) - 2 * tau * norm.pdf(tau)
        return s * (1 + tau**2) + (d - s) * excess

    return minimize_scalar(squared_distance, bounds=(0, 10), method="bounded").fun


theory = [2 * statistical_dimension(s) for s in sizes]

# %%
# The trials
# ----------
#
# The planted entries are all equal in magnitude, 1 / s, so that the true radius is 1 for every s and "a set of the true
# size" needs no knowledge beyond s. The solvers warn when they fail; here failures are counted instead.


def make_data(n_samples, size, random_state):
    rng = np.random.default_rng(random_state)
    coef = np.zeros(d)
    support = rng.permutation(d)[:size]
    coef[support] = rng.choice([-1.0, 1.0], size) / size
    X, y = make_relu_regression(n_samples, coef=coef, random_state=random_state)
    return X, y, coef


def l1_ball(model, size):
    return model.set_params(constraint=L1Ball(1.0))


def l0_ball(model, size):
    return model.set_params(constraint=L0Ball(size))


sets = {"l1 ball": l1_ball, "s nonzero": l0_ball}
solvers = {
    "gradient descent, step 1": ProjectedReLURegressor(step_size=1.0, fit_intercept=False, max_iter=300),
    "default solver": ProjectedReLURegressor(fit_intercept=False),
}


def draw(ax, set_name, solver_name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        display = RecoveryDisplay.from_estimator(
            solvers[solver_name],
            make_data=make_data,
            set_size=sets[set_name],
            n_samples=n_samples,
            sizes=sizes,
            n_trials=6,
            random_state=0,
            theory=theory,
            size_name="Number of nonzero weights s",
            ax=ax,
        )
    ax.set_title(f"{set_name}: {solver_name}", loc="left", fontsize="medium")
    ax.set_xticks(range(100, 501, 100))
    ax.label_outer()
    return display


fig, axes = plt.subplots(2, 2, figsize=(9.6, 7.4), layout="constrained", sharex=True, sharey=True)
for row, set_name in zip(axes, sets, strict=True):
    displays = [draw(ax, set_name, solver_name) for ax, solver_name in zip(row, solvers, strict=True)]
    displays[0].colorbar_.remove()  # one for each row is enough
for ax in axes.flat[[0, 2, 3]]:
    ax.get_legend().remove()
plt.show()

# %%
# What is seen
# ------------
#
# On the l1 ball the default solver succeeds wherever the planted weights are determined at all, but for a grid cell on
# the curve. What it finds to the left of the curve is the doing of its start, a pursuit over few atoms of the ball: of
# the many points that fit, it prefers sparse ones. Gradient descent with the paper's step needs several times as
# many rows; its theorem speaks of "a constant times" the phase-transition number, and this constant is what the map
# shows. The step length is what costs them: at s = 20 and n = 260, half of the step recovers the weights in six of six
# trials, within 1000 iterations; the full step in none.
#
# On the vectors with s nonzero entries the default solver comes close to the same curve, and for the largest s to its
# left: knowing the number of nonzero entries says more than knowing their sum. But it would have to search all
# supports, which it cannot, and no theorem says where its search succeeds: the failures to the right of the curve are
# fits that ended in a local optimum. Their `loss_` is not zero, so without noise a failure shows itself.
#
# References
# ----------
# .. [1] V. Chandrasekaran, B. Recht, P. A. Parrilo, A. S. Willsky, "The Convex Geometry of Linear Inverse Problems",
#    Foundations of Computational Mathematics 12, 2012.
# .. [2] D. Amelunxen, M. Lotz, M. B. McCoy, J. A. Tropp, "Living on the Edge: Phase Transitions in Convex Programs with
#    Random Data", Information and Inference 3, 2014.
