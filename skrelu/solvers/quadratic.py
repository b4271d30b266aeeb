"""The default solver of quadratic networks: convex where units are many, several starts where they are few."""

from dataclasses import replace
from functools import partial

import numpy as np
from scipy.optimize import nnls

from skrelu.certificates import certificate
from skrelu.networks.quadratic import QuadraticNetwork
from skrelu.networks.quadratic_form import QuadraticForm
from skrelu.solvers.decay_path import target_mean
from skrelu.solvers.descent import Descent, best_of_starts, until_stalled
from skrelu.solvers.linear import conjugate_descent
from skrelu.solvers.loop import INTERRUPTED
from skrelu.solvers.newton import newton_cg
from skrelu.solvers.proximal import proximal_descent
from skrelu.solvers.quasi_newton import quasi_newton
from skrelu.starts import small_units

FEW_WEIGHTS = 2500  # of the convex problem: up to so many its Gram matrix is affordable
LEEWAY = 1e-6  # of an objective that should not have risen
PLAIN_ITERATIONS = 300  # of conjugate gradients without it
ROUNDS = 100  # of adding units
PROXIMAL_COLUMNS = 300  # up to so many steps in the matrix are cheap
PROXIMAL_ITERATIONS = 200
PROXIMAL_TOL = 1e-6  # relative change at which they end
NEARLY = 1e-2  # gap above which a round ends at the criterion ROUGH
ROUGH = 1e-4
NEW_UNITS = 10  # in a round; as many as there are, if these are more
CHOLESKY_JITTER = 1e-12  # of the trace
DECAYS = (0.1, 0.03, 0.01, 0.003, 0.001)  # weight decays of wide networks, relative to the root mean square of y
WIDTHS = (3, 4, 2)  # of wide networks, in units of the network, by turns
WIDE_ITERATIONS = 60  # for each weight decay
LONGEST = 0.3  # step from the first start, relative to theta: full ones leap out of its basin where rows are few


def least_squares(form, *, tol, **options):
    """Return (form, descent) of the `QuadraticForm`, from zero.

    Conjugate gradients; where these are slow and weights few, with the Gram matrix of the features as metric. Where
    rounding leaves them above the best constant, that is the solution.
    """
    descent = Descent(np.zeros(form.n_weights))
    budget = {**options, "max_iter": min(PLAIN_ITERATIONS, options["max_iter"])}
    descent = descent.followed_by(conjugate_descent, form, tol=tol, **budget)
    if not descent.converged and form.n_weights <= FEW_WEIGHTS and not descent.interrupted:
        form = form.preconditioned()
    # Once more from the gradient itself: that of the first run was updated, and has drifted.
    for _ in range(2):
        descent = descent.followed_by(conjugate_descent, form, tol=tol, **options)
    try:
        return form, _above_rounding(form, descent)
    except KeyboardInterrupt:
        return form, descent.stopped(INTERRUPTED)


def _above_rounding(form, descent):
    """Return the descent of conjugate gradients with its true objective, or the best constant where that is lower."""
    objective = form.loss(descent.theta)
    # Conjugate gradients update the objective: where that is not what it is, rounding has led them.
    if descent.interrupted or (descent.converged and _is_at_most(form, objective, descent.objective)):
        return replace(descent, objective=objective)
    constant, least = _best_constant(form)
    if _is_at_most(form, objective, least):
        return replace(descent, objective=objective)
    reason = "rounding leaves no digit of the products of columns; centre or rescale them"
    return replace(descent, theta=constant, objective=least).stopped(reason)


def _is_at_most(form, objective, other):
    """Whether one objective is at most another, to rounding."""
    excess = objective**0.5 - (1 + LEEWAY) * other**0.5
    return excess <= 0 or form.is_lowest(excess * excess)


def _best_constant(form):
    """Return the theta of the mean of y, or of 0 without intercept, and its objective; two passes."""
    theta = np.zeros(form.n_weights)
    if form.model.fit_intercept:
        theta[-1] = -form.value_and_gradient(theta)[1][-1]
    return theta, form.loss(theta)


def constant(model):
    """Return (network, descent) of a constant y: no units, and the mean of y."""
    network = QuadraticNetwork(model, np.zeros(0))
    head = model.packed_head(np.zeros(model.whitening.size), target_mean(model) / model.target_scale)
    return network, Descent(head, converged=True, stop_reason="y is constant")


def proximal_start(model, head, **options):
    """Return (network, descent) near the global optimum among networks of any number of units.

    Up to `PROXIMAL_COLUMNS` columns by proximal gradient steps in the matrix, beyond without units.
    """
    beta, c = model.head(head)
    if model.whitening.size > PROXIMAL_COLUMNS:
        return QuadraticNetwork(model, np.zeros(0)), Descent(head)
    form = QuadraticForm(model.scaled())
    start = form.pack(*form.model.from_user(*model.user(np.zeros((model.whitening.size,) * 2), beta, c)))
    if not np.all(np.isfinite(start)):
        raise ValueError(f"X or y: weights of their scales overflow {model.rows.dtype}; rescale them")
    budget = {**options, "max_iter": min(PROXIMAL_ITERATIONS, options["max_iter"])}
    descent = Descent(start).followed_by(proximal_descent, form, tol=PROXIMAL_TOL, **budget)
    matrix, beta, c = model.from_user(*form.model.user(*form.parts(descent.theta)))
    values, vectors = np.linalg.eigh(matrix)
    network = QuadraticNetwork(model, np.where(values < 0, -1.0, 1.0))
    theta = network.pack((np.abs(values) ** 0.5 * vectors).T, model.packed_head(beta, c))
    network, theta = network.factored(theta, len(values))
    return network, Descent(theta, stop_reason=descent.stop_reason if descent.interrupted else "")


def rank_adapted(network, descent, reference, *, tol, goal, options):
    """Return (network, descent) of the global optimum among networks of any number of units.

    Units are added along the directions in which the certificate shows descent, and those that vanish are taken away,
    until its gap is at most `goal`. Newton steps end it.

    Parameters
    ----------
    network : QuadraticNetwork
    descent : Descent
        Its start.
    reference : float
        Of the certificate.
    tol, goal : float
        Of the criterion, and of the gap.
    options : callable
        Returns those of the loop (max_iter, watch, verbose) for a network.
    """
    descent = descent.followed_by(until_stalled(), network, **options(network))
    descent, gap = descent.followed_by(newton_cg, network, tol=tol, **options(network)), np.inf
    try:
        network, descent, gap = _adapted(network, descent, reference, tol, goal, options)
    except KeyboardInterrupt:
        descent = descent.stopped(INTERRUPTED)
    return network, replace(descent, converged=descent.converged and gap <= goal)


def _adapted(network, descent, reference, tol, goal, options):
    """Return (network, descent, gap) after rounds of adding units."""
    exact, gap = True, np.inf
    for _ in range(ROUNDS):
        told = certificate(network.model, network.parts(descent.theta), reference)
        gap = told.gap
        new = np.argsort(-told.slopes, kind="stable")[: max(NEW_UNITS, network.n_hidden)]
        new = new[told.slopes[new] > goal * told.unit]
        if descent.interrupted or (exact and (gap <= goal or not len(new))):
            break
        if len(new) and gap > goal:
            network, theta = _with_more(network, descent.theta, told, new)
            descent = replace(descent, theta=theta).followed_by(until_stalled(), network, **options(network))
        exact = gap <= NEARLY or not len(new)
        descent = descent.followed_by(newton_cg, network, tol=tol if exact else ROUGH, **options(network))
        network, theta = network.factored(descent.theta, network.n_hidden)
        descent = descent.moved(network, theta)
    return network, descent, gap


def _with_more(network, theta, told, new):
    """Return (network, theta) with units along some directions of the certificate, their sizes those of least squares.

    Along squares tau_a >= 0 of units of directions u_a and outputs v_a the objective is
    ``-<slope, tau> + tau' Q tau / 2``, with ``Q_ab = v_a v_b E[(u_a'x~)^2 (u_b'x~)^2]``; one pass.
    """
    (W, head, v), U, signs = network.unpack(theta), told.directions[new], told.signs[new]

    def f(X, y, s):
        total = 0.0
        for piece, Z in network.whitening.projected(X, U.T):
            squares = signs * Z.astype(np.float64) ** 2
            total = total + (squares.T * s[piece]) @ squares
        return (total,)

    (Q,) = network.rows.sum(f)
    root = np.linalg.cholesky(Q + CHOLESKY_JITTER * np.trace(Q) * np.eye(len(Q))).T
    sizes = nnls(root, np.linalg.solve(root.T, told.slopes[new]))[0]
    larger = network.variant(np.append(v, signs[sizes > 0]))
    return larger, larger.pack(np.vstack([W, (sizes**0.5)[sizes > 0, None] * U[sizes > 0]]), head)


def low_rank(network, descent, rng, *, n_starts, begin, **options):
    """Return (network, descent) of the best of a first start and at most `n_starts` from wide networks.

    A wide random network is fitted under decreasing weight decay, which is the nuclear norm of its matrix, and cut down
    to the terms that the largest eigenvalues have; descent goes on from them.

    Parameters
    ----------
    network : QuadraticNetwork
        Of n_hidden units.
    descent : Descent
        Its start.
    rng : RandomState
    n_starts : int
    begin : callable
        Told of each start; True stops.
    **options : dict
        max_iter, of each start; watch and verbose, of the loop.
    """
    n_hidden = network.n_hidden
    (mean,) = network.rows.sum(lambda X, y, s: ((s @ y).astype(np.float64),))
    careful = until_stalled(base=partial(quasi_newton, longest=lambda theta: LONGEST * np.linalg.norm(theta)))
    first = network, descent.followed_by(careful, network, **options)

    def further(attempt, network, rival):
        return _from_wide(network.model, n_hidden, attempt, np.sign(mean), rng, rival, options)

    return best_of_starts(first, further, n_starts=n_starts, begin=begin)


def polished(network, descent, *, tol, **options):
    """Return the descent continued by Newton steps to `tol`."""
    if descent.interrupted:
        return replace(descent, converged=False)
    if network.is_lowest(descent.objective):
        return replace(descent, converged=True)
    return replace(descent, converged=False).followed_by(newton_cg, network, tol=tol, **options)


def _from_wide(model, n_hidden, attempt, sign, rng, rival, options):
    width = WIDTHS[attempt % len(WIDTHS)] * n_hidden
    v = np.where(np.arange(width) % 2 == 0, 1.0, -1.0)
    if n_hidden == 1:
        # Both signs by turns, that of the mean of y first.
        v = np.full(width, (-1.0) ** attempt * (-1.0 if sign < 0 else 1.0))
    if model.positive:
        v = np.ones(width)
    wide = QuadraticNetwork(model, v)
    descent = Descent(wide.pack(small_units(model, width, rng), np.zeros(model.n_head)))
    for decay in DECAYS:
        alpha = max(decay * model.target_scale, model.alpha)
        budget = min(options["max_iter"], len(descent.loss_curve) + WIDE_ITERATIONS)
        descent = descent.followed_by(until_stalled(), wide.variant(alpha=alpha), **{**options, "max_iter": budget})
    network, theta = wide.factored(descent.theta, n_hidden)
    return network, descent.moved(network, theta).followed_by(until_stalled(rival), network, **options)
