"""The default solver of one hidden layer: several starts, relaxed and over-parameterised descent, Newton at the end."""

from dataclasses import replace
from math import factorial

import numpy as np

from skrelu.networks.weights import typical_sizes
from skrelu.solvers.descent import STALLED, Descent, best_of_starts, until_stalled
from skrelu.solvers.loop import INTERRUPTED
from skrelu.solvers.newton import newton_cg

NEWTON_STALL = 1e-6  # the same of Newton steps: where the infimum is at infinity, they fall on and on, slowly
STARTS_OF_A_SIZE = 4  # besides the first, before units are added to a network
AGREEING = 3  # starts that come to the same objective as the best before them, then no other follows; of ReLUs, one
DECAYS = (0.03, 0.01, 0.003)  # weight decays of the wide networks, relative to the root mean square of y
WIDTHS = (3, 4, 2)  # of the wide networks, in units of the network, by turns
WIDE_ITERATIONS = 150  # for each weight decay
DECAY_ITERATIONS = 100  # of other starts, at the last of these decays
WIDE_SIZE = 0.3  # of their random weights
PARALLEL = 0.9  # cosine above which units of a wide network are merged
SMOOTHINGS = (1e-1, 1e-2, 1e-3, 1e-4)  # widths of the smoothed kinks, in units in which y has root mean square 1
STAGE_STALL = 1e-5  # the decrease at which they end, as NEWTON_STALL
STAGE_TOL = 1e-2  # of the width: criterion at which all stages but the last end


def refined(network, theta, rng, *, max_iter, rival=np.inf, watch=None, verbose=0):
    """Return (network, descent) from a start: of the relaxed network, if there is one, then of the network."""
    options = {"max_iter": max_iter, "watch": watch, "verbose": verbose}
    if network.activation.odd_slope is None:
        return network, Descent(theta).followed_by(until_stalled(rival), network, **options)
    free = network.variant(free_output=True)
    start = free.relaxed_parameters(_balanced(free, *_units(network, theta)))
    return _from_relaxed(network, Descent(start), rng, rival, options)


def _from_relaxed(network, descent, rng, rival, options):
    """Return (network, descent) from a theta of the relaxed network with free outputs.

    Outputs are free so that a unit whose sign is wrong shrinks to nothing and returns with the other one. There is no
    weight decay: it would let the linear part, which a network has to pay for, replace units.
    """
    free = network.variant(free_output=True, alpha=0.0)
    relaxed = free.variant(relaxed=True)
    descent = descent.followed_by(until_stalled(), relaxed, **options)
    network, theta = _collapsed(network, free, relaxed.oriented(descent.theta), rng, parallel=1.0)
    return network, descent.moved(network, theta).followed_by(until_stalled(rival), network, **options)


def widened(network, rng, *, width, decays, relaxed, max_iter, rival=np.inf, watch=None, verbose=0):
    """Return (network, descent) from a wide random network with free outputs, under decreasing weight decay, pruned.

    Width removes bad local minima, and finds the number of negative outputs on the way; weight decay the freedom to
    fit without the planted units. Parallel units are then merged, those that contribute most are kept, and descent goes
    on from them.

    Parameters
    ----------
    network : OneHiddenLayer
    rng : RandomState
    width : int
        Number of units.
    decays : tuple of float
        Values of alpha, relative to the root mean square of y; `WIDE_ITERATIONS` for each.
    relaxed : bool
        Whether the wide network is relaxed.
    """
    options = {"max_iter": max_iter, "watch": watch, "verbose": verbose}
    wide = network.variant(np.ones(width), alpha=0.0, free_output=True, relaxed=relaxed)
    descent = Descent(_wide_start(wide, rng))
    for decay in decays:
        alpha = 0.0 if relaxed else max(decay * network.target_scale, network.alpha)
        wide = wide.variant(alpha=alpha)
        budget = min(max_iter, len(descent.loss_curve) + WIDE_ITERATIONS)
        descent = descent.followed_by(until_stalled(), wide, **{**options, "max_iter": budget})
    if relaxed:
        narrow = network.variant(free_output=True, relaxed=True, alpha=0.0)
        narrow, theta = _collapsed(narrow, wide, descent.theta, rng)
        return _from_relaxed(network, descent.moved(narrow, theta), rng, rival, options)
    network, theta = _collapsed(network, wide, descent.theta, rng)
    return network, descent.moved(network, theta).followed_by(until_stalled(rival), network, **options)


def _wide_start(wide, rng):
    """Return small isotropic units, outputs of alternating signs."""
    hidden = WIDE_SIZE * rng.standard_normal(wide.shape) / wide.whitening.size**0.5
    if wide.fit_intercept:
        hidden[:, -1] = 0
    v = WIDE_SIZE * np.where(np.arange(wide.n_hidden) % 2 == 0, -1.0, 1.0)
    return wide.pack(hidden, np.zeros(wide.n_head), v)


def _collapsed(network, source, theta, rng, *, parallel=PARALLEL):
    """Return (network, theta) of the units of another network that contribute most, parallel ReLUs merged.

    Where fewer units are left than the network has, the others are small and random.
    """
    hidden, head, v = _units(source, theta)
    if source.activation.homogeneity == 1:
        hidden, v = _merged(hidden, v, parallel, relaxed=source.relaxed)
    hidden, v = _filled(network, hidden, v, rng)
    kept = np.argsort(-_contributions(network.activation, hidden, v), kind="stable")[: network.n_hidden]
    network = network.variant(v[kept])
    return network, _balanced(network, hidden[kept], head, v[kept])


def _merged(hidden, signs, parallel, *, relaxed):
    """Return (hidden, signs) with parallel units added up: positively homogeneous units of one sign do."""
    size = np.linalg.norm(hidden, axis=1)
    merged: list = []
    merged_signs: list = []
    for i in np.argsort(-size, kind="stable"):
        for j, sign in enumerate(merged_signs):
            along = hidden[i] @ merged[j]
            along = abs(along) if relaxed else along
            if sign == signs[i] and along > parallel * size[i] * np.linalg.norm(merged[j]):
                merged[j] = merged[j] + (1 if hidden[i] @ merged[j] > 0 else -1) * hidden[i]
                break
        else:
            merged, merged_signs = [*merged, hidden[i]], [*merged_signs, signs[i]]
    return np.array(merged), np.array(merged_signs)


def _filled(network, hidden, v, rng):
    """Return (hidden, v) with small random units up to the number of units of the network."""
    missing = max(network.n_hidden - len(hidden), 0)
    extra, size = rng.standard_normal((missing, hidden.shape[1])), np.linalg.norm(hidden, axis=1).max()
    if network.activation.homogeneity is None:
        extra, small = size / hidden.shape[1] ** 0.5 * extra, np.abs(v).max() / 100
    else:
        extra, small = size / 100 * extra, 1.0
    return np.vstack([hidden, extra]), np.append(v, np.full(missing, small))


def _contributions(activation, hidden, v):
    """Return the sizes of units: of ReLUs their norms, else how much they would vary for white inputs."""
    size = np.linalg.norm(hidden, axis=1)
    if activation.homogeneity == 1:
        return size
    # The bias counts as a weight of an input of its own, as it does in the norm.
    c = activation.hermite_coefficients(4, scale=size)
    return np.abs(v) * np.sqrt(sum(c[m] ** 2 / factorial(m) for m in range(1, 5)))


def balanced(network, theta):
    """Return the theta of a network whose outputs are free, from one with fixed outputs; else theta itself."""
    return _balanced(network, *_units(network.variant(free_output=network.activation.homogeneity is None), theta))


def _units(network, theta):
    """Return (hidden, head, v), v +-1 if a is homogeneous: ``v a(z) = sign(v) a(|v|^(1/p) z)``."""
    hidden, head, v = network.unpack(theta)
    if network.activation.homogeneity is None:
        return hidden, head, v
    return np.abs(v)[:, None] ** (1 / network.activation.homogeneity) * hidden, head, np.where(v < 0, -1.0, 1.0)


def _balanced(network, hidden, head, v):
    """Return the theta of units; where those of homogeneous ones are free, outputs are as large as their weights."""
    p = network.activation.homogeneity
    if p is None or not network.free_output:
        return network.pack(hidden, head, v)
    size = np.maximum(np.linalg.norm(hidden, axis=1), np.finfo(float).tiny) ** (1 / (p + 1))
    return network.pack(hidden / size[:, None], head, v * size**p)


def best_start(network, descent, rng, *, n_starts, begin, **options):
    """Return (network, descent) of the best of a first descent and at most `n_starts` others (`_further`).

    ReLUs need one that agrees with the best before it; of other activations the same bad minimum was seen several times
    in a row.

    Parameters
    ----------
    network : OneHiddenLayer
    descent : Descent
    rng : RandomState
    n_starts : int
    begin : callable
        Told of each start; True stops.
    **options : dict
        max_iter, of each start; watch and verbose, of the loop.
    """
    agreeing = 1 if network.activation.homogeneity == 1 else AGREEING

    def further(attempt, network, rival):
        return _further(network, rng, attempt, rival=rival, **options)

    return best_of_starts((network, descent), further, n_starts=n_starts, begin=begin, agreeing=agreeing)


def grown(network, descent, rng, **options):
    """Return (network, descent) with units added for as long as the Bayesian information criterion falls.

    ``n log(F) + p log(n)``, F the objective, p the number of weights and n the sum of the sample weights, must fall by
    more than 1; and p stays below n / 2. A unit is added small along the eigenvector of the largest eigenvalue, in
    absolute value, of the second moment of the residual, with the output that lowers the objective; where descent from
    there is not enough, from a further start. Once the residual is zero, units are taken away for as long as it remains
    so. Units that are not ReLUs have `STARTS_OF_A_SIZE` further starts first: every second one ends in a bad minimum.
    """
    try:
        if network.activation.homogeneity != 1:
            options_first = {"n_starts": STARTS_OF_A_SIZE, "begin": lambda: False, **options}
            network, descent = best_start(network, descent, rng, **options_first)
        network, descent = _enlarged(network, descent, rng, options)
        return _reduced(network, descent, rng, options)
    except KeyboardInterrupt:
        return network, descent.stopped(INTERRUPTED)


def _enlarged(network, descent, rng, options):
    n, n_weights = network.rows.weight_sum, network.whitening.rank + network.fit_intercept
    while not (network.is_lowest(descent.objective) or descent.interrupted):
        size = (network.n_hidden + 1) * n_weights
        if size > n / 2 or network.n_hidden >= network.whitening.rank:
            break
        needed = descent.objective * np.exp(-(n_weights * np.log(n) + 1) / n)
        larger, theta = _with_one_more(network, descent.theta)
        trial = refined(larger, theta, rng, **options)
        if trial[1].objective >= needed and not trial[1].interrupted:
            trial = _further(larger, rng, 0, rival=needed, **options)
        if trial[1].interrupted:
            descent = descent.stopped(trial[1].stop_reason)
        elif trial[1].objective >= needed:
            break
        else:
            network, descent = trial[0], replace(trial[1], loss_curve=descent.loss_curve + trial[1].loss_curve)
    return network, descent


def _reduced(network, descent, rng, options):
    while network.n_hidden > 1 and network.is_lowest(descent.objective):
        smaller, theta = _collapsed(network.variant(network.output[1:]), network, descent.theta, rng)
        trial = refined(smaller, theta, rng, **options)
        if not smaller.is_lowest(trial[1].objective):
            break
        network, descent = trial[0], replace(trial[1], loss_curve=descent.loss_curve + trial[1].loss_curve)
    return network, descent


def _with_one_more(network, theta):
    values, vectors = np.linalg.eigh(network.residual_second_moment(theta))
    values = values if not network.positive else np.minimum(values, 0)
    i = int(np.argmax(np.abs(values)))
    hidden, head, v = _units(network, theta)
    sign = 1.0 if values[i] <= 0 else -1.0
    unit = np.zeros(network.shape[1])
    unit[: network.whitening.size] = vectors[:, i] * np.linalg.norm(hidden, axis=1).min()
    if network.activation.homogeneity is None:
        v = np.append(v, sign * np.abs(v).min() / 10)
    else:
        unit, v = unit / 10, np.append(v, sign)
    larger = network.variant(v)
    return larger, _balanced(larger, np.vstack([hidden, unit]), head, v)


def polished(network, descent, *, tol, max_iter, watch=None, verbose=0):
    """Return the descent continued by Newton steps to `tol`, the kinks of the activation smoothed less and less.

    With noise the solution lies on kinks, convex ones, of some rows: smoothed over `SMOOTHINGS`, in the end.
    """
    if descent.interrupted:
        return replace(descent, converged=False)
    if network.is_lowest(descent.objective):
        return replace(descent, converged=True)
    descent = replace(descent, converged=False, stop_reason=f"max_iter = {max_iter} reached")
    widths = SMOOTHINGS if network.activation.kink else [0.0]
    for width in widths:
        last = width == widths[-1]
        descent = descent.followed_by(
            until_stalled(base=newton_cg, stall=NEWTON_STALL if last else STAGE_STALL),
            network.variant(smoothing=width),
            max_iter=max_iter,
            tol=tol if last else max(tol, STAGE_TOL * width),
            watch=watch,
            verbose=verbose,
        )
    if descent.stop_reason == STALLED:
        # Above tol: weights that run off to where the infimum is, unless weight decay holds them.
        return descent.stopped(f"{STALLED}, or ever more slowly: without weight decay weights may run off")
    return descent


def _further(network, rng, attempt, **options):
    """Return (network, descent) of a further start.

    With rows to spare a few more units in the relaxed network suffice, where there is one. By turns with it ReLUs come
    from a wide network, with few rows only weight decay helps, and others from random units, relaxed or for a while
    under weight decay: without, they can run off, steeper or flatter without end.
    """
    k, relaxed = network.n_hidden, attempt % 2 == 0 and network.activation.odd_slope is not None
    if relaxed and (attempt % 4 == 2 or network.activation.homogeneity == 1):
        return widened(network, rng, width=k + max(2, k // 4), decays=(0.0,), relaxed=True, **options)
    if network.activation.homogeneity == 1:
        width = WIDTHS[attempt // 2 % len(WIDTHS)] * k
        return widened(network, rng, width=width, decays=DECAYS, relaxed=False, **options)
    size, output_size = typical_sizes(network.activation, k)
    hidden = size * rng.standard_normal(network.shape) / network.whitening.size**0.5
    v = output_size * np.where(np.arange(k) % 2 == 0, 1.0, -1.0)
    network, head = network.variant(v), np.zeros(network.n_head)
    if relaxed:
        return refined(network, _balanced(network, hidden, head, v), rng, **options)
    rival = options.pop("rival", np.inf)
    # On hidden weights in the unit of y, too: these decays, and the descent, then are the same in any unit.
    ratio = network.target_scale if network.activation.homogeneity is None else 1.0
    decayed = network.variant(free_output=True, ratio=ratio)
    decayed = decayed.variant(alpha=decay_in_user_units(decayed, DECAYS[-1]))
    budget = {**options, "max_iter": min(options["max_iter"], DECAY_ITERATIONS)}
    descent = Descent(_balanced(decayed, hidden, head, v)).followed_by(until_stalled(), decayed, **budget)
    network, theta = _collapsed(network, decayed, descent.theta, rng)
    return network, descent.moved(network, theta).followed_by(until_stalled(rival), network, **options)


def decay_in_user_units(network, relative):
    """Return the alpha that counts as `relative` with y in units of the `target_scale` of the network.

    Where the decays of both layers differ, as less in one: no alpha follows the unit of y in both.

    Raises
    ------
    ValueError
        If it is not finite.
    """
    decay = max(network.variant(alpha=1.0).decays)
    if not relative < np.finfo(np.float64).max * decay:
        raise ValueError(f"X or y: weight decay in the unit of y overflows {np.dtype(np.float64)}; rescale it")
    return relative / decay
