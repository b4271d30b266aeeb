"""The default solver of one structured ReLU: the majorant first, then the loss; by pursuit or by projected gradients."""

import numpy as np

from skrelu.solvers.points import Problem
from skrelu.solvers.pursuit import atomic_start, pursuit
from skrelu.solvers.spectral import spectral_newton


def structured_descent(objective, constraint, theta, *, tol, continued=False):
    """Yield iterates of the best method known here for ``min_{theta in K} F(theta)``, F the loss of one ReLU.

    Two stages. The majorant of the loss (`SingleReLU`) has no bad stationary points on convex K, and the planted weights
    minimise it; its solution starts the descent on the loss itself. Nonconvex K: `pursuit`; convex K:
    `spectral_newton`, from `atomic_start` where K is the hull of atoms and theta is zero.

    Parameters
    ----------
    objective : SingleReLU
    constraint : Constraint
        On the space of theta.
    theta : ndarray
    tol : float
    continued : bool
        Continue from theta: only the second stage, without exploration.

    Notes
    -----
    The objective of the first stage is that of the majorant, which is nowhere below the loss; its criterion is reported
    as infinite, since the fit does not end there.
    """
    for majorant in [False] if continued else [True, False]:
        problem = Problem(objective, constraint, majorant)
        if not constraint.convex:
            method = pursuit(problem, theta, explore=majorant)
        else:
            if majorant and constraint.atoms(1) is not None and not np.any(theta):
                theta = atomic_start(problem, theta)
            method = spectral_newton(problem, theta, tol=tol)
        for iterate in method:
            theta = iterate.parameters
            if not majorant:
                yield iterate
                continue
            yield iterate._replace(criterion=np.inf, finished="")
            if iterate.criterion <= tol:
                break
