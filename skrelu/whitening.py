"""Whitened coordinates: weights and gradients as if the inputs had covariance I."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skrelu.rows import column_blocks

MAX_FULL = 1000  # columns; beyond, scales alone are made equal
NOT_NORMAL = 5.0  # standard errors of Geary's ratio beyond which a column is no longer taken for a normal one
MANY_COLUMNS = 64  # from which on `weighted_gram` is faster by symmetric products
RANK_EPS = 1e3  # directions with less variance than this many eps of the largest count as constant


@dataclass(frozen=True)
class Whitening:
    """Coordinates ``x~ = T'(x - center)``, of covariance I where T is full.

    Attributes
    ----------
    center : ndarray of shape (n_features,)
        The column means, or 0: then "covariance" is the matrix of second moments.
    columns : ndarray of shape (n_features, n_features), or (n_features,) for a diagonal matrix
        T.
    inverse : ndarray of the same shape
        The transposed pseudo-inverse of T.
    deviations : ndarray of shape (n_features,)
        Standard deviations of the columns.
    rank : int
        Number of directions in which the inputs vary; along the others x~ is 0.
    """

    center: np.ndarray
    columns: np.ndarray
    inverse: np.ndarray
    deviations: np.ndarray
    rank: int

    @property
    def size(self):
        """The number of coordinates, that of the columns."""
        return len(self.center)

    @cached_property
    def variances(self):
        """``T' S T``, S the diagonal matrix of the variances of the columns."""
        if self.columns.ndim == 1:
            return np.diag((self.columns * self.deviations) ** 2)
        scaled = self.columns * self.deviations[:, None]
        return scaled.T @ scaled

    @cached_property
    def away(self):
        """The largest distance of the mean of a column from 0, in its standard deviations."""
        varies = np.any(self.columns.reshape(self.size, -1), axis=1) & (self.deviations > 0)
        return float(np.max(np.abs(self.center[varies]) / self.deviations[varies], initial=0.0))

    def to_columns(self, W):
        """Return the weights of the columns, for weights (k, size) of the coordinates."""
        return W * self.columns if self.columns.ndim == 1 else W @ self.columns.T

    def to_white(self, W):
        """Return the weights (k, size) of the coordinates, for weights of the columns."""
        return W * self.inverse if self.columns.ndim == 1 else W @ self.inverse

    def pull_back(self, G):
        """Return gradients with respect to weights of the coordinates, for those with respect to columns."""
        return G * self.columns if self.columns.ndim == 1 else G @ self.columns

    def whitened(self, X):
        """Yield (rows, x~ of these rows (n, size)) over the pieces of a block X."""
        center = self.pull_back(self.center[None]).astype(X.dtype)
        for piece, XT in column_blocks(X, None if self.columns.ndim == 1 else self._cast(X.dtype)):
            white = XT * self.columns.astype(X.dtype) if self.columns.ndim == 1 else XT
            white -= center
            yield piece, white

    def projected(self, X, basis):
        """Yield (rows, ``x~ B`` of these rows) over the pieces of a block X, B (size, k)."""
        T = self.columns[:, None] * basis if self.columns.ndim == 1 else self.columns @ basis
        shift = self.center @ T
        for piece, XT in column_blocks(X, T.astype(X.dtype)):
            yield piece, XT - shift.astype(X.dtype)

    def _cast(self, dtype):
        return self.columns.astype(dtype, copy=False)


def whitening(rows, *, centered, constant=True):
    """Return the `Whitening` of the columns, about their means or about 0; three passes, two if there is no covariance.

    The covariance is that of the columns in units of their root mean squares, so that it neither overflows nor rounds
    away small columns; its directions of no variance are left out. Above `MAX_FULL` columns T is diagonal. Constant
    columns are left out about their means, and about 0 unless `constant`.
    """
    mean, deviations = (part.astype(np.float64) for part in rows.column_statistics(centered=True))
    center, size = mean, deviations
    if not centered:
        center, size = np.zeros_like(mean), np.hypot(mean, deviations)
    eps = float(np.finfo(rows.dtype).eps)
    # Denormal columns have no reciprocal: they count as constant.
    normal = size >= float(np.finfo(rows.dtype).tiny)
    deviations = np.where(normal, deviations, 0.0)
    varies = normal & (size > 16 * eps * np.abs(center))
    if not constant:
        varies &= deviations > 16 * eps * np.abs(mean)
    unit = np.where(varies, size, 1.0)
    scales = np.where(varies, 1 / unit, 0.0), np.where(varies, unit, 0.0)
    if rows.n_features > MAX_FULL:
        return Whitening(center, *scales, deviations, int(varies.sum()))
    (second,) = rows.sum(_second_moment, Whitening(center, *scales, deviations, 0))
    values, vectors = np.linalg.eigh(second)
    kept = values > RANK_EPS * eps * max(values[-1], 0)
    root, vectors = np.sqrt(values[kept]), vectors[:, kept]
    # Symmetric roots: unlike eigenvectors they have no signs that rounding could turn over.
    columns = ((vectors / root) @ vectors.T * scales[0][:, None]) * varies
    inverse = ((vectors * root) @ vectors.T * scales[1][:, None]) * varies
    return Whitening(center, columns, inverse, deviations, len(root))


def _second_moment(X, y, s, scaled):
    total = 0.0
    for piece, Z in scaled.whitened(X):
        total = total + weighted_gram(Z, s[piece]).astype(np.float64)
    return (total,)


def weighted_gram(Z, weight):
    """Return ``sum_i weight_i z_i z_i'`` over the rows of a block, weights of either sign.

    The product of a matrix with its own transpose takes half the operations of others: of many columns that is worth
    the copies of the rows of positive, then of negative weight, those of weight zero left out.
    """
    # A device would have to be waited for to know the signs.
    if Z.shape[1] < MANY_COLUMNS or not isinstance(Z, np.ndarray):
        return (Z.T * weight) @ Z
    total = np.zeros((Z.shape[1],) * 2, dtype=Z.dtype)
    # What is not a number must be seen in the sum.
    for sign, rows in ((1, np.flatnonzero(~(weight <= 0))), (-1, np.flatnonzero(weight < 0))):
        if len(rows):
            scaled = Z.take(rows, axis=0)
            scaled *= np.sqrt(sign * weight[rows])[:, None]
            total += sign * (scaled.T @ scaled)
    return total


def gearys_ratio(rows, whitening):
    """Return ``E|z| / E[z^2]^(1/2)`` of each column about its mean, and its standard error were the column normal.

    ``sqrt(2/pi)`` for a normal column; less with heavier tails, 1 for two values of equal frequency. One pass. [1]_

    Parameters
    ----------
    rows : Rows
    whitening : Whitening
        Centred.

    References
    ----------
    .. [1] R. C. Geary, "The ratio of the mean deviation to the standard deviation as a test of normality", Biometrika
       27 (1935).
    """
    unit = np.where(whitening.deviations > 0, whitening.deviations, 1.0)
    scaled = Whitening(whitening.center, 1 / unit, unit, whitening.deviations, whitening.size)

    def f(X, y, s):
        return (sum((s[piece] @ np.abs(Z)).astype(np.float64) for piece, Z in scaled.whitened(X)),)

    (ratio,) = rows.sum(f)
    return ratio, ((1 - 3 / np.pi) / max(rows.weight_sum, 1.0)) ** 0.5


def least_normal_column(rows, whitening):
    """Return the column whose Geary's ratio is furthest from that of a normal one, and by how many standard errors.

    Columns that are constant to rounding do not count.
    """
    ratio, error = gearys_ratio(rows, whitening)
    rounding = 16 * float(np.finfo(rows.dtype).eps) * np.abs(whitening.center)
    off = np.where(whitening.deviations > rounding, np.abs(ratio - (2 / np.pi) ** 0.5) / error, 0.0)
    column = int(np.argmax(off))
    return column, float(off[column])


def unwhitened(whitening):
    """Return the `Whitening` of the same columns that changes nothing: the user's own coordinates."""
    ones = np.ones(whitening.size)
    return Whitening(np.zeros(whitening.size), ones, ones, whitening.deviations, whitening.rank)
