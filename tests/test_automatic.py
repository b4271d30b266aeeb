"""``alpha="auto"``: criterion, degrees of freedom, paths, averages, the choice itself and its predictive deviations."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrelu import OneHiddenLayerNet, OneHiddenLayerReLU, activations
from skrelu.activations import Activation, get_activation
from skrelu.criteria import INFLATION, LEAST_SHARE, generalised_cross_validation, spectral_degrees_of_freedom
from skrelu.datasets import make_one_hidden_layer
from skrelu.laplace import laplace, predictive_deviations
from skrelu.metrics import recovery_error
from skrelu.networks import OneHiddenLayer
from skrelu.networks.weights import Weights, averaged
from skrelu.rows import Rows
from skrelu.solvers import decay_path as decays
from skrelu.solvers.automatic import NEGLIGIBLE, PARSIMONY, SEARCHED
from skrelu.solvers.decay_path import Path, decay_path, path_network, random_path_start
from skrelu.solvers.hidden_layer import NEWTON_STALL, decay_in_user_units
from skrelu.solvers.loop import INTERRUPTED
from skrelu.whitening import whitening

IDENTITY = Activation(lambda z: z, np.ones_like, "identity")
smooth = pytest.mark.parametrize("activation", ["relu", "softplus"])
# Softplus units take many iterations.
invariant = pytest.mark.parametrize("activation", ["relu", pytest.param("softplus", marks=pytest.mark.slow)])
# Where softplus units run off to ever steeper ones, the fit says so.
quietly = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
BRIEF = {"n_init": 2}


def table(n=200, d=4, seed=0, noise=0.3):
    """Exponential columns, the last in two halves, so far from normal; a curved function, noisy and noiseless."""
    rng = np.random.default_rng(seed)
    X = rng.exponential(size=(n, d))
    X[:, -1] = X[:, -1] > np.log(2)
    f = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2]
    return X, f + noise * rng.standard_normal(n), f


def noisy_planted(n=300, d=6, k=3, seed=0, noise=0.1, **options):
    return make_one_hidden_layer(n, d, k, noise=noise, random_state=seed, **options)


def default(activation="relu", n_hidden="auto", **options):
    return OneHiddenLayerNet(n_hidden, activation=activation, random_state=0, **options)


def is_average(model):
    return "the average of" in model.stop_reason_


def r2(f, prediction):
    return 1 - np.mean((prediction - f) ** 2) / np.var(f)


# Criterion.


def test_the_criterion_is_leave_one_out_of_ridge_where_leverages_are_equal():
    """Columns of a Hadamard matrix: every leverage is p / (n + decay)."""
    H = np.array([[1.0]])
    for _ in range(4):
        H = np.block([[H, H], [H, -H]])
    X, y, decay = H[:, :5], np.random.default_rng(0).standard_normal(16), 3.0

    def ridge(A, b):
        return np.linalg.solve(A.T @ A + decay * np.eye(5), A.T @ b)

    kept = [np.arange(16) != i for i in range(16)]
    left_out = np.mean([(X[i] @ ridge(X[rest], y[rest]) - y[i]) ** 2 for i, rest in enumerate(kept)])
    mean_square = np.mean((X @ ridge(X, y) - y) ** 2)
    assert generalised_cross_validation(mean_square, 16 * 5 / (16 + decay), 16, 1.0) == pytest.approx(left_out)
    assert generalised_cross_validation(mean_square, 16 * 5 / (16 + decay), 16) > left_out


@pytest.mark.parametrize("mean_square", [0.0, 1e-300, 1.0])
def test_what_could_interpolate_any_targets_is_never_the_best(mean_square):
    for df in (10, 12, 1e9):
        assert generalised_cross_validation(mean_square, df, 10, 1.0) == np.inf
    assert generalised_cross_validation(mean_square, 10 / INFLATION, 10) == np.inf
    assert generalised_cross_validation(mean_square, 8, 10) < np.inf
    assert generalised_cross_validation(mean_square, 0, 10) == mean_square


@pytest.mark.parametrize("decay", [1e-3, 0.7, 1e3])
def test_spectral_degrees_of_freedom_are_the_trace_of_a_kronecker_product(decay):
    rng = np.random.default_rng(0)
    A, S = (B @ B.T for B in (rng.standard_normal((3, 2)), rng.standard_normal((4, 6))))
    K = np.kron(A, S)
    trace = np.trace(K @ np.linalg.inv(K + decay * np.eye(12)))
    assert spectral_degrees_of_freedom(np.linalg.eigvalsh(A), np.linalg.eigvalsh(S), decay) == pytest.approx(trace)


def test_without_decay_they_are_the_rank():
    assert spectral_degrees_of_freedom(np.array([2.0, 1.0, 0.0]), np.array([3.0, 1e-3]), 0.0) == 4
    assert spectral_degrees_of_freedom(np.array([-0.1, 1.0]), np.array([1.0, 1.0]), 0.5) == pytest.approx(4 / 3)


# Degrees of freedom of a network.


def linear_network(activation, alpha, *, fit_intercept, target_scale=1.7, n=50):
    """A network that is linear on its rows (ReLUs all awake), with its theta and weights."""
    rng = np.random.default_rng(0)
    X = np.abs(rng.standard_normal((n, 3))) @ np.array([[1, 0.3, 0.2], [0, 2, 0.1], [0, 0, 0.5]]) + 0.1
    s = rng.integers(1, 4, n).astype(float)
    rows = Rows(X, rng.standard_normal(n), s)
    hidden, v = np.abs(rng.standard_normal((2, 3))), np.array([1.5, -0.7])
    bias = np.array([0.3, 0.8]) * fit_intercept
    network = OneHiddenLayer(
        rows,
        activation,
        whitening(rows, centered=fit_intercept),
        v,
        fit_intercept=fit_intercept,
        alpha=alpha,
        free_output=True,
        target_scale=target_scale,
    )
    weights = Weights(hidden, bias, v, 0.2 * fit_intercept)
    return network, network.parameters(weights), weights, X, s / s.sum()


@pytest.mark.parametrize("alpha", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_degrees_of_freedom_of_awake_relus_are_those_of_ridge(alpha, fit_intercept):
    """``sum_j v_j w_j`` is one weight vector of decay ``alpha / |v|^2``; biases count as if they were penalised."""
    network, theta, weights, X, p = linear_network(activations.relu, alpha, fit_intercept=fit_intercept)
    centred = X - p @ X
    S = np.diag(p @ centred**2)
    C = (centred if fit_intercept else X).T @ (p[:, None] * (centred if fit_intercept else X))
    size = weights.output @ weights.output
    ridge = np.trace(C @ np.linalg.inv(C + alpha / size * S))
    biases = 1 + size / (size + alpha) if fit_intercept else 0
    assert network.degrees_of_freedom(theta) == pytest.approx(ridge + biases, rel=1e-10)


@pytest.mark.parametrize("alpha", [1e-2, 1.0])
def test_outputs_count_besides_where_the_activation_is_not_homogeneous(alpha):
    network, theta, weights, X, p = linear_network(IDENTITY, alpha, fit_intercept=False)
    t = network.target_scale
    C, S = X.T @ (p[:, None] * X), np.diag(p @ (X - p @ X) ** 2)
    # The v are in units of y, the w are not.
    size = weights.output @ weights.output
    ridge = np.trace(C @ np.linalg.inv(C + alpha / size * S))
    value = X @ weights.hidden.T
    A = value.T @ (p[:, None] * value)
    outputs = np.trace(A @ np.linalg.inv(A + alpha * np.eye(2)))
    assert network.degrees_of_freedom(theta) == pytest.approx(ridge + outputs, rel=1e-10)
    assert network.variant(target_scale=2 * t).degrees_of_freedom(
        network.variant(target_scale=2 * t).parameters(weights)
    ) == pytest.approx(ridge + outputs, rel=1e-10)


def exact_degrees_of_freedom(network, weights, X, alpha, *, by_output):
    """The trace of the Gauss-Newton smoother, of derivatives row by row."""
    centred = X - X.mean(axis=0)
    z = X @ weights.hidden.T + weights.hidden_bias
    D = network.activation.derivative(z) * weights.output
    J = (D[:, :, None] * np.column_stack([centred, np.ones(len(X))])[:, None, :]).reshape(len(X), -1)
    penalty = alpha * np.tile(np.append(X.var(axis=0), 1.0), len(weights.output))
    if by_output:
        J, penalty = np.column_stack([J, network.activation.value(z)]), np.append(penalty, np.full(z.shape[1], alpha))
    J, penalty = np.column_stack([J, np.ones(len(X))]), np.append(penalty, 0.0)
    G = J.T @ J / len(X)
    return np.trace(G @ np.linalg.inv(G + np.diag(penalty)))


@pytest.mark.parametrize("alpha", [3e-3, 3e-2, 0.3])
@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_degrees_of_freedom_are_nearly_exact_on_gaussian_data(name, alpha):
    rng = np.random.default_rng(1)
    X, activation = rng.standard_normal((3000, 8)) * np.arange(1, 9), get_activation(name)
    rows = Rows(X, rng.standard_normal(3000))
    hidden = rng.standard_normal((4, 8)) / np.arange(1, 9) / 8**0.5
    weights = Weights(hidden, 0.3 * rng.standard_normal(4), np.array([1.0, -1.0, 1.0, -1.0]), 0.0)
    options = {"alpha": alpha, "free_output": True}
    network = OneHiddenLayer(rows, activation, whitening(rows, centered=True), weights.output, **options)
    exact = exact_degrees_of_freedom(network, weights, X, alpha, by_output=name == "tanh")
    # Tanh units this steep are dependent of their slopes: the product counts up to a fifth too much, never too little.
    bounds = {"relu": (0.98, 1.13), "tanh": (0.98, 1.25)}[name]
    assert bounds[0] * exact <= network.degrees_of_freedom(network.parameters(weights)) <= bounds[1] * exact


def test_degrees_of_freedom_without_decay_are_the_weights_and_fall_with_it():
    network, theta, *_ = linear_network(activations.relu, 0.0, fit_intercept=True)
    assert network.degrees_of_freedom(theta) == network.n_weights == 9
    found = [network.variant(alpha=alpha).degrees_of_freedom(theta) for alpha in (1e-3, 1e-2, 0.1, 1.0, 1e9)]
    assert np.all(np.diff(found) < 0)
    assert found[-1] == pytest.approx(1, abs=1e-6)


# Paths.


def path_of(criteria, n=100):
    rows = SimpleNamespace(weight_sum=float(n))
    return Path(networks=[SimpleNamespace(rows=rows)] * len(criteria), criteria=list(criteria))


def test_shares_follow_the_criterion_and_sum_to_one():
    criteria = np.array([1.3, 1.0, 1.05, 1e6, np.inf])
    shares = path_of(criteria).shares()
    raw = criteria ** (-decays.TEMPERATURE * 100 / 2)
    expected = np.maximum(raw / raw.sum() - decays.LEAST_COUNT, 0)
    np.testing.assert_allclose(shares, expected / expected.sum(), rtol=1e-12)
    assert shares.sum() == pytest.approx(1)
    assert np.all(shares[:3] > 0)
    np.testing.assert_array_equal(shares[3:], 0)
    assert np.argmax(shares) == 1
    # More rows tell more.
    assert path_of(criteria, 10_000).shares()[1] == pytest.approx(1)
    np.testing.assert_allclose(path_of(criteria[:3], 0.001).shares(), 1 / 3, rtol=1e-3)


def test_shares_where_every_criterion_is_infinite_are_those_of_the_simplest():
    path = path_of([np.inf] * 3)
    np.testing.assert_array_equal(path.shares(), [1, 0, 0])
    assert path.best == 0
    assert not path.is_falling
    assert not path.has_passed


def test_shares_of_wild_criteria_are_finite():
    for criteria, n in (([1e-32, 1.0], 1e9), ([1.0, 1e-32], 1e9), ([1e300, np.inf, 1e-30], 5)):
        shares = path_of(criteria, n).shares()
        assert shares.sum() == pytest.approx(1)
        assert np.argmax(shares) == np.argmin(criteria)


def test_best_falling_and_passed():
    assert path_of([3, 1, 2]).best == 1
    assert path_of([3, 1, 1]).best == 1
    assert path_of([3, 2, 1]).is_falling
    assert not path_of([3, 1, 2]).is_falling
    assert not path_of([3, 1, 1]).is_falling
    far = np.exp(decays.BEYOND / 100)
    assert path_of([3, 1, 1.001 * far]).has_passed
    assert not path_of([3, 1, 0.999 * far]).has_passed
    assert not path_of([3, 1, 1.001 * far], 99).has_passed
    assert path_of([3, 1, np.inf]).has_passed


def small_path(monkeypatch, criteria=None, *, activation="relu", max_iter=1000, n=60, **options):
    """A path on a small table, its criterion replaced by given numbers; the last one is repeated."""
    X, y, _ = table(n, 3)
    rows = Rows(X, 7 * y + 100)
    network = OneHiddenLayer(rows, get_activation(activation), whitening(rows, centered=True), np.ones(3))
    if criteria is not None:
        given = iter(criteria)

        def told(*args):
            return next(given)

        monkeypatch.setattr(decays, "generalised_cross_validation", told)
    rng = np.random.RandomState(0)
    start = random_path_start(network, rng)
    return decay_path(path_network(network), start, rng, max_iter=max_iter, **options), network


@smooth
def test_decays_start_at_first_and_decrease_by_a_factor(monkeypatch, activation):
    path, network = small_path(monkeypatch, n_decays=6, activation=activation)
    alphas = np.array([stage.alpha for stage in path.networks])
    unit = np.std(network.rows.sum(lambda X, y, s: (y,))[0])
    relative = alphas / unit if activation == "relu" else alphas
    np.testing.assert_allclose(relative, decays.FIRST * decays.FACTOR ** -np.arange(6.0), rtol=1e-10)
    # What counts beside half the mean squared error with y in units of its standard deviation.
    for stage, expected in zip(path.networks, relative, strict=True):
        np.testing.assert_allclose(stage.decays, expected, rtol=1e-10)
    assert decay_in_user_units(path_network(network), decays.FIRST) == pytest.approx(alphas[0])


def n_decays_to(last):
    return 1 + int(np.floor(np.log(decays.FIRST / last) / np.log(decays.FACTOR)))


def test_a_path_goes_on_while_the_criterion_falls_and_ends_at_the_last_decay_where_it_does_not(monkeypatch):
    to_last, to_least = n_decays_to(decays.LAST), n_decays_to(decays.LEAST)
    assert to_last < to_least
    falling = 0.9 ** np.arange(100)
    assert len(small_path(monkeypatch, falling, max_iter=1)[0].thetas) == to_least
    rising = np.append(0.9 ** np.arange(5), [0.9**4 * 1.01] * 100)
    assert len(small_path(monkeypatch, rising, max_iter=1)[0].thetas) == to_last
    # It falls to below LAST, then rises: that is the end.
    turning = np.append(falling[: to_last + 4], [1.0] * 100)
    assert len(small_path(monkeypatch, turning, max_iter=1)[0].thetas) == to_last + 5
    # The same number again and again is no fall.
    assert len(small_path(monkeypatch, np.ones(100), max_iter=1)[0].thetas) == to_last
    assert len(small_path(monkeypatch, [np.inf] * 100, max_iter=1)[0].thetas) == to_last


def test_a_path_ends_where_what_follows_would_not_count(monkeypatch):
    far = np.exp(decays.BEYOND / 60)
    path, _ = small_path(monkeypatch, [1.0, 0.5, 0.49 * far, 0.51 * far, 0.1, 0.1])
    assert path.criteria == [1.0, 0.5, 0.49 * far, 0.51 * far]
    assert path.best == 1
    assert not path.stop_reason


@pytest.mark.parametrize("n_decays", [1, 3, 25])
def test_a_number_of_decays_is_kept_whatever_the_criterion(monkeypatch, n_decays):
    path, _ = small_path(monkeypatch, [1.0, 0.1] + [np.inf] * 30, n_decays=n_decays, max_iter=5)
    assert len(path.thetas) == len(path.networks) == len(path.criteria) == n_decays


@smooth
def test_criteria_of_a_path_by_slow_formulas(monkeypatch, activation):
    """``mse / (1 - 1.2 df / n)^2`` of the weights in the user's units, df the trace of a Kronecker product."""
    path, network = small_path(monkeypatch, activation=activation)
    X, y = network.rows.sum(lambda X, y, s: (X, y))
    C = np.cov(X.T, ddof=0)
    unit, a = y.std(), network.activation
    assert len(path.thetas) >= n_decays_to(decays.LAST)
    assert np.isfinite(path.criteria[-1])
    for stage, theta, found in zip(path.networks, path.thetas, path.criteria, strict=True):
        weights = stage.weights(theta)
        z = X @ weights.hidden.T + weights.hidden_bias
        residual = a.value(z) @ weights.output + weights.output_bias - y
        D = a.derivative(z) * weights.output
        # A homogeneous unit in the user's units has the penalty of y in its units; of others w counts times var(y).
        decay = stage.alpha if activation == "relu" else stage.alpha * unit**2
        K = np.kron(D.T @ D / len(y), np.block([[C, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]]))
        P = decay * np.diag(np.tile(np.append(np.diag(C), 1.0), 3))
        df = 1 + np.trace(K @ np.linalg.inv(K + P))
        if activation == "softplus":
            A = a.value(z).T @ a.value(z) / len(y)
            df += np.trace(A @ np.linalg.inv(A + stage.alpha * np.eye(3)))
        expected = np.mean(residual**2) / (1 - 1.2 * df / len(y)) ** 2
        assert found * unit**2 == pytest.approx(expected, rel=1e-6)


def test_stages_start_where_the_one_before_ended(monkeypatch):
    """The objective of the next decay starts below where the one before ended: the penalty has fallen."""
    path, _ = small_path(monkeypatch, n_decays=8)
    for (stage, theta), after in zip(
        zip(path.networks[1:], path.thetas[:-1], strict=True), path.thetas[1:], strict=True
    ):
        assert stage.value_and_gradient(after)[0] < stage.value_and_gradient(theta)[0]
    assert len(path.objectives) <= 8 * decays.ITERATIONS
    started, original = [], decays.early_stopped

    def told(network, theta):
        started.append(theta.copy())
        return original(network, theta)

    monkeypatch.setattr(decays, "early_stopped", told)
    path, _ = small_path(monkeypatch, n_decays=8)
    moved = [np.linalg.norm(start - end) for start, end in zip(started[1:], path.thetas[:-1], strict=True)]
    from_start = [np.linalg.norm(start - started[0]) for start in started[1:]]
    assert max(moved) < 0.1 * min(from_start)
    budget, _ = small_path(monkeypatch, n_decays=8, max_iter=20)
    assert len(budget.objectives) <= 20 + 8


# Averages.


@pytest.mark.parametrize("activation", ["relu", "softplus", "squared_relu", "tanh"])
def test_an_average_predicts_the_mean_of_the_predictions(activation):
    rng, a = np.random.default_rng(0), get_activation(activation)

    def predict(part, X):
        return a.value(X @ part.hidden.T + part.hidden_bias) @ part.output + part.output_bias

    parts = [
        Weights(rng.standard_normal((k, 4)), rng.standard_normal(k), rng.standard_normal(k), rng.standard_normal())
        for k in (3, 1, 5)
    ]
    shares, X = np.array([0.5, 0.2, 0.3]), rng.standard_normal((50, 4))
    mean = sum(share * predict(part, X) for share, part in zip(shares, parts, strict=True))
    total = averaged(parts, shares, a)
    assert len(total.output) == 9
    np.testing.assert_allclose(predict(total, X), mean, rtol=0, atol=1e-13)


@smooth
def test_the_default_is_the_average_of_its_paths(monkeypatch, activation):
    """Of every network of every path, by its share: seen from outside."""
    paths = []

    def kept(*args, **options):
        paths.append(decay_path(*args, **options))
        return paths[-1]

    monkeypatch.setattr("skrelu.solvers.automatic.decay_path", kept)
    X, y, _ = table()
    model = default(activation).fit(X, y)
    assert is_average(model)
    assert len(paths) == 3
    a, mean, n_parts = get_activation(activation), 0.0, 0
    best = min(paths, key=lambda path: min(path.criteria))
    counts = np.array([max(2 - min(path.criteria) / min(best.criteria), 0) for path in paths])
    for path, count in zip(paths, counts / counts.sum(), strict=True):
        assert len(path.thetas) == len(model.alphas_)
        for stage, theta, share in zip(path.networks, path.thetas, count * path.shares(), strict=True):
            w = stage.weights(theta)
            assert w.hidden.shape == (decays.WIDTH, 4)
            mean = mean + share * (a.value(X @ w.hidden.T + w.hidden_bias) @ w.output + w.output_bias)
            n_parts += share > 0
    np.testing.assert_allclose(model.predict(X), mean, rtol=0, atol=1e-7 * y.std())
    assert f"the average of {n_parts} networks along 3 paths of decreasing weight decay" in model.stop_reason_
    assert model.n_iter_ == sum(len(path.objectives) for path in paths)
    np.testing.assert_allclose(model.criterion_, np.var(y) * np.array(best.criteria))
    # The noise is that of the residual, with the degrees of freedom of the best network.
    noise = 2 * model.loss_ / (1 - INFLATION * best.degrees[best.best] / len(y))
    assert model._laplace["noise"] * model._laplace["unit"] ** 2 == pytest.approx(noise, rel=1e-9)
    assert model.alpha_ == model.alphas_[np.argmin(model.criterion_)]
    size = np.linalg.norm(model.hidden_coef_ * X.std(axis=0), axis=1) * np.abs(model.output_coef_)
    assert size.min() > NEGLIGIBLE * size.max()


@smooth
def test_attributes_of_an_average(activation):
    X, y, f = table()
    model = default(activation).fit(X, y)
    assert is_average(model)
    assert model.converged_ is True
    assert len(model.hidden_coef_) > 20
    assert model.hidden_coef_.shape == (len(model.output_coef_), 4)
    assert model.alpha_ > 0
    assert np.all(np.diff(model.alphas_) < 0)
    assert model.criterion_.shape == model.alphas_.shape
    assert model.loss_ == pytest.approx(np.mean((model.predict(X) - y) ** 2) / 2)
    assert len(model.loss_curve_) == model.n_iter_
    # The criterion estimates the error on new rows: noise, and what the fit misses.
    fresh, _, truth = table(5000, seed=1)
    error = np.mean((model.predict(fresh) - truth) ** 2) + 0.09
    assert 0.5 * error < model.criterion_.min() < 2 * error
    assert r2(f, model.predict(X)) > 0.9


def test_numbers_have_neither_decays_nor_criteria():
    X, y, _ = table(80)
    model = default(n_hidden=2).fit(X, y)
    assert model.alphas_.size > 1
    model = default(n_hidden=2, alpha=0.05).fit(X, y)
    assert model.alpha_ == 0.05
    assert not hasattr(model, "alphas_")
    model = default(n_hidden=2, solver="gd", max_iter=5, tol=0).fit(X, y)
    assert model.alpha_ == 0
    assert not hasattr(model, "criterion_")


@smooth
def test_with_given_units_the_best_network_is_kept_and_polished(activation):
    """Its criterion, recomputed from the fitted attributes alone; the stage that chose it stops early."""
    X, y, _ = table()
    model = default(activation, 3).fit(X, y)
    best = np.argmin(model.criterion_)
    assert model.alpha_ == model.alphas_[best] > 0
    assert model.hidden_coef_.shape == (3, 4)
    assert model.converged_
    S, a, n, var = X.var(axis=0), get_activation(activation), len(y), np.var(y)
    w, v = model.hidden_coef_, model.output_coef_
    z = X @ w.T + model.hidden_intercept_
    D = a.derivative(z) * v
    if activation == "relu":  # balanced: output and weights of equal size
        D = D * np.linalg.norm(w * np.sqrt(S), axis=1) ** 0.5
    decay = model.alpha_ * (1 if activation == "relu" else var)
    correlations = np.append(np.linalg.eigvalsh(np.corrcoef(X.T)), 1.0)
    df = 1 + spectral_degrees_of_freedom(np.linalg.eigvalsh(D.T @ D / n), correlations, decay)
    if activation == "softplus":
        A = a.value(z).T @ a.value(z) / n
        df += spectral_degrees_of_freedom(np.linalg.eigvalsh(A), np.ones(1), model.alpha_)
    expected = np.mean((model.predict(X) - y) ** 2) / (1 - INFLATION * df / n) ** 2
    assert model.criterion_[best] == pytest.approx(expected, rel=0.03)


# What must not matter.


@quietly
@invariant
@pytest.mark.parametrize("n_hidden", ["auto", pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("factor", [1e-6, pytest.param(37.0, marks=pytest.mark.slow)])
def test_the_unit_of_y_does_not_matter(activation, n_hidden, factor):
    X, y, _ = table()
    plain, scaled = (
        default(activation, n_hidden, **BRIEF).fit(X, y),
        default(activation, n_hidden, **BRIEF).fit(X, factor * y),
    )
    tol = 1e-6
    np.testing.assert_allclose(scaled.predict(X) / factor, plain.predict(X), rtol=0, atol=tol * y.std())
    assert scaled.alpha_ == pytest.approx(plain.alpha_ * (factor if activation == "relu" else 1), rel=1e-9)
    np.testing.assert_allclose(scaled.criterion_ / factor**2, plain.criterion_, rtol=1e-6)


@quietly
@invariant
@pytest.mark.parametrize("n_hidden", ["auto", pytest.param(3, marks=pytest.mark.slow)])
def test_scales_and_shifts_of_the_columns_do_not_matter(activation, n_hidden):
    X, y, _ = table()
    # The shift rounds the first column to three digits less.
    Z = X * 10.0 ** np.linspace(-3, 3, 4) + [1.0, -5.0, 30.0, 100.0]
    plain, other = default(activation, n_hidden, **BRIEF).fit(X, y), default(activation, n_hidden, **BRIEF).fit(Z, y)
    np.testing.assert_allclose(other.predict(Z), plain.predict(X), rtol=0, atol=1e-4 * y.std())
    assert other.alpha_ == plain.alpha_


@quietly
@invariant
@pytest.mark.parametrize("n_hidden", ["auto", pytest.param(3, marks=pytest.mark.slow)])
def test_a_constant_is_added_to_the_predictions(activation, n_hidden):
    X, y, _ = table()
    plain, other = (
        default(activation, n_hidden, **BRIEF).fit(X, y),
        default(activation, n_hidden, **BRIEF).fit(X, y + 50),
    )
    np.testing.assert_allclose(other.predict(X) - 50, plain.predict(X), rtol=0, atol=1e-6 * y.std())
    assert other.alpha_ == pytest.approx(plain.alpha_, rel=1e-9)


@quietly
@invariant
@pytest.mark.parametrize("n_hidden", ["auto", pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("normal", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_integer_weights_are_repetitions_in_any_order(activation, n_hidden, normal):
    X, y, _ = table(150) if not normal else (*noisy_planted(150, 4, 2, noise=0.5), None)
    s = np.random.default_rng(1).integers(0, 4, 150).astype(float)
    rows = np.random.default_rng(2).permutation(np.repeat(np.arange(150), s.astype(int)))
    weighted = default(activation, n_hidden, **BRIEF).fit(X, y, s)
    repeated = default(activation, n_hidden, **BRIEF).fit(X[rows], y[rows])
    assert repeated.converged_ == weighted.converged_
    # Where weights run off, Newton steps end when the objective falls by less than NEWTON_STALL of itself: half the
    # mean square of what predictions still move.
    tol = 1e-6 if weighted.converged_ else NEWTON_STALL**0.5
    np.testing.assert_allclose(repeated.predict(X), weighted.predict(X), rtol=0, atol=tol * y.std())
    assert repeated.alpha_ == pytest.approx(weighted.alpha_, rel=1e-9)
    assert len(repeated.hidden_coef_) == len(weighted.hidden_coef_)
    for a, b in zip(repeated.predict(X, return_std=True), weighted.predict(X, return_std=True), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tol * y.std())
    plain = default(activation, n_hidden, **BRIEF).fit(X, y)
    assert np.abs(plain.predict(X) - weighted.predict(X)).max() > 1e-3 * y.std()


@quietly
@invariant
@pytest.mark.parametrize("n_hidden", ["auto", pytest.param(3, marks=pytest.mark.slow)])
def test_the_order_of_rows_does_not_matter_and_the_same_fit_twice_is_the_same(activation, n_hidden):
    X, y, _ = table(150)
    order = np.random.default_rng(3).permutation(150)
    plain = default(activation, n_hidden, **BRIEF).fit(X, y)
    other = default(activation, n_hidden, **BRIEF).fit(X[order], y[order])
    np.testing.assert_allclose(other.predict(X), plain.predict(X), rtol=0, atol=1e-6 * y.std())
    again = default(activation, n_hidden, **BRIEF).fit(X, y)
    np.testing.assert_array_equal(again.hidden_coef_, plain.hidden_coef_)


@pytest.mark.slow
@pytest.mark.parametrize("n_hidden", ["auto", 3])
def test_sparse_and_single_precision(n_hidden):
    X, y, _ = table(150)
    X = X * (np.random.default_rng(4).random(X.shape) < 0.7)
    plain = default("relu", n_hidden).fit(X, y)
    thin = default("relu", n_hidden).fit(sparse.csr_array(X), y)
    np.testing.assert_allclose(thin.predict(sparse.csr_array(X)), plain.predict(X), rtol=0, atol=1e-6)
    single = default("relu", n_hidden).fit(X.astype(np.float32), y.astype(np.float32))
    assert single.hidden_coef_.dtype == single.predict(X.astype(np.float32)).dtype == np.float32
    expected, std = plain.predict(X, return_std=True)
    # Where units are parted on the way, rounding decides where they go: another average, well within its uncertainty.
    atol = std if n_hidden == "auto" else 0.02 * y.std()
    assert np.all(np.abs(single.predict(X.astype(np.float32)) - expected) <= atol)


@pytest.mark.parametrize("stop", ["callback", "user"])
@pytest.mark.parametrize("n_hidden", ["auto", 3])
def test_what_stops_the_paths_is_told(monkeypatch, n_hidden, stop):
    """After the first path: what it found is kept, and no other begins."""
    n_paths = 0

    def counted(*args, **options):
        nonlocal n_paths
        n_paths += 1
        if n_paths == 2 and stop == "user":
            raise KeyboardInterrupt
        return decay_path(*args, **options)

    monkeypatch.setattr("skrelu.solvers.automatic.decay_path", counted)
    X, y, _ = table(100)
    model = default(n_hidden=n_hidden)
    if stop == "callback":
        model.set_callbacks(StopAtPath())
    with pytest.warns(ConvergenceWarning, match="interrupted by the user" if stop == "user" else "by a callback"):
        model.fit(X, y)
    assert n_paths <= 2
    assert not model.converged_
    assert np.all(np.isfinite(model.predict(X)))


class StopAtPath:
    """A callback that stops at the end of the first path."""

    def setup(self, estimator, context):
        """Nothing to set up."""

    def teardown(self, estimator, context):
        """Nothing to tear down."""

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        """Nothing to do."""

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        """Stop."""
        return context.task_name == "path"


@pytest.mark.parametrize("n_hidden", ["auto", 3])
@smooth
def test_units_of_a_constant_y_are_zero(activation, n_hidden):
    X, y, _ = table(50)
    model = default(activation, n_hidden).fit(X, np.full_like(y, 7.0))
    np.testing.assert_allclose(model.predict(2 * X), 7, rtol=1e-12)
    assert not np.any(model.hidden_coef_)
    assert model.converged_


def test_a_criterion_is_falling_if_two_decays_lower_it_by_the_stated_share():
    for criteria, falling in [([1.0, 0.97, 0.9], False), ([1.0, 0.97, 0.84], True), ([1.0, 0.8, 0.84], False)]:
        assert Path(criteria=criteria).is_falling == falling


def test_an_interruption_of_the_first_path_leaves_what_was_before_it(monkeypatch):
    """The mean of y, or the network without weight decay where it comes first."""

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("skrelu.solvers.automatic.decay_path", interrupted)
    X, y, _ = table(100)
    with pytest.warns(ConvergenceWarning, match="interrupted by the user"):
        model = default().fit(X, y)
    np.testing.assert_allclose(model.predict(X), y.mean(), rtol=1e-12)
    X, y = noisy_planted(100)
    with pytest.warns(ConvergenceWarning, match="interrupted by the user"):
        model = default(n_hidden=3, **BRIEF).fit(X, y)
    assert model.alpha_ == 0
    assert r2(y, model.predict(X)) > 0.9


@pytest.mark.parametrize("n_judged", [0, 2])
def test_an_interruption_between_two_decays_keeps_the_networks_before(monkeypatch, n_judged):
    def criteria():
        yield from [1.0] * n_judged
        raise KeyboardInterrupt

    path, _ = small_path(monkeypatch, criteria(), max_iter=50)
    assert path.stop_reason == INTERRUPTED
    lists = path.networks, path.thetas, path.criteria, path.degrees
    assert [len(told) for told in lists] == [max(n_judged, 1)] * 4
    assert np.isfinite(path.networks[path.best].value_and_gradient(path.thetas[path.best])[0])
    assert path.shares().sum() == pytest.approx(1)


# The choice.


def test_pure_noise_is_left_alone():
    """The mean squared prediction about the true mean, 0, is a few hundredths of the noise."""
    sizes = []
    for seed in range(4):
        X, y = table(200, 5, seed)[0], np.random.default_rng(100 + seed).standard_normal(200)
        sizes.append(np.mean(default().fit(X, y).predict(X) ** 2))
        model = default(n_hidden=3).fit(X, y)
        assert model.alpha_ > 0.01
    # The mean alone costs 1/200, a linear function with five columns 6/200.
    assert np.mean(sizes) < 0.04, sizes


@pytest.mark.parametrize("n_seeds", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_a_linear_function_is_fitted_as_well_as_by_ridge(n_seeds):
    """Over the seeds the mean of R2 on new rows against the noiseless function is not lower by 0.01."""
    differences = []
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        X, w = table(2200, 6, seed)[0], rng.standard_normal(6)
        y = X @ w + rng.standard_normal(2200) * np.linalg.norm(w) / 2
        ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 25)))
        scores = [r2(X[200:] @ w, model.fit(X[:200], y[:200]).predict(X[200:])) for model in (default(), ridge)]
        differences.append(scores[0] - scores[1])
    assert np.mean(differences) > -0.01, differences


@pytest.mark.slow
@pytest.mark.parametrize("n_seeds", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_a_network_that_could_interpolate_any_targets_is_not_kept_where_all_others_could_too(n_seeds):
    """Few rows of normal columns: over the seeds the mean of R2 is not 0.05 below that of ridge."""
    differences = []
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        X, w = rng.standard_normal((2040, 30)), rng.standard_normal(30)
        y = X @ w / np.linalg.norm(w) + 0.3 * rng.standard_normal(2040)
        model, ridge = default().fit(X[:40], y[:40]), RidgeCV(np.logspace(-3, 3, 13)).fit(X[:40], y[:40])
        assert model.alpha_ > 0
        differences.append(r2(y[40:], model.predict(X[40:])) - r2(y[40:], ridge.predict(X[40:])))
    assert np.mean(differences) > -0.05, differences


@pytest.mark.parametrize("n_hidden", ["auto", 3])
def test_noiseless_planted_networks_are_recovered_without_decay(n_hidden):
    for seed in range(3):
        X, y, teacher = make_one_hidden_layer(500, 8, 3, return_teacher=True, random_state=seed)
        model = default(n_hidden=n_hidden).fit(X, y)
        assert model.alpha_ == 0
        assert model.alphas_.tolist() == [0]
        assert model.criterion_[0] < 1e-20
        assert recovery_error(teacher.hidden_coef_, model.hidden_coef_) < 1e-10
        assert not is_average(model)


@pytest.mark.slow
@pytest.mark.parametrize("n_seeds", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_planted_networks_with_noise_are_found(n_seeds):
    """(n, d, k) = (1000, 20, 5), noise of a tenth of y: no decay, five units, and the fit is that of alpha=0."""
    n_right = 0
    for seed in range(n_seeds):
        X, y = make_one_hidden_layer(1000, 20, 5, noise=0.12, random_state=seed)
        model = OneHiddenLayerReLU(random_state=seed).fit(X, y)
        n_right += model.alpha_ == 0 and len(model.hidden_coef_) == 5
        if seed == 0:
            plain = OneHiddenLayerReLU(alpha=0, random_state=seed).fit(X, y)
            np.testing.assert_allclose(model.predict(X), plain.predict(X), rtol=0, atol=1e-8)
            assert model.alphas_.size > 1
            assert model.criterion_[-1] <= (1 + PARSIMONY) * model.criterion_.min()
    assert n_right >= n_seeds - 1


def test_the_network_without_decay_is_judged_by_its_number_of_weights():
    X, y = noisy_planted(300, 6, 3)
    model = default(n_hidden=3).fit(X, y)
    assert model.alpha_ == model.alphas_[-1] == 0
    expected = 2 * model.loss_ / (1 - INFLATION * (3 * 7 + 1) / 300) ** 2
    assert model.criterion_[-1] == pytest.approx(expected, rel=1e-3)


@quietly
def test_its_weights_count_twice_where_the_columns_are_not_normal():
    """One start, so that it is tried there, too."""
    X, y, _ = table()
    W = np.random.default_rng(5).standard_normal((3, 4))
    model = default(init=W, max_iter=300).fit(X, y)
    plain = default(init=W, max_iter=300, alpha=0).fit(X, y)
    assert model.alphas_[-1] == 0
    expected = 2 * plain.loss_ / (1 - SEARCHED * (3 * 5 + 1) / 200) ** 2
    assert model.criterion_[-1] == pytest.approx(expected, rel=0.03)


def test_no_residual_on_fewer_rows_than_weights_is_no_proof():
    """53 weights interpolate the noise of 30 rows: decay is chosen all the same."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 12)), rng.standard_normal(30)
    assert default(n_hidden=4, alpha=0).fit(X, y).loss_ < 1e-20
    model = default(n_hidden=4).fit(X, y)
    assert model.alpha_ > 0
    assert model.criterion_[-1] == np.inf


def uniform_planted(seed, n=600, d=8):
    rng = np.random.default_rng(seed)
    X, W = rng.uniform(-2, 2, (n, d)), rng.standard_normal((3, d))
    W /= np.linalg.norm(W, axis=1)[:, None]
    return X, np.maximum(X @ W.T, 0) @ [1.0, -1.0, 1.0], W


def test_noiseless_networks_on_columns_that_are_not_normal():
    """The paths fall to their end, which leads to the search without decay; its residual is zero."""
    n_found = 0
    for seed in range(3):
        X, y, W = uniform_planted(seed)
        model = default(n_hidden=3).fit(X, y)
        n_found += model.alpha_ == 0 and recovery_error(W, model.hidden_coef_) < 1e-10
    assert n_found == 3


def test_the_criterion_of_an_average_is_not_below_its_residual():
    """No noise here, and 12 units could fit: what the average leaves is its own error, on new rows more."""
    X, y, _ = uniform_planted(0)
    model = default().fit(X, y)
    assert model.criterion_.min() >= 2 * model.loss_


def test_diabetes_better_than_ridge():
    X, y = load_diabetes(return_X_y=True)
    folds = KFold(5, shuffle=True, random_state=0)
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 4, 30)))
    assert cross_val_score(default(), X, y, cv=folds).mean() > cross_val_score(ridge, X, y, cv=folds).mean()


def test_a_given_start_has_one_path_and_one_from_the_network_without_decay(monkeypatch):
    n_paths = 0

    def counted(*args, **options):
        nonlocal n_paths
        n_paths += 1
        return decay_path(*args, **options)

    monkeypatch.setattr("skrelu.solvers.automatic.decay_path", counted)
    X, y, _ = table()
    W = np.random.default_rng(5).standard_normal((3, 4))
    model = OneHiddenLayerReLU(init=W, random_state=0).fit(X, y)
    assert n_paths == 2
    assert model.hidden_coef_.shape == (3, 4)
    assert not is_average(model)


@pytest.mark.parametrize("n_hidden", ["auto", pytest.param(3, marks=pytest.mark.slow)])
def test_n_init_bounds_the_paths(monkeypatch, n_hidden):
    n_paths = 0

    def counted(*args, **options):
        nonlocal n_paths
        n_paths += 1
        return decay_path(*args, **options)

    monkeypatch.setattr("skrelu.solvers.automatic.decay_path", counted)
    X, y, _ = table(100)
    default(n_hidden=n_hidden, n_init=1).fit(X, y)
    once = n_paths
    default(n_hidden=n_hidden, n_init=10).fit(X, y)
    assert n_paths - once == once + 2


# Predictive deviations.


@pytest.mark.parametrize("alpha", ["auto", pytest.param(0.0, marks=pytest.mark.slow)])
def test_intervals_of_new_targets_cover_as_they_should(alpha):
    covered = []
    for seed in range(5):
        X, y = noisy_planted(3000, 10, 3, seed)
        model = OneHiddenLayerReLU(alpha=alpha, random_state=seed).fit(X[:1000], y[:1000])
        mean, std = model.predict(X[1000:], return_std=True)
        covered.append(np.mean(np.abs(y[1000:] - mean) < 1.96 * std))
        assert 0.09 < np.median(std) < 0.115
    assert 0.93 < np.mean(covered) < 0.97, covered
    assert 0.92 < min(covered) <= max(covered) < 0.98, covered


@pytest.mark.slow
def test_intervals_of_averages_cover_as_they_should():
    covered = []
    for seed in range(4):
        X, y, _ = table(1600, seed=seed)
        model = default().fit(X[:400], y[:400])
        assert is_average(model)
        mean, std = model.predict(X[400:], return_std=True)
        covered.append(np.mean(np.abs(y[400:] - mean) < 1.96 * std))
    assert 0.9 < np.mean(covered) < 0.995, covered


def test_without_noise_nothing_is_uncertain():
    X, y = make_one_hidden_layer(500, 8, 3, random_state=0)
    model = default(n_hidden=3).fit(X, y)
    mean, std = model.predict(X, return_std=True)
    np.testing.assert_array_equal(mean, model.predict(X))
    assert std.shape == y.shape
    assert std.max() < 1e-12


@quietly
@invariant
@pytest.mark.parametrize("n_hidden", ["auto", 3])
def test_deviations_are_larger_far_from_the_data(activation, n_hidden):
    X, y, _ = table()
    model = default(activation, n_hidden, **BRIEF).fit(X, y)
    near, far, remote = (model.predict(X.mean(axis=0) + c * (X - X.mean(axis=0)), True)[1] for c in (1, 10, 1000))
    assert np.mean(far) > 1.5 * np.mean(near)
    assert np.mean(remote) > 10 * np.mean(far)
    noise = np.sqrt(model._laplace["noise"]) * model._laplace["unit"]
    assert np.all(near > noise)
    assert np.mean(near) < 1.5 * noise


@pytest.mark.slow
@pytest.mark.parametrize("n_hidden", ["auto", 3])
def test_deviations_of_sparse_and_single_precision_inputs_and_of_pickles(n_hidden):
    X, y, _ = table(150)
    X = X * (np.random.default_rng(4).random(X.shape) < 0.7)
    model = default("relu", n_hidden).fit(X, y)
    std = model.predict(X, return_std=True)[1]
    np.testing.assert_allclose(model.predict(sparse.csr_array(X), return_std=True)[1], std, rtol=1e-10)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X, return_std=True)[1], std)
    thin = default("relu", n_hidden).fit(sparse.csr_array(X), y)
    np.testing.assert_allclose(thin.predict(X, return_std=True)[1], std, rtol=1e-5)
    single = default("relu", n_hidden).fit(X.astype(np.float32), y.astype(np.float32))
    mean, deviation = single.predict(X.astype(np.float32), return_std=True)
    assert mean.dtype == deviation.dtype == np.float32
    assert np.all(deviation > 0)
    assert np.all(np.isfinite(deviation))
    if n_hidden != "auto":
        np.testing.assert_allclose(deviation, std, rtol=0.1)


@quietly
@invariant
@pytest.mark.parametrize(
    "options",
    [{}, pytest.param({"n_hidden": 7}, marks=pytest.mark.slow), {"alpha": 0.0, "n_hidden": 3, "max_iter": 40}],
)
def test_deviations_with_fewer_rows_than_columns_are_finite(activation, options):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((15, 30)), rng.standard_normal(15)
    model = OneHiddenLayerNet(activation=activation, random_state=0, **options).fit(X, y)
    for Z in (X, 1e3 * X, np.zeros((1, 30)), 1e100 * X):
        mean, std = model.predict(Z, return_std=True)
        assert np.all(np.isfinite(std))
        assert np.all(std > 0)
        assert mean.shape == std.shape


def test_deviations_have_the_unit_of_y():
    X, y, _ = table()
    one, other = (
        default(n_hidden=3, **BRIEF, alpha=0.02 * c).fit(X, c * y).predict(X, return_std=True)[1] / c
        for c in (1.0, 1000.0)
    )
    np.testing.assert_allclose(other, one, rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 1e-2, 1.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_deviations_of_a_linear_function_by_the_formula(alpha, fit_intercept):
    """``sigma^2 (1 + j' (n H)^-1 j)``, H the Gauss-Newton matrix with the penalty, j the derivative by the weights."""
    network, _, _, X, p = linear_network(IDENTITY, alpha, fit_intercept=fit_intercept)
    n, v = network.rows.weight_sum, 1.5
    weights = Weights(np.array([[0.3, 0.2, 0.1]]), 0.1 * np.ones(1) * fit_intercept, np.array([v]), 0.0)
    fitted = laplace(network, network.whitening, weights, alpha=alpha, mean_square=0.37)
    centre = p @ X
    J = v * (X - centre * fit_intercept)
    penalty = alpha * (p @ (X - centre) ** 2)
    if fit_intercept:
        J, penalty = np.column_stack([J, np.full(len(X), v)]), np.append(penalty, alpha)
    G = J.T @ (p[:, None] * J)
    H = G + np.diag(penalty)
    df = np.trace(G @ np.linalg.inv(H)) + fit_intercept
    t = network.target_scale
    sigma2 = t**2 * 0.37 / (1 - (INFLATION if alpha else 1.0) * df / n)
    assert fitted["noise"] * fitted["unit"] ** 2 == pytest.approx(sigma2, rel=1e-10)
    fresh = np.random.default_rng(9).standard_normal((20, 3)) + 1
    j = v * (fresh - centre * fit_intercept)
    j = np.column_stack([j, np.full(20, v)]) if fit_intercept else j
    expected = sigma2 * (1 + fit_intercept / n + np.sum(j @ np.linalg.inv(n * H) * j, axis=1))
    found = predictive_deviations(fitted, fresh, np.ones((20, 1)))
    np.testing.assert_allclose(found, np.sqrt(expected), rtol=1e-10)
    np.testing.assert_allclose(predictive_deviations(fitted, sparse.csr_array(fresh), np.ones((20, 1))), found)


def test_deviations_of_several_units_by_the_formula():
    """The Kronecker product in full, of balanced ReLUs: unit j counts in units of ``|w_j|^(1/2)``."""
    X, y, _ = table()
    model = default(n_hidden=3).fit(X, y)
    S, n, w = X.var(axis=0), len(y), model.hidden_coef_
    root = np.sqrt(np.linalg.norm(w * np.sqrt(S), axis=1))

    def slopes(Z):
        return (Z @ w.T + model.hidden_intercept_ > 0) * model.output_coef_ * root

    A = slopes(X).T @ slopes(X) / n
    standard = (X - X.mean(axis=0)) / np.sqrt(S)
    C = np.zeros((5, 5))
    C[:4, :4], C[4, 4] = standard.T @ standard / n, 1
    K = np.kron(A, C)
    H = K + model.alpha_ * np.eye(15)
    df = 1 + np.trace(K @ np.linalg.inv(H))
    sigma2 = np.mean((model.predict(X) - y) ** 2) / (1 - INFLATION * df / n)
    fresh = np.random.default_rng(9).exponential(size=(20, 4))
    z = np.column_stack([(fresh - X.mean(axis=0)) / np.sqrt(S), np.ones(20)])
    j = (slopes(fresh)[:, :, None] * z[:, None, :]).reshape(20, 15)
    expected = sigma2 * (1 + 1 / n + np.sum(j @ np.linalg.inv(n * H) * j, axis=1))
    np.testing.assert_allclose(model.predict(fresh, return_std=True)[1], np.sqrt(expected), rtol=1e-8)


def test_the_noise_of_a_fit_that_interpolates_is_bounded():
    network, _, weights, *_ = linear_network(IDENTITY, 0.0, fit_intercept=True, n=4)
    heavy = laplace(network, network.whitening, weights, alpha=0.0, mean_square=0.5)
    assert heavy["noise"] <= 0.5 / LEAST_SHARE * (1 + 1e-12)
    X = np.random.default_rng(0).standard_normal((4, 3))
    rows = Rows(X, np.zeros(4))
    network = OneHiddenLayer(rows, IDENTITY, whitening(rows, centered=True), weights.output)
    full = laplace(network, network.whitening, weights, alpha=0.0, mean_square=0.5)
    assert full["noise"] == pytest.approx(0.5 / LEAST_SHARE)
