"""Gradient descent as in the papers: their steps, a projection where there is one, nothing else."""

from itertools import count

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from skrelu.solvers.loop import INTERRUPTED, STOPPED, Iterate

HALVINGS = 60  # of a step, at most; a step so halved is below rounding
RISE = 1e-6  # a descent that ends above its lowest objective by more than this, relatively, has too long steps


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


def gradient_descent(network, theta, *, step_size, curvature=None):
    """Yield the iterates ``theta <- theta - mu g(theta)``, ``mu = step_size / L``.

    The criterion is ``|w_new - w| / |w_new|``, w the hidden weights without biases.

    Parameters
    ----------
    network : OneHiddenLayer
    theta : ndarray
    step_size : float or "auto"
        "auto" starts with 1, halves the step for good whenever it would raise the objective.
    curvature : float, optional
        L; None: the start's `largest_curvature`.
    """
    factor, adaptive = (1.0, True) if step_size == "auto" else (step_size, False)
    curvature = largest_curvature(network, theta) if curvature is None else curvature
    mu, rounding = factor / curvature if curvature > 0 else factor, 10 * float(np.finfo(theta.dtype).eps)
    value, gradient = network.value_and_gradient(theta)
    while True:
        for _ in range(HALVINGS):
            new = theta - mu * gradient
            new_value, new_gradient = network.value_and_gradient(new)
            if not adaptive or new_value <= value * (1 + rounding):
                break
            mu /= 2
        before, after = (network.unpack(x)[0][:, : network.whitening.size] for x in (theta, new))
        change = float(np.linalg.norm(after - before))
        theta, value, gradient = new, new_value, new_gradient
        yield Iterate(theta, value, change / max(float(np.linalg.norm(after)), np.finfo(float).tiny) if change else 0.0)


def remedy(reason, step_size, loss_curve):
    """Return what helps a descent that ended before its goal for this reason: shorter steps, or more or longer ones.

    Steps above 1, that of the papers, may have left the start for worse weights: to make them longer is no remedy.
    """
    if step_size == "auto":
        return "Raise max_iter, or use solver='auto'"
    rose = loss_curve[-1] > min(loss_curve) * (1 + RISE)
    if rose or not reason.startswith(("max_iter", INTERRUPTED, STOPPED)):
        return f"Lower step_size (now {step_size:g})"
    change = "lower step_size" if step_size > 1 else "step_size"
    return f"Raise max_iter or {change} (now {step_size:g}), or use solver='auto' with step_size='auto'"


def largest_curvature(network, theta):
    """Return the largest eigenvalue of the Gauss-Newton matrix at theta.

    Raises
    ------
    ValueError
        If it is not finite.
    """
    product, size = network.curvature_product(theta), len(theta)
    image = product(np.ones(size))
    if not np.all(np.isfinite(image)):
        raise ValueError(f"X: squares of its entries overflow {network.rows.dtype}; rescale it or use solver='auto'")
    if size < 3:
        return float(np.linalg.eigvalsh(np.column_stack([product(e) for e in np.eye(size)]))[-1])
    if not np.any(image):
        return 0.0
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    return float(eigsh(operator, 1, which="LA", v0=np.ones(size), tol=0, return_eigenvectors=False)[0])
