"""The theorems behind `OneHiddenLayerReLU`, tested as such: recovery, rate, statistical error, limits."""

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from skrelu import OneHiddenLayerReLU, activations, starts
from skrelu.datasets import make_one_hidden_layer
from skrelu.metrics import match_units, recovery_error
from skrelu.networks import OneHiddenLayer
from skrelu.rows import Rows
from skrelu.solvers.gradient import gradient_descent
from skrelu.solvers.loop import iterate
from skrelu.whitening import unwhitened, whitening

EXACT = 1e-10


def errors_of(seeds, d, k, n, *, orthonormal=False, bias=None, **options):
    """The relative errors of the weights that default parameters recover, over seeds."""
    errors = []
    planted = {"output_weights": options.get("output_weights", "signed")}
    for seed in seeds:
        rng = np.random.default_rng(1000 + seed)
        if orthonormal:
            planted["coef"] = np.linalg.qr(rng.standard_normal((d, k)))[0].T
        if bias is not None:
            planted["bias"] = bias * rng.standard_normal(k)
            planted["output_bias"] = 1.0
        X, y, teacher = make_one_hidden_layer(n, d, k, return_teacher=True, random_state=seed, **planted)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = OneHiddenLayerReLU(k, random_state=seed, **options).fit(X, y)
        true, found = (np.column_stack([m.hidden_coef_, m.hidden_intercept_]) for m in (teacher, model))
        errors.append(recovery_error(true, found))
        if errors[-1] < EXACT:
            order = match_units(true, found)[1]
            np.testing.assert_array_equal(model.output_coef_[order], teacher.output_coef_)
            assert model.output_intercept_ == pytest.approx(teacher.output_intercept_, abs=1e-9)
            assert model.converged_
    return np.array(errors)


# Exact recovery with default parameters, consecutive seeds.


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("output_weights", ["signed", "positive"])
def test_twenty_columns_five_units(output_weights, fit_intercept):
    """Ten times the number of weights: every seed."""
    errors = errors_of(range(5), 20, 5, 1000, output_weights=output_weights, fit_intercept=fit_intercept)
    assert np.all(errors < EXACT), errors


@pytest.mark.slow
def test_three_rows_a_weight():
    """n = 3 k d: at least nine in ten are asked for; of five seeds, five."""
    errors = errors_of(range(5), 20, 5, 300)
    assert np.all(errors < EXACT), errors


@pytest.mark.parametrize("n_seeds", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_two_rows_a_weight(n_seeds):
    """n = 2 k d at (50, 5): at least half."""
    errors = errors_of(range(n_seeds), 50, 5, 500, fit_intercept=False)
    assert np.mean(errors < EXACT) >= 0.5, errors


@pytest.mark.parametrize("bias", [0.3, 1.0])
def test_planted_biases(bias):
    """Biases of size 1 leave one unit in six awake on less than a sixth of the rows, or asleep on as few."""
    errors = errors_of(range(5), 15, 4, 1200, bias=bias)
    assert np.all(errors < EXACT), errors


def test_gaussians_of_any_mean_and_covariance():
    for seed in range(5):
        X, _, teacher = make_one_hidden_layer(1200, 15, 4, return_teacher=True, random_state=seed)
        rng = np.random.default_rng(seed)
        X = X @ rng.standard_normal((15, 15)) + 3 * rng.standard_normal(15)
        model = OneHiddenLayerReLU(4, random_state=seed)
        b = -teacher.hidden_coef_ @ X.mean(axis=0)
        y = np.maximum(X @ teacher.hidden_coef_.T + b, 0) @ teacher.output_coef_
        assert recovery_error(teacher.hidden_coef_, model.fit(X, y).hidden_coef_) < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("output_weights", ["signed", "positive"])
def test_three_rows_a_weight_over_more_seeds(output_weights, fit_intercept):
    """n = 3 k d: at least nine in ten. A false alarm has probability 1e-6 at 0.9999; 0.64 and 0.5 are seen."""
    options = {"output_weights": output_weights, "fit_intercept": fit_intercept}
    assert np.mean(errors_of(range(20), 20, 5, 300, **options) < EXACT) >= 0.9
    assert np.mean(errors_of(range(10), 50, 10, 1500, **options) < EXACT) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("output_weights", ["signed", "positive"])
def test_two_and_four_rows_a_weight_over_more_seeds(output_weights):
    """Of two rows a weight half: a false alarm has probability 1e-6 where 0.96 are exact; 0.15 is seen with 0.99."""
    assert np.mean(errors_of(range(10), 50, 5, 500, output_weights=output_weights) < EXACT) >= 0.5
    assert np.all(errors_of(range(10), 50, 5, 1000, output_weights=output_weights) < EXACT)
    assert np.all(errors_of(range(5), 50, 10, 5000, output_weights=output_weights) < EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("output_weights", ["signed", "positive"])
def test_a_hundred_columns_twenty_units(output_weights):
    assert np.all(errors_of(range(3), 100, 20, 50_000, output_weights=output_weights) < EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("orthonormal", [False, True])
@pytest.mark.parametrize("output_weights", ["signed", "positive"])
def test_as_many_units_as_columns(output_weights, orthonormal):
    errors = errors_of(range(5), 20, 20, 10_000, output_weights=output_weights, orthonormal=orthonormal)
    assert np.all(errors < EXACT), errors


@pytest.mark.slow
def test_forty_orthonormal_units():
    errors = errors_of(range(3), 40, 40, 40_000, orthonormal=True)
    assert np.all(errors < EXACT), errors


@pytest.mark.parametrize("n_seeds", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_the_number_of_units_is_found(n_seeds):
    """At least nine in ten seeds, at moderate noise."""
    found = []
    for seed in range(n_seeds):
        X, y = make_one_hidden_layer(600, 10, 4, noise=0.1, random_state=seed)
        found.append(len(OneHiddenLayerReLU(random_state=seed).fit(X, y).hidden_coef_))
    assert np.mean(np.array(found) == 4) >= 0.9, found


# The linear rate of gradient descent from the tensor start.


class Path:
    """A callback that remembers the weights at the end of every block of iterations."""

    def __init__(self, teacher):
        self.teacher, self.n_iter, self.errors = teacher, [], []

    def setup(self, estimator, context):
        """Nothing to set up."""

    def teardown(self, estimator, context):
        """Nothing to tear down."""

    def on_fit_task_begin(self, estimator, context, **data):
        """Nothing to do."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None, **data):
        """Remember the error of the weights so far."""
        if context.task_name == "iterations" and fitted_estimator is not None:
            self.n_iter.append(fitted_estimator.n_iter_)
            self.errors.append(recovery_error(self.teacher.hidden_coef_, fitted_estimator.hidden_coef_))


def descent_path(seed, *, noise=0.0, d=10, k=3, n=2000, max_iter=2000):
    X, y, teacher = make_one_hidden_layer(n, d, k, noise=noise, return_teacher=True, random_state=seed)
    path = Path(teacher)
    options = {"fit_intercept": False, "random_state": seed, "tol": 0}
    model = OneHiddenLayerReLU(k, solver="gd", step_size=1.0, max_iter=max_iter, **options).set_callbacks(path)
    return path, model.fit(X, y), (X, y, teacher)


@pytest.mark.parametrize(
    "seed",
    [
        0,
        1,
        pytest.param(2, marks=pytest.mark.slow),
        pytest.param(3, marks=pytest.mark.slow),
        pytest.param(4, marks=pytest.mark.slow),
    ],
)
def test_gradient_descent_converges_linearly_to_the_planted_weights(seed):
    """The logarithm of the distance is a falling straight line over at least six decades, down to 1e-10."""
    path, model, _ = descent_path(seed)
    errors, n_iter = np.array(path.errors), np.array(path.n_iter)
    assert errors[-1] < 1e-10
    assert np.all(errors[1:] < errors[:-1] + 1e-12)
    line = (errors < 1e-3) & (errors > 1e-10)
    assert line.sum() >= 4
    slope, level = np.polyfit(n_iter[line], np.log10(errors[line]), 1)
    deviation = np.log10(errors[line]) - level - slope * n_iter[line]
    assert slope < 0
    assert np.abs(deviation).max() < 0.35  # decades, of seven
    # The rate is at least 1 - mu / L of the Gauss-Newton matrix at the solution, up to the change of L on the way.
    X = make_one_hidden_layer(2000, 10, 3, random_state=seed)[0]
    J = ((X @ model.hidden_coef_.T > 0) * model.output_coef_)[:, :, None] * X[:, None, :]
    values = np.linalg.eigvalsh(np.einsum("nip,njq->ipjq", J, J, optimize=True).reshape(30, 30) / 2000)
    assert 10**slope <= 1 - 0.8 * values[0] / values[-1]
    assert 10**slope >= 1 - 3 * values[0] / values[-1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The fit did not converge")  # it counts as it is
def test_gradient_descent_comes_to_the_planted_weights_over_many_seeds(least_successes):
    """High probability is 0.95 here: a false alarm has probability 1e-6, a share of 0.71 is seen with 0.99.

    Linear: the log loss is less than a decade off a falling straight line over a dozen of them.
    """
    succeeded = 0
    for seed in range(100):
        X, y, teacher = make_one_hidden_layer(2000, 10, 2, return_teacher=True, random_state=seed)
        options = {"fit_intercept": False, "max_iter": 1500, "tol": 1e-13, "random_state": seed}
        model = OneHiddenLayerReLU(2, solver="gd", step_size=1.0, **options).fit(X, y)
        curve = np.log10(2 * np.array(model.loss_curve_) / np.mean(y**2))
        line = np.flatnonzero((curve < -6) & (curve > -18))
        slope, level = np.polyfit(line, curve[line], 1)
        linear = slope < 0 and np.abs(curve[line] - level - slope * line).max() < 1
        succeeded += linear and recovery_error(teacher.hidden_coef_, model.hidden_coef_) < EXACT
    assert succeeded >= least_successes(100, 0.95)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_gradient_descent_with_noise_converges_linearly_to_the_statistical_error(seed):
    path, model, (X, y, teacher) = descent_path(seed, noise=0.1)
    errors = np.array(path.errors)
    # It falls, and then stays: the level is that of the local optimum, the default solver's.
    optimum = OneHiddenLayerReLU(3, alpha=0, fit_intercept=False, random_state=seed).fit(X, y)
    level = recovery_error(teacher.hidden_coef_, optimum.hidden_coef_)
    # Every row on a kink makes two local optima of one; they are near one another.
    assert errors[-1] == pytest.approx(level, rel=0.05)
    assert errors[-1] == pytest.approx(errors[len(errors) // 2], rel=0.05)
    assert optimum.loss_ <= model.loss_ * (1 + 1e-6)
    assert recovery_error(teacher.hidden_coef_, model.init_coef_) > 2 * level
    # It is of the order sigma sqrt(k d / n).
    assert level < 10 * 0.1 * np.sqrt(30 / 2000)


# The statistical error.


def statistical_errors(seeds, sigma, n, d=8, k=3):
    """Squared errors of the weights over the trace of ``sigma^2 (J'J)^-1``, J the derivative at the planted weights."""
    ratios, errors = [], []
    for seed in seeds:
        X, y, teacher = make_one_hidden_layer(n, d, k, noise=sigma, return_teacher=True, random_state=seed)
        model = OneHiddenLayerReLU(k, alpha=0, fit_intercept=False, random_state=seed).fit(X, y)
        error = recovery_error(teacher.hidden_coef_, model.hidden_coef_) ** 2 * k  # unit rows
        J = (((X @ teacher.hidden_coef_.T) > 0)[:, :, None] * X[:, None, :]).reshape(n, -1)
        J = J * np.repeat(teacher.output_coef_, d)
        errors.append(error)
        ratios.append(error / (sigma**2 * np.trace(np.linalg.inv(J.T @ J))))
    return np.mean(ratios), np.sqrt(np.mean(errors))


@pytest.mark.slow
def test_the_error_is_that_of_the_information_matrix():
    """Twelve seeds of 24 weights: the mean of chi squares over their number has a spread of about 0.09."""
    ratio, _ = statistical_errors(range(12), 0.01, 1000)
    assert 0.75 < ratio < 1.3


def test_the_error_is_proportional_to_the_noise_and_to_one_over_the_root_of_n():
    sigmas, sizes = np.array([0.001, 0.1]), np.array([400, 3200])
    by_sigma = [statistical_errors(range(6), sigma, 800)[1] for sigma in sigmas]
    by_size = [statistical_errors(range(6), 0.05, n)[1] for n in sizes]
    assert np.polyfit(np.log(sigmas), np.log(by_sigma), 1)[0] == pytest.approx(1, abs=0.02)
    assert np.polyfit(np.log(sizes), np.log(by_size), 1)[0] == pytest.approx(-0.5, abs=0.1)


def oracle_weights(X, y, W, v):
    """The local optimum reached from the planted weights by another package: L-BFGS of SciPy, kinks smoothed away.

    It stops at a kink otherwise, wherever it meets the first.
    """

    def f(w, eps):
        Z = X @ w.reshape(W.shape).T
        ramp = np.clip(Z / eps + 0.5, 0, 1)
        r = np.where(eps / 2 < Z, Z, eps / 2 * ramp**2) @ v - y
        return r @ r / len(y) / 2, ((ramp * v * r[:, None]).T @ X).ravel() / len(y)

    w = W.ravel()
    for eps in (1e-1, 1e-2, 1e-3, 1e-4):
        options = {"maxiter": 3000, "maxfun": 10_000, "ftol": 0, "gtol": 1e-9}
        w = minimize(f, w, args=(eps,), jac=True, method="L-BFGS-B", options=options).x
    return w.reshape(W.shape)


@pytest.mark.parametrize(
    ("sigma", "n_seeds"),
    [(0.3, 3), pytest.param(0.3, 9, marks=pytest.mark.slow), pytest.param(0.05, 9, marks=pytest.mark.slow)],
)
def test_the_error_is_that_of_the_local_optimum_reached_from_the_truth(sigma, n_seeds):
    """The median over the seeds of the ratio of the errors is at most 1.01."""
    ratios = []
    for seed in range(n_seeds):
        X, y, teacher = make_one_hidden_layer(1000, 12, 4, noise=sigma, return_teacher=True, random_state=seed)
        model = OneHiddenLayerReLU(4, alpha=0, fit_intercept=False, random_state=seed).fit(X, y)
        oracle = oracle_weights(X, y, teacher.hidden_coef_, teacher.output_coef_)
        from_truth = OneHiddenLayerReLU(4, alpha=0, fit_intercept=False, init=teacher.hidden_coef_).fit(X, y)
        oracle_loss = np.mean((np.maximum(X @ oracle.T, 0) @ teacher.output_coef_ - y) ** 2) / 2
        assert from_truth.loss_ <= oracle_loss * (1 + 1e-3)
        references = [recovery_error(teacher.hidden_coef_, W) for W in (oracle, from_truth.hidden_coef_)]
        ratios.append(recovery_error(teacher.hidden_coef_, model.hidden_coef_) / np.array(references))
    assert np.all(np.median(ratios, axis=0) <= 1.01), ratios


# What the theorems do not promise, and does not happen.


def lowest_descent(X, y, k, n_negative, seeds):
    """The lowest loss that gradient descent reaches from random starts with so many negative outputs."""
    rows, losses = Rows(X, y), []
    coordinates = whitening(rows, centered=True)
    for seed in seeds:
        rng = np.random.RandomState(seed)
        start = starts.random_start(rows, coordinates, activations.relu, k, n_negative, rng, fit_intercept=False)
        network = OneHiddenLayer(
            rows, activations.relu, unwhitened(coordinates), start.output, fit_intercept=False, free_output=False
        )
        theta = network.parameters(start)
        descent = gradient_descent(network, theta, step_size=1.0)
        losses.append(min(iterate(descent, theta, max_iter=600, tol=-1.0, criterion="").loss_curve))
    return min(losses)


@pytest.mark.parametrize(
    "n_negative", [number if number == 1 else pytest.param(number, marks=pytest.mark.slow) for number in range(4)]
)
def test_descent_with_the_wrong_number_of_negative_outputs_stalls(n_negative):
    """Descent does not change the signs of v: a wrong number of them is never made good."""
    v = np.where(np.arange(3) < n_negative, -1.0, 1.0)
    X, y, _ = make_one_hidden_layer(600, 8, 3, output_coef=v, return_teacher=True, random_state=n_negative)
    lowest = [lowest_descent(X, y, 3, m, range(4)) for m in range(4)]
    wrong = [loss for m, loss in enumerate(lowest) if m != n_negative]
    assert lowest[n_negative] < 1e-5
    assert min(wrong) > 100 * lowest[n_negative]
    assert min(wrong) > 1e-2 * np.var(y)


def test_two_parallel_units_cannot_be_told_apart_and_the_fit_says_so():
    """Without biases max(0, <w, x>) + max(0, <2 w, x>) is one unit: the residual vanishes, the weights stay open."""
    for seed in range(3):
        W = np.random.default_rng(seed).standard_normal((3, 10))
        W[1] = 2 * W[0]
        X, y = make_one_hidden_layer(600, coef=W, output_coef=np.ones(3), random_state=seed)
        model = OneHiddenLayerReLU(3, fit_intercept=False, random_state=seed).fit(X, y)
        assert model.loss_ < 1e-20
        assert "determine" in model.stop_reason_


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_fewer_rows_than_weights_determine_nothing_and_the_fit_says_so(fit_intercept):
    for seed in range(2):
        X, y, teacher = make_one_hidden_layer(60, 20, 5, return_teacher=True, random_state=seed)
        model = OneHiddenLayerReLU(5, alpha=0, fit_intercept=fit_intercept, n_init=2, random_state=seed)
        model.fit(X, y)
        size = 106 if fit_intercept else 100
        assert f"60 rows do not determine {size} weights" in model.stop_reason_
        assert recovery_error(teacher.hidden_coef_, model.hidden_coef_) > 0.1


def test_weights_count_as_rows_where_it_is_said_what_they_determine():
    X, y = make_one_hidden_layer(60, 20, 5, random_state=0)
    told = OneHiddenLayerReLU(5, alpha=0, random_state=0).fit(X, y, np.full(60, 0.5)).stop_reason_
    assert "30 rows do not determine 106 weights" in told


def test_within_the_assumptions_nothing_is_withdrawn():
    X, y = make_one_hidden_layer(600, 10, 3, random_state=0)
    told = OneHiddenLayerReLU(3, random_state=0).fit(X, y).stop_reason_
    assert "determine" not in told
    assert "guarantee" not in told


@pytest.mark.slow
@pytest.mark.parametrize("output_weights", ["signed", "positive"])
def test_the_tensor_start_is_as_near_as_its_targets_say(output_weights):
    """(20, 5, 10 000): at most 0.12 in the median of five seeds; it falls like one over the root of n."""
    medians = []
    for n in (10_000, 40_000):
        errors = []
        for seed in range(5):
            options = {"output_weights": output_weights, "random_state": seed}
            X, y, teacher = make_one_hidden_layer(n, 20, 5, return_teacher=True, **options)
            model = OneHiddenLayerReLU(5, solver="gd", tol=0, max_iter=1, fit_intercept=False, **options).fit(X, y)
            errors.append(recovery_error(teacher.hidden_coef_, model.init_coef_))
        medians.append(np.median(errors))
    assert medians[0] <= 0.12
    assert medians[1] / medians[0] == pytest.approx(0.5, abs=0.15)
