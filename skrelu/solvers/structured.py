"""The default solver of one structured ReLU: the majorant, then the loss; by pursuit or by projected gradients."""

import numpy as np

from skrelu.solvers.points import Problem
from skrelu.solvers.pursuit import atomic_start, pursuit
from skrelu.solvers.spectral import spectral_newton

SMOOTHINGS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # of the kinks of rows with y < 0, relative to the root mean square of y


def structured_descent(objective, constraint, theta, *, tol, continued=False):
    """Yield iterates of the best method known here for ``min_{theta in K} F(theta)``, F the loss of one ReLU.

    The majorant of the loss (`SingleReLU`), convex where y has no negative values, is minimised by planted weights
    as the loss is; its solution starts the descent on the loss itself. Nonconvex K: `pursuit`; convex K:
    `spectral_newton`, from `atomic_start` where K is the hull of atoms and theta is zero.

    Parameters
    ----------
    objective : SingleReLU
    constraint : Constraint
        On the space of theta.
    theta : ndarray
    tol : float
    continued : bool
        Continue from theta: without the majorant, and without exploration.

    Notes
    -----
    The stages minimise F's majorant, then F smoothed less and less where it has kinks. Their objectives are nowhere
    below F. The fit ends with the last of them.
    """
    smoothings = [0.0]
    if objective.has_kinks:
        smallest = max(SMOOTHINGS[-1], float(np.sqrt(np.finfo(theta.dtype).eps)))
        smoothings = [*(eps for eps in SMOOTHINGS if eps > smallest), smallest]
    stages = [objective.variant(smoothing=eps) for eps in smoothings]
    if not continued:
        stages.insert(0, objective.variant(majorant=True, smoothing=smoothings[0]))
    for stage in stages:
        problem, first = Problem(stage, constraint), stage is stages[0] and not continued
        if not constraint.convex:
            method = pursuit(problem, theta, tol=tol, explore=first)
        else:
            if first and constraint.atoms(1) is not None and not np.any(theta):
                theta = atomic_start(problem, theta)
            method = spectral_newton(problem, theta, tol=tol)
        for iterate in method:
            theta = iterate.parameters
            if stage is stages[-1]:
                yield iterate
            else:
                yield iterate._replace(final=False, finished="")
                if iterate.final and iterate.criterion <= tol:
                    break
