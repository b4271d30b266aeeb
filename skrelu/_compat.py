"""What this package uses of scikit-learn's private names, in one place."""

from math import ceil

import numpy as np
from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data

__all__ = ["FitTasks", "HasMethods", "Interval", "StrOptions", "fit_context", "task_data", "validated"]


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
        told = {**self._data, "reconstruction_attributes": attributes}
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
            estimator=self._estimator, **self._data, reconstruction_attributes=attributes
        )


def task_data(X, y, sample_weight):
    """Return what the hooks of callbacks receive of the data."""
    return {"X": X, "y": y, "metadata": {} if sample_weight is None else {"sample_weight": sample_weight}}


def validated(estimator, X, y, sample_weight, *, multi_output=False):
    """Return the data of a fit in one floating dtype, that of X; weights stay None when there are none."""
    options = {"dtype": [np.float64, np.float32], "accept_sparse": ("csr", "csc"), "y_numeric": True}
    options["multi_output"] = multi_output
    X, y = validate_data(estimator, X, y, **options)
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
    return X, y.astype(X.dtype, copy=False), sample_weight
