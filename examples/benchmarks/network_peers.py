"""The peers of one hidden layer: what a user can install, or write in ten lines.

Each takes a `NetworkProblem`. The hand-written ones return weights; they know the model better than a user would: the
output weights, and that there are no biases. Those that return a function are judged by its predictions.
"""

import numpy as np
from scipy.optimize import minimize
from sklearn.neural_network import MLPRegressor

ZERO = 1e-7  # root mean square of the residual, over that of y, at which restarts end


def loss_and_gradient(w, X, y, signs):
    """Return half the mean squared error of ``sum_j v_j max(0, <w_j, x>)`` and its gradient, in two products."""
    Z = X @ w.reshape(len(signs), -1).T
    residual = np.maximum(Z, 0) @ signs - y
    G = ((Z > 0) * residual[:, None] * signs).T @ X
    return residual @ residual / (2 * len(X)), G.ravel() / len(X)


def smooth_loss_and_gradient(activation):
    """Return the same of ``sum_j v_j a(<w_j, x>)`` as a function, a an `Activation`."""

    def loss(w, X, y, signs):
        Z = X @ w.reshape(len(signs), -1).T
        residual = activation.value(Z) @ signs - y
        G = (activation.derivative(Z) * residual[:, None] * signs).T @ X
        return residual @ residual / (2 * len(X)), G.ravel() / len(X)

    return loss


def descend(problem, W, signs, ftol=1e-9, loss=loss_and_gradient, zero=1e-18, callback=None):
    """Return the end of L-BFGS from W, and half the mean squared error there in units of that of y.

    It ends when an iteration lowers the loss by less than `ftol` of itself, or by less than `zero` of the mean of y^2.
    After each iteration the callback gets the weights.
    """
    X, y = problem.X, problem.y
    unit = ftol / zero / np.mean(y**2)  # scipy multiplies ftol by the loss or 1, whichever is larger

    def f(w):
        value, gradient = loss(w, X, y, signs)
        return value * unit, gradient * unit

    options = dict(maxiter=2000, maxfun=4000, ftol=ftol, gtol=1e-12, maxcor=20)
    result = minimize(f, W.ravel(), jac=True, method="L-BFGS-B", options=options, callback=callback)
    return result.x.reshape(W.shape), result.fun * zero / ftol


def lbfgs(n_starts, width=1):
    """L-BFGS on the exact model from N(0, I / d), best of so many starts; the first without residual ends them.

    Is told the output weights. With `width` 2 there are two units for each planted one; such a network has no unique
    weights and is returned as a function. It may fit all rows and be another function between them.
    """

    def fit(problem):
        signs = np.repeat(problem.teacher.output_coef_, width)
        best = best_start(problem, signs, n_starts)
        return best if width == 1 else lambda X: np.maximum(X @ best.T, 0) @ signs

    return fit


def best_start(problem, signs, n_starts, **options):
    """Return the best end of L-BFGS from so many starts N(0, I / d); the first without residual ends them."""
    rng, d = np.random.default_rng(problem.seed), problem.X.shape[1]
    best, lowest = None, np.inf
    for _ in range(n_starts):
        W, value = descend(problem, rng.standard_normal((len(signs), d)) / np.sqrt(d), signs, **options)
        if value < lowest:
            best, lowest = W, value
        if lowest < ZERO**2 / 2:
            break
    return best


def lbfgs_smooth(n_starts):
    """`lbfgs` for the activation of the problem, returned as a function, to the accuracy at which skrelu ends."""

    def fit(problem):
        activation, signs = problem.activation, problem.teacher.output_coef_
        W = best_start(problem, signs, n_starts, loss=smooth_loss_and_gradient(activation), zero=1e-27)
        return lambda X: activation.value(X @ W.T) @ signs

    return fit


def lbfgs_from_the_truth(problem):
    """L-BFGS on the exact model from the planted weights."""
    return descend(problem, problem.teacher.hidden_coef_, problem.teacher.output_coef_, ftol=1e-15)[0]


def mlp(n_starts, activation="relu"):
    """The function of `best_mlp`."""

    def fit(problem):
        return best_mlp(problem, n_starts, activation).predict

    return fit


def best_mlp(problem, n_starts, activation="relu", zero=ZERO):
    """The best of so many starts of `MLPRegressor` by their training loss; the first without residual ends them.

    Not told anything but the number of units. Its L-BFGS ends when the loss falls by less than 2e-9 in an iteration, a
    constant of scikit-learn: the network may be the right one and the error still 1e-4.
    """
    best = None
    for start in range(n_starts):
        model = MLPRegressor(
            hidden_layer_sizes=(problem.n_hidden,),
            activation=activation,
            solver="lbfgs",
            alpha=0,
            tol=1e-12,
            max_iter=2000,
            random_state=start,
        ).fit(problem.X, problem.y)
        if best is None or model.loss_ < best.loss_:
            best = model
        if 2 * best.loss_ < zero**2 * np.mean(problem.y**2):
            break
    return best
