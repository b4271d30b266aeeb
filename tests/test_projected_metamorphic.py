"""What must not change, or change in a known way, when the data of `ProjectedReLURegressor` are transformed."""

import warnings
from functools import cache

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import skrelu.rows.memory
from skrelu import ProjectedReLURegressor, ProjectedReLURegressorCV, constraints
from skrelu.constraints import L0Ball, L1Ball

D = 8
GROUPS = np.arange(D) // 2


def data(seed=0, n=90, noise=0.1, dtype=np.float64):
    """Sparse-ish columns off centre, of unequal scales; noisy targets, some negative; integer weights, some zero."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, D)) * (rng.random((n, D)) < 0.7) * np.linspace(0.5, 2, D) + (np.arange(D) == 2)
    y = np.maximum(X @ np.array([1.0, -1, 0.5, 0, 0, 0.7, 0, 0]), 0) + noise * rng.standard_normal(n)
    return X.astype(dtype), y.astype(dtype), rng.integers(0, 4, n).astype(float)


CONVEX = {
    "none": ProjectedReLURegressor(),
    "no intercept": ProjectedReLURegressor(fit_intercept=False),
    "L1Ball": ProjectedReLURegressor(L1Ball(1.5)),
    "L2Ball": ProjectedReLURegressor(constraints.L2Ball(1.0)),
    "GroupL1Ball": ProjectedReLURegressor(constraints.GroupL1Ball(GROUPS, 1.2)),
    "Nonnegative": ProjectedReLURegressor(constraints.Nonnegative()),
    "Box": ProjectedReLURegressor(constraints.Box(-0.5, 0.6)),
    "Simplex": ProjectedReLURegressor(constraints.Simplex(1.3)),
    "Monotone": ProjectedReLURegressor(constraints.Monotone(increasing=False)),
    "TotalVariationBall": ProjectedReLURegressor(constraints.TotalVariationBall(2.0)),
    "NuclearBall": ProjectedReLURegressor(constraints.NuclearBall((2, 4), 1.2)),
    "callable": ProjectedReLURegressor(L1Ball(1.5).project),
    "paper": ProjectedReLURegressor(L1Ball(1.5), step_size=0.2, max_iter=20, tol=0),
    "gd": ProjectedReLURegressor(L1Ball(1.5), solver="gd", max_iter=60, tol=0),
}
MODELS = CONVEX | {
    "L0Ball": ProjectedReLURegressor(L0Ball(3)),
    "GroupL0Ball": ProjectedReLURegressor(constraints.GroupL0Ball(GROUPS, 2)),
    "LowRank": ProjectedReLURegressor(constraints.LowRank((2, 4), 1)),
    "NonnegativeSparse": ProjectedReLURegressor(constraints.NonnegativeSparse(3)),
    "CV": ProjectedReLURegressorCV(cv=2, sizes=[0.5, 2.0]),
}
# One of each kind: none, the paper's steps, convex, of rank one, of few entries, the choice of a size.
FAST = {"none", "no intercept", "paper", "L1Ball", "Monotone", "L0Ball", "LowRank", "CV"}


def each(names):
    """Of these models; those that are not `FAST` run with the slow tests."""
    marked = [pytest.param(MODELS[k], id=k, marks=[] if k in FAST else [pytest.mark.slow]) for k in names]
    return pytest.mark.parametrize("model", marked)


models = each(MODELS)
# Folds that go by the number of rows are not the folds of repeated, removed or reordered rows.
plain_models = each([name for name in MODELS if name != "CV"])


def fit(model, X, y, s=None):
    return clone(model).fit(X, y, s)


@cache
def fitted(model):
    """The fit to the data with weights, shared by the tests, which do not change it."""
    return fit(model, *data())


def assert_same(a, b, atol=1e-8):
    np.testing.assert_allclose(a.coef_, b.coef_, rtol=0, atol=atol)
    assert a.intercept_ == pytest.approx(b.intercept_, abs=atol)
    assert a.loss_ == pytest.approx(b.loss_, rel=1e-8)


# Rows and weights.


@plain_models
def test_integer_weights_are_repetitions_and_zero_weights_removals(model):
    X, y, s = data()
    rows = np.repeat(np.arange(len(y)), s.astype(int))
    assert_same(fitted(model), fit(model, X[rows], y[rows]))


@models
def test_a_common_factor_of_the_weights_changes_nothing(model):
    X, y, s = data()
    one = fitted(model)
    assert_same(fit(model, X, y, 4 * s), one, atol=1e-12)
    assert_same(fit(model, X, y, 1e-3 * s), one)


@models
def test_weights_of_one_are_no_weights(model):
    X, y, _ = data()
    with_ones, without = fit(model, X, y, np.ones(len(y))), fit(model, X, y)
    np.testing.assert_array_equal(with_ones.coef_, without.coef_)
    assert with_ones.intercept_ == without.intercept_


@plain_models
def test_the_order_of_the_rows_does_not_matter(model):
    X, y, s = data()
    order = np.random.default_rng(1).permutation(len(y))
    assert_same(fit(model, X[order], y[order], s[order]), fitted(model))


# Units.


@pytest.mark.parametrize("constraint", [None, L0Ball(3), constraints.GroupL0Ball(GROUPS, 2), constraints.Nonnegative()])
def test_the_units_of_the_columns_do_not_matter_where_the_set_is_a_cone_of_coordinates(constraint):
    X, y, s = data()
    scales = 10.0 ** np.linspace(-3, 3, D)
    model = ProjectedReLURegressor(constraint)
    plain, scaled = fit(model, X, y, s), fit(model, X * scales, y, s)
    np.testing.assert_allclose(scaled.predict(X * scales), plain.predict(X), rtol=0, atol=1e-8)
    np.testing.assert_allclose(scaled.coef_ * scales, plain.coef_, rtol=0, atol=1e-8)


@pytest.mark.parametrize("factor", [1e-6, 1e5])
@pytest.mark.parametrize(
    "ball", ["L1Ball", "L2Ball", "GroupL1Ball", "Simplex", "TotalVariationBall", "NuclearBall", "Box"]
)
def test_a_ball_in_other_units(ball, factor):
    """Columns multiplied by a factor and the radius divided by it, or target and radius multiplied: the same model."""
    X, y, s = data()
    model = CONVEX[ball]
    sizes = {p: v for p, v in model.constraint.get_params().items() if p in ("radius", "lower", "upper")}
    larger = clone(model).set_params(**{f"constraint__{p}": v * factor for p, v in sizes.items()})
    smaller = clone(model).set_params(**{f"constraint__{p}": v / factor for p, v in sizes.items()})
    plain = fitted(model)
    np.testing.assert_allclose(fit(smaller, X * factor, y, s).coef_ * factor, plain.coef_, rtol=0, atol=1e-8)
    np.testing.assert_allclose(fit(larger, X, y * factor, s).coef_ / factor, plain.coef_, rtol=0, atol=1e-8)


@pytest.mark.parametrize("constraint", [None, L0Ball(3), constraints.Monotone(), constraints.LowRank((2, 4), 1)])
@pytest.mark.parametrize("factor", [1e-6, 2.0**17])
def test_the_units_of_the_target_do_not_matter(constraint, factor):
    X, y, s = data()
    model = ProjectedReLURegressor(constraint)
    plain, scaled = fit(model, X, y, s), fit(model, X, factor * y, s)
    np.testing.assert_allclose(scaled.coef_ / factor, plain.coef_, rtol=0, atol=1e-8)
    if factor > 1:  # a power of two changes no digit
        assert scaled.n_iter_ == plain.n_iter_


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("no intercept", "paper", "gd", "callable")])
def test_a_shift_of_the_columns_goes_into_the_intercept(name):
    X, y, s = data()
    shift = np.linspace(-50, 50, D)
    plain, shifted = fitted(MODELS[name]), fit(MODELS[name], X + shift, y, s)
    np.testing.assert_allclose(shifted.coef_, plain.coef_, rtol=0, atol=1e-8)
    np.testing.assert_allclose(shifted.predict(X + shift), plain.predict(X), rtol=0, atol=1e-7)


# Where and how the numbers are stored.

CONTAINERS = {
    "csr_matrix": sparse.csr_matrix,
    "csc_matrix": sparse.csc_matrix,
    "csr_array": sparse.csr_array,
    "csc_array": sparse.csc_array,
    "coo_array": sparse.coo_array,
    "fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "list": lambda X: X.tolist(),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(
    "name", ["none", "L1Ball", "L0Ball", pytest.param("NuclearBall", marks=pytest.mark.slow), "CV"]
)
def test_the_container_does_not_matter(name, container):
    X, y, s = data()
    expected, model = fitted(MODELS[name]), fit(MODELS[name], CONTAINERS[container](X), y, s)
    assert_same(model, expected)
    np.testing.assert_allclose(model.predict(CONTAINERS[container](X)), expected.predict(X), atol=1e-8)


@models
def test_a_memory_map_is_read_like_an_array(model, tmp_path):
    X, y, s = data()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.testing.assert_array_equal(fit(model, mapped, y, s).coef_, fitted(model).coef_)


@models
def test_the_size_of_the_blocks_of_rows_does_not_matter(model, monkeypatch):
    for container in (np.asarray, sparse.csr_array):
        X, y, s = data()
        whole = fitted(model) if container is np.asarray else fit(model, container(X), y, s)
        with monkeypatch.context() as patch:
            patch.setattr(skrelu.rows.memory, "BLOCK_BYTES", 1)  # eight rows a block, the smallest
            blocks = fit(model, container(X), y, s)
        assert_same(blocks, whole)


@models
def test_data_are_not_changed(model):
    X, y, s = data()
    copies = X.copy(), y.copy(), s.copy()
    for array in (X, y, s):
        array.setflags(write=False)
    fit(model, X, y, s)
    for array, copy in zip((X, y, s), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@models
def test_single_precision_is_kept_and_close(model):
    X, y, s = data(noise=0.05, dtype=np.float32)
    double = fit(model, X.astype(np.float64), y.astype(np.float64), s)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # gd may circle within rounding
        single = fit(model, X, y, s)
    assert single.coef_.dtype == np.float32
    assert single.predict(X).dtype == np.float32
    np.testing.assert_allclose(single.coef_, double.coef_, rtol=0, atol=1e-3)
    assert single.loss_ == pytest.approx(double.loss_, rel=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.uint8, bool, object])
def test_other_number_types_become_double_precision(dtype):
    X = np.random.default_rng(0).integers(0, 2, (60, 5))
    y = np.maximum(X @ [1, -1, 2, 0, 1] - 0.5, 0)
    model = ProjectedReLURegressor().fit(X.astype(dtype), y)
    assert model.coef_.dtype == np.float64
    assert_same(model, ProjectedReLURegressor().fit(X.astype(float), y))


# Repeated fits.


@models
def test_the_same_fit_twice_is_the_same_to_the_last_bit(model):
    X, y, s = data()
    first, again = fitted(model), clone(model)
    for _ in range(2):
        again.fit(X, y, s)
        np.testing.assert_array_equal(again.coef_, first.coef_)
        assert again.intercept_ == first.intercept_
        assert again.loss_curve_ == first.loss_curve_


@plain_models
def test_an_earlier_fit_to_other_data_leaves_no_trace(model):
    X, y, s = data()
    used = fit(model, *data(seed=5))
    np.testing.assert_array_equal(used.fit(X, y, s).coef_, fitted(model).coef_)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("paper", "gd", "CV")])
def test_a_warm_start_at_the_optimum_is_soon_done(name):
    X, y, s = data()
    y = np.maximum(y, 0)
    model = clone(MODELS[name]).set_params(warm_start=True).fit(X, y, s)
    cold, n_iter = (model.coef_.copy(), model.loss_), model.n_iter_
    model.fit(X, y, s)
    # Without Newton steps (the curved pieces of LowRank) the last digits of the change of units take some steps back.
    assert model.n_iter_ <= (n_iter / 5 if name == "LowRank" else min(n_iter, 3))
    np.testing.assert_allclose(model.coef_, cold[0], rtol=0, atol=1e-7)
    assert model.loss_ <= cold[1] * (1 + 1e-10)


def test_a_warm_start_continues_the_descent():
    """Ten steps at once, or five and five: the same point. The step of double length from zero is not taken twice."""
    X, y, _ = data()
    model = ProjectedReLURegressor(L1Ball(1.5), step_size=0.2, max_iter=10, tol=0)
    at_once = clone(model).fit(X, y)
    in_two = clone(model).set_params(max_iter=5, warm_start=True)
    curve = in_two.fit(X, y).loss_curve_ + in_two.fit(X, y).loss_curve_
    np.testing.assert_allclose(in_two.coef_, at_once.coef_, rtol=0, atol=1e-12)
    np.testing.assert_allclose(curve, at_once.loss_curve_, rtol=1e-12)


def test_a_warm_start_with_other_columns_starts_anew():
    X, y, _ = data()
    model = ProjectedReLURegressor(warm_start=True).fit(X, y).fit(X[:, :5], y)
    np.testing.assert_array_equal(model.coef_, ProjectedReLURegressor().fit(X[:, :5], y).coef_)


def test_a_warm_start_across_dtypes_keeps_the_dtype_of_the_data():
    X, y, _ = data()
    model = ProjectedReLURegressor(L1Ball(1.0), warm_start=True).fit(X, y).fit(X.astype(np.float32), y)
    assert model.coef_.dtype == np.float32


# History.


@models
def test_the_history_is_consistent(model):
    X, y, s = data()
    for max_iter in (1, 2, 1000):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = clone(model).set_params(max_iter=max_iter).fit(X, y, s)
        assert isinstance(fitted.loss_curve_, list)
        assert len(fitted.loss_curve_) == fitted.n_iter_
        assert 1 <= fitted.n_iter_ <= max_iter
        assert isinstance(fitted.converged_, bool)
        assert isinstance(fitted.stop_reason_, str)
        assert fitted.stop_reason_
        z = X @ fitted.coef_ + fitted.intercept_
        assert fitted.loss_ == pytest.approx(0.5 * np.average((np.maximum(z, 0) - y) ** 2, weights=s), rel=1e-12)
        # The curve is a majorant of the loss, by smoothing at most 1e-6 of the scale of y at the end.
        assert fitted.loss_ <= min(fitted.loss_curve_) * (1 + 1e-9)
        if fitted.converged_:
            assert fitted.loss_ == pytest.approx(fitted.loss_curve_[-1], rel=1e-5)
