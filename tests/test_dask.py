"""Dask arrays and dataframes: the same fit as in memory, one task graph a pass, on threads and on a cluster."""

import os
import signal
from itertools import pairwise

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skrelu import OneHiddenLayerReLU, ProjectedReLURegressor, TwoLayerReLURecovery
from skrelu.datasets import make_one_hidden_layer, make_two_layer_relu
from skrelu.rows import partitions
from skrelu.rows.partitions import FAN_IN, PartitionedRows
from skrelu.rows.read import read

X, Y = make_one_hidden_layer(300, 6, 2, random_state=0)


def agree(found, expected):
    """The same network to rounding."""
    scale = np.abs(Y).max()
    np.testing.assert_allclose(found.predict(X), expected.predict(X), atol=1e-9 * scale, rtol=0)
    assert abs(found.loss_ - expected.loss_) <= 1e-9 * scale**2


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.differing_executors])
@given(cuts=st.lists(st.integers(0, 60), max_size=20), seed=st.integers(0, 5), threads=st.booleans())
def test_sums_do_not_hang_on_chunks_or_scheduler(cuts, seed, threads):
    rng = np.random.default_rng(seed)
    X, y, s = rng.standard_normal((60, 3)), rng.standard_normal(60), rng.integers(0, 3, 60)
    s[0], bounds = 1, sorted({0, 60, *cuts})
    chunks = tuple(j - i for i, j in pairwise(bounds))
    with dask.config.set(scheduler="threads" if threads else "synchronous"):
        whole, _ = read(ProjectedReLURegressor(), X, y, s)
        parts, _ = read(ProjectedReLURegressor(), da.from_array(X, chunks=(chunks, 3)), y, da.from_array(s, chunks=60))
        assert isinstance(parts, PartitionedRows)

        def f(X, y, s, w):
            return float(s @ (X @ w - y) ** 2), X.T @ (s[:, None] * X)

        for a, b in zip(parts.sum(f, X[0]), whole.sum(f, X[0]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)
        np.testing.assert_array_equal(parts.sum(f, X[0])[1], parts.sum(f, X[0])[1])
        np.testing.assert_array_equal(parts.each(lambda X, y: y), y)
        factors = rng.integers(0, 2, 60) * 1.0
        factors[s > 0] = 1
        np.testing.assert_allclose(
            parts.reweighted(factors).sum(f, X[0])[0], whole.reweighted(factors).sum(f, X[0])[0], rtol=1e-13
        )


def test_a_pass_is_one_graph_of_few_tasks():
    X, n_parts, asked = np.ones((200, 2)), 20, []

    def get(graph, keys, **options):
        asked.append(len(graph))
        return dask.get(graph, keys, **options)

    rows, _ = read(ProjectedReLURegressor(), da.from_array(X, chunks=(10, 2)), np.ones(200))
    with dask.config.set(scheduler=get):
        (total,) = rows.sum(lambda X, y, s: (s @ X,))
    np.testing.assert_allclose(total, 1)
    # The partitions, their weights, a sum of each, and sums of sums.
    levels = [-(-n_parts // FAN_IN), 1]
    assert asked == [3 * n_parts + sum(levels)]


def test_sums_may_be_written_to():
    """Schedulers of other processes hand out arrays that may not."""

    def get(graph, keys, **options):
        found = dask.get(graph, keys, **options)
        for part in found:
            part.flags.writeable = False
        return found

    rows, _ = read(ProjectedReLURegressor(), da.from_array(np.ones((20, 2)), chunks=(10, 2)), np.ones(20))
    with dask.config.set(scheduler=get):
        (total,) = rows.sum(lambda X, y, s: (s @ X,))
    total += 1
    np.testing.assert_allclose(total, 2)


def test_partitions_are_computed_once_if_memory_holds_them(monkeypatch):
    loaded = []

    def counted(block):
        loaded.append(len(block))
        return block

    X_dask = da.from_array(X, chunks=(100, -1)).map_blocks(counted, meta=np.empty((0, 0)))
    expected = OneHiddenLayerReLU(2, random_state=0).fit(X, Y)
    agree(OneHiddenLayerReLU(2, random_state=0).fit(X_dask, Y), expected)
    assert sum(loaded) == len(X)
    monkeypatch.setattr(partitions, "HELD", 0.0)
    agree(OneHiddenLayerReLU(2, random_state=0).fit(X_dask, Y), expected)
    assert sum(loaded) > 5 * len(X)


def test_return_std_and_several_outputs():
    X, y = make_two_layer_relu(300, 6, 2, 3, random_state=0)
    rng = np.random.default_rng(0)
    y = y + rng.standard_normal(y.shape)
    fitted = TwoLayerReLURecovery(2, alpha=0, random_state=0).fit(X, y)
    found = fitted.predict(da.from_array(X, chunks=(100, -1)), return_std=True)
    for a, b in zip(found, fitted.predict(X, return_std=True), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a.compute(), b, rtol=1e-12)


def test_single_precision_stays():
    single, y = X.astype(np.float32), Y.astype(np.float32)
    fitted = ProjectedReLURegressor().fit(da.from_array(single, chunks=(100, -1)), da.from_array(y, chunks=100))
    assert fitted.coef_.dtype == np.float32
    assert fitted.predict(da.from_array(single, chunks=(100, -1))).dtype == np.float32


BAD = {
    "NaN": (lambda X, y: (da.from_array(X * np.nan, chunks=(100, -1)), y), "NaN"),
    "y NaN": (lambda X, y: (da.from_array(X, chunks=(100, -1)), y * np.nan), "NaN"),
    "length": (lambda X, y: (da.from_array(X, chunks=(100, -1)), y[:-1]), "y: 300 rows are needed"),
    "dask length": (
        lambda X, y: (da.from_array(X, chunks=(100, -1)), da.from_array(y[:-1], chunks=50)),
        "y: 300 rows are needed",
    ),
    "outputs": (lambda X, y: (da.from_array(X, chunks=(100, -1)), np.column_stack([y, y])), "one output is needed"),
    "one dimension": (lambda X, y: (da.from_array(y, chunks=100), y), "two dimensions are needed"),
    "no y": (lambda X, y: (da.from_array(X, chunks=(100, -1)), None), "y: none is given"),
    "no rows": (lambda X, y: (da.from_array(X[:0], chunks=(100, -1)), y[:0]), "at least one row"),
    "rows of a partition": (
        lambda X, y: (
            dd.from_map(pd.DataFrame, [X[:100], X[100:]], meta=pd.DataFrame(X[:0])),
            dd.from_map(pd.Series, [y[:150], y[150:]], meta=pd.Series(y[:0])),
        ),
        r"y: a partition has \d+ rows, that of X [12]00",
    ),
    "partitions": (
        lambda X, y: (dd.from_pandas(pd.DataFrame(X), npartitions=4), dd.from_pandas(pd.Series(y), npartitions=3)),
        "y: 4 partitions are needed",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        OneHiddenLayerReLU(2).fit(*make(X, Y))


def test_one_column_of_outputs_is_one_output():
    blocks = da.from_array(X, chunks=(100, -1))
    flat, column = (OneHiddenLayerReLU(2, random_state=0).fit(blocks, y) for y in (Y, da.from_array(Y[:, None])))
    np.testing.assert_array_equal(column.predict(X), flat.predict(X))


def test_columns_are_checked_at_prediction():
    table = dd.from_pandas(pd.DataFrame(X).add_prefix("c"), npartitions=3)
    fitted = ProjectedReLURegressor().fit(table, Y)
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(table.rename(columns={"c0": "z"}))
    with pytest.raises(ValueError, match="now missing"):
        fitted.predict(table[["c0", "c1"]])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning:distributed")
def test_a_worker_that_dies_during_the_fit_does_not_stop_it(monkeypatch):
    """On a cluster of two processes: equal to the fit in memory, also when one of them is killed on the way."""
    expected = OneHiddenLayerReLU(2, random_state=0).fit(X, Y)
    n_passes, pass_ = [], PartitionedRows.sum
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        victim = next(iter(cluster.workers.values())).pid

        def sum_(self, f, *parameters):
            n_passes.append(1)
            if len(n_passes) == 4:
                os.kill(victim, signal.SIGKILL)
            return pass_(self, f, *parameters)

        monkeypatch.setattr(PartitionedRows, "sum", sum_)
        found = OneHiddenLayerReLU(2, random_state=0).fit(da.from_array(X, chunks=(70, 4)), da.from_array(Y, chunks=70))
        agree(found, expected)
        assert len(n_passes) > 8
        predicted = found.predict(da.from_array(X, chunks=(70, 4))).compute()
    np.testing.assert_allclose(predicted, expected.predict(X), atol=1e-9)
