"""A fitted model that goes to another process, by any of the ways there are, predicts the same to the last bit."""

import hashlib
import inspect
import pickle
import subprocess
import sys
from copy import deepcopy
from functools import cache, partial

import cloudpickle
import joblib
import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.callback import ProgressBar

import skrelu
from skrelu import (
    OneHiddenLayerNet,
    OneHiddenLayerReLU,
    ProjectedReLURegressor,
    ProjectedReLURegressorCV,
    QuadraticNet,
    TwoLayerReLURecovery,
)
from skrelu._cli.saved import TRUSTED
from skrelu.activations import Activation, squared_relu
from skrelu.constraints import GroupL1Ball, L0Ball, L1Ball

SMALL = {"random_state": 0, "max_iter": 20, "tol": 0, "solver": "gd"}
MODELS = {
    "OneHiddenLayerNet": OneHiddenLayerNet(2, activation="tanh", **SMALL),
    "OneHiddenLayerNet of an activation": OneHiddenLayerNet(2, activation=squared_relu, **SMALL),
    "OneHiddenLayerReLU": OneHiddenLayerReLU(2, **SMALL),
    "OneHiddenLayerReLU of a choice": OneHiddenLayerReLU(1, random_state=0),
    "ProjectedReLURegressor": ProjectedReLURegressor(GroupL1Ball([0, 0, 1], 1.0)),
    "ProjectedReLURegressor of a method": ProjectedReLURegressor(L1Ball(1.0).project),
    "ProjectedReLURegressorCV": ProjectedReLURegressorCV(L0Ball(), sizes=[1, 2], cv=2),
    "QuadraticNet": QuadraticNet(random_state=0),
    "TwoLayerReLURecovery": TwoLayerReLURecovery(2, **SMALL),
    "TwoLayerReLURecovery of a choice": TwoLayerReLURecovery(1, random_state=0),
}
every = pytest.mark.parametrize("name", MODELS)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
Y = np.maximum(X[:, 0] + 2 * X[:, 1] + 0.5, 0) + 0.1 * RNG.standard_normal(40)


def test_every_public_estimator_is_among_them():
    classes = {name for name in skrelu.__all__ if isinstance(vars(skrelu)[name], type)}
    assert {type(model).__name__ for model in MODELS.values()} == classes


@cache
def fitted(name):
    """Return the fitted model, which no test changes."""
    return clone(MODELS[name]).fit(X, Y)


def predicted(model, X):
    """Return a digest of the predictions, and of their deviations where there are any."""
    found = [model.predict(X)] if type(model).__name__.startswith("Projected") else model.predict(X, return_std=True)
    return hashlib.sha256(b"".join(part.tobytes() for part in found)).hexdigest()


def by_joblib(model, tmp_path, compress, mmap_mode):
    joblib.dump(model, tmp_path / "model.joblib", compress=compress)
    return joblib.load(tmp_path / "model.joblib", mmap_mode=mmap_mode)


def holds_functions(model):
    return isinstance(getattr(model, "activation", None), Activation) or callable(getattr(model, "constraint", None))


def by_skops(model, tmp_path):
    content = skops.io.dumps(model)
    unknown = set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED)
    # The command knows activations by name and sets only: who saves functions says that they are trusted.
    assert bool(unknown) == holds_functions(model)
    assert all(kind.startswith("skrelu.") for kind in unknown)
    return skops.io.loads(content, trusted=[*TRUSTED, *unknown])


WAYS = {
    **{
        f"pickle {protocol}": lambda model, _, protocol=protocol: pickle.loads(pickle.dumps(model, protocol))
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    },
    "cloudpickle": lambda model, _: cloudpickle.loads(cloudpickle.dumps(model)),
    "deepcopy": lambda model, _: deepcopy(model),
    "joblib": partial(by_joblib, compress=0, mmap_mode=None),
    "joblib compressed": partial(by_joblib, compress=3, mmap_mode=None),
    "joblib memory map": partial(by_joblib, compress=0, mmap_mode="r"),
    "skops": by_skops,
}


@pytest.mark.parametrize("way", WAYS)
@every
def test_a_copy_predicts_the_same(name, way, tmp_path):
    model = fitted(name)
    copy = WAYS[way](model, tmp_path)
    assert vars(copy).keys() == vars(model).keys()
    assert repr(copy) == repr(model)
    assert predicted(copy, X) == predicted(model, X)


@pytest.mark.parametrize("way", ["pickle 5", "joblib memory map", "skops"])
@every
def test_a_copy_fits_the_same(name, way, tmp_path):
    copy = WAYS[way](fitted(name), tmp_path)
    assert predicted(copy.fit(X, Y), X) == predicted(fitted(name), X)


CHILD = """
import hashlib, sys
import cloudpickle, joblib, numpy as np, pickle, skops.io
from pathlib import Path
from skrelu._cli.saved import TRUSTED
PREDICTED
here = Path(sys.argv[1])
X = np.load(here / "X.npy")
for path in sorted(here.glob("*.pickle")):
    print(path.name, predicted(pickle.loads(path.read_bytes()), X))
for path in sorted(here.glob("*.joblib")):
    print(path.name, predicted(joblib.load(path, mmap_mode="r"), X))
for path in sorted(here.glob("*.skops")):
    print(path.name, predicted(skops.io.load(path, trusted=TRUSTED), X))
"""


def lines_of_a_child(tmp_path):
    np.save(tmp_path / "X.npy", X)
    code = CHILD.replace("PREDICTED", inspect.getsource(predicted))
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@pytest.mark.slow
def test_another_interpreter_predicts_the_same_to_the_last_bit(tmp_path):
    expected = {}
    for name in MODELS:
        model, file = fitted(name), name.replace(" ", "-")
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            (tmp_path / f"{file}-{protocol}.pickle").write_bytes(pickle.dumps(model, protocol))
        joblib.dump(model, tmp_path / f"{file}.joblib")
        if not holds_functions(model):
            skops.io.dump(model, tmp_path / f"{file}.skops")
        expected |= {path.name: predicted(model, X) for path in tmp_path.glob(f"{file}*")}
    assert len(expected) > 5 * len(MODELS)
    found = dict(line.split() for line in lines_of_a_child(tmp_path))
    assert found == expected


@pytest.mark.slow
def test_another_interpreter_knows_what_was_made_in_this_one(tmp_path):
    """A set that is a function, and an activation of functions of this file, which no other process can import."""
    own = Activation(lambda z: np.maximum(z, 0) ** 1.5, lambda z: 1.5 * np.maximum(z, 0) ** 0.5, name="own")
    expected = {}
    for file, model in {
        "set": ProjectedReLURegressor(lambda w: np.clip(w, 0, 1)),
        "activation": OneHiddenLayerNet(2, activation=own, **SMALL),
    }.items():
        model.fit(X, Y)
        (tmp_path / f"{file}.pickle").write_bytes(cloudpickle.dumps(model))
        expected[f"{file}.pickle"] = predicted(model, X)
    assert dict(line.split() for line in lines_of_a_child(tmp_path)) == expected


@every
def test_callbacks_go_with_their_model(name, capsys):
    copy = pickle.loads(pickle.dumps(clone(MODELS[name]).set_callbacks(ProgressBar())))
    assert predicted(copy.fit(X, Y), X) == predicted(fitted(name), X)
    assert f"{type(copy).__name__} - fit" in capsys.readouterr().out
