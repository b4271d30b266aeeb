"""Fits and predictions with arrays of other namespaces than NumPy's, through scikit-learn's dispatch.

They need SCIPY_ARRAY_API=1 in the environment: see conftest.py.
"""

from importlib.util import find_spec
from types import SimpleNamespace

import array_api_strict
import numpy as np
import pytest
from scipy import special
from sklearn import config_context
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.externals.array_api_compat import get_namespace
from sklearn.model_selection import GridSearchCV
from sklearn.utils._array_api import move_estimator_to
from sklearn.utils.estimator_checks import (
    check_array_api_input,
    check_array_api_mixed_inputs,
    check_array_api_same_namespace,
)

from skrelu import (
    OneHiddenLayerNet,
    OneHiddenLayerReLU,
    ProjectedReLURegressor,
    ProjectedReLURegressorCV,
    QuadraticNet,
    TwoLayerReLURecovery,
    activations,
    constraints,
    datasets,
)
from skrelu._compat import to_numpy
from skrelu.rows import device, memory
from skrelu.rows.device_array import Device

EPS = {"float64": 1e-9, "float32": 2e-3}  # of the largest number, or 1: fits end within rounding, not at it
CASES = [("array_api_strict", "device1", dtype) for dtype in EPS]
CASES += [("torch", "cpu", dtype) for dtype in EPS] if find_spec("torch") else []
ESTIMATORS = [
    ProjectedReLURegressor(),
    ProjectedReLURegressorCV(sizes=[0.5, 1.0], cv=2),
    OneHiddenLayerReLU(n_init=1),
    OneHiddenLayerNet(n_init=1),
    QuadraticNet(n_init=1),
    TwoLayerReLURecovery(n_init=1),
]


def named(estimator):
    return type(estimator).__name__


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    return request.param


@pytest.fixture
def place(case):
    name, device_name, _ = case
    if name == "array_api_strict":
        return array_api_strict, array_api_strict.Device(device_name)
    import torch

    return get_namespace(torch.asarray(1)), torch.device(device_name)


@pytest.fixture
def dtype(case):
    return np.dtype(case[2])


def sent(place, *arrays):
    xp, where = place
    return [xp.asarray(array, device=where) for array in arrays]


# checks of scikit-learn


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
# All in double precision; in single precision, one.
@pytest.mark.parametrize(
    ("case", "estimator"),
    [
        pytest.param(case, each, marks=[] if case[2] == "float64" or each is ESTIMATORS[0] else pytest.mark.slow)
        for case in CASES
        for each in ESTIMATORS
    ],
    ids=lambda part: "-".join(part) if isinstance(part, tuple) else named(part),
)
def test_scikit_learns_check_of_inputs(case, estimator):
    check_array_api_input(named(estimator), clone(estimator).set_params(max_iter=3), *case, check_sample_weight=True)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=named)
def test_scikit_learns_checks_of_mixed_inputs_and_of_predictions_elsewhere(estimator):
    estimator = clone(estimator).set_params(max_iter=3)
    strict, host = SimpleNamespace(xp="array_api_strict", device="device1"), SimpleNamespace(xp="numpy", device=None)
    check_array_api_input(named(estimator), estimator, "numpy")
    for of_X, of_others in ((strict, host), (host, strict)):
        check_array_api_mixed_inputs(named(estimator), estimator, of_X, of_others)
    check_array_api_same_namespace(named(estimator), estimator, "array_api_strict")


# results


def planted(name, dtype, noise=0.0, n=130):
    """Return X, y, weights with a network of the kind that the estimator fits; several outputs for two layers."""
    options = {"random_state": 0, "noise": noise}
    if name.startswith("Projected"):
        X, y = datasets.make_relu_regression(100, 8, n_nonzero=3, **options)
    elif name == "QuadraticNet":
        X, y = datasets.make_quadratic(100, 4, n_hidden=2, **options)
    elif name == "TwoLayerReLURecovery":
        X, y = datasets.make_two_layer_relu(130, 4, n_hidden=2, n_outputs=3, **options)
    else:
        activation = "softplus" if name == "OneHiddenLayerNet" else "relu"
        X, y = datasets.make_one_hidden_layer(n, 4, n_hidden=2, activation=activation, **options)
    s = np.random.default_rng(0).integers(0, 4, len(y))
    return X.astype(dtype), y.astype(dtype), s.astype(dtype)


def assert_same(actual, expected, place, dtype, what=""):
    actual = np.asarray(actual if isinstance(actual, float | list | np.ndarray) else to_numpy(actual, place[0]))
    size = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=EPS[dtype.name] * size, err_msg=what)


NEAR = datasets.make_one_hidden_layer(9, 4, n_hidden=2, random_state=0, return_teacher=True)[2].hidden_coef_ * 1.1
FITS = {
    "projected": (ProjectedReLURegressor(), 0.1),
    "projected-gd": (ProjectedReLURegressor(constraints.L1Ball(2.0), solver="gd", max_iter=30), 0.1),
    "projected-sparse": (ProjectedReLURegressor(constraints.L0Ball(3)), 0.1),
    "projected-path": (ProjectedReLURegressorCV(sizes=[1.0], cv=2), 0.1),
    "relu": (OneHiddenLayerReLU(random_state=0, n_init=2), 0.0),
    "relu-noise": (OneHiddenLayerReLU(2, alpha=0.01, random_state=0, n_init=1), 0.1),
    "relu-given": (OneHiddenLayerReLU(init=NEAR, alpha=0.01), 0.1),
    "relu-gd": (OneHiddenLayerReLU(2, solver="gd", random_state=0, max_iter=30), 0.1),
    "net": (OneHiddenLayerNet(2, random_state=0, n_init=2), 0.0),
    "net-gd": (OneHiddenLayerNet(2, activation="tanh", solver="gd", random_state=0, max_iter=30), 0.1),
    "quadratic": (QuadraticNet(random_state=0), 0.0),
    "quadratic-noise": (QuadraticNet(random_state=0), 0.1),
    "quadratic-gd": (QuadraticNet(2, solver="gd", random_state=0, max_iter=30), 0.1),
    "two": (TwoLayerReLURecovery(random_state=0), 0.0),
    "two-noise": (TwoLayerReLURecovery(2, alpha=0.0, random_state=0, n_init=1), 0.05),
    "two-outliers": (TwoLayerReLURecovery(2, outliers="detect", random_state=0, n_init=1, max_iter=20), 0.05),
    "two-gd": (TwoLayerReLURecovery(2, solver="gd", random_state=0, max_iter=30), 0.1),
}

LONG = ("two-noise", "projected-path", "relu-noise")
SINGLE = ("projected", "projected-gd", "relu", "net-gd", "quadratic", "two-gd")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
# All in double precision on the strictest namespace; in single precision and on torch, one of each kind.
@pytest.mark.parametrize(
    ("case", "fit"),
    [
        pytest.param(
            case, fit, marks=[] if fit in SINGLE or (case == CASES[0] and fit not in LONG) else pytest.mark.slow
        )
        for case in CASES
        for fit in FITS
        if case[2] == "float64" or fit in SINGLE
    ],
    ids=lambda part: "-".join(part) if isinstance(part, tuple) else part,
)
def test_fits_are_those_of_the_host(place, dtype, fit, monkeypatch):
    # Other blocks would be other rounding.
    for module in (device, memory):
        monkeypatch.setattr(module, "BLOCK_BYTES", 64 * 4 * dtype.itemsize)
    estimator, noise = FITS[fit]
    X, y, s = planted(named(estimator), dtype, noise)
    if fit == "two-outliers":
        y[::20] += 5
    host = clone(estimator).fit(X, y, sample_weight=s)
    options = {} if named(estimator).startswith("Projected") else {"return_std": True}
    expected, there = host.predict(X, **options), clone(estimator)
    with config_context(array_api_dispatch=True):
        there.fit(*sent(place, X, y), sample_weight=sent(place, s)[0])
        predicted = there.predict(sent(place, X)[0], **options)
        score = there.score(*sent(place, X, y))
    if options:
        # Where nothing is left of y, so is the standard deviation: both are rounding.
        assert predicted[1].shape == expected[1].shape
        if noise:
            assert_same(predicted[1], expected[1], place, dtype, "std")
        predicted, expected = predicted[0], expected[0]
    assert_same(predicted, expected, place, dtype, "predictions")
    assert_same(score, host.score(X, y), place, dtype, "score")
    names = [name for name in ("coef_", "hidden_coef_", "hidden_intercept_", "outlier_mask_") if hasattr(host, name)]
    for name in names:
        assert_same(getattr(there, name), getattr(host, name), place, dtype, name)
        assert getattr(there, name).device == place[1]
    assert there.n_iter_ >= 1
    assert_same(there.loss_, host.loss_, place, dtype, "loss")
    assert type(there.loss_) is float
    assert {type(value) for value in there.loss_curve_} == {float}


@pytest.mark.parametrize("kind", ["list", "array"])
def test_everything_follows_x(place, dtype, kind):
    X, y, s = planted("Projected", dtype, 0.1)
    of_host = [values.tolist() if kind == "list" else values for values in (y, s)]
    expected = ProjectedReLURegressor().fit(X, y, sample_weight=s)
    with config_context(array_api_dispatch=True):
        there = ProjectedReLURegressor().fit(sent(place, X)[0], *of_host)
        here = ProjectedReLURegressor().fit(X.tolist() if kind == "list" else X, *sent(place, y, s))
        assert here.predict(X).dtype == (np.float64 if kind == "list" else dtype)
    assert there.coef_.device == place[1]
    assert isinstance(here.coef_, np.ndarray)
    for found in (there, here):
        assert_same(found.coef_, expected.coef_, place, dtype)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_warm_start_goes_on_from_wherever_the_weights_are(place, dtype):
    X, y, _ = planted("OneHiddenLayerReLU", dtype, 0.1)
    model = OneHiddenLayerReLU(2, solver="gd", warm_start=True, max_iter=5, random_state=0)
    expected, there = clone(model).fit(X, y).fit(X, y), clone(model)
    with config_context(array_api_dispatch=True):
        there.fit(*sent(place, X, y)).fit(*sent(place, X, y))
    assert_same(there.hidden_coef_, expected.hidden_coef_, place, dtype)
    assert_same(there.fit(X, y).hidden_coef_, expected.fit(X, y).hidden_coef_, place, dtype)


def test_init_arrays_may_be_anywhere(place, dtype):
    X, y, _ = planted("OneHiddenLayerReLU", dtype, 0.1)
    W = NEAR.astype(dtype)
    with config_context(array_api_dispatch=True):
        there = OneHiddenLayerReLU(init=sent(place, W)[0], alpha=0.01).fit(*sent(place, X, y))
    expected = OneHiddenLayerReLU(init=W, alpha=0.01).fit(X, y)
    assert_same(there.hidden_coef_, expected.hidden_coef_, place, dtype)


def test_an_estimator_that_is_moved_predicts_where_it_is(place, dtype):
    X, y, _ = planted("QuadraticNet", dtype, 0.1)
    host = QuadraticNet(2, alpha=0.01, random_state=0).fit(X, y)
    with config_context(array_api_dispatch=True):
        moved = move_estimator_to(host, *place)
        predicted, std = moved.predict(sent(place, X)[0], return_std=True)
        back = move_estimator_to(moved, get_namespace(X), "cpu").predict(X)
    assert_same(predicted, host.predict(X), place, dtype)
    assert_same(std, host.predict(X, return_std=True)[1], place, dtype)
    assert_same(back, host.predict(X), place, dtype)


def test_callbacks_score_the_weights_where_the_rows_are(place, dtype):
    X, y, _ = planted("OneHiddenLayerReLU", dtype, 0.1, n=250)
    scores = []
    for arrays, dispatch in (((X, y), False), (sent(place, X, y), True)):
        monitor = ScoringMonitor(scoring="neg_mean_squared_error")
        model = OneHiddenLayerReLU(2, alpha=0.01, random_state=0, n_init=1).set_callbacks(monitor)
        with config_context(array_api_dispatch=dispatch):
            model.fit(*arrays)
        scores.append([entry["neg_mean_squared_error"] for entry in monitor.get_logs(select="most_recent").data])
    assert len(scores[0]) == len(scores[1]) > 2
    assert_same(scores[1], scores[0], place, dtype)


if find_spec("torch"):

    @pytest.mark.parametrize("dtype", [np.dtype(name) for name in EPS], ids=str)
    def test_without_dispatch_arrays_are_what_scikit_learn_makes_of_them(dtype):
        import torch

        X, y, _ = planted("Projected", dtype, 0.1)
        model = ProjectedReLURegressor().fit(torch.asarray(X), torch.asarray(y))
        assert isinstance(model.coef_, np.ndarray)
        # Scikit-learn makes double precision of what it does not know.
        np.testing.assert_array_equal(model.coef_, ProjectedReLURegressor().fit(X.astype(float), y).coef_)
        assert isinstance(model.predict(torch.asarray(X)), np.ndarray)

    def test_a_grid_search():
        import torch

        X, y, _ = planted("Projected", np.dtype("float64"), 0.1)
        search = GridSearchCV(ProjectedReLURegressor(constraints.L1Ball()), {"constraint__radius": [0.5, 2.0]}, cv=2)
        with config_context(array_api_dispatch=True):
            there = clone(search).fit(torch.asarray(X), torch.asarray(y))
            assert isinstance(there.predict(torch.asarray(X)), torch.Tensor)
        assert there.best_params_ == search.fit(X, y).best_params_


# functions that only this process has


@pytest.mark.parametrize("name", ["expit", "erf", "ndtr"])
def test_special_functions(place, dtype, name):
    z, on = np.linspace(-30, 30, 601).astype(dtype), Device(*place)
    (actual,) = on.here([getattr(special, name)(on.there(z))])
    assert actual.dtype == dtype
    # Torch computes the tail of ndtr as a difference.
    np.testing.assert_allclose(actual, getattr(special, name)(z), rtol=0, atol=np.finfo(dtype).eps)


@pytest.mark.parametrize("activation", [a for a in vars(activations).values() if isinstance(a, activations.Activation)])
def test_activations(place, dtype, activation):
    z, on = np.append(np.linspace(-9, 9, 601), 0).astype(dtype), Device(*place)
    for f in (activation.value, activation.derivative, activation.second_derivative):
        if f is not None:
            (actual,) = on.here([f(on.there(z))])
            assert actual.dtype == dtype
            np.testing.assert_allclose(actual, f(z), rtol=1e-3, atol=100 * np.finfo(dtype).eps)


def test_columns_that_overflow_or_are_missing_are_told_as_on_the_host(place, dtype):
    X, y, _ = planted("Projected", dtype, 0.1)
    X[3, 2] = np.nan
    with config_context(array_api_dispatch=True), pytest.raises(ValueError, match="Input X contains NaN"):
        ProjectedReLURegressor().fit(*sent(place, X, y))
    X[3, 2] = 0
    with config_context(array_api_dispatch=True), pytest.raises(ValueError, match="Negative values in data passed to"):
        ProjectedReLURegressor().fit(*sent(place, X, y), sample_weight=sent(place, -abs(y))[0])
