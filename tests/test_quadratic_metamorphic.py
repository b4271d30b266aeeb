"""What must not change, or change in a known way, in `QuadraticNet`; gradient descent by slow formulas."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.base import clone

import skrelu.rows.memory
from skrelu import QuadraticNet

D, K = 5, 2
W = np.random.default_rng(0).standard_normal((K, D))


def data(seed=0, n=200, noise=0.2):
    """Columns of unequal scales, off centre and correlated; integer weights, some zero."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, D)) @ (np.eye(D) + 0.3 * rng.standard_normal((D, D))) + np.linspace(-1, 1, D)
    y = (X @ W.T) ** 2 @ [1, -1] + X @ rng.standard_normal(D) + 1 + noise * rng.standard_normal(n)
    return X, y, rng.integers(0, 4, n).astype(float)


MODELS = {
    "full": QuadraticNet(alpha=0),
    "decay": QuadraticNet(alpha=0.1),
    "positive": QuadraticNet(alpha=0, output_weights="positive"),
    "positive decay": QuadraticNet(output_weights="positive", alpha=0.1),
    "few": QuadraticNet(K, alpha=0, n_init=2, random_state=0),
    "few decay": QuadraticNet(K, alpha=0.1, n_init=2, random_state=0),
    "pure": QuadraticNet(alpha=0, fit_linear=False, fit_intercept=False),
    "few pure": QuadraticNet(K, alpha=0, fit_linear=False, fit_intercept=False, n_init=2, random_state=0),
    "no line": QuadraticNet(alpha=0, fit_linear=False),
    "no intercept": QuadraticNet(alpha=0, fit_intercept=False),
    "gd": QuadraticNet(K, alpha=0, solver="gd", max_iter=30, tol=0, random_state=0),
}
FAST = ("full", "decay", "few", "no intercept", "gd")
# The others run with the slow tests.
models = pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
SOLVED = [name for name in MODELS if name != "gd"]
FREE = ["full", "positive", "few"]  # of any origin
UNPENALISED = [*FREE, "pure", "few pure", "no line", "no intercept"]


def fit(name, X, y, s=None, **parameters):
    return clone(MODELS[name]).set_params(**parameters).fit(X, y, s)


def assert_same(a, b, atol=1e-7):
    np.testing.assert_allclose(a.matrix_, b.matrix_, rtol=0, atol=atol)
    np.testing.assert_allclose(a.coef_, b.coef_, rtol=0, atol=atol)
    assert a.intercept_ == pytest.approx(b.intercept_, abs=atol)
    np.testing.assert_allclose(a.hidden_coef_, b.hidden_coef_, rtol=0, atol=1e3 * atol)
    np.testing.assert_array_equal(a.output_coef_, b.output_coef_)
    assert a.loss_ == pytest.approx(b.loss_, rel=1e-8)
    assert a.certified_ == b.certified_


# Rows and weights.


@models
def test_integer_weights_are_repetitions_and_zero_weights_removals_in_any_order(name):
    X, y, s = data()
    rows = np.repeat(np.arange(len(y)), s.astype(int))
    assert np.any(s == 0)
    np.random.default_rng(1).shuffle(rows)
    assert_same(fit(name, X, y, s), fit(name, X[rows], y[rows]))


@models
def test_rows_of_no_weight_may_hold_anything(name):
    """Gross outliers among them, which would change means, scales and ranks."""
    X, y, s = data()
    X_bad, y_bad = X.copy(), y.copy()
    X_bad[s == 0], y_bad[s == 0] = 1e6, -1e6
    assert_same(fit(name, X_bad, y_bad, s), fit(name, X[s > 0], y[s > 0], s[s > 0]), atol=1e-6)


def test_the_weights_count():
    """The tests above could not fail if the weights of these rows made no difference."""
    X, y, s = data()
    assert np.abs(fit("full", X, y, s).matrix_ - fit("full", X, y).matrix_).max() > 1e-3


@models
@pytest.mark.parametrize("factor", [7.0, pytest.param(1e-3, marks=pytest.mark.slow)])
def test_a_common_factor_of_the_weights_changes_nothing(name, factor):
    X, y, s = data()
    assert_same(fit(name, X, y, factor * s), fit(name, X, y, s))


@models
def test_weights_of_one_are_no_weights(name):
    X, y, _ = data()
    np.testing.assert_array_equal(fit(name, X, y, np.ones(len(y))).matrix_, fit(name, X, y).matrix_)


@models
def test_the_order_of_the_rows_does_not_matter(name):
    X, y, s = data()
    order = np.random.default_rng(1).permutation(len(y))
    assert_same(fit(name, X[order], y[order], s[order]), fit(name, X, y, s))


@models
def test_the_size_of_the_blocks_of_rows_does_not_matter(name, monkeypatch):
    X, y, s = data()
    whole = fit(name, X, y, s)
    monkeypatch.setattr(skrelu.rows.memory, "BLOCK_BYTES", 40 * 8 * D)
    assert_same(fit(name, X, y, s), whole)


# Columns and units of measure.


@models
def test_the_order_of_the_columns_does_not_matter(name):
    X, y, s = data()
    order = np.random.default_rng(1).permutation(D)
    plain, permuted = fit(name, X, y, s), fit(name, X[:, order], y, s)
    plain.matrix_, plain.coef_ = plain.matrix_[np.ix_(order, order)], plain.coef_[order]
    plain.hidden_coef_ = plain.hidden_coef_[:, order]
    if name == "gd":  # the sign of each unit is that of an eigenvector
        np.testing.assert_allclose(permuted.matrix_, plain.matrix_, rtol=0, atol=1e-10)
        return
    assert_same(permuted, plain)


@pytest.mark.parametrize("factor", [1e-8, 1e8])
@models
def test_the_units_of_the_target_do_not_matter(name, factor):
    """f -> a f: every M, b and c times a. Squares are of order a^2, the nuclear norm of order a: alpha -> a alpha.

    The penalty of the linear part is of order a^2, and keeps alpha: with both it is no longer the same problem.
    """
    X, y, s = data()
    alpha = MODELS[name].alpha
    options = {} if alpha == 0 else {"fit_linear": False}
    if name == "gd":  # w goes with the root of a, b and c with a: descent on them all is another
        options = {"fit_linear": False, "fit_intercept": False}
    plain = fit(name, X, y, s, **options)
    scaled = fit(name, X, factor * y, s, alpha=factor * alpha, **options)
    np.testing.assert_allclose(scaled.matrix_ / factor, plain.matrix_, rtol=0, atol=1e-7)
    np.testing.assert_allclose(scaled.predict(X) / factor, plain.predict(X), rtol=0, atol=1e-7)
    assert scaled.loss_curve_[-1] / factor**2 == pytest.approx(plain.loss_curve_[-1], rel=1e-8)
    assert scaled.certified_ == plain.certified_


@pytest.mark.parametrize("name", ["few", "few pure", "full", "pure", "decay", "no line", "gd"])
def test_the_negative_of_the_target_turns_the_outputs_over(name):
    X, y, s = data()
    plain, negative = fit(name, X, y, s), fit(name, X, -y, s)
    np.testing.assert_allclose(negative.matrix_, -plain.matrix_, rtol=0, atol=1e-7)
    np.testing.assert_allclose(negative.predict(X), -plain.predict(X), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", SOLVED)
def test_scales_of_the_columns_do_not_matter(name):
    """Not even to the penalty, which S makes free of units."""
    X, y, s = data()
    scales = 10.0 ** np.linspace(-3, 3, D)
    plain, other = fit(name, X, y, s), fit(name, X * scales, y, s)
    np.testing.assert_allclose(other.predict(X * scales), plain.predict(X), rtol=0, atol=1e-7)
    np.testing.assert_allclose(other.matrix_ * np.outer(scales, scales), plain.matrix_, rtol=0, atol=1e-7)
    assert other.certified_ == plain.certified_
    assert other.optimality_gap_ == pytest.approx(plain.optimality_gap_, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("seed", range(3))
def test_affine_maps_of_the_inputs_leave_the_predictions(name, seed):
    X, y, _ = data(seed)
    rng = np.random.default_rng(100 + seed)
    A, shift = rng.standard_normal((D, D)), 3 * rng.standard_normal(D)
    plain, other = fit(name, X, y), fit(name, X @ A + shift, y)
    np.testing.assert_allclose(other.predict(X @ A + shift), plain.predict(X), rtol=0, atol=1e-6)
    np.testing.assert_allclose(A @ other.matrix_ @ A.T, plain.matrix_, rtol=0, atol=1e-6)
    assert other.optimality_gap_ == pytest.approx(plain.optimality_gap_, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("name", UNPENALISED)
@pytest.mark.parametrize("seed", range(2))
def test_linear_maps_of_the_inputs_leave_the_predictions_about_the_origin(name, seed):
    X, y, s = data(seed)
    A = np.random.default_rng(100 + seed).standard_normal((D, D))
    plain, other = fit(name, X, y, s), fit(name, X @ A, y, s)
    np.testing.assert_allclose(other.predict(X @ A), plain.predict(X), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", UNPENALISED)
def test_duplicate_columns_share_the_weights_of_one(name):
    X, y, s = data()
    wide = np.column_stack([X, X[:, :2]])
    plain, double = fit(name, X, y, s), fit(name, wide, y, s)
    np.testing.assert_allclose(double.predict(wide), plain.predict(X), rtol=0, atol=1e-6)
    np.testing.assert_allclose(double.matrix_[D:], double.matrix_[:2], rtol=0, atol=1e-6)
    assert double.certified_ == plain.certified_


@pytest.mark.parametrize("name", ["decay", "positive decay"])
def test_duplicate_columns_can_only_lower_the_objective_with_decay(name):
    X, y, s = data()
    plain, double = fit(name, X, y, s), fit(name, np.column_stack([X, X[:, :2]]), y, s)
    assert double.certified_
    assert double.loss_curve_[-1] < plain.loss_curve_[-1]


@pytest.mark.parametrize("name", [*FREE, "decay", "positive decay", "few decay"])
def test_constant_columns_change_nothing(name):
    X, y, s = data()
    wide = np.column_stack([X[:, :3], np.full(len(y), 7.0), X[:, 3:], np.zeros(len(y))])
    plain, more = fit(name, X, y, s), fit(name, wide, y, s)
    np.testing.assert_allclose(more.predict(wide), plain.predict(X), rtol=0, atol=1e-6)
    assert more.certified_ == plain.certified_


def test_a_constant_column_stands_for_linear_part_and_intercept():
    """x_0 = 1: then x_0 x_j is a linear function, and x_0^2 a constant."""
    X, y, s = data()
    wide = np.column_stack([np.ones(len(y)), X])
    plain, pure = fit("full", X, y, s), fit("pure", wide, y, s)
    np.testing.assert_allclose(pure.predict(wide), plain.predict(X), rtol=0, atol=1e-8)
    np.testing.assert_allclose(2 * pure.matrix_[0, 1:], plain.coef_, rtol=0, atol=1e-8)
    assert pure.matrix_[0, 0] == pytest.approx(plain.intercept_, abs=1e-8)


@pytest.mark.parametrize("name", FREE)
def test_a_quadratic_function_within_the_model_moves_the_prediction_by_itself(name):
    """y + b'x + c: the optimum moves by (0, b, c), and the certificate stays."""
    X, y, s = data()
    b = np.arange(1.0, D + 1)
    plain, moved = fit(name, X, y, s), fit(name, X, y + X @ b + 3, s)
    np.testing.assert_allclose(moved.matrix_, plain.matrix_, rtol=0, atol=1e-6)
    np.testing.assert_allclose(moved.coef_, plain.coef_ + b, rtol=0, atol=1e-6)
    assert moved.intercept_ == pytest.approx(plain.intercept_ + 3, abs=1e-6)


# Numbers of units, penalties.


@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize("output_weights", ["signed", "positive"])
@pytest.mark.parametrize("k", [D, D + 1, 3 * D])
def test_as_many_units_as_columns_are_no_constraint(k, output_weights, alpha):
    X, y, s = data()
    options = {"output_weights": output_weights, "alpha": alpha, "random_state": 0}
    full, many = (QuadraticNet(n_hidden, **options).fit(X, y, s) for n_hidden in (None, k))
    np.testing.assert_array_equal(many.matrix_, full.matrix_)
    assert many.loss_ == full.loss_
    assert many.certified_


def test_more_units_are_a_lower_loss():
    X, y, s = data(noise=2.0)
    losses = [QuadraticNet(k, random_state=0).fit(X, y, s).loss_ for k in range(1, D + 1)]
    assert np.all(np.diff(losses) < 0)


@pytest.mark.parametrize("k", [None, K])
def test_more_decay_is_a_larger_loss_and_a_smaller_penalty(k):
    """Along the path of optima: the exchange argument."""
    X, y, _ = data(noise=2.0)
    X = X - X.mean(axis=0)
    S = X.var(axis=0)
    path = [QuadraticNet(k, alpha=alpha, random_state=0).fit(X, y) for alpha in (0.0, 0.01, 0.1, 1.0, 3.0)]
    root = np.sqrt(S)
    penalties = [
        np.abs(np.linalg.eigvalsh(root[:, None] * model.matrix_ * root)).sum() + S @ model.coef_**2 for model in path
    ]
    assert np.all(np.diff([model.loss_ for model in path]) > 0)
    assert np.all(np.diff(penalties) < 0)


@pytest.mark.parametrize("alpha", [1e-6, 1e-3])
def test_a_small_decay_moves_the_predictions_little(alpha):
    """By at most ``(alpha P)^(1/2)`` in mean square, P the penalty of the least squares solution over alpha / 2."""
    X, y, s = data()
    none, little = fit("full", X, y, s), fit("full", X, y, s, alpha=alpha)
    S = np.average((X - np.average(X, axis=0, weights=s)) ** 2, axis=0, weights=s)
    root = np.sqrt(S)
    penalty = np.abs(np.linalg.eigvalsh(root[:, None] * none.matrix_ * root)).sum() + S @ none.coef_**2
    moved = np.average((little.predict(X) - none.predict(X)) ** 2, weights=s)
    assert 0 < moved <= alpha * penalty


@pytest.mark.parametrize("name", ["full", "decay"])
def test_positive_units_are_a_constraint_that_may_not_bind(name):
    """A matrix that is positive definite anyway is the same with it."""
    X, _, s = data()
    y = np.sum(X**2, axis=1) + X[:, 0] + 0.1 * np.random.default_rng(3).standard_normal(len(X))
    signed, positive = fit(name, X, y, s), fit(name, X, y, s, output_weights="positive")
    assert np.all(signed.output_coef_ > 0)
    np.testing.assert_allclose(positive.predict(X), signed.predict(X), rtol=0, atol=1e-5)
    assert positive.certified_


# The iteration of the papers, slow and obvious.


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_gd_is_the_documented_iteration_to_the_letter(linear, intercept, alpha):
    """One step after another along the gradient in the user's own coordinates, of one length, v fixed.

    The penalty is ``(alpha/2) (sum_j w_j' S w_j + b' S b)``.
    """
    X, y, s = data(n=60)
    p = s / s.sum()
    S = p @ (X - p @ X) ** 2
    options = {"fit_linear": linear, "fit_intercept": intercept, "alpha": alpha, "step_size": 0.5, "tol": 0}
    fits = [QuadraticNet(K, max_iter=m, random_state=0, **options).fit(X, y, s) for m in range(1, 6)]

    def gradient(model):
        U, v, b = model.hidden_coef_, model.output_coef_, model.coef_
        r = (X @ U.T) ** 2 @ v + X @ b + model.intercept_ - y
        G = 2 * ((X @ U.T) * v * (p * r)[:, None]).T @ X + alpha * U * S
        g = (X.T @ (p * r) + alpha * S * b) * linear
        return np.concatenate([G.ravel(), g, [p @ r * intercept]])

    def theta(model):
        return np.concatenate([model.hidden_coef_.ravel(), model.coef_, [model.intercept_]])

    g = gradient(fits[0])
    mu = g @ (theta(fits[0]) - theta(fits[1])) / (g @ g)
    assert mu > 0
    for before, after in pairwise(fits):
        np.testing.assert_allclose(theta(after), theta(before) - mu * gradient(before), rtol=0, atol=1e-10)
        np.testing.assert_array_equal(after.output_coef_, before.output_coef_)
        U = after.hidden_coef_
        objective = after.loss_ + alpha / 2 * (np.sum(U**2 * S) + S @ after.coef_**2)
        assert after.loss_curve_[-1] == pytest.approx(objective, rel=1e-9)


def test_the_step_of_the_paper_is_one_over_the_largest_curvature():
    """L is that at the start or at the spectral one, whichever is larger; the start is read off a step of no length."""
    X, y, s = data(n=60)
    p, options = s / s.sum(), {"fit_linear": False, "fit_intercept": False, "tol": 0}
    start = QuadraticNet(K, step_size=1e-9, max_iter=1, **options).fit(X, y, s)
    U, v = start.hidden_coef_, start.output_coef_
    Z = X @ U.T
    r = Z**2 @ v - y
    J = (2 * Z * v)[:, :, None] * X[:, None, :]
    H = np.einsum("n,nip,njq->ipjq", p, J, J, optimize=True)
    second = 2 * (X.T * (p * r)) @ X
    for j in range(K):
        H[j, :, j, :] += v[j] * second
    L = np.linalg.eigvalsh(H.reshape(K * D, K * D))[-1]
    G = 2 * (Z * v * (p * r)[:, None]).T @ X
    moved = QuadraticNet(K, step_size=1.0, max_iter=1, **options).fit(X, y, s).hidden_coef_
    mu = np.sum(G * (U - moved)) / np.sum(G**2)
    assert mu * L == pytest.approx(1, rel=2e-2)


def test_gd_auto_never_raises_the_objective():
    X, y, _ = data()
    for options in ({}, {"init": "random"}, {"n_hidden": None}, {"alpha": 0.5}):
        curve = fit("gd", X, y, **{"max_iter": 200, **options}).loss_curve_
        assert np.all(np.diff(curve) <= 0)
        assert curve[-1] < 0.9 * curve[0]
