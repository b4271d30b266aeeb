"""Projected gradient descent as in the paper: its steps, a projection, nothing else."""

from itertools import count

import numpy as np

from skrelu.solvers.loop import Iterate


def projected_gradient(objective, constraint, theta, *, step_size):
    """Yield the iterates ``theta <- P_K(theta - mu_t g(theta))``, ``mu_t = 2, 1, 1, ...`` times the step size.

    g is the gradient of the mean squared error, twice that of the objective. The first step is twice as long only from
    theta = 0, where the gradient is on average -w*/2. The criterion is ``|theta_new - theta| / |theta_new|``.

    Parameters
    ----------
    objective : SingleReLU
    constraint : Constraint
    theta : ndarray
    step_size : float or "auto"
        "auto" halves the steps for good whenever one would raise the objective.
    """
    factor, adaptive = (1.0, True) if step_size == "auto" else (step_size, False)
    at_zero = not np.any(theta)
    value, gradient, _ = objective.value_and_gradient(theta)
    for t in count():
        while True:
            mu = factor * (2 if t == 0 and at_zero else 1)
            new = constraint.project(theta - mu * 2 * gradient)
            new_value, new_gradient, _ = objective.value_and_gradient(new)
            # Written so that a value that is not a number ends the search: the loop then reports it.
            if not adaptive or not new_value > value or np.array_equal(new, theta):
                break
            factor /= 2
        change = np.linalg.norm(new - theta)
        theta, value, gradient = new, new_value, new_gradient
        yield Iterate(theta, value, float(change / np.linalg.norm(new)) if change else 0.0)
