"""One hidden layer of ReLUs, recovered from the moments of its data: `OneHiddenLayerReLU`."""

import warnings
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skrelu import activations, starts
from skrelu._compat import FitTasks, Interval, StrOptions, fit_context, task_data, validated
from skrelu.moments import hermite_moments
from skrelu.networks import OneHiddenLayer
from skrelu.networks.one_hidden_layer import Weights
from skrelu.rows import Rows
from skrelu.solvers import hidden_layer
from skrelu.solvers.gradient import gradient_descent
from skrelu.solvers.loop import STOPPED
from skrelu.whitening import unwhitened, whitening


class OneHiddenLayerReLU(CallbackSupportMixin, RegressorMixin, BaseEstimator):
    """One hidden layer of ReLUs, from the moments of the data to machine precision.

    Solves

    ``min_{w_j, b_j, v_j, c} 1/(2 sum_i s_i) sum_i s_i (f(x_i) - y_i)^2 + (alpha/2) sum_j (w_j' S w_j + v_j^2)``,
    ``f(x) = c + sum_j v_j max(0, <w_j, x> + b_j)``,

    s the sample weights, S the variances of the columns. A ReLU is positively homogeneous: v_j is reported as +-1, with
    the magnitude in w_j, and the penalty is ``alpha sum_j (w_j' S w_j)^(1/2)``.

    The start is that of [1]_ and [2]_: Hermite moments ``E[y He_m(x)]`` of the whitened x are sums of powers of the
    directions of the units, so that the span of the w_j comes from the second moment, and directions, magnitudes and
    biases from all moments up to the fourth in that span. With ``solver="gd"`` and ``step_size=1.0`` gradient descent
    on w and b with step 1/L follows, as in the papers, L the largest eigenvalue of the start's Gauss-Newton matrix.

    Theorem of [1]_: for x ~ N(0, I), y = sum_j v_j max(0, <w_j, x>) + noise with linearly independent w_j, and n above
    a constant times d times powers of k and of the condition number of W, gradient descent from the tensor start
    converges linearly to the planted weights, up to a statistical error of order ``sigma sqrt(k d / n)``. Nothing is
    guaranteed for other inputs, for more units than columns, or below that n.

    With ``solver="auto"`` the same problem is solved from fewer samples, see Notes.

    Parameters
    ----------
    n_hidden : int or "auto", default="auto"
        Number k of units. "auto": the number of eigenvalues of the second moment that noise alone would not have, at
        least 1; then units are added for as long as the Bayesian information criterion falls.
    init : {"tensor", "random"} or array-like of shape (n_hidden, n_features), default="tensor"
        "random": directions uniform in the whitened metric, as many negative outputs as the second moment has negative
        eigenvalues. An array: the weights of the units; their outputs by least squares, biases 0. A tensor start gives
        at most rank(X) units, and at most 40; the others are small and random.
    output_weights : {"signed", "positive"}, default="signed"
        "positive": all v_j are +1.
    alpha : float, default=0.0
        Weight decay, in units of y: with y and alpha both ten times as large, the weights are.
    solver : {"auto", "gd"}, default="auto"
        "gd": gradient descent on w, b and c with the v_j of the start, which count as they are, +-1, in the penalty.
    step_size : float or "auto", default="auto"
        A number multiplies 1/L and selects "gd". "auto" with "gd" halves the step for good whenever it would raise the
        objective.
    fit_intercept : bool, default=True
        Whether there are b_j and c; False is the model of the papers.
    max_iter : int, default=1000
        Largest number of iterations of each start.
    tol : float, default=1e-10
        "gd" stops when ``|w+ - w| <= tol |w+|``; 0 means: run `max_iter` iterations. "auto" stops when
        ``(g' M^-1 g)^(1/2) <= tol``, g the gradient and M the Gauss-Newton matrix of inputs independent of the
        units, y in units of its root mean square: the square root of twice the decrease, relative to the mean square of
        y, that a Newton step would bring. Values below 10 eps of the dtype count as 10 eps.
    random_state : int, RandomState instance or None, default=None
        Draws of all starts. Same data and seed, same result; the draws do not depend on the number of rows.
    n_init : int, default=10
        Largest number of starts of "auto". It ends with the first that leaves no residual, or that comes to the same
        objective as the best one before.
    warm_start : bool, default=False
        Start from the weights of the previous fit, alone, if it had as many units and columns.
    verbose : int, default=0
        Print every iteration whose number is a multiple of ``10 / verbose``.

    Attributes
    ----------
    hidden_coef_ : ndarray of shape (n_hidden, n_features)
        w_j, by decreasing ``w_j' S w_j``.
    hidden_intercept_ : ndarray of shape (n_hidden,)
    output_coef_ : ndarray of shape (n_hidden,)
        v_j, +-1.
    output_intercept_ : float
    init_coef_ : ndarray of shape (n_hidden, n_features)
        The first start, before any descent.
    alpha_ : float
    loss_ : float
        Half the weighted mean squared error at the returned parameters, without penalty.
    loss_curve_ : list of float
        Objective after each iteration of the start that was kept. In the first stages of "auto" that is the one of the
        relaxed, wide or smoothed network (see Notes).
    n_iter_ : int
        Iterations of the start that was kept.
    converged_ : bool
    stop_reason_ : str
        Why the solver stopped, and whether the data can determine so many weights: one or two sentences.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only when X has string column names.

    Warns
    -----
    ConvergenceWarning
        When the solver stopped before its goal, with the remedy that fits.

    See Also
    --------
    ProjectedReLURegressor : One unit, with side information about its weights.

    Notes
    -----
    "auto" descends (L-BFGS in the metric of the network) first in a *relaxed* network with a linear part besides.
    max(0, z) = z/2 + |z|/2, so that there the orientation of units does not matter, and descent is not caught where a
    unit points the wrong way. The linear part then tells the orientation. Where that leaves a residual, further starts
    are wider networks, relaxed or with decreasing weight decay, pruned to n_hidden units. At last Newton steps by
    conjugate gradients, with the kinks of the ReLUs smoothed over a width that ends at 1e-4 of the root mean square of
    y. Nothing is proved for it beyond stationarity of what it returns; a residual of zero is its own certificate.
    Units are unique only where the data determine them: parallel units of one sign can exchange weight, predictions are
    the same. Measured on x ~ N(0, I) without noise, 5 units and d = 50: the planted weights, to rounding, from n = 500,
    twice the number of weights.

    References
    ----------
    .. [1] X. Zhang, Y. Yu, L. Wang and Q. Gu, "Learning One-hidden-layer ReLU Networks via Gradient Descent", AISTATS
       2019. arXiv:1806.07808.
    .. [2] K. Zhong, Z. Song, P. Jain, P. L. Bartlett and I. S. Dhillon, "Recovery Guarantees for One-hidden-layer
       Neural Networks", ICML 2017. arXiv:1706.03175.

    Examples
    --------
    >>> from skrelu import OneHiddenLayerReLU, datasets, metrics
    >>> X, y, teacher = datasets.make_one_hidden_layer(
    ...     n_samples=400, n_features=10, n_hidden=3, return_teacher=True, random_state=0)
    >>> model = OneHiddenLayerReLU(n_hidden=3, random_state=0).fit(X, y)
    >>> metrics.recovery_error(teacher.hidden_coef_, model.hidden_coef_) < 1e-10
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_hidden": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "init": [StrOptions({"tensor", "random"}), "array-like"],
        "output_weights": [StrOptions({"signed", "positive"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "solver": [StrOptions({"auto", "gd"})],
        "step_size": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "fit_intercept": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_hidden="auto",
        *,
        init="tensor",
        output_weights="signed",
        alpha=0.0,
        solver="auto",
        step_size="auto",
        fit_intercept=True,
        max_iter=1000,
        tol=1e-10,
        random_state=None,
        n_init=10,
        warm_start=False,
        verbose=0,
    ):
        self.n_hidden = n_hidden
        self.init = init
        self.output_weights = output_weights
        self.alpha = alpha
        self.solver = solver
        self.step_size = step_size
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.n_init = n_init
        self.warm_start = warm_start
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the network.

        Parameters
        ----------
        X : {ndarray, memory map, CSR/CSC matrix or array} of shape (n_samples, n_features)
            float32 and float64 are kept; never copied.
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None
            Frequency weights: an integer weight equals that many copies of its row.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X or y has missing or infinite values or the wrong shape, if the weights are negative or all zero, if the
            shape of an `init` array does not fit, or if squares of the data overflow.
        """
        X, y, sample_weight = validated(self, X, y, sample_weight)
        tasks = FitTasks(self, task_data(X, y, sample_weight), n_named=self.n_init + 1)
        with np.errstate(over="ignore", invalid="ignore"):
            self._fit_rows(Rows(X, y, sample_weight), tasks)
        tasks.end(dict)
        return self

    def predict(self, X):
        """Return ``output_intercept_ + sum_j output_coef_[j] max(0, <hidden_coef_[j], x> + hidden_intercept_[j])``.

        Parameters
        ----------
        X : {array-like, CSR/CSC matrix or array} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32], accept_sparse=("csr", "csc"))
        hidden = activations.relu.value(np.asarray(X @ self.hidden_coef_.T) + self.hidden_intercept_)
        return hidden @ self.output_coef_ + self.output_intercept_

    def __sklearn_tags__(self):
        """Return the tags: sparse input is accepted."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @property
    def _is_gd(self):
        return self.solver == "gd" or self.step_size != "auto"

    def _fit_rows(self, rows, tasks):
        """Fit: network x start x solver."""
        rng = check_random_state(self.random_state)
        tasks.begin("start")
        centered = whitening(rows, centered=True)
        start, single = self._start(rows, centered, rng)
        if not np.all(np.isfinite(start.hidden)):
            raise ValueError(f"X or y: weights of their scales overflow {rows.dtype}; rescale them")
        tasks.finish(lambda: self._attributes(start))
        if self._is_gd or tasks.stopped:
            network = self._network(rows, unwhitened(centered), start, free_output=False)
            descent = self._gradient_descent(network, start, tasks)
        else:
            coordinates = centered if self.fit_intercept else whitening(rows, centered=False)
            network, descent = self._descend(self._network(rows, coordinates, start), start, rng, tasks, single)
        self._store(rows, network, descent, start)

    def _start(self, rows, centered, rng):
        """Return the weights of the start, and whether it is the only one."""
        if self.warm_start and hasattr(self, "hidden_coef_") and self._fits_before(rows):
            before = self.hidden_coef_, self.hidden_intercept_, self.output_coef_
            hidden, bias, output = (w.astype(np.float64) for w in before)
            return Weights(hidden, bias, output, float(self.output_intercept_)), True
        signed = self.output_weights == "signed"
        if not isinstance(self.init, str):
            n_hidden = None if self.n_hidden == "auto" else self.n_hidden
            options = {"n_hidden": n_hidden, "signed": signed, "fit_intercept": self.fit_intercept}
            return starts.given_start(rows, self.init, activations.relu, **options), True
        auto = self.n_hidden == "auto"
        moments = hermite_moments(rows, centered, None if auto else self.n_hidden)
        k = moments.basis.shape[1] if auto else self.n_hidden
        if self.init == "tensor":
            options = {"n_negative": None if signed else 0, "fit_intercept": self.fit_intercept}
            return starts.tensor_start(rows, centered, moments, activations.relu, k, rng, **options), False
        n_negative = int(np.sum(np.linalg.eigvalsh(moments.second) < 0)) if signed else 0
        return starts.random_start(rows, centered, k, n_negative, rng, fit_intercept=self.fit_intercept), False

    def _fits_before(self, rows):
        k, d = self.hidden_coef_.shape
        return d == rows.n_features and self.n_hidden in ("auto", k)

    def _network(self, rows, coordinates, start, **options):
        return OneHiddenLayer(
            rows,
            activations.relu,
            coordinates,
            start.output,
            fit_intercept=self.fit_intercept,
            alpha=float(self.alpha),
            positive=self.output_weights == "positive",
            **options,
        )

    def _gradient_descent(self, network, start, tasks):
        """Return the descent of the papers' iteration, in the user's own coordinates."""
        theta = network.parameters(start)
        tol = max(self.tol, 10 * float(np.finfo(network.rows.dtype).eps)) if self.tol > 0 else -1.0
        # A callback that asked to stop at the start gets the start.
        descent = hidden_layer.Descent(theta, stop_reason=STOPPED if tasks.stopped else "").followed_by(
            partial(gradient_descent, step_size=self.step_size),
            network,
            max_iter=self.max_iter,
            tol=tol,
            criterion="|w+ - w| / |w+|",
            start_objective=network.value_and_gradient(theta)[0],
            watch=tasks.watch(self.max_iter, self._told(network)),
            verbose=self.verbose,
        )
        asked = tol < 0 and len(descent.loss_curve) == self.max_iter
        return replace(descent, converged=descent.converged or asked)

    def _descend(self, network, start, rng, tasks, single):
        """Return (network, descent) of the default solver."""
        options = {"max_iter": self.max_iter, "verbose": self.verbose}
        network = network.variant(target_scale=network.rows.target_scale())
        theta = hidden_layer.balanced(network, network.variant(free_output=False).parameters(start))

        def begin():
            stop = tasks.finish(lambda: self._attributes(start))
            if not stop:
                tasks.begin("start")
            return stop

        tasks.begin("start")
        if single:
            descent = hidden_layer.Descent(theta).followed_by(hidden_layer.until_stalled(), network, **options)
        else:
            network, descent = hidden_layer.refined(network, theta, rng, **options)
            if self.n_hidden == "auto":
                network, descent = hidden_layer.grown(network, descent, rng, **options)
            further = {"n_starts": self.n_init - 1, "begin": begin, **options}
            network, descent = hidden_layer.best_of_starts(network, descent, rng, **further)
        if tasks.finish(lambda: self._attributes(network.weights(descent.theta))):
            descent = descent.stopped(STOPPED)
        tol = max(self.tol, 10 * float(np.finfo(network.rows.dtype).eps))
        watch = tasks.watch(self.max_iter, self._told(network))
        return network, hidden_layer.polished(network, descent, tol=tol, watch=watch, **options)

    def _told(self, network):
        return lambda theta, n_iter: {**self._attributes(network.weights(theta)), "n_iter_": n_iter}

    def _attributes(self, weights):
        """Return the fitted weights: outputs +-1, magnitudes in the units."""
        weights = weights.normalised()
        return {
            "hidden_coef_": weights.hidden,
            "hidden_intercept_": weights.hidden_bias,
            "output_coef_": weights.output,
            "output_intercept_": weights.output_bias,
        }

    def _store(self, rows, network, descent, start):
        attributes = self._attributes(network.weights(descent.theta))
        spread = np.linalg.norm(attributes["hidden_coef_"] * network.whitening.deviations, axis=1)
        order = np.argsort(-spread, kind="stable")
        for name in ("hidden_coef_", "hidden_intercept_", "output_coef_"):
            setattr(self, name, attributes[name][order].astype(rows.dtype))
        self.output_intercept_ = float(attributes["output_intercept_"])
        self.init_coef_ = self._attributes(start)["hidden_coef_"].astype(rows.dtype)
        self.alpha_, unit = float(self.alpha), network.target_scale
        plain = network.variant(alpha=0.0, free_output=network.free_output)
        self.loss_ = plain.value_and_gradient(descent.theta)[0] * unit * unit
        if not np.isfinite(self.loss_):
            raise ValueError(f"X or y: squares of their entries overflow {rows.dtype}; rescale them")
        self.loss_curve_ = [value * unit * unit for value in descent.loss_curve] or [self.loss_]
        self.n_iter_, self.converged_ = len(self.loss_curve_), descent.converged
        self.stop_reason_ = "; ".join(filter(None, (descent.stop_reason, network.undetermined(descent.theta))))
        if not descent.converged:
            remedy = "Lower step_size, raise max_iter, or use solver='auto'" if self._is_gd else "Raise max_iter or tol"
            message = f"The fit did not converge: {descent.stop_reason}. {remedy}."
            warnings.warn(message, ConvergenceWarning, stacklevel=5)
