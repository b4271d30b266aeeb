"""Extreme scales, shifts, precision, shapes, ranks: the same fit in other units, or an error that names the scale."""

import inspect
import re

import numpy as np
import pytest

import skrelu
from skrelu import OneHiddenLayerNet, OneHiddenLayerReLU, ProjectedReLURegressor, QuadraticNet, TwoLayerReLURecovery
from skrelu.constraints import L0Ball, L1Ball

EPS = {dtype: float(np.finfo(dtype).eps) for dtype in (np.float32, np.float64)}
TINY = float(np.finfo(float).tiny)

slow = pytest.mark.slow
quietly = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
estimators = {name for name in skrelu.__all__ if inspect.isclass(getattr(skrelu, name))}

# Settings that do not know the units of X. Those of "gd" do, and a fixed alpha knows that of y.
FREE = {
    "ProjectedReLURegressor": {"free": {}, "l0": {"constraint": L0Ball(2)}},
    "ProjectedReLURegressorCV": {"l0": {"constraint": L0Ball(1), "sizes": [1, 2], "cv": 2}},
    "OneHiddenLayerReLU": {
        "no decay": {"n_hidden": 2, "alpha": 0.0, "n_init": 1},
        "auto": {"n_hidden": 2},
        "default": {},
    },
    "OneHiddenLayerNet": {
        "no decay": {"n_hidden": 1, "activation": "tanh", "alpha": 0.0, "n_init": 1},
        "default": {},
        "two gelu": {"n_hidden": 2, "activation": "gelu"},
        "two squared": {"n_hidden": 2, "activation": "squared_relu"},
    },
    "QuadraticNet": {
        "no decay": {"alpha": 0.0},
        "one unit": {"n_hidden": 1, "alpha": 0.0},
        "default": {},
        "one unit, auto": {"n_hidden": 1},
    },
    "TwoLayerReLURecovery": {
        "no decay": {"n_hidden": 2, "alpha": 0.0},
        "auto": {"n_hidden": 2},
        "default": {},
    },
}
CHEAP = {
    ("ProjectedReLURegressor", "free"),
    ("OneHiddenLayerReLU", "no decay"),
    ("OneHiddenLayerNet", "no decay"),
    ("QuadraticNet", "no decay"),
    ("TwoLayerReLURecovery", "no decay"),
}


def marked(settings):
    return [
        pytest.param(name, parameters, id=f"{name}, {setting}", marks=[] if (name, setting) in CHEAP else slow)
        for name in settings
        for setting, parameters in settings[name].items()
    ]


free = pytest.mark.parametrize(("name", "parameters"), marked(FREE))
cheap = pytest.mark.parametrize(("name", "parameters"), [part for part in marked(FREE) if not part.marks])


def table(n=60, d=3, noise=0.1):
    """Normal columns off centre, y of two ReLUs and noise: positive, that one ReLU may fit it, too."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    y = np.maximum(X @ np.linspace(1, -1, d) + 0.5, 0) + 0.5 * np.maximum(X @ np.ones(d), 0) + 0.5
    return X + np.linspace(-1, 1, d), y + noise * rng.uniform(-1, 1, n)


def fit(name, parameters, X, y):
    return getattr(skrelu, name)(random_state=0, **parameters).fit(X, y)


def assert_finite(model, X):
    for attribute, value in vars(model).items():
        if attribute.endswith("_") and not attribute.startswith("_") and np.asarray(value).dtype.kind == "f":
            assert not np.any(np.isnan(value)), attribute
    assert np.all(np.isfinite(model.predict(X)))


def assert_same_predictions(found, expected, tol):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tol * np.abs(expected).max())


def test_all_estimators_are_here():
    assert set(FREE) == estimators


# Units that are powers of two: no digit is rounded, so that none may differ.


@quietly
@free
def test_columns_in_units_of_powers_of_two_change_the_units_of_the_weights_alone(name, parameters):
    # Units of length one in the user's coordinates are rounded in these.
    normalised = name == "TwoLayerReLURecovery"
    (X, y), unit = table(), 2.0 ** (np.full(3, -30) if normalised else np.array([20, -30, 3]))
    plain, other = fit(name, parameters, X, y), fit(name, parameters, X * unit, y)
    np.testing.assert_array_equal(other.predict(X * unit), plain.predict(X))
    assert other.loss_curve_ == plain.loss_curve_
    weights = "output_coef_" if normalised else "hidden_coef_" if hasattr(plain, "hidden_coef_") else "coef_"
    unit = unit[0] if normalised else unit
    np.testing.assert_array_equal(getattr(other, weights) * unit, getattr(plain, weights))


@quietly
@free
def test_y_in_a_unit_of_a_power_of_two_changes_the_unit_of_the_predictions_alone(name, parameters):
    (X, y), unit = table(), 2.0**30
    plain, other = fit(name, parameters, X, y), fit(name, parameters, X, y * unit)
    np.testing.assert_array_equal(other.predict(X), plain.predict(X) * unit)
    assert other.loss_ == plain.loss_ * unit**2


# Extreme units.


@quietly
@pytest.mark.parametrize(("factor", "target_factor"), [(1e150, 1.0), (1e-150, 1.0), (1.0, 1e150), (1.0, 1e-150)])
@free
def test_units_of_1e150_change_nothing_but_the_units(name, parameters, factor, target_factor):
    X, y = table()
    plain, other = fit(name, parameters, X, y), fit(name, parameters, X * factor, y * target_factor)
    assert_finite(other, X * factor)
    assert_same_predictions(other.predict(X * factor) / target_factor, plain.predict(X), 1e-6)


EXTREMES = {
    "X large": (1e300, 1.0),
    "X small": (1e-300, 1.0),
    "squares of X underflow": (1e-160, 1.0),
    "squares of X overflow": (1e160, 1.0),
    "y large": (1.0, 1e300),
    "y small": (1.0, 1e-300),
    "y denormal": (1.0, 1e-3 * TINY),
    "both large": (1e160, 1e160),
    "both small": (1e-160, 1e-160),
}


@quietly
@pytest.mark.parametrize("extreme", EXTREMES)
@free
def test_beyond_these_units_the_fit_is_the_same_or_an_error_that_names_the_scale(name, parameters, extreme):
    (X, y), (factor, target_factor) = table(), EXTREMES[extreme]
    try:
        found = fit(name, parameters, X * factor, y * target_factor)
    except ValueError as error:
        assert re.search(r"^X( or y)?: .*(over|under)flow.*rescale", str(error))  # noqa: PT017 - either outcome is right
        return
    plain = fit(name, parameters, X, y)
    assert_finite(found, X * factor)
    assert_same_predictions(found.predict(X * factor) / target_factor, plain.predict(X), 1e-6)


@quietly
@cheap
def test_columns_of_denormal_numbers_count_as_constant(name, parameters):
    """They have no reciprocals."""
    X, y = table()
    X[:, 1] = 0
    zero = fit(name, parameters, X, y)
    denormal = X + [0, 1e-3 * TINY, 0] * np.random.default_rng(1).standard_normal(X.shape)
    found = fit(name, parameters, denormal, y)
    assert_finite(found, denormal)
    assert_same_predictions(found.predict(denormal), zero.predict(X), 1e-9)


# Means far away.


@quietly
@cheap
def test_means_of_1e8_deviations_cost_the_digits_that_they_take(name, parameters):
    """``z - 1e8`` is exact for a z near 1e8, so that what differs is arithmetic, eps times the shift."""
    (X, y), shift = table(), 1e8
    Z = X + shift
    far, near = fit(name, parameters, Z, y), fit(name, parameters, Z - shift, y)
    assert_finite(far, Z)
    assert_same_predictions(far.predict(Z), near.predict(Z - shift), 100 * EPS[np.float64] * shift)
    assert far.loss_ <= near.loss_ + (100 * EPS[np.float64] * shift) ** 2 + 1e-6 * near.loss_


# Single precision.


@quietly
@cheap
def test_single_precision_is_double_precision_to_a_hundred_eps(name, parameters):
    X, y = (part.astype(np.float32) for part in table())
    single, double = fit(name, parameters, X, y), fit(name, parameters, X.astype(float), y.astype(float))
    assert single.predict(X).dtype == np.float32
    assert_same_predictions(single.predict(X), double.predict(X.astype(float)), 100 * EPS[np.float32])


# Shapes.


@quietly
@pytest.mark.parametrize("d", [1, 3])
@cheap
def test_one_row_tells_a_constant(name, parameters, d):
    X, y = np.array([[1.5, -2.0, 0.3]])[:, :d], np.array([2.5])
    if name == "ProjectedReLURegressorCV":
        with pytest.raises(ValueError, match="cross-validation needs at least two rows, got n_samples=1"):
            fit(name, parameters, X, y)
        return
    model = fit(name, parameters, X, y)
    assert_finite(model, X)
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-9)
    if "solver" not in parameters:
        np.testing.assert_allclose(model.predict(X + 7), y, rtol=1e-9)


ONE_COLUMN = [
    ProjectedReLURegressor(),
    ProjectedReLURegressor(L1Ball(3.0)),
    OneHiddenLayerReLU(1, alpha=0, random_state=0),
    OneHiddenLayerReLU(random_state=0),
    OneHiddenLayerNet(1, activation="relu", alpha=0, random_state=0),
    TwoLayerReLURecovery(1, alpha=0, random_state=0),
]


@pytest.mark.parametrize("model", ONE_COLUMN, ids=str)
def test_one_column_is_enough_for_a_relu(model):
    x = np.random.default_rng(0).standard_normal((40, 1))
    y = np.maximum(2 * x[:, 0] + 1, 0)
    np.testing.assert_allclose(model.fit(x, y).predict(x), y, rtol=0, atol=1e-8)


def test_a_quadratic_network_of_one_column_is_a_polynomial():
    x, y = table(d=1)
    found = QuadraticNet(alpha=0).fit(x, y).predict(x)
    np.testing.assert_allclose(found, np.polyval(np.polyfit(x[:, 0], y, 2), x[:, 0]), rtol=0, atol=1e-9)


# Ranks.


@quietly
@cheap
def test_columns_of_too_low_a_rank_predict_as_a_basis_of_them(name, parameters):
    """Without decay predictions know the span of the columns alone; two of five columns are a basis here."""
    basis, y = table(d=2)
    X = basis @ np.array([[1.0, 0.0, 2.0, -1.0, 0.5], [0.0, 1.0, 1.0, 1.0, -3.0]]) + [0, 0, 1, 2, 3]
    found, expected = fit(name, parameters, X, y), fit(name, parameters, basis, y)
    assert_same_predictions(found.predict(X), expected.predict(basis), 1e-8)


@pytest.mark.parametrize("radius", [0.5, 1.0, 5.0])
def test_a_column_twice_shares_its_weight_in_an_l1_ball(radius):
    """``|w/2| + |w/2| = |w|``: the same functions lie in the ball."""
    X, y = table()
    once = ProjectedReLURegressor(L1Ball(radius)).fit(X, y)
    twice = ProjectedReLURegressor(L1Ball(radius)).fit(X[:, [0, 1, 2, 0]], y)
    assert_same_predictions(twice.predict(X[:, [0, 1, 2, 0]]), once.predict(X), 1e-9)
    assert twice.coef_[0] + twice.coef_[3] == pytest.approx(once.coef_[0], abs=1e-9)
