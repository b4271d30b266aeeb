"""The peers of the race, one start at a time, so that restarts can be timed and counted.

A trial is ``trial(problem, start, see)``: `start` numbers the random starts; `see`, where not None, is called in each
iteration with a function that returns the present fit. A trial returns the fit: weights, or a function, which is judged
by its predictions.
"""

from dataclasses import dataclass
from functools import partial

import network_peers
import numpy as np
import quadratic_peers
import two_layer_peers
from sklearn.neural_network import MLPRegressor

from skrelu.activations import get_activation

try:
    import torch
except ImportError:
    torch = None
try:
    from scnn import optimize as scnn
except ImportError:
    scnn = None

ADAM_EPOCHS, ADAM_BATCH, ADAM_RATE = 500, 256, 1e-2  # of torch; the rate falls to zero by a cosine
TORCH_ITERATIONS = 2000  # of its L-BFGS, on all rows
MLP_ADAM = {"solver": "adam", "learning_rate_init": 1e-2, "max_iter": 1000, "n_iter_no_change": 100}
MLP_LBFGS = {"solver": "lbfgs", "max_iter": 2000}
GATES = 500  # of the convex network
ZERO = 1e-20  # of the mean of y^2: the loss at which L-BFGS ends


@dataclass(frozen=True)
class Kind:
    """A kind of planted network, as its peers see it.

    Attributes
    ----------
    functions : callable problem -> (value, derivative) of the activation
    fitted : callable (problem, W, v) -> what ``problem.error`` takes of a network without biases
    in_torch : callable tensor -> tensor
    in_sklearn : str or None
        The name of the activation in `MLPRegressor`.
    by_function : bool
        Whether a network that has biases, too, is judged by its predictions, not by its weights.
    """

    functions: object
    fitted: object
    in_torch: object
    in_sklearn: str | None = None
    by_function: bool = True


def _relu(problem):
    activation = get_activation("relu")
    return activation.value, activation.derivative


def _of_problem(problem):
    return problem.activation.value, problem.activation.derivative


def _function(problem, W, v):
    return lambda X: problem.activation.value(X @ W.T) @ v


def _torch_relu(z):
    return z.relu()


ONE_RELU = Kind(_relu, lambda problem, W, v: (W * v[:, None]).ravel(), _torch_relu, "relu", by_function=False)
RELUS = Kind(_relu, lambda problem, W, v: W * np.abs(v)[:, None], _torch_relu, "relu")
TANH = Kind(_of_problem, _function, lambda z: z.tanh(), "tanh")
SQUARES = Kind(
    lambda problem: (np.square, lambda Z: 2 * Z),
    lambda problem, W, v: quadratic_peers.matrix(W, v),
    lambda z: z**2,
    by_function=False,
)
TWO_LAYERS = Kind(_of_problem, lambda problem, V, U: (V, U), _torch_relu, "relu", by_function=False)


def once(fit):
    """Return the trial of a method without random starts, ``fit(problem)``."""
    return lambda problem, start, see=None: fit(problem)


def _rng(problem, start):
    return np.random.default_rng([problem.seed, start, 7])


def _random_rows(problem, start, k):
    """Return k draws from N(0, I / d)."""
    d = problem.X.shape[1]
    return _rng(problem, start).standard_normal((k, d)) / np.sqrt(d)


def _watched(see, fitted):
    return None if see is None else lambda w: see(partial(fitted, w.copy()))


def signs_told(kind):
    """L-BFGS on the exact model, no biases, the output weights given: W alone is fitted."""
    losses = {RELUS: network_peers.loss_and_gradient, SQUARES: quadratic_peers.loss_and_gradient}

    def trial(problem, start, see=None):
        signs = problem.teacher.output_coef_
        loss = losses[kind] if kind in losses else network_peers.smooth_loss_and_gradient(problem.activation)

        def fitted(w):
            return kind.fitted(problem, w.reshape(len(signs), -1), signs)

        W = _random_rows(problem, start, len(signs))
        return fitted(network_peers.descend(problem, W, signs, loss=loss, zero=ZERO, callback=_watched(see, fitted))[0])

    return trial


def free_loss(value, derivative):
    """Return half the mean squared error of ``sum_j v_j a(<w_j, x>)`` and its gradient in W and v as a function."""

    def loss(w, X, y, units):
        W, v = w[: -len(units)].reshape(len(units), -1), w[-len(units) :]
        Z = X @ W.T
        H = value(Z)
        residual = H @ v - y
        G = (derivative(Z) * residual[:, None] * v).T @ X
        return residual @ residual / (2 * len(X)), np.concatenate([G.ravel(), H.T @ residual]) / len(X)

    return loss


def both_layers(kind):
    """L-BFGS on the exact model, no biases: W and v are fitted, v starts at random signs."""

    def trial(problem, start, see=None):
        k, loss = problem.n_hidden, free_loss(*kind.functions(problem))

        def fitted(w):
            return kind.fitted(problem, w[:-k].reshape(k, -1), w[-k:])

        v = _rng(problem, start + 1000).choice([-1.0, 1.0], k)
        begin = np.concatenate([_random_rows(problem, start, k).ravel(), v])
        return fitted(network_peers.descend(problem, begin, v, loss=loss, zero=ZERO, callback=_watched(see, fitted))[0])

    return trial


def one_relu(problem, start, see=None):
    """L-BFGS on one ReLU without bias, output weight 1."""
    w = _random_rows(problem, start, 1)
    options = dict(zero=ZERO, callback=_watched(see, np.ravel))
    return network_peers.descend(problem, w, np.ones(1), **options)[0].ravel()


def projected(problem, start, see=None):
    """Variable projection of two layers: L-BFGS over V, U at its least squares."""
    activation, units = problem.activation, np.ones(problem.n_hidden)

    def fitted(w):
        V = w.reshape(len(units), -1)
        return V, np.linalg.lstsq(activation.value(problem.X @ V.T), problem.y)[0].T

    options = two_layer_peers.TO_ROUNDING | dict(callback=_watched(see, fitted))
    V = _random_rows(problem, start, len(units))
    loss = two_layer_peers.projected(activation)
    return fitted(network_peers.descend(problem, V, units, loss=loss, **options)[0])


def joint(problem, start, see=None):
    """L-BFGS over both layers V and U."""
    V, units = _random_rows(problem, start, problem.n_hidden), np.ones(problem.n_hidden)
    U = two_layer_peers.output_layer(problem.activation.value(problem.X @ V.T), problem.y)

    def fitted(w):
        return two_layer_peers.parts(w, *V.shape)

    options = two_layer_peers.TO_ROUNDING | dict(callback=_watched(see, fitted))
    loss = two_layer_peers.joint(problem.activation)
    begin = np.concatenate([V.ravel(), U.ravel()])
    return fitted(network_peers.descend(problem, begin, units, loss=loss, **options)[0])


def mlp(kind, parameters):
    """`MLPRegressor` without weight decay, one start."""

    def trial(problem, start, see=None):
        k = getattr(problem, "n_hidden", 1)
        shape = dict(hidden_layer_sizes=(k,), activation=kind.in_sklearn)
        model = MLPRegressor(**shape, alpha=0, tol=1e-12, random_state=start, **parameters)
        if see is None or parameters["solver"] == "lbfgs":
            return _of_mlp(model.fit(problem.X, problem.y), problem, kind)()
        for _ in range(parameters["max_iter"]):
            see(_of_mlp(model.partial_fit(problem.X, problem.y), problem, kind))
        return _of_mlp(model, problem, kind)()

    return trial


def _of_mlp(model, problem, kind):
    (W, U), (b, c) = model.coefs_, model.intercepts_
    return partial(_with_biases, problem, kind, W.T.copy(), U.T.copy(), b.copy(), c.copy())


def _of_torch(problem, kind, first, second):
    layers = (first.weight, second.weight, first.bias, second.bias)
    return partial(_with_biases, problem, kind, *(A.detach().numpy().copy() for A in layers))


def _with_biases(problem, kind, W, U, b, c):
    """Return what ``problem.error`` takes of a network with biases."""
    if not kind.by_function:
        return kind.fitted(problem, W, U if kind is TWO_LAYERS else U.ravel())
    value, _ = kind.functions(problem)
    return lambda X: (value(X @ W.T + b) @ U.T + c)[:, 0]


def torch_lbfgs(kind):
    """L-BFGS of torch (strong Wolfe line search) on all rows in float64, layers and biases as `torch.nn.Linear`."""

    def trial(problem, start, see=None):
        first, second, forward, X, y = _in_torch(problem, kind, start)
        parameters = [*first.parameters(), *second.parameters()]
        optimizer = torch.optim.LBFGS(
            parameters,
            max_iter=TORCH_ITERATIONS,
            max_eval=2 * TORCH_ITERATIONS,
            tolerance_grad=1e-14,
            tolerance_change=1e-16,
            history_size=20,
            line_search_fn="strong_wolfe",
        )

        def closure():
            optimizer.zero_grad()
            loss = ((forward(X) - y) ** 2).mean() / 2
            loss.backward()
            if see is not None:
                see(_of_torch(problem, kind, first, second))
            return loss

        optimizer.step(closure)
        return _of_torch(problem, kind, first, second)()

    return trial


def torch_adam(kind):
    """Adam of torch on batches in float64, its rate falling to zero."""

    def trial(problem, start, see=None):
        first, second, forward, X, y = _in_torch(problem, kind, start)
        parameters = [*first.parameters(), *second.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=ADAM_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, ADAM_EPOCHS)
        for _ in range(ADAM_EPOCHS):
            for rows in torch.randperm(len(X)).split(ADAM_BATCH):
                optimizer.zero_grad()
                ((forward(X[rows]) - y[rows]) ** 2).mean().backward()
                optimizer.step()
            schedule.step()
            if see is not None:
                see(_of_torch(problem, kind, first, second))
        return _of_torch(problem, kind, first, second)()

    return trial


def _in_torch(problem, kind, start):
    """Return both layers, the function of the network, X and y."""
    torch.manual_seed(1000 * problem.seed + start)
    X, y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
    y = y[:, None] if y.ndim == 1 else y
    first = torch.nn.Linear(X.shape[1], getattr(problem, "n_hidden", 1), dtype=X.dtype)
    second = torch.nn.Linear(first.out_features, y.shape[1], dtype=X.dtype)
    return first, second, lambda X: second(kind.in_torch(first(X))), X, y


def convex(problem, start, see=None):
    """The convex network of `pyscnn` with gated ReLUs and without penalty."""
    model, _ = scnn.optimize("gated_relu", GATES, problem.X, problem.y[:, None], dtype="float64", seed=start)
    return lambda X: np.asarray(model(X)).ravel()
