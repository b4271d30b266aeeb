"""Memory of a fit on a memory-mapped X: what the fit allocates itself, beside the pages of the file."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np

STATUS = Path("/proc/self/status")


def memory(options):
    """Fit in a fresh process and report its anonymous memory."""
    from measure import Block, Table, say

    n, d = (12_500, 1_000) if options.quick else (62_500, 1_000)
    table = Table(
        f"Anonymous memory of a fit on a memory map of {n * d * 8 / 1e6:.0f} MB",
        ["set", "before, MB", "peak, MB", "the fit adds, MB", "seconds", "iterations", "relative error"],
        note="RssAnon of a fresh process, sampled during the fit: what cannot be dropped, unlike pages of the file.",
    )
    if not STATUS.exists():
        table.note = "Needs Linux."
        return Block([table], [])
    records = []
    with tempfile.TemporaryDirectory() as folder:
        say(f"memory: writing {n} x {d}")
        _write(Path(folder), n, d)
        for name in ("L0Ball", "L1Ball"):
            say(f"memory: {name}")
            environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
            command = [sys.executable, __file__, folder, str(n), str(d), name]
            child = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            records.append(dict(block="memory", megabytes=n * d * 8 / 1e6) | json.loads(child.stdout))
    for r in records:
        sizes = [r["before"], r["peak"], r["peak"] - r["before"]]
        cells = [f"{r['seconds']:.2f}", str(r["iterations"]), f"{r['error']:.1e}"]
        table.rows.append([r["set"], *(f"{size:.0f}" for size in sizes), *cells])
    return Block([table], records)


def _write(folder, n, d):
    rng = np.random.default_rng(0)
    coef = np.zeros(d)
    coef[rng.permutation(d)[:20]] = rng.standard_normal(20)
    X = np.memmap(folder / "X", dtype=np.float64, mode="w+", shape=(n, d))
    for i in range(0, n, 1000):
        X[i : i + 1000] = rng.standard_normal((len(X[i : i + 1000]), d))
    X.flush()
    np.save(folder / "coef.npy", coef)
    np.save(folder / "y.npy", np.maximum(X @ coef, 0))


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


def child(folder, n, d, name):
    """Fit on the memory map and print what it took, as JSON."""
    from skrelu import ProjectedReLURegressor, constraints

    folder = Path(folder)
    X = np.memmap(folder / "X", dtype=np.float64, mode="r", shape=(int(n), int(d)))
    y, coef = np.load(folder / "y.npy"), np.load(folder / "coef.npy")
    sets = {"L0Ball": constraints.L0Ball(20), "L1Ball": constraints.L1Ball(float(np.abs(coef).sum()))}
    model = ProjectedReLURegressor(sets[name], fit_intercept=False)
    warnings.simplefilter("ignore")
    before = anonymous_megabytes()
    watch = Peak()
    watch.start()
    start = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - start
    peak = watch.end()
    error = float(np.linalg.norm(model.coef_ - coef) / np.linalg.norm(coef))
    result = dict(set=name, before=before, peak=peak, seconds=seconds, iterations=model.n_iter_, error=error)
    print(json.dumps(result))


if __name__ == "__main__":
    child(*sys.argv[1:])
