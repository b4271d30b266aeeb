"""One hidden layer of ReLUs, recovered from the moments of its data: `OneHiddenLayerReLU`."""

from typing import ClassVar

from skrelu.one_hidden_layer import OneHiddenLayerNet


class OneHiddenLayerReLU(OneHiddenLayerNet):
    """One hidden layer of ReLUs, by descent from a start that the moments of the data give.

    Solves::

        min_{w_j, b_j, v_j, c}  1/(2 sum_i s_i) sum_i s_i (f(x_i) - y_i)^2
                                + (alpha/2) sum_j (w_j' S w_j + v_j^2),
        f(x) = c + sum_j v_j max(0, <w_j, x> + b_j)

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
        Number k of units. "auto": as many as the data tell, see Notes.
    init : {"tensor", "random"} or array-like of shape (n_hidden, n_features), default="tensor"
        "random": directions uniform in the whitened metric, as many negative outputs as the second moment has negative
        eigenvalues. An array: the weights of the units; their outputs by least squares, biases 0. A tensor start gives
        at most rank(X) units, and at most 40; the others are small and random.
    output_weights : {"signed", "positive"}, default="signed"
        "positive": all v_j are +1.
    alpha : float or "auto", default="auto"
        Weight decay, in units of y: with y and alpha both ten times as large, the weights are. "auto": chosen by
        generalised cross-validation, see Notes; 0 with "gd".
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
        Weights w_j, by decreasing ``w_j' S w_j``.
    hidden_intercept_ : ndarray of shape (n_hidden,)
        Biases b_j; 0 without.
    output_coef_ : ndarray of shape (n_hidden,)
        Outputs v_j, +-1.
    output_intercept_ : float
        The intercept c, in units of y; 0 without.
    init_coef_ : ndarray of shape (n_units, n_features)
        The first start, before any descent; with ``n_hidden="auto"`` of as many units as the moments propose.
    alpha_ : float
        The weight decay of the fit: `alpha`, or the one chosen; of an average, that of the lowest criterion.
    alphas_ : ndarray of shape (n_alphas,)
        The weight decays tried, in decreasing order. Only with ``alpha="auto"``.
    criterion_ : ndarray of shape (n_alphas,)
        Generalised cross-validation of each: an estimate of the mean squared error on new rows, in the square of the
        unit of y; infinite where the fit could interpolate any y. Only with ``alpha="auto"``.
    loss_ : float
        Half the weighted mean squared error at the returned parameters, without penalty.
    loss_curve_ : list of float
        Objective after each iteration of the start that was kept. In the first stages of "auto" that is the one of the
        relaxed, wide or smoothed network (see Notes).
    n_iter_ : int
        Iterations of the start that was kept.
    converged_ : bool
        Whether the solver came to its goal, `tol`.
    stop_reason_ : str
        Why the solver stopped, and whether the data can determine so many weights: one or two sentences.
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
    ProjectedReLURegressor : One unit, with side information about its weights.
    TwoLayerReLURecovery : Several outputs.

    Notes
    -----
    ``alpha="auto"`` first solves the problem without decay if the columns of X may be normal (Geary's ratio, at five
    standard errors), elsewhere only where a path leaves less than 1e-3 of the variance of y, so that ``alpha=0`` is
    safer if there is no noise. A residual of zero on 1.2 times as many rows as weights ends the search: ``alpha_`` is
    0, and with ``n_hidden="auto"`` the number of units has been found, too: that of the eigenvalues of the second
    moment that noise alone would not have, then units are added for as long as the Bayesian information criterion
    falls. Else three paths of decreasing decay follow, each from small random units, 12 of them if their number is
    free, each decay from the solution of the one before: simple functions first. They are judged by ``mse / (1 - 1.2 df
    / n)^2``, df the degrees of freedom of the Gauss-Newton matrix. The network without decay is kept unless its own
    criterion is more than a hundredth above the best on the paths; its weights count 1.2 times, or twice where X is not
    normal or rows are fewer than six times the weights. Otherwise, with n_hidden given, the network of the best decay
    is; and with ``n_hidden="auto"`` the average of the networks on all paths, weighted by the criterion to the power of
    -0.03 n: a network of some hundred units. It predicts better than any single one of them on nearly all real tables
    on which it was tried, but its units mean nothing by themselves. Nothing is drawn from the rows: a weight is as good
    as repetition. In single precision rounding decides where units on the paths go: the average is another one,
    *measured* within the standard deviations of its predictions; with n_hidden given it is the same network to 0.02 of
    the standard deviation of y.

    The problem without decay, or with a given one, is solved as follows: "auto" descends (L-BFGS in the metric of the
    network) first in a *relaxed* network with a linear part besides. max(0, z) = z/2 + |z|/2, so that there the
    orientation of units does not matter, and descent is not caught where a unit points the wrong way. The linear part
    then tells the orientation. Where that leaves a residual, further starts are wider networks, relaxed or with
    decreasing weight decay, pruned to n_hidden units. At last Newton steps by conjugate gradients, with the kinks of
    the ReLUs smoothed over a width that ends at 1e-4 of the root mean square of y. Nothing is proved for it beyond
    stationarity of what it returns; a residual of zero is its own certificate. Units are unique only where the data
    determine them: parallel units of one sign can exchange weight, predictions are the same. Measured on x ~ N(0, I)
    without noise, 5 units and d = 50: the planted weights, to rounding, from n = 500, twice the number of weights.

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
    ...     n_samples=400, n_features=10, n_hidden=3,
    ...     return_teacher=True, random_state=0)
    >>> model = OneHiddenLayerReLU(n_hidden=3, random_state=0).fit(X, y)
    >>> metrics.recovery_error(teacher.hidden_coef_, model.hidden_coef_) < 1e-10
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        name: accepted for name, accepted in OneHiddenLayerNet._parameter_constraints.items() if name != "activation"
    }

    def __init__(
        self,
        n_hidden="auto",
        *,
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
        super().__init__(
            n_hidden,
            activation="relu",
            init=init,
            output_weights=output_weights,
            alpha=alpha,
            solver=solver,
            step_size=step_size,
            fit_intercept=fit_intercept,
            max_iter=max_iter,
            tol=tol,
            random_state=random_state,
            n_init=n_init,
            warm_start=warm_start,
            verbose=verbose,
        )
