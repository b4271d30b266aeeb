"""Weight decay of two layers, chosen by generalised cross-validation along paths on which it decreases."""

from dataclasses import dataclass, replace

import numpy as np

from skrelu.criteria import generalised_cross_validation, spectral_degrees_of_freedom
from skrelu.solvers.decay_path import early_stopped
from skrelu.solvers.descent import Descent
from skrelu.solvers.hidden_layer import decay_in_user_units
from skrelu.solvers.loop import INTERRUPTED
from skrelu.solvers.two_layer import SMOOTHED_OBJECTIVE

# Of weight decays with y in units of its root mean square. This section was measured on real tables, two of whose
# columns were made outputs beside the target, and on planted networks.
FIRST, FACTOR, LAST = 0.3, 1.6, 2e-3
LEAST, STEEP = 1e-7, 0.1  # to which a path goes on for as long as the criterion falls by this share at each decay
WIDTH = 12  # units, at least, where their number is free
N_PATHS = 3
START_SIZE = 0.3  # of the random weights at the start
ITERATIONS = 100  # at most, for each decay
SHARED = 1.9  # factor by which degrees of freedom count: units that outputs share choose among their combinations, too
MARGIN = 0.01  # a weight decay wins only if its criterion is lower by more than this share
SEARCHED = 0.6  # of the lowest criterion: where inputs are not those of the theorem, no decay wins only below that
TOLD = "lowest generalised cross-validation on a path of decreasing weight decay"
RANK_TOL = 1e-10  # eigenvalues below this share of the largest are zero


@dataclass(frozen=True)
class Choice:
    """What the data have chosen.

    Attributes
    ----------
    network : TwoLayer
    descent : Descent
    alphas : ndarray of shape (n_alphas,)
        Those tried, in decreasing order, in the user's units.
    criterion : ndarray of shape (n_alphas,)
        Of each, in units of the mean square of y.
    """

    network: object
    descent: Descent
    alphas: np.ndarray
    criterion: np.ndarray


def chosen(network, descent, rng, *, assumed, free_size, max_iter, verbose=0):
    """Return the `Choice` between a network without weight decay and those on paths of decreasing decay.

    A residual of zero, on more equations than weights, ends the search: there is no noise.

    Parameters
    ----------
    network : TwoLayer
        Without weight decay.
    descent : Descent
        What it has come to.
    rng : RandomState
    assumed : callable () -> bool
        Whether the inputs are those of the theorem. Then a decay has to be better by `MARGIN`; else no decay has to be
        better by far: the best of many starts and sizes, it fits the rows better than new ones.
    free_size : bool
        Whether the paths may have another number of units.
    max_iter : int
        Largest number of iterations of a path.
    """
    plain = _alone(network, descent)
    zero = descent.objective <= max(network.lowest, SMOOTHED_OBJECTIVE)
    if descent.interrupted or (zero and network.n_equations > network.n_weights):
        return plain
    wide = network.variant(max(WIDTH, network.n_hidden)) if free_size else network
    variances, paths = standardised_variances(network.whitening), []
    for _ in range(N_PATHS):
        try:
            path = decay_path(wide, random_units(wide, rng), variances, max_iter=max_iter, verbose=verbose)
        except KeyboardInterrupt:
            return replace(plain, descent=descent.stopped(INTERRUPTED))
        if path.descent.interrupted:
            return replace(plain, descent=descent.stopped(path.descent.stop_reason))
        paths.append(path)
    best = paths[0]
    for path in paths[1:]:
        best = path if path.criterion.min() < best.criterion.min() * (1 - MARGIN) else best
    alphas, criterion = np.append(best.alphas, 0.0), np.append(best.criterion, plain.criterion)
    limit = best.criterion.min() * (1 + MARGIN if assumed() else SEARCHED)
    # Infinite criteria tell nothing.
    kept = plain.criterion[0] <= limit if np.isfinite(plain.criterion[0]) else zero and not np.isfinite(limit)
    winner = plain if kept else best
    return replace(winner, alphas=alphas, criterion=criterion)


def _alone(network, descent):
    """Return the `Choice` of a network without weight decay, all its weights counted."""
    error = _criterion(network, descent.theta, network.n_weights / network.output_rank)
    return Choice(network, descent, np.zeros(1), np.array([error]))


def decay_path(network, theta, variances, *, max_iter, verbose=0):
    """Return the `Choice` among networks of decreasing weight decay, each of which starts from the one before.

    Along it networks are simple first: few units, nearly linear. That stages end early keeps it so: fully minimised,
    the same objectives predict worse. It also keeps rounding small: the same data in another order, or repeated in
    place of weights, give the same path. It ends at `LAST`, later if the criterion still
    falls fast there, or when `max_iter` is reached.
    """
    descent, relative, best, alphas, criterion = Descent(theta), FIRST, None, [], []
    while True:
        stage = network.variant(alpha=decay_in_user_units(network, relative))
        budget = min(max_iter, len(descent.loss_curve) + ITERATIONS)
        descent = descent.followed_by(early_stopped, stage, max_iter=budget, verbose=verbose)
        alphas.append(stage.alpha)
        criterion.append(_criterion(stage, descent.theta, degrees_of_freedom(stage, descent.theta, variances)))
        if best is None or criterion[-1] < min(criterion[:-1]) or descent.interrupted:
            best = stage, descent
        relative /= FACTOR
        last = LEAST if criterion[-1] < (1 - STEEP) * min(criterion[:-1], default=np.inf) else LAST
        if relative < last or descent.interrupted or len(descent.loss_curve) >= max_iter:
            done = not descent.interrupted and relative < last
            reason = TOLD if done else descent.stop_reason
            found = replace(best[1], converged=done, stop_reason=reason)
            return Choice(best[0], found, np.array(alphas), np.array(criterion))


def settled(network, descent, **options):
    """Return the descent after another stage of a path: as that of the network chosen before, on other rows."""
    descent = descent.followed_by(early_stopped, network, **options)
    return descent if descent.interrupted else replace(descent, converged=True)


def random_units(network, rng):
    """Return the theta of small units, isotropic in standardised columns."""
    whitening = network.whitening
    deviations = np.where(whitening.deviations > 0, whitening.deviations, np.inf)
    hidden = START_SIZE * rng.standard_normal((network.n_hidden, whitening.size)) / max(whitening.rank, 1) ** 0.5
    theta = np.zeros(network.shape)
    theta[:, : whitening.size] = whitening.to_white(hidden / deviations)
    return theta.ravel()


def standardised_variances(whitening):
    """Return the eigenvalues of the covariance of the standardised columns, those of no variance left out."""
    if whitening.inverse.ndim == 1:
        return np.ones(whitening.rank)
    deviations = np.where(whitening.deviations > 0, whitening.deviations, np.inf)
    return np.linalg.svd(whitening.inverse / deviations[:, None], compute_uv=False)[: whitening.rank] ** 2


def degrees_of_freedom(network, theta, variances):
    """Return the trace of the Gauss-Newton smoother divided by the rank of the outputs; one pass.

    That is the share of the weights that the data determine, rather than the decay, times their number. The matrix of
    the hidden layer is taken as the Kronecker product of ``<u_j, u_l> E[f'_j f'_l]`` and the covariance of the columns:
    x as independent of the slopes of the units.
    """
    layer, (hidden_decay, output_decay) = network.layer(theta, slopes=True), network.decays
    k, q, biases = network.n_hidden, network.output_rank, int(network.fit_intercept)
    A = (layer.coef @ layer.coef.T) * layer.slopes
    if not np.all(np.isfinite(A)):
        return np.inf
    curvature = np.linalg.eigvalsh(A)
    determined = spectral_degrees_of_freedom(curvature, variances, hidden_decay)
    determined += biases * np.count_nonzero(curvature > RANK_TOL * max(curvature[-1], 0))
    determined += q * (k - output_decay * np.trace(layer.inverse))
    share = determined / (k * (network.whitening.rank + biases + q))
    return biases + share * (network.n_weights / q - biases)


def _criterion(network, theta, degrees):
    """Return the generalised cross-validation, in units of the mean square of y and above rounding; never NaN."""
    square = max(2 * network.loss(theta), float(np.finfo(network.rows.dtype).eps) ** 2)
    error = generalised_cross_validation(square, degrees, network.rows.weight_sum, SHARED)
    return float(error) if np.isfinite(error) else np.inf
