"""Paths of decreasing weight decay, the networks on them judged by generalised cross-validation, and their average."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from skrelu.criteria import generalised_cross_validation
from skrelu.networks.weights import Weights
from skrelu.solvers.descent import Descent
from skrelu.solvers.hidden_layer import balanced, decay_in_user_units
from skrelu.solvers.loop import INTERRUPTED
from skrelu.solvers.quasi_newton import quasi_newton

# Of weight decays with y in units of its standard deviation. All of this section was chosen on the tuning half of the
# real tables in `examples/benchmarks/tables.py`.
FIRST, FACTOR, LAST = 0.1, 1.6, 1e-3
STEEP, NEXT_TO_NOTHING = 0.15, 1e-3
LEAST = 1e-8  # to which a path goes on for as long as the criterion falls
WIDTH = 12  # units where their number is free: fewer miss structure, twice as many predict worse
N_PATHS = 3
START_SIZE, OUTPUT_SIZE = 1.0, 0.3  # of the random weights at the start; small smooth units are linear
KICK = 1e-2  # length of random weights that are added to those of each unit before each further decay
ITERATIONS = 25  # at most, for each decay; more, and rounding grows where units part
RIDGE = 1e-2  # of the metric: less, and rounding grows where units are nearly alike
WINDOW, STALL = 10, 1e-2  # a stage ends when the objective has fallen by less than this share in so many iterations
LONGEST = 0.02  # step of smooth units, relative to their weights: along flat directions longer ones amplify rounding
BEYOND = 150.0  # a path ends where n times the logarithm of the criterion is so far above its lowest value
TEMPERATURE = 0.06  # networks count by the criterion to the power of minus n times half of this
LEAST_COUNT = 1e-2  # what is taken from these shares of the average, so that those of most networks are zero


@dataclass
class Path:
    """Networks of decreasing weight decay, each the start of the next.

    Attributes
    ----------
    networks : list of OneHiddenLayer
    thetas : list of ndarray
    criteria : list of float
        In units of the variance of y, and above rounding.
    degrees : list of float
        Degrees of freedom.
    objectives : list of float
        Of all iterations, in units of the variance of y.
    stop_reason : str
        Not empty if the path was stopped from outside.
    """

    networks: list = field(default_factory=list)
    thetas: list = field(default_factory=list)
    criteria: list = field(default_factory=list)
    degrees: list = field(default_factory=list)
    objectives: list = field(default_factory=list)
    stop_reason: str = ""

    def add(self, network, descent):
        """Add the network of a decay, judged by two passes."""
        rows, theta = network.rows, descent.theta
        objective = descent.objective if np.isfinite(descent.objective) else network.value_and_gradient(theta)[0]
        mean_square, df = network.mean_square(theta, objective), network.degrees_of_freedom(theta)
        error = generalised_cross_validation(mean_square, df, rows.weight_sum)
        self.networks.append(network)
        self.thetas.append(theta)
        self.criteria.append(max(error, float(np.finfo(rows.dtype).eps) ** 2))
        self.degrees.append(df)
        self.objectives += descent.loss_curve
        self.stop_reason = descent.stop_reason if descent.interrupted else ""

    @property
    def best(self):
        """Index of the network of the lowest criterion; the first of those, and 0 if all are infinite."""
        return int(np.argmin(self.criteria))

    @property
    def is_falling(self):
        """Whether the criterion falls at the end by `STEEP` in two decays: the path has not come to the noise."""
        *before, previous, last = [np.inf, np.inf, *self.criteria]
        return bool(last < min(previous, (1 - STEEP) * min(before)) < np.inf)

    @property
    def is_noiseless(self):
        """Whether it leaves next to nothing of the variance of y."""
        return min(self.criteria) < NEXT_TO_NOTHING

    @property
    def has_passed(self):
        """Whether the criterion has risen so far that what follows would not count."""
        n, rise = self.networks[0].rows.weight_sum, np.log(self.criteria[-1] / min(self.criteria))
        return bool(np.isfinite(min(self.criteria)) and n * rise > BEYOND)

    def shares(self):
        """Return what each network counts in the average of the path, in sum one."""
        n, criteria = self.networks[0].rows.weight_sum, np.array(self.criteria)
        if not np.isfinite(np.min(criteria)):
            return np.eye(len(criteria))[0]
        with np.errstate(over="ignore"):
            share = (criteria / np.min(criteria)) ** (-TEMPERATURE * n / 2)
        share = np.maximum(share / share.sum() - LEAST_COUNT, 0)
        return share / share.sum()


def shares(paths):
    """Return what each network on the paths counts in their average, in sum one: an array for each path.

    Paths count alike, but for those whose best criterion is far above that of the best path: not at all from twice on.
    """
    lowest = np.array([min(path.criteria) for path in paths])
    if not np.isfinite(np.min(lowest)):
        return [np.eye(len(path.criteria))[0] / len(paths) for path in paths]
    of_paths = np.maximum(2 - lowest / np.min(lowest), 0)
    return [share * path.shares() for share, path in zip(of_paths / of_paths.sum(), paths, strict=True)]


def decay_path(network, weights, rng, *, n_decays=None, max_iter, verbose=0):
    """Return the `Path` from the `Weights` of its start.

    Minimisers along a path of decreasing decay are simple first: few units, nearly linear. Stages that end early keep
    that, and rounding does not grow much in them. Where units merge, their difference would soon be of rounding, and
    what follows, too: so they are parted a little before each stage.

    Parameters
    ----------
    network : OneHiddenLayer
        With free outputs and y in units of its standard deviation (`path_network`).
    weights : Weights
    rng : RandomState
    n_decays : int, optional
        Number of decays; None: as the criterion tells.
    max_iter : int
        Largest number of iterations.
    """
    path, relative = Path(), FIRST
    network = network.variant(weights.output)
    theta = network.parameters(weights)
    while True:
        stage = network.variant(alpha=decay_in_user_units(network, relative))
        budget = min(ITERATIONS, max(max_iter - len(path.objectives), 1))
        try:
            start = _kicked(network, theta, rng) if path.thetas else theta
            descent = Descent(start).followed_by(early_stopped, stage, max_iter=budget, verbose=verbose)
            theta = descent.theta
            path.add(stage, descent)
        except KeyboardInterrupt:
            path.stop_reason = INTERRUPTED
            if not path.thetas:
                path.networks, path.thetas, path.criteria, path.degrees = [stage], [theta], [np.inf], [0.0]
        relative /= FACTOR
        if path.stop_reason or len(path.thetas) == n_decays:
            return path
        if n_decays is None and (path.has_passed or relative < (LEAST if path.is_falling else LAST)):
            return path


def _kicked(network, theta, rng):
    """Return theta with a random length of `KICK` added to the weights of each unit."""
    hidden, head, v = network.unpack(theta.copy())
    hidden[:, : network.whitening.size] += KICK * network.whitening.to_white(_isotropic(network, rng))
    return network.pack(hidden, head, v)


def early_stopped(network, theta):
    """Yield the iterates of `quasi_newton` for as long as they lower the objective by `STALL` in `WINDOW` of them."""
    values, longest = [], None if network.activation.homogeneity is not None else partial(_longest_step, network)
    for step in quasi_newton(network, theta, longest=longest):
        values.append(step.objective)
        slow = len(values) > WINDOW and values[-1 - WINDOW] - values[-1] < STALL * values[-1]
        yield step._replace(finished="the objective falls slowly") if slow and not step.finished else step


def _longest_step(network, theta):
    """Return the length that no step exceeds; the intercept of y, which says where its zero lies, does not count."""
    hidden, *others = network.unpack(theta)
    return LONGEST * np.hypot.reduce([np.linalg.norm(hidden), *map(np.linalg.norm, others[1:])])


def path_network(network):
    """Return the network of paths: free outputs, y in units of its standard deviation.

    Where an activation is not homogeneous, weight decay on the w_j counts in these units, too: with y, the v_j grow,
    but w_j does not.
    """
    rows = network.rows
    scale = rows.target_scale(center=rows.dtype.type(target_mean(network)))
    ratio = scale if network.activation.homogeneity is None else 1.0
    return network.variant(free_output=True, target_scale=scale, ratio=ratio, ridge=RIDGE)


def is_constant(network):
    """Whether y is, to rounding, its mean, or zero without intercept; two passes."""
    mean = target_mean(network)
    (deviation,) = network.rows.sum(lambda X, y, s: ((s @ np.abs(y - y.dtype.type(mean))).astype(np.float64),))
    return deviation <= 16 * float(np.finfo(network.rows.dtype).eps) * abs(mean)


def target_mean(network):
    """Return the mean of y, 0 without intercept."""
    return network.rows.sum(lambda X, y, s: ((s @ y).astype(np.float64),))[0] if network.fit_intercept else 0.0


def random_path_start(network, rng):
    """Return `Weights` of small units, isotropic in standardised columns, outputs of alternating signs; two passes."""
    network, k = path_network(network), network.n_hidden
    hidden = START_SIZE * network._hidden_unit * _isotropic(network, rng)
    signs = np.ones(k) if network.positive else np.where(np.arange(k) % 2 == 0, -1.0, 1.0)
    output = OUTPUT_SIZE * network._output_unit * signs
    return Weights(hidden, -hidden @ network.whitening.center, output, target_mean(network))


def _isotropic(network, rng):
    """Return random weights (k, d) that are isotropic in standardised columns, of length one in the mean square."""
    deviations = network.whitening.deviations
    hidden = rng.standard_normal((network.n_hidden, len(deviations)))
    return hidden / max(network.whitening.rank, 1) ** 0.5 / np.where(deviations > 0, deviations, np.inf)


def given_path_start(network, weights):
    """Return the `Weights` of a start, of homogeneous units with outputs as large as their weights."""
    network = path_network(network)
    fixed = network.variant(weights.output, free_output=network.activation.homogeneity is None)
    network = network.variant(weights.output)
    return network.weights(balanced(network, fixed.parameters(weights)))
