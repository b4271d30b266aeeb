"""The cost of one pass over X, value and gradient of one ReLU or of a network, against what it must cost at least."""

import warnings
from functools import partial
from unittest import mock

import network_peers
import numpy as np
import quadratic_peers
import two_layer_peers
from measure import Block, Table, interleaved, say
from sklearn.neural_network import MLPRegressor

from skrelu import activations
from skrelu.datasets import make_one_hidden_layer, make_quadratic, make_two_layer_relu
from skrelu.networks import OneHiddenLayer, SingleReLU
from skrelu.networks.quadratic import QuadraticModel, QuadraticNetwork
from skrelu.networks.quadratic_form import QuadraticForm
from skrelu.networks.two_layer import TwoLayer
from skrelu.rows import BLOCK_BYTES, Rows
from skrelu.whitening import whitening

SHAPES = ((20_000, 1_000), (200_000, 50), (2_000, 1_000))
NETWORK_SHAPES = ((50_000, 100, 20), (20_000, 20, 5), (20_000, 200, 10), (10_000, 20, 20))
TWO_LAYER_SHAPES = ((50_000, 100, 20, 20), (20_000, 20, 5, 8), (10_000, 50, 10, 4), (1_000, 100, 20, 20))
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
        ["n", "d", "dtype", "method", "ms, fastest", "ms, median", "ours / this, fastest", "ours / this, median"],
        note="Taken in turn. Fastest: ratio of the smallest times, hardly disturbed by other users of the machine; "
        "median of the ratios within a round [quartiles]. x @ x reads X at the speed of the memory; X.sum() adds "
        "pairwise and may be limited by its additions.",
    )
    records = []
    for n, d in SHAPES:
        for dtype in ("float64", "float32"):
            n_rows = n // 10 if options.quick and n > 10_000 else n
            say(f"pass: {n_rows} x {d}, {dtype}")
            record = _measure(n_rows, d, dtype, rounds=9 if options.quick else 41)
            records.append(record | dict(threads=options.threads))
            table.rows += [[str(n_rows), str(d), dtype, *row] for row in _rows(record["ms"])]
    growth, more = _growth(options)
    return Block([table, growth], records + more)


def _rows(times):
    rows, ours = [], np.array(times["ours"])
    for name, ms in times.items():
        low, median, high = np.percentile(ours / ms, [25, 50, 75])
        ratios = [f"{min(ours) / min(ms):.2f}", f"{median:.2f} [{low:.2f}, {high:.2f}]"]
        rows.append([name, f"{min(ms):.3g}", f"{np.median(ms):.3g}", *(ratios if name != "ours" else ("", ""))])
    return rows


def _measure(n, d, dtype, rounds):
    X, y, w = _data(n, d, dtype)
    contenders = _contenders(X, y, w)
    times = interleaved(list(contenders.values()), rounds)
    return dict(block="pass", n=n, d=d, dtype=dtype, ms=dict(zip(contenders, times.T.tolist(), strict=True)))


def _growth(options):
    table = Table(
        f"Growth of a pass with n and d, float64, {options.threads} thread(s)",
        ["n", "d", "ours, ms", "ours, ns an entry", "bare fused loop, ns an entry"],
        note="Fastest of the rounds. Linear growth: a constant time an entry, less where X fits in the cache.",
    )
    records = []
    for n, d in (shape for shapes in GROWTH for shape in shapes):
        if options.quick and n * d > 5_000_000:
            continue
        say(f"pass: growth, {n} x {d}")
        record = _measure(n, d, "float64", rounds=5 if options.quick else 15)
        records.append(record | dict(block="pass-growth", threads=options.threads))
        ours, bare = min(record["ms"]["ours"]), min(record["ms"]["bare fused loop"])
        nanoseconds = 1e6 / (n * d)
        table.rows.append([str(n), str(d), f"{ours:.3g}", f"{ours * nanoseconds:.3f}", f"{bare * nanoseconds:.3f}"])
    return table, records


def network_passes(options):
    """Time of a pass of one hidden layer over that of its two matrix products."""
    table = Table(
        f"A pass of one hidden layer (value and gradient), {options.threads} thread(s)",
        ["n", "d", "k", "dtype", "method", "ms, fastest", "ms, median", "this / products, fastest", "median"],
        note="Products: W X' and R X (k, n) x (n, d), in the row blocks of skrelu, and nothing else. Taken in turn. "
        "Fastest: ratio of the smallest times; median of the ratios within a round [quartiles]. Relaxed: with the "
        "linear part that most descents have. MLPRegressor: time of a fit by its passes.",
    )
    return _against_products(options, "net-pass", table, _network_times)


def quadratic_passes(options):
    """Time of a pass of a quadratic network over that of its two matrix products."""
    table = Table(
        f"A pass of a quadratic network (value and gradient), {options.threads} thread(s)",
        ["n", "d", "k", "dtype", "method", "ms, fastest", "ms, median", "this / products, fastest", "median"],
        note="As above; the linear part is a row more in both products. All: the pass of the certificate, over the "
        "second moment of the residual.",
    )
    return _against_products(options, "quad-pass", table, _quadratic_times)


def two_layer_passes(options):
    """Time of value and gradient of two layers over that of its matrix products."""
    table = Table(
        f"Value and gradient of two layers, {options.threads} thread(s)",
        ["n", "d", "k", "m", "dtype", "method", "ms, fastest", "ms, median", "this / products, fastest", "median"],
        note="U at its least squares takes a pass of its own, so that V X' is formed twice. Products: V X' twice and "
        "G X, H H' (k, k), H Y', U H and U' R (k, m), in the row blocks of skrelu, and nothing else: no residual, no "
        "activation. Products with X: three of these. Keeping V X' between the passes would save one of them, for n k "
        "numbers of memory. The hand-written ones keep all they form, and have no biases. MLPRegressor: time of a fit "
        "by its passes, in which U is no further than a step of descent.",
    )
    return _against_products(options, "two-pass", table, _two_layer_times, TWO_LAYER_SHAPES)


def _against_products(options, block, table, measured, shapes=NETWORK_SHAPES):
    records = []
    for n, *sizes in shapes:
        for dtype in ("float64", "float32"):
            n_rows = n // 5 if options.quick and n > 1_000 else n
            say(f"{block}: {n_rows} x {sizes[0]}, {sizes[1]} units, {dtype}")
            times = measured(n_rows, *sizes, dtype, rounds=7 if options.quick else 25)
            named = dict(zip("dkm", sizes, strict=False))
            records.append(dict(block=block, n=n_rows, **named, dtype=dtype, threads=options.threads, ms=times))
            products = np.array(times["products"])
            for name, ms in times.items():
                low, median, high = np.percentile(np.array(ms) / products, [25, 50, 75])
                ratios = [f"{min(ms) / min(products):.2f}", f"{median:.2f} [{low:.2f}, {high:.2f}]"]
                cells = [f"{min(ms):.3g}", f"{np.median(ms):.3g}", *(ratios if name != "products" else ("", ""))]
                table.rows.append([str(n_rows), *map(str, sizes), dtype, name, *cells])
    return Block([table], records)


def _network_times(n, d, k, dtype, rounds):
    """Return the milliseconds of a pass of each contender, by name."""
    X, y, teacher = make_one_hidden_layer(n, d, k, return_teacher=True, random_state=0)
    X, y = X.astype(dtype), y.astype(dtype)
    signs, start = teacher.output_coef_, np.random.default_rng(0).standard_normal((k, d)) / np.sqrt(d)
    rows = Rows(X, y)
    plain = OneHiddenLayer(rows, activations.relu, whitening(rows, centered=False), signs, fit_intercept=False)
    full = OneHiddenLayer(rows, activations.relu, whitening(rows, centered=True), signs)
    relaxed = full.variant(relaxed=True)
    rng = np.random.default_rng(1)
    thetas = {network: _random_theta(network, rng) for network in (plain, full, relaxed)}
    W, v = start.astype(dtype), signs.astype(dtype)
    fit, n_passes = _counted_mlp(X, y, k)
    contenders = {
        "products": _bare_products(X, W),
        "ours": lambda: full.value_and_gradient(thetas[full]),
        "ours, no biases": lambda: plain.value_and_gradient(thetas[plain]),
        "ours, relaxed": lambda: relaxed.value_and_gradient(thetas[relaxed]),
        "hand-written, no biases, no blocks": lambda: network_peers.loss_and_gradient(W.ravel(), X, y, v),
        "MLPRegressor": fit,
    }
    times = interleaved(list(contenders.values()), rounds)
    times[:, -1] /= n_passes
    return dict(zip(contenders, times.T.tolist(), strict=True))


def _quadratic_times(n, d, k, dtype, rounds):
    """Return the milliseconds of a pass of each contender, by name."""
    X, y, teacher = make_quadratic(n, d, k, return_teacher=True, random_state=0)
    X, y, signs = X.astype(dtype), y.astype(dtype), teacher.output_coef_
    W, contenders = np.random.default_rng(0).standard_normal((k, d)) / np.sqrt(d), {}
    contenders["products"] = _bare_products(X, W.astype(dtype))
    for name, linear in (("ours", True), ("ours, no linear part", False)):
        rows = Rows(X, y)
        model = QuadraticModel.of(rows, fit_linear=linear, fit_intercept=linear, alpha=0.0, positive=False)
        network = QuadraticNetwork(model, signs)
        theta = network.pack(W, np.zeros(model.n_head))
        contenders[name] = partial(network.value_and_gradient, theta)
    form = QuadraticForm(model)
    contenders["ours, all"] = partial(form.moments, *network.parts(theta))
    arguments = W.astype(dtype).ravel(), X, y, signs.astype(dtype)
    contenders["hand-written, no linear part, no blocks"] = partial(quadratic_peers.loss_and_gradient, *arguments)
    times = interleaved(list(contenders.values()), rounds)
    return dict(zip(contenders, times.T.tolist(), strict=True))


def _two_layer_times(n, d, k, m, dtype, rounds):
    """Return the milliseconds of value and gradient of each contender, by name."""
    X, y = make_two_layer_relu(n, d, k, m, random_state=0)
    X, y, V = X.astype(dtype), y.astype(dtype), np.random.default_rng(0).standard_normal((k, d)) / np.sqrt(d)
    contenders = {
        "products": _two_layer_products(X, V.astype(dtype), m),
        "products with X": _two_layer_products(X, V.astype(dtype), 0),
    }
    rows, center = Rows(X, y), y.mean(axis=0, dtype=np.float64)
    for name, biases in (("ours", True), ("ours, no biases", False)):
        network = TwoLayer(
            rows,
            activations.relu,
            whitening(rows, centered=biases),
            k,
            fit_intercept=biases,
            center=center * biases,
            target_scale=rows.target_scale(center * biases),
        )
        contenders[name] = partial(network.value_and_gradient, network.parameters(V, np.zeros(k)))
    w, units = V.astype(dtype).ravel(), np.ones(k)
    both = np.concatenate([w, np.ones(m * k, dtype=dtype)])
    projected, joint = two_layer_peers.projected(activations.relu), two_layer_peers.joint(activations.relu)
    contenders["hand-written, U eliminated, no blocks"] = lambda: projected(w, X, y, units)
    contenders["hand-written, U and V, no blocks"] = lambda: joint(both, X, y, units)
    contenders["MLPRegressor"], n_passes = _counted_mlp(X, y, k)
    times = interleaved(list(contenders.values()), rounds)
    times[:, -1] /= n_passes
    return dict(zip(contenders, times.T.tolist(), strict=True))


def _two_layer_products(X, V, m):
    """Return the function of the products of value and gradient, of those with X alone for m = 0."""
    k, step = len(V), max(8, BLOCK_BYTES // (X.shape[1] * X.itemsize))
    blocks = [X[i : i + step] for i in range(0, len(X), step)]
    units, outputs = (np.ones((rows, min(step, len(X))), dtype=X.dtype) for rows in (k, m))
    U = np.ones((m, k), dtype=X.dtype)

    def products():
        total = np.zeros_like(V)
        for X_b in blocks:
            H, R = units[:, : len(X_b)], outputs[:, : len(X_b)]
            V @ X_b.T
            V @ X_b.T
            total += H @ X_b
            if m:
                H @ H.T, H @ R.T, U @ H, U.T @ R
        return total

    return products


def _random_theta(network, rng):
    k, p = network.shape
    return network.pack(rng.standard_normal((k, p)) / np.sqrt(p), np.zeros(network.n_head), network.output)


def _bare_products(X, W):
    step = max(8, BLOCK_BYTES // (X.shape[1] * X.itemsize))
    blocks = [X[i : i + step] for i in range(0, len(X), step)]
    residuals = [np.ones((len(W), len(X_b)), dtype=X.dtype) for X_b in blocks]

    def products():
        total = np.zeros_like(W)
        for X_b, R_b in zip(blocks, residuals, strict=True):
            W @ X_b.T
            total += R_b @ X_b
        return total

    return products


def _counted_mlp(X, y, k):
    """Return a short fit of `MLPRegressor` and the number of its passes."""
    passes, backprop = [], MLPRegressor._backprop

    def fit():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            MLPRegressor(hidden_layer_sizes=(k,), solver="lbfgs", max_iter=10, random_state=0).fit(X, y)

    def counting(self, *args, **kwargs):
        passes.append(1)
        return backprop(self, *args, **kwargs)

    with mock.patch.object(MLPRegressor, "_backprop", counting):
        fit()
    return fit, len(passes)
