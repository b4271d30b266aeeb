"""Hidden units at their inputs: even ones where the network is relaxed, smoothed ones where solvers ask for it."""

import numpy as np


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
    value, derivative = activation.value_and_derivative(Z)
    if relaxed:
        value, derivative = value - activation.odd_slope * Z, derivative - activation.odd_slope
    if smoothing and activation.kink:
        ramp = np.maximum(1 - np.abs(Z) * (2 / smoothing), 0)
        value += activation.kink * smoothing / 8 * ramp**2
        derivative -= activation.kink / 2 * ramp * np.sign(Z)
    return value, derivative


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
