import pickle
from itertools import pairwise
from math import exp, pi, sqrt

import numpy as np
import pytest
from numpy.polynomial import HermiteE
from scipy import integrate, stats

from skrelu.activations import (
    Activation,
    erf,
    gelu,
    get_activation,
    leaky_relu,
    relu,
    sigmoid,
    softplus,
    squared_relu,
    swish,
    tanh,
)

ALL = [relu, leaky_relu, squared_relu, softplus, tanh, sigmoid, erf, gelu, swish]
every_activation = pytest.mark.parametrize("activation", ALL, ids=lambda a: a.name)


def coefficient_by_quadrature(f, m, scale, bias):
    """The definition, integrated adaptively; pieces meet where the input of f is -3, 0 or 3."""
    polynomial = HermiteE.basis(m)

    def integrand(g):
        return float(f(np.float64(scale * g + bias))) * polynomial(g) * exp(-g * g / 2) / sqrt(2 * pi)

    inner = [(z - bias) / scale for z in (-3, 0, 3)] if scale > 0 else [0]
    pieces = np.unique(np.clip([-13, *inner, 13], -13, 13))
    return sum(
        integrate.quad(integrand, low, high, epsabs=1e-12, epsrel=1e-11, limit=200)[0] for low, high in pairwise(pieces)
    )


# values


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (relu, [0, 0, 3]),
        (leaky_relu, [-0.02, 0, 3]),
        (squared_relu, [0, 0, 9]),
        (softplus, [np.log1p(np.exp(-2)), np.log(2), np.log1p(np.exp(3))]),
        (tanh, [np.tanh(-2), 0, np.tanh(3)]),
        (sigmoid, [1 / (1 + np.exp(2)), 0.5, 1 / (1 + np.exp(-3))]),
        (erf, [2 * stats.norm.cdf(-(8**0.5)) - 1, 0, 2 * stats.norm.cdf(18**0.5) - 1]),
        (gelu, [-2 * stats.norm.cdf(-2), 0, 3 * stats.norm.cdf(3)]),
        (swish, [-2 / (1 + np.exp(2)), 0, 3 / (1 + np.exp(-3))]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_values_are_those_of_the_formulas(activation, expected):
    np.testing.assert_allclose(activation.value(np.array([-2.0, 0.0, 3.0])), expected, rtol=1e-13, atol=1e-16)


@every_activation
def test_derivative_is_the_limit_of_differences(activation):
    z, h = np.concatenate([np.linspace(-6, -0.01, 50), np.linspace(0.01, 6, 50)]), 1e-5
    differences = (activation.value(z + h) - activation.value(z - h)) / (2 * h)
    # Truncation h^2 |f'''| / 6, rounding eps |f| / h.
    np.testing.assert_allclose(activation.derivative(z), differences, atol=1e-9)


@pytest.mark.parametrize(("activation", "mean"), [(relu, 0.5), (leaky_relu, 0.505), (squared_relu, 0.0)])
def test_derivative_at_a_kink_is_the_mean_of_both_sides(activation, mean):
    assert activation.derivative(np.zeros(1)) == activation.derivative(-np.zeros(1)) == mean


@every_activation
def test_shape_and_dtype_are_kept(activation):
    for f in (activation.value, activation.derivative):
        for dtype in (np.float32, np.float64):
            z = np.linspace(-3, 3, 12, dtype=dtype).reshape(3, 4)
            assert f(z).dtype == f(z[0, 0]).dtype == dtype
            assert f(z).shape == (3, 4)


@every_activation
@pytest.mark.parametrize(("dtype", "largest"), [(np.float64, 1e300), (np.float32, 1e38)])
def test_extreme_inputs(activation, dtype, largest):
    z = np.array([-largest, -800, 800, largest], dtype=dtype)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        value, derivative = activation.value(z), activation.derivative(z)
    assert np.isfinite(derivative).all()
    assert np.isfinite(value[:3]).all()
    assert np.isfinite(value[3]) != (activation is squared_relu)
    bounded = activation in (tanh, sigmoid, erf)
    expected = 0 if bounded else 1 if activation is not squared_relu else 2 * z[2:]
    np.testing.assert_array_equal(derivative[2:], np.broadcast_to(expected, 2))


def test_tails_do_not_cancel():
    np.testing.assert_allclose(tanh.derivative(np.array([-30.0, 30.0])), 4 * np.exp(-60), rtol=1e-14)
    np.testing.assert_allclose(sigmoid.derivative(np.array([-60.0, 60.0])), np.exp(-60), rtol=1e-14)
    np.testing.assert_allclose(softplus.value(np.array([-60.0])), np.exp(-60), rtol=1e-14)


@every_activation
def test_homogeneity_is_that_of_the_flag(activation):
    z, f = np.linspace(-3, 3, 13), activation.value
    degrees = [p for p in range(4) if np.allclose(f(2.5 * z), 2.5**p * f(z), rtol=1e-14)]
    assert ([] if activation.homogeneity is None else [activation.homogeneity]) == degrees


@every_activation
def test_parity_is_that_of_the_flags(activation):
    """f(z) - f(-z) = 2 q z and f(z) + f(-z) = 2 q."""
    z, f = np.linspace(0.1, 3, 13), activation.value
    odd, even = (f(z) - f(-z)) / (2 * z), (f(z) + f(-z)) / 2
    for found, flag in ((odd, activation.odd_slope), (even, activation.even_constant)):
        assert (flag is not None) == (np.ptp(found) < 1e-14)
        if flag is not None:
            np.testing.assert_allclose(found, flag, rtol=1e-14, atol=1e-16)


@every_activation
def test_second_derivative_is_that_of_the_derivative(activation):
    """Away from kinks; Richardson is right to order h^4."""
    z, h, f = np.array([-40.0, -3.1, -0.4, 0.7, 2.2, 40.0]), 1e-3, activation.derivative
    numeric = (4 * (f(z + h / 2) - f(z - h / 2)) - (f(z + h) - f(z - h)) / 2) / (3 * h)
    second = activation.second_derivative or np.zeros_like
    np.testing.assert_allclose(second(z), numeric, atol=1e-11)
    assert np.all(np.isfinite(second(np.array([-1e300, 1e300]))))
    assert second(z.astype(np.float32)).dtype == np.float32


@every_activation
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_value_and_derivative_are_those_apart(activation, dtype):
    z = np.append(np.linspace(-30, 30, 1001), [0.0, -0.0, 1e-30, -1e-30]).astype(dtype)
    value, derivative = activation.value_and_derivative(z)
    eps = np.finfo(dtype).eps
    assert value.dtype == derivative.dtype == dtype
    # Near its zeros a derivative is a difference of terms of order one.
    for together, apart, atol in ((value, activation.value, 0.0), (derivative, activation.derivative, eps)):
        np.testing.assert_allclose(together, apart(z), rtol=8 * eps, atol=atol)


def test_a_custom_pair_of_value_and_derivative_is_used():
    cubic = Activation(lambda z: z**3, lambda z: 3 * z**2, together=lambda z: (z + 1, z + 2))
    assert cubic.value_and_derivative(1.0) == (2.0, 3.0)
    assert Activation(cubic.value, cubic.derivative).value_and_derivative(2.0) == (8.0, 12.0)


# coefficients


@every_activation
@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("bias", [0.0, -1.3, 4.0])
def test_coefficients_are_the_integrals(activation, scale, bias):
    expected = [coefficient_by_quadrature(activation.value, m, scale, bias) for m in range(6)]
    coefficients = activation.hermite_coefficients(5, scale=scale, bias=bias)
    np.testing.assert_allclose(coefficients, expected, rtol=1e-10, atol=1e-10)


def test_relu_coefficients_have_the_form_of_the_paper():
    scale, bias = 1.7, -0.6
    b = bias / scale
    expected = [b * stats.norm.cdf(b) + stats.norm.pdf(b), stats.norm.cdf(b)]
    expected += [(-1) ** m * HermiteE.basis(m - 2)(b) * stats.norm.pdf(b) for m in range(2, 8)]
    coefficients = relu.hermite_coefficients(7, scale=scale, bias=bias)
    np.testing.assert_allclose(coefficients, scale * np.array(expected), rtol=1e-13)


@pytest.mark.parametrize("activation", [softplus, tanh, sigmoid, erf, gelu, swish], ids=lambda a: a.name)
def test_coefficients_obey_steins_identity(activation):
    # c_m[f] = scale c_{m-1}[f'].
    derivative = Activation(activation.derivative, activation.derivative)
    at = {"scale": np.array([0.0, 0.4, 2.0]), "bias": 0.7}
    left, right = activation.hermite_coefficients(6, **at)[1:], derivative.hermite_coefficients(5, **at)
    np.testing.assert_allclose(left, at["scale"] * right, atol=1e-12)


@pytest.mark.parametrize("activation", [tanh, softplus, sigmoid, swish], ids=lambda a: a.name)
def test_quadrature_reaches_the_scales_it_documents(activation):
    scale = 20.0 if activation is tanh else 40.0
    expected = [coefficient_by_quadrature(activation.value, m, scale, 3.0) for m in range(4)]
    np.testing.assert_allclose(activation.hermite_coefficients(3, scale=scale, bias=3.0), expected, atol=1e-10 * scale)


@pytest.mark.parametrize("activation", [erf, gelu], ids=lambda a: a.name)
def test_closed_forms_agree_with_the_quadrature_for_high_orders(activation):
    by_quadrature = Activation(activation.value, activation.derivative)
    size = np.cumprod([1.0, *range(1, 21)]) ** 0.5
    for scale in (0.5, 3.0):
        difference = activation.hermite_coefficients(20, scale=scale, bias=0.4) - by_quadrature.hermite_coefficients(
            20, scale=scale, bias=0.4
        )
        assert np.max(np.abs(difference) / size) < 1e-13


@every_activation
def test_coefficients_have_the_shape_of_scale_and_bias(activation):
    scale, bias = np.array([0.5, 1.0, 0.0]), np.array([[0.0], [-2.0]])
    for order in range(4):
        coefficients = activation.hermite_coefficients(order, scale=scale, bias=bias)
        assert coefficients.shape == (order + 1, 2, 3)
        assert activation.hermite_coefficients(order).shape == (order + 1,)
        one = activation.hermite_coefficients(order, scale=1.0, bias=-2.0)
        np.testing.assert_allclose(coefficients[:, 1, 1], one, atol=1e-15)


@every_activation
@pytest.mark.parametrize("bias", [0.0, 2.0, -2.0])
def test_scale_zero_is_a_constant(activation, bias):
    expected = [activation.value(np.float64(bias)), 0, 0, 0]
    np.testing.assert_allclose(activation.hermite_coefficients(3, scale=0, bias=bias), expected, atol=1e-14)
    np.testing.assert_allclose(activation.hermite_coefficients(3, scale=1e-310, bias=bias), expected, atol=1e-14)


@pytest.mark.parametrize("activation", [relu, leaky_relu, tanh, gelu], ids=lambda a: a.name)
def test_coefficients_of_a_float32_scale_are_float64(activation):
    coefficients = activation.hermite_coefficients(2, scale=np.float32(0.5), bias=np.zeros(2, np.float32))
    assert coefficients.dtype == np.float64


def test_a_custom_closed_form_is_used():
    cubic = Activation(lambda z: z**3, lambda z: 3 * z**2, closed_form=lambda order, scale, bias: (order, scale, bias))
    order, scale, bias = cubic.hermite_coefficients(np.int64(3), scale=[1, 2], bias=1)
    assert type(order) is int
    np.testing.assert_array_equal(scale, [1.0, 2.0])
    np.testing.assert_array_equal(bias, [1.0, 1.0])


def test_polynomials_are_expanded_exactly():
    # z^3 = He_3 + 3 He_1, and c_m carries m!.
    cubic = Activation(lambda z: z**3, lambda z: 3 * z**2)
    np.testing.assert_allclose(cubic.hermite_coefficients(5), [0, 3, 0, 6, 0, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("order", "parameters", "message"),
    [
        (-1, {}, "order must be an integer >= 0, got -1"),
        (2.0, {}, "order must be an integer >= 0, got 2.0"),
        (True, {}, "order must be an integer >= 0, got True"),
        (2, {"scale": [1.0, -0.5]}, "scale must be >= 0, got -0.5"),
        (2, {"scale": np.inf}, "scale must be a finite number or an array of them, got inf"),
        (2, {"bias": "large"}, "bias must be a finite number or an array of them, got 'large'"),
        (2, {"bias": [0.0, np.nan]}, r"bias must be a finite number or an array of them, got \[0.0, nan\]"),
    ],
)
@pytest.mark.parametrize("activation", [relu, tanh], ids=lambda a: a.name)
def test_coefficients_refuse(activation, order, parameters, message):
    with pytest.raises(ValueError, match=message):
        activation.hermite_coefficients(order, **parameters)


# objects


@every_activation
def test_names_and_pickles(activation):
    assert get_activation(activation.name) is get_activation(activation) is activation
    copy = pickle.loads(pickle.dumps(activation))
    assert copy == activation
    assert hash(copy) == hash(activation)
    assert repr(activation).startswith(f"Activation(name={activation.name!r}")


def test_custom_objects_pass_through():
    sine = Activation(np.sin, np.cos)
    assert get_activation(sine) is sine
    assert sine.name == "custom"
    assert pickle.loads(pickle.dumps(sine)) == sine


@pytest.mark.parametrize("activation", ["linear", None, np.tanh, ["relu"]])
def test_unknown_names_are_refused_with_the_accepted_ones(activation):
    with pytest.raises(ValueError, match=r"Activation or one of \['erf', 'gelu', .*, 'tanh'\], got ") as error:
        get_activation(activation)
    assert repr(activation) in str(error.value)
    for known in ALL:
        assert repr(known.name) in str(error.value)
