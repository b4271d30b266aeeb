"""Spectral projected gradient steps that find the face, Newton steps on the face: the default for convex sets."""

from collections import deque
from operator import attrgetter

import numpy as np

from skrelu.solvers.face_newton import newton_point
from skrelu.solvers.loop import Iterate

MEMORY = 10  # objectives that the nonmonotone test looks back to
SUFFICIENT = 1e-4  # fraction of the decrease promised by the gradient that a step must bring
SHORT_STEP = 1e-2  # tried, with its fractions, where no fraction of a longer step brings descent
STALLED = 100  # gradient steps without a decrease beyond rounding after which nothing more is expected
LONGEST_WAIT = 32  # gradient steps between two Newton steps that fail


def spectral_newton(problem, theta, *, tol):
    """Yield iterates of spectral projected gradient descent with Newton steps on the faces that it finds.

    ``min_{theta in K} F(theta)``. Gradient steps ``theta <- P_K(theta - t g)`` have the Barzilai-Borwein length and a
    nonmonotone search along the projection arc (Birgin, Martinez and Raydan 2000). Once the face of the iterate keeps
    its dimension, a Newton step on the face is tried: it goes on for as long as it makes progress, and is tried less
    and less often while it fails.

    The criterion is ``|theta - P_K(theta - g)|_2``; after a gradient step an upper bound of it. When it falls to `tol`,
    Newton steps polish the last digits for as long as they improve.

    Parameters
    ----------
    problem : Problem
    theta : ndarray
        Any start; projected.
    tol : float
    """
    point = problem.at(problem.constraint.project(theta))
    if point.is_lowest or point.optimality <= tol:
        point, optimality = _polish(problem, point, point.optimality, tol)
        yield Iterate(point.theta, point.value, optimality, finished="the start is stationary already")
        return
    recent = deque([point.value], maxlen=MEMORY)
    t, dimension, age, wait, newton = 1.0, None, 0, 1, True
    lowest, idle = point, 0
    while True:
        new = newton_point(problem, point) if newton else None
        if new is not None:
            optimality = new.optimality
            newton = optimality < point.optimality / 2 or new.value < 0.9 * point.value
            wait = 1 if newton else wait
            point, optimality = _polish(problem, new, optimality, tol)
            lowest = min(lowest, point, key=attrgetter("value"))
            recent.append(point.value)
            yield Iterate(point.theta, point.value, optimality)
            continue
        if newton:
            newton, age, wait = False, 0, min(2 * wait, LONGEST_WAIT)
        new = _spectral_point(problem, point, t, max(recent))
        if new is None and t > SHORT_STEP:
            t = SHORT_STEP
            continue
        if new is None or idle == STALLED:
            yield Iterate(lowest.theta, lowest.value, lowest.optimality, finished="no descent is left beyond rounding")
            return
        step, change = new.theta - point.theta, new.gradient - point.gradient
        length, curvature = float(np.linalg.norm(step)), float(step @ change)
        # |theta - P(theta - t g)| grows with t, and divided by t it falls: at t = 1 it is at most this.
        criterion = length * max(1.0, 1 / t)
        t = float(np.clip(length**2 / curvature, 1e-10, 1e10)) if curvature > 0 else min(2 * t, 1e10)
        point = new
        recent.append(point.value)
        idle = 0 if point.value < lowest.value * (1 - 8 * float(np.finfo(theta.dtype).eps)) else idle + 1
        lowest = min(lowest, point, key=attrgetter("value"))
        before, dimension, age = dimension, problem.face_dimension(point.theta), age + 1
        newton = dimension is not None and ((age >= wait and dimension == before) or age >= 4 * wait)
        point, criterion = _polish(problem, point, criterion, tol)
        yield Iterate(point.theta, point.value, criterion)


def _spectral_point(problem, point, t, reference):
    """Return the point after one gradient step that brings the objective sufficiently below the reference, or None."""

    def arc(a):
        return problem.constraint.project(point.theta - a * t * point.gradient)

    new = problem.at(arc(1.0))
    # Rounding of the objective hides a decrease that the gradient still resolves.
    rounding = 8 * float(np.finfo(point.theta.dtype).eps) * point.value
    if new.value <= reference + rounding + SUFFICIENT * float(point.gradient @ (new.theta - point.theta)):
        return new
    return problem.search(arc, reference)


def _polish(problem, point, optimality, tol):
    """Return the point after Newton steps that go on while each halves an optimality that is at most tol already.

    Where the residual is at rounding level nothing is left to polish.
    """
    while 0 < optimality <= tol and not point.is_lowest:
        new = newton_point(problem, point)
        if new is None or not new.optimality <= optimality / 2:
            break
        point, optimality = new, new.optimality
    return point, optimality
