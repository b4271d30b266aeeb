"""The cost of a pass on a torch device, against what its memory and its products cost there, and against NumPy."""

import numpy as np
from measure import Block, Table, interleaved, say
from sklearn.externals.array_api_compat import get_namespace

from skrelu import activations
from skrelu.networks import OneHiddenLayer, SingleReLU
from skrelu.rows import Rows
from skrelu.rows.device import DeviceRows
from skrelu.whitening import whitening

# Rows, columns, units: what a GPU is for, and what two cores can wait for.
GPU_SHAPES = ((4_000_000, 100, 20), (1_000_000, 500, 50))
CPU_SHAPES = ((200_000, 100, 20), (50_000, 500, 50))
ROUNDS, QUICK_ROUNDS = 21, 5
OURS = ("one ReLU", "hidden layer")


def device(options):
    """Time of the passes of one ReLU and of a hidden layer, of a copy of X, and of the two bare products."""
    import torch

    on_gpu = torch.cuda.is_available()
    where = torch.device("cuda" if on_gpu else "cpu")
    name = torch.cuda.get_device_name(where) if on_gpu else "the CPU, for want of a GPU"
    if not on_gpu:
        torch.set_num_threads(options.threads)
    table = Table(
        f"Passes (value and gradient) with torch {torch.__version__} on {name}",
        ["n", "d", "k", "dtype", "what", "ms, fastest", "GB/s of X", "over the copy of X", "NumPy / this"],
        note="Taken in turn, fastest of the rounds. A pass ends when its sums are on the host. Copy: X is read and "
        "written. Products: W X' and R X, (k, n) x (n, d), and nothing else. NumPy: the same pass of skrelu on the "
        f"host, {options.threads} thread(s).",
    )
    records = []
    for n, d, k in GPU_SHAPES if on_gpu else CPU_SHAPES:
        for dtype in ("float32", "float64"):
            n_rows = n // 10 if options.quick else n
            say(f"device: {n_rows} x {d}, k = {k}, {dtype}, {name}")
            ms = _measure(torch, where, n_rows, d, k, dtype, QUICK_ROUNDS if options.quick else ROUNDS)
            records.append(dict(block="device", n=n_rows, d=d, k=k, dtype=dtype, device=name, ms=ms))
            table.rows += [[str(n_rows), str(d), str(k), dtype, *row] for row in _rows(ms, n_rows * d, dtype)]
    return Block([table], records)


def _measure(torch, where, n, d, k, dtype, rounds):
    """Return the milliseconds of every round, by what was done."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), dtype=dtype)
    y = np.maximum(X @ rng.standard_normal(d).astype(dtype), 0)
    X_there, y_there = torch.asarray(X, device=where), torch.asarray(y, device=where)
    there = DeviceRows(X_there, y_there, None, get_namespace(X_there), where)
    space, W = torch.empty_like(X_there), torch.asarray(rng.standard_normal((k, d)).astype(dtype), device=where)

    def waited(f):
        def run():
            f()
            if where.type == "cuda":
                torch.cuda.synchronize()

        return run

    contenders = {"copy of X": waited(lambda: space.copy_(X_there))}
    contenders["products"] = waited(lambda: (W @ X_there.T) @ X_there)
    for rows, suffix in ((there, ""), (Rows(X, y), ", NumPy")):
        contenders |= {name + suffix: run for name, run in zip(OURS, _passes(rows, k), strict=True)}
    times = interleaved(list(contenders.values()), rounds)
    return dict(zip(contenders, times.T.tolist(), strict=True))


def _passes(rows, k):
    """Return the pass of one ReLU and that of k of them."""
    rng = np.random.default_rng(1)
    single, w = SingleReLU(rows), rng.standard_normal(rows.n_features + 1).astype(rows.dtype)
    net = OneHiddenLayer(rows, activations.relu, whitening(rows, centered=True), np.ones(k), free_output=False)
    theta = rng.standard_normal(k * net.shape[1] + net.n_head)
    return (lambda: single.value_and_gradient(w)), (lambda: net.value_and_gradient(theta))


def _rows(ms, size, dtype):
    """Return the cells of a table, one row for each thing on the device."""
    fastest, gigabytes = {name: min(times) for name, times in ms.items()}, size * np.dtype(dtype).itemsize / 1e9
    rows = []
    for name in ("copy of X", "products", *OURS):
        own, host = fastest[name], fastest.get(f"{name}, NumPy")
        over = f"{own / fastest['copy of X']:.2f}"
        rows.append([name, f"{own:.3g}", f"{gigabytes / own * 1e3:.3g}", over, f"{host / own:.2f}" if host else ""])
    return rows
