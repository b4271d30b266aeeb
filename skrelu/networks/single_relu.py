"""One ReLU: loss, convex majorant, smoothed kinks."""

from copy import copy

import numpy as np
from scipy import sparse

from skrelu.rows import column_blocks


class SingleReLU:
    """Half the weighted mean squared error of one ReLU, in coordinates in which the data have unit scale.

    In the user's units ``F(w, b) = 1/(2 sum_i s_i) sum_i s_i (max(0, <w, x_i> + b) - y_i)^2``. The solvers see
    ``theta = (v, beta)``, or v alone without intercept, with

    ``w = (t / scale) v``, ``b = t beta - <w, center>``,

    t the root mean square of y, and the objective divided by t^2: whatever the units of X and y, its value at
    theta = 0 is 1/2 or less and its curvature is of order one.

    The *majorant* replaces max(0, z) by z in the rows with ``y > tau``, tau >= 0. It is nowhere below the loss, since
    ``(z - y)^2 >= y^2`` where z < 0 < y, and equal to it wherever those rows have z >= 0, hence at planted weights
    without noise. For tau = 0 it is convex: the loss is convex in the rows with y <= 0. But rows with z < 0 and y > 0
    by noise alone bias it, which ``tau = 3 sigma`` prevents, sigma the root mean square of the negative y: a ReLU has
    no negative values, so they may be noise, and there are none without noise. With tau = -inf the objective is that
    of linear regression.

    The *smoothing* concerns the rows with y < 0, whose loss ``relu(z)^2 / 2 + |y| relu(z) + y^2 / 2`` has a convex kink
    at z = 0, where noisy optima sit. The kink is replaced by ``|y| H(z)``, H' rising linearly from 0 to 1 over
    ``|z| <= eps t / 2``: nowhere below the loss, and above it by at most ``|y| eps t / 8``.

    Parameters
    ----------
    rows : Rows
    scale : ndarray of shape (n_features,)
    center : ndarray of shape (n_features,)
    target_scale : float
    fit_intercept : bool
    diagonal : bool
        Whether the scales differ.
    """

    def __init__(self, rows, *, scale=None, center=None, target_scale=1.0, fit_intercept=True, diagonal=False):
        self.rows = rows
        d, dtype = rows.n_features, rows.dtype
        self.scale = np.ones(d, dtype=dtype) if scale is None else scale
        self.center = np.zeros(d, dtype=dtype) if center is None else center
        self.target_scale, self._diagonal = target_scale, diagonal
        self.fit_intercept = fit_intercept
        square, share = rows.sum(_negative_targets, target_scale)
        self.noise_threshold = 3 * (square / share) ** 0.5 if share > 0 else 0.0
        self.negative_share = float(share)
        self._floor = square / 2
        self._linear_above, self._smoothing = np.inf, 0.0

    @property
    def has_kinks(self):
        """Whether there are rows with y < 0."""
        return self.noise_threshold > 0

    def is_lowest(self, value):
        """Whether a value of the objective is, to rounding, that of the negative y alone: no parameters do better."""
        eps = 100 * float(np.finfo(self.rows.dtype).eps)
        return value <= self._floor * (1 + eps) + eps**2 / 2

    def variant(self, *, linear_above=np.inf, smoothing=0.0):
        """Return this objective with the rows above tau = `linear_above` linear, smoothed over eps = `smoothing`."""
        other = copy(self)
        other._linear_above, other._smoothing = linear_above, smoothing
        return other

    @classmethod
    def standardised(cls, rows, fit_intercept, *, diagonal):
        """Return the objective in units of the data: about the column means when there is an intercept, columns scaled.

        Parameters
        ----------
        rows : Rows
        fit_intercept : bool
        diagonal : bool
            Each column has its own scale, its root mean square; else all have the largest of them.
        """
        center, size = rows.column_statistics(centered=fit_intercept)
        number = np.finfo(rows.dtype)
        # Denormal sizes have no reciprocal: they count as none.
        rounding = np.maximum(16 * number.eps * np.abs(center), number.tiny)
        # A column without variation keeps its unit: its gradient is zero, so its weight stays where it is.
        scale = np.where(
            size > rounding, size, np.where(np.abs(center) < number.tiny, number.dtype.type(1), np.abs(center))
        )
        varying = size[size > rounding]
        if not diagonal:
            scale = np.full_like(size, varying.max() if len(varying) else 1)
        return cls(
            rows,
            scale=scale,
            center=center,
            target_scale=rows.target_scale(),
            fit_intercept=fit_intercept,
            diagonal=diagonal,
        )

    def in_columns(self):
        """Return the loss in the columns of X as they are, y in the same unit."""
        other = self.variant()
        other.scale, other.center = np.ones_like(self.scale), np.zeros_like(self.center)
        other._diagonal = False
        return other

    @property
    def unit(self):
        """The factor from w to v: a vector when every column has its own scale, else a number."""
        unit = self.scale / self.target_scale
        return unit if self._diagonal else float(unit[0])

    def coefficients(self, theta):
        """Return (w, b) in the user's units."""
        w, b = self._plane(theta)
        return w * self.target_scale, float(b) * self.target_scale

    def parameters(self, w, b):
        """Return the theta of (w, b): the inverse of `coefficients`."""
        v = w * (self.scale / self.target_scale)
        return np.append(v, (b + w @ self.center) / self.target_scale) if self.fit_intercept else v

    def _plane(self, theta):
        """Return (w, b) / t: the plane z = <w, x> + b whose ReLU is compared with y / t."""
        if not self.fit_intercept:
            return theta / self.scale, theta.dtype.type(0)
        w = theta[:-1] / self.scale
        return w, theta[-1] - w @ self.center

    def _pull_back(self, g, g_b):
        """Return the gradient with respect to theta from those with respect to w / t and b / t."""
        if not self.fit_intercept:
            return g / self.scale
        return np.append((g - g_b * self.center) / self.scale, g_b)

    def value_and_gradient(self, theta):
        """Return the objective, its generalised gradient (the ReLU has derivative 1/2 at 0) and curvature; one pass.

        The curvature is the mean derivative of the ReLU: that of the objective along a column of unit scale.
        """
        value, g, g_b, curvature = self.rows.sum(self._block_gradient, *self._plane(theta))
        return float(value), self._pull_back(g, g_b), float(curvature)

    def _block_gradient(self, X, y, s, w, b):
        """Return loss, sums of ``r x`` and of r, r the weighted derivative, and the mean derivative of the ReLU."""
        if self._smoothing and self.has_kinks:
            loss, derivative, curvature = self._row_loss(X, y, w, b)
            g = s * derivative
            sums = (s @ loss).astype(np.float64), g @ X, g.sum()
            return *sums, (s @ np.minimum(curvature, 1)).astype(np.float64)
        residual, y, slope = self._slopes(X, y, w, b)
        residual *= slope
        residual -= y
        g = s * residual
        value = 0.5 * (g @ residual).astype(np.float64)
        g *= slope
        return value, g @ X, g.sum(), (s @ slope).astype(np.float64)

    def values(self, thetas):
        """Return the objective at each of several parameters (q, size), in one pass."""
        planes = [self._plane(theta) for theta in thetas]
        W, b = np.stack([w for w, _ in planes], axis=1), np.array([b for _, b in planes], dtype=thetas[0].dtype)

        def f(X, y, s):
            loss, _, _ = self._row_loss(X, y[:, None], W, b)
            return (s.astype(np.float64) @ loss,)

        return self.rows.sum(f)[0]

    def gauss_newton(self, theta, basis):
        """Return ``B' H B``, H the Gauss-Newton matrix at theta and B = `basis` in the space of theta; one pass."""
        coefficient_basis, jacobian = self._jacobian(basis)

        def f(X, y, s, w, b):
            _, _, curvature = self._row_loss(X, y, w, b)
            root = np.sqrt(s * curvature)
            active, H = root > 0, 0
            for rows, XB in column_blocks(X, coefficient_basis):
                # A device would have to be waited for to know which rows are active.
                kept = active[rows] if isinstance(active, np.ndarray) else slice(None)
                A = jacobian(XB[kept])
                A *= root[rows][kept, None]
                # The product of a matrix with its own transpose takes half the operations of others.
                H = H + A.T @ A
            return (H,)

        return self.rows.sum(f, *self._plane(theta))[0]

    def gauss_newton_product(self, theta, direction):
        """Return ``H direction``; one pass."""

        def f(X, y, s, w, b, dw, db):
            _, _, curvature = self._row_loss(X, y, w, b)
            g = s * curvature * (X @ dw + db)
            return g @ X, g.sum()

        return self._pull_back(*self.rows.sum(f, *self._plane(theta), *self._plane(direction)))

    def _slopes(self, X, y, w, b):
        """Return z, y / t and the derivative of the ReLU of each row, all arrays of their own."""
        z = X @ w
        z += b
        y = y / z.dtype.type(self.target_scale)
        if self._linear_above < np.inf:
            # At z = 0 the left derivative: from theta = 0 the first Newton step sees only the rows that are linear.
            return z, y, ((y > self._linear_above) | (z > 0)).astype(z.dtype)
        slope = np.sign(z)
        slope += 1
        slope *= 0.5
        return z, y, slope

    def _row_loss(self, X, y, w, b):
        """Return the loss of each row, its derivative with respect to z / t and the second one (Gauss-Newton)."""
        z, y, slope = self._slopes(X, y, w, b)
        residual = slope * z - y
        loss, derivative, curvature = residual**2 / 2, slope * residual, slope
        if self._smoothing and self.has_kinks:
            eps = self._smoothing
            kink, relu, ramp = (y < 0) & (y <= self._linear_above), np.maximum(z, 0), np.clip(z / eps + 0.5, 0, 1)
            smooth = np.where(ramp < 1, eps / 2 * ramp**2, z)
            loss = np.where(kink, (relu**2 + y**2) / 2 - y * smooth, loss)
            derivative = np.where(kink, relu - y * ramp, derivative)
            curvature = np.where(kink, (z > 0) - y / eps * (np.abs(z) < eps / 2), curvature)
        return loss, derivative, curvature.astype(z.dtype, copy=False)

    def _jacobian(self, basis):
        """Return B_w and a function of ``X B_w`` that gives the derivative of z with respect to c, ``theta = B c``."""
        d = self.rows.n_features
        if isinstance(basis, np.ndarray) and basis.dtype.kind == "i":
            support = basis[basis < d]
            center, scale, n_columns = self.center[support], self.scale[support], len(basis)

            def jacobian(XB):
                A = np.ones_like(XB, shape=(len(XB), n_columns), order="C")
                np.subtract(XB, center, out=A[:, : len(support)])
                A[:, : len(support)] /= scale
                return A

            return support if len(support) < d else None, jacobian
        B = basis.toarray() if sparse.issparse(basis) else basis
        B_w = B[:d] / self.scale[:, None]
        shift = (B[d] if self.fit_intercept else 0) - self.center @ B_w
        return B_w, lambda XB: XB + shift


def _negative_targets(X, y, s, unit):
    """Return the mean square of the negative y in this unit, and the share of their rows."""
    return (s @ np.minimum(y / unit, 0) ** 2).astype(np.float64), (s @ (y < 0)).astype(np.float64)
