"""Blocks in several threads: the same sums to the last bit, however many there are."""

import os
import threading
import time
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from skrelu import (
    OneHiddenLayerNet,
    OneHiddenLayerReLU,
    ProjectedReLURegressor,
    ProjectedReLURegressorCV,
    QuadraticNet,
    TwoLayerReLURecovery,
)
from skrelu.constraints import L1Ball
from skrelu.datasets import make_one_hidden_layer, make_two_layer_relu
from skrelu.rows import Rows, memory, threads
from skrelu.rows.threads import several_threads

ESTIMATORS = [
    ProjectedReLURegressor(L1Ball(2.0)),
    ProjectedReLURegressorCV(L1Ball(), sizes=[0.5, 1.0]),
    OneHiddenLayerReLU(3, random_state=0, n_init=1),
    OneHiddenLayerNet(2, random_state=0, n_init=1),
    QuadraticNet(random_state=0),
    TwoLayerReLURecovery(3, random_state=0, n_init=1),
]


@pytest.fixture
def many_blocks(monkeypatch):
    monkeypatch.setattr(memory, "BLOCK_BYTES", 1)  # eight rows a block, the smallest


def moments(X, y, s, w):
    z = X @ w
    return float(s @ (z - y) ** 2), (s * z) @ X, X.T @ (s[:, None] * X)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n=st.integers(1, 400), group=st.integers(1, 9), number=st.integers(2, 7), single=st.booleans())
def test_sums_are_the_same_to_the_last_bit(monkeypatch, n, group, number, single):
    rng, dtype = np.random.default_rng(n), np.float32 if single else np.float64
    X, y, w = (rng.standard_normal(shape).astype(dtype) for shape in ((n, 3), n, 3))
    with monkeypatch.context() as patch:
        patch.setattr(memory, "BLOCK_BYTES", 1)
        patch.setattr(memory, "GROUP", group)
        patch.setattr(threads, "n_threads", lambda: number)
        rows = Rows(X, y, rng.integers(1, 3, n).astype(dtype))
        expected = rows.sum(moments, w)
        with several_threads():
            found = rows.sum(moments, w)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "estimator",
    [
        pytest.param(e, id=type(e).__name__, marks=[pytest.mark.slow] if type(e) is ProjectedReLURegressorCV else [])
        for e in ESTIMATORS
    ],
)
def test_fits_are_the_same_to_the_last_bit(monkeypatch, many_blocks, estimator):
    X, y = make_two_layer_relu(80, 5, 3, 1, noise=0.1, random_state=0)
    y, fitted = np.ravel(y), []
    for number in (1, 3):
        monkeypatch.setattr(threads, "n_threads", lambda number=number: number)
        fitted.append(type(estimator)(**estimator.get_params(deep=False)).fit(X, y))
    one, three = fitted
    np.testing.assert_array_equal(one.predict(X), three.predict(X))
    assert one.loss_curve_ == three.loss_curve_


@pytest.fixture
def three_threads(monkeypatch):
    monkeypatch.setattr(threads, "n_threads", lambda: 3)


def test_several_threads_work_in_a_fit_and_none_is_left(three_threads, many_blocks, monkeypatch):
    workers, barrier, first = set(), threading.Barrier(3, timeout=60), memory._first_sizes

    def f(X, y, s):
        if threading.get_ident() not in workers:
            workers.add(threading.get_ident())
            barrier.wait()  # passes only if three threads are at work at the same time
        return first(X, y, s)

    monkeypatch.setattr(memory, "_first_sizes", f)
    before = threading.active_count()
    X, y = make_one_hidden_layer(8 * memory.GROUP * 3, 2, 1, random_state=0)
    OneHiddenLayerReLU(1, random_state=0).fit(X, y)
    assert len(workers) == 3
    assert threading.get_ident() not in workers
    assert threading.active_count() == before


def blas():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_blas_has_one_thread_meanwhile_and_its_own_afterwards(many_blocks):
    with threadpool_limits(2, user_api="blas"):
        before = blas()
        with several_threads():
            assert blas() == [1] * len(before)
        assert blas() == before


def test_fits_that_overlap_leave_blas_as_it_was():
    """The first that begins also ends first: the other one must not keep what it found."""
    with threadpool_limits(2, user_api="blas"):
        before, first, second = blas(), several_threads(), several_threads()
        for step, expected in (
            (first.__enter__, [1] * len(before)),
            (second.__enter__, [1] * len(before)),
            (lambda: first.__exit__(None, None, None), [1] * len(before)),
            (lambda: second.__exit__(None, None, None), before),
        ):
            step()
            assert blas() == expected


def test_an_error_in_a_thread_is_told(three_threads, many_blocks):
    rows, calls = Rows(np.ones((4000, 2)), np.ones(4000)), []

    def f(X, y, s):
        calls.append(1)
        raise ArithmeticError("block")

    with several_threads(), pytest.raises(ArithmeticError, match="block"):
        rows.sum(f)
    # Those under way end, the rest never begin.
    assert len(calls) < len(rows._blocks) / memory.GROUP


def test_threads_heed_the_floating_point_errors_of_the_fit(three_threads, many_blocks):
    rows = Rows(np.full((100, 2), 1e200), np.ones(100))
    with several_threads(), warnings.catch_warnings():
        warnings.simplefilter("error")
        with np.errstate(over="ignore"):
            assert rows.sum(lambda X, y, s: (float(np.sum(X * X)),))[0] == np.inf
        with np.errstate(over="raise"), pytest.raises(FloatingPointError):
            rows.sum(lambda X, y, s: (float(np.sum(X * X)),))


def test_predictions_in_threads(three_threads, many_blocks):
    X, y = make_two_layer_relu(200, 5, 3, 4, random_state=0)
    fitted = TwoLayerReLURecovery(3, random_state=0).fit(X, y)
    np.testing.assert_allclose(fitted.predict(X), y, atol=1e-9)
    assert fitted.predict(X, return_std=True)[1].shape == y.shape


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_process_forked_within_a_fit_works_alone(three_threads, many_blocks):
    """It has none of the threads: waiting for them would never end."""
    rows = Rows(np.ones((400, 2)), np.ones(400))
    with several_threads():
        rows.sum(lambda X, y, s: (s @ X,))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            total = rows.sum(lambda X, y, s: (s @ X,))[0]
            os._exit(int(not np.allclose(total, 1)))
        for _ in range(600):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            time.sleep(0.1)
        else:
            os.kill(child, 9)
    assert ended
    assert status == 0
