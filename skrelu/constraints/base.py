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
    ``n' B c = 0``, lam the multiplier of the active constraint: lam >= 0 for the balls, of either sign for the
    simplex, whose constraint is an equation. For the sets of matrices span B is the tangent space of a curved manifold,
    and the piece agrees with ``w + span B`` to first order only.

    Parameters
    ----------
    basis : ndarray of shape (p,) of int, ndarray (d, p) or sparse array (d, p)
        Columns of B. An integer array stands for those columns of the identity.
    normal : ndarray of shape (d,) or None, default=None
        Gradient at w of the gauge whose level the piece lies on (sign(w) for the l1 ball), None when no such
        constraint is active.
    curvature : ndarray of shape (p, p) or (p,), or None, default=None
        The matrix C, which equals ``B' (Hessian of the gauge) B`` on the directions with ``n' B c = 0``, the only ones
        used. A vector stands for a diagonal matrix; None when the piece is flat.
    equation : bool, default=False
        Whether the level is an equation of the set (the sum of a simplex): the multiplier then has either sign.

    Examples
    --------
    The face of the l1 ball at a point of its sphere is the support, with the signs as normal:

    >>> from skrelu.constraints import L1Ball
    >>> L1Ball(3.0).face([2.0, 0.0, -1.0])
    Face(basis=array([0, 2]), normal=array([ 1.,  0., -1.]), curvature=None, equation=False)
    """

    basis: object
    normal: np.ndarray | None = None
    curvature: np.ndarray | None = None
    equation: bool = False


class Constraint(BaseEstimator):
    """A closed set K of coefficient vectors w in R^d.

    A set of your own derives from this class and defines `project`, `face` and `rescaled`. To have its size searched by
    `skrelu.ProjectedReLURegressorCV` it also names its `size_parameter` and defines `size_of`. As of every estimator of
    scikit-learn, the parameters of ``__init__`` are stored as given; they are checked when the set is used: d is known
    only then.

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
    size : object
        Value of that parameter (property).

    Examples
    --------
    The half-space of weights whose sum is at most a bound, of which no coordinate is special:

    >>> import numpy as np
    >>> from skrelu import ProjectedReLURegressor
    >>> from skrelu.constraints.base import Constraint, Face
    >>> class BoundedSum(Constraint):
    ...     size_parameter = "bound"
    ...     def __init__(self, bound=1.0):
    ...         self.bound = bound
    ...     def project(self, w):
    ...         w = np.asarray(w)
    ...         return w - max(0.0, w.sum() - self.bound) / w.size
    ...     def face(self, w):
    ...         rounding = 1000 * np.finfo(w.dtype).eps * np.abs(w).sum()
    ...         on_boundary = w.sum() >= self.bound - rounding
    ...         normal = np.ones_like(w) if on_boundary else None
    ...         return Face(np.arange(w.size), normal=normal)
    ...     def rescaled(self, scale):
    ...         return BoundedSum(scale * self.bound)
    ...     def size_of(self, w):
    ...         return float(w.sum())
    >>> BoundedSum(1.0).project([2.0, 1.0])
    array([1., 0.])
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> y = np.maximum(X[:, 0], 0)
    >>> model = ProjectedReLURegressor(BoundedSum(0.5)).fit(X, y)
    >>> model.converged_, round(float(model.coef_.sum()), 12)
    (True, 0.5)
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
        """Return the set of the same family with another size.

        Parameters
        ----------
        size : float or int
            A value of the parameter named `size_parameter`.

        Returns
        -------
        Constraint
            A new set; this one stays as it is.
        """
        other = copy(self)
        setattr(other, str(self.size_parameter), size)
        return other

    def size_of(self, w):
        """Return the size of the smallest set of the family that contains w, where there is a `size_parameter`.

        Parameters
        ----------
        w : ndarray of shape (d,)
            A finite vector.

        Returns
        -------
        float or int
            An int where sizes are numbers of entries, groups or ranks.
        """
        raise NotImplementedError  # pragma: no cover

    def atoms(self, size):
        """Return the combinations of at most `size` extreme points where those are simple, else None.

        The default solver starts from a pursuit over them where there are any.

        Parameters
        ----------
        size : int
            Number of extreme points.

        Returns
        -------
        Constraint or None
            A nonconvex cone: sparse vectors for the l1 ball, matrices of low rank for the nuclear one.
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
        """Return the face of K that contains w.

        Parameters
        ----------
        w : ndarray of shape (d,)
            A point of K as `project` returns it.

        Returns
        -------
        Face
            The piece of K around w, to second order: a `Face`.

        Raises
        ------
        ValueError
            As `project`.
        """
        raise NotImplementedError  # pragma: no cover

    def rescaled(self, scale):
        """Return the set ``{scale * w : w in K}``, which the solver projects onto in units of its own.

        Parameters
        ----------
        scale : float or ndarray of shape (d,)
            Finite, > 0; a vector only where `diagonal` holds.

        Returns
        -------
        Constraint
            A new set.

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
