"""The weights of one hidden layer: normalised, and of what size."""

from dataclasses import dataclass, replace
from math import factorial

import numpy as np


@dataclass(frozen=True)
class Weights:
    """The weights of a network, in the user's units.

    Attributes
    ----------
    hidden : ndarray of shape (n_hidden, n_features)
    hidden_bias : ndarray of shape (n_hidden,)
    output : ndarray of shape (n_hidden,)
    output_bias : float
    linear : ndarray of shape (n_features,) or None
        Weights of the linear part.
    """

    hidden: np.ndarray
    hidden_bias: np.ndarray
    output: np.ndarray
    output_bias: float
    linear: np.ndarray | None = None

    def homogeneous(self, activation):
        """Return the same function with outputs +-1 if a is homogeneous: ``v a(z) = sign(v) a(|v|^(1/p) z)``."""
        if activation.homogeneity is None:
            return self
        size = np.abs(self.output) ** (1 / activation.homogeneity)
        signs = np.where(self.output < 0, -1.0, 1.0)
        return replace(self, hidden=size[:, None] * self.hidden, hidden_bias=size * self.hidden_bias, output=signs)

    def normalised(self, activation, *, fit_intercept=True):
        """Return the same function with outputs +-1 if a is homogeneous, and positive ones if a is odd.

        ``v a(z) = 2 q v - v a(-z)`` for a odd but for the constant q, which needs an output bias unless it is zero.
        """
        q = activation.even_constant
        if q is None or (q and not fit_intercept):
            return self.homogeneous(activation)
        signs = np.where(self.output < 0, -1.0, 1.0)
        turned = 2 * q * float(np.minimum(self.output, 0).sum())
        return replace(
            self,
            hidden=signs[:, None] * self.hidden,
            hidden_bias=signs * self.hidden_bias,
            output=np.abs(self.output),
            output_bias=self.output_bias + turned,
        ).homogeneous(activation)


def averaged(parts, shares, activation):
    """Return the network that is the weighted mean of networks: all their units.

    Parameters
    ----------
    parts : list of Weights
    shares : array-like of shape (len(parts),)
        Positive, in sum one.
    activation : Activation
    """
    total = Weights(
        np.vstack([part.hidden for part in parts]),
        np.concatenate([part.hidden_bias for part in parts]),
        np.concatenate([share * part.output for share, part in zip(shares, parts, strict=True)]),
        float(sum(share * part.output_bias for share, part in zip(shares, parts, strict=True))),
    )
    return total.homogeneous(activation)


def typical_sizes(activation, n_units):
    """Return |w| and |v| of so many independent units that together vary by one where the inputs are white.

    For a homogeneous activation |v| is 1. The variance of max(0, g) is 1/3, in round.
    """
    variance = 1 / 3
    if activation.homogeneity != 1:
        variance = sum(c**2 / factorial(m) for m, c in enumerate(activation.hermite_coefficients(8)) if m)
    if activation.homogeneity is None:
        return 1.0, float((1 / (variance * n_units)) ** 0.5)
    return float((1 / (variance * n_units)) ** (0.5 / activation.homogeneity)), 1.0
