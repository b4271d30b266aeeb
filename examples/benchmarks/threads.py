"""Several threads: over blocks of rows, as in a fit, or within BLAS, against one."""

import time
import warnings
from contextlib import contextmanager, nullcontext
from unittest import mock

from measure import Block, Table, say
from threadpoolctl import threadpool_limits

from skrelu import OneHiddenLayerReLU, ProjectedReLURegressor, TwoLayerReLURecovery, datasets
from skrelu.constraints import L0Ball
from skrelu.rows import threads as of_rows

N_THREADS = 2
# Problem: the estimator, and how its data are made of a number of rows.
CASES = {
    "one ReLU, l0, 20 000 x 1000": (
        ProjectedReLURegressor(L0Ball(20)),
        lambda share: datasets.make_relu_regression(20_000 // share, 1000, n_nonzero=20, random_state=0),
    ),
    "one hidden layer, d = 100, k = 20, n = 50 000": (
        OneHiddenLayerReLU(20, random_state=0),
        lambda share: datasets.make_one_hidden_layer(50_000 // share, 100, 20, random_state=0),
    ),
    "one hidden layer, noise, d = 20, k = 5, n = 50 000": (
        OneHiddenLayerReLU(5, random_state=0),
        lambda share: datasets.make_one_hidden_layer(50_000 // share, 20, 5, noise=0.1, random_state=0),
    ),
    "two layers, d = 100, k = m = 10, n = 20 000": (
        TwoLayerReLURecovery(10, random_state=0),
        lambda share: datasets.make_two_layer_relu(20_000 // share, 100, 10, 10, random_state=0),
    ),
}


def threads(options):
    """Time of the same fits with one thread, with threads over blocks, and with threads of BLAS."""
    table = Table(
        f"Fits with {N_THREADS} threads",
        ["problem", "one thread, s", "as in a fit, over one thread", "threads of BLAS, over one thread"],
        note="Wall time, the fastest of three, taken in turn. One ReLU has one thread in any fit.",
    )
    records = []
    for name, (estimator, make) in CASES.items():
        say(f"threads: {name}")
        data, seconds = make(5 if options.quick else 1), {}
        for _ in range(3):
            for way, context in _ways().items():
                with context, warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    start = time.perf_counter()
                    estimator.fit(*data)
                    seconds.setdefault(way, []).append(time.perf_counter() - start)
        one, blocks, blas = (min(values) for values in seconds.values())
        records.append(dict(block="threads", problem=name, seconds=seconds))
        table.rows.append([name, f"{one:.2f}", f"{blocks / one:.2f}", f"{blas / one:.2f}"])
    return Block([table], records)


def _ways():
    """Return contexts: one thread, threads over blocks, threads of BLAS alone."""
    return {"one": _limited(1), "blocks": _limited(N_THREADS), "BLAS": _blas_alone()}


@contextmanager
def _limited(n):
    with threadpool_limits(n):
        yield


@contextmanager
def _blas_alone():
    alone = {"n_threads": lambda: 1, "_ONE_BLAS_THREAD": nullcontext()}
    with mock.patch.multiple(of_rows, **alone), threadpool_limits(N_THREADS):
        yield
