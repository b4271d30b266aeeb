"""Quadratic networks against their peers: recovery, memory, over-parameterised fits and noise."""

import json
import os
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass

import numpy as np
import quadratic_peers as peers
from measure import Block, Contender, Table, group, quartiles, race, say, success_cells, time_ratio
from memory import STATUS, Peak, anonymous_megabytes

from skrelu import QuadraticNet
from skrelu.datasets import QuadraticTeacher, make_quadratic


@dataclass(frozen=True)
class QuadraticProblem:
    """Data with a planted quadratic network, and what a peer may be told about it.

    Attributes
    ----------
    X, y : ndarray
    teacher : QuadraticTeacher
        Without linear part and intercept.
    seed : int
    """

    X: np.ndarray
    y: np.ndarray
    teacher: QuadraticTeacher
    seed: int

    @property
    def n_hidden(self):
        return len(self.teacher.hidden_coef_)

    def error(self, M):
        """Return the relative error of M in the Frobenius norm."""
        truth = self.teacher.matrix_
        return float(np.linalg.norm(M - truth) / np.linalg.norm(truth))


def plant(law, n_features, n_hidden, n_samples, seed, sigma=0.0):
    """Return the problem of one seed; the law is "positive" or "signed": the output weights."""
    X, y, teacher = make_quadratic(
        n_samples, n_features, n_hidden, output_weights=law, noise=sigma, return_teacher=True, random_state=seed
    )
    return QuadraticProblem(X, y, teacher, seed)


def ours(n_hidden="planted", **parameters):
    """Return the fit of `QuadraticNet`, by default with the true number of units and else default parameters."""

    def fit(problem):
        k = problem.n_hidden if n_hidden == "planted" else n_hidden
        return QuadraticNet(k, random_state=0, **parameters).fit(problem.X, problem.y).matrix_

    return fit


PAPER = {"fit_linear": False, "fit_intercept": False}
FITS = [
    Contender("skrelu", ours(), ours=True),
    Contender("skrelu, no linear part", ours(**PAPER)),
]
PEERS = {
    "spectral": ("L-BFGS, spectral start (*)", peers.lbfgs_spectral),
    "random": ("L-BFGS, 1 random start (*)", peers.lbfgs_random(1)),
    "random10": ("L-BFGS, 10 random starts (*)", peers.lbfgs_random(10)),
    "nuclear": ("nuclear norm, proximal gradient", peers.proximal_gradient),
    "ridge": ("RidgeCV, PolynomialFeatures(2)", peers.ridge),
}
BOTH = ("positive", "signed")
DESCENTS = {"spectral": 1.0, "random": 1.0, "random10": 1.0}
# (d, k, n, laws), and the peers with their shares of the seeds.
SETTINGS = [
    ((50, 5, 1_000, BOTH), {**DESCENTS, "nuclear": 0.25, "ridge": 0.15}),
    ((50, 5, 375, BOTH), {**DESCENTS, "nuclear": 0.25}),
    ((50, 1, 150, ("positive",)), DESCENTS),
    ((50, 1, 100, ("positive",)), DESCENTS),
]
RECOVERY_NOTE = (
    "Success: relative error of M < 1e-6 / trials; then those with an error < 1e-2. Seconds: median [quartiles], "
    "largest. A success: all seconds over the number of successes. Ratio: time of skrelu without linear part over this "
    "method's on the problems that both solve, median [quartiles]. (*) is told that there are no linear part and no "
    "intercept, from a random start also the output weights, and ends where skrelu ends, at rounding. The time of "
    "skrelu includes the certificate."
)


def quad(options):
    """Recovery, the large problem, over-parameterised fits, and noise."""
    blocks = [_recovery(options), _over_parameterised(options), _noise(options)]
    if not options.quick:
        blocks.insert(1, _large(options))
    return Block([t for block in blocks for t in block.tables], [r for block in blocks for r in block.records])


def _recovery(options):
    table = Table(
        "Quadratic units without noise: exact recovery",
        [
            "d",
            "k",
            "n",
            "network",
            "method",
            "success",
            "< 1e-2",
            "seconds",
            "max",
            "a success",
            "error, median",
            "ours / this, time",
        ],
        note=RECOVERY_NOTE,
    )
    records = []
    for (d, k, n, laws), shares in SETTINGS:
        contenders = FITS + [Contender(*PEERS[peer], share=share) for peer, share in shares.items()]
        if options.quick and n < 1_000:
            contenders = [c for c in contenders if not c.name.startswith("nuclear")]
        for law in laws:
            say(f"quad: d = {d}, k = {k}, n = {n}, {law}")
            problems = [plant(law, d, k, n, seed) for seed in range(options.seeds)]
            records += race(dict(block="quad", d=d, k=k, n=n, network=law), contenders, problems)
    for setting, members in group(records, "d", "k", "n", "network").items():
        reference = group(members, "method")[(FITS[1].name,)]
        for (method,), own in group(members, "method").items():
            ratio = "" if method == FITS[1].name else time_ratio(reference, own)
            error = f"{np.median([record['error'] for record in own]):.0e}"
            table.rows.append([*map(str, setting), method, *success_cells(own), error, ratio])
    return Block([table], records)


LARGE = (1000, 10, 30_000)


def _large(options):
    d, k, n = LARGE
    table = Table(
        f"d = {d}, k = {k}, n = 3 k d = {n}: X takes {n * d * 8 / 1e6:.0f} MB",
        ["seed", "method", "relative error", "seconds", "iterations", "gap", "before, MB", "the fit adds, MB"],
        note="Anonymous memory of a fresh process, sampled during the fit; before: with the data. Needs Linux.",
    )
    records = []
    for seed in range(max(1, options.seeds // 10)):
        for contender in FITS:
            say(f"quad: d = {d}, k = {k}, n = {n}, seed {seed}, {contender.name}")
            environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
            command = [sys.executable, __file__, str(seed), contender.name]
            child = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            records.append(dict(block="quad-large", d=d, k=k, n=n, seed=seed, method=contender.name))
            records[-1] |= json.loads(child.stdout)
    for r in records:
        sizes = [f"{r['before']:.0f}", f"{r['peak'] - r['before']:.0f}"] if "peak" in r else ["", ""]
        cells = [f"{r['error']:.1e}", f"{r['ms'] / 1e3:.2g}", str(r["iterations"]), f"{r['gap']:.1e}", *sizes]
        table.rows.append([str(r["seed"]), r["method"], *cells])
    return Block([table], records)


def child(seed, name):
    """Fit the large problem and print what it took, as JSON."""
    d, k, n = LARGE
    problem = plant("signed", d, k, n, int(seed))
    model = QuadraticNet(k, random_state=0, **(PAPER if name == FITS[1].name else {}))
    warnings.simplefilter("ignore")
    result = {}
    if STATUS.exists():
        result["before"], watch = anonymous_megabytes(), Peak()
        watch.start()
    start = time.perf_counter()
    model.fit(problem.X, problem.y)
    result["ms"] = 1e3 * (time.perf_counter() - start)
    if STATUS.exists():
        result["peak"] = watch.end()
    result |= dict(error=problem.error(model.matrix_), iterations=model.n_iter_, gap=model.optimality_gap_)
    print(json.dumps(result))


def _arbitrary(n, d, seed):
    """Return skewed, heavy-tailed, correlated inputs and targets that have nothing to do with them."""
    rng = np.random.default_rng([seed, 3])
    X = rng.laplace(size=(n, d)) @ (np.eye(d) + 0.3 * rng.standard_normal((d, d)) / d**0.5) + rng.exponential(size=d)
    return X, rng.standard_normal(n)


def _least_squares(X, y):
    features, _ = peers.products(X)
    features = np.column_stack([features / np.sqrt(np.mean(features**2, axis=0)), np.ones(len(X))])
    residual = features @ np.linalg.lstsq(features, y)[0] - y
    return residual @ residual / (2 * len(X)), np.nan


def _wide(X, y):
    problem = QuadraticProblem(np.column_stack([X, np.ones(len(X))]), y, None, 0)
    residual = np.einsum("ij,ij->i", problem.X @ peers.lbfgs_wide(problem), problem.X) - y
    return residual @ residual / (2 * len(X)), np.nan


def _ours_unlimited(**parameters):
    def fit(X, y):
        model = QuadraticNet(random_state=0, **parameters).fit(X, y)
        return model.loss_, model.optimality_gap_

    return fit


UNLIMITED = {
    "least squares, all products": _least_squares,
    "skrelu": _ours_unlimited(),
    "skrelu, gd, 2000 steps": _ours_unlimited(solver="gd", max_iter=2000, tol=0),
    "L-BFGS, 2 d units, 1 random start": _wide,
}


def _over_parameterised(options):
    d = 20
    table = Table(
        f"Units without limit, d = {d}: targets are noise, inputs skewed and correlated",
        ["n", "method", "objective / mean y^2, largest", "over least squares, largest", "gap, largest", "seconds"],
        note=f"All products of two columns, columns and a constant are {d * (d + 1) // 2 + d + 1} features: with as "
        "many rows or fewer, the objective can be 0. Over: excess of the objective over that of least squares on these "
        "features, relatively. The columns have means: peers see a column of ones instead of linear part and "
        "intercept.",
    )
    records = []
    for n in (150, 230, 300, 1_000):
        say(f"quad: units without limit, n = {n}")
        for seed in range(max(1, options.seeds // 3)):
            X, y = _arbitrary(n, d, seed)
            for name, f in UNLIMITED.items():
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    start = time.perf_counter()
                    objective, gap = f(X, y)
                    ms = 1e3 * (time.perf_counter() - start)
                records.append(dict(block="quad-unlimited", n=n, method=name, seed=seed, ms=ms, gap=gap))
                records[-1] |= dict(objective=objective / np.mean(y**2))
    for (n,), members in group(records, "n").items():
        best = {r["seed"]: r["objective"] for r in members if r["method"].startswith("least")}
        for (method,), own in group(members, "method").items():
            over = (
                "" if n <= d * (d + 1) // 2 + d + 1 else f"{max(r['objective'] / best[r['seed']] - 1 for r in own):.1e}"
            )
            gap = max(r["gap"] for r in own)
            cells = [f"{max(r['objective'] for r in own):.1e}", over, "" if np.isnan(gap) else f"{gap:.1e}"]
            table.rows.append([str(n), method, *cells, quartiles([r["ms"] / 1e3 for r in own])])
    return Block([table], records)


def from_the_truth(**parameters):
    """Return our descent to the local optimum that is reached from the planted weights."""

    def fit(problem):
        model = QuadraticNet(problem.n_hidden, random_state=0, warm_start=True, **parameters)
        model.hidden_coef_, model.output_coef_ = problem.teacher.hidden_coef_, problem.teacher.output_coef_
        model.coef_, model.intercept_ = np.zeros(problem.X.shape[1]), 0.0
        return model.fit(problem.X, problem.y).matrix_

    return fit


TRUTH, TRUTH_PAPER = "skrelu from the planted weights (1*)", "skrelu, no linear part, from the planted weights (2*)"
DECAYS = (0.02, 0.05, 0.1, 0.2, 0.4)  # weight decays, over sigma
SIGMAS = (0.3, 1.0)
NOISE_SETTINGS = ((50, 5, 1_000), (50, 5, 375))


def _noise_contenders(sigma, quick):
    decays = DECAYS[1:3] if quick else DECAYS
    grid = [Contender(f"skrelu, alpha = {a:g} sigma", ours(alpha=a * sigma)) for a in decays]
    unlimited = [Contender(f"skrelu, no limit, alpha = {a:g} sigma", ours(None, alpha=a * sigma)) for a in decays[-3:]]
    return [
        Contender(TRUTH, from_the_truth()),
        Contender("skrelu", ours(), ours=True),
        *grid,
        *unlimited,
        Contender(TRUTH_PAPER, from_the_truth(**PAPER)),
        Contender("skrelu, no linear part", ours(**PAPER)),
        Contender("L-BFGS from the planted weights (*)", peers.lbfgs_from_the_truth),
        Contender("L-BFGS, spectral start (*)", peers.lbfgs_spectral),
        Contender("RidgeCV, PolynomialFeatures(2)", peers.ridge, share=0.15),
    ]


def _noise(options):
    table = Table(
        "Quadratic units with noise, signed output weights",
        ["d", "k", "n", "sigma", "method", "error, median", "over (1), or (2)", "largest", "<= 1.01", "s"],
        note="Over: its error over that of our local optimum from the planted weights, with linear part (1) or, for "
        "methods without, (2); median and largest. (*) is told that there are no linear part and no intercept, from "
        "the planted weights these, too. The standard deviation of y without noise is about 3.",
    )
    records = []
    for d, k, n in NOISE_SETTINGS[: 1 if options.quick else None]:
        for sigma in SIGMAS[-1:] if options.quick else SIGMAS:
            say(f"quad: noise, d = {d}, k = {k}, n = {n}, sigma = {sigma}")
            problems = [plant("signed", d, k, n, seed, sigma) for seed in range(options.seeds)]
            setting = dict(block="quad-noise", d=d, k=k, n=n, sigma=sigma)
            records += race(setting, _noise_contenders(sigma, options.quick), problems)
    paper = (TRUTH_PAPER, "skrelu, no linear part", "L-BFGS from the planted weights (*)", "L-BFGS, spectral start (*)")
    for setting, members in group(records, "d", "k", "n", "sigma").items():
        errors = {(r["method"], r["seed"]): r["error"] for r in members}
        by_method = group(members, "method")
        for contender in _noise_contenders(setting[-1], options.quick):
            own = by_method[(contender.name,)]
            reference = TRUTH_PAPER if contender.name in paper else TRUTH
            for record in own:
                record["over_truth_start"] = record["error"] / errors[reference, record["seed"]]
            over = np.array([record["over_truth_start"] for record in own])
            cells = [f"{np.median([r['error'] for r in own]):.4f}", f"{np.median(over):.4f}", f"{max(over):.3f}"]
            cells += [f"{np.sum(over <= 1.01)}/{len(over)}", quartiles([r["ms"] / 1e3 for r in own])]
            table.rows.append([*map(str, setting), contender.name, *cells])
    return Block([table], records)


if __name__ == "__main__":
    child(*sys.argv[1:])
