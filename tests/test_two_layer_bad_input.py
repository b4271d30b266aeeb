"""Bad, hostile and degenerate input of `TwoLayerReLURecovery`: a clear error or a finite fit, in bounded time."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from skrelu import TwoLayerReLURecovery
from skrelu.rows import Rows

RNG = np.random.default_rng(0)
N, D, M = 80, 4, 3
X = RNG.standard_normal((N, D))
V = RNG.standard_normal((3, D))
U = RNG.standard_normal((M, 3))


def target(X):
    """A planted network of three units and three outputs, in units of the columns."""
    return np.maximum(X @ V[:, : X.shape[1]].T, 0) @ U.T


Y = target(X)

VARIANTS = {
    "auto": {},
    "three": {"n_hidden": 3},
    "decay": {"n_hidden": 3, "alpha": 0.01},
    "gd": {"n_hidden": 3, "solver": "gd", "max_iter": 100},
    "paper": {"n_hidden": 3, "step_size": 1.0, "max_iter": 100},
    "no intercept": {"n_hidden": 3, "fit_intercept": False},
    "squared": {"n_hidden": 3, "activation": "squared_relu"},
}
FAST = ("three",)
# The others run with the slow tests.
most = pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS]
)


@pytest.fixture(autouse=True)
def _bounded_number_of_passes(monkeypatch):
    """An endless loop fails instead of hanging."""
    original, Rows.passes = Rows.sum, 0

    def counted(self, f, *parameters):
        Rows.passes += 1
        assert Rows.passes < 100_000, "an endless loop"
        return original(self, f, *parameters)

    monkeypatch.setattr(Rows, "sum", counted)


def fit(name, X=X, y=Y, sample_weight=None, **parameters):
    """Fit where only a warning of convergence is excused, and nothing may be NaN."""
    Rows.passes = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = TwoLayerReLURecovery(**{"random_state": 0, "n_init": 2, **VARIANTS[name], **parameters})
        model.fit(X, y, sample_weight)
    for value in (
        model.hidden_coef_,
        model.hidden_intercept_,
        model.output_coef_,
        model.output_intercept_,
        model.hidden_coef_std_,
        model.output_coef_std_,
        model.loss_,
        model.residual_,
        model.loss_curve_,
        model.predict(X),
    ):
        assert np.all(np.isfinite(value))
    assert 1 <= model.n_iter_ == len(model.loss_curve_)
    return model


def r2(model, X, y):
    return 1 - np.sum((model.predict(X) - y) ** 2) / np.sum((y - y.mean(axis=0)) ** 2)


# Rejected, with a message that names what is wrong.


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [np.array, sparse.csr_matrix])
def test_missing_and_infinite_values(bad, make):
    broken, y = X.copy(), Y.copy()
    broken[3, 1] = y[2, 1] = bad
    with pytest.raises(ValueError, match=r"X contains (NaN|infinity)"):
        TwoLayerReLURecovery().fit(make(broken), Y)
    with pytest.raises(ValueError, match=r"X contains (NaN|infinity)"):
        fit("three").predict(make(broken))
    with pytest.raises(ValueError, match=r"(y|Y|Input) contains (NaN|infinity)"):
        TwoLayerReLURecovery().fit(make(X), y)
    with pytest.raises(ValueError, match=r"[Ww]eight.*(NaN|infinity)"):
        TwoLayerReLURecovery().fit(make(X), Y, np.where(np.arange(N) == 2, bad, 1.0))


@pytest.mark.parametrize(
    ("X_bad", "y_bad", "message"),
    [
        (X[:-1], Y, "inconsistent numbers of samples"),
        (X[:, 0], Y, "Expected 2D array"),
        (X[:0], Y[:0], "0 sample"),
        (X[:, :0], Y, "0 feature"),
        (X, Y[:, :, None], "dim|shape|2D|1D"),
        (X, np.empty((N, 0)), "0 feature|output|empty|column"),
        (X.astype(complex), Y, "[Cc]omplex"),
        (np.full((N, D), "a"), Y, "could not convert string to float"),
        (X, np.full((N, M), "a"), "could not convert string to float|dtype|numeric"),
        (X, sparse.csr_matrix(Y), "[Ss]parse"),
        (X, None, "requires y to be passed"),
    ],
)
def test_wrong_shapes_and_types(X_bad, y_bad, message):
    with pytest.raises((ValueError, TypeError), match=message):
        TwoLayerReLURecovery().fit(X_bad, y_bad)


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
        TwoLayerReLURecovery().fit(X, Y, weights)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("n_hidden", 0),
        ("n_hidden", 2.5),
        ("n_hidden", "many"),
        ("n_hidden", None),
        ("activation", "tanh"),
        ("activation", np.tanh),
        ("activation", None),
        ("outliers", "drop"),
        ("outliers", True),
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
    with pytest.raises(ValueError, match=f"The '{parameter}' parameter of TwoLayerReLURecovery must be"):
        TwoLayerReLURecovery(**{parameter: value}).fit(X, Y)


def test_predict_before_fit_and_on_other_columns():
    with pytest.raises(NotFittedError):
        TwoLayerReLURecovery().predict(X)
    with pytest.raises(ValueError, match="X has 3 features, but TwoLayerReLURecovery is expecting 4"):
        fit("three").predict(X[:, :3])


# Hostile distributions.


def hostile():
    """Inputs far from Gaussian."""
    rng = np.random.default_rng(1)
    return {
        "heavy tails": rng.standard_t(1.5, (N, D)),
        "binary": (rng.random((N, D)) < 0.4).astype(float),
        "mixture": rng.standard_normal((N, D)) + 6 * rng.integers(-1, 2, (N, D)),
        "skewed": rng.exponential(size=(N, D)) ** 2,
        "rank one": np.outer(rng.standard_normal(N), rng.standard_normal(D)),
        "collinear": np.column_stack([X[:, :3], X[:, :3].sum(axis=1)]),
        "nearly collinear": np.column_stack([X[:, :3], X[:, 0] + 1e-9 * X[:, 3]]),
        "duplicate rows": np.repeat(X[: N // 8], 8, axis=0),
        "integers": rng.integers(0, 3, (N, D)),
        "sorted": np.sort(X, axis=0),
        "one column": X[:, :1],
        "mean far away": X + 1e3,
    }


# Some of each; all of both sizes run with the slow tests.
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(
            kind,
            name,
            marks=[]
            if (name == "auto" and kind in ("heavy tails", "rank one"))
            or (name == "three" and kind in ("nearly collinear", "mean far away", "one column"))
            else pytest.mark.slow,
        )
        for name in VARIANTS
        for kind in hostile()
    ],
)
def test_hostile_inputs(kind, name):
    """Three units hold the best line of rank one at least: no worse than the mean."""
    inputs = hostile()[kind]
    y = target(inputs) + 0.1 * np.random.default_rng(2).standard_normal((N, M))
    model = fit(name, inputs, y)
    if name not in ("gd", "paper", "no intercept"):
        assert r2(model, inputs, y) >= -1e-8


@most
@pytest.mark.parametrize("kind", ["constant", "zero", "linear", "noise", "one gigantic", "binary", "same", "rank one"])
def test_odd_targets(kind, name):
    noise = np.random.default_rng(3).standard_normal((N, M))
    y = {
        "constant": np.full((N, M), 3.0),
        "zero": np.zeros((N, M)),
        "linear": X @ V.T + 2,
        "noise": noise,
        "one gigantic": np.where(np.arange(N)[:, None] == 5, 1e8, Y),
        "binary": (Y > 0).astype(float),
        "same": np.repeat(Y[:, :1], M, axis=1),
        "rank one": np.outer(Y[:, 0], U[0]),
    }[kind]
    model = fit(name, y=y)
    if name in ("auto", "three", "decay") and kind in ("constant", "zero"):
        np.testing.assert_allclose(model.predict(X), y, rtol=0, atol=1e-6)
        assert not model.exact_


@most
def test_an_outlier_among_the_inputs(name):
    fit(name, np.vstack([X, np.full((1, D), 1e8)]), np.vstack([Y, np.ones((1, M))]))
    lonely = X.copy()
    lonely[7, 2] = -1e12
    fit(name, lonely, Y)


# Sizes.


@most
@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_few_rows_determine_nothing_and_the_fit_says_so(name, n):
    model = fit(name, X[:n], Y[:n])
    assert not model.exact_
    assert model.stop_reason_
    if name == "three":
        assert "determine" in model.stop_reason_


@most
def test_one_row_and_one_column(name):
    fit(name, X[:1, :1], Y[:1])
    fit(name, X[:2, :1], Y[:2])
    fit(name, X[:1], Y[:1, 0])


@most
def test_more_columns_than_rows(name):
    rng = np.random.default_rng(4)
    wide, y = rng.standard_normal((20, 35)), rng.standard_normal((20, M))
    for d in (35, 19):
        assert not fit(name, wide[:, :d], y).exact_


@pytest.mark.parametrize("name", ["three", pytest.param("gd", marks=pytest.mark.slow)])
@pytest.mark.parametrize("n_hidden", [1, D, D + 1, 3 * D, pytest.param(100, marks=pytest.mark.slow)])
def test_any_number_of_units(name, n_hidden):
    model = fit(name, n_hidden=n_hidden, max_iter=60, y=Y + 0.1 * np.sin(7 * X[:, :M]))
    assert model.hidden_coef_.shape == (n_hidden, D)
    n_weights = n_hidden * (D + M) + M
    if n_weights >= N * M:
        assert f"{N * M} equations do not determine {n_weights} weights" in model.stop_reason_


# Columns and rows that say nothing.


@most
def test_constant_columns_and_inputs(name):
    fit(name, np.column_stack([X, np.full(N, 7.0), np.zeros(N)]))
    for inputs in (np.ones((N, 3)), np.zeros((N, 3))):
        model = fit(name, inputs, Y + 1)
        assert not model.exact_
        if name in ("auto", "three"):
            np.testing.assert_allclose(model.predict(inputs)[0], np.mean(Y + 1, axis=0), rtol=0, atol=1e-6)


@most
def test_one_weight_is_not_zero(name):
    s = np.zeros(N)
    s[3] = 3.0
    assert not fit(name, sample_weight=s).exact_


@pytest.mark.parametrize("factor", [1e-320, 1e-200, 1e200, 1e308])
def test_weights_of_any_size(factor):
    assert fit("three", sample_weight=np.full(N, factor)).residual_ < 1e-12


# Extreme scales.


@pytest.mark.parametrize(
    ("factor", "target_factor"),
    [
        (1e150, 1e150),
        (1e300, 1.0),
        (1e-300, 1.0),
        (1.0, 1e160),
        (1.0, 1e300),
        (1.0, 1e-300),
        (1e300, 1e300),
        (1e-160, 1e160),
    ],
)
@most
def test_squares_that_overflow_are_an_error_or_a_finite_fit(name, factor, target_factor):
    try:
        fit(name, factor * X, target_factor * Y)
    except ValueError as error:
        assert re.search(r"\b(X|y)\b.*(large|overflow|scale)", str(error))  # noqa: PT017 - either outcome is right


def test_an_exact_fit_of_y_whose_square_overflows_has_a_finite_loss_curve():
    model = fit("three", y=1e160 * Y[:, :2])
    assert model.exact_
    assert max(model.loss_curve_) == np.finfo(float).max


def test_superfluous_units_whose_fourth_powers_underflow_have_finite_standard_errors():
    fit("squared", X[:8, :1], np.full(8, 3e-150), n_hidden=7, alpha=0.0, fit_intercept=False)


@pytest.mark.parametrize(("factor", "target_factor"), [(1e-160, 1e160), (1e-300, 1e300)])
def test_weights_that_overflow_are_an_error(factor, target_factor):
    with pytest.raises(ValueError, match="X or y: weights of their scales overflow float64; rescale them"):
        fit("three", factor * X, target_factor * Y[:, 0])


@pytest.mark.parametrize(("factor", "target_factor"), [(1e15, 1.0), (1.0, 1e15), (1e-15, 1.0), (1e30, 1e30)])
@most
def test_single_precision_at_extreme_scales(name, factor, target_factor):
    try:
        fit(name, (factor * X).astype(np.float32), (target_factor * Y).astype(np.float32))
    except ValueError as error:
        assert re.search(r"\b(X|y)\b.*(large|overflow|scale)", str(error))  # noqa: PT017 - either outcome is right


# Any table.


@st.composite
def tables(draw):
    """Tables of 1 to 30 rows: extreme scales, constants, duplicates, integers, outliers, 1 to 6 outputs."""
    n, d, m = draw(st.integers(1, 30)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["normal", "integers", "heavy", "constant", "duplicates"]))
    inputs = {
        "normal": lambda: rng.standard_normal((n, d)),
        "integers": lambda: rng.integers(-2, 3, (n, d)).astype(float),
        "heavy": lambda: rng.standard_cauchy((n, d)) ** 3,
        "constant": lambda: np.ones((n, 1)) * rng.standard_normal(d),
        "duplicates": lambda: rng.standard_normal((n, d))[rng.integers(0, max(1, n // 3), n)],
    }[kind]()
    y = {
        "network": lambda: np.maximum(inputs @ rng.standard_normal((d, 2)), 0) @ rng.standard_normal((2, m)),
        "noise": lambda: rng.standard_normal((n, m)),
        "constant": lambda: np.full((n, m), 3.0),
        "outliers": lambda: rng.standard_normal((n, m)) * np.where(rng.random((n, 1)) < 0.1, 1e12, 1.0),
        "classes": lambda: rng.integers(0, 2, (n, m)).astype(float),
    }[draw(st.sampled_from(["network", "noise", "constant", "outliers", "classes"]))]()
    solver = draw(st.sampled_from(["auto", "auto", "auto", "gd"]))
    # What descent and decay do at extreme scales is in tests of their own below.
    exponents = st.sampled_from([0, 0, 0, -150, -8, 8, 150] if solver == "auto" else [0, -8, 8])
    powers = [draw(exponents) for _ in range(d + 1)]
    inputs, y = inputs * 10.0 ** np.array(powers[1:]), y * 10.0 ** powers[0]
    alpha = draw(st.sampled_from([0.0, 0.1])) if solver == "auto" and not any(powers) else 0.0
    s = draw(st.sampled_from([None, "integers", "zeros"]))
    if s is not None:
        s = rng.integers(0 if s == "zeros" else 1, 4, n).astype(float)
        s[0] = 1.0
    options = {
        "n_hidden": draw(st.sampled_from(["auto", 1, 2, 7])),
        "fit_intercept": draw(st.booleans()),
        "alpha": alpha,
        "activation": draw(st.sampled_from(["relu", "relu", "squared_relu"])),
        "solver": solver,
        "max_iter": 60,
    }
    return inputs, y if m > 1 or draw(st.booleans()) else y[:, 0], s, options


def check_table(table):
    inputs, y, s, options = table
    try:
        model = fit("auto", inputs, y, s, **options)
    except ValueError as error:
        assert re.search(r"\b(X|y)\b.*(large|overflow|scale)", str(error))  # noqa: PT017 - either outcome is right
        return
    assert model.predict(inputs).shape == y.shape
    if model.exact_:
        assert np.sum(np.ones(len(y)) if s is None else s) * y.reshape(len(y), -1).shape[1] > model.hidden_coef_.size


@settings(max_examples=12, deadline=None, derandomize=True)
@given(tables())
def test_any_table_is_fitted_or_refused(table):
    check_table(table)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(tables())
def test_any_of_many_tables_is_fitted_or_refused(table):
    check_table(table)


def test_one_row_of_zeros_has_a_number_of_units_without_intercept():
    model = fit("auto", np.array([[-0.9]]), np.zeros((1, 2)), n_hidden="auto", alpha=0.0, fit_intercept=False)
    assert not np.any(model.predict([[-0.9], [2.0]]))


def test_descent_with_decay_that_comes_to_no_weights_at_all():
    fit("gd", X[:, :1], 1e-3 * X[:, :2] ** 2, n_hidden=2, alpha=1.0, fit_intercept=False)
