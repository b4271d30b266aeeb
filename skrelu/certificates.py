"""Certificates of global optimality of quadratic networks, from one pass over the rows."""

from dataclasses import dataclass

import numpy as np

from skrelu.networks.quadratic_form import QuadraticForm

ROUNDING = 100  # eps, relative to the root mean square of the residual: second moments of it below are zero


@dataclass(frozen=True)
class Certificate:
    """What the residual of a quadratic network tells about the networks of any number of units.

    Attributes
    ----------
    gap : float
        Zero if and only if none has a lower objective.
    slopes : ndarray of shape (size,)
        By how much the eigenvalues of the residual's second moment G exceed what an optimum admits: the rate at which a
        unit along their directions lowers the objective, with its square.
    unit : float
        |G at M = 0|, or what an optimum admits.
    directions : ndarray of shape (size, size)
        Its directions as weights of unit norm in the metric of the penalty, one a row.
    signs : ndarray of shape (size,)
        Outputs of these units.
    """

    gap: float
    slopes: np.ndarray
    unit: float
    directions: np.ndarray
    signs: np.ndarray


def reference_norm(model, matrix, linear, mean):
    """Return the spectral norm of G where M~ = 0, and beta~ and c~ at their best, from what `spectral_start` returns.

    Its matrix is -G/2 already if there are both a linear part and an intercept; else it takes one pass. With weight
    decay the certificate needs none: it is 0.
    """
    if model.alpha > 0:
        return 0.0
    second = -2 * matrix
    if not (model.fit_linear and model.fit_intercept):
        second = QuadraticForm(model).moments(None, linear * model.fit_linear, mean * model.fit_intercept)[1]
    return float(np.max(np.abs(np.linalg.eigvalsh(second))))


def certificate(model, parts, reference, moments=None):
    """Return the `Certificate` of parts (M~, beta~, c~), in the coordinates of a `QuadraticModel`; one pass, or none.

    It is that of the convex problem over matrices M, symmetric or positive semidefinite, whose optimum is the lowest
    objective of networks of any number of units. With r = f - y, P the objective, s the weights with sum 1, all in
    units of the root mean square of y:

    alpha = 0
        ``G = sum_i s_i r_i x~_i x~_i'`` must vanish, and so must g = ``sum_i s_i r_i x~_i`` and ``sum_i s_i r_i`` where
        there are a linear part and an intercept. gap is the spectral norm of the matrix of all three,
        ``[[G, g], [g', sum_i s_i r_i]]``, over `reference`. With positive output weights an optimum has ``G >= 0`` and
        ``<G, M> = 0``: the gap is ``max(0, -lambda_min(G)) + |<G, M>| / tr M``, and the norm of the other two, over
        `reference`. If r is zero to rounding, the gap is 0. A reference below sqrt(eps) counts as that.
    alpha > 0
        The dual objective of ``u = tau r`` is ``D = -tau^2 (|r|^2 + |g|^2 / rho) / 2 - tau <r, y - c>``, norms and
        products weighted by s, rho the `linear_alpha` of the model, g the gradient with respect to beta in the metric
        S^-1. It is a lower bound of P for every tau with ``tau |S^-1/2 G S^-1/2| <= alpha/2`` (positive outputs: ``tau
        lambda_min >= -alpha/2``), and gap is ``(P - D) / P`` for the best of them. With an intercept that holds among
        all intercepts within one root mean square of y of c, for ``|tau sum_i s_i r_i|`` is taken off D.

    Parameters
    ----------
    model : QuadraticModel
    parts : tuple
    reference : float
        |G at M = 0|, beta and c at their best, for alpha = 0.
    moments : tuple, optional
        What `QuadraticForm.moments` returns of the parts, if that is known.
    """
    M, beta, _ = parts
    loss, G, g, total = QuadraticForm(model).moments(*parts) if moments is None else moments
    if model.alpha == 0:
        return _without_penalty(model, M, (loss, G, g, total), reference)
    half = model.alpha / (2 * model.target_scale)
    G, g = model.inverse_root @ G @ model.inverse_root, model.inverse_root @ g
    values, vectors = np.linalg.eigh(G)
    norm = max(-values[0], 0.0) if model.positive else np.max(np.abs(values))
    linear = model.root @ beta
    nuclear = np.sum(np.abs(np.linalg.eigvalsh(model.root @ M @ model.root)))
    square = 2 * loss
    # <r, f - c>, of the products above; <r, y - c> is that less |r|^2.
    along = np.sum(G * (model.root @ M @ model.root)) + (g @ linear) * model.fit_linear
    target = along - square
    primal = loss + half * nuclear + model.linear_alpha / 2 * (linear @ linear) * model.fit_linear
    quadratic = square + (g @ g) / model.linear_alpha * model.fit_linear
    slope = -target - abs(total) * model.fit_intercept
    tau = min(half / norm if norm > 0 else np.inf, max(slope, 0.0) / quadratic if quadratic > 0 else 0.0)
    dual = tau * slope - tau**2 * quadratic / 2
    gap = 0.0 if model.is_lowest(primal) else (primal - dual) / primal
    slopes = (-values if model.positive else np.abs(values)) - half
    return Certificate(float(gap), slopes, half, vectors.T @ model.inverse_root, _outputs(model, values))


def _outputs(model, values):
    """Return the outputs of units along eigenvectors of G that lower the objective, if they may have either sign."""
    return np.where((values > 0) & (not model.positive), -1.0, 1.0)


def _without_penalty(model, M, moments, reference):
    loss, G, g, total = moments
    values, vectors = np.linalg.eigh(G)
    ends = np.append(g * model.fit_linear, total * model.fit_intercept)
    if model.positive:
        trace = np.trace(M)
        slack = abs(np.sum(G * M)) / trace if trace > 0 else 0.0
        size = max(0.0, -values[0]) + slack + np.linalg.norm(ends)
    else:
        size = np.max(np.abs(np.linalg.eigvalsh(np.block([[G, ends[:-1, None]], [ends[None]]]))))
    eps = float(np.finfo(model.rows.dtype).eps)
    unit = max(reference, eps**0.5)
    # Where the columns leave nothing to M, G is rounding, as it is where there is no residual.
    zero = model.is_lowest(loss) or size <= ROUNDING * eps * (2 * loss) ** 0.5
    gap = 0.0 if zero else size / unit
    slopes = -values if model.positive else np.abs(values)
    return Certificate(float(gap), slopes, unit, vectors.T, _outputs(model, values))
