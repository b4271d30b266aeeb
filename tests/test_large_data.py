"""However the data come, the fit is that of the whole table in memory: blocks, iterators, dask."""

import pickle
from copy import copy
from functools import cache
from itertools import pairwise

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

from skrelu import (
    OneHiddenLayerNet,
    OneHiddenLayerReLU,
    ProjectedReLURegressor,
    ProjectedReLURegressorCV,
    QuadraticNet,
    TwoLayerReLURecovery,
)
from skrelu.constraints import L1Ball
from skrelu.datasets import make_one_hidden_layer, make_quadratic, make_relu_regression, make_two_layer_relu

FITS = {
    "one ReLU": (ProjectedReLURegressor(), make_relu_regression(300, 8, n_nonzero=3, random_state=0)),
    "l1 by cross-validation": (
        ProjectedReLURegressorCV(L1Ball(), sizes=[0.5, 2.0], cv=3),
        make_relu_regression(300, 8, n_nonzero=3, noise=0.1, random_state=0),
    ),
    "hidden layer": (OneHiddenLayerReLU(2, random_state=0), make_one_hidden_layer(300, 6, 2, random_state=0)),
    "softplus, gd": (
        OneHiddenLayerNet(2, solver="gd", max_iter=20, tol=0, random_state=0),
        make_one_hidden_layer(300, 6, 2, activation="softplus", random_state=0),
    ),
    "quadratic": (QuadraticNet(alpha=0.01, random_state=0), make_quadratic(300, 6, 2, random_state=0)),
    "two layers": (TwoLayerReLURecovery(2, random_state=0), make_two_layer_relu(300, 6, 2, 3, random_state=0)),
    "two layers, outliers": (
        TwoLayerReLURecovery(2, outliers="detect", random_state=0),
        make_two_layer_relu(300, 6, 2, 3, random_state=0),
    ),
}
# Some of seconds each run with the slow tests; test_same_answer.py has them, too.
LONG = {"l1 by cross-validation", "quadratic", "two layers", "two layers, outliers"}
fits = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in FITS]
)
CUTS = [0, 50, 51, 180, 300]


def cut(values):
    return [values[i:j] for i, j in pairwise(CUTS)]


class Reread:
    """An iterable without length that starts over each time."""

    def __init__(self, blocks):
        self.blocks, self.n_passes = blocks, 0

    def __iter__(self):
        self.n_passes += 1
        return iter(self.blocks)


KINDS = {
    "list": lambda X, y: (cut(X), y),
    "list, y in blocks": lambda X, y: (cut(X), cut(y)),
    "pairs": lambda X, y: (list(zip(cut(X), cut(y), strict=True)), None),
    "iterable": lambda X, y: (Reread(cut(X)), y),
    "iterator": lambda X, y: (iter(cut(X)), y),
    "iterator of pairs": lambda X, y: (zip(cut(X), cut(y), strict=True), None),
    "tables": lambda X, y: ([pd.DataFrame(block) for block in cut(X)], y),
    "Fortran order": lambda X, y: ([np.asfortranarray(block) for block in cut(X)], y),
}


DASK_KINDS = {
    "arrays": lambda X, y: (da.from_array(X, chunks=(70, 4)), da.from_array(y, chunks=70)),
    "y in memory": lambda X, y: (da.from_array(X, chunks=(70, -1)), y),
    "other chunks of y": lambda X, y: (da.from_array(X, chunks=(70, -1)), da.from_array(y, chunks=111)),
    "unknown lengths": lambda X, y: (da.from_array(X, chunks=(70, -1))[X[:, 0] < np.inf], y),
    "dataframe": lambda X, y: (dd.from_pandas(pd.DataFrame(X).add_prefix("c"), npartitions=4), y),
}


def copied(estimator):
    return type(estimator)(**estimator.get_params(deep=False))


@cache
def in_memory(name):
    """The fit to the whole table, which the tests do not change."""
    estimator, data = FITS[name]
    return copied(estimator).fit(*data)


def agree(found, expected, X):
    """The same network to rounding: the same function, loss and way there."""
    scale = np.abs(expected.predict(X)).max()
    np.testing.assert_allclose(found.predict(X), expected.predict(X), atol=1e-9 * scale, rtol=0)
    assert abs(found.loss_ - expected.loss_) <= 1e-9 * scale**2
    assert found.n_features_in_ == X.shape[1]


@pytest.mark.parametrize("kind", KINDS)
@fits
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_fit_is_that_of_the_whole_table(name, kind):
    estimator, (X, y) = FITS[name]
    expected = in_memory(name)
    found = copied(estimator).fit(*KINDS[kind](X, y))
    agree(found, expected, X)
    blocks, _ = KINDS["list"](X, y)
    np.testing.assert_allclose(found.predict(blocks), found.predict(X), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(found.predict(iter(blocks)), found.predict(blocks))


@pytest.mark.parametrize("kind", DASK_KINDS)
@fits
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_dask_fits_as_in_memory(name, kind):
    estimator, (X, y) = FITS[name]
    expected = in_memory(name)
    dask_X, dask_y = DASK_KINDS[kind](X, y)
    found = copied(estimator).fit(dask_X, dask_y)
    for attribute, value in vars(found).items():
        assert not dask.is_dask_collection(value), attribute
    predicted = found.predict(dask_X)
    assert isinstance(predicted, da.Array)
    np.testing.assert_allclose(predicted.compute(), found.predict(dask_X.compute()), rtol=1e-12, atol=1e-12)
    if kind == "dataframe":
        assert list(found.feature_names_in_) == [f"c{j}" for j in range(X.shape[1])]
        X = pd.DataFrame(X).add_prefix("c")
        expected = copy(expected)
        expected.feature_names_in_ = found.feature_names_in_
    agree(found, expected, X)
    pickle.loads(pickle.dumps(found)).predict(X)
