"""The Hessian of two layers whose output layer is eliminated, as products with directions."""

import numpy as np

from skrelu.networks.piecewise_linear import products

MAX_ENTRIES = 2**22  # of the sums by which the output layer moves; with more, each product takes two passes


class ReducedHessian:
    """The function ``d -> H d``, H the Hessian of the objective of a `TwoLayer` at theta, away from kinks.

    A change of the hidden layer moves the best output layer, too, and H is the Schur complement of the Hessian in both
    layers. How it moves, ``sum_i s_i (a_i du_i' + (f'_i o dz_i) r_i')`` and ``sum_i s_i du_i`` with ``dz = dW x + db``
    and ``du = U (f' o dz)``, takes a pass: the first of two. But it is linear in the direction, with the coefficients
    ``sum_i s_i a_ij f'_il x_i``, ``sum_i s_i f'_ij r_io x_i`` and ``sum_i s_i f'_il x_i``: one pass of k + m + 1
    products gives them once and for all. It is taken as soon as as many products have been saved by it.

    Along the lengths of units, where these are free, H would be singular: there it is given the curvature |u_j|^2, lest
    rounding gather.

    Parameters
    ----------
    network : TwoLayer
    theta : ndarray
    """

    def __init__(self, network, theta):
        self.network, self.theta, self.layer = network, theta, network.layer(theta)
        dtype = network.rows.dtype
        self._weights = *network.stacked(theta), *self.layer.cast(dtype)
        self._second_order = not network.gauss_newton
        k, m = self.layer.coef.shape
        self._patience = (k + m) // 2 if k * (k + m + 1) * (network.rows.n_features + 1) <= MAX_ENTRIES else np.inf
        self._sums = None

    def __call__(self, direction):
        """Return H d; one pass, or two."""
        network, layer, dtype = self.network, self.layer, self.network.rows.dtype
        fixed = network._at_fixed_lengths(self.theta, direction)
        moved = network.stacked(fixed)
        cross, shift = self._moved_output(*moved)
        shift = shift * network.fit_intercept
        dcoef = -layer.inverse @ (cross - np.outer(layer.mean, shift))
        dintercept = -shift - layer.mean @ dcoef
        change = dcoef.astype(dtype), dintercept.astype(dtype)[:, None]
        result = network._pull_back(*network.rows.sum(self._block_product, *self._weights, *moved, *change))
        if network.alpha > 0:
            result += network.decays[0] * network._variances(direction)
        result = network._at_fixed_lengths(self.theta, result)
        if network._free_lengths:
            result += network._along_lengths(self.theta, direction, np.sum(layer.coef**2, axis=1))
        return result

    def _moved_output(self, dW, db):
        """Return the sums by which the output layer moves with the hidden one."""
        if self._sums is None and self._patience > 0:
            self._patience -= 1
            return self.network.rows.sum(self._block_moved, *self._weights, dW, db)
        if self._sums is None:
            self._sums = self.network.rows.sum(self._block_sums, *self._weights)
        sums, of_biases = self._sums
        k = len(dW)
        along = np.einsum("jld,jd->jl", sums, dW.astype(np.float64)) + of_biases * db
        coef = self.layer.coef
        cross, shift = along[:, :k].T @ coef, along[:, -1] @ coef
        return cross + along[:, k:-1] if self._second_order else cross, shift

    def _block_sums(self, X, y, s, W, b, coef, intercept):
        """Return, for each unit j, the sums of ``s_i f'_ij (a_i, r_i, 1) x_i'`` and the same without x."""
        _, value, derivative, residual = self.network._forward(X, y, W, b, coef, intercept)
        derivative *= s
        factors, of_inputs, of_biases = np.vstack([value, residual, np.ones_like(value[:1])]), [], []
        for slope in derivative:
            weighted = factors * slope
            of_inputs.append((weighted @ X).astype(np.float64))
            of_biases.append(weighted.sum(axis=1, dtype=np.float64))
        return np.stack(of_inputs), np.stack(of_biases)

    def _block_moved(self, X, y, s, W, b, coef, intercept, dW, db):
        _, value, derivative, residual = self.network._forward(X, y, W, b, coef, intercept)
        dZ = products(X, dW)
        dZ += db
        derivative *= dZ
        derivative *= s
        change = coef.T @ derivative
        cross = value @ change.T
        if self._second_order:
            cross += derivative @ residual.T
        return cross.astype(np.float64), change.sum(axis=1, dtype=np.float64)

    def _block_product(self, X, y, s, W, b, coef, intercept, dW, db, dcoef, dintercept):
        network = self.network
        Z, value, derivative, residual = network._forward(X, y, W, b, coef, intercept)
        dZ = products(X, dW)
        dZ += db
        change = coef.T @ (derivative * dZ)
        change += dcoef.T @ value
        change += dintercept
        change *= s
        residual *= s
        g = coef @ change
        if self._second_order:
            g += dcoef @ residual
        g *= derivative
        eps, kink, bend = network.smoothing, network.activation.kink, network.activation.second_derivative
        if self._second_order and ((eps and kink) or bend is not None):
            dZ *= coef @ residual
            if eps and kink:
                g += np.where(np.abs(Z) < eps / 2, kink / eps, 0) * dZ
            if bend is not None:
                g += bend(Z) * dZ
        return (g @ X).astype(np.float64), g.sum(axis=1, dtype=np.float64)
