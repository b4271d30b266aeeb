"""How `QuadraticNet` is fitted: the composition of network, start, weight decay, solver and certificate."""

from functools import partial

import numpy as np
from sklearn.utils import check_random_state

from skrelu import starts
from skrelu.base import NetworkRegressor
from skrelu.certificates import certificate, reference_norm
from skrelu.criteria import LEAST_SHARE
from skrelu.networks.quadratic import QuadraticModel, QuadraticNetwork
from skrelu.networks.quadratic_form import QuadraticForm
from skrelu.networks.quadratic_tangent import tangent
from skrelu.solvers import quadratic, quadratic_path
from skrelu.solvers.decay_path import is_constant
from skrelu.solvers.descent import Descent, papers_descent, until_stalled
from skrelu.solvers.gradient import largest_curvature
from skrelu.solvers.loop import INTERRUPTED, STOPPED

WEIGHTS = ("matrix_", "coef_", "hidden_coef_", "output_coef_")


class QuadraticFit(NetworkRegressor):
    """What `QuadraticNet` does to rows; parameters and attributes are there."""

    def _fit_rows(self, rows, tasks):
        """Fit: network x start x solver, and the certificate."""
        rng = check_random_state(self.random_state)
        tasks.begin("start")
        model = QuadraticModel.of(
            rows,
            fit_linear=self.fit_linear,
            fit_intercept=self.fit_intercept,
            alpha=0.0 if self._automatic else float(self.alpha),
            positive=self.output_weights == "positive",
        )
        moments = starts.spectral_start(model)
        # Of a constant y the mean is +-1, in units of its root mean square; or 0.
        if not self._is_gd and round(abs(moments[2]), 2) in (0.0, 1.0) and is_constant(model):
            network, descent = quadratic.constant(model)
            tasks.finish(lambda: self._attributes(network, descent.theta))
            self._keep(partial(self._store, model, network, 0.0, None), descent)
            return
        # Entries of M have the size of these squares, and their reciprocals must not underflow.
        largest, t = np.max(np.abs(model.whitening.columns), initial=0.0), model.target_scale
        longest = np.max(np.abs(model.whitening.inverse), initial=0.0)
        model.require_finite(moments[0], np.asarray(largest * largest * t).astype(rows.dtype), longest * longest / t)
        reference = reference_norm(model, *moments)
        network, theta = start = self._start(model, moments, rng)
        tasks.finish(lambda: self._attributes(network, theta))
        path = None
        if self._is_gd or tasks.stopped:
            network, descent = self._gradient_descent(network, theta, moments, rng, tasks)
        elif self._automatic:
            path, network, descent = self._chosen(model, moments, reference, start, rng, tasks)
        else:
            network, descent = self._solved(model, moments, reference, start, rng, tasks)
        model = model if path is None else path.at(path.alpha)
        self._keep(partial(self._store, model, network, reference, path), descent)

    @property
    def _automatic(self):
        return isinstance(self.alpha, str)

    def _is_convex(self, model):
        """Whether the number of units is no constraint."""
        return self.n_hidden is None or self.n_hidden >= model.whitening.rank

    def _solved(self, model, moments, reference, start, rng, tasks):
        """Return (network, descent) of a given weight decay."""
        if self._is_convex(model):
            return self._convex(model, moments, reference, tasks)
        network, theta = start
        return self._low_rank(network, theta, rng, tasks)

    def _chosen(self, model, moments, reference, start, rng, tasks):
        """Return (path, network, descent) of the weight decay chosen: none if that leaves no residual."""
        solved = partial(self._solved, model, moments, reference, start, rng, tasks)
        limit = None if self._is_convex(model) else self.n_hidden
        enough = model.rows.weight_sum > quadratic_path.n_weights(model, limit)
        exact = solved() if enough and limit is not None else None
        path = quadratic_path.Path(model, limit)
        if exact is None and enough and not model.positive:
            exact = solved() if path.least_squares() else None
        if exact is not None:
            path.unpenalised = exact[0].parts(exact[1].theta)
            if exact[1].interrupted or 2 * exact[1].objective <= self._tolerances(model.rows)[0] ** 2:
                return path, *exact
        path.follow()
        if not path.alphas:  # interrupted before
            path.unpenalised = start[0].parts(start[1])
            return path, start[0], Descent(start[1], stop_reason=INTERRUPTED)
        # A callback sees one run of iterations.
        told = {"max_iter": self.max_iter, "verbose": self.verbose}
        tol = self._tolerances(model.rows)[1]
        planted = None if path.unpenalised else path.planted(tol, told)
        if planted is not None:
            return path, *planted
        options = partial(self._watched, tasks=tasks) if exact is None else lambda network: told
        if path.alpha == 0 and not path.interrupted:
            return path, *(exact or solved())
        network, theta = path.network(path.best)
        descent = Descent(theta, stop_reason=INTERRUPTED if path.interrupted else "")
        if limit is None:
            goal = self._tolerances(model.rows)[0]
            return path, *quadratic.rank_adapted(network, descent, 0.0, goal=goal, tol=tol, options=options)
        descent = descent.followed_by(until_stalled(), network, **options(network))
        return path, network, quadratic.polished(network, descent, tol=tol, **options(network))

    def _start(self, model, moments, rng):
        """Return (network, theta) of the start."""
        if self._continues(model.rows):
            return self._before(model)
        k = (1 if model.positive else 2) * model.whitening.size if self.n_hidden is None else self.n_hidden
        return starts.quadratic_start(model, moments, k, rng, init=self.init)

    def _continues(self, rows):
        """Whether the fit starts from the one before."""
        if not (self.warm_start and hasattr(self, "hidden_coef_")):
            return False
        k, d = self.hidden_coef_.shape
        return d == rows.n_features and self.n_hidden in (None, k)

    def _before(self, model):
        """Return (network, theta) of the previous fit."""
        W, v = self.hidden_coef_.astype(np.float64), self.output_coef_.astype(np.float64)
        _, linear, c = model.from_user((W.T * v) @ W, self.coef_.astype(np.float64), self.intercept_)
        W = model.whitening.to_white(W) / model.target_scale**0.5
        return QuadraticNetwork(model, v), np.concatenate([W.ravel(), model.packed_head(linear, c)])

    def _tolerances(self, rows):
        """Return those of the gap and of descent."""
        eps = float(np.finfo(rows.dtype).eps)
        goal = max(self.tol, 1e3 * eps)
        return goal, max(goal / 100, 10 * eps)

    def _watched(self, network, tasks):
        """Return the options of the loop."""

        def told(theta, n_iter):
            return {**self._attributes(network, theta), "n_iter_": n_iter}

        return {"max_iter": self.max_iter, "verbose": self.verbose, "watch": tasks.watch(self.max_iter, told)}

    def _gradient_descent(self, network, theta, moments, rng, tasks):
        """Return (network, descent) of the papers' iteration, in the user's own coordinates."""
        spectral = starts.quadratic_start(network.model, moments, network.n_hidden, rng)
        network, theta = network.in_user_units(theta)
        # A small start is so flat that the step 1/L of its own curvature would leap over the solution.
        curvature = max(largest_curvature(*spectral[0].in_user_units(spectral[1])), largest_curvature(network, theta))
        return network, papers_descent(
            network,
            theta,
            step_size=self.step_size,
            tol=self.tol,
            curvature=curvature,
            stopped=tasks.stopped,
            **self._watched(network, tasks),
        )

    def _convex(self, model, moments, reference, tasks):
        """Return (network, descent) of the global optimum among networks of any number of units."""
        goal, tol = self._tolerances(model.rows)
        if model.alpha == 0 and not model.positive:
            form = QuadraticForm(model)
            return quadratic.least_squares(form, tol=tol, **self._watched(form, tasks))
        head = model.packed_head(*moments[1:])
        network, descent = quadratic.proximal_start(model, head, max_iter=self.max_iter, verbose=self.verbose)
        options = partial(self._watched, tasks=tasks)
        return quadratic.rank_adapted(network, descent, reference, goal=goal, tol=tol, options=options)

    def _low_rank(self, network, theta, rng, tasks):
        """Return (network, descent) of at most n_hidden units."""
        options = {"max_iter": self.max_iter, "verbose": self.verbose}
        options["begin"] = partial(tasks.proceed, "start", partial(self._attributes, network, theta))
        tasks.begin("start")
        descent = Descent(theta)
        n_starts = 0 if self._continues(network.rows) else self.n_init - 1
        network, descent = quadratic.low_rank(network, descent, rng, n_starts=n_starts, **options)
        if tasks.finish(lambda: self._attributes(network, descent.theta)):
            descent = descent.stopped(STOPPED)
        tol = self._tolerances(network.rows)[1]
        return network, quadratic.polished(network, descent, tol=tol, **self._watched(network, tasks))

    def _attributes(self, network, theta):
        """Return the fitted weights."""
        model, (matrix, beta, c) = network.model, network.parts(theta)
        if self._is_gd:
            W, _, v = network.unpack(theta)
        else:
            W, v = model.units(matrix)
            missing = max(self.n_hidden or 1, len(W)) - len(W)
            W, v = np.pad(W, ((0, missing), (0, 0))), np.append(v, np.ones(missing))
        M, coef, intercept = model.user(matrix, beta, c)
        t, to_columns = model.target_scale, model.whitening.to_columns
        return {
            "matrix_": (M + M.T) / 2,
            "coef_": coef,
            "intercept_": intercept,
            "hidden_coef_": W,
            "output_coef_": v,
            "_centered": (t * to_columns(beta[None])[0], model.whitening.center, t * c),
        }

    def _store(self, model, network, reference, path, descent):
        attributes, dtype = self._attributes(network, descent.theta), model.rows.dtype
        unit = network.model.target_scale * network.model.target_scale  # of floats, ** raises where it overflows
        self.loss_ = network.loss(descent.theta) * unit
        model.require_finite(self.loss_, *(np.asarray(value).astype(dtype) for value in map(attributes.get, WEIGHTS)))
        parts = network.parts(descent.theta)
        if network.model is not model:
            parts = model.from_user(*network.model.user(*parts))
        for name in WEIGHTS:
            setattr(self, name, attributes[name].astype(dtype))
        self.intercept_, self._centered = attributes["intercept_"], attributes["_centered"]
        moments = QuadraticForm(model).moments(*parts)
        self._store_path(model, path, moments)
        self.loss_curve_ = [value * unit for value in descent.loss_curve] or [self.loss_]
        self._store_uncertainty(model, parts, moments)
        goal = self._tolerances(model.rows)[0]
        exact = model.alpha == 0 and model.is_lowest(moments[0])
        self.optimality_gap_ = 0.0 if exact else certificate(model, parts, reference, moments).gap
        self.certified_ = bool(self.optimality_gap_ <= goal)
        self.n_iter_, self.converged_ = len(self.loss_curve_), descent.converged
        told = "certified: no network of more units has a lower objective"
        if not self.certified_:
            told = (
                f"not certified: optimality_gap_ = {self.optimality_gap_:.3g} > {goal:.3g}, there are better networks"
            )
        if not self._is_gd and self._is_convex(model) and not descent.interrupted:
            self.converged_ = self.certified_
        self.stop_reason_ = f"{descent.stop_reason}; {told}"
        self._warn_unless_converged(self.stop_reason_, "Raise max_iter or tol, or standardise the columns")

    def _store_path(self, model, path, moments):
        self.alpha_ = model.alpha
        if self._automatic:
            self.linear_alpha_ = model.linear_alpha
            told = ([0.0], [2 * self.loss_]) if path is None else path.told(moments)
            self.alphas_, self.criterion_ = (np.array(values) for values in told)

    def _store_uncertainty(self, model, parts, moments):
        """Store what `predict` needs for standard deviations, and the variance of the noise."""
        n, unit = model.rows.weight_sum, model.target_scale * model.target_scale
        floor = (100 * float(np.finfo(model.rows.dtype).eps)) ** 2
        loss, second, _, _ = moments
        self._tangent, self._noise, self._n = None, floor * unit, n
        if not model.is_lowest(loss):
            told = tangent(model, parts, second, quadratic_path.FINAL_WEIGHTS)
            model.require_finite(np.inf if told is None else loss)
            share = max(1 - told.degrees_of_freedom / n, LEAST_SHARE)
            self._tangent = vars(told)
            self._noise = max(2 * loss / share, floor) * unit
