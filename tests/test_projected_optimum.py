"""The optimum of `ProjectedReLURegressor`, certified by other means: conic solvers, linear models, brute force."""

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso, LinearRegression

from skrelu import ProjectedReLURegressor, constraints
from skrelu.constraints import L1Ball

D = 12
GROUPS = np.arange(D) // 3
BASIS = np.random.default_rng(7).standard_normal((D, 4))
LOWER = np.linspace(-0.6, 0.0, D)

# Each convex set, and its constraints in the language of cvxpy.
CONVEX = {
    "none": (None, lambda w: []),
    "L1Ball": (L1Ball(1.2), lambda w: [cp.norm1(w) <= 1.2]),
    "L2Ball": (constraints.L2Ball(0.7), lambda w: [cp.norm2(w) <= 0.7]),
    "GroupL1Ball": (
        constraints.GroupL1Ball(GROUPS, 1.1),
        lambda w: [sum(cp.norm2(w[3 * g : 3 * g + 3]) for g in range(4)) <= 1.1],
    ),
    "Nonnegative": (constraints.Nonnegative(), lambda w: [w >= 0]),
    "Box": (constraints.Box(LOWER, 0.4), lambda w: [w >= LOWER, w <= 0.4]),
    "Simplex": (constraints.Simplex(1.5), lambda w: [w >= 0, cp.sum(w) == 1.5]),
    "Subspace": (constraints.Subspace(BASIS), lambda w: [w == BASIS @ cp.Variable(4)]),
    "Monotone": (constraints.Monotone(), lambda w: [cp.diff(w) >= 0]),
    "Monotone decreasing": (constraints.Monotone(increasing=False), lambda w: [cp.diff(w) <= 0]),
    "TotalVariationBall": (constraints.TotalVariationBall(1.3), lambda w: [cp.norm1(cp.diff(w)) <= 1.3]),
    "NuclearBall": (
        constraints.NuclearBall((3, 4), 0.9),
        lambda w: [cp.normNuc(cp.reshape(w, (3, 4), order="C")) <= 0.9],
    ),
}
NONCONVEX = {
    "L0Ball": constraints.L0Ball(3),
    "GroupL0Ball": constraints.GroupL0Ball(GROUPS, 2),
    "LowRank": constraints.LowRank((3, 4), 1),
    "NonnegativeSparse": constraints.NonnegativeSparse(3),
}


def noisy(seed, n=80, d=D, noise=0.3, shift=0.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    w = rng.standard_normal(d) / d**0.5
    return X, np.maximum(X @ w + shift, 0) + noise * rng.standard_normal(n), rng.integers(1, 4, n).astype(float)


def loss(X, y, w, b=0.0, s=None):
    return 0.5 * np.average((np.maximum(X @ w + b, 0) - y) ** 2, weights=s)


def gradient(X, y, w, b, s):
    """Row by row, with derivative 1/2 at z = 0."""
    g = np.zeros(len(w))
    for x_i, y_i, s_i in zip(X, y, s, strict=True):
        z = x_i @ w + b
        g += s_i * (max(z, 0) - y_i) * (1 + np.sign(z)) / 2 * x_i
    return g / s.sum()


SETS = {name: K for name, (K, _) in CONVEX.items()} | NONCONVEX


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("name", SETS)
def test_optimality_and_loss_are_what_they_are_documented_to_be(name, fit_intercept):
    X, y, s = noisy(0)
    K = SETS[name]
    model = ProjectedReLURegressor(K, fit_intercept=fit_intercept).fit(X, y, s)
    w, b = model.coef_, model.intercept_
    v = w - gradient(X, y, w, b, s)
    v = v if K is None else K.project(v)
    assert model.optimality_ == pytest.approx(np.linalg.norm(w - v), rel=1e-6, abs=1e-13)
    assert model.loss_ == pytest.approx(loss(X, y, w, b, s), rel=1e-12)
    assert fit_intercept or b == 0


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("name", CONVEX)
def test_a_stationary_point_is_reached_where_there_are_no_kinks(name, fit_intercept):
    """Without negative y the loss is smooth: ``optimality_`` vanishes, and so does the gradient in the intercept."""
    X, y, s = noisy(1)
    y = np.maximum(y, 0)
    model = ProjectedReLURegressor(CONVEX[name][0], fit_intercept=fit_intercept).fit(X, y, s)
    assert model.converged_
    assert model.optimality_ < 1e-9
    if fit_intercept:
        z = X @ model.coef_ + model.intercept_
        assert abs(np.average((np.maximum(z, 0) - y) * (z > 0), weights=s)) < 1e-9


@pytest.mark.parametrize("name", SETS)
def test_the_weights_lie_in_the_set(name):
    X, y, _ = noisy(2)
    K = SETS[name]
    w = ProjectedReLURegressor(K).fit(X, y).coef_
    if K is not None:
        np.testing.assert_allclose(K.project(w), w, rtol=0, atol=1e-13)


@pytest.mark.parametrize("seed", range(5))
def test_bounds_hold_to_the_last_bit_in_any_units(seed):
    X, y, s = noisy(seed)
    lower, upper = -0.1 * np.arange(1, D + 1) / 30, np.full(D, 0.02 / 3)
    w = ProjectedReLURegressor(constraints.Box(lower, upper)).fit(X * np.linspace(0.3, 7.0, D), y, s).coef_
    assert np.all((lower <= w) & (w <= upper))
    assert np.isclose(w, lower).any()  # at a bound to rounding: there the last bit matters
    assert np.isclose(w, upper).any()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", CONVEX)
def test_where_all_rows_are_active_it_is_constrained_least_squares(name, seed):
    """Far above zero the ReLU is the identity, so a conic solver finds the same optimum."""
    K, of = CONVEX[name]
    X, y, s = noisy(seed, shift=30.0)
    model = ProjectedReLURegressor(K).fit(X, y, s)
    assert np.all(model.predict(X) > 0)

    w, b = cp.Variable(D), cp.Variable()
    squares = cp.sum(cp.multiply(s / s.sum() / 2, cp.square(X @ w + b - y)))
    optimum = cp.Problem(cp.Minimize(squares), of(w)).solve(solver=cp.CLARABEL)
    assert model.loss_ == pytest.approx(optimum, rel=1e-6)
    np.testing.assert_allclose(model.coef_, w.value, atol=1e-4)


@pytest.mark.parametrize("shape", [(80, 12), (40, 60)])
def test_where_all_rows_are_active_it_is_linear_regression(shape):
    X, y, s = noisy(3, *shape, shift=40.0)
    X = 3 * X + np.arange(shape[1])  # columns off centre
    ours = ProjectedReLURegressor().fit(X, y, s)
    theirs = LinearRegression().fit(X, y, s)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-8)
    if shape[0] > shape[1]:
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-7)
        assert ours.intercept_ == pytest.approx(theirs.intercept_, rel=1e-7)


@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.005])
def test_where_all_rows_are_active_the_l1_ball_is_the_lasso(alpha):
    X, y, _ = noisy(4, 60, 80, shift=40.0)
    lasso = Lasso(alpha=alpha, tol=1e-14, max_iter=1_000_000).fit(X, y)
    ours = ProjectedReLURegressor(L1Ball(float(np.abs(lasso.coef_).sum()))).fit(X, y)
    np.testing.assert_allclose(ours.coef_, lasso.coef_, rtol=0, atol=1e-7)
    assert ours.intercept_ == pytest.approx(lasso.intercept_, rel=1e-8)


# Two weights and noisy targets, many of them negative: the loss has kinks and local optima, and can be searched.


def kinked(seed, noise, n=40):
    rng = np.random.default_rng(seed)
    X, w = rng.standard_normal((n, 2)), rng.standard_normal(2)
    return X, np.maximum(X @ w, 0) + noise * rng.standard_normal(n)


def brute_force(X, y, reach=4.0):
    """The lowest loss on a grid over [-4, 4]^2, refined from its ten lowest nodes without derivatives."""
    ticks = np.linspace(-reach, reach, 201)
    W = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    losses = ((np.maximum(W @ X.T, 0) - y) ** 2).mean(axis=1) / 2
    starts = W[np.argsort(losses)[:10]]
    tolerances = {"xatol": 1e-10, "fatol": 1e-14, "maxiter": 2000}
    return min(minimize(lambda w: loss(X, y, w), w, method="Nelder-Mead", options=tolerances).fun for w in starts)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("noise", [0.2, 0.5, 1.0])
def test_kinks_do_not_keep_it_from_the_global_optimum(noise, seed):
    X, y = kinked(seed, noise)
    model = ProjectedReLURegressor(fit_intercept=False).fit(X, y)
    assert model.loss_ <= brute_force(X, y) * (1 + 1e-6)


@pytest.mark.parametrize("noise", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(8))
def test_no_point_nearby_is_lower(noise, seed):
    """A local optimum of the loss itself, kinks included, up to the documented smoothing of the kinks."""
    X, y = kinked(seed, noise)
    model = ProjectedReLURegressor(fit_intercept=False).fit(X, y)
    rng = np.random.default_rng(seed)
    steps = 10.0 ** -rng.uniform(2.5, 8, (1000, 1)) * rng.standard_normal((1000, 2))
    nearby = ((np.maximum((model.coef_ + steps) @ X.T, 0) - y) ** 2).mean(axis=1) / 2
    assert model.loss_ <= nearby.min() * (1 + 1e-7)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("solver", ["auto", "gd"])
def test_half_negative_targets_are_no_obstacle(seed, solver):
    """On any noisy data the fit is no worse than the constant that scikit-learn calls a dummy, clipped at zero."""
    X, y, _ = noisy(seed, noise=2.0)
    model = ProjectedReLURegressor(solver=solver, tol=1e-6, max_iter=20_000).fit(X, y)
    assert model.loss_ <= 0.5 * np.mean((max(y.mean(), 0) - y) ** 2)


@pytest.mark.parametrize("constraint", [None, L1Ball(10.0), constraints.L0Ball(5)])
def test_a_standardised_target_is_fitted(constraint):
    """Half of the targets are negative; a third of the variance can be explained (descent from zero explains 0.30)."""
    X, y = load_diabetes(return_X_y=True)
    y = (y - y.mean()) / y.std()
    assert ProjectedReLURegressor(constraint).fit(10 * X, y).score(10 * X, y) > 0.2
