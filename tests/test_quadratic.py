"""`QuadraticNet` as a scikit-learn estimator: checks, attributes, certificate, pickles, callbacks, bad input."""

import pickle
import re
import warnings
from functools import cache

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from skrelu import QuadraticNet
from skrelu.datasets import make_quadratic
from skrelu.rows import Rows

# The checks fit descent to data without any scale; that it says so is right, and no concern of theirs.
quietly = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@quietly
@parametrize_with_checks([QuadraticNet()])
def test_scikit_learn_checks(estimator, check):
    """Every check, no expected failure; the weight checks (dense and sparse) are among them."""
    check(estimator)


@pytest.mark.slow
@quietly
@pytest.mark.parametrize(
    "estimator",
    [
        QuadraticNet(1, n_init=3, random_state=0),
        QuadraticNet(2, alpha=0.1, random_state=0),
        QuadraticNet(1, random_state=0),
        QuadraticNet(alpha=0.1),
        QuadraticNet(output_weights="positive", alpha=0.1),
        QuadraticNet(1, solver="gd", max_iter=200, random_state=0),
        QuadraticNet(fit_intercept=False),
    ],
    ids=str,
)
def test_scikit_learn_checks_of_other_networks(estimator):
    check_estimator(estimator, on_skip=None)


def test_the_checks_are_not_escaped_by_tags():
    tags = get_tags(QuadraticNet())
    assert not tags.non_deterministic
    assert not tags.no_validation
    assert tags.requires_fit
    assert tags.input_tags.sparse
    assert not tags.regressor_tags.poor_score


N, D, K = 150, 5, 2


def planted(n=N, d=D, k=K, seed=0, noise=0.1, **options):
    """Noisy data of a planted network, and integer weights, some of them zero."""
    rng = np.random.default_rng(seed)
    options = {"linear_coef": rng.standard_normal(d), "output_bias": 0.5, **options}
    X, y = make_quadratic(n, d, k, noise=noise, random_state=seed, **options)
    return X, y, rng.integers(0, 3, n).astype(float)


MODELS = {
    "full": QuadraticNet(alpha=0),
    "decay": QuadraticNet(alpha=0.1),
    "positive": QuadraticNet(alpha=0, output_weights="positive"),
    "positive decay": QuadraticNet(output_weights="positive", alpha=0.1),
    "few": QuadraticNet(K, alpha=0, n_init=2, random_state=0),
    "few decay": QuadraticNet(K, alpha=0.1, n_init=2, random_state=0),
    "pure": QuadraticNet(alpha=0, fit_linear=False, fit_intercept=False),
    "few pure": QuadraticNet(K, alpha=0, fit_linear=False, fit_intercept=False, n_init=2, random_state=0),
    "random": QuadraticNet(K, alpha=0, init="random", n_init=2, random_state=0),
    "gd": QuadraticNet(K, alpha=0, solver="gd", max_iter=60, tol=0, random_state=0),
    "gd full": QuadraticNet(alpha=0, solver="gd", max_iter=60, tol=0, random_state=0),
}
# The others run with the slow tests.
models = pytest.mark.parametrize(
    "model",
    [
        MODELS[name]
        if name in ("full", "decay", "positive", "few", "gd")
        else pytest.param(MODELS[name], marks=pytest.mark.slow)
        for name in MODELS
    ],
    ids=MODELS,
)


@cache
def fitted(model):
    """The fit to the planted data with weights, shared by the tests, which do not change it."""
    return clone(model).fit(*planted())


# Attributes.


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@models
def test_attributes_their_shapes_and_dtypes(model, dtype):
    X, y, s = (a.astype(dtype) for a in planted())
    model = fitted(model) if dtype is np.float64 else clone(model).fit(X, y, s)
    k = len(model.hidden_coef_)
    if model.n_hidden is not None:
        assert k == K
    for name, shape in {
        "matrix_": (D, D),
        "coef_": (D,),
        "hidden_coef_": (k, D),
        "output_coef_": (k,),
    }.items():
        array = getattr(model, name)
        assert array.shape == shape
        assert array.dtype == dtype
    for name, kind in {
        "intercept_": float,
        "loss_": float,
        "alpha_": float,
        "optimality_gap_": float,
        "certified_": bool,
        "n_iter_": int,
        "converged_": bool,
        "stop_reason_": str,
        "loss_curve_": list,
    }.items():
        assert isinstance(getattr(model, name), kind), name
    assert model.n_features_in_ == D
    assert model.alpha_ == model.alpha
    assert model.predict(X).dtype == dtype
    np.testing.assert_array_equal(model.matrix_, model.matrix_.T)
    assert set(np.unique(model.output_coef_)) <= {-1.0, 1.0}
    if model.output_weights == "positive":
        np.testing.assert_array_equal(model.output_coef_, 1)
        assert np.linalg.eigvalsh(model.matrix_)[0] >= -1e3 * np.finfo(dtype).eps * np.abs(model.matrix_).max()
    if not model.fit_linear:
        np.testing.assert_array_equal(model.coef_, 0)
    if not model.fit_intercept:
        assert model.intercept_ == 0


@models
def test_predictions_are_the_formula_and_the_loss_is_theirs(model):
    X, y, s = planted()
    model = fitted(model)
    by_hand = np.array([x @ model.matrix_ @ x + model.coef_ @ x + model.intercept_ for x in X])
    np.testing.assert_allclose(model.predict(X), by_hand, rtol=0, atol=1e-12 * np.abs(by_hand).max())
    assert model.loss_ == pytest.approx(0.5 * np.average((by_hand - y) ** 2, weights=s), rel=1e-10)


@models
def test_the_units_make_up_the_matrix(model):
    """And but for those of descent they are orthogonal in S, by decreasing ``w' S w``."""
    X, y, s = planted()
    X = X * np.array([3.0, 1.0, 0.2, 1.0, 1.0])
    model = clone(model).fit(X, y, s)
    W, v = model.hidden_coef_, model.output_coef_
    np.testing.assert_allclose((W.T * v) @ W, model.matrix_, rtol=0, atol=1e-8 * np.abs(model.matrix_).max())
    if model.solver == "gd":
        return
    S = np.average((X - np.average(X, axis=0, weights=s)) ** 2, axis=0, weights=s)
    if not (model.fit_linear and model.fit_intercept):
        assert np.all(S > 0)
    gram = W * S @ W.T
    sizes = np.diag(gram)
    assert np.all(np.diff(sizes) <= 1e-12 * sizes[0])
    np.testing.assert_allclose(gram, np.diag(sizes), rtol=0, atol=1e-10 * sizes[0])
    values = np.linalg.eigvalsh(np.sqrt(S)[:, None] * model.matrix_ * np.sqrt(S))
    values = values[np.argsort(-np.abs(values))][: len(W)]
    np.testing.assert_allclose(v * sizes, values, rtol=0, atol=1e-7 * sizes[0])


@models
def test_the_curve_has_one_objective_an_iteration_and_ends_at_the_objective(model):
    X, _, s = planted()
    model = fitted(model)
    assert len(model.loss_curve_) == model.n_iter_ >= 1
    S = np.average((X - np.average(X, axis=0, weights=s)) ** 2, axis=0, weights=s)
    if model.solver == "gd":
        decay = np.sum(model.hidden_coef_**2 * S)
    else:
        decay = np.abs(np.linalg.eigvalsh(np.sqrt(S)[:, None] * model.matrix_ * np.sqrt(S))).sum()
    objective = model.loss_ + model.alpha / 2 * (decay + S @ model.coef_**2)
    assert model.loss_curve_[-1] == pytest.approx(objective, rel=1e-8)


# The certificate, recomputed from its formulas and nothing else.


def recomputed_gap(model, X, y, s=None):
    """``optimality_gap_`` by the docstring, rows of X given, in float64 and in the simplest way."""
    X, y = np.asarray(X, float), np.asarray(y, float)
    p = np.full(len(y), 1 / len(y)) if s is None else s / s.sum()
    M, b, c = model.matrix_, model.coef_, model.intercept_
    linear, constant, alpha = model.fit_linear, model.fit_intercept, model.alpha
    r = np.einsum("ij,ij->i", X @ M, X) + X @ b + c - y
    t = np.sqrt(p @ y**2)
    mean = p @ X
    if alpha > 0:
        S = p @ (X - mean) ** 2
        root = 1 / np.sqrt(S)
        G = (X * root).T @ ((p * r)[:, None] * (X * root))
        g, centred = root * (X.T @ (p * r)) * linear, y - c
        total = p @ r * constant
        values = np.linalg.eigvalsh(G)
        norm = max(-values[0], 0.0) if model.output_weights == "positive" else np.abs(values).max()
        nuclear = np.abs(np.linalg.eigvalsh(M / np.outer(root, root))).sum()
        primal = p @ r**2 / 2 + alpha / 2 * (nuclear + S @ b**2)
        largest = alpha / 2 / norm

        def dual(tau):
            return -(tau**2) * (p @ r**2 + g @ g / alpha) / 2 - tau * (p @ (r * centred)) - tau * t * abs(total)

        best = (-(p @ (r * centred)) - t * abs(total)) / (p @ r**2 + g @ g / alpha)
        return (primal - dual(min(largest, max(best, 0.0)))) / primal
    centre = mean if linear and constant else np.zeros(len(mean))
    covariance = (X - centre).T @ (p[:, None] * (X - centre))
    Z = (X - centre) @ np.linalg.inv(np.linalg.cholesky(covariance)).T
    G, g, h = Z.T @ ((p * r)[:, None] * Z), linear * (Z.T @ (p * r)), constant * (p @ r)
    # The best linear function alone.
    A = np.hstack([X[:, : len(mean) * linear], np.ones((len(y), int(constant)))])
    if A.size:
        root = np.sqrt(p)
        r0 = A @ np.linalg.lstsq(A * root[:, None], y * root, rcond=None)[0] - y
    else:
        r0 = -y
    reference = np.abs(np.linalg.eigvalsh(Z.T @ ((p * r0)[:, None] * Z))).max()
    if model.output_weights == "positive":
        # <G, M> and tr M of the whitened matrix.
        factor = np.linalg.cholesky(covariance)
        white = factor.T @ M @ factor
        slack = abs(np.sum(G * white)) / np.trace(white) if np.trace(white) > 0 else 0.0
        size = max(0.0, -np.linalg.eigvalsh(G)[0]) + slack + np.linalg.norm(np.append(g, h))
    else:
        size = np.abs(np.linalg.eigvalsh(np.block([[G, g[:, None]], [g[None], np.array([[h]])]]))).max()
    return size / reference


SHORT = {"max_iter": 3, "tol": 1e-12}  # far from any optimum


@quietly
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("short", [False, True])
@models
def test_the_gap_is_its_formula(model, short, weighted):
    """At optima and away from them, on columns off the origin and correlated."""
    X, y, s = planted()
    X = X @ np.random.default_rng(3).uniform(0, 1, (D, D)) + 0.4
    s = s if weighted else None
    model = clone(model).set_params(**SHORT if short else {}).fit(X, y, s)
    gap = recomputed_gap(model, X, y, s)
    assert model.optimality_gap_ == pytest.approx(gap, rel=1e-5, abs=1e-11)
    goal = max(model.tol, 1e3 * np.finfo(float).eps)
    assert model.certified_ == (model.optimality_gap_ <= goal)
    if not short and model.n_hidden is None and model.solver == "auto":
        assert model.certified_
        assert gap <= 1.01 * goal
        assert model.converged_


@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_a_network_of_fewer_units_than_planted_is_told_not_to_be_the_optimum(alpha):
    X, y, _ = planted(k=4, noise=0.0)
    few = QuadraticNet(2, alpha=alpha, random_state=0).fit(X, y)
    full = QuadraticNet(alpha=alpha).fit(X, y)
    assert few.converged_
    assert not few.certified_
    assert few.optimality_gap_ > 1e-2
    assert "there are better networks" in few.stop_reason_
    assert full.certified_
    assert full.loss_curve_[-1] < 0.9 * few.loss_curve_[-1]


def test_noise_and_a_fixed_number_of_units_are_not_certified_without_penalty():
    """The noise alone has matrices of full rank."""
    X, y, _ = planted()
    model = QuadraticNet(K, random_state=0).fit(X, y)
    assert model.converged_
    assert not model.certified_
    assert QuadraticNet(D, random_state=0).fit(X, y).certified_


def test_noise_and_a_fixed_number_of_units_are_certified_where_the_optimum_has_no_more():
    """With enough decay the matrix of the convex optimum has low rank, and few units come to it."""
    X, y, _ = planted()
    full = QuadraticNet(alpha=0.5).fit(X, y)
    k = len(full.hidden_coef_)
    assert k < D
    few = QuadraticNet(k, alpha=0.5, random_state=0).fit(X, y)
    assert few.certified_
    np.testing.assert_allclose(few.matrix_, full.matrix_, rtol=0, atol=1e-5)


def test_without_noise_few_units_are_certified():
    X, y, teacher = make_quadratic(200, 10, 2, return_teacher=True, random_state=0)
    model = QuadraticNet(2, random_state=0).fit(X, y)
    assert model.certified_
    assert model.optimality_gap_ == 0
    np.testing.assert_allclose(model.matrix_, teacher.matrix_, rtol=0, atol=1e-11)


def test_a_descent_that_stands_at_a_saddle_is_told_so():
    """A target along e_1 alone, of units positive where it is negative: descent shrinks them, and stays at nothing."""
    X, _, _ = planted()
    y = -3 * X[:, 0] ** 2
    model = QuadraticNet(output_weights="positive", fit_linear=False, fit_intercept=False).fit(X, y)
    assert model.certified_  # nothing is the best of all positive semidefinite matrices
    np.testing.assert_allclose(model.matrix_, 0, atol=1e-8)
    assert not QuadraticNet(1, solver="gd", max_iter=1, tol=0).fit(X, y).certified_


@pytest.mark.parametrize("output_weights", ["signed", "positive"])
def test_above_the_largest_slope_decay_leaves_no_units(output_weights):
    """M = 0, b = 0 is optimal from a known alpha on; just below, it is not: the threshold is the certificate's."""
    X, y, _ = planted()
    X = X - X.mean(axis=0)
    options = {"output_weights": output_weights, "fit_linear": False}
    S, r = X.var(axis=0), y.mean() - y
    values = np.linalg.eigvalsh((X / np.sqrt(S)).T @ (r[:, None] * X / np.sqrt(S)) / len(y))
    largest = 2 * (-values[0] if output_weights == "positive" else np.abs(values).max())
    empty = QuadraticNet(alpha=largest * (1 + 1e-6), **options).fit(X, y)
    np.testing.assert_allclose(empty.matrix_, 0, atol=1e-6)
    assert empty.certified_
    assert empty.intercept_ == pytest.approx(y.mean(), abs=1e-5)
    some = QuadraticNet(alpha=largest * 0.99, **options).fit(X, y)
    assert some.certified_
    assert np.abs(some.matrix_).max() > 1e-3


# Sparse, column names, memory maps.


@pytest.mark.parametrize(
    ("model", "container"),
    [
        *(
            pytest.param(model, sparse.csr_array, marks=[] if name in ("decay", "few", "gd") else pytest.mark.slow)
            for name, model in MODELS.items()
        ),
        (MODELS["full"], sparse.csc_matrix),
    ],
    ids=[*MODELS, "full-csc_matrix"],
)
def test_sparse_is_dense(model, container):
    X, _, s = planted()
    X = X * (np.random.default_rng(1).random(X.shape) < 0.6)
    W, rng = np.random.default_rng(2).standard_normal((2, D)), np.random.default_rng(4)
    y = (X @ W.T) ** 2 @ [1, -1] + 0.05 * rng.standard_normal(len(X))
    dense, thin = clone(model).fit(X, y, s), clone(model).fit(container(X), y, s)
    np.testing.assert_allclose(thin.predict(container(X)), dense.predict(X), rtol=0, atol=1e-8)
    np.testing.assert_allclose(thin.predict(X), dense.predict(X), rtol=0, atol=1e-8)
    assert thin.certified_ == dense.certified_


def test_memory_maps_are_arrays(tmp_path):
    X, y, _ = planted()
    np.save(tmp_path / "X.npy", X)
    for model in (MODELS["full"], MODELS["few"]):
        mapped = clone(model).fit(np.load(tmp_path / "X.npy", mmap_mode="r"), y)
        np.testing.assert_array_equal(mapped.matrix_, clone(model).fit(X, y).matrix_)


def test_column_names_are_kept():
    pandas = pytest.importorskip("pandas")
    X, y, _ = planted()
    frame = pandas.DataFrame(X, columns=[f"x{j}" for j in range(D)])
    model = QuadraticNet().fit(frame, pandas.Series(y))
    assert list(model.feature_names_in_) == list(frame.columns)
    np.testing.assert_allclose(model.matrix_, QuadraticNet().fit(X, y).matrix_, rtol=0, atol=1e-10)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[frame.columns[::-1]])


# Repeated fits.


@models
def test_the_same_fit_twice_is_the_same_to_the_last_bit(model):
    X, y, s = planted()
    first, second = clone(model).fit(X, y, s), fitted(model)
    for name in ("matrix_", "coef_", "hidden_coef_", "output_coef_"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.loss_curve_ == second.loss_curve_
    assert first.optimality_gap_ == second.optimality_gap_
    matrix = first.matrix_.copy()
    first.fit(*planted(seed=3))
    np.testing.assert_array_equal(first.fit(X, y, s).matrix_, matrix)


def test_the_seed_decides_the_random_start():
    X, y, _ = planted()
    model = QuadraticNet(K, init="random", solver="gd", max_iter=1, tol=0)
    one, other = (clone(model).set_params(random_state=seed).fit(X, y) for seed in (0, np.int64(1)))
    assert np.abs(one.hidden_coef_ - other.hidden_coef_).max() > 0.01
    generator = clone(model).set_params(random_state=np.random.RandomState(0)).fit(X, y)
    np.testing.assert_array_equal(generator.hidden_coef_, one.hidden_coef_)


def test_the_full_problem_does_not_depend_on_the_seed():
    X, y, _ = planted()
    for options in ({}, {"alpha": 0.1}, {"output_weights": "positive"}):
        fits = [QuadraticNet(**options, random_state=seed).fit(X, y).matrix_ for seed in (0, 1)]
        np.testing.assert_array_equal(fits[0], fits[1])


@pytest.mark.parametrize("name", ["few", "few decay", "few pure", "random"])
def test_a_warm_start_at_the_optimum_is_soon_done(name):
    X, y, s = planted()
    model = clone(MODELS[name]).set_params(warm_start=True).fit(X, y, s)
    before = model.matrix_.copy(), model.n_iter_
    model.fit(X, y, s)
    # Whether descent has stalled is seen after two windows of 20 iterations; a few Newton steps follow.
    assert model.n_iter_ <= 45
    assert model.n_iter_ <= before[1] + 20
    np.testing.assert_allclose(model.matrix_, before[0], rtol=0, atol=1e-7)


def test_a_warm_start_continues_the_descent():
    """Thirty steps at once, or twelve and eighteen: those of a fixed length where the spectral start is longer."""
    X, y, s = planted()
    options = {"solver": "gd", "step_size": 0.5, "tol": 0, "init": "random", "random_state": 0}
    at_once = QuadraticNet(K, max_iter=30, **options).fit(X, y, s)
    in_two = QuadraticNet(K, max_iter=12, warm_start=True, **options).fit(X, y, s)
    assert in_two.loss_curve_ == at_once.loss_curve_[:12]
    in_two.set_params(max_iter=18).fit(X, y, s)
    np.testing.assert_allclose(in_two.loss_curve_, at_once.loss_curve_[12:], rtol=1e-8)
    np.testing.assert_allclose(in_two.matrix_, at_once.matrix_, rtol=0, atol=1e-8)


def test_a_warm_start_with_other_units_or_columns_starts_anew():
    X, y, _ = planted()
    model = QuadraticNet(3, alpha=0, warm_start=True, n_init=2, random_state=0).fit(X, y)
    fresh = QuadraticNet(2, alpha=0, n_init=2, random_state=0).fit(X[:, :4], y)
    np.testing.assert_array_equal(model.set_params(n_hidden=2).fit(X[:, :4], y).matrix_, fresh.matrix_)
    other = QuadraticNet(3, alpha=0, n_init=2, random_state=0).fit(X[:, :4], y)
    np.testing.assert_array_equal(model.set_params(n_hidden=3).fit(X[:, :4], y).matrix_, other.matrix_)


def test_a_warm_start_of_the_convex_problem_is_of_no_effect():
    X, y, _ = planted()
    cold = QuadraticNet().fit(X, y)
    model = QuadraticNet(warm_start=True).fit(*planted(seed=3)[:2]).fit(X, y)
    np.testing.assert_array_equal(model.matrix_, cold.matrix_)


@models
def test_pickles_and_joblib_dumps_predict_the_same(model, tmp_path):
    X, _, _ = planted()
    model = fitted(model)
    joblib.dump(model, tmp_path / "model.joblib")
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")):
        np.testing.assert_array_equal(copy.predict(X), model.predict(X))
        assert copy.loss_curve_ == model.loss_curve_
        assert copy.optimality_gap_ == model.optimality_gap_
        assert copy.stop_reason_ == model.stop_reason_


@models
def test_a_fit_changes_no_parameter_and_no_data(model):
    X, y, s = planted()
    model = clone(model)
    before = {name: repr(value) for name, value in model.get_params().items()}
    copies = X.copy(), y.copy(), s.copy()
    for array in (X, y, s):
        array.setflags(write=False)
    model.fit(X, y, s)
    assert {name: repr(value) for name, value in model.get_params().items()} == before
    for array, copy in zip((X, y, s), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("name", MODELS)
def test_single_precision_is_close(name):
    X, y, s = (a.astype(np.float32) for a in planted())
    single, double = clone(MODELS[name]).fit(X, y, s), clone(MODELS[name]).fit(*(a.astype(float) for a in (X, y, s)))
    np.testing.assert_allclose(single.predict(X), double.predict(X), rtol=0, atol=1e-3 * np.abs(y).max())
    assert single.loss_ == pytest.approx(double.loss_, rel=1e-3)
    assert single.certified_ == double.certified_


# Searches and pipelines.


def test_grid_search_over_decay_in_a_pipeline():
    X, y, _ = planted(n=60, noise=0.02)
    pipeline = make_pipeline(StandardScaler(), QuadraticNet(random_state=0))
    grid = {"quadraticnet__alpha": [0.0, 10.0], "quadraticnet__n_hidden": [2, None]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(100 * X + 7, y)
    assert search.best_params_ == {"quadraticnet__alpha": 0.0, "quadraticnet__n_hidden": 2}
    assert search.best_score_ > 0.99


def test_grid_search_over_the_step_size():
    X, y, _ = planted()
    search = GridSearchCV(QuadraticNet(K, max_iter=15, tol=0), {"step_size": [0.01, 1.0, 0.1]}, cv=3).fit(X, y)
    assert search.best_params_ == {"step_size": 1.0}


@pytest.mark.slow
def test_parallel_scores_are_those_of_one_process():
    X, y, _ = planted()
    for name in ("full", "few"):
        model = MODELS[name]
        np.testing.assert_array_equal(cross_val_score(model, X, y, cv=2, n_jobs=2), cross_val_score(model, X, y, cv=2))


# Stopping.


def test_the_float_step_selects_gd_and_the_default_does_not():
    X, y, _ = planted()
    options = {"max_iter": 7, "tol": 0, "random_state": 0}
    gd = QuadraticNet(K, solver="gd", step_size=0.5, **options).fit(X, y)
    alone = QuadraticNet(K, step_size=0.5, **options).fit(X, y)
    np.testing.assert_array_equal(alone.matrix_, gd.matrix_)
    assert alone.n_iter_ == 7
    assert "w+" in QuadraticNet(K, solver="gd", tol=1e-3, random_state=0).fit(X, y).stop_reason_
    assert "w+" not in MODELS["few"].fit(X, y).stop_reason_


def test_a_tolerance_of_zero_runs_every_iteration_without_complaint():
    X, y, _ = planted()
    model = QuadraticNet(K, solver="gd", tol=0, max_iter=37).fit(X, y)
    assert model.n_iter_ == 37
    assert model.converged_


@pytest.mark.parametrize("max_iter", [1, 2, 4])
@pytest.mark.parametrize("name", ["full", "decay", "positive", "positive decay", "few", "few decay", "random", "gd"])
def test_max_iter_is_the_largest_number_of_iterations_and_a_warning_tells(name, max_iter):
    X, y, _ = planted()
    model = clone(MODELS[name]).set_params(max_iter=max_iter, tol=1e-10)
    message = rf"did not converge: .*max_iter = {max_iter} reached.*[Rr]aise max_iter"
    with pytest.warns(ConvergenceWarning, match=message) as record:
        model.fit(X, y)
    assert len(record) == 1
    assert record[0].filename == __file__
    assert "optimality_gap_ = " in str(record[0].message)
    assert not model.converged_
    assert 1 <= model.n_iter_ <= max_iter
    assert np.isfinite(model.loss_)


def test_the_criterion_of_the_descent_holds_at_the_last_iteration_and_at_none_before():
    X, y, _ = planted()
    options = {"solver": "gd", "step_size": 1.0, "fit_linear": False, "fit_intercept": False}
    model = QuadraticNet(K, tol=1e-3, **options).fit(X, y)
    assert model.converged_
    n = model.n_iter_
    w = [QuadraticNet(K, tol=0, max_iter=i, **options).fit(X, y).hidden_coef_ for i in (n - 2, n - 1, n)]
    change = [np.linalg.norm(w[i + 1] - w[i]) / np.linalg.norm(w[i + 1]) for i in range(2)]
    assert change[1] <= 1e-3 < change[0]


@pytest.mark.parametrize(("verbose", "every"), [(1, 10), (2, 5), (10, 1)])
def test_verbose_prints_every_so_many_iterations(verbose, every, capsys):
    X, y, _ = planted()
    QuadraticNet(K, step_size=0.5, max_iter=20, tol=0, verbose=verbose).fit(X, y)
    numbers = [int(number) for number in re.findall(r"^Iteration (\d+), objective = ", capsys.readouterr().out, re.M)]
    assert numbers == list(range(every, 21, every))


@models
def test_silence_is_the_default(model, capsys):
    X, y, _ = planted()
    clone(model).fit(X, y)
    assert capsys.readouterr() == ("", "")


# Callbacks of scikit-learn.


class Hooks:
    """A callback that remembers the ends of tasks, and may stop or raise at one of them."""

    def __init__(self, *, stop_at=None, raise_at=None):
        self.stop_at, self.raise_at = stop_at, raise_at
        self.seen, self.data, self.losses = [], None, []

    def setup(self, estimator, context):
        """Nothing to set up."""

    def teardown(self, estimator, context):
        """Nothing to tear down."""

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        """Remember the data."""
        self.data = X, y, metadata

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        """Remember the weights so far."""
        self.seen.append((context.task_name, getattr(fitted_estimator, "n_iter_", None)))
        if fitted_estimator is not None and hasattr(fitted_estimator, "matrix_"):
            self.losses.append(0.5 * np.mean((fitted_estimator.predict(X) - y) ** 2))
        if self.raise_at == len(self.seen):
            raise RuntimeError("the callback failed")
        return self.stop_at == len(self.seen)


def test_a_callback_sees_the_mean_of_a_constant_y():
    hooks, X = Hooks(), np.random.default_rng(0).standard_normal((20, 3))
    QuadraticNet().set_callbacks(hooks).fit(X, np.full(20, 7.0))
    np.testing.assert_allclose(hooks.losses, 0, atol=1e-20)
    assert len(hooks.losses) == len(hooks.seen) == 2  # of the start, and of the fit itself


def test_a_callback_sees_every_block_of_iterations_with_its_weights_and_the_data():
    hooks = Hooks()
    X, y, s = planted()
    model = QuadraticNet(K, step_size=0.5, max_iter=40, tol=0).set_callbacks(hooks)
    model.fit(X, y, s)
    assert [n_iter for name, n_iter in hooks.seen if name == "iterations"] == list(range(1, 41))
    assert hooks.seen[0][0] == "start"
    for told, given in zip((*hooks.data[:2], hooks.data[2]["sample_weight"]), (X, y, s), strict=True):
        np.testing.assert_array_equal(told, given)
    hooks = Hooks()
    clone(model).set_callbacks(hooks).fit(X, y)
    plain = clone(model).set_callbacks().fit(X, y)
    np.testing.assert_allclose(hooks.losses[1:41], plain.loss_curve_, rtol=1e-10)


@pytest.mark.parametrize("max_iter", [60, 101, 1000])
@pytest.mark.parametrize("name", ["full", "decay", "positive", "few", "few decay"])
def test_there_are_at_most_a_hundred_blocks_and_a_task_for_each_start(name, max_iter):
    hooks = Hooks()
    X, y, _ = planted(n=60, noise=0.5)
    model = clone(MODELS[name]).set_params(max_iter=max_iter).set_callbacks(hooks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    names = [task for task, _ in hooks.seen]
    assert names.count("iterations") <= 100
    assert 1 <= names.count("start") <= model.n_init + 1
    assert len(names) == names.count("iterations") + names.count("start") + 1
    told = [n_iter for task, n_iter in hooks.seen if task == "iterations" and n_iter is not None]
    assert np.all(np.diff(told) > 0)


def test_a_callback_that_stops_the_descent_is_honoured():
    X, y, s = planted()
    model = QuadraticNet(K, step_size=0.5, max_iter=40, tol=0)
    stopped = clone(model).set_callbacks(Hooks(stop_at=8))  # the start, then seven iterations
    with pytest.warns(ConvergenceWarning, match="stopped by a callback"):
        stopped.fit(X, y, s)
    assert stopped.n_iter_ == len(stopped.loss_curve_) == 7
    assert not stopped.converged_
    np.testing.assert_array_equal(stopped.matrix_, model.set_params(max_iter=7).fit(X, y, s).matrix_)


@pytest.mark.parametrize("stop_at", range(1, 4))
@pytest.mark.parametrize("name", ["full", "decay", "positive", "few", "few decay", "random"])
def test_a_callback_that_stops_the_default_solver_is_honoured(name, stop_at):
    """No task is begun after the one at whose end the callback asked to stop, and the fit says so."""
    X, y, _ = planted(noise=0.5)
    hooks = Hooks(stop_at=stop_at)
    model = clone(MODELS[name]).set_params(max_iter=100, tol=1e-12).set_callbacks(hooks)
    with pytest.warns(ConvergenceWarning, match="stopped by a callback"):
        model.fit(X, y)
    assert len(hooks.seen) == stop_at + 1  # the end of the fit itself is told, too
    assert "stopped by a callback" in model.stop_reason_
    assert not model.converged_
    assert np.all(np.isfinite(model.predict(X)))


@models
def test_a_callback_that_raises_is_heard(model):
    X, y, s = planted()
    with pytest.raises(RuntimeError, match="the callback failed"):
        clone(model).set_callbacks(Hooks(raise_at=2)).fit(X, y, s)


@models
def test_callbacks_do_not_change_the_fit(model):
    X, y, s = planted()
    watched = clone(model).set_callbacks(Hooks()).fit(X, y, s)
    np.testing.assert_array_equal(watched.matrix_, fitted(model).matrix_)


def test_a_scoring_monitor_logs_a_falling_error():
    monitor = ScoringMonitor(scoring="neg_mean_squared_error")
    X, y, _ = planted()
    model = QuadraticNet(K, solver="gd", max_iter=30, tol=0).set_callbacks(monitor).fit(X, y)
    rows = monitor.get_logs().data
    errors = [-row["neg_mean_squared_error"] for row in rows if row["task_name"] == "iterations"]
    np.testing.assert_allclose(np.array(errors) / 2, model.loss_curve_, rtol=1e-8)
    assert errors[-1] < errors[0]


def test_a_progress_bar_reaches_the_fits_nested_in_a_search(capsys):
    pytest.importorskip("rich")
    X, y, _ = planted()
    search = GridSearchCV(QuadraticNet(2, random_state=0), {"alpha": [0.0, 0.1]}, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=2)).fit(X, y)
    assert "QuadraticNet" in capsys.readouterr().out


# Interruption.


@pytest.mark.parametrize(
    "name",
    [
        "full",
        pytest.param("decay", marks=pytest.mark.slow),
        pytest.param("positive", marks=pytest.mark.slow),
        "few",
        pytest.param("few decay", marks=pytest.mark.slow),
        "gd",
    ],
)
def test_an_interruption_keeps_the_best_so_far_and_warns(name, monkeypatch):
    """Ctrl-C at any pass after those of the start and before the last five, of loss, deviations and certificate."""
    X, y, _ = planted(n=60, noise=0.5)
    original, passes, limit = Rows.sum, 0, np.inf

    def counted(self, f, *parameters):
        nonlocal passes
        passes += 1
        if passes == limit:
            raise KeyboardInterrupt
        return original(self, f, *parameters)

    monkeypatch.setattr(Rows, "sum", counted)
    model = clone(MODELS[name]).set_params(tol=0 if name == "gd" else 1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    total, first = passes, 50 if name == "gd" else 12
    assert total >= 20
    escaped, unheard = [], []
    for at in range(first, total - 5, max(1, (total - first) // 15)):
        limit, passes = at, 0
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            try:
                model.fit(X, y)
            except KeyboardInterrupt:
                escaped.append(at)
                continue
        if "interrupted by the user" not in model.stop_reason_ or len(record) != 1:
            unheard.append(at)
            continue
        assert "interrupted by the user" in str(record[0].message)
        assert not model.converged_
        assert passes < limit + 10
        assert 1 <= model.n_iter_ == len(model.loss_curve_)
        assert np.all(np.isfinite(model.predict(X)))
    assert not escaped
    assert not unheard, total


# Divergence.


@pytest.mark.parametrize("step_size", [30.0, 1e6, 1e300])
@pytest.mark.parametrize("n_hidden", [K, None])
def test_a_diverging_descent_keeps_the_best_iterate_and_warns(n_hidden, step_size):
    X, y, _ = planted()
    with pytest.warns(
        ConvergenceWarning, match=rf"did not converge: .*Lower step_size .now {re.escape(f'{step_size:g}')}"
    ) as record:
        model = QuadraticNet(n_hidden, step_size=step_size, max_iter=300, random_state=0).fit(X, y)
    assert len(record) == 1
    assert not model.converged_
    assert np.all(np.isfinite(model.predict(X)))
    assert model.loss_ <= 10 * np.mean(y**2)


# Bad and hostile input: a clear error, or a finite fit.

VARIANTS = {
    "full": {"alpha": 0},
    "decay": {"alpha": 0.05},
    "positive": {"alpha": 0, "output_weights": "positive"},
    "positive decay": {"output_weights": "positive", "alpha": 0.05},
    "two": {"n_hidden": 2, "alpha": 0},
    "two decay": {"n_hidden": 2, "alpha": 0.05},
    "random": {"alpha": 0, "n_hidden": 2, "init": "random"},
    "pure": {"alpha": 0, "fit_linear": False, "fit_intercept": False},
    "no line": {"alpha": 0, "fit_linear": False},
    "no intercept": {"alpha": 0, "fit_intercept": False},
    "gd": {"alpha": 0, "solver": "gd", "max_iter": 100},
    "two gd": {"alpha": 0, "n_hidden": 2, "solver": "gd", "max_iter": 100},
    "paper": {"alpha": 0, "n_hidden": 2, "step_size": 1.0, "max_iter": 100},
}
variants = pytest.mark.parametrize("name", VARIANTS)
FAST = ("full", "decay", "two", "gd")
# The others run with the slow tests.
most = pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS]
)
some = pytest.mark.parametrize(
    "name", [name if name in ("full", "two") else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS]
)
RNG = np.random.default_rng(0)
X4 = RNG.standard_normal((120, 4))
Y4 = X4[:, 0] * X4[:, 1] + X4[:, 2] ** 2 - 0.5 * X4[:, 3] + 0.1 * RNG.standard_normal(120)


@pytest.fixture
def bounded(monkeypatch):
    """An endless loop fails instead of hanging: no fit here needs more passes."""
    original, passes = Rows.sum, 0

    def counted(self, f, *parameters):
        nonlocal passes
        passes += 1
        assert passes < 60_000, "an endless loop"
        return original(self, f, *parameters)

    monkeypatch.setattr(Rows, "sum", counted)


def fit(name, X=X4, y=Y4, sample_weight=None, **parameters):
    """Fit where only a warning of convergence is excused, which names a number and a remedy; nothing may be NaN."""
    model = QuadraticNet(**{"random_state": 0, **VARIANTS[name], **parameters})
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        model.fit(X, y, sample_weight)
    for warning in record:
        assert warning.category is ConvergenceWarning, warning
        assert re.search(r"did not converge: .*(=|stopped|falls).*\. (Raise|Lower)", str(warning.message)), warning
    assert bool(record) != model.converged_
    for value in (
        model.matrix_,
        model.coef_,
        model.intercept_,
        model.hidden_coef_,
        model.loss_,
        model.loss_curve_,
        model.optimality_gap_,
        model.predict(X),
    ):
        assert np.all(np.isfinite(value))
    assert 1 <= model.n_iter_ == len(model.loss_curve_)
    return model


def r2(model, X, y):
    return 1 - np.mean((model.predict(X) - y) ** 2) / np.var(y)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [np.array, sparse.csr_matrix])
def test_missing_and_infinite_values(bad, make):
    broken, y = X4.copy(), Y4.copy()
    broken[3, 1] = y[2] = bad
    with pytest.raises(ValueError, match=r"X contains (NaN|infinity)"):
        QuadraticNet().fit(make(broken), Y4)
    with pytest.raises(ValueError, match=r"X contains (NaN|infinity)"):
        fit("full").predict(make(broken))
    with pytest.raises(ValueError, match=r"y contains (NaN|infinity)"):
        QuadraticNet().fit(make(X4), y)
    with pytest.raises(ValueError, match=r"[Ww]eight.*(NaN|infinity)"):
        QuadraticNet().fit(make(X4), Y4, np.where(np.arange(120) == 2, bad, 1.0))


@pytest.mark.parametrize(
    ("X_bad", "y_bad", "message"),
    [
        (X4[:-1], Y4, "inconsistent numbers of samples"),
        (X4[:, 0], Y4, "Expected 2D array"),
        (X4[:0], Y4[:0], "0 sample"),
        (X4[:, :0], Y4, "0 feature"),
        (X4, np.column_stack([Y4, Y4]), "y should be a 1d array"),
        (X4.astype(complex), Y4, "[Cc]omplex"),
        (np.full((120, 4), "a"), Y4, "could not convert string to float"),
        (X4, None, "requires y to be passed"),
    ],
)
def test_wrong_shapes_and_types(X_bad, y_bad, message):
    with pytest.raises(ValueError, match=message):
        QuadraticNet().fit(X_bad, y_bad)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(120), "[Ww]eight.*zero"),
        (np.append(-1.0, np.ones(119)), "[Nn]egative.*weight"),
        (np.ones(119), "[Ww]eight.*shape"),
        (np.ones((120, 2)), "[Ww]eight.*1D"),
    ],
)
def test_wrong_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        QuadraticNet().fit(X4, Y4, weights)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("n_hidden", 0),
        ("n_hidden", 2.5),
        ("n_hidden", "many"),
        ("init", "tensor"),
        ("init", None),
        ("output_weights", "negative"),
        ("alpha", -0.1),
        ("alpha", "automatic"),
        ("alpha", np.nan),
        ("fit_linear", "yes"),
        ("solver", "newton"),
        ("step_size", 0),
        ("step_size", -1.0),
        ("step_size", "fast"),
        ("step_size", np.nan),
        ("fit_intercept", "yes"),
        ("max_iter", 0),
        ("max_iter", 2.5),
        ("tol", -1e-3),
        ("tol", "small"),
        ("random_state", "seed"),
        ("n_init", 0),
        ("warm_start", "yes"),
        ("verbose", -1),
    ],
)
def test_wrong_parameters(parameter, value):
    with pytest.raises(ValueError, match=f"The '{parameter}' parameter of QuadraticNet must be"):
        QuadraticNet(**{parameter: value}).fit(X4, Y4)


def test_predict_before_fit_and_on_other_columns():
    with pytest.raises(NotFittedError):
        QuadraticNet().predict(X4)
    with pytest.raises(ValueError, match="X has 3 features, but QuadraticNet is expecting 4"):
        fit("full").predict(X4[:, :3])


def features(X):
    """All products of two columns, the columns, and 1."""
    i, j = np.triu_indices(X.shape[1])
    return np.column_stack([X[:, i] * X[:, j], X, np.ones(len(X))])


def best_r2(X, y):
    """Of least squares over all quadratic functions."""
    Z = features((X - X.mean(axis=0)) / np.where(np.ptp(X, axis=0) > 0, X.std(axis=0), 1))
    return 1 - np.mean((y - Z @ np.linalg.lstsq(Z, y, rcond=None)[0]) ** 2) / np.var(y)


def hostile():
    """Inputs far from Gaussian."""
    rng, n, d = np.random.default_rng(1), 120, 4
    return {
        "heavy tails": rng.standard_t(1.5, (n, d)),
        "binary": (rng.random((n, d)) < 0.4).astype(float),
        "mixture": rng.standard_normal((n, d)) + 6 * rng.integers(-1, 2, (n, d)),
        "skewed": rng.exponential(size=(n, d)) ** 2,
        "rank one": np.outer(rng.standard_normal(n), rng.standard_normal(d)),
        "collinear": np.column_stack([X4[:, :3], X4[:, :3].sum(axis=1)]),
        "duplicate columns": np.column_stack([X4, X4[:, :2]]),
        "duplicate rows": np.repeat(X4[:15], 8, axis=0),
        "integers": rng.integers(0, 3, (n, d)),
        "one column": X4[:, :1],
        "constant columns": np.column_stack([X4, np.full(n, 7.0), np.zeros(n)]),
        "mean 1e3": X4 + 1e3,
        "mean 1e6": X4 + 1e6,
    }


@some
@pytest.mark.parametrize("kind", hostile())
@pytest.mark.usefixtures("bounded")
def test_hostile_inputs(kind, name):
    """The convex problem is solved whatever the inputs are: as well as least squares, or certified."""
    X = hostile()[kind]
    model = fit(name, X)
    if name == "full":
        assert r2(model, X, Y4) == pytest.approx(best_r2(X, Y4), abs=1e-6)
        assert model.certified_


@pytest.mark.parametrize(("shift", "loss"), [(1e6, 1e-6), (1e8, 1e-4)])
@pytest.mark.parametrize("name", ["full", "two", "positive", "gd"])
def test_a_mean_far_away_is_no_loss(name, shift, loss):
    """Inputs of deviation 1 about 1e8 have half the digits; predictions must be about as good as those at 0."""
    X = (X4 * 2**20).round() / 2**20  # so that adding and taking away the mean changes little
    far = X + shift
    plain, model = fit(name, far - shift), fit(name, far)
    assert abs(r2(model, far, Y4) - r2(plain, far - shift, Y4)) <= loss or name == "gd"
    if name != "gd":
        np.testing.assert_allclose(model.predict(far), plain.predict(far - shift), rtol=0, atol=1e3 * loss)


@pytest.mark.parametrize("name", ["pure", "no line", "no intercept", "decay"])
@pytest.mark.parametrize(
    "shift", [pytest.param(1e3, marks=pytest.mark.slow), 1e6, pytest.param(1e8, marks=pytest.mark.slow)]
)
def test_a_mean_far_away_is_never_worse_than_nothing(name, shift):
    """Of a model with an origin the problem is ill-conditioned, but M = 0 is among its matrices."""
    X = X4 + shift
    model = fit(name, X)
    assert model.loss_ <= np.mean(Y4**2) / 2 * (1 + 1e-8)
    assert np.mean((model.predict(X) - Y4) ** 2) <= np.mean(Y4**2) * (1 + 1e-8)


@most
@pytest.mark.parametrize("kind", ["constant", "zero", "linear", "noise", "one gigantic", "binary"])
@pytest.mark.usefixtures("bounded")
def test_odd_targets(kind, name):
    noise = np.random.default_rng(3).standard_normal(120)
    y = {
        "constant": np.full(120, 3.0),
        "zero": np.zeros(120),
        "linear": X4 @ [1.0, 2.0, 3.0, 4.0] + 2,
        "noise": noise,
        "one gigantic": np.where(np.arange(120) == 5, 1e8, Y4),
        "binary": (Y4 > 0).astype(float),
    }[kind]
    model = fit(name, y=y)
    if name in ("full", "positive", "two", "random") and kind in ("constant", "zero", "linear"):
        np.testing.assert_allclose(model.predict(X4), y, rtol=0, atol=1e-7)
        assert model.certified_
    if kind == "zero" and name not in ("gd", "two gd", "paper"):
        np.testing.assert_allclose(model.predict(X4), 0, rtol=0, atol=1e-12)
    if name in ("full", "decay", "positive", "positive decay", "pure"):
        assert model.certified_


@most
@pytest.mark.usefixtures("bounded")
def test_an_outlier_among_the_inputs(name):
    fit(name, np.vstack([X4, np.full((1, 4), 1e8)]), np.append(Y4, 1.0))
    lonely = X4.copy()
    lonely[7, 2] = -1e12
    fit(name, lonely, Y4)


@variants
@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_few_rows(name, n):
    """A linear function interpolates up to five of them: nothing is left."""
    model = fit(name, X4[:n], Y4[:n])
    if name == "full":
        np.testing.assert_allclose(model.predict(X4[:n]), Y4[:n], rtol=0, atol=1e-8)
        assert model.certified_


@variants
def test_one_row_and_one_column(name):
    fit(name, X4[:1, :1], Y4[:1])
    fit(name, X4[:2, :1], Y4[:2])
    model = fit(name, X4[:, :1], Y4)
    if name in ("full", "two"):
        x = X4[:, 0]
        np.testing.assert_allclose(model.predict(X4[:, :1]), np.polyval(np.polyfit(x, Y4, 2), x), rtol=0, atol=1e-7)


@most
@pytest.mark.usefixtures("bounded")
def test_more_columns_than_rows(name):
    rng = np.random.default_rng(4)
    wide, y = rng.standard_normal((20, 35)), rng.standard_normal(20)
    for d in (35, 20, 19):
        model = fit(name, wide[:, :d], y)
        if name == "full":
            np.testing.assert_allclose(model.predict(wide[:, :d]), y, rtol=0, atol=1e-8)
            assert model.certified_


@pytest.mark.parametrize("name", ["two", "two decay", "two gd"])
@pytest.mark.parametrize("n_hidden", [4, 5, 12, 150])
def test_more_units_than_columns_or_rows(name, n_hidden):
    model = fit(name, n_hidden=n_hidden)
    assert model.hidden_coef_.shape == (n_hidden, 4)
    if name != "two gd":
        np.testing.assert_allclose(model.matrix_, fit(name, n_hidden=None).matrix_, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(model.hidden_coef_[4:], 0)
        assert model.certified_


@variants
def test_inputs_without_variation(name):
    for X in (np.ones((120, 3)), np.zeros((120, 3))):
        model = fit(name, X, Y4 + 1)
        if name == "pure" and not X.any():
            np.testing.assert_array_equal(model.predict(X), 0)
        elif VARIANTS[name].get("fit_intercept", True) and "step" not in str(VARIANTS[name]) and "gd" not in name:
            np.testing.assert_allclose(model.predict(X), np.mean(Y4 + 1), rtol=1e-7)


@pytest.mark.parametrize("values", [(0.0, 1.0), (-1.0, 1.0), (3.0, 3.5)])
@pytest.mark.parametrize("name", ["full", "positive", "no line", "decay"])
def test_one_column_of_two_values_is_a_linear_function_and_certified(name, values):
    """Its square is one, too: nothing is left for M, with or without it, and G vanishes but for rounding."""
    X = np.where(X4[:, :1] > 0, *values)
    model = fit(name, X)
    assert model.certified_, model.optimality_gap_
    assert model.converged_
    if name == "full":
        means = [Y4[X[:, 0] == value].mean() for value in values]
        np.testing.assert_allclose(model.predict(np.array(values)[:, None]), means, rtol=0, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("name", ["full", "decay", "positive", "two", "no line"])
def test_the_gap_is_a_relative_number(name, scale):
    """Never far above 1 where M is no worse than 0, whatever inputs leave to it, and never below 0 but for rounding."""
    for X, y in ((X4, X4[:, 0] * 2 + 1), (X4[:3], Y4[:3]), (np.ones((120, 2)), Y4), (X4, Y4), (X4[:, :1] > 0, Y4)):
        model = fit(name, np.asarray(X, float), scale * y, alpha=scale * VARIANTS[name].get("alpha", 0.0))
        assert -1e-10 <= model.optimality_gap_ <= 1e3


@variants
def test_one_weight_is_not_zero(name):
    s = np.zeros(120)
    s[int(np.argmax(Y4))] = 3.0
    fit(name, sample_weight=s)


@pytest.mark.parametrize("factor", [1e-320, 1e-200, 1e200, 1e300])
def test_weights_of_any_size(factor):
    plain = fit("full")
    np.testing.assert_allclose(
        fit("full", sample_weight=np.full(120, factor)).predict(X4), plain.predict(X4), rtol=0, atol=1e-8
    )


@pytest.mark.parametrize(
    ("factor", "target_factor"),
    [
        *[(1e150, 1.0), (1e-150, 1.0), (1.0, 1e150), (1.0, 1e-150), (1e150, 1e150), (1e-150, 1e-150)],
        *[(1e300, 1.0), (1e-300, 1.0), (1.0, 1e300), (1.0, 1e-300), (1e-160, 1e160), (1e160, 1e-160)],
    ],
)
@some
@pytest.mark.usefixtures("bounded")
def test_squares_that_overflow_are_an_error_or_a_finite_fit(name, factor, target_factor):
    try:
        fit(name, factor * X4, target_factor * Y4)
    except ValueError as error:
        assert re.search(r"\b(X|y)\b.*(large|overflow|scale)", str(error))  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(("factor", "target_factor"), [(1e15, 1.0), (1.0, 1e15), (1e-15, 1.0), (1e12, 1e12)])
@some
def test_single_precision_at_extreme_scales(name, factor, target_factor):
    try:
        fit(name, (factor * X4).astype(np.float32), (target_factor * Y4).astype(np.float32))
    except ValueError as error:
        assert re.search(r"\b(X|y)\b.*(large|overflow|scale)", str(error))  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize("name", ["full", "two", "positive", "no line", "pure"])
def test_columns_of_very_different_scales(name):
    scales = np.array([1.0, 1e50, 1e-50, 1e3])
    model, plain = fit(name, X4 * scales), fit(name)
    np.testing.assert_allclose(model.predict(X4 * scales), plain.predict(X4), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["decay", "two decay", "positive decay"])
@pytest.mark.parametrize(
    "shift",
    [
        pytest.param(1.0, marks=pytest.mark.slow),
        30.0,
        pytest.param(1e3, marks=pytest.mark.slow),
        pytest.param(1e6, marks=pytest.mark.slow),
    ],
)
def test_decay_with_a_mean_away_is_certified_or_warned_of(name, shift):
    """There decay is of the user's own origin: the problem is another, and ill-conditioned; it says so."""
    model = fit(name, X4 + shift)
    assert model.optimality_gap_ >= -1e-8
    assert not (model.certified_ and not model.converged_)
    assert model.loss_curve_[-1] <= np.var(Y4) / 2 * (1 + 1e-8)
    if name != "two decay":
        assert model.certified_ == model.converged_
