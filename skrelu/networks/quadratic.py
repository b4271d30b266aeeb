"""Quadratic units: loss, gradient, Hessian products and metric, in whitened coordinates."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from skrelu.networks.piecewise_linear import products
from skrelu.rows import Rows
from skrelu.whitening import Whitening, unwhitened, whitening

RIDGE = 1e-3  # of the mean diagonal, added to the matrix of the metric
RANK_TOL = 1e-9  # of the largest eigenvalue of M~; smaller ones count as zero


@dataclass(frozen=True)
class QuadraticModel:
    """What a quadratic network and the convex problem behind it share: data, coordinates, units, penalty.

    ``f(x) = x' M x + <beta, x> + c`` in the user's units. The solvers see it about the centre m of the whitened
    coordinates ``x~ = T'(x - m)``, with y in units of its root mean square t::

        f(x) / t = x~' M~ x~ + <beta~, x~> + c~,    M = t T M~ T',    beta = t T (beta~ - 2 M~ m~),    m~ = T' m.

    Parameters
    ----------
    rows : Rows
    whitening : Whitening
        Its `center` is 0 unless there are both a linear part and an intercept, and no penalty, which tells the user's
        origin from others.
    fit_linear, fit_intercept : bool
    alpha : float
        Of the penalty ``(alpha/2) (|S^1/2 M S^1/2|_* + linear_factor beta' S beta)``; of a centred whitening beta is
        the slope at the centre.
    scales : ndarray of shape (n_features,)
        The diagonal of S^1/2.
    target_scale : float
        t.
    positive : bool
        Whether M is positive semidefinite.
    linear_factor : float
    """

    rows: Rows
    whitening: Whitening
    fit_linear: bool
    fit_intercept: bool
    alpha: float
    scales: np.ndarray
    target_scale: float
    positive: bool = False
    linear_factor: float = 1.0

    @classmethod
    def of(cls, rows, *, fit_linear, fit_intercept, alpha, positive):
        """Return the model of some rows, with its coordinates."""
        both = fit_linear and fit_intercept
        # With both, constant columns add nothing, and decay, which does not see them, would leave them undetermined.
        white = whitening(rows, centered=both and alpha == 0, constant=not both)
        mean = white.center if both and alpha == 0 else rows.column_statistics(centered=True)[0]
        mean = np.abs(mean.astype(np.float64))
        varies = white.deviations > 16 * float(np.finfo(rows.dtype).eps) * mean
        # Else one may stand for the intercept: its scale is the size of its entries.
        scales = np.where(varies, white.deviations, 0.0 if both else mean)
        return cls(rows, white, fit_linear, fit_intercept, alpha, scales, rows.target_scale(), positive)

    @property
    def linear_alpha(self):
        """The penalty of the linear part, y in units of t: ``(linear_alpha/2) beta~' T' S T beta~``."""
        return self.alpha * self.linear_factor

    @property
    def n_head(self):
        """Length of (beta~, c~)."""
        return self.fit_linear * self.whitening.size + self.fit_intercept

    @cached_property
    def center(self):
        """m~."""
        return self.whitening.pull_back(self.whitening.center[None])[0]

    @cached_property
    def penalty_matrix(self):
        """``T' S T``."""
        scaled = self.whitening.to_columns(np.eye(self.whitening.size)) * self.scales
        return scaled @ scaled.T

    @cached_property
    def root(self):
        """R with ``R'R = T' S T``: of weight decay, if there is any; else the identity."""
        if self.alpha == 0:
            return np.eye(self.whitening.size)
        return _power(self.penalty_matrix, 0.5)

    @cached_property
    def inverse_root(self):
        """The pseudo-inverse of R."""
        return np.eye(self.whitening.size) if self.alpha == 0 else _power(self.penalty_matrix, -0.5)

    def scaled(self):
        """Return the model in coordinates in which the penalty is the nuclear norm of M~ and the squares of beta~."""
        return self if self.alpha == 0 else self.in_scales()

    def in_scales(self):
        """Return the model in coordinates ``S^-1/2 (x - m)``."""
        inverse = np.where(self.scales > 0, 1 / np.where(self.scales > 0, self.scales, 1), 0)
        return replace(self, whitening=replace(self.whitening, columns=inverse, inverse=self.scales))

    def head(self, theta):
        """Return beta~ (zero where there is none) and c~."""
        head = theta[len(theta) - self.n_head :]
        beta = head[: self.whitening.size] if self.fit_linear else np.zeros(self.whitening.size)
        return beta, float(head[-1]) if self.fit_intercept else 0.0

    def packed_head(self, beta, c):
        """Return the end of theta."""
        return np.concatenate([beta if self.fit_linear else (), [c] if self.fit_intercept else ()])

    def user(self, M, beta, c):
        """Return M (d, d), beta and c in the user's units."""
        t, to_columns = self.target_scale, self.whitening.to_columns
        linear = beta - 2 * M @ self.center
        intercept = c - beta @ self.center + self.center @ M @ self.center
        return t * to_columns(to_columns(M).T), t * to_columns(linear[None])[0], t * float(intercept)

    def from_user(self, M, beta, c):
        """Return (M~, beta~, c~): the inverse of `user`, but for what no row of X can see."""
        t, to_white, m = self.target_scale, self.whitening.to_white, self.whitening.center
        linear = to_white((beta + 2 * M @ m)[None])[0]
        return to_white(to_white(M).T) / t, linear / t, float(c + beta @ m + m @ M @ m) / t

    def units(self, M):
        """Return (w_j (k, d), v_j) in the user's units with ``sum_j v_j w_j w_j' = M`` and the least sum of squares.

        By decreasing ``w_j' S w_j``: the terms of the eigenvalues of ``S^1/2 M S^1/2``, the largest entry of each w_j
        positive.
        """
        W = self.whitening.to_columns(np.eye(len(M))) * self.scales * self.target_scale**0.5
        values, vectors = np.linalg.eigh(W.T @ M @ W)
        order = np.argsort(-np.abs(values), kind="stable")
        order = order[np.abs(values[order]) > RANK_TOL * np.max(np.abs(values))]
        scales = np.where(self.scales > 0, self.scales, 1.0)
        units = np.abs(values[order, None]) ** 0.5 * vectors[:, order].T / scales
        largest = np.argmax(np.abs(units * self.scales), axis=1)
        units *= np.where(units[np.arange(len(units)), largest] < 0, -1.0, 1.0)[:, None]
        return units, np.where(values[order] < 0, -1.0, 1.0)

    def require_finite(self, *values):
        """Raise the error of data whose squares overflow unless all numbers are finite."""
        if not all(np.all(np.isfinite(value)) for value in values):
            raise ValueError(f"X or y: squares of their entries overflow {self.rows.dtype}; rescale them")

    def is_lowest(self, value):
        """Whether a value of the objective is, to rounding, zero."""
        return value <= (100 * float(np.finfo(self.rows.dtype).eps)) ** 2 / 2


def _power(A, exponent):
    """Return a power of a positive semidefinite matrix; on its null space, zero."""
    values, vectors = np.linalg.eigh(A)
    kept = values > 1e-12 * values[-1]
    return (vectors[:, kept] * values[kept] ** exponent) @ vectors[:, kept].T


class QuadraticNetwork:
    """Half the weighted mean squared error of a few quadratic units, and of a linear part.

    In the coordinates of a `QuadraticModel`, ``M~ = sum_j v_j w_j w_j'`` with v_j = +-1 fixed; the penalty is
    ``(alpha/2) (sum_j w_j' S w_j + beta' S beta)`` in the user's units, at its smallest over the factors of M that of
    the model. theta is (w_j), then beta~, then c~.

    Parameters
    ----------
    model : QuadraticModel
    output : ndarray of shape (n_hidden,)
        The v_j.
    """

    def __init__(self, model, output):
        self.model, self.rows, self.whitening = model, model.rows, model.whitening
        self.output, self.n_hidden = np.asarray(output, dtype=np.float64), len(output)
        self.shape = self.n_hidden, self.whitening.size
        self.is_lowest = model.is_lowest
        self._decay = model.alpha / model.target_scale
        self._is_centered = bool(np.any(self.whitening.center))

    def variant(self, output=None, **options):
        """Return this network with other output weights, or another model."""
        model = replace(self.model, **options) if options else self.model
        return QuadraticNetwork(model, self.output if output is None else output)

    def unpack(self, theta):
        """Return (W (k, size), (beta~, c~), v) of theta."""
        size = self.n_hidden * self.shape[1]
        return theta[:size].reshape(self.shape), theta[size:], self.output

    def pack(self, W, head):
        """Return the theta of its parts."""
        return np.concatenate([W.ravel(), head])

    def in_user_units(self, theta):
        """Return (network, theta) in the user's own coordinates."""
        (W, _, v), model = self.unpack(theta), self.model
        _, linear, c = model.user(*self.parts(theta))
        user = replace(model, whitening=unwhitened(model.whitening), target_scale=1.0)
        network = QuadraticNetwork(user, v)
        return network, network.pack(
            model.target_scale**0.5 * model.whitening.to_columns(W), user.packed_head(linear, c)
        )

    def parts(self, theta):
        """Return (M~, beta~, c~)."""
        W = self.unpack(theta)[0]
        return (W.T * self.output) @ W, *self.model.head(theta)

    def factored(self, theta, n_units):
        """Return (network, theta) of the `n_units` largest terms of M~, smaller ones left out, with the mean of f kept.

        The terms are those of the eigenvalues of ``R M~ R'``, R that of the model: orthogonal units, whose squares sum
        to the nuclear norm. Terms below `RANK_TOL` of the largest are left out in any case.
        """
        (W, _, v), (beta, c), R = self.unpack(theta), self.model.head(theta), self.model.root
        # Rounding gathers along directions in which no row varies.
        W = self.whitening.to_white(self.whitening.to_columns(W))
        Q, upper = np.linalg.qr(R @ W.T)
        values, vectors = np.linalg.eigh((upper * v) @ upper.T)
        order = np.argsort(-np.abs(values), kind="stable")[:n_units]
        order = order[np.abs(values[order]) > RANK_TOL * np.max(np.abs(values), initial=0)]
        new = (np.abs(values[order]) ** 0.5 * (self.model.inverse_root @ Q @ vectors[:, order])).T
        network = self.variant(np.where(values[order] < 0, -1.0, 1.0))
        lost = v @ np.sum(W**2, axis=1) - network.output @ np.sum(new**2, axis=1)
        return network, network.pack(new, self.model.packed_head(beta, c + lost))

    def _stacked(self, W, beta, c):
        """Return weights of the columns and constants, in the dtype of the data.

        Units come first, then the linear part, if there is one; its constant is always the last.
        """
        stacked = self.whitening.to_columns(np.vstack([W, beta]) if self.model.fit_linear else W)
        constants, dtype = np.zeros((self.n_hidden + 1, 1)), self.rows.dtype
        if self._is_centered:
            constants[: len(stacked), 0] -= stacked @ self.whitening.center
        constants[-1] += c
        return stacked.astype(dtype, copy=False), constants.astype(dtype, copy=False)

    def _forward(self, X, y, W, b):
        """Return the inputs of the units, and a last row for the linear part if there is one, and the residual."""
        k = self.n_hidden
        Z = self._inputs(X, W, b)
        residual = self.output.astype(Z.dtype) @ (Z[:k] * Z[:k])
        residual += b[k]
        if self.model.fit_linear:
            residual += Z[k]
        residual -= y / y.dtype.type(self.model.target_scale)
        return Z, residual

    def _inputs(self, X, W, b):
        """Return the inputs of the units, and of the linear part without its constant."""
        Z, k = products(X, W), self.n_hidden
        if self._is_centered:
            Z[:k] += b[:k]
        return Z

    def value_and_gradient(self, theta):
        """Return the objective and its gradient; one pass."""
        W, _, _ = self.unpack(theta)
        loss, *sums = self.rows.sum(self._block_gradient, *self._stacked(W, *self.model.head(theta)))
        gradient = self._pull_back(*sums)
        if self.model.alpha > 0:
            penalty, g_penalty = self._penalty_terms(theta)
            loss, gradient = loss + penalty, gradient + g_penalty
        return float(loss), gradient

    def loss(self, theta):
        """Return the objective without penalty; one pass."""
        return self.variant(alpha=0.0).value_and_gradient(theta)[0]

    def _block_gradient(self, X, y, s, W, b):
        Z, residual = self._forward(X, y, W, b)
        g = s * residual
        units = Z[: self.n_hidden]
        units *= g
        return 0.5 * np.sum(g * residual, dtype=np.float64), *self._sums(X, Z, g)

    def _sums(self, X, G, g):
        """Return the sums of ``G x'`` and G over the rows of a block, the linear part last, in float64; G changes."""
        G[self.n_hidden :] = g
        g_bias = G.sum(axis=1, dtype=np.float64) if self._is_centered else 0.0
        return (G @ X).astype(np.float64), g_bias, g.sum().astype(np.float64)

    def _pull_back(self, G, g_bias, g_c):
        """Return the gradient with respect to theta from the `_sums`."""
        if self._is_centered:
            G = G - np.outer(g_bias, self.whitening.center)
        G, k = self.whitening.pull_back(G), self.n_hidden
        beta = G[k] if self.model.fit_linear else None
        return self.pack(2 * self.output[:, None] * G[:k], self.model.packed_head(beta, g_c))

    def _penalty_terms(self, theta):
        """Return the penalty and its gradient, which of a quadratic function is also its Hessian times theta."""
        W, _, _ = self.unpack(theta)
        SW = W @ self.model.penalty_matrix
        beta, _ = self.model.head(theta)
        S_beta = self.model.linear_alpha * (self.model.penalty_matrix @ beta)
        value = (self._decay * np.sum(W * SW) + beta @ S_beta) / 2
        return value, self.pack(self._decay * SW, self.model.packed_head(S_beta, 0.0))

    def metric(self, theta):
        """Return, as a function, the inverse of the Gauss-Newton matrix where ``<w_i, x~>`` and x~ are independent.

        It is the Kronecker product of ``4 v_i v_j <w_i, w_j>`` and the identity, and needs no pass. The penalty adds
        its mean curvature.
        """
        W, _, v = self.unpack(theta)
        mean_variance = np.trace(self.model.penalty_matrix) / max(self.whitening.rank, 1) if self.model.alpha else 0.0
        A = 4 * np.outer(v, v) * (W @ W.T) + self._decay * mean_variance * np.eye(self.n_hidden)
        scale = np.trace(A) / max(self.n_hidden, 1)
        inverse = np.linalg.inv(A + (RIDGE * scale if scale > np.finfo(float).tiny else 1.0) * np.eye(self.n_hidden))
        shrink = 1 / (1 + self.model.linear_alpha * mean_variance)
        shares = self.model.packed_head(np.full(self.whitening.size, shrink), 1.0)

        def apply(q):
            W, head, _ = self.unpack(q)
            return self.pack(inverse @ W, shares * head)

        return apply

    def curvature_product(self, theta):
        """Return the function ``d -> H d``, H the Hessian, one pass each."""
        W, _, _ = self.unpack(theta)
        stacked = self._stacked(W, *self.model.head(theta))
        v = self.output.astype(self.rows.dtype)

        def f(X, y, s, W, b, dW, db):
            Z, residual = self._forward(X, y, W, b)
            k, dZ = self.n_hidden, self._inputs(X, dW, db)
            change = 2 * v @ (Z[:k] * dZ[:k])
            change += db[k]
            if self.model.fit_linear:
                change += dZ[k]
            g = s * change
            Z *= g
            dZ *= s * residual
            Z += dZ
            return self._sums(X, Z, g)

        def product(direction):
            dW, _, _ = self.unpack(direction)
            sums = self.rows.sum(f, *stacked, *self._stacked(dW, *self.model.head(direction)))
            moved = self._pull_back(*sums)
            return moved + self._penalty_terms(direction)[1] if self.model.alpha > 0 else moved

        return product
