"""Bad, hostile and degenerate input of `OneHiddenLayerReLU`: a clear error or a finite, honest fit, in bounded time."""

import re
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from skrelu import OneHiddenLayerReLU
from skrelu.rows import Rows

RNG = np.random.default_rng(0)
N, D = 80, 4
X = RNG.standard_normal((N, D))
W = RNG.standard_normal((3, D))
V = np.array([1.0, -1.0, 1.0])


def target(X):
    """A planted network of three units, in units of the columns."""
    return np.maximum(X @ W[:, : X.shape[1]].T, 0) @ V


Y = target(X)

VARIANTS = {
    "auto": {"alpha": 0},
    "three": {"n_hidden": 3, "alpha": 0},
    "default": {},
    "chosen": {"n_hidden": 3},
    "decay": {"n_hidden": 3, "alpha": 0.01},
    "gd": {"n_hidden": 3, "solver": "gd", "max_iter": 200},
    "paper": {"n_hidden": 3, "step_size": 1.0, "max_iter": 200},
    "no intercept": {"n_hidden": 3, "alpha": 0, "init": "random", "fit_intercept": False},
    "wide": {"n_hidden": 12, "alpha": 0},
}
variants = pytest.mark.parametrize("name", VARIANTS)


def fast(*names):
    """Parametrize by all variants, the others with the slow tests."""
    cases = [name if name in names else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS]
    return pytest.mark.parametrize("name", cases)


most = fast("auto", "gd", "default")


@pytest.fixture(autouse=True)
def _bounded_number_of_passes(monkeypatch):
    """An endless loop fails instead of hanging.

    ``n_init`` starts of ``max_iter`` iterations, the widest with three decays; each quasi-Newton iteration has at most
    10 passes; at most ``max_iter`` Newton steps, each of at most as many conjugate gradients as two for a weight, at
    most 73, and 20 halvings. All but those of the superfluous units need far less.
    """
    original, passes = Rows.sum, 0

    def counted(self, f, *parameters):
        nonlocal passes
        passes += 1
        assert passes < 200_000, "an endless loop"
        return original(self, f, *parameters)

    monkeypatch.setattr(Rows, "sum", counted)


def fit(name, X=X, y=Y, sample_weight=None, **parameters):
    """Fit where only a warning of convergence is excused, and nothing may be NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = OneHiddenLayerReLU(**{"random_state": 0, "n_init": 2, **VARIANTS[name], **parameters})
        model.fit(X, y, sample_weight)
    for value in (
        model.hidden_coef_,
        model.hidden_intercept_,
        model.output_intercept_,
        model.init_coef_,
        model.loss_,
        model.loss_curve_,
        model.predict(X),
    ):
        assert np.all(np.isfinite(value))
    assert set(np.unique(model.output_coef_)) <= {-1.0, 1.0}
    assert 1 <= model.n_iter_ == len(model.loss_curve_)
    return model


def r2(model, X, y):
    return 1 - np.mean((model.predict(X) - y) ** 2) / np.var(y)


# Rejected, with a message that names what is wrong.


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [np.array, sparse.csr_matrix])
def test_missing_and_infinite_values(bad, make):
    broken, y = X.copy(), Y.copy()
    broken[3, 1] = y[2] = bad
    with pytest.raises(ValueError, match=r"X contains (NaN|infinity)"):
        OneHiddenLayerReLU().fit(make(broken), Y)
    with pytest.raises(ValueError, match=r"X contains (NaN|infinity)"):
        fit("three").predict(make(broken))
    with pytest.raises(ValueError, match=r"y contains (NaN|infinity)"):
        OneHiddenLayerReLU().fit(make(X), y)
    with pytest.raises(ValueError, match=r"[Ww]eight.*(NaN|infinity)"):
        OneHiddenLayerReLU().fit(make(X), Y, np.where(np.arange(N) == 2, bad, 1.0))


@pytest.mark.parametrize(
    ("X_bad", "y_bad", "message"),
    [
        (X[:-1], Y, "inconsistent numbers of samples"),
        (X[:, 0], Y, "Expected 2D array"),
        (X[:0], Y[:0], "0 sample"),
        (X[:, :0], Y, "0 feature"),
        (X, np.column_stack([Y, Y]), "y should be a 1d array"),
        (X.astype(complex), Y, "[Cc]omplex"),
        (np.full((N, D), "a"), Y, "could not convert string to float"),
        (X, None, "requires y to be passed"),
    ],
)
def test_wrong_shapes_and_types(X_bad, y_bad, message):
    with pytest.raises(ValueError, match=message):
        OneHiddenLayerReLU().fit(X_bad, y_bad)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(N), "[Ww]eight.*zero"),
        (np.append(-1.0, np.ones(N - 1)), "[Nn]egative.*weight"),
        (np.ones(N - 1), "[Ww]eight.*shape"),
        (np.ones((N, 2)), "[Ww]eight.*1D"),
    ],
)
def test_wrong_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        OneHiddenLayerReLU().fit(X, Y, weights)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("n_hidden", 0),
        ("n_hidden", 2.5),
        ("n_hidden", "many"),
        ("n_hidden", None),
        ("init", "zeros"),
        ("init", None),
        ("output_weights", "negative"),
        ("alpha", -0.1),
        ("alpha", "automatic"),
        ("alpha", np.nan),
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
    with pytest.raises(ValueError, match=f"The '{parameter}' parameter of OneHiddenLayerReLU must be"):
        OneHiddenLayerReLU(**{parameter: value}).fit(X, Y)


@pytest.mark.parametrize(
    ("init", "n_hidden", "message"),
    [
        (np.ones((2, D)), 3, r"init must have shape \(n_hidden, n_features\) = \(3, 4\), got \(2, 4\)"),
        (np.ones((3, D + 1)), 3, r"init must have shape .* = \(3, 4\), got \(3, 5\)"),
        (np.ones((3, D + 1)), "auto", r"init must have shape .* = \(3, 4\), got \(3, 5\)"),
        (np.ones(D), 1, "init|Expected 2D array"),
        (np.full((3, D), np.nan), 3, "init contains NaN"),
        (np.full((3, D), np.inf), 3, "init contains infinity"),
        ([["a"] * D] * 3, 3, "could not convert string to float"),
        (np.ones((0, D)), "auto", "0 sample"),
    ],
)
def test_arrays_of_init_that_do_not_fit(init, n_hidden, message):
    with pytest.raises(ValueError, match=message):
        OneHiddenLayerReLU(n_hidden, init=init).fit(X, Y)


def test_predict_before_fit_and_on_other_columns():
    with pytest.raises(NotFittedError):
        OneHiddenLayerReLU().predict(X)
    with pytest.raises(ValueError, match="X has 3 features, but OneHiddenLayerReLU is expecting 4"):
        fit("three").predict(X[:, :3])


# Hostile distributions: finite, and not worse than the least squares line where the descent is not the paper's.


def hostile():
    """Inputs far from Gaussian."""
    rng = np.random.default_rng(1)
    return {
        "Gaussian": X,
        "heavy tails": rng.standard_t(1.5, (N, D)),
        "binary": (rng.random((N, D)) < 0.4).astype(float),
        "mixture": rng.standard_normal((N, D)) + 6 * rng.integers(-1, 2, (N, D)),
        "skewed": rng.exponential(size=(N, D)) ** 2,
        "rank one": np.outer(rng.standard_normal(N), rng.standard_normal(D)),
        "collinear": np.column_stack([X[:, :3], X[:, :3].sum(axis=1)]),
        "nearly collinear": np.column_stack([X[:, :3], X[:, 0] + 1e-9 * X[:, 3]]),
        "duplicate rows": np.repeat(X[: N // 8], 8, axis=0),
        "discrete": rng.integers(0, 3, (N, D)).astype(float),
        "sorted": np.sort(X, axis=0),
        "one column": X[:, :1],
        "mean far away": X + 1e3,
    }


# The default and descent for all; a size found without decay for some; with the slow tests all of all.
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(
            kind,
            name,
            marks=[]
            if name == "gd"
            or (name == "default" and kind in ("collinear", "duplicate rows", "one column"))
            or (name == "auto" and kind in ("heavy tails", "rank one", "mean far away"))
            else pytest.mark.slow,
        )
        for name in VARIANTS
        for kind in hostile()
    ],
)
def test_hostile_inputs(kind, name):
    inputs = hostile()[kind]
    y = target(inputs) + 0.1 * np.random.default_rng(2).standard_normal(N)
    model = fit(name, inputs, y)
    line = np.column_stack([inputs, np.ones(N)])
    best_line = 1 - np.mean((y - line @ np.linalg.lstsq(line, y, rcond=None)[0]) ** 2) / np.var(y)
    if name in ("auto", "three"):
        # Two units hold any line: three cannot be worse; one unit of "auto" can.
        assert r2(model, inputs, y) >= min(best_line, 0.9 if name == "auto" else 1) - 1e-3


@fast("auto", "gd")
@pytest.mark.parametrize(
    "kind", ["constant", "zero", "linear", "linear through zero", "noise", "one gigantic", "binary"]
)
def test_odd_targets(kind, name):
    noise = np.random.default_rng(3).standard_normal(N)
    y = {
        "constant": np.full(N, 3.0),
        "zero": np.zeros(N),
        "linear": X @ W[0] + 2,
        "linear through zero": X @ W[0],
        "noise": noise,
        "one gigantic": np.where(np.arange(N) == 5, 1e8, Y),
        "binary": (Y > 0).astype(float),
    }[kind]
    model = fit(name, y=y)
    if name in ("auto", "three", "decay") and kind in ("constant", "zero"):
        np.testing.assert_allclose(model.predict(X), y, rtol=0, atol=1e-6)
    if name == "three" and kind.startswith("linear"):
        np.testing.assert_allclose(model.predict(X), y, rtol=0, atol=1e-8)


@most
def test_an_outlier_among_the_inputs(name):
    fit(name, np.vstack([X, np.full((1, D), 1e8)]), np.append(Y, 1.0))
    lonely = X.copy()
    lonely[7, 2] = -1e12
    fit(name, lonely, Y)


# Sizes.


@most
@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_few_rows(name, n):
    model = fit(name, X[:n], Y[:n])
    # Five rows are a linear function, which three ReLUs can be, but need not be found to be.
    if name == "three" and n != 5:
        assert model.loss_ <= 1e-12
    # Along directions in which n rows do not vary there is nothing to determine.
    told = rf"{n} rows do not determine \d+ weights|y is constant"
    if name not in ("auto", "default") or n <= D + 1:
        assert re.search(told, model.stop_reason_) or "the average" in model.stop_reason_


@most
def test_more_columns_than_rows(name):
    rng = np.random.default_rng(4)
    wide, y = rng.standard_normal((20, 35)), rng.standard_normal(20)
    model = fit(name, wide, y)
    # An average of networks with weight decay, by default, determines nothing either, and does not pretend to.
    assert ("the average" if name == "default" else "20 rows do not determine") in model.stop_reason_
    fit(name, wide[:, :20], y)
    fit(name, wide[:, :19], y)


@variants
def test_one_row_and_one_column(name):
    fit(name, X[:1, :1], Y[:1])
    fit(name, X[:2, :1], Y[:2])


@pytest.mark.parametrize("name", ["three", "decay", "gd"])
@pytest.mark.parametrize("n_hidden", [1, D, D + 1, 3 * D, 40])
def test_any_number_of_units(name, n_hidden):
    """More than columns, more than half the rows: a finite fit of that many units that says what is not determined."""
    model = fit(name, n_hidden=n_hidden, max_iter=100, n_init=2)
    assert model.hidden_coef_.shape == (n_hidden, D)
    if n_hidden * (D + 1) + 1 > N:
        assert f"{N} rows do not determine {n_hidden * (D + 1) + 1} weights" in model.stop_reason_
    elif n_hidden > D:
        assert f"more units ({n_hidden}) than X has rank ({D}): no recovery is to be expected" in model.stop_reason_
    else:
        assert "rows do not determine" not in model.stop_reason_
        assert "rank" not in model.stop_reason_


@pytest.mark.parametrize("name", ["three", "gd"])
def test_the_rank_that_is_named_is_that_of_the_inputs_not_their_columns(name):
    inputs = np.column_stack([X[:, :2], X[:, :2]])
    assert "more units (3) than X has rank (2)" in fit(name, inputs, Y).stop_reason_


@pytest.mark.parametrize("init", ["tensor", "random"])
def test_more_units_than_planted_still_fit(init):
    """Superfluous units do no harm without noise: the residual is as small."""
    rng = np.random.default_rng(5)
    inputs = rng.standard_normal((400, 8))
    y = np.maximum(inputs @ rng.standard_normal((2, 8)).T, 0) @ [1, -1]
    for k in (2, 3, 6):
        assert fit("three", inputs, y, n_hidden=k, init=init, n_init=10).loss_ < 1e-8 * np.mean(y**2)


@pytest.mark.parametrize("name", ["auto", "three", "decay", "gd"])
def test_duplicate_and_parallel_units_planted(name):
    """w, 2 w and w once more: as one unit of four times the length; w and -w: as a line and a kink."""
    w = W[0]
    for planted in ([w, 2 * w, w], [w, -w, w + 1e-9]):
        y = np.maximum(X @ np.array(planted).T, 0).sum(axis=1)
        model = fit(name, y=y)
        if name in ("auto", "three"):
            assert model.loss_ < 1e-8 * np.mean(y**2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["noise", "binary"])
def test_superfluous_positive_units_take_a_bounded_number_of_passes(kind):
    """12 units, 61 weights, at 120 rows: most of them near nothing, where the Newton steps are ill-conditioned."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((120, D))
    y = np.random.default_rng(3).standard_normal(120) if kind == "noise" else (target(inputs) > 0).astype(float)
    fit("wide", inputs, y, output_weights="positive")


# Columns that say nothing.


@most
def test_constant_columns_and_inputs(name):
    fit(name, np.column_stack([X, np.full(N, 7.0), np.zeros(N)]))
    for inputs in (np.ones((N, 3)), np.zeros((N, 3))):
        model = fit(name, inputs, Y + 1)
        if name not in ("gd", "paper"):
            expected = 0.0 if name == "no intercept" and not inputs.any() else np.mean(Y + 1)
            # All rows are one and may lie on a kink: smoothing moves it by 1e-4 / 8 of the size of y, for each unit.
            smoothing = len(model.hidden_coef_) * 1e-4 / 8 * np.sqrt(np.mean((Y + 1) ** 2))
            np.testing.assert_allclose(model.predict(inputs), expected, rtol=1e-6, atol=smoothing)


@variants
def test_one_weight_is_not_zero(name):
    s = np.zeros(N)
    s[int(np.argmax(Y))] = 3.0
    fit(name, sample_weight=s)


@pytest.mark.parametrize("factor", [1e-320, 1e-200, 1e200, 1e308])
def test_weights_of_any_size(factor):
    """The sum of weights is a number of rows: only what it decides may change, not that the fit is finite and right."""
    model = fit("three", sample_weight=np.full(N, factor))
    assert model.loss_ < 1e-12


# Extreme scales.


@pytest.mark.parametrize(("factor", "target_factor"), [(1e100, 1e100), (1e-100, 1e100), (1e-100, 1e-100), (1e150, 1.0)])
@pytest.mark.parametrize("name", ["auto", "three"])
def test_the_answer_scales_with_the_data(name, factor, target_factor):
    model = fit(name, factor * X, target_factor * Y)
    plain = fit(name)
    np.testing.assert_allclose(model.hidden_coef_ * (factor / target_factor), plain.hidden_coef_, rtol=0, atol=1e-8)
    np.testing.assert_allclose(model.predict(factor * X) / target_factor, Y, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("factor", "target_factor"),
    [(1e150, 1e150), (1e300, 1.0), (1e-300, 1.0), (1.0, 1e300), (1.0, 1e-300), (1e300, 1e300), (1e-160, 1e160)],
)
@most
def test_squares_that_overflow_are_an_error_or_a_finite_fit(name, factor, target_factor):
    try:
        fit(name, factor * X, target_factor * Y)
    except ValueError as error:
        assert re.search(r"\b(X|y)\b.*(large|overflow|scale)", str(error))  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(("factor", "target_factor"), [(1e15, 1.0), (1.0, 1e15), (1e-15, 1.0), (1e30, 1e30)])
@pytest.mark.parametrize("name", ["auto", "decay", "gd"])
def test_single_precision_at_extreme_scales(name, factor, target_factor):
    try:
        fit(name, (factor * X).astype(np.float32), (target_factor * Y).astype(np.float32))
    except ValueError as error:
        assert re.search(r"\b(X|y)\b.*(large|overflow|scale)", str(error))  # noqa: PT017 - either outcome is right


def test_columns_of_very_different_scales():
    scales = np.array([1.0, 1e100, 1e-100, 1e3])
    np.testing.assert_allclose(fit("three", X * scales).predict(X * scales), Y, rtol=0, atol=1e-8)


# Divergence, and descent that is slow.


@pytest.mark.parametrize(
    ("step_size", "remedy"),
    [(0.01, r"Raise max_iter or step_size \(now 0.01\), or use"), ("auto", "Raise max_iter, or use")],
)
def test_a_slow_descent_is_not_told_to_go_slower(step_size, remedy):
    with pytest.warns(ConvergenceWarning, match=rf"max_iter = 5 reached.*\. {remedy} solver='auto'"):
        OneHiddenLayerReLU(3, solver="gd", step_size=step_size, max_iter=5, random_state=0).fit(X, Y)


@pytest.mark.parametrize("step_size", [30.0, 1e6, 1e300])
def test_a_diverging_descent_keeps_the_best_iterate_and_warns(step_size):
    model = OneHiddenLayerReLU(3, step_size=step_size, max_iter=300, fit_intercept=False, random_state=0)
    with pytest.warns(
        ConvergenceWarning, match=rf"did not converge: .*Lower step_size .now {re.escape(f'{step_size:g}')}"
    ) as record:
        model.fit(X, Y)
    assert len(record) == 1
    assert not model.converged_
    assert np.all(np.isfinite(model.predict(X)))
    start = np.mean((np.maximum(X @ model.init_coef_.T, 0) @ [1, 1, -1] - Y) ** 2) / 2
    assert model.loss_ <= max(start, 0.5 * np.mean(Y**2)) * 10
