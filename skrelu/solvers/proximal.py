"""Accelerated proximal gradient descent on the convex problem behind quadratic networks."""

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from skrelu.solvers.loop import Iterate

SAFETY = 1.05  # of the largest eigenvalue, which is known to a hundredth


def proximal_descent(form, theta):
    """Yield the iterates of accelerated proximal gradient descent with restarts; one pass each.

    The penalty is that of the model, in coordinates in which its matrix is the identity: the nuclear norm of M~, whose
    proximal map shrinks eigenvalues, and the squares of beta~. With positive outputs negative eigenvalues become zero.
    The criterion is ``|theta_new - theta| / |theta_new|``, the objective that of the point before, without penalty.

    Parameters
    ----------
    form : QuadraticForm
    theta : ndarray
    """
    model, product = form.model, form.curvature_product(theta)
    curvature = SAFETY * _largest_eigenvalue(product, len(theta))
    # |theta|^2 counts M~ twice.
    shrinkage, damping = model.alpha / (4 * model.target_scale * curvature), 1 + model.linear_alpha / curvature

    def proximal(theta):
        M, beta, c = form.parts(theta)
        # The mean of f stays where there is an intercept: theta holds it in place of c~.
        mean = c + np.trace(M)
        values, vectors = np.linalg.eigh(M)
        size = np.maximum((values if model.positive else np.abs(values)) - shrinkage, 0)
        M = (vectors * np.copysign(size, values)) @ vectors.T
        return form.pack(M, beta / damping, mean - np.trace(M))

    ahead, momentum = theta, 1.0
    while True:
        value, gradient = form.value_and_gradient(ahead)
        new = proximal(ahead - gradient / curvature)
        change = new - theta
        if (ahead - new) @ change > 0:
            momentum = 1.0
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead, theta, momentum = new + (momentum - 1) / following * change, new, following
        size = float(np.linalg.norm(new))
        yield Iterate(new, value, float(np.linalg.norm(change)) / size if size > 0 else 0.0)


def _largest_eigenvalue(product, size):
    """Return that of a positive semidefinite matrix, to a hundredth."""
    if size == 1:
        return float(product(np.ones(1))[0])
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    return float(eigsh(operator, 1, v0=np.ones(size), tol=1e-2, return_eigenvectors=False)[0])
