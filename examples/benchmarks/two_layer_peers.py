"""The peers of two layers with several outputs: what a user can install, or write in ten lines.

Each takes a `TwoLayerProblem` and returns both layers, (V, U). The hand-written ones know the model better than a user
would: the activation, and that there are no biases.
"""

import numpy as np
from network_peers import ZERO, best_mlp, descend
from scipy.optimize import minimize

TO_ROUNDING = {"ftol": 1e-12, "zero": 1e-27}  # where skrelu ends; see `network_peers.descend`
RIDGE = 1e-14  # of the mean square of a unit, added to that of each: without it, two equal units end the descent
ZERO_OF_MLP = 1e-3  # its own tolerance ends a start that has found the network at about 1e-5
KINK = 0.1  # root mean squares of y below which residuals of rows count by their square
GROSS = 6.0  # medians of the residuals of rows beyond which a row is set aside


def parts(w, k, d):
    """Return V (k, d) and U (m, k) of the vector of all weights."""
    return w[: k * d].reshape(k, d), w[k * d :].reshape(-1, k)


def joint(activation, kink=None):
    """Return half the mean squared error of ``U f(V x)`` and its gradient as a function of both layers.

    With a `kink` c, of the mean of ``(c^2 + |r_i|^2)^(1/2)``, r_i the residual of row i.
    """

    def loss(w, X, y, units):
        V, U = parts(w, len(units), X.shape[1])
        Z = X @ V.T
        H = activation.value(Z)
        residual = H @ U.T - y
        if kink is None:
            value = np.sum(residual**2) / 2
        else:
            sizes = np.sqrt(kink**2 + np.sum(residual**2, axis=1))
            value, residual = np.sum(sizes), residual / sizes[:, None]
        G = (activation.derivative(Z) * (residual @ U)).T @ X
        return value / y.size, np.concatenate([G.ravel(), (residual.T @ H).ravel()]) / y.size

    return loss


def output_layer(H, y):
    """Return U, the least squares fit of y to the units."""
    A = H.T @ H
    return np.linalg.solve(A + RIDGE * np.trace(A) / len(A) * np.eye(len(A)), H.T @ y).T


def projected(activation):
    """Return the same as a function of V alone, with U at its least squares: variable projection."""

    def loss(w, X, y, units):
        Z = X @ w.reshape(len(units), -1).T
        H = activation.value(Z)
        U = output_layer(H, y)
        residual = H @ U.T - y
        G = (activation.derivative(Z) * (residual @ U)).T @ X
        return np.sum(residual**2) / (2 * y.size), G.ravel() / y.size

    return loss


def descend_jointly(problem, V):
    """Return (V, U) at the end of L-BFGS over both, and the loss there over the mean of y^2; U starts where it fits."""
    start = np.concatenate([V.ravel(), output_layer(problem.activation.value(problem.X @ V.T), problem.y).ravel()])
    w, value = descend(problem, start, np.ones(len(V)), loss=joint(problem.activation), **TO_ROUNDING)
    return parts(w, *V.shape), value


def descend_projected(problem, V):
    """Return the same of L-BFGS over V, U where it fits."""
    V, value = descend(problem, V, np.ones(len(V)), loss=projected(problem.activation), **TO_ROUNDING)
    return (V, np.linalg.lstsq(problem.activation.value(problem.X @ V.T), problem.y)[0].T), value


def descend_robustly(problem, V):
    """Return the same of L-BFGS over both for sums of sizes of rows, then `descend_projected` without gross ones.

    The value is half the square of the median size.
    """
    X, y, activation = problem.X, problem.y, problem.activation
    unit = np.median(np.linalg.norm(y, axis=1))
    loss = joint(activation, KINK * unit)
    start = np.concatenate([V.ravel(), output_layer(activation.value(X @ V.T), y).ravel()])
    options = dict(maxiter=2000, maxfun=4000, ftol=1e-12, gtol=1e-12, maxcor=20)
    w = minimize(loss, start, (X, y, np.ones(len(V))), jac=True, method="L-BFGS-B", options=options).x
    V, U = parts(w, *V.shape)
    sizes = np.linalg.norm(activation.value(X @ V.T) @ U.T - y, axis=1)
    (V, U), _ = descend_projected(problem.rows(sizes <= GROSS * np.median(sizes)), V)
    sizes = np.linalg.norm(activation.value(X @ V.T) @ U.T - y, axis=1)
    return (V, U), (np.median(sizes) / unit) ** 2 / 2


def random_starts(descent, n_starts):
    """Best of so many random starts, V from N(0, I / d); the first without residual ends them."""

    def fit(problem):
        rng, d = np.random.default_rng([problem.seed, 4]), problem.X.shape[1]
        best, lowest = None, np.inf
        for _ in range(n_starts):
            layers, value = descent(problem, rng.standard_normal((problem.n_hidden, d)) / np.sqrt(d))
            if best is None or value < lowest:
                best, lowest = layers, value
            if lowest < ZERO**2 / 2:
                break
        return best

    return fit


def projected_from_the_truth(problem):
    """`descend_projected` from the planted weights."""
    return descend_projected(problem, problem.teacher.hidden_coef_)[0]


def mlp(n_starts):
    """The best of so many starts of `MLPRegressor`; the first that has found the network ends them."""

    def fit(problem):
        return [W.T for W in best_mlp(problem, n_starts, zero=ZERO_OF_MLP).coefs_]

    return fit
