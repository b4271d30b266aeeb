"""What a user gives as X, y and weights, checked, as rows; and predictions for what a user gives as X."""

from contextlib import nullcontext
from itertools import chain

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from skrelu._compat import place, task_data, validated, validated_columns, validated_targets
from skrelu.rows import device, partitions, stored
from skrelu.rows.memory import Rows, row_blocks
from skrelu.rows.threads import ordered, several_threads


def read(estimator, X, y, sample_weight=None, *, multi_output=False):
    """Return the rows of a fit, and the data as callbacks receive them.

    Parameters
    ----------
    estimator : estimator
        It learns the number and the names of the columns.
    X : array, memory map, sparse matrix, dask array or dataframe, or blocks of rows
        Blocks: an iterable of arrays or dataframes, or of pairs (X_b, y_b) or triples (X_b, y_b, s_b).
    y : array-like, dask array or series, list of blocks, or None where the items of X have it
    sample_weight : likewise, default=None
    multi_output : bool, default=False
        Whether y may have columns.

    Returns
    -------
    rows : Rows
    data : dict

    Raises
    ------
    TypeError
        If y is sparse.
    ValueError
        If X, y or the weights have missing or infinite values or shapes that do not fit, or if weights are negative.
    """
    if sparse.issparse(y):
        raise TypeError("Sparse data were passed for y, but dense data is required: y.toarray()")
    if estimator.warm_start:
        # Descent goes on from there.
        device.bring_home(estimator)
    if partitions.is_dask(X):
        rows = partitions.read(estimator, X, y, sample_weight, multi_output)
    elif stored.are_blocks(X):
        rows, X, y, sample_weight = _stored_rows(estimator, X, y, sample_weight, multi_output)
    else:
        X, y, sample_weight = validated(estimator, X, y, sample_weight, multi_output=multi_output)
        found = place(X)
        rows = Rows(X, y, sample_weight) if found is None else device.DeviceRows(X, y, sample_weight, *found)
    return rows, task_data(X, y, sample_weight)


def mapped(estimator, f, X, *parameters):
    """Return ``f(X_b, *parameters)`` of all rows, block by block, by a fitted estimator.

    Parameters
    ----------
    estimator : estimator
        It knows the number and the names of the columns.
    f : callable
        Block (n, d) -> array of n numbers or rows, or a tuple of such.
    X : as in `read`
        The blocks may come from an iterator.

    Returns
    -------
    ndarray or tuple of ndarrays
        Dask arrays, not yet computed, for dask arrays and dataframes.
    """
    check_is_fitted(estimator)
    if partitions.is_dask(X):
        return partitions.mapped(estimator, f, X, parameters)
    if stored.are_blocks(X):
        return _joined([mapped(estimator, f, stored.parts(item)[0], *parameters) for item in X])
    f, X = getattr(device.at_home(estimator, X), f.__name__), validated_columns(estimator, X)
    if place(X) is not None:
        return device.mapped(f, X, parameters)
    blocks = [X_b for _, _, X_b in row_blocks(X)]
    with several_threads() if len(blocks) > 1 else nullcontext():
        return _joined(list(ordered(lambda X_b: f(X_b, *parameters), blocks)))


def _joined(results):
    if isinstance(results[0], tuple):
        return tuple(_joined(list(each)) for each in zip(*results, strict=True))
    return results[0] if len(results) == 1 else np.concatenate(results)


def _stored_rows(estimator, X, y, sample_weight, multi_output):
    once = stored.is_iterator(X)
    if once:
        first = next(X, None)
        if not stored.is_block(first):
            raise ValueError(f"X: an iterator of 2-D blocks of rows is needed, its first item is {type(first)}")
        X = chain([first], X)

    def convert(block, number):
        return validated_columns(estimator, block, reset=number == 0)

    found = stored.first_pass(X, convert, keep=once)
    lengths, n_features, dtype, targets, weights, kept = found
    for name, given, own in (("y", y, targets), ("sample_weight", sample_weight, weights)):
        if given is not None and own is not None:
            raise ValueError(f"{name} is given twice: with the blocks of X, and besides")
    if y is None and targets is None:
        raise ValueError("y: none is given, neither besides X nor with its blocks")
    y = _concatenated(y if targets is None else targets)
    weights = _concatenated(sample_weight if weights is None else weights)
    y, weights = validated_targets(estimator, y, weights, sum(lengths), dtype, multi_output=multi_output)
    if once:
        return Rows(kept, y, weights), kept, y, weights
    blocks = stored.Blocks(X, lengths, n_features, dtype)
    return stored.StoredRows(blocks, y, weights), X, y, weights


def _concatenated(values):
    """Return the array of a list of blocks, or what is given if it is none."""
    if isinstance(values, list | tuple) and all(np.ndim(value) > 0 for value in values):
        return np.concatenate([np.asarray(value) for value in values])
    return values
