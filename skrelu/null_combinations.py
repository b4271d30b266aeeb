"""The exact step for noiseless outputs: combinations of them that vanish where a unit is off are that unit."""

import numpy as np
from scipy.linalg import lapack

from skrelu.networks.piecewise_linear import products
from skrelu.whitening import weighted_gram

MARGIN = 0.5  # of the inputs of units of length one: beyond, they are taken to be off, or on
SPAN_EPS = 1e3  # directions of outputs or inputs with less variance than this many eps of the largest are left out
MAX_ENTRIES = 2**24  # of the second moments of the inputs where units are on: so many units at a time


def null_combinations(network, theta, covariance):
    """Return theta after one exact step, or None if a unit is nowhere off, or nowhere on.

    Let ``y = U f(V x + b) + c`` without noise, the columns of U independent. The units are then combinations of the
    outputs and a constant. Unit j is zero where ``<v_j, x> + b_j < 0``, and of the combinations that vanish on enough
    such rows it is the only one, but for its scale: the eigenvector of the smallest eigenvalue of their second moments.
    Where it is positive, ``f^-1`` of it is linear in x, and least squares give (v_j, b_j): exactly, if all rows beyond
    the margin are on the right side, else, as a rule, nearer than before. [1]_

    Parameters
    ----------
    network : TwoLayer
        Of a homogeneous activation: its inverse needs no scale.
    theta : ndarray
    covariance : ndarray of shape (n_outputs, n_outputs)
        Of y.

    References
    ----------
    .. [1] A. Bakshi, R. Jayaram and D. P. Woodruff, "Learning Two Layer Rectified Neural Networks in Polynomial Time",
       COLT 2019. arXiv:1811.01885.
    """
    spanned = network.variant(weighting=_span(covariance, network.n_hidden))
    theta = normalised(network, theta)
    off, on = network.rows.sum(_combined_outputs, spanned, *network.stacked(theta))
    combinations = []
    for gram, mean in zip(off, on, strict=True):
        if not (gram[-1, -1] > 0 and mean[-1] > 0):
            return None
        combinations.append(_null_combination(gram, mean / mean[-1], constant=network.fit_intercept))
    units, step = [], max(1, MAX_ENTRIES // network.shape[1] ** 2)
    for i in range(0, network.n_hidden, step):
        of_some = np.array(combinations[i : i + step])
        units.extend(_inputs_of(spanned, theta.reshape(network.shape)[i : i + step], of_some))
    return normalised(network, np.ravel(units))


def normalised(network, theta):
    """Return theta with the weights of each unit of length one, of a homogeneous activation; their biases go along."""
    hidden, size = theta.reshape(network.shape), network.whitening.size
    if network.activation.homogeneity is None:
        return theta
    norm = np.linalg.norm(hidden[:, :size], axis=1, keepdims=True)
    return (hidden / np.where(norm > 0, norm, 1)).ravel()


def _span(covariance, n_units):
    """Return the weighting that makes the outputs white on the span of their k largest directions."""
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[-n_units:], vectors[:, -n_units:]
    return vectors / np.sqrt(np.maximum(values, np.finfo(float).tiny))


def _combined_outputs(X, y, s, spanned, W, b):
    """Return, for each unit, second moments of (outputs, 1) where it is off, and their mean where it is on."""
    Z = products(X, W)
    Z += b
    # In double precision: a combination that vanishes is what rounding leaves.
    s = s.astype(np.float64)
    outputs = np.column_stack([spanned.targets(y).T.astype(np.float64), np.ones_like(s)])
    off = [(outputs.T * (s * (z < -MARGIN))) @ outputs for z in Z]
    return np.stack(off), ((Z > MARGIN) * s) @ outputs


def _null_combination(gram, mean_on, *, constant):
    """Return the combination of (outputs, 1) that is smallest where a unit is off, and positive where it is on."""
    mean = gram[-1, :-1] / gram[-1, -1] if constant else np.zeros(len(gram) - 1)
    c = np.linalg.eigh(gram[:-1, :-1] - gram[-1, -1] * np.outer(mean, mean))[1][:, 0]
    c = np.append(c, -mean @ c)
    return -c if c @ mean_on < 0 else c


def _inputs_of(spanned, hidden, combinations):
    """Return the (w_j, b_j) whose inputs are nearest to ``f^-1`` of the combinations, where units are on; one pass."""
    network, size = spanned.variant(len(hidden)), spanned.whitening.size
    power, dtype = 1 / network.activation.homogeneity, network.rows.dtype

    def f(X, y, s, W, b, c):
        Z = products(X, W)
        Z += b
        on = Z > MARGIN
        s = s.astype(np.float64)
        heights = np.maximum(c[:, :-1] @ network.targets(y).astype(np.float64) + c[:, -1:], 0) ** power
        k, size = len(W), network.shape[1]
        second, cross = (np.zeros_like(s, shape=shape, dtype=np.float64) for shape in ((k, size, size), (k, size)))
        for piece, Z in network.whitening.whitened(X):
            Z = np.column_stack([Z, np.ones_like(Z[:, :1])])[:, : network.shape[1]].astype(np.float64)
            for j, weight in enumerate(s[piece] * on[:, piece]):
                second[j] += weighted_gram(Z, weight)
                cross[j] += (heights[j, piece] * weight) @ Z
        return second, cross

    second, cross = network.rows.sum(f, *network.stacked(hidden.ravel()), combinations)
    rcond = SPAN_EPS * float(np.finfo(dtype).eps)
    units = np.array([_least_squares(A, g, rcond) for A, g in zip(second, cross, strict=True)])
    lost = np.linalg.norm(units[:, :size], axis=1, keepdims=True) == 0
    return np.where(lost, hidden, units)


def _least_squares(A, g, rcond):
    """Return ``A^+ g``, A positive semidefinite: by Cholesky unless A is near to singular."""
    factor, failed = lapack.dpotrf(A, lower=1)
    if not failed and lapack.dpocon(factor, np.max(np.sum(np.abs(A), axis=0)), uplo="L")[0] > rcond:
        return lapack.dpotrs(factor, g, lower=1)[0]
    return np.linalg.pinv(A, rcond=rcond, hermitian=True) @ g
