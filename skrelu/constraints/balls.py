"""Norm balls of vectors, and the simplex, by one exact water-filling."""

import numpy as np

from skrelu.constraints.base import Ball, Face
from skrelu.constraints.checks import check_radius, check_vector, on_boundary, scaled_down, scaled_up
from skrelu.constraints.sparse import L0Ball, NonnegativeSparse


def simplex_shares(v, radius):
    """Return q >= 0, sum q = 1, such that ``radius q = argmin {|u - v|_2 : u >= 0, sum u = radius}``.

    The minimiser is ``u_i = max(v_i - theta, 0)``. With the gaps ``z_i = (max v - v_i) / radius`` it reads
    ``q_i = max(t - z_i, 0)``, where ``sum_i q_i = 1`` gives ``t = (1 + sum of the m smallest gaps) / m`` and m is the
    largest k with ``k z_(k) - sum_{j <= k} z_(j) < 1``. As t <= 1, only gaps up to 1 matter; measured so, the error
    is relative to radius rather than to max |v|, and nothing overflows. O(d log d).

    Parameters
    ----------
    v : ndarray of shape (d,), float64
    radius : float >= 0
        At 0 (an underflow of the caller's change of scale), the limit: equal shares of the largest entries.

    Returns
    -------
    ndarray of shape (d,)
    """
    with np.errstate(over="ignore"):
        gap = v.max() - v
    near = np.flatnonzero(gap <= radius)
    z = gap[near] / radius if radius > 0 else gap[near]
    ordered = np.sort(z)
    m = np.count_nonzero(np.arange(1, z.size + 1) * ordered - np.cumsum(ordered) < 1)
    q = np.zeros_like(v)
    q[near] = np.maximum((1 + ordered[:m].sum()) / m - z, 0)
    # A rounding of t by eps moves the sum by m eps; the division takes it back.
    return q / q.sum()


class L1Ball(Ball):
    """The l1 ball ``K = {w : sum_i |w_i| <= radius}``.

    The projection of an outer point is ``sign(w_i) max(|w_i| - theta, 0)`` with theta such that the result lies on the
    sphere, found exactly by sorting [1]_. On the sphere (``|w|_1 >= radius (1 - 1000 eps)``) the face is the support
    of w with normal sign(w); inside it is the whole space.

    Parameters
    ----------
    radius : float, default=1.0
        Bound on the l1 norm, in units of the weights: finite, >= 0.

    References
    ----------
    .. [1] J. Duchi, S. Shalev-Shwartz, Y. Singer and T. Chandra, "Efficient projections onto the l1-ball for
       learning in high dimensions", ICML 2008.

    Examples
    --------
    >>> from skrelu.constraints import L1Ball
    >>> L1Ball(2.0).project([3.0, -2.0, 0.5])
    array([ 1.5, -0.5,  0. ])
    """

    def __init__(self, radius=1.0):
        self.radius = radius

    def project(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        radius = check_radius(self.radius, self._name)
        u, bound, _ = scaled_down(w, radius)
        if np.abs(u).sum() <= bound:
            return w
        v = w.astype(np.float64)
        return (np.sign(v) * (radius * simplex_shares(np.abs(v), radius))).astype(w.dtype)

    def face(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        u, bound, _ = scaled_down(w, check_radius(self.radius, self._name))
        if not on_boundary(np.abs(u).sum(), bound, w.dtype):
            return Face(np.arange(w.size))
        return Face(np.flatnonzero(w), normal=np.sign(w))

    def size_of(self, w):  # noqa: D102 - the contract of Constraint
        return float(np.abs(w).sum())

    def atoms(self, size):  # noqa: D102 - the contract of Constraint
        return L0Ball(size)


class L2Ball(Ball):
    """The Euclidean ball ``K = {w : (sum_i w_i^2)^(1/2) <= radius}``.

    The projection of an outer point is ``radius w / |w|_2``. The face is the whole space; on the sphere (``|w|_2 >=
    radius (1 - 1000 eps)``) with normal ``w / |w|_2`` and curvature ``I / |w|_2``, given as its diagonal. At radius 0
    the face is the point.

    Parameters
    ----------
    radius : float, default=1.0
        Bound on the Euclidean norm, in units of the weights: finite, >= 0.

    Examples
    --------
    >>> from skrelu.constraints import L2Ball
    >>> L2Ball(1.0).project([3.0, 4.0])
    array([0.6, 0.8])
    """

    def __init__(self, radius=1.0):
        self.radius = radius

    def project(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        radius = check_radius(self.radius, self._name)
        u, bound, _ = scaled_down(w, radius)
        norm = np.linalg.norm(u)
        return w if norm <= bound else (radius * (u / norm)).astype(w.dtype)

    def face(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        u, bound, exponent = scaled_down(w, check_radius(self.radius, self._name))
        norm = np.linalg.norm(u)
        if not on_boundary(norm, bound, w.dtype):
            return Face(np.arange(w.size))
        if norm == 0:
            return Face(np.arange(0))
        curvature = scaled_up(np.full(w.size, 1 / norm), -exponent, w.dtype)
        return Face(np.arange(w.size), (u / norm).astype(w.dtype), curvature)

    def size_of(self, w):  # noqa: D102 - the contract of Constraint
        return float(np.linalg.norm(w))


class Simplex(Ball):
    """The simplex ``K = {w >= 0 : sum_i w_i = radius}``.

    The projection is ``max(w_i - theta, 0)`` with theta such that the sum is radius, found exactly by sorting; a w >= 0
    whose sum is within ``10 eps radius`` of radius already lies in K. The face at w is its support, with the vector of
    ones there as normal: the multiplier of this equation may have either sign.

    Parameters
    ----------
    radius : float, default=1.0
        Sum of the weights, in their units: finite, >= 0.

    Examples
    --------
    >>> from skrelu.constraints import Simplex
    >>> Simplex(1.0).project([0.75, 0.75, -1.0])
    array([0.5, 0.5, 0. ])
    """

    def __init__(self, radius=1.0):
        self.radius = radius

    def project(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        radius = check_radius(self.radius, self._name)
        u, total, _ = scaled_down(w, radius)
        if w.min() >= 0 and abs(u.sum() - total) <= 10 * float(np.finfo(w.dtype).eps) * total:
            return w
        return scaled_up(radius * simplex_shares(w.astype(np.float64), radius), 0, w.dtype)

    def face(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        check_radius(self.radius, self._name)
        return Face(np.flatnonzero(w > 0), normal=(w > 0).astype(w.dtype), equation=True)

    def size_of(self, w):  # noqa: D102 - the contract of Constraint
        return float(np.maximum(w, 0).sum())

    def atoms(self, size):  # noqa: D102 - the contract of Constraint
        return NonnegativeSparse(size)
