"""Sets of sparse vectors: few nonzero coefficients, of any sign or nonnegative."""

import numpy as np

from skrelu.constraints.base import Cone, Face
from skrelu.constraints.checks import check_count, check_vector


def largest(score, n):
    """Return the sorted indices of the n largest entries of score; of equal entries the lowest indices. O(d)."""
    if n >= score.size:
        return np.arange(score.size)
    if n == 0:
        return np.arange(0)
    threshold = np.partition(score, -n)[-n]
    kept = np.flatnonzero(score >= threshold)
    if kept.size == n:
        return kept
    above = np.flatnonzero(score > threshold)
    level = np.flatnonzero(score == threshold)[: n - above.size]
    return np.sort(np.concatenate([above, level]))


def restricted(w, support):
    """Return w on the support, zero elsewhere."""
    u = np.zeros_like(w)
    u[support] = w[support]
    return u


class L0Ball(Cone):
    """Vectors with few nonzero entries: ``K = {w : |{i : w_i != 0}| <= n_nonzero}``.

    The projection keeps the n_nonzero entries of largest magnitude (hard thresholding); of equal magnitudes the lowest
    index wins. K is a union of subspaces, not convex. The face at w is the coordinate subspace of its support.

    Parameters
    ----------
    n_nonzero : int, default=1
        Entries that may differ from zero, >= 0; d or more means no constraint.

    Examples
    --------
    >>> from skrelu.constraints import L0Ball
    >>> L0Ball(2).project([1.0, -3.0, 2.0])
    array([ 0., -3.,  2.])
    """

    convex = False
    size_parameter = "n_nonzero"
    diagonal = True

    def __init__(self, n_nonzero=1):
        self.n_nonzero = n_nonzero

    def project(self, w):  # noqa: D102 - the contract of Constraint
        w, n = check_vector(w, self._name), check_count(self.n_nonzero, "n_nonzero", self._name)
        return w if np.count_nonzero(w) <= n else restricted(w, largest(np.abs(w), n))

    def face(self, w):  # noqa: D102 - the contract of Constraint
        check_count(self.n_nonzero, "n_nonzero", self._name)
        return Face(np.flatnonzero(check_vector(w, self._name)))

    def size_of(self, w):  # noqa: D102 - the contract of Constraint
        return int(np.count_nonzero(w))


class NonnegativeSparse(L0Ball):
    """Nonnegative vectors with few nonzero entries: ``K = {w >= 0 : |{i : w_i > 0}| <= n_nonzero}``.

    A kept entry moves by ``max(-w_i, 0)``, a dropped one by ``|w_i|``: keeping saves ``max(w_i, 0)^2``. The projection
    therefore clips at zero, then keeps the n_nonzero largest entries; of equal ones the lowest index wins. K is not
    convex. The face at w is the coordinate subspace of its strictly positive entries.

    Parameters
    ----------
    n_nonzero : int, default=1
        Entries that may differ from zero, >= 0; d or more leaves only the signs constrained.

    Examples
    --------
    >>> from skrelu.constraints import NonnegativeSparse
    >>> NonnegativeSparse(1).project([1.0, -3.0, 2.0])
    array([0., 0., 2.])
    """

    def project(self, w):  # noqa: D102 - the contract of Constraint
        return super().project(np.maximum(check_vector(w, self._name), 0))
