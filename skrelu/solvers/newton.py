"""Newton steps by conjugate gradients in the metric of the network, for the last digits."""

import numpy as np

from skrelu.solvers.loop import Iterate

MAX_CG = 250  # conjugate gradient steps of one Newton step, a pass each; at most twice the number of weights
HALVINGS = 20
ROUNDING = 45  # eps of the objective: changes below may be noise


def newton_cg(network, theta):
    """Yield the iterates of ``theta <- theta - a H^-1 g``, H the convex part of the Hessian, a = 1, 1/2, ...

    H is solved with to the accuracy ``min(0.1, |g|)``, relatively, so that convergence is quadratic where H is the
    Hessian. Conjugate gradients from zero give the step that is shortest in the metric where H is singular. The
    criterion is that of `quasi_newton`.

    Parameters
    ----------
    network : OneHiddenLayer
        With smoothed kinks, if the solution may lie on them.
    theta : ndarray
    """
    value, gradient = network.value_and_gradient(theta)
    rounding = ROUNDING * float(np.finfo(network.rows.dtype).eps)
    while True:
        metric = network.metric(theta)
        size = float(max(gradient @ metric(gradient), 0.0) ** 0.5)
        step = conjugate_gradients(network.curvature_product(theta), gradient, metric, tol=min(0.1, size))
        slope, length = float(gradient @ step), 1.0
        if slope <= rounding * value:
            # Values no longer tell which point is better, gradients do.
            trial = theta - step
            new_value, new_gradient = network.value_and_gradient(trial)
            new_size = float(max(new_gradient @ metric(new_gradient), 0.0) ** 0.5)
            last = not new_size < size / 2
            if new_size < size:
                theta, value, size, gradient = trial, new_value, new_size, new_gradient
            reason = "a Newton step would change the objective by less than rounding" if last else ""
            yield Iterate(theta, value, size, finished=reason)
            if last:
                return
            continue
        for _ in range(HALVINGS):
            trial = theta - length * step
            new_value, new_gradient = network.value_and_gradient(trial)
            if new_value < value - 1e-4 * length * slope:
                break
            length /= 2
        else:
            accurate = size <= float(np.finfo(network.rows.dtype).eps) ** 0.5
            yield Iterate(theta, value, size, finished="no step lowers the objective further", converged=accurate)
            return
        theta, value, gradient = trial, new_value, new_gradient
        criterion = float(max(gradient @ metric(gradient), 0.0) ** 0.5)
        zero = "the residual is zero to rounding" if network.is_lowest(value) else ""
        yield Iterate(theta, value, criterion, finished=zero)


def conjugate_gradients(product, b, metric, *, tol):
    """Return x with ``|H x - b| <= tol |b|`` in the inverse metric, from x = 0; stops where H is not positive."""
    x, r = np.zeros_like(b), b.copy()
    z = metric(r)
    p, rho = z, r @ z
    goal = tol**2 * rho
    for _ in range(min(MAX_CG, 2 * len(b))):
        if rho <= goal or rho <= 0:
            break
        Hp = product(p)
        curvature = p @ Hp
        if curvature <= 1e-14 * rho:
            return x if np.any(x) else p
        a = rho / curvature
        x += a * p
        r -= a * Hp
        z = metric(r)
        rho, previous = r @ z, rho
        p = z + (rho / previous) * p
    return x
