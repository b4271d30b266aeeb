"""Quadratic networks with a certificate of global optimality: `QuadraticNet`."""

from numbers import Integral, Real
from typing import ClassVar

import numpy as np

from skrelu._compat import Interval, StrOptions
from skrelu.networks.quadratic_tangent import Tangent
from skrelu.quadratic_fit import QuadraticFit
from skrelu.rows.read import mapped


class QuadraticNet(QuadraticFit):
    """Quadratic units, with a certificate that tells whether any network of such units fits better.

    Solves, for s the sample weights and S the diagonal matrix of the variances of the columns::

        min_{M, b, c}  1/(2 sum_i s_i) sum_i s_i (f(x_i) - y_i)^2
                       + (alpha/2) (|S^1/2 M S^1/2|_* + b' S b),
        f(x) = x' M x + <b, x> + c,
        M = sum_j v_j w_j w_j',    v_j = +-1,    j = 1, ..., n_hidden

    |.|_* the nuclear norm: the least ``sum_j w_j' S w_j`` over the units that make up M. With the default `alpha` the
    penalty of b is another: see Notes. With `n_hidden` None, or at least the rank of X, M is any symmetric matrix (any
    positive semidefinite one if `output_weights` is "positive"), and the problem is convex. One unit is the real
    version of phase retrieval.

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
    alpha : "auto" or float, default="auto"
        Weight decay on the units, in units of y. "auto": see Notes; 0 for "gd". A number refers to the origin of X:
        with alpha > 0 standardise or centre the columns first. 0 is the papers' problem.
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
        Linear part b; 0 without.
    intercept_ : float
        The intercept c, in units of y; 0 without.
    hidden_coef_ : ndarray of shape (n_units, n_features)
        The units w_j by decreasing ``w_j' S w_j``: orthogonal in S, so that these are the eigenvalues of ``S^1/2 M
        S^1/2``; of "gd", the units themselves. `n_hidden` rows, or as many as M has rank.
    output_coef_ : ndarray of shape (n_units,)
        Their outputs v_j, +-1.
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
        Whether `optimality_gap_` is at most `tol`, or its floor: the fit is a global optimum.
    alpha_ : float
        The weight decay of the fit: `alpha`, or the one chosen.
    alphas_ : ndarray of shape (n_alphas,)
        The weight decays tried, decreasing; last 0 if tried. This and the next two only with alpha "auto".
    criterion_ : ndarray of shape (n_alphas,)
        Their criterion, an estimate of the mean squared error on new rows, in squared units of y; infinite where the
        fit could interpolate any targets.
    linear_alpha_ : float
        rho: penalty of the linear part with `alpha_`; 0 where that is 0.
    loss_ : float
        Half the weighted mean squared error at the returned parameters, without penalty.
    loss_curve_ : list of float
        Objective after each iteration of the start that was kept; of "auto", of wider networks with more weight decay
        first.
    n_iter_ : int
        Iterations of the start that was kept.
    converged_ : bool
        Whether the solver came to its goal, `tol`. With no limit on the units "auto" has converged only if the fit is
        certified.
    stop_reason_ : str
        Why the solver stopped, a sentence.
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

    alpha "auto" solves, with m the means of the columns if there are both b and c, else 0::

        min_{M, b, c}  1/(2 sum_i s_i) sum_i s_i (f(x_i) - y_i)^2
                       + (alpha/2) |S^1/2 M S^1/2|_* + (rho/2) |S^1/2 (b + 2 M m)|^2

    The slope at the means is penalised, by a number without units. rho is the best for M = 0, of 37 values from 1e2 to
    1e-10, by generalised cross-validation. alpha is the one of `alphas_` with the lowest `criterion_`: each is half the
    one before, from 1.001 times the one at which M vanishes, until 6 in a row have not improved it, then 0 if the rows
    are more than the weights. A smaller one wins only if its criterion is lower by more than 1e-3, relatively. The
    criterion is the larger of generalised cross-validation, ``mse / (1 - 1.2 df/n)^2``, and of
    ``sum_i s_i (r_i / max(1 - 1.2 h_i, 0.1))^2 / sum_i s_i``; n is the sum of the weights, h_i the leverages of the
    rows and df their sum, by the Hessian at the units fitted. If alpha = 0 leaves no residual, relative to y at most
    `tol`, that is the choice at once; and so it is if with too few rows the units before the largest gap in the
    eigenvalues of the M chosen leave none. The fit chosen is then solved to the accuracy of a given alpha; `certified_`
    and `optimality_gap_` refer to this objective.

    `predict` with `return_std` gives ``sigma (1 + j(x)' H^-1 j(x) / n)^(1/2)``: j the derivatives of f by units, linear
    part and intercept, H that Hessian, ``sigma^2 = mse / max(1 - df/n, 0.02)``. It is the spread about the mean of the
    estimate: the bias of weight decay is not in it. With more than 1000 weights, H is taken as if units and inputs were
    independent. Where the rows do not determine the weights it is large, and finite.

    Of a constant y, to rounding, "auto" returns the intercept, without units.

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
    ...     n_samples=300, n_features=20, n_hidden=3,
    ...     return_teacher=True, random_state=0)
    >>> model = QuadraticNet(n_hidden=3, random_state=0).fit(X, y)
    >>> np.allclose(model.matrix_, teacher.matrix_, atol=1e-10), model.certified_
    (True, True)
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_hidden": [Interval(Integral, 1, None, closed="left"), None],
        "init": [StrOptions({"spectral", "random"})],
        "output_weights": [StrOptions({"signed", "positive"})],
        "alpha": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
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
        alpha="auto",
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

    def predict(self, X, return_std=False):
        """Return ``x' matrix_ x + <coef_, x> + intercept_``.

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
            Standard deviation of the predictive distribution, noise included; see Notes. Only with `return_std`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has missing or infinite values or other columns than in `fit`.
        """
        return mapped(self, self._predicted, X, return_std)

    def _predicted(self, X, return_std):
        """Return the predictions for a block of rows."""
        # About the centre of the fit: about the origin, terms may cancel.
        linear, center, c = self._centered
        weights = np.vstack([self.hidden_coef_, linear]).astype(X.dtype)
        Z = X @ weights.T - weights @ center.astype(X.dtype)
        # Squares that cancel in the sum may be beyond the largest number of single precision.
        largest = np.finfo(X.dtype).max
        y = Z[:, :-1].astype(np.float64) ** 2 @ self.output_coef_.astype(np.float64) + Z[:, -1] + c
        y = np.clip(y, -largest, largest).astype(X.dtype)
        return (y, self._standard_deviations(X)) if return_std else y

    def _standard_deviations(self, X):
        spread, largest = np.zeros(X.shape[0]), np.finfo(X.dtype).max
        with np.errstate(over="ignore", invalid="ignore"):
            if self._tangent is not None:
                spread = Tangent(**self._tangent).variances(X) / self._n
            deviation = self._noise**0.5 * (1 + spread) ** 0.5
        return np.minimum(np.nan_to_num(deviation, nan=largest), largest).astype(X.dtype)
