"""What the estimators of networks of several units have in common."""

import warnings

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning

from skrelu._compat import FitTasks, whole_fit
from skrelu.rows.device import follow
from skrelu.rows.read import read
from skrelu.rows.threads import several_threads
from skrelu.solvers import gradient
from skrelu.solvers.loop import INTERRUPTED

# Told by a fit that chooses the weight decay, and by no other.
OF_CHOICES = ("alphas_", "criterion_", "linear_alpha_")


class NetworkRegressor(CallbackSupportMixin, RegressorMixin, BaseEstimator):
    """Base of the estimators that fit several units from several starts.

    They define `_fit_rows(rows, tasks)`, which stores the fitted attributes (`_keep`), and have the parameters solver,
    step_size and n_init. `_several_outputs` says whether y may have columns.
    """

    _several_outputs = False

    @whole_fit
    def fit(self, X, y=None, sample_weight=None):
        """Fit the network.

        Parameters
        ----------
        X : {ndarray, memory map, CSR/CSC matrix or array} of shape (n_samples, n_features)
            Or a dask array or dataframe, or blocks of rows: an iterable of such matrices, or of pairs (X_b, y_b) or
            triples (X_b, y_b, s_b), s the weights; with `array_api_dispatch` an array of torch or CuPy.
            float32 and float64 are kept; never copied.
        y : array-like of shape (n_samples,), default=None
            Or (n_samples, n_outputs), for estimators of several outputs; None if it comes with the blocks of X.
        sample_weight : array-like of shape (n_samples,), default=None
            Frequency weights: an integer weight equals that many copies of its row.

        Returns
        -------
        object
            The estimator itself.

        Raises
        ------
        ValueError
            If X or y has missing or infinite values or the wrong shape, if the weights are negative or all zero, if the
            shape of an `init` array does not fit, or if squares of the data overflow.
        """
        rows, data = read(self, X, y, sample_weight, multi_output=self._several_outputs)
        self._y_shape = rows.output_shape
        for name in OF_CHOICES:
            self.__dict__.pop(name, None)
        tasks = FitTasks(self, data, n_named=self.n_init + 1)
        with several_threads(), np.errstate(over="ignore", invalid="ignore"):
            self._fit_rows(rows, tasks)
        follow(self, data["X"])
        tasks.end(dict)
        return self

    def __sklearn_tags__(self):
        """Return the tags: sparse input is accepted, and arrays of other namespaces than NumPy's."""
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        tags.input_tags.sparse = True
        return tags

    def _keep(self, store, descent):
        """Store a descent, which takes a few passes; if the user interrupts these, once more: it is not to be lost."""
        try:
            store(descent)
        except KeyboardInterrupt:
            store(descent.stopped(INTERRUPTED))

    def _fits_before(self, rows):
        """Whether the units of the fit before are as many as asked for, and of as many columns."""
        k, d = self.hidden_coef_.shape
        return d == rows.n_features and self.n_hidden in ("auto", k)

    @property
    def _is_gd(self):
        return self.solver == "gd" or self.step_size != "auto"

    def _warn_unless_converged(self, reason, remedy):
        """Warn with the remedy that fits; that of "gd" depends on how it ended, alike for all."""
        if not self.converged_:
            if self._is_gd:
                remedy = gradient.remedy(reason, self.step_size, self.loss_curve_)
            message = f"The fit did not converge: {reason}. {remedy}."
            warnings.warn(message, ConvergenceWarning, stacklevel=8)
