"""Bad, extreme and degenerate input of `ProjectedReLURegressor`: a clear error or a right answer, in bounded time."""

import re
import warnings
from itertools import product

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from skrelu import ProjectedReLURegressor, ProjectedReLURegressorCV, constraints
from skrelu.constraints import L0Ball, L1Ball
from skrelu.rows import Rows

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 4))
W = np.array([1.0, -1.0, 0.5, 0.0])
Y = np.maximum(X @ W, 0)

VARIANTS = {
    "auto": {},
    "no intercept": {"fit_intercept": False},
    "gd": {"solver": "gd", "max_iter": 300},
    "paper": {"step_size": 1.0, "max_iter": 300},
    "L1Ball": {"constraint": L1Ball(1.0)},
    "L0Ball": {"constraint": L0Ball(2)},
}
ADAPTIVE = {name: VARIANTS[name] for name in ("auto", "no intercept", "L0Ball")}
variants = pytest.mark.parametrize("parameters", VARIANTS.values(), ids=VARIANTS)
adaptive = pytest.mark.parametrize("parameters", ADAPTIVE.values(), ids=ADAPTIVE)


@pytest.fixture(autouse=True)
def _bounded_number_of_passes(monkeypatch):
    """An endless loop fails instead of hanging: no fit here needs 20 000 passes over 30 rows."""
    original, passes = Rows.sum, 0

    def counted(self, f, *parameters):
        nonlocal passes
        passes += 1
        assert passes < 20_000, "an endless loop"
        return original(self, f, *parameters)

    monkeypatch.setattr(Rows, "sum", counted)


def fit(parameters, X=X, y=Y, sample_weight=None):
    """Fit where only a warning of convergence is excused, and nothing may be NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = ProjectedReLURegressor(**parameters).fit(X, y, sample_weight)
    for value in (model.coef_, model.intercept_, model.loss_, model.optimality_, model.predict(X)):
        assert np.all(np.isfinite(value))
    assert np.all(np.isfinite(model.loss_curve_)) or not model.converged_
    assert 1 <= model.n_iter_ == len(model.loss_curve_)
    return model


def relative_error(model):
    return np.linalg.norm(model.coef_ - W) / np.linalg.norm(W)


# Rejected, with a message that names what is wrong.


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [np.array, sparse.csr_matrix, sparse.csc_array])
def test_missing_and_infinite_values(bad, make):
    broken = X.copy()
    broken[3, 1] = bad
    with pytest.raises(ValueError, match=r"X contains (NaN|infinity)"):
        ProjectedReLURegressor().fit(make(broken), Y)
    model = ProjectedReLURegressor().fit(X, Y)
    with pytest.raises(ValueError, match=r"X contains (NaN|infinity)"):
        model.predict(make(broken))
    y = Y.copy()
    y[2] = bad
    with pytest.raises(ValueError, match=r"y contains (NaN|infinity)"):
        ProjectedReLURegressor().fit(make(X), y)
    with pytest.raises(ValueError, match=r"[Ww]eight.*(NaN|infinity)"):
        ProjectedReLURegressor().fit(make(X), Y, np.where(np.arange(30) == 2, bad, 1.0))


@pytest.mark.parametrize(
    ("X_bad", "y_bad", "message"),
    [
        (X[:-1], Y, "inconsistent numbers of samples"),
        (X[:, 0], Y, "Expected 2D array"),
        (X[:0], Y[:0], "0 sample"),
        (X[:, :0], Y, "0 feature"),
        (X, np.column_stack([Y, Y]), "y should be a 1d array"),
        (X.astype(complex), Y, "[Cc]omplex"),
        (np.full((30, 4), "a"), Y, "could not convert string to float"),
        (X, None, "requires y to be passed"),
    ],
)
def test_wrong_shapes_and_types(X_bad, y_bad, message):
    for estimator in (ProjectedReLURegressor(), ProjectedReLURegressorCV()):
        with pytest.raises(ValueError, match=message):
            estimator.fit(X_bad, y_bad)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(30), "[Ww]eight.*zero"),
        (np.append(-1.0, np.ones(29)), "[Nn]egative.*weight"),
        (np.ones(29), "[Ww]eight.*shape"),
        (np.ones((30, 2)), "[Ww]eight.*1D"),
    ],
)
@pytest.mark.parametrize("estimator", [ProjectedReLURegressor(), ProjectedReLURegressorCV()])
def test_wrong_weights(estimator, weights, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, Y, weights)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("constraint", 3),
        ("constraint", "l1"),
        ("solver", "newton"),
        ("solver", None),
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
        ("warm_start", "yes"),
        ("verbose", -1),
    ],
)
@pytest.mark.parametrize("estimator", [ProjectedReLURegressor, ProjectedReLURegressorCV])
def test_wrong_parameters(estimator, parameter, value):
    with pytest.raises(ValueError, match=f"The '{parameter}' parameter of {estimator.__name__} must be"):
        estimator(**{parameter: value}).fit(X, Y)


@pytest.mark.parametrize("value", ["l1", L0Ball, L1Ball])
@pytest.mark.parametrize("estimator", [ProjectedReLURegressor, ProjectedReLURegressorCV])
def test_a_class_or_a_name_in_place_of_a_set_is_told_what_a_set_is(estimator, value):
    message = rf"such as skrelu\.constraints\.L0Ball\(3\).* or None\. Got {re.escape(repr(value))} instead"
    with pytest.raises(ValueError, match=message):
        estimator(value).fit(X, Y)


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (L1Ball(-1.0), "L1Ball: radius must be .* >= 0, got -1.0"),
        (L1Ball(np.nan), "L1Ball: radius must be a finite number"),
        (L1Ball("big"), "L1Ball: radius must be a finite number"),
        (constraints.L2Ball(-2), "L2Ball: radius must be"),
        (constraints.Simplex(-0.5), "Simplex: radius must be"),
        (constraints.TotalVariationBall(-0.5), "TotalVariationBall: radius must be"),
        (L0Ball(-1), "L0Ball: n_nonzero must be an integer >= 0, got -1"),
        (L0Ball(1.5), "L0Ball: n_nonzero must be an integer"),
        (constraints.GroupL0Ball([0, 0, 1], 1), "GroupL0Ball: groups has length 3 but w has 4"),
        (constraints.GroupL1Ball(np.arange(5), 1.0), "GroupL1Ball: groups has length 5 but w has 4"),
        (constraints.Box(1.0, 0.0), "Box: lower must be <= upper"),
        (constraints.Box([0.0, 0.0], 1.0), r"Box: lower has shape \(2,\) but w has 4"),
        (constraints.Subspace(np.ones((3, 1))), "Subspace: basis has 3 rows but w has 4"),
        (constraints.LowRank((3, 2), 1), r"LowRank: shape \(3, 2\) has 6 entries but w has 4"),
        (constraints.NuclearBall((2, 2), -1), "NuclearBall: radius must be"),
        (constraints.Monotone("up"), "Monotone: increasing must be True or False"),
        (constraints.NonnegativeSparse("few"), "NonnegativeSparse: n_nonzero must be an integer"),
    ],
)
@pytest.mark.parametrize("solver", ["auto", "gd"])
def test_sets_that_do_not_fit(constraint, message, solver):
    with pytest.raises(ValueError, match=message):
        ProjectedReLURegressor(constraint, solver=solver).fit(X, Y)


@pytest.mark.parametrize(
    ("projection", "message"),
    [
        (
            lambda w: w[:-1],
            re.escape("constraint: the callable must return an array of the shape of its argument, (4,)"),
        ),
        (lambda w: w[:, None], "constraint: the callable must return an array of the shape"),
        (lambda w: float(w @ w), "constraint: the callable must return an array of the shape"),
        (lambda w: None, "constraint: the callable must return"),
        (lambda w: w * np.nan, "constraint: the callable must return finite real numbers"),
        (lambda w: w + np.inf, "constraint: the callable must return finite real numbers"),
        (lambda w: w + 1j, "constraint: the callable must return finite real numbers"),
        (lambda w: np.full(4, "a"), "constraint: the callable must return finite real numbers"),
    ],
)
@pytest.mark.parametrize("parameters", [{}, {"solver": "gd"}, {"step_size": 1.0}])
def test_callables_that_are_no_projections(projection, message, parameters):
    with pytest.raises(ValueError, match=message):
        ProjectedReLURegressor(projection, **parameters).fit(X, Y)


def test_predict_before_fit_and_on_other_columns():
    with pytest.raises(NotFittedError):
        ProjectedReLURegressor().predict(X)
    with pytest.raises(ValueError, match="X has 3 features, but ProjectedReLURegressor is expecting 4"):
        ProjectedReLURegressor().fit(X, Y).predict(X[:, :3])


# Accepted, however odd.


@pytest.mark.parametrize("solver", ["auto", "gd"])
def test_a_callable_that_shrinks_forever_is_no_endless_loop(solver):
    """``w -> w / 2`` is not a projection: no step, however short, keeps the objective."""
    fit({"constraint": lambda w: w / 2, "solver": solver})


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("solver", ["auto", "gd"])
def test_a_callable_that_projects_to_rounding_is_no_endless_loop(solver, seed):
    """Projecting twice changes the last digit: at the optimum every step may raise the objective by rounding."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((30, 7))
    y = np.maximum(A @ rng.standard_normal(7), 0) + 0.1 * rng.standard_normal(30)
    fit({"constraint": lambda w: w * min(1.0, 0.7 / max(np.linalg.norm(w), 1e-300)), "solver": solver}, A, y)


@variants
def test_zero_targets_give_zero(parameters):
    np.testing.assert_array_equal(fit(parameters, y=0 * Y).predict(X), 0)


@variants
def test_negative_targets_give_the_nearest_prediction_which_is_zero(parameters):
    model = fit(parameters, y=-1 - Y)
    np.testing.assert_allclose(model.predict(X), 0, atol=1e-5)


@variants
def test_one_row(parameters):
    model = fit(parameters, X[:1], np.array([2.0]))
    if parameters.get("step_size") != 1.0:  # the paper's step diverges on a row longer than sqrt(2)
        np.testing.assert_allclose(model.predict(X[:1]), 2.0, rtol=1e-6)
    assert fit(parameters, X[:1], np.array([-2.0])).predict(X[:1]) == pytest.approx(0, abs=1e-5)


@variants
def test_one_column_and_one_entry(parameters):
    model = fit(parameters, X[:, :1], np.maximum(0.5 * X[:, 0], 0))
    assert model.coef_[0] == pytest.approx(0.5, abs=1e-6)
    fit(parameters, X[:1, :1], np.array([1.0]))


@adaptive
def test_constant_columns_say_nothing(parameters):
    """Constant columns, and those that are all zero, leave the predictions as they are, where there is an intercept."""
    wide = np.column_stack([X, np.full(30, 7.0), np.zeros(30)])
    if parameters.get("fit_intercept", True):
        np.testing.assert_allclose(fit(parameters, wide).predict(wide), fit(parameters).predict(X), atol=1e-10)
    else:
        assert fit(parameters, wide).loss_ < 1e-20
    only_constant = fit(parameters, np.ones((30, 3)))
    np.testing.assert_allclose(only_constant.predict(np.ones((1, 3))), Y.mean(), rtol=1e-10)


@variants
def test_zero_columns_only(parameters):
    model = fit(parameters, 0 * X)
    expected = Y.mean() if parameters.get("fit_intercept", True) else 0.0
    np.testing.assert_allclose(model.predict(0 * X), expected, rtol=1e-6)


def test_more_nonzeros_than_columns_is_no_constraint():
    np.testing.assert_allclose(fit({"constraint": L0Ball(9)}).coef_, fit({}).coef_, atol=1e-12)


@pytest.mark.parametrize("K", [L0Ball(0), L1Ball(0.0), constraints.L2Ball(0.0), constraints.NonnegativeSparse(0)])
@pytest.mark.parametrize("solver", ["auto", "gd"])
def test_the_smallest_sets_leave_the_constant(K, solver):
    model = fit({"constraint": K, "solver": solver})
    np.testing.assert_array_equal(model.coef_, 0)
    assert model.intercept_ == pytest.approx(Y.mean(), rel=1e-6)


@variants
def test_one_weight_is_not_zero(parameters):
    s = np.zeros(30)
    row = int(np.argmax(Y))
    s[row] = 3.0
    model = fit(parameters, sample_weight=s)
    alone = fit(parameters, X[[row]], Y[[row]])
    np.testing.assert_allclose(model.coef_, alone.coef_, atol=1e-12)


@pytest.mark.parametrize("factor", [1e-320, 1e-200, 1e200, 1e308])
def test_weights_of_any_size(factor):
    np.testing.assert_allclose(fit({}, sample_weight=np.full(30, factor)).coef_, fit({}).coef_, rtol=1e-10, atol=1e-14)


def test_duplicated_and_integer_columns():
    assert fit({}, np.column_stack([X, X])).loss_ < 1e-20
    counts = np.arange(120).reshape(30, 4) % 7
    target = np.maximum(counts @ [1, -1, 0, 2] - 3, 0)
    assert fit({}, counts, target).loss_ < 1e-20


# Extreme scales.


@pytest.mark.parametrize(
    ("factor", "target_factor"), [pair for pair in product([1e-150, 1.0, 1e150], repeat=2) if pair != (1e150, 1e150)]
)
@adaptive
def test_the_answer_scales_with_the_data(parameters, factor, target_factor):
    """Of any size where the gradient in the units of X and y is representable: the same weights, rescaled."""
    model, plain = fit(parameters, factor * X, target_factor * Y), fit(parameters)
    scaled = model.coef_ * factor / target_factor
    np.testing.assert_allclose(scaled, plain.coef_, atol=1e-10)


def finite_or_explained(parameters, X, y):
    try:
        fit(parameters, X, y)
    except ValueError as error:
        assert re.search(r"\b(X|y)\b.*(large|overflow|scale)", str(error))  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(("factor", "target_factor"), [(1e150, 1e150), (1e200, 1e200), (1e300, 1.0), (1.0, 1e200)])
@pytest.mark.parametrize(
    "parameters", [VARIANTS[name] for name in ("auto", "gd", "L1Ball")], ids=["auto", "gd", "L1Ball"]
)
def test_squares_that_overflow_are_an_error_or_a_finite_fit(parameters, factor, target_factor):
    finite_or_explained(parameters, factor * X, target_factor * Y)


@pytest.mark.parametrize(("factor", "target_factor"), [(1e15, 1.0), (1.0, 1e15), (1e-15, 1.0), (1e30, 1e30)])
@variants
def test_single_precision_at_extreme_scales(parameters, factor, target_factor):
    finite_or_explained(parameters, (factor * X).astype(np.float32), (target_factor * Y).astype(np.float32))


@adaptive
def test_columns_of_very_different_scales(parameters):
    scales = np.array([1.0, 1e100, 1e-100, 1e3])
    model, plain = fit(parameters, X * scales), fit(parameters)
    np.testing.assert_allclose(model.predict(X * scales), plain.predict(X), atol=1e-9)


@pytest.mark.parametrize("offset", [1e3, 1e5])
def test_columns_far_from_zero(offset):
    model = fit({}, X + offset)
    assert relative_error(model) < 1e-16 * offset**2 + 1e-9


# Divergence and interruption.


@pytest.mark.parametrize("K", [None, L1Ball(2.0), L0Ball(2)])
def test_a_diverging_descent_keeps_the_best_iterate_and_warns(K):
    with pytest.warns(ConvergenceWarning, match=r"did not converge: .*Lower step_size \(now 1e\+06\), or st") as record:
        model = ProjectedReLURegressor(K, solver="gd", step_size=1e6, max_iter=500, fit_intercept=False).fit(X, Y)
    assert len(record) == 1
    assert not model.converged_
    assert np.all(np.isfinite(model.predict(X)))
    assert model.loss_ <= min(0.5 * np.mean(Y**2), *model.loss_curve_) * (1 + 1e-9)


@pytest.mark.parametrize("interrupted_call", [1, 5])
@pytest.mark.parametrize("parameters", [{}, {"solver": "gd"}, {"step_size": 0.5}])
def test_an_interruption_keeps_the_best_so_far_and_warns(parameters, interrupted_call):
    n_calls = 0

    def interrupted(w):
        nonlocal n_calls
        n_calls += 1
        if n_calls == interrupted_call:
            raise KeyboardInterrupt
        return L1Ball(1.5).project(w)

    with pytest.warns(ConvergenceWarning, match="interrupted by the user"):
        model = ProjectedReLURegressor(interrupted, **parameters).fit(X, Y)
    assert model.stop_reason_ == "interrupted by the user"
    assert not model.converged_
    assert n_calls < 10
    assert 1 <= model.n_iter_ == len(model.loss_curve_)
    assert np.all(np.isfinite(model.predict(X)))
    if interrupted_call == 5:
        assert model.loss_ < 0.5 * np.mean(Y**2)


def test_the_warning_names_criterion_value_tolerance_and_remedy():
    noisy = Y + 0.5 * RNG.standard_normal(30)
    with pytest.warns(ConvergenceWarning) as record:
        ProjectedReLURegressor(L1Ball(1.0), max_iter=1).fit(X, noisy)
    (message,) = [str(warning.message) for warning in record]
    value = re.search(r"max_iter = 1 reached with \|v - P_K\(v - g\)\| = (\S+) > tol = 1e-\d+", message)
    assert value, message
    assert np.isfinite(float(value.group(1)))
    assert "Raise max_iter or tol" in message
    assert record[0].filename == __file__


@pytest.mark.parametrize(
    ("step_size", "remedy"),
    [
        (0.01, "Raise max_iter or step_size (now 0.01), or use solver='auto' with step_size='auto', or standardise"),
        (10.0, "Lower step_size (now 10), or standardise"),
        ("auto", "Raise max_iter, or use solver='auto', or standardise"),
    ],
)
def test_the_remedy_of_a_descent_depends_on_how_it_ended(step_size, remedy):
    """Slow steps and steps that are too long have opposite remedies."""
    with pytest.warns(ConvergenceWarning, match=rf"\. {re.escape(remedy)}"):
        ProjectedReLURegressor(solver="gd", step_size=step_size, max_iter=5).fit(X, Y)


# Targets that no ReLU has.


@pytest.mark.parametrize("parameters", [{}, {"step_size": 0.5}, {"constraint": L0Ball(2)}])
def test_negative_targets_beyond_noise_are_told_with_their_weighted_share(parameters):
    y, weights = Y - Y.mean(), np.arange(1.0, 31.0)
    told = f"; y is negative in {100 * weights[y < 0].sum() / weights.sum():.3g} % of the rows, and a ReLU is not"
    assert told in fit(parameters, y=y, sample_weight=weights).stop_reason_
    assert told in fit(parameters, y=1e3 * y, sample_weight=weights).stop_reason_
    with pytest.warns(ConvergenceWarning, match=f"{re.escape(told)}.*[Rr]aise max_iter"):
        ProjectedReLURegressor(**parameters, max_iter=1).fit(X, y, weights)


def test_negative_targets_of_the_size_of_noise_are_not_told():
    noisy = Y + 0.05 * RNG.standard_normal(30)
    assert np.any(noisy < 0)
    for parameters in ({}, {"step_size": 0.5}):
        assert "negative" not in fit(parameters, y=noisy).stop_reason_
    assert "y is negative in 100 % of the rows" in ProjectedReLURegressorCV(cv=2).fit(X, -1 - Y).stop_reason_
