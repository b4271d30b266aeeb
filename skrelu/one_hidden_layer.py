"""One hidden layer of any activation, recovered from the moments of its data: `OneHiddenLayerNet`."""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.utils import check_random_state

from skrelu import activations, starts
from skrelu._compat import Interval, StrOptions
from skrelu.activations import Activation, get_activation
from skrelu.base import NetworkRegressor
from skrelu.laplace import laplace, predictive_deviations
from skrelu.moments import hermite_moments
from skrelu.networks import OneHiddenLayer
from skrelu.networks.weights import Weights
from skrelu.rows.read import mapped
from skrelu.solvers import hidden_layer
from skrelu.solvers.automatic import Choice, automatic, constant
from skrelu.solvers.decay_path import N_PATHS, WIDTH, given_path_start, is_constant, random_path_start
from skrelu.solvers.descent import Descent, papers_descent, until_stalled
from skrelu.solvers.loop import STOPPED
from skrelu.whitening import NOT_NORMAL, least_normal_column, unwhitened, whitening

ACTIVATIONS = [name for name, value in vars(activations).items() if isinstance(value, Activation)]


class OneHiddenLayerNet(NetworkRegressor):
    """One hidden layer of any activation, by descent from a start that the moments of the data give.

    Solves::

        min_{w_j, b_j, v_j, c}  1/(2 sum_i s_i) sum_i s_i (f(x_i) - y_i)^2
                                + (alpha/2) sum_j (w_j' S w_j + v_j^2),
        f(x) = c + sum_j v_j a(<w_j, x> + b_j)

    s the sample weights, S the variances of the columns, a the activation. The start is that of [1]_: Hermite moments
    ``E[y He_m(x)]`` of the whitened x are sums of powers of the directions of the units. The span of the w_j comes from
    the second one, for activations that are odd but for a constant from the third; directions, magnitudes, biases and
    outputs from all up to the fourth in that span. Descent follows; that of the papers with "gd" and a step of 1.0.

    Theorem of [2]_: for x ~ N(0, I), y = sum_j v_j a(<w_j, x>) without noise, a differentiable and v known, fewer rows
    than weights (n up to a constant times k d, the constant depending on a, v and the condition number of W), gradient
    descent on w from a start near enough to the planted weights converges linearly to loss zero: not to these weights,
    which so few rows do not determine. [1]_ proves the start, and local linear convergence to the planted weights, for
    n of order d times powers of k and of the condition number of W, independent w_j, and activations whose moments
    determine them, homogeneous ones among them. Nothing is guaranteed for far starts, for other inputs, for more units
    than columns, or in general for the default solver: a residual of zero is its certificate.

    Parameters
    ----------
    n_hidden : int or "auto", default="auto"
        Number k of units. "auto": as many as the data tell, see the Notes of `OneHiddenLayerReLU`.
    activation : str or Activation, default="softplus"
        A name of `skrelu.activations`: "softplus", "tanh", "sigmoid", "erf", "gelu", "swish", "relu", "leaky_relu" or
        "squared_relu"; or an `activations.Activation`, whose value and derivative suffice.
    init : {"tensor", "random"} or array-like of shape (n_hidden, n_features), default="tensor"
        "random": directions uniform in the whitened metric. An array: the weights of the units; their outputs by least
        squares, +1 if `output_weights` is "positive", biases 0. A tensor start gives at most rank(X) units, and at most
        40; the others are random, with small outputs.
    output_weights : {"signed", "positive"}, default="signed"
        "positive": all v_j are.
    alpha : float or "auto", default="auto"
        Weight decay, in units of y if the activation is homogeneous, else for y in its own units. "auto": chosen as by
        `OneHiddenLayerReLU`, with ``w_j' S w_j`` times the variance of y if not homogeneous; 0 with "gd".
    solver : {"auto", "gd"}, default="auto"
        "gd": gradient descent on w, b and c with the v_j of the start.
    step_size : float or "auto", default="auto"
        A number selects "gd" and multiplies 1/L, L the largest eigenvalue of the start's Gauss-Newton matrix. "auto"
        with "gd" halves the step for good whenever it would raise the objective.
    fit_intercept : bool, default=True
        Whether there are b_j and c; False is the model of the papers.
    max_iter : int, default=1000
        Largest number of iterations of each start.
    tol : float, default=1e-10
        "gd" stops when ``|w+ - w| <= tol |w+|``; 0 means: run `max_iter` iterations. "auto" stops when
        ``(g' M^-1 g)^(1/2) <= tol``, as `OneHiddenLayerReLU` does. Values below 10 eps of the dtype count as 10 eps.
    random_state : int, RandomState instance or None, default=None
        Draws of all starts and paths. Same data and seed, same result; draws do not depend on the number of rows.
    n_init : int, default=10
        Largest number of starts of "auto". It ends with the first that leaves no residual, or when three (of ReLUs,
        one) have come to the same objective as the best one before.
    warm_start : bool, default=False
        Start from the weights of the previous fit, alone, if it had as many units and columns.
    verbose : int, default=0
        Print every iteration whose number is a multiple of ``10 / verbose``.

    Attributes
    ----------
    hidden_coef_ : ndarray of shape (n_hidden, n_features)
        Weights w_j, by decreasing ``|v_j| (w_j' S w_j)^(1/2)``.
    hidden_intercept_ : ndarray of shape (n_hidden,)
        Biases b_j; 0 without.
    output_coef_ : ndarray of shape (n_hidden,)
        Outputs v_j; +-1 for a homogeneous activation, magnitudes being in the units; positive for one that is odd but
        for a constant (with ``fit_intercept=False``: odd).
    output_intercept_ : float
        The intercept c, in units of y; 0 without.
    init_coef_ : ndarray of shape (n_units, n_features)
        The first start, before any descent.
    alpha_ : float
        The weight decay of the fit; of an average, that of the lowest criterion.
    alphas_, criterion_ : ndarray of shape (n_alphas,)
        Weight decays tried, decreasing, and their generalised cross-validation: mean squared error to expect on new
        rows, infinite where the fit could interpolate any y. Only with ``alpha="auto"``.
    loss_ : float
        Half the weighted mean squared error at the returned parameters, without penalty.
    loss_curve_ : list of float
        Objective after each iteration of the start that was kept.
    n_iter_ : int
        Iterations of the start that was kept.
    converged_ : bool
        Whether the solver came to its goal, `tol`.
    stop_reason_ : str
        Why the solver stopped, and whether the data can determine so many weights.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns of X; only when they are all strings.

    Warns
    -----
    ConvergenceWarning
        When the solver stopped before its goal, with the remedy that fits.

    References
    ----------
    .. [1] K. Zhong, Z. Song, P. Jain, P. L. Bartlett and I. S. Dhillon, "Recovery Guarantees for One-hidden-layer
       Neural Networks", ICML 2017. arXiv:1706.03175.
    .. [2] M. Soltanolkotabi, A. Javanmard and J. D. Lee, "Theoretical Insights into the Optimization Landscape of
       Over-parameterized Shallow Neural Networks", IEEE Transactions on Information Theory 65 (2019). arXiv:1707.04926.

    Examples
    --------
    >>> from skrelu import OneHiddenLayerNet, datasets, metrics
    >>> X, y, teacher = datasets.make_one_hidden_layer(
    ...     n_samples=1000, n_features=10, n_hidden=3, activation="softplus", return_teacher=True, random_state=0)
    >>> model = OneHiddenLayerNet(n_hidden=3, activation="softplus", random_state=0).fit(X, y)
    >>> metrics.recovery_error(teacher.hidden_coef_, model.hidden_coef_) < 1e-6
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_hidden": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "activation": [StrOptions(set(ACTIVATIONS)), Activation],
        "init": [StrOptions({"tensor", "random"}), "array-like"],
        "output_weights": [StrOptions({"signed", "positive"})],
        "alpha": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
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
        activation="softplus",
        init="tensor",
        output_weights="signed",
        alpha="auto",
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

    def predict(self, X, return_std=False):
        """Return ``output_intercept_ + sum_j output_coef_[j] a(<hidden_coef_[j], x> + hidden_intercept_[j])``.

        Parameters
        ----------
        X : {array-like, CSR/CSC matrix or array} of shape (n_samples, n_features)
            Or as in `fit`: then a dask collection gives dask arrays, not yet computed.
        return_std : bool, default=False
            Whether to return standard deviations, too.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predictions.
        std : ndarray of shape (n_samples,)
            Standard deviation, only with `return_std`: of noise, estimated from the residuals, and of the weights, by a
            Laplace approximation in which x is independent of the slopes of units.
        """
        return mapped(self, self._predicted, X, return_std)

    def _predicted(self, X, return_std):
        """Return the predictions for a block of rows."""
        hidden = X @ self.hidden_coef_.T + self.hidden_intercept_
        activation = get_activation(self.activation)
        y = activation.value(hidden) @ self.output_coef_ + self.output_intercept_
        return (y, predictive_deviations(self._laplace, X, activation.derivative(hidden))) if return_std else y

    def _fit_rows(self, rows, tasks):
        """Fit: network x start x solver."""
        rng = check_random_state(self.random_state)
        tasks.begin("start")
        centered = whitening(rows, centered=True)
        coordinates = centered if self.fit_intercept else whitening(rows, centered=False)
        automatic = self.alpha == "auto" and not self._is_gd
        # How many draws a search takes may hang on rounding.
        path_rng = deepcopy(rng)
        normal = not automatic or least_normal_column(rows, centered)[1] <= NOT_NORMAL
        make = partial(self._start, rows, centered, rng)
        if normal or not isinstance(self.init, str) or self._continues(rows):
            start, single = make()
        else:
            small = np.ones(WIDTH if self.n_hidden == "auto" else self.n_hidden)
            start, single = random_path_start(self._network(rows, coordinates, small), path_rng), False
        starts.require_finite(rows, start)
        tasks.finish(lambda: self._attributes(start))
        network = self._network(rows, coordinates, start.output)
        if self._is_gd or tasks.stopped:
            options = {"free_output": False, "gauss_newton": True}
            network = self._network(rows, unwhitened(centered), start.output, **options)
            choice = Choice(network, self._gradient_descent(network, start, tasks), network.alpha)
        elif automatic:
            choice = self._automatic(network, start, single, make, (rng, path_rng), tasks, assumed=normal)
        else:
            found = self._first(network, start, rng, tasks, single)
            network, descent = self._further(start, rng, tasks, single, *found)
            choice = Choice(network, self._polished(network, descent, tasks), network.alpha)
        self._keep(partial(self._store, rows, choice, start, coordinates), choice.descent)

    def _continues(self, rows):
        """Whether the fit starts from the one before."""
        return self.warm_start and hasattr(self, "hidden_coef_") and self._fits_before(rows)

    def _start(self, rows, centered, rng):
        """Return the weights of the start, and whether it is the only one."""
        if self._continues(rows):
            before = self.hidden_coef_, self.hidden_intercept_, self.output_coef_
            hidden, bias, output = (w.astype(np.float64) for w in before)
            return Weights(hidden, bias, output, float(self.output_intercept_)), True
        signed, activation = self.output_weights == "signed", get_activation(self.activation)
        if not isinstance(self.init, str):
            n_hidden = None if self.n_hidden == "auto" else self.n_hidden
            options = {"n_hidden": n_hidden, "signed": signed, "fit_intercept": self.fit_intercept}
            return starts.given_start(rows, self.init, activation, **options), True
        auto = self.n_hidden == "auto"
        odd = activation.even_constant is not None
        moments = hermite_moments(rows, centered, None if auto else self.n_hidden, odd=odd)
        k = moments.basis.shape[1] if auto else self.n_hidden
        if self.init == "tensor":
            options = {"n_negative": None if signed else 0, "fit_intercept": self.fit_intercept}
            return starts.tensor_start(rows, centered, moments, activation, k, rng, **options), False
        n_negative = int(np.sum(np.linalg.eigvalsh(moments.second) < 0)) if signed else 0
        args = rows, centered, activation, k, n_negative, rng
        return starts.random_start(*args, fit_intercept=self.fit_intercept), False

    def _network(self, rows, coordinates, output, **options):
        return OneHiddenLayer(
            rows,
            get_activation(self.activation),
            coordinates,
            output,
            fit_intercept=self.fit_intercept,
            alpha=0.0 if self.alpha == "auto" else float(self.alpha),
            positive=self.output_weights == "positive",
            **options,
        )

    def _gradient_descent(self, network, start, tasks):
        """Return the descent of the papers' iteration, in the user's own coordinates."""
        return papers_descent(
            network,
            network.parameters(start),
            step_size=self.step_size,
            tol=self.tol,
            max_iter=self.max_iter,
            stopped=tasks.stopped,
            watch=tasks.watch(self.max_iter, self._told(network)),
            verbose=self.verbose,
        )

    def _automatic(self, network, start, single, make_start, rngs, tasks, *, assumed):
        """Return the `Choice` of the weight decay, and of the number of units if that is free."""
        free, (rng, path_rng) = self.n_hidden == "auto" and not single, rngs
        if is_constant(network):
            return constant(network.variant(np.ones(1)) if free else network)
        k = WIDTH if free else network.n_hidden

        def small(k):
            return partial(random_path_start, network.variant(np.ones(k)), path_rng)

        paths = [small(k)] * min(N_PATHS, self.n_init)

        def unpenalised():
            first = start if assumed or single else make_start()[0]
            starts.require_finite(network.rows, first)
            return self._first(network.variant(first.output), first, rng, tasks, single)

        choice = automatic(
            network,
            unpenalised,
            partial(self._further, start, rng, tasks, single),
            [partial(given_path_start, network, start)] if single else paths,
            path_rng,
            averages=free,
            assumed=assumed,
            begin=partial(tasks.proceed, "path", partial(self._attributes, start)),
            probe=None if free else small(max(WIDTH, 2 * k)),
            max_iter=self.max_iter,
            verbose=self.verbose,
        )
        tasks.finish(lambda: self._attributes(choice.network.weights(choice.descent.theta)))
        found = choice.descent if choice.is_final else self._polished(choice.network, choice.descent, tasks)
        return replace(choice, descent=found)

    def _first(self, network, start, rng, tasks, single):
        """Return (network, descent) from the start."""
        tasks.proceed("start", partial(self._attributes, start))
        options = {"max_iter": self.max_iter, "verbose": self.verbose}
        network = network.variant(target_scale=network.rows.target_scale())
        fixed = network.variant(free_output=network.activation.homogeneity is None)
        theta = hidden_layer.balanced(network, fixed.parameters(start))
        if single:
            return network, Descent(theta).followed_by(until_stalled(), network, **options)
        network, descent = hidden_layer.refined(network, theta, rng, **options)
        return hidden_layer.grown(network, descent, rng, **options) if self.n_hidden == "auto" else (network, descent)

    def _further(self, start, rng, tasks, single, network, descent):
        """Return (network, descent) of the best of further starts, too."""
        options = {"max_iter": self.max_iter, "verbose": self.verbose, "n_starts": 0 if single else self.n_init - 1}
        begin = partial(tasks.proceed, "start", partial(self._attributes, start))
        network, descent = hidden_layer.best_start(network, descent, rng, begin=begin, **options)
        if tasks.finish(lambda: self._attributes(network.weights(descent.theta))):
            descent = descent.stopped(STOPPED)
        return network, descent

    def _polished(self, network, descent, tasks):
        """Return the descent to the solution, to `tol`."""
        tol = max(self.tol, 10 * float(np.finfo(network.rows.dtype).eps))
        watch = tasks.watch(self.max_iter, self._told(network))
        options = {"max_iter": self.max_iter, "verbose": self.verbose, "watch": watch}
        return hidden_layer.polished(network, descent, tol=tol, **options)

    def _told(self, network):
        return lambda theta, n_iter: {**self._attributes(network.weights(theta)), "n_iter_": n_iter}

    def _attributes(self, weights):
        weights = weights.normalised(get_activation(self.activation), fit_intercept=self.fit_intercept)
        names = "hidden_coef_", "hidden_intercept_", "output_coef_", "output_intercept_"
        return dict(zip(names, (weights.hidden, weights.hidden_bias, weights.output, weights.output_bias), strict=True))

    def _store(self, rows, choice, start, coordinates, descent):
        network = choice.network
        attributes = self._attributes(network.weights(descent.theta))
        spread = np.linalg.norm(attributes["hidden_coef_"] * network.whitening.deviations, axis=1)
        order = np.argsort(-spread * np.abs(attributes["output_coef_"]), kind="stable")
        for name in ("hidden_coef_", "hidden_intercept_", "output_coef_"):
            setattr(self, name, attributes[name][order].astype(rows.dtype))
        self.output_intercept_ = float(attributes["output_intercept_"])
        self.init_coef_ = self._attributes(start)["hidden_coef_"].astype(rows.dtype)
        self.alpha_, unit = choice.alpha, network.target_scale
        if self.alpha == "auto" and not self._is_gd:
            self.alphas_, self.criterion_ = choice.alphas, choice.criteria
        plain = network.variant(alpha=0.0, free_output=network.free_output)
        self.loss_ = (loss := plain.value_and_gradient(descent.theta)[0]) * unit * unit
        largest = float(np.finfo(np.float64).max)
        self.loss_curve_ = [min(value * unit * unit, largest) for value in descent.loss_curve] or [self.loss_]
        if not np.all(np.isfinite([self.loss_, np.abs(self.hidden_coef_).max(), np.abs(self.init_coef_).max()])):
            raise ValueError(f"X or y: squares of their entries overflow {rows.dtype}; rescale them")
        weights = Weights(self.hidden_coef_, self.hidden_intercept_, self.output_coef_, self.output_intercept_)
        options = {"mean_square": 2 * loss, "degrees_of_freedom": choice.degrees_of_freedom}
        self._laplace = laplace(network, coordinates, weights, alpha=self.alpha_, **options)
        self.n_iter_, self.converged_ = len(self.loss_curve_), descent.converged
        undetermined = "" if choice.is_final else network.undetermined(descent.theta)
        self.stop_reason_ = "; ".join(filter(None, (descent.stop_reason, undetermined)))
        self._warn_unless_converged(descent.stop_reason, "Raise alpha, max_iter or tol")
