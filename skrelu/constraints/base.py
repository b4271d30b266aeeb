"""What a constraint set promises: a projection, the face at a point, and its image under a change of units."""

from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator


@dataclass(frozen=True)
class Face:
    """The smooth piece of a set that contains a point w, to second order.

    Near w the piece is ``{w + B c : n' B c + (1/2) c' C c + ... <= 0}`` when a normal is given, and ``w + span B`` when it
    is not. A solver that has identified the face minimises over it by Newton steps on
    ``B' H B + lam C`` with ``n' B c = 0``, lam >= 0 the multiplier of the active constraint.

    Attributes
    ----------
    basis : ndarray of shape (p,) of int, ndarray (d, p) or sparse array (d, p)
        Columns of B. An integer array stands for those columns of the identity.
    normal : ndarray of shape (d,) or None
        Gradient at w of the gauge whose level the piece lies on (sign(w) for the l1 ball), None when no such
        constraint is active.
    curvature : ndarray of shape (p, p) or None
        ``B' (Hessian of the gauge) B``; None when the piece is flat.
    """

    basis: object
    normal: np.ndarray | None = None
    curvature: np.ndarray | None = None


class Constraint(BaseEstimator):
    """A closed set K of coefficient vectors w in R^d.

    Attributes
    ----------
    convex : bool
        Whether K is convex (class attribute).
    diagonal : bool
        Whether `rescaled` accepts a vector of scales, one a coordinate (class attribute).
    """

    convex = True
    diagonal = False

    def project(self, w):
        """Return a nearest point of K: ``argmin_{u in K} |u - w|_2``, shape and dtype of w."""
        raise NotImplementedError  # pragma: no cover

    def face(self, w):
        """Return the `Face` of K that contains w, a point of K as `project` returns it."""
        raise NotImplementedError  # pragma: no cover

    def rescaled(self, scale):
        """Return the set ``{scale * w : w in K}``; scale > 0 is a scalar, or a vector (d,) where `diagonal` holds."""
        raise NotImplementedError  # pragma: no cover
