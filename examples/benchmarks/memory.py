"""Memory of fits on data that are not in memory: what a fit allocates itself, beside the pages of the files."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np

STATUS = Path("/proc/self/status")
SIZE, QUICK_SIZE = 250_000_000, 12_500_000  # numbers in X: 2 GB, 100 MB
LIMIT = 300  # MB that a fit may add
K, M = 5, 5
FILES = 64  # of X as a sequence of files, or as the chunks of a dask array: 31 MB each
# Name of a fit: features of X, and the targets that it is given.
FITS = {
    "ProjectedReLURegressor, L0Ball": (1_000, "relu"),
    "ProjectedReLURegressor, L1Ball": (1_000, "relu"),
    "ProjectedReLURegressorCV": (1_000, "relu"),
    "OneHiddenLayerReLU": (200, "net"),
    "OneHiddenLayerNet": (200, "smooth"),
    "QuadraticNet": (200, "quadratic"),
    "TwoLayerReLURecovery": (200, "two"),
}
SOURCES = ("memory map", "files", "dask")
OF_SOURCES = ("ProjectedReLURegressor, L0Ball", "OneHiddenLayerReLU")  # those that are also fitted on other sources
QUICK_FITS = ("ProjectedReLURegressor, L0Ball", "OneHiddenLayerReLU", "QuadraticNet", "TwoLayerReLURecovery")


def memory(options):
    """Fit in fresh processes and report their anonymous memory."""
    from measure import Block, Table, say

    size = QUICK_SIZE if options.quick else SIZE
    table = Table(
        f"Anonymous memory of a fit on {size * 8 / 1e6:.0f} MB that are not in memory",
        ["method", "X in", "n", "d", "before, MB", "peak, MB", "the fit adds, MB", "seconds", "relative error"],
        note="RssAnon of a fresh process, sampled during the fit: what cannot be dropped, unlike pages of files. "
        f"Before: libraries and y. Files: a sequence of {FILES} .npy files, read one after the other. Dask: chunks are "
        "maps of these files.",
    )
    if not STATUS.exists():
        table.note = "Needs Linux."
        return Block([table], [])
    records = []
    with tempfile.TemporaryDirectory() as folder:
        for d in dict.fromkeys(d for d, _ in FITS.values()):
            say(f"memory: writing {size // d} x {d}")
            _write(Path(folder), size // d, d)
        for source in SOURCES:
            for name, (d, _) in FITS.items():
                if name in (QUICK_FITS if options.quick else FITS) and (source == SOURCES[0] or name in OF_SOURCES):
                    say(f"memory: {name}, {source}")
                    common = dict(block="memory", method=name, source=source, n=size // d, d=d)
                    result = _in_a_process(folder, size // d, name, source, options)
                    records.append(common | dict(megabytes=size * 8 / 1e6) | result)
    for r in records:
        sizes = [r["before"], r["peak"], r["peak"] - r["before"]]
        cells = [f"{r['seconds']:.2f}", f"{r['error']:.1e}"]
        table.rows.append([r["method"], r["source"], str(r["n"]), str(r["d"]), *(f"{s:.0f}" for s in sizes), *cells])
    return Block([table], records)


def _in_a_process(folder, n, name, source, options):
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    command = [sys.executable, __file__, folder, str(n), name, source]
    child = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(child.stdout)


def _write(folder, n, d):
    """Write X once as a map and once as files, and the targets of all planted networks on it."""
    rng, rng_x = np.random.default_rng(0), np.random.default_rng(1)
    coef = np.zeros(d)
    coef[rng.permutation(d)[:20]] = rng.standard_normal(20) / np.sqrt(20)
    W, signs = rng.standard_normal((K, d)) / np.sqrt(d), rng.choice([-1.0, 1.0], K)
    U = rng.standard_normal((M, K))
    np.savez(folder / f"truth{d}.npz", coef=coef, W=W, signs=signs)
    X = np.lib.format.open_memmap(folder / f"X{d}.npy", mode="w+", dtype=np.float64, shape=(n, d))
    targets = {key: np.empty((n, M) if key == "two" else n) for key in ("relu", "net", "smooth", "quadratic", "two")}
    for rows in _bounds(n, FILES * 16):
        block = X[rows] = rng_x.standard_normal((rows.stop - rows.start, d))
        Z = block @ W.T
        targets["relu"][rows] = np.maximum(block @ coef, 0)
        targets["net"][rows] = np.maximum(Z, 0) @ signs
        targets["smooth"][rows] = np.tanh(Z) @ signs
        targets["quadratic"][rows] = Z**2 @ signs
        targets["two"][rows] = np.maximum(Z, 0) @ U.T
    X.flush()
    for key, y in targets.items():
        np.save(folder / f"{key}{d}.npy", y)
    for i, rows in enumerate(_bounds(n, FILES)):
        np.save(folder / f"X{d}_{i}.npy", X[rows])


def _bounds(n, pieces):
    edges = np.linspace(0, n, pieces + 1).astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


def anonymous_megabytes():
    """Return RssAnon of this process."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1e3


class Peak(threading.Thread):
    """Samples the anonymous memory while it runs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self._done = anonymous_megabytes(), threading.Event()

    def run(self):
        while not self._done.wait(0.002):
            self.peak = max(self.peak, anonymous_megabytes())

    def end(self):
        self._done.set()
        self.join()
        return max(self.peak, anonymous_megabytes())


def model_and_error(name, truth):
    """Return the estimator and the function of the relative error of its weights."""
    import skrelu
    from skrelu.metrics import recovery_error

    coef, W, signs = (truth[key] for key in ("coef", "W", "signs"))
    matrix = (W.T * signs) @ W
    sets = {"L0Ball": skrelu.constraints.L0Ball(20), "L1Ball": skrelu.constraints.L1Ball(float(np.abs(coef).sum()))}
    if name.startswith("Projected"):
        _, _, constraint = name.partition(", ")
        if constraint:
            model = skrelu.ProjectedReLURegressor(sets[constraint], fit_intercept=False)
        else:  # few sizes and folds: a fit of many takes no more memory, but longer
            radius = sets["L1Ball"].radius
            model = skrelu.ProjectedReLURegressorCV(sizes=[radius / 2, radius], cv=2, fit_intercept=False)
        return model, lambda fitted: recovery_error(coef, fitted.coef_)

    def of_units(fitted):
        return recovery_error(W, fitted.hidden_coef_, sign_invariant=name == "OneHiddenLayerNet")

    if name == "OneHiddenLayerNet":
        return skrelu.OneHiddenLayerNet(K, activation="tanh", random_state=0), of_units
    errors = {
        "OneHiddenLayerReLU": of_units,
        "QuadraticNet": lambda fitted: np.linalg.norm(fitted.matrix_ - matrix) / np.linalg.norm(matrix),
        "TwoLayerReLURecovery": lambda fitted: recovery_error(
            W / np.linalg.norm(W, axis=1)[:, None], fitted.hidden_coef_
        ),
    }
    return getattr(skrelu, name)(K, random_state=0), errors[name]


class Files:
    """A sequence of arrays, each read from its file when asked for."""

    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        return np.load(self.paths[i])


def open_data(folder, n, d, key, source):
    """Return X and y of a source."""
    y = np.load(folder / f"{key}{d}.npy")
    paths, rows = [folder / f"X{d}_{i}.npy" for i in range(FILES)], _bounds(n, FILES)
    if source == "files":
        return Files(paths), y
    if source == "dask":
        return _dask_arrays(paths, [piece.stop - piece.start for piece in rows], d, y)
    return np.load(folder / f"X{d}.npy", mmap_mode="r"), y


def _dask_arrays(paths, lengths, d, y):
    """Return X of maps of files, which dask does not copy as it does one map, and y in the same chunks."""
    import dask.array as da
    from dask import delayed

    load = delayed(np.load)
    pieces = [
        da.from_delayed(load(path, mmap_mode="r"), (n, d), np.float64) for path, n in zip(paths, lengths, strict=True)
    ]
    return da.concatenate(pieces), da.from_array(y, chunks=(tuple(lengths), *y.shape[1:]))


def child(folder, n, name, source):
    """Fit and print what it took, as JSON."""
    folder, (d, key) = Path(folder), FITS[name]
    model, error = model_and_error(name, np.load(folder / f"truth{d}.npz"))
    X, y = open_data(folder, int(n), d, key, source)
    warnings.simplefilter("ignore")
    before = anonymous_megabytes()
    watch = Peak()
    watch.start()
    start = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - start
    peak = watch.end()
    print(json.dumps(dict(before=before, peak=peak, seconds=seconds, error=float(error(model)))))


if __name__ == "__main__":
    child(*sys.argv[1:])
