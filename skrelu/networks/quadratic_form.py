"""The convex problem behind quadratic networks: least squares over symmetric matrices, without a matrix of features."""

from dataclasses import replace
from functools import cached_property

import numpy as np

from skrelu.whitening import weighted_gram

GRAM_TOL = 1e-13  # eigenvalues of the Gram matrix below this share of the largest count as zero


class QuadraticForm:
    """Half the weighted mean squared error of ``x~' M~ x~ + <beta~, x~> + c~`` as a function of the matrix M~.

    Of a `QuadraticModel` without penalty. theta is the upper triangle of M~, diagonal entries times sqrt(2) and others
    times 2; then beta~; then the mean ``c~ + tr M~`` where there is an intercept. For white Gaussian inputs and an
    intercept the Hessian is then the identity. Conjugate gradients from 0 give the solution of least |theta| where
    there are several.

    Parameters
    ----------
    model : QuadraticModel
    gram : ndarray, optional
        The Hessian, for its pseudo-inverse to be the metric (`preconditioned`).
    """

    def __init__(self, model, gram=None):
        self.model, self.rows, self.whitening = model, model.rows, model.whitening
        self.is_lowest = model.is_lowest
        self._pairs = np.triu_indices(self.whitening.size)
        self._root = np.where(self._pairs[0] == self._pairs[1], 2**0.5, 2.0)
        self.n_weights = len(self._root) + model.n_head
        self._inverse_factor = None
        if gram is not None:
            values, vectors = np.linalg.eigh(gram)
            kept = values > GRAM_TOL * values[-1]
            self._inverse_factor = vectors[:, kept] / values[kept] ** 0.5

    def pack(self, M, beta, c):
        """Return the theta of its parts."""
        mean = c + np.trace(M) * self.model.fit_intercept
        return np.concatenate([M[self._pairs] * self._root, self.model.packed_head(beta, mean)])

    def parts(self, theta):
        """Return (M~, beta~, c~)."""
        M = np.zeros((self.whitening.size,) * 2)
        M[self._pairs] = theta[: len(self._root)] / self._root
        M += np.triu(M, 1).T
        beta, mean = self.model.head(theta)
        return M, beta, mean - np.trace(M) * self.model.fit_intercept

    @cached_property
    def _unit(self):
        """Powers of two by which columns come to order one, so that no squares overflow; 0 for those left out."""
        size = np.abs(self.whitening.columns).reshape(self.whitening.size, -1).max(axis=1)
        return np.where(size > 0, np.ldexp(1.0, np.frexp(size)[1]), 0.0)

    @cached_property
    def _centered(self):
        return replace(self.whitening, columns=self._unit)

    @cached_property
    def _of_centered(self):
        """The whitening of the centred columns in these units."""
        columns = self.whitening.columns.T / np.where(self._unit > 0, self._unit, 1.0)
        return replace(self.whitening, columns=columns.T)

    def moments(self, M, beta, c, target=None):
        """Return half the mean square of ``r = f - target y``, and E[r x~ x~'], E[r x~] and E[r]; one pass.

        M may be None for zero; target is 1/t unless given.
        """
        to_columns, pull_back, dtype = self._of_centered.to_columns, self._of_centered.pull_back, self.rows.dtype
        target = 1 / self.model.target_scale if target is None else target
        if M is not None:
            M = to_columns(to_columns(M).T).astype(dtype)
        weights = M, to_columns(beta[None])[0].astype(dtype), dtype.type(c)
        loss, G, g, total = self.rows.sum(self._block_moments, dtype.type(target), *weights)
        return float(loss), pull_back(pull_back(G).T), pull_back(g[None])[0], total

    def _block_moments(self, X, y, s, target, M, beta, c):
        loss, G, linear, total = 0.0, 0.0, 0.0, 0.0
        for piece, Z in self._centered.whitened(X):
            residual = Z @ beta + c - y[piece] * target
            if M is not None:
                residual += np.einsum("ij,ij->i", Z @ M, Z)
            g = s[piece] * residual
            loss, total = loss + 0.5 * (g @ residual).astype(np.float64), total + g.sum().astype(np.float64)
            G, linear = G + weighted_gram(Z, g).astype(np.float64), linear + (g @ Z).astype(np.float64)
        return loss, G, linear, total

    def _pass(self, theta, target):
        M, beta, c = self.parts(theta)
        loss, G, g, total = self.moments(M, beta, c, target)
        if self.model.fit_intercept:
            G = G - total * np.eye(len(G))
        # An entry off the diagonal stands for two, and theta for it times 2.
        triangle = G[self._pairs] / np.where(self._pairs[0] == self._pairs[1], 2**0.5, 1.0)
        return loss, np.concatenate([triangle, self.model.packed_head(g, total)])

    def value_and_gradient(self, theta):
        """Return the objective and its gradient; one pass."""
        return self._pass(theta, None)

    def loss(self, theta):
        """Return the objective; one pass."""
        return self._pass(theta, None)[0]

    def curvature_product(self, theta):
        """Return the function ``d -> H d``, one pass each."""
        return lambda direction: self._pass(direction, 0.0)[1]

    def metric(self, theta):
        """Return the pseudo-inverse of the Hessian as a function, if it is there; else the identity."""
        factor = self._inverse_factor
        return (lambda q: q) if factor is None else (lambda q: factor @ (q @ factor))

    def preconditioned(self):
        """Return this problem with its Hessian as metric; one pass, and n_weights^2 numbers."""
        return QuadraticForm(self.model, self.hessian())

    def summed(self):
        """Return this problem as a `SummedForm`, of whose iterations none takes a pass; two passes."""
        return SummedForm(self.model, self.value_and_gradient(np.zeros(self.n_weights)), self.hessian())

    def hessian(self):
        """Return the Hessian (n_weights, n_weights); one pass."""
        a, b = self._pairs
        scale = np.where(a == b, 2**-0.5, 1.0)
        mean = np.where((a == b) & self.model.fit_intercept, 1.0, 0.0)

        def f(X, y, s):
            total = 0.0
            for piece, Z in self.whitening.whitened(X):
                Z = Z.astype(np.float64)
                step = max(8, 2**22 // self.n_weights)
                for i in range(0, len(Z), step):
                    z, w = Z[i : i + step], s[piece][i : i + step].astype(np.float64)
                    ends = [z] * self.model.fit_linear + [np.ones_like(z[:, :1])] * self.model.fit_intercept
                    features = np.hstack([(z[:, a] * z[:, b] - mean) * scale, *ends])
                    total = total + (features.T * w) @ features
            return (total,)

        return self.rows.sum(f)[0]


class SummedForm(QuadraticForm):
    """A `QuadraticForm` whose sums over the rows are known: value and gradient at 0, and the Hessian.

    Its values are good to eps, relative to the objective at 0.
    """

    def __init__(self, model, at_zero, hessian):
        super().__init__(model)
        self.at_zero, self.hessian_at_zero = at_zero, hessian

    def with_model(self, model):
        """Return the same problem for another penalty of the model."""
        return SummedForm(model, self.at_zero, self.hessian_at_zero)

    def moments(self, M, beta, c, target=None):
        """Return what `QuadraticForm.moments` does, with target at its default; M is not None."""
        loss, gradient = self._pass(self.pack(M, beta, c), target)
        g, total = self.model.head(gradient)
        G = np.zeros_like(M)
        G[self._pairs] = gradient[: len(self._root)] * np.where(self._pairs[0] == self._pairs[1], 2**0.5, 1.0)
        return loss, G + np.triu(G, 1).T + total * np.eye(len(G)), g, total

    def _pass(self, theta, target):
        moved = self.hessian_at_zero @ theta
        if target is not None:
            return float(theta @ moved) / 2, moved
        value, gradient = self.at_zero
        return value + float(gradient @ theta + theta @ moved / 2), gradient + moved
