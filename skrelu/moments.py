"""Hermite moments ``E[y He_m(x)]`` of weighted data, m = 1 to 4, by control variates, in the space of the units."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial

import numpy as np

from skrelu.rows import BLOCK_BYTES
from skrelu.whitening import Whitening, weighted_gram

RESIDUAL_EPS = 1e3  # a linear fit whose residual is below this many eps, relative to y, is exact
REFINEMENTS = 2  # orthogonal iterations for the span of odd units
MAX_DIRECTIONS = 40  # of the span: the fourth moment has a quarter of the fourth power of them numbers


@dataclass(frozen=True)
class HermiteMoments:
    """Estimates of ``E[y He_m(z)]``, z the projection of the whitened x on the span of the units.

    For ``y = sum_j v_j a(<w_j, x> + b_j)`` and x ~ N(0, I) they are ``sum_j v_j c_m(|w_j|, b_j) u_j^(x)m``, u_j the
    direction of w_j and c_m the Hermite coefficients of a.

    Attributes
    ----------
    basis : ndarray of shape (n_features, n_directions)
        Orthonormal; spans the eigenvectors of the second moment with the largest absolute eigenvalues, or see
        `hermite_moments` where a is odd.
    spectrum : ndarray of shape (n_features,)
        All its eigenvalues, by decreasing absolute value; the singular values of both matrices where a is odd.
    edge : float
        Largest absolute value of the spectrum that noise alone would have: those below cannot be told from it.
    mean : float
        ``E[y]``.
    first, second : ndarray of shape (n_directions,) and (n_directions, n_directions)
    third, fourth : ndarray of shape (n_pairs, n_directions) and (n_pairs, n_pairs)
        Rows and columns stand for the pairs a <= b of `pairs`.
    n : float
        Sum of the weights, at least 1.
    variances : tuple of float
        Variance of y about the fit of the degrees below each moment: were that noise, n times the variance of an entry
        of distinct indices.
    """

    basis: np.ndarray
    spectrum: np.ndarray
    edge: float
    mean: float
    first: np.ndarray
    second: np.ndarray
    third: np.ndarray
    fourth: np.ndarray
    n: float
    variances: tuple

    def random_directions(self, n_vectors, rng):
        """Return random unit vectors of the span, (n_vectors, n_directions).

        They are drawn in the whitened coordinates and projected: they do not depend on the signs of the basis.
        """
        U = rng.standard_normal((n_vectors, len(self.basis))) @ self.basis
        norm = np.linalg.norm(U, axis=1, keepdims=True)
        return U / np.where(norm > 0, norm, 1)

    @cached_property
    def _higher(self):
        """Fourth and third moment side by side, rows by how often their pairs stand in a symmetric matrix.

        The third is symmetric here, as its estimate by pairs is not: the same along every vector, and three times its
        contraction with two vectors is the gradient.
        """
        k = len(self.first)
        (a, b), places = pairs(k), _places(k)
        c = np.arange(k)
        third = self.third[places[a, b]] + self.third[places[b[:, None], c], a[:, None]]
        third += self.third[places[a[:, None], c], b[:, None]]
        return np.where(a == b, 1.0, 2.0)[:, None] * np.hstack([self.fourth, third / 3])

    def contracted(self, U):
        """Return ``M_m(u, ..., u, .)``, the moments contracted with unit vectors but for one index.

        Parameters
        ----------
        U : ndarray of shape (n_vectors, n_directions)

        Returns
        -------
        ndarray of shape (4, n_vectors, n_directions)
            The inner products with u are the moments along u, and m times them their gradients in u.
        """
        k = U.shape[1]
        a, b = pairs(k)
        products = U.take(a, axis=1)
        products *= U.take(b, axis=1)
        higher = products @ self._higher
        found = np.empty((4, *U.shape))
        found[0] = self.first
        np.matmul(U, self.second, out=found[1])
        found[2] = higher[:, len(a) :]
        np.matmul(higher.take(_places(k), axis=1), U[:, :, None], out=found[3, :, :, None])
        return found

    def along(self, U):
        """Return the moments along unit vectors, ``M_m(u, ..., u)`` (4, n_vectors), and their gradients in u.

        Parameters
        ----------
        U : ndarray of shape (n_vectors, n_directions)

        Returns
        -------
        values : ndarray of shape (4, n_vectors)
        gradients : ndarray of shape (4, n_vectors, n_directions)
        """
        found = self.contracted(U)
        return np.einsum("mjd,jd->mj", found, U), np.arange(1.0, 5.0)[:, None, None] * found


@lru_cache(maxsize=64)
def pairs(k):
    """Return the indices a <= b of the distinct products of k coordinates."""
    return np.triu_indices(k)


@lru_cache(maxsize=64)
def _places(k):
    """Return, as a symmetric matrix, the place of each pair of coordinates among the pairs."""
    a, b = pairs(k)
    places = np.empty((k, k), dtype=np.intp)
    places[a, b] = places[b, a] = np.arange(len(a))
    return places


@dataclass(frozen=True)
class _Residual:
    """``r = y / scale - mean - <linear, x~> - (z' Q z - tr Q) / 2`` for z the coordinates of x~ along a basis."""

    whitening: Whitening
    scale: float
    basis: np.ndarray
    mean: float
    linear: np.ndarray
    quadratic: np.ndarray | None = None

    def pieces(self, X, y, s):
        """Yield (z (n, k), r, s) over the pieces of a block, in float64 where they are small."""
        k = self.basis.shape[1]
        for piece, Z in self.whitening.projected(X, np.column_stack([self.basis, self.linear])):
            r = y[piece] / y.dtype.type(self.scale) - y.dtype.type(self.mean) - Z[:, k]
            Z = Z[:, :k]
            if self.quadratic is not None:
                Q = self.quadratic.astype(Z.dtype)
                r -= (np.sum((Z @ Q) * Z, axis=1) - np.trace(Q)) / 2
            # As many rows at a time as keep the products of pairs in the cache.
            step = max(8, BLOCK_BYTES // (8 * len(pairs(k)[0]))) if self.quadratic is not None else len(r)
            for i in range(0, len(r), step):
                yield Z[i : i + step], r[i : i + step], s[piece][i : i + step]

    def sum(self, rows, f):
        """Return the sums of ``f(z, r, s)``, a tuple of numbers and arrays, over the rows; one pass."""

        def block(X, y, s):
            parts = (f(*piece) for piece in self.pieces(X, y, s))
            total = [part.astype(np.float64) for part in next(parts)]
            for piece in parts:
                for j, more in enumerate(piece):
                    total[j] += more
            return tuple(total)

        return rows.sum(block)


def hermite_moments(rows, whitening, n_directions=None, *, odd=False):
    """Return the `HermiteMoments` of y in units of its root mean square.

    The raw estimate, the mean of ``y He_m(z)``, is useless at any sample size that one has: its variance is that of y,
    not of what the moment describes. Here lower degrees are regressed out of y first (control variates): the best
    linear function before the second moment, the best quadratic function of z before the third and fourth. The second
    moment is corrected by what its own residual shows: one step of that regression, and as good as all of it.

    The second moment of units odd but for a constant vanishes without biases: where `odd`, the span is that of the
    left singular vectors of ``[E[y He_2], E[y He_3(., ., theta)]]``, theta the direction of the first moment, refined
    by `REFINEMENTS` orthogonal iterations (HOOI) on the third moment, with all pairs of vectors of the span in place of
    theta: the singular vectors do not depend on the basis of the span, and no array is larger than d by d or d by k^2.

    Passes: one for the linear fit, one for the second moment of all coordinates, two in the span; one for each
    iteration.

    Parameters
    ----------
    rows : Rows
    whitening : Whitening
        Centred.
    n_directions : int, optional
        Number of directions of the span, at most `MAX_DIRECTIONS`. None: the number of eigenvalues of the second moment
        above `edge`, at least 1.
    odd : bool, default=False
        Whether the activation is odd but for a constant.

    Notes
    -----
    For y = noise of variance sigma^2 and white x, eigenvalues stay below
    ``edge = sigma ((1 + sqrt(d/n))^2 - 1 + 1/sqrt(n))``, n the sum of the weights: the edge of the spectrum of such
    matrices, and room for its fluctuation. *Measured* for 5 <= d <= 100 and n from 1.2 d to 500 d: at or above the 0.98
    quantile of the largest. Singular values of two such matrices side by side would stay below ``(1 + sqrt(2)) / 2``
    times that; theta, which comes from the same data, adds to it: 3/2, *measured* the 0.95 quantile.
    """
    # Weights that add up to less than one row tell as little as one.
    rank, n, t = whitening.rank, max(rows.weight_sum, 1.0), rows.target_scale()
    identity = np.eye(whitening.size)
    mean, linear = rows.sum(_first_moments, t)
    linear = whitening.pull_back((linear - mean * whitening.center)[None])[0]
    about_line = _Residual(whitening, t, identity, float(mean), linear)
    theta = linear / (np.linalg.norm(linear) or 1.0) if odd else None
    *matrices, variance = about_line.sum(rows, partial(_span_moments, theta=theta))
    if variance <= (RESIDUAL_EPS * float(np.finfo(rows.dtype).eps)) ** 2:
        return _linear_moments(whitening, n, float(mean), linear, n_directions or 1)
    vectors, spectrum = _spectrum(matrices)
    edge = variance**0.5 * ((1 + (rank / n) ** 0.5) ** 2 - 1 + n**-0.5) * (1.5 if odd else 1.0)
    if n_directions is None:
        n_directions = max(1, int(np.sum(np.abs(spectrum) > edge)))
    basis = vectors[:, : min(n_directions, MAX_DIRECTIONS)]
    for _ in range(REFINEMENTS if odd else 0):
        basis = _refined_span(rows, about_line, basis, matrices[0])
    second = basis.T @ matrices[0] @ basis
    in_span = replace(about_line, basis=basis, quadratic=second)
    correction, _ = in_span.sum(rows, _span_moments)
    in_span = replace(in_span, quadratic=second + correction)
    third, fourth, residual = in_span.sum(rows, _higher_moments)
    variances = tuple(max(float(v), np.finfo(float).eps) for v in (variance, variance, residual, residual))
    first = basis.T @ linear
    return HermiteMoments(
        basis, spectrum, float(edge), float(mean), first, second + correction, third, fourth, n, variances
    )


def _first_moments(X, y, s, unit):
    """Return the sums of y and of y x, y in this unit."""
    g = s * (y / y.dtype.type(unit))
    return g.sum().astype(np.float64), (g @ X).astype(np.float64)


def _spectrum(matrices):
    """Return the left singular vectors of matrices side by side, by decreasing singular value, and the latter.

    Of one symmetric matrix: its eigenvectors and eigenvalues, by decreasing absolute value.
    """
    if len(matrices) > 1:
        return np.linalg.svd(np.hstack(matrices))[:2]
    values, vectors = np.linalg.eigh(matrices[0])
    order = np.argsort(-np.abs(values), kind="stable")
    return vectors[:, order], values[order]


def _refined_span(rows, about_line, basis, second):
    """Return the basis after one orthogonal iteration: the first left singular vectors of `_contracted_third`.

    Columns of the second moment, contracted with the basis, count as those of the third moment do in the squared
    distance of two functions: 1/2! for 1/3!, of which pairs a < b count twice.
    """
    identity, k = about_line.basis, basis.shape[1]
    (third,) = replace(about_line, basis=np.column_stack([identity, basis])).sum(
        rows, partial(_contracted_third, size=len(identity))
    )
    return np.linalg.svd(np.hstack([3**0.5 * second @ basis, third]), full_matrices=False)[0][:, :k]


def _linear_moments(whitening, n, mean, linear, n_directions):
    """Return the moments of a linear function: those of degree two and more are zero, their estimates rounding."""
    k = min(n_directions, MAX_DIRECTIONS, whitening.size)
    basis = np.linalg.qr(np.column_stack([linear, np.eye(whitening.size)]))[0][:, :k]
    n_pairs = len(pairs(k)[0])
    zeros = np.zeros(whitening.size), 0.0, mean, basis.T @ linear, np.zeros((k, k)), np.zeros((n_pairs, k))
    return HermiteMoments(basis, *zeros, np.zeros((n_pairs, n_pairs)), n, (1.0,) * 4)


def _span_moments(z, r, s, *, theta=None):
    """Return the sums of ``r He_2(z) = r (z z' - I)``, of ``r He_3(z)(., ., theta)`` unless None, and of r^2."""
    g, identity = s * r, np.eye(z.shape[1], dtype=z.dtype)
    second = weighted_gram(z, g) - g.sum() * identity
    if theta is None:
        return second, g @ r
    h = g * (z @ theta.astype(z.dtype))
    cross = np.outer(g @ z, theta)
    return second, weighted_gram(z, h) - h.sum() * identity - cross - cross.T, g @ r


def _contracted_third(z, r, s, *, size):
    """Return the sum of ``r He_3(z)(., b_i, b_j)`` over pairs i <= j of a basis; z holds its coordinates at the end.

    ``He_3(z)(., b, c) = z (b'z) (c'z) - z b'c - b c'z - c b'z``; r is orthogonal to z, so that only the first counts.
    """
    z, inner = z[:, :size], z[:, size:]
    a, b = pairs(inner.shape[1])
    weighted = inner[:, a] * inner[:, b] * np.where(a == b, 1.0, 2**0.5).astype(z.dtype)
    return ((z.T * (s * r)) @ weighted,)


def _higher_moments(z, r, s):
    """Return the sums of ``r He_3(z)`` and ``r He_4(z)`` by pairs, and of r^2.

    Along a unit vector u, ``He_3 = (u'z)^3 - 3 u'z`` and ``He_4 = (u'z)^4 - 6 (u'z)^2 + 3``; the lower powers are
    spread over the pairs so that contraction with any unit vector is right.
    """
    k = z.shape[1]
    a, b = pairs(k)
    diagonal = (a == b).astype(z.dtype)
    g = s * r
    products = z[:, a]
    products *= z[:, b]
    third = products.T @ (g[:, None] * z) - 3 * diagonal[:, None] * (g @ z)
    second = g @ products
    fourth = weighted_gram(products, g) - 3 * (np.outer(second, diagonal) + np.outer(diagonal, second))
    return third, fourth + 3 * g.sum() * np.outer(diagonal, diagonal), g @ r
