"""One ReLU whose weights lie in a structured set: `ProjectedReLURegressor`."""

import warnings
from dataclasses import replace
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning

from skrelu._compat import FitTasks, HasMethods, Interval, StrOptions, whole_fit
from skrelu.constraints.extended import CallableSet, FreeIntercept, as_constraint
from skrelu.networks import SingleReLU
from skrelu.rows.device import follow
from skrelu.rows.read import mapped, read
from skrelu.solvers.gradient import projected_gradient, remedy
from skrelu.solvers.loop import INTERRUPTED, iterate
from skrelu.solvers.points import Problem
from skrelu.solvers.structured import structured_descent

CURVED_TOL = 1e-2  # of tol, for sets whose faces are curved: Newton steps do not polish there


class Sets(HasMethods):
    """What `constraint` may be: an object with these methods or, if wanted, a function; a class is neither."""

    def __init__(self, methods, *, functions=False):
        super().__init__(methods)
        self.functions = functions

    def is_satisfied_by(self, val):
        """Whether the value may be a set."""
        return not isinstance(val, type) and (super().is_satisfied_by(val) or (self.functions and callable(val)))

    def __str__(self):
        """Return what is needed, as error messages say it."""
        return f"{super().__str__()}, such as skrelu.constraints.L0Ball(3){', a callable' if self.functions else ''}"


class ProjectedReLURegressor(CallbackSupportMixin, RegressorMixin, BaseEstimator):
    """One ReLU whose weights lie in a structured set, by projected gradient descent and Newton steps on faces.

    Solves::

        min_{w in K, b}  1/(2 sum_i s_i) sum_i s_i (max(0, <w, x_i> + b) - y_i)^2

    for the set K of the side information (sparse, small in l1 norm, monotone, ...), s the sample weights. The intercept
    b is never constrained.

    With ``solver="gd"`` and ``step_size=1.0`` it is, to the letter, the iteration of [1]_ from ``w_0 = 0``::

        w_{t+1} = P_K(w_t - mu_t g(w_t)),    mu_0 = 2,    mu_t = 1 after,
        g(w) = 1/n sum_i (max(0, z_i) - y_i) (1 + sign(z_i)) x_i,
        z_i = <w, x_i>,    sign(0) = 0

    Theorem 3.1 of [1]_: for x ~ N(0, I), y = max(0, <w*, x>) without noise and K the smallest set of its family that
    contains w*, once n exceeds a constant times the phase-transition number of (K, w*), the error at least halves with
    every step, with high probability. Nothing is guaranteed for other inputs, with an intercept, or below that n.

    With ``solver="auto"`` the same problem is solved by a method that adapts to means, scales and correlations of the
    columns and that needs about a third of the samples (see Notes).

    Parameters
    ----------
    constraint : object of `skrelu.constraints`, callable or None, default=None
        The set K, or a function ``w -> nearest point of K`` (picklable if the estimator is to be pickled). None: no
        constraint.
    solver : {"auto", "gd"}, default="auto"
        "gd" is the iteration above.
    step_size : float or "auto", default="auto"
        A number multiplies the steps mu_t of the paper and selects "gd". "auto" with "gd" halves the step for good
        whenever it would raise the objective.
    fit_intercept : bool, default=True
        Whether there is b; False is the model of the theorem.
    max_iter : int, default=1000
        Largest number of iterations.
    tol : float, default=1e-10
        "gd" stops when ``|w+ - w| <= tol |w+|``; 0 means: run `max_iter` iterations. "auto" stops when
        ``|v - P_K(v - g)| <= tol``, v and g weights and gradient in units in which the columns of X (about their means
        when there is an intercept) and y have root mean square at most 1; for nonconvex K when the gradient within the
        face is at most tol and no exchange of the face helps; for `constraints.LowRank`, whose faces are curved, a
        hundredth of tol takes its place. Values below 10 eps of the dtype count as 10 eps.
    random_state : int, RandomState instance or None, default=None
        Accepted for uniformity; nothing is drawn.
    warm_start : bool, default=False
        Start from the weights of the previous fit.
    verbose : int, default=0
        Print every iteration whose number is a multiple of ``10 / verbose``.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        The weights w, a point of K.
    intercept_ : float
        The intercept b, in units of y; 0 without.
    loss_ : float
        Half the weighted mean squared error at the returned parameters.
    loss_curve_ : list of float
        Objective after each iteration. In the first stages of "auto" that is a majorant, nowhere below the loss, and
        in one of several starts the loss of linear regression (see Notes).
    optimality_ : float
        ``|w - P_K(w - g)|_2``, g the gradient of half the mean squared error with respect to w, in the units of X and
        y; 0 at a stationary point of a convex K where the loss is smooth (see Notes).
    n_iter_ : int
        Iterations run, at least 1: the length of `loss_curve_`.
    converged_ : bool
        Whether the solver came to its goal, `tol`.
    stop_reason_ : str
        Why the solver stopped, a sentence; and in how many rows y is negative where three times the root mean square
        of these y exceeds that of y: then they may be more than noise, and a ReLU has no negative values.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns of X; only when they are all strings.

    Warns
    -----
    ConvergenceWarning
        When the solver stopped before its goal, with the remedy that fits.

    See Also
    --------
    ProjectedReLURegressorCV : Chooses the size of the set by cross-validation.

    Notes
    -----
    "auto" first minimises a majorant of the loss, in which the rows with y > 0 are linear (convex without negative y),
    and goes on with the loss itself from there; with large negative y, from the best of three such solutions. On
    convex K: spectral projected gradient steps until the face is identified, then Newton steps on the face. On
    nonconvex K: a thresholding pursuit with Newton steps on the support, over growing and shrinking sets. Nothing is
    proved for it beyond stationarity. Measured on x ~ N(0, I) without noise, d = 1000 and 20 normal weights: the
    planted weights, to rounding, 20 times in 20 from n = 200 (`constraints.L0Ball`) and n = 225
    (`constraints.L1Ball`).

    Rows with y < 0 have a kink in their loss where <w, x> + b = 0, and noisy optima sit on kinks. "auto" smooths them,
    in the end over a relative width of 1e-6, so that `optimality_`, which knows only one of the gradients at a kink,
    need not vanish there.

    References
    ----------
    .. [1] M. Soltanolkotabi, "Learning ReLUs via Gradient Descent", Advances in Neural Information Processing Systems
       30, 2017. arXiv:1705.04591.

    Examples
    --------
    One hundred weights, five of them not zero, from eighty rows:

    >>> from skrelu import ProjectedReLURegressor, constraints, datasets, metrics
    >>> X, y, teacher = datasets.make_relu_regression(
    ...     n_samples=80, n_features=100, n_nonzero=5,
    ...     return_teacher=True, random_state=0)
    >>> model = ProjectedReLURegressor(constraints.L0Ball(5), fit_intercept=False)
    >>> model = model.fit(X, y)
    >>> metrics.recovery_error(teacher.coef_, model.coef_) < 1e-10
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "constraint": [Sets("project", functions=True), None],
        "solver": [StrOptions({"auto", "gd"})],
        "step_size": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "fit_intercept": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        constraint=None,
        *,
        solver="auto",
        step_size="auto",
        fit_intercept=True,
        max_iter=1000,
        tol=1e-10,
        random_state=None,
        warm_start=False,
        verbose=0,
    ):
        self.constraint = constraint
        self.solver = solver
        self.step_size = step_size
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    @whole_fit
    def fit(self, X, y=None, sample_weight=None):
        """Fit the weights.

        Parameters
        ----------
        X : {ndarray, memory map, CSR/CSC matrix or array} of shape (n_samples, n_features)
            Or a dask array or dataframe, or blocks of rows: an iterable of such matrices, or of pairs (X_b, y_b) or
            triples (X_b, y_b, s_b), s the weights; with `array_api_dispatch` an array of torch or CuPy.
            float32 and float64 are kept; never copied.
        y : array-like of shape (n_samples,), default=None
            None if it comes with the blocks of X.
        sample_weight : array-like of shape (n_samples,), default=None
            Frequency weights: an integer weight equals that many copies of its row.

        Returns
        -------
        object
            The estimator itself.

        Raises
        ------
        ValueError
            If X or y has missing or infinite values or the wrong shape, if the weights are negative or all zero, or if
            the set does not fit the number of columns, or if squares of the data overflow.
        """
        rows, data = read(self, X, y, sample_weight)
        tasks = FitTasks(self, data)
        with np.errstate(over="ignore", invalid="ignore"):
            self._fit_set(rows, as_constraint(self.constraint), tasks)
        follow(self, data["X"])
        tasks.end(dict)
        return self

    def predict(self, X):
        """Return ``max(0, <coef_, x> + intercept_)`` for each row.

        Parameters
        ----------
        X : {array-like, CSR/CSC matrix or array} of shape (n_samples, n_features)
            Or as in `fit`: then a dask collection gives dask arrays, not yet computed.

        Returns
        -------
        ndarray of shape (n_samples,)
            Predictions, all >= 0.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has missing or infinite values or other columns than in `fit`.
        """
        return mapped(self, self._predicted, X)

    def _predicted(self, X):
        """Return the predictions for a block of rows."""
        return np.maximum(X @ self.coef_ + self.intercept_, 0)

    def __sklearn_tags__(self):
        """Return the tags: sparse input is accepted; a ReLU cannot be negative, so its score on such y is poor."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        tags.regressor_tags.poor_score = True
        return tags

    @property
    def _is_gd(self):
        return self.solver == "gd" or self.step_size != "auto"

    def _objective(self, rows, constraint):
        """Return the network over the rows: in the user's units for the paper's iteration, else in the data's."""
        if self._is_gd:
            return SingleReLU(rows, fit_intercept=self.fit_intercept)
        return SingleReLU.standardised(rows, self.fit_intercept, diagonal=constraint.diagonal)

    def _solve(self, objective, constraint, theta, *, continued=False, watch=None):
        """Return the `Result` of descent from theta on the set, and whether it ended as it should."""
        share = CURVED_TOL if constraint.curved and not self._is_gd else 1
        tol = max(self.tol * share, 10 * float(np.finfo(theta.dtype).eps))
        space = constraint.rescaled(objective.unit)
        space = FreeIntercept(space) if self.fit_intercept else space
        start_objective = np.inf
        if self._is_gd:
            start = Problem(objective, space).at(theta)
            start_objective = start.value
            method = projected_gradient(start.problem, start, step_size=self.step_size)
            criterion, tol = "|w+ - w| / |w+|", tol if self.tol > 0 else -1.0
        else:
            method = structured_descent(objective, space, theta, tol=tol, continued=continued)
            criterion = "|v - P_K(v - g)|"
        result = iterate(
            method,
            theta,
            max_iter=self.max_iter,
            tol=tol,
            criterion=criterion,
            start_objective=start_objective,
            watch=watch,
            verbose=self.verbose,
        )
        return result, result.converged or (tol < 0 and result.n_iter == self.max_iter)

    def _fit_set(self, rows, constraint, tasks):
        """Fit on one set: network x constraint x start x solver."""
        if not isinstance(constraint, CallableSet):
            # A set that does not fit the data says so in the user's units.
            constraint.project(np.zeros(rows.n_features, dtype=rows.dtype))
        objective = self._objective(rows, constraint)
        continued = self.warm_start and hasattr(self, "coef_") and len(self.coef_) == rows.n_features
        w, b = (self.coef_, self.intercept_) if continued else (np.zeros(rows.n_features), 0.0)
        start = objective.parameters(w.astype(rows.dtype), b)

        def attributes(theta, n_iter):
            return dict(zip(("coef_", "intercept_"), objective.coefficients(theta), strict=True), n_iter_=n_iter)

        watch = tasks.watch(self.max_iter, attributes)
        result, as_it_should = self._solve(objective, constraint, start, continued=continued, watch=watch)
        try:
            self._store(rows, constraint, objective, result)
        except KeyboardInterrupt:  # what was found is not to be lost
            result, as_it_should = replace(result, converged=False, stop_reason=INTERRUPTED), False
            self._store(rows, constraint, objective, result)
        if not as_it_should:
            helps = "Raise max_iter or tol"
            if self._is_gd:
                helps = remedy(result.stop_reason, self.step_size, result.loss_curve)
            message = f"The fit did not converge: {self.stop_reason_}. {helps}, or standardise the columns of X."
            warnings.warn(message, ConvergenceWarning, stacklevel=5)

    def _store(self, rows, constraint, objective, result):
        w, b = objective.coefficients(result.parameters)
        # Rounding in the change of units may have left K by the last digit.
        self.coef_, self.intercept_ = constraint.project(w), b
        self.n_iter_, self.converged_ = result.n_iter, result.converged
        self.stop_reason_ = "; ".join(filter(None, (result.stop_reason, _negative_targets(rows, objective))))
        unit = objective.target_scale
        self.loss_curve_ = [value * unit * unit for value in result.loss_curve]
        plain = objective.in_columns()
        loss, gradient, _ = plain.value_and_gradient(plain.parameters(self.coef_, b))
        self.loss_, g = loss * unit * unit, gradient[: rows.n_features] * unit
        if not (np.isfinite(self.loss_) and np.isfinite(g @ g)):
            raise ValueError(f"X or y: squares of their entries overflow {rows.dtype}; rescale them")
        step = constraint.project(self.coef_ - g)
        self.optimality_ = float(np.linalg.norm(self.coef_ - step))


def _negative_targets(rows, objective):
    """Return a sentence if the negative y are more than noise (`structured_descent`), else nothing."""
    if objective.noise_threshold * objective.target_scale <= rows.target_scale():
        return ""
    told = f"y is negative in {100 * objective.negative_share:.3g} % of the rows, and a ReLU is not"
    return f"{told}: unless that is noise, shift y or use another estimator"
