"""The default solver of one structured ReLU: the majorant, then the loss; by pursuit or by projected gradients."""

from itertools import islice

import numpy as np

from skrelu.solvers.points import Problem
from skrelu.solvers.pursuit import atomic_start, pursuit
from skrelu.solvers.spectral import spectral_newton

SMOOTHINGS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # of the kinks of rows with y < 0, relative to the root mean square of y
START_ITERATIONS = 100  # of each start, where there are several
MARGIN = 1e-6  # a start wins over an earlier one only if its loss is lower by more than this, relatively


def structured_descent(objective, constraint, theta, *, tol, continued=False):
    """Yield iterates of the best method known here for ``min_{theta in K} F(theta)``, F the loss of one ReLU.

    The majorant of the loss (`SingleReLU`), convex where y has no negative values, is minimised by planted weights
    as the loss is; its solution starts the descent on the loss itself. Where 3 sigma exceeds the root mean square of y,
    negative values are more than noise: of the solutions for tau = 3 sigma, 0 and -inf, each to at most
    `START_ITERATIONS`, the one with the lowest loss starts it. Nonconvex K: `pursuit`; convex K: `spectral_newton`,
    from `atomic_start` where K is the hull of atoms and theta is zero.

    Parameters
    ----------
    objective : SingleReLU
    constraint : Constraint
        On the space of theta.
    theta : ndarray
    tol : float
    continued : bool
        Continue from theta: only the last stage, without exploration.

    Notes
    -----
    Where F has kinks, it is smoothed less and less. The objectives of all stages but that of tau = -inf are nowhere
    below F. The fit ends with the last stage, or before it where no residual is left.
    """
    smoothings = [0.0]
    if objective.has_kinks:
        smallest = max(SMOOTHINGS[-1], float(np.sqrt(np.finfo(theta.dtype).eps)))
        smoothings = [*(eps for eps in SMOOTHINGS if eps > smallest and not continued), smallest]
    if not continued:
        noise_like = objective.noise_threshold <= 1
        solutions = []
        for tau in [objective.noise_threshold] if noise_like else [objective.noise_threshold, 0.0, -np.inf]:
            problem = Problem(objective.variant(linear_above=tau, smoothing=smoothings[0]), constraint)
            method = _method(problem, theta, tol=tol, explore=True)
            method = method if noise_like else islice(method, START_ITERATIONS)
            solutions.append((yield from _solved(method, tol, final=False)))
        if noise_like and not objective.has_kinks and objective.is_lowest(solutions[0].objective):
            # The loss is nowhere above its majorant.
            yield solutions[0]._replace(criterion=0.0, final=True)
            return
        theta = (solutions[0] if noise_like else _best_of(objective, solutions)).parameters
    for eps in smoothings:
        problem = Problem(objective.variant(smoothing=eps), constraint)
        method = _method(problem, theta, tol=tol, explore=False)
        theta = (yield from _solved(method, tol, final=eps == smoothings[-1])).parameters


def _best_of(objective, solutions):
    losses = objective.values([solution.parameters for solution in solutions])
    return solutions[int(np.argmax(losses <= losses.min() * (1 + MARGIN)))]


def _method(problem, theta, *, tol, explore):
    """Return the method for the set of the problem; without `explore` it is local."""
    if not problem.constraint.convex and (explore or not problem.constraint.curved):
        return pursuit(problem, theta, tol=tol, explore=explore)
    if explore and problem.constraint.atoms(1) is not None and not np.any(theta):
        theta = atomic_start(problem, theta)
    return spectral_newton(problem, theta, tol=tol)


def _solved(method, tol, *, final):
    """Yield the iterates of one stage and return the last; the loop ends the final stage, here ends any other."""
    for iterate in method:
        yield iterate if final else iterate._replace(final=False, finished="")
        if not final and iterate.final and iterate.criterion <= tol:
            break
    return iterate
