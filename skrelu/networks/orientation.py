"""Which way units point: even functions do not tell w from -w, their linear part does."""

import numpy as np


def orientation(parts, linear):
    """Return signs e_j for which ``|sum_j e_j parts_j - linear|`` is small.

    They are those of the least squares coefficients; then signs are turned over while that lowers it, the best first.
    For independent parts and an exact solution there is none to turn.

    Parameters
    ----------
    parts : ndarray of shape (n_units, n)
    linear : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (n_units,)
        Entries +-1.
    """
    signs = np.where(np.linalg.lstsq(parts.T, linear, rcond=None)[0] < 0, -1.0, 1.0)
    squares = np.sum(parts**2, axis=1)
    for _ in range(2 * len(signs)):
        change = 4 * signs * (parts @ (linear - signs @ parts)) + 4 * squares
        j = int(np.argmin(change))
        if change[j] >= -1e-9 * (linear @ linear):
            break
        signs[j] = -signs[j]
    return signs
