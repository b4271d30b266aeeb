"""Predictive standard deviations of one hidden layer by a Laplace approximation with a Kronecker product."""

import numpy as np

from skrelu.criteria import INFLATION, LEAST_SHARE, spectral_degrees_of_freedom
from skrelu.networks.piecewise_linear import products

TOL = 1e-10  # eigenvalues below this share of the largest count as zero where no weight decay holds them


def laplace(network, whitening, weights, *, alpha, mean_square, degrees_of_freedom=None):
    """Return what `predictive_deviations` needs, as arrays.

    At the minimiser of ``1/(2n) sum_i s_i r_i^2 + (alpha/2) sum_j (q^2 w_j' S w_j + v_j^2)``, n the sum of the s_i, the
    weights are taken as normal with covariance ``sigma^2 / n`` times the inverse of the Gauss-Newton matrix, and x as
    independent of the slopes ``D_j = v_j a'(z_j)`` of the units. With unit j in units of ``|w_j|^(1/(p+1))``, p the
    degree of a homogeneous activation, the matrix is then ``E[D D'] x E[x x'] + alpha I`` in standardised columns and
    the constant, a Kronecker product: k^2 + d^2 numbers in place of (k d)^2. One pass. [1]_

    ``sigma^2`` is the mean squared residual divided by ``1 - df / n``, df the degrees of freedom: those of the fit
    without weight decay, 1.2 times as many with it, as in generalised cross-validation.

    Parameters
    ----------
    network : OneHiddenLayer
    whitening : Whitening
        Centred if and only if there are intercepts.
    weights : Weights
        Normalised, in the user's units.
    alpha : float
    mean_square : float
        Weighted mean squared residual, y in the unit of the network.
    degrees_of_freedom : float, optional
        df; None: those of this matrix. The average of networks has about as many as one of them, in more units.

    Returns
    -------
    dict of str to ndarray or float

    References
    ----------
    .. [1] H. Ritter, A. Botev and D. Barber, "A Scalable Laplace Approximation for Neural Networks", ICLR 2018.
    """
    rows, activation, fit_intercept = network.rows, network.activation, network.fit_intercept
    size, p = np.linalg.norm(weights.hidden * whitening.deviations, axis=1), activation.homogeneity
    unit = np.ones(len(size)) if p is None else size ** (1 / (p + 1))
    t = network.target_scale
    output = weights.output * unit / t

    def second_moment(X, y, s, hidden, bias):
        Z = products(X, hidden)
        Z += bias
        D = activation.derivative(Z)
        return (((D * s) @ D.T).astype(np.float64),)

    (A,) = rows.sum(second_moment, weights.hidden.astype(rows.dtype), weights.hidden_bias.astype(rows.dtype)[:, None])
    A *= np.outer(output, output)
    curvature, rotation = np.linalg.eigh(A)
    penalties, directions = np.linalg.eigh(whitening.variances)
    penalties, directions = (part[..., whitening.size - whitening.rank :] for part in (penalties, directions))
    # A column that is constant has weight about 0, but no variance and no penalty.
    penalties = np.maximum(penalties, TOL * (np.max(penalties, initial=0.0) or 1.0))
    basis = whitening.to_columns((directions / np.sqrt(penalties)).T).T
    variances = np.append(1 / penalties, np.ones(int(fit_intercept)))
    decay = alpha / t * network.ratio / t * network.ratio
    n, eigenvalues = rows.weight_sum, np.maximum(np.outer(curvature, variances), 0.0)
    df, inflation = degrees_of_freedom, INFLATION if decay > 0 else 1.0
    if df is None:
        df = fit_intercept + (
            spectral_degrees_of_freedom(curvature, variances, decay) if decay > 0 else _rank(eigenvalues)
        )
    noise = mean_square / max(1 - inflation * df / n, LEAST_SHARE)
    held = (eigenvalues > TOL * np.max(eigenvalues, initial=0.0)) | (decay > 0)
    inverse = np.where(held, 1 / np.where(held, eigenvalues + decay, 1.0), 0.0)
    return {
        "unit": t,
        "noise": noise,
        "inverse": inverse / n,
        "constant": fit_intercept / n,
        "rotation": output[:, None] * rotation,
        "center": whitening.center,
        "basis": basis,
    }


def _rank(eigenvalues):
    return int(np.count_nonzero(eigenvalues > TOL * np.max(eigenvalues, initial=0.0)))


def predictive_deviations(fitted, X, slopes):
    """Return the standard deviation of the predictive distribution of y at each row: of noise and of the weights.

    Parameters
    ----------
    fitted : dict
        From `laplace`.
    X : {array-like, CSR/CSC matrix or array} of shape (n_samples, n_features)
    slopes : ndarray of shape (n_samples, k)
        ``a'(z)``.
    """
    basis = fitted["basis"]
    columns = X @ basis - fitted["center"] @ basis
    with np.errstate(over="ignore", invalid="ignore"):
        squares = columns**2
        if squares.shape[1] < fitted["inverse"].shape[1]:
            squares = np.column_stack([squares, np.ones_like(squares[:, :1])])
        share = np.sum(((slopes @ fitted["rotation"]) ** 2 @ fitted["inverse"]) * squares, axis=1)
        deviation = fitted["unit"] * np.sqrt(fitted["noise"] * (1 + fitted["constant"] + share))
    largest = np.finfo(slopes.dtype).max
    return np.minimum(np.nan_to_num(deviation, nan=largest), largest).astype(slopes.dtype)
