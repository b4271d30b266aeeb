"""What a fit leaves behind: in the estimator its own result and no trace of an earlier fit, in the process nothing; so
that fits and predictions in many threads are those in turn.
"""

import gc
import inspect
import locale
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import joblib
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info, threadpool_limits

import skrelu
from skrelu import (
    OneHiddenLayerNet,
    OneHiddenLayerReLU,
    ProjectedReLURegressor,
    ProjectedReLURegressorCV,
    QuadraticNet,
    TwoLayerReLURecovery,
    plotting,
)
from skrelu.__main__ import main
from skrelu.constraints import L0Ball, L1Ball
from skrelu.rows import memory, threads

SMALL = {"alpha": 0.01, "n_init": 2, "random_state": 0}
MODELS = {
    "OneHiddenLayerNet": OneHiddenLayerNet(2, activation="tanh", **SMALL),
    "OneHiddenLayerReLU": OneHiddenLayerReLU(2, **SMALL),
    "ProjectedReLURegressor": ProjectedReLURegressor(L1Ball(1.0)),
    "ProjectedReLURegressorCV": ProjectedReLURegressorCV(L0Ball(), sizes=[1, 2], cv=2),
    "QuadraticNet": QuadraticNet(**SMALL),
    "TwoLayerReLURecovery": TwoLayerReLURecovery(2, **SMALL),
}
every = pytest.mark.parametrize("name", MODELS)


def planted(seed, n=40, d=3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.maximum(X[:, 0] + 2 * X[:, 1] + 0.5, 0) + 0.1 * rng.standard_normal(n)


X, Y = planted(0)


def test_every_public_estimator_is_among_them():
    classes = {name for name in skrelu.__all__ if isinstance(vars(skrelu)[name], type)}
    assert {type(model).__name__ for model in MODELS.values()} == classes


def content(value):
    """Return a value to compare, arrays by their bits."""
    if isinstance(value, np.ndarray | np.generic):
        return str(value.dtype), value.shape, value.tolist() if value.dtype == object else value.tobytes()
    if isinstance(value, dict):
        return {key: content(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(content, value)]
    if hasattr(value, "__dict__") and not isinstance(value, type) and not callable(value):
        return type(value).__name__, content(vars(value))
    return repr(value) if callable(value) else value


@cache
def fresh(name):
    """Return the model fitted once, which no test changes."""
    return clone(MODELS[name]).fit(X, Y)


# No trace in the estimator.

STEPS = {"solver": "gd", "max_iter": 3, "tol": 0}
OTHER = planted(1, n=30, d=4)
DETOURS = {
    "none": ({}, ()),
    "the same": ({}, (X, Y)),
    "another table": (STEPS, OTHER),
    "names and weights": (STEPS, (pd.DataFrame(X, columns=["a", "b", "c"]), Y, np.arange(40.0))),
    "sparse and single": (STEPS, (sparse.csr_array(X.astype(np.float32)), Y)),
    "blocks": (STEPS, ([X[:10], X[10:]], Y)),
    "descent": ({**STEPS, "step_size": 0.5, "fit_intercept": False, "warm_start": True}, (X, Y)),
}
SHORT = {"max_iter": 5, "n_init": 1}
NETWORK_DETOURS = {
    "choice of decay": ({**SHORT, "alpha": "auto"}, (X, Y)),
    "choice of size": ({**SHORT, "n_hidden": "auto"}, (X, Y)),
}
DETOURS_OF = {
    "OneHiddenLayerNet": NETWORK_DETOURS,
    "OneHiddenLayerReLU": NETWORK_DETOURS,
    "ProjectedReLURegressor": {"another set": ({"constraint": L0Ball(1)}, (X, Y))},
    "ProjectedReLURegressorCV": {"another set": ({"constraint": L1Ball(), "sizes": [0.1, 1], "cv": 3}, (X, Y))},
    "QuadraticNet": {
        "choice of decay": ({"alpha": "auto"}, (X, Y)),
        "another size": ({"n_hidden": 1, "alpha": 0}, (X, Y)),
    },
    "TwoLayerReLURecovery": {
        **NETWORK_DETOURS,
        "outputs and outliers": ({**SHORT, "outliers": "detect"}, (X, np.column_stack([Y, X[:, 0] ** 2]))),
    },
}


PECULIAR = ("another set", "another size", "outputs and outliers")


# Each detour with two estimators, or with those that have it; all pairs with the slow tests.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "detour"),
    [
        pytest.param(name, key, marks=[] if (i - j) % 3 == 0 or key in PECULIAR else pytest.mark.slow)
        for i, name in enumerate(MODELS)
        for j, key in enumerate(DETOURS | DETOURS_OF[name])
    ],
)
def test_a_fit_after_any_other_is_the_first_to_the_last_bit(name, detour):
    parameters, data = (DETOURS | DETOURS_OF[name])[detour]
    model = clone(MODELS[name]).set_params(**parameters)
    if data:
        model.fit(*data)
    model.set_params(**MODELS[name].get_params(deep=False)).fit(X, Y)
    assert content(vars(model)) == content(vars(fresh(name)))


@every
def test_a_clone_of_a_fit_is_what_was_never_fitted(name):
    assert content(vars(clone(fresh(name)))) == content(vars(MODELS[name]))


# Other values of all parameters, but of the activation, which is part of the fitted function as in `MLPRegressor`.
OTHERS = {
    "alpha": 5.0,
    "constraint": L1Ball(0.01),
    "cv": 3,
    "fit_intercept": False,
    "fit_linear": False,
    "init": "random",
    "max_iter": 1,
    "n_hidden": 1,
    "n_init": 1,
    "n_jobs": 2,
    "outliers": "detect",
    "output_weights": "positive",
    "random_state": 7,
    "selection": "one_se",
    "sizes": [1],
    "solver": "gd",
    "step_size": 0.5,
    "tol": 0.1,
    "verbose": 1,
    "warm_start": True,
}


@every
def test_parameters_that_are_set_after_a_fit_change_no_prediction(name):
    model = clone(MODELS[name]).fit(X, Y)
    assert content(model.predict(X)) == content(fresh(name).predict(X))
    parameters = {key: OTHERS[key] for key in model.get_params(deep=False) if key != "activation"}
    before = MODELS[name].get_params()
    assert not [key for key, value in parameters.items() if content(value) == content(before[key])]
    model.set_params(**parameters)
    options = [{}] if name.startswith("Projected") else [{}, {"return_std": True}]
    for option in options:
        assert content(model.predict(X, **option)) == content(fresh(name).predict(X, **option))


# The default solver smooths the kinks of ReLUs on its way: for them it promises no such thing.
KINKED = {"OneHiddenLayerReLU", "TwoLayerReLURecovery"}


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(
    ("name", "solver"),
    [(name, solver) for name in MODELS for solver in ("auto", "gd") if solver == "gd" or name not in KINKED],
)
def test_a_warm_start_goes_down_from_where_the_fit_before_ended(name, solver, fit_intercept):
    model = clone(MODELS[name]).set_params(solver=solver, fit_intercept=fit_intercept, warm_start=True, tol=0)
    model.set_params(**{"alpha": 0, "n_hidden": 2} if hasattr(model, "alpha") else {})
    losses = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for max_iter in (2, 2, 2, 30):
            losses.append(model.set_params(max_iter=max_iter).fit(X, Y).loss_)
    assert np.all(np.diff(losses) <= 1e-12 * losses[0])
    # One ReLU may be at its optimum after two steps; the descent of a network is not.
    assert name.startswith("Projected") or losses[2] < losses[0]


UNFITTED_TO = {"array": X, "sparse": sparse.csr_array(X), "table": pd.DataFrame(X), "blocks": [X[:20], X[20:]]}


@pytest.mark.parametrize("form", UNFITTED_TO)
@every
def test_nothing_is_predicted_before_a_fit(name, form):
    data = UNFITTED_TO[form]
    options = [{}] if name.startswith("Projected") else [{}, {"return_std": True}]
    for option in options:
        with pytest.raises(NotFittedError):
            clone(MODELS[name]).predict(data, **option)
    with pytest.raises(NotFittedError):
        clone(MODELS[name]).score(data, Y)


# Threads.

UNFINISHED = {"max_iter": 2, "tol": 1e-14}


def fits(finished):
    """Return models and data for fits that are different and that are the same; those not finished warn."""
    tables = [planted(seed, n=24 + 8 * seed) for seed in range(2)]
    models = [clone(model).set_params(**({} if finished else UNFINISHED)) for model in MODELS.values()]
    return [(clone(model), *table) for model in models for table in (*tables, tables[0])]


def fitted_by(map_function, finished):
    """Return the fits and the messages of their warnings, in a fixed order."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        models = list(map_function(lambda fit: fit[0].fit(*fit[1:]), fits(finished)))
    return [content(vars(model)) for model in models], sorted(str(warning.message) for warning in caught)


@pytest.mark.parametrize("inner", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("finished", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_fits_in_eight_threads_are_those_in_turn_with_the_same_warnings(finished, inner, monkeypatch):
    monkeypatch.setattr(threads, "n_threads", lambda: inner)
    monkeypatch.setattr(memory, "BLOCK_BYTES", 1)  # eight rows a block, so that the fits spread them over threads
    in_turn, told = fitted_by(map, finished)
    assert finished or len(told) >= len(MODELS)
    with ThreadPoolExecutor(8) as pool:
        at_once, heard = fitted_by(pool.map, finished)
    for one, other in zip(in_turn, at_once, strict=True):
        assert one == other
    assert heard == told


@every
def test_eight_threads_may_predict_with_one_model(name):
    tables = [planted(seed)[0] for seed in range(8)]
    options = {} if name.startswith("Projected") else {"return_std": True}

    def predict(table):
        return content(fresh(name).predict(table, **options))

    before = content(vars(fresh(name)))
    in_turn = [predict(table) for table in tables]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(predict, tables)) == in_turn
    assert content(vars(fresh(name))) == before


@every
def test_a_search_in_threads_is_one_in_turn(name):
    found = []
    for n_jobs in (1, 4):
        model = clone(MODELS[name]).set_params(**STEPS)
        search = GridSearchCV(model, {"fit_intercept": [True, False]}, cv=2, n_jobs=n_jobs)
        with joblib.parallel_config(backend="threading"):
            search.fit(X, Y)
        found.append((search.cv_results_["mean_test_score"].tolist(), content(search.predict(X))))
    assert found[0] == found[1]


# The process.


IMPORTS_OF_WORLD = """
import gc, locale, logging, os, random, signal, sys, threading, warnings
import matplotlib as mpl, numpy as np, sklearn
from threadpoolctl import threadpool_info
"""


def world():
    """Return what all code of a process shares."""
    return {
        "random": random.getstate(),
        "numpy.random": content(np.random.get_state()),  # noqa: NPY002 - it must not change
        "floating-point errors": (np.geterr(), np.geterrcall(), np.getbufsize()),
        "printing": np.get_printoptions(),
        "warnings": (list(warnings.filters), warnings.showwarning),
        "scikit-learn": sklearn.get_config(),
        "environment": dict(os.environ),
        "thread pools": [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()],
        "threads": set(threading.enumerate()),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "logging": (list(logging.root.handlers), logging.root.level, logging.root.manager.disable),
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook, sys.displayhook),
        "streams": (sys.stdout, sys.stderr, sys.stdin),
        "paths": (os.getcwd(), list(sys.path), list(sys.meta_path)),
        "interpreter": (sys.getrecursionlimit(), sys.getswitchinterval(), gc.isenabled(), gc.get_threshold()),
        "locale": locale.setlocale(locale.LC_ALL),
        "matplotlib": dict(mpl.rcParams),
    }


class Raises:
    """A callback that raises an exception after a task of the fit."""

    def __init__(self, exception):
        self.exception = exception

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        pass

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        raise self.exception


@pytest.mark.parametrize("inner", [pytest.param(1, marks=pytest.mark.slow), 2])
@every
def test_a_fit_and_a_prediction_leave_the_process_as_it_was(name, inner, monkeypatch):
    monkeypatch.setattr(threads, "n_threads", lambda: inner)
    monkeypatch.setattr(memory, "BLOCK_BYTES", 1)
    with np.errstate(over="raise", divide="print"), threadpool_limits(2, user_api="blas"):
        before = world()
        clone(MODELS[name]).fit(X, Y).predict(X)
        assert world() == before


@pytest.mark.parametrize("exception", [pytest.param(RuntimeError, marks=pytest.mark.slow), KeyboardInterrupt])
@every
def test_a_fit_that_fails_leaves_the_process_as_it_was(name, exception, monkeypatch):
    monkeypatch.setattr(threads, "n_threads", lambda: 2)
    monkeypatch.setattr(memory, "BLOCK_BYTES", 1)
    with threadpool_limits(2, user_api="blas"):
        before = world()
        with pytest.raises(exception):
            clone(MODELS[name]).set_callbacks(Raises(exception)).fit(X, Y)
        with pytest.raises(ValueError, match="NaN"):
            clone(MODELS[name]).fit(X, np.where(Y > 0, np.nan, Y))
        with pytest.raises(ValueError, match="overflow"):
            clone(MODELS[name]).fit(X * 1e300, Y * 1e300)
        assert world() == before


@every
def test_the_global_generators_make_no_difference(name):
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002 - it must make no difference
    assert content(vars(clone(MODELS[name]).fit(X, Y))) == content(vars(fresh(name)))


def test_plots_leave_the_process_as_it_was():
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    model = fresh("OneHiddenLayerReLU")
    figure, axes = plt.subplots(2)
    before = world(), plt.get_fignums()
    plotting.ConvergenceDisplay.from_estimator(model, ax=axes[0])
    plotting.WeightsDisplay.from_estimator(model, ax=axes[1])
    assert (world(), plt.get_fignums()) == before
    plt.close(figure)


@pytest.mark.slow
def test_the_command_leaves_the_process_as_it_was(tmp_path, capsys):
    table, model = str(tmp_path / "table.csv"), str(tmp_path / "model.skops")
    pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": Y}).to_csv(table, index=False)

    def commands():
        arguments = ["compare", table, "--models", "ridge,projected-relu", "--cv", "2", "--save", model]
        yield main([*arguments, "--plot", str(tmp_path / "plot.png")])
        yield main(["predict", model, table])
        yield main(["compare", str(tmp_path / "none.csv")])
        yield main(["compare", "--models", "none"])

    before = world()
    assert list(commands()) == [0, 0, 2, 2]
    between = world()
    assert list(commands()) == [0, 0, 2, 2]
    assert world() == between
    # The optional packages, that are imported the first time, bring libraries and importers.
    assert {key for key, value in before.items() if between[key] != value} <= {"thread pools", "paths"}
    assert capsys.readouterr().out


IMPORT = """
import sklearn.callback, sklearn.compose, sklearn.ensemble, sklearn.model_selection, sklearn.pipeline
import scipy.integrate, scipy.linalg, scipy.optimize, scipy.sparse.linalg, scipy.special, scipy.stats
before, modules = world(), set(sys.modules)
import skrelu
after = world()
assert after == before, [key for key in before if after[key] != before[key]]
new = {name.split(".")[0] for name in set(sys.modules) - modules} - sys.stdlib_module_names
assert new == {"skrelu"}, new
"""


@pytest.mark.slow
def test_the_import_loads_no_other_package_and_leaves_the_process_as_it_was():
    code = [IMPORTS_OF_WORLD, inspect.getsource(content), inspect.getsource(world), IMPORT]
    run = subprocess.run([sys.executable, "-c", "\n".join(code)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
