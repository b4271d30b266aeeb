"""Quadratic networks with a certificate of global optimality: `QuadraticNet`."""

from functools import partial
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skrelu import starts
from skrelu._compat import Interval, StrOptions
from skrelu.base import NetworkRegressor
from skrelu.certificates import certificate, reference_norm
from skrelu.networks.quadratic import QuadraticModel, QuadraticNetwork
from skrelu.networks.quadratic_form import QuadraticForm
from skrelu.solvers import quadratic
from skrelu.solvers.descent import Descent, papers_descent
from skrelu.solvers.gradient import largest_curvature
from skrelu.solvers.loop import STOPPED


class QuadraticNet(NetworkRegressor):
    """Quadratic units, with a certificate that no network of any number of them fits better.

    Solves, for s the sample weights and S the diagonal matrix of the variances of the columns,

    ``min_{M, b, c} 1/(2 sum_i s_i) sum_i s_i (f(x_i) - y_i)^2 + (alpha/2) (|S^1/2 M S^1/2|_* + b' S b)``,
    ``f(x) = x' M x + <b, x> + c``,    ``M = sum_j v_j w_j w_j'``, v_j = +-1, j = 1, ..., n_hidden,

    |.|_* the nuclear norm: the least ``sum_j w_j' S w_j`` over the units that make up M. With `n_hidden` None, or at
    least the rank of X, M is any symmetric matrix (any positive semidefinite one if `output_weights` is "positive"),
    and the problem is convex. One unit is the real version of phase retrieval.

    Theorem of [1]_: for any data, alpha = 0, and n_hidden >= 2 d with at least d units of either sign, the objective
    as a function of the w_j has no local minimum that is not global, and all its saddles are strict; for generic data
    and n of order d^2 at most the global minimum is 0. Hence gradient descent from almost every start comes to it.

    With fewer units than columns, y = x' M x, x ~ N(0, I), and n above a constant times n_hidden d, gradient descent
    from a small random start enters a region around M in which it converges linearly: proved for one unit [2]_; the
    paper that states it for more [3]_ was withdrawn by its author. Nothing is guaranteed for other inputs or below
    that n; there the certificate tells whether the fit is a global optimum.

    Parameters
    ----------
    n_hidden : int or None, default=None
        Number k of units; None for no limit: d of either sign for "gd", as many as it takes for "auto".
    init : {"spectral", "random"}, default="spectral"
        Start of "gd", and of "auto" for few units. "spectral": the k largest eigenvalues of the second Hermite moment
        of what a linear function leaves of y. "random": small units of isotropic directions, outputs of the same signs
        as those.
    output_weights : {"signed", "positive"}, default="signed"
        "positive": all v_j are +1.
    alpha : float, default=0.0
        Weight decay on the units, in units of y. It refers to the origin of X: with alpha > 0 standardise or centre the
        columns first.
    fit_linear : bool, default=True
        Whether there is b. Without b and c it is the model of the papers.
    solver : {"auto", "gd"}, default="auto"
        "gd": gradient descent on w, b and c with the v_j of the start. "auto": see Notes.
    step_size : float or "auto", default="auto"
        A number multiplies 1/L and selects "gd", L the largest eigenvalue of the Hessian at the spectral start or at
        the start, whichever is larger: a small start is so flat that its own step would leap over the solution. "auto"
        with "gd" halves the step for good whenever it would raise the objective.
    fit_intercept : bool, default=True
        Whether there is c.
    max_iter : int, default=1000
        Largest number of iterations of each start.
    tol : float, default=1e-8
        The fit is certified when `optimality_gap_` is at most tol, or 1000 eps of the dtype if that is more; "auto"
        stops when ``(g' M^-1 g)^(1/2)``, g the gradient and M the metric, is at most a hundredth of it, y in units of
        its root mean square. "gd" stops when ``|w+ - w| <= tol |w+|``; 0 means: run `max_iter` iterations.
    random_state : int, RandomState instance or None, default=None
        Draws of random starts. Same data and seed, same result; the draws do not depend on the number of rows.
    n_init : int, default=10
        Largest number of starts of "auto" for few units. It ends with the first that leaves no residual, or that comes
        to the same objective as the best one before.
    warm_start : bool, default=False
        Start from the previous fit, alone, if it had as many units and columns; of no effect on the convex problem.
    verbose : int, default=0
        Print every iteration whose number is a multiple of ``10 / verbose``.

    Attributes
    ----------
    matrix_ : ndarray of shape (n_features, n_features)
        M, symmetric. Twice an entry off the diagonal is the weight of the product of two columns.
    coef_ : ndarray of shape (n_features,)
        b; 0 without.
    intercept_ : float
    hidden_coef_ : ndarray of shape (n_units, n_features)
        w_j by decreasing ``w_j' S w_j``: orthogonal in S, so that these are the eigenvalues of ``S^1/2 M S^1/2``; of
        "gd", the units themselves. `n_hidden` rows, or as many as M has rank.
    output_coef_ : ndarray of shape (n_units,)
        v_j, +-1.
    optimality_gap_ : float
        At least 0 but for rounding, and 0 if and only if no admissible matrix M of any rank, symmetric, or positive
        semidefinite with positive outputs, has a lower objective; whatever X and y are. For alpha > 0 it is
        ``(P - D) / P``, P the objective and D a lower bound of it by duality: the share of the objective that could at
        most be gained. For alpha = 0 it is the gradient of the convex problem in the whitened metric, relative to the
        one at M = 0: the spectral norm of ``[[G, g], [g', h]]`` with ``G = sum_i s_i r_i x_i x_i'`` of the whitened x,
        r = f - y, ``g = sum_i s_i r_i x_i`` and ``h = sum_i s_i r_i`` (0 where there is no b or c), over ``|G|`` at
        M = 0 with the best b and c, or the square root of eps of the dtype if that is more. With positive outputs the
        norm is ``max(0, -lambda_min(G)) + |<G, M>| / tr M + |(g, h)|`` instead. It is 0 if the residual is zero to
        rounding.
    certified_ : bool
        Whether that is at most `tol`: the fit is a global optimum.
    alpha_ : float
    loss_ : float
        Half the weighted mean squared error at the returned parameters, without penalty.
    loss_curve_ : list of float
        Objective after each iteration of the start that was kept; of "auto", of wider networks with more weight decay
        first.
    n_iter_ : int
        Iterations of the start that was kept.
    converged_ : bool
        With no limit on the units "auto" has converged only if the fit is certified.
    stop_reason_ : str
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only when X has string column names.

    Warns
    -----
    ConvergenceWarning
        When the solver stopped before its goal, with the remedy that fits.

    See Also
    --------
    OneHiddenLayerNet : Other activations.

    Notes
    -----
    "auto" without limit on the units: for signed outputs and alpha = 0 that is linear least squares in M, solved by
    conjugate gradients with products ``sum_i s_i r_i x_i x_i'``; the matrix of all products of columns is never formed.
    Of several solutions it takes the one of least ``|M|`` in whitened coordinates. Else units are added along the
    directions of descent that the certificate shows, with the squares of their sizes by nonnegative least squares,
    followed by L-BFGS and Newton steps in the w_j.

    "auto" for fewer units: L-BFGS from the start; where that leaves a residual, also from wide random networks under
    decreasing weight decay, cut down to the k largest eigenvalues of their M; at last Newton steps. A global optimum
    over k units need not be one over more: the certificate then says that it is not.

    w_j are determined up to a rotation that leaves M as it is: compare `matrix_`.

    References
    ----------
    .. [1] M. Soltanolkotabi, A. Javanmard and J. D. Lee, "Theoretical insights into the optimization landscape of
       over-parameterized shallow neural networks", IEEE Transactions on Information Theory 65 (2019). arXiv:1707.04926.
    .. [2] Y. Chen, Y. Chi, J. Fan and C. Ma, "Gradient descent with random initialization: fast global convergence for
       nonconvex phase retrieval", Mathematical Programming 176 (2019). arXiv:1803.07726.
    .. [3] "Learning one-hidden-layer neural networks via provable gradient descent with random initialization", 2019,
       withdrawn. arXiv:1907.06594.

    Examples
    --------
    >>> import numpy as np
    >>> from skrelu import QuadraticNet, datasets
    >>> X, y, teacher = datasets.make_quadratic(
    ...     n_samples=300, n_features=20, n_hidden=3, return_teacher=True, random_state=0)
    >>> model = QuadraticNet(n_hidden=3, random_state=0).fit(X, y)
    >>> bool(np.abs(model.matrix_ - teacher.matrix_).max() < 1e-10), model.certified_
    (True, True)
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_hidden": [Interval(Integral, 1, None, closed="left"), None],
        "init": [StrOptions({"spectral", "random"})],
        "output_weights": [StrOptions({"signed", "positive"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "fit_linear": ["boolean"],
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
        n_hidden=None,
        *,
        init="spectral",
        output_weights="signed",
        alpha=0.0,
        fit_linear=True,
        solver="auto",
        step_size="auto",
        fit_intercept=True,
        max_iter=1000,
        tol=1e-8,
        random_state=None,
        n_init=10,
        warm_start=False,
        verbose=0,
    ):
        self.n_hidden = n_hidden
        self.init = init
        self.output_weights = output_weights
        self.alpha = alpha
        self.fit_linear = fit_linear
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
        """Return ``x' matrix_ x + <coef_, x> + intercept_``.

        Parameters
        ----------
        X : {array-like, CSR/CSC matrix or array} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32], accept_sparse=("csr", "csc"))
        # About the center of the fit: about the origin, terms may cancel.
        linear, center, c = self._centered
        weights = np.vstack([self.hidden_coef_, linear]).astype(X.dtype)
        Z = np.asarray(X @ weights.T) - weights @ center.astype(X.dtype)
        return Z[:, :-1] ** 2 @ self.output_coef_.astype(X.dtype) + Z[:, -1] + X.dtype.type(c)

    def _fit_rows(self, rows, tasks):
        """Fit: network x start x solver, and the certificate."""
        rng = check_random_state(self.random_state)
        tasks.begin("start")
        model = QuadraticModel.of(
            rows,
            fit_linear=self.fit_linear,
            fit_intercept=self.fit_intercept,
            alpha=float(self.alpha),
            positive=self.output_weights == "positive",
        )
        moments = starts.spectral_start(model)
        # Entries of M have the size of these squares.
        largest = np.max(np.abs(model.whitening.columns), initial=0.0)
        if not (np.all(np.isfinite(moments[0])) and np.isfinite(largest * largest * model.target_scale)):
            raise ValueError(f"X or y: squares of their entries overflow {rows.dtype}; rescale them")
        reference = reference_norm(model, *moments)
        network, theta = self._start(model, moments, rng)
        tasks.finish(lambda: self._attributes(network, theta))
        if self._is_gd or tasks.stopped:
            network, descent = self._gradient_descent(network, theta, moments, rng, tasks)
        elif self._is_convex(model):
            network, descent = self._convex(model, moments, reference, tasks)
        else:
            network, descent = self._low_rank(network, theta, rng, tasks)
        self._store(model, network, descent, reference)

    def _is_convex(self, model):
        """Whether the number of units is no constraint."""
        return self.n_hidden is None or self.n_hidden >= model.whitening.rank

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

    def _store(self, model, network, descent, reference):
        attributes, dtype = self._attributes(network, descent.theta), model.rows.dtype
        unit = network.model.target_scale * network.model.target_scale  # of floats, ** raises where it overflows
        self.loss_ = network.loss(descent.theta) * unit
        if not np.isfinite(self.loss_) or not np.all(np.isfinite(attributes["matrix_"])):
            raise ValueError(f"X or y: squares of their entries overflow {dtype}; rescale them")
        parts = network.parts(descent.theta)
        if network.model is not model:
            parts = model.from_user(*network.model.user(*parts))
        for name in ("matrix_", "coef_", "hidden_coef_", "output_coef_"):
            setattr(self, name, attributes[name].astype(dtype))
        self.intercept_, self._centered = attributes["intercept_"], attributes["_centered"]
        self.alpha_ = float(self.alpha)
        self.loss_curve_ = [value * unit for value in descent.loss_curve] or [self.loss_]
        goal = self._tolerances(model.rows)[0]
        self.optimality_gap_ = certificate(model, parts, reference).gap
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
