"""Starts: the weights before any descent, in the user's units."""

from dataclasses import replace
from itertools import islice

import numpy as np
from sklearn.utils import check_array

from skrelu._compat import arrays_here
from skrelu.joint_diagonalisation import jointly_diagonalised
from skrelu.networks.quadratic import QuadraticNetwork
from skrelu.networks.quadratic_form import QuadraticForm
from skrelu.networks.weights import Weights, typical_sizes
from skrelu.solvers.quasi_newton import quasi_newton
from skrelu.tensors import MomentFit, power_directions

RANDOM_STARTS = 4  # of the fit of moments, besides that of the power iteration
MARGIN = 1e-6  # a start wins over an earlier one only if it is better by more than this, relatively
TOL = 1e-8  # of the fit of moments, see `minimised`: below the noise by enough for rounding to change no start
MAX_ITER = 1000  # of it
WINDOW, IDLE_EPS = 20, 100  # it ends, too, when the objective falls by fewer eps of itself in so many iterations
EPS = float(np.finfo(np.float64).eps)
BIASES = 2.0  # largest, relative to the length of the unit, that the moments of several outputs tell
SMALL = 0.1  # size of small units, relative to the root mean square of y
LOST = 1e-3  # of the length that they began with: shorter units of a relaxed fit have come to nothing but rounding
SMALLEST_OUTPUT = 1e-3  # of the largest, of the least squares output weights of a user's units


def tensor_start(rows, whitening, moments, activation, n_units, rng, *, n_negative=None, fit_intercept=True):
    """Return the units whose Hermite moments are those of the data (`fit_moments`).

    At most as many as the moments have directions; the others are random in the whitened metric, and a tenth as large
    as these: their output weights are, if the activation is not homogeneous.

    Parameters
    ----------
    rows : Rows
    whitening : Whitening
        Centred.
    moments : HermiteMoments
    activation : Activation
    n_units : int
    rng : RandomState
    n_negative : int, optional
        Number of negative outputs; None: as the second moment tells.
    fit_intercept : bool
        Without, the hidden biases in whitened coordinates are ``<w_j, mean of x>``, and the output bias is zero.
    """
    k = moments.basis.shape[1]
    bias = None if fit_intercept else moments.basis.T @ whitening.pull_back(whitening.center[None])[0]
    n_fitted = min(n_units, k)
    W, b, v = fit_moments(moments, activation, n_fitted, rng, n_negative=n_negative, bias=bias)
    hidden = W @ moments.basis.T
    if n_units > n_fitted:
        extra, signs = random_units(whitening.size, n_units - n_fitted, (n_units - n_fitted) // 2, rng)
        signs = np.ones(len(extra)) if n_negative == 0 else signs
        size, output_size = np.linalg.norm(hidden, axis=1).mean(), np.abs(v).mean()
        tenth = (0.1, 1.0) if activation.homogeneity is not None else (1.0, 0.1)
        hidden, b = np.vstack([hidden, tenth[0] * size * extra]), np.append(b, np.zeros(len(extra)))
        v = np.append(v, tenth[1] * output_size * signs)
    c = moments.mean - v @ activation.hermite_coefficients(0, scale=np.linalg.norm(hidden, axis=1), bias=b)[0]
    unit, output_unit = _units(rows, activation)
    columns = whitening.to_columns(hidden)
    if not fit_intercept:
        return Weights(unit * columns, np.zeros(n_units), output_unit * v, 0.0)
    b = b - columns @ whitening.center
    return Weights(unit * columns, unit * b, output_unit * v, rows.target_scale() * float(c))


def fit_moments(moments, activation, n_units, rng, *, n_negative=None, bias=None):
    """Return (W, b, v): units whose moments are nearest to those of the data.

    `MomentFit` from the local maxima of the fourth moment (`power_directions`), of the third where the activation is
    odd but for a constant. Units that come to nothing in the relaxed fit go on from where they began. Where the maxima
    are fewer than the units, the others start in random directions, and, if the activation is homogeneous, the best of
    several such fits is kept, until two agree: for others descent does not need it.

    Parameters
    ----------
    moments : HermiteMoments
    activation : Activation
    n_units : int
    rng : RandomState
    n_negative : int, optional
        Number of units with v_j = -1 if the activation is homogeneous; None: the number of negative eigenvalues of the
        second moment. Other activations have any v_j, positive ones for 0.
    bias : ndarray of shape (n_directions,), optional
        See `MomentFit`.

    Returns
    -------
    W : ndarray of shape (n_units, n_directions)
        In the space of the moments.
    b : ndarray of shape (n_units,)
    v : ndarray of shape (n_units,)
    """
    homogeneous, relaxes = activation.homogeneity is not None, activation.odd_slope is not None
    positive = n_negative == 0 and not homogeneous
    if n_negative is None:
        n_negative = int(np.sum(np.linalg.eigvalsh(moments.second) < 0))
    size, output_size = typical_sizes(activation, n_units)
    best, lowest = (np.inf,), np.inf
    maxima = power_directions(moments, rng, 4 if activation.even_constant is None else 3)[:n_units]
    for attempt in range(1 + RANDOM_STARTS if homogeneous and len(maxima) < n_units else 1):
        found = maxima if attempt % 2 == 0 else maxima[:0]
        U = np.vstack([found, moments.random_directions(n_units - len(found), rng)])
        W, b = size * U, np.zeros(n_units)
        if homogeneous:
            fit = MomentFit(moments, activation, _signs(moments, U, n_negative), size, bias)
        else:
            fit = MomentFit(moments, activation, np.ones(n_units), size, bias, relaxes, output_size, positive)
            fit = replace(fit, output=fit.best_output(W, b))
        if relaxes:
            value, *relaxed = minimised(replace(fit, relaxed=True), W, b)
            margin = MARGIN * abs(value) + TOL / moments.n
            if abs(value - lowest) <= margin:
                break
            lowest = min(lowest, value)
            lost = np.linalg.norm(relaxed[0], axis=1) < LOST * size
            W, b, v = (np.where(lost, w.T, r.T).T for w, r in zip((W, b, fit.output), relaxed, strict=True))
            fit = replace(fit, output=v, relaxed=False)
            W, b = fit.oriented(W, b)
        candidate = minimised(fit, W, b)
        if candidate[0] < best[0] - MARGIN * abs(candidate[0]):
            best = candidate
    return best[1:]


def minimised(fit, W, b):
    """Return (J, W, b, v) at the minimum found from a start, to a small part of the sampling noise of the moments.

    n J is a negative logarithm of a likelihood: what lowers it by less than about `TOL` is lost in their noise.

    Parameters
    ----------
    fit : MomentFit
    W : ndarray of shape (n_units, n_directions)
    b : ndarray of shape (n_units,)
    """
    theta, values = fit.pack(W, b, fit.output), []
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for step in islice(quasi_newton(fit, theta), MAX_ITER):
            values.append(step.objective)
            # Weights may be so large that rounding, not noise, is what ends it.
            idle = len(values) > WINDOW and values[-1 - WINDOW] - step.objective <= IDLE_EPS * EPS * abs(step.objective)
            if step.criterion**2 * fit.moments.n <= TOL or idle:
                break
    return step.objective, *fit.unpack(step.parameters)


def _signs(moments, U, n_negative):
    """Return output signs, negative where the second moment is explained by the smallest weights ``a u u'``."""
    weights = np.linalg.lstsq((U @ U.T) ** 2, moments.along(U)[0][1], rcond=None)[0]
    v = np.ones(len(U))
    v[np.argsort(weights, kind="stable")[:n_negative]] = -1
    return v


def random_start(rows, whitening, activation, n_units, n_negative, rng, *, fit_intercept=True):
    """Return units with isotropic directions in the whitened metric, `n_negative` of them with negative outputs.

    Their size is that of k equal units of independent directions with the variance of y: of ReLUs, ``t sqrt(3 / k)``.
    """
    hidden, signs = random_units(whitening.size, n_units, n_negative, rng)
    size, output_size = typical_sizes(activation, n_units)
    unit, output_unit = _units(rows, activation)
    columns = whitening.to_columns(unit * size * hidden)
    b = -columns @ whitening.center if fit_intercept else np.zeros(n_units)
    return Weights(columns, b, output_unit * output_size * signs, 0.0)


def _units(rows, activation):
    """Return the units of hidden and output weights in which those of y in its root mean square are of order one."""
    t, p = rows.target_scale(), activation.homogeneity
    return (1.0, t) if p is None else (t ** (1 / p), 1.0)


def require_finite(rows, start):
    """Raise the error of data whose scales are such that weights, or squares of y, overflow."""
    unit = rows.target_scale()
    if not (np.all(np.isfinite(start.hidden.astype(rows.dtype))) and np.isfinite(unit * unit)):
        raise ValueError(f"X or y: weights of their scales overflow {rows.dtype}; rescale them")


def random_units(size, n_units, n_negative, rng):
    """Return unit vectors, uniform on the sphere, and signs."""
    hidden = rng.standard_normal((n_units, size))
    hidden /= np.linalg.norm(hidden, axis=1, keepdims=True)
    return hidden, np.where(np.arange(n_units) < n_negative, -1.0, 1.0)


def given_start(rows, init, activation, *, n_hidden=None, signed=True, fit_intercept=True):
    """Return the user's units with biases 0; signed output weights and the output bias by least squares.

    Of a homogeneous activation the magnitude of the output weight moves to the unit, and it is +-1.

    Raises
    ------
    ValueError
        If `init` is not a finite matrix of shape (n_hidden, n_features); `n_hidden` None stands for any.
    """
    hidden = check_array(arrays_here(init), dtype=np.float64, input_name="init", copy=True)
    k = len(hidden)
    expected = (n_hidden or k, rows.n_features)
    if hidden.shape != expected:
        raise ValueError(f"init must have shape (n_hidden, n_features) = {expected}, got {hidden.shape}.")
    v, c = np.ones(k), 0.0
    if signed:
        t = rows.target_scale()

        def normal_equations(X, y, s):
            values = activation.value(X @ hidden.T.astype(X.dtype))
            A = np.column_stack([values, np.ones_like(y, dtype=np.float64)]) if fit_intercept else values
            g = s[:, None] * A
            return (g.T @ A).astype(np.float64), (g.T @ (y / y.dtype.type(t))).astype(np.float64)

        gram, cross = rows.sum(normal_equations)
        solution = t * np.linalg.lstsq(gram, cross, rcond=1e-12)[0]
        v, c = solution[:k], float(solution[k]) if fit_intercept else 0.0
        floor = SMALLEST_OUTPUT * np.abs(v).max() if np.any(v) else 1.0
        v = np.where(v < 0, -1.0, 1.0) * np.maximum(np.abs(v), floor)
    return Weights(hidden, np.zeros(k), v, c).homogeneous(activation)


def spectral_start(model):
    """Return what the best linear function and the second Hermite moment of its residual tell of a quadratic network.

    For x ~ N(0, I) and ``y = x' M x + <beta, x> + c`` they are ``E[y] = c + tr M``, ``E[y x] = beta`` and
    ``E[y He_2(x)] = 2 M``; two passes. Without a linear part beta is 0: its estimate would be noise, and the residual
    would take it into M.

    Parameters
    ----------
    model : QuadraticModel

    Returns
    -------
    M : ndarray of shape (size, size)
        In the coordinates of the model, as all of them.
    beta : ndarray of shape (size,)
    mean : float
    """
    rows, whitening = model.rows, model.whitening

    def linear_moments(X, y, s):
        g = s * (y / y.dtype.type(model.target_scale))
        return (g @ X).astype(np.float64), g.sum().astype(np.float64)

    linear, mean = rows.sum(linear_moments)
    linear = model.fit_linear * whitening.pull_back((linear - mean * whitening.center)[None])[0]
    _, second, _, rest = QuadraticForm(model).moments(None, linear, mean)
    return -(second - rest * np.eye(len(second))) / 2, linear, mean


def quadratic_start(model, moments, n_units, rng, *, init="spectral"):
    """Return (network, theta) of the terms of M with the largest eigenvalues, or of small random units.

    Random ones have outputs of the same signs. Units beyond the number of columns are random, of either sign.

    Parameters
    ----------
    model : QuadraticModel
    moments : tuple
        What `spectral_start` returns.
    n_units : int
    rng : RandomState
    init : {"spectral", "random"}
    """
    matrix, linear, mean = moments
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values, 0) if model.positive else values
    order = np.argsort(-np.abs(values), kind="stable")[:n_units]
    extra = n_units - len(order)
    v = np.where(values[order] < 0, -1.0, 1.0)
    # Half of all units of either sign, where there are enough others: what the theorem asks for.
    n_negative = 0 if model.positive else np.clip(n_units // 2 - np.sum(v < 0), 0, extra)
    v = np.append(v, np.where(np.arange(extra) < extra - n_negative, 1.0, -1.0))
    W = small_units(model, n_units, rng)
    if init == "spectral":
        W[: len(order)] = (np.abs(values[order]) ** 0.5 * vectors[:, order]).T
    network = QuadraticNetwork(model, v)
    return network, network.pack(W, model.packed_head(linear, mean - v @ np.sum(W**2, axis=1)))


def small_units(model, n_units, rng):
    """Return small isotropic units in the coordinates of a quadratic model."""
    return SMALL * rng.standard_normal((n_units, model.whitening.size)) / max(model.whitening.rank, 1) ** 0.5


def two_layer_start(whitening, moments, activation, n_units, rng, *, fit_intercept=True):
    """Return the hidden units, of length one in whitened coordinates, whose moments are those of several outputs.

    Directions are those of the terms of the second moments (`jointly_diagonalised`). The first moments, in the terms
    ``u_j (x) v_j`` of these, have the coefficients ``c_1(b_j) / c_2(b_j)`` for the unit v_j, and the same with a minus
    for -v_j: they tell signs, and biases of homogeneous activations.

    Parameters
    ----------
    whitening : Whitening
        Centred.
    moments : OutputMoments
    activation : Activation
    n_units : int
    rng : RandomState
    fit_intercept : bool
        Without, the biases in whitened coordinates are ``<w_j, mean of x>``.

    Returns
    -------
    hidden : ndarray of shape (n_units, n_features)
        In the user's units.
    bias : ndarray of shape (n_units,)
    """
    # Units may outnumber directions, but for one.
    n_terms = n_units if moments.basis.shape[1] > 1 else 1
    v, u = jointly_diagonalised(moments.second, n_terms, moments.basis, rng)
    terms = np.einsum("jo,jk->jok", u, v).reshape(len(v), -1)
    ratios = np.linalg.lstsq(terms.T, moments.first.ravel(), rcond=1e-6)[0]
    hidden = (np.where(ratios < 0, -1.0, 1.0)[:, None] * v) @ moments.basis.T
    bias = _bias_of_ratio(activation, np.abs(ratios))
    extra, _ = random_units(whitening.size, n_units - len(hidden), 0, rng)
    hidden, bias = np.vstack([hidden, extra]), np.append(bias, np.zeros(len(extra)))
    columns = whitening.to_columns(hidden)
    return columns, bias - columns @ whitening.center if fit_intercept else np.zeros(n_units)


def _bias_of_ratio(activation, ratios):
    """Return the biases of units of length one with given ratios of their first two Hermite coefficients.

    The ratio increases with the bias for a homogeneous activation that is zero for z <= 0; others get no bias.
    """
    if activation.homogeneity is None:
        return np.zeros(len(ratios))
    biases = np.linspace(-BIASES, BIASES, 101)
    c = activation.hermite_coefficients(2, scale=np.ones(len(biases)), bias=biases)
    return np.interp(ratios, c[1] / c[2], biases)
