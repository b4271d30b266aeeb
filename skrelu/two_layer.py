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
from skrelu.one_hidden_layer import OneHiddenLayerNet
from skrelu.output_moments import output_moments
from skrelu.solvers import two_layer
from skrelu.solvers.descent import Descent, papers_descent, until_stalled
from skrelu.solvers.loop import INTERRUPTED, STOPPED
from skrelu.starts import two_layer_start
from skrelu.whitening import gearys_ratio, unwhitened, whitening

RECTIFIED = ["relu", "squared_relu"]
EXACT_EPS = 1e3  # a residual of at most so many eps, relative to y, is zero
NOT_GAUSSIAN = 5.0  # standard errors of Geary's ratio from that of a normal column


class TwoLayerReLURecovery(NetworkRegressor):
    """TODO."""

    _several_outputs = True

    _parameter_constraints: ClassVar[dict] = {
        "n_hidden": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "activation": [StrOptions(set(RECTIFIED)), Activation],
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
        rng = check_random_state(self.random_state)
        activation = _rectified(get_activation(self.activation))
        tasks.begin("start")
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
        """Return hidden weights and biases, and the estimator whose fit they are, or None: then others may follow."""
        if self.warm_start and hasattr(self, "hidden_coef_") and self._fits_before(rows):
            return self.hidden_coef_.astype(np.float64), self.hidden_intercept_.astype(np.float64), self
        if rows.n_outputs == 1 and not self._is_gd:
            names = "n_hidden", "alpha", "fit_intercept", "max_iter", "tol", "n_init", "verbose"
            options = {name: getattr(self, name) for name in names}
            single = _OneOutput(activation=activation, random_state=rng, **options)
            single._fit_rows(rows, tasks)
            return single.hidden_coef_.astype(np.float64), single.hidden_intercept_.astype(np.float64), single
        k = moments.basis.shape[1] if self.n_hidden == "auto" else self.n_hidden
        options = {"fit_intercept": self.fit_intercept}
        return *two_layer_start(centered, moments, activation, k, rng, **options), None

    def _fits_before(self, rows):
        k, d = self.hidden_coef_.shape
        return d == rows.n_features and self.n_hidden in ("auto", k)

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
        """Return (network, descent) of the default solver; `before` is the estimator that theta comes from, if any."""
        options = {"max_iter": self.max_iter, "verbose": self.verbose}
        weighting, descent = moments.weighting, Descent(theta)
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
            norm = np.linalg.norm(hidden, axis=1)
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
        if not np.isfinite(self.loss_):
            raise ValueError(f"X or y: squares of their entries overflow {rows.dtype}; rescale them")
        self.loss_curve_ = [value * unit * unit for value in descent.loss_curve] or [self.loss_]
        self.n_iter_, self.converged_ = len(self.loss_curve_), descent.converged
        undetermined = network.undetermined(theta)
        self.exact_ = self.residual_ <= EXACT_EPS * float(np.finfo(rows.dtype).eps) and not undetermined
        self.stop_reason_ = "; ".join(filter(None, (descent.stop_reason, undetermined)))
        self.outlier_mask_ = np.zeros(rows.n_samples, dtype=bool)
        self._warn_unless_converged(descent.stop_reason, "Raise alpha, max_iter or tol")
        if not self.exact_:
            self._warn_unless_gaussian(rows, centered)

    def _warn_unless_gaussian(self, rows, centered):
        """Warn that nothing is guaranteed where a column is not normal."""
        ratio, error = gearys_ratio(rows, centered)
        varies = centered.deviations > 0
        off = np.abs(ratio - (2 / np.pi) ** 0.5)[varies] / error
        if off.size and off.max() > NOT_GAUSSIAN:
            message = (
                f"The residual is {self.residual_:.2g} of y, not zero, and X is not Gaussian: Geary's ratio of column "
                f"{np.flatnonzero(varies)[np.argmax(off)]} is {off.max():.0f} standard errors off, more than "
                f"{NOT_GAUSSIAN:g}. For such inputs recovery is NP-hard in general: what was found is the best network "
                "of all starts, not certified; a larger n_init may find a better one."
            )
            warnings.warn(message, ConvergenceWarning, stacklevel=6)


class _OneOutput(OneHiddenLayerNet):
    """The route of one output; what did not converge there goes on here, and is told here."""

    def _warn_unless_converged(self, reason, remedy):
        pass


def _rectified(activation):
    """Return the activation if it is 0 for z <= 0 and positive after.

    Raises
    ------
    ValueError
        If it is not.
    """
    z = np.geomspace(1e-2, 1e1, 31)
    if np.any(activation.value(np.append(-z, 0.0)) != 0) or not np.all(activation.value(z) > 0):
        raise ValueError(
            f"activation must be rectified, 0 for z <= 0 and positive for z > 0, {activation.name} is not; "
            "OneHiddenLayerNet takes any activation, for one output."
        )
    return activation
