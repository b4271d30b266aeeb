"""Thresholding pursuit with Newton steps on the face, over sets that grow and shrink, for nonconvex sets."""

from dataclasses import replace

import numpy as np

from skrelu.solvers.face_newton import face_maps, newton_point
from skrelu.solvers.loop import Iterate
from skrelu.solvers.spectral import spectral_newton

LADDER = (0.25, 0.5, 0.75, 1.0)  # sizes of the sets that lead from nothing to K, relative to that of K
EXCURSIONS = (0.5, 2.0, 0.25, 3.0, 0.75, 1.5)  # sizes of the sets by which the pursuit leaves a local optimum
MARGIN = 1e-3  # an excursion wins only if it lowers the objective by more than this, relatively
THRESHOLDING_STEPS = 30  # on one set, at most; the faces repeat after a handful
IDLE_STEPS = 4  # thresholding steps without a new lowest objective, at most
NEWTON_STEPS = 2  # on each new face, at most
SOLVED = 1e-8  # decrease of the gradient within the face by which one of them counts as exact
POLISHING_STEPS = 20  # on the last face, at most


def pursuit(problem, theta, *, tol, explore=True):
    """Yield iterates of a pursuit over a set K of sparse, group-sparse or low-rank parameters.

    ``min_{theta in K} F(theta)``. On one set: threshold a gradient step, ``theta <- P_K(theta - t g)`` with
    ``1/t`` the mean curvature, solve on the face (the support) by Newton steps, until the faces repeat (hard
    thresholding pursuit, Foucart 2011, for linear observations). When `explore`, around it: the sets grow from a
    quarter of the size of K up to K, each starting from the solution on the one before (at once with K when theta is
    not zero); then excursions to smaller and larger sizes and back leave local optima, for as long as one of them
    lowers the objective. An iterate is the best point of K found so far.

    The criterion is ``|B'g|_2``, the gradient within the face, and counts once nothing else helps. Faces that are
    curved (matrices of low rank) end with `spectral_newton`, whose criterion it then is.

    Parameters
    ----------
    problem : Problem
        Whose set has a size.
    theta : ndarray
        Any start; projected.
    tol : float
        For `spectral_newton`.
    explore : bool
    """
    constraint = problem.constraint
    best = latest = problem.at(constraint.project(theta))
    if best.is_lowest:
        yield _iterate(problem, best, final=True)
        return
    ladder = _sizes(problem, best, LADDER) if explore and not np.any(theta) else [constraint.size]
    excursions = _sizes(problem, best, EXCURSIONS) if explore else []
    for size in ladder:
        start = latest
        for latest in _threshold(problem.on(constraint.resized(size)), start):
            if latest.value < best.value:
                best = replace(latest, problem=problem)
            yield _iterate(problem, best, final=best.is_lowest)
    left = list(excursions)
    while left and not best.is_lowest:
        away = best
        for point in _threshold(problem.on(constraint.resized(left.pop(0))), best):
            away = point
            yield _iterate(problem, best, final=best.is_lowest)
        for point in _threshold(problem, problem.at(constraint.project(away.theta))):
            if point.value < best.value * (1 - MARGIN):
                best, left = point, list(excursions)
            yield _iterate(problem, best, final=best.is_lowest)
    if constraint.curved:
        for iterate in spectral_newton(problem, best.theta, tol=tol):
            if iterate.criterion <= tol:
                yield iterate._replace(finished="no exchange of the face helps")
                return
            yield iterate
        return
    for _ in range(POLISHING_STEPS):
        new = newton_point(problem, best)
        if new is None:
            break
        best = new
    yield _iterate(problem, best, final=True)._replace(finished="no exchange of the face helps")


def atomic_start(problem, theta):
    """Return a start for a convex K that is the hull of atoms: a pursuit over few, then more of them, projected on K.

    Near the sample size at which a convex set just determines the parameters, projected gradients take hundreds of
    steps to find its face; the pursuit finds a small one in a few. The number of atoms doubles until the objective
    falls by less than a tenth or the combination leaves K.
    """
    constraint = problem.constraint
    point = problem.at(constraint.project(theta))
    size = 1 if constraint.atoms(1).curved else 4
    while not point.is_lowest and size <= len(theta):
        before = point
        for found in _threshold(problem.on(constraint.atoms(size)), before):
            point = found
        feasible = constraint.project(point.theta)
        if point.value > 0.9 * before.value or not np.allclose(feasible, point.theta, rtol=1e-10, atol=0):
            return feasible if point.value < before.value else before.theta
        size *= 2
    return point.theta


def _sizes(problem, point, factors):
    """Return the sizes of sets relative to that of K; sets larger than K only where they are not the whole space."""
    size, whole = problem.constraint.size, problem.constraint.size_of(point.gradient)
    sizes = dict.fromkeys(max(min(1, size), round(size * factor)) for factor in factors)
    return [m for m in sizes if m <= size or m < whole]


def _iterate(problem, point, *, final):
    restrict, _ = face_maps(problem.constraint.face(point.theta).basis, point.theta)
    criterion = 0.0 if point.is_lowest else float(np.linalg.norm(restrict(point.gradient)))
    return Iterate(point.theta, point.value, criterion, final)


def _threshold(problem, point):
    """Yield the points of a thresholding pursuit on one set, from a point that need not belong to it."""
    constraint, seen, lowest, idle = problem.constraint, set(), np.inf, 0
    for _ in range(THRESHOLDING_STEPS):
        if point.is_lowest or idle == IDLE_STEPS:
            return
        candidate = constraint.project(point.theta - point.gradient / (point.curvature or 1))
        face = constraint.face(candidate).basis
        restrict, _ = face_maps(face, candidate)
        key = face.tobytes() if face.ndim == 1 else None
        if key in seen:
            return
        value = point.value
        point = problem.at(candidate)
        for _ in range(NEWTON_STEPS):
            new = newton_point(problem, point)
            if new is None:
                break
            before, point = point, new
            if np.linalg.norm(restrict(new.gradient)) <= SOLVED * np.linalg.norm(restrict(before.gradient)):
                break
        if key is None and not point.value < value * (1 - MARGIN):
            return
        seen.add(key)
        idle = 0 if point.value < lowest else idle + 1
        lowest = min(lowest, point.value)
        yield point
