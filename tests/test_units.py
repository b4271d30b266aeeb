"""What passes are made of: units and their slopes together, inputs of units in either order of the product."""

import numpy as np
import pytest
from scipy import sparse

from skrelu import activations
from skrelu.activations import Activation
from skrelu.networks.piecewise_linear import WIDE, products
from skrelu.networks.units import unit_values

SMOOTH = ["softplus", "sigmoid", "swish", "gelu", "tanh", "erf"]


def inputs(dtype):
    """Return inputs of both signs and all sizes, zero among them."""
    largest = np.floor(np.log10(float(np.finfo(dtype).max)))
    z = np.concatenate([[0.0], np.linspace(1e-3, 40, 4001), 10.0 ** np.linspace(-largest, largest, 401)])
    return np.concatenate([z, -z]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", SMOOTH)
def test_value_and_slope_together_are_those_apart(name, dtype):
    """To rounding, relative, but for a slope that is a difference."""
    activation, z = getattr(activations, name), inputs(dtype)
    kept = z.copy()
    value, slope = unit_values(activation, z)
    np.testing.assert_array_equal(z, kept)
    assert value.dtype == slope.dtype == dtype
    if name in ("tanh", "erf"):
        np.testing.assert_array_equal(value, activation.value(z))
        np.testing.assert_array_equal(slope, activation.derivative(z))
        return
    eps, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    wide = z.astype(np.float64)
    np.testing.assert_allclose(value, activation.value(wide), rtol=4 * eps, atol=tiny)
    differs = name in ("swish", "gelu")
    np.testing.assert_allclose(slope, activation.derivative(wide), rtol=4 * eps, atol=4 * eps if differs else tiny)


@pytest.mark.parametrize("name", SMOOTH)
def test_value_and_slope_do_not_share_memory(name):
    """Blocks go on with both of them in place."""
    z = inputs(np.float64)
    value, slope = unit_values(getattr(activations, name), z)
    assert not np.shares_memory(value, slope)
    assert not np.shares_memory(value, z)


def test_another_slope_is_not_taken_for_that_of_a_name():
    """What is computed together belongs to a value and a derivative, not to one of the two."""
    twice = Activation(activations.softplus.value, lambda z: 2 * activations.softplus.derivative(z), "twice")
    z = np.linspace(-3, 3, 101)
    value, slope = unit_values(twice, z)
    np.testing.assert_allclose(value, activations.softplus.value(z), rtol=1e-15)
    np.testing.assert_allclose(slope, 2 * activations.softplus.derivative(z), rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_columns", [3 * WIDE - 1, 3 * WIDE, 300])
@pytest.mark.parametrize("storage", [np.ascontiguousarray, np.asfortranarray, sparse.csr_array, sparse.csc_matrix])
def test_inputs_of_units_have_a_row_each_in_one_piece(storage, n_columns, dtype):
    rng = np.random.default_rng(0)
    X, W = rng.standard_normal((50, n_columns)), rng.standard_normal((3, n_columns))
    found = products(storage(X.astype(dtype)), W.astype(dtype))
    assert found.flags.c_contiguous
    assert found.dtype == dtype
    np.testing.assert_allclose(found, W @ X.T, atol=30 * n_columns**0.5 * np.finfo(dtype).eps)
