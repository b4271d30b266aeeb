"""Starts: the weights before any descent, in the user's units."""

import numpy as np
from sklearn.utils import check_array

from skrelu.networks.one_hidden_layer import Weights
from skrelu.tensors import fit_moments

SMALLEST_OUTPUT = 1e-3  # of the largest, of the least squares output weights of a user's units


def tensor_start(rows, whitening, moments, activation, n_units, rng, *, n_negative=None, fit_intercept=True):
    """Return the units whose Hermite moments are those of the data (`fit_moments`).

    At most as many as the moments have directions; the others are random in the whitened metric, of a tenth of the
    size.

    Parameters
    ----------
    rows : Rows
    whitening : Whitening
        Centered.
    moments : HermiteMoments
    activation : Activation
    n_units : int
    rng : RandomState
    n_negative : int, optional
        Number of negative outputs; None: as the second moment tells.
    fit_intercept : bool
        Without, the hidden biases in whitened coordinates are ``<w_j, mean of x>``, and the output bias is zero.
    """
    t, k = rows.target_scale(), moments.basis.shape[1]
    bias = None if fit_intercept else moments.basis.T @ whitening.pull_back(whitening.center[None])[0]
    n_fitted = min(n_units, k)
    W, b, v = fit_moments(moments, activation, n_fitted, rng, n_negative=n_negative, bias=bias)
    hidden = W @ moments.basis.T
    if n_units > n_fitted:
        size = np.linalg.norm(hidden, axis=1).mean() / 10
        extra, signs = random_units(whitening.size, n_units - n_fitted, (n_units - n_fitted) // 2, rng)
        hidden, b = np.vstack([hidden, size * extra]), np.append(b, np.zeros(len(extra)))
        v = np.append(v, np.ones(len(extra)) if n_negative == 0 else signs)
    c = moments.mean - v @ activation.hermite_coefficients(0, scale=np.linalg.norm(hidden, axis=1), bias=b)[0]
    columns = whitening.to_columns(hidden)
    if not fit_intercept:
        return Weights(t * columns, np.zeros(n_units), v, 0.0)
    return Weights(t * columns, t * (b - columns @ whitening.center), v, t * float(c))


def random_start(rows, whitening, n_units, n_negative, rng, *, fit_intercept=True):
    """Return units with isotropic directions in the whitened metric, `n_negative` of them with output -1.

    Their size is that of k equal units of independent directions with the variance of y: ``t sqrt(3 / k)``.
    """
    hidden, v = random_units(whitening.size, n_units, n_negative, rng)
    size = rows.target_scale() * (3 / n_units) ** 0.5
    columns = whitening.to_columns(size * hidden)
    b = -columns @ whitening.center if fit_intercept else np.zeros(n_units)
    return Weights(columns, b, v, 0.0)


def random_units(size, n_units, n_negative, rng):
    """Return unit vectors, uniform on the sphere, and signs."""
    hidden = rng.standard_normal((n_units, size))
    hidden /= np.linalg.norm(hidden, axis=1, keepdims=True)
    return hidden, np.where(np.arange(n_units) < n_negative, -1.0, 1.0)


def given_start(rows, init, activation, *, n_hidden=None, signed=True, fit_intercept=True):
    """Return the user's units with biases 0; signed output weights and the output bias by least squares.

    Of a positively homogeneous activation the magnitude of the output weight moves to the unit, and it is +-1.

    Raises
    ------
    ValueError
        If `init` is not a finite matrix of shape (n_hidden, n_features); `n_hidden` None stands for any.
    """
    hidden = check_array(init, dtype=np.float64, input_name="init", copy=True)
    k = len(hidden)
    expected = (n_hidden or k, rows.n_features)
    if hidden.shape != expected:
        raise ValueError(f"init must have shape (n_hidden, n_features) = {expected}, got {hidden.shape}.")
    v, c = np.ones(k), 0.0
    if signed:
        t = rows.target_scale()

        def normal_equations(X, y, s):
            values = activation.value(np.asarray(X @ hidden.T.astype(X.dtype)))
            A = np.column_stack([values, np.ones(len(values))]) if fit_intercept else values
            g = s[:, None] * A
            return (g.T @ A).astype(np.float64), (g.T @ (y / y.dtype.type(t))).astype(np.float64)

        gram, cross = rows.sum(normal_equations)
        solution = t * np.linalg.lstsq(gram, cross, rcond=1e-12)[0]
        v, c = solution[:k], float(solution[k]) if fit_intercept else 0.0
        floor = SMALLEST_OUTPUT * np.abs(v).max() if np.any(v) else 1.0
        v = np.where(v < 0, -1.0, 1.0) * np.maximum(np.abs(v), floor)
        if activation.positively_homogeneous:
            hidden, v = np.abs(v)[:, None] * hidden, np.sign(v)
    return Weights(hidden, np.zeros(k), v, c)
