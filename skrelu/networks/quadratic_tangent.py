"""Covariance of the weights of a fitted quadratic form: degrees of freedom, leverages, predictive variances."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import cho_solve, solve_triangular

from skrelu.networks.quadratic import RANK_TOL

JITTER = 1e-9  # of each diagonal entry of H, which has null directions: units may be mixed without changing M
PIECE = 2**21  # entries of the derivatives of the rows that are formed at a time


@dataclass(frozen=True)
class Tangent:
    """The Laplace covariance of a `QuadraticModel` at given weights, for networks of as many units as M has rank.

    In coordinates ``z = S^-1/2 (x - m)``, with ``M = sum_j v_j w_j w_j'`` the derivatives of f/t by the units, the
    linear part and the intercept are ``j(x) = (2 v_j <w_j, z> z, z, 1)``. The covariance is ``t^2 mse H^-1 / n`` with

    ``H = E[j j'] + diag(R_1, ..., R_r, rho I, 0),    R_j = (alpha/t I + 2 v_j G)_+,    G = E[(f - y) z z'] / t,``

    (.)_+ the positive part, and R_j = 0 if alpha = 0. At an optimum with alpha > 0 that is the Hessian itself: the
    decay is opposed by G along the directions of the units, so that what it takes from them is no curvature.

    Attributes
    ----------
    center, inverse : ndarray of shape (d,)
        m and the diagonal of S^-1/2.
    units : ndarray of shape (r, d)
    output : ndarray of shape (r,)
    linear, intercept : bool
        Whether f has them.
    factor : ndarray of shape (p, p) or None
        F with ``F F' = H^-1``. None where weights are too many: then H is ``A x C + alpha/t I`` among units, with
        ``A_jl = 4 v_j v_l w_j' C w_l`` and C = E[z z'], as if units and inputs were independent.
    mixing, axes : ndarray of shapes (r, r) and (d, d)
        Eigenvectors of A and C.
    spectrum : ndarray of shape (r + 2, d)
        Inverse eigenvalues of H; last those of the linear part, and of the intercept in the first column.
    degrees_of_freedom : float
        ``tr(H^-1 E[j j'])``.
    """

    center: np.ndarray
    inverse: np.ndarray
    units: np.ndarray
    output: np.ndarray
    linear: bool
    intercept: bool
    factor: np.ndarray | None
    mixing: np.ndarray
    axes: np.ndarray
    spectrum: np.ndarray
    degrees_of_freedom: float

    def variances(self, X):
        """Return ``j(x)' H^-1 j(x)`` of the rows of X, dense or sparse."""
        step = max(8, PIECE // max(1, len(self.units) * X.shape[1]))
        pieces = [self._variances(X[i : i + step]) for i in range(0, X.shape[0], step)]
        return np.concatenate(pieces)

    def _variances(self, X):
        Z = _inputs(X, self.center, self.inverse)
        if self.factor is not None:
            return np.sum((_derivatives(Z, self.units, self.output, self.linear, self.intercept) @ self.factor) ** 2, 1)
        inner = (2 * (Z @ self.units.T) * self.output @ self.mixing) ** 2
        along = (Z @ self.axes) ** 2
        unit = np.sum(inner @ self.spectrum[:-2] * along, axis=1)
        return unit + along @ self.spectrum[-2] + self.spectrum[-1, 0]


def tangent(model, parts, second, max_weights):
    """Return the `Tangent` of (M~, beta~, c~), exact with at most `max_weights` weights; one pass, or none.

    None where it is not finite.

    Parameters
    ----------
    model : QuadraticModel
    parts : tuple
    second : ndarray of shape (size, size)
        ``E[r x~ x~']`` in the coordinates of the model, r = f/t - y/t: what `QuadraticForm.moments` returns.
    max_weights : int
    """
    inverse = np.where(model.scales > 0, 1 / np.where(model.scales > 0, model.scales, 1.0), 0.0)
    to_columns = model.whitening.to_columns(np.eye(model.whitening.size)) * model.scales
    scaled = to_columns.T @ parts[0] @ to_columns
    # No eigenvalue exceeds the sum of absolute values.
    if not np.isfinite(np.abs(scaled).sum() + np.abs(second).sum()):
        return None
    values, vectors = np.linalg.eigh(scaled)
    kept = np.abs(values) > RANK_TOL * np.max(np.abs(values), initial=np.finfo(float).tiny)
    units = (np.abs(values[kept]) ** 0.5 * vectors[:, kept]).T
    output = np.where(values[kept] < 0, -1.0, 1.0)
    shape = model.whitening.center, inverse, units, output, model.fit_linear, model.fit_intercept
    white = model.whitening.to_white(np.diag(inverse))
    if units.size + model.n_head <= max_weights:
        return _exact(model, shape, white @ second @ white.T)
    return _factored(model, shape, white @ white.T)


def _inputs(X, center, inverse):
    X = X.toarray() if sparse.issparse(X) else X
    return (X.astype(np.float64) - center) * inverse


def _derivatives(Z, units, output, linear, intercept):
    """Return j(x) of rows z: (n, p)."""
    inner = 2 * (Z @ units.T) * output
    ends = [Z] * linear + [np.ones_like(Z[:, :1])] * intercept
    return np.hstack([(inner[:, :, None] * Z[:, None, :]).reshape(len(Z), units.size), *ends])


def _exact(model, shape, G):
    """Return the `Tangent` with H itself, G in units of the scales; None where H is not finite."""
    (center, inverse, units, output, *_), (r, d) = shape, shape[2].shape

    def f(X, y, s):
        step, total = max(8, PIECE // (units.size + model.n_head + 1)), 0.0
        for i in range(0, X.shape[0], step):
            J = _derivatives(_inputs(X[i : i + step], center, inverse), *shape[2:])
            J *= s[i : i + step, None].astype(np.float64) ** 0.5
            total = total + J.T @ J
        return (total,)

    (second,) = model.rows.sum(f)
    H, decay = second.copy(), model.alpha / model.target_scale
    for j in range(r if decay > 0 else 0):
        values, vectors = np.linalg.eigh(decay * np.eye(d) + 2 * output[j] * G)
        H[j * d : (j + 1) * d, j * d : (j + 1) * d] += (vectors * np.maximum(values, 0)) @ vectors.T
    diagonal = np.einsum("ii->i", H)
    diagonal[r * d : r * d + d * model.fit_linear] += model.linear_alpha
    diagonal += np.where(diagonal > 0, JITTER * diagonal, 1.0)
    if not np.all(np.isfinite(H)):
        return None
    lower = np.linalg.cholesky(H)
    factor = solve_triangular(lower, np.eye(len(H)), lower=True).T
    freedom = float(np.trace(cho_solve((lower, True), second)))
    return Tangent(*(*shape, factor, np.zeros((r, r)), np.zeros((d, d)), np.zeros((r + 2, d)), freedom))


def _factored(model, shape, C):
    """Return the `Tangent` with A x C among units, C in units of the scales."""
    units, output = shape[2:4]
    (r, d), decay = units.shape, model.alpha / model.target_scale
    curvature, mixing = np.linalg.eigh(4 * np.outer(output, output) * (units @ C @ units.T))
    variances, axes = np.linalg.eigh(C)
    # Those of the units, with decay, and of the linear part.
    products = np.vstack([np.outer(curvature, variances), variances]).clip(0)
    H = products + np.append(np.full(r, decay), model.linear_alpha)[:, None]
    H += np.where(H > 0, JITTER * max(np.max(H), np.finfo(float).tiny), 1.0)
    spectrum = np.vstack([1 / H, np.eye(1, d) * model.fit_intercept])
    spectrum[r] *= model.fit_linear
    freedom = float(np.sum(products * spectrum[:-1])) + model.fit_intercept
    return Tangent(*(*shape, None, mixing, axes, spectrum, freedom))
