"""The default solver of two layers: exact steps, descent with the output layer eliminated, wide starts, sizes."""

from copy import copy
from dataclasses import replace
from math import ceil

import numpy as np
from scipy.linalg import lapack
from scipy.sparse.csgraph import connected_components

from skrelu.networks.piecewise_linear import products
from skrelu.networks.units import unit_values
from skrelu.null_combinations import normalised, null_combinations
from skrelu.solvers import hidden_layer
from skrelu.solvers.descent import Descent, best_of_starts, until_stalled
from skrelu.solvers.loop import INTERRUPTED
from skrelu.solvers.newton import conjugate_gradients, newton_cg
from skrelu.solvers.quasi_newton import quasi_newton
from skrelu.whitening import weighted_gram

EXACT_STEPS = 8  # at most, for as long as each lowers the objective by the factor EXACT_FALL
EXACT_FALL = 0.5
WEIGHTED_STALL = 1e-2  # `until_stalled` of weighted outputs; they only lead on to the outputs themselves
WIDTHS = (2.0, 1.5, 3.0)  # of the wide networks, in units of the network, by turns
WIDE_ITERATIONS = 100
SIZES = (1.0, 3.0, 0.3)  # of their random units where the activation is not homogeneous, by turns
NEARLY_EXACT = 1e-6  # objective below which a residual of zero may be near
SMOOTHED_OBJECTIVE = 1e-16  # below, smoothing would raise it
LAST_ITERATIONS = 60  # of L-BFGS, at most, that are to find it
LAST_STEPS = 20  # then, at most, of Newton steps
DEPENDENT = 1e-8  # of the variances of units: what those that depend on others are given when units are dropped
MERGED = (0.95, 0.8)  # cosines from which units are nearly parallel
IN_RANGE = 1e-5  # relative distance from the range of the Hessian that counts as none
KINK_EPS = 1e3  # a unit of at most so many eps of its root mean square is zero to rounding
SPAN_EPS = 1e3  # vectors whose cosines have a reciprocal condition number of at most so many eps count as dependent
MAX_INPUTS = 300  # of a unit: with more, conjugate gradients cost less than second moments of the inputs
SIZE_MARGIN = 1.0  # by which a size must lower the criterion to be preferred


def exact(network, descent, covariance):
    """Return the descent after exact steps (`null_combinations`), for as long as they pay."""
    if network.activation.homogeneity is None:
        return descent
    theta, objective = descent.theta, descent.objective
    for _ in range(EXACT_STEPS):
        theta = null_combinations(network, theta, covariance)
        if theta is None:
            break
        value = network.value_and_gradient(theta)[0]
        if value < descent.objective:
            descent = replace(descent, theta=theta, objective=value, loss_curve=[*descent.loss_curve, value])
        if not value < EXACT_FALL * objective or network.is_lowest(value):
            break
        objective = value
    return descent


def refined(network, weighting, descent, *, rival=np.inf, **options):
    """Return the descent continued, first for the weighted outputs, then for the outputs themselves.

    In weighted outputs all units count alike, in the outputs themselves those of large u_j alone: descent takes several
    times as many iterations there, and is caught more often.
    """
    if network.is_lowest(descent.objective):
        return descent
    weighted = network.variant(weighting=weighting, alpha=0.0)
    descent = descent.followed_by(until_stalled(stall=WEIGHTED_STALL, floor=NEARLY_EXACT), weighted, **options)
    descent = descent.moved(network, normalised(network, descent.theta))
    descent = descent.followed_by(until_stalled(rival, floor=NEARLY_EXACT), network, **options)
    return _to_zero(network, descent, **options)


def widened(network, weighting, rng, attempt, *, max_iter, rival=np.inf, watch=None, verbose=0):
    """Return the descent from a wide network of random units, pruned: width removes bad local minima.

    Units are dropped one by one, each time the one without which the least squares fit of the output layer loses least.
    """
    width = ceil(WIDTHS[attempt % len(WIDTHS)] * network.n_hidden)
    wide = network.variant(width, weighting=weighting, alpha=0.0)
    options, method = {"watch": watch, "verbose": verbose}, until_stalled(floor=NEARLY_EXACT)
    budget = min(max_iter, WIDE_ITERATIONS)
    descent = Descent(random_units(wide, rng, attempt)).followed_by(method, wide, max_iter=budget, **options)
    descent = descent.moved(network, pruned(wide, descent.theta, network.n_hidden))
    return refined(network, weighting, descent, rival=rival, max_iter=max_iter, **options)


def random_units(network, rng, attempt):
    """Return the theta of random units, of several sizes by turns where these count."""
    hidden = rng.standard_normal(network.shape) / max(network.whitening.rank, 1) ** 0.5
    if network.fit_intercept:
        hidden[:, -1] = 0
    if network.activation.homogeneity is None:
        hidden *= SIZES[attempt % len(SIZES)]
    return hidden.ravel()


def pruned(network, theta, n_hidden):
    """Return the theta of the units that are left when those that matter least are dropped one by one; one pass.

    Without unit j the squared residual of the best output layer rises by ``|u_j|^2 / (C^-1)_jj``, C the covariance of
    the units.
    """
    layer = network.layer(theta)
    coef, left = layer.coef, np.arange(network.n_hidden)
    inverse = layer.inverse if network.alpha > 0 else _of_dependent_units(layer)
    while len(left) > n_hidden:
        room = np.maximum(np.diag(inverse), 0)
        rise = np.sum(coef**2, axis=1) / np.where(room > 0, room, np.inf)
        j = int(np.argmin(rise))
        others = np.arange(len(left)) != j
        if room[j] > 0:
            ratio = inverse[others, j] / room[j]
            coef, inverse = coef[others] - np.outer(ratio, coef[j]), inverse[np.ix_(others, others)]
            inverse = inverse - np.outer(ratio, ratio) * room[j]
        else:
            coef, inverse = coef[others], inverse[np.ix_(others, others)]
        left = left[others]
    return theta.reshape(network.shape)[left].ravel()


def _of_dependent_units(layer):
    """Return the inverse covariance of units, those that depend on others given a little variance of their own."""
    deviations = layer.deviations
    values, vectors = np.linalg.eigh(layer.inverse * deviations[:, None] * deviations)
    # Of k correlated units no eigenvalue of the inverse correlation is below 1 / k but those that were left out.
    values = np.where(values < 0.5 / len(values), 1 / DEPENDENT, values)
    unit = np.where(deviations > 0, deviations, np.inf)
    return ((vectors * values) @ vectors.T) / unit[:, None] / unit


def best_start(network, weighting, descent, rng, *, n_starts, begin, **options):
    """Return the best of a first descent and at most `n_starts` wide ones (`best_of_starts`).

    One that agrees with the best before it ends the search, `hidden_layer.AGREEING` if the activation is not
    homogeneous.
    """
    agreeing = 1 if network.activation.homogeneity is not None else hidden_layer.AGREEING

    def further(attempt, network, rival):
        return network, widened(network, weighting, rng, attempt, rival=rival, **options)

    return best_of_starts((network, descent), further, n_starts=n_starts, begin=begin, agreeing=agreeing)[1]


def sized(network, weighting, descent, rng, **options):
    """Return (network, descent) of the number of units that minimises the Bayesian information criterion.

    That is ``n q log F + p log n``, F the objective, p the number of weights, q the rank of the outputs, n the sum of
    the weights. Units are doubled in number, from wide starts, for as long as that lowers it, to at most the rank of X
    and half as many weights as equations. Then those nearly parallel are made one, and others dropped one by one,
    descent following each time.
    """
    try:
        while not (network.is_lowest(descent.objective) or descent.interrupted):
            larger = network.variant(min(2 * network.n_hidden, network.whitening.rank))
            if larger.n_hidden <= network.n_hidden or larger.n_weights > larger.n_equations / 2:
                break
            trial = widened(larger, weighting, rng, 1, **options)
            if trial.interrupted:
                return network, descent.stopped(trial.stop_reason)
            better = _criterion(larger, trial) < _criterion(network, descent) - SIZE_MARGIN
            best = (larger, trial) if better else (network, descent)
            network, descent = _shrunk(larger, weighting, trial, best, options)
            if not better or network.n_hidden < larger.n_hidden:
                return network, descent
        return _shrunk(network, weighting, descent, (network, descent), options)
    except KeyboardInterrupt:
        return network, descent.stopped(INTERRUPTED)


def _shrunk(network, weighting, descent, best, options):
    """Return the best (network, descent) on the way down from many units."""
    network, descent = _merged(network, weighting, descent, options)
    if descent.interrupted:
        return best[0], best[1].stopped(descent.stop_reason)
    best = min(best, (network, descent), key=lambda fit: _criterion(*fit))
    while network.n_hidden > 1:
        smaller = network.variant(network.n_hidden - 1)
        start = Descent(descent.theta).moved(smaller, pruned(network, descent.theta, smaller.n_hidden))
        trial = refined(smaller, weighting, start, **options)
        if trial.interrupted:
            return best[0], best[1].stopped(trial.stop_reason)
        network, descent = smaller, trial
        lowest = _criterion(*best)
        if _criterion(network, descent) < lowest + (SIZE_MARGIN if network.n_hidden < best[0].n_hidden else 0):
            best = (network, descent)
        elif network.n_hidden < best[0].n_hidden:
            break
    return best


def _merged(network, weighting, descent, options):
    """Return (network, descent) with units that are nearly parallel made one, if that lowers the criterion.

    Between the inputs of finitely many rows there is room for kinks: two or more such units can be to the rows what one
    is, and none of them can then be dropped.
    """
    for cosine in MERGED:
        theta = merged(network, descent.theta, cosine)
        smaller = network.variant(theta.size // network.shape[1])
        if smaller.n_hidden == network.n_hidden or descent.interrupted:
            continue
        trial = refined(smaller, weighting, Descent(descent.theta).moved(smaller, theta), **options)
        if trial.interrupted:
            return network, descent.stopped(trial.stop_reason)
        if _criterion(smaller, trial) < _criterion(network, descent):
            network, descent = smaller, trial
    return network, descent


def merged(network, theta, cosine):
    """Return the theta where units of at least that cosine are one: their sum by their shares in ``sum_j u_j``."""
    hidden = theta.reshape(network.shape)
    norms = np.linalg.norm(hidden, axis=1)
    U = hidden / np.where(norms > 0, norms, 1)[:, None]
    n_groups, group = connected_components(cosine <= U @ U.T)
    coef = network.layer(theta).coef
    total, sums = np.zeros((n_groups, coef.shape[1])), np.zeros((n_groups, hidden.shape[1]))
    np.add.at(total, group, coef)
    size = np.maximum(np.sum(total**2, axis=1), np.finfo(float).tiny)
    share = np.sum(coef * total[group], axis=1) / size[group]
    np.add.at(sums, group, hidden * share[:, None])
    return sums.ravel()


def _criterion(network, descent):
    n = network.rows.weight_sum
    return network.n_equations * np.log(max(descent.objective, network.lowest)) + network.n_weights * np.log(max(n, 2))


def _to_zero(network, descent, *, max_iter, **options):
    """Return the descent continued to a residual of zero, if that is near.

    By exact steps, where there are as many independent outputs as units, else by L-BFGS, if slow by Newton steps.
    """
    trial = descent
    near = network.lowest < trial.objective < NEARLY_EXACT and not trial.interrupted
    if near and network.n_hidden <= network.output_rank:
        trial = exact(network, trial, *network.rows.sum(_second_moments, network))
    for method, length in ((quasi_newton, LAST_ITERATIONS), (newton_cg, LAST_STEPS)):
        if not network.lowest < trial.objective < NEARLY_EXACT or trial.interrupted:
            break
        budget = min(max_iter, len(trial.loss_curve) + length)
        trial = trial.followed_by(method, network, max_iter=budget, **options)
    found = trial.objective < max(SMOOTHED_OBJECTIVE, network.lowest)
    return trial if found or trial.interrupted else descent


def _second_moments(X, y, s, network):
    """Return those of the outputs."""
    targets = network.targets(y).astype(np.float64)
    return ((targets * s) @ targets.T,)


def off_kinks(network, theta):
    """Return the network on the rows where no unit is zero to rounding, which would say whether it is on; or None."""
    sizes = np.linalg.norm(theta.reshape(network.shape), axis=1)[:, None]
    least = (KINK_EPS * float(np.finfo(network.rows.dtype).eps) * sizes).astype(network.rows.dtype)

    def kinks(X, y, W, b, least):
        return np.sum(np.where(np.abs(products(X, W) + b) > least, 0.0, 1.0), axis=0)

    off = network.rows.each(kinks, *network.stacked(theta), least) == 0
    if np.all(off):
        return network
    if not np.any(off):
        return None
    clear = copy(network)
    clear.rows = network.rows.reweighted(off.astype(np.float64))
    return clear.variant()


def determined(network, theta):
    """Return True if the rows determine the weights, to first order, where the residual is zero; False if unclear.

    They do if the Hessian has full rank, and then a random right-hand side is in its range, to which conjugate
    gradients come. Else they leave the part of it in the null space: of p weights, about its ``p^(-1/2)``-th. No such
    steps are needed where each unit is determined by itself (`_determined_one_by_one`).
    """
    theta = normalised(network, theta)
    if _determined_one_by_one(network, theta):
        return True
    draw = np.random.RandomState(0).standard_normal(network.shape).ravel()
    b = network.parameters(*network.hidden(draw))
    product, metric = network.curvature_product(theta), network.metric(theta)
    rest = b - product(conjugate_gradients(product, b, metric, tol=IN_RANGE / 10))
    return bool(rest @ metric(rest) <= IN_RANGE**2 * (b @ metric(b)))


def _determined_one_by_one(network, theta):
    """Return True if the u_j are independent, and for each j the ``f'(z_j) (x, 1)``, the other units and 1.

    A change of both layers that changes no output then is one of the lengths of units: times the pseudo-inverse of U it
    is, for each j, a combination of these that vanishes. One pass. False, too, where they are nearly dependent, or
    where conjugate gradients cost less.
    """
    k, size = network.shape
    if network.activation.homogeneity is None or size > MAX_INPUTS:
        return False
    tol = SPAN_EPS * float(np.finfo(network.rows.dtype).eps)
    coef = network.layer(theta).coef
    if not _independent(coef @ coef.T, tol):
        return False
    inputs, cross, units = network.rows.sum(_moments_of_slopes, network, *network.stacked(theta))
    constant = k + network.fit_intercept
    for j in range(k):
        others = np.delete(np.arange(constant), j)
        side = cross[j][others]
        if not _independent(np.block([[inputs[j], side.T], [side, units[np.ix_(others, others)]]]), tol):
            return False
    return True


def _independent(gram, tol):
    """Whether vectors of these inner products are independent, by the condition number of their cosines."""
    sizes = np.sqrt(np.diag(gram))
    if not np.all(sizes > 0):
        return False
    gram = gram / sizes[:, None] / sizes
    factor, failed = lapack.dpotrf(gram, lower=1)
    return not failed and lapack.dpocon(factor, np.max(np.sum(np.abs(gram), axis=0)), uplo="L")[0] > tol


def _moments_of_slopes(X, y, s, network, W, b):
    """Return the sums of ``f'_j^2 x x'`` and of ``f'_j a x'``, for each unit j, and of ``a a'``, a the units and 1."""
    Z = products(X, W)
    Z += b
    value, derivative = unit_values(network.activation, Z)
    units = np.vstack([value, np.ones_like(value[:1])])
    units, slopes, s = (part.astype(np.float64) for part in (units, derivative, s))
    k, size = network.shape
    inputs, cross = (np.zeros_like(s, shape=shape) for shape in ((k, size, size), (k, k + 1, size)))
    for piece, white in network.whitening.whitened(X):
        white = np.column_stack([white, np.ones_like(white[:, :1])])[:, :size].astype(np.float64)
        for j, slope in enumerate(slopes[:, piece]):
            inputs[j] += weighted_gram(white, s[piece] * slope * slope)
            cross[j] += (units[:, piece] * (s[piece] * slope)) @ white
    return inputs, cross, (units * s) @ units.T


def balanced(hidden, bias, output, deviations, activation, alpha):
    """Return the weights and biases (k, d), (k,) of a network, at the scales that decay asks for.

    All lengths may be in one of the layers; of all ``c w_j, v_j / c^p`` these have the lowest ``w_j' S w_j + v_j^2``,
    v_j the output weight, of several outputs its length. Without decay they are as they were.
    """
    hidden, bias, p = hidden.astype(np.float64), bias.astype(np.float64), activation.homogeneity
    if alpha == 0 or p is None:
        return hidden, bias
    sizes = np.linalg.norm(hidden * deviations, axis=1)
    factors = p**0.5 * np.abs(output) / np.where(sizes > 0, sizes, 1.0)
    scale = np.where(factors > 0, factors, 1.0) ** (1 / (p + 1))
    return hidden * scale[:, None], bias * scale


def polished(network, descent, **options):
    """Return the descent continued by Newton steps (`hidden_layer.polished`), from units of length one.

    Not if the residual is so near to zero that smoothed kinks would raise it.
    """
    if descent.objective < SMOOTHED_OBJECTIVE and not descent.interrupted:
        zero = "zero to rounding" if network.is_lowest(descent.objective) else "nearly zero"
        return replace(descent, converged=True, stop_reason=f"the residual is {zero}")
    theta = descent.theta if network.alpha > 0 else normalised(network, descent.theta)
    return hidden_layer.polished(network, replace(descent, theta=theta), **options)
