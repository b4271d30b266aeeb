"""Newton steps on a face: once a projected method has found the piece of K that holds the solution, solve there."""

from dataclasses import replace

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, cg

# Above this dimension of the face its Gauss-Newton matrix is not formed: conjugate gradients use one pass a product.
DENSE_LIMIT = 1000
CG_PASSES = 100


def newton_point(problem, point):
    """Return the point after a Newton step on the face of `point`, projected and backtracked, None without descent.

    Where the objective has reached rounding level, a step that halves the optimality counts as descent. A step along
    the level of the gauge that brings none is followed by one that may leave it: near a radius at which the constraint
    ceases to be active the multiplier does not tell.
    """
    face = problem.constraint.face(point.theta)
    if face is None:
        return None
    new = _step(problem, point, face)
    if new is None and face.normal is not None and not face.equation:
        new = _step(problem, point, replace(face, normal=None, curvature=None))
    return new


def _step(problem, point, face):
    d = newton_direction(problem.objective, face, point.theta, point.gradient)
    if not (np.all(np.isfinite(d)) and np.any(d)):
        return None

    def arc(a):
        return problem.constraint.project(point.theta + a * d)

    new = problem.at(arc(1.0))
    rounding = 8 * np.finfo(point.theta.dtype).eps * point.value
    if new.value < point.value - rounding:
        return new
    if new.value <= point.value + rounding:
        return new if new.optimality <= point.optimality / 2 else None
    return problem.search(arc, point.value - rounding)


def newton_direction(objective, face, theta, gradient):
    """Return the step d = B c that minimises the quadratic model of the objective on a face.

    ``min_c g'B c + (1/2) c'(B'HB + lam C) c`` subject to ``n'B c = 0``, H the Gauss-Newton matrix, n the normal of the
    face, C its curvature and ``lam = -g'n / n'n`` the least-squares multiplier. A negative multiplier says that the
    constraint is not active at the optimum: it is left out, and the projection that follows takes care of the rest.

    Parameters
    ----------
    objective : SingleReLU
    face : Face
    theta, gradient : ndarray of shape (size,)

    Returns
    -------
    ndarray of shape (size,)
    """
    restrict, expand = face_maps(face.basis, theta)
    normal, curvature, multiplier = None, None, 0.0
    if face.normal is not None and np.any(face.normal):
        multiplier = -float(gradient @ face.normal) / float(face.normal @ face.normal)
        if multiplier > 0 or face.equation:
            normal, curvature = restrict(face.normal), face.curvature
    reduced = restrict(gradient)
    size = len(reduced)
    if size == 0:
        return np.zeros_like(theta)
    if size <= DENSE_LIMIT:
        H = objective.gauss_newton(theta, face.basis)
        if curvature is not None:
            H = H + multiplier * (np.diag(curvature) if curvature.ndim == 1 else curvature)
        solve = _symmetric_solver(H)
    else:

        def product(c):
            Hc = restrict(objective.gauss_newton_product(theta, expand(c)))
            if curvature is None:
                return Hc
            return Hc + multiplier * (curvature * c if curvature.ndim == 1 else curvature @ c)

        operator = LinearOperator((size, size), matvec=product, dtype=theta.dtype)
        tolerance = 100 * np.finfo(theta.dtype).eps

        def solve(u):
            return cg(operator, u, rtol=tolerance, maxiter=CG_PASSES)[0]

    c = -solve(reduced)
    if normal is not None:
        across = solve(normal)
        c -= across * (normal @ c) / (normal @ across)
    return expand(c)


def face_maps(basis, theta):
    """Return u -> B'u and c -> B c."""
    if not (isinstance(basis, np.ndarray) and basis.dtype.kind == "i"):
        return lambda u: basis.T @ u, lambda c: np.asarray(basis @ c)

    def expand(c):
        d = np.zeros_like(theta)
        d[basis] = c
        return d

    return lambda u: u[basis], expand


def _symmetric_solver(H):
    """Return u -> H^+ u for a positive semidefinite H, by Cholesky with complete pivoting, ``P'HP = L L'``.

    Pivots below ``10 p eps`` times the largest count as zero. Then L is (p, r) and ``H^+ = L (L'L)^-2 L'``: among the
    minimisers the step is the shortest, which makes it unique, and the same for weighted and repeated rows.
    """
    if not np.all(np.isfinite(H)):
        return lambda u: u * np.nan
    size = len(H)
    (pstrf,) = linalg.get_lapack_funcs(("pstrf",), (H,))
    factor, order, rank, _ = pstrf(H, lower=1, tol=10 * size * np.finfo(H.dtype).eps * np.max(np.diag(H)))
    order = order - 1
    L = np.tril(factor)[:, :rank]
    inner = None if rank == size else linalg.cho_factor(L.T @ L, check_finite=False)

    def solve(u):
        if inner is None:
            x = linalg.cho_solve((L, True), u[order], check_finite=False)
        else:
            x = L @ linalg.cho_solve(
                inner, linalg.cho_solve(inner, L.T @ u[order], check_finite=False), check_finite=False
            )
        result = np.empty_like(x)
        result[order] = x
        return result

    return solve
