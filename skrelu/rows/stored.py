"""Rows that are larger than memory: blocks read anew in every pass, from files or from wherever they come."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import chain
from tempfile import TemporaryFile

import numpy as np
from scipy import sparse

from skrelu.rows.memory import Rows, block_sum, row_blocks

END = object()


class StoredRows(Rows):
    """Rows of which a pass holds one block and the next, that is read meanwhile; y and the weights are in memory.

    Parameters
    ----------
    blocks : Blocks
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
    sample_weight : ndarray of shape (n_samples,) or None
    """

    travels = False

    def __init__(self, blocks, y, sample_weight=None):
        self._source = blocks
        self._describe((sum(blocks.lengths), blocks.n_features), y.shape[1:], blocks.dtype)
        self._y = y.ravel() if y.size == len(y) else y
        self._weigh_first(sample_weight)

    def _place(self, s):
        self._s = s

    def sum(self, f, *parameters):
        """Return ``sum_b f(X_b, y_b, s_b, *parameters)``."""
        return block_sum(((X, y, s) for X, y, s in self._read() if np.any(s)), f, parameters)

    def each(self, f, *parameters):
        """Return a number for each row."""
        return np.concatenate([f(X, y, *parameters) for X, y, _ in self._read()])

    def _read(self):
        """Yield the blocks (X_b, y_b, s_b) of a pass."""
        start = 0
        for X in ahead(iter(self._source)):
            for i, j, X_b in row_blocks(X):
                i, j = start + i, start + j
                yield X_b, self._y[i:j], self._s[i:j]
            start += X.shape[0]


class Blocks:
    """Blocks of rows that can be read more than once.

    Parameters
    ----------
    source : iterable
        It starts over each time it is iterated. Its items are blocks, or pairs or triples of which the first is one.
    lengths : list of int
        The numbers of rows that were found in the first pass.
    n_features : int
    dtype : dtype
    """

    def __init__(self, source, lengths, n_features, dtype):
        self._source = source
        self.lengths, self.n_features, self.dtype = lengths, n_features, dtype

    def __iter__(self):
        """Yield the blocks as matrices of one dtype; ValueError if they are not those of the first pass."""
        n_blocks = 0
        for item, n in zip(self._source, chain(self.lengths, [0]), strict=False):
            X = parts(item)[0]
            X = X if sparse.issparse(X) else np.asarray(X)
            if n_blocks == len(self.lengths) or X.shape != (n, self.n_features):
                expected = (n, self.n_features) if n_blocks < len(self.lengths) else "the end"
                raise ValueError(f"X: block {n_blocks} has the shape {X.shape}, in the first pass {expected}")
            yield X.astype(self.dtype, copy=False)
            n_blocks += 1
        if n_blocks < len(self.lengths):
            raise ValueError(f"X: {n_blocks} blocks, in the first pass {len(self.lengths)}")


def parts(item):
    """Return (X_b, y_b or None, s_b or None) of a block, a pair or a triple."""
    pieces = item if isinstance(item, tuple | list) else (item,)
    return (*pieces, None, None)[:3]


def is_block(item):
    """Whether it is a matrix or table, or a pair or triple that begins with one."""
    if isinstance(item, tuple | list):
        return 2 <= len(item) <= 3 and is_block(item[0])
    return len(getattr(item, "shape", ())) == 2


def are_blocks(X):
    """Whether X is an iterator, or iterable whose items are blocks, and no array."""
    if any(hasattr(X, name) for name in ("shape", "__array__", "__dataframe__")) or isinstance(X, str | bytes | dict):
        return False
    if is_iterator(X):
        return True
    if hasattr(X, "__getitem__") and hasattr(X, "__len__"):
        return len(X) > 0 and is_block(X[0])
    return hasattr(X, "__iter__") and is_block(next(iter(X), None))


def is_iterator(X):
    """Whether X can be iterated only once."""
    return hasattr(X, "__next__") and iter(X) is X


def ahead(iterator):
    """Yield the items, the next one being read by a thread of its own meanwhile."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = reader.submit(next, iterator, END)
        while (item := coming.result()) is not END:
            coming = reader.submit(next, iterator, END)
            yield item


def first_pass(source, convert, *, keep):
    """Read all blocks once.

    Parameters
    ----------
    source : iterable of blocks, pairs or triples
    convert : callable
        (block, its number) -> matrix; it raises ValueError if the block is not valid.
    keep : bool
        Whether the blocks come only once and are kept in a temporary file without name.

    Returns
    -------
    lengths : list of int
    n_features : int
    dtype : dtype
    targets, weights : list of arrays, or None if the items have none
    X : memory map of shape (n_samples, n_features), or None without `keep`
    """
    lengths: list = []
    targets: list = []
    weights: list = []
    n_features, dtype = 0, None
    with TemporaryFile() if keep else nullcontext() as file:
        for k, item in enumerate(source):
            block, y, s = parts(item)
            try:
                X = convert(block, k)
            except ValueError as error:
                raise ValueError(f"X: block {k}: {error}") from error
            dtype = X.dtype if dtype is None else dtype
            if X.dtype != dtype:
                raise ValueError(f"X: block {k} is {X.dtype}, the first {dtype}: all need one dtype")
            if keep and sparse.issparse(X):
                raise ValueError("X: an iterator of sparse blocks is read once only; give a sequence of blocks")
            if file is not None:
                file.write(np.ascontiguousarray(X).data)
            lengths.append(X.shape[0])
            n_features = X.shape[1]
            for values, value, name in ((targets, y, "y"), (weights, s, "sample_weight")):
                if value is not None and len(value) != X.shape[0]:
                    raise ValueError(f"{name}: block {k} has {len(value)} values, X has {X.shape[0]} rows there")
                values += [] if value is None else [np.asarray(value)]
        if not lengths:
            raise ValueError("X: no block of rows")
        stored = _stored(file, dtype, (sum(lengths), n_features)) if keep else None
    for values, name in ((targets, "y"), (weights, "sample_weight")):
        if values and len(values) < len(lengths):
            raise ValueError(f"{name}: only {len(values)} of {len(lengths)} blocks have one")
    return lengths, n_features, dtype, targets or None, weights or None, stored


def _stored(file, dtype, shape):
    """Return the memory map of an open file, that may be closed then."""
    file.flush()
    return np.memmap(file, dtype, "r", shape=shape)
