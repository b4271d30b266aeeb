"""Two layers with several outputs, both recovered exactly: `TwoLayerReLURecovery`."""

import warnings
from functools import partial
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skrelu._compat import Interval, StrOptions
from skrelu.activations import Activation, get_activation
from skrelu.base import NetworkRegressor
from skrelu.networks.two_layer import TwoLayer
from skrelu.networks.units import rectified
from skrelu.one_hidden_layer import OneHiddenLayerNet
from skrelu.output_moments import output_moments
from skrelu.solvers import outliers, two_layer
from skrelu.solvers.descent import Descent, papers_descent, until_stalled
from skrelu.solvers.loop import INTERRUPTED, STOPPED
from skrelu.standard_errors import determines, standard_errors
from skrelu.starts import two_layer_start
from skrelu.whitening import least_normal_column, unwhitened, whitening

EXACT_EPS = 1e3  # a residual of at most so many eps, relative to y, is zero
NOT_GAUSSIAN = 5.0  # standard errors of Geary's ratio from that of a normal column


class TwoLayerReLURecovery(NetworkRegressor):
    """Two layers of rectified units and linear outputs, recovered exactly from vector outputs.

    Solves

    ``min_{V, b, U, c} 1/(2 sum_i s_i) sum_i s_i |U f(V x_i + b) + c - y_i|^2
    + (alpha/2) sum_j (v_j' S v_j + |u_j|^2)``,

    s the sample weights, S the variances of the columns, v_j the rows of V, u_j the columns of U, f = max(0, z) or
    another activation that is 0 for z <= 0 and positive after.

    Theorem of [1]_: for x ~ N(0, I), Y = U f(V x) without noise, U of full column rank and V of full row rank, both
    layers are recovered exactly, up to permutation and the scale that v_j and u_j share, from polynomially many rows in
    polynomial time; for arbitrary X that is NP-hard for two units. Its steps are the start of this fit: the moments
    ``E[y (x) He_2(x)] = sum_j u_j (x) c_2 v_j v_j'``, their spans, joint diagonalisation, signs from ``E[y x']``, and
    exact steps: combinations of the outputs that vanish where a unit is off are that unit. Where they leave a
    residual, descent with the output layer eliminated and further starts follow (Notes). A residual of zero, with more
    equations than weights, is the certificate: `exact_`. Nothing is guaranteed for other inputs, more units than
    columns, more units than outputs with few rows, or nearly parallel units, whose weights lose digits.

    With mean-zero noise this is nonlinear least squares: errors fall as 1/sqrt(n), with standard errors from the
    Gauss-Newton matrix.

    Parameters
    ----------
    n_hidden : int or "auto", default="auto"
        Number k of units. "auto": the number of directions of the moments that noise alone would not have, or the rank
        of the outputs if that is less than their number; then as many as minimise the Bayesian information criterion
        ``n q log F + p log n``, F the objective, p the number of weights, q the rank of the outputs.
    activation : {"relu", "squared_relu"} or Activation, default="relu"
        f. An `Activation` that is neither monotone nor homogeneous may need more starts: nothing is known of it.
    outliers : {"none", "detect"}, default="none"
        "detect": rows grossly wrong are found and left out; of normal noise 0.05 rows. Without noise all is exact, as a
        rule, for up to 0.3 of rows wrong (measured); too many units hide some. Weights: half the equations at most.
    alpha : float, default=0.0
        Weight decay, in units of y for ReLUs.
    solver : {"auto", "gd"}, default="auto"
        "gd": gradient descent on V and b from the tensor start, U and c at their least squares in every step.
    step_size : float or "auto", default="auto"
        A number multiplies 1/L, L the largest eigenvalue of the start's Gauss-Newton matrix, and selects "gd". "auto"
        with "gd" halves the step for good whenever it would raise the objective.
    fit_intercept : bool, default=True
        Whether there are b and c; False is the model of the paper.
    max_iter : int, default=1000
        Largest number of iterations of each start.
    tol : float, default=1e-10
        "gd" stops when ``|V+ - V| <= tol |V+|``; 0 means: run `max_iter` iterations. "auto" stops when
        ``(g' M^-1 g)^(1/2) <= tol``, g the gradient and M the Gauss-Newton matrix of inputs independent of the units, y
        in units of its root mean square. Values below 10 eps of the dtype count as 10 eps.
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
        v_j, of length one if f is homogeneous, by decreasing ``|u_j|`` times the deviation of the unit.
    hidden_intercept_ : ndarray of shape (n_hidden,)
    output_coef_ : ndarray of shape (n_outputs, n_hidden)
        U.
    output_intercept_ : ndarray of shape (n_outputs,)
    hidden_coef_std_ : ndarray of shape (n_hidden, n_features)
    output_coef_std_ : ndarray of shape (n_outputs, n_hidden)
        Standard errors, for noise independent of X, correlated across outputs or not. Of weights that the data do not
        determine (`stop_reason_` says so) those of the part that they do, 0 if there is none.
    exact_ : bool
        Whether `residual_` is zero to rounding (at most 1000 eps) and the rows determine the weights: more equations
        than weights, full rank, no unit that vanishes, is parallel or opposite to another, or active on too few rows.
    residual_ : float
        Root mean square of the residual, relative to that of y about its mean (without intercept: about zero).
    outlier_mask_ : ndarray of shape (n_samples,) of bool
        Rows that were set aside. `residual_`, `exact_`, `loss_` and all other attributes are those of the other rows.
    alpha_ : float
    loss_ : float
        Half the weighted mean squared error, summed over outputs, without penalty.
    loss_curve_ : list of float
        Objective after each iteration of the start that was kept; in the first stages that of wide networks and of
        weighted outputs.
    n_iter_ : int
    converged_ : bool
    stop_reason_ : str
        Why the solver stopped, and whether the data can determine so many weights.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only when X has string column names.

    Warns
    -----
    ConvergenceWarning
        When the solver stopped before its goal; and when the residual is not zero and a column of X is not normal.

    See Also
    --------
    OneHiddenLayerReLU : One output; a y of one column takes its route here, too.

    Notes
    -----
    The outputs are weighted by the inverse root of the covariance of their residuals about the linear fit, so that all
    units count alike in moments and first stages, however small their u_j. Further starts are networks of 2, 1.5 and 3
    times as many random units, of which those are kept that the least squares fit of the output layer misses most. Then
    L-BFGS, and Newton steps with the kinks of ReLUs smoothed less and less, over V and b alone: U and c are at their
    least squares everywhere. Signs come from the first moments, which is as good as their distance to the span of Y in
    [1]_ where that applies, and also applies with noise and with more units than outputs.

    References
    ----------
    .. [1] A. Bakshi, R. Jayaram and D. P. Woodruff, "Learning Two Layer Rectified Neural Networks in Polynomial Time",
       COLT 2019. arXiv:1811.01885.

    Examples
    --------
    >>> from skrelu import TwoLayerReLURecovery, datasets, metrics
    >>> X, Y, teacher = datasets.make_two_layer_relu(
    ...     n_samples=300, n_features=20, n_hidden=5, n_outputs=8, return_teacher=True, random_state=0)
    >>> model = TwoLayerReLURecovery(random_state=0).fit(X, Y)
    >>> model.exact_, metrics.recovery_error(teacher.hidden_coef_, model.hidden_coef_) < 1e-12
    (True, True)
    """

    _several_outputs = True

    _parameter_constraints: ClassVar[dict] = {
        "n_hidden": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "activation": [StrOptions({"relu", "squared_relu"}), Activation],
        "outliers": [StrOptions({"none", "detect"})],
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
        activation="relu",
        outliers="none",
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
        self.activation = activation
        self.outliers = outliers
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

    def predict(self, X):
        """Return ``output_intercept_ + output_coef_ f(hidden_coef_ x + hidden_intercept_)``.

        Parameters
        ----------
        X : {array-like, CSR/CSC matrix or array} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            (n_samples,) after a fit to y of one dimension.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32], accept_sparse=("csr", "csc"))
        hidden = np.asarray(X @ self.hidden_coef_.T) + self.hidden_intercept_
        units = get_activation(self.activation).value(hidden)
        y = units @ np.atleast_2d(self.output_coef_).T + self.output_intercept_
        return y.reshape(len(y), *self._y_shape)

    def __sklearn_tags__(self):
        """Return the tags: several outputs are accepted."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _fit_rows(self, rows, tasks):
        """Fit: network x start x solver."""
        activation = rectified(get_activation(self.activation))
        tasks.begin("start")
        self.outlier_mask_, rng = np.zeros(rows.n_samples, dtype=bool), check_random_state(self.random_state)
        if self.outliers == "detect":
            made = partial(self._network, activation=activation)
            found = outliers.detected(rows, made, rng, self.n_hidden, self.fit_intercept, self.n_init, self.max_iter)
            self.outlier_mask_, rows = found.mask, found.network.rows
            if found.interrupted:
                return self._store(rows, whitening(rows, centered=True), found.network, found)
        centered = whitening(rows, centered=True)
        moments = output_moments(rows, centered, None if self.n_hidden == "auto" else self.n_hidden)
        hidden, bias, before = self._start(rows, activation, centered, moments, rng, tasks)
        if self._is_gd:
            coordinates, options = unwhitened(centered), {"gauss_newton": True}
        else:
            coordinates, options = centered if self.fit_intercept else whitening(rows, centered=False), {}
        network = self._network(rows, activation, coordinates, moments, len(hidden), **options)
        theta = network.parameters(hidden, bias)
        if not np.all(np.isfinite(theta)):
            raise ValueError(f"X or y: weights of their scales overflow {rows.dtype}; rescale them")
        tasks.finish(lambda: self._attributes(network, theta))
        if self._is_gd or tasks.stopped:
            descent = self._gradient_descent(network, theta, tasks)
        else:
            network, descent = self._descend(network, moments, theta, before, rng, tasks)
        self._store(rows, centered, network, descent)

    def _start(self, rows, activation, centered, moments, rng, tasks):
        """Return hidden weights, biases, and the fit that they come from, or None: then other starts may follow."""
        if self.warm_start and hasattr(self, "hidden_coef_") and self._fits_before(rows):
            return self.hidden_coef_.astype(np.float64), self.hidden_intercept_.astype(np.float64), self
        if rows.n_outputs == 1:
            names = "n_hidden", "alpha", "solver", "fit_intercept", "max_iter", "tol", "n_init", "verbose"
            options = {name: getattr(self, name) for name in names}
            single = _OneOutput(activation=activation, random_state=rng, **options)
            if self._is_gd:
                start = single._start(rows, centered, rng)[0]
                return start.hidden, start.hidden_bias, None
            single._fit_rows(rows, tasks)
            weights = single.hidden_coef_, single.hidden_intercept_, single.output_coef_
            return *two_layer.balanced(*weights, centered.deviations, activation, self.alpha), single
        k = moments.basis.shape[1] if self.n_hidden == "auto" else self.n_hidden
        return *two_layer_start(centered, moments, activation, k, rng, fit_intercept=self.fit_intercept), None

    def _network(self, rows, activation, coordinates, moments, n_hidden, **options):
        center = moments.mean if self.fit_intercept else np.zeros_like(moments.mean)
        return TwoLayer(
            rows,
            activation,
            coordinates,
            n_hidden,
            fit_intercept=self.fit_intercept,
            alpha=float(self.alpha),
            center=center,
            target_scale=rows.target_scale(center),
            output_rank=max(moments.output_rank, 1),
            **options,
        )

    def _gradient_descent(self, network, theta, tasks):
        """Return the descent of the hidden layer by gradients, in the user's own coordinates."""
        return papers_descent(
            network,
            theta,
            step_size=self.step_size,
            tol=self.tol,
            max_iter=self.max_iter,
            stopped=tasks.stopped,
            watch=tasks.watch(self.max_iter, self._told(network)),
            verbose=self.verbose,
        )

    def _descend(self, network, moments, theta, before, rng, tasks):
        """Return (network, descent) of the default solver; `before` is the fit that theta comes from, if any."""
        options = {"max_iter": self.max_iter, "verbose": self.verbose}
        weighting, descent = moments.weighting, Descent(theta)
        if isinstance(before, _OneOutput):
            unit = network.target_scale
            curve = [value / unit / unit for value in before.loss_curve_]
            descent = Descent(theta, np.inf, curve, before.converged_, before.stop_reason_)
            return network, descent.moved(network, theta)
        begin = partial(tasks.proceed, "start", partial(self._attributes, network, theta))
        tasks.begin("start")
        try:
            descent = descent.moved(network, theta)
            if before is not None:
                descent = descent.followed_by(until_stalled(), network, **options)
            else:
                if network.n_hidden <= moments.output_rank:
                    descent = two_layer.exact(network, descent, moments.covariance)
                descent = two_layer.refined(network, weighting, descent, **options)
                if self.n_hidden == "auto":
                    network, descent = two_layer.sized(network, weighting, descent, rng, **options)
                further = {"n_starts": self.n_init - 1, "begin": begin, **options}
                descent = two_layer.best_start(network, weighting, descent, rng, **further)
        except KeyboardInterrupt:
            descent = descent.stopped(INTERRUPTED)
        if tasks.finish(lambda: self._attributes(network, descent.theta)):
            descent = descent.stopped(STOPPED)
        tol = max(self.tol, 10 * float(np.finfo(network.rows.dtype).eps))
        watch = tasks.watch(self.max_iter, self._told(network))
        return network, two_layer.polished(network, descent, tol=tol, watch=watch, **options)

    def _told(self, network):
        return lambda theta, n_iter: {**self._attributes(network, theta), "n_iter_": n_iter}

    def _attributes(self, network, theta):
        """Return the fitted weights; units of a homogeneous activation have length one."""
        (hidden, bias), (output, intercept) = network.hidden(theta), network.output(theta)
        if network.activation.homogeneity is not None:
            norm = np.hypot.reduce(hidden, axis=1)
            norm = np.where(norm > 0, norm, 1.0)
            hidden, bias, output = hidden / norm[:, None], bias / norm, output * norm**network.activation.homogeneity
        return {
            "hidden_coef_": hidden,
            "hidden_intercept_": bias,
            "output_coef_": output,
            "output_intercept_": intercept,
        }

    def _store(self, rows, centered, network, descent):
        order = np.argsort(-network.contributions(descent.theta), kind="stable")
        theta = descent.theta.reshape(network.shape)[order].ravel()
        for name, value in self._attributes(network, theta).items():
            setattr(self, name, value.astype(rows.dtype))
        unit, loss = network.target_scale, network.loss(theta)
        self.alpha_, self.loss_, self.residual_ = float(self.alpha), loss * unit * unit, (2 * loss) ** 0.5
        if not (np.isfinite(self.loss_) and np.all(np.isfinite(self.output_coef_))):
            raise ValueError(f"X or y: squares of their entries overflow {rows.dtype}; rescale them")
        undetermined, exact = network.undetermined(theta), self.residual_ <= EXACT_EPS * float(np.finfo(rows.dtype).eps)
        coordinates = whitening(rows, centered=self.fit_intercept) if self._is_gd else network.whitening
        if exact and not undetermined and not two_layer.determined(network, theta):
            undetermined = "" if determines(network, theta, coordinates) else "the rows do not determine all weights"
        errors = np.zeros_like(self.hidden_coef_), np.zeros_like(self.output_coef_)
        errors = errors if exact else standard_errors(network, theta, coordinates)
        self.hidden_coef_std_, self.output_coef_std_ = (part.astype(rows.dtype) for part in errors)
        self.loss_curve_ = [value * unit * unit for value in descent.loss_curve] or [self.loss_]
        self.n_iter_, self.converged_ = len(self.loss_curve_), descent.converged
        self.exact_ = exact and not undetermined
        self.stop_reason_ = "; ".join(filter(None, (descent.stop_reason, undetermined)))
        self._warn_unless_converged(descent.stop_reason, "Raise alpha, max_iter or tol")
        if not exact:
            self._warn_unless_gaussian(rows, centered)

    def _warn_unless_gaussian(self, rows, centered):
        """Warn that nothing is guaranteed where a column is not normal."""
        column, errors = least_normal_column(rows, centered)
        if errors > NOT_GAUSSIAN:
            message = (
                f"The residual is {self.residual_:.2g} of y, not zero, and X is not Gaussian: Geary's ratio of column "
                f"{column} is {errors:.0f} standard errors off, more than {NOT_GAUSSIAN:g}. For such inputs recovery "
                "is NP-hard in general: what was found is the best network of all starts, not certified; a larger "
                "n_init may find a better one."
            )
            warnings.warn(message, ConvergenceWarning, stacklevel=6)


class _OneOutput(OneHiddenLayerNet):
    """The route of one output; what did not converge there goes on here, and is told here."""

    def _warn_unless_converged(self, reason, remedy):
        pass
