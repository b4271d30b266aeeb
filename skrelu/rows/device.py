"""Rows on a device, as a GPU: passes run there, on large blocks, and the host waits for each pass once."""

from copy import copy

import numpy as np

from skrelu._compat import arrays_at, arrays_here, check_same_namespace, place, to_numpy
from skrelu.rows.device_array import Device, DeviceArray
from skrelu.rows.memory import Rows, block_sum

# Bytes of X in one block: large enough that the start of a few dozen kernels takes little of the time of a block, small
# enough that the inputs of k units on these rows, k / d times as many bytes, have room several times.
BLOCK_BYTES = 2**29


class DeviceRows(Rows):
    """Rows on a device; weights, which `Rows.quantile` sorts, are on the host, too.

    Block functions are given `DeviceArray`s. Parameters go there before the first block, when the device has nothing to
    do. Sums stay there until the pass is over, and come back in one transfer: a few times k d numbers.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        Of a namespace of the array API standard; never copied if blocks of it are views.
    y : array of shape (n_samples,) or (n_samples, n_outputs)
        On the same device.
    sample_weight : array of shape (n_samples,) or None
        On the same device.
    xp : module
        The namespace.
    device : object
    """

    travels = False

    def __init__(self, X, y, sample_weight, xp, device):
        self._device = Device(xp, device)
        X, y = DeviceArray(X, self._device), DeviceArray(y, self._device)
        self._describe(X.shape, y.shape[1:], X.dtype)
        y = y.ravel() if y.size == len(y) else y
        self._all_blocks = [(X[i:j], y[i:j], (i, j)) for i, j in _bounds(X)]
        self._weigh_first(None if sample_weight is None else to_numpy(sample_weight, xp))

    def _place(self, s):
        kept = [(X, y, (i, j)) for X, y, (i, j) in self._all_blocks if np.any(s[i:j])]
        s = self._device.there(s)
        self._blocks = [(X, y, s[i:j]) for X, y, (i, j) in kept]

    def sum(self, f, *parameters):
        """Return ``sum_b f(X_b, y_b, s_b, *parameters)``, on the host."""
        return self._fetched(block_sum(self._blocks, f, self._sent(parameters)))

    def each(self, f, *parameters):
        """Return a number for each row, on the host."""
        parameters = self._sent(parameters)
        return np.concatenate(self._fetched([f(X, y, *parameters) for X, y, _ in self._all_blocks]))

    def _sent(self, parameters):
        return [self._device.there(p) if isinstance(p, np.ndarray) else p for p in parameters]

    def _fetched(self, values):
        arrays = [value for value in values if isinstance(value, DeviceArray)]
        fetched = iter(self._device.here(arrays) if arrays else [])
        found = [next(fetched) if isinstance(value, DeviceArray) else value for value in values]
        return tuple(value[()] if isinstance(value, np.ndarray) else value for value in found)


def mapped(f, X, parameters):
    """Return ``f(X_b, *parameters)`` of all rows of X, an array or a tuple of them where X is."""
    X = _wrapped(X)
    results = [f(X[i:j], *parameters) for i, j in _bounds(X)]
    if isinstance(results[0], tuple):
        return tuple(_joined(X.on, each) for each in zip(*results, strict=True))
    return _joined(X.on, results)


def _joined(on, pieces):
    arrays = [on.there(piece).array for piece in pieces]
    return arrays[0] if len(arrays) == 1 else on.xp.concat(arrays)


def bring_home(estimator):
    """Take the fitted arrays of an estimator to the host."""
    vars(estimator).update(arrays_here(_fitted(estimator)))


def at_home(estimator, X):
    """Return a fitted estimator, a copy if its arrays are elsewhere; they must be where X is."""
    attribute = "coef_" if hasattr(estimator, "coef_") else "hidden_coef_"
    check_same_namespace(X, estimator, attribute=attribute, method="predict")
    if isinstance(getattr(estimator, attribute), np.ndarray):
        return estimator
    estimator = copy(estimator)
    bring_home(estimator)
    return estimator


def follow(estimator, X):
    """Take the fitted arrays of an estimator to where X is: everything follows X, as scikit-learn has it."""
    found = place(X)
    if found is not None:
        vars(estimator).update(arrays_at(found, _fitted(estimator)))


def _fitted(estimator):
    parameters = estimator.get_params(deep=False)
    return {name: value for name, value in vars(estimator).items() if name not in parameters}


def _wrapped(array):
    return DeviceArray(array, Device(*place(array)))


def _bounds(X):
    """Return (first row, end row) of each block."""
    n_samples, n_features = X.shape
    step = max(8, BLOCK_BYTES // max(1, n_features * X.dtype.itemsize))
    return [(i, min(i + step, n_samples)) for i in range(0, n_samples, step)]
