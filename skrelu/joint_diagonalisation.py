"""Joint diagonalisation: the rank-one terms of a tensor of symmetric matrices."""

from typing import Any

import numpy as np
from scipy.linalg import lapack
from scipy.optimize import minimize

POWER_STARTS = 10  # a unit, of the power iteration
POWER_STEPS = 30
PARALLEL = 0.7  # cosine above which two maxima of the power iteration count as one term
MAX_ITER = 500  # of the joint fit: one that takes longer follows two terms that grow ever more parallel
RANDOM_STARTS = 4  # of the joint fit, besides that of the power iteration, where it finds too few
GRADIENT_TOL = 1e-6  # of the joint fit, for moments of order one
MARGIN = 1e-6  # misfits nearer to each other than this, relatively, are the same
RIDGE = 1e-10  # on the squares of the u_j: parallel v_j share a term


def jointly_diagonalised(tensor, n_terms, basis, rng):
    """Return unit vectors v_j and any u_j that minimise ``|T - sum_j u_j (x) v_j v_j'|^2``.

    Unique, but for signs, if the v_j are linearly independent, no two u_j are parallel, and T is such a sum: of
    generic combinations of its slices ``T_o = sum_j u_jo v_j v_j'`` the v_j are the joint congruence eigenvectors. The
    starts are local maxima of ``|T(., v, v)|``, which is largest near the v_j where the u_j are nearly orthogonal, as
    they are for whitened outputs; the u_j, in which the problem is linear, are eliminated. Where the maxima are fewer
    than the terms, the best of several fits with random directions besides is kept, until one comes to the same misfit
    as the best before it. Of a single slice, which has many such terms, they are the eigenvectors.

    Parameters
    ----------
    tensor : ndarray of shape (n_slices, k, k)
    n_terms : int
    basis : ndarray of shape (n_features, k)
        Random directions are drawn in n_features dimensions and projected: they do not depend on its signs.
    rng : RandomState

    Returns
    -------
    v : ndarray of shape (n_terms, k)
        At most k terms of a single slice.
    u : ndarray of shape (n_terms, n_slices)
    """
    if len(tensor) == 1:
        values, vectors = np.linalg.eigh(tensor[0])
        order = np.argsort(-np.abs(values), kind="stable")[:n_terms]
        return vectors[:, order].T, values[order, None]
    size = np.linalg.norm(tensor) or 1.0
    tensor = tensor / size
    maxima = _power_directions(tensor, n_terms, basis, rng)
    best: Any = None
    for attempt in range(1 + RANDOM_STARTS if len(maxima) < n_terms else 1):
        found = maxima if attempt % 2 == 0 else maxima[:0]
        start = np.vstack([found, _random_directions(n_terms - len(found), basis, rng)])
        options = {"maxiter": MAX_ITER, "gtol": GRADIENT_TOL, "ftol": 0.0}
        fit = minimize(_misfit, start.ravel(), args=(tensor,), jac=True, method="L-BFGS-B", options=options)
        if best is not None and abs(fit.fun - best.fun) <= MARGIN * abs(best.fun):
            break
        if best is None or fit.fun < best.fun:
            best = fit
    v = _unit(best.x.reshape(n_terms, -1))
    return v, size * _coefficients(v @ v.T, _along(_slices(tensor, v), v))


def _misfit(theta, tensor):
    """Return ``(|T - sum_j u_j (x) v_j v_j'|^2 + RIDGE sum_j |u_j|^2) / 2`` at the best u_j, and its gradient.

    Up to a constant; the gradient in the v_j, not yet of length one.
    """
    V = theta.reshape(-1, tensor.shape[1])
    norm = np.maximum(np.sqrt(_products(V, V)), 1e-12)[:, None]
    v = V / norm
    cosines, slices = v @ v.T, _slices(tensor, v)
    along = _along(slices, v)
    u = _coefficients(cosines, along)
    gradient = ((u @ u.T) * cosines) @ v - _contracted(slices, u)
    gradient -= _products(gradient, v)[:, None] * v
    return -np.vdot(u, along) / 2, (gradient * (2 / norm)).ravel()


def _coefficients(cosines, along):
    """Return the u_j of least squares for v_j of given ``v_j' v_l`` and ``T(., v_j, v_j)``."""
    gram = cosines**2
    gram.flat[:: len(gram) + 1] += RIDGE
    return lapack.dposv(gram, along)[1]


def _products(a, b):
    return np.einsum("jk,jk->j", a, b)


def _slices(tensor, v):
    """Return the ``T_o v_j``, an array (n_slices, k, n_terms)."""
    return (tensor.reshape(-1, tensor.shape[2]) @ v.T).reshape(*tensor.shape[:2], -1)


def _along(slices, v):
    """Return ``T(., v_j, v_j)`` (n_terms, n_slices) from the ``T_o v_j``."""
    return np.einsum("okj,jk->jo", slices, v)


def _contracted(slices, u):
    """Return ``T(u_j, v_j, .)`` (n_terms, k) from the ``T_o v_j``."""
    return np.einsum("okj,jo->jk", slices, u)


def _power_directions(tensor, n_terms, basis, rng):
    """Return at most n_terms unit vectors at local maxima of ``|T(., v, v)|``, the largest first, no two parallel.

    Alternately ``u <- T(., v, v)`` and ``v <- T(u, v, .)``, normalised: the power method for the tensor.
    """
    v = _random_directions(POWER_STARTS * n_terms, basis, rng)
    for _ in range(POWER_STEPS):
        slices = _slices(tensor, v)
        v = _unit(_contracted(slices, _along(slices, v)))
    value = np.linalg.norm(_along(_slices(tensor, v), v), axis=1)
    chosen: list = []
    for i in np.argsort(-value, kind="stable"):
        if value[i] > 0 and np.all(np.abs(v[chosen] @ v[i]) < PARALLEL):
            chosen.append(i)
    return v[chosen[:n_terms]]


def _random_directions(n_vectors, basis, rng):
    return _unit(rng.standard_normal((n_vectors, len(basis))) @ basis)


def _unit(v):
    norm = np.linalg.norm(v, axis=1, keepdims=True)
    return v / np.where(norm > 0, norm, 1)
