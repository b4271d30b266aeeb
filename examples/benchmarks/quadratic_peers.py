"""The peers of quadratic networks: what a user can install, or write in ten lines.

Each takes a `QuadraticProblem` and returns M of ``x' M x``. The hand-written ones know that there is nothing else.
"""

import network_peers
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import PolynomialFeatures

ITERATIONS = 300  # of proximal gradient at each penalty
PENALTIES = 10.0 ** -np.arange(0, 8)  # relative to the smallest whose solution is zero


def loss_and_gradient(w, X, y, signs):
    """Return half the mean squared error of ``sum_j v_j <w_j, x>^2`` and its gradient, in two products."""
    Z = X @ w.reshape(len(signs), -1).T
    residual = Z**2 @ signs - y
    G = 2 * (Z * residual[:, None] * signs).T @ X
    return residual @ residual / (2 * len(X)), G.ravel() / len(X)


# To the accuracy at which skrelu ends.
OPTIONS = {"loss": loss_and_gradient, "zero": 1e-27}


def matrix(W, signs):
    """Return ``sum_j v_j w_j w_j'``."""
    return (W.T * signs) @ W


def lbfgs_spectral(problem):
    """L-BFGS from the k largest eigenvalues of the second Hermite moment of y, and their signs."""
    X, centered = problem.X, problem.y - problem.y.mean()
    values, vectors = np.linalg.eigh((X.T * centered) @ X / (2 * len(X)))
    order = np.argsort(-np.abs(values))[: problem.n_hidden]
    start, signs = (np.abs(values[order]) ** 0.5 * vectors[:, order]).T, np.sign(values[order])
    return matrix(network_peers.descend(problem, start, signs, **OPTIONS)[0], signs)


def lbfgs_random(n_starts):
    """L-BFGS from N(0, I / d), best of so many starts; the first without residual ends them.

    Is told the output weights.
    """

    def fit(problem):
        W = network_peers.best_start(problem, problem.teacher.output_coef_, n_starts, **OPTIONS)
        return matrix(W, problem.teacher.output_coef_)

    return fit


def lbfgs_wide(problem):
    """L-BFGS of d units of either sign from N(0, I / d^2)."""
    d = problem.X.shape[1]
    signs = np.repeat([1.0, -1.0], d)
    start = np.random.default_rng(problem.seed).standard_normal((2 * d, d)) / d
    return matrix(network_peers.descend(problem, start, signs, ftol=1e-15, **OPTIONS)[0], signs)


def lbfgs_from_the_truth(problem):
    """L-BFGS from the planted weights."""
    W, signs = problem.teacher.hidden_coef_, problem.teacher.output_coef_
    return matrix(network_peers.descend(problem, W, signs, ftol=1e-15, **OPTIONS)[0], signs)


def proximal_gradient(problem):
    """Accelerated proximal gradient of the convex problem ``|x' M x - y|^2 / (2 n) + lambda |M|_*``, lambda falling.

    Nuclear norm minimisation, in the limit. Steps are 1/L with L from power iterations.
    """
    X, y = problem.X, problem.y
    n, d = X.shape

    def gradient(M, target):
        return (X.T * (np.einsum("ij,ij->i", X @ M, X) - target)) @ X / n

    M = V = np.eye(d)
    for _ in range(30):
        V = gradient(V, 0)
        L = np.linalg.norm(V)
        V = V / L
    M = V = np.zeros((d, d))
    largest = np.max(np.abs(np.linalg.eigvalsh(gradient(M, y))))
    for penalty in PENALTIES * largest:
        t = 1.0
        for _ in range(ITERATIONS):
            values, vectors = np.linalg.eigh(V - gradient(V, y) / L)
            values = np.sign(values) * np.maximum(np.abs(values) - penalty / L, 0)
            before, M = M, (vectors * values) @ vectors.T
            t_before, t = t, (1 + (1 + 4 * t**2) ** 0.5) / 2
            V = M + (t_before - 1) / t * (M - before)
            if np.linalg.norm(M - before) <= 1e-10 * np.linalg.norm(M):
                break
    return M


def products(X):
    """Return the products of all pairs of columns, and the pairs."""
    features = PolynomialFeatures(2, include_bias=False).fit(X)
    pairs = [np.repeat(np.arange(X.shape[1]), power) for power in features.powers_]
    return features.transform(X), pairs


def as_matrix(coef, pairs, d):
    """Return the symmetric M of the coefficients of `products`."""
    M = np.zeros((d, d))
    for c, pair in zip(coef, pairs, strict=True):
        if len(pair) == 2:
            M[pair[0], pair[1]] += c / 2
            M[pair[1], pair[0]] += c / 2
    return M


def ridge(problem):
    """`RidgeCV` on `PolynomialFeatures(2)`."""
    features, pairs = products(problem.X)
    model = RidgeCV(np.logspace(-6, 2, 9)).fit(features, problem.y)
    return as_matrix(model.coef_, pairs, problem.X.shape[1])
