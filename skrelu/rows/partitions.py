"""Rows in dask partitions: sums of each partition where it is, one task graph a pass."""

import os
from functools import partial
from itertools import pairwise
from uuid import uuid4

import numpy as np

from skrelu._compat import checked_block, validated_columns, validated_targets
from skrelu.rows.memory import Rows, block_sum, row_blocks, total

FAN_IN = 8  # partial sums added by one task
HELD = 0.5  # of the physical memory: larger data are computed anew in every pass, unless a cluster holds them


class PartitionedRows(Rows):
    """Rows of dask partitions; the result of a sum does not hang on who computes it, only on the partitions.

    Copies in other processes know sizes and dtype only: there, the blocks are their own.

    Parameters
    ----------
    partitions : list of Delayed
        Of (X, y): arrays.
    lengths : list of int
    n_features : int
    output_shape : tuple
        () or (n_outputs,).
    dtype : dtype
    sample_weight : ndarray of shape (n_samples,) or None
    """

    travels = False

    def __init__(self, partitions, lengths, n_features, output_shape, dtype, sample_weight=None):
        self._partitions, self._bounds = partitions, np.append(0, np.cumsum(lengths))
        self._describe((int(self._bounds[-1]), n_features), output_shape, dtype)
        self._weigh_first(sample_weight)

    def _place(self, s):
        from dask import delayed

        self._weights = _held([delayed(s[i:j], traverse=False) for i, j in pairwise(self._bounds)], s.nbytes)

    def sum(self, f, *parameters):
        """Return ``sum_b f(X_b, y_b, s_b, *parameters)``."""
        name, task = f"sum-{uuid4().hex}", partial(_partial_sum, f, parameters)
        tasks = {(name, 0, k): (task, *both) for k, both in enumerate(zip(*self._names(), strict=True))}
        level, n = 0, len(tasks)
        while n > 1:
            keys, level, n = [(name, level, k) for k in range(n)], level + 1, -(-n // FAN_IN)
            tasks |= {(name, level, k): (total, keys[k * FAN_IN : (k + 1) * FAN_IN]) for k in range(n)}
        return tuple(_own(part) for part in self._computed(tasks, (name, level, 0)))

    def each(self, f, *parameters):
        """Return a number for each row, of all partitions."""
        name, task = f"each-{uuid4().hex}", partial(_partial_numbers, f, parameters)
        tasks = {(name, k): (task, part) for k, part in enumerate(self._names()[0])}
        return np.concatenate(self._computed(tasks, list(tasks)))

    def _names(self):
        return [[piece.key for piece in pieces] for pieces in (self._partitions, self._weights)]

    def _computed(self, tasks, names):
        """Return the results of so many tasks, by the scheduler of the moment."""
        from dask.base import get_scheduler
        from dask.threaded import get

        for piece in (*self._partitions, *self._weights):
            tasks |= dict(piece.dask)
        return (get_scheduler() or get)(tasks, names)

    def __copy__(self):
        """Return rows of the same partitions."""
        rows = object.__new__(PartitionedRows)
        rows.__dict__.update(self.__dict__)
        return rows

    def __getstate__(self):
        """Return what block functions in other processes may ask for."""
        names = "n_samples", "n_features", "n_outputs", "output_shape", "dtype", "weight_sum"
        return {name: getattr(self, name) for name in names}


def _partial_sum(f, parameters, part, s):
    X, y = part
    blocks = ((X_b, y[i:j], s[i:j]) for i, j, X_b in row_blocks(X) if np.any(s[i:j]))
    with np.errstate(over="ignore", invalid="ignore"):
        return block_sum(blocks, f, parameters)


def _own(part):
    """Return an array that may be written to: what has come from another process may not."""
    return part.copy() if isinstance(part, np.ndarray) and not part.flags.writeable else part


def _partial_numbers(f, parameters, part):
    X, y = part
    with np.errstate(over="ignore", invalid="ignore"):
        return np.concatenate([f(X_b, y[i:j], *parameters) for i, j, X_b in row_blocks(X)])


def is_dask(X):
    """Whether X is a dask array or dataframe."""
    return hasattr(X, "to_delayed") and hasattr(X, "__dask_graph__")


def read(estimator, X, y, sample_weight, multi_output):
    """Return the rows of a dask array or dataframe, as `skrelu.rows.read.read` does.

    They are held in memory during the fit, that of the workers if there is a cluster; without one, data larger than
    half the memory of this machine are computed anew in every pass, and so they are by schedulers other than dask's.
    """
    from dask import delayed

    if getattr(X, "ndim", 2) != 2:
        raise ValueError(f"X: two dimensions are needed, got {X.ndim}")
    dtype = validated_columns(estimator, _sample(X), reset=True, rows_needed=0).dtype
    blocks = _pieces(X)
    lengths = _lengths(X, blocks)
    n_samples, output_shape = sum(lengths), tuple(int(m) for m in np.shape(y)[1:] or getattr(y, "shape", ())[1:])
    if output_shape and not multi_output:
        if output_shape != (1,):
            raise ValueError(f"y: one output is needed, got {output_shape[0]} columns")
        output_shape = ()
    targets = _aligned("y", y, lengths)
    _, weights = validated_targets(estimator, None, _gathered(sample_weight), n_samples, dtype)
    parts = [delayed(_loaded)(X_p, y_p, dtype) for X_p, y_p, n in zip(blocks, targets, lengths, strict=True) if n]
    if not parts:
        raise ValueError("X: at least one row is needed, got none")
    parts, lengths = _held(parts, n_samples * X.shape[1] * dtype.itemsize), [n for n in lengths if n]
    return PartitionedRows(parts, lengths, X.shape[1], output_shape, dtype, weights)


def _sample(X):
    """Return no rows of X: they tell the columns."""
    return X._meta if hasattr(X, "columns") else np.empty((0, X.shape[1]), dtype=X.dtype)


def _pieces(values):
    """Return the partitions of a dask array or dataframe along its rows."""
    if hasattr(values, "rechunk") and values.ndim > 1:
        values = values.rechunk({1: -1})
    return list(np.ravel(np.asarray(values.to_delayed(), dtype=object)))


def _lengths(X, blocks):
    """Return the number of rows of each partition: known ones, or after they have been computed."""
    from dask import compute, delayed

    chunks = getattr(X, "chunks", None)
    if chunks is not None and not np.any(np.isnan(chunks[0])):
        return list(chunks[0])
    return list(compute(*[delayed(len)(block) for block in blocks]))


def _aligned(name, values, lengths):
    """Return the pieces of y that belong to the partitions of X."""
    if values is None:
        raise ValueError(f"{name}: none is given")
    if not is_dask(values):
        n_samples, values = sum(lengths), np.asarray(values)
        if values.ndim == 0 or len(values) != n_samples:
            raise ValueError(f"{name}: {n_samples} rows are needed, as X has, got shape {values.shape}")
        return np.split(values, np.cumsum(lengths)[:-1])
    if hasattr(values, "rechunk") and not np.any(np.isnan(values.shape)):
        if values.shape[0] != sum(lengths):
            raise ValueError(f"{name}: {sum(lengths)} rows are needed, as X has, got {values.shape[0]}")
        values = values.rechunk({0: tuple(lengths)})
    pieces = _pieces(values)
    if len(pieces) != len(lengths):
        raise ValueError(f"{name}: {len(lengths)} partitions are needed, as X has, got {len(pieces)}")
    return pieces


def _gathered(values):
    return np.asarray(values.compute()) if is_dask(values) else values


def _loaded(X, y, dtype):
    """Return a partition of X and y, checked; a task of dask."""
    X, y = checked_block(X, dtype=dtype), checked_block(y, dtype=dtype, ensure_2d=False)
    if len(y) != X.shape[0]:
        raise ValueError(f"y: a partition has {len(y)} rows, that of X {X.shape[0]}")
    return X, y.ravel() if y.size == len(y) else y


def _held(parts, n_bytes):
    """Return the partitions, held by the workers of a cluster, or in the memory of this machine if it is large enough.

    Of other schedulers nobody knows where their results lie.
    """
    from dask import persist
    from dask.base import get_scheduler

    scheduler = get_scheduler()
    is_cluster = hasattr(getattr(scheduler, "__self__", None), "scheduler_info")
    is_local = scheduler is None or scheduler.__module__.startswith("dask.")
    return list(persist(*parts)) if is_cluster or (is_local and n_bytes <= HELD * _memory()) else parts


def _memory():
    """Return the bytes of physical memory of this machine, infinity where it does not tell."""
    names = getattr(os, "sysconf_names", {})
    tells = "SC_PAGE_SIZE" in names and "SC_PHYS_PAGES" in names
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if tells else np.inf


# predictions


def mapped(estimator, f, X, parameters):
    """Return f of the rows of a dask array or dataframe: dask arrays, not yet computed."""
    sample = validated_columns(estimator, _sample(X), rows_needed=0)
    results = f(np.zeros((1, sample.shape[1]), dtype=sample.dtype), *parameters)
    X = X.to_dask_array() if hasattr(X, "columns") else X
    X = X.rechunk({1: -1})

    def lazy(like, index):
        chunks = (X.chunks[0], *((m,) for m in like.shape[1:]))
        meta, drop = np.empty((0,) * like.ndim, dtype=like.dtype), [1] if like.ndim == 1 else None
        return X.map_blocks(_mapped_block, f, parameters, index, chunks=chunks, drop_axis=drop, meta=meta)

    if isinstance(results, tuple):
        return tuple(lazy(like, index) for index, like in enumerate(results))
    return lazy(results, None)


def _mapped_block(X, f, parameters, index):
    result = f(checked_block(X, ensure_min_samples=0), *parameters)
    return result if index is None else result[index]
