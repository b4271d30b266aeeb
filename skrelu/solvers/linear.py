"""Conjugate gradients for objectives that are quadratic: one pass over the rows an iteration."""

from skrelu.solvers.loop import Iterate

RESTART = 250  # iterations after which the gradient is taken anew; those between are updated, and drift


def conjugate_descent(problem, theta):
    """Yield the iterates of conjugate gradients on a convex quadratic objective, in the metric of the problem.

    From zero they tend to the solution of least norm in that metric where there are several. The criterion is
    ``sqrt(g' M^-1 g)``, g the gradient and M the metric.

    Parameters
    ----------
    problem : QuadraticForm
    theta : ndarray
    """
    product, metric = problem.curvature_product(theta), problem.metric(theta)
    while True:
        value, gradient = problem.value_and_gradient(theta)
        r = -gradient
        p = metric(r)
        rho = float(r @ p)
        for _ in range(RESTART):
            Hp = product(p)
            curvature = float(p @ Hp)
            if not rho > 0 or not curvature > 0:
                yield Iterate(theta, value, max(rho, 0.0) ** 0.5, finished="the gradient is zero to rounding")
                return
            step = rho / curvature
            theta, r, value = theta + step * p, r - step * Hp, max(value - step * rho / 2, 0.0)
            z = metric(r)
            rho, before = float(r @ z), rho
            p = z + (rho / before) * p
            yield Iterate(theta, value, max(rho, 0.0) ** 0.5)
