"""One hidden layer of ReLUs against its peers: start, success, error and time of fits on planted data."""

from dataclasses import dataclass

import network_peers as peers
import numpy as np
from measure import Block, Contender, Table, group, quartiles, race, say, success_cells, time_ratio

from skrelu import OneHiddenLayerReLU
from skrelu.datasets import OneHiddenLayerTeacher, make_one_hidden_layer
from skrelu.metrics import recovery_error


@dataclass(frozen=True)
class NetworkProblem:
    """Data with a planted network without biases, and what a peer may be told about it.

    Attributes
    ----------
    X, y : ndarray
    teacher : OneHiddenLayerTeacher
    seed : int
    """

    X: np.ndarray
    y: np.ndarray
    teacher: OneHiddenLayerTeacher
    seed: int

    @property
    def n_hidden(self):
        return len(self.teacher.hidden_coef_)

    def error(self, fitted):
        """Return the relative error of weights, or of the predictions that a function makes for 2000 new rows."""
        if not callable(fitted):
            return recovery_error(self.teacher.hidden_coef_, fitted)
        X = np.random.default_rng([self.seed, 1]).standard_normal((2000, self.X.shape[1]))
        truth = self.teacher.predict(X)
        return float(np.linalg.norm(fitted(X) - truth) / np.linalg.norm(truth))


def plant(law, n_features, n_hidden, n_samples, seed, sigma=0.0):
    """Return the problem of one seed.

    The law is "positive" or "signed": the output weights, all +1 or +-1 with equal probability; with "orthonormal"
    before it the rows of W are orthonormal instead of uniform on the sphere.
    """
    *orthonormal, output_weights = law.split()
    coef = None
    if orthonormal:
        coef = np.linalg.qr(np.random.default_rng([seed, 2]).standard_normal((n_features, n_hidden)))[0].T
    X, y, teacher = make_one_hidden_layer(
        n_samples,
        n_features,
        n_hidden,
        coef=coef,
        output_weights=output_weights,
        noise=sigma,
        return_teacher=True,
        random_state=seed,
    )
    return NetworkProblem(X, y, teacher, seed)


def ours(attribute="hidden_coef_", **parameters):
    """Return the fit of `OneHiddenLayerReLU` with the true number of units and else default parameters."""

    def fit(problem):
        model = OneHiddenLayerReLU(problem.n_hidden, random_state=0, **parameters)
        return getattr(model.fit(problem.X, problem.y), attribute)

    return fit


def from_the_truth(**parameters):
    """Return our descent to the local optimum that is reached from the planted weights."""

    def fit(problem):
        model = OneHiddenLayerReLU(problem.n_hidden, random_state=0, warm_start=True, **parameters)
        model.hidden_coef_, model.output_coef_ = problem.teacher.hidden_coef_, problem.teacher.output_coef_
        model.hidden_intercept_, model.output_intercept_ = np.zeros(problem.n_hidden), 0.0
        return model.fit(problem.X, problem.y).hidden_coef_

    return fit


NO_BIASES = {"fit_intercept": False}
FITS = [
    Contender("skrelu", ours(), ours=True),
    Contender("skrelu, no biases", ours(**NO_BIASES)),
]
# Name of a group -> its settings (d, k, n, laws, share of the seeds) and its peers with their shares of these.
BOTH = ("positive", "signed")
ORTHONORMAL = ("orthonormal positive", "orthonormal signed")
RECOVERY = {
    "enough samples": (
        [(20, 5, 1_000, BOTH, 1.0), (50, 10, 5_000, BOTH, 0.5)],
        {"lbfgs": 1.0, "lbfgs10": 1.0, "wide": 0.5, "mlp": 0.1},
    ),
    "large": ([(100, 20, 50_000, BOTH, 0.25)], {"lbfgs": 0.4}),
    "few samples": (
        [(50, 5, 1_000, BOTH, 1.0), (50, 5, 500, BOTH, 1.0)],
        {"lbfgs": 1.0, "lbfgs10": 1.0, "wide": 0.5, "mlp": 0.25},
    ),
    "n = 3 k d": (
        [(50, 10, 1_500, BOTH, 0.5), (20, 5, 300, BOTH, 1.0)],
        {"lbfgs": 1.0, "lbfgs10": 1.0, "wide": 0.5, "mlp": 0.25},
    ),
    "k = d": ([(20, 20, 10_000, BOTH, 0.5)], {"lbfgs": 1.0, "lbfgs10": 0.5, "wide": 0.2, "mlp": 0.1}),
    "k = d, orthonormal": ([(20, 20, 10_000, ORTHONORMAL, 0.5)], {"lbfgs": 1.0, "lbfgs10": 0.5, "wide": 0.2}),
    "k = d, large": ([(40, 40, 40_000, ORTHONORMAL, 0.15)], {"lbfgs": 0.4}),
}
PEERS = {
    "lbfgs": ("L-BFGS, 1 start (*)", peers.lbfgs(1)),
    "lbfgs10": ("L-BFGS, 10 starts (*)", peers.lbfgs(10)),
    "wide": ("L-BFGS, 2 k units, 1 start (*)", peers.lbfgs(1, width=2)),
    "mlp": ("MLPRegressor, 10 starts", peers.mlp(10)),
}
RECOVERY_NOTE = (
    "Success: relative error < 1e-6 / trials; then those with an error < 1e-2. Error: of the weights after matching "
    "units; for MLPRegressor and 2 k units, whose weights are not unique, of the predictions for new rows. Seconds: "
    "median [quartiles], largest. A success: all seconds over the number of successes. Ratio: time of skrelu with "
    "biases over this method's on the problems that both solve, median [quartiles]. (*) is told the output weights and "
    "that there are no biases."
)


def net(options):
    """Success and time with default parameters."""
    table = Table(
        "One hidden layer without noise: exact recovery",
        ["d", "k", "n", "network", "method", "success", "< 1e-2", "seconds", "max", "a success", "ours / this, time"],
        note=RECOVERY_NOTE,
    )
    records = []
    for name, (settings, shares) in RECOVERY.items():
        contenders = FITS + [Contender(*PEERS[peer], share=share) for peer, share in shares.items()]
        if options.quick:
            if name.startswith(("large", "k = d, ")):
                continue
            contenders = [c for c in contenders if "10" not in c.name and "2 k" not in c.name]
        for d, k, n, laws, share in settings:
            for law in laws:
                say(f"net: d = {d}, k = {k}, n = {n}, {law}")
                seeds = range(max(1, round(share * options.seeds)))
                problems = [plant(law, d, k, n, seed) for seed in seeds]
                setting = dict(block="net", group=name, d=d, k=k, n=n, network=law)
                records += race(setting, contenders, problems)
    for setting, members in group(records, "d", "k", "n", "network").items():
        reference = [record for record in members if record["ours"]]
        for (method,), own in group(members, "method").items():
            ratio = "" if own[0]["ours"] else time_ratio(reference, own)
            table.rows.append([*map(str, setting), method, *success_cells(own), ratio])
    return Block([table], records)


# An iteration of gradient descent ends the fit right after the start.
START = {"attribute": "init_coef_", "solver": "gd", "max_iter": 1}
START_CONTENDERS = [
    Contender("skrelu", ours(**START), ours=True),
    Contender("skrelu, no biases", ours(**START, **NO_BIASES)),
    Contender("random start of skrelu", ours(**START, init="random")),
]
START_SETTINGS = [
    (20, 5, 10_000, 1.0),
    (20, 5, 20_000, 1.0),
    (50, 10, 10_000, 1.0),
    (50, 10, 50_000, 0.5),
    (100, 20, 50_000, 0.25),
]


def net_start(options):
    """Relative error of `init_coef_`."""
    table = Table(
        "The tensor start: relative error of the weights before any descent",
        ["d", "k", "n", "network", "method", "error, median", "quartiles", "largest", "trials", "seconds"],
        note="Seconds: of a fit that ends after one iteration of gradient descent, median [quartiles].",
    )
    records = []
    for d, k, n, share in START_SETTINGS[: 3 if options.quick else None]:
        for law in BOTH:
            say(f"net-start: d = {d}, k = {k}, n = {n}, {law}")
            problems = [plant(law, d, k, n, seed) for seed in range(max(1, round(share * options.seeds)))]
            records += race(dict(block="net-start", d=d, k=k, n=n, network=law), START_CONTENDERS, problems)
    for setting, members in group(records, "d", "k", "n", "network", "method").items():
        errors = [record["error"] for record in members]
        low, median, high = np.percentile(errors, [25, 50, 75])
        cells = [f"{median:.3f}", f"[{low:.3f}, {high:.3f}]", f"{max(errors):.3f}", str(len(errors))]
        table.rows.append([*map(str, setting), *cells, quartiles([record["ms"] / 1e3 for record in members])])
    return Block([table], records)


TRUTH, TRUTH_NO_BIASES = "skrelu from the planted weights (1*)", "skrelu, no biases, from the planted weights (2*)"
NOISE_CONTENDERS = [
    Contender(TRUTH, from_the_truth()),
    Contender("skrelu", ours(), ours=True),
    Contender(TRUTH_NO_BIASES, from_the_truth(**NO_BIASES)),
    Contender("skrelu, no biases", ours(**NO_BIASES)),
    Contender("L-BFGS from the planted weights (*)", peers.lbfgs_from_the_truth),
    Contender("L-BFGS, 10 starts (*)", peers.lbfgs(10), share=0.3),
]
NOISE_SETTINGS = {(20, 5, 1_000): 1.0, (20, 5, 5_000): 0.5, (50, 10, 5_000): 0.25}  # (d, k, n): share of the seeds
SIGMAS = (0.1, 0.5)


def net_noise(options):
    """Error over that of the local optimum reached from the planted weights."""
    table = Table(
        "One hidden layer with noise, signed output weights",
        ["d", "k", "n", "sigma", "method", "error, median", "over (1), or (2)", "mean", "largest", "<= 1.01", "s"],
        note="Over: its error over that of our local optimum from the planted weights, with biases (1) or, for methods "
        "without, (2); median, mean and largest. (*) is told the output weights, from the planted weights these, too.",
    )
    records = []
    for (d, k, n), share in list(NOISE_SETTINGS.items())[: 2 if options.quick else None]:
        for sigma in SIGMAS:
            say(f"net-noise: d = {d}, k = {k}, n = {n}, sigma = {sigma}")
            problems = [plant("signed", d, k, n, seed, sigma) for seed in range(max(1, round(share * options.seeds)))]
            setting = dict(block="net-noise", d=d, k=k, n=n, sigma=sigma)
            records += _over_the_optimum(race(setting, NOISE_CONTENDERS, problems))
    for setting, members in group(records, "d", "k", "n", "sigma", "method").items():
        over = np.array([record["over_truth_start"] for record in members])
        cells = [f"{np.median([record['error'] for record in members]):.4f}", f"{np.median(over):.4f}"]
        cells += [f"{np.mean(over):.3f}", f"{max(over):.2f}", f"{np.sum(over <= 1.01)}/{len(over)}"]
        table.rows.append([*map(str, setting), *cells, quartiles([record["ms"] / 1e3 for record in members])])
    sizes, order = list(NOISE_SETTINGS), [contender.name for contender in NOISE_CONTENDERS]
    table.rows.sort(key=lambda row: (sizes.index(tuple(map(int, row[:3]))), row[3], order.index(row[4])))
    return Block([table], records)


def _over_the_optimum(records):
    """Add to each record the ratio of its error to that from the planted weights, of the same model and seed."""
    errors = {(record["method"], record["seed"]): record["error"] for record in records}
    for record in records:
        reference = TRUTH if record["method"] in (TRUTH, "skrelu") else TRUTH_NO_BIASES
        record["over_truth_start"] = record["error"] / errors[reference, record["seed"]]
    return records
