"""What must not change, or change in a known way, in `TwoLayerReLURecovery`."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import skrelu.rows.memory
from skrelu import TwoLayerReLURecovery
from skrelu.metrics import match_units, recovery_error

D, K, M = 5, 3, 4
V = np.random.default_rng(0).standard_normal((K, D))
U = np.random.default_rng(1).standard_normal((M, K))


def data(seed=0, n=240, noise=0.1, bias=0.3):
    """Columns of unequal scales, off centre and correlated; integer weights, some zero."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, D)) @ (np.eye(D) + 0.3 * rng.standard_normal((D, D))) + np.linspace(-1, 1, D)
    X = X if bias else X - X.mean(axis=0)
    y = np.maximum((X - X.mean(axis=0)) @ V.T + bias, 0) @ U.T + bias
    return X, y + noise * rng.standard_normal(y.shape), rng.integers(0, 4, n).astype(float)


MODELS = {
    "given": TwoLayerReLURecovery(K, alpha=0.0, random_state=0),
    "any size": TwoLayerReLURecovery(alpha=0.0, random_state=0),
    "no intercept": TwoLayerReLURecovery(K, fit_intercept=False, alpha=0.0, random_state=0),
    "decay": TwoLayerReLURecovery(K, alpha=0.03, random_state=0),
    "squared": TwoLayerReLURecovery(K, activation="squared_relu", alpha=0.0, random_state=0),
    "gd": TwoLayerReLURecovery(K, solver="gd", max_iter=30, tol=0, alpha=0.0, random_state=0),
}
FAST = ("given",)
names = pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
SOLVED = pytest.mark.parametrize("name", ["given", pytest.param("any size", marks=pytest.mark.slow)])
noises = pytest.mark.parametrize("noise", [0.0, 0.1])


def fit(name, X, y, s=None, **parameters):
    model = clone(MODELS[name]).set_params(**parameters)
    with warnings.catch_warnings():
        # Zero residuals apart, a squared ReLU misses data of a ReLU: nothing is said of recovery.
        warnings.filterwarnings("ignore", "The residual is", ConvergenceWarning)
        return model.fit(X, y, s)


def bias_of(name):
    return 0.0 if name == "no intercept" else 0.3


def assert_same(a, b, atol=1e-6):
    """The same network: the order of units of the same size may differ."""
    assert a.hidden_coef_.shape == b.hidden_coef_.shape
    order = match_units(a.hidden_coef_, b.hidden_coef_)[1]
    for name, part in {
        "hidden_coef_": b.hidden_coef_[order],
        "hidden_intercept_": b.hidden_intercept_[order],
        "output_coef_": b.output_coef_[:, order],
        "output_intercept_": b.output_intercept_,
    }.items():
        np.testing.assert_allclose(getattr(a, name), part, rtol=0, atol=atol, err_msg=name)
    assert a.loss_ == pytest.approx(b.loss_, rel=1e-7, abs=1e-20)
    assert a.exact_ == b.exact_


# Rows and weights.


@noises
@names
def test_integer_weights_are_repetitions_and_zero_weights_removals_in_any_order(name, noise):
    X, y, s = data(noise=noise, bias=bias_of(name))
    rows = np.repeat(np.arange(len(y)), s.astype(int))
    assert np.any(s == 0)
    np.random.default_rng(1).shuffle(rows)
    one = fit(name, X, y, s)
    assert_same(one, fit(name, X[rows], y[rows]))
    if noise == 0 and name in ("given", "any size", "no intercept"):
        assert one.exact_


@names
def test_rows_of_no_weight_may_hold_anything(name):
    X, y, s = data(bias=bias_of(name))
    X_bad, y_bad = X.copy(), y.copy()
    X_bad[s == 0], y_bad[s == 0] = 1e6, -1e6
    assert_same(fit(name, X_bad, y_bad, s), fit(name, X[s > 0], y[s > 0], s[s > 0]))


def test_the_weights_count():
    """The tests above could not fail if the weights of these rows made no difference."""
    X, y, s = data()
    assert np.abs(fit("given", X, y, s).hidden_coef_ - fit("given", X, y).hidden_coef_).max() > 1e-3


@noises
@pytest.mark.parametrize("name", ["given", "no intercept", pytest.param("decay", marks=pytest.mark.slow)])
@pytest.mark.parametrize("factor", [7.0, 0.5])
def test_a_common_factor_of_the_weights_changes_nothing_at_a_fixed_size(name, factor, noise):
    X, y, s = data(noise=noise, bias=bias_of(name))
    assert_same(fit(name, X, y, factor * s), fit(name, X, y, s))


@names
def test_weights_of_one_are_no_weights(name):
    X, y, _ = data(bias=bias_of(name))
    with_ones, without = fit(name, X, y, np.ones(len(y))), fit(name, X, y)
    np.testing.assert_array_equal(with_ones.hidden_coef_, without.hidden_coef_)


@noises
@names
def test_the_order_of_the_rows_does_not_matter(name, noise):
    X, y, s = data(noise=noise, bias=bias_of(name))
    order = np.random.default_rng(1).permutation(len(y))
    assert_same(fit(name, X[order], y[order], s[order]), fit(name, X, y, s))


@names
def test_the_size_of_the_blocks_of_rows_does_not_matter(name, monkeypatch):
    X, y, s = data(bias=bias_of(name))
    whole = fit(name, X, y, s)
    monkeypatch.setattr(skrelu.rows.memory, "BLOCK_BYTES", 40 * 8 * D)
    assert_same(fit(name, X, y, s), whole)


# Columns and outputs.


@noises
@names
def test_the_order_of_the_columns_does_not_matter(name, noise):
    X, y, s = data(noise=noise, bias=bias_of(name))
    order = np.random.default_rng(1).permutation(D)
    plain, permuted = fit(name, X, y, s), fit(name, X[:, order], y, s)
    if name == "gd":  # the start draws its directions in the coordinates of the columns
        np.testing.assert_allclose(permuted.predict(X[:, order]), plain.predict(X), rtol=0, atol=0.5)
        return
    plain.hidden_coef_ = plain.hidden_coef_[:, order]
    assert_same(permuted, plain)


@noises
@pytest.mark.parametrize("name", ["given", "any size", pytest.param("decay", marks=pytest.mark.slow)])
def test_the_order_of_the_outputs_does_not_matter(name, noise):
    X, y, s = data(noise=noise)
    order = np.random.default_rng(1).permutation(M)
    plain, permuted = fit(name, X, y, s), fit(name, X, y[:, order], s)
    plain.output_coef_, plain.output_intercept_ = plain.output_coef_[order], plain.output_intercept_[order]
    assert_same(permuted, plain)


@noises
@pytest.mark.parametrize("name", ["given", "any size", pytest.param("decay", marks=pytest.mark.slow)])
def test_rotated_outputs_are_of_the_rotated_network(name, noise):
    X, y, s = data(noise=noise)
    Q = np.linalg.qr(np.random.default_rng(5).standard_normal((M, M)))[0]
    plain, rotated = fit(name, X, y, s), fit(name, X, y @ Q.T, s)
    plain.output_coef_, plain.output_intercept_ = Q @ plain.output_coef_, Q @ plain.output_intercept_
    assert_same(rotated, plain)


@pytest.mark.parametrize("factor", [1e-150, 1e-8, 1e8, 1e150])
@SOLVED
def test_the_units_of_the_target_do_not_matter(name, factor):
    X, y, s = data()
    plain, scaled = fit(name, X, y, s), fit(name, X, factor * y, s)
    np.testing.assert_allclose(scaled.hidden_coef_, plain.hidden_coef_, rtol=0, atol=1e-7)
    np.testing.assert_allclose(scaled.output_coef_ / factor, plain.output_coef_, rtol=0, atol=1e-7)
    assert scaled.loss_ / factor / factor == pytest.approx(plain.loss_, rel=1e-8)
    assert scaled.residual_ == pytest.approx(plain.residual_, rel=1e-8)


@pytest.mark.parametrize("factor", [1e-150, 1e-8, 1e8, 1e150])
@SOLVED
def test_recovery_is_exact_in_any_units_of_the_target(name, factor):
    X, y, _ = data(noise=0.0)
    model = fit(name, X, factor * y)
    assert model.exact_
    assert recovery_error(V, model.hidden_coef_, scale_invariant=True) < 1e-10
    norm = np.linalg.norm(V, axis=1)
    order = match_units(V / norm[:, None], model.hidden_coef_)[1]
    np.testing.assert_allclose(model.output_coef_[:, order] / factor, U * norm, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_the_units_of_the_target_are_those_of_the_decay(factor):
    """|v| |u| is of the order of y: alpha -> a alpha."""
    X, y, s = data()
    plain, scaled = fit("decay", X, y, s), fit("decay", X, factor * y, s, alpha=0.03 * factor)
    np.testing.assert_allclose(scaled.hidden_coef_, plain.hidden_coef_, rtol=0, atol=1e-6)
    np.testing.assert_allclose(scaled.output_coef_ / factor, plain.output_coef_, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scales", [10.0 ** np.linspace(-6, 6, D), np.full(D, 1e-150), np.full(D, 1e150)])
@SOLVED
def test_recovery_is_exact_in_any_units_of_the_columns(name, scales):
    X, y, _ = data(noise=0.0)
    model = fit(name, X * scales, y)
    assert model.exact_
    with np.errstate(over="ignore"):
        found = model.hidden_coef_ * scales
    assert recovery_error(V, found / np.max(np.abs(found)), scale_invariant=True) < 1e-10
    np.testing.assert_allclose(model.predict(X * scales), y, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["given", "any size", pytest.param("decay", marks=pytest.mark.slow)])
def test_scales_of_the_columns_do_not_matter(name):
    """Not even to the penalty, which S makes free of units."""
    X, y, s = data()
    scales = 10.0 ** np.linspace(-6, 6, D)
    plain, other = fit(name, X, y, s), fit(name, X * scales, y, s)
    np.testing.assert_allclose(other.predict(X * scales), plain.predict(X), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("shift", "atol"), [(1e3, 1e-10), (1e6, 1e-7)])
@SOLVED
def test_a_mean_far_away_costs_the_digits_that_the_shift_takes(name, shift, atol):
    X, _, _ = data()
    X = (X * 2**20).round() / 2**20  # so that adding and taking away the mean changes nothing
    y = np.maximum(X @ V.T + 0.3, 0) @ U.T
    model = fit(name, X + shift, y)
    np.testing.assert_allclose(model.predict(X + shift), y, rtol=0, atol=atol)
    assert recovery_error(V, model.hidden_coef_, scale_invariant=True) < atol


@noises
@SOLVED
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_affine_maps_of_the_inputs_are_undone_by_the_weights(name, seed, noise):
    X, y, _ = data(seed, noise=noise)
    rng = np.random.default_rng(100 + seed)
    A, shift = rng.standard_normal((D, D)), 3 * rng.standard_normal(D)
    plain, other = fit(name, X, y), fit(name, X @ A + shift, y)
    atol = 1e-6 if noise else 1e-10
    np.testing.assert_allclose(other.predict(X @ A + shift), plain.predict(X), rtol=0, atol=atol)
    assert recovery_error(plain.hidden_coef_, other.hidden_coef_ @ A.T, scale_invariant=True) < atol


@noises
def test_linear_maps_of_the_inputs_are_undone_without_biases(noise):
    X, y, s = data(noise=noise, bias=0.0)
    A = np.random.default_rng(100).standard_normal((D, D))
    plain, other = fit("no intercept", X, y, s), fit("no intercept", X @ A, y, s)
    np.testing.assert_allclose(other.predict(X @ A), plain.predict(X), rtol=0, atol=1e-6)


@noises
@SOLVED
def test_duplicated_outputs_have_the_weights_of_one(name, noise):
    """The copies count twice, which noise makes a difference to; all doubled are the same problem."""
    X, y, s = data(noise=noise)
    plain, double = fit(name, X, y, s), fit(name, X, np.hstack([y, y]), s)
    np.testing.assert_allclose(double.output_coef_[:M], double.output_coef_[M:], rtol=0, atol=1e-8)
    np.testing.assert_allclose(double.predict(X)[:, :M], plain.predict(X), rtol=0, atol=1e-6)
    assert double.exact_ == plain.exact_
    assert double.loss_ == pytest.approx(2 * plain.loss_, rel=1e-6, abs=1e-20)


@noises
@SOLVED
@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_output_changes_nothing(name, value, noise):
    X, y, s = data(noise=noise)
    plain, more = fit(name, X, y, s), fit(name, X, np.column_stack([y, np.full(len(y), value)]), s)
    np.testing.assert_allclose(more.predict(X)[:, :M], plain.predict(X), rtol=0, atol=1e-6)
    np.testing.assert_allclose(more.predict(X)[:, M], value, rtol=0, atol=1e-9)
    np.testing.assert_allclose(more.output_coef_[M], 0, rtol=0, atol=1e-9)
    assert more.exact_ == plain.exact_


@pytest.mark.parametrize("j", range(M))
def test_all_outputs_but_one_zero_is_one_output(j):
    X, y, _ = data(n=500, noise=0.0)
    alone = np.zeros_like(y)
    alone[:, j] = y[:, j]
    model = fit("given", X, alone)
    np.testing.assert_allclose(model.predict(X), alone, rtol=0, atol=1e-8)
    np.testing.assert_allclose(np.delete(model.output_coef_, j, axis=0), 0, atol=1e-9)
    assert recovery_error(V, model.hidden_coef_, scale_invariant=True) < 1e-8


@noises
@SOLVED
def test_duplicate_columns_share_the_weights_of_one(name, noise):
    X, y, s = data(noise=noise)
    wide = np.column_stack([X, X[:, :2]])
    plain, double = fit(name, X, y, s), fit(name, wide, y, s)
    np.testing.assert_allclose(double.predict(wide), plain.predict(X), rtol=0, atol=1e-6)
    np.testing.assert_allclose(double.hidden_coef_[:, D:], double.hidden_coef_[:, :2], rtol=0, atol=1e-6)
    assert double.exact_ == plain.exact_


@noises
@SOLVED
def test_constant_columns_change_nothing(name, noise):
    X, y, s = data(noise=noise)
    wide = np.column_stack([X[:, :3], np.full(len(y), 7.0), X[:, 3:], np.zeros(len(y))])
    plain, more = fit(name, X, y, s), fit(name, wide, y, s)
    np.testing.assert_allclose(more.predict(wide), plain.predict(X), rtol=0, atol=1e-6)
    np.testing.assert_allclose(more.hidden_coef_[:, [3, 6]], 0, rtol=0, atol=1e-8)
    assert more.exact_ == plain.exact_


def test_another_intercept_of_the_outputs_moves_theirs_alone():
    X, y, s = data()
    shift = np.array([1e3, -5.0, 0.0, 20.0])
    plain, moved = fit("given", X, y, s), fit("given", X, y + shift, s)
    np.testing.assert_allclose(moved.output_intercept_, plain.output_intercept_ + shift, rtol=0, atol=1e-7)
    np.testing.assert_allclose(moved.hidden_coef_, plain.hidden_coef_, rtol=0, atol=1e-7)


def test_more_decay_is_a_larger_loss_and_a_smaller_penalty():
    """Along the path of optima: the exchange argument."""
    X, y, _ = data()
    S = X.var(axis=0)
    path = [fit("decay", X, y, alpha=alpha) for alpha in (0.0, 0.01, 0.1, 0.5)]
    penalties = [
        np.sum(np.sqrt(model.hidden_coef_**2 @ S) * np.linalg.norm(model.output_coef_, axis=0)) for model in path
    ]
    assert np.all(np.diff([model.loss_ for model in path]) > 0)
    assert np.all(np.diff(penalties) < 0)


def test_more_units_are_a_lower_loss():
    X, y, s = data(noise=0.5)
    losses = [fit("given", X, y, s, n_hidden=k).loss_ for k in range(1, K + 1)]
    assert np.all(np.diff(losses) < 0)
