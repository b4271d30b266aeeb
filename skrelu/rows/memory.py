"""Rows in memory, or in a memory map: views of blocks that fit into the cache."""

from copy import copy
from functools import partial

import numpy as np
from scipy import sparse

from skrelu.rows.threads import ordered

# Bytes of X in one block: small enough to stay in the cache between the two products of a pass (X_b w, then r' X_b), so
# that a pass reads X from memory once; large enough that the overhead of a block is small beside its products.
BLOCK_BYTES = 2**21
GROUP = 4  # blocks that are added up first: what a thread takes at a time
QUANTILE_EPS = 1e-9  # of the sum of weights: what rounding may take from the weight below a quantile


class Rows:
    """Rows (x_i, y_i, s_i) with weights normalised to ``sum s_i = 1``.

    Where X is not in memory, other classes take the place of `sum`, `each` and `_weigh`.

    Parameters
    ----------
    X : ndarray, memory map, or CSR/CSC matrix or array of shape (n_samples, n_features)
        Never copied: blocks are views. A CSC matrix, which has no views of rows, is one block.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
    sample_weight : ndarray of shape (n_samples,) or None
        Frequency weights; None means ones.

    Attributes
    ----------
    n_samples, n_features, n_outputs : int
    dtype : dtype
        That of X.
    weight_sum : float
        Sum of the weights as given: the number of rows that the data stand for.
    relative_weights : ndarray of shape (n_samples,)
        The largest is 1.
    travels : bool
        Whether a copy in another process has the data.
    """

    travels = True

    def __init__(self, X, y, sample_weight=None):
        self._describe(X.shape, y.shape[1:], X.dtype)
        y = y.ravel() if y.size == len(y) else y
        self._all_blocks = [(X_b, y[i:j], (i, j)) for i, j, X_b in row_blocks(X)]
        self._weigh_first(sample_weight)

    def _describe(self, shape, output_shape, dtype):
        self.n_samples, self.n_features = shape
        self.output_shape, self.dtype = output_shape, np.dtype(dtype)
        self.n_outputs = int(np.prod(output_shape))

    def _weigh_first(self, sample_weight):
        if sample_weight is None:
            sample_weight = np.ones(self.n_samples, dtype=self.dtype)
        largest = sample_weight.max()
        self._weigh(sample_weight / largest, float(largest))

    def _weigh(self, relative, largest):
        """Take weights relative to the largest, so that their sum cannot overflow."""
        relative_sum = np.sum(relative, dtype=np.float64)
        self.weight_sum = largest * float(relative_sum)
        self.relative_weights, self._largest, self._statistics = relative, largest, {}
        self._place((relative / relative_sum).astype(self.dtype, copy=False))

    def _place(self, s):
        """Take the weights to the blocks."""
        self._blocks = [(X, y, s[i:j]) for X, y, (i, j) in self._all_blocks if np.any(s[i:j])]

    def reweighted(self, factors):
        """Return these rows with their weights multiplied by factors, which are frequency weights, too.

        Parameters
        ----------
        factors : ndarray of shape (n_samples,)
            Non-negative. A row of factor 0 does not count.

        Returns
        -------
        Rows
            Of the same X and y; no copy.

        Raises
        ------
        ValueError
            If no row of positive weight is left.
        """
        largest = float(factors.max())
        relative = self.relative_weights * (factors / largest if largest > 0 else factors)
        if not np.any(relative):
            raise ValueError("factors: they leave no row of positive weight")
        rows, top = copy(self), float(relative.max())
        rows._weigh((relative / top).astype(self.dtype, copy=False), self._largest * largest * top)
        return rows

    def each(self, f, *parameters):
        """Return ``f(X_b, y_b, *parameters)``, a number for each row of a block, of all blocks: (n_samples,) numbers.

        Rows without weight are among them.
        """
        return np.concatenate([f(X, y, *parameters) for X, y, _ in self._all_blocks])

    def quantile(self, values, level):
        """Return the smallest of the values below or at which the share `level` of all weight lies.

        That of an integer weight is that of so many copies of its row.
        """
        order = np.argsort(values, kind="stable")
        below = np.cumsum(self.relative_weights[order], dtype=np.float64)
        # Copies of a row must not differ from its weight by the rounding of the sums.
        reached = np.searchsorted(below, level * below[-1] * (1 - QUANTILE_EPS))
        return float(values[order[min(reached, len(order) - 1)]])

    def sum(self, f, *parameters):
        """Return ``sum_b f(X_b, y_b, s_b, *parameters)``; f returns a tuple of numbers and arrays of its own."""
        groups = [self._blocks[i : i + GROUP] for i in range(0, len(self._blocks), GROUP)]
        return total(ordered(partial(block_sum, f=f, parameters=parameters), groups))

    def column_statistics(self, *, centered):
        """Return the weighted means and root mean squares (about the means when `centered`, else about 0) of X.

        Two passes, the first time that it is asked. Squares are taken relative to the mean absolute value of their
        column, so that they neither overflow nor vanish at any scale of the data. The second pass also corrects the
        rounding of the means in the first, so that a constant column has a root mean square of rounding size. Means are
        0 when not `centered`.
        """
        if ("columns", centered) not in self._statistics:
            self._statistics["columns", centered] = self._column_statistics(centered)
        mean, size = self._statistics["columns", centered]
        return mean.copy(), size.copy()

    def _column_statistics(self, centered):
        if "sizes" not in self._statistics:
            self._statistics["sizes"] = self.sum(_first_sizes)
        mean, unit = self._statistics["sizes"]
        unit = np.where(unit > 0, unit, 1)
        if not centered:
            mean = np.zeros_like(mean)
        shift, square = self.sum(_deviations, mean, unit)
        if centered:
            mean = mean + unit * shift
            square = np.maximum(square - shift**2, 0)
        return mean, unit * np.sqrt(square)

    def target_scale(self, center=0.0):
        """Return the weighted root mean square of ``|y - center|``, the Euclidean norm of a row, 1 if that is zero.

        Raises
        ------
        ValueError
            If it is not zero and its square is: losses and criteria would be, too, whatever the fit.
        """
        key = "targets", np.asarray(center).tobytes()
        if key not in self._statistics:
            self._statistics[key] = self._target_scale(center)
        return self._statistics[key]

    def _target_scale(self, center):
        (size,) = self.sum(_target_size, center)
        size = float(np.max(size))
        if size == 0:
            return 1.0
        (square,) = self.sum(_target_square, center, size)
        scale = size * float(square) ** 0.5
        if scale * scale < np.finfo(np.float64).tiny:
            raise ValueError(f"X or y: squares of y, of size {scale:.2g}, underflow {np.dtype(np.float64)}; rescale it")
        return scale


def block_sum(blocks, f, parameters):
    """Return ``sum_b f(X_b, y_b, s_b, *parameters)`` over blocks (X_b, y_b, s_b), None if there are none."""
    return total(f(X, y, s, *parameters) for X, y, s in blocks)


def total(parts):
    """Return the sum of tuples of numbers and arrays; None, of no rows, adds nothing."""
    result = None
    for part in parts:
        if result is None or part is None:
            result = part if result is None else result
        else:
            result = tuple(r + p for r, p in zip(result, part, strict=True))
    return result


def _target_size(X, y, s, center):
    return (s @ abs(y - center),)


def _target_square(X, y, s, center, size):
    return (np.sum(s @ ((y - center) / size) ** 2, dtype=np.float64),)


def _first_sizes(X, y, s):
    """Return ``sum_i s_i x_i`` and ``sum_i s_i |x_i|``."""
    return s @ X, _weighted_size(X, s)


def row_blocks(X):
    """Return (first row, end row, view of these rows) for each block of X."""
    n_samples, n_features = X.shape
    if sparse.issparse(X) and not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    if sparse.issparse(X) and X.format != "csr":
        return [(0, n_samples, X)]
    row_bytes = X.data.nbytes // n_samples if sparse.issparse(X) else n_features * X.dtype.itemsize
    step = max(8, BLOCK_BYTES // max(1, row_bytes))
    bounds = [(i, min(i + step, n_samples)) for i in range(0, n_samples, step)]
    if sparse.issparse(X):
        return [(i, j, _csr_view(X, i, j)) for i, j in bounds]
    X = np.asarray(X)
    return [(i, j, X[i:j]) for i, j in bounds]


def _csr_view(X, i, j):
    """Return rows i to j of a CSR matrix without copying its entries, as its constructor would."""
    view = type(X)((j - i, X.shape[1]), dtype=X.dtype)
    start, end = X.indptr[i], X.indptr[j]
    view.data, view.indices, view.indptr = X.data[start:end], X.indices[start:end], X.indptr[i : j + 1] - start
    return view


def _entries(X):
    """Return the rows and the columns of the stored entries of a sparse block."""
    along = np.repeat(np.arange(len(X.indptr) - 1), np.diff(X.indptr))
    return (along, X.indices) if X.format == "csr" else (X.indices, along)


def _weighted_size(X, s):
    """Return ``sum_i s_i |x_i|``."""
    if not sparse.issparse(X):
        return s @ np.abs(X)
    row, column = _entries(X)
    return np.bincount(column, s[row] * np.abs(X.data), X.shape[1]).astype(X.dtype)


def _deviations(X, y, s, mean, unit):
    """Return ``sum_i s_i z_i`` and ``sum_i s_i z_i^2`` for ``z_i = (x_i - mean) / unit``."""
    if not sparse.issparse(X):
        Z = X - mean
        Z /= unit
        first = s @ Z
        Z *= Z
        return first, s @ Z
    row, column = _entries(X)
    z, weight, d = (X.data - mean[column]) / unit[column], s[row], X.shape[1]
    # Weight of the entries that are not stored: exactly zero where all are.
    all_stored = np.bincount(column, weight > 0, d) == np.count_nonzero(s)
    absent = np.where(all_stored, 0, np.maximum(s.sum() - np.bincount(column, weight, d), 0))
    first = np.bincount(column, weight * z, d) - absent * (mean / unit)
    second = np.bincount(column, weight * z**2, d) + absent * (mean / unit) ** 2
    return first.astype(X.dtype), second.astype(X.dtype)


def column_blocks(X, basis):
    """Yield (rows, dense ``X_rows B``) over a block X; an integer array B names columns of X, None stands for all.

    A dense block is one piece; a sparse one comes in pieces of at most `BLOCK_BYTES`.
    """
    names = isinstance(basis, np.ndarray) and basis.dtype.kind == "i"
    if not sparse.issparse(X):
        yield slice(None), X if basis is None else X[:, basis] if names else X @ basis
        return
    X, n_columns = X.tocsr(), X.shape[1] if basis is None else len(basis) if names else basis.shape[1]
    step = max(8, BLOCK_BYTES // max(1, n_columns * X.dtype.itemsize))
    for i in range(0, X.shape[0], step):
        piece = slice(i, i + step)
        product = X[piece] if basis is None else X[piece][:, basis] if names else X[piece] @ basis
        yield piece, product.toarray() if sparse.issparse(product) else product
