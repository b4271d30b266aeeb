"""The race to a given error: default fits beside peers that restart until they succeed, on the same problems."""

import time
import warnings
from dataclasses import dataclass

import numpy as np
import one_hidden_layer
import peers
import quadratic
import quadratic_peers
import race_peers
import single_relu
import smooth
import two_layer
from measure import LAWS, Block, Table, group, plant, say, timed
from race_peers import MLP_ADAM, MLP_LBFGS, ONE_RELU, RELUS, SQUARES, TANH, TWO_LAYERS, once

BOUNDS = (1e-2, 1e-6)  # relative errors of the race
STARTS = 20  # trials of a method on a problem, at most
SECONDS = 10.0  # no new trial begins later on a problem
QUICK_SECONDS = 1.0
OURS, OURS_PAPER = "skrelu", "skrelu, no biases"
PARTS = {"A": "One ReLU", "B": "One hidden layer", "C": "Quadratic and smooth units", "D": "Two layers"}


@dataclass(frozen=True)
class Runner:
    """A method of the race.

    Attributes
    ----------
    name : str
    trial : callable (problem, start, see) -> fit
    aim : float
        Error that ends its restarts: the smallest of `BOUNDS` that it can reach.
    restarts : bool
        Whether another start may end elsewhere.
    share : float
        Of the problems; below 1 for slow ones.
    against : str
        The name of ours that is told the same.
    """

    name: str
    trial: object
    aim: float = BOUNDS[1]
    restarts: bool = False
    share: float = 1.0
    against: str = OURS


def _restarted(name, trial, against=OURS_PAPER, **more):
    return Runner(name, trial, restarts=True, against=against, **more)


def _mlp(kind, adam_share=0.3):
    """Return the runners of `MLPRegressor`, which ends by a tolerance of its own before 1e-6."""
    lbfgs = _restarted("MLPRegressor, lbfgs", race_peers.mlp(kind, MLP_LBFGS), OURS, aim=BOUNDS[0], share=0.5)
    adam = _restarted("MLPRegressor, adam", race_peers.mlp(kind, MLP_ADAM), OURS, aim=BOUNDS[0], share=adam_share)
    return [lbfgs, adam]


def _torch(kind):
    if race_peers.torch is None:
        return []
    lbfgs = _restarted("torch, LBFGS", race_peers.torch_lbfgs(kind), OURS, share=0.5)
    return [lbfgs, _restarted("torch, Adam", race_peers.torch_adam(kind), OURS, aim=BOUNDS[0], share=0.3)]


def _convex():
    if race_peers.scnn is None:
        return []
    return [Runner("pyscnn, gated ReLUs", race_peers.convex, aim=BOUNDS[0], share=0.3, against=OURS_PAPER)]


def _single(constraint):
    return [Runner(OURS, once(single_relu.ours(constraint)))]


def _pair(ours):
    """Return ours with default parameters and without biases."""
    return [Runner(OURS, once(ours())), Runner(OURS_PAPER, once(ours(fit_intercept=False)))]


L0 = [
    *_single(single_relu.l0_ball),
    Runner("OMP, rows y > 0", once(peers.omp)),
    Runner("hard thresholding, rows y > 0", once(peers.iterative_hard_thresholding)),
]
L1 = [
    *_single(single_relu.l1_ball),
    Runner("Lasso path, rows y > 0", once(peers.lasso_path)),
    Runner("linear programme", once(peers.linear_programme), share=0.3),
]
DENSE = [
    *_single(lambda problem: None),
    Runner("least squares, rows y > 0", once(peers.linear_regression_on_active_rows)),
    _restarted("L-BFGS", race_peers.one_relu, OURS),
    _restarted("least_squares", lambda problem, start, see: peers.least_squares_random_start(problem), OURS, share=0.2),
    *_mlp(ONE_RELU),
    *_torch(ONE_RELU),
]
NET = [
    *_pair(one_hidden_layer.ours),
    _restarted("L-BFGS, W and v (*)", race_peers.both_layers(RELUS)),
    _restarted("L-BFGS, W; v told (**)", race_peers.signs_told(RELUS)),
    *_mlp(RELUS),
    *_torch(RELUS),
    *_convex(),
]
# Where an epoch takes seconds.
LARGE_NET = [runner for runner in NET if not runner.name.startswith(("torch", "pyscnn", "MLPRegressor, adam"))]
SQUARE = [
    Runner(OURS, once(quadratic.ours())),
    Runner(OURS_PAPER, once(quadratic.ours(**quadratic.PAPER))),
    Runner("L-BFGS, spectral start (*)", once(quadratic_peers.lbfgs_spectral), against=OURS_PAPER),
    _restarted("L-BFGS, W and v (*)", race_peers.both_layers(SQUARES)),
    _restarted("L-BFGS, W; v told (**)", race_peers.signs_told(SQUARES)),
    Runner("nuclear norm, proximal gradient (*)", once(quadratic_peers.proximal_gradient), share=0.2),
    *_torch(SQUARES),
]
SMOOTH = [
    *_pair(smooth.ours),
    _restarted("L-BFGS, W and v (*)", race_peers.both_layers(TANH)),
    _restarted("L-BFGS, W; v told (**)", race_peers.signs_told(TANH)),
    *_mlp(TANH),
    *_torch(TANH),
]
TWO = [
    *_pair(two_layer.ours),
    _restarted("variable projection (*)", race_peers.projected),
    _restarted("L-BFGS, U and V (*)", race_peers.joint),
    *_mlp(TWO_LAYERS),
    *_torch(TWO_LAYERS),
]


def _sparse(n):
    return lambda seed: plant(LAWS[0], n, seed)


def _dense(n, d):
    return lambda seed: plant(LAWS[0], n, seed, n_features=d, n_nonzero=d)


def _net(law, d, k, n):
    return lambda seed: one_hidden_layer.plant(law, d, k, n, seed)


def _square(law, d, k, n):
    return lambda seed: quadratic.plant(law, d, k, n, seed)


def _two(*shape):
    return lambda seed: two_layer.plant(shape, seed)


# Part, name: how a problem is made from its seed, the runners, the share of the seeds.
SETTINGS = {
    ("A", "l0: 20 of 1000 weights, n = 200"): (_sparse(200), L0, 1.0),
    ("A", "l1: 20 of 1000 weights, n = 300"): (_sparse(300), L1, 1.0),
    ("A", "dense, d = 50, n = 150"): (_dense(150, 50), DENSE, 1.0),
    ("A", "dense, d = 500, n = 1500"): (_dense(1500, 500), DENSE, 0.5),
    ("A", "dense, d = 100, n = 20 000"): (_dense(20_000, 100), DENSE, 0.5),
    ("B", "d = 20, k = 5, n = 1000, signed"): (_net("signed", 20, 5, 1000), NET, 1.0),
    ("B", "d = 50, k = 10, n = 5000, signed"): (_net("signed", 50, 10, 5000), NET, 0.5),
    ("B", "d = 50, k = 5, n = 500, signed"): (_net("signed", 50, 5, 500), NET, 0.5),
    ("B", "d = 20, k = 20, n = 10 000, signed"): (_net("signed", 20, 20, 10_000), NET, 0.3),
    ("B", "d = 100, k = 20, n = 50 000, positive"): (_net("positive", 100, 20, 50_000), LARGE_NET, 0.2),
    ("C", "quadratic, d = 50, k = 5, n = 1000"): (_square("signed", 50, 5, 1000), SQUARE, 1.0),
    ("C", "quadratic, d = 50, k = 5, n = 375"): (_square("signed", 50, 5, 375), SQUARE, 1.0),
    ("C", "phase retrieval, d = 50, n = 150"): (_square("positive", 50, 1, 150), SQUARE, 1.0),
    ("C", "tanh, d = 20, k = 4, n = 4000"): (lambda seed: smooth.plant("tanh", seed), SMOOTH, 1.0),
    ("D", "d = 20, k = 5, m = 8, n = 300"): (_two(20, 5, 8, 300), TWO, 1.0),
    ("D", "d = 50, k = 10, m = 10, n = 300"): (_two(50, 10, 10, 300), TWO, 0.5),
    ("D", "d = 100, k = 20, m = 20, n = 1000"): (_two(100, 20, 20, 1000), TWO, 0.3),
    ("D", "d = 50, k = 10, m = 4, n = 1000"): (_two(50, 10, 4, 1000), TWO, 0.5),
}
# One of each kind: those of the picture, and with --quick of the table.
SHOWN = (
    ("A", "dense, d = 500, n = 1500"),
    ("B", "d = 20, k = 5, n = 1000, signed"),
    ("C", "quadratic, d = 50, k = 5, n = 375"),
    ("D", "d = 50, k = 10, m = 4, n = 1000"),
)


def race(options):
    """Time of a success at each error, with default parameters."""
    if race_peers.torch is not None:
        race_peers.torch.set_num_threads(options.threads)
    records = []
    for (part, name), (make, runners, share) in SETTINGS.items():
        if options.quick and (part, name) not in SHOWN:
            continue
        problems = [make(seed) for seed in range(max(2, round(share * options.seeds / 2)))]
        limit = QUICK_SECONDS if options.quick else SECONDS
        for record in _run(problems, runners, limit, f"race: {part}, {name}"):
            records.append(dict(block="race", part=part, setting=name) | record)
    return Block([_table(part, members) for (part,), members in group(records, "part").items()], records)


def _run(problems, runners, limit, title):
    """Yield a record for each trial; on each problem the methods run one after another, in rotating order."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for i, problem in enumerate(problems):
            say(f"{title}, problem {i + 1} of {len(problems)}")
            shift = i % len(runners)
            for runner in runners[shift:] + runners[:shift]:
                if i < max(1, round(runner.share * len(problems))):
                    yield from _trials(runner, problem, limit)


def _trials(runner, problem, limit):
    """Return the records of the trials until one reaches the aim of its method, or the limit."""
    records, begin = [], time.perf_counter()
    common = dict(method=runner.name, against=runner.against, seed=problem.seed)
    while not records or (
        runner.restarts
        and records[-1]["error"] >= runner.aim
        and len(records) < STARTS
        and time.perf_counter() - begin < limit
    ):
        fit, ms, _ = timed(runner.trial, problem, len(records), None)
        error = float(problem.error(fit))
        records.append(common | dict(start=len(records), ms=ms, error=error if np.isfinite(error) else np.inf))
    return records


def to_success(trials, bound):
    """Return the milliseconds of all trials of a method on a problem up to the first success, inf without one."""
    total = np.cumsum([record["ms"] for record in trials])
    hits = [record["error"] < bound for record in trials]
    return float(total[hits.index(True)]) if any(hits) else np.inf


def seconds_per_success(trials, bound):
    """Return the seconds of all trials over the number of successes."""
    hits = sum(record["error"] < bound for record in trials)
    return sum(record["ms"] for record in trials) / 1e3 / hits if hits else np.inf


def ratios(ours, theirs, bound):
    """Return our milliseconds to success over those of a method, for each problem that either solves.

    0 where only we do, inf where only the method does.
    """
    mine = {seed: to_success(trials, bound) for (seed,), trials in group(ours, "seed").items()}
    other = {seed: to_success(trials, bound) for (seed,), trials in group(theirs, "seed").items()}
    pairs = [(mine[seed], ms) for seed, ms in other.items() if np.isfinite([mine[seed], ms]).any()]
    return [a / b if np.isfinite(a) else np.inf for a, b in pairs]


def spread(values):
    """Return e.g. "0.3 [0.2, 0.4]", the median and the quartiles; none of them is between two values."""
    low, median, high = (f"{v:.2g}" for v in np.percentile(values, [25, 50, 75], method="nearest"))
    return f"{median} [{low}, {high}]"


def _cells(own, reference, bound):
    """Return problems solved, successes of trials, seconds of a success, and the ratio."""
    by_seed = group(own, "seed").values()
    solved = sum(np.isfinite(to_success(trials, bound)) for trials in by_seed)
    hits, seconds = sum(record["error"] < bound for record in own), seconds_per_success(own, bound)
    values = [] if own[0]["method"] == own[0]["against"] else ratios(reference, own, bound)
    ratio = spread(values) if values else ""
    return [f"{solved}/{len(by_seed)} ({hits}/{len(own)})", f"{seconds:.2g}" if hits else "-", ratio]


NOTE = (
    "< 1e-2, < 1e-6: problems with such an error of all problems (of all starts): a method starts again until its "
    "first success at 1e-6 (MLPRegressor and Adam: 1e-2, since their tolerances end them before), {starts} times or "
    "{seconds:g} s at most. Seconds: of all starts, over the number of successes. Ours / this: our time to success "
    "over this method's on a problem, failed starts included, median [quartiles]; 0 where only we succeed, inf where "
    "only the method does. It is against ours with the same knowledge: (*) is told that there are no biases, as our "
    "second row is, (**) the output weights, too."
)


def _table(part, records):
    cells = [cell for bound in ("1e-2", "1e-6") for cell in (f"< {bound}", "seconds", "ours / this")]
    table = Table(f"{PARTS[part]}: time to a given error", ["problem", "method", *cells])
    table.note = NOTE.format(starts=STARTS, seconds=SECONDS) if part == max(PARTS) else ""
    for (setting,), members in group(records, "setting").items():
        methods = group(members, "method")
        order = [runner.name for runner in SETTINGS[part, setting][1]]
        for (method,), own in sorted(methods.items(), key=lambda item: order.index(item[0][0])):
            reference = methods[(own[0]["against"],)]
            cells = [cell for bound in BOUNDS for cell in _cells(own, reference, bound)]
            table.rows.append([setting, method, *cells])
    return table
