"""The cost of one pass over X, value and gradient of one ReLU, against what a pass must cost at least."""

import numpy as np
from measure import Block, Table, interleaved, say

from skrelu.networks import SingleReLU
from skrelu.rows import BLOCK_BYTES, Rows

SHAPES = ((20_000, 1_000), (200_000, 50), (2_000, 1_000))
GROWTH = (((n, 500) for n in (2_500, 5_000, 10_000, 20_000, 40_000)), ((5_000, d) for d in (50, 200, 800, 3_200)))


def bare_fused_pass(X, y, w):
    """Return loss and gradient of one ReLU, block by block: the least that NumPy needs."""
    step = max(8, BLOCK_BYTES // (X.shape[1] * X.itemsize))
    value, gradient = 0.0, np.zeros_like(w)
    for i in range(0, len(X), step):
        X_b, y_b = X[i : i + step], y[i : i + step]
        z = X_b @ w
        residual = np.maximum(z, 0) - y_b
        value += residual @ residual
        gradient += (residual * (z > 0)) @ X_b
    return value / (2 * len(X)), gradient / len(X)


def two_products(X, y, w):
    """Return the same from two products with the whole X."""
    z = X @ w
    residual = np.maximum(z, 0) - y
    return residual @ residual / (2 * len(X)), (residual * (z > 0)) @ X / len(X)


def _data(n, d, dtype):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), dtype=np.float32 if dtype == "float32" else np.float64)
    w = rng.standard_normal(d).astype(dtype) / np.sqrt(d).astype(dtype)
    return X, np.maximum(X @ w, 0), w + w[::-1] / 4


def _contenders(X, y, w):
    objective = SingleReLU(Rows(X, y), fit_intercept=False)
    flat = X.ravel()
    return {
        "ours": lambda: objective.value_and_gradient(w),
        "bare fused loop": lambda: bare_fused_pass(X, y, w),
        "two products": lambda: two_products(X, y, w),
        "X.sum()": X.sum,
        "x @ x": lambda: flat @ flat,
    }


def passes(options):
    """Time of a pass over that of reads and of the bare loops."""
    table = Table(
        f"A pass over X (value and gradient), {options.threads} thread(s)",
        ["n", "d", "dtype", "MB", "ours, ms", "GB/s", "/ bare fused loop", "/ two products", "/ x @ x", "/ X.sum()"],
        note="Ratios of our time to that of the column, taken in turn: median [quartiles]. x @ x reads at the speed "
        "of the memory; X.sum() adds pairwise and is limited by its additions. float32 has half the bytes.",
    )
    records = []
    for n, d in SHAPES:
        for dtype in ("float64", "float32"):
            n_rows = n // 10 if options.quick and n > 10_000 else n
            say(f"pass: {n_rows} x {d}, {dtype}")
            record, times, names = _measure(n_rows, d, dtype, rounds=9 if options.quick else 31)
            records.append(record | dict(threads=options.threads))
            ours = times[:, 0]
            ratios = [_ratio(ours, times[:, names.index(name)]) for name in names[1:]]
            speed = record["megabytes"] / np.median(ours)
            cells = [f"{record['megabytes']:.0f}", f"{np.median(ours):.3g}", f"{speed:.1f}"]
            table.rows.append([str(n_rows), str(d), dtype, *cells, ratios[0], ratios[1], ratios[3], ratios[2]])
    growth, more = _growth(options)
    return Block([table, growth], records + more)


def _measure(n, d, dtype, rounds):
    X, y, w = _data(n, d, dtype)
    contenders = _contenders(X, y, w)
    times = interleaved(list(contenders.values()), rounds)
    medians = dict(zip(contenders, np.median(times, axis=0).tolist(), strict=True))
    return dict(block="pass", n=n, d=d, dtype=dtype, megabytes=X.nbytes / 1e6, ms=medians), times, list(contenders)


def _ratio(ours, other):
    low, median, high = np.percentile(ours / other, [25, 50, 75])
    return f"{median:.2f} [{low:.2f}, {high:.2f}]"


def _growth(options):
    table = Table(
        f"Growth of a pass with n and d, float64, {options.threads} thread(s)",
        ["n", "d", "ours, ms", "ours, ns an entry", "bare fused loop, ns an entry"],
        note="Linear growth is a constant time an entry; matrices that fit in the cache are cheaper.",
    )
    records = []
    for n, d in (shape for shapes in GROWTH for shape in shapes):
        if options.quick and n * d > 5_000_000:
            continue
        say(f"pass: growth, {n} x {d}")
        record, times, _ = _measure(n, d, "float64", rounds=5 if options.quick else 15)
        records.append(record | dict(block="growth", threads=options.threads))
        ours, bare = np.median(times[:, :2], axis=0)
        nanoseconds = 1e6 / (n * d)
        table.rows.append([str(n), str(d), f"{ours:.3g}", f"{ours * nanoseconds:.3f}", f"{bare * nanoseconds:.3f}"])
    return table, records
