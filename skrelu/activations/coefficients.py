"""Coefficients of Hermite expansions, by closed forms or quadrature.

Stein: ``c_m[f] = scale c_{m-1}[f']`` for m >= 1.
"""

from functools import lru_cache
from math import pi

import numpy as np
from scipy import special

from skrelu.activations.functions import LEAKY_SLOPE


def coefficients_of(activation, order, scale, bias):
    """Return the Hermite coefficients for float64 arrays of one shape, not checked."""
    if activation.closed_form is not None:
        return activation.closed_form(order, scale, bias)
    nodes, weights = _trapezoidal_rule(order)
    values = activation.value(scale[..., None] * nodes + bias[..., None])
    return np.moveaxis(values @ weights.T, -1, 0)


def _weighted_hermite(order, x):
    """Return ``He_m(x) phi(x)``, m = 0, ..., order; the weight comes first, so that nothing overflows."""
    terms = np.empty((order + 1, *np.shape(x)))
    terms[0] = np.exp(-0.5 * (x * x)) / (2 * pi) ** 0.5
    if order > 0:
        terms[1] = x * terms[0]
    for m in range(1, order):
        terms[m + 1] = x * terms[m] - m * terms[m - 1]
    return terms


@lru_cache(maxsize=16)
def _trapezoidal_rule(order):
    """Return the nodes, and their weights (order + 1, n_nodes) in c_0, ..., c_order."""
    half_width = np.ceil(10 + 2 * order**0.5)
    nodes = np.linspace(-half_width, half_width, int(128 * half_width) + 1)
    return nodes, _weighted_hermite(order, nodes) / 64


def _step_coefficients(order, scale, bias):
    """Of 1{z > 0}: the integral of He_m phi over (a, inf) is He_{m-1}(a) phi(a), and Phi(-a) for m = 0."""
    with np.errstate(all="ignore"):
        # Beyond 39 standard deviations both Phi and phi are 0; 0 / 0 is the kink itself, a = 0.
        a = np.minimum(np.fmax(bias / -scale, -40), 40)
    a = np.where(bias == 0, 0.0, a)
    coefficients = np.empty((order + 1, *a.shape))
    coefficients[0] = special.ndtr(-a)
    if order > 0:
        coefficients[1:] = _weighted_hermite(order - 1, a)
    return coefficients


def _product_coefficients(lower, degree, scale, bias):
    """Of f = z h with f' = degree h, from those of h up to one order higher: the mean directly, the rest by Stein."""
    coefficients = np.empty((len(lower) - 1, *lower.shape[1:]))
    coefficients[0] = bias * lower[0] + scale * lower[1]
    np.multiply(scale if degree == 1 else degree * scale, lower[:-2], out=coefficients[1:])
    return coefficients


def relu_coefficients(order, scale, bias):
    """Of max(0, z)."""
    return _product_coefficients(_step_coefficients(order + 1, scale, bias), 1, scale, bias)


def leaky_relu_coefficients(order, scale, bias):
    """Of max(0.01 z, z)."""
    coefficients = (1 - LEAKY_SLOPE) * relu_coefficients(order, scale, bias)
    for m, linear in enumerate([bias, scale][: order + 1]):
        coefficients[m] += LEAKY_SLOPE * linear
    return coefficients


def squared_relu_coefficients(order, scale, bias):
    """Of max(0, z)^2."""
    return _product_coefficients(relu_coefficients(order + 1, scale, bias), 2, scale, bias)


def _normal_cdf_coefficients(order, scale, bias):
    """Of Phi(z) = P(z + h > 0), h ~ N(0, 1).

    With scale g + h = tau u, u ~ N(0, 1), it is the step of tau u + bias, and E[He_m(g) | u] = (scale / tau)^m He_m(u).
    """
    tau = np.hypot(1.0, scale)
    powers = np.cumprod([np.ones_like(scale)] + [scale / tau] * order, axis=0)
    return powers * _step_coefficients(order, tau, bias)


def erf_coefficients(order, scale, bias):
    """Of 2 Phi(sqrt(2) z) - 1."""
    coefficients = 2 * _normal_cdf_coefficients(order, 2**0.5 * scale, 2**0.5 * bias)
    coefficients[0] = special.erf(bias / np.hypot(1.0, 2**0.5 * scale))
    return coefficients


def gelu_coefficients(order, scale, bias):
    """Of z Phi(z), by ``g He_m = He_{m+1} + m He_{m-1}``."""
    cdf = _normal_cdf_coefficients(order + 1, scale, bias)
    coefficients = bias * cdf[:-1] + scale * cdf[1:]
    for m in range(1, order + 1):
        coefficients[m] += scale * m * cdf[m - 1]
    return coefficients
