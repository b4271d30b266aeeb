"""Sets given by bounds on each coordinate, and linear subspaces."""

import numpy as np
from scipy.linalg import qr
from sklearn.base import clone

from skrelu.constraints.base import Cone, Constraint, Face
from skrelu.constraints.checks import check_scale, check_vector, scaled_down, scaled_up


class Nonnegative(Cone):
    """The nonnegative orthant ``K = {w : w_i >= 0 for every i}``.

    The projection is ``max(w_i, 0)``. The face at w is the coordinate subspace of its strictly positive entries.

    Examples
    --------
    >>> from skrelu.constraints import Nonnegative
    >>> Nonnegative().project([1.0, -2.0])
    array([1., 0.])
    """

    diagonal = True

    def project(self, w):  # noqa: D102 - the contract of Constraint
        return np.maximum(check_vector(w, self._name), 0)

    def face(self, w):  # noqa: D102 - the contract of Constraint
        return Face(np.flatnonzero(check_vector(w, self._name) > 0))


class Box(Constraint):
    """The box ``K = {w : lower_i <= w_i <= upper_i for every i}``.

    The projection clips each coordinate. The face at w is the coordinate subspace of the entries strictly between their
    bounds, the bounds rounded to the dtype of w.

    Parameters
    ----------
    lower : float or array-like of shape (d,), default=0.0
        Lower bounds, in units of the weights; -inf for none.
    upper : float or array-like of shape (d,), default=1.0
        Upper bounds, ``lower <= upper``; inf for none.

    Examples
    --------
    >>> import numpy as np
    >>> from skrelu.constraints import Box
    >>> Box([0.0, -1.0, 0.0], np.inf).project([2.0, -2.0, -3.0])
    array([ 2., -1.,  0.])
    """

    diagonal = True

    def __init__(self, lower=0.0, upper=1.0):
        self.lower = lower
        self.upper = upper

    def _bound(self, name, excluded):
        """Return a bound as an array, once it is known to be numbers other than nan and the excluded infinity."""
        value = np.asarray(getattr(self, name))
        if value.dtype.kind not in "fiu" or np.isnan(value).any() or (value == excluded).any():
            accepted = "numbers > -inf" if excluded < 0 else "numbers < inf"
            raise ValueError(f"Box: {name} must be {accepted}, got {getattr(self, name)!r}")
        return value.astype(np.float64)

    def _bounds(self, w):
        """Return both bounds in the dtype of w; one beyond its range becomes its largest finite number."""
        lower, upper = self._bound("lower", np.inf), self._bound("upper", -np.inf)
        for name, value in (("lower", lower), ("upper", upper)):
            if value.shape not in ((), w.shape):
                raise ValueError(f"Box: {name} has shape {value.shape} but w has {w.size} entries")
        if (lower > upper).any():
            worst = int((lower > upper).argmax())
            pair = (float(b.flat[worst] if b.ndim else b) for b in (lower, upper))
            raise ValueError("Box: lower must be <= upper, got {} > {} at index {}".format(*pair, worst))
        return scaled_up(lower, 0, w.dtype), scaled_up(upper, 0, w.dtype)

    def project(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        return np.clip(w, *self._bounds(w))

    def face(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        lower, upper = self._bounds(w)
        return Face(np.flatnonzero((lower < w) & (w < upper)))

    def rescaled(self, scale):  # noqa: D102 - the contract of Constraint
        scale = check_scale(scale, self.diagonal, self._name)
        return clone(self).set_params(
            lower=scale * self._bound("lower", np.inf), upper=scale * self._bound("upper", -np.inf)
        )


class Subspace(Cone):
    """The linear subspace ``K = {A c : c in R^r}`` spanned by the columns of a matrix A.

    The projection is ``Q Q' w``, Q an orthonormal basis of K from a QR factorisation with column pivoting. Each column
    is first divided by the power of two just above its largest entry, so that its units do not decide the rank;
    columns whose pivot is below ``10 max(d, r) eps`` of the first are taken to depend on the others. A w with
    ``|w - Q Q' w| <= 8 d^(1/2) eps |w|`` already lies in K. The face is K itself, with basis Q.

    Parameters
    ----------
    basis : array-like of shape (d, r)
        The matrix A, finite; its columns need not be independent.

    Examples
    --------
    >>> from skrelu.constraints import Subspace
    >>> Subspace([[1.0], [1.0]]).project([3.0, 1.0])
    array([2., 2.])
    """

    def __init__(self, basis):
        self.basis = basis

    def _orthonormal(self, d):
        """Return Q (d, rank)."""
        A = np.asarray(self.basis)
        if A.ndim != 2 or A.dtype.kind not in "fiu" or not np.isfinite(A).all():
            raise ValueError(f"Subspace: basis must be a finite matrix of shape (d, r), got {self.basis!r}")
        if A.shape[0] != d:
            raise ValueError(f"Subspace: basis has {A.shape[0]} rows but w has {d} entries")
        if A.shape[1] == 0:
            return np.zeros((d, 0))
        A = np.ldexp(A.astype(np.float64), -np.frexp(np.abs(A).max(axis=0))[1])
        Q, R, _ = qr(A, mode="economic", pivoting=True)
        pivots = np.abs(np.diag(R))
        return Q[:, : np.count_nonzero(pivots > 10 * max(A.shape) * np.finfo(np.float64).eps * pivots[0])]

    def project(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        Q = self._orthonormal(w.size)
        u, _, exponent = scaled_down(w)
        p = Q @ (Q.T @ u)
        if np.linalg.norm(u - p) <= 8 * w.size**0.5 * float(np.finfo(w.dtype).eps) * np.linalg.norm(u):
            return w
        return scaled_up(p, exponent, w.dtype)

    def face(self, w):  # noqa: D102 - the contract of Constraint
        w = check_vector(w, self._name)
        return Face(self._orthonormal(w.size).astype(w.dtype))
