"""Projected gradient descent as in the paper: its steps, a projection, nothing else."""

from itertools import count

import numpy as np

from skrelu.solvers.loop import Iterate

HALVINGS = 60  # of a step, at most; a step so halved is below rounding


def projected_gradient(problem, point, *, step_size):
    """Yield the iterates ``theta <- P_K(theta - mu_t g(theta))``, ``mu_t = 2, 1, 1, ...`` times the step size.

    g is the gradient of the mean squared error, twice that of the objective. The first step is twice as long only from
    theta = 0, where the gradient is on average -w*/2. The criterion is ``|theta_new - theta| / |theta_new|``.

    Parameters
    ----------
    problem : Problem
    point : Point
        The start, not projected.
    step_size : float or "auto"
        "auto" halves the steps for good whenever one would raise the objective.
    """
    factor, adaptive = (1.0, True) if step_size == "auto" else (step_size, False)
    at_zero = not np.any(point.theta)
    for t in count():
        for _ in range(HALVINGS):
            mu = factor * (2 if t == 0 and at_zero else 1)
            moved = point.theta - mu * 2 * point.gradient
            if not np.all(np.isfinite(moved)):
                yield Iterate(moved, np.inf, np.inf)
                return
            new = problem.at(problem.constraint.project(moved))
            # Written so that a value that is not a number ends the search: the loop then reports it.
            if not adaptive or not new.value > point.value:
                break
            factor /= 2
        if new.curvature == 0 and not new.is_lowest:
            reason = "a step made every row inactive, where the gradient is zero"
            yield Iterate(new.theta, new.value, np.inf, finished=reason, converged=False)
            return
        change = np.linalg.norm(new.theta - point.theta)
        point = new
        yield Iterate(point.theta, point.value, float(change / np.linalg.norm(point.theta)) if change else 0.0)
