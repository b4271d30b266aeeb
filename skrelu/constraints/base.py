"""What a constraint set promises: a projection, the face at a point, and its image under a change of units."""

from copy import copy
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, clone

from skrelu.constraints.checks import check_radius, check_scale


@dataclass(frozen=True)
class Face:
    """The smooth piece of a set that contains a point w, to second order.

    Near w the piece is ``{w + B c : n' B c + (1/2) c' C c + ... <= 0}`` when a normal is given, and ``w + span B``
    when it is not. A solver that has identified the face minimises over it by Newton steps on ``B' H B + lam C`` with
    ``n' B c = 0``, lam the multiplier of the active constraint: lam >= 0 for the balls, of either sign for `Simplex`,
    whose constraint is an equation. For the matrix sets (`LowRank`, `NuclearBall`) span B is the tangent space of a
    curved manifold, and the piece agrees with ``w + span B`` to first order only.

    Attributes
    ----------
    basis : ndarray of shape (p,) of int, ndarray (d, p) or sparse array (d, p)
        Columns of B. An integer array stands for those columns of the identity.
    normal : ndarray of shape (d,) or None
        Gradient at w of the gauge whose level the piece lies on (sign(w) for the l1 ball), None when no such
        constraint is active.
    curvature : ndarray of shape (p, p) or (p,), or None
        C, which equals ``B' (Hessian of the gauge) B`` on the directions with ``n' B c = 0``, the only ones used. A
        vector stands for a diagonal matrix; None when the piece is flat.
    equation : bool
        Whether the level is an equation of the set (the sum of a simplex): the multiplier then has either sign.
    """

    basis: object
    normal: np.ndarray | None = None
    curvature: np.ndarray | None = None
    equation: bool = False


class Constraint(BaseEstimator):
    """A closed set K of coefficient vectors w in R^d.

    Parameters are stored as given and checked when the set is used: d is known only then.

    Attributes
    ----------
    convex : bool
        Whether K is convex (class attribute).
    diagonal : bool
        Whether `rescaled` accepts a vector of scales, one a coordinate (class attribute).
    curved : bool
        Whether K is not convex and made of curved pieces, on which Newton steps along a `Face` converge only linearly
        (class attribute).
    size_parameter : str or None
        Name of the parameter that makes K larger (class attribute); None when there is none.
    """

    convex = True
    diagonal = False
    curved = False
    size_parameter: str | None = None

    @property
    def size(self):
        """Value of the parameter that makes K larger."""
        return getattr(self, str(self.size_parameter))

    def resized(self, size):
        """Return the set of the same family with another size."""
        other = copy(self)
        setattr(other, str(self.size_parameter), size)
        return other

    def size_of(self, w):
        """Return the size of the smallest set of the family that contains w, where there is a `size_parameter`."""
        raise NotImplementedError  # pragma: no cover

    def atoms(self, size):
        """Return the combinations of at most `size` extreme points where those are simple, else None.

        A nonconvex cone with a size of its own: sparse vectors for the l1 ball, matrices of low rank for the nuclear
        one.
        """
        return None

    def project(self, w):
        """Return a nearest point of K: ``argmin_{u in K} |u - w|_2``, a new array.

        Parameters
        ----------
        w : array-like of shape (d,)
            Finite. float32 and float64 are kept, other real types become float64.

        Returns
        -------
        ndarray of shape (d,)
            A point of K to rounding; w itself, to the bit, where w lies in K.

        Raises
        ------
        ValueError
            If w is not a finite vector, or a parameter of the set is not what its class accepts for this d.
        """
        raise NotImplementedError  # pragma: no cover

    def face(self, w):
        """Return the `Face` of K that contains w, a point of K as `project` returns it.

        Raises
        ------
        ValueError
            As `project`.
        """
        raise NotImplementedError  # pragma: no cover

    def rescaled(self, scale):
        """Return the set ``{scale * w : w in K}``; scale > 0 is a scalar, or a vector (d,) where `diagonal` holds.

        Raises
        ------
        ValueError
            If scale is not finite and > 0, or a vector where `diagonal` does not hold.
        """
        raise NotImplementedError  # pragma: no cover

    @property
    def _name(self):
        return type(self).__name__


class Cone(Constraint):
    """A set that a change of units maps to itself: ``scale K = K``."""

    def rescaled(self, scale):  # noqa: D102 - the contract of Constraint
        check_scale(scale, self.diagonal, self._name)
        return clone(self)


class Ball(Constraint):
    """A set that grows in proportion to its radius: ``scale K(radius) = K(scale radius)``."""

    size_parameter = "radius"

    def rescaled(self, scale):  # noqa: D102 - the contract of Constraint
        scale = check_scale(scale, self.diagonal, self._name)
        return clone(self).set_params(radius=scale * check_radius(self.radius, self._name))
