"""Moments ``E[y x']`` and ``E[y (x) He_2(x)]`` of several outputs, by control variates, in the spans of the units."""

from dataclasses import dataclass

import numpy as np

from skrelu.whitening import weighted_gram

MAX_ENTRIES = 2**24  # of the tensor of the second moments: what it may have, outputs of small variance left out
FLOOR = 1e-2  # of their mean variance, added to those by which outputs are weighted
RANK_EPS = 1e4  # outputs and their residuals have no variance below this many eps of the largest
RESIDUAL_EPS = 1e3  # a linear fit whose residual is below this many eps, relative to y, is exact


@dataclass(frozen=True)
class OutputMoments:
    """Moments of the outputs, weighted, and of the whitened x, projected on the span of the units.

    For ``y = c + sum_j u_j f(<w_j, x> + b_j)``, |w_j| = 1, x ~ N(0, I) and weighted outputs P'y they are
    ``sum_j P'u_j c_1(b_j) w_j'`` and ``sum_j P'u_j (x) c_2(b_j) w_j w_j'``, c_m the Hermite coefficients of f.

    Attributes
    ----------
    basis : ndarray of shape (n_features, n_directions)
        Orthonormal; the directions in which the second moments of all outputs are largest.
    spectrum : ndarray of shape (n_features,)
        Norms of the second moments along all of them, by decreasing size.
    edge : float
        The largest that noise alone would have: those below cannot be told from it.
    mean : ndarray of shape (n_outputs,)
        Of y.
    covariance : ndarray of shape (n_outputs, n_outputs)
        Of y, in units in which its trace is 1.
    output_rank : int
        Its rank; the number of units if that is less than the number of outputs and there is no noise.
    weighting : ndarray of shape (n_outputs, n_weighted)
        P, the inverse root of the covariance of the residuals of the linear fit: the sampling noise of the moments of
        P'y has the same size for all of them. A share `FLOOR` of the mean variance is added first.
    first : ndarray of shape (n_weighted, n_directions)
    second : ndarray of shape (n_weighted, n_directions, n_directions)
    """

    basis: np.ndarray
    spectrum: np.ndarray
    edge: float
    mean: np.ndarray
    covariance: np.ndarray
    output_rank: int
    weighting: np.ndarray
    first: np.ndarray
    second: np.ndarray


def output_mean(rows):
    """Return the weighted mean (n_outputs,) of y."""
    return rows.sum(lambda X, y, s: (s @ y.reshape(len(y), -1),))[0]


def output_moments(rows, whitening, n_directions=None):
    """Return the `OutputMoments` of y.

    The linear fit is regressed out of y before the second moments (control variates): the raw ones have the variance of
    y, of which that fit takes most. Two passes.

    Parameters
    ----------
    rows : Rows
    whitening : Whitening
        Centred.
    n_directions : int, optional
        Number of directions of the span. None: the number of them above `edge`, at least the rank of the outputs if
        that is less than their number, at least 1.

    Notes
    -----
    The unfolding of the second moments is a matrix of d rows and q d columns, q the number of weighted outputs. Were
    the P'r independent of x, its entries would have variance 1/n, n the sum of the weights, and its largest singular
    value would be near ``(sqrt(d) + sqrt(q d)) / sqrt(n)``; it is above ``edge``, which adds ``1 / sqrt(n)`` for
    fluctuation, in about one of twenty samples.
    """
    n, size, eps = max(rows.weight_sum, 1.0), whitening.size, float(np.finfo(rows.dtype).eps)
    mean = output_mean(rows)
    targets = _Targets(mean, rows.target_scale(mean))
    linear, rest, covariance = rows.sum(_linear_moments, targets)
    linear = whitening.pull_back(linear - np.outer(rest, whitening.center)).T
    residual, variances = covariance - linear.T @ linear, np.linalg.eigvalsh(covariance)
    if np.trace(residual) <= RESIDUAL_EPS * eps * np.trace(covariance):
        residual = covariance
    weighting = _inverse_root(residual, max(1, MAX_ENTRIES // size**2), RANK_EPS * eps)
    (second,) = rows.sum(_second_moments, whitening, targets, linear, weighting)
    values, vectors = np.linalg.eigh(np.einsum("oab,obc->ac", second, second))
    spectrum = np.sqrt(np.maximum(values[::-1], 0))
    edge = (whitening.rank / n) ** 0.5 * (1 + len(second) ** 0.5) + n**-0.5
    # Rounding of the data has the square of eps as its variance.
    rounding = RANK_EPS * max(eps**2, float(np.finfo(np.float64).eps))
    output_rank = int(np.sum(variances > rounding * variances[-1]))
    if n_directions is None:
        n_directions = max(1, int(np.sum(spectrum > edge)), output_rank if output_rank < rows.n_outputs else 1)
    basis = vectors[:, ::-1][:, : max(1, min(n_directions, whitening.rank))]
    first = weighting.T @ linear.T @ basis
    second = np.einsum("ak,oab,bl->okl", basis, second, basis, optimize=True)
    return OutputMoments(basis, spectrum, edge, mean, covariance, output_rank, weighting, first, second)


@dataclass(frozen=True)
class _Targets:
    """``(y - mean) / scale``, a column for each output."""

    mean: np.ndarray
    scale: float

    def of(self, y):
        return (y.reshape(len(y), -1) - self.mean) / y.dtype.type(self.scale)


def _linear_moments(X, y, s, targets):
    """Return the sums of ``y x'``, of y and of ``y y'``."""
    y = targets.of(y)
    weighted, wide = s[:, None] * y, y.astype(np.float64)
    # In double precision: the rank of the outputs is that of the data, not of the rounding of sums of squares.
    covariance = (wide.T * s.astype(np.float64)) @ wide
    return (weighted.T @ X).astype(np.float64), weighted.sum(axis=0).astype(np.float64), covariance


def _second_moments(X, y, s, whitening, targets, linear, weighting):
    """Return the sum of ``P'r (x) (x~ x~' - I)``, r the residual of the linear fit."""
    y, linear, weighting = targets.of(y), linear.astype(y.dtype), weighting.astype(y.dtype)
    shape = weighting.shape[1], whitening.size, whitening.size
    total = np.zeros_like(y, shape=shape, dtype=np.float64, order="C")
    for piece, Z in whitening.whitened(X):
        G = ((y[piece] - Z @ linear) @ weighting) * s[piece, None]
        for moment, g in zip(total, G.T, strict=True):
            moment += weighted_gram(Z, g) - g.sum() * np.eye(whitening.size, dtype=Z.dtype)
    return (total,)


def _inverse_root(covariance, n_largest, tol):
    """Return the inverse root of a covariance on the span of its largest eigenvectors, `FLOOR` added."""
    values, vectors = np.linalg.eigh(covariance)
    kept = np.flatnonzero(values > tol * values[-1])[-n_largest:]
    if len(kept) == 0:
        return np.eye(len(values))[:, :1]
    return vectors[:, kept] / np.sqrt(values[kept] + FLOOR * np.mean(values[kept]))
