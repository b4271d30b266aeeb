"""Weight decay that the data choose (`alpha="auto"`), and predictive standard deviations of `TwoLayerReLURecovery`."""

import pickle
import warnings
from functools import cache
from itertools import count

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_linnerud
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression

from skrelu import TwoLayerReLURecovery
from skrelu.activations import relu
from skrelu.criteria import generalised_cross_validation
from skrelu.datasets import make_two_layer_relu
from skrelu.networks.two_layer import TwoLayer
from skrelu.prediction_errors import predictive_deviations, predictive_distribution
from skrelu.rows import Rows
from skrelu.solvers import two_layer_path
from skrelu.solvers.descent import Descent
from skrelu.solvers.loop import INTERRUPTED
from skrelu.whitening import whitening

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fit(X, y, s=None, n_hidden="auto", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return TwoLayerReLURecovery(n_hidden, random_state=0, **{"n_init": 2, **options}).fit(X, y, s)


def rough(n=120, seed=0):
    """Inputs far from normal, outputs that no small network has."""
    rng = np.random.default_rng(seed)
    X = np.exp(rng.standard_normal((n, 4)))
    y = np.column_stack([np.log(X[:, 0] * X[:, 1]), np.sin(X[:, 2]) + X[:, 0] ** 0.5])
    return X, y + 0.5 * rng.standard_normal(y.shape)


@cache
def rough_fit():
    """The default fit to the rough data, shared by the tests, which do not change it."""
    return fit(*rough())


def network(X, y, k, alpha=0.0):
    rows, center = Rows(X, y), y.mean(axis=0)
    options = {"center": center, "target_scale": rows.target_scale(center), "output_rank": y.shape[1]}
    return TwoLayer(rows, relu, whitening(rows, centered=True), k, alpha=alpha, **options)


# The choice


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_without_noise_there_is_no_decay_and_recovery_is_exact(fit_intercept):
    X, y = make_two_layer_relu(200, 10, 3, 4, random_state=0)
    model = fit(X, y, fit_intercept=fit_intercept)
    plain = fit(X, y, fit_intercept=fit_intercept, alpha=0.0)
    assert model.exact_
    assert model.alpha_ == 0
    np.testing.assert_array_equal(model.hidden_coef_, plain.hidden_coef_)
    np.testing.assert_array_equal(model.alphas_, [0.0])
    assert model.criterion_.shape == (1,)


@pytest.mark.parametrize("n_hidden", ["auto", 3])
def test_planted_with_noise_the_fit_is_that_without_decay(n_hidden):
    X, y = make_two_layer_relu(300, 10, 3, 4, noise=0.1, random_state=1)
    model, plain = fit(X, y, n_hidden=n_hidden), fit(X, y, n_hidden=n_hidden, alpha=0.0)
    assert model.alpha_ == 0
    np.testing.assert_array_equal(model.hidden_coef_, plain.hidden_coef_)


def test_the_criterion_without_decay_is_its_formula():
    X, y = make_two_layer_relu(300, 10, 3, 4, noise=0.1, random_state=1)
    model = fit(X, y)
    k, m = len(model.hidden_coef_), y.shape[1]
    degrees = (k * (10 + 1 + m - 1) + m) / m
    share = 1 - two_layer_path.SHARED * degrees / len(X)
    assert model.criterion_[-1] == pytest.approx(2 * model.loss_ / share**2, rel=1e-3)  # before the last digits


def test_other_data_get_a_decay_that_predicts_better_than_none():
    X, y = rough()
    X_new, y_new = rough(2000, seed=1)
    model, plain = rough_fit(), fit(X, y, alpha=0.0)
    assert model.alpha_ > 0
    assert model.converged_
    assert model.alphas_.shape == model.criterion_.shape
    assert np.all(np.diff(model.alphas_) < 0)
    assert model.alphas_[-1] == 0
    assert model.alpha_ == model.alphas_[np.argmin(model.criterion_[:-1])]
    errors = [np.mean((fitted.predict(X_new) - y_new) ** 2) for fitted in (model, plain)]
    assert errors[0] < errors[1]


def test_few_rows_of_linnerud_do_not_overfit():
    X, y = load_linnerud(return_X_y=True)
    model = fit(X, y)
    assert model.alpha_ > 0
    assert np.all(np.isfinite(model.predict(X)))
    spread = model.predict(X).std(axis=0)
    assert np.all(spread <= 1.5 * LinearRegression().fit(X, y).predict(X).std(axis=0))


def test_a_number_and_the_exceptions():
    X, y = rough(60)
    assert fit(X, y, n_hidden=2, alpha=0.3).alpha_ == 0.3
    assert fit(X, y, n_hidden=2, outliers="detect").alpha_ == 0
    assert fit(X, y, n_hidden=2, solver="gd", max_iter=5).alpha_ == 0
    assert fit(X, y, n_hidden=2, step_size=1.0, max_iter=5).alpha_ == 0


@pytest.mark.parametrize("alpha", [-1.0, "gcv", None, np.nan])
def test_a_bad_decay_is_named(alpha):
    X, y = rough()
    with pytest.raises(ValueError, match="'alpha' parameter"):
        fit(X, y, alpha=alpha)


def test_degrees_of_freedom_are_the_trace_of_a_linear_smoother():
    """Of units that are on everywhere, with uncorrelated columns and one output."""
    rng = np.random.default_rng(0)
    X = np.linalg.qr(rng.standard_normal((200, 3)) - 0.0)[0] * 200**0.5
    X = np.linalg.qr(X - X.mean(axis=0))[0] * 200**0.5
    y = X @ rng.standard_normal((3, 1)) + 0.1 * rng.standard_normal((200, 1))
    net = network(X, y, 1, alpha=0.2)
    theta = net.parameters(0.1 * np.array([[1.0, 0.0, 0.0]]), np.array([10.0]))
    layer, (a, b) = net.layer(theta, slopes=True), net.decays
    u = layer.coef[0, 0]
    G = layer.deviations[0] ** 2
    determined = 3 * u * u / (u * u + a) + 1 + G / (G + b)
    expected = 1 + determined / 5 * (net.n_weights - 1)
    found = two_layer_path.degrees_of_freedom(net, theta, two_layer_path.standardised_variances(net.whitening))
    assert found == pytest.approx(expected, rel=1e-10)


def test_the_criterion_of_a_path_is_recomputed():
    X, y = rough()
    net = network(X, y, 5)
    variances = two_layer_path.standardised_variances(net.whitening)
    start = two_layer_path.random_units(net, np.random.RandomState(0))
    path = two_layer_path.decay_path(net, start, variances, max_iter=1000)
    stage, theta = path.network, path.descent.theta
    (W, b), (U, c) = stage.hidden(theta), stage.output(theta)
    square = np.mean(np.sum((np.maximum(X @ W.T + b, 0) @ U.T + c - y) ** 2, axis=1)) / net.target_scale**2
    degrees = two_layer_path.degrees_of_freedom(stage, theta, variances)
    lowest = generalised_cross_validation(square, degrees, len(X), two_layer_path.SHARED)
    assert path.criterion.min() == pytest.approx(lowest, rel=1e-10)
    assert path.alphas[np.argmin(path.criterion)] == stage.alpha
    assert path.alphas[0] == pytest.approx(two_layer_path.FIRST * net.target_scale)
    np.testing.assert_allclose(path.alphas[:-1] / path.alphas[1:], two_layer_path.FACTOR)


def test_a_path_that_is_out_of_iterations_has_not_converged():
    X, y = rough()
    net = network(X, y, 5)
    start = two_layer_path.random_units(net, np.random.RandomState(0))
    path = two_layer_path.decay_path(net, start, np.ones(4), max_iter=7)
    assert not path.descent.converged
    assert len(path.descent.loss_curve) <= 7


def test_a_criterion_of_units_that_are_not_finite_is_infinite():
    X, y = rough()
    net = network(X, y, 3, alpha=0.1)
    with np.errstate(all="ignore"):
        theta = np.full(np.prod(net.shape), 1e200)
        assert two_layer_path.degrees_of_freedom(net, theta, np.ones(4)) == np.inf


@pytest.mark.parametrize("what", ["random_units", "early_stopped"])
@pytest.mark.parametrize("at", [0, 1])
def test_an_interruption_of_the_paths_keeps_the_network_without_decay(monkeypatch, what, at):
    X, y = rough()
    net = network(X, y, 2)
    descent = Descent(two_layer_path.random_units(net, np.random.RandomState(0)))
    descent = descent.moved(net, descent.theta)
    calls, real = count(), getattr(two_layer_path, what)

    def interrupted(*args):
        if next(calls) == at:
            raise KeyboardInterrupt
        return real(*args)

    def interrupted_later(*args):
        if next(calls) == at:
            raise KeyboardInterrupt
        yield from real(*args)

    monkeypatch.setattr(two_layer_path, what, interrupted if what == "random_units" else interrupted_later)
    options = {"assumed": lambda: True, "free_size": False, "max_iter": 50}
    choice = two_layer_path.chosen(net, descent, np.random.RandomState(0), **options)
    assert choice.descent.stop_reason == INTERRUPTED
    assert not choice.descent.converged
    assert choice.network is net
    assert choice.descent.theta is descent.theta


def test_a_warm_start_goes_on_with_the_weight_decay_chosen():
    """On the same rows it is another stage of the path: nothing is chosen anew, and the objective does not rise."""
    X, y = rough(60)
    model = TwoLayerReLURecovery(3, n_init=1, random_state=0, warm_start=True).fit(X, y)
    alpha, function = model.alpha_, model.predict(X)
    assert alpha > 0

    def objective():
        lengths = np.sqrt(model.hidden_coef_**2 @ X.var(axis=0))
        return model.loss_ + model.alpha_ * lengths @ np.linalg.norm(model.output_coef_, axis=0)

    before = objective()
    model.fit(X, y)
    assert model.alpha_ == alpha
    assert model.converged_
    assert objective() < before
    np.testing.assert_allclose(model.predict(X), function, atol=0.2 * y.std())


def test_an_interruption_of_the_starts_keeps_the_first(monkeypatch):
    X, y = rough()

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("skrelu.solvers.two_layer.refined", interrupted)
    with pytest.warns(ConvergenceWarning, match="interrupted by the user"):
        model = TwoLayerReLURecovery(3, random_state=0).fit(X, y)
    assert not model.converged_
    assert np.all(np.isfinite(model.predict(X)))


def test_inputs_of_the_theorem_keep_no_decay_within_the_margin_and_others_only_far_below(monkeypatch):
    X, y = rough()
    net = network(X, y, 2)
    descent = Descent(two_layer_path.random_units(net, np.random.RandomState(0)))
    descent = descent.moved(net, descent.theta)
    choose = {"free_size": False, "max_iter": 50}
    for assumed, ratio, kept in [(True, 1.005, True), (True, 1.02, False), (False, 0.7, False), (False, 0.5, True)]:
        monkeypatch.setattr(two_layer_path, "_criterion", lambda net, *_: 1.0 if net.alpha else ratio)  # noqa: B023
        choice = two_layer_path.chosen(net, descent, np.random.RandomState(0), assumed=lambda: assumed, **choose)  # noqa: B023
        assert (choice.network.alpha == 0) == kept


# What must not change


def assert_same_function(a, b, X, factor=1.0, rtol=1e-5):
    p = a.predict(X)
    np.testing.assert_allclose(factor * p, b.predict(X), rtol=0, atol=rtol * factor * np.abs(p).max())


def test_weights_are_repetitions():
    X, y = rough()
    s = np.random.default_rng(0).integers(0, 3, len(X))
    model, repeated = fit(X, y, s.astype(float)), fit(np.repeat(X, s, axis=0), np.repeat(y, s, axis=0))
    assert model.alpha_ > 0
    assert model.alpha_ == pytest.approx(repeated.alpha_)
    assert_same_function(model, repeated, X)


@pytest.mark.parametrize("factor", [4.0**-13, 4.0**10])
def test_the_unit_of_the_outputs_is_that_of_the_decay(factor):
    """By powers of four, whose roots are exact, too: rounding may lead a path elsewhere far beyond the chosen decay."""
    X, y = rough()
    model, scaled = rough_fit(), fit(X, factor * y)
    assert scaled.alpha_ == pytest.approx(factor * model.alpha_)
    np.testing.assert_allclose(scaled.criterion_, factor**2 * model.criterion_, rtol=1e-6)
    assert_same_function(model, scaled, X, factor)


def test_the_units_and_origins_of_the_columns_do_not_matter():
    X, y = rough()
    scales = np.array([1e-5, 1.0, 30.0, 1e4])
    model, scaled = rough_fit(), fit(X * scales + scales, y)
    assert scaled.alpha_ == pytest.approx(model.alpha_)
    np.testing.assert_allclose(scaled.predict(X * scales + scales), model.predict(X), atol=1e-4)


def test_sparse_is_dense_and_the_order_of_the_rows_does_not_matter():
    X, y = rough()
    order = np.random.default_rng(0).permutation(len(X))
    model = rough_fit()
    assert_same_function(model, fit(X[order], y[order]), X)
    assert_same_function(model, fit(sparse.csr_array(X), y), X)


# Predictive standard deviations


@pytest.mark.parametrize("alpha", [pytest.param("auto", marks=pytest.mark.slow), 0.01])
def test_new_outputs_are_within_the_predicted_deviations(alpha):
    within = []
    for seed in range(4):
        X, y = make_two_layer_relu(600, 10, 3, 4, noise=0.5, random_state=seed)
        mean, std = fit(X[:300], y[:300], n_hidden=3, alpha=alpha).predict(X[300:], return_std=True)
        assert mean.shape == std.shape == (300, 4)
        within.append(np.mean(np.abs(mean - y[300:]) <= 1.96 * std))
    assert 0.93 <= np.mean(within) <= 0.97


def test_deviations_are_those_of_new_outputs_each_and_grow_away_from_the_data():
    """The noise of an output reaches the others through the units that they share."""
    X, y = make_two_layer_relu(4000, 5, 2, 3, random_state=0)
    y += np.array([0.3, 1.0, 3.0]) * np.random.default_rng(0).standard_normal(y.shape)
    model = fit(X[:2000], y[:2000], n_hidden=2)
    mean, near = model.predict(X[2000:], return_std=True)
    far = model.predict(30 * X, return_std=True)[1]
    np.testing.assert_allclose(
        np.mean(near**2, axis=0) ** 0.5, np.mean((mean - y[2000:]) ** 2, axis=0) ** 0.5, rtol=0.06
    )
    assert np.all(far.mean(axis=0) > 1.2 * near.mean(axis=0))


@pytest.mark.slow
@pytest.mark.parametrize("alpha", ["auto", 0.0])
def test_the_variance_of_a_mean_prediction_is_that_over_draws(alpha):
    """Its mean over rows, of the planted network with new noise each time."""
    X, clean = make_two_layer_relu(300, 5, 2, 3, random_state=0)
    predictions, told = [], []
    for seed in range(20):
        y = clean + np.random.default_rng(seed).standard_normal(clean.shape)
        model = fit(X, y, n_hidden=2, alpha=alpha)
        mean, std = model.predict(X, return_std=True)
        predictions.append(mean)
        told.append(np.mean(std**2 - model._distribution["noise"]))
    assert np.mean(told) == pytest.approx(np.mean(np.var(predictions, axis=0, ddof=1)), rel=0.25)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_of_uncorrelated_columns_of_one_variance_it_is_enough_to_know_the_sum_of_their_squares(monkeypatch, alpha):
    """With more columns than the whitening mixes: correlations count as none."""
    H = np.array([[1.0]])
    for _ in range(5):
        H = np.block([[H, H], [H, -H]])
    X = 3 * H[:, 1:5] + np.arange(4)
    y = np.column_stack([np.abs(X[:, 0]), X[:, 1] ** 2]) + 0.1 * np.random.default_rng(0).standard_normal((32, 2))
    net = network(X, y, 2, alpha)
    theta = two_layer_path.random_units(net, np.random.RandomState(0)) + 1
    monkeypatch.setattr("skrelu.whitening.MAX_FULL", 3)
    diagonal = whitening(net.rows, centered=True)
    assert diagonal.columns.ndim == 1
    (W, b), (U, _) = net.hidden(theta), net.output(theta)
    fresh = 2 * np.random.default_rng(1).standard_normal((10, 4))
    Z, told = fresh @ W.T + b, []
    size = np.linalg.norm(W, axis=1)
    parts = np.maximum(Z, 0) / size, (Z > 0).astype(float), U * size
    for coordinates in (net.whitening, diagonal):
        fitted = predictive_distribution(net, theta, coordinates)
        told += [predictive_deviations(fitted, store(fresh), *parts) for store in (np.asarray, sparse.csr_array)]
    for other in told[1:]:
        np.testing.assert_allclose(other, told[0], rtol=1e-9)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_the_predictive_variance_is_that_of_the_kronecker_matrices_by_hand(alpha, fit_intercept):
    """In standardised columns, row by row, with inverses of whole matrices; y in units of its root mean square."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3)) @ rng.standard_normal((3, 3)) * [1, 2, 3] + fit_intercept
    y = np.maximum(X @ rng.standard_normal((3, 2)), 0) @ rng.standard_normal((2, 2)) + rng.standard_normal((60, 2))
    y -= y.mean(axis=0) * fit_intercept
    y /= np.sqrt(np.mean(np.sum(y**2, axis=1)))
    rows = Rows(X, y)
    coordinates = whitening(rows, centered=fit_intercept)
    options = {"fit_intercept": fit_intercept, "alpha": alpha, "center": np.zeros(2), "output_rank": 2}
    net = TwoLayer(rows, relu, coordinates, 2, target_scale=1.0, **options)
    W, b = rng.standard_normal((2, 3)), 0.3 * rng.standard_normal(2) * fit_intercept
    theta = net.parameters(W, b)
    U, c = net.output(theta)
    Z, n = X @ W.T + b, len(X)
    a, on = np.maximum(Z, 0), (Z > 0).astype(float)
    degrees = net.n_weights / 2
    if alpha:
        variances = two_layer_path.standardised_variances(coordinates)
        degrees = two_layer_path.SHARED * two_layer_path.degrees_of_freedom(net, theta, variances)
    residual = a @ U.T + c - y
    noise = residual.T @ residual / n / (1 - degrees / n)
    awake = np.diag(on.T @ on) / n
    A = (U.T @ U) * (on.T @ on / n)
    shared = np.sum(np.diag(U.T @ noise @ U) * awake) / np.sum(np.sum(U**2, axis=0) * awake) / n
    mean, unit_mean = X.mean(axis=0) * fit_intercept, a.mean(axis=0) * fit_intercept
    scale = X.std(axis=0)
    C = ((X - mean) / scale).T @ ((X - mean) / scale) / n
    of_hidden = shared * np.linalg.inv(np.kron(A, C) + alpha * np.eye(6))
    of_biases = shared * np.linalg.inv(A) * fit_intercept
    of_units = np.linalg.inv((a - unit_mean).T @ (a - unit_mean) / n + alpha * np.eye(2)) / n
    expected = np.empty((n, 2))
    for i in range(n):
        for o in range(2):
            slopes = U[o] * on[i]
            moved = np.kron(slopes, (X[i] - mean) / scale)
            of_output = fit_intercept / n + (a[i] - unit_mean) @ of_units @ (a[i] - unit_mean)
            expected[i, o] = noise[o, o] * (1 + of_output) + moved @ of_hidden @ moved + slopes @ of_biases @ slopes
    fitted, size = predictive_distribution(net, theta, coordinates), np.linalg.norm(W, axis=1)
    np.testing.assert_allclose(predictive_deviations(fitted, X, a / size, on, U * size) ** 2, expected, rtol=1e-8)


@pytest.mark.parametrize("size", [1e160, 1e300])
def test_deviations_of_rows_whose_squares_overflow_are_the_largest_number(size):
    X, y = rough()
    net = network(X, y, 2)
    fitted = predictive_distribution(net, two_layer_path.random_units(net, np.random.RandomState(0)), net.whitening)
    found = predictive_deviations(fitted, size * X[:3], np.full((3, 2), size), np.ones((3, 2)), np.ones((2, 2)))
    np.testing.assert_allclose(found, np.finfo(float).max ** 0.5)


def test_an_exact_fit_has_no_deviations():
    X, y = make_two_layer_relu(200, 10, 3, 4, random_state=0)
    assert np.max(fit(X, y).predict(X, return_std=True)[1]) < 1e-10 * np.abs(y).max()


@pytest.mark.parametrize(
    ("alpha", "shape"),
    [
        ("auto", (30,)),
        pytest.param("auto", (30, 1), marks=pytest.mark.slow),
        pytest.param("auto", (30, 3), marks=pytest.mark.slow),
        (0.0, (30, 3)),
        pytest.param(0.0, (30,), marks=pytest.mark.slow),
        (0.0, (30, 1)),
    ],
)
def test_deviations_are_finite_where_nothing_is_identified(shape, alpha):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 20)), rng.standard_normal(shape)
    model = fit(X, y, n_hidden=10, alpha=alpha, n_init=1)
    mean, std = model.predict(1e3 * X, return_std=True)
    assert mean.shape == std.shape == shape
    assert np.all(np.isfinite(std))
    again = pickle.loads(pickle.dumps(model)).predict(sparse.csr_array(1e3 * X), return_std=True)
    np.testing.assert_allclose(again[1], std, rtol=1e-9)
    assert all(isinstance(part, (np.ndarray, float)) for part in model._distribution.values())


def test_weights_of_an_average_have_no_errors_but_its_predictions_do():
    X = np.random.default_rng(0).standard_normal((120, 3)) ** 2
    y = X[:, 0] + np.random.default_rng(1).standard_normal(120)
    model = TwoLayerReLURecovery(random_state=0).fit(X, y)
    assert model.alpha_ > 0
    assert len(model.hidden_coef_) > 24
    assert not np.any(model.hidden_coef_std_)
    assert not np.any(model.output_coef_std_)
    assert np.all(model.predict(X, return_std=True)[1] > 0)
    assert np.any(TwoLayerReLURecovery(2, random_state=0).fit(X, y).hidden_coef_std_)
