"""Units from their moments: the joint fit of small tensors, as an objective, and the symmetric tensor power method."""

from dataclasses import dataclass
from functools import cached_property
from math import factorial

import numpy as np

from skrelu.activations import Activation
from skrelu.activations.coefficients import coefficients_of
from skrelu.moments import HermiteMoments
from skrelu.networks.orientation import orientation
from skrelu.networks.units import regular_inverse

POWER_STARTS = 10  # a unit, of the power iteration
POWER_STEPS = 30
PARALLEL = 0.7  # cosine above which two maxima of the power iteration count as one unit
PRECISION = 20.0  # of the prior of sizes and biases, in rows
RIDGE = 1e-3  # share of its mean diagonal added to the metric
DEGREES = np.arange(1.0, 5.0)[:, None]  # of the moments, a row each


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
        d, last = W.shape[1], self.output_size is not None
        theta = np.empty((len(W), d + (self.bias is None) + last))
        theta[:, :d] = W
        if self.bias is None:
            theta[:, d] = b
        if last:
            theta[:, -1] = v
        return theta.ravel()

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
        """Of the squared errors of the moments: ``1 / (m! sigma_m^2)``, a row each; zero for what is left out."""
        weights = np.array([1 / (factorial(m) * self.moments.variances[m - 1]) for m in range(1, 5)])
        weights[: int(self.relaxed)] = 0
        return weights[:, None]

    def value_and_gradient(self, theta):
        """Return J and its gradient.

        With Stein's identity, ``dc_m/db = c_{m+1} / s`` and ``dc_m/ds = (c_{m+2} + m c_m) / s`` for s = |w|.
        """
        W, b, v = self.unpack(theta)
        U, s = _unit_rows(W)
        c = coefficients_of(self.activation, 6, s, b)
        # A row for each degree m.
        h, weight = v * c[1:5], self._weights
        moments = self.moments.contracted(U)
        along = np.einsum("mjd,jd->mj", moments, U)
        # Of the error of the tensor, contracted with u_j but for one index, and with all.
        contracted = (_powers(U @ U.T)[:4] * h[:, None]) @ U
        contracted -= moments
        error = np.einsum("mjd,jd->mj", contracted, U)
        pull = weight * h
        value = float(np.vdot(pull, error - along)) / 2
        pull *= DEGREES
        error *= weight
        by_output = np.einsum("mj,mj->j", error, c[1:5])
        g_s = np.einsum("mj,mj->j", error, v * (c[3:7] + DEGREES * c[1:5])) / s
        g_b = np.einsum("mj,mj->j", error, v * c[2:6]) / s
        g_U = np.einsum("mj,mjd->jd", pull, contracted)
        g_U -= np.einsum("jd,jd->j", g_U, U)[:, None] * U
        prior = PRECISION / self.moments.n
        value += prior * float(s @ s) / (2 * self.size**2)
        g_s += prior / self.size**2 * s
        if self.bias is None:
            ratio = b / s
            value += prior * float(ratio @ ratio) / 2
            g_b += prior * ratio / s
            g_s -= prior * ratio * ratio / s
        g_U /= s[:, None]
        g_U += g_s[:, None] * U
        if self.bias is not None:
            g_U += g_b[:, None] * self.bias
        if self.output_size is not None:
            value += prior * float(v @ v) / (2 * self.output_size**2)
            by_output += prior * v / self.output_size**2
            if self.positive:
                by_output *= np.where(theta.reshape(len(v), -1)[:, -1] < 0, -1.0, 1.0)
        return value, self.pack(g_U, g_b, by_output)

    def oriented(self, W, b):
        """Return the units with the signs that the first moment tells, those of a relaxed fit being open.

        Of the first moment ``sum_j v_j c_1 u_j`` the part ``sum_j v_j (c_1 - q |w_j|) u_j`` is the same for
        (w_j, b_j) and -(w_j, b_j); what remains is ``q sum_j v_j w_j``.
        """
        s, q = _unit_rows(W)[1], self.activation.odd_slope
        c = coefficients_of(self.activation, 1, s, b)[1]
        even = (self.output * (c / s - q)) @ W
        signs = orientation(q * self.output[:, None] * W, self.moments.first - even)
        return signs[:, None] * W, signs * b

    def best_output(self, W, b):
        """Return the v_j at which J, without their prior, is lowest for given units: a linear problem."""
        U, s = _unit_rows(W)
        c, along = coefficients_of(self.activation, 4, s, b)[1:], self.moments.along(U)[0]
        A = np.einsum("mi,mj,mij->ij", self._weights * c, c, _powers(U @ U.T)[1:])
        g = np.einsum("mj,mj->j", self._weights * c, along)
        return np.linalg.lstsq(A, g, rcond=1e-3)[0]

    def metric(self, theta):
        """Return, as a function, the inverse of the Gauss-Newton matrix without what couples W, b and v.

        In the w_j it is that of tangents: with h_j = v_j c_m it is ``sum_m m h_i h_j <u_i, u_j>^(m-1) / (m! sigma_m^2
        s_i s_j)`` times the identity, for units i and j.
        """
        W, b, v = self.unpack(theta)
        U, s = _unit_rows(W)
        c = coefficients_of(self.activation, 5, s, b)
        powers, weight, prior = _powers(U @ U.T), self._weights, PRECISION / self.moments.n
        n_units, d = W.shape

        def inverse(factors, weight, powers, own):
            A = np.einsum("mij,mi,mj->ij", powers, weight * factors, factors)
            A.flat[:: n_units + 1] += own
            return regular_inverse(A, RIDGE)

        of_W = inverse(v * c[1:5] / s, DEGREES * weight, powers[:4], prior / self.size**2)
        others = []
        if self.bias is None:
            others.append(inverse(v * c[2:6] / s, weight, powers[1:], prior / s**2))
        if self.output_size is not None:
            others.append(inverse(c[1:5], weight, powers[1:], prior / self.output_size**2))

        def apply(q):
            q = q.reshape(n_units, -1)
            product = np.empty_like(q)
            np.matmul(of_W, q[:, :d], out=product[:, :d])
            for j, matrix in enumerate(others, d):
                product[:, j] = matrix @ q[:, j]
            return product.ravel()

        return apply

    def is_lowest(self, value):
        """Whether nothing is below a value of J: the constant that is left out would tell."""
        return False


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


def _unit(U):
    norm = np.linalg.norm(U, axis=1, keepdims=True)
    return U / np.where(norm > 0, norm, 1)


def _unit_rows(W):
    """Return unit vectors along the rows, and the lengths, which are not taken for zero."""
    s = np.maximum(np.sqrt(np.einsum("jd,jd->j", W, W)), 1e-12)
    return W / s[:, None], s


def _powers(A):
    """Return the powers of the entries, from 0 to 4."""
    powers = np.empty((5, *A.shape))
    powers[0], powers[1] = 1.0, A
    np.multiply(A, A, out=powers[2])
    np.multiply(A, powers[2], out=powers[3])
    np.multiply(powers[2], powers[2], out=powers[4])
    return powers
