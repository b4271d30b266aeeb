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
from numbers import Integral

import numpy as np
from scipy import special

from skrelu.activations import coefficients, functions
from skrelu.activations.functions import LEAKY_SLOPE

__all__ = [
    "Activation",
    "erf",
    "gelu",
    "get_activation",
    "leaky_relu",
    "relu",
    "sigmoid",
    "softplus",
    "squared_relu",
    "swish",
    "tanh",
]


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
        The p with ``f(a z) = a^p f(z)`` for all a > 0, so that the scale of a unit moves freely to its output weight.
        None where there is no such p.
    odd_slope : float, default=None
        The q with ``f(z) - f(-z) = 2 q z`` for all z: but for a linear function, f is even. None where there is no
        such q.
    even_constant : float, default=None
        The q with ``f(z) + f(-z) = 2 q`` for all z: but for a constant, f is odd. None where there is no such q.
    kink : float, default=0.0
        Jump of f' at 0.
    closed_form : callable, default=None
        ``(order, scale, bias) -> coefficients``, as `hermite_coefficients` returns them, for float64 arrays scale and
        bias of one shape. None: by quadrature.
    together : callable, default=None
        ``z -> (f(z), f'(z))``, new arrays, where both at once cost less than apart. None: one after the other.

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
    together: Callable | None = field(default=None, repr=False)

    def value_and_derivative(self, z):
        """Return f(z) and f'(z).

        Parameters
        ----------
        z : ndarray
            Inputs of units, of any shape.

        Returns
        -------
        value : ndarray
            The values f(z), of the shape of z.
        derivative : ndarray
            The derivatives f'(z), of the shape of z.
        """
        return (self.value(z), self.derivative(z)) if self.together is None else self.together(z)

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
        >>> relu.hermite_coefficients(2).round(4)  # phi(0), 1/2, phi(0)
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
        return coefficients.coefficients_of(self, order, scale, bias)


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


relu = Activation(
    functions.relu,
    functions.step,
    "relu",
    together=functions.relu_and_slope,
    homogeneity=1,
    odd_slope=0.5,
    kink=1.0,
    closed_form=coefficients.relu_coefficients,
)
leaky_relu = Activation(
    functions.leaky_relu,
    functions.leaky_relu_derivative,
    "leaky_relu",
    homogeneity=1,
    odd_slope=(1 + LEAKY_SLOPE) / 2,
    kink=1 - LEAKY_SLOPE,
    closed_form=coefficients.leaky_relu_coefficients,
)
squared_relu = Activation(
    functions.squared_relu,
    functions.squared_relu_derivative,
    "squared_relu",
    together=functions.squared_relu_and_slope,
    second_derivative=functions.squared_relu_second,
    homogeneity=2,
    closed_form=coefficients.squared_relu_coefficients,
)
softplus = Activation(
    functions.softplus,
    special.expit,
    "softplus",
    together=functions.softplus_and_slope,
    second_derivative=functions.sigmoid_derivative,
    odd_slope=0.5,
)
tanh = Activation(
    np.tanh, functions.tanh_derivative, "tanh", second_derivative=functions.tanh_second, even_constant=0.0
)
sigmoid = Activation(
    special.expit,
    functions.sigmoid_derivative,
    "sigmoid",
    together=functions.sigmoid_and_slope,
    second_derivative=functions.sigmoid_second,
    even_constant=0.5,
)
erf = Activation(
    special.erf,
    functions.erf_derivative,
    "erf",
    second_derivative=functions.erf_second,
    even_constant=0.0,
    closed_form=coefficients.erf_coefficients,
)
gelu = Activation(
    functions.gelu,
    functions.gelu_derivative,
    "gelu",
    together=functions.gelu_and_slope,
    second_derivative=functions.gelu_second,
    odd_slope=0.5,
    closed_form=coefficients.gelu_coefficients,
)
swish = Activation(
    functions.swish,
    functions.swish_derivative,
    "swish",
    together=functions.swish_and_slope,
    second_derivative=functions.swish_second,
    odd_slope=0.5,
)

_BY_NAME = {
    activation.name: activation
    for activation in (relu, leaky_relu, squared_relu, softplus, tanh, sigmoid, erf, gelu, swish)
}
