"""Standard errors of both layers of a network of several outputs, from its Gauss-Newton matrix."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

MAX_WEIGHTS = 3000  # of the hidden layer: its matrices have the square of that many entries, 72 MB each
RANK_EPS = 1e3  # directions below this many eps of the largest eigenvalue are not determined
TOL = RANK_EPS * float(np.finfo(float).eps)
LINEAR = 1e-10  # derivatives of a unit of which the fit to the units leaves less, relatively, are among them
PIECE = 2**21  # entries of the derivatives of the rows that are summed at a time


def standard_errors(network, theta, whitening, max_weights=MAX_WEIGHTS):
    """Return the standard errors of hidden weights (k, d) and output weights (m, k), in the user's units.

    They are those of the minimiser of

    ``1/(2 sum_i s_i) sum_i s_i |U f(V x_i + b) + c - y_i|^2 + (alpha/2) sum_j (v_j' S v_j + |u_j|^2)``

    where y is such a network and noise of mean zero and covariance Sigma, independent of x: the roots of the diagonal
    of

    ``H^+ M H^+ / n,    H = E[J'J] + alpha diag(S, I),    M = E[J' Sigma J],``

    J the derivatives of the outputs by all weights, n the sum of the sample weights, Sigma the residuals' covariance
    times ``n / (n - p/q)``, p the number of weights that the data can tell and q the rank of the outputs; without that
    factor if ``n <= p/q``. With weight decay they are the spread of the estimate about its own mean: its bias is not
    counted.

    For a homogeneous f and alpha = 0 the lengths of the (v_j, b_j) are no part of the problem: H is that of changes
    orthogonal to them in white coordinates. The errors are those of ``v_j / |v_j|`` and ``u_j |v_j|^p``, which do not
    depend on that choice.

    Eigenvalues of H, in units of the mean diagonal of each unit, below 1000 eps of the largest count as zero: where the
    data do not determine a weight, the error is that of the part that they do, 0 if there is none. All are finite.

    Parameters
    ----------
    network : TwoLayer
    theta : ndarray
    whitening : Whitening
        Centred if and only if there are intercepts.
    max_weights : int
        With more weights in the hidden layer, x~ is treated as independent of the units along the directions that the
        white v_j do not span, as it is for Gaussian x: there H is ``<u_j, u_l> E[f'_j f'_l]`` for each of them, and 1/n
        is 1/(n - p/q). If the span itself has more than `max_weights` weights, of its directions only the largest are
        taken; the errors of output weights are then some 10 % too small.

    Returns
    -------
    hidden : ndarray of shape (k, d)
    output : ndarray of shape (m, k)

    Notes
    -----
    With the output layer eliminated, the blocks of H are ``<u_j, u_l> S_jl`` and those of M ``u_j' Sigma u_l S_jl``,
    S_jl the second moments of what a linear fit to the units and 1 leaves of ``f'_j (x~, 1)``: one pass of n k^2 d^2
    products, and matrices of k^2 d^2 entries.
    """
    weights = _scaled(network, theta, whitening, max_weights)
    sums = _row_sums(network, whitening, weights)
    n = max(network.rows.weight_sum, 1.0)
    used = network.n_weights / network.output_rank
    rest = n - used if n > used else n
    estimate = _estimate(network, whitening, weights, sums, n / rest)
    hidden, output = _of_users_weights(network, whitening, weights, estimate)
    largest, root = float(np.finfo(network.rows.dtype).max), (n if weights.complete else rest) ** 0.5
    # Columns whose squares underflow tell nothing: as for other weights that are not determined, zero.
    errors = hidden / root, output / root * network.target_scale
    return tuple(np.minimum(np.nan_to_num(error, nan=0.0, posinf=largest), largest) for error in errors)


def determines(network, theta, whitening, max_weights=MAX_WEIGHTS):
    """Return whether the rows determine both layers, to first order: whether H has full rank; one pass.

    Parameters are those of `standard_errors`; with more than `max_weights` weights it is H in the span of the units.
    """
    weights = _scaled(network, theta, whitening, max_weights)
    second = _row_sums(network, whitening, weights)[0]
    H, _, _, G, _, left = _curvature(network, whitening, weights, second)
    k, D = weights.inside.shape
    of_units, of_rest = (np.diag(A)[: k * D].reshape(k, D).sum(axis=1) for A in (second, left))
    if np.any(of_rest <= LINEAR * of_units):
        return False
    rank = whitening.rank + network.fit_intercept if weights.complete else D
    return _rank(G, k) == k and _rank(H, k) == k * rank


@dataclass(frozen=True)
class _Scaled:
    """The network at ``xi = (B'x~, 1)``, x~ white, with weights of order one.

    Attributes
    ----------
    basis : ndarray of shape (size, r)
        B, orthonormal.
    complete : bool
        Whether B is the identity.
    white : ndarray of shape (k, size)
        Weights of x~.
    bias : ndarray of shape (k,)
        0 without intercept.
    inside : ndarray of shape (k, D)
        Weights of xi; without intercept xi has no 1.
    output : ndarray of shape (k, m)
        u_j, in units of y.
    intercept : ndarray of shape (m,)
    lengths : ndarray of shape (k,)
        Units of the hidden weights of a homogeneous f, else 1.
    norms : ndarray of shape (k,)
        ``|v_j|`` in these units where it is one in the user's, else 1.
    rows : ndarray of shape (k, d)
        ``v_j / |v_j|`` where it is what the user is told, else 0.
    free : bool
        Whether the objective does not depend on lengths.
    """

    basis: np.ndarray
    complete: bool
    white: np.ndarray
    bias: np.ndarray
    inside: np.ndarray
    output: np.ndarray
    intercept: np.ndarray
    lengths: np.ndarray
    norms: np.ndarray
    rows: np.ndarray
    free: bool


def _scaled(network, theta, whitening, max_weights):
    """Return the weights of theta as `_Scaled`."""
    (coef, bias), (output, intercept) = network.hidden(theta), network.output(theta)
    power, k = network.activation.homogeneity, len(coef)
    white, bias = whitening.to_white(coef), bias + coef @ whitening.center
    norm, lengths = np.ones(k), np.ones(k)
    if power is not None:
        norm, lengths = np.linalg.norm(coef, axis=1), np.linalg.norm(np.column_stack([white, bias]), axis=1)
        norm, lengths = np.where(norm > 0, norm, 1.0), np.where(lengths > 0, lengths, 1.0)
    rows = np.zeros_like(coef) if power is None else coef / norm[:, None]
    white, bias = white / lengths[:, None], bias / lengths
    output = output.T * (lengths ** (power or 0))[:, None] / network.target_scale
    complete = k * (whitening.size + network.fit_intercept) <= max_weights
    if complete:
        basis = np.eye(whitening.size)
    else:
        _, values, vectors = np.linalg.svd(white * np.linalg.norm(output, axis=1)[:, None], full_matrices=False)
        spanned = int(np.sum(values > TOL * values[0]))
        basis = vectors[: max(1, min(spanned, max_weights // k - network.fit_intercept))].T
    return _Scaled(
        basis,
        complete,
        white,
        bias,
        np.column_stack([white @ basis, *([bias] if network.fit_intercept else [])]),
        output,
        (intercept - network.center) / network.target_scale,
        lengths,
        norm / lengths,
        rows,
        network.alpha == 0 and power is not None,
    )


def _row_sums(network, whitening, weights):
    """Return the moments of the derivatives ``(f'_j xi, f_j)``, of the slopes ``f'_j`` and of the residual; one pass.

    Moments are about the means with intercept.
    """
    k, D = weights.inside.shape
    r, n_columns = weights.basis.shape[1], k * (D + 1)
    directions = np.hstack([weights.basis, weights.white.T])

    def of_piece(projected, targets, s):
        z = projected[:, r:] + weights.bias
        xi = np.column_stack([projected[:, :r], *([np.ones_like(z[:, 0])] if network.fit_intercept else [])])
        value, slope = network.activation.value(z), network.activation.derivative(z)
        residual = value @ weights.output + weights.intercept - targets
        root = np.sqrt(s)[:, None]
        derivatives = np.empty_like(z, shape=(len(z), n_columns), order="C")
        np.multiply((slope * root)[:, :, None], xi[:, None], out=derivatives[:, : k * D].reshape(len(z), k, D))
        derivatives[:, k * D :] = value * root
        slope, residual = slope * root, residual * root
        return derivatives.T @ derivatives, root[:, 0] @ derivatives, slope.T @ slope, residual.T @ residual

    def f(X, y, s):
        targets, s, step = network.targets(y.astype(np.float64)).T, s.astype(np.float64), max(1, PIECE // n_columns)
        totals: list = []
        for rows, projected in whitening.projected(X.astype(np.float64, copy=False), directions):
            for i in range(0, len(projected), step):
                piece = slice(i, i + step)
                parts = of_piece(projected[piece], targets[rows][piece], s[rows][piece])
                if not totals:
                    totals = list(parts)
                    continue
                for j, part in enumerate(parts):
                    totals[j] += part
        return tuple(totals)

    second, mean, slopes, noise = network.rows.sum(f)
    return second - np.outer(mean, mean) * network.fit_intercept, slopes, noise


@dataclass(frozen=True)
class _Estimate:
    """Covariances of the estimated weights, times n.

    Attributes
    ----------
    inside : ndarray of shape (k D, k D)
        Of the weights of xi: ``H^+ M H^+``.
    outside : ndarray of shape (k,)
        Variance of w_j along each direction that B leaves out.
    inverse : ndarray of shape (k D, k D)
        H^+.
    regression : ndarray of shape (k, k, D)
        ``K C``, K the inverse of the covariance of the units, with weight decay of the sum, C that of the units with
        ``f'_l xi``.
    shrinkage : ndarray of shape (k, k, D)
        ``K (C - G K C)``, G the covariance of the units: zero without weight decay.
    units : ndarray of shape (k,)
        Diagonal of ``K G K``.
    noise : ndarray of shape (m, m)
        Sigma, in units of y.
    """

    inside: np.ndarray
    outside: np.ndarray
    inverse: np.ndarray
    regression: np.ndarray
    shrinkage: np.ndarray
    units: np.ndarray
    noise: np.ndarray

    def output_variances(self, o, output, local):
        """Return the variances (k,) of ``u_jo + <local_j, w_j>``, but for what is outside B.

        A noise e_i moves U by ``e_i f_i' K`` less ``sum_l u_l (K C_l dw_l)'``.
        """
        k = len(output)
        change = -self.regression * output[:, o, None]
        change[np.arange(k), np.arange(k)] += local
        shared = (self.shrinkage * (output @ self.noise[o])[:, None]).reshape(k, -1)
        change = change.reshape(k, -1)
        hidden = np.sum(change @ self.inside * change, axis=1)
        if np.any(shared):
            hidden += 2 * np.sum(change @ self.inverse * shared, axis=1)
        return self.noise[o, o] * self.units + hidden


def _curvature(network, whitening, weights, second):
    """Return H, and K and C of `_Estimate`, G, ``K C``, and what the fit to the units leaves of S.

    S, C and G are the blocks of the second moments of the derivatives.
    """
    k, D = weights.inside.shape
    decays = _decays(network, weights)
    S, C, G = second[: k * D, : k * D], second[k * D :, : k * D], second[k * D :, k * D :]
    K = _inverse(G + np.diag(decays[1]), k)
    regression = K @ C
    left = S - C.T @ regression
    H = _of_pairs(weights.output @ weights.output.T, left)
    T = whitening.to_columns(weights.basis.T) * whitening.deviations
    for j, w in enumerate(weights.inside):
        block, r = H[j * D : (j + 1) * D, j * D : (j + 1) * D], len(T)
        block[:r, :r] += decays[0][j] * (T @ T.T)
        if weights.free:
            # z f'(z) = p f(z), which the fit to the units leaves nothing of: H and M are zero along w_j.
            block += np.trace(block) / D * np.outer(w, w) / max(w @ w, np.finfo(float).tiny)
    return H, K, C, G, regression, left


def _decays(network, weights):
    """Return alpha in the units of hidden and of output weights."""
    t, unit = network.target_scale, weights.lengths ** (network.activation.homogeneity or 0)
    return network.alpha * (weights.lengths / t) ** 2, network.alpha / unit / unit  # the square may underflow


def _estimate(network, whitening, weights, sums, inflation):
    """Return the `_Estimate` for the sums over rows; the residuals' covariance is multiplied by `inflation`."""
    second, slopes, noise = sums
    (k, D), noise, decays = weights.inside.shape, noise * inflation, _decays(network, weights)
    H, K, C, G, regression, left = _curvature(network, whitening, weights, second)
    shrinkage = np.zeros_like(C)
    scores = left
    if network.alpha > 0:
        shrinkage = K @ (C - G @ regression)
        scores = left - regression.T @ (C - G @ regression)
    gram, noisy = weights.output @ weights.output.T, weights.output @ noise @ weights.output.T
    inverse = _inverse(H, k)
    outside = np.zeros(k)
    if not weights.complete:
        variance = np.sum(_square_sums(whitening) * whitening.deviations**2) / max(whitening.rank, 1)
        outer = _inverse(gram * slopes + np.diag(decays[0] * variance), k)
        outside = np.sum(outer @ (noisy * slopes) * outer, axis=1)
    inside = inverse @ _of_pairs(noisy, scores) @ inverse
    shape, units = (k, k, D), np.sum(K @ G * K, axis=1)
    return _Estimate(inside, outside, inverse, regression.reshape(shape), shrinkage.reshape(shape), units, noise)


def _of_pairs(factors, moments):
    """Return the matrix of blocks ``factors_jl moments_jl``."""
    k = len(factors)
    D = len(moments) // k
    return (moments.reshape(k, D, k, D) * factors[:, None, :, None]).reshape(k * D, k * D)


def _inverse(H, k):
    """Return the pseudo-inverse of a positive semidefinite matrix of k blocks, in units of their mean diagonals."""
    H, unit = _in_units(H, k)
    factor, failed = lapack.dpotrf(H, lower=1)
    if not failed and lapack.dpocon(factor, np.max(np.sum(np.abs(H), axis=0)), uplo="L")[0] > TOL:
        inverse = lapack.dpotri(factor, lower=1)[0]
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
    else:
        values, vectors = np.linalg.eigh(H)
        kept = values > TOL * values[-1]
        inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    return inverse / unit[:, None] / unit


def _rank(H, k):
    """Return the rank of such a matrix."""
    values = np.linalg.eigvalsh(_in_units(H, k)[0])
    return int(np.sum(values > TOL * values[-1]))


def _in_units(H, k):
    """Return H in units of the mean diagonals of its k blocks, and their roots; infinite for blocks of zeros."""
    unit = np.sqrt(np.maximum(np.mean(np.diag(H).reshape(k, -1), axis=1), 0))
    unit = np.repeat(np.where(unit > 0, unit, np.inf), len(H) // k)
    return H / unit[:, None] / unit, unit


def _square_sums(whitening):
    """Return the squared lengths of the rows of T, the map of white weights to those of the columns."""
    squares = whitening.columns**2
    return squares if squares.ndim == 1 else np.sum(squares, axis=1)


def _of_users_weights(network, whitening, weights, estimate):
    """Return the standard deviations of ``v_j / |v_j|`` and ``u_j |v_j|^p``, else of v_j and u_j, times sqrt(n)."""
    (k, D), r, power = weights.inside.shape, weights.basis.shape[1], network.activation.homogeneity or 0
    T = whitening.to_columns(weights.basis.T).T
    hidden, local, outer = np.zeros(weights.rows.shape), np.zeros((k, D)), np.zeros(k)
    for j, (v, norm) in enumerate(zip(weights.rows, weights.norms, strict=True)):
        along = whitening.pull_back(v[None])[0] / norm
        local[j, :r] = along @ weights.basis
        change = T / norm - np.outer(v, local[j, :r])
        # Relative to the largest entry of a row, whose square may overflow.
        size = np.max(np.abs(change), axis=1, keepdims=True)
        relative = change / np.where(size > 0, size, 1.0)
        own = estimate.inside[j * D : j * D + r, j * D : j * D + r]
        hidden[j] = size[:, 0] * np.sqrt(np.maximum(np.sum(relative @ own * relative, axis=1), 0))
        if not weights.complete:
            outer[j] = max(along @ along - local[j] @ local[j], 0.0)
            both = whitening.to_columns(along[None])[0] / norm
            squares = _square_sums(whitening) / norm**2 - 2 * v * both + v**2 * (along @ along)
            squares = np.maximum(squares - np.sum(change**2, axis=1), 0)
            hidden[j] = np.hypot(hidden[j], np.sqrt(squares * estimate.outside[j]))
    output = np.zeros(weights.output.T.shape)
    for o, row in enumerate(output):
        slopes = power * weights.output[:, o]
        variances = estimate.output_variances(o, weights.output, slopes[:, None] * local)
        row[:] = np.sqrt(np.maximum(variances + slopes**2 * outer * estimate.outside, 0)) * weights.norms**power
    return hidden, output
