"""The peers: the strongest methods for one ReLU that a user can install, or write in ten lines.

Each takes a `Problem` and returns weights. All may use what ours is told (the number of nonzero weights, or the l1
norm); those that are told more say so.
"""

import numpy as np
from scipy.optimize import least_squares, linprog, minimize
from sklearn.linear_model import LinearRegression, OrthogonalMatchingPursuit, lars_path


def omp(problem, threshold=0.0):
    """Orthogonal matching pursuit on the rows with ``y > threshold``: there the model is linear (without noise)."""
    rows = problem.y > threshold
    model = OrthogonalMatchingPursuit(n_nonzero_coefs=problem.n_nonzero, fit_intercept=False)
    return model.fit(problem.X[rows], problem.y[rows]).coef_


def omp_above_noise(problem):
    """`omp` on the rows with y > 3 sigma: is told sigma."""
    return omp(problem, 3 * problem.sigma)


def omp_and_refit(problem):
    """`omp_above_noise`, then least squares on its support and the rows with <w, x> > 0, five times: is told sigma."""
    w = omp_above_noise(problem)
    support = np.flatnonzero(w)
    for _ in range(5):
        w = refit(problem, support, problem.X @ w > 0)
    return w


def iterative_hard_thresholding(problem, max_iter=500):
    """Normalised iterative hard thresholding (Blumensath and Davies 2010) on the rows with y > 0."""
    X, y, s = problem.X[problem.y > 0], problem.y[problem.y > 0], problem.n_nonzero
    w = np.zeros(X.shape[1])
    for _ in range(max_iter):
        g = X.T @ (y - X @ w)
        on = np.flatnonzero(w) if np.any(w) else np.argpartition(-np.abs(g), s)[:s]
        new = w + g * (g[on] @ g[on]) / np.linalg.norm(X[:, on] @ g[on]) ** 2
        new[np.argpartition(-np.abs(new), s)[s:]] = 0
        if np.linalg.norm(new - w) <= 1e-14 * np.linalg.norm(new):
            break
        w = new
    return w


def linear_programme(problem):
    """``min |w|_1`` with ``X w = y`` on the rows with y > 0 and ``X w <= 0`` on the others (HiGHS).

    It needs no radius, and is what the l1 norm can do at best: where its solution is not the planted one, other points
    of the ball fit the data just as well.
    """
    on = problem.y > 0
    equal, below = problem.X[on], problem.X[~on]
    solution = linprog(
        np.ones(2 * problem.X.shape[1]),
        A_ub=np.hstack([below, -below]),
        b_ub=np.zeros(len(below)),
        A_eq=np.hstack([equal, -equal]),
        b_eq=problem.y[on],
        method="highs",
    )
    return np.zeros_like(problem.coef) if solution.x is None else np.subtract(*np.split(solution.x, 2))


def lasso_path(problem):
    """The point of the Lasso path (LARS) on the rows with y > 0 whose l1 norm is the radius, or its end before."""
    rows = problem.y > 0
    _, _, path = lars_path(problem.X[rows], problem.y[rows], method="lasso")
    norms = np.abs(path).sum(axis=0)
    k = int(np.searchsorted(norms, problem.radius))
    if k == 0 or k == len(norms):
        return path[:, min(k, len(norms) - 1)]
    t = (problem.radius - norms[k - 1]) / (norms[k] - norms[k - 1])
    return (1 - t) * path[:, k - 1] + t * path[:, k]


def best_of_lasso_path(problem):
    """The point of the Lasso path on the rows with y > 0 that is closest to the truth: no user can choose as well."""
    rows = problem.y > 0
    _, _, path = lars_path(problem.X[rows], problem.y[rows], method="lasso")
    return path[:, np.argmin(np.linalg.norm(path - problem.coef[:, None], axis=0))]


def linear_regression_on_active_rows(problem):
    """Least squares on the rows with y > 0."""
    rows = problem.y > 0
    return LinearRegression(fit_intercept=False).fit(problem.X[rows], problem.y[rows]).coef_


def least_squares_random_start(problem):
    """`scipy.optimize.least_squares` on the ReLU model, its exact Jacobian, from N(0, I / d)."""
    X, y = problem.X, problem.y
    return least_squares(
        lambda w: np.maximum(X @ w, 0) - y,
        random_start(problem),
        jac=lambda w: X * (X @ w > 0)[:, None],
        method="lm",
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
    ).x


def lbfgs_random_start(problem):
    """L-BFGS on the ReLU loss, its exact gradient, from N(0, I / d)."""
    X, y = problem.X, problem.y

    def loss(w):
        z = X @ w
        residual = np.maximum(z, 0) - y
        return residual @ residual / 2, (residual * (z > 0)) @ X

    options = dict(maxiter=2000, maxfun=4000, ftol=1e-30, gtol=1e-12)
    return minimize(loss, random_start(problem), jac=True, method="L-BFGS-B", options=options).x


def random_start(problem):
    """Return a draw from N(0, I / d)."""
    d = len(problem.coef)
    return np.random.default_rng(problem.seed).standard_normal(d) / np.sqrt(d)


def oracle(problem):
    """Least squares on the true support and the rows with <w*, x> > 0: is told both."""
    return refit(problem, np.flatnonzero(problem.coef), problem.X @ problem.coef > 0)


def refit(problem, support, rows):
    """Return least squares on a support and some rows."""
    w = np.zeros_like(problem.coef)
    w[support] = np.linalg.lstsq(problem.X[np.ix_(rows, support)], problem.y[rows])[0]
    return w
