"""Sets of matrices: w is the row-major vector of an (a, b) matrix W."""

import numpy as np
from scipy.linalg import svd

from skrelu.constraints.balls import simplex_shares
from skrelu.constraints.base import Ball, Cone, Face
from skrelu.constraints.checks import check_count, check_radius, check_vector, on_boundary, scaled_down, scaled_up


def check_shape(shape, d, owner):
    """Return shape as two integers >= 1 with product d."""
    sides = tuple(shape) if np.iterable(shape) else (shape,)
    if len(sides) != 2:
        raise ValueError(f"{owner}: shape must be two integers >= 1, got {shape!r}")
    a, b = (check_count(side, "each side of shape", owner) for side in sides)
    if a * b != d:
        raise ValueError(f"{owner}: shape ({a}, {b}) has {a * b} entries but w has {d}")
    return a, b


def numerical_rank(s, shape, dtype):
    """Return the number of singular values above ``max(a, b) eps`` times the largest."""
    return int(np.count_nonzero(s > max(shape) * float(np.finfo(dtype).eps) * s[0]))


def tangent_basis(U, Vt, rank):
    """Return an orthonormal basis (a b, rank (a + b - rank)) of the tangent space of the matrices of this rank.

    At ``W = U_r S V_r'`` it is ``{U_r X' + Y V_r'}``: the products ``u_i v_j'`` with i or j among the first r. U and
    Vt are square.
    """
    V = Vt.T
    return np.hstack([np.kron(U[:, :rank], V), np.kron(U[:, rank:], V[:, :rank])])


class LowRank(Cone):
    """Matrices of low rank: ``K = {w = vec(W) : rank W <= rank}``, W of the given shape, vec row by row.

    The projection keeps the largest singular values [1]_; of equal ones, those that the singular value
    decomposition lists first. A W of that numerical rank (singular values up to ``max(a, b) eps`` times the largest
    are zero) already lies in K. K is not convex. The face at w is the tangent space of the matrices of the same rank
    r as W, of dimension ``r (a + b - r)``, or the whole space where rank is min(a, b) or more.

    Parameters
    ----------
    shape : (int, int)
        Sides (a, b) of W, ``a b = d``.
    rank : int, default=1
        Largest rank, >= 0.

    References
    ----------
    .. [1] C. Eckart and G. Young, "The approximation of one matrix by another of lower rank", Psychometrika 1
       (1936).

    Examples
    --------
    >>> from skrelu.constraints import LowRank
    >>> LowRank((2, 2), 1).project([3.0, 0.0, 0.0, 1.0]) + 0.0
    array([3., 0., 0., 0.])
    """

    convex = False
    curved = True
    size_parameter = "rank"

    def __init__(self, shape, rank=1):
        self.shape = shape
        self.rank = rank

    def project(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        shape, r = check_shape(self.shape, w.size, self._name), check_count(self.rank, "rank", self._name)
        u, _, exponent = scaled_down(w)
        U, s, Vt = svd(u.reshape(shape), full_matrices=False)
        if numerical_rank(s, shape, w.dtype) <= r:
            return w
        return scaled_up(((U[:, :r] * s[:r]) @ Vt[:r]).ravel(), exponent, w.dtype)

    def face(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        shape, r = check_shape(self.shape, w.size, self._name), check_count(self.rank, "rank", self._name)
        if r >= min(shape):
            return Face(np.arange(w.size))
        U, s, Vt = svd(scaled_down(w)[0].reshape(shape))
        return Face(tangent_basis(U, Vt, min(r, numerical_rank(s, shape, w.dtype))).astype(w.dtype))

    def size_of(self, w):  # noqa: D102 - the contract of Constraint
        return int(np.linalg.matrix_rank(w.reshape(self.shape)))


class NuclearBall(Ball):
    """The ball of the nuclear norm: ``K = {w = vec(W) : sum of the singular values of W <= radius}``, vec row by row.

    The projection of an outer point projects the singular values onto the l1 ball. On the sphere (norm >= ``radius (1
    - 1000 eps)``) the face is the tangent space of the matrices of the numerical rank of ``W = U S V'`` (singular
    values up to ``max(a, b) eps`` times the largest are zero), with normal ``vec(U V')``; inside it is the whole
    space.

    Parameters
    ----------
    shape : (int, int)
        Sides (a, b) of W, ``a b = d``.
    radius : float, default=1.0
        Bound on the sum of the singular values, in units of the weights: finite, >= 0.

    Examples
    --------
    >>> from skrelu.constraints import NuclearBall
    >>> NuclearBall((2, 2), 2.0).project([3.0, 0.0, 0.0, 2.0]) + 0.0
    array([1.5, 0. , 0. , 0.5])
    """

    def __init__(self, shape, radius=1.0):
        self.shape = shape
        self.radius = radius

    def project(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        shape, radius = check_shape(self.shape, w.size, self._name), check_radius(self.radius, self._name)
        u, bound, _ = scaled_down(w, radius)
        U, s, Vt = svd(u.reshape(shape), full_matrices=False)
        if s.sum() <= bound:
            return w
        return (radius * ((U * simplex_shares(s, bound)) @ Vt).ravel()).astype(w.dtype)

    def face(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        shape, radius = check_shape(self.shape, w.size, self._name), check_radius(self.radius, self._name)
        u, bound, _ = scaled_down(w, radius)
        U, s, Vt = svd(u.reshape(shape))
        if not on_boundary(s.sum(), bound, w.dtype):
            return Face(np.arange(w.size))
        r = numerical_rank(s, shape, w.dtype)
        normal = (U[:, :r] @ Vt[:r]).ravel()
        return Face(tangent_basis(U, Vt, r).astype(w.dtype), normal.astype(w.dtype))

    def size_of(self, w):  # noqa: D102 - the contract of Constraint
        return float(np.linalg.norm(w.reshape(self.shape), "nuc"))

    def atoms(self, size):  # noqa: D102 - the contract of Constraint
        return LowRank(self.shape, size)
