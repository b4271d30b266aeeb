"""Sets that use the order of the coordinates: monotone vectors, and vectors of bounded variation."""

import heapq
import math

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.sparse import csr_array

from skrelu.constraints.base import Ball, Cone, Face
from skrelu.constraints.checks import BOUNDARY_EPS, check_radius, check_vector, scaled_up


def with_headroom(w):
    """Return ``2**-e w`` in float64 and e >= 0, the smallest that keeps sums of 4 d such entries finite."""
    exponent = max(0, math.frexp(float(np.abs(w).max()))[1] + math.frexp(4 * w.size)[1] - 1023)
    return np.ldexp(w.astype(np.float64), -exponent), exponent


def run_starts(w):
    """Return the first index of each maximal run of equal neighbours."""
    return np.concatenate([[0], np.flatnonzero(w[1:] != w[:-1]) + 1])


def run_indicators(w):
    """Return the (d, p) sparse matrix whose columns indicate the p maximal runs of equal neighbours."""
    label = np.zeros(w.size, dtype=np.intp)
    label[run_starts(w)[1:]] = 1
    label = np.cumsum(label)
    return csr_array((np.ones_like(w), label, np.arange(w.size + 1)), shape=(w.size, int(label[-1]) + 1))


class Monotone(Cone):
    """Monotone vectors: ``K = {w : w_1 <= w_2 <= ... <= w_d}``, or with >= if increasing is False.

    The projection is isotonic regression (pool adjacent violators, O(d)). The face at w is the subspace of vectors
    constant on the maximal runs of equal neighbours of w; its basis indicates the runs.

    Parameters
    ----------
    increasing : bool, default=True
        Whether weights rise along the columns, or fall.

    Examples
    --------
    >>> from skrelu.constraints import Monotone
    >>> Monotone().project([1.0, 3.0, 2.0, 4.0])
    array([1. , 2.5, 2.5, 4. ])
    """

    def __init__(self, increasing=True):
        self.increasing = increasing

    def _checked_direction(self):
        if not isinstance(self.increasing, bool | np.bool_):
            raise ValueError(f"Monotone: increasing must be True or False, got {self.increasing!r}")
        return bool(self.increasing)

    def project(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        upward = w if self._checked_direction() else w[::-1]
        if (upward[1:] >= upward[:-1]).all():
            return w
        u, exponent = with_headroom(w)
        return scaled_up(isotonic_regression(u, increasing=self._checked_direction()).x, exponent, w.dtype)

    def face(self, w):  # noqa: D102 - the contract of Constraint
        self._checked_direction()
        return Face(run_indicators(check_vector(w, self._name)))


class TotalVariationBall(Ball):
    """Vectors of bounded total variation: ``K = {w : sum_i |w_{i+1} - w_i| <= radius}``.

    The projection is exact, by the path of ``min_u |u - w|^2 / 2 + lam TV(u)`` [1]_, piecewise linear in lam >= 0. A
    run of n equal entries whose data sum to s takes the value ``(s - lam c) / n``, where c is the number of its
    neighbours (0, 1 or 2) that lie below minus the number above. As lam grows neighbouring runs meet and stay fused,
    their n, s and c add, and ``TV = sum c s / n - lam sum c^2 / n`` decreases. A heap of meeting times follows the
    path until TV would fall below radius, and the last equation gives lam. O(d log d).

    On the boundary, ``TV(w) >= radius - 1000 eps (radius + |w|_inf)``, the face is the subspace of vectors constant
    on the runs of w, with normal ``D' sign(D w)``, D the differences; inside it is the whole space. At radius 0 the
    face is the line of constant vectors.

    Parameters
    ----------
    radius : float, default=1.0
        Bound on the total variation, in units of the weights: finite, >= 0; at 0 the projection is the mean.

    References
    ----------
    .. [1] H. Hoefling, "A path algorithm for the fused lasso signal approximator", Journal of Computational and
       Graphical Statistics 19 (2010).

    Examples
    --------
    >>> from skrelu.constraints import TotalVariationBall
    >>> TotalVariationBall(3.0).project([0.0, 3.0, 0.0])
    array([0.5, 2. , 0.5])
    """

    def __init__(self, radius=1.0):
        self.radius = radius

    def project(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        u, exponent = with_headroom(w)
        radius = math.ldexp(check_radius(self.radius, self._name), -exponent)
        if np.abs(np.diff(u)).sum() <= radius:
            return w
        # The variation ignores a constant: without it the sums of runs do not cancel.
        centre = u.mean()
        bounded = fused(u - centre, radius) if radius > 0 else np.zeros_like(u)
        return scaled_up(centre + bounded, exponent, w.dtype)

    def face(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        u, exponent = with_headroom(w)
        radius = math.ldexp(check_radius(self.radius, self._name), -exponent)
        roundings = BOUNDARY_EPS * float(np.finfo(w.dtype).eps)
        tolerance = roundings * radius + roundings * np.abs(u).max()
        if radius == 0:
            return Face(csr_array(np.ones((w.size, 1), dtype=w.dtype)))
        if np.abs(np.diff(u)).sum() < radius - tolerance:
            return Face(np.arange(w.size))
        step = np.concatenate([[0], np.sign(np.diff(u)), [0]])
        return Face(run_indicators(w), normal=-np.diff(step).astype(w.dtype))

    def size_of(self, w):  # noqa: D102 - the contract of Constraint
        return float(np.abs(np.diff(w)).sum())


def fused(w, radius):
    """Return the point of the path of `TotalVariationBall` with variation radius, 0 < radius < TV(w); w has mean 0."""
    starts = run_starts(w)
    n = np.diff(starts, append=w.size)
    s = np.add.reduceat(w, starts)
    side = np.concatenate([[0], np.sign(np.diff(w[starts])), [0]]).astype(int)
    c = side[:-1] - side[1:]
    first = follow_path(n.tolist(), s.tolist(), c.tolist(), radius)
    starts, n = starts[first], np.add.reduceat(n, first)
    s, c = np.add.reduceat(s, first), np.add.reduceat(c, first)
    # Solved anew from the final runs, so that lam carries no error of the running sums.
    slope = (c * c / n).sum()
    lam = max(0.0, ((c * s / n).sum() - radius) / slope) if slope > 0 else 0.0
    values = (s - lam * c) / n
    # Runs are known to eps |w|, which is much beside a small radius: scaled about the mean, which is 0, to meet it.
    variation = np.abs(np.diff(values)).sum()
    return np.repeat(values * (radius / variation if variation > 0 else 1.0), n)


def follow_path(n, s, c, radius):
    """Fuse runs in the order in which they meet, as long as the variation stays above radius.

    Parameters
    ----------
    n, s, c : lists
        Length, data sum and number of neighbours below minus above of each run; used up.
    radius : float

    Returns
    -------
    list of int
        The first of the runs fused into each final run.
    """
    p = len(n)
    before, after = list(range(-1, p - 1)), list(range(1, p + 1))
    meets = [math.inf] * p  # the lam at which run i and the next one meet; nan once run i is part of an earlier one
    heap: list[tuple[float, int]] = []

    def schedule(left, right):
        """Set the meeting time; two runs that both stand still (c = 0) meet only after another change."""
        closing = c[right] / n[right] - c[left] / n[left]
        meets[left] = (s[right] / n[right] - s[left] / n[left]) / closing if closing else math.inf
        if closing:
            heapq.heappush(heap, (meets[left], left))

    for i in range(p - 1):
        schedule(i, i + 1)
    level = sum(ci * si / ni for ni, si, ci in zip(n, s, c, strict=True))
    slope = sum(ci * ci / ni for ni, ci in zip(n, c, strict=True))
    while heap:
        lam, i = heapq.heappop(heap)
        if lam != meets[i]:
            continue
        if level - lam * slope <= radius:
            break
        j = after[i]
        level -= c[i] * s[i] / n[i] + c[j] * s[j] / n[j]
        slope -= c[i] * c[i] / n[i] + c[j] * c[j] / n[j]
        n[i], s[i], c[i], after[i] = n[i] + n[j], s[i] + s[j], c[i] + c[j], after[j]
        level += c[i] * s[i] / n[i]
        slope += c[i] * c[i] / n[i]
        meets[i] = meets[j] = math.nan
        if before[i] >= 0:
            schedule(before[i], i)
        if after[i] < p:
            before[after[i]] = i
            schedule(i, after[i])
    final = [0]
    while after[final[-1]] < p:
        final.append(after[final[-1]])
    return final
