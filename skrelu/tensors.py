"""Units from their moments: directions, magnitudes and biases of all units by one joint fit of small tensors."""

from dataclasses import dataclass, replace
from math import factorial

import numpy as np
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, cg

from skrelu.activations import Activation
from skrelu.moments import HermiteMoments
from skrelu.networks.orientation import orientation

POWER_STARTS = 10  # a unit, of the power iteration
POWER_STEPS = 30
PARALLEL = 0.7  # cosine above which two maxima of the power iteration count as one unit
NEWTON_STEPS = 50  # of conjugate gradients in the Newton step at the end of the joint fit
RANDOM_STARTS = 4  # of the joint fit, besides that of the power iteration
PRECISION = 20.0  # of the prior of sizes and biases, in rows
MARGIN = 1e-6  # a start wins over an earlier one only if it is better by more than this, relatively


@dataclass(frozen=True)
class MomentFit:
    """``J(W, b) = sum_m |M_m - sum_j v_j c_m(|w_j|, b_j) u_j^(x)m|^2 / (2 m! sigma_m^2)``, up to a constant.

    u_j = w_j / |w_j|, c_m the Hermite coefficients of the activation, M_m the moments of degree m = 1, ..., 4, and
    sigma_m^2 the variance of y about the degrees below. The factor 1/m! makes it the squared distance of the two
    functions of a Gaussian x, up to degree four, each degree weighted by its sampling noise. A weak normal prior,
    ``+ PRECISION sum_j (|w_j|^2 / size^2 + b_j^2 / |w_j|^2) / (2 n)``, keeps noise from driving units apart that cancel
    each other, or so far off the inputs that their moments vanish; the second term only where biases are free.

    Where the activation is even but for a linear function, the *relaxed* fit leaves out the degree m = 1, the only one
    that tells w from -w: it cannot be caught where a unit points the wrong way.

    Parameters
    ----------
    moments : HermiteMoments
    activation : Activation
    output : ndarray of shape (n_units,)
        The v_j.
    size : float
        Of the prior.
    bias : ndarray of shape (n_directions,) or None
        b_j is ``<bias, w_j>`` for a vector (the mean of the inputs of a network without biases), free for None.
    """

    moments: HermiteMoments
    activation: Activation
    output: np.ndarray
    size: float
    bias: np.ndarray | None
    relaxed: bool = False

    def unpack(self, theta):
        """Return (W, b)."""
        k = self.moments.basis.shape[1]
        if self.bias is not None:
            W = theta.reshape(-1, k)
            return W, W @ self.bias
        parts = theta.reshape(-1, k + 1)
        return parts[:, :k], parts[:, k]

    def value_and_gradient(self, theta):
        """Return J and its gradient.

        With Stein's identity, ``dc_m/db = c_{m+1} / s`` and ``dc_m/ds = (c_{m+2} + m c_m) / s`` for s = |w|.
        """
        W, b = self.unpack(theta)
        s = np.maximum(np.linalg.norm(W, axis=1), 1e-12)
        U = W / s[:, None]
        c = self.activation.hermite_coefficients(6, scale=s, bias=b)
        along, d_along = self.moments.along(U)
        cosines = U @ U.T
        value, g_s, g_b, g_U = 0.0, np.zeros(len(s)), np.zeros(len(s)), np.zeros_like(U)
        for m in range(2 if self.relaxed else 1, 5):
            weight = 1 / (factorial(m) * self.moments.variances[m - 1])
            h, gram = self.output * c[m], cosines**m
            error = gram @ h - along[m - 1]
            value += weight * h @ (error - along[m - 1]) / 2
            g_s += weight * self.output * error * (c[m + 2] + m * c[m]) / s
            g_b += weight * self.output * error * c[m + 1] / s
            inner = m * (cosines ** (m - 1) * h) @ U
            g_U += weight * h[:, None] * (inner - d_along[m - 1])
        prior = PRECISION / self.moments.n
        value += prior * np.sum((s / self.size) ** 2) / 2
        g_s += prior * s / self.size**2
        if self.bias is None:
            value += prior * np.sum((b / s) ** 2) / 2
            g_b += prior * b / s**2
            g_s -= prior * b**2 / s**3
        g_W = g_s[:, None] * U + (g_U - np.sum(g_U * U, axis=1, keepdims=True) * U) / s[:, None]
        if self.bias is not None:
            return value, (g_W + g_b[:, None] * self.bias).ravel()
        return value, np.column_stack([g_W, g_b]).ravel()

    def oriented(self, W, b):
        """Return the units with the signs that the first moment tells, those of a relaxed fit being open.

        Of the first moment ``sum_j v_j c_1 u_j`` the part ``sum_j v_j (c_1 - q |w_j|) u_j`` is the same for
        (w_j, b_j) and -(w_j, b_j); what remains is ``q sum_j v_j w_j``.
        """
        s, q = np.maximum(np.linalg.norm(W, axis=1), 1e-12), self.activation.odd_slope
        c = self.activation.hermite_coefficients(1, scale=s, bias=b)[1]
        even = (self.output * (c / s - q)) @ W
        signs = orientation(q * self.output[:, None] * W, self.moments.first - even)
        return signs[:, None] * W, signs * b

    def minimise(self, W, b):
        """Return (J, W, b) at the minimum found from a start: by L-BFGS, and one Newton step."""
        start = W if self.bias is not None else np.column_stack([W, b])
        result = minimize(
            self.value_and_gradient,
            start.ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 1000, "gtol": 1e-9, "ftol": 0.0},
        )
        return float(result.fun), *self.unpack(self._newton_step(result.x))

    def _newton_step(self, theta):
        """Return theta after a Newton step, if it lowers the gradient.

        Values of J that agree to rounding leave half of the digits of theta open; the gradient tells the others.
        """

        def gradient(x):
            return self.value_and_gradient(x)[1]

        def product(d):
            if not np.all(np.isfinite(d)):
                return np.zeros_like(d)
            h = 1e-5 / max(np.linalg.norm(d), np.finfo(float).tiny)
            return (gradient(theta + h * d) - gradient(theta - h * d)) / (2 * h)

        g = gradient(theta)
        hessian = LinearOperator((len(theta), len(theta)), matvec=product, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            # A direction without curvature ends it; what it then returns need not be finite.
            new = theta - cg(hessian, g, rtol=1e-3, maxiter=NEWTON_STEPS)[0]
        lower = np.all(np.isfinite(new)) and np.linalg.norm(gradient(new)) < np.linalg.norm(g)
        return new if lower else theta


def power_directions(moments, rng):
    """Return unit vectors at which ``|M_4(u, u, u, u)|`` has local maxima, the largest first, no two nearly parallel.

    The symmetric tensor power method, all starts at a time. The weights of the fourth moment may have any signs: maxima
    of either sign are fixed points of ``u <- M_4(u, u, u, .)``.
    """
    k = moments.basis.shape[1]
    U = moments.random_directions(POWER_STARTS * k, rng)
    for _ in range(POWER_STEPS):
        U = _unit(moments.along(U)[1][3])
    value = np.abs(moments.along(U)[0][3])
    chosen: list = []
    for i in np.argsort(-value, kind="stable"):
        if value[i] > 0 and np.all(np.abs(U[chosen] @ U[i]) < PARALLEL):
            chosen.append(i)
    return U[chosen]


def fit_moments(moments, activation, n_units, rng, *, n_negative=None, bias=None):
    """Return (W, b, v): units whose moments are nearest to those of the data.

    `MomentFit` from the local maxima of the fourth moment (`power_directions`). Where these are fewer than the units,
    the others start in random directions, and the best of several such fits is kept.

    Parameters
    ----------
    moments : HermiteMoments
    activation : Activation
        Positively homogeneous: v_j = +-1.
    n_units : int
    rng : RandomState
    n_negative : int, optional
        Number of units with v_j = -1; None: the number of negative eigenvalues of the second moment.
    bias : ndarray of shape (n_directions,), optional
        See `MomentFit`.

    Returns
    -------
    W : ndarray of shape (n_units, n_directions)
        In the space of the moments.
    b : ndarray of shape (n_units,)
    v : ndarray of shape (n_units,)
    """
    if n_negative is None:
        n_negative = int(np.sum(np.linalg.eigvalsh(moments.second) < 0))
    size = (3 / n_units) ** 0.5
    best: tuple = ()
    maxima = power_directions(moments, rng)[:n_units]
    for attempt in range(1 + RANDOM_STARTS if len(maxima) < n_units else 1):
        found = maxima if attempt % 2 == 0 else maxima[:0]
        U = np.vstack([found, moments.random_directions(n_units - len(found), rng)])
        v = _signs(moments, U, n_negative)
        fit = MomentFit(moments, activation, v, size, bias)
        W, b = size * U, np.zeros(n_units)
        if activation.odd_slope is not None:
            relaxed = replace(fit, relaxed=True)
            W, b = relaxed.oriented(*relaxed.minimise(W, b)[1:])
        candidate = (*fit.minimise(W, b), v)
        if not best or candidate[0] < best[0] - MARGIN * abs(best[0]):
            best = candidate
    return best[1:]


def _unit(U):
    norm = np.linalg.norm(U, axis=1, keepdims=True)
    return U / np.where(norm > 0, norm, 1)


def _signs(moments, U, n_negative):
    """Return output signs, negative where the second moment is explained by the smallest weights ``a u u'``."""
    weights = np.linalg.lstsq((U @ U.T) ** 2, moments.along(U)[0][1], rcond=None)[0]
    v = np.ones(len(U))
    v[np.argsort(weights, kind="stable")[:n_negative]] = -1
    return v
