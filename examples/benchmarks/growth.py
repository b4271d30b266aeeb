"""Growth of whole default fits with n, d, k and m: the exponents that doublings show."""

import time
import warnings

import numpy as np
import one_hidden_layer
import quadratic
import single_relu
import two_layer
from measure import LAWS, Block, Table, group, plant, say
from sklearn.neural_network import MLPRegressor


def _one_relu(n, d, seed):
    return plant(LAWS[0], n, seed, n_features=d, n_nonzero=min(20, d))


def _net(n, d, k, seed):
    return one_hidden_layer.plant("signed", d, k, n, seed)


def _quadratic(n, d, k, seed):
    return quadratic.plant("signed", d, k, n, seed)


def _two_layers(n, d, k, m, seed):
    return two_layer.plant((d, k, m, n), seed)


def _mlp(problem):
    """`MLPRegressor`, L-BFGS, its default of 200 iterations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        k = getattr(problem, "n_hidden", 1)
        MLPRegressor(hidden_layer_sizes=(k,), solver="lbfgs", alpha=0, random_state=0).fit(problem.X, problem.y)


# Problem: how it is made, our fit, and for each size that grows its first value, the other sizes, and the doublings.
# k stays below d, where the starts of the theorems exist, and k d below n.
GROWING = {
    "one ReLU, l0": (
        _one_relu,
        single_relu.ours(single_relu.l0_ball),
        {"n": (2_500, dict(d=500), 5), "d": (500, dict(n=2_500), 4)},
    ),
    "one ReLU, dense": (
        _one_relu,
        single_relu.ours(lambda problem: None),
        {"n": (8_000, dict(d=50), 5), "d": (50, dict(n=8_000), 4)},
    ),
    "one hidden layer": (
        _net,
        one_hidden_layer.ours(),
        {
            "n": (8_000, dict(d=25, k=5), 5),
            "d": (25, dict(n=16_000, k=5), 4),
            "k": (5, dict(n=20_000, d=100), 3),
        },
    ),
    "quadratic": (
        _quadratic,
        quadratic.ours(),
        {
            "n": (8_000, dict(d=25, k=5), 5),
            "d": (25, dict(n=8_000, k=5), 4),
            "k": (5, dict(n=16_000, d=100), 3),
        },
    ),
    "two layers": (
        _two_layers,
        two_layer.ours(),
        {
            "n": (4_000, dict(d=25, k=5, m=5), 5),
            "d": (25, dict(n=8_000, k=5, m=5), 4),
            "k": (5, dict(n=8_000, d=100, m=5), 3),
            "m": (5, dict(n=4_000, d=25, k=5), 4),
        },
    ),
}
WITH_MLP = ("one hidden layer", "two layers")
LONG = 2000.0  # milliseconds


def growth(options):
    """Seconds of a fit for doubled sizes, and their exponents."""
    records = []
    for name, (make, ours, axes) in GROWING.items():
        contenders = {"skrelu": ours} | ({"MLPRegressor, lbfgs, 200": _mlp} if name in WITH_MLP else {})
        for axis, (first, others, doublings) in axes.items():
            for i in range(1 + (min(doublings, 2) if options.quick else doublings)):
                sizes = others | {axis: first * 2**i}
                say(f"growth: {name}, " + ", ".join(f"{key} = {value}" for key, value in sizes.items()))
                for seed in range(2 if options.quick else max(2, options.seeds // 4)):
                    problem = make(**sizes, seed=seed)
                    for method, fit in contenders.items():
                        common = dict(block="growth", problem=name, method=method, axis=axis, size=sizes[axis])
                        records.append(common | dict(sizes=sizes, seed=seed, ms=_fastest(fit, problem)))
    return Block([_table(records)], records)


def _fastest(fit, problem):
    """Return the smaller milliseconds of two fits, of one that is long."""
    times = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        while len(times) < 2 and sum(times) < LONG:
            start = time.perf_counter()
            fit(problem)
            times.append(1e3 * (time.perf_counter() - start))
    return min(times)


def exponents(records):
    """Return the exponents of the median time: of all sizes, and between the largest and a quarter of it."""
    by_size = sorted((size, np.median([r["ms"] for r in own])) for (size,), own in group(records, "size").items())
    size, ms = np.log(np.array(by_size)).T
    return [float(np.polyfit(size[part], ms[part], 1)[0]) for part in (slice(None), slice(-3, None))]


def _table(records):
    table = Table(
        "Growth of default fits",
        ["problem", "method", "grows", "from", "to", "seconds, first", "last", "exponent", "of the last three"],
        note="Noiseless problems, median over seeds; one size is doubled again and again. "
        "Exponent p: time ~ size^p, least squares of the logarithms. Below 1 the overhead of small fits still counts. "
        "The number of iterations varies with the problem, and is part of it.",
    )
    for (name, method, axis), own in group(records, "problem", "method", "axis").items():
        sizes = sorted({r["size"] for r in own})
        seconds = [np.median([r["ms"] for r in own if r["size"] == size]) / 1e3 for size in (sizes[0], sizes[-1])]
        cells = [f"{s:.2g}" for s in seconds] + [f"{p:.2f}" for p in exponents(own)]
        fixed = ", ".join(f"{key} = {value}" for key, value in own[0]["sizes"].items() if key != axis)
        table.rows.append([f"{name}, {fixed}", method, axis, str(sizes[0]), str(sizes[-1]), *cells])
    return table
