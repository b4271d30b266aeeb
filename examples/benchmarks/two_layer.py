"""Two layers with several outputs against their peers: both layers recovered, with and without noise."""

from dataclasses import dataclass, replace

import numpy as np
import two_layer_peers as peers
from measure import EXACT, NEAR, Block, Contender, Table, group, quartiles, race, say, success_cells, time_ratio

from skrelu import TwoLayerReLURecovery
from skrelu.activations import Activation, get_activation
from skrelu.datasets import TwoLayerTeacher, make_two_layer_relu
from skrelu.metrics import match_units


@dataclass(frozen=True)
class TwoLayerProblem:
    """Data with a planted network without biases, and what a peer may be told about it.

    Attributes
    ----------
    X, y : ndarray
    teacher : TwoLayerTeacher
    seed : int
    """

    X: np.ndarray
    y: np.ndarray
    teacher: TwoLayerTeacher
    seed: int

    @property
    def n_hidden(self):
        return len(self.teacher.hidden_coef_)

    @property
    def activation(self) -> Activation:
        return get_activation(self.teacher.activation)

    def rows(self, kept):
        """Return the problem of some of the rows."""
        return replace(self, X=self.X[kept], y=self.y[kept])

    def error(self, layers):
        """Return the relative error of V or of U, whichever is larger, after matching units.

        Where the scale of a unit moves freely to the output weights, it is that of v_j of length one.
        """
        V_true, U_true = self._scaled(self.teacher.hidden_coef_, self.teacher.output_coef_)
        V, U = self._scaled(*layers)
        rows, columns, _ = match_units(V_true, V)
        errors = []
        for truth, found in ((V_true, V), (U_true.T, U.T)):
            missing, superfluous = np.delete(truth, rows, axis=0), np.delete(found, columns, axis=0)
            distances = np.concatenate([truth[rows] - found[columns], missing, superfluous])
            errors.append(np.linalg.norm(distances) / np.linalg.norm(truth))
        return float(max(errors))

    def _scaled(self, V, U):
        if self.activation.homogeneity is None:
            return V, U
        length = np.linalg.norm(V, axis=1)
        length[length == 0] = 1.0
        return V / length[:, None], U * length**self.activation.homogeneity


def _hump(z):
    return np.maximum(z, 0) * np.exp(-np.maximum(z, 0))


def _hump_derivative(z):
    return np.where(z > 0, (1 - z) * np.exp(-np.maximum(z, 0)), np.where(z < 0, 0.0, 0.5))


def _hump_second(z):
    return np.where(z > 0, (z - 2) * np.exp(-np.maximum(z, 0)), 0.0)


HUMP = Activation(_hump, _hump_derivative, "z exp(-z) for z > 0", second_derivative=_hump_second, kink=1.0)


def plant(shape, seed, *, noise=0.0, corrupted=0.0, activation="relu"):
    """Return the problem of one seed; entries of V and U are standard normal.

    Without a free scale of units, the rows of V have length one: what the activation does far from 0 matters then.

    Parameters
    ----------
    shape : (d, k, m, n)
    noise : float
        In standard deviations of each output.
    corrupted : float
        Share of the rows to whose outputs ten times the root mean square of y is added, times N(0, I).
    """
    d, k, m, n = shape
    rng = np.random.default_rng([seed, 5])
    V, U = rng.standard_normal((k, d)), rng.standard_normal((m, k))
    if get_activation(activation).homogeneity is None:
        V /= np.linalg.norm(V, axis=1, keepdims=True)
    X, y, teacher = make_two_layer_relu(
        n, coef=V, output_coef=U, activation=activation, return_teacher=True, random_state=seed
    )
    wrong = rng.permutation(n)[: round(corrupted * n)]
    size = np.sqrt(np.mean(y**2))
    y = y + noise * y.std(axis=0) * rng.standard_normal(y.shape)
    y[wrong] += 10 * size * rng.standard_normal((len(wrong), m))
    return TwoLayerProblem(X, y, teacher, seed)


def ours(n_hidden="planted", **parameters):
    """Return the fit of `TwoLayerReLURecovery`, with the true number of units and else, by default, its defaults."""

    def fit(problem):
        k = problem.n_hidden if n_hidden == "planted" else n_hidden
        activation = problem.teacher.activation
        model = TwoLayerReLURecovery(k, activation=activation, random_state=0, **parameters).fit(problem.X, problem.y)
        return model.hidden_coef_, model.output_coef_

    return fit


def from_the_truth(**parameters):
    """Return our descent to the local optimum that is reached from the planted weights."""

    def fit(problem):
        model = TwoLayerReLURecovery(problem.n_hidden, random_state=0, warm_start=True, **parameters)
        model.hidden_coef_, model.hidden_intercept_ = problem.teacher.hidden_coef_, problem.teacher.hidden_intercept_
        model.fit(problem.X, problem.y)
        return model.hidden_coef_, model.output_coef_

    return fit


NO_BIASES = {"fit_intercept": False}
FITS = [
    Contender("skrelu", ours(), ours=True),
    Contender("skrelu, no biases", ours(**NO_BIASES)),
]
PEERS = {
    "projected": ("L-BFGS, U eliminated, 1 start (*)", peers.random_starts(peers.descend_projected, 1)),
    "projected10": ("L-BFGS, U eliminated, 10 starts (*)", peers.random_starts(peers.descend_projected, 10)),
    "joint": ("L-BFGS, U and V, 1 start (*)", peers.random_starts(peers.descend_jointly, 1)),
    "joint10": ("L-BFGS, U and V, 10 starts (*)", peers.random_starts(peers.descend_jointly, 10)),
    "mlp": ("MLPRegressor, 10 starts", peers.mlp(10)),
}
# (d, k, m, n): share of the seeds, and the peers with their shares of these.
SHARES = {"projected": 1.0, "projected10": 1.0, "joint": 0.5, "joint10": 0.5, "mlp": 0.2}
SETTINGS = {
    (20, 5, 8, 300): (1.0, SHARES),
    (50, 10, 10, 500): (0.7, SHARES),
    (50, 10, 10, 300): (0.7, SHARES),
    (100, 20, 20, 1_000): (0.3, SHARES | {"joint": 0.3, "joint10": 0.3, "mlp": 0.0}),
    (50, 10, 4, 1_000): (0.5, SHARES),
    (50, 10, 4, 500): (0.5, SHARES),
}
QUICK_WITHOUT = ((100, 20, 20, 1_000), (50, 10, 4, 500))
COLUMNS = ["success", "< 1e-2", "seconds", "max", "a success", "error, median", "ours / this, time"]
RECOVERY_NOTE = (
    "Success: relative error of both layers < 1e-10 / trials; then those with an error < 1e-2. Seconds: median "
    "[quartiles], largest. A success: all seconds over the number of successes. Ratio: time of skrelu with biases over "
    "this method's on the problems where both errors are < 1e-2, median [quartiles]. (*) is told that there are no "
    "biases. MLPRegressor ends by its own tolerance before 1e-10: its errors < 1e-2 are successes."
)


def two(options):
    """Recovery without noise, the number of units, corrupted rows, other activations."""
    blocks = [part(options) for part in (_recovery, _sizes, _corrupted, _activations)]
    return Block([t for block in blocks for t in block.tables], [r for block in blocks for r in block.records])


def _seeds(options, share=1.0):
    return range(max(1, round(share * options.seeds)))


def _peers(shares, quick):
    """Return the peers that get a share; with `quick` without those that start again."""
    left_out = ("joint10", "mlp") if quick else ()
    return [Contender(*PEERS[name], share=s) for name, s in shares.items() if s and name not in left_out]


def _success_rows(table, records, *keys):
    """Add a row for each setting and method."""
    for setting, members in group(records, *keys).items():
        reference = [record for record in members if record["ours"]]
        for (method,), own in group(members, "method").items():
            ratio = "" if own[0]["ours"] else time_ratio(reference, own, bound=NEAR)
            error = f"{np.median([record['error'] for record in own]):.0e}"
            table.rows.append([*map(str, setting), method, *success_cells(own, EXACT), error, ratio])


def _recovery(options):
    title = "Two layers without noise: exact recovery of both"
    table = Table(title, ["d", "k", "m", "n", "method", *COLUMNS], note=RECOVERY_NOTE)
    records = []
    for shape, (share, shares) in SETTINGS.items():
        if options.quick and shape in QUICK_WITHOUT:
            continue
        say(f"two: (d, k, m, n) = {shape}")
        problems = [plant(shape, seed) for seed in _seeds(options, share)]
        setting = dict(zip("dkmn", shape, strict=True))
        records += race(dict(block="two") | setting, FITS + _peers(shares, options.quick), problems)
    _success_rows(table, records, *"dkmn")
    return Block([table], records)


# (d, k, m, n): share of the seeds.
SIZES = {(20, 5, 8, 300): 0.5, (50, 10, 10, 500): 0.2, (50, 10, 10, 300): 0.1, (50, 10, 4, 1_000): 0.1}
SIZE_CONTENDERS = [
    Contender("skrelu, n_hidden='auto'", ours("auto"), ours=True),
    Contender("the same, no biases", ours("auto", **NO_BIASES)),
]


def _sizes(options):
    table = Table(
        "Two layers, the number of units not known",
        ["d", "k", "m", "n", "noise", "method", "right", "units found", "error, median", "seconds", "max"],
        note="Noise: in standard deviations of each output. Right: as many units as were planted / trials.",
    )
    records = []
    for shape, share in list(SIZES.items())[: 1 if options.quick else None]:
        for noise in (0.0, 0.1):
            say(f"two: number of units, (d, k, m, n) = {shape}, noise {noise:g}")
            problems = [plant(shape, seed, noise=noise) for seed in _seeds(options, share)]
            setting = dict(block="two-sizes", noise=noise) | dict(zip("dkmn", shape, strict=True))
            records += race(setting, SIZE_CONTENDERS, problems, more=lambda _, layers: dict(n_found=len(layers[0])))
    for setting, members in group(records, *"dkmn", "noise", "method").items():
        found, errors, ms = np.array([[r["n_found"], r["error"], r["ms"]] for r in members]).T
        low, high = int(min(found)), int(max(found))
        cells = [f"{np.sum(found == setting[1])}/{len(found)}", f"{low}" if low == high else f"{low}-{high}"]
        cells += [f"{np.median(errors):.0e}", quartiles(ms / 1e3), f"{max(ms) / 1e3:.2g}"]
        table.rows.append([*map(str, setting), *cells])
    return Block([table], records)


CORRUPTED = {(20, 5, 8, 300): 0.5, (50, 10, 10, 500): 0.2}
ROBUST = [
    Contender("skrelu, outliers='detect'", ours(outliers="detect"), ours=True),
    Contender("the same, n_hidden='auto'", ours("auto", outliers="detect"), share=0.5),
    Contender("L-BFGS, robust, 10 starts (*)", peers.random_starts(peers.descend_robustly, 10), share=0.5),
    Contender("skrelu, outliers='none'", ours()),
]


def _corrupted(options):
    table = Table(
        "Two layers, 5 % of the rows grossly wrong, no other noise",
        ["d", "k", "m", "n", "method", *COLUMNS],
        note="As above. Ten times the root mean square of y is added to the outputs of these rows, times N(0, I). "
        "Robust: the sum of |residual of a row|, smoothed near 0; then least squares without the gross rows.",
    )
    records = []
    for shape, share in list(CORRUPTED.items())[: 1 if options.quick else None]:
        say(f"two: corrupted rows, (d, k, m, n) = {shape}")
        problems = [plant(shape, seed, corrupted=0.05) for seed in _seeds(options, share)]
        setting = dict(block="two-corrupted") | dict(zip("dkmn", shape, strict=True))
        records += race(setting, ROBUST, problems)
    _success_rows(table, records, *"dkmn")
    return Block([table], records)


ACTIVATION_SHAPE = (20, 5, 8, 1_000)


def _activations(options):
    table = Table(
        f"Two layers of other rectified activations without noise, (d, k, m, n) = {ACTIVATION_SHAPE}",
        ["network", "method", *COLUMNS],
        note="As above. z exp(-z), a function that a user gives, takes its values twice, and units have no free scale: "
        "rows of V are of length one.",
    )
    records = []
    contenders = FITS + _peers({"projected": 1.0, "projected10": 1.0}, options.quick)
    for activation in ("squared_relu", HUMP):
        name = get_activation(activation).name
        say(f"two: {name}")
        problems = [plant(ACTIVATION_SHAPE, seed, activation=activation) for seed in _seeds(options, 0.5)]
        records += race(dict(block="two-activations", network=name), contenders, problems)
    _success_rows(table, records, "network")
    return Block([table], records)


TRUTH, TRUTH_NO_BIASES = "skrelu from the planted weights (1*)", "skrelu, no biases, from the planted weights (2*)"
NOISE_CONTENDERS = [
    Contender(TRUTH, from_the_truth()),
    Contender("skrelu", ours(), ours=True),
    Contender("MLPRegressor, 10 starts", peers.mlp(10), share=0.1),
    Contender(TRUTH_NO_BIASES, from_the_truth(**NO_BIASES)),
    Contender("skrelu, no biases", ours(**NO_BIASES)),
    Contender("L-BFGS, U eliminated, from the planted weights (*)", peers.projected_from_the_truth),
    Contender(*PEERS["projected"]),
    Contender(*PEERS["projected10"], share=0.2),
]
NOISE_SHAPES = {(20, 5, 8, 3_000): 0.5, (50, 10, 4, 3_000): 0.2}  # (d, k, m, n): share of the seeds
NOISE = 0.1


def two_noise(options):
    """Error over that of the local optimum reached from the planted weights."""
    columns = ["error, median", "over (1), or (2)", "largest", "<= 1.02", "seconds", "ours / this, time"]
    table = Table(
        f"Two layers, noise of {NOISE:.0%} of the standard deviation of each output",
        ["d", "k", "m", "n", "method", *columns],
        note="Error: of V or U, whichever is larger. Over: its error over that of our local optimum from the planted "
        "weights, with biases (1) or, for methods without, (2); median and largest. Ratio: time of skrelu with biases "
        "over this method's, median [quartiles]. (*) is told that there are no biases, from the planted weights these, "
        "too.",
    )
    records = []
    for shape, share in list(NOISE_SHAPES.items())[: 1 if options.quick else None]:
        say(f"two-noise: (d, k, m, n) = {shape}")
        problems = [plant(shape, seed, noise=NOISE) for seed in _seeds(options, share)]
        setting = dict(block="two-noise") | dict(zip("dkmn", shape, strict=True))
        contenders = [c for c in NOISE_CONTENDERS if not (options.quick and "10 starts" in c.name)]
        of_shape = _over_the_optimum(race(setting, contenders, problems))
        reference = [record for record in of_shape if record["ours"]]
        by_method = group(of_shape, "method")
        for c in contenders:
            own = by_method[(c.name,)]
            errors, over, ms = np.array([[record[key] for key in ("error", "over", "ms")] for record in own]).T
            cells = [f"{np.median(errors):.4f}", f"{np.median(over):.4f}", f"{max(over):.3f}"]
            cells += [f"{np.sum(over <= 1.02)}/{len(over)}", quartiles(ms / 1e3)]
            ratio = "" if c.ours else time_ratio(reference, own, bound=np.inf)
            table.rows.append([*map(str, shape), c.name, *cells, ratio])
        records += of_shape
    return Block([table], records)


def _over_the_optimum(records):
    """Add to each record the ratio of its error to that from the planted weights, of the same model and seed."""
    errors = {(record["method"], record["seed"]): record["error"] for record in records}
    for record in records:
        with_biases = record["method"] in (TRUTH, "skrelu", "MLPRegressor, 10 starts")
        record["over"] = record["error"] / errors[TRUTH if with_biases else TRUTH_NO_BIASES, record["seed"]]
    return records
