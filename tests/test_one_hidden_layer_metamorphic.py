"""What must not change, or change in a known way, in `OneHiddenLayerReLU`; objective and descent by slow formulas."""

from copy import copy
from functools import cache

import numpy as np
import pytest
from scipy.optimize import lsq_linear
from sklearn.base import clone

import skrelu.rows.memory
from skrelu import OneHiddenLayerReLU, ProjectedReLURegressor
from skrelu.datasets import make_one_hidden_layer
from skrelu.metrics import match_units

D, K = 6, 3
W = np.random.default_rng(0).standard_normal((K, D))


def data(seed=0, n=240, noise=0.1, bias=0.3):
    """Columns of unequal scales, off centre and correlated; integer weights, some zero."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, D)) @ (np.eye(D) + 0.3 * rng.standard_normal((D, D))) + np.linspace(-1, 1, D)
    y = np.maximum((X - X.mean(axis=0)) @ W.T + bias, 0) @ [1, -1, 1] + noise * rng.standard_normal(n)
    return X, y, rng.integers(0, 4, n).astype(float)


MODELS = {
    "auto": OneHiddenLayerReLU(K, alpha=0.0, n_init=2, random_state=0),
    "no intercept": OneHiddenLayerReLU(K, alpha=0.0, fit_intercept=False, random_state=0),
    "decay": OneHiddenLayerReLU(K, alpha=0.03, n_init=2, random_state=0),
    "gd": OneHiddenLayerReLU(K, solver="gd", max_iter=30, tol=0, random_state=0),
    "any size": OneHiddenLayerReLU(alpha=0.0, n_init=2, random_state=0),
    "default": OneHiddenLayerReLU(n_init=2, random_state=0),
}
# The choices of size and of decay are costly: they run with the slow tests.
most = pytest.mark.parametrize(
    "name",
    [name if name not in ("any size", "default") else pytest.param(name, marks=pytest.mark.slow) for name in MODELS],
)


def fit(name, X, y, s=None, **parameters):
    model = MODELS[name] if isinstance(name, str) else name
    return clone(model).set_params(**parameters).fit(X, y, s)


def centred(name, X):
    """The data of the model without biases are planted without them."""
    return X - X.mean(axis=0) if name == "no intercept" else X


@cache
def fitted(name):
    """The fit to the data with weights, shared by the tests, which do not change it."""
    X, y, s = data()
    return fit(name, centred(name, X), y, s)


@cache
def optimum(seed, alpha):
    """The fit at a decay, shared by the tests, which do not change it."""
    return OneHiddenLayerReLU(K, alpha=alpha, random_state=0).fit(*data(seed))


def assert_same(a, b, atol=1e-7):
    np.testing.assert_allclose(a.hidden_coef_, b.hidden_coef_, rtol=0, atol=atol)
    np.testing.assert_allclose(a.hidden_intercept_, b.hidden_intercept_, rtol=0, atol=atol)
    np.testing.assert_array_equal(a.output_coef_, b.output_coef_)
    assert a.output_intercept_ == pytest.approx(b.output_intercept_, abs=atol)
    assert a.loss_ == pytest.approx(b.loss_, rel=1e-8)


# Rows and weights.


@most
def test_integer_weights_are_repetitions_and_zero_weights_removals_in_any_order(name):
    X, y, s = data()
    X = centred(name, X)
    rows = np.repeat(np.arange(len(y)), s.astype(int))
    assert np.any(s == 0)
    np.random.default_rng(1).shuffle(rows)
    assert_same(fitted(name), fit(name, X[rows], y[rows]))


def test_the_weights_count():
    """The test above could not fail if the weights of these rows made no difference."""
    X, y, _ = data()
    assert np.abs(fitted("auto").hidden_coef_ - fit("auto", X, y).hidden_coef_).max() > 1e-3


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("any size", "default")])
def test_a_common_factor_of_the_weights_changes_nothing_at_a_fixed_size(name):
    """The number of rows, the sum of the weights, decides the size and how far moments are trusted, not the optimum."""
    X, y, s = data()
    X = centred(name, X)
    one = fit(name, X, y, s, init=W + 0.2)
    assert_same(fit(name, X, y, 4 * s, init=W + 0.2), one, atol=1e-10)
    assert_same(fit(name, X, y, 1e-3 * s, init=W + 0.2), one, atol=1e-8)


@pytest.mark.parametrize("name", ["auto", "no intercept", "decay"])
def test_a_common_factor_of_the_weights_leaves_the_optimum_from_the_moments(name):
    X, y, s = data()
    X = centred(name, X)
    assert_same(fit(name, X, y, 7 * s), fitted(name))


@pytest.mark.parametrize("name", ["auto", "gd"])
def test_weights_of_one_are_no_weights(name):
    X, y, _ = data()
    with_ones, without = fit(name, X, y, np.ones(len(y))), fit(name, X, y)
    np.testing.assert_array_equal(with_ones.hidden_coef_, without.hidden_coef_)


@most
def test_the_order_of_the_rows_does_not_matter(name):
    X, y, s = data()
    X = centred(name, X)
    order = np.random.default_rng(1).permutation(len(y))
    assert_same(fit(name, X[order], y[order], s[order]), fitted(name))


@pytest.mark.parametrize("name", ["auto", "decay", "gd", pytest.param("default", marks=pytest.mark.slow)])
def test_the_size_of_the_blocks_of_rows_does_not_matter(name, monkeypatch):
    X, y, s = data()
    X = centred(name, X)
    whole = fitted(name)
    monkeypatch.setattr(skrelu.rows.memory, "BLOCK_BYTES", 40 * 8 * D)
    assert_same(fit(name, X, y, s), whole)


# Columns and units of measure.


@most
def test_the_order_of_the_columns_does_not_matter(name):
    X, y, s = data()
    X = centred(name, X)
    order = np.random.default_rng(1).permutation(D)
    plain, permuted = copy(fitted(name)), fit(name, X[:, order], y, s)
    if name == "gd":  # the start is the minimum of a fit to moments, from random directions that do not follow
        np.testing.assert_allclose(permuted.predict(X[:, order]), plain.predict(X), rtol=0, atol=0.1)
        return
    if name == "default":  # an average, whose random starts have a draw for each column
        np.testing.assert_allclose(permuted.predict(X[:, order]), plain.predict(X), rtol=0, atol=0.1 * y.std())
        return
    plain.hidden_coef_ = plain.hidden_coef_[:, order]
    assert_same(permuted, plain)


def test_descent_from_a_given_start_follows_the_columns():
    X, y, s = data()
    order = np.random.default_rng(1).permutation(D)
    plain = fit("gd", X, y, s, init=W)
    permuted = fit("gd", X[:, order], y, s, init=W[:, order])
    np.testing.assert_allclose(permuted.hidden_coef_, plain.hidden_coef_[:, order], rtol=0, atol=1e-11)


@pytest.mark.parametrize("factor", [1e-8, pytest.param(1e8, marks=pytest.mark.slow)])
@most
def test_the_units_of_the_target_do_not_matter(name, factor):
    """f -> a f: the same f, every weight times a; the penalty is linear in the weights, so that alpha -> a alpha."""
    X, y, s = data()
    X = centred(name, X)
    plain = fitted(name)
    alpha = MODELS[name].alpha
    scaled = fit(name, X, factor * y, s, alpha=alpha if alpha == "auto" else factor * alpha)
    assert scaled.alpha_ == pytest.approx(factor * plain.alpha_, rel=1e-10)
    np.testing.assert_allclose(scaled.hidden_coef_ / factor, plain.hidden_coef_, rtol=0, atol=1e-7)
    np.testing.assert_allclose(scaled.predict(X) / factor, plain.predict(X), rtol=0, atol=1e-7)
    np.testing.assert_allclose(np.array(scaled.loss_curve_[-1]) / factor**2, plain.loss_curve_[-1], rtol=1e-8)


@pytest.mark.parametrize("name", ["auto", "decay", "any size", "default"])
def test_scales_and_shifts_of_the_columns_do_not_matter(name):
    """Not even to the penalty, which S makes free of units."""
    X, y, s = data()
    scales, shift = 10.0 ** np.linspace(-3, 3, D), np.linspace(-5, 5, D)
    plain, other = fitted(name), fit(name, (X + shift) * scales, y, s)
    np.testing.assert_allclose(other.predict((X + shift) * scales), plain.predict(X), rtol=0, atol=1e-7)
    np.testing.assert_allclose(other.hidden_coef_ * scales, plain.hidden_coef_, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["auto", pytest.param("any size", marks=pytest.mark.slow), "default"])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_affine_maps_of_the_inputs_leave_the_predictions(name, seed):
    X, y, _ = data(seed)
    rng = np.random.default_rng(100 + seed)
    A, shift = rng.standard_normal((D, D)), 3 * rng.standard_normal(D)
    plain, other = fit(name, X, y), fit(name, X @ A + shift, y)
    np.testing.assert_allclose(other.predict(X @ A + shift), plain.predict(X), rtol=0, atol=1e-7)
    order = match_units(plain.hidden_coef_, other.hidden_coef_ @ A.T)[1]
    np.testing.assert_allclose(other.hidden_coef_[order] @ A.T, plain.hidden_coef_, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_linear_maps_of_the_inputs_leave_the_predictions_without_biases(seed):
    X, y, s = data(seed, bias=0.0)
    X = X - X.mean(axis=0) + 0.1
    A = np.random.default_rng(100 + seed).standard_normal((D, D))
    plain, other = fit("no intercept", X, y, s), fit("no intercept", X @ A, y, s)
    np.testing.assert_allclose(other.predict(X @ A), plain.predict(X), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["auto", pytest.param("decay", marks=pytest.mark.slow)])
def test_duplicate_columns_share_the_weights_of_one(name):
    """Predictions as without the copies: without penalty there is nothing to choose, and the shortest weights share."""
    X, y, s = data(noise=0.05)
    plain = fit(name, X, y, s)
    double = fit(name, np.column_stack([X, X[:, :2]]), y, s)
    if name == "auto":
        np.testing.assert_allclose(double.predict(np.column_stack([X, X[:, :2]])), plain.predict(X), rtol=0, atol=1e-7)
    else:
        # Two copies cost less than one: the objective can only fall.
        assert double.loss_curve_[-1] < plain.loss_curve_[-1]
    w = double.hidden_coef_
    np.testing.assert_allclose(w[:, D:], w[:, :2], rtol=0, atol=1e-6)
    assert np.abs(w[:, D:]).max() > 0.1


# Not of averages: their random starts have a draw for each column.
@pytest.mark.parametrize("name", ["auto", "any size"])
def test_a_constant_column_changes_nothing(name):
    X, y, s = data()
    wide = np.column_stack([X[:, :3], np.full(len(y), 7.0), X[:, 3:], np.zeros(len(y))])
    np.testing.assert_allclose(fit(name, wide, y, s).predict(wide), fitted(name).predict(X), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["auto", "no intercept", "gd"])
def test_the_negative_of_the_target_turns_the_outputs_over(name):
    X, y, s = data()
    X = centred(name, X)
    plain, negative = fit(name, X, y, s, init=W + 0.1), fit(name, X, -y, s, init=W + 0.1)
    np.testing.assert_allclose(negative.predict(X), -plain.predict(X), rtol=0, atol=1e-7)
    np.testing.assert_array_equal(negative.output_coef_, -plain.output_coef_)
    np.testing.assert_allclose(negative.hidden_coef_, plain.hidden_coef_, rtol=0, atol=1e-7)


# The iteration of the papers, slow and obvious.


def slow_gradient(X, y, s, W, b, v, c, alpha=0.0):
    """``1/(2 sum s) sum s (f - y)^2 + (alpha/2) sum_j w_j' S w_j`` and its gradient in W, b, c, row by row."""
    S = np.average((X - np.average(X, axis=0, weights=s)) ** 2, axis=0, weights=s)
    value, G, g_b, g_c = alpha / 2 * (np.sum(W**2 * S) + v @ v), alpha * W * S, np.zeros(len(b)), 0.0
    for x_i, y_i, p_i in zip(X, y, s / s.sum(), strict=True):
        z = W @ x_i + b
        r = c + v @ np.maximum(z, 0) - y_i
        value += p_i * r**2 / 2
        G = G + p_i * r * np.outer(v * (z > 0), x_i)
        g_b = g_b + p_i * r * v * (z > 0)
        g_c += p_i * r
    return value, G, g_b, g_c


def gauss_newton(X, s, W, b, v, fit_intercept, alpha=0.0):
    """The Gauss-Newton matrix in the user's coordinates, with the curvature of the penalty."""
    active = v * (X @ W.T + b > 0)
    J = (active[:, :, None] * X[:, None, :]).reshape(len(X), -1)
    S = np.average((X - np.average(X, axis=0, weights=s)) ** 2, axis=0, weights=s)
    penalty = alpha * np.tile(S, len(W))
    if fit_intercept:
        J = np.column_stack([J, active, np.ones(len(X))])
        penalty = np.append(penalty, np.zeros(len(W) + 1))
    return J.T @ (J * (s / s.sum())[:, None]) + np.diag(penalty)


@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("step_size", [1.0, 0.4])
def test_gd_is_the_documented_iteration_to_the_letter(step_size, fit_intercept, alpha):
    """``theta - (step_size / L) g``, L the largest Gauss-Newton eigenvalue at the start to three digits; v fixed."""
    X, y, s = data(n=60)
    start = W + 0.3
    options = {"init": start, "step_size": step_size, "tol": 0, "fit_intercept": fit_intercept, "alpha": alpha}
    # The start: outputs by least squares, their magnitudes in the units.
    A = np.maximum(X @ start.T, 0)
    A = np.column_stack([A, np.ones(len(y))]) if fit_intercept else A
    root = np.sqrt(s)
    outputs = np.linalg.lstsq(A * root[:, None], y * root, rcond=None)[0]
    v, c = np.sign(outputs[:K]), float(outputs[K]) if fit_intercept else 0.0
    U, b = np.abs(outputs[:K])[:, None] * start, np.zeros(K)
    L = np.linalg.eigvalsh(gauss_newton(X, s, U, b, v, fit_intercept, alpha))[-1]

    # The step of the estimator, from its first iterate.
    first = OneHiddenLayerReLU(**options, max_iter=1).fit(X, y, s)
    _, G, g_b, g_c = slow_gradient(X, y, s, U, b, v, c, alpha)
    order = match_units(U, first.hidden_coef_)[1]
    mu = np.sum(G * (U - first.hidden_coef_[order])) / np.sum(G**2)
    assert mu == pytest.approx(step_size / L, rel=2e-3)

    losses = []
    for max_iter in range(1, 6):
        _, G, g_b, g_c = slow_gradient(X, y, s, U, b, v, c, alpha)
        U = U - mu * G
        if fit_intercept:
            b, c = b - mu * g_b, c - mu * g_c
        losses.append(slow_gradient(X, y, s, U, b, v, c, alpha)[0])
        model = OneHiddenLayerReLU(**options, max_iter=max_iter).fit(X, y, s)
        order = match_units(U, model.hidden_coef_)[1]
        np.testing.assert_allclose(model.hidden_coef_[order], U, rtol=0, atol=1e-10)
        np.testing.assert_allclose(model.hidden_intercept_[order], b, rtol=0, atol=1e-10)
        np.testing.assert_array_equal(model.output_coef_[order], v)
        assert model.output_intercept_ == pytest.approx(c, abs=1e-10)
        np.testing.assert_allclose(model.loss_curve_, losses, rtol=1e-9)


def test_gd_auto_never_raises_the_objective_and_halves_for_good():
    """The step is 1/L times a power of 1/2 that never grows; at a start near zero 1/L is far too long."""
    X, y, _ = data()
    model = OneHiddenLayerReLU(init=1e-3 * W, output_weights="positive", solver="gd", max_iter=200, tol=0).fit(X, y)
    curve = np.array(model.loss_curve_)
    assert np.all(np.diff(curve) <= 0)
    assert curve[-1] < 0.9 * curve[0]


# Stationarity, from the documented objective alone.


def documented_objective(model, X, y, s, alpha):
    S = np.average((X - np.average(X, axis=0, weights=s)) ** 2, axis=0, weights=s)

    def objective(W, b, c):
        f = c + np.maximum(X @ W.T + b, 0) @ model.output_coef_
        return np.average((f - y) ** 2, weights=s) / 2 + alpha * np.sqrt(W**2 @ S).sum()

    return objective, S


@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.1])
@pytest.mark.parametrize(
    "seed",
    [
        0,
        pytest.param(1, marks=pytest.mark.slow),
        pytest.param(2, marks=pytest.mark.slow),
        pytest.param(3, marks=pytest.mark.slow),
    ],
)
def test_no_direction_descends_from_the_solution(seed, alpha):
    """Finite differences of the documented objective, ``alpha sum_j (w_j' S w_j)^(1/2)``, are nowhere below zero.

    The smoothing of width ``e t``, e = 1e-4, t the root mean square of y, moves f by at most ``d = k e t / 8`` and the
    objective by at most ``B = d mean |r| + d^2 / 2``: steps of any length bring at most 2 B.
    """
    X, y, s = data(seed)
    model = optimum(seed, alpha)
    assert model.converged_
    objective, S = documented_objective(model, X, y, s, alpha)
    at = model.hidden_coef_, model.hidden_intercept_, model.output_intercept_
    value, rng, t = objective(*at), np.random.default_rng(0), np.sqrt(np.average(y**2, weights=s))
    assert np.linalg.norm(model.hidden_coef_ * np.sqrt(S), axis=1).min() > 0.05
    h, d = 1e-2, K * 1e-4 * t / 8
    bound = 2 * (d * np.average(np.abs(model.predict(X) - y), weights=s) + d**2 / 2)
    for _ in range(200):
        move = rng.standard_normal((K, D)), rng.standard_normal(K), rng.standard_normal()
        length = np.sqrt(sum(np.sum(np.square(m)) for m in move))
        moved = objective(*(a + h / length * m for a, m in zip(at, move, strict=True)))
        assert moved >= value - bound


@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_the_shortest_subgradient_vanishes(seed, alpha):
    """Of rows within the smoothing of a kink the derivative is free in [0, 1]; elsewhere the gradient is what it is."""
    X, y, s = data(seed)
    model = optimum(seed, alpha)
    p, v, t = s / s.sum(), model.output_coef_, np.sqrt(np.average(y**2, weights=s))
    S = np.average((X - p @ X) ** 2, axis=0, weights=s)
    z = X @ model.hidden_coef_.T + model.hidden_intercept_
    r = model.output_intercept_ + np.maximum(z, 0) @ v - y
    X1 = np.column_stack([X, np.ones(len(y))])
    on_kink = (np.abs(z) < 1e-4 * t) & (s > 0)[:, None]
    fixed = (z > 0) & ~on_kink
    norms = np.sqrt(model.hidden_coef_**2 @ S)
    gradients, free = [], []
    for j in range(K):
        g = v[j] * X1.T @ (p * r * fixed[:, j])
        g[:D] += alpha * S * model.hidden_coef_[j] / norms[j]
        gradients.append(g)
        for i in np.flatnonzero(on_kink[:, j]):
            column = np.zeros((K, D + 1))
            column[j] = v[j] * p[i] * r[i] * X1[i]
            free.append(column.ravel())
    gradient = np.concatenate(gradients)
    if free:
        A = np.column_stack(free)
        gradient = gradient + A @ lsq_linear(A, -gradient, bounds=(0, 1), tol=1e-14).x
    # The smoothed residuals that the solver balanced differ from r by at most this.
    accuracy = K * 1e-4 * t / 8 * np.sqrt(np.sum(p[:, None] * X1**2)) * np.mean(on_kink.any(axis=1)) ** 0.5 + 1e-8 * t
    assert np.linalg.norm(gradient) <= accuracy
    assert abs(p @ r) <= K * 1e-4 * t / 8 * np.mean(on_kink.any(axis=1)) + 1e-8 * t


@pytest.mark.parametrize("alpha", [10.0, 1e3, 1e6, 1e50])
def test_the_largest_decays_leave_the_mean(alpha):
    """For alpha above the largest slope of a unit at zero, the optimum is c = mean(y) and no units at all."""
    X, y, s = data()
    model = OneHiddenLayerReLU(K, alpha=alpha, random_state=0).fit(X, y, s)
    mean = np.average(y, weights=s)
    np.testing.assert_allclose(model.predict(X), mean, rtol=0, atol=1e-4 * abs(mean))
    assert model.loss_ == pytest.approx(np.average((y - mean) ** 2, weights=s) / 2, rel=1e-6)


def test_more_decay_is_a_larger_loss_and_a_smaller_penalty():
    """Along the path of optima: the exchange argument."""
    X, y, _ = data(noise=0.3)
    S = X.var(axis=0)
    path = [OneHiddenLayerReLU(K, alpha=alpha, random_state=0).fit(X, y) for alpha in (0.0, 0.01, 0.1)]
    losses = [model.loss_ for model in path]
    penalties = [np.sqrt(model.hidden_coef_**2 @ S).sum() for model in path]
    assert np.all(np.diff(losses) > 0)
    assert np.all(np.diff(penalties) < 0)


# One unit.


def one_unit(seed, noise):
    rng = np.random.default_rng(seed)
    X, w = rng.standard_normal((200, 8)), rng.standard_normal(8)
    return X, np.maximum(X @ w, 0) + noise * rng.standard_normal(200), w


@pytest.mark.parametrize("seed", range(5))
def test_one_positive_unit_without_noise_is_the_single_relu(seed):
    X, y, w = one_unit(seed, 0.0)
    net = OneHiddenLayerReLU(1, alpha=0, fit_intercept=False, output_weights="positive", random_state=0).fit(X, y)
    single = ProjectedReLURegressor(None, fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(net.hidden_coef_[0], single.coef_, rtol=0, atol=1e-10)
    np.testing.assert_allclose(net.hidden_coef_[0], w, rtol=0, atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_one_positive_unit_with_noise_is_the_single_relu_to_the_smoothing(seed):
    """Smoothing by e = 1e-4 moves the objective by at most ``B = mean |r| e t / 8 + (e t / 8)^2 / 2``, each way."""
    X, y, _ = one_unit(seed, 0.3)
    net = OneHiddenLayerReLU(1, alpha=0, fit_intercept=False, output_weights="positive", random_state=0).fit(X, y)
    single = ProjectedReLURegressor(None, fit_intercept=False).fit(X, y)
    shift = 1e-4 * np.sqrt(np.mean(y**2)) / 8
    bound = 2 * (np.mean(np.abs(single.predict(X) - y)) * shift + shift**2 / 2)
    assert abs(net.loss_ - single.loss_) <= bound
    # Curvature at least 0.1 in all directions here: the weights follow.
    active = X[X @ single.coef_ > 0]
    curvature = np.linalg.eigvalsh(active.T @ active / len(X))[0]
    assert np.linalg.norm(net.hidden_coef_[0] - single.coef_) <= 2 * np.sqrt(2 * bound / curvature)


def test_a_positive_network_fits_the_negative_of_no_network():
    """Outputs +1 cannot reach a concave target: the loss stays far above that of signed outputs."""
    X, y = make_one_hidden_layer(300, D, 2, output_coef=[-1.0, -1.0], random_state=0)
    positive = OneHiddenLayerReLU(2, alpha=0, output_weights="positive", random_state=0).fit(X, y)
    signed = OneHiddenLayerReLU(2, alpha=0, random_state=0).fit(X, y)
    assert signed.loss_ < 1e-20
    assert positive.loss_ > 0.01
    np.testing.assert_array_equal(positive.output_coef_, 1)


@pytest.mark.parametrize(
    "name",
    [
        "auto",
        "decay",
        "gd",
        pytest.param("any size", marks=pytest.mark.slow),
        pytest.param("default", marks=pytest.mark.slow),
    ],
)
def test_single_precision_is_close(name):
    X, y, _ = data(noise=0.05)
    X = centred(name, X)
    X, y = X.astype(np.float32), y.astype(np.float32)
    double, single = fit(name, X.astype(float), y.astype(float)), fit(name, X, y)
    np.testing.assert_allclose(single.predict(X), double.predict(X), rtol=0, atol=2e-3 * np.abs(y).max())
    assert single.loss_ == pytest.approx(double.loss_, rel=2e-3)
