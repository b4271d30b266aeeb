"""Standard deviations of the predictive distribution of two layers: of the noise, and of the weights of both."""

import numpy as np

from skrelu.criteria import LEAST_SHARE
from skrelu.solvers.two_layer_path import RANK_TOL, SHARED, degrees_of_freedom, standardised_variances


def predictive_distribution(network, theta, whitening):
    """Return what `predictive_deviations` needs, as arrays of k^2, k d and d^2 numbers.

    The weights are taken as normal about the fit, with covariances from the Gauss-Newton matrices of the two layers.
    That of the hidden one is ``<u_j, u_l> E[f'_j f'_l] x E[x x'] + alpha I`` in standardised columns, and without alpha
    for the constant: x counts as independent of the slopes of the units. That of an output is the covariance of the
    units plus alpha I. Noise of covariance Sigma counts in the hidden layer as ``sum_j u_j' Sigma u_j E[f'_j^2]``
    divided by ``sum_j |u_j|^2 E[f'_j^2]``. Sigma is that of the residuals divided by ``1 - df / n``: df is the number
    of weights that the data can tell, divided by the rank of the outputs; with weight decay, the degrees of freedom
    times the factor of the criterion.

    Parameters
    ----------
    network : TwoLayer
    theta : ndarray
    whitening : Whitening
        Centred if and only if there are intercepts.
    """
    layer, n, p = network.layer(theta, slopes=True), max(network.rows.weight_sum, 1.0), network.activation.homogeneity
    if network.alpha > 0:
        degrees = SHARED * degrees_of_freedom(network, theta, standardised_variances(whitening))
    else:
        degrees = network.n_weights / network.output_rank
    noise = network.residual_covariance(theta) / max(1 - degrees / n, LEAST_SHARE)
    A, slopes = (layer.coef @ layer.coef.T) * layer.slopes, np.diag(layer.slopes)
    shared = np.sum(layer.coef @ noise * layer.coef * slopes[:, None]) / max(np.trace(A), np.finfo(float).tiny) / n
    values, rotation = np.linalg.eigh(A)
    size = np.ones(len(A))
    if p is not None:  # the user's units have length one
        size = np.hypot.reduce(network.stacked(theta)[0].astype(np.float64), axis=1)
        size = np.where(size > 0, size, 1.0)
    basis, variances = _directions(whitening)
    floor, size_of_value = RANK_TOL * max(values[-1], 0), size ** (p or 0)
    return {
        "noise": np.diag(noise) * network.target_scale * network.target_scale,
        "constant": network.fit_intercept / n,
        "rotation": rotation / size[:, None],
        "inverse": shared * _inverse(np.outer(values, variances), network.decays[0], floor),
        "bias": shared * network.fit_intercept * _inverse(values, 0.0, floor),
        "units": layer.inverse * np.outer(size_of_value, size_of_value) / n,
        "mean": layer.mean / size_of_value,
        "center": whitening.center,
        "basis": basis,
    }


def _directions(whitening):
    """Return (basis, variances): uncorrelated combinations of columns, in units in which weight decay is isotropic.

    Where correlations are not known the basis is the scale of each column.
    """
    if whitening.columns.ndim == 1:
        return whitening.columns, np.ones(1)
    penalties, directions = np.linalg.eigh(whitening.variances)
    left = whitening.size - whitening.rank
    penalties = np.maximum(penalties[left:], np.finfo(float).tiny)
    return whitening.columns @ (directions[:, left:] / np.sqrt(penalties)), 1 / penalties


def _inverse(values, decay, floor):
    """Return ``1 / (values + decay)``; without decay 0 for values up to the floor."""
    held = (values > floor) | (decay > 0)
    return np.where(held, 1 / np.where(held, np.maximum(values, 0) + decay, 1.0), 0.0)


def predictive_deviations(fitted, X, value, slope, output):
    """Return the standard deviations (n, m) of the predictive distribution of the outputs at each row.

    Parameters
    ----------
    fitted : dict
        From `predictive_distribution`.
    X : {array-like, CSR/CSC matrix or array} of shape (n, d)
    value, slope : ndarray of shape (n, k)
        Of the units.
    output : ndarray of shape (m, k)
    """
    variances = np.empty_like(value, shape=(len(value), len(output)), dtype=np.float64, order="C")
    with np.errstate(over="ignore", invalid="ignore"):
        squares, centered = _squares(fitted, X), value - fitted["mean"]
        of_outputs = fitted["constant"] + np.sum(centered @ fitted["units"] * centered, axis=1)
        for o, u in enumerate(output):
            along = ((slope * u) @ fitted["rotation"]) ** 2
            of_hidden = np.sum((along @ fitted["inverse"]) * squares, axis=1) + along @ fitted["bias"]
            variances[:, o] = fitted["noise"][o] * (1 + of_outputs) + of_hidden
    largest = float(np.finfo(np.float64).max)
    return np.sqrt(np.clip(np.nan_to_num(variances, nan=largest, posinf=largest), 0, None))


def _squares(fitted, X):
    """Return the squares of the columns in the basis; in a diagonal one their sum."""
    basis, center = fitted["basis"], fitted["center"]
    if basis.ndim == 2:
        return (X @ basis - center @ basis) ** 2
    weights = basis**2
    squares = X.multiply(X) @ weights if hasattr(X, "multiply") else (X * X) @ weights
    return np.maximum(squares - 2 * (X @ (center * weights)) + center**2 @ weights, 0)[:, None]
