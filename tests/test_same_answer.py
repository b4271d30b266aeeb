"""However the same numbers arrive, every estimator ends in the same fit; and a seed gives the same fit to the last bit.

One matrix: settings of all estimators x ways in which X arrives, against the fit to an array in memory.
"""

import hashlib
import inspect
import json
import os
import subprocess
import sys
import warnings
from itertools import pairwise

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

import skrelu
from skrelu.constraints import L0Ball, L1Ball
from skrelu.one_hidden_layer import ACTIVATIONS
from skrelu.rows import memory, threads

# Solvers end where a Newton step would move predictions by at most tol = 1e-10 of the root mean square of y, or run
# the same iterations: from sums that are added in another order, the ends differ by a few times that.
TOL = 1e-9  # of the largest prediction
CUTS = [0, 7, 40, 41, 90]

slow = pytest.mark.slow
estimators = {name for name in skrelu.__all__ if inspect.isclass(getattr(skrelu, name))}

# What is cheap runs always.
SETTINGS = {
    "ProjectedReLURegressor": {
        "free": {},
        "l1": {"constraint": L1Ball(0.8)},
        "l0": {"constraint": L0Ball(2)},
        "gd": {"step_size": 0.2, "max_iter": 50, "tol": 0},
    },
    "ProjectedReLURegressorCV": {
        "l1": {"sizes": [0.5, 1.0], "cv": 2},
        "l0": {"constraint": L0Ball(1), "sizes": [1, 2], "cv": 2},
        "gd": {"sizes": [0.5, 1.0], "cv": 2, "step_size": 0.2, "max_iter": 20, "tol": 0},
    },
    "OneHiddenLayerReLU": {
        "decay": {"n_hidden": 2, "alpha": 0.02, "n_init": 1},
        "gd": {"n_hidden": 2, "solver": "gd", "max_iter": 20, "tol": 0},
        "no decay": {"alpha": 0.0},
        "two units": {"n_hidden": 2},
        "default": {},
    },
    "OneHiddenLayerNet": {
        "decay": {"n_hidden": 1, "alpha": 0.02, "n_init": 1},
        "gd": {"n_hidden": 2, "solver": "gd", "max_iter": 20, "tol": 0},
        "default": {},
        **{name: {"n_hidden": 2, "activation": name, "alpha": 0.02} for name in ACTIVATIONS},
    },
    "QuadraticNet": {
        "no decay": {"alpha": 0.0},
        "decay": {"alpha": 0.02},
        "one unit": {"n_hidden": 1, "alpha": 0.02},
        "gd": {"solver": "gd", "max_iter": 20, "tol": 0},
        "gd, one unit": {"n_hidden": 1, "solver": "gd", "max_iter": 20, "tol": 0},
        "default": {},
    },
    "TwoLayerReLURecovery": {
        "decay": {"n_hidden": 2, "alpha": 0.02},
        "gd": {"n_hidden": 2, "solver": "gd", "max_iter": 20, "tol": 0},
        "outliers": {"n_hidden": 2, "alpha": 0.0, "outliers": "detect"},
        "no decay": {"alpha": 0.0},
        "default": {},
    },
}
FAST = [
    ("ProjectedReLURegressor", "free"),
    ("ProjectedReLURegressor", "gd"),
    ("ProjectedReLURegressorCV", "gd"),
    ("OneHiddenLayerReLU", "gd"),
    ("OneHiddenLayerNet", "gd"),
    ("QuadraticNet", "no decay"),
    ("QuadraticNet", "gd, one unit"),
    ("TwoLayerReLURecovery", "gd"),
]
ALL = [(name, setting) for name in SETTINGS for setting in SETTINGS[name]]
OTHERS = [case for case in ALL if case not in FAST]
every_setting = pytest.mark.parametrize(
    ("name", "setting"), FAST + [pytest.param(*case, marks=slow) for case in OTHERS], ids=lambda part: part
)


def paired(arrivals, period):
    """Parametrize by all pairs of a setting and an arrival; each fast setting runs always with every period-th."""
    cases = [
        pytest.param(*case, arrival, marks=[] if case in FAST and (i - j) % period == 0 else slow)
        for i, case in enumerate(FAST + OTHERS)
        for j, arrival in enumerate(arrivals)
    ]
    return pytest.mark.parametrize(("name", "setting", "arrival"), cases, ids=lambda part: part)


def table(dtype=np.float64):
    """Columns off centre, a third of the entries zero; y of two ReLUs and noise, of both signs."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 4)) + np.linspace(-1, 1, 4)
    X[rng.random(X.shape) < 0.3] = 0
    y = np.maximum(X @ [1, -1, 0.5, 0.3] + 0.3, 0) - 0.7 * np.maximum(X @ [0.2, 1, 1, -1], 0)
    return X.astype(dtype), (y + 0.1 * rng.standard_normal(90)).astype(dtype)


def model_of(name, setting):
    # Sets keep no state, so that settings may share them.
    return getattr(skrelu, name)(random_state=0, **SETTINGS[name][setting])


def cut(values):
    return [values[i:j] for i, j in pairwise(CUTS)]


def with_duplicates(X):
    """Each entry stored twice, as halves, in descending order of columns: a CSR matrix that is not canonical."""
    rows, columns = np.nonzero(np.ones_like(X))
    half = X[rows, columns] / 2
    shuffled = np.argsort(-columns, kind="stable")
    rows, columns, half = (np.tile(part[shuffled], 2) for part in (rows, columns, half))
    order = np.argsort(rows, kind="stable")
    starts = np.append(0, np.cumsum(np.bincount(rows)))
    return sparse.csr_array((half[order], columns[order], starts), shape=X.shape)


def mapped_file(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


# X, y and a folder -> what is given to `fit`.
ARRIVALS = {
    "Fortran order": lambda X, y, folder: (np.asfortranarray(X), y),
    "every other column": lambda X, y, folder: (np.repeat(X, 2, axis=1)[:, ::2], np.repeat(y, 2)[::2]),
    "backwards in memory": lambda X, y, folder: (X[::-1].copy()[::-1], y[::-1].copy()[::-1]),
    "dataframe": lambda X, y, folder: (pd.DataFrame(X), pd.Series(y)),
    "csr array": lambda X, y, folder: (sparse.csr_array(X), y),
    "csr matrix": lambda X, y, folder: (sparse.csr_matrix(X), y),
    "csc array": lambda X, y, folder: (sparse.csc_array(X), y),
    "csr array, not canonical": lambda X, y, folder: (with_duplicates(X), y),
    "blocks": lambda X, y, folder: (cut(X), y),
    "blocks with their y": lambda X, y, folder: (list(zip(cut(X), cut(y), strict=True)), None),
    "sparse blocks": lambda X, y, folder: ([sparse.csr_array(block) for block in cut(X)], y),
    "iterator": lambda X, y, folder: (iter(cut(X)), y),
    "memory map": lambda X, y, folder: (mapped_file(X, folder), y),
    "dask array": lambda X, y, folder: (da.from_array(X, chunks=(25, 2)), da.from_array(y, chunks=25)),
    "dask dataframe": lambda X, y, folder: (
        dd.from_pandas(pd.DataFrame(X), npartitions=3),
        dd.from_pandas(pd.Series(y), npartitions=3),
    ),
}


def fitted(name, setting, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model_of(name, setting).fit(X, y)


@pytest.fixture(scope="module")
def reference():
    """Return a function: the fit to an array in memory, made once."""
    known: dict = {}

    def of(name, setting, dtype):
        key = name, setting, np.dtype(dtype).name
        if key not in known:
            known[key] = fitted(name, setting, *table(dtype))
        return known[key]

    return of


def assert_same_answer(found, expected, X, tol):
    """The same predictions, loss and weights as far as these are unique: of the single ReLU they are."""
    prediction = expected.predict(X)
    scale = np.abs(prediction).max()
    np.testing.assert_allclose(found.predict(X), prediction, rtol=0, atol=tol * scale)
    assert abs(found.loss_ - expected.loss_) <= tol * scale**2
    assert found.converged_ == expected.converged_
    if hasattr(expected, "coef_") and np.ndim(expected.coef_) == 1:
        np.testing.assert_allclose(found.coef_, expected.coef_, rtol=0, atol=10 * tol * np.abs(expected.coef_).max())
    if hasattr(expected, "alpha_"):
        assert found.alpha_ == pytest.approx(expected.alpha_, rel=tol)


def test_all_estimators_have_settings():
    assert set(SETTINGS) == estimators


@paired(ARRIVALS, 5)
def test_however_the_rows_arrive_the_answer_is_the_same(name, setting, arrival, reference, tmp_path):
    X, y = table()
    found = fitted(name, setting, *ARRIVALS[arrival](X, y, tmp_path))
    assert_same_answer(found, reference(name, setting, np.float64), X, TOL)


@pytest.mark.parametrize(
    "number", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow), 8]
)
@every_setting
def test_blocks_of_eight_rows_in_any_number_of_threads_give_the_same_answer(
    name, setting, number, reference, monkeypatch
):
    expected, (X, y) = reference(name, setting, np.float64), table()
    monkeypatch.setattr(memory, "BLOCK_BYTES", 1)
    monkeypatch.setattr(threads, "n_threads", lambda: number)
    assert_same_answer(fitted(name, setting, X, y), expected, X, TOL)


# Single precision: solvers end at 10 eps, as they do at tol in double precision.
TOL_SINGLE = 100 * float(np.finfo(np.float32).eps)


@paired(["csr array", "blocks", "iterator", "dask array"], 4)
def test_rows_in_single_precision_give_the_same_answer(name, setting, arrival, reference, tmp_path):
    X, y = table(np.float32)
    found = fitted(name, setting, *ARRIVALS[arrival](X, y, tmp_path))
    assert found.predict(X).dtype == np.float32
    assert_same_answer(found, reference(name, setting, np.float32), X, TOL_SINGLE)


# Determinism.


def digest(model):
    """Return a hash of all that a fit has stored, to the last bit."""
    found = hashlib.sha256()
    for attribute, value in sorted(vars(model).items()):
        if attribute.endswith("_") and not attribute.startswith("_"):
            found.update(attribute.encode())
            found.update(np.asarray(value).tobytes() if np.asarray(value).dtype != object else repr(value).encode())
    return found.hexdigest()


def digests(cases):
    """Return the hash of each fit, in this order."""
    X, y = table()
    return {f"{name} {setting}": digest(fitted(name, setting, X, y)) for name, setting in cases}


def in_another_process(cases, hash_seed):
    """Return `digests` by a process of its own, NumPy's global generator being another one there."""
    program = (
        "import json, runpy, sys; import numpy as np; np.random.seed(7);"
        f"print(json.dumps(runpy.run_path({__file__!r})['digests'](json.loads(sys.argv[1]))))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, json.dumps(cases)],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(found.stdout)


def assert_deterministic(cases, hash_seeds):
    """In the same process, in another order, with the global generators changed; in others, with other hashes."""
    expected = digests(cases)
    # The estimators must not draw from NumPy's global generator, nor leave it changed.
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert digests(cases[::-1]) == expected
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    for hash_seed in hash_seeds:
        assert in_another_process(cases[::-1], hash_seed) == expected


def test_a_seed_gives_the_same_fit_to_the_last_bit_in_any_order_and_process():
    assert_deterministic(FAST, [1])


@slow
def test_every_setting_gives_the_same_fit_to_the_last_bit_in_any_order_and_process():
    assert_deterministic(ALL, [2, 3])


@every_setting
def test_a_generator_draws_what_its_seed_does(name, setting):
    X, y = table()
    seeded = fitted(name, setting, X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        drawn = model_of(name, setting).set_params(random_state=np.random.RandomState(0)).fit(X, y)
    assert digest(drawn) == digest(seeded)
