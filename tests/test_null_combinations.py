"""Exact steps: the theorem from directions with planted errors, an independent reference, and what is not exact."""

import numpy as np
import pytest
from scipy import sparse

from skrelu import null_combinations as module
from skrelu.activations import Activation, relu, squared_relu
from skrelu.datasets import make_two_layer_relu
from skrelu.metrics import recovery_error
from skrelu.networks.two_layer import TwoLayer
from skrelu.null_combinations import MARGIN, normalised, null_combinations
from skrelu.output_moments import output_moments
from skrelu.rows import Rows
from skrelu.rows import memory as rows_module
from skrelu.starts import two_layer_start
from skrelu.whitening import whitening

ACTIVATIONS = {"relu": relu, "squared_relu": squared_relu}


def network_of(X, y, k, f=relu, fit_intercept=True, weight=None):
    """(network, moments, whitening about the means)."""
    rows = Rows(X, y, weight)
    centered = whitening(rows, centered=True)
    moments = output_moments(rows, centered, k)
    center = moments.mean if fit_intercept else np.zeros_like(moments.mean)
    coordinates = centered if fit_intercept else whitening(rows, centered=False)
    options = {"fit_intercept": fit_intercept, "center": center, "target_scale": rows.target_scale(center)}
    return TwoLayer(rows, f, coordinates, k, output_rank=moments.output_rank, **options), moments, centered


def planted(seed, n=400, d=8, k=4, m=6, f=relu, fit_intercept=True, noise=0.0, moved=False):
    """(X, y, hidden weights, hidden biases) of a planted network, in normal inputs or in columns of any units."""
    rng = np.random.default_rng(seed)
    bias = rng.uniform(-0.5, 0.5, k) * fit_intercept
    X, y, teacher = make_two_layer_relu(
        n,
        d,
        k,
        m,
        activation=f,
        bias=bias,
        output_bias=2.0 * fit_intercept,
        noise=noise,
        return_teacher=True,
        random_state=seed,
    )
    W, b = teacher.hidden_coef_, bias
    if moved:
        A = rng.standard_normal((d, d)) + 3 * np.eye(d)
        mean = rng.standard_normal(d) * fit_intercept
        X, y, W = X @ A.T + mean, 100 * y, W @ np.linalg.inv(A)
        b = b - W @ mean
    return X, y, W, b


def stacked_error(network, theta, truth):
    """Relative error of weights and biases of units of length one in the coordinates of the network."""
    shape = network.shape
    return recovery_error(normalised(network, truth).reshape(shape), normalised(network, theta).reshape(shape))


def inputs_of(network, X, theta):
    white = (X - network.whitening.center) @ network.whitening.columns
    columns = np.column_stack([white, np.ones((len(X), int(network.fit_intercept)))])
    return columns, columns @ normalised(network, theta).reshape(network.shape).T


def slow_step(network, X, y, theta, weight=None):
    """Null vector of the outputs where a unit is off, by SVD; its inverse by least squares where it is on."""
    columns, Z = inputs_of(network, X, theta)
    p = np.ones(len(X)) if weight is None else weight
    p = p / p.sum()
    centred = (y - p @ y) / network.target_scale
    basis = np.linalg.svd(p[:, None] ** 0.5 * centred, full_matrices=False)
    white = ((y - network.center) / network.target_scale) @ (
        basis[2][: network.n_hidden].T / basis[1][: network.n_hidden]
    )
    found = []
    for z in Z.T:
        off, on = z < -MARGIN, z > MARGIN
        mean = (p * off) @ white / (p @ off) if network.fit_intercept else 0.0
        c = np.linalg.svd((p[off] ** 0.5)[:, None] * (white[off] - mean))[2][-1]
        values = (white - mean) @ c
        values = values * np.sign((p * on) @ values)
        heights = np.maximum(values, 0) ** (1 / network.activation.homogeneity)
        root = (p[on] ** 0.5)[:, None]
        found.append(np.linalg.lstsq(root * columns[on], root[:, 0] * heights[on], rcond=1e-10)[0])
    return normalised(network, np.ravel(found))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_one_step_is_the_reference(monkeypatch, noise, activation, fit_intercept, weighted):
    for block_bytes in (1, 2**20):
        monkeypatch.setattr(rows_module, "BLOCK_BYTES", block_bytes)
        X, y, W, b = planted(0, f=ACTIVATIONS[activation], fit_intercept=fit_intercept, noise=noise, moved=True)
        weight = np.random.default_rng(0).integers(1, 4, len(X)).astype(float) if weighted else None
        network, moments, _ = network_of(X, y, 4, ACTIVATIONS[activation], fit_intercept, weight)
        truth = network.parameters(W, b)
        theta = normalised(network, truth) + 0.2 * np.random.default_rng(1).standard_normal(len(truth))
        found = null_combinations(network, theta, moments.covariance)
        expected = slow_step(network, X, y, theta, weight)
        np.testing.assert_allclose(found, expected, atol=1e-8 if noise else 1e-6)
        # Of theta only the directions count; the result has units of length one.
        longer = (theta.reshape(network.shape) * np.array([[0.1], [1.0], [7.0], [100.0]])).ravel()
        np.testing.assert_allclose(null_combinations(network, longer, moments.covariance), found, atol=1e-9)
        size = network.whitening.size
        np.testing.assert_allclose(np.linalg.norm(found.reshape(network.shape)[:, :size], axis=1), 1, rtol=1e-12)


def exact_once_all_are_on_the_right_side(seed, activation, fit_intercept, moved):
    """Whether the assumption of the theorem held, and the error after one step."""
    f = ACTIVATIONS[activation]
    X, y, W, b = planted(seed, f=f, fit_intercept=fit_intercept, moved=moved)
    network, moments, _ = network_of(X, y, 4, f, fit_intercept)
    truth = normalised(network, network.parameters(W, b))
    rng = np.random.default_rng(1000 + seed)
    theta = truth + 0.12 * rng.standard_normal(len(truth)) / network.shape[1] ** 0.5
    _, Z = inputs_of(network, X, theta)
    _, planted_Z = inputs_of(network, X, truth)
    right = np.all((planted_Z > 0)[Z > MARGIN]) and np.all((planted_Z < 0)[Z < -MARGIN])
    for z in Z.T:
        # And no other unit, or combination of units, vanishes where this one is off: nearly parallel ones may.
        values = f.value(planted_Z[z < -MARGIN])
        values = values - values.mean(axis=0) * fit_intercept
        right &= np.linalg.matrix_rank(values, tol=1e-6 * np.linalg.norm(values)) == 3
    assert stacked_error(network, theta, truth) > 0.05
    return right, stacked_error(network, null_combinations(network, theta, moments.covariance), truth)


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_one_step_is_exact_where_no_row_beyond_the_margin_is_on_the_wrong_side(activation, fit_intercept, moved):
    right, errors = np.transpose(
        [exact_once_all_are_on_the_right_side(seed, activation, fit_intercept, moved) for seed in range(10)]
    )
    assert right.sum() >= 5
    assert np.all(errors[right == 1] < 1e-9)


def test_rows_on_the_wrong_side_make_a_step_inexact():
    """The converse: from directions so far off that some rows beyond the margin are wrong, one step is not exact."""
    X, y, W, b = planted(0)
    network, moments, _ = network_of(X, y, 4)
    truth = normalised(network, network.parameters(W, b))
    theta = truth + 0.25 * np.random.default_rng(0).standard_normal(len(truth))
    _, Z = inputs_of(network, X, theta)
    _, planted_Z = inputs_of(network, X, truth)
    assert np.any((planted_Z > 0) & (Z < -MARGIN))
    error = stacked_error(network, null_combinations(network, theta, moments.covariance), truth)
    assert 1e-3 < error < stacked_error(network, theta, truth)


def test_a_step_from_the_solution_stays_there():
    for f in ACTIVATIONS.values():
        X, y, W, b = planted(1, f=f, moved=True)
        network, moments, _ = network_of(X, y, 4, f)
        truth = normalised(network, network.parameters(W, b))
        np.testing.assert_allclose(null_combinations(network, truth, moments.covariance), truth, atol=1e-9)


def successes(n, seeds, *, d=20, k=5, m=8, f=relu, fit_intercept=True):
    """How often at most eight steps from the tensor start leave no residual."""
    count = 0
    for seed in seeds:
        X, y, *_ = planted(seed, n, d, k, m, f, fit_intercept)
        network, moments, centered = network_of(X, y, k, f, fit_intercept)
        rng = np.random.RandomState(seed)
        theta = network.parameters(*two_layer_start(centered, moments, f, k, rng, fit_intercept=fit_intercept))
        for _ in range(8):
            theta = null_combinations(network, theta, moments.covariance)
            if theta is None or network.is_lowest(network.value_and_gradient(theta)[0]):
                break
        count += theta is not None and network.is_lowest(network.value_and_gradient(theta)[0])
    return count


# Twice as many rows as columns would do as a rule; the demand is nine of ten.
CASES = [("relu", True), ("relu", False), ("squared_relu", True), ("squared_relu", False)]


@pytest.mark.parametrize("n", [200, 1000])
@pytest.mark.parametrize(("activation", "fit_intercept"), CASES)
def test_steps_from_the_tensor_start_are_exact(activation, fit_intercept, n):
    assert successes(n, range(4), f=ACTIVATIONS[activation], fit_intercept=fit_intercept) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("n", [200, 500, 1000, 2000])
@pytest.mark.parametrize(("activation", "fit_intercept"), CASES)
def test_steps_from_the_tensor_start_are_exact_in_many_samples(activation, fit_intercept, n):
    assert successes(n, range(100, 130), f=ACTIVATIONS[activation], fit_intercept=fit_intercept) >= 26


@pytest.mark.slow
def test_steps_for_ten_units_in_fifty_columns():
    assert successes(1000, range(10), d=50, k=10, m=10) >= 8


def test_more_units_than_outputs_are_finite_but_not_exact():
    """No combination of the outputs is one unit then."""
    for seed in range(4):
        X, y, W, b = planted(seed, k=5, m=3)
        network, moments, _ = network_of(X, y, 5)
        theta = null_combinations(network, network.parameters(W, b), moments.covariance)
        assert np.all(np.isfinite(theta))
        assert network.value_and_gradient(theta)[0] > 1e-3


@pytest.mark.parametrize("bias", [10.0, -10.0])
def test_there_is_no_step_where_a_unit_is_nowhere_off_or_nowhere_on(bias):
    X, y, W, b = planted(2)
    network, moments, _ = network_of(X, y, 4)
    hidden = normalised(network, network.parameters(W, b)).reshape(network.shape)
    hidden[2, -1] = bias
    assert null_combinations(network, hidden.ravel(), moments.covariance) is None


def test_the_margin_is_that_of_units_of_length_one():
    """A unit beyond -0.5 on one row, -0.4 on no other: with the row there is a step, without there is none."""
    X, y, W, b = planted(2)
    network, moments, _ = network_of(X, y, 4)
    hidden = normalised(network, network.parameters(W, b)).reshape(network.shape)
    columns, _ = inputs_of(network, X, hidden.ravel())
    lowest = np.sort(columns[:, :-1] @ hidden[0, :-1])[0]
    for below, there in [(0.01, True), (-0.01, False)]:
        hidden[0, -1] = -MARGIN - below - lowest
        assert (null_combinations(network, hidden.ravel(), moments.covariance) is not None) == there
    highest = np.sort(columns[:, :-1] @ hidden[0, :-1])[-1]
    for above, there in [(0.01, True), (-0.01, False)]:
        hidden[0, -1] = MARGIN + above - highest
        assert (null_combinations(network, hidden.ravel(), moments.covariance) is not None) == there


# Blocks of columns are one, and whitened in pieces of so many bytes.
@pytest.mark.parametrize("block_bytes", [2**13, 2**21])
@pytest.mark.parametrize("storage", [sparse.csr_array, sparse.csc_array])
def test_steps_of_sparse_rows_are_those_of_dense_ones(monkeypatch, storage, block_bytes):
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", block_bytes)
    X, y, W, b = planted(3, noise=0.1)
    steps = []
    for stored in (X, storage(X)):
        network, moments, _ = network_of(stored, y, 4)
        steps.append(null_combinations(network, network.parameters(W, b), moments.covariance))
    np.testing.assert_allclose(steps[0], steps[1], atol=1e-8)


def test_weights_repeat_rows():
    X, y, W, b = planted(4, noise=0.1)
    counts = np.random.default_rng(0).integers(0, 3, len(X))
    steps = []
    for rows in [(X, y, counts.astype(float)), (np.repeat(X, counts, axis=0), np.repeat(y, counts, axis=0), None)]:
        network, moments, _ = network_of(*rows[:2], 4, weight=rows[2])
        steps.append(null_combinations(network, network.parameters(W, b), moments.covariance))
    np.testing.assert_allclose(steps[0], steps[1], atol=1e-8)


def test_a_few_units_at_a_time_give_the_same(monkeypatch):
    X, y, W, b = planted(5, noise=0.1)
    network, moments, _ = network_of(X, y, 4)
    theta = network.parameters(W, b)
    expected = null_combinations(network, theta, moments.covariance)
    for entries in (1, 3 * 81):
        monkeypatch.setattr(module, "MAX_ENTRIES", entries)
        np.testing.assert_allclose(null_combinations(network, theta, moments.covariance), expected, atol=1e-12)


def test_columns_without_variance_do_not_matter():
    X, y, W, b = planted(6)
    X, W = np.column_stack([X, X[:, 0] - X[:, 1], np.full(len(X), 3.0)]), np.column_stack([W, np.zeros((4, 2))])
    network, moments, _ = network_of(X, y, 4)
    truth = network.parameters(W, b)
    theta = normalised(network, truth) + 0.03 * np.random.default_rng(0).standard_normal(len(truth))
    found = null_combinations(network, theta, moments.covariance)
    assert network.is_lowest(network.value_and_gradient(found)[0])


def test_float32_is_exact_to_its_accuracy():
    X, y, W, b = planted(7)
    network, moments, _ = network_of(X.astype(np.float32), y.astype(np.float32), 4)
    truth = network.parameters(W, b)
    theta = normalised(network, truth) + 0.02 * np.random.default_rng(0).standard_normal(len(truth))
    found = null_combinations(network, theta, moments.covariance)
    assert found.dtype == np.float64
    assert stacked_error(network, found, truth) < 1e-3


@pytest.mark.parametrize("noise", [1e-3, 1e-2])
def test_noise_leaves_an_error_of_its_size(noise):
    """From the planted units, and from errors of a tenth: of the order of the noise, not better than least squares."""
    for seed in range(4):
        X, y, W, b = planted(seed, n=2000, noise=noise)
        network, moments, _ = network_of(X, y, 4)
        truth = normalised(network, network.parameters(W, b))
        theta = truth + 0.1 * np.random.default_rng(seed).standard_normal(len(truth)) / 3
        found = null_combinations(network, theta, moments.covariance)
        assert stacked_error(network, found, truth) < 10 * noise
        assert stacked_error(network, found, truth) < stacked_error(network, theta, truth)


def test_normalised_units():
    X, y, *_ = planted(0)
    network, *_ = network_of(X, y, 4)
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal(network.shape)
    hidden[1, :-1] = 0
    found = normalised(network, hidden.ravel()).reshape(network.shape)
    size = np.linalg.norm(hidden[:, :-1], axis=1)
    size[1] = 1
    np.testing.assert_allclose(found, hidden / size[:, None], rtol=1e-13)
    free = Activation(relu.value, relu.derivative, "without scale")
    other = TwoLayer(network.rows, free, network.whitening, 4, **network.options)
    np.testing.assert_array_equal(normalised(other, hidden.ravel()), hidden.ravel())
    assert network.value_and_gradient(hidden.ravel())[0] == pytest.approx(
        network.value_and_gradient(found.ravel())[0], rel=1e-10
    )
