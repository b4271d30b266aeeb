"""Planted problems, fair timing and success counts: what every block of the benchmark shares."""

import os
import platform
import subprocess
import sys
import time
import warnings
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
from threadpoolctl import threadpool_info

import skrelu
from skrelu.datasets import make_relu_regression
from skrelu.metrics import recovery_error
from skrelu.networks import SingleReLU
from skrelu.rows import Rows

LAWS = ("Gaussian", "+-1", "+-(.5+U)")  # laws of the nonzero weights, in the order of the tables
RECOVERED, EXACT = 1e-6, 1e-10  # relative errors that count as success
NEAR = 1e-2  # relative error of the right network, not yet finished


@dataclass(frozen=True)
class Problem:
    """Data with a planted ReLU, and what a peer may be told about it.

    Attributes
    ----------
    X, y : ndarray
    coef : ndarray
        The planted weights, of unit norm.
    sigma : float
        Standard deviation of the noise.
    seed : int
    """

    X: np.ndarray
    y: np.ndarray
    coef: np.ndarray
    sigma: float = 0.0
    seed: int = 0

    @property
    def n_nonzero(self):
        return int(np.count_nonzero(self.coef))

    @property
    def radius(self):
        return float(np.abs(self.coef).sum())

    def error(self, coef):
        """Return the relative Euclidean error of weights."""
        return recovery_error(self.coef, coef)


def planted_coef(law, n_features, n_nonzero, seed):
    """Return weights of unit norm whose nonzero entries, at random places, follow one of `LAWS`."""
    rng = np.random.default_rng([seed, LAWS.index(law)])
    signs = rng.choice([-1.0, 1.0], n_nonzero)
    sizes = {
        "Gaussian": np.abs(rng.standard_normal(n_nonzero)),
        "+-1": np.ones(n_nonzero),
        "+-(.5+U)": 0.5 + rng.uniform(size=n_nonzero),
    }[law]
    coef = np.zeros(n_features)
    coef[rng.permutation(n_features)[:n_nonzero]] = signs * sizes
    return coef / np.linalg.norm(coef)


def plant(law, n_samples, seed, *, n_features=1000, n_nonzero=20, sigma=0.0):
    """Return the problem of one seed; with the same seed a larger one begins with the rows of a smaller one."""
    coef = planted_coef(law, n_features, n_nonzero, seed)
    X, y = make_relu_regression(n_samples, coef=coef, noise=sigma, random_state=seed)
    return Problem(X, y, coef, sigma, seed)


@dataclass
class Table:
    """A table for readers.

    Attributes
    ----------
    title : str
    columns : list of str
    rows : list of list of str
    note : str
        What the columns mean, under the table.
    """

    title: str
    columns: list
    rows: list = field(default_factory=list)
    note: str = ""


@dataclass
class Block:
    """What a block of the benchmark returns: tables for readers, records for programs."""

    tables: list
    records: list


@dataclass(frozen=True)
class Contender:
    """A method under test.

    Attributes
    ----------
    name : str
    fit : callable Problem -> weights
    share : float
        Fraction of the seeds that it gets: less than 1 for slow ones.
    ours : bool
    """

    name: str
    fit: object
    share: float = 1.0
    ours: bool = False


def say(text):
    """Show progress."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def timed(f, *args, enough_ms=50.0):
    """Return ``f(*args)``, its milliseconds (median of the calls) and the number of calls: three if quick, else one."""
    times = []
    while len(times) < 3 and sum(times) < enough_ms:
        start = time.perf_counter()
        result = f(*args)
        times.append(1e3 * (time.perf_counter() - start))
    return result, float(np.median(times)), len(times)


@contextmanager
def counted_passes():
    """Yield a list to which every pass of `skrelu` over X appends one entry."""
    passes = []

    def counting(method, n_passes):
        def counted(self, *args, **kwargs):
            passes.extend([method.__name__] * n_passes)
            return method(self, *args, **kwargs)

        return counted

    single = ("value_and_gradient", "values", "gauss_newton", "gauss_newton_product")
    with ExitStack() as stack:
        for name in single:
            stack.enter_context(mock.patch.object(SingleReLU, name, counting(getattr(SingleReLU, name), 1)))
        stack.enter_context(mock.patch.object(Rows, "column_statistics", counting(Rows.column_statistics, 2)))
        yield passes


def race(setting, contenders, problems, more=None):
    """Return a record for each contender and problem; on each problem all run one after another, in rotating order.

    Machines have other users: only times that were taken side by side are comparable.

    Parameters
    ----------
    setting : dict
        Goes into every record.
    contenders : list of Contender
    problems : list of Problem
    more : callable (problem, weights) -> dict, optional
        What else goes into a record.
    """
    records = []
    with warnings.catch_warnings(), np.errstate(all="ignore"), counted_passes() as passes:
        warnings.simplefilter("ignore")
        for i, problem in enumerate(problems):
            shift = i % len(contenders)
            for c in contenders[shift:] + contenders[:shift]:
                if i >= max(1, round(c.share * len(problems))):
                    continue
                passes.clear()
                coef, ms, calls = timed(c.fit, problem)
                result = dict(error=problem.error(coef), ms=ms, passes=len(passes) // calls)
                result |= more(problem, coef) if more else {}
                records.append(setting | dict(method=c.name, ours=c.ours, seed=problem.seed) | result)
    return records


def group(records, *keys):
    """Return the records by the values of some of their keys, in order of appearance."""
    groups = defaultdict(list)
    for record in records:
        groups[tuple(record[key] for key in keys)].append(record)
    return groups


def successes(records):
    """Return e.g. "19/20 (18)": errors below `RECOVERED`, trials, errors below `EXACT`."""
    errors = np.array([record["error"] for record in records])
    return f"{np.sum(errors < RECOVERED)}/{len(errors)} ({np.sum(errors < EXACT)})"


def quartiles(values):
    """Return the median [quartiles]."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return f"{median:.2g} [{low:.2g}, {high:.2g}]"


def success_cells(records, bound=RECOVERED):
    """Return success, near successes, seconds, the largest, and seconds for a success; below the bound is success."""
    errors = np.array([record["error"] for record in records])
    seconds = np.array([record["ms"] for record in records]) / 1e3
    hits = np.sum(errors < bound)
    counts = [f"{hits}/{len(errors)}", f"{np.sum(errors < NEAR)}/{len(errors)}"]
    return [*counts, quartiles(seconds), f"{max(seconds):.2g}", f"{sum(seconds) / hits:.2g}" if hits else "-"]


def milliseconds(records):
    """Return the median time and its quartiles."""
    low, median, high = np.percentile([record["ms"] for record in records], [25, 50, 75])
    return f"{median:.3g} [{low:.3g}, {high:.3g}]"


def time_ratio(ours, peer, *keys, bound=RECOVERED):
    """Return our time over a peer's where both errors are below the bound: median of the ratios [quartiles]."""
    pairs = common_successes(ours, peer, *keys, bound=bound)
    if not pairs:
        return "-"
    mine, other = np.array(pairs).T
    low, median, high = np.percentile(mine / other, [25, 50, 75])
    return f"{median:.2g} [{low:.2g}, {high:.2g}]"


def common_successes(ours, peer, *keys, bound=RECOVERED):
    """Return (our time, its time) for the problems on which both errors are below the bound."""
    times = {tuple(record[key] for key in (*keys, "seed")): record["ms"] for record in ours if record["error"] < bound}
    labelled = [(tuple(record[key] for key in (*keys, "seed")), record) for record in peer]
    return [(times[key], record["ms"]) for key, record in labelled if key in times and record["error"] < bound]


def interleaved(functions, rounds):
    """Return the milliseconds of each of several functions, an array (rounds, functions), taken in turn."""
    for f in functions:
        f()
    times = np.empty((rounds, len(functions)))
    for i in range(rounds):
        for j, f in enumerate(functions):
            start = time.perf_counter()
            f()
            times[i, j] = 1e3 * (time.perf_counter() - start)
    return times


def machine():
    """Return versions of the software and what is known of the machine."""
    packages = {name: version(name) for name in ("numpy", "scipy", "scikit-learn")} | {"skrelu": skrelu.__version__}
    here = Path(__file__).parent
    commit = _output("git", "-C", str(here), "rev-parse", "HEAD")
    changed = _output("git", "-C", str(here), "status", "--porcelain", "skrelu")
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "python": platform.python_version(),
        "packages": packages,
        "commit": commit + (" (changed)" if changed else ""),
        "platform": platform.platform(),
        "cpu": models[0] if models else platform.processor(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "thread_pools": [
            {key: pool.get(key) for key in ("internal_api", "version", "num_threads", "architecture")}
            for pool in threadpool_info()
        ],
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
