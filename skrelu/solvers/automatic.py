"""Weight decay, and the number of units, chosen by the data."""

from dataclasses import dataclass, replace

import numpy as np

from skrelu.criteria import INFLATION, generalised_cross_validation
from skrelu.networks.weights import Weights, averaged
from skrelu.solvers.decay_path import decay_path, path_network
from skrelu.solvers.descent import Descent
from skrelu.solvers.loop import INTERRUPTED, STOPPED

PARSIMONY = 0.01  # a network without weight decay is kept if its criterion is at most this share above the others'
SEARCHED = 2.0  # factor by which the weights of a network without decay count: its pattern is the best of many starts
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
        Generalised cross-validation of each, in the square of the unit of y; of an average the geometric mean of those
        on its paths.
    is_average : bool
    """

    network: object
    descent: Descent
    alpha: float
    alphas: np.ndarray | None = None
    criteria: np.ndarray | None = None
    is_average: bool = False


def automatic(network, unpenalised, starts, *, averages, assumed, begin, **options):
    """Return the `Choice` among the network without weight decay and those on paths of decreasing decay.

    Without decay, a residual of zero on more rows than weights ends the search: there is no noise. Else the criterion
    decides, and the network without decay is kept if it is not clearly worse. Where the number of units is free, the
    networks of all paths are averaged (`Path.shares`): the mean of networks is a network.

    Parameters
    ----------
    network : OneHiddenLayer
        Without weight decay.
    unpenalised : callable () -> (network, descent)
        Solves the problem without weight decay.
    starts : list of callable (network of paths) -> Weights
        Starts of the paths.
    averages : bool
        Whether the number of units is free.
    assumed : bool
        Whether the inputs are those of the theorems, so that the problem without decay comes first. Else it comes after
        the paths, and if the number of units is free only where none of them has come to the noise.
    begin : callable
        Told of each path; True stops.
    **options : dict
        max_iter, of each path, and verbose.
    """
    plain = unpenalised() if assumed else None
    if plain is not None and (plain[1].interrupted or _is_exact(*plain)):
        return _without_decay(plain)
    paths = _paths(path_network(network), starts, begin, options)
    stopped = paths[-1].stop_reason
    if plain is None and not stopped and (not averages or all(path.is_falling for path in paths)):
        plain = unpenalised()
        if _is_exact(*plain):
            return _without_decay(plain)
    best = min(paths, key=lambda path: path.criteria[path.best])
    among = paths if averages else [best]
    tried = _without_decay(plain) if plain is not None else None
    if tried is not None and (plain[1].interrupted or tried.criteria[0] <= (1 + PARSIMONY) * _lowest(best)):
        return _tried(tried, among, tried)
    if averages:
        choice = Choice(*_average(network, paths, stopped), *_chosen(among), is_average=True)
    else:
        stage, theta = best.networks[best.best], best.thetas[best.best]
        descent = Descent(theta, loss_curve=best.objectives, stop_reason=stopped).moved(stage, theta)
        choice = Choice(stage, descent, *_chosen(among))
    return _tried(choice, among, tried)


def _without_decay(plain):
    """Return the `Choice` of the network without decay alone."""
    network, descent = plain
    unit, n = network.target_scale, network.rows.weight_sum
    mean_square = network.mean_square(descent.theta, descent.objective)
    error = generalised_cross_validation(mean_square, network.n_weights, n, SEARCHED)
    return Choice(network, descent, 0.0, np.zeros(1), np.array([error * unit * unit]))


def _is_exact(network, descent):
    """Whether a network without decay leaves no residual on so many rows that this is no interpolation."""
    return network.is_lowest(descent.objective) and network.rows.weight_sum > INFLATION * network.n_weights


def _lowest(path):
    unit = path.networks[0].target_scale
    return path.criteria[path.best] * unit * unit


def _chosen(paths):
    """Return alpha, the alphas and their criteria: of several paths the geometric mean, for as many as all have."""
    n, unit = min(len(path.criteria) for path in paths), paths[0].networks[0].target_scale
    alphas = np.array([stage.alpha for stage in paths[0].networks[:n]])
    criteria = unit * unit * np.exp(np.mean([np.log(path.criteria[:n]) for path in paths], axis=0))
    return float(alphas[np.argmin(criteria)]), alphas, criteria


def _tried(choice, paths, plain):
    """Return the choice with all that was tried: the paths, and the network without decay."""
    _, alphas, criteria = _chosen(paths)
    if plain is not None:
        alphas, criteria = np.append(alphas, plain.alphas), np.append(criteria, plain.criteria)
    return replace(choice, alphas=alphas, criteria=criteria)


def _paths(network, starts, begin, options):
    """Return the paths, as many decays in each as in the first."""
    paths: list = []
    for start in starts:
        if paths and begin():
            paths[-1].stop_reason = STOPPED
        if paths and paths[-1].stop_reason:
            break
        n_decays = len(paths[0].thetas) if paths else None
        try:
            paths.append(decay_path(network, start(network), n_decays=n_decays, **options))
        except KeyboardInterrupt:
            if not paths:
                raise
            paths[-1].stop_reason = INTERRUPTED
    return paths


def _average(network, paths, stopped):
    """Return (network, descent) of the average of all networks of the paths, without weight decay.

    It has the unit of y of the paths, and the iterations of all of them.
    """
    parts, shares = [], []
    for path in paths:
        for stage, theta, share in zip(path.networks, path.thetas, path.shares(), strict=True):
            if share > 0:
                parts.append(stage.weights(theta))
                shares.append(share / len(paths))
    weights = averaged(parts, shares, network.activation)
    size = np.abs(weights.output) * np.linalg.norm(weights.hidden * network.whitening.deviations, axis=1)
    kept = size > NEGLIGIBLE * np.max(size, initial=0.0)
    kept[0] |= not np.any(kept)
    weights = replace(
        weights, hidden=weights.hidden[kept], hidden_bias=weights.hidden_bias[kept], output=weights.output[kept]
    )
    mean = path_network(network).variant(weights.output, free_output=True)
    theta = mean.parameters(weights)
    told = stopped or f"the average of {len(parts)} networks along {len(paths)} paths of decreasing weight decay"
    curve = [value for path in paths for value in path.objectives]
    return mean, Descent(theta, loss_curve=curve, converged=not stopped, stop_reason=told).moved(mean, theta)
