"""Starts: how near the tensor start is to planted units, in any units of the data, and what the other starts are."""

import numpy as np
import pytest
from scipy import sparse

from skrelu import starts
from skrelu.activations import leaky_relu, relu, softplus, tanh
from skrelu.datasets import make_one_hidden_layer
from skrelu.metrics import recovery_error
from skrelu.moments import hermite_moments
from skrelu.rows import Rows
from skrelu.starts import SMALLEST_OUTPUT, fit_moments, given_start, minimised, random_start, tensor_start
from skrelu.tensors import MomentFit
from skrelu.whitening import whitening


def planted(seed, n, d, k, output_weights="positive", **options):
    return make_one_hidden_layer(
        n, d, k, output_weights=output_weights, return_teacher=True, random_state=seed, **options
    )


def start(X, y, k, *, weight=None, n_directions=None, seed=0, **options):
    rows = Rows(X, y, weight)
    coordinates = whitening(rows, centered=True)
    moments = hermite_moments(rows, coordinates, n_directions or k)
    return tensor_start(rows, coordinates, moments, relu, k, np.random.RandomState(seed), **options)


def predict(weights, X, activation=relu):
    return weights.output_bias + activation.value(X @ weights.hidden.T + weights.hidden_bias) @ weights.output


def affine(seed, X, W):
    """Return A x + m for all rows, and the weights and biases of the same network there."""
    d = X.shape[1]
    rng = np.random.default_rng(1000 + seed)
    A = np.linalg.qr(rng.standard_normal((d, d)))[0] * np.geomspace(1, 30, d)
    m = 5 * rng.standard_normal(d)
    W = W @ np.linalg.inv(A)
    return X @ A.T + m, A, W, -W @ m


# the tensor start on planted data


def start_errors(n, d, k, output_weights, seeds):
    errors = []
    for seed in seeds:
        X, y, teacher = planted(seed, n, d, k, output_weights)
        weights = start(X, y, k, seed=seed)
        assert np.sum(weights.output < 0) == np.sum(teacher.output_coef_ < 0)
        truth = np.column_stack([teacher.hidden_coef_, teacher.output_coef_])
        # Outputs count in the matching: a unit found with the wrong sign is not found.
        errors.append(recovery_error(truth, np.column_stack([weights.hidden, weights.output])))
        errors[-1] *= np.linalg.norm(truth) / np.linalg.norm(teacher.hidden_coef_)
    return errors


@pytest.mark.parametrize(
    ("d", "k", "n", "output_weights", "goal"),
    [
        (20, 5, 10_000, "positive", 0.12),
        (20, 5, 20_000, "signed", 0.09),
        (50, 10, 10_000, "positive", 0.23),
        (50, 10, 10_000, "signed", 0.23),
        pytest.param(50, 10, 50_000, "positive", 0.10, marks=pytest.mark.slow),
        pytest.param(50, 10, 50_000, "signed", 0.10, marks=pytest.mark.slow),
        pytest.param(100, 20, 50_000, "positive", 0.19, marks=pytest.mark.slow),
        pytest.param(100, 20, 50_000, "signed", 0.19, marks=pytest.mark.slow),
    ],
)
def test_start_is_as_near_as_the_targets_say(d, k, n, output_weights, goal):
    """Table B of the targets, the median of five samples."""
    assert np.median(start_errors(n, d, k, output_weights, range(5))) <= goal


@pytest.mark.slow
def test_start_of_forty_samples():
    assert np.median(start_errors(10_000, 20, 5, "positive", range(40))) <= 0.12
    assert np.median(start_errors(20_000, 20, 5, "signed", range(40))) <= 0.09


def test_error_of_the_start_falls_like_one_over_root_n():
    few, many = (np.median(start_errors(n, 10, 3, "signed", range(5))) for n in (5000, 80_000))
    assert 2.5 < few / many < 6.5


def test_number_of_negative_outputs_is_right():
    for seed in range(16):
        X, y, teacher = planted(seed, 5000, 20, 5, "signed")
        assert np.sum(start(X, y, 5).output < 0) == np.sum(teacher.output_coef_ < 0)


@pytest.mark.parametrize("n_negative", [0, 2, pytest.param(5, marks=pytest.mark.slow)])
def test_number_of_negative_outputs_as_asked(n_negative):
    X, y, _ = planted(0, 2000, 8, 5, "signed")
    output = start(X, y, 5, n_negative=n_negative).output
    assert np.sum(output == -1) == n_negative
    assert np.sum(output == 1) == 5 - n_negative


@pytest.mark.parametrize("output_weights", ["positive", "signed"])
def test_start_maps_back_from_inputs_of_any_mean_and_covariance(output_weights):
    """The same sample in other coordinates has the same start, in the new coordinates, biases with it.

    The roots of T are symmetric in columns scaled to one, not in x itself: draws, and rounding with them, differ.
    """
    moved_errors = []
    for seed in range(5):
        X, y, teacher = planted(seed, 10_000, 20, 5, output_weights)
        X_new, A, W_new, b_new = affine(seed, X, teacher.hidden_coef_)
        np.testing.assert_allclose(np.maximum(X_new @ W_new.T + b_new, 0) @ teacher.output_coef_, y, atol=1e-10)
        plain, moved = start(X, y, 5), start(X_new, y, 5)
        errors = []
        for weights, W in ((plain, plain.hidden), (moved, moved.hidden @ A)):
            errors.append(recovery_error(teacher.hidden_coef_, W))
            assert np.sum(weights.output < 0) == np.sum(teacher.output_coef_ < 0)
        assert errors[1] == pytest.approx(errors[0], abs=1e-3)
        moved_errors.append(errors[1])
        np.testing.assert_allclose(predict(moved, X_new), predict(plain, X), atol=0.02)
    assert np.median(moved_errors) <= 0.12


def test_biases_are_estimated():
    """Of biased units both weights and biases are near the truth, in the user's units."""
    bias = np.array([0.5, -0.4, 0.2, -0.7])
    for seed in range(5):
        X, y, teacher = planted(seed, 40_000, 10, 4, "signed", bias=bias, output_bias=3.0)
        weights = start(7.0 * X + 2.0, 100 * y, 4)
        truth = np.column_stack([teacher.hidden_coef_, bias])
        W = weights.hidden * 7.0 / 100
        found = np.column_stack([W, weights.hidden_bias / 100 + weights.hidden.sum(axis=1) * 2.0 / 100])
        assert recovery_error(truth, found) < 0.3
        assert predict(weights, 7.0 * X + 2.0).mean() == pytest.approx(100 * y.mean(), rel=0.05)


def test_start_without_intercept_has_no_biases():
    """Inputs with a mean: biases of the centred inputs are known."""
    errors = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        _, _, teacher = planted(seed, 10, 10, 4, "signed")
        W, v = teacher.hidden_coef_, teacher.output_coef_
        X = rng.standard_normal((20_000, 10)) * np.linspace(0.5, 2, 10) + rng.standard_normal(10)
        y = np.maximum(X @ W.T, 0) @ v
        weights = start(X, y, 4, fit_intercept=False)
        np.testing.assert_array_equal(weights.hidden_bias, 0)
        assert weights.output_bias == 0
        assert np.sum(weights.output < 0) == np.sum(v < 0)
        deviations = X.std(axis=0)
        errors.append(recovery_error(W * deviations, weights.hidden * deviations))
    assert np.median(errors) < 0.12


def test_tied_biases_are_those_of_the_mean_of_the_inputs(monkeypatch):
    """The fit of moments is told the vector whose product with a unit is ``<w, center>``, w in columns."""
    told = []

    def fit(moments, activation, n_units, rng, *, n_negative, bias):
        told.append((moments, bias))
        return fit_moments(moments, activation, n_units, rng, n_negative=n_negative, bias=bias)

    monkeypatch.setattr(starts, "fit_moments", fit)
    X, y, _ = planted(0, 500, 6, 3, "signed")
    X = X * np.arange(1, 7) + 2
    coordinates = whitening(Rows(X, y), centered=True)
    start(X, y, 3, fit_intercept=False)
    start(X, y, 3)
    (moments, bias), (_, free) = told
    assert free is None
    W = np.random.default_rng(0).standard_normal((4, 3))
    columns = coordinates.to_columns(W @ moments.basis.T)
    np.testing.assert_allclose(W @ bias, columns @ X.mean(axis=0), rtol=1e-10)


@pytest.mark.parametrize("output_weights", ["positive", "signed"])
def test_fit_of_moments_ends_where_it_does_from_the_planted_units(output_weights):
    """The error of a start is that of the moments, not of the search: starts do not end in a worse minimum."""
    for seed in range(8):
        X, y, teacher = planted(seed, 10_000, 20, 5, output_weights)
        rows = Rows(X, y)
        coordinates = whitening(rows, centered=True)
        moments = hermite_moments(rows, coordinates, 5)
        W, b, v = fit_moments(moments, relu, 5, np.random.RandomState(seed))
        fit = MomentFit(moments, relu, teacher.output_coef_, (3 / 5) ** 0.5, None)
        planted_units = coordinates.to_white(teacher.hidden_coef_) @ moments.basis / rows.target_scale()
        best = minimised(fit, planted_units, np.zeros(5))[0]
        found = MomentFit(moments, relu, v, (3 / 5) ** 0.5, None)
        value = found.value_and_gradient(np.column_stack([W, b]).ravel())[0]
        assert value <= best + 1e-6 * abs(best)


def test_start_is_in_the_users_units_exactly():
    for seed in range(3):
        X, y, _ = planted(seed, 2000, 6, 3, "signed")
        plain = start(X, y, 3)
        scaled = start(2.0**-30 * X, 2.0**40 * y, 3)  # powers of two: no rounding
        np.testing.assert_array_equal(scaled.hidden, 2.0**70 * plain.hidden)
        np.testing.assert_array_equal(scaled.hidden_bias, 2.0**40 * plain.hidden_bias)
        assert scaled.output_bias == 2.0**40 * plain.output_bias


def test_start_of_weights_is_that_of_repetition_and_scaling_y_scales_it():
    X, y, _ = planted(0, 3000, 6, 3, "signed")
    counts = np.random.default_rng(0).integers(0, 4, 3000)
    weighted = start(X, y, 3, weight=counts.astype(float))
    repeated = start(np.repeat(X, counts, axis=0), np.repeat(y, counts), 3)
    np.testing.assert_allclose(weighted.hidden, repeated.hidden, atol=1e-5)
    np.testing.assert_allclose(weighted.hidden_bias, repeated.hidden_bias, atol=1e-5)


@pytest.mark.parametrize("storage", [sparse.csr_array, sparse.csc_array])
def test_start_of_sparse_data_is_that_of_dense(storage):
    X, y, _ = planted(1, 3000, 6, 3, "signed")
    np.testing.assert_allclose(start(storage(X), y, 3).hidden, start(X, y, 3).hidden, atol=1e-5)


def test_start_of_float32_is_near_that_of_float64():
    X, y, _ = planted(2, 10_000, 8, 3, "signed")
    weights = start(X.astype(np.float32), y.astype(np.float32), 3)
    exact = start(X, y, 3)
    np.testing.assert_allclose(weights.hidden, exact.hidden, atol=1e-3)
    assert weights.hidden.dtype == np.float64


def test_output_bias_gives_the_mean_of_y_for_normal_inputs():
    """c = E y - sum v_j c_0, the means of units in x ~ N(center, covariance): checked on normal inputs drawn anew."""
    X, y, _ = planted(3, 20_000, 6, 3, "signed", output_bias=-4.0)
    weights = start(X, y, 3)
    again = np.random.default_rng(3).standard_normal((200_000, 6))
    assert predict(weights, again).mean() == pytest.approx(y.mean(), abs=0.03)


def test_units_beyond_the_directions_are_small_and_random():
    X, y, _ = planted(4, 5000, 4, 3, "signed")
    weights = start(X, y, 9, n_directions=4)
    rows = Rows(X, y)
    coordinates = whitening(rows, centered=True)
    size = np.linalg.norm(coordinates.to_white(weights.hidden), axis=1)
    np.testing.assert_allclose(size[4:], size[:4].mean() / 10, rtol=1e-10)
    assert weights.hidden.shape == (9, 4)
    assert np.sum(weights.output[4:] < 0) == 2  # half of five
    planes = X @ weights.hidden[4:].T + weights.hidden_bias[4:]
    np.testing.assert_allclose(planes.mean(axis=0), 0, atol=1e-10)  # no bias in centred coordinates
    positive = start(X, y, 9, n_directions=4, n_negative=0)
    np.testing.assert_array_equal(positive.output, 1)
    mean = predict(weights, np.random.default_rng(0).standard_normal((200_000, 4))).mean()
    assert mean == pytest.approx(y.mean(), abs=0.03)
    without = start(X + 1.0, y, 9, n_directions=4, fit_intercept=False)
    np.testing.assert_array_equal(without.hidden_bias, 0)


@pytest.mark.parametrize("value", [0.0, 2.0, "linear"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_start_is_finite_where_there_is_nothing_to_find(value, fit_intercept):
    X = np.random.default_rng(5).standard_normal((50, 4))
    X[:, 2] = 1.0
    y = X @ np.ones(4) if value == "linear" else np.full(50, value)
    weights = start(X, y, 3, fit_intercept=fit_intercept)
    for part in (weights.hidden, weights.hidden_bias, weights.output, weights.output_bias):
        assert np.all(np.isfinite(part))
    assert weights.hidden.shape == (3, 4)


def test_same_seed_same_start():
    X, y, _ = planted(6, 1000, 5, 3, "signed")
    one, same = start(X, y, 3, seed=1), start(X, y, 3, seed=1)
    np.testing.assert_array_equal(one.hidden, same.hidden)
    np.testing.assert_array_equal(one.hidden_bias, same.hidden_bias)


# random starts


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_random_start_is_isotropic_in_the_whitened_metric(fit_intercept):
    X, y, _ = planted(7, 500, 3, 2, "signed")
    A = np.array([[1.0, 0, 0], [5.0, 2.0, 0], [-1.0, 30.0, 10.0]])
    X, k, n_negative = X @ A.T + 4.0, 4000, 1500
    rows = Rows(X, 7 * y)
    coordinates = whitening(rows, centered=True)
    weights = random_start(
        rows, coordinates, relu, k, n_negative, np.random.RandomState(0), fit_intercept=fit_intercept
    )
    white = coordinates.to_white(weights.hidden)
    size = rows.target_scale() * (3 / k) ** 0.5
    np.testing.assert_allclose(np.linalg.norm(white, axis=1), size, rtol=1e-10)
    directions = white / size
    np.testing.assert_allclose(directions.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(directions.T @ directions / k, np.eye(3) / 3, atol=0.03)
    # so that each unit varies as much as any other over the rows
    planes = X @ weights.hidden.T + weights.hidden_bias
    np.testing.assert_allclose(planes.std(axis=0), size, rtol=1e-9)
    if fit_intercept:
        np.testing.assert_allclose(planes.mean(axis=0), 0, atol=1e-9 * size)
    else:
        np.testing.assert_array_equal(weights.hidden_bias, 0)
    assert weights.output_bias == 0
    np.testing.assert_array_equal(np.unique(weights.output), [-1, 1])
    assert np.sum(weights.output < 0) == n_negative


def test_random_start_has_the_variance_of_y():
    """k independent units of size t sqrt(3 / k): the variance of max(0, z) is (1 - 1/pi) / 2 of that of z."""
    X, y, _ = planted(8, 4000, 200, 5, "signed")
    rows = Rows(X, y - y.mean())
    weights = random_start(rows, whitening(rows, centered=True), relu, 20, 10, np.random.RandomState(0))
    ratio = predict(weights, X).var() / rows.target_scale() ** 2
    assert ratio == pytest.approx(3 * (1 - 1 / np.pi) / 2, rel=0.15)


@pytest.mark.parametrize("n_negative", [0, 1, 4])
def test_random_start_has_as_many_negative_outputs_as_asked(n_negative):
    X, y, _ = planted(9, 100, 3, 2)
    rows = Rows(X, y)
    weights = random_start(rows, whitening(rows, centered=True), relu, 4, n_negative, np.random.RandomState(0))
    assert np.sum(weights.output == -1) == n_negative
    assert np.sum(weights.output == 1) == 4 - n_negative


# given units


def given_table(seed, n=200, d=4, k=3):
    rng = np.random.default_rng(seed)
    X, hidden = rng.standard_normal((n, d)) + 0.5, rng.standard_normal((k, d))
    return X, 5 * rng.standard_normal(n) + 10, hidden, rng.random(n) + 0.1


@pytest.mark.parametrize("storage", [np.ascontiguousarray, sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("activation", [relu, leaky_relu, softplus, tanh], ids=lambda activation: activation.name)
def test_signed_outputs_of_given_units_are_least_squares(activation, fit_intercept, storage):
    for seed in range(3):
        X, y, hidden, weight = given_table(seed)
        before = hidden.copy()
        weights = given_start(Rows(storage(X), y, weight), hidden, activation, signed=True, fit_intercept=fit_intercept)
        A = activation.value(X @ hidden.T)
        A = np.column_stack([A, np.ones(len(X))]) if fit_intercept else A
        root = np.sqrt(weight)
        expected = np.linalg.lstsq(root[:, None] * A, root * y, rcond=None)[0]
        np.testing.assert_allclose(predict(weights, X, activation), A @ expected, rtol=1e-8, atol=1e-8)
        np.testing.assert_array_equal(weights.hidden_bias, 0)
        np.testing.assert_array_equal(hidden, before)
        assert not np.shares_memory(weights.hidden, hidden)
        if activation.homogeneity is not None:
            np.testing.assert_array_equal(weights.output, np.sign(expected[:3]))
            np.testing.assert_allclose(weights.hidden, np.abs(expected[:3, None]) * hidden, rtol=1e-8)
        else:
            np.testing.assert_allclose(weights.output, expected[:3], rtol=1e-7)
            np.testing.assert_array_equal(weights.hidden, hidden)
        assert weights.output_bias == (pytest.approx(expected[3], rel=1e-8) if fit_intercept else 0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_positive_given_units_are_taken_as_they_are(dtype):
    X, y, hidden, weight = (array.astype(dtype) for array in given_table(3))
    weights = given_start(Rows(X, y, weight), hidden, relu, signed=False, fit_intercept=True)
    np.testing.assert_array_equal(weights.hidden, hidden)
    np.testing.assert_array_equal(weights.output, 1)
    np.testing.assert_array_equal(weights.hidden_bias, 0)
    assert weights.output_bias == 0
    assert weights.hidden.dtype == np.float64


def test_the_planted_units_give_the_planted_network():
    X, y, teacher = planted(10, 300, 6, 4, "signed", output_bias=2.0)
    weights = given_start(Rows(X, y), 3 * teacher.hidden_coef_, relu, signed=True, fit_intercept=True)
    np.testing.assert_allclose(weights.hidden, teacher.hidden_coef_, atol=1e-10)
    np.testing.assert_array_equal(weights.output, teacher.output_coef_)
    assert weights.output_bias == pytest.approx(2, abs=1e-9)


def test_given_units_that_explain_nothing_stay_alive():
    """Outputs are at least a thousandth of the largest: a unit of output zero would never move."""
    X, _, hidden, _ = given_table(4)
    y = np.maximum(X @ hidden[0], 0)
    weights = given_start(Rows(X, y), hidden, relu, signed=True, fit_intercept=False)
    sizes = np.linalg.norm(weights.hidden, axis=1) / np.linalg.norm(hidden, axis=1)
    np.testing.assert_allclose(sizes, [1, SMALLEST_OUTPUT, SMALLEST_OUTPUT], rtol=1e-6)
    zero = given_start(Rows(X, 0 * y), hidden, relu, signed=True, fit_intercept=True)
    np.testing.assert_array_equal(zero.hidden, hidden)
    np.testing.assert_array_equal(np.abs(zero.output), 1)


def test_parallel_given_units_share_the_output():
    """Of collinear columns the least squares solution is that of least norm."""
    X, y, hidden, _ = given_table(5)
    hidden[1] = hidden[0]
    weights = given_start(Rows(X, y), hidden, relu, signed=True, fit_intercept=True)
    np.testing.assert_allclose(weights.hidden[0], weights.hidden[1], rtol=1e-8)
    A = np.column_stack([np.maximum(X @ hidden.T, 0), np.ones(len(X))])
    expected = A @ np.linalg.lstsq(A, y, rcond=None)[0]
    np.testing.assert_allclose(predict(weights, X), expected, atol=1e-8)
