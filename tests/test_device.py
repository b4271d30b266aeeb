"""Passes on a device: NumPy's functions on arrays of other namespaces, against NumPy; no GPU is needed.

array-api-strict forbids what the standard does not have, and NumPy's reach into arrays of its second device. Torch,
where it is installed, is on the CPU.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import array_api_strict
import numpy as np
import pytest
from sklearn.externals.array_api_compat import get_namespace

from skrelu import activations
from skrelu.networks import OneHiddenLayer, SingleReLU
from skrelu.networks.quadratic import QuadraticModel, QuadraticNetwork
from skrelu.networks.quadratic_form import QuadraticForm
from skrelu.networks.two_layer import TwoLayer
from skrelu.rows import Rows, device, device_array
from skrelu.rows.device import DeviceRows
from skrelu.rows.device_array import Device
from skrelu.rows.device_functions import ELEMENTWISE, OPERATORS
from skrelu.whitening import whitening

EPS = {"float64": 1e-12, "float32": 1e-5}
CASES = [("array_api_strict", *case) for case in (("device1", "float64"), ("device1", "float32"))]
CASES += [("array_api_strict", "no_float64", "float32")]  # a device of single precision only
CASES += [("torch", "cpu", dtype) for dtype in EPS] if find_spec("torch") else []


def opened(name, device_name):
    """Return (namespace, device)."""
    if name == "array_api_strict":
        return array_api_strict, array_api_strict.Device(device_name)
    import torch

    return get_namespace(torch.asarray(1)), torch.device(device_name)


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    return request.param


@pytest.fixture
def place(case):
    return opened(*case[:2])


@pytest.fixture
def dtype(case):
    return np.dtype(case[2])


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(device, "BLOCK_BYTES", 1)


def table(dtype, n=103, d=5, m=0, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((n, m) if m else n)
    return rng.standard_normal((n, d)).astype(dtype), y.astype(dtype), rng.integers(0, 3, n).astype(dtype)


def on_device(place, *arrays):
    xp, where = place
    return [xp.asarray(array, device=where) for array in arrays]


def both(place, dtype, **options):
    """Return the same rows on the host and on the device."""
    data = table(dtype, **options)
    return Rows(*data), DeviceRows(*on_device(place, *data), *place)


def assert_same(actual, expected, dtype, scale=1.0):
    for one, other in zip(actual, expected, strict=True):
        size = max(1.0, float(np.max(np.abs(other), initial=0.0)))
        np.testing.assert_allclose(one, other, rtol=0, atol=scale * EPS[np.dtype(dtype).name] * size)


# functions


def numpy_functions(x, A, w):
    """Return what block functions do with arrays, at least once each: x (n,), A (n, d), w (d,)."""
    B = A.copy()
    B *= 2
    B[:, 1:3] += x[:, None]
    B -= w
    B /= 3.0
    np.divide(B, 2, out=B, where=A > 0)
    np.subtract(A, w, out=B[:, : len(w)])
    return [
        B,
        A @ w,
        A.T @ A,
        (A > 0) @ w,
        x @ (A < 0),
        2.0 / (1 + x**2),
        -x,
        abs(x),
        1 - (x > 0),
        (x > 0) & (x < 1) | ~(x < 2),
        np.where(x > 0, 2, 1.5),
        np.where(x[:, None] > w, A, 0),
        np.clip(x, -0.5, 0.5),
        np.clip(x, 0, None),
        np.outer(x, w),
        np.outer(w, x),
        np.vstack([A, w]),
        np.hstack([A, A]),
        np.hstack([x, w]),
        np.column_stack([A, x]),
        np.stack([x, x]),
        np.concatenate([x, w]),
        np.ones_like(A[:, :1]),
        np.zeros_like(x, shape=(2, 3), dtype=np.float64),
        np.sum(A * A, axis=1),
        np.sum(x, dtype=np.float64),
        np.max(x),
        np.einsum("ij,ij->i", A, A),
        np.linalg.norm(A, axis=1),
        np.nan_to_num(np.stack([x, x / 0, 0 * x / 0, -x / 0]), nan=3.0),
        A.sum(axis=0),
        (A > 0).sum(axis=1),
        A.max(),
        A.min(axis=0),
        A[:, np.array([2, 0])],
        A[:, np.array([True, False, True, False, True])],
        A[2],
        A[-1, 1:],
        A[5:100_000],
        A[:, None, :],
        A.reshape(-1),
        A.reshape(len(x), 1, -1),
        A.ravel(),
        A.T,
        A.astype(np.float32),
        x.astype(np.float64) @ A,
        np.sqrt(abs(x)),
        np.exp(x) + np.log1p(np.exp(-abs(x))),
        np.tanh(x) + np.sin(x) * np.cos(x) + np.arctan(x),
        np.isfinite(x),
        *np.sign(A).T,
    ]


def test_functions_are_those_of_numpy_in_values_and_dtypes(place, dtype):
    x, A, w = table(dtype)[1], table(dtype)[0], np.linspace(-1, 1, 5).astype(dtype)
    on = Device(*place)
    with np.errstate(all="ignore"):
        expected = numpy_functions(x, A, w)
        actual = numpy_functions(on.there(x), on.there(A), w)
    single = "no_float64" in str(place[1])
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == np.shape(other)
        assert one.dtype == (np.float32 if single and other.dtype == np.float64 else other.dtype)
        assert_same(on.here([one]), [np.asarray(other)], dtype)


def test_a_function_that_is_not_there_says_so(place):
    x = Device(*place).there(table("float32")[1])
    with pytest.raises(TypeError, match=r"numpy.percentile is not there for arrays of a device; .*where"):
        np.percentile(x, 50)
    with pytest.raises(TypeError, match=r"fmod is not there for arrays of a device; absolute, "):
        np.fmod(x, 2)
    with pytest.raises(TypeError, match=r"add.reduce, or an option of it, is not there"):
        np.add.reduce(x)
    with pytest.raises(TypeError, match="'i,i->' is not there"):
        np.einsum("i,i->", x, x)


@pytest.mark.parametrize("ask", [bool, float, int, np.asarray, lambda x: 1 if x > 0 else 0, lambda x: [0, 1][x]])
def test_whoever_asks_for_a_number_within_a_pass_is_told_that_it_waits(place, ask):
    x = Device(*place).there(table("float32")[1]).sum()
    with pytest.raises(TypeError, match="waits for the device"):
        ask(x)


def test_indices_that_are_not_there(place):
    x, A = Device(*place).there(table("float32")[1]), Device(*place).there(table("float32")[0])
    for ask in (lambda: x[x > 0], lambda: A[[0, 1]], lambda: A[A > 0]):
        with pytest.raises(TypeError, match=r"takes no index of type .* use np.where"):
            ask()
    with pytest.raises(IndexError, match="axis 1 has 5"):
        A[0, 5]
    with pytest.raises(TypeError, match="set by slices"):
        A[:, np.array([0, 1])] = 1.0
    host = np.zeros(len(x))
    with pytest.raises(TypeError, match="an array of the host cannot take"):
        host += x


def test_changes_in_place_reach_views_and_leave_what_was_sent(place):
    sent, on = np.zeros((3, 4), dtype=np.float32), Device(*place)
    A = on.there(sent)
    view = A[1:]
    view += 1
    A[0] = 2
    A[:, 0] *= 5
    assert_same(on.here([A]), [np.array([[10, 2, 2, 2], [5, 1, 1, 1], [5, 1, 1, 1]])], "float32")
    assert not sent.any()


def test_every_function_of_the_tables_has_a_name_in_the_standard(place):
    xp, on = place[0], Device(*place)
    x, A = on.there(np.full(3, 0.5, dtype=np.float32)), on.there(np.eye(3, dtype=np.float32))
    for name in sorted(ELEMENTWISE):
        ufunc = getattr(np, name)
        operands = (x > 0, x > 1) if name.startswith("logical") else (x, x)
        assert ufunc(*operands[: ufunc.nin]).shape == (3,), name
    for ufunc in OPERATORS:
        operand = A if ufunc is np.matmul else x > 0 if ufunc in (np.bitwise_and, np.bitwise_or, np.invert) else x
        assert ufunc(*(operand, operand)[: ufunc.nin]).shape == operand.shape, ufunc.__name__
    assert isinstance(x.array, type(xp.asarray(1.0)))


# passes


def passes(rows):
    """Return what the passes of every network give, and of what surrounds them."""
    rng, d, m = np.random.default_rng(1), rows.n_features, rows.n_outputs
    centered = whitening(rows, centered=True)
    found = [*rows.column_statistics(centered=True), rows.target_scale()]
    if m > 1:
        network = TwoLayer(rows, activations.relu, centered, 2, fit_intercept=True)
        theta = rng.standard_normal(network.shape).ravel()
        product = network.curvature_product(theta)(theta[::-1].copy())
        return [*found, *network.value_and_gradient(theta), product, network.active_rows(theta), *network.output(theta)]
    single = SingleReLU.standardised(rows, True, diagonal=True)
    theta = rng.standard_normal(d + 1).astype(rows.dtype)
    smooth = single.variant(smoothing=0.5)
    for objective in (single, smooth, single.variant(linear_above=0.3)):
        found += [*objective.value_and_gradient(theta), objective.gauss_newton_product(theta, theta)]
        found += [objective.gauss_newton(theta, np.eye(d + 1, dtype=rows.dtype)), objective.values([theta, -theta])]
        found += [objective.gauss_newton(theta, np.array([0, 2, d]))]
    for name in ("relu", "leaky_relu", "tanh", "softplus", "swish", "sigmoid"):
        activation = getattr(activations, name)
        for options in ({}, {"relaxed": True}, {"smoothing": 0.3}, {"free_output": False}):
            if options.get("relaxed") and activation.odd_slope is None:
                continue
            network = OneHiddenLayer(rows, activation, centered, np.ones(2), alpha=0.1, **options)
            theta = rng.standard_normal(2 * network.shape[1] + network.n_head + 2 * network.free_output)
            found += [*network.value_and_gradient(theta), network.curvature_product(theta)(theta[::-1].copy())]
            found += [*network.slope_moments(theta), network.residual_second_moment(theta)]
    model = QuadraticModel.of(rows, fit_linear=True, fit_intercept=True, alpha=0.1, positive=False)
    W, beta, form = rng.standard_normal((2, d)), rng.standard_normal(d), QuadraticForm(model)
    found += [*form.moments(W.T @ W, beta, 0.3), form.hessian()]
    network = QuadraticNetwork(model, np.array([1.0, -1.0]))
    theta = network.pack(W, model.packed_head(beta, 0.3))
    return [*found, *network.value_and_gradient(theta), network.curvature_product(theta)(theta[::-1].copy())]


@pytest.mark.parametrize("m", [0, 3])
def test_passes_are_those_of_the_host(place, dtype, m, small_blocks):
    host, there = both(place, dtype, n=43, m=m)
    assert host.weight_sum == there.weight_sum
    # On a device of single precision sums over blocks, too, are in single precision.
    assert_same(passes(there), passes(host), dtype, scale=100.0)


def test_results_are_arrays_and_numbers_of_the_host(place, small_blocks):
    _, there = both(place, "float32")
    matrix, vector, number, constant = there.sum(
        lambda X, y, s, w: (X.T @ X, (s @ X).astype(np.float64), (s @ y).astype(np.float64), 2.0), np.ones(5)
    )
    single = "no_float64" in str(place[1])
    assert [type(part) for part in (matrix, vector)] == [np.ndarray] * 2
    assert (matrix.dtype, vector.dtype) == ("float32", "float32" if single else "float64")
    assert isinstance(number, np.floating)
    assert constant == 2.0 * len(there._blocks)


@pytest.mark.parametrize("case", [case for case in CASES if case[2] == "float32"], ids="-".join)
def test_the_host_is_asked_once_a_pass(place, dtype, small_blocks, monkeypatch):
    counted = {"passes": 0, "transfers": 0}

    def counting(owner, name, what):
        plain = getattr(owner, name)

        def called(*args):
            counted[what] += 1
            return plain(*args)

        monkeypatch.setattr(owner, name, called)

    _, there = both(place, dtype)
    assert len(there._blocks) > 10
    counting(DeviceRows, "sum", "passes")
    counting(device_array, "to_numpy", "transfers")
    passes(there)
    assert counted["passes"] > 50
    assert counted["transfers"] == counted["passes"]


def test_numbers_of_rows_and_weights(place, dtype, small_blocks):
    host, there = both(place, dtype, m=3)
    center = np.array([0.1, 0.2, 0.3], dtype=dtype)
    of_rows = [rows.each(lambda X, y, c: np.linalg.norm(y - c, axis=1), center) for rows in (there, host)]
    assert isinstance(of_rows[0], np.ndarray)
    assert_same(of_rows[:1], of_rows[1:], dtype)
    assert_same([there.quantile(of_rows[0], 0.3)], [host.quantile(of_rows[1], 0.3)], dtype)
    again = [rows.reweighted(np.arange(103) % 4.0).sum(lambda X, y, s: (s @ X,)) for rows in (there, host)]
    assert_same(*again, dtype)


def test_blocks_are_views_of_x_and_of_the_size_that_is_said(monkeypatch):
    place = opened("array_api_strict", "device1")
    monkeypatch.setattr(device, "BLOCK_BYTES", 5 * 8 * 40)
    X, y, s = on_device(place, *table("float64"))
    there = DeviceRows(X, y, s, *place)
    assert [X_b.shape for X_b, _, _ in there._blocks] == [(40, 5), (40, 5), (23, 5)]
    X[0, 0] = 7.0
    first = there.sum(lambda X, y, s: (X[0, 0],))[0]
    np.testing.assert_allclose(first, 7.0 + np.sum(table("float64")[0][[40, 80], 0]), rtol=1e-14)


# fits


@pytest.mark.parametrize("marked", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_fits_with_dispatch_in_a_process_of_their_own(marked):
    """Scikit-learn dispatches only where the variable was set before scipy was imported; here it was not."""
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", marked, "tests/test_array_api.py"]
    done = subprocess.run(
        command, cwd=root, env={**os.environ, "SCIPY_ARRAY_API": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert re.search(r"\b[1-9]\d* passed", done.stdout)
    assert "skipped" not in done.stdout
