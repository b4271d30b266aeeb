"""Which functions of NumPy there are for the arrays of a device, and by what of the array API standard.

Those that block functions use, and what users' activations are likely to; others raise TypeError.
"""

import operator

import numpy as np

# Ufuncs, by the operator that the standard has, and the one in place.
OPERATORS: dict = {
    np.add: (operator.add, operator.iadd),
    np.subtract: (operator.sub, operator.isub),
    np.multiply: (operator.mul, operator.imul),
    np.divide: (operator.truediv, operator.itruediv),
    np.power: (operator.pow, operator.ipow),
    np.matmul: (operator.matmul, None),
    np.negative: (operator.neg, None),
    np.greater: (operator.gt, None),
    np.greater_equal: (operator.ge, None),
    np.less: (operator.lt, None),
    np.less_equal: (operator.le, None),
    np.equal: (operator.eq, None),
    np.not_equal: (operator.ne, None),
    np.bitwise_and: (operator.and_, None),
    np.bitwise_or: (operator.or_, None),
    np.invert: (operator.invert, None),
}
# Ufuncs that the standard has by a name; the others by their own.
NAMES = {"absolute": "abs", "arctan": "atan", "arcsin": "asin", "arccos": "acos", "arcsinh": "asinh", "rint": "round"}
ELEMENTWISE = {
    *("absolute", "arctan", "arcsin", "arccos", "arcsinh", "ceil", "cos", "cosh", "exp", "expm1", "floor", "hypot"),
    *("isfinite", "isinf", "isnan", "log", "log1p", "log2", "logaddexp", "maximum", "minimum", "rint", "sign", "sin"),
    *("sinh", "sqrt", "square", "tan", "tanh", "logical_and", "logical_or", "logical_not"),
}
SPECIAL = ("erf", "ndtr")  # of scipy, which has them for some namespaces; with others they are computed on the host
FUNCTIONS: dict = {}


def _maps(function):
    """Register what runs a function of NumPy on a device."""

    def register(run):
        FUNCTIONS[function] = run
        return run

    return register


@_maps(np.where)
def _where(on, condition, x, y):
    x, y = on.common([x, y])
    return on.wrapped(on.xp.where(on.there(condition).array, x.array, y.array))


@_maps(np.clip)
def _clip(on, a, a_min, a_max):
    a = on.there(a) if a_min is None else np.maximum(a, a_min)
    return a if a_max is None else np.minimum(a, a_max)


@_maps(np.nan_to_num)
def _nan_to_num(on, x, nan=0.0, posinf=None, neginf=None):
    largest = float(np.finfo(x.dtype).max)
    x = np.where(np.isnan(x), nan, x)
    x = np.where(x == np.inf, largest if posinf is None else posinf, x)
    return np.where(x == -np.inf, -largest if neginf is None else neginf, x)


@_maps(np.outer)
def _outer(on, a, b):
    return on.there(a).ravel()[:, None] * on.there(b).ravel()[None]


def _concatenate(on, arrays, axis=0):
    return on.wrapped(on.xp.concat([a.array for a in on.common(list(arrays))], axis=axis))


_maps(np.concatenate)(_concatenate)


@_maps(np.stack)
def _stack(on, arrays):
    return _concatenate(on, [on.there(a)[None] for a in arrays])


@_maps(np.vstack)
def _vstack(on, arrays):
    return _concatenate(on, [a[None] if a.ndim == 1 else a for a in map(on.there, arrays)])


@_maps(np.hstack)
def _hstack(on, arrays):
    arrays = [on.there(a) for a in arrays]
    return _concatenate(on, arrays, axis=0 if arrays[0].ndim == 1 else 1)


@_maps(np.column_stack)
def _column_stack(on, arrays):
    return _concatenate(on, [a[:, None] if a.ndim == 1 else a for a in map(on.there, arrays)], axis=1)


def _like(name):
    """Return what makes a new array of the shape and dtype of another, or of those given."""

    def make(on, a, dtype=None, order="K", shape=None):
        dtype, shape = on.own_dtype(dtype or a.dtype), a.shape if shape is None else shape
        return on.wrapped(getattr(on.xp, name)(shape, dtype=dtype, device=on.device))

    return make


_maps(np.empty_like)(_like("empty"))
_maps(np.ones_like)(_like("ones"))
_maps(np.zeros_like)(_like("zeros"))


@_maps(np.sum)
def _sum(on, a, axis=None, dtype=None):
    return a.sum(axis=axis, dtype=dtype)


@_maps(np.max)
def _max(on, a, axis=None):
    return a.max(axis=axis)


@_maps(np.einsum)
def _einsum(on, subscripts, *operands):
    if subscripts != "ij,ij->i":
        raise TypeError(f"numpy.einsum: {subscripts!r} is not there for arrays of a device; 'ij,ij->i' is")
    return np.sum(operands[0] * operands[1], axis=1)


@_maps(np.linalg.norm)
def _norm(on, x, axis=None):
    return on.wrapped(on.xp.linalg.vector_norm(x.array, axis=axis))
