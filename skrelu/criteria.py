"""Generalised cross-validation: what a fit would cost on new rows, from its own residual and degrees of freedom."""

import numpy as np

# Degrees of freedom count by this factor: those of the Gauss-Newton matrix take the pattern of active units as given,
# which has been fitted, too. Chosen on the tuning half of the real tables in `examples/benchmarks/tables.py`.
INFLATION = 1.2
LEAST_SHARE = 0.02  # of the rows that the weights leave to the noise, at least, where its variance must be finite


def generalised_cross_validation(mean_square, degrees_of_freedom, n, inflation=INFLATION):
    """Return ``mse / (1 - g p / n)^2``, an estimate of the mean squared error on new rows [1]_, infinite if n <= g p.

    Parameters
    ----------
    mean_square : float
        Weighted mean squared residual.
    degrees_of_freedom : float
        p, the trace of the derivative of the fitted values by the targets, or an estimate of it.
    n : float
        Sum of the sample weights.
    inflation : float
        g.

    Notes
    -----
    A fit that could interpolate any targets is never the best one, however small its residual.

    References
    ----------
    .. [1] P. Craven and G. Wahba, "Smoothing noisy data with spline functions", Numerische Mathematik 31 (1979).
    """
    share = 1 - inflation * degrees_of_freedom / n
    return mean_square / (share * share) if share > 0 else float("inf")


def spectral_degrees_of_freedom(curvature, variances, decay):
    """Return ``sum_ij a_i s_j / (a_i s_j + decay)``.

    That is the trace of ``(A x S) (A x S + decay I)^-1`` for the Kronecker product of positive semidefinite matrices
    with these eigenvalues.

    Parameters
    ----------
    curvature : ndarray of shape (k,)
        Eigenvalues a_i of A, the second moments of the derivatives of the output by the inputs of the units.
    variances : ndarray of shape (r,)
        Eigenvalues s_j of S, the covariance of the columns in units in which the weight decay is isotropic.
    decay : float
    """
    products = np.maximum(np.outer(curvature, variances), 0.0)
    return float(np.sum(products / (products + decay))) if decay > 0 else float(np.count_nonzero(products))
