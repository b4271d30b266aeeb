"""`QuadraticNet(alpha="auto")`: exact without noise, its objective and criterion by hand, invariances, deviations."""

import pickle
from functools import cache

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrelu import QuadraticNet
from skrelu.criteria import INFLATION
from skrelu.datasets import make_quadratic
from skrelu.networks.quadratic import QuadraticModel
from skrelu.networks.quadratic_tangent import tangent
from skrelu.rows import Rows
from skrelu.solvers import quadratic, quadratic_path
from skrelu.solvers.loop import Iterate

PURE = {"fit_linear": False, "fit_intercept": False}


def noisy(seed=0, n=200, d=5, noise=0.5):
    """Columns of unequal scales, off centre and correlated; integer weights, some zero."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) @ (np.eye(d) + 0.3 * rng.standard_normal((d, d))) + np.linspace(-1, 1, d)
    W = rng.standard_normal((2, d))
    y = (X @ W.T) ** 2 @ [1, -1] + X @ rng.standard_normal(d) + 1 + noise * rng.standard_normal(n)
    return X, y, rng.integers(0, 4, n).astype(float)


@cache
def chosen(**options):
    """The fit to few rows with much noise, shared by the tests, which do not change it."""
    return QuadraticNet(**options).fit(*noisy(n=80, noise=15.0))


# Without noise.


@pytest.mark.parametrize(
    ("n", "d", "k", "signs", "options"),
    [
        (1000, 50, 5, "signed", {"n_hidden": 5}),
        (150, 20, 5, "signed", {"n_hidden": 5, **PURE}),
        (60, 20, 1, "positive", {"n_hidden": 1, "output_weights": "positive", **PURE}),
        (400, 20, 3, "signed", {}),
        # fewer rows than the 231 weights: the path tells the units
        (180, 20, 3, "signed", {}),
        (140, 20, 2, "positive", {"output_weights": "positive"}),
        (400, 20, 2, "positive", {"output_weights": "positive"}),
    ],
)
def test_without_noise_there_is_no_decay_and_the_matrix_is_exact(n, d, k, signs, options):
    X, y, teacher = make_quadratic(n, d, k, output_weights=signs, return_teacher=True, random_state=1)
    model = QuadraticNet(random_state=0, **options).fit(X, y)
    assert model.alpha_ == 0
    assert model.alphas_[-1] == 0
    assert model.certified_
    assert np.linalg.norm(model.matrix_ - teacher.matrix_) < 1e-8 * np.linalg.norm(teacher.matrix_)
    assert np.max(model.predict(X, return_std=True)[1]) < 1e-7 * np.std(y)


def test_a_linear_function_without_noise_in_fewer_rows_than_products():
    X = np.random.default_rng(0).standard_normal((40, 10))
    y = X @ np.arange(1.0, 11.0) + 3
    model = QuadraticNet().fit(X, y)
    assert model.alpha_ == 0
    np.testing.assert_allclose(model.coef_, np.arange(1.0, 11.0), rtol=1e-8)
    assert np.abs(model.matrix_).max() < 1e-8


def test_gd_is_the_papers_iteration():
    X, y, _ = noisy()
    options = {"solver": "gd", "max_iter": 20, "tol": 0, "random_state": 0}
    auto, none = QuadraticNet(2, **options).fit(X, y), QuadraticNet(2, alpha=0, **options).fit(X, y)
    assert auto.alpha_ == 0
    np.testing.assert_array_equal(auto.matrix_, none.matrix_)


# With noise: the objective, the path, the criterion.


def objective(model, X, y, s):
    """That of the docstring: decay of the slope at the means."""
    mean = np.average(X, axis=0, weights=s)
    S = np.average((X - mean) ** 2, axis=0, weights=s)
    nuclear = np.abs(np.linalg.eigvalsh(np.sqrt(S)[:, None] * model.matrix_ * np.sqrt(S))).sum()
    slope = model.coef_ + 2 * model.matrix_ @ mean
    t2 = np.average(y**2, weights=s)
    r = X @ model.coef_ + model.intercept_ + np.einsum("ij,ij->i", X @ model.matrix_, X) - y
    return np.average(r**2, weights=s) / 2 + model.alpha_ / 2 * nuclear + model.linear_alpha_ / 2 * (S @ slope**2), t2


@pytest.mark.parametrize("options", [{}, {"output_weights": "positive"}, {"n_hidden": 2, "random_state": 0}])
def test_the_fit_is_a_minimum_of_the_documented_objective(options):
    X, y, s = noisy(n=80, noise=15.0)
    model = QuadraticNet(**options).fit(X, y, s)
    assert model.alpha_ > 0
    best, _ = objective(model, X, y, s)
    assert model.loss_curve_[-1] == pytest.approx(best, rel=1e-8)
    rng = np.random.default_rng(0)
    M, b, c = model.matrix_.copy(), model.coef_.copy(), model.intercept_
    W, v = model.hidden_coef_, model.output_coef_
    for _ in range(30):
        U = W + 1e-4 * rng.standard_normal(W.shape)
        model.matrix_, model.coef_ = (U.T * v) @ U, b + 1e-4 * rng.standard_normal(len(b))
        model.intercept_ = c + 1e-4 * rng.standard_normal()
        assert objective(model, X, y, s)[0] > best
    np.testing.assert_allclose((W.T * v) @ W, M, atol=1e-10)


@pytest.mark.parametrize("options", [{}, {"output_weights": "positive"}])
def test_without_limit_it_is_certified(options):
    model = chosen(**options)
    assert model.certified_
    assert model.converged_


def test_the_path_is_geometric_and_the_choice_follows_the_margin():
    X, y, s = noisy(n=80, noise=15.0)
    model = chosen()
    assert model.alphas_[-1] == 0
    assert len(model.alphas_) == len(model.criterion_)
    np.testing.assert_allclose(model.alphas_[1:-1] / model.alphas_[:-2], 0.5)
    best = 0
    for i, value in enumerate(model.criterion_):
        if value < model.criterion_[best] * (1 - quadratic_path.MARGIN):
            best = i
    assert model.alpha_ == model.alphas_[best]
    # M vanishes at the first value, and not at half of it.
    Z = (X - np.average(X, axis=0, weights=s)) / np.sqrt(np.average((X - np.average(X, axis=0, weights=s)) ** 2, 0, s))
    p = s / s.sum()
    C, g = (Z.T * p) @ Z, (Z.T * p) @ (y - p @ y)
    rho = model.linear_alpha_
    r = p @ y + Z @ np.linalg.solve(C + rho * np.eye(5), g) - y
    G = (Z.T * (p * r)) @ Z
    assert model.alphas_[0] == pytest.approx(2 * np.abs(np.linalg.eigvalsh(G)).max() * 1.001, rel=1e-6)


def linear_criterion(Z, y, p, rho, n):
    """The larger of generalised and leave-one-out cross-validation of ridge regression, by hand."""
    J = np.column_stack([Z, np.ones(len(Z))])
    A = (J.T * p) @ J
    H = A + np.diag([rho] * Z.shape[1] + [0.0])
    r = y - J @ np.linalg.solve(H, (J.T * p) @ y)
    df, h = np.trace(np.linalg.solve(H, A)), np.einsum("ij,ij->i", J, np.linalg.solve(H, J.T).T) / n
    gcv = p @ r**2 / (1 - INFLATION * df / n) ** 2
    return max(gcv, p @ (r / np.maximum(1 - INFLATION * h, 0.1)) ** 2)


def test_the_first_criterion_is_that_of_ridge_regression_by_hand():
    X, y, s = noisy(n=80, noise=15.0)
    model = chosen()
    p = s / s.sum()
    Z = X - p @ X
    Z /= np.sqrt(p @ Z**2)
    assert model.criterion_[0] == pytest.approx(linear_criterion(Z, y, p, model.linear_alpha_, s.sum()), rel=1e-8)


def test_the_last_criterion_is_that_of_least_squares_by_hand():
    X, y, s = noisy(noise=3.0)
    model = QuadraticNet().fit(X, y, s)
    p, n = s / s.sum(), s.sum()
    Z = X - p @ X
    Z /= np.sqrt(p @ Z**2)
    a, b = np.triu_indices(5)
    features = np.column_stack([Z[:, a] * Z[:, b], Z])
    features = features - p @ features
    features /= np.sqrt(p @ features**2)
    assert model.criterion_[-1] == pytest.approx(linear_criterion(features, y, p, 0.0, n), rel=1e-6)


# What must not change, or change in a known way.

SOLVED = [{}, {"output_weights": "positive"}, {"n_hidden": 2, "random_state": 0}, {"fit_linear": False}]


def assert_same(a, b, rtol=1e-6):
    assert a.alpha_ == pytest.approx(b.alpha_, rel=rtol)
    np.testing.assert_allclose(a.criterion_, b.criterion_, rtol=1e-4)
    np.testing.assert_allclose(a.matrix_, b.matrix_, rtol=0, atol=rtol * np.abs(b.matrix_).max())


@pytest.mark.parametrize("options", [*SOLVED[:2], pytest.param(SOLVED[2], marks=pytest.mark.slow), SOLVED[3]])
def test_weights_repeat_rows(options):
    X, y, s = noisy(n=80, noise=15.0)
    s_int = s.astype(int)
    weighted = chosen(**options)
    repeated = QuadraticNet(**options).fit(np.repeat(X, s_int, axis=0), np.repeat(y, s_int))
    assert_same(weighted, repeated)
    told = [model.predict(X, return_std=True) for model in (weighted, repeated)]
    np.testing.assert_allclose(told[0], told[1], rtol=1e-5)


@pytest.mark.parametrize(
    "options", [SOLVED[0], *(pytest.param(options, marks=pytest.mark.slow) for options in SOLVED[1:3]), SOLVED[3]]
)
def test_scales_permutations_and_shifts(options):
    X, y, s = noisy(n=80, noise=15.0)
    model = chosen(**options)
    p, std = model.predict(X, return_std=True)
    scaled = QuadraticNet(**options).fit(X, 1e3 * y, s)
    assert scaled.alpha_ == pytest.approx(1e3 * model.alpha_, rel=1e-6)
    np.testing.assert_allclose(scaled.predict(X, return_std=True), (1e3 * p, 1e3 * std), rtol=1e-5, atol=1e-3)
    D = np.array([1e-3, 10.0, 1.0, 5.0, 100.0])
    columns = QuadraticNet(**options).fit(X * D, y, s)
    assert columns.alpha_ == pytest.approx(model.alpha_, rel=1e-6)
    np.testing.assert_allclose(columns.predict(X * D), p, rtol=0, atol=1e-5 * np.std(y))
    order = np.random.default_rng(0).permutation(len(X))
    assert_same(QuadraticNet(**options).fit(X[order], y[order], s[order]), model)
    if options.get("fit_linear", True):
        moved = QuadraticNet(**options).fit(X + 7.0, y - 20.0, s)
        assert moved.alpha_ == pytest.approx(model.alpha_, rel=1e-5)
        np.testing.assert_allclose(moved.predict(X + 7.0), p - 20, rtol=0, atol=1e-5 * np.std(y))


def test_diabetes_beside_ridge_standardised_or_not():
    X, y = load_diabetes(return_X_y=True)
    folds = KFold(5, shuffle=True, random_state=0)
    plain = cross_val_score(QuadraticNet(), X * 50 + 3, y, cv=folds).mean()
    standard = cross_val_score(make_pipeline(StandardScaler(), QuadraticNet()), X, y, cv=folds).mean()
    assert plain == pytest.approx(standard, abs=1e-6)
    assert plain > 0.49
    assert plain > cross_val_score(RidgeCV(np.logspace(-3, 5, 17)), X * 50 + 3, y, cv=folds).mean()


# Standard deviations.


@pytest.mark.parametrize(
    ("options", "n_seeds"),
    [
        ({}, 10),
        pytest.param({"n_hidden": 2}, 3, marks=pytest.mark.slow),
        pytest.param({"n_hidden": 2}, 10, marks=pytest.mark.slow),
        ({"output_weights": "signed", "alpha": 0}, 10),
    ],
)
def test_intervals_cover_new_targets(options, n_seeds):
    covered = []
    for seed in range(n_seeds):
        X, y = make_quadratic(900, 8, 2, noise=1.0, random_state=seed)
        model = QuadraticNet(random_state=0, **options).fit(X[:300], y[:300])
        p, std = model.predict(X[300:], return_std=True)
        covered.append(np.mean(np.abs(p - y[300:]) < 1.96 * std))
    assert 0.93 <= np.mean(covered) <= 0.97
    assert min(covered) >= 0.9


def test_the_deviation_of_least_squares_is_that_of_linear_regression():
    X, y, s = noisy()
    model = QuadraticNet(alpha=0).fit(X, y, s)
    a, b = np.triu_indices(5)
    J = np.column_stack([X[:, a] * X[:, b], X, np.ones(len(X))])
    A = (J.T * s) @ J
    r = y - J @ np.linalg.solve(A, (J.T * s) @ y)
    sigma2 = s @ r**2 / (s.sum() - J.shape[1])
    expected = np.sqrt(sigma2 * (1 + np.einsum("ij,ij->i", J, np.linalg.solve(A, J.T).T)))
    np.testing.assert_allclose(model.predict(X, return_std=True)[1], expected, rtol=1e-6)


def test_with_many_weights_the_covariance_is_a_kronecker_product(monkeypatch):
    X, y = make_quadratic(3000, 10, 3, noise=1.0, random_state=0)
    exact = QuadraticNet(3, random_state=0).fit(X, y).predict(X, return_std=True)[1]
    monkeypatch.setattr(quadratic_path, "FINAL_WEIGHTS", 10)
    rough = QuadraticNet(3, random_state=0).fit(X, y)
    assert rough._tangent["factor"] is None
    np.testing.assert_allclose(rough.predict(X, return_std=True)[1], exact, rtol=0.05)


def test_deviations_of_float32_sparse_and_pickled():
    X, y, s = noisy()
    model = QuadraticNet().fit(X, y, s)
    std = model.predict(X, return_std=True)[1]
    single = QuadraticNet().fit(X.astype(np.float32), y.astype(np.float32), s.astype(np.float32))
    told = single.predict(X.astype(np.float32), return_std=True)[1]
    assert told.dtype == np.float32
    np.testing.assert_allclose(told, std, rtol=1e-2)
    np.testing.assert_allclose(model.predict(sparse.csr_array(X), return_std=True)[1], std, rtol=1e-12)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X, return_std=True)[1], std)


@pytest.mark.parametrize("alpha", [pytest.param(0.3, marks=pytest.mark.slow), 3.0])
def test_degrees_of_freedom_are_the_divergence_of_the_fit(alpha):
    """``sum_i d f(x_i) / d y_i`` at a fixed alpha, by differences."""
    X, y, _ = noisy(n=40, d=3, noise=1.0)
    X, h = X - X.mean(axis=0), 1e-4
    model = QuadraticNet(alpha=alpha).fit(X, y)
    moved = [QuadraticNet(alpha=alpha).fit(X, y + h * e).predict(X[i : i + 1])[0] for i, e in enumerate(np.eye(40))]
    divergence = np.sum(moved - model.predict(X)) / h
    assert model._tangent["degrees_of_freedom"] == pytest.approx(divergence, rel=1e-3)


# Hostile tables, and bad values.


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "options",
    [
        {},
        *(pytest.param(options, marks=pytest.mark.slow) for options in SOLVED[1:]),
        PURE,
        pytest.param({"fit_intercept": False}, marks=pytest.mark.slow),
    ],
)
def test_hostile_tables_give_finite_fits(options):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    y = X[:, 0] * X[:, 1] + 0.1 * rng.standard_normal(60)
    tables = [
        (X[:1], y[:1]),
        (X[:3], y[:3]),
        (X[:1, :1], y[:1]),
        (np.ones((60, 4)), y),
        (np.zeros((60, 4)), y),
        (X, np.full(60, 2.0)),
        (X, np.zeros(60)),
        (X + 1e6, y),
        (np.hstack([X, X]), y),
        ((X > 0).astype(float), y),
        (rng.standard_cauchy((60, 4)), y),
        (rng.standard_normal((12, 30)), y[:12]),
    ]
    for X_bad, y_bad in tables:
        told = QuadraticNet(**options).fit(X_bad, y_bad).predict(X_bad, return_std=True)
        assert np.all(np.isfinite(told))


@pytest.mark.parametrize("options", [*SOLVED, {"alpha": 0}, {"alpha": 0.1, "n_hidden": 2}])
@pytest.mark.parametrize("value", [3.0, -1e-150, 1e-78, 1e8 / 3, 0.0])
def test_a_constant_y_is_the_intercept(value, options):
    X, _, s = noisy()
    model = QuadraticNet(**options).fit(X * 1e12, np.full(len(X), value), s)
    assert model.n_iter_ == 1
    assert model.certified_
    assert model.converged_
    assert not np.any(model.matrix_)
    assert not np.any(model.coef_)
    assert model.intercept_ == pytest.approx(value, rel=1e-14, abs=0)
    p, std = model.predict(X, return_std=True)
    np.testing.assert_allclose(p, value, rtol=1e-14)
    assert np.all(np.isfinite(std))


def test_a_constant_y_of_single_precision_beside_small_columns():
    X = np.random.default_rng(0).standard_normal((183, 3)).astype(np.float32) * np.float32(1e-19)
    model = QuadraticNet().fit(X, np.full(183, 1e8, dtype=np.float32))
    assert not np.any(model.matrix_)
    np.testing.assert_allclose(model.predict(X), 1e8, rtol=1e-6)


def test_least_squares_without_digits_leave_the_mean_of_y(monkeypatch):
    """Conjugate gradients that end far off, as among weights of 24 orders of magnitude."""

    def lost(form, theta):
        yield Iterate(theta + 1e3, 0.0, 0.0)

    monkeypatch.setattr(quadratic, "conjugate_descent", lost)
    X, y, s = noisy()
    with pytest.warns(ConvergenceWarning, match="rounding leaves no digit"):
        model = QuadraticNet(alpha=0).fit(X, y + 100, s)
    assert not np.any(model.matrix_)
    np.testing.assert_allclose(model.predict(X), np.average(y + 100, weights=s), rtol=1e-12)
    assert model.loss_ == pytest.approx(np.average((y - np.average(y, weights=s)) ** 2, weights=s) / 2)


@pytest.mark.parametrize(
    ("scale", "unit", "dtype"), [(1e-19, 1e8, np.float32), (1e150, 1e-31, float), (1e-160, 1, float)]
)
def test_where_entries_of_the_matrix_overflow_or_vanish_the_error_says_so(scale, unit, dtype):
    X, y, _ = noisy()
    with pytest.raises(ValueError, match=r"X or y: squares of their entries overflow .*; rescale them"):
        QuadraticNet().fit((scale * X).astype(dtype), (unit * y).astype(dtype))


def path_of(X, y):
    model = QuadraticModel.of(Rows(X, y), fit_linear=True, fit_intercept=True, alpha=0.0, positive=False)
    return quadratic_path.Path(model, None)


@np.errstate(over="ignore", invalid="ignore")
def test_a_criterion_that_overflows_is_infinite():
    X, y, _ = noisy(n=12)
    path = path_of(X, y)
    for size in (1e200, np.inf, np.nan):
        assert quadratic_path.criterion(path.at(1.0), (np.full((5, 5), size), np.zeros(5), 0.0)) == np.inf


@np.errstate(over="ignore", invalid="ignore")
def test_a_start_of_the_path_that_overflows_is_an_error():
    X, y, _ = noisy()
    path = path_of(X, y)
    path.form.at_zero[1][:] = np.inf
    with pytest.raises(ValueError, match="X or y: squares of their entries overflow float64; rescale them"):
        path.follow()


@np.errstate(over="ignore", invalid="ignore")
def test_a_covariance_that_overflows_is_none():
    X, y, _ = noisy()
    X[0, 0] = 1e3
    model, zero = path_of(X, y).at(1.0), np.zeros((5, 5))
    of_scales, of_rows = 4e307 * np.eye(5), 4e306 * np.eye(5)
    for M, second in [(zero + np.inf, zero), (zero, zero + np.nan), (of_scales, zero), (of_rows, zero)]:
        assert tangent(model, (M, np.zeros(5), 0.0), second, 1000) is None
    assert tangent(model, (np.eye(5), np.zeros(5), 0.0), zero, 1000) is not None


@pytest.mark.parametrize("options", [{}, {"output_weights": "positive"}])
def test_where_weights_are_many_the_path_is_followed_by_descent_to_the_same_networks(monkeypatch, options):
    X, y, s = noisy(n=120, d=4, noise=5.0)
    proximal = QuadraticNet(**options).fit(X, y, s)
    monkeypatch.setattr(quadratic_path, "FEW_WEIGHTS", 0)
    descended = QuadraticNet(**options).fit(X, y, s)
    same = min(len(proximal.alphas_), len(descended.alphas_)) - 1
    np.testing.assert_allclose(descended.alphas_[:same], proximal.alphas_[:same], rtol=1e-9)
    np.testing.assert_allclose(descended.criterion_[:same], proximal.criterion_[:same], rtol=1e-2)


@pytest.mark.parametrize(("noise", "exact"), [(0.0, True), (1e-5, False)])
def test_a_planted_network_is_taken_only_if_it_leaves_no_residual(noise, exact):
    X, y = make_quadratic(60, 10, 2, noise=noise, random_state=0)
    path = path_of(X, y)
    path.follow()
    found = path.planted(1e-10, {"max_iter": 500})
    assert (found is not None) == exact
    if exact:
        assert found[0].is_lowest(found[1].objective)
        assert path.alpha == 0


def interrupting(*args):
    raise KeyboardInterrupt
    yield


@pytest.mark.parametrize(
    ("name", "to", "few_weights"),
    [
        ("_linear_start", lambda path: next(interrupting()), 1000),
        ("proximal_descent", interrupting, 1000),
        ("until_stalled", lambda: interrupting, 0),
    ],
    ids=["start", "proximal steps", "descent"],
)
def test_an_interruption_of_the_path_keeps_what_it_has(monkeypatch, name, to, few_weights):
    """The start of the fit, or the solutions before."""
    X, y, s = noisy(n=80, noise=5.0)
    monkeypatch.setattr(quadratic_path, "FEW_WEIGHTS", few_weights)
    monkeypatch.setattr(quadratic_path, name, to)
    with pytest.warns(ConvergenceWarning, match="interrupted by the user"):
        model = QuadraticNet(random_state=0).fit(X, y, s)
    assert len(model.alphas_) == 1
    assert not model.converged_
    assert np.all(np.isfinite(model.predict(X)))


def test_deviations_with_tiny_weights_are_finite_and_silent():
    X, y, _ = noisy()
    model = QuadraticNet(alpha=0).fit(X, 1e60 * y, np.full(len(X), 1e-200))
    std = model.predict(1e12 * X, return_std=True)[1]
    assert np.all(np.isfinite(std))
    assert np.all(std > 1e100)


@pytest.mark.parametrize("alpha", ["Auto", -1, np.nan, None])
def test_bad_values_are_named(alpha):
    X, y, _ = noisy()
    with pytest.raises(ValueError, match="'alpha' parameter of QuadraticNet"):
        QuadraticNet(alpha=alpha).fit(X, y)


def test_an_earlier_choice_leaves_no_trace():
    X, y, s = noisy()
    model = QuadraticNet().fit(X, y, s).set_params(alpha=0.1).fit(X, y, s)
    assert not hasattr(model, "criterion_")
    assert model.alpha_ == 0.1
