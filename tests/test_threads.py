"""Blocks in several threads: the same sums to the last bit, however many there are."""

import threading
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from skrelu import (
    OneHiddenLayerNet,
    OneHiddenLayerReLU,
    ProjectedReLURegressor,
    ProjectedReLURegressorCV,
    QuadraticNet,
    TwoLayerReLURecovery,
)
from skrelu.constraints import L1Ball
from skrelu.datasets import make_two_layer_relu
from skrelu.rows import Rows, memory

ESTIMATORS = [
    ProjectedReLURegressor(L1Ball(2.0)),
    ProjectedReLURegressorCV(L1Ball(), sizes=[0.5, 1.0]),
    OneHiddenLayerReLU(3, random_state=0),
    OneHiddenLayerNet(2, random_state=0, n_init=1),
    QuadraticNet(random_state=0),
    TwoLayerReLURecovery(3, random_state=0),
]


@pytest.fixture
def many_blocks(monkeypatch):
    monkeypatch.setattr(memory, "BLOCK_BYTES", 1)  # eight rows a block, the smallest


def moments(X, y, s, w):
    z = X @ w
    return float(s @ (z - y) ** 2), (s * z) @ X, X.T @ (s[:, None] * X)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n=st.integers(1, 400), group=st.integers(1, 9), threads=st.integers(2, 7), single=st.booleans())
def test_sums_are_the_same_to_the_last_bit(monkeypatch, n, group, threads, single):
    rng, dtype = np.random.default_rng(n), np.float32 if single else np.float64
    X, y, w = (rng.standard_normal(shape).astype(dtype) for shape in ((n, 3), n, 3))
    with monkeypatch.context() as patch:
        patch.setattr(memory, "BLOCK_BYTES", 1)
        patch.setattr(memory, "GROUP", group)
        rows = Rows(X, y, rng.integers(1, 3, n).astype(dtype))
        patch.setattr(memory, "n_threads", lambda: 1)
        expected = rows.sum(moments, w)
        patch.setattr(memory, "n_threads", lambda: threads)
        for a, b in zip(rows.sum(moments, w), expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_fits_are_the_same_to_the_last_bit(monkeypatch, many_blocks, estimator):
    X, y = make_two_layer_relu(200, 5, 3, 1, noise=0.1, random_state=0)
    y, fitted = np.ravel(y), []
    for threads in (1, 3):
        monkeypatch.setattr(memory, "n_threads", lambda threads=threads: threads)
        fitted.append(type(estimator)(**estimator.get_params(deep=False)).fit(X, y))
    one, three = fitted
    np.testing.assert_array_equal(one.predict(X), three.predict(X))
    assert one.loss_curve_ == three.loss_curve_


def test_several_threads_work_and_none_is_left(monkeypatch, many_blocks):
    monkeypatch.setattr(memory, "n_threads", lambda: 3)
    rows, workers = Rows(np.ones((8 * memory.GROUP * 3, 2)), np.ones(8 * memory.GROUP * 3)), set()
    barrier = threading.Barrier(3, timeout=60)

    def f(X, y, s):
        if threading.get_ident() not in workers:
            workers.add(threading.get_ident())
            barrier.wait()  # passes only if three threads are at work at the same time
        return (float(s.sum()),)

    before = threading.active_count()
    np.testing.assert_allclose(rows.sum(f)[0], 1)
    assert len(workers) == 3
    assert threading.get_ident() not in workers
    assert threading.active_count() == before


def test_blas_has_one_thread_meanwhile_and_its_own_afterwards(monkeypatch, many_blocks):
    def blas():
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    monkeypatch.setattr(memory, "n_threads", lambda: 2)
    rows, seen, before = Rows(np.ones((200, 2)), np.ones(200)), [], blas()
    rows.sum(lambda X, y, s: (seen.append(blas()) or 0.0,))
    assert seen
    assert all(numbers == [1] * len(before) for numbers in seen)
    assert blas() == before


def test_an_error_in_a_thread_is_told(monkeypatch, many_blocks):
    monkeypatch.setattr(memory, "n_threads", lambda: 2)
    rows, calls = Rows(np.ones((4000, 2)), np.ones(4000)), []

    def f(X, y, s):
        calls.append(1)
        raise ArithmeticError("block")

    with pytest.raises(ArithmeticError, match="block"):
        rows.sum(f)
    # Those under way end, the rest never begin.
    assert len(calls) < len(rows._blocks) / memory.GROUP


def test_threads_heed_the_floating_point_errors_of_the_fit(monkeypatch, many_blocks):
    monkeypatch.setattr(memory, "n_threads", lambda: 2)
    rows = Rows(np.full((100, 2), 1e200), np.ones(100))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with np.errstate(over="ignore"):
            assert rows.sum(lambda X, y, s: (float(np.sum(X * X)),))[0] == np.inf
        with np.errstate(over="raise"), pytest.raises(FloatingPointError):
            rows.sum(lambda X, y, s: (float(np.sum(X * X)),))
