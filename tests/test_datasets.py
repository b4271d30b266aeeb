import dataclasses
import pickle

import numpy as np
import pytest
from scipy import sparse, stats

from skrelu.activations import Activation, get_activation, relu, tanh
from skrelu.datasets import (
    OneHiddenLayerTeacher,
    QuadraticTeacher,
    TwoLayerTeacher,
    make_one_hidden_layer,
    make_quadratic,
    make_relu_regression,
    make_two_layer_relu,
)


def assert_mean_within_5_standard_errors(values, expected):
    standard_error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean() - expected) < 5 * standard_error


def test_shapes_and_defaults():
    X, y = make_relu_regression(random_state=0)
    assert X.shape == (100, 100)
    assert y.shape == (100,)
    assert X.dtype == y.dtype == np.float64
    assert X.flags.c_contiguous


def test_inputs_are_standard_normal():
    X, _ = make_relu_regression(2000, 50, random_state=0)
    assert stats.kstest(X.ravel(), "norm").pvalue > 1e-3
    # Davidson and Szarek: all singular values lie within sqrt(d) + t of sqrt(n), up to probability 2 exp(-t^2 / 2).
    singular_values = np.linalg.svd(X, compute_uv=False)
    assert np.max(np.abs(singular_values - np.sqrt(2000))) < np.sqrt(50) + 5


@pytest.mark.parametrize("n_nonzero", [1, 3, 40])
def test_planted_weights_are_sparse_with_unit_norm(n_nonzero):
    _, _, teacher = make_relu_regression(5, 40, n_nonzero=n_nonzero, return_teacher=True, random_state=3)
    assert np.count_nonzero(teacher.coef_) == n_nonzero
    np.testing.assert_allclose(np.linalg.norm(teacher.coef_), 1, rtol=1e-15)
    assert teacher.intercept_ == 0


def test_support_is_uniform_and_signs_are_balanced():
    coefs = np.array(
        [
            make_relu_regression(1, 8, n_nonzero=2, return_teacher=True, random_state=seed)[2].coef_
            for seed in range(800)
        ]
    )
    assert stats.chisquare((coefs != 0).sum(axis=0)).pvalue > 1e-3
    assert stats.binomtest(int((coefs > 0).sum()), 1600).pvalue > 1e-3


def test_no_more_nonzeros_than_features():
    _, _, teacher = make_relu_regression(5, 4, return_teacher=True, random_state=0)
    assert np.count_nonzero(teacher.coef_) == 4


def test_noiseless_responses_are_the_teachers_and_recomputed_from_the_formula():
    X, y, teacher = make_relu_regression(200, 30, bias=-0.3, return_teacher=True, random_state=1)
    np.testing.assert_array_equal(teacher.predict(X), y)
    np.testing.assert_allclose(y, [max(0.0, x @ teacher.coef_ - 0.3) for x in X], atol=1e-14)
    assert (y == 0).any()
    assert (y > 0).any()


def test_moments_without_bias():
    w = np.array([1.0, -2.0, 2.0])
    _, y = make_relu_regression(20000, coef=w, random_state=0)
    assert_mean_within_5_standard_errors(y, 3 / np.sqrt(2 * np.pi))
    assert_mean_within_5_standard_errors(y**2, 9 / 2)


@pytest.mark.parametrize("bias", [-1.0, 0.7])
def test_mean_with_bias(bias):
    # E max(0, z + b) = b Phi(b) + phi(b) for z ~ N(0, 1).
    _, y = make_relu_regression(20000, 20, bias=bias, random_state=0)
    assert_mean_within_5_standard_errors(y, bias * stats.norm.cdf(bias) + stats.norm.pdf(bias))


def test_noise_is_gaussian_independent_of_the_inputs_and_scaled():
    X, y, teacher = make_relu_regression(5000, 10, noise=0.25, return_teacher=True, random_state=0)
    residual = (y - teacher.predict(X)) / 0.25
    assert stats.kstest(residual, "norm").pvalue > 1e-3
    assert np.max(np.abs(X.T @ residual)) / np.sqrt(5000) < 5


def test_given_weights_are_used_as_they_are_and_copied():
    w = np.array([3.0, 0.0, -4.0])
    X, y, teacher = make_relu_regression(7, coef=w, return_teacher=True, random_state=0)
    assert X.shape == (7, 3)
    np.testing.assert_array_equal(teacher.coef_, w)
    w[0] = 100.0
    np.testing.assert_array_equal(teacher.predict(X), y)


def test_same_seed_same_data():
    first, second = (make_relu_regression(20, 5, noise=1.0, random_state=7) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0], make_relu_regression(20, 5, random_state=8)[0])
    rng = np.random.RandomState(7)
    np.testing.assert_array_equal(make_relu_regression(20, 5, random_state=rng)[0], first[0])
    assert not np.array_equal(make_relu_regression(20, 5, random_state=rng)[0], first[0])


def test_larger_samples_begin_with_the_smaller_ones():
    small = make_relu_regression(20, 5, noise=1.0, random_state=7)
    large = make_relu_regression(50, 5, noise=1.0, random_state=7)
    np.testing.assert_array_equal(large[0][:20], small[0])
    # The product X w may be summed in another order.
    np.testing.assert_allclose(large[1][:20], small[1], rtol=1e-12, atol=1e-14)


def test_neither_noise_nor_given_weights_change_the_inputs():
    X = make_relu_regression(20, 5, random_state=7)[0]
    np.testing.assert_array_equal(make_relu_regression(20, 5, noise=1.0, random_state=7)[0], X)
    np.testing.assert_array_equal(make_relu_regression(20, coef=np.ones(5), random_state=7)[0], X)


def test_teacher_is_frozen_pickles_and_predicts_sparse():
    X, y, teacher = make_relu_regression(20, 5, return_teacher=True, random_state=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        teacher.intercept_ = 1.0
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(teacher)).predict(X), y)
    np.testing.assert_allclose(teacher.predict(sparse.csr_array(X)), y, atol=1e-14)
    with pytest.raises(ValueError, match="X has 4 columns, the teacher expects 5"):
        teacher.predict(X[:, :4])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_samples": 0}, "n_samples must be an integer >= 1, got 0"),
        ({"n_samples": 10.0}, "n_samples must be an integer >= 1, got 10.0"),
        ({"n_features": -2}, "n_features must be an integer >= 1, got -2"),
        ({"n_nonzero": 0}, "n_nonzero must be an integer >= 1, got 0"),
        ({"n_nonzero": True}, "n_nonzero must be an integer >= 1, got True"),
        ({"noise": -0.1}, "noise must be a finite number >= 0, got -0.1"),
        ({"noise": np.nan}, "noise must be a finite number, got nan"),
        ({"bias": "large"}, "bias must be a finite number, got 'large'"),
        ({"bias": np.inf}, "bias must be a finite number, got inf"),
        ({"coef": np.ones((2, 3))}, r"coef must be a vector, got shape \(2, 3\)"),
        ({"coef": [1.0, np.nan]}, "coef contains NaN"),
    ],
)
def test_refuses(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_relu_regression(**parameters)


# One hidden layer


def test_one_hidden_layer_shapes_and_defaults():
    X, y, teacher = make_one_hidden_layer(return_teacher=True, random_state=0)
    assert X.shape == (1000, 20)
    assert y.shape == (1000,)
    assert teacher.hidden_coef_.shape == (5, 20)
    assert teacher.activation == "relu"
    assert teacher.output_intercept_ == 0
    np.testing.assert_array_equal(teacher.hidden_intercept_, np.zeros(5))
    np.testing.assert_allclose(np.linalg.norm(teacher.hidden_coef_, axis=1), 1, rtol=1e-15)
    assert stats.kstest(X.ravel(), "norm").pvalue > 1e-3


def test_one_hidden_layer_rows_are_uniform_on_the_sphere():
    # In three dimensions each coordinate of a uniform direction is uniform on [-1, 1].
    _, _, teacher = make_one_hidden_layer(1, 3, 2000, return_teacher=True, random_state=0)
    for coordinate in teacher.hidden_coef_.T:
        assert stats.kstest(coordinate, "uniform", args=(-1, 2)).pvalue > 1e-3


def test_one_hidden_layer_output_weights():
    signed, positive = (
        make_one_hidden_layer(1, 2, 1000, output_weights=kind, return_teacher=True, random_state=0)[2]
        for kind in ("signed", "positive")
    )
    np.testing.assert_array_equal(np.unique(signed.output_coef_), [-1, 1])
    assert stats.binomtest(int((signed.output_coef_ > 0).sum()), 1000).pvalue > 1e-3
    np.testing.assert_array_equal(positive.output_coef_, np.ones(1000))
    np.testing.assert_array_equal(positive.hidden_coef_, signed.hidden_coef_)


@pytest.mark.parametrize("activation", ["relu", "tanh", tanh, Activation(np.sin, np.cos)])
def test_one_hidden_layer_responses_are_recomputed_from_the_formula(activation):
    X, y, teacher = make_one_hidden_layer(
        50, 4, 3, activation=activation, bias=[0.1, -0.2, 0.3], output_bias=-2.0, return_teacher=True, random_state=1
    )
    f = {"relu": lambda z: max(0.0, z), "tanh": np.tanh, tanh: np.tanh}.get(activation, np.sin)
    units = list(zip(teacher.output_coef_, teacher.hidden_coef_, [0.1, -0.2, 0.3], strict=True))
    np.testing.assert_allclose(y, [-2.0 + sum(v * f(w @ x + b) for v, w, b in units) for x in X], atol=1e-14)
    np.testing.assert_array_equal(teacher.predict(X), y)
    np.testing.assert_allclose(teacher.predict(sparse.csr_array(X)), y, atol=1e-14)
    np.testing.assert_allclose(teacher.predict(sparse.csc_matrix(X)), y, atol=1e-14)


def test_one_hidden_layer_moments_are_those_of_the_hermite_coefficients():
    X, y, teacher = make_one_hidden_layer(
        20000, 6, 3, bias=[0.5, -0.5, 0.0], output_bias=1.0, return_teacher=True, random_state=0
    )
    mean, slope = relu.hermite_coefficients(1, bias=teacher.hidden_intercept_)
    assert_mean_within_5_standard_errors(y, 1.0 + teacher.output_coef_ @ mean)
    direction = teacher.hidden_coef_[0]
    assert_mean_within_5_standard_errors(
        y * (X @ direction), (teacher.output_coef_ * slope) @ teacher.hidden_coef_ @ direction
    )


def test_one_hidden_layer_given_weights_are_used_as_they_are_and_copied():
    W, v, b = np.array([[3.0, 0.0], [0.0, -4.0], [1.0, 1.0]]), np.array([2.0, -1.0, 0.5]), np.array([0.0, 1.0, -1.0])
    X, y, teacher = make_one_hidden_layer(7, coef=W, output_coef=v, bias=b, return_teacher=True, random_state=0)
    assert X.shape == (7, 2)
    for given, kept in ((W, teacher.hidden_coef_), (v, teacher.output_coef_), (b, teacher.hidden_intercept_)):
        np.testing.assert_array_equal(kept, given)
        given[0] = 100.0
    np.testing.assert_array_equal(teacher.predict(X), y)


def test_one_hidden_layer_noise():
    X, y, teacher = make_one_hidden_layer(5000, noise=0.25, return_teacher=True, random_state=0)
    residual = (y - teacher.predict(X)) / 0.25
    assert stats.kstest(residual, "norm").pvalue > 1e-3
    assert np.max(np.abs(X.T @ residual)) / np.sqrt(5000) < 5


def test_one_hidden_layer_streams():
    drawn = {"noise": 1.0, "return_teacher": True, "random_state": 7}
    X, y, teacher = make_one_hidden_layer(20, 5, **drawn)
    again = make_one_hidden_layer(20, 5, **drawn)
    np.testing.assert_array_equal(again[0], X)
    np.testing.assert_array_equal(again[1], y)
    large = make_one_hidden_layer(50, 5, **drawn)
    np.testing.assert_array_equal(large[0][:20], X)
    np.testing.assert_array_equal(large[2].hidden_coef_, teacher.hidden_coef_)
    np.testing.assert_allclose(large[1][:20], y, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(make_one_hidden_layer(20, 5, random_state=7)[0], X)
    given = make_one_hidden_layer(20, coef=np.ones((5, 5)), **drawn)
    np.testing.assert_array_equal(given[0], X)
    np.testing.assert_array_equal(given[2].output_coef_, teacher.output_coef_)
    np.testing.assert_allclose(given[1] - given[2].predict(X), y - teacher.predict(X), atol=1e-14)
    given = make_one_hidden_layer(20, 5, output_coef=np.ones(5), **drawn)
    np.testing.assert_array_equal(given[0], X)
    np.testing.assert_array_equal(given[2].hidden_coef_, teacher.hidden_coef_)
    assert not np.array_equal(make_one_hidden_layer(20, 5, random_state=8)[0], X)


def test_one_hidden_layer_teacher_is_frozen_and_pickles():
    X, y, teacher = make_one_hidden_layer(20, 5, activation=tanh, return_teacher=True, random_state=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        teacher.output_intercept_ = 1.0
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(teacher)).predict(X), y)
    with pytest.raises(ValueError, match="X has 4 columns, the teacher expects 5"):
        teacher.predict(X[:, :4])
    with pytest.raises(ValueError, match="X contains NaN"):
        teacher.predict(np.full((2, 5), np.nan))
    unknown = OneHiddenLayerTeacher(np.ones((1, 5)), np.zeros(1), np.ones(1), 0.0, "linear")
    with pytest.raises(ValueError, match="activation must be an Activation or one of"):
        unknown.predict(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_samples": 0}, "n_samples must be an integer >= 1, got 0"),
        ({"n_features": 2.0}, "n_features must be an integer >= 1, got 2.0"),
        ({"n_hidden": 0}, "n_hidden must be an integer >= 1, got 0"),
        ({"activation": "linear"}, "activation must be an Activation or one of .* got 'linear'"),
        ({"output_weights": "mixed"}, 'output_weights must be "signed" or "positive", got \'mixed\''),
        ({"noise": -0.1}, "noise must be a finite number >= 0, got -0.1"),
        ({"noise": np.nan}, "noise must be a finite number, got nan"),
        ({"output_bias": np.inf}, "output_bias must be a finite number, got inf"),
        ({"bias": "large"}, "bias must be a finite number, got 'large'"),
        ({"bias": np.zeros(4)}, r"bias must be a vector, one entry for each of 5 units, got shape \(4,\)"),
        ({"bias": [0.0, 0.0, 0.0, 0.0, np.inf]}, "bias contains infinity"),
        ({"output_coef": np.ones(3)}, r"output_coef must be a vector, one entry for each of 5 units, got shape \(3,\)"),
        ({"output_coef": np.ones((5, 1))}, r"output_coef must be a vector, .* got shape \(5, 1\)"),
        ({"coef": np.ones(3)}, r"coef must be a matrix, one unit a row, got shape \(3,\)"),
        ({"coef": [[1.0, np.nan]]}, "coef contains NaN"),
        ({"coef": np.ones((2, 3)), "bias": np.zeros(3)}, "one entry for each of 2 units"),
    ],
)
def test_one_hidden_layer_refuses(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_one_hidden_layer(**parameters)


# Quadratic


def test_quadratic_shapes_and_defaults():
    X, y, teacher = make_quadratic(return_teacher=True, random_state=0)
    assert X.shape == (1000, 20)
    assert y.shape == (1000,)
    assert X.dtype == y.dtype == np.float64
    assert teacher.hidden_coef_.shape == (3, 20)
    assert teacher.matrix_.shape == (20, 20)
    assert teacher.intercept_ == 0
    np.testing.assert_array_equal(teacher.coef_, np.zeros(20))
    np.testing.assert_allclose(np.linalg.norm(teacher.hidden_coef_, axis=1), 1, rtol=1e-15)
    assert stats.kstest(X.ravel(), "norm").pvalue > 1e-3


def test_quadratic_output_weights():
    signed, positive = (
        make_quadratic(1, 2, 1000, output_weights=kind, return_teacher=True, random_state=0)[2]
        for kind in ("signed", "positive")
    )
    np.testing.assert_array_equal(np.unique(signed.output_coef_), [-1, 1])
    assert stats.binomtest(int((signed.output_coef_ > 0).sum()), 1000).pvalue > 1e-3
    np.testing.assert_array_equal(positive.output_coef_, np.ones(1000))
    np.testing.assert_array_equal(positive.hidden_coef_, signed.hidden_coef_)


def test_quadratic_responses_are_recomputed_from_both_formulas():
    b = np.array([1.0, -2.0, 0.0, 0.5])
    X, y, teacher = make_quadratic(50, 4, 3, linear_coef=b, output_bias=-2.0, return_teacher=True, random_state=1)
    units = list(zip(teacher.output_coef_, teacher.hidden_coef_, strict=True))
    np.testing.assert_allclose(y, [-2.0 + b @ x + sum(v * (w @ x) ** 2 for v, w in units) for x in X], atol=1e-13)
    np.testing.assert_allclose(y, [x @ teacher.matrix_ @ x + b @ x - 2.0 for x in X], atol=1e-13)
    np.testing.assert_array_equal(teacher.predict(X), y)
    np.testing.assert_allclose(teacher.predict(sparse.csr_array(X)), y, atol=1e-13)
    np.testing.assert_allclose(teacher.predict(sparse.csc_matrix(X)), y, atol=1e-13)
    np.testing.assert_allclose(teacher.matrix_, teacher.matrix_.T, rtol=0, atol=1e-16)


def test_quadratic_moments_are_those_of_the_docstring():
    """E[y] = c + tr M, E[y x] = b, E[y (x x' - I)] = 2 M: along a direction and between two."""
    b = np.array([0.5, 0.0, -1.0])
    X, y, teacher = make_quadratic(
        40_000, 3, 2, linear_coef=b, output_bias=1.0, noise=0.3, return_teacher=True, random_state=0
    )
    assert_mean_within_5_standard_errors(y, 1.0 + np.trace(teacher.matrix_))
    for j in range(3):
        assert_mean_within_5_standard_errors(y * X[:, j], b[j])
        for k in range(3):
            assert_mean_within_5_standard_errors(y * (X[:, j] * X[:, k] - (j == k)), 2 * teacher.matrix_[j, k])


def test_quadratic_given_weights_are_used_as_they_are_and_copied():
    W, v, b = np.array([[3.0, 0.0], [0.0, -4.0], [1.0, 1.0]]), np.array([2.0, -1.0, 0.5]), np.array([1.0, -1.0])
    X, y, teacher = make_quadratic(7, coef=W, output_coef=v, linear_coef=b, return_teacher=True, random_state=0)
    assert X.shape == (7, 2)
    for given, kept in ((W, teacher.hidden_coef_), (v, teacher.output_coef_), (b, teacher.coef_)):
        np.testing.assert_array_equal(kept, given)
        given[0] = 100.0
    np.testing.assert_array_equal(teacher.predict(X), y)
    np.testing.assert_allclose(teacher.matrix_, [[18.5, 0.5], [0.5, -15.5]], rtol=1e-15)


def test_quadratic_noise():
    X, y, teacher = make_quadratic(5000, noise=0.25, return_teacher=True, random_state=0)
    residual = (y - teacher.predict(X)) / 0.25
    assert stats.kstest(residual, "norm").pvalue > 1e-3
    assert np.max(np.abs(X.T @ residual)) / np.sqrt(5000) < 5


def test_quadratic_streams():
    drawn = {"noise": 1.0, "return_teacher": True, "random_state": 7}
    X, y, teacher = make_quadratic(20, 5, **drawn)
    again = make_quadratic(20, 5, **drawn)
    np.testing.assert_array_equal(again[0], X)
    np.testing.assert_array_equal(again[1], y)
    large = make_quadratic(50, 5, **drawn)
    np.testing.assert_array_equal(large[0][:20], X)
    np.testing.assert_array_equal(large[2].hidden_coef_, teacher.hidden_coef_)
    np.testing.assert_allclose(large[1][:20], y, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(make_quadratic(20, 5, random_state=7)[0], X)
    given = make_quadratic(20, coef=np.ones((3, 5)), linear_coef=np.ones(5), output_bias=3.0, **drawn)
    np.testing.assert_array_equal(given[0], X)
    np.testing.assert_array_equal(given[2].output_coef_, teacher.output_coef_)
    np.testing.assert_allclose(given[1] - given[2].predict(X), y - teacher.predict(X), atol=1e-13)
    given = make_quadratic(20, 5, output_coef=np.ones(3), **drawn)
    np.testing.assert_array_equal(given[0], X)
    np.testing.assert_array_equal(given[2].hidden_coef_, teacher.hidden_coef_)
    assert not np.array_equal(make_quadratic(20, 5, random_state=8)[0], X)


def test_quadratic_teacher_is_frozen_and_pickles():
    X, y, teacher = make_quadratic(20, 5, return_teacher=True, random_state=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        teacher.intercept_ = 1.0
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(teacher)).predict(X), y)
    with pytest.raises(ValueError, match="X has 4 columns, the teacher expects 5"):
        teacher.predict(X[:, :4])
    with pytest.raises(ValueError, match="X contains NaN"):
        teacher.predict(np.full((2, 5), np.nan))
    assert QuadraticTeacher(np.eye(2), np.ones(2), np.zeros(2), 1.0).predict([[3.0, 4.0]]) == [26.0]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_samples": 0}, "n_samples must be an integer >= 1, got 0"),
        ({"n_features": 2.0}, "n_features must be an integer >= 1, got 2.0"),
        ({"n_hidden": 0}, "n_hidden must be an integer >= 1, got 0"),
        ({"output_weights": "mixed"}, 'output_weights must be "signed" or "positive", got \'mixed\''),
        ({"noise": -0.1}, "noise must be a finite number >= 0, got -0.1"),
        ({"noise": np.nan}, "noise must be a finite number, got nan"),
        ({"output_bias": np.inf}, "output_bias must be a finite number, got inf"),
        ({"linear_coef": np.ones(3)}, r"linear_coef must be a vector of 20 entries, got shape \(3,\)"),
        ({"linear_coef": [np.nan] * 20}, "linear_coef contains NaN"),
        ({"output_coef": np.ones(4)}, r"output_coef must be a vector, one entry for each of 3 units, got shape \(4,\)"),
        ({"coef": np.ones(3)}, r"coef must be a matrix, one unit a row, got shape \(3,\)"),
        ({"coef": [[1.0, np.nan]]}, "coef contains NaN"),
        ({"coef": np.ones((2, 3)), "linear_coef": np.zeros(2)}, "a vector of 3 entries"),
    ],
)
def test_quadratic_refuses(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_quadratic(**parameters)


# Two layers


def test_two_layer_shapes_and_defaults():
    X, y, teacher = make_two_layer_relu(return_teacher=True, random_state=0)
    assert X.shape == (1000, 20)
    assert y.shape == (1000, 8)
    assert X.dtype == y.dtype == np.float64
    assert X.flags.c_contiguous
    assert y.flags.c_contiguous
    assert teacher.hidden_coef_.shape == (5, 20)
    assert teacher.output_coef_.shape == (8, 5)
    assert teacher.activation == "relu"
    np.testing.assert_array_equal(teacher.hidden_intercept_, np.zeros(5))
    np.testing.assert_array_equal(teacher.output_intercept_, np.zeros(8))
    np.testing.assert_allclose(np.linalg.norm(teacher.hidden_coef_, axis=1), 1, rtol=1e-15)
    assert stats.kstest(X.ravel(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("given", [{"n_outputs": 1}, {"output_coef": np.ones((1, 5))}])
def test_two_layer_responses_are_a_matrix_for_one_output(given):
    X, y, teacher = make_two_layer_relu(6, noise=0.1, return_teacher=True, random_state=0, **given)
    assert y.shape == teacher.predict(X).shape == (6, 1)
    assert teacher.output_intercept_.shape == (1,)


def test_two_layer_weights_are_uniform_on_the_sphere_and_gaussian():
    # In three dimensions each coordinate of a uniform direction is uniform on [-1, 1].
    _, _, teacher = make_two_layer_relu(1, 3, 2000, 3, return_teacher=True, random_state=0)
    for coordinate in teacher.hidden_coef_.T:
        assert stats.kstest(coordinate, "uniform", args=(-1, 2)).pvalue > 1e-3
    for weights in teacher.output_coef_:
        assert stats.kstest(weights, "norm").pvalue > 1e-3
    # Uncorrelated with one another: 5 standard errors of a correlation of 2000 pairs.
    correlations = np.corrcoef(np.vstack([teacher.output_coef_, teacher.hidden_coef_.T])) - np.eye(6)
    assert np.max(np.abs(correlations)) < 5 / np.sqrt(2000)


@pytest.mark.parametrize("activation", ["relu", "tanh", tanh, Activation(np.sin, np.cos)])
@pytest.mark.parametrize("output_bias", [-2.0, [1.0, -2.0]])
def test_two_layer_responses_are_recomputed_from_the_formula(activation, output_bias):
    X, y, teacher = make_two_layer_relu(
        50,
        4,
        3,
        2,
        activation=activation,
        bias=[0.1, -0.2, 0.3],
        output_bias=output_bias,
        return_teacher=True,
        random_state=1,
    )
    f = {"relu": lambda z: max(0.0, z), "tanh": np.tanh, tanh: np.tanh}.get(activation, np.sin)
    units = list(zip(teacher.output_coef_.T, teacher.hidden_coef_, [0.1, -0.2, 0.3], strict=True))
    c = np.ones(2) * output_bias
    np.testing.assert_array_equal(teacher.output_intercept_, c)
    np.testing.assert_allclose(y, [c + sum(u * f(v @ x + b) for u, v, b in units) for x in X], atol=1e-14)
    np.testing.assert_array_equal(teacher.predict(X), y)
    for X_sparse in (sparse.csr_array(X), sparse.csc_array(X), sparse.csr_matrix(X), sparse.csc_matrix(X)):
        assert type(teacher.predict(X_sparse)) is np.ndarray
        np.testing.assert_allclose(teacher.predict(X_sparse), y, atol=1e-14)


def test_two_layer_only_the_product_of_the_lengths_counts():
    """Positive homogeneity: rows of V longer, biases too, and columns of U shorter by the same factors."""
    X, y, teacher = make_two_layer_relu(30, 4, 3, 2, bias=0.5, return_teacher=True, random_state=0)
    factors = np.array([0.1, 2.0, 30.0])
    V, U = teacher.hidden_coef_ * factors[:, None], teacher.output_coef_ / factors
    scaled = make_two_layer_relu(30, coef=V, output_coef=U, bias=0.5 * factors, random_state=0)
    np.testing.assert_array_equal(scaled[0], X)
    np.testing.assert_allclose(scaled[1], y, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "softplus"])
@pytest.mark.parametrize("lengths", [[1.0, 1.0, 1.0], [0.5, 2.0, 1.5]])
def test_two_layer_moments_are_those_of_the_docstring(activation, lengths):
    """E[y], E[y x'] and E[y (x) He_2(x)] from Hermite coefficients, entry by entry."""
    lengths, c, b = np.array(lengths), np.array([1.0, -2.0]), np.array([0.5, -0.5, 0.0])
    directions = make_two_layer_relu(1, 3, 3, 2, return_teacher=True, random_state=0)[2].hidden_coef_
    X, y, teacher = make_two_layer_relu(
        40_000,
        coef=directions * lengths[:, None],
        n_outputs=2,
        activation=activation,
        bias=b,
        output_bias=c,
        noise=0.3,
        return_teacher=True,
        random_state=0,
    )
    U = teacher.output_coef_
    c_0, c_1, c_2 = get_activation(activation).hermite_coefficients(2, scale=lengths, bias=b)
    mean = c + U @ c_0
    first = np.einsum("j,aj,jp->ap", c_1, U, directions)
    second = np.einsum("j,aj,jp,jq->apq", c_2, U, directions, directions)
    for a in range(2):
        assert_mean_within_5_standard_errors(y[:, a], mean[a])
        for p in range(3):
            assert_mean_within_5_standard_errors(y[:, a] * X[:, p], first[a, p])
            for q in range(3):
                assert_mean_within_5_standard_errors(y[:, a] * (X[:, p] * X[:, q] - (p == q)), second[a, p, q])


def test_two_layer_given_weights_are_used_as_they_are_and_copied():
    V, U = np.array([[3.0, 0.0], [0.0, -4.0], [1.0, 1.0]]), np.array([[2.0, -1.0, 0.5], [0.0, 1.0, 1.0]])
    b, c = np.array([0.0, 1.0, -1.0]), np.array([5.0, 6.0])
    X, y, teacher = make_two_layer_relu(
        7, coef=V, output_coef=U, bias=b, output_bias=c, return_teacher=True, random_state=0
    )
    assert X.shape == (7, 2)
    assert y.shape == (7, 2)
    kept = teacher.hidden_coef_, teacher.output_coef_, teacher.hidden_intercept_, teacher.output_intercept_
    for ours, theirs in zip((V, U, b, c), kept, strict=True):
        np.testing.assert_array_equal(theirs, ours)
        ours[0] = 100.0
    np.testing.assert_array_equal(teacher.predict(X), y)


def test_two_layer_noise_is_gaussian_and_independent_of_the_inputs_and_between_outputs():
    X, y, teacher = make_two_layer_relu(5000, noise=0.25, return_teacher=True, random_state=0)
    residual = (y - teacher.predict(X)) / 0.25
    assert stats.kstest(residual.ravel(), "norm").pvalue > 1e-3
    assert np.max(np.abs(X.T @ residual)) / np.sqrt(5000) < 5
    assert np.max(np.abs(residual.T @ residual - np.diag((residual**2).sum(axis=0)))) / np.sqrt(5000) < 5


def test_two_layer_streams():
    drawn = {"noise": 1.0, "return_teacher": True, "random_state": 7}
    X, y, teacher = make_two_layer_relu(20, 5, **drawn)
    again = make_two_layer_relu(20, 5, **drawn)
    np.testing.assert_array_equal(again[0], X)
    np.testing.assert_array_equal(again[1], y)
    large = make_two_layer_relu(50, 5, **drawn)
    np.testing.assert_array_equal(large[0][:20], X)
    np.testing.assert_array_equal(large[2].hidden_coef_, teacher.hidden_coef_)
    np.testing.assert_array_equal(large[2].output_coef_, teacher.output_coef_)
    np.testing.assert_allclose(large[1][:20], y, rtol=1e-12, atol=1e-14)
    noiseless = make_two_layer_relu(20, 5, **{**drawn, "noise": 0.0})
    np.testing.assert_array_equal(noiseless[0], X)
    np.testing.assert_array_equal(noiseless[1], teacher.predict(X))
    given = make_two_layer_relu(20, coef=np.ones((5, 5)), bias=2.0, output_bias=3.0, **drawn)
    np.testing.assert_array_equal(given[0], X)
    np.testing.assert_array_equal(given[2].output_coef_, teacher.output_coef_)
    np.testing.assert_allclose(given[1] - given[2].predict(X), y - teacher.predict(X), atol=1e-13)
    given = make_two_layer_relu(20, 5, output_coef=np.ones((8, 5)), **drawn)
    np.testing.assert_array_equal(given[0], X)
    np.testing.assert_array_equal(given[2].hidden_coef_, teacher.hidden_coef_)
    np.testing.assert_allclose(given[1] - given[2].predict(X), y - teacher.predict(X), atol=1e-13)
    assert not np.array_equal(make_two_layer_relu(20, 5, random_state=8)[0], X)


def test_two_layer_sizes_of_given_weights_win():
    X, y = make_two_layer_relu(4, -1, -1, -1, coef=np.ones((2, 3)), output_coef=np.ones((6, 2)), random_state=0)
    assert X.shape == (4, 3)
    assert y.shape == (4, 6)


def test_two_layer_teacher_is_frozen_and_pickles():
    X, y, teacher = make_two_layer_relu(20, 5, activation=tanh, return_teacher=True, random_state=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        teacher.output_intercept_ = np.ones(8)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(teacher)).predict(X), y)
    with pytest.raises(ValueError, match="X has 4 columns, the teacher expects 5"):
        teacher.predict(X[:, :4])
    with pytest.raises(ValueError, match="X contains NaN"):
        teacher.predict(np.full((2, 5), np.nan))
    unknown = TwoLayerTeacher(np.ones((1, 5)), np.zeros(1), np.ones((2, 1)), np.zeros(2), "linear")
    with pytest.raises(ValueError, match="activation must be an Activation or one of"):
        unknown.predict(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_samples": 0}, "n_samples must be an integer >= 1, got 0"),
        ({"n_features": 2.0}, "n_features must be an integer >= 1, got 2.0"),
        ({"n_hidden": 0}, "n_hidden must be an integer >= 1, got 0"),
        ({"n_outputs": 0}, "n_outputs must be an integer >= 1, got 0"),
        ({"n_outputs": True}, "n_outputs must be an integer >= 1, got True"),
        ({"activation": "linear"}, "activation must be an Activation or one of .* got 'linear'"),
        ({"noise": -0.1}, "noise must be a finite number >= 0, got -0.1"),
        ({"noise": np.nan}, "noise must be a finite number, got nan"),
        ({"bias": "large"}, "bias must be a finite number, got 'large'"),
        ({"bias": np.zeros(8)}, r"bias must be a vector, one entry for each of 5 units, got shape \(8,\)"),
        ({"bias": [0.0, 0.0, 0.0, 0.0, np.inf]}, "bias contains infinity"),
        ({"output_bias": np.inf}, "output_bias must be a finite number, got inf"),
        ({"output_bias": np.ones(5)}, r"output_bias must be a vector, one entry for each of 8 outputs, got shape"),
        ({"output_bias": [np.nan] * 8}, "output_bias contains NaN"),
        ({"output_coef": np.ones((4, 3))}, r"output_coef must be a matrix, .* each of 5 units, got shape \(4, 3\)"),
        ({"output_coef": np.ones(5)}, r"output_coef must be a matrix, one output a row .* got shape \(5,\)"),
        ({"output_coef": [[np.inf] * 5]}, "output_coef contains infinity"),
        ({"output_coef": np.ones((2, 5)), "output_bias": np.ones(8)}, "one entry for each of 2 outputs"),
        ({"coef": np.ones((2, 3)), "output_coef": np.ones((4, 5))}, "output_coef must be .* each of 2 units"),
        ({"coef": np.ones(3)}, r"coef must be a matrix, one unit a row, got shape \(3,\)"),
        ({"coef": [[1.0, np.nan]]}, "coef contains NaN"),
        ({"coef": np.ones((2, 3)), "bias": np.zeros(3)}, "one entry for each of 2 units"),
    ],
)
def test_two_layer_refuses(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_two_layer_relu(**parameters)
