"""Two layers with several outputs, both recovered exactly: `TwoLayerReLURecovery`."""

from numbers import Integral, Real
from typing import ClassVar

import numpy as np

from skrelu._compat import Interval, StrOptions
from skrelu.activations import Activation, get_activation
from skrelu.prediction_errors import predictive_deviations
from skrelu.rows.read import mapped
from skrelu.two_layer_fit import TwoLayerFit


class TwoLayerReLURecovery(TwoLayerFit):
    """Two layers, of rectified units and of several linear outputs, both recovered by moments and exact steps.

    Solves::

        min_{V, b, U, c}  1/(2 sum_i s_i) sum_i s_i |U f(V x_i + b) + c - y_i|^2
                          + (alpha/2) sum_j (v_j' S v_j + |u_j|^2)

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
        The activation f. An `activations.Activation` that is neither monotone nor homogeneous may need more starts:
        nothing is known of it.
    outliers : {"none", "detect"}, default="none"
        "detect": rows that are grossly wrong are found and left out, and with normal noise 0.05 other rows on average.
        It needs twice as many equations as weights, and no superfluous units, which could fit wrong rows. Then, without
        noise, the fit is exact, as a rule, with up to 0.3 of the rows wrong, of one output 0.1 (measured).
    alpha : "auto" or float, default="auto"
        Weight decay, in units of y for ReLUs; 0 is the problem of the paper. "auto": 0 where it leaves no residual on
        more equations than weights, and with ``solver="gd"`` or ``outliers="detect"``; else what generalised
        cross-validation chooses from a path of decreasing decays and 0 (Notes).
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
        The rows v_j of V, of length one if f is homogeneous, by decreasing ``|u_j|`` times the deviation of the unit.
    hidden_intercept_ : ndarray of shape (n_hidden,)
        Biases b; 0 without.
    output_coef_ : ndarray of shape (n_outputs, n_hidden)
        The second layer U.
    output_intercept_ : ndarray of shape (n_outputs,)
        Intercepts c, in units of y; 0 without.
    hidden_coef_std_ : ndarray of shape (n_hidden, n_features)
        Standard errors of `hidden_coef_`; see the next.
    output_coef_std_ : ndarray of shape (n_outputs, n_hidden)
        Standard errors of `output_coef_`. Both are for noise independent of X, correlated across outputs or not. Of
        weights that the data do not determine (`stop_reason_` says so) they are those of the part that they do, 0 if
        there is none; of an average of networks (one output, ``n_hidden="auto"``, `alpha_` > 0) there are none: 0.
    exact_ : bool
        Whether `residual_` is zero to rounding (at most 1000 eps) and the rows determine the weights: more equations
        than weights, full rank without the rows on a kink, no unit that vanishes, is parallel or opposite to another,
        or active on too few rows.
    residual_ : float
        Root mean square of the residual, relative to that of y about its mean (without intercept: about zero).
    outlier_mask_ : ndarray of shape (n_samples,) of bool
        Rows that were set aside. `residual_`, `exact_`, `loss_` and all other attributes are those of the other rows.
    alpha_ : float
        The weight decay of the fit: `alpha`, or the one chosen.
    alphas_ : ndarray of shape (n_alphas,)
        Weight decays tried, 0 last; only with ``alpha="auto"``, as `criterion_`.
    criterion_ : ndarray of shape (n_alphas,)
        Of each the generalised cross-validation ``2 loss / (1 - 1.9 p / n)^2``, p the degrees of freedom of an output;
        infinite if ``n <= 1.9 p``. Without decay that of the fit before its last digits.
    loss_ : float
        Half the weighted mean squared error, summed over outputs, without penalty.
    loss_curve_ : list of float
        Objective after each iteration of the start that was kept; in the first stages that of wide networks and of
        weighted outputs.
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
    least squares everywhere.

    "auto" solves the problem without decay first. Where that leaves a residual, three paths follow from small random
    units, 12 at least if `n_hidden` is "auto": decays fall from 0.3 in units of the root mean square of y by factors
    of 1.6 to 0.002, further if the criterion falls by a tenth each time; L-BFGS goes from one to the next and stops
    early, where the objective falls by less than 1 % in ten iterations. The network of the lowest criterion is kept as
    it is. If all columns may be normal (Geary's ratio, 28 rows at least), or `n_hidden` is given, it wins
    if its criterion is lower than without decay by more than 1 %; else unless that without decay is below 0.6 of it.
    With an activation that is not homogeneous the choice depends on the unit of y. With `warm_start` the
    decay of the previous fit stays.

    Signs come from the first moments, which is as good as their distance to the span of Y in
    [1]_ where that applies, and also applies with noise and with more units than outputs.

    References
    ----------
    .. [1] A. Bakshi, R. Jayaram and D. P. Woodruff, "Learning Two Layer Rectified Neural Networks in Polynomial Time",
       COLT 2019. arXiv:1811.01885.

    Examples
    --------
    >>> from skrelu import TwoLayerReLURecovery, datasets, metrics
    >>> X, Y, teacher = datasets.make_two_layer_relu(
    ...     n_samples=300, n_features=20, n_hidden=5, n_outputs=8,
    ...     return_teacher=True, random_state=0)
    >>> model = TwoLayerReLURecovery(random_state=0).fit(X, Y)
    >>> model.n_hidden, len(model.hidden_coef_), model.exact_
    ('auto', 5, True)
    >>> metrics.recovery_error(teacher.hidden_coef_, model.hidden_coef_) < 1e-12
    True
    """

    _several_outputs = True

    _parameter_constraints: ClassVar[dict] = {
        "n_hidden": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "activation": [StrOptions({"relu", "squared_relu"}), Activation],
        "outliers": [StrOptions({"none", "detect"})],
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
        activation="relu",
        outliers="none",
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

    def predict(self, X, return_std=False):
        """Return ``output_intercept_ + output_coef_ f(hidden_coef_ x + hidden_intercept_)``.

        Parameters
        ----------
        X : {array-like, CSR/CSC matrix or array} of shape (n_samples, n_features)
            Or as in `fit`: then a dask collection gives dask arrays, not yet computed.
        return_std : bool, default=False
            Whether to return standard deviations, too.

        Returns
        -------
        y : ndarray of shape (n_samples, n_outputs)
            Predictions, of shape (n_samples,) after a fit to y of one dimension.
        std : ndarray of the same shape
            Standard deviation of the predictive distribution: of the noise, estimated from the residuals, and of the
            weights of both layers, to first order and as if x were independent of the slopes of the units. Always
            finite, also where the weights are not identified; near zero if the fit is exact. Only if `return_std`.

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
        activation, output = get_activation(self.activation), np.atleast_2d(self.output_coef_)
        hidden = X @ self.hidden_coef_.T + self.hidden_intercept_
        units = activation.value(hidden)
        y = units @ output.T + self.output_intercept_
        y = y.reshape(len(y), *self._y_shape)
        if not return_std:
            return y
        std = predictive_deviations(self._distribution, X, units, activation.derivative(hidden), output)
        return y, np.minimum(std, np.finfo(y.dtype).max).reshape(y.shape).astype(y.dtype)

    def __sklearn_tags__(self):
        """Return the tags: several outputs are accepted."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
