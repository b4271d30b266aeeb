"""Activations and their derivatives, apart and together. Python floats keep float32 arrays float32."""

from math import pi

import numpy as np
from scipy import special

LEAKY_SLOPE = 0.01


def relu(z):
    """Return max(0, z)."""
    return np.maximum(z, 0.0)


def step(z):
    """Return 1 for z > 0, 0 for z < 0, 1/2 at 0."""
    return (np.sign(z) + 1.0) * 0.5


def leaky_relu(z):
    """Return max(0.01 z, z)."""
    return np.maximum(z, LEAKY_SLOPE * z)


def leaky_relu_derivative(z):
    """Return 1 for z > 0, 0.01 for z < 0, their mean at 0."""
    return LEAKY_SLOPE + (1 - LEAKY_SLOPE) * step(z)


def squared_relu(z):
    """Return max(0, z)^2."""
    with np.errstate(over="ignore"):
        return relu(z) ** 2


def squared_relu_derivative(z):
    """Return 2 max(0, z)."""
    return 2.0 * relu(z)


def squared_relu_second(z):
    """Return 2 for z > 0, 0 for z < 0, 1 at 0."""
    return 2.0 * step(z)


def softplus(z):
    """Return log(1 + exp(z))."""
    return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))


def tanh_derivative(z):
    """Return 1 / cosh(z)^2."""
    # 1 - tanh^2 would cancel.
    u = np.exp(-np.abs(z))
    return (2.0 * u / (1.0 + u**2)) ** 2


def tanh_second(z):
    """Return -2 tanh(z) / cosh(z)^2."""
    return -2.0 * np.tanh(z) * tanh_derivative(z)


def sigmoid_derivative(z):
    """Return sigmoid(z) sigmoid(-z)."""
    return special.expit(z) * special.expit(-z)


def sigmoid_second(z):
    """Return sigmoid(z) sigmoid(-z) (1 - 2 sigmoid(z))."""
    return -np.tanh(z / 2) * sigmoid_derivative(z)


def _gauss(z):
    """Return exp(-z^2); the square may be infinite."""
    with np.errstate(over="ignore"):
        return np.exp(-(z**2))


def erf_derivative(z):
    """Return 2 exp(-z^2) / sqrt(pi)."""
    return 2 / pi**0.5 * _gauss(z)


def erf_second(z):
    """Return -4 z exp(-z^2) / sqrt(pi)."""
    return -2.0 * z * erf_derivative(z)


def gelu(z):
    """Return z Phi(z)."""
    return z * special.ndtr(z)


def gelu_derivative(z):
    """Return Phi(z) + z phi(z)."""
    return special.ndtr(z) + z * _gauss(z / 2**0.5) / (2 * pi) ** 0.5


def gelu_second(z):
    """Return (2 - z^2) phi(z)."""
    density = _gauss(z / 2**0.5) / (2 * pi) ** 0.5
    return 2.0 * density - z * (z * density)


def swish(z):
    """Return z sigmoid(z)."""
    return z * special.expit(z)


def swish_derivative(z):
    """Return sigmoid(z) (1 + z sigmoid(-z))."""
    return special.expit(z) * (1.0 + z * special.expit(-z))


def swish_second(z):
    """Return its second derivative, ``s' (2 - z tanh(z / 2))``, s the sigmoid."""
    return sigmoid_derivative(z) * 2.0 - np.tanh(z / 2) * (z * sigmoid_derivative(z))


# Value and derivative of activations that cost less together than apart, as new arrays.


def relu_and_slope(Z):
    """Return max(0, z) and its derivative."""
    slope = (Z >= 0).astype(Z.dtype)
    # A device would have to be waited for to know.
    if not (isinstance(Z, np.ndarray) and np.all(Z)):
        slope -= 0.5 * (Z == 0).astype(Z.dtype)
    return np.maximum(Z, 0), slope


def squared_relu_and_slope(Z):
    """Return max(0, z)^2 and its derivative."""
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


def softplus_and_slope(Z):
    """Return log(1 + exp(z)) and its derivative."""
    u, _, sigmoid = _sigmoid(Z)
    value = np.log1p(u)
    value += np.maximum(Z, 0)
    return value, sigmoid


def sigmoid_and_slope(Z):
    """Return the sigmoid and its derivative."""
    u, inverse, sigmoid = _sigmoid(Z)
    inverse *= inverse
    inverse *= u
    return sigmoid, inverse


def swish_and_slope(Z):
    """Return z sigmoid(z) and its derivative."""
    u, inverse, sigmoid = _sigmoid(Z)
    # The sigmoid of -z: one minus that of z would cancel.
    derivative = np.maximum(u, (Z < 0).astype(Z.dtype))
    derivative *= inverse
    value = Z * sigmoid
    derivative *= value
    derivative += sigmoid
    return value, derivative


def gelu_and_slope(Z):
    """Return z Phi(z) and its derivative."""
    cdf = special.ndtr(Z)
    with np.errstate(over="ignore"):
        derivative = Z * Z
    derivative *= -0.5
    derivative = np.exp(derivative)
    derivative *= Z
    derivative *= (2 * pi) ** -0.5
    derivative += cdf
    cdf *= Z
    return cdf, derivative
