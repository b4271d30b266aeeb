"""Weight decay, and the number of units, chosen by the data."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from skrelu.criteria import INFLATION, generalised_cross_validation
from skrelu.networks.weights import Weights, averaged
from skrelu.solvers.decay_path import decay_path, given_path_start, path_network, shares, target_mean
from skrelu.solvers.descent import Descent
from skrelu.solvers.loop import INTERRUPTED, STOPPED

PARSIMONY = 0.01  # a network without weight decay is kept if its criterion is at most this share above the others'
PROMISING = 1.5
RUN_OFF = 30.0  # weights of white columns, and outputs in units of y, beyond which units have run off
# Factor by which the weights of a network without decay count, whose pattern is the best of many starts, where the
# inputs are not those of the theorems, or rows fewer than `ENOUGH` times the weights: there it fits the noise.
ENOUGH = 6
SEARCHED = 2.0
MARGIN = 1e-6  # of an objective above that of the mean of y
NEGLIGIBLE = 1e-9  # size of units that are left out of an average, relative to the largest


@dataclass(frozen=True)
class Choice:
    """What the data have chosen.

    Attributes
    ----------
    network : OneHiddenLayer
    descent : Descent
    alpha : float
        The weight decay: of an average that of the lowest criterion.
    alphas : ndarray of shape (n_alphas,), optional
        Those tried, in decreasing order.
    criteria : ndarray of shape (n_alphas,), optional
        Generalised cross-validation of each, in the square of the unit of y; of an average, those of its best path.
    is_final : bool
        Whether there is nothing to polish: an average, or a constant.
    degrees_of_freedom : float or None
        Of an average those of the best network on its paths; else None: they are for the network to tell.
    """

    network: Any
    descent: Descent
    alpha: float
    alphas: np.ndarray = field(default_factory=lambda: np.zeros(0))
    criteria: np.ndarray = field(default_factory=lambda: np.zeros(0))
    is_final: bool = False
    degrees_of_freedom: float | None = None


def automatic(network, unpenalised, further, starts, rng, *, averages, assumed, begin, probe=None, **options):
    """Return the `Choice` among the network without weight decay and those on paths of decreasing decay.

    Without decay, a residual of zero on more rows than weights ends the search: there is no noise. Else the criterion
    decides, and the network without decay is kept if it is not clearly worse. Where the number of units is free, the
    networks of all paths are averaged (`shares`): the mean of networks is a network. Where it is given, one more
    path starts from the network without decay, unless its units have run off.

    Parameters
    ----------
    network : OneHiddenLayer
        Without weight decay.
    unpenalised : callable () -> (network, descent)
        Solves the problem without weight decay from the first start.
    further : callable (network, descent) -> (network, descent)
        Tries further starts of it. If the number of units is free, only where there seems to be no noise, or where the
        criterion of the first is at most `PROMISING` times the best on the paths.
    starts : list of callable () -> Weights
        Starts of the paths.
    rng : RandomState
    averages : bool
        Whether the number of units is free.
    assumed : bool
        Whether the inputs may be those of the theorems. Then, and where there is a single start, the problem without
        decay comes first. Else it comes after the paths, and only if the best one tells of no noise.
    begin : callable
        Told of each path; True stops.
    probe : callable () -> Weights, optional
        Start of a wide path that is to tell this in place of the others.
    **options : dict
        max_iter, of each path, and verbose.
    """
    # First of all, since an interruption between two descents would keep neither.
    on_path = path_network(network)
    make = partial(_paths, on_path, rng=rng, begin=begin, options=options)
    plain = unpenalised() if assumed or len(starts) == 1 else None
    if plain is not None and not averages:
        plain = further(*plain)
    if plain is not None and (plain[1].interrupted or _is_exact(*plain)):
        return _without_decay(plain, assumed)
    paths = make(starts)
    if not paths:
        choice = constant(network) if plain is None else _without_decay(plain, assumed)
        return replace(choice, descent=choice.descent.stopped(INTERRUPTED))
    stopped = paths[-1].stop_reason
    if not stopped and (averages or plain is None):
        telling = paths if probe is None or plain is not None else make([probe])
        stopped = telling[-1].stop_reason if telling else INTERRUPTED
        if not stopped and _is_worth_it(plain, assumed, telling):
            plain = further(*(plain or unpenalised()))
            if _is_exact(*plain):
                return _without_decay(plain, assumed)
    # Where units that have run off came to a stop is for rounding to say: no start for others.
    if plain is not None and not (averages or plain[1].interrupted or stopped or _has_run_off(*plain)):
        further_paths = make([partial(given_path_start, network, plain[0].weights(plain[1].theta))])
        paths += further_paths
        stopped = paths[-1].stop_reason if further_paths else INTERRUPTED
    best = min(paths, key=lambda path: path.criteria[path.best])
    unit = best.networks[0].target_scale
    alphas = np.array([stage.alpha for stage in best.networks])
    criteria = np.array(best.criteria) * unit * unit
    alpha = float(alphas[np.argmin(criteria)])
    if plain is not None:
        tried = _without_decay(plain, assumed)
        alphas, criteria = np.append(alphas, tried.alphas), np.append(criteria, tried.criteria)
        # One that could interpolate any targets is never kept, not even where all others could, too.
        if plain[1].interrupted or (np.isfinite(criteria[-1]) and criteria[-1] <= (1 + PARSIMONY) * _lowest([best])):
            descent = tried.descent.stopped(stopped) if stopped else tried.descent
            return replace(tried, descent=descent, alphas=alphas, criteria=criteria)
    if averages:
        network, descent = _average(on_path, paths, stopped)
    else:
        network, theta = best.networks[best.best], best.thetas[best.best]
        descent = Descent(theta, loss_curve=best.objectives, stop_reason=stopped).moved(network, theta)
    degrees = best.degrees[best.best] if averages else None
    return Choice(network, descent, alpha, alphas, criteria, is_final=averages, degrees_of_freedom=degrees)


def constant(network):
    """Return the `Choice` of units that are zero: the mean of y."""
    mean = target_mean(network)
    network = network.variant(target_scale=abs(mean) or 1.0)
    d, k = network.whitening.size, network.n_hidden
    output = np.ones(k) if network.activation.homogeneity is not None else np.zeros(k)
    theta = network.parameters(Weights(np.zeros((k, d)), np.zeros(k), output, mean))
    descent = Descent(theta, converged=True, stop_reason="y is constant").moved(network, theta)
    return Choice(network, descent, 0.0, np.zeros(1), np.zeros(1), is_final=True)


def _without_decay(plain, assumed):
    """Return the `Choice` of the network without decay alone."""
    network, descent = plain
    unit, n = network.target_scale, network.rows.weight_sum
    mean_square = network.mean_square(descent.theta, descent.objective)
    inflation = INFLATION if assumed and n >= ENOUGH * network.n_weights else SEARCHED
    error = generalised_cross_validation(mean_square, network.n_weights, n, inflation)
    if _has_run_off(network, descent):
        error = np.inf
    return Choice(network, descent, 0.0, np.zeros(1), np.array([error * unit * unit]))


def _has_run_off(network, descent):
    """Whether units that are not homogeneous have run off to ever steeper ones, which no criterion of the rows sees."""
    hidden, _, v = network.unpack(descent.theta)
    sizes = np.linalg.norm(hidden, axis=1), np.abs(v)
    return network.activation.homogeneity is None and float(np.max(sizes)) > RUN_OFF


def _is_exact(network, descent):
    """Whether a network without decay leaves no residual on so many rows that this is no interpolation."""
    return network.is_lowest(descent.objective) and network.rows.weight_sum > INFLATION * network.n_weights


def _is_worth_it(plain, assumed, paths):
    """Whether further starts without decay may lead to the best network."""
    if min(paths, key=lambda path: path.criteria[path.best]).is_noiseless:
        return True
    return plain is not None and _without_decay(plain, assumed).criteria[0] <= PROMISING * _lowest(paths)


def _lowest(paths):
    """Return the lowest criterion on the paths."""
    unit = paths[0].networks[0].target_scale
    return min(path.criteria[path.best] for path in paths) * unit * unit


def _paths(network, starts, rng, begin, options):
    """Return the paths, as many decays in each as in the first."""
    paths: list = []
    for start in starts:
        if paths and begin():
            paths[-1].stop_reason = STOPPED
        if paths and paths[-1].stop_reason:
            break
        n_decays = len(paths[0].thetas) if paths else None
        try:
            paths.append(decay_path(network, start(), rng, n_decays=n_decays, **options))
        except KeyboardInterrupt:
            if not paths:
                return []
            paths[-1].stop_reason = INTERRUPTED
    return paths


def _average(network, paths, stopped):
    """Return (network, descent) of the average of all networks of the paths, without weight decay.

    It has the iterations of all of them, and is a variant of the network that the paths begin with.
    """
    parts, counts = [], []
    for path, path_shares in zip(paths, shares(paths), strict=True):
        for stage, theta, share in zip(path.networks, path.thetas, path_shares, strict=True):
            if share > 0:
                parts.append(stage.weights(theta))
                counts.append(share)
    weights = averaged(parts, counts, network.activation)
    size = np.abs(weights.output) * np.linalg.norm(weights.hidden * network.whitening.deviations, axis=1)
    kept = size > NEGLIGIBLE * np.max(size, initial=0.0)
    kept[0] |= not np.any(kept)
    # What units are that do not vary, the output bias takes over; without one they stay.
    inputs = weights.hidden_bias + weights.hidden @ network.whitening.center
    constants = weights.output * network.activation.value(inputs)
    kept |= (constants != 0) & (not network.fit_intercept)
    weights = Weights(
        weights.hidden[kept],
        weights.hidden_bias[kept],
        weights.output[kept],
        weights.output_bias + float(np.sum(constants[~kept])),
    )
    mean = network.variant(weights.output)
    theta = mean.parameters(weights)
    told = stopped or f"the average of {len(parts)} networks along {len(paths)} paths of decreasing weight decay"
    curve = [value for path in paths for value in path.objectives]
    descent = Descent(theta, loss_curve=curve, converged=not stopped, stop_reason=told).moved(mean, theta)
    # Stages that end early may leave more of y than its mean does, whose objective is 1/2.
    if descent.objective > 0.5 + MARGIN:
        nothing = constant(mean.variant(np.ones(1)))
        told = stopped or f"{told} is no nearer than the mean of y, which is kept"
        return nothing.network, replace(nothing.descent, loss_curve=curve, converged=not stopped, stop_reason=told)
    return mean, descent
