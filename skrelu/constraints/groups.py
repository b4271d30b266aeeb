"""Sets of vectors whose coordinates come in groups: few groups, or a bounded sum of the groups' lengths."""

import numpy as np

from skrelu.constraints.balls import simplex_shares
from skrelu.constraints.base import Ball, Cone, Face
from skrelu.constraints.checks import check_count, check_radius, check_vector, on_boundary, scaled_down, scaled_up
from skrelu.constraints.sparse import largest, restricted


def group_index(groups, d, owner):
    """Return the number of the group of each of d coordinates; groups are numbered as they first appear."""
    labels = np.asarray(groups)
    if labels.ndim != 1:
        raise ValueError(f"{owner}: groups must be a vector of labels, got an array of shape {labels.shape}")
    if labels.size != d:
        raise ValueError(f"{owner}: groups has length {labels.size} but w has {d} entries")
    _, first, index = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[index]


def group_norms(u, index):
    """Return the l2 norm of u, |u|_inf <= 1, over each group. Each is scaled on its own: none underflows."""
    peak = np.zeros(index.max() + 1)
    np.maximum.at(peak, index, np.abs(u))
    exponent = np.frexp(peak)[1]
    squares = np.bincount(index, np.ldexp(u, -exponent[index]) ** 2)
    return np.ldexp(np.sqrt(squares), exponent)


class GroupL0Ball(Cone):
    """Vectors with few nonzero groups: ``K = {w : |{g : w_g != 0}| <= n_groups}``, w_g the coordinates labelled g.

    The projection keeps the n_groups groups of largest l2 norm, whatever their sizes; of equal norms the group that
    appears first wins. K is not convex. The face at w is the coordinate subspace of all coordinates of its nonzero
    groups. `rescaled` by a vector keeps K, because it keeps the zero groups.

    Parameters
    ----------
    groups : array-like of shape (d,)
        Integer or string label of the group of each coordinate.
    n_groups : int, default=1
        Groups that may differ from zero, >= 0.

    Examples
    --------
    >>> from skrelu.constraints import GroupL0Ball
    >>> GroupL0Ball(["a", "a", "b"], 1).project([2.0, 2.0, -2.5])
    array([2., 2., 0.])
    """

    convex = False
    size_parameter = "n_groups"
    diagonal = True

    def __init__(self, groups, n_groups=1):
        self.groups = groups
        self.n_groups = n_groups

    def project(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        n_groups = check_count(self.n_groups, "n_groups", self._name)
        index = group_index(self.groups, w.size, self._name)
        kept = largest(group_norms(scaled_down(w)[0], index), n_groups)
        return restricted(w, np.isin(index, kept))

    def face(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        check_count(self.n_groups, "n_groups", self._name)
        index = group_index(self.groups, w.size, self._name)
        return Face(np.flatnonzero(np.isin(index, index[w != 0])))

    def size_of(self, w):  # noqa: D102 - the contract of Constraint
        return int(np.count_nonzero(group_norms(w, group_index(self.groups, len(w), self._name))))


class GroupL1Ball(Ball):
    """The ball of the group lasso: ``K = {w : sum_g |w_g|_2 <= radius}``, w_g the coordinates labelled g.

    The projection of an outer point projects the vector of group norms onto the l1 ball and scales each group to its
    new norm. On the sphere (``sum_g |w_g|_2 >= radius (1 - 1000 eps)``) the face is made of the coordinates of the
    nonzero groups, with normal ``u_g = w_g / |w_g|_2`` and curvature ``(I - u_g u_g') / |w_g|_2`` in each group;
    inside it is the whole space.

    Parameters
    ----------
    groups : array-like of shape (d,)
        Integer or string label of the group of each coordinate.
    radius : float, default=1.0
        Bound on the sum of the lengths of the groups, in units of the weights: finite, >= 0.

    Examples
    --------
    >>> from skrelu.constraints import GroupL1Ball
    >>> GroupL1Ball([0, 0, 1], 2.5).project([3.0, 4.0, 0.5])
    array([1.5, 2. , 0. ])
    """

    def __init__(self, groups, radius=1.0):
        self.groups = groups
        self.radius = radius

    def _norms(self, w):
        """Return the group of each coordinate and, scaled down, w, the norm of each group and the radius."""
        index = group_index(self.groups, w.size, self._name)
        u, bound, exponent = scaled_down(w, check_radius(self.radius, self._name))
        return index, u, group_norms(u, index), bound, exponent

    def project(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        index, u, norms, bound, _ = self._norms(w)
        if norms.sum() <= bound:
            return w
        shares = simplex_shares(norms, bound)
        directions = u / np.where(norms > 0, norms, 1)[index]
        return (float(self.radius) * shares[index] * directions).astype(w.dtype)

    def face(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        index, u, norms, bound, exponent = self._norms(w)
        if not on_boundary(norms.sum(), bound, w.dtype):
            return Face(np.arange(w.size))
        basis = np.flatnonzero(norms[index] > 0)
        active = index[basis]
        normal = u / np.where(norms > 0, norms, 1)[index]
        n = normal[basis]
        same = active[:, None] == active
        with np.errstate(over="ignore"):  # beside a group of length 1, one below 1e-308 is curved beyond all numbers
            curvature = same * (np.eye(basis.size) - np.outer(n, n)) / norms[active]
        return Face(basis, normal.astype(w.dtype), scaled_up(curvature, -exponent, w.dtype))

    def size_of(self, w):  # noqa: D102 - the contract of Constraint
        return float(group_norms(w, group_index(self.groups, len(w), self._name)).sum())

    def atoms(self, size):  # noqa: D102 - the contract of Constraint
        return GroupL0Ball(self.groups, size)
