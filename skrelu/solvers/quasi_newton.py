"""Limited-memory BFGS in the metric of the network: one pass over the rows an iteration, nearly always."""

from itertools import count

import numpy as np

from skrelu.solvers.loop import Iterate

MEMORY = 20
REFRESH = 20  # iterations after which the metric is taken anew; a pass each
SUFFICIENT = 1e-4  # Armijo's share of the decrease that the gradient promises
HALVINGS = 8  # of a step


def quasi_newton(network, theta):
    """Yield iterates of L-BFGS whose first matrix is the metric of the network, the step 1 tried first.

    The criterion is ``sqrt(g' M^-1 g)``, g the gradient and M the metric: the square root of twice the decrease that
    one Newton step would bring, relative to the mean square of y.

    Parameters
    ----------
    network : OneHiddenLayer
    theta : ndarray
    """
    value, gradient = network.value_and_gradient(theta)
    steps: list = []
    metric = network.metric(theta)
    for t in count(1):
        direction = _two_loops(gradient, steps, metric)
        slope = gradient @ direction
        criterion = float(max(gradient @ metric(gradient), 0.0) ** 0.5)
        trial = _backtracked(network, theta, value, direction, slope) if slope > 0 else None
        if trial is None and steps:
            # Curvatures of another region, or of the other side of a kink.
            steps, metric = [], network.metric(theta)
            yield Iterate(theta, value, criterion)
            continue
        if trial is None:
            yield Iterate(theta, value, criterion, finished="no step lowers the objective further")
            return
        new_theta, new_value, new_gradient = trial
        s, y = new_theta - theta, new_gradient - gradient
        if s @ y > 1e-10 * np.linalg.norm(s) * np.linalg.norm(y):
            steps = [*steps[1 - MEMORY :], (s, y, s @ y)]
        theta, value, gradient = new_theta, new_value, new_gradient
        if t % REFRESH == 0:
            metric = network.metric(theta)
        zero = "the residual is zero to rounding" if network.is_lowest(value) else ""
        yield Iterate(theta, value, criterion, finished=zero)


def _two_loops(gradient, steps, metric):
    """Return the inverse of the L-BFGS matrix times the gradient."""
    q, shares = gradient.copy(), []
    for s, y, sy in reversed(steps):
        share = (s @ q) / sy
        q -= share * y
        shares.append(share)
    q = metric(q)
    for (s, y, sy), share in zip(steps, reversed(shares), strict=True):
        q += (share - (y @ q) / sy) * s
    return q


def _backtracked(network, theta, value, direction, slope):
    """Return the first of theta - direction, theta - direction / 2, ... that lowers the objective enough, or None."""
    length = 1.0
    for _ in range(HALVINGS):
        trial = theta - length * direction
        new_value, gradient = network.value_and_gradient(trial)
        if new_value <= value - SUFFICIENT * length * slope:
            return trial, new_value, gradient
        length /= 2
    return None
