"""The pass of most iterations: value and gradient of units that are linear on either side of zero."""

import numpy as np
from scipy import sparse

WIDE = 4  # columns a unit from which, in single precision, ``X W'`` and its transposition are faster than ``W X'``


def products(X, W):
    """Return ``W X'`` (n_units, n_rows), dense.

    In double precision this order is up to 30 % faster than the other one; in single precision it packs X so slowly
    that the other one takes as little as half the time (*measured*, OpenBLAS).
    """
    wide = isinstance(X, np.ndarray) and X.dtype == np.float32 and X.shape[1] >= WIDE * len(W)
    return np.ascontiguousarray((X @ W.T).T) if wide or sparse.issparse(X) else W @ X.T


def piecewise_linear_pass(X, y, s, W, b, c, v, *, mean_slope, half_kink, relaxed, free_output):
    """Return the sums over a block that `OneHiddenLayer.value_and_gradient` needs, for ``a(z) = q z + h |z|``.

    With ``r = q v'Z + h v'|Z| + ...`` and ``a'(z) = q - h + 2 h 1{z > 0}``, q at 0, no array of the size of Z is formed
    but |Z|, the mask ``Z >= 0`` and the mask times the residuals: what a pass costs besides its two matrix products.

    Parameters
    ----------
    X, y, s : arrays of a block of rows
        y in units of its root mean square.
    W, b, c, v : weights
        The last row of W and b is the linear part, if `relaxed`.
    mean_slope, half_kink : float
        q and h.
    relaxed, free_output : bool

    Returns
    -------
    loss : float
    G : ndarray of shape (n_units [+ 1], n_features)
        ``sum_i s_i r_i a'(z_i) x_i'``, and that of the linear part.
    g_bias : ndarray of shape (n_units [+ 1],)
        The same without x.
    g_c : float
    g_output : ndarray of shape (n_units,) or 0.0
    """
    q, h, k = mean_slope, half_kink, len(v)
    Z = products(X, W)
    Z += b
    units = Z[:k]
    absolute = np.abs(units)
    residual = (h * v) @ absolute
    if q:
        residual += (q * v) @ units
    residual += Z[k] if relaxed else c
    residual -= y
    g = s * residual
    g_output = (q * (units @ g) + h * (absolute @ g)).astype(np.float64) if free_output else 0.0
    # The row of g itself is there only where it is needed.
    whole = relaxed or q != h
    D = np.ones_like(Z, shape=(k + whole, len(g)), order="C")
    D[:k] = units >= 0
    # A device would have to be waited for to know.
    if not isinstance(Z, np.ndarray) or absolute.min(initial=1) == 0:
        np.divide(D[:k], 2, out=D[:k], where=units == 0)
    g_bias = (D @ g).astype(np.float64)
    D *= g
    G = (D @ X).astype(np.float64)
    rest = (q - h) * G[k:], (q - h) * g_bias[k:]
    if whole:
        G[:k], g_bias[:k] = 2 * h * G[:k] + rest[0], 2 * h * g_bias[:k] + rest[1]
    else:
        G, g_bias = 2 * h * G, 2 * h * g_bias
    n_rows = k + relaxed
    loss, g_c = 0.5 * (g @ residual).astype(np.float64), g.sum().astype(np.float64)
    return loss, G[:n_rows], g_bias[:n_rows], g_c, g_output
