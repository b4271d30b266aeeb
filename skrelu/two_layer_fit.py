"""How two layers are fitted: network x start x solver, weight decay, and what is stored of them."""

import warnings
from copy import deepcopy
from functools import partial

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from skrelu.activations import get_activation
from skrelu.base import NetworkRegressor
from skrelu.networks.given_output import GivenOutput
from skrelu.networks.two_layer import TwoLayer
from skrelu.networks.units import rectified
from skrelu.one_hidden_layer import OneHiddenLayerNet
from skrelu.output_moments import output_mean, output_moments
from skrelu.prediction_errors import predictive_distribution
from skrelu.solvers import outliers, two_layer, two_layer_path
from skrelu.solvers.descent import Descent, papers_descent, until_stalled
from skrelu.solvers.loop import INTERRUPTED, STOPPED
from skrelu.standard_errors import determines, standard_errors
from skrelu.starts import two_layer_start
from skrelu.whitening import NOT_NORMAL, least_normal_column, unwhitened, whitening

EXACT_EPS = 1e3  # a residual of at most so many eps, relative to y, is zero
ENOUGH_ROWS = 28.0  # with fewer, two values of equal frequency are no further from it


class TwoLayerFit(NetworkRegressor):
    """Base of `TwoLayerReLURecovery`, which has the parameters: the fit."""

    def _fit_rows(self, rows, tasks):
        """Fit: network x start x solver."""
        activation = rectified(get_activation(self.activation))
        tasks.begin("start")
        self.outlier_mask_, rng = np.zeros(rows.n_samples, dtype=bool), check_random_state(self.random_state)
        draws = deepcopy(rng)  # of the paths: how many the others take may depend on rounding
        if self.outliers == "detect":
            made = partial(self._network, activation=activation)
            found = outliers.detected(rows, made, rng, self.n_hidden, self.fit_intercept, self.n_init, self.max_iter)
            self.outlier_mask_, rows = found.mask, found.network.rows
            if found.interrupted:
                store = partial(self._store, rows, whitening(rows, centered=True), found.network)
                return self._keep(store, found)
        centered = whitening(rows, centered=True)
        moments, n_directions = None, None if self.n_hidden == "auto" else self.n_hidden
        if rows.n_outputs > 1:
            moments = output_moments(rows, centered, n_directions)
        mean = output_mean(rows) if moments is None else moments.mean
        hidden, bias, before = self._start(rows, activation, centered, moments, rng, tasks)
        if self._is_gd:
            coordinates, options = unwhitened(centered), {"gauss_newton": True}
        else:
            coordinates, options = centered if self.fit_intercept else whitening(rows, centered=False), {}
        options["alpha"] = self._first_alpha(before)
        network = self._network(rows, activation, coordinates, mean, moments, len(hidden), **options)
        theta = network.parameters(hidden, bias)
        if not np.all(np.isfinite(theta)):
            raise ValueError(f"X or y: weights of their scales overflow {rows.dtype}; rescale them")
        tasks.finish(lambda: self._attributes(network, theta))
        if self._is_gd or tasks.stopped:
            descent = self._gradient_descent(network, theta, tasks)
        elif isinstance(before, _OneOutput):
            network, descent = self._of_one_output(network, theta, before)
        else:
            choose = partial(self._chosen, draws, partial(self._is_assumed, rows, centered))
            network, descent = self._descend(network, moments, theta, before, rng, tasks, choose)
        self._keep(partial(self._store, rows, centered, network), descent)

    @property
    def _chooses_alpha(self):
        return self.alpha == "auto" and self.outliers == "none" and not self._is_gd

    def _first_alpha(self, before):
        """Return the weight decay of the first descent: of "auto" none, or that of the fit that the weights are of."""
        if self.alpha != "auto":
            return float(self.alpha)
        return float(before.alpha_) if before is not None and self._chooses_alpha else 0.0

    def _start(self, rows, activation, centered, moments, rng, tasks):
        """Return hidden weights, biases, and the fit that they come from, or None: then other starts may follow."""
        if self.warm_start and hasattr(self, "hidden_coef_") and self._fits_before(rows):
            weights = self.hidden_coef_, self.hidden_intercept_, np.linalg.norm(self.output_coef_, axis=0)
            return *two_layer.balanced(*weights, centered.deviations, activation, self._first_alpha(self)), self
        if rows.n_outputs == 1:
            names = "n_hidden", "solver", "fit_intercept", "max_iter", "tol", "n_init", "verbose"
            options = {name: getattr(self, name) for name in names}
            options["alpha"] = self.alpha if self._chooses_alpha else self._first_alpha(None)
            single = _OneOutput(activation=activation, random_state=rng, **options)
            if self._is_gd:
                start = single._start(rows, centered, rng)[0]
                return start.hidden, start.hidden_bias, None
            single._fit_rows(rows, tasks)
            weights = single.hidden_coef_, single.hidden_intercept_, single.output_coef_
            return *two_layer.balanced(*weights, centered.deviations, activation, single.alpha_), single
        k = moments.basis.shape[1] if self.n_hidden == "auto" else self.n_hidden
        return *two_layer_start(centered, moments, activation, k, rng, fit_intercept=self.fit_intercept), None

    def _network(self, rows, activation, coordinates, mean, moments, n_hidden, **options):
        rank = 1 if moments is None else moments.output_rank
        center = mean if self.fit_intercept else np.zeros_like(mean)
        return TwoLayer(
            rows,
            activation,
            coordinates,
            n_hidden,
            fit_intercept=self.fit_intercept,
            center=center,
            target_scale=rows.target_scale(center),
            output_rank=max(rank, 1),
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

    def _of_one_output(self, network, theta, single):
        """Return (network, descent) of the fit of one output, theta from its units."""
        unit = network.target_scale
        if self.alpha == "auto" and single.alpha_ > 0:
            network, theta = _with_output(network, theta, single)
        if self._chooses_alpha:
            self.alphas_, self.criterion_ = single.alphas_, single.criterion_
        curve = [value / unit / unit for value in single.loss_curve_]
        descent = Descent(theta, np.inf, curve, single.converged_, single.stop_reason_)
        return network, descent.moved(network, theta)

    def _descend(self, network, moments, theta, before, rng, tasks, choose):
        """Return (network, descent) of the default solver; `before` is the fit that theta comes from, if any."""
        options = {"max_iter": self.max_iter, "verbose": self.verbose}
        descent = Descent(theta)
        begin = partial(tasks.proceed, "start", partial(self._attributes, network, theta))
        tasks.begin("start")
        try:
            descent = descent.moved(network, theta)
            if before is not None:
                if self._on_path(network):
                    descent = two_layer_path.settled(network, descent, **options)
                else:
                    descent = descent.followed_by(until_stalled(), network, **options)
            else:
                weighting = moments.weighting
                if network.n_hidden <= moments.output_rank:
                    descent = two_layer.exact(network, descent, moments.covariance)
                descent = two_layer.refined(network, weighting, descent, **options)
                if self.n_hidden == "auto":
                    network, descent = two_layer.sized(network, weighting, descent, rng, **options)
                further = {"n_starts": self.n_init - 1, "begin": begin, **options}
                descent = two_layer.best_start(network, weighting, descent, rng, **further)
                if self._chooses_alpha:
                    network, descent = choose(network, descent, **options)
        except KeyboardInterrupt:
            descent = descent.stopped(INTERRUPTED)
        if tasks.finish(lambda: self._attributes(network, descent.theta)):
            descent = descent.stopped(STOPPED)
        if self._on_path(network):
            return network, descent
        tol = max(self.tol, 10 * float(np.finfo(network.rows.dtype).eps))
        watch = tasks.watch(self.max_iter, self._told(network))
        return network, two_layer.polished(network, descent, tol=tol, watch=watch, **options)

    def _on_path(self, network):
        """Whether the data have chosen a weight decay: such networks are not minimised further."""
        return self._chooses_alpha and network.alpha > 0

    def _chosen(self, draws, assumed, network, descent, **options):
        """Return (network, descent) with the weight decay that the data choose."""
        free_size, unit = self.n_hidden == "auto", network.target_scale
        wanted = assumed if free_size else lambda: True
        choice = two_layer_path.chosen(network, descent, draws, assumed=wanted, free_size=free_size, **options)
        self.alphas_, self.criterion_ = choice.alphas, choice.criterion * unit * unit
        return choice.network, choice.descent

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
        self.alpha_, self.loss_, self.residual_ = network.alpha, loss * unit * unit, (2 * loss) ** 0.5
        if not (np.isfinite(self.loss_) and np.all(np.isfinite(self.output_coef_)) and network.is_finite(theta)):
            raise ValueError(f"X or y: squares of their entries overflow {rows.dtype}; rescale them")
        undetermined, exact = network.undetermined(theta), self.residual_ <= EXACT_EPS * float(np.finfo(rows.dtype).eps)
        coordinates = whitening(rows, centered=self.fit_intercept) if self._is_gd else network.whitening
        if exact and not undetermined:
            clear = two_layer.off_kinks(network, theta)
            if clear is None or not (two_layer.determined(clear, theta) or determines(clear, theta, coordinates)):
                undetermined = "the rows do not determine all weights"
        errors = np.zeros_like(self.hidden_coef_), np.zeros_like(self.output_coef_)
        is_average = self.n_hidden == "auto" and isinstance(network, GivenOutput)
        if not (exact or is_average):
            errors = standard_errors(network, theta, coordinates)
        self.hidden_coef_std_, self.output_coef_std_ = (part.astype(rows.dtype) for part in errors)
        self._distribution = predictive_distribution(network, theta, coordinates)
        largest = float(np.finfo(np.float64).max)
        self.loss_curve_ = [min(value * unit * unit, largest) for value in descent.loss_curve] or [self.loss_]
        self.n_iter_, self.converged_ = len(self.loss_curve_), descent.converged
        self.exact_ = exact and not undetermined
        self.stop_reason_ = "; ".join(filter(None, (descent.stop_reason, undetermined)))
        self._warn_unless_converged(descent.stop_reason, "Raise alpha, max_iter or tol")
        if not exact:
            self._warn_unless_gaussian(rows, centered)

    def _is_assumed(self, rows, centered):
        """Whether the columns may be normal, as the theorem asks, and there are enough rows to tell."""
        return rows.weight_sum >= ENOUGH_ROWS and least_normal_column(rows, centered)[1] <= NOT_NORMAL

    def _warn_unless_gaussian(self, rows, centered):
        """Warn that nothing is guaranteed where a column is not normal."""
        column, errors = least_normal_column(rows, centered)
        if errors > NOT_NORMAL:
            message = (
                f"The residual is {self.residual_:.2g} of y, not zero, and X is not Gaussian: Geary's ratio of column "
                f"{column} is {errors:.0f} standard errors off, more than {NOT_NORMAL:g}. For such inputs recovery "
                "is NP-hard in general: what was found is the best network of all starts, not certified; a larger "
                "n_init may find a better one."
            )
            warnings.warn(message, ConvergenceWarning, stacklevel=8)


def _with_output(network, theta, single):
    """Return (network, theta) of one output with the output layer it has: that of an average is not the best one.

    Units come by decreasing contribution.
    """
    # hypot: squares of weights of tiny or huge columns overflow, or vanish.
    hidden, sizes = network.hidden(theta)[0], np.hypot.reduce(single.hidden_coef_.astype(np.float64), axis=1)
    scale = np.hypot.reduce(hidden, axis=1) / np.where(sizes > 0, sizes, 1.0)
    output = single.output_coef_ / np.where(scale > 0, scale, 1.0) ** (network.activation.homogeneity or 0)
    intercept = np.atleast_1d(single.output_intercept_)
    order = np.argsort(-GivenOutput(network, output[None], intercept).contributions(theta), kind="stable")
    theta = theta.reshape(network.shape)[order].ravel()
    return GivenOutput(network, output[None, order], intercept), theta


class _OneOutput(OneHiddenLayerNet):
    """The route of one output; what did not converge there goes on here, and is told here."""

    def _warn_unless_converged(self, reason, remedy):
        pass
