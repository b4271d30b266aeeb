"""Networks as functions of their parameters: value, gradient and Gauss-Newton matrix, each one sum over rows."""

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

    The *majorant* replaces max(0, z) by z in the rows with ``y > tau``. It is nowhere below the loss, since
    ``(z - y)^2 >= y^2`` where z < 0 < y, and equal to it wherever those rows have z >= 0, hence at planted weights
    without noise. For tau = 0 it is convex: the loss is convex in the rows with y <= 0. Rows with z < 0 but y > 0 by
    noise alone would bias it, so ``tau = 3 sigma``, sigma the root mean square of the negative y: a ReLU has no
    negative values, so they are noise, and there are none without noise.

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
        square, weight = rows.sum(lambda X, y, s: (s @ np.minimum(y / target_scale, 0) ** 2, s @ (y < 0)))
        self._tau = 3 * target_scale * float(np.sqrt(square / weight)) if weight > 0 else 0.0

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
        rounding = 16 * np.finfo(rows.dtype).eps * np.abs(center)
        # A column without variation keeps its unit: its gradient is zero, so its weight stays where it is.
        scale = np.where(size > rounding, size, np.maximum(np.abs(center), 1 * (center == 0)))
        varying = size[size > rounding]
        if not diagonal:
            scale = np.full_like(size, varying.max() if len(varying) else 1)
        return cls(
            rows, scale=scale, center=center, target_scale=rows.target_scale(), fit_intercept=fit_intercept, diagonal=diagonal
        )

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

    def value_and_gradient(self, theta, *, majorant=False):
        """Return the objective, its generalised gradient (the ReLU has derivative 1/2 at 0) and curvature; one pass.

        The curvature is the mean derivative of the ReLU: that of the objective along a column of unit scale.
        """

        def f(X, y, s, w, b):
            slope, residual = self._residual(X, y, w, b, majorant)
            weighted = s * residual
            g = weighted * slope
            return float(weighted @ residual) / 2, g @ X, g.sum(), float(s @ slope)

        value, g, g_b, curvature = self.rows.sum(f, *self._plane(theta))
        return value, self._pull_back(g, g_b), curvature

    def values(self, thetas, *, majorant=False):
        """Return the objective at each of several parameters (q, size), in one pass."""
        planes = [self._plane(theta) for theta in thetas]
        W, b = np.stack([w for w, _ in planes], axis=1), np.array([b for _, b in planes], dtype=thetas[0].dtype)

        def f(X, y, s):
            _, residual = self._residual(X, y[:, None], W, b, majorant)
            return (np.sum(s[:, None] * residual**2, axis=0, dtype=np.float64) / 2,)

        return self.rows.sum(f)[0]

    def gauss_newton(self, theta, basis, *, majorant=False):
        """Return ``B' H B``, H the Gauss-Newton matrix at theta and B = `basis` in the space of theta; one pass."""
        coefficient_basis, derivative = self._derivative(basis)

        def f(X, y, s, w, b):
            slope, _ = self._residual(X, y, w, b, majorant)
            H = 0
            for rows, XB in column_blocks(X, coefficient_basis):
                A = derivative(XB)
                H = H + A.T @ ((s * slope)[rows, None] * A)
            return (H,)

        return self.rows.sum(f, *self._plane(theta))[0]

    def gauss_newton_product(self, theta, direction, *, majorant=False):
        """Return ``H direction``; one pass."""

        def f(X, y, s, w, b, dw, db):
            slope, _ = self._residual(X, y, w, b, majorant)
            g = s * slope * (X @ dw + db)
            return g @ X, g.sum()

        return self._pull_back(*self.rows.sum(f, *self._plane(theta), *self._plane(direction)))

    def _residual(self, X, y, w, b, majorant):
        z = X @ w + b
        if majorant:
            # At z = 0 the left derivative: from theta = 0 the first Newton step sees only the rows that are linear.
            slope = ((y > self._tau) | (z > 0)).astype(z.dtype)
        else:
            slope = (np.sign(z) + 1) / 2
        return slope, slope * z - y / z.dtype.type(self.target_scale)

    def _derivative(self, basis):
        """Return B_w and a function of ``X B_w`` that gives the derivative of z with respect to c, ``theta = B c``."""
        d = self.rows.n_features
        if isinstance(basis, np.ndarray) and basis.dtype.kind == "i":
            support = basis[basis < d]
            center, scale, n_columns = self.center[support], self.scale[support], len(basis)

            def derivative(XB):
                A = np.ones((len(XB), n_columns), dtype=XB.dtype)
                A[:, : len(support)] = (XB - center) / scale
                return A

            return support, derivative
        B = basis.toarray() if sparse.issparse(basis) else basis
        B_w = B[:d] / self.scale[:, None]
        shift = (B[d] if self.fit_intercept else 0) - self.center @ B_w
        return B_w, lambda XB: XB + shift
