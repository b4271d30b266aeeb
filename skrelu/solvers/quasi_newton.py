"""Limited-memory BFGS in the metric of the network: one pass over the rows an iteration, nearly always."""

from itertools import count

import numpy as np
from scipy.linalg.blas import dtrsv

from skrelu.solvers.loop import Iterate

MEMORY = 20
REFRESH = 20  # iterations after which the metric is taken anew; a pass each
SUFFICIENT = 1e-4  # Armijo's share of the decrease that the gradient promises
HALVINGS = 8  # of a step
TINY = float(np.finfo(float).tiny)


def quasi_newton(network, theta, *, longest=None):
    """Yield iterates of L-BFGS whose first matrix is the metric of the network, the step 1 tried first.

    The criterion is ``sqrt(g' M^-1 g)``, g the gradient and M the metric: the square root of twice the decrease that
    one Newton step would bring, relative to the mean square of y.

    Parameters
    ----------
    network : OneHiddenLayer
    theta : ndarray
    longest : callable (theta) -> float, optional
        Length of the longest step from there.
    """
    value, gradient = network.value_and_gradient(theta)
    steps, metric = Steps(len(theta)), network.metric(theta)
    for t in count(1):
        direction = steps.inverse_product(gradient, metric)
        if longest is not None:
            direction *= min(1.0, longest(theta) / max(np.linalg.norm(direction), TINY))
        slope = gradient @ direction
        criterion = float(max(gradient @ metric(gradient), 0.0) ** 0.5)
        trial = _backtracked(network, theta, value, direction, slope) if slope > 0 else None
        if trial is None and len(steps):
            # Curvatures of another region, or of the other side of a kink.
            steps, metric = Steps(len(theta)), network.metric(theta)
            yield Iterate(theta, value, criterion)
            continue
        if trial is None:
            yield Iterate(theta, value, criterion, finished="no step lowers the objective further")
            return
        new_theta, new_value, new_gradient = trial
        steps.add(new_theta - theta, new_gradient - gradient)
        theta, value, gradient = new_theta, new_value, new_gradient
        if t % REFRESH == 0:
            metric = network.metric(theta)
        zero = "the residual is zero to rounding" if network.is_lowest(value) else ""
        yield Iterate(theta, value, criterion, finished=zero)


class Steps:
    """The last `MEMORY` steps s_i and changes y_i of the gradient, as the rows of S and Y, and ``s_i' y_j``.

    Parameters
    ----------
    n_weights : int
    """

    def __init__(self, n_weights):
        # Twice the rows, lest every new pair move all others.
        self._S, self._Y = np.empty((2, 2 * MEMORY, n_weights))
        self._products = np.zeros((2 * MEMORY, 2 * MEMORY))
        self._window = slice(0, 0)

    def __len__(self):
        return self._window.stop - self._window.start

    def add(self, s, y):
        """Add a pair, unless the curvature along s is not positive; the oldest goes if there are `MEMORY`."""
        if s @ y <= 1e-10 * np.linalg.norm(s) * np.linalg.norm(y):
            return
        start, end = self._window.start, self._window.stop
        if end == len(self._S):
            kept = slice(end - MEMORY + 1, end)
            start, end = 0, MEMORY - 1
            self._S[:end], self._Y[:end] = self._S[kept], self._Y[kept]
            self._products[:end, :end] = self._products[kept, kept]
        self._window = window = slice(max(start, end + 1 - MEMORY), end + 1)
        self._S[end], self._Y[end] = s, y
        self._products[window, end] = self._S[window] @ y

    def inverse_product(self, gradient, metric):
        """Return the inverse of the L-BFGS matrix times the gradient.

        With R the upper triangle of ``S Y'``, D its diagonal and H the inverse of the metric it is

        ``H q + S' b``,    ``q = g - Y' a``,    ``R a = S g``,    ``R' b = D a - Y H q``:

        the two loops over the pairs (J. Nocedal 1980), each as a triangular system.
        """
        if not len(self):
            return metric(gradient)
        S, Y = self._S[self._window], self._Y[self._window]
        R = np.asfortranarray(self._products[self._window, self._window])
        a = dtrsv(R, S @ gradient)
        step = metric(gradient - a @ Y)
        b = dtrsv(R, R.diagonal() * a - Y @ step, trans=1)
        return step + b @ S


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
