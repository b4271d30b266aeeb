"""Sets that the estimators build around the user's: no constraint, a callable, and a set times a free intercept."""

import numpy as np
from scipy import sparse

from skrelu.constraints.base import Constraint, Face


class WholeSpace(Constraint):
    """R^d: no constraint."""

    diagonal = True

    def project(self, w):
        """Return w."""
        return w

    def face(self, w):
        """Return the face that is the whole space."""
        return Face(np.arange(len(w)))

    def rescaled(self, scale):
        """Return the same space."""
        return self


class CallableSet(Constraint):
    """The set whose projection is the user's callable, in units ``scale`` times the user's; it has no known faces."""

    def __init__(self, projection, scale=1.0):
        self.projection = projection
        self.scale = scale

    def project(self, w):
        """Return ``scale * projection(w / scale)``, checked for shape and finite values."""
        projected = np.asarray(self.projection(w / self.scale))
        if projected.shape != w.shape:
            raise ValueError(
                f"constraint: the callable must return an array of the shape of its argument, {w.shape}, "
                f"got shape {projected.shape}"
            )
        if projected.dtype.kind not in "fiu" or not np.all(np.isfinite(projected)):
            raise ValueError("constraint: the callable must return finite real numbers")
        return np.asarray(projected * self.scale, dtype=w.dtype)

    def face(self, w):
        """Return None: nothing is known beyond the projection."""
        return None

    def rescaled(self, scale):
        """Return the set with ``scale`` times larger units."""
        return CallableSet(self.projection, self.scale * scale)


class FreeIntercept(Constraint):
    """K x R: the coefficients in K, the last coordinate (the intercept) free."""

    def __init__(self, constraint):
        self.constraint = constraint
        self.convex, self.curved = constraint.convex, constraint.curved

    @property
    def size(self):
        """That of K."""
        return self.constraint.size

    def resized(self, size):
        """Return the product of the resized K and the free intercept."""
        return FreeIntercept(self.constraint.resized(size))

    def size_of(self, w):
        """Return that of the coefficients."""
        return self.constraint.size_of(w[:-1])

    def atoms(self, size):
        """Return the product of the atoms of K and the free intercept, None where K has none."""
        atoms = self.constraint.atoms(size)
        return None if atoms is None else FreeIntercept(atoms)

    def project(self, w):
        """Project the coefficients, keep the intercept."""
        return np.append(self.constraint.project(w[:-1]), w[-1])

    def face(self, w):
        """Return the face of K times the free direction."""
        face = self.constraint.face(w[:-1])
        if face is None:
            return None
        basis, normal, curvature = face.basis, face.normal, face.curvature
        if isinstance(basis, np.ndarray) and basis.dtype.kind == "i":
            basis = np.append(basis, len(w) - 1)
        else:
            basis = sparse.block_array(
                [[sparse.csr_array(basis), None], [None, np.ones((1, 1), dtype=w.dtype)]]
            ).tocsr()
        if normal is not None:
            normal = np.append(normal, 0).astype(w.dtype)
        if curvature is not None:
            pad = (0, 1) if curvature.ndim == 1 else ((0, 1), (0, 1))
            curvature = np.pad(curvature, pad)
        return Face(basis, normal, curvature, face.equation)


def as_constraint(constraint):
    """Return the set that the parameter `constraint` of an estimator names: None, a set, or a callable."""
    if constraint is None:
        return WholeSpace()
    if isinstance(constraint, Constraint):
        return constraint
    return CallableSet(getattr(constraint, "project", constraint))
