"""Theorems behind `OneHiddenLayerNet`: fewer rows than weights (arXiv:1707.04926), more of them (arXiv:1706.03175)."""

import numpy as np
import pytest

from skrelu import OneHiddenLayerNet
from skrelu.datasets import make_one_hidden_layer
from skrelu.metrics import recovery_error


def descent_near_the_planted_weights(activation, seed, d=40, k=6, distance=0.05, max_iter=20_000, tol=0.0):
    """Gradient descent with the papers' step on n = k d / 2 rows, from a start at this relative distance."""
    rng = np.random.default_rng(seed)
    X, y, teacher = make_one_hidden_layer(
        k * d // 2, d, k, activation=activation, output_weights="positive", return_teacher=True, random_state=seed
    )
    noise = rng.standard_normal((k, d))
    start = teacher.hidden_coef_ + distance * noise * np.linalg.norm(teacher.hidden_coef_) / np.linalg.norm(noise)
    model = OneHiddenLayerNet(
        k,
        activation=activation,
        init=start,
        output_weights="positive",
        fit_intercept=False,
        solver="gd",
        step_size=1.0,
        max_iter=max_iter,
        tol=tol,
    )
    return model.fit(X, y), teacher


def slopes(curve, decades=6, pieces=3):
    """The slopes of log10 loss over each of so many equal pieces of the last decades above rounding."""
    log = np.log10(curve)
    low = max(log[-1], -22)
    bounds = np.linspace(low + decades, low + 0.5, pieces + 1)
    at = [int(np.argmax(log <= bound)) for bound in bounds]
    return np.diff(log[at]) / np.diff(at)


@pytest.mark.parametrize("activation", [pytest.param("softplus", marks=pytest.mark.slow), "tanh"])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_gradient_descent_converges_linearly_to_loss_zero(activation, seed):
    model, teacher = descent_near_the_planted_weights(activation, seed)
    curve = np.array(model.loss_curve_)
    assert curve[-1] <= 1e-20
    assert curve[0] > 1e-8
    rate = slopes(curve)
    np.testing.assert_allclose(rate, rate.mean(), rtol=0.1)
    assert rate.mean() < 0
    # So few rows do not determine the weights: the descent ends at others, that fit as well.
    assert np.linalg.norm(np.sort(model.hidden_coef_, axis=0) - np.sort(teacher.hidden_coef_, axis=0)) > 1e-3
    np.testing.assert_array_equal(model.output_coef_, 1)


def is_straight(curve):
    """Whether the log loss falls at one rate, to a tenth, over its last six decades."""
    rate = slopes(curve)
    return bool(np.all(rate < 0) and np.ptp(rate) <= 0.2 * abs(rate.mean()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The fit did not converge")  # it counts as it is
@pytest.mark.parametrize("activation", ["softplus", "tanh"])
def test_gradient_descent_comes_to_loss_zero_over_many_seeds(activation, least_successes):
    """A share of 0.95 is claimed: a false alarm has probability 1e-6, a share of 0.53 is seen with 0.99."""
    succeeded = 0
    for seed in range(40):
        model, _ = descent_near_the_planted_weights(activation, seed, d=20, k=4, tol=1e-13)
        succeeded += model.loss_ <= 1e-20 and is_straight(model.loss_curve_)
    assert succeeded >= least_successes(40, 0.95)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The fit did not converge")  # it counts as it is
def test_squared_relus_come_to_the_planted_weights_over_many_seeds(least_successes):
    """A share of 0.95 is claimed: a false alarm has probability 1e-6, a share of 0.71 is seen with 0.99."""
    succeeded = 0
    for seed in range(100):
        X, y, teacher = make_one_hidden_layer(
            2000, 10, 2, activation="squared_relu", output_weights="positive", return_teacher=True, random_state=seed
        )
        options = {"activation": "squared_relu", "output_weights": "positive", "fit_intercept": False}
        descent = {"solver": "gd", "step_size": 1.0, "max_iter": 4000, "tol": 1e-13}
        model = OneHiddenLayerNet(2, random_state=seed, **options, **descent).fit(X, y)
        recovered = recovery_error(teacher.hidden_coef_, model.hidden_coef_) < 1e-10
        succeeded += recovered and is_straight(model.loss_curve_)
    assert succeeded >= least_successes(100, 0.95)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
def test_squared_relus_converge_linearly_to_the_planted_weights_from_the_tensor_start(seed):
    d, k = 10, 3
    X, y, teacher = make_one_hidden_layer(
        2000, d, k, activation="squared_relu", output_weights="positive", return_teacher=True, random_state=seed
    )
    model = OneHiddenLayerNet(
        k,
        activation="squared_relu",
        output_weights="positive",
        fit_intercept=False,
        solver="gd",
        step_size=1.0,
        max_iter=4000,
        tol=0,
        random_state=0,
    ).fit(X, y)
    assert recovery_error(teacher.hidden_coef_, model.hidden_coef_) < 1e-10
    rate = slopes(np.array(model.loss_curve_))
    np.testing.assert_allclose(rate, rate.mean(), rtol=0.1)
    assert rate.mean() < 0
