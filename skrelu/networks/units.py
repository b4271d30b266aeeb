"""Hidden units at their inputs: even ones where the network is relaxed, smoothed ones where solvers ask for it."""

import numpy as np
from scipy import special

from skrelu import activations


def unit_values(activation, Z, *, relaxed=False, smoothing=0.0):
    """Return value and derivative of the activation at Z.

    Parameters
    ----------
    activation : Activation
    Z : ndarray
    relaxed : bool, default=False
        Whether its linear part ``q z`` is left out, so that it is even.
    smoothing : float, default=0.0
        Width over which its kink is smoothed: the kink ``h |z|`` becomes a parabola there.
    """
    together = _TOGETHER.get((activation.value, activation.derivative))
    value, derivative = (activation.value(Z), activation.derivative(Z)) if together is None else together(Z)
    if relaxed:
        value, derivative = value - activation.odd_slope * Z, derivative - activation.odd_slope
    if smoothing and activation.kink:
        ramp = np.maximum(1 - np.abs(Z) * (2 / smoothing), 0)
        value += activation.kink * smoothing / 8 * ramp**2
        derivative -= activation.kink / 2 * ramp * np.sign(Z)
    return value, derivative


def _relu(Z):
    slope = (Z >= 0).astype(Z.dtype)
    # A device would have to be waited for to know.
    if not (isinstance(Z, np.ndarray) and np.all(Z)):
        slope -= 0.5 * (Z == 0).astype(Z.dtype)
    return np.maximum(Z, 0), slope


def _squared_relu(Z):
    slope = np.maximum(Z, 0)
    with np.errstate(over="ignore"):
        value = slope * slope
    slope *= 2
    return value, slope


def _sigmoid(Z):
    """Return ``u = exp(-|z|)``, ``1 / (1 + u)`` and the sigmoid, which is ``1 / (1 + u)`` for z >= 0, else u of it."""
    u = np.abs(Z)
    u *= -1
    u = np.exp(u)
    inverse = 1 / (1 + u)
    sigmoid = np.maximum(u, (Z >= 0).astype(Z.dtype))
    sigmoid *= inverse
    return u, inverse, sigmoid


def _softplus(Z):
    u, _, sigmoid = _sigmoid(Z)
    value = np.log1p(u)
    value += np.maximum(Z, 0)
    return value, sigmoid


def _logistic(Z):
    u, inverse, sigmoid = _sigmoid(Z)
    inverse *= inverse
    inverse *= u
    return sigmoid, inverse


def _swish(Z):
    u, inverse, sigmoid = _sigmoid(Z)
    # The sigmoid of -z: one minus that of z would cancel.
    derivative = np.maximum(u, (Z < 0).astype(Z.dtype))
    derivative *= inverse
    value = Z * sigmoid
    derivative *= value
    derivative += sigmoid
    return value, derivative


def _gelu(Z):
    cdf = special.ndtr(Z)
    with np.errstate(over="ignore"):
        derivative = Z * Z
    derivative *= -0.5
    derivative = np.exp(derivative)
    derivative *= Z
    derivative *= (2 * np.pi) ** -0.5
    derivative += cdf
    cdf *= Z
    return cdf, derivative


# Value and derivative of activations that cost less together than apart.
_TOGETHER = {
    (activation.value, activation.derivative): together
    for activation, together in (
        (activations.relu, _relu),
        (activations.squared_relu, _squared_relu),
        (activations.softplus, _softplus),
        (activations.sigmoid, _logistic),
        (activations.swish, _swish),
        (activations.gelu, _gelu),
    )
}


def regular_inverse(A, ridge):
    """Return the inverse of a positive semidefinite matrix, a share `ridge` of its mean diagonal added."""
    n = len(A)
    ridge = ridge * np.trace(A) / n
    return np.linalg.inv(A + (ridge if ridge > np.finfo(float).tiny else 1.0) * np.eye(n))


def pseudo_inverse(A, deviations, tol):
    """Return the pseudo-inverse of a covariance in units of the deviations; constant units have none.

    Of one that has overflowed nothing is left: NaN.
    """
    if not np.all(np.isfinite(A)):
        return np.full_like(A, np.nan)
    unit = np.where(deviations > 0, deviations, np.inf)
    values, vectors = np.linalg.eigh(A / unit[:, None] / unit)
    kept = values > tol
    return ((vectors[:, kept] / values[kept]) @ vectors[:, kept].T) / unit[:, None] / unit


def rectified(activation):
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
