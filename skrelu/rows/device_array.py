"""NumPy's functions on the arrays of a device: block functions are written once, in NumPy, and run where the rows are.

NumPy hands its functions over to operands that ask for it (NEP 13 and 18). A `DeviceArray` runs them by the namespace
of its array, which is one of the array API standard, and takes the other operands, small arrays of parameters, to the
device. It never comes back by itself: what would have to wait for the device raises TypeError.
"""

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from scipy import special

from skrelu._compat import has_special_functions, to_numpy
from skrelu.rows.device_functions import ELEMENTWISE, FUNCTIONS, NAMES, OPERATORS, SPECIAL


class Device:
    """A device of a namespace, the dtypes that it has, and the ways there and back.

    Parameters
    ----------
    xp : module
        A namespace of the array API standard.
    device : object
        One of its devices.
    """

    def __init__(self, xp, device):
        self.xp, self.device = xp, device
        dtypes = xp.__array_namespace_info__().dtypes(device=device)
        self._numpy = {dtype: np.dtype(name) for name, dtype in dtypes.items()}
        self._own = {numpy_dtype: dtype for dtype, numpy_dtype in self._numpy.items()}
        # Some devices have single precision only.
        self._own.setdefault(np.dtype(np.float64), xp.float32)

    def own_dtype(self, dtype):
        """Return the dtype of the namespace."""
        return self._own[np.dtype(dtype)]

    def numpy_dtype(self, dtype):
        """Return NumPy's name for a dtype of the namespace."""
        return self._numpy[dtype]

    def there(self, value, dtype=None):
        """Return a `DeviceArray` of a value of the host, or of one that is there, in this NumPy dtype."""
        if isinstance(value, DeviceArray):
            return value if dtype is None else value.astype(dtype, copy=False)
        if np.ndim(value) == 0:
            dtype = np.result_type(value) if dtype is None else dtype
            number = np.asarray(value).item()
            return DeviceArray(self.xp.full((), number, dtype=self.own_dtype(dtype), device=self.device), self)
        value = np.array(value, dtype=dtype, order="C")
        return DeviceArray(self.xp.asarray(value, dtype=self.own_dtype(value.dtype), device=self.device), self)

    def wrapped(self, array):
        """Return a `DeviceArray` of an array of the namespace."""
        return DeviceArray(array, self)

    def common(self, values):
        """Return values as `DeviceArray`s of one dtype, as NumPy promotes them."""
        plain = [np.empty(0, v.dtype) if isinstance(v, DeviceArray) else v for v in values]
        dtype = np.result_type(*plain)
        return [self.there(value, dtype) for value in values]

    def here(self, arrays):
        """Return `DeviceArray`s as arrays of the host, in one transfer: the host waits for the device once."""
        xp, widest = self.xp, self.own_dtype(np.float64)
        flat = [xp.astype(xp.reshape(part.array, (-1,)), widest, copy=False) for part in arrays]
        numbers = to_numpy(flat[0] if len(flat) == 1 else xp.concat(flat), xp)
        ends = np.cumsum([part.size for part in arrays])[:-1]
        parts = zip(np.split(numbers, ends), arrays, strict=True)
        return [piece.reshape(part.shape).astype(part.dtype) for piece, part in parts]


class DeviceArray(NDArrayOperatorsMixin):
    """An array of a device with what NumPy's arrays have.

    Parameters
    ----------
    array : array
        Of the namespace.
    on : Device
    """

    __slots__ = ("array", "on")

    def __init__(self, array, on):
        self.array, self.on = array, on

    # what arrays know

    @property
    def shape(self):
        """The sizes of the axes."""
        return tuple(self.array.shape)

    @property
    def ndim(self):
        """The number of axes."""
        return len(self.array.shape)

    @property
    def size(self):
        """The number of entries."""
        return int(np.prod(self.shape))

    @property
    def dtype(self):
        """The dtype, as NumPy's."""
        return self.on.numpy_dtype(self.array.dtype)

    def _transposed(self):
        """Return the array with its axes in reverse order."""
        return self if self.ndim < 2 else self._like(self.on.xp.permute_dims(self.array, tuple(range(self.ndim))[::-1]))

    T = property(_transposed)

    def __len__(self):
        return self.shape[0]

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __repr__(self):
        return f"DeviceArray({self.array!r})"

    def _waits(self, *_, **__):
        raise TypeError(
            "a number or an array of a device is asked for on the host, within a pass: every such question waits for "
            "the device. Keep to NumPy's functions of arrays: np.where in place of if, .astype in place of float()"
        )

    __bool__ = __float__ = __int__ = __index__ = __array__ = _waits

    def __array_namespace__(self, api_version=None):
        """Return NumPy, whose functions this array takes: scipy asks."""
        return np

    def _like(self, array):
        return DeviceArray(array, self.on)

    # shapes, dtypes, entries

    def astype(self, dtype, copy=True):
        """Return the array in another dtype; in single precision where the device has no other."""
        own = self.on.own_dtype(dtype)
        return self if own == self.array.dtype and not copy else self._like(self.on.xp.astype(self.array, own))

    def copy(self):
        """Return a copy."""
        return self._like(self.on.xp.asarray(self.array, copy=True))

    def reshape(self, *shape):
        """Return the entries in another shape."""
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        return self._like(self.on.xp.reshape(self.array, tuple(int(n) for n in shape)))

    def ravel(self):
        """Return the entries in one axis."""
        return self.reshape(-1)

    def _key(self, key):
        """Return slices, integers and None for every axis, and (axis, indices) where an array picks along one."""
        key, picked = key if isinstance(key, tuple) else (key,), None
        parts: list = []
        if key and key[0] is Ellipsis:
            key = (*[slice(None)] * (self.ndim - len(key) + 1 + sum(part is None for part in key)), *key[1:])
        axis = 0
        for part in key:
            if part is None:
                parts.append(None)
                continue
            if isinstance(part, slice):
                start, stop, step = part.indices(self.shape[axis])
                part = slice(start, max(start, stop), step)
            elif isinstance(part, np.ndarray) and part.ndim == 1 and part.dtype.kind in "ib" and picked is None:
                # Along one axis only, so that the order of axes is plain.
                picked = len(parts), np.flatnonzero(part) if part.dtype.kind == "b" else part
                part = slice(None)
            elif isinstance(part, DeviceArray) or not hasattr(part, "__index__"):
                raise TypeError(f"an array of a device takes no index of type {type(part)}: use np.where")
            else:
                if not -self.shape[axis] <= part < self.shape[axis]:
                    raise IndexError(f"no row or column {part}: axis {axis} has {self.shape[axis]}")
                part = int(part) % self.shape[axis]
            parts.append(part)
            axis += 1
        return (*parts, *[slice(None)] * (self.ndim - axis)), picked

    def __getitem__(self, key):
        """Return some entries: slices, integers and None, or integers or a mask of the host along one axis."""
        key, picked = self._key(key)
        array = self.array[key]
        if picked is not None:
            axis, indices = picked
            array = self.on.xp.take(array, self.on.there(indices.astype(np.int64)).array, axis=axis)
        return self._like(array)

    def __setitem__(self, key, value):
        """Set entries, given by slices and integers."""
        key, picked = self._key(key)
        if picked is not None:
            raise TypeError("entries of an array of a device are set by slices: use np.where")
        self.array[key] = self.on.there(value, self.dtype).array

    # sums

    def sum(self, axis=None, dtype=None, keepdims=False):
        """Return the sum, in the dtype of the array unless another is given; numbers of true entries are integers."""
        numbers = self.astype(np.int64) if self.dtype == bool else self
        own = self.on.own_dtype(dtype or numbers.dtype)
        return self._like(self.on.xp.sum(numbers.array, axis=axis, dtype=own, keepdims=keepdims))

    def max(self, axis=None):
        """Return the largest entry."""
        return self._like(self.on.xp.max(self.array, axis=axis))

    def min(self, axis=None):
        """Return the smallest entry."""
        return self._like(self.on.xp.min(self.array, axis=axis))

    # NumPy

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, where=True, **options):
        """Run a ufunc on the device, in the dtypes in which NumPy would."""
        if method != "__call__" or options:
            raise TypeError(f"{ufunc.__name__}.{method}, or an option of it, is not there for arrays of a device")
        target = None if out is None else out[0]
        if target is not None and not isinstance(target, DeviceArray):
            raise TypeError(f"{ufunc.__name__}: an array of the host cannot take what is on a device")
        *dtypes, returned = _loop(ufunc, tuple(_type(value) for value in inputs))
        plain, in_place = OPERATORS.get(ufunc, (None, None))
        if target is not None and in_place and where is True and target is inputs[0] and returned == target.dtype:
            target.array = in_place(target.array, self._operand(inputs[1], dtypes[1]))
            return target
        if plain:
            result = plain(*(self._operand(value, dtype) for value, dtype in zip(inputs, dtypes, strict=True)))
        else:
            operands = [self.on.there(value, dtype) for value, dtype in zip(inputs, dtypes, strict=True)]
            result = self._named(ufunc, operands)
        if target is None:
            return self._like(result)
        if where is not True:
            result = self.on.xp.where(self.on.there(where).array, result, target.array)
        target[...] = self._like(result)
        return target

    def _operand(self, value, dtype):
        """Return an operand of an operator: numbers of the host as they are."""
        if not isinstance(value, DeviceArray) and np.ndim(value) == 0:
            return np.asarray(value, dtype=dtype).item()
        return self.on.there(value, dtype).array

    def _named(self, ufunc, operands):
        """Run a ufunc that the standard has by name, or a special function."""
        xp, name = self.on.xp, ufunc.__name__
        if name in ELEMENTWISE:
            return getattr(xp, NAMES.get(name, name))(*(operand.array for operand in operands))
        if name == "expit":
            return 1.0 / (1.0 + xp.exp(-operands[0].array))
        if name in SPECIAL and has_special_functions(xp):
            return getattr(special, name)(operands[0].array)
        if name in SPECIAL:
            return self.on.there(ufunc(*self.on.here(operands))).array
        raise TypeError(f"{name} is not there for arrays of a device; {', '.join(sorted(ELEMENTWISE))} are")

    def __array_function__(self, function, types, args, kwargs):
        """Run a function of NumPy on the device."""
        if function not in FUNCTIONS:
            known = ", ".join(sorted(f.__name__ for f in FUNCTIONS))
            raise TypeError(f"numpy.{function.__name__} is not there for arrays of a device; {known} are")
        return FUNCTIONS[function](self.on, *args, **kwargs)


_LOOPS: dict = {}


def _type(value):
    """Return what NumPy promotes: the type of a Python number, the dtype of all else."""
    if isinstance(value, DeviceArray | np.ndarray | np.generic):
        return value.dtype
    return np.dtype(bool) if isinstance(value, bool) else type(value)


def _loop(ufunc, types):
    """Return the dtypes of the operands and of the result in the loop that NumPy would take."""
    if (ufunc, types) not in _LOOPS:
        _LOOPS[ufunc, types] = ufunc.resolve_dtypes((*types, None))
    return _LOOPS[ufunc, types]
