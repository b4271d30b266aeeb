"""One structured ReLU against its peers: success, error and time of fits on planted data."""

import numpy as np
import peers
from measure import (
    LAWS,
    RECOVERED,
    Block,
    Contender,
    Table,
    group,
    milliseconds,
    plant,
    race,
    say,
    successes,
    time_ratio,
)

from skrelu import ProjectedReLURegressor
from skrelu.constraints import L0Ball, L1Ball

FIT_NOTE = (
    "Success: relative error < 1e-6 / trials (of these < 1e-10). Times: milliseconds, median [quartiles]. "
    "Ratio: our time over this method's on the problems that both solve, median of the ratios [quartiles]; below 1 we "
    "are faster. Passes: over X, median, largest."
)


def ours(constraint, **parameters):
    """Return the fit of `ProjectedReLURegressor` on the set ``constraint(problem)``."""

    def fit(problem):
        model = ProjectedReLURegressor(constraint(problem), fit_intercept=False, **parameters)
        return model.fit(problem.X, problem.y).coef_

    return fit


def l0_ball(problem):
    return L0Ball(problem.n_nonzero)


def l1_ball(problem):
    return L1Ball(problem.radius)


L0_CONTENDERS = [
    Contender("skrelu, L0Ball", ours(l0_ball), ours=True),
    Contender("OMP, rows y > 0", peers.omp),
    Contender("hard thresholding, rows y > 0", peers.iterative_hard_thresholding),
    Contender("the paper's steps (gd, 1.0)", ours(l0_ball, solver="gd", step_size=1.0)),
]
L1_CONTENDERS = [
    Contender("skrelu, L1Ball", ours(l1_ball), ours=True),
    Contender("Lasso path, rows y > 0", peers.lasso_path),
    Contender("linear programme", peers.linear_programme, share=0.5),
    Contender("the paper's steps (gd, 1.0)", ours(l1_ball, solver="gd", step_size=1.0)),
]
DENSE_CONTENDERS = [
    Contender("skrelu, no constraint", ours(lambda problem: None), ours=True),
    Contender("least squares, rows y > 0", peers.linear_regression_on_active_rows),
    Contender("L-BFGS, random start", peers.lbfgs_random_start),
    Contender("least_squares, random start", peers.least_squares_random_start, share=0.25),
]


def l0(options):
    """L0Ball(20), d = 1000."""
    return _recovery("l0", "Exactly 20 of 1000 weights not zero (l0)", L0_CONTENDERS, (200, 175, 150), options)


def l1(options):
    """L1Ball of the true radius, d = 1000."""
    title = "l1 ball of the true radius, 20 of 1000 weights not zero"
    return _recovery("l1", title, L1_CONTENDERS, (300, 250, 225), options)


def _recovery(name, title, contenders, sizes, options):
    records = []
    for n in sizes:
        for law in LAWS:
            say(f"{name}: n = {n}, {law}")
            problems = [plant(law, n, seed) for seed in range(options.seeds)]
            records += race(dict(block=name, law=law, n=n), contenders, problems)
    return Block([recovery_table(title, records, "n", "law")], records)


def recovery_table(title, records, row_key, column_key):
    """Return success by `column_key`, time and ratio of each method, for each value of `row_key`."""
    values = list(dict.fromkeys(record[column_key] for record in records))
    table = Table(title, [row_key, "method", *map(str, values), "ms", "ours / this, time", "passes"])
    table.note = FIT_NOTE
    for (row, method), members in group(records, row_key, "method").items():
        reference = [r for r in records if r["ours"] and r[row_key] == row]
        cells = [successes([r for r in members if r[column_key] == value]) for value in values]
        ratio = "" if members[0]["ours"] else time_ratio(reference, members, column_key)
        passes = [record["passes"] for record in members]
        passes = f"{np.median(passes):.0f}, {max(passes)}" if any(passes) else ""
        table.rows.append([str(row), method, *cells, milliseconds(members), ratio, passes])
    table.rows.sort(key=lambda row: list(dict.fromkeys(str(r[row_key]) for r in records)).index(row[0]))
    return table


def dense(options):
    """No constraint, n = 3 d."""
    records = []
    for d in (50, 200) if options.quick else (50, 500):
        say(f"dense: d = {d}, n = {3 * d}")
        seeds = options.seeds if d == 50 else max(2, options.seeds // 2)
        problems = [plant("Gaussian", 3 * d, seed, n_features=d, n_nonzero=d) for seed in range(seeds)]
        records += race(dict(block="dense", d=d, law="success"), DENSE_CONTENDERS, problems)
    return Block([recovery_table("No constraint, Gaussian weights, n = 3 d", records, "d", "law")], records)


def from_the_truth(problem):
    """Our local optimum reached from the planted weights: the reference for what a better search could still gain."""
    model = ProjectedReLURegressor(L0Ball(problem.n_nonzero), fit_intercept=False, warm_start=True)
    model.coef_, model.intercept_ = problem.coef, 0.0
    return model.fit(problem.X, problem.y).coef_


NOISE_CONTENDERS = [
    Contender("skrelu, L0Ball", ours(l0_ball), ours=True),
    Contender("skrelu from the planted weights (1*)", from_the_truth),
    Contender("OMP, rows y > 3 sigma (*)", peers.omp_above_noise),
    Contender("the same, refitted (*)", peers.omp_and_refit),
    Contender("OMP, rows y > 0", peers.omp),
    Contender("hard thresholding, rows y > 0", peers.iterative_hard_thresholding),
    Contender("Lasso path, rows y > 0, best point (*)", peers.best_of_lasso_path),
    Contender("skrelu, L1Ball", ours(l1_ball)),
]


def noise(options, sigma=0.05, n=500):
    """Error over the oracle's."""
    title = f"Noise sigma = {sigma}, n = {n}, 20 of 1000 weights not zero: error over the oracle's, median / mean / max"
    table = Table(
        title,
        ["method", *LAWS, "all, over (1)", "ms"],
        note="Oracle: least squares on the true support and the rows with <w*, x> > 0. (*) is told what no user knows: "
        "sigma, the planted weights, or which point of the path is best. Gaussian weights include some below the noise "
        "level that no method can find: row (1) shows how much of the loss is of this kind.",
    )
    records = []
    for law in LAWS:
        say(f"noise: {law}")
        problems = [plant(law, n, seed, sigma=sigma) for seed in range(options.seeds)]
        floor = {problem.seed: problem.error(peers.oracle(problem)) for problem in problems}
        new = race(dict(block="noise", law=law, n=n, sigma=sigma), NOISE_CONTENDERS, problems)
        best = {record["seed"]: record["error"] for record in new if record["method"] == NOISE_CONTENDERS[1].name}
        for record in new:
            record["over_oracle"] = record["error"] / floor[record["seed"]]
            record["over_truth_start"] = record["error"] / best[record["seed"]]
        records += new
    for method in NOISE_CONTENDERS:
        members = [record for record in records if record["method"] == method.name]
        cells = [_spread([r["over_oracle"] for r in members if r["law"] == law]) for law in LAWS]
        cells.append(_spread([r["over_truth_start"] for r in members]))
        table.rows.append([method.name, *cells, milliseconds(members)])
    return Block([table], records)


def _spread(ratios):
    return f"{np.median(ratios):.3f} / {np.mean(ratios):.3f} / {np.max(ratios):.2f}"


class Recorder:
    """A projection, passed as a callable constraint, that remembers every point it returns: the iterates of a fit."""

    def __init__(self, constraint):
        self.constraint, self.points = constraint, []

    def __call__(self, w):
        self.points.append(self.constraint.project(w))
        return self.points[-1]


def step(options):
    """The paper's iteration: success, iterations, and the factor by which the error falls in a step."""
    table = Table(
        "The paper's steps 2, 1, 1, ... on L0Ball(20), d = 1000, Gaussian weights",
        ["n", "success", "iterations to 1e-6", "mean factor a step", "worst factor a step", "worst of all"],
        note="Factor: error after a step over the error before it, from the second step on until the error is 1e-12: "
        "its geometric mean and its largest value in a run, medians over the runs; runs that fail count as 1. The "
        "theorem promises 1/2 for n large enough.",
    )
    records = []
    for n in (600, 900, 1200):
        say(f"step: n = {n}")
        records += [_paper_run(plant("Gaussian", n, seed)) for seed in range(options.seeds)]
        members = records[-options.seeds :]
        worst = [record["worst_factor"] for record in members]
        counts = [record["iterations"] for record in members if record["error"] < RECOVERED]
        low, median, high = np.percentile(counts, [0, 50, 100]) if counts else (np.nan,) * 3
        spread = f"{median:.0f} ({low:.0f} to {high:.0f})"
        factors = [np.median([record["mean_factor"] for record in members]), np.median(worst), max(worst)]
        table.rows.append([str(n), successes(members), spread, *(f"{factor:.3f}" for factor in factors)])
    return Block([table], records)


def _paper_run(problem):
    recorder = Recorder(L0Ball(problem.n_nonzero))
    coef = ours(lambda problem: recorder, solver="gd", step_size=1.0, max_iter=300, tol=1e-14)(problem)
    error = problem.error(coef)
    # At the end stand two projections that are no iterates: of the result, and for its optimality.
    errors = np.array([problem.error(w) for w in recorder.points[:-2]])
    falling = errors[: 1 + int(np.argmax(errors < 1e-12))] if np.any(errors < 1e-12) else errors
    factors = falling[1:] / falling[:-1] if error < RECOVERED else np.ones(1)
    return dict(
        block="step",
        method="the paper's steps",
        n=len(problem.y),
        seed=problem.seed,
        error=error,
        iterations=int(np.argmax(errors < RECOVERED)) + 1,
        mean_factor=float(np.exp(np.mean(np.log(factors)))),
        worst_factor=float(np.max(factors)),
    )
