"""Distances between a planted network and a fitted one."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.utils import check_array


def recovery_error(coef_true, coef, *, sign_invariant=False, scale_invariant=False):
    """Relative error of recovered weights, up to the order of the units.

    The rows of two weight matrices W* (truth) and W are matched one to one, as many as the smaller matrix has, by the
    matching p with signs s (all 1 unless `sign_invariant`) that minimises the sum of squared distances::

        sum_i |W*_i - s_i W_p(i)|^2

    The error is the square root of that sum, to which each row left without partner adds its squared norm, be it a
    missing row of W* or a superfluous one of W, divided by ``|W*|_F``.

    Parameters
    ----------
    coef_true : array-like of shape (n_units, n_features) or (n_features,)
        Planted weights, one unit a row. A vector is one row.
    coef : array-like of shape (n_units_found, n_features) or (n_features,)
        Recovered weights.
    sign_invariant : bool, default=False
        Match each row up to its sign, for units that an even activation leaves undetermined.
    scale_invariant : bool, default=False
        Divide each row by its Euclidean norm first, for units whose scale moves freely into the next layer. Zero rows
        stay zero.

    Returns
    -------
    float
        The relative error: 0 when the rows agree exactly, 1 when W is zero. If W* is zero the error is 0 for W
        zero and infinite otherwise.

    Raises
    ------
    ValueError
        If an array is not one- or two-dimensional and finite, or the numbers of columns differ.

    Notes
    -----
    The matching minimises the sum of squared distances [1]_. Distances are computed from differences, never from
    ``|a|^2 + |b|^2 - 2 a'b``, so that errors down to the rounding of the weights themselves (1e-16) are resolved.

    References
    ----------
    .. [1] D. F. Crouse, "On implementing 2D rectangular assignment algorithms", IEEE Transactions on Aerospace and
       Electronic Systems 52 (2016).

    Examples
    --------
    >>> from skrelu.metrics import recovery_error
    >>> recovery_error([[3.0, 0.0], [0.0, 4.0]], [[0.0, 4.0], [3.0, 0.0]])
    0.0
    >>> recovery_error([[3.0, 0.0], [0.0, 4.0]], [[0.0, 4.0]])
    0.6
    >>> recovery_error(
    ...     [3.0, 4.0], [-6.0, -8.0], sign_invariant=True, scale_invariant=True)
    0.0
    """
    truth, found = _comparable_rows(coef_true, coef)
    if scale_invariant:
        truth, found = _unit_rows(truth), _unit_rows(found)
    truth, found = _common_scale(truth, found)
    rows, columns, sign = match_units(truth, found, sign_invariant=sign_invariant)
    distances = truth[rows] - sign[:, None] * found[columns]
    missing, superfluous = np.delete(truth, rows, axis=0), np.delete(found, columns, axis=0)

    error, size = _norm(np.concatenate([distances, missing, superfluous])), _norm(truth)
    if size == 0:
        return 0.0 if error == 0 else np.inf
    with np.errstate(over="ignore"):
        return float(error / size)


def match_units(coef_true, coef, *, sign_invariant=False):
    """Match recovered units to planted ones, as `recovery_error` does.

    As many pairs as the smaller matrix has rows, each row in at most one, with signs s (all 1 unless `sign_invariant`),
    minimise the sum of squared distances::

        sum_i |W*_rows(i) - s_i W_columns(i)|^2

    Parameters
    ----------
    coef_true : array-like of shape (n_units, n_features) or (n_features,)
        Planted weights W*, one unit a row. A vector is one row.
    coef : array-like of shape (n_units_found, n_features) or (n_features,)
        Recovered weights W.
    sign_invariant : bool, default=False
        Match each row up to its sign.

    Returns
    -------
    rows : ndarray of shape (n_pairs,)
        Matched rows of W*, increasing.
    columns : ndarray of shape (n_pairs,)
        Their partners: ``coef[columns]`` lies beside ``coef_true[rows]``.
    sign : ndarray of shape (n_pairs,)
        +1 or -1, by which the partners are multiplied.

    Raises
    ------
    ValueError
        If an array is not one- or two-dimensional and finite, or the numbers of columns differ.

    Examples
    --------
    >>> from skrelu.metrics import match_units
    >>> planted, found = [[3.0, 0.0], [0.0, 4.0]], [[0.1, 4.0], [1.0, 1.0], [3.0, 0.2]]
    >>> rows, columns, sign = match_units(planted, found)
    >>> rows, columns
    (array([0, 1]), array([2, 0]))
    """
    truth, found = _common_scale(*_comparable_rows(coef_true, coef))
    cost = cdist(truth, found, "sqeuclidean")
    flipped_cost = cdist(truth, -found, "sqeuclidean") if sign_invariant else cost
    rows, columns = linear_sum_assignment(np.minimum(cost, flipped_cost))
    return rows, columns, np.where(flipped_cost < cost, -1.0, 1.0)[rows, columns]


def support_score(coef_true, coef, *, threshold=0.0):
    """F1 score of the recovered support.

    With ``S* = {j : |coef_true_j| > threshold}`` and ``S = {j : |coef_j| > threshold}``, the score is the harmonic mean
    of precision and recall::

        2 |S and S*| / (|S| + |S*|)

    Parameters
    ----------
    coef_true : array-like of shape (n_features,) or (n_units, n_features)
        Planted weights.
    coef : array-like of the same shape
        Recovered weights. Entries are compared where they stand: rows are not matched.
    threshold : float, default=0.0
        Entries of at most this magnitude count as zero, in both arrays; in the units of the weights.

    Returns
    -------
    float
        From 0 (disjoint supports) to 1 (the same support); 1 when both supports are empty.

    Raises
    ------
    ValueError
        If an array is not one- or two-dimensional and finite, the shapes differ, or `threshold` is not a number >= 0.

    Examples
    --------
    >>> from skrelu.metrics import support_score
    >>> support_score([1.0, 2.0, 0.0, 0.0], [0.9, 1.8, 0.1, 0.0])
    0.8
    >>> support_score([1.0, 2.0, 0.0, 0.0], [0.9, 1.8, 0.1, 0.0], threshold=0.2)
    1.0
    """
    truth, found = _rows(coef_true, "coef_true"), _rows(coef, "coef")
    if truth.shape != found.shape:
        raise ValueError(f"coef_true and coef must have the same shape, got {truth.shape} and {found.shape}.")
    if not threshold >= 0:
        raise ValueError(f"threshold must be a number >= 0, got {threshold!r}.")
    true_support, support = np.abs(truth) > threshold, np.abs(found) > threshold
    n_entries = true_support.sum() + support.sum()
    return float(2 * (true_support & support).sum() / n_entries) if n_entries else 1.0


def _comparable_rows(coef_true, coef):
    """Return two matrices with the same number of columns."""
    truth, found = _rows(coef_true, "coef_true"), _rows(coef, "coef")
    if truth.shape[1] != found.shape[1]:
        raise ValueError(
            f"coef_true and coef must have the same number of columns, got {truth.shape[1]} and {found.shape[1]}."
        )
    return truth, found


def _rows(coef, name):
    """Return weights as a finite float64 matrix, one unit a row."""
    coef = check_array(
        coef, dtype=np.float64, ensure_2d=False, ensure_min_samples=0, ensure_min_features=0, input_name=name
    )
    return np.atleast_2d(coef)


def _norm(x):
    """Euclidean norm of all entries; the squares neither overflow nor underflow."""
    largest = np.max(np.abs(x), initial=0.0)
    return largest * np.linalg.norm(x / largest) if largest > 0 else 0.0


def _unit_rows(W):
    """Divide each row by its Euclidean norm, and by its largest entry before; zero rows stay zero."""
    largest = np.max(np.abs(W), axis=1, keepdims=True, initial=0.0)
    zero = largest == 0
    W = W / np.where(zero, 1.0, largest)
    return W / np.where(zero, 1.0, np.linalg.norm(W, axis=1, keepdims=True))


def _common_scale(*matrices):
    """Divide the matrices by one power of two that brings their largest entry into [1/2, 1): no digit changes."""
    _, exponent = np.frexp(max(np.max(np.abs(W), initial=0.0) for W in matrices))
    return tuple(np.ldexp(W, -exponent) for W in matrices)
