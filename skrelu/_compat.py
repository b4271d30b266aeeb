"""What this package uses of scikit-learn's private names, in one place."""

from functools import wraps
from math import ceil

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._array_api import _convert_to_numpy as to_numpy
from sklearn.utils._array_api import (
    _is_numpy_namespace,
    _is_xp_namespace,
    array_api_compat,
    check_same_namespace,
    get_namespace_and_device,
    move_to,
)
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.parallel import _get_threadpool_controller
from sklearn.utils.validation import _check_sample_weight, _check_y, check_array, check_consistent_length, validate_data

__all__ = [
    "FitTasks",
    "HasMethods",
    "Interval",
    "StrOptions",
    "arrays_at",
    "arrays_here",
    "blas_threads",
    "check_same_namespace",
    "checked_block",
    "has_special_functions",
    "n_threads",
    "place",
    "task_data",
    "to_numpy",
    "validated",
    "validated_columns",
    "validated_targets",
    "whole_fit",
]


def whole_fit(fit):
    """Decorate the `fit` of an estimator: what is raised in it leaves the estimator as it was, no mixture of two fits.

    Besides, as any `fit` of scikit-learn: parameters are checked, and callbacks taken down in the end.
    """
    fit = _fit_context(prefer_skip_nested_validation=True)(fit)

    @wraps(fit)
    def whole(estimator, *args, **options):
        before = dict(vars(estimator))
        try:
            return fit(estimator, *args, **options)
        except BaseException:
            vars(estimator).clear()
            vars(estimator).update(before)
            raise

    return whole


class FitTasks:
    """The callback tasks of one fit: a few named ones, then blocks of iterations.

    One task an iteration would cost a progress bar quadratic time, so the iterations come in at most `N_BLOCKS` blocks.

    Parameters
    ----------
    estimator : estimator with `CallbackSupportMixin`
    data : dict
        X, y and metadata, as the hooks receive them.
    n_named : int
        Number of named tasks.

    Attributes
    ----------
    stopped : bool
        Whether a callback has asked to stop.
    """

    N_BLOCKS = 100

    def __init__(self, estimator, data, n_named=0):
        self._estimator, self._data, self._open, self.stopped = estimator, data, None, False
        self._context = estimator._init_callback_context(max_subtasks=n_named + self.N_BLOCKS)
        self._context.call_on_fit_task_begin(estimator=estimator, **data)

    def begin(self, name):
        """Begin a task."""
        self._open = self._context.subcontext(task_name=name)
        self._open.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def finish(self, attributes):
        """End the task that is open, `attributes()` giving the fitted attributes so far; True asks to stop."""
        task, self._open = self._open, None
        if task is None:
            return False
        told = {**self._data, "reconstruction_attributes": self._following(attributes)}
        stop = bool(task.call_on_fit_task_end(estimator=self._estimator, **told))
        self.stopped = self.stopped or stop
        return stop

    def proceed(self, name, attributes):
        """End the task that is open and begin another, unless that asks to stop: then return True."""
        stop = self.finish(attributes)
        if not stop:
            self.begin(name)
        return stop

    def watch(self, max_iter, attributes):
        """Return the function (n_iter, parameters) -> stop that a loop calls after every iteration."""
        length = ceil(max_iter / self.N_BLOCKS)

        def told(n_iter, parameters):
            # A callback may have asked to stop at the very end of the stage before.
            if self.stopped:
                return True
            if self._open is None:
                self.begin("iterations")
            return n_iter % length == 0 and self.finish(lambda: attributes(parameters, n_iter))

        return told

    def end(self, attributes):
        """End the block that is open, if any, and the fit."""
        self.finish(attributes)
        self._context.call_on_fit_task_end(
            estimator=self._estimator, **self._data, reconstruction_attributes=self._following(attributes)
        )

    def _following(self, attributes):
        """Return the function that gives the attributes where X is, as predictions need them."""
        found = place(self._data["X"])
        return attributes if found is None else lambda: arrays_at(found, attributes())


def task_data(X, y, sample_weight):
    """Return what the hooks of callbacks receive of the data."""
    return {"X": X, "y": y, "metadata": {} if sample_weight is None else {"sample_weight": sample_weight}}


MATRIX = {"dtype": [np.float64, np.float32], "accept_sparse": ("csr", "csc")}


def validated(estimator, X, y, sample_weight, *, multi_output=False):
    """Return the data of a fit in one floating dtype, that of X; weights stay None when there are none."""
    if any(place(values) for values in (X, y, sample_weight)):
        xp, _, device = get_namespace_and_device(X)
        # Everything follows X, lists too.
        y, sample_weight = (
            values if values is None or hasattr(values, "__dlpack__") else np.asarray(values)
            for values in (y, sample_weight)
        )
        y, sample_weight = move_to(y, sample_weight, xp=xp, device=device or "cpu")
    X, y = validate_data(estimator, X, y, **_matrix_options(X), y_numeric=True, multi_output=multi_output)
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
    y = y.astype(X.dtype, copy=False) if place(X) is None else xp.astype(y, X.dtype, copy=False)
    return X, y, sample_weight


def _matrix_options(X):
    """Return what validation accepts, in the dtypes of the namespace of X."""
    found = place(X)
    if found is None:
        return MATRIX
    xp, device = found
    floats = xp.__array_namespace_info__().dtypes(kind="real floating", device=device)
    return {**MATRIX, "dtype": [floats[name] for name in ("float64", "float32") if name in floats]}


def validated_columns(estimator, X, *, reset=False, rows_needed=1):
    """Return a matrix of which the estimator knows the columns, or learns them with `reset`."""
    return validate_data(estimator, X, reset=reset, ensure_min_samples=rows_needed, **_matrix_options(X))


def validated_targets(estimator, y, sample_weight, n_samples, dtype, *, multi_output=False):
    """Return y and the weights of so many rows, in one dtype; None stays None."""
    rows = np.empty((n_samples, 0), dtype=dtype)
    if y is not None:
        y = _check_y(y, multi_output=multi_output, y_numeric=True, estimator=estimator)
        check_consistent_length(rows, y)
        y = y.astype(dtype, copy=False)
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, rows, dtype=dtype, ensure_non_negative=True)
    return y, sample_weight


def n_threads():
    """Return the number of threads that scikit-learn would use: that of the cores, or of OMP_NUM_THREADS."""
    return _openmp_effective_n_threads()


def blas_threads(n):
    """Return a context in which BLAS has so many threads."""
    return _get_threadpool_controller().limit(limits=n, user_api="blas")


def checked_block(X, **options):
    """Return a matrix, or y, of finite numbers."""
    return check_array(X, **{**MATRIX, **options})


# arrays of other namespaces than NumPy's


def place(X):
    """Return (namespace, device) of an array that is not NumPy's where scikit-learn dispatches, else None."""
    if not hasattr(X, "__dlpack__"):
        return None
    xp, dispatched, device = get_namespace_and_device(X)
    return None if not dispatched or _is_numpy_namespace(xp) else (xp, device)


def has_special_functions(xp):
    """Whether `scipy.special` runs on arrays of this namespace where they are; scikit-learn's dispatch requires it."""
    return any(_is_xp_namespace(xp, name) for name in ("torch", "cupy"))


def arrays_at(place, attributes):
    """Return attributes with their NumPy arrays of numbers at a place, in single precision if it has no other."""
    xp, device = place
    floats = xp.__array_namespace_info__().dtypes(kind="real floating", device=device)

    def moved(value):
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
            return value
        single = value.dtype == np.float64 and "float64" not in floats
        return xp.asarray(np.array(value, dtype=np.float32 if single else value.dtype), device=device)

    return {name: moved(value) for name, value in attributes.items()}


def arrays_here(value):
    """Return an attribute, or a container of such, with arrays of other namespaces as NumPy's."""
    if type(value) is dict:
        return {key: arrays_here(part) for key, part in value.items()}
    if type(value) in (tuple, list):
        return type(value)(arrays_here(part) for part in value)
    if isinstance(value, np.ndarray | np.generic) or not hasattr(value, "__dlpack__"):
        return value
    return to_numpy(value, array_api_compat.get_namespace(value))
