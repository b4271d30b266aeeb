"""The default solver of one hidden layer: several starts, relaxed and over-parameterised descent, Newton at the end."""

from dataclasses import dataclass, field, replace

import numpy as np

from skrelu.solvers.loop import INTERRUPTED, STOPPED, iterate
from skrelu.solvers.newton import newton_cg
from skrelu.solvers.quasi_newton import quasi_newton

WINDOW = 20  # iterations; descent has stalled when the objective falls by less than STALL over them, relatively
STALL = 1e-3
MARGIN = 2e-3  # a later start wins only if its objective is lower by more than this, relatively
DECAYS = (0.03, 0.01, 0.003)  # weight decays of the wide networks, relative to the root mean square of y
WIDTHS = (3, 4, 2)  # of the wide networks, in units of the network, by turns
WIDE_ITERATIONS = 150  # for each weight decay
WIDE_SIZE = 0.3  # of their random weights
PARALLEL = 0.9  # cosine above which units of a wide network are merged
SMOOTHINGS = (1e-1, 1e-2, 1e-3, 1e-4)  # widths of the smoothed kinks, in units in which y has root mean square 1
STAGE_TOL = 1e-2  # of the width: criterion at which all stages but the last end


@dataclass(frozen=True)
class Descent:
    """What a sequence of stages has come to.

    Attributes
    ----------
    theta : ndarray
    objective : float
    loss_curve : list of float
        The objectives of all stages: those of relaxed, wide and smoothed networks, too.
    converged : bool
    stop_reason : str
    """

    theta: np.ndarray
    objective: float = np.inf
    loss_curve: list = field(default_factory=list)
    converged: bool = False
    stop_reason: str = ""

    @property
    def interrupted(self):
        """Whether the user stopped it, or a callback."""
        return self.stop_reason in (INTERRUPTED, STOPPED)

    def followed_by(self, method, network, *, max_iter, **options):
        """Return the descent after one more stage, if `max_iter` is not used up; options are those of `iterate`."""
        left = max_iter - len(self.loss_curve)
        if left < 1 or self.interrupted:
            return self
        before, watch = len(self.loss_curve), options.get("watch")
        if watch is not None:
            options["watch"] = lambda n_iter, theta: watch(before + n_iter, theta)
        options = {"tol": -1.0, "criterion": "sqrt(g' M^-1 g)", **options}
        result = iterate(method(network, self.theta), self.theta, max_iter=left, **options)
        curve, reason = [value for value in result.loss_curve if np.isfinite(value)], result.stop_reason
        if result.exhausted:
            reason = f"max_iter = {max_iter} reached with {options['criterion']} = {result.criterion:.3g}"
        objective = curve[-1] if curve else self.objective
        return Descent(result.parameters, objective, self.loss_curve + curve, result.converged, reason)

    def moved(self, network, theta):
        """Return the descent gone over to theta in another network; one pass."""
        return replace(self, theta=theta, objective=network.value_and_gradient(theta)[0])

    def stopped(self, reason):
        """Return the descent ended from outside."""
        return replace(self, converged=False, stop_reason=reason)


def until_stalled(rival=np.inf):
    """Return the method `quasi_newton` ended when it stalls, or when it will not come below `rival`.

    It will not if even five times the decrease over the last `WINDOW` iterations would leave it above.
    """

    def method(network, theta):
        values = []
        for step in quasi_newton(network, theta):
            values.append(step.objective)
            if len(values) > 2 * WINDOW and not step.finished:
                fall = values[-1 - WINDOW] - values[-1]
                if fall < STALL * values[-1]:
                    step = step._replace(finished="the objective falls no further")
                elif values[-1] - 5 * fall > rival:
                    step = step._replace(finished="another start is better", converged=False)
            yield step

    return method


def refined(network, theta, rng, *, max_iter, rival=np.inf, watch=None, verbose=0):
    """Return (network, descent) from a start: of the relaxed network, if there is one, then of the network."""
    options = {"max_iter": max_iter, "watch": watch, "verbose": verbose}
    if network.activation.odd_slope is None:
        return network, Descent(theta).followed_by(until_stalled(rival), network, **options)
    free = network.variant(free_output=True, alpha=0.0)
    start = free.relaxed_parameters(_balanced(free, *_homogeneous(network, theta)))
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
    """Return (network, theta) of the units of another network that contribute most, parallel ones merged.

    Parallel positively homogeneous units of one sign add up. The contribution of a unit is its norm in the whitened
    metric. Where fewer units are left than the network has, the others are small and random.
    """
    hidden, head, signs = _homogeneous(source, theta)
    size = np.linalg.norm(hidden, axis=1)
    merged: list = []
    merged_signs: list = []
    for i in np.argsort(-size, kind="stable"):
        for j, sign in enumerate(merged_signs):
            along = hidden[i] @ merged[j]
            along = abs(along) if source.relaxed else along
            if sign == signs[i] and along > parallel * size[i] * np.linalg.norm(merged[j]):
                merged[j] = merged[j] + (1 if hidden[i] @ merged[j] > 0 else -1) * hidden[i]
                break
        else:
            merged, merged_signs = [*merged, hidden[i]], [*merged_signs, signs[i]]
    missing = max(network.n_hidden - len(merged), 0)
    small = size.max() / 100 * rng.standard_normal((missing, hidden.shape[1]))
    hidden, signs = np.vstack([*merged, small]), np.append(merged_signs, np.ones(missing))
    kept = np.argsort(-np.linalg.norm(hidden, axis=1), kind="stable")[: network.n_hidden]
    network = network.variant(signs[kept])
    return network, _balanced(network, hidden[kept], head, signs[kept])


def balanced(network, theta):
    """Return the theta of a network whose outputs are free, from one with fixed outputs; else theta itself."""
    return _balanced(network, *_homogeneous(network.variant(free_output=False), theta))


def _homogeneous(network, theta):
    """Return (hidden, head, signs): ``v a(<w, x> + b) = sign(v) a(|v| (<w, x> + b))``."""
    hidden, head, v = network.unpack(theta)
    return np.abs(v)[:, None] * hidden, head, np.where(v < 0, -1.0, 1.0)


def _balanced(network, hidden, head, signs):
    """Return the theta of units ``+-a(<w, x> + b)``; where outputs are free, half of each magnitude goes to them."""
    if not network.free_output:
        return network.pack(hidden, head, signs)
    size = np.sqrt(np.maximum(np.linalg.norm(hidden, axis=1), np.finfo(float).tiny))
    return network.pack(hidden / size[:, None], head, signs * size)


def best_of_starts(network, descent, rng, *, n_starts, begin, **options):
    """Return (network, descent) of the best of a first descent and at most `n_starts` from wide networks (`widened`).

    No further start is tried once the residual is zero, or once one has come to the same objective as the best before
    it, to `MARGIN`. Starts that are losing are abandoned.

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
    best = network, descent
    for attempt in range(n_starts):
        network, descent = best
        if network.is_lowest(descent.objective) or descent.interrupted:
            break
        if begin():
            return network, descent.stopped(STOPPED)
        try:
            trial = widened(network, rng, **_width(network, attempt), rival=descent.objective, **options)
        except KeyboardInterrupt:
            return network, descent.stopped(INTERRUPTED)
        if trial[1].interrupted:
            return network, descent.stopped(trial[1].stop_reason)
        if trial[1].objective < descent.objective * (1 - MARGIN):
            best = trial
        elif trial[1].objective <= descent.objective * (1 + MARGIN):
            break
    return best


def grown(network, descent, rng, **options):
    """Return (network, descent) with units added for as long as the Bayesian information criterion falls.

    ``n log(F) + p log(n)``, F the objective, p the number of weights and n the sum of the sample weights, must fall by
    more than 1; and p stays below n / 2. A unit is added small along the eigenvector of the largest eigenvalue, in
    absolute value, of the second moment of the residual, with the output that lowers the objective; where descent from
    there is not enough, from a wider network. Once the residual is zero, units are taken away for as long as it remains
    so.
    """
    try:
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
            trial = widened(larger, rng, **_width(larger, 0), rival=needed, **options)
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
    hidden, head, signs = _homogeneous(network, theta)
    unit = np.zeros(network.shape[1])
    unit[: network.whitening.size] = vectors[:, i] * np.linalg.norm(hidden, axis=1).min() / 10
    signs = np.append(signs, 1.0 if values[i] <= 0 else -1.0)
    larger = network.variant(signs)
    return larger, _balanced(larger, np.vstack([hidden, unit]), head, signs)


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
            newton_cg,
            network.variant(smoothing=width),
            max_iter=max_iter,
            tol=tol if last else max(tol, STAGE_TOL * width),
            watch=watch,
            verbose=verbose,
        )
    return descent


def _width(network, attempt):
    """Return how wide, decayed and relaxed a further start is.

    With rows to spare a few more units in the relaxed network suffice; with few rows only weight decay helps.
    """
    k = network.n_hidden
    if attempt % 2 == 0 and network.activation.odd_slope is not None:
        return {"width": k + max(2, k // 4), "decays": (0.0,), "relaxed": True}
    return {"width": WIDTHS[attempt // 2 % len(WIDTHS)] * k, "decays": DECAYS, "relaxed": False}
