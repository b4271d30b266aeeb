"""Standard errors of two layers: against an explicit Jacobian, against the spread over draws, by their symmetries."""

import numpy as np
import pytest
from scipy import sparse

from skrelu import TwoLayerReLURecovery
from skrelu.activations import Activation, get_activation
from skrelu.datasets import make_two_layer_relu
from skrelu.metrics import match_units
from skrelu.networks.two_layer import TwoLayer
from skrelu.rows import Rows
from skrelu.standard_errors import standard_errors
from skrelu.whitening import whitening

# What these tests ask does not depend on whether columns are normal or the solver was done.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def _log_square(z):
    return np.log1p(np.maximum(z, 0) ** 2)


def _log_square_slope(z):
    return 2 * np.maximum(z, 0) / (1 + z * z)


LOG_SQUARE = Activation(_log_square, _log_square_slope, "log_square")  # rectified, not homogeneous


def fitted(X, y, n_hidden, sample_weight=None, **options):
    return TwoLayerReLURecovery(n_hidden, random_state=0, **{"n_init": 2, **options}).fit(X, y, sample_weight)


def errors(model):
    return model.hidden_coef_std_, model.output_coef_std_


def planted_network(X, y, teacher, **options):
    """Return the network of these rows, theta of the teacher's hidden layer, and the whitening."""
    rows = Rows(X, y)
    centered, mean = whitening(rows, centered=True), y.mean(axis=0)
    options = {"center": mean, "target_scale": rows.target_scale(mean), "output_rank": y.shape[1], **options}
    activation = get_activation(teacher.activation)
    network = TwoLayer(rows, activation, centered, len(teacher.hidden_coef_), **options)
    return network, network.parameters(teacher.hidden_coef_, teacher.hidden_intercept_), centered


def differences(f, q, step=1e-6):
    steps = step * np.eye(len(q))
    return np.stack([(f(q + e) - f(q - e)) / (2 * step) for e in steps], axis=-1)


class Slow:
    """The formula of the docstring in the user's units, with an explicit Jacobian by finite differences."""

    def __init__(self, V, b, U, c, activation, fit_intercept):
        self.f, self.fit_intercept = get_activation(activation), fit_intercept
        self.parts = [V, U, *([b, c] if fit_intercept else [])]
        self.q = np.concatenate([part.ravel() for part in self.parts])

    def unpacked(self, q):
        V, U, *biases = np.split(q, np.cumsum([part.size for part in self.parts])[:-1])
        return V.reshape(self.parts[0].shape), U.reshape(self.parts[1].shape), *(biases or (0.0, 0.0))

    def outputs(self, X, q):
        V, U, b, c = self.unpacked(q)
        return self.f.value(X @ V.T + b) @ U.T + c

    def told(self, q):
        V, U = self.unpacked(q)[:2]
        power = self.f.homogeneity
        norm = np.ones(len(V)) if power is None else np.linalg.norm(V, axis=1)
        return np.concatenate([(V / norm[:, None]).ravel(), (U * norm ** (power or 0)).ravel()])

    def standard_errors(self, X, y, s, alpha=0.0):
        V, U = self.parts[:2]
        share, n = s / s.sum(), s.sum()
        J = differences(lambda q: self.outputs(X, q), self.q)
        residual = self.outputs(X, self.q) - y
        centered = y - np.average(y, axis=0, weights=s)
        q = np.linalg.matrix_rank((centered * s[:, None]).T @ centered)
        p = len(V) * (X.shape[1] + q + self.fit_intercept - (self.f.homogeneity is not None)) + q * self.fit_intercept
        noise = (residual * share[:, None]).T @ residual * (n / (n - p / q) if n > p / q else 1.0)
        H = np.einsum("i,ioa,iob->ab", share, J, J)
        M = np.einsum("i,ioa,ol,ilb->ab", share, J, noise, J, optimize=True)
        S = np.average((X - np.average(X, axis=0, weights=s)) ** 2, axis=0, weights=s)
        decay = np.concatenate([np.tile(S, len(V)), np.ones(U.size), np.zeros(len(self.q) - V.size - U.size)])
        H += alpha * np.diag(decay)
        unit = np.outer(*2 * [np.diag(H) ** -0.5])
        inverse = np.linalg.pinv(H * unit, rcond=1e-9, hermitian=True) * unit
        D = differences(self.told, self.q)
        std = np.sqrt(np.diag(D @ inverse @ M @ inverse @ D.T) / n)
        return std[: V.size].reshape(V.shape), std[V.size :].reshape(U.shape)


def balanced(V, b, U, power, alpha, S):
    """Return the weights of the same function with the least penalty."""
    if not alpha or power is None:
        return V, b, U
    # r^2 v'Sv + r^-2p |u|^2 is least where its derivative by r is zero.
    r = (power * np.sum(U**2, axis=0) / (V**2 @ S)) ** (0.5 / (power + 1))
    return V * r[:, None], b * r, U / r**power


# The formula


@pytest.mark.parametrize("fit_intercept", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("alpha", [0.0, 0.03])
@pytest.mark.parametrize("activation", ["relu", "squared_relu", LOG_SQUARE])
def test_they_are_those_of_an_explicit_jacobian(activation, alpha, fit_intercept):
    rng = np.random.default_rng(0)
    options = {"activation": activation, "bias": 0.3 * fit_intercept, "noise": 0.2, "random_state": 3}
    X, y = make_two_layer_relu(300, 4, 2, 3, **options)
    y = y + np.outer(rng.standard_normal(300), [0.1, 0.0, 0.3])
    X = X @ rng.normal(size=(4, 4)) + 2 * fit_intercept
    s = rng.integers(0, 3, 300).astype(float)
    model = fitted(X, y, 2, s, activation=activation, alpha=alpha, fit_intercept=fit_intercept)
    S = np.average((X - np.average(X, axis=0, weights=s)) ** 2, axis=0, weights=s)
    power = get_activation(activation).homogeneity
    V, b, U = balanced(model.hidden_coef_, model.hidden_intercept_, model.output_coef_, power, alpha, S)
    slow = Slow(V, b, U, model.output_intercept_, activation, fit_intercept).standard_errors(X, y, s, alpha)
    for std, expected in zip(errors(model), slow, strict=True):
        np.testing.assert_allclose(std, expected, rtol=1e-6)


@pytest.mark.parametrize("m", [1, 2])
def test_more_units_than_outputs(m):
    X, y, teacher = make_two_layer_relu(400, 5, 3, m, noise=0.1, bias=0.2, return_teacher=True, random_state=2)
    network, theta, centered = planted_network(X, y, teacher)
    U, c = network.output(theta)
    slow = Slow(teacher.hidden_coef_, teacher.hidden_intercept_, U, c, "relu", True)
    for std, expected in zip(
        standard_errors(network, theta, centered), slow.standard_errors(X, y, np.ones(400)), strict=True
    ):
        np.testing.assert_allclose(std, expected, rtol=1e-6)


def test_dependent_outputs_are_counted_once():
    X, y = make_two_layer_relu(400, 5, 3, 4, noise=0.1, random_state=2)
    once, twice = fitted(X, y, 3), fitted(X, np.hstack([y, y]), 3)
    np.testing.assert_allclose(twice.hidden_coef_std_, once.hidden_coef_std_, rtol=1e-7)
    np.testing.assert_allclose(twice.output_coef_std_, np.vstack([once.output_coef_std_] * 2), rtol=1e-7)


def test_fewer_rows_than_weights_of_an_output_have_no_correction():
    X, y, teacher = make_two_layer_relu(400, 5, 3, 4, noise=0.1, return_teacher=True, random_state=2)
    s = np.full(400, 0.01)  # n = 4 < p/q = (3 (5 + 1 + 4 - 1) + 4) / 4
    rows, mean = Rows(X, y, s), y.mean(axis=0)
    _, theta, centered = planted_network(X, y, teacher)
    options = {"center": mean, "target_scale": rows.target_scale(mean), "output_rank": 4}
    network = TwoLayer(rows, get_activation("relu"), centered, 3, **options)
    slow = Slow(teacher.hidden_coef_, teacher.hidden_intercept_, *network.output(theta), "relu", True)
    for std, expected in zip(standard_errors(network, theta, centered), slow.standard_errors(X, y, s), strict=True):
        np.testing.assert_allclose(std, expected, rtol=1e-6)


# The spread over draws


def scores(shape, noise, seed, mixing):
    """Return (estimate - truth) / std of both layers; the noise is that share of the spread of y, mixed."""
    d, k, m, n = shape
    X, y, teacher = make_two_layer_relu(n, d, k, m, return_teacher=True, random_state=0)
    E = np.random.default_rng(seed).standard_normal(y.shape) @ mixing
    y = y + noise * np.mean(y.var(axis=0)) ** 0.5 * E
    model = fitted(X, y, k, alpha=0.0)
    true, own, _ = match_units(teacher.hidden_coef_, model.hidden_coef_)
    units = own[np.argsort(true)]
    hidden = (model.hidden_coef_[units] - teacher.hidden_coef_) / model.hidden_coef_std_[units]
    output = (model.output_coef_[:, units] - teacher.output_coef_) / model.output_coef_std_[:, units]
    return hidden.ravel(), output.ravel()


def mixing(kind, m):
    """Return the matrix that makes independent noise that of all outputs, of mean variance one."""
    if kind == "independent":
        return np.eye(m)
    L = np.random.default_rng(5).normal(size=(m, m)) * np.geomspace(0.2, 2, m)
    return L * (m / np.sum(L**2)) ** 0.5


SHAPES = [(8, 3, 4, 500), (6, 4, 2, 1000)]


def spread(shape, noise, kind, n_draws):
    draws = [scores(shape, noise, seed, mixing(kind, shape[2])) for seed in range(n_draws)]
    return [np.concatenate(layer) for layer in zip(*draws, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["independent", "correlated"])
def test_the_spread_over_a_few_draws(kind):
    hidden, output = spread(SHAPES[0], 0.1, kind, 20)
    z = np.concatenate([hidden, output])
    assert 0.9 < z.std() < 1.1
    assert abs(z.mean()) < 0.1
    assert 0.92 < np.mean(np.abs(z) < 1.96) < 0.98


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["independent", "correlated"])
@pytest.mark.parametrize("noise", [0.1, 0.3])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_spread_over_many_draws(shape, noise, kind):
    for z in spread(shape, noise, kind, 150):
        assert 0.9 < z.std() < 1.1
        assert 0.93 < np.mean(np.abs(z) < 1.96) < 0.97


# Symmetries


@pytest.fixture(scope="module")
def data():
    X, y = make_two_layer_relu(300, 6, 3, 4, noise=0.2, bias=0.2, random_state=1)
    return X + 0.5, y


@pytest.fixture(scope="module")
def model(data):
    return fitted(*data, 3)


def test_a_weight_is_a_repetition(data):
    X, y = data
    s = np.random.default_rng(0).integers(0, 4, len(X))
    weighted, repeated = fitted(X, y, 3, s), fitted(np.repeat(X, s, axis=0), np.repeat(y, s, axis=0), 3)
    for std, expected in zip(errors(weighted), errors(repeated), strict=True):
        np.testing.assert_allclose(std, expected, rtol=1e-7)


@pytest.mark.parametrize("times", [pytest.param(4, marks=pytest.mark.slow), 25])
def test_they_fall_as_the_root_of_the_number_of_rows(data, model, times):
    X, y = data
    used = (3 * (6 + 1 + 4 - 1) + 4) / 4
    ratio = ((300 - used) / (times * 300 - used)) ** 0.5
    for std, expected in zip(errors(fitted(X, y, 3, np.full(300, times))), errors(model), strict=True):
        np.testing.assert_allclose(std, ratio * expected, rtol=1e-7)


def test_new_rows_count_as_much():
    few, many = (
        fitted(*make_two_layer_relu(n, 6, 3, 4, noise=0.2, random_state=1), 3, tol=1e-8, alpha=0.0)
        for n in (1000, 16000)
    )
    for std, expected in zip(errors(few), errors(many), strict=True):
        assert np.median(std / expected) == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize(
    "factor", [1e-6, pytest.param(3.0, marks=pytest.mark.slow), pytest.param(1e8, marks=pytest.mark.slow)]
)
def test_the_unit_of_y(data, model, factor):
    X, y = data
    hidden, output = errors(fitted(X, factor * y, 3))
    np.testing.assert_allclose(hidden, model.hidden_coef_std_, rtol=1e-7)
    np.testing.assert_allclose(output, factor * model.output_coef_std_, rtol=1e-7)


@pytest.mark.parametrize(
    "factor", [1e-6, pytest.param(3.0, marks=pytest.mark.slow), pytest.param(1e8, marks=pytest.mark.slow)]
)
def test_the_unit_of_all_columns(data, model, factor):
    X, y = data
    hidden, output = errors(fitted(factor * X, y, 3))
    np.testing.assert_allclose(hidden, model.hidden_coef_std_, rtol=1e-6)
    np.testing.assert_allclose(output, model.output_coef_std_ / factor, rtol=1e-6)


def test_the_units_of_columns():
    """Without normalisation, each weight has the inverse unit of its column."""
    units = np.array([1.0, 1e-200, 30.0, 1e4, 1.0])
    X, y = make_two_layer_relu(400, 5, 2, 3, activation=LOG_SQUARE, noise=0.1, random_state=0)
    plain, scaled = (fitted(Z, y, 2, activation=LOG_SQUARE) for Z in (X, X * units))
    np.testing.assert_allclose(scaled.hidden_coef_std_ * units, plain.hidden_coef_std_, rtol=1e-6)
    np.testing.assert_allclose(scaled.output_coef_std_, plain.output_coef_std_, rtol=1e-6)


def test_the_order_of_outputs_and_columns(data, model):
    X, y = data
    columns, outputs = [3, 0, 5, 1, 2, 4], [2, 0, 3, 1]
    hidden, output = errors(fitted(X[:, columns], y[:, outputs], 3))
    np.testing.assert_allclose(hidden, model.hidden_coef_std_[:, columns], rtol=1e-7)
    np.testing.assert_allclose(output, model.output_coef_std_[outputs], rtol=1e-7)


def test_a_rotation_of_the_columns(data, model):
    X, y = data
    Q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))
    hidden, output = errors(fitted(X @ Q, y, 3))
    np.testing.assert_allclose(output, model.output_coef_std_, rtol=1e-7)
    lengths = np.linalg.norm(model.hidden_coef_std_, axis=1)
    np.testing.assert_allclose(np.linalg.norm(hidden, axis=1), lengths, rtol=1e-7)


def test_a_shift_of_the_columns(data, model):
    X, y = data
    for std, expected in zip(errors(fitted(X + 10, y, 3)), errors(model), strict=True):
        np.testing.assert_allclose(std, expected, rtol=1e-6)


def test_sparse_and_single_precision(data):
    X, y = data
    X = np.where(np.abs(X) > 0.3, X, 0)
    dense, csr, single = (fitted(Z, y.astype(Z.dtype), 3) for Z in (X, sparse.csr_array(X), X.astype(np.float32)))
    for std, same, close in zip(errors(dense), errors(csr), errors(single), strict=True):
        np.testing.assert_allclose(same, std, rtol=1e-7)
        np.testing.assert_allclose(close, std, rtol=2e-2)
        assert close.dtype == np.float32


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_array, sparse.csc_array])
def test_rows_in_pieces(layout, monkeypatch):
    # Biases: rows that are zero are not at a kink.
    X, y, teacher = make_two_layer_relu(400, 10, 3, 4, noise=0.1, bias=0.3, return_teacher=True, random_state=2)
    X = np.where(np.abs(X) > 1.5, X, 0)
    expected = standard_errors(*planted_network(X, y, teacher))
    monkeypatch.setattr("skrelu.rows.memory.BLOCK_BYTES", 1024)
    monkeypatch.setattr("skrelu.standard_errors.PIECE", 200)
    for std, whole in zip(standard_errors(*planted_network(layout(X), y, teacher)), expected, strict=True):
        np.testing.assert_allclose(std, whole, rtol=1e-9)


# No residual, and weights that the data do not determine


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_without_noise_they_are_rounding(dtype):
    X, y = make_two_layer_relu(300, 6, 3, 4, random_state=1)
    for std in errors(fitted(X.astype(dtype), y.astype(dtype), 3)):
        assert np.all((std >= 0) & (std < 100 * np.finfo(dtype).eps))


def corrected(n, smaller, larger):
    """Return what the number of weights of a larger network does to the errors."""
    return ((n - smaller.n_weights / smaller.output_rank) / (n - larger.n_weights / larger.output_rank)) ** 0.5


def test_a_dead_unit_has_none_and_changes_no_other():
    X, y, teacher = make_two_layer_relu(400, 5, 2, 4, noise=0.1, return_teacher=True, random_state=2)
    network, theta, centered = planted_network(X, y, teacher)
    V = np.vstack([teacher.hidden_coef_, np.eye(5)[0]])
    larger = network.variant(3)
    hidden, output = standard_errors(larger, larger.parameters(V, np.array([0.0, 0.0, -100.0])), centered)
    assert not np.any(hidden[2])
    assert not np.any(output[:, 2])
    ratio = corrected(400, network, larger)
    expected = standard_errors(network, theta, centered)
    np.testing.assert_allclose(hidden[:2], ratio * expected[0], rtol=1e-9)
    np.testing.assert_allclose(output[:, :2], ratio * expected[1], rtol=1e-9)


def test_parallel_units_have_those_of_what_the_data_tell():
    """Twins move together; each has half of the output weight."""
    X, y, teacher = make_two_layer_relu(400, 5, 2, 4, noise=0.1, return_teacher=True, random_state=2)
    network, theta, centered = planted_network(X, y, teacher)
    larger = network.variant(3)
    twins = larger.parameters(teacher.hidden_coef_[[0, 1, 1]], np.zeros(3))
    hidden, output = standard_errors(larger, twins, centered)
    ratio = corrected(400, network, larger)
    expected = standard_errors(network, theta, centered)
    np.testing.assert_allclose(hidden, ratio * expected[0][[0, 1, 1]], rtol=1e-6)
    np.testing.assert_allclose(output, ratio * expected[1][:, [0, 1, 1]] / [1, 2, 2], rtol=1e-6)


def test_nearly_parallel_units_have_large_ones():
    X, y, teacher = make_two_layer_relu(400, 5, 2, 4, noise=0.1, return_teacher=True, random_state=2)
    network, _, centered = planted_network(X, y, teacher)
    v = teacher.hidden_coef_[0]
    for angle, least in ((1e-1, 0.01), (1e-3, 1.0)):
        V = np.vstack([v, v + angle * np.eye(5)[0]])
        output = standard_errors(network, network.parameters(V, np.zeros(2)), centered)[1]
        assert np.all(np.isfinite(output))
        assert output.min() > least


def test_a_constant_column_has_none(data):
    X, y = (part.copy() for part in data)
    X[:, 2] = 3
    model = fitted(X, y, 3)
    assert not np.any(model.hidden_coef_std_[:, 2])
    assert np.all(model.hidden_coef_std_[:, [0, 1, 3, 4, 5]] > 0)


def test_equal_columns_share_their_weight(data, model):
    X, y = data
    twice = fitted(np.hstack([X, X[:, :1]]), y, 3)
    np.testing.assert_allclose(twice.hidden_coef_std_[:, 0], twice.hidden_coef_std_[:, 6], rtol=1e-6)
    assert np.all(np.isfinite(twice.output_coef_std_))


CASES = {
    "one output": lambda X, y: (X, y[:, 0], 3, {}),
    "one column of y": lambda X, y: (X, y[:, :1], 3, {}),
    "more units than columns": lambda X, y: (X, y, 8, {"n_init": 2, "max_iter": 100}),
    "fewer rows than weights": lambda X, y: (X[:10], y[:10], 3, {}),
    "two rows": lambda X, y: (X[:2], y[:2], 3, {}),
    "one row": lambda X, y: (X[:1], y[:1], 3, {}),
    "one column": lambda X, y: (X[:, :1], y, 3, {}),
    "constant X": lambda X, y: (np.ones_like(X), y, 3, {}),
    "X is zero": lambda X, y: (np.zeros_like(X), y, 3, {"fit_intercept": False}),
    "constant y": lambda X, y: (X, np.ones_like(y), 3, {}),
    "y is zero": lambda X, y: (X, np.zeros_like(y), 3, {}),
    "a linear y": lambda X, y: (X, X[:, :4] + 0.1 * y, 3, {}),
    "all units decay": lambda X, y: (X, y, 3, {"alpha": 1e3}),
    "all squares decay": lambda X, y: (X, y, 3, {"alpha": 1e3, "activation": "squared_relu"}),
    "small X": lambda X, y: (1e-150 * X, y, 3, {}),
    "X whose squares vanish": lambda X, y: (1e-200 * X, y, 3, {}),
    "large y": lambda X, y: (X, 1e150 * y, 3, {}),
    "columns of all sizes": lambda X, y: (X * np.geomspace(1e-100, 1e100, X.shape[1]), y, 3, {}),
    "gd": lambda X, y: (X, y, 3, {"solver": "gd", "max_iter": 5}),
}


SLOWER = ("more units than columns", "fewer rows than weights", "one column of y", "a linear y", "large y", "small X")


@pytest.mark.parametrize(
    "case", [case if case not in SLOWER else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_all_are_finite_and_of_the_shape_of_the_weights(data, case):
    X, y, k, options = CASES[case](*data)
    model = fitted(X, y, k, **options)
    for std, coef in zip(errors(model), (model.hidden_coef_, model.output_coef_), strict=True):
        assert std.shape == coef.shape
        assert np.all(np.isfinite(std))
        assert np.all(std >= 0)


# Many weights


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("m", [1, 6])
def test_many_weights_of_gaussian_columns(m, fit_intercept):
    """Independence outside the span of the units is what Gaussian columns have, up to sampling error."""
    options = {"noise": 0.2, "bias": 0.3 * fit_intercept, "return_teacher": True, "random_state": 0}
    X, y, teacher = make_two_layer_relu(4000, 60, 4, m, **options)
    X = X @ (np.eye(60) + np.random.default_rng(0).normal(size=(60, 60)) / 30)
    network, theta, centered = planted_network(X, y, teacher, fit_intercept=fit_intercept)
    white = centered if fit_intercept else whitening(network.rows, centered=False)
    assert network.fit_intercept == fit_intercept
    exact, fast = standard_errors(network, theta, white), standard_errors(network, theta, white, 4 * 5)
    for std, expected in zip(fast, exact, strict=True):
        assert np.median(std / expected) == pytest.approx(1, abs=0.02)
        assert np.all(np.abs(std / expected - 1) < 0.15)


def test_many_weights_of_few_rows():
    X, y, teacher = make_two_layer_relu(600, 60, 3, 4, noise=0.2, return_teacher=True, random_state=0)
    network, theta, centered = planted_network(X, y, teacher)
    exact, fast = standard_errors(network, theta, centered), standard_errors(network, theta, centered, 3 * 4)
    assert np.median(fast[0] / exact[0]) == pytest.approx(1, abs=0.1)


def test_fewer_directions_than_the_units_span():
    X, y, teacher = make_two_layer_relu(2000, 20, 6, 8, noise=0.2, return_teacher=True, random_state=0)
    network, theta, centered = planted_network(X, y, teacher)
    exact, *fast = (standard_errors(network, theta, centered, limit) for limit in (6 * 21, 6 * 7, 6 * 3, 1))
    for parts in fast:
        for std, expected in zip(parts, exact, strict=True):
            assert np.median(std / expected) == pytest.approx(1, abs=0.2)
    off = [np.max(np.abs(parts[1] / exact[1] - 1)) for parts in fast]
    assert off[0] < 0.02 < 0.1 < off[1] < off[2]


def test_more_columns_than_are_whitened(monkeypatch):
    monkeypatch.setattr("skrelu.whitening.MAX_FULL", 100)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 110)) * np.geomspace(1e-3, 1e3, 110)
    y = np.maximum(rng.standard_normal((30, 3)), 0)
    for std in errors(fitted(X, y, 3, max_iter=3, n_init=1)):
        assert np.all(np.isfinite(std))
        assert np.all(std > 0)
