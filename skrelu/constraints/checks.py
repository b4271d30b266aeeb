"""What every set asks of its arguments, and the exact change of scale that keeps squares and sums finite.

Errors read ``<set>: <parameter> must be <what is accepted>, got <what was given>``.
"""

import math
from numbers import Integral, Real

import numpy as np

#: A gauge within this many units of rounding of the radius counts as on the boundary. A norm is a sum of terms of
#: one sign, so entries known to c eps give a norm known to c eps, whatever their number.
BOUNDARY_EPS = 1000


def check_vector(w, owner):
    """Return a copy of w as a finite vector of float32 or float64 (other real types become float64)."""
    w = np.asarray(w)
    if w.ndim != 1 or w.size == 0:
        raise ValueError(f"{owner}: w must be a vector with at least one entry, got an array of shape {w.shape}")
    if w.dtype.kind not in "fiub":
        raise ValueError(f"{owner}: w must be real numbers, got dtype {w.dtype}")
    w = w.astype(w.dtype if w.dtype in (np.float32, np.float64) else np.float64)
    if not np.isfinite(w).all():
        raise ValueError(f"{owner}: w must be finite, got {w[~np.isfinite(w)][0]} at index {np.isfinite(w).argmin()}")
    return w


def check_radius(radius, owner):
    """Return radius as a float, a finite number >= 0."""
    if not isinstance(radius, Real) or isinstance(radius, bool) or not 0 <= float(radius) < math.inf:
        raise ValueError(f"{owner}: radius must be a finite number >= 0, got {radius!r}")
    return float(radius)


def check_count(count, name, owner):
    """Return count as an int >= 0."""
    if not isinstance(count, Integral) or isinstance(count, bool) or count < 0:
        raise ValueError(f"{owner}: {name} must be an integer >= 0, got {count!r}")
    return int(count)


def check_scale(scale, diagonal, owner):
    """Return scale, finite and > 0: a float, or a vector where the set is `diagonal`."""
    value = np.asarray(scale)
    shapes = "a number or a vector of numbers" if diagonal else "one number"
    if value.dtype.kind not in "fiu" or value.ndim > diagonal or not ((value > 0) & np.isfinite(value)).all():
        raise ValueError(f"{owner}: scale must be {shapes}, finite and > 0, got {scale!r}")
    return value.astype(np.float64) if value.ndim else float(value)


def scaled_down(w, radius=0.0):
    """Return ``u = 2**-e w`` in float64, ``2**-e radius`` and e, where ``2**e`` is just above max(|w|_inf, radius).

    A power of two changes no digit, so comparisons stay exact; what underflows is below 1e-300 of the largest.
    """
    exponent = math.frexp(max(float(np.abs(w).max()), radius))[1]
    return np.ldexp(w.astype(np.float64), -exponent), math.ldexp(radius, -exponent), exponent


def scaled_up(u, exponent, dtype):
    """Return ``2**exponent u`` in dtype; what would overflow becomes the largest finite number."""
    limit = float(np.finfo(dtype).max)
    with np.errstate(over="ignore"):
        return np.clip(np.ldexp(u, exponent), -limit, limit).astype(dtype)


def on_boundary(gauge, radius, dtype):
    """Tell whether ``gauge >= radius (1 - 1000 eps)``, eps the rounding unit of dtype."""
    return gauge >= radius * (1 - BOUNDARY_EPS * float(np.finfo(dtype).eps))
