"""Activations of hidden units: value, derivative, and coefficients of Hermite expansions.

With Phi and phi the distribution function and the density of N(0, 1):

================  ===========================  ================================
name              f(z)                         f'(z)
================  ===========================  ================================
``relu``          max(0, z)                    1 for z > 0, 0 for z < 0, 1/2 at 0
``leaky_relu``    max(0.01 z, z)               1 for z > 0, 0.01 for z < 0, 0.505 at 0
``squared_relu``  max(0, z)^2                  2 max(0, z)
``softplus``      log(1 + exp(z))              sigmoid(z)
``tanh``          tanh(z)                      1 / cosh(z)^2
``sigmoid``       1 / (1 + exp(-z))            sigmoid(z) sigmoid(-z)
``erf``           2 Phi(sqrt(2) z) - 1         2 exp(-z^2) / sqrt(pi)
``gelu``          z Phi(z)                     Phi(z) + z phi(z)
``swish``         z sigmoid(z)                 sigmoid(z) (1 + z sigmoid(-z))
================  ===========================  ================================

No z up to 1e300 in magnitude overflows, but for the square of ``squared_relu``, which is infinite where it is not
representable. float32 stays float32.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from math import pi
from numbers import Integral

import numpy as np
from scipy import special

LEAKY_SLOPE = 0.01


@dataclass(frozen=True)
class Activation:
    """A function f of one variable, applied to the input z of each hidden unit.

    An activation pickles if its functions do: build it of functions that a module defines, not of lambdas.

    Parameters
    ----------
    value : callable
        ``z -> f(z)``, from an array of any shape to one of the same shape.
    derivative : callable
        ``z -> f'(z)``, likewise; at a kink the mean of both sides.
    name : str, default="custom"
        What messages call it.
    second_derivative : callable, default=None
        ``z -> f''(z)``, likewise, away from kinks. None: zero, and Newton steps are Gauss-Newton steps.
    homogeneity : int, default=None
        p where ``f(a z) = a^p f(z)`` for all a > 0, so that the scale of a unit moves freely to its output weight. None
        where there is no such p.
    odd_slope : float, default=None
        q where ``f(z) - f(-z) = 2 q z`` for all z: but for a linear function, f is even. None where there is no such q.
    even_constant : float, default=None
        q where ``f(z) + f(-z) = 2 q`` for all z: but for a constant, f is odd. None where there is no such q.
    kink : float, default=0.0
        Jump of f' at 0.
    closed_form : callable, default=None
        ``(order, scale, bias) -> coefficients``, as `hermite_coefficients` returns them, for float64 arrays scale and
        bias of one shape. None: by quadrature.

    Examples
    --------
    >>> import numpy as np
    >>> from skrelu.activations import Activation
    >>> sine = Activation(np.sin, np.cos, "sine")
    >>> sine.value(np.array([0.0, np.pi / 2]))
    array([0., 1.])
    >>> sine.hermite_coefficients(3).round(4) + 0.0  # 0, exp(-1/2), 0, -exp(-1/2)
    array([ 0.    ,  0.6065,  0.    , -0.6065])
    """

    value: Callable = field(repr=False)
    derivative: Callable = field(repr=False)
    name: str = "custom"
    _: KW_ONLY
    second_derivative: Callable | None = field(default=None, repr=False)
    homogeneity: int | None = None
    odd_slope: float | None = None
    even_constant: float | None = None
    kink: float = 0.0
    closed_form: Callable | None = field(default=None, repr=False)

    def hermite_coefficients(self, order, *, scale=1.0, bias=0.0):
        """Return the Hermite coefficients of ``g -> f(scale g + bias)``.

        They are, for g ~ N(0, 1) and the probabilists' polynomials ``He_0 = 1, He_1 = g, He_2 = g^2 - 1, ...``::

            c_m = E[f(scale g + bias) He_m(g)],    m = 0, ..., order

        not divided by m!: the expansion is ``sum_m c_m He_m / m!``, and ``c_m = scale^m E[f^(m)(scale g + bias)]``.

        Parameters
        ----------
        order : int
            The largest m, >= 0.
        scale : float or array-like, default=1.0
            Standard deviation of the input of the unit, >= 0; for x ~ N(0, I) the norm of its weights.
        bias : float or array-like, default=0.0
            Mean of the input of the unit.

        Returns
        -------
        ndarray of shape (order + 1, ...)
            Coefficients in float64; the other axes are those to which scale and bias broadcast.

        Raises
        ------
        ValueError
            If `order` is not an integer >= 0, or `scale` or `bias` not finite numbers, or a scale negative.

        Notes
        -----
        Without closed form, the trapezoidal rule of step h = 1/64 on ``|g| <= 10 + 2 sqrt(order)``: for f analytic but
        for poles at a distance p of the real axis its error is of order ``exp(-2 pi p / (h scale))`` [1]_, below 1e-10
        for tanh up to scale 20 and for softplus, sigmoid and swish up to scale 40. Gauss-Hermite quadrature converges
        like the exponential of the square root of the number of its nodes only.

        References
        ----------
        .. [1] L. N. Trefethen and J. A. C. Weideman, "The exponentially convergent trapezoidal rule", SIAM Review 56
           (2014).

        Examples
        --------
        >>> from skrelu.activations import relu
        >>> relu.hermite_coefficients(2).round(4)  # 1 / sqrt(2 pi), 1 / 2, 1 / sqrt(2 pi)
        array([0.3989, 0.5   , 0.3989])
        >>> relu.hermite_coefficients(4, scale=[1.0, 2.0, 0.0], bias=1.0).shape
        (5, 3)
        """
        if not isinstance(order, Integral) or isinstance(order, bool) or order < 0:
            raise ValueError(f"order must be an integer >= 0, got {order!r}.")
        order = int(order)
        scale, bias = np.broadcast_arrays(_finite("scale", scale), _finite("bias", bias))
        if np.any(scale < 0):
            raise ValueError(f"scale must be >= 0, got {scale.min()}.")
        if self.closed_form is not None:
            return self.closed_form(order, scale, bias)
        nodes, weights = _trapezoidal_rule(order)
        values = self.value(scale[..., None] * nodes + bias[..., None])
        return np.moveaxis(values @ weights.T, -1, 0)


def get_activation(activation):
    """Return the activation of that name, and an `Activation` as it is.

    Parameters
    ----------
    activation : str or Activation
        One of the names that the module lists, such as "tanh", or an object.

    Returns
    -------
    Activation
        The object.

    Raises
    ------
    ValueError
        If `activation` is neither, with the accepted names.

    Examples
    --------
    >>> from skrelu.activations import get_activation, tanh
    >>> get_activation("tanh") is get_activation(tanh) is tanh
    True
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str) and activation in _BY_NAME:
        return _BY_NAME[activation]
    raise ValueError(f"activation must be an Activation or one of {sorted(_BY_NAME)}, got {activation!r}.")


def _finite(name, value):
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be a finite number or an array of them, got {value!r}.")
    return array


# Coefficients. Stein: c_m[f] = scale c_{m-1}[f'] for m >= 1.


def _weighted_hermite(order, x):
    """Return ``He_m(x) phi(x)``, m = 0, ..., order; the weight comes first, so that nothing overflows."""
    terms = [np.exp(-(x**2) / 2) / (2 * pi) ** 0.5]
    terms += [x * terms[0]]
    for m in range(1, order):
        terms.append(x * terms[m] - m * terms[m - 1])
    return np.stack(terms[: order + 1])


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
        a = np.nan_to_num(np.clip(-bias / scale, -40, 40))
    return np.concatenate([special.ndtr(-a)[None], _weighted_hermite(order, a)[:order]])


def _product_coefficients(lower, degree, scale, bias):
    """Of f = z h with f' = degree h, from those of h up to one order higher: the mean directly, the rest by Stein."""
    mean = bias * lower[0] + scale * lower[1]
    return np.concatenate([mean[None], degree * scale * lower[:-2]])


def _relu_coefficients(order, scale, bias):
    return _product_coefficients(_step_coefficients(order + 1, scale, bias), 1, scale, bias)


def _leaky_relu_coefficients(order, scale, bias):
    coefficients = (1 - LEAKY_SLOPE) * _relu_coefficients(order, scale, bias)
    for m, linear in enumerate([bias, scale][: order + 1]):
        coefficients[m] += LEAKY_SLOPE * linear
    return coefficients


def _squared_relu_coefficients(order, scale, bias):
    return _product_coefficients(_relu_coefficients(order + 1, scale, bias), 2, scale, bias)


def _normal_cdf_coefficients(order, scale, bias):
    """Of Phi(z) = P(z + h > 0), h ~ N(0, 1).

    With scale g + h = tau u, u ~ N(0, 1), it is the step of tau u + bias, and E[He_m(g) | u] = (scale / tau)^m He_m(u).
    """
    tau = np.hypot(1.0, scale)
    powers = np.cumprod([np.ones_like(scale)] + [scale / tau] * order, axis=0)
    return powers * _step_coefficients(order, tau, bias)


def _erf_coefficients(order, scale, bias):
    coefficients = 2 * _normal_cdf_coefficients(order, 2**0.5 * scale, 2**0.5 * bias)
    coefficients[0] = special.erf(bias / np.hypot(1.0, 2**0.5 * scale))
    return coefficients


def _gelu_coefficients(order, scale, bias):
    """Of z Phi(z), by ``g He_m = He_{m+1} + m He_{m-1}``."""
    cdf = _normal_cdf_coefficients(order + 1, scale, bias)
    coefficients = bias * cdf[:-1] + scale * cdf[1:]
    for m in range(1, order + 1):
        coefficients[m] += scale * m * cdf[m - 1]
    return coefficients


# Values and derivatives. Python floats keep float32 arrays float32.


def _relu(z):
    return np.maximum(z, 0.0)


def _step(z):
    return (np.sign(z) + 1.0) * 0.5


def _leaky_relu(z):
    return np.maximum(z, LEAKY_SLOPE * z)


def _leaky_relu_derivative(z):
    return LEAKY_SLOPE + (1 - LEAKY_SLOPE) * _step(z)


def _squared_relu(z):
    with np.errstate(over="ignore"):
        return _relu(z) ** 2


def _squared_relu_derivative(z):
    return 2.0 * _relu(z)


def _squared_relu_second(z):
    return 2.0 * _step(z)


def _softplus(z):
    return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))


def _tanh_derivative(z):
    # 1 - tanh^2 would cancel.
    u = np.exp(-np.abs(z))
    return (2.0 * u / (1.0 + u**2)) ** 2


def _tanh_second(z):
    return -2.0 * np.tanh(z) * _tanh_derivative(z)


def _sigmoid_derivative(z):
    return special.expit(z) * special.expit(-z)


def _sigmoid_second(z):
    return -np.tanh(z / 2) * _sigmoid_derivative(z)


def _gauss(z):
    """Return exp(-z^2); the square may be infinite."""
    with np.errstate(over="ignore"):
        return np.exp(-(z**2))


def _erf_derivative(z):
    return 2 / pi**0.5 * _gauss(z)


def _erf_second(z):
    return -2.0 * z * _erf_derivative(z)


def _gelu(z):
    return z * special.ndtr(z)


def _gelu_derivative(z):
    return special.ndtr(z) + z * _gauss(z / 2**0.5) / (2 * pi) ** 0.5


def _gelu_second(z):
    density = _gauss(z / 2**0.5) / (2 * pi) ** 0.5
    return 2.0 * density - z * (z * density)


def _swish(z):
    return z * special.expit(z)


def _swish_derivative(z):
    return special.expit(z) * (1.0 + z * special.expit(-z))


def _swish_second(z):
    return _sigmoid_derivative(z) * 2.0 - np.tanh(z / 2) * (z * _sigmoid_derivative(z))


relu = Activation(_relu, _step, "relu", homogeneity=1, odd_slope=0.5, kink=1.0, closed_form=_relu_coefficients)
leaky_relu = Activation(
    _leaky_relu,
    _leaky_relu_derivative,
    "leaky_relu",
    homogeneity=1,
    odd_slope=(1 + LEAKY_SLOPE) / 2,
    kink=1 - LEAKY_SLOPE,
    closed_form=_leaky_relu_coefficients,
)
squared_relu = Activation(
    _squared_relu,
    _squared_relu_derivative,
    "squared_relu",
    second_derivative=_squared_relu_second,
    homogeneity=2,
    closed_form=_squared_relu_coefficients,
)
softplus = Activation(_softplus, special.expit, "softplus", second_derivative=_sigmoid_derivative, odd_slope=0.5)
tanh = Activation(np.tanh, _tanh_derivative, "tanh", second_derivative=_tanh_second, even_constant=0.0)
sigmoid = Activation(
    special.expit, _sigmoid_derivative, "sigmoid", second_derivative=_sigmoid_second, even_constant=0.5
)
erf = Activation(
    special.erf, _erf_derivative, "erf", second_derivative=_erf_second, even_constant=0.0, closed_form=_erf_coefficients
)
gelu = Activation(
    _gelu, _gelu_derivative, "gelu", second_derivative=_gelu_second, odd_slope=0.5, closed_form=_gelu_coefficients
)
swish = Activation(_swish, _swish_derivative, "swish", second_derivative=_swish_second, odd_slope=0.5)

_BY_NAME = {
    activation.name: activation
    for activation in (relu, leaky_relu, squared_relu, softplus, tanh, sigmoid, erf, gelu, swish)
}
