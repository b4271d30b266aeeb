"""Time of fits on dask arrays, files and memory maps, over that of the same fit in memory."""

import tempfile
import time
import warnings
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from measure import Block, Table, group, plant, say
from memory import Files

from skrelu import OneHiddenLayerReLU, ProjectedReLURegressor, QuadraticNet, TwoLayerReLURecovery
from skrelu.constraints import L0Ball
from skrelu.datasets import make_one_hidden_layer, make_quadratic, make_two_layer_relu

CHUNKS = 8
PROCESSES = 2  # of the cluster
ROUNDS, QUICK_ROUNDS = 5, 2
MEMORY, DASK = "in memory", "dask, threads"


def _one_relu(n):
    problem = plant("Gaussian", n, 0, n_features=500)
    return problem.X, problem.y


# Name: model, how n rows are made, n.
FITS = {
    "one ReLU, l0, d = 500": (partial(ProjectedReLURegressor, L0Ball(20), fit_intercept=False), _one_relu, 40_000),
    "one hidden layer, d = 50, k = 5": (
        partial(OneHiddenLayerReLU, 5, random_state=0),
        lambda n: make_one_hidden_layer(n, 50, 5, random_state=0),
        200_000,
    ),
    "quadratic, d = 50, k = 5": (
        partial(QuadraticNet, 5, random_state=0),
        lambda n: make_quadratic(n, 50, 5, random_state=0),
        200_000,
    ),
    "two layers, d = 50, k = 5, m = 5": (
        partial(TwoLayerReLURecovery, 5, random_state=0),
        lambda n: make_two_layer_relu(n, 50, 5, 5, random_state=0),
        100_000,
    ),
}


def out_of_memory(options):
    """Time of each source of X over that in memory, and the differences of the results."""
    table = Table(
        "Fits on dask arrays, files and memory maps",
        ["problem", "n", "X in", "seconds, fastest", "over in memory, fastest", "median", "difference"],
        note=f"Default parameters, in turn, {options.threads} thread(s), of dask, too; {CHUNKS} chunks. "
        f"Cluster: on this machine, {PROCESSES} processes, the array persisted. Files: a sequence of "
        f"{CHUNKS} .npy files, read anew in each pass. Median of the ratios within a round [quartiles]. Difference: of "
        "the predictions, over their size, against the fit in memory.",
    )
    records = []
    with warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore")
        client = stack.enter_context(_cluster(options))
        for name, (model, make, n) in FITS.items():
            records += _measure(name, model, make, n // 10 if options.quick else n, client, options)
    for (name, n), members in group(records, "problem", "n").items():
        memory = np.array(next(r["seconds"] for r in members if r["source"] == MEMORY))
        for r in members:
            low, median, high = np.percentile(np.array(r["seconds"]) / memory, [25, 50, 75])
            ratios = [f"{min(r['seconds']) / min(memory):.2f}", f"{median:.2f} [{low:.2f}, {high:.2f}]"]
            cells = [f"{min(r['seconds']):.3g}", *(ratios if r["source"] != MEMORY else ("", ""))]
            table.rows.append([name, str(n), r["source"], *cells, f"{r['difference']:.0e}"])
    return Block([table], records)


def _cluster(options):
    """Return a client of a cluster on this machine, of which processes begin once."""
    from distributed import Client

    return Client(n_workers=PROCESSES, threads_per_worker=1, processes=True, dashboard_address=None)


def _measure(name, model, make, n, client, options):
    """Return a record for each source."""
    import dask
    import dask.array as da

    X, y = make(n)
    rows = -(-n // CHUNKS)
    arrays = da.from_array(X, chunks=(rows, -1)), da.from_array(y, chunks=(rows, *y.shape[1:]))
    on_cluster = client.persist(arrays)

    def fit(X, y, **scheduler):
        with dask.config.set(**scheduler):
            return model().fit(X, y)

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.npy" for i in range(CHUNKS)]
        for i, path in enumerate(paths):
            np.save(path, X[i * rows : (i + 1) * rows])
        np.save(Path(folder) / "X.npy", X)
        sources = {
            MEMORY: partial(fit, X, y),
            DASK: partial(fit, *arrays, scheduler="threads", num_workers=options.threads),
            f"dask, cluster of {PROCESSES} processes": partial(fit, *on_cluster, scheduler=client),
            "memory map": partial(fit, np.load(Path(folder) / "X.npy", mmap_mode="r"), y),
            f"{CHUNKS} files": partial(fit, Files(paths), y),
        }
        seconds, predictions = {source: [] for source in sources}, {}
        for i in range(QUICK_ROUNDS if options.quick else ROUNDS):
            say(f"dask: {name}, n = {n}, round {i + 1}")
            for source, f in sources.items():
                start = time.perf_counter()
                fitted = f()
                seconds[source].append(time.perf_counter() - start)
                predictions[source] = fitted.predict(X[:2000])
    truth = predictions[MEMORY]
    return [
        dict(block="dask", problem=name, n=n, source=source, seconds=times)
        | dict(difference=float(np.linalg.norm(predictions[source] - truth) / np.linalg.norm(truth)))
        for source, times in seconds.items()
    ]
