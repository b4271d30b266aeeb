"""Units from their moments: directions, magnitudes and biases of all units by one joint fit of small tensors."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import factorial

import numpy as np
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, cg

from skrelu.activations import Activation
from skrelu.moments import HermiteMoments
from skrelu.networks.orientation import orientation
from skrelu.networks.weights import typical_sizes

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

    The v_j of a homogeneous activation are +-1. Others are free, with the prior ``+ PRECISION |v|^2 / (2 n
    output_size^2)``.

    Where the activation is even but for a linear function, the *relaxed* fit leaves out the degree m = 1, the only one
    that tells w from -w: it cannot be caught where a unit points the wrong way.

    Parameters
    ----------
    moments : HermiteMoments
    activation : Activation
    output : ndarray of shape (n_units,)
        The v_j, if they are fixed.
    size : float
        Of the prior.
    bias : ndarray of shape (n_directions,) or None
        b_j is ``<bias, w_j>`` for a vector (the mean of the inputs of a network without biases), free for None.
    relaxed : bool, default=False
    output_size : float, optional
        Of the prior of free v_j; None: they are fixed.
    positive : bool, default=False
        Whether free v_j are positive: they are replaced by their absolute values.
    """

    moments: HermiteMoments
    activation: Activation
    output: np.ndarray
    size: float
    bias: np.ndarray | None
    relaxed: bool = False
    output_size: float | None = None
    positive: bool = False

    def pack(self, W, b, v):
        """Return the theta of units: a row (w_j, b_j, v_j) each, of what is free."""
        free = [b[:, None]] * (self.bias is None) + [v[:, None]] * (self.output_size is not None)
        return np.column_stack([W, *free]).ravel()

    def unpack(self, theta):
        """Return (W, b, v)."""
        parts = theta.reshape(len(self.output), -1)
        W = parts[:, : self.moments.basis.shape[1]]
        b = parts[:, W.shape[1]] if self.bias is None else W @ self.bias
        if self.output_size is None:
            return W, b, self.output
        return W, b, np.abs(parts[:, -1]) if self.positive else parts[:, -1]

    @cached_property
    def _weights(self):
        """Of the squared errors of the moments: ``1 / (m! sigma_m^2)``."""
        return np.array([1 / (factorial(m) * self.moments.variances[m - 1]) for m in range(1, 5)])

    def value_and_gradient(self, theta):
        """Return J and its gradient.

        With Stein's identity, ``dc_m/db = c_{m+1} / s`` and ``dc_m/ds = (c_{m+2} + m c_m) / s`` for s = |w|.
        """
        W, b, v = self.unpack(theta)
        s = np.maximum(np.linalg.norm(W, axis=1), 1e-12)
        U = W / s[:, None]
        c = self.activation.hermite_coefficients(6, scale=s, bias=b)
        along, d_along = self.moments.along(U)
        # A row for each degree m.
        degrees = slice(1 if self.relaxed else 0, 4)
        m, along, d_along = np.arange(1.0, 5.0)[degrees, None], along[degrees], d_along[degrees]
        c, c_1, c_2 = c[1:5][degrees], c[2:6][degrees], c[3:7][degrees]
        powers = np.cumprod([np.ones((len(s),) * 2), *[U @ U.T] * 4], axis=0)
        h, weight = v * c, self._weights[degrees, None]
        error = (powers[1:][degrees] @ h[:, :, None])[:, :, 0] - along
        value = float(np.sum(weight * h * (error - along))) / 2
        error *= weight
        g_v = np.einsum("mj,mj->j", error, c)
        error *= v
        g_s, g_b = np.einsum("mj,mj->j", error, c_2 + m * c) / s, np.einsum("mj,mj->j", error, c_1) / s
        inner = (powers[:4][degrees] * (m * h)[:, None]) @ U
        inner -= d_along
        g_U = np.einsum("mj,mjd->jd", weight * h, inner)
        prior = PRECISION / self.moments.n
        value += prior * np.sum((s / self.size) ** 2) / 2
        g_s += prior * s / self.size**2
        if self.bias is None:
            value += prior * np.sum((b / s) ** 2) / 2
            g_b += prior * b / s**2
            g_s -= prior * b**2 / s**3
        g_W = g_s[:, None] * U + (g_U - np.sum(g_U * U, axis=1, keepdims=True) * U) / s[:, None]
        if self.bias is not None:
            g_W += g_b[:, None] * self.bias
        if self.output_size is not None:
            value += prior * np.sum((v / self.output_size) ** 2) / 2
            g_v += prior * v / self.output_size**2
            if self.positive:
                g_v = g_v * np.where(theta.reshape(g_W.shape[0], -1)[:, -1] < 0, -1.0, 1.0)
        return value, self.pack(g_W, g_b, g_v)

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

    def best_output(self, W, b):
        """Return the v_j at which J, without their prior, is lowest for given units: a linear problem."""
        s = np.maximum(np.linalg.norm(W, axis=1), 1e-12)
        U = W / s[:, None]
        c, along, cosines = self.activation.hermite_coefficients(4, scale=s, bias=b), self.moments.along(U)[0], U @ U.T
        A, g = np.zeros_like(cosines), np.zeros(len(s))
        for m in range(2 if self.relaxed else 1, 5):
            weight = self._weights[m - 1]
            A += weight * np.outer(c[m], c[m]) * cosines**m
            g += weight * c[m] * along[m - 1]
        return np.linalg.lstsq(A, g, rcond=1e-3)[0]

    def minimise(self, W, b):
        """Return (J, W, b, v) at the minimum found from a start: by L-BFGS, and one Newton step."""
        result = minimize(
            self.value_and_gradient,
            self.pack(W, b, self.output),
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


def power_directions(moments, rng, degree=4):
    """Return unit vectors at which ``|M_m(u, ..., u)|`` has local maxima, the largest first, no two nearly parallel.

    The symmetric tensor power method, all starts at a time, for m = 3 or 4. The weights of the moment may have any
    signs: maxima of either sign are fixed points of ``u <- +-M_m(u, ..., u, .)``.
    """
    k = moments.basis.shape[1]
    U = moments.random_directions(POWER_STARTS * k, rng)
    for _ in range(POWER_STEPS):
        U = _unit(moments.along(U)[1][degree - 1])
    value = np.abs(moments.along(U)[0][degree - 1])
    chosen: list = []
    for i in np.argsort(-value, kind="stable"):
        if value[i] > 0 and np.all(np.abs(U[chosen] @ U[i]) < PARALLEL):
            chosen.append(i)
    return U[chosen]


def fit_moments(moments, activation, n_units, rng, *, n_negative=None, bias=None):
    """Return (W, b, v): units whose moments are nearest to those of the data.

    `MomentFit` from the local maxima of the fourth moment (`power_directions`), of the third where the activation is
    odd but for a constant. Where these are fewer than the units, the others start in random directions, and, if the
    activation is homogeneous, the best of several such fits is kept: for others descent does not need it.

    Parameters
    ----------
    moments : HermiteMoments
    activation : Activation
    n_units : int
    rng : RandomState
    n_negative : int, optional
        Number of units with v_j = -1 if the activation is homogeneous; None: the number of negative eigenvalues of the
        second moment. Other activations have any v_j, positive ones for 0.
    bias : ndarray of shape (n_directions,), optional
        See `MomentFit`.

    Returns
    -------
    W : ndarray of shape (n_units, n_directions)
        In the space of the moments.
    b : ndarray of shape (n_units,)
    v : ndarray of shape (n_units,)
    """
    homogeneous, relaxes = activation.homogeneity is not None, activation.odd_slope is not None
    positive = n_negative == 0 and not homogeneous
    if n_negative is None:
        n_negative = int(np.sum(np.linalg.eigvalsh(moments.second) < 0))
    size, output_size = typical_sizes(activation, n_units)
    best: tuple = ()
    maxima = power_directions(moments, rng, 4 if activation.even_constant is None else 3)[:n_units]
    for attempt in range(1 + RANDOM_STARTS if homogeneous and len(maxima) < n_units else 1):
        found = maxima if attempt % 2 == 0 else maxima[:0]
        U = np.vstack([found, moments.random_directions(n_units - len(found), rng)])
        W, b = size * U, np.zeros(n_units)
        if homogeneous:
            fit = MomentFit(moments, activation, _signs(moments, U, n_negative), size, bias)
        else:
            fit = MomentFit(moments, activation, np.ones(n_units), size, bias, relaxes, output_size, positive)
            fit = replace(fit, output=fit.best_output(W, b))
        if relaxes:
            _, W, b, v = replace(fit, relaxed=True).minimise(W, b)
            fit = replace(fit, output=v, relaxed=False)
            W, b = fit.oriented(W, b)
        candidate = fit.minimise(W, b)
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
