"""Solvers of quadratic networks: against numpy's least squares, certificates, planted matrices and closed forms."""

import itertools
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes

from skrelu.certificates import certificate, reference_norm
from skrelu.datasets import make_quadratic
from skrelu.networks.quadratic import QuadraticModel, QuadraticNetwork
from skrelu.networks.quadratic_form import QuadraticForm
from skrelu.rows import Rows
from skrelu.solvers import linear
from skrelu.solvers import quadratic as quadratic_solvers
from skrelu.solvers.descent import MARGIN, Descent, best_of_starts, papers_descent
from skrelu.solvers.gradient import largest_curvature
from skrelu.solvers.linear import conjugate_descent
from skrelu.solvers.loop import INTERRUPTED, STOPPED
from skrelu.solvers.newton import ROUNDING, newton_cg
from skrelu.solvers.quadratic import least_squares, low_rank, polished, proximal_start, rank_adapted
from skrelu.starts import quadratic_start, spectral_start

HEADS = list(itertools.product([True, False], repeat=2))  # fit_linear, fit_intercept


def table(seed, n, d, noise=1.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) @ (np.eye(d) + 0.2 * rng.standard_normal((d, d))) * np.arange(1, d + 1) + 0.5
    M = rng.standard_normal((d, d)) / np.arange(1, d + 1) / np.arange(1, d + 1)[:, None]
    y = np.einsum("ij,ij->i", X @ M, X) + X @ rng.standard_normal(d) + 3 + noise * rng.standard_normal(n)
    return X, y


def model_of(X, y, weight=None, head=(True, True), alpha=0.0, positive=False):
    return QuadraticModel.of(
        Rows(X, y, weight), fit_linear=head[0], fit_intercept=head[1], alpha=alpha, positive=positive
    )


def features_of(model):
    """The features of a `QuadraticForm` of dense rows, in the units of its theta."""
    white = (np.vstack([X for X, _, _ in model.rows._blocks]) - model.whitening.center) @ model.whitening.columns
    i, j = np.triu_indices(model.whitening.size)
    products = (white[:, i] * white[:, j] - (i == j) * model.fit_intercept) / np.where(i == j, 2**0.5, 1.0)
    d = white.shape[1] * model.fit_linear
    return np.hstack([products, white[:, :d], np.ones((len(white), int(model.fit_intercept)))])


def lowest(model, weight=None, rcond=1e-10):
    """(theta, objective) of numpy's least squares."""
    A = features_of(model)
    y = np.concatenate([y for _, y, _ in model.rows._blocks]) / model.target_scale
    p = np.full(len(A), 1 / len(A)) if weight is None else weight / weight.sum()
    theta = np.linalg.lstsq(p[:, None] ** 0.5 * A, p**0.5 * y, rcond=rcond)[0]
    return theta, p @ (A @ theta - y) ** 2 / 2


def n_features(d, head):
    return d * (d + 1) // 2 + d * head[0] + head[1]


# Least squares.


@pytest.mark.parametrize("share", [0.3, 0.8, 1.0])
@pytest.mark.parametrize("head", HEADS)
def test_as_many_weights_as_rows_interpolate_and_are_the_smallest(head, share):
    for seed, d in [(0, 6), (1, 12)]:
        n = round(share * n_features(d, head))
        model = model_of(*table(seed, n, d), head=head)
        form, run = least_squares(QuadraticForm(model), tol=1e-12, max_iter=5000)
        assert run.converged
        assert 2 * run.objective <= 1e-12
        assert run.objective == form.loss(run.theta)
        expected = lowest(model)[0]
        if share < 1:
            np.testing.assert_allclose(run.theta, expected, atol=1e-9 * np.linalg.norm(expected))


@pytest.mark.parametrize("n", [10, 20, 21])
@pytest.mark.parametrize("head", HEADS)
def test_n_up_to_the_number_of_products_is_interpolated_whatever_the_head(head, n):
    """The theorem: d (d + 1) / 2 = 21 rows of six columns in general position."""
    model = model_of(*table(3, n, 6), head=head)
    _, run = least_squares(QuadraticForm(model), tol=1e-12, max_iter=5000)
    assert 2 * run.objective <= 1e-12
    parts = QuadraticForm(model).parts(run.theta)
    assert certificate(model, parts, reference_norm(model, *spectral_start(model))).gap < 1e-8


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_more_rows_are_fitted_as_by_numpy(head, weighted):
    for seed, d in [(0, 4), (1, 10)]:
        X, y = table(seed, 3 * n_features(d, head), d)
        weight = np.random.default_rng(seed).random(len(X)) + 0.1 if weighted else None
        model = model_of(X, y, weight, head)
        form, run = least_squares(QuadraticForm(model), tol=1e-12, max_iter=5000)
        theta, objective = lowest(model, weight)
        assert run.converged
        assert run.objective == pytest.approx(objective, rel=1e-12)
        np.testing.assert_allclose(run.theta, theta, atol=1e-10 * np.linalg.norm(theta))
        told = certificate(model, form.parts(run.theta), reference_norm(model, *spectral_start(model)))
        assert told.gap < 1e-10


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("load", [load_diabetes, load_breast_cancer])
def test_real_tables_are_fitted_as_by_numpy(load, head):
    """Diabetes has a column of two values, whose square is another linear one; breast cancer has collinear columns."""
    X, y = load(return_X_y=True)
    X = X / X.std(axis=0)
    model = model_of(X, y.astype(float), head=head)
    _, run = least_squares(QuadraticForm(model), tol=1e-11, max_iter=2000)
    theta, objective = lowest(model, rcond=1e-11)
    assert run.converged
    assert run.objective == pytest.approx(objective, rel=1e-10)
    A = features_of(model)
    np.testing.assert_allclose(A @ run.theta, A @ theta, atol=1e-8)


def test_weights_repeat_rows_in_least_squares():
    X, y = table(0, 60, 4)
    counts = np.random.default_rng(0).integers(0, 4, 60)
    runs = []
    for rows in ((X, y, counts), (np.repeat(X, counts, axis=0), np.repeat(y, counts), None)):
        model = model_of(*rows)
        form, run = least_squares(QuadraticForm(model), tol=1e-12, max_iter=1000)
        runs.append(model.user(*form.parts(run.theta)))
    for a, b in zip(*runs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_slow_conjugate_gradients_are_preconditioned(monkeypatch):
    """With a budget of a few plain steps; weights beyond `FEW_WEIGHTS` go on without the Gram matrix."""
    monkeypatch.setattr(quadratic_solvers, "PLAIN_ITERATIONS", 3)
    model = model_of(*table(0, 90, 6))
    theta, objective = lowest(model)
    form, run = least_squares(QuadraticForm(model), tol=1e-11, max_iter=1000)
    assert run.converged
    assert 4 <= len(run.loss_curve) <= 8
    assert run.objective == pytest.approx(objective, rel=1e-12)
    np.testing.assert_allclose(run.theta, theta, atol=1e-9)
    assert form._inverse_factor is not None
    monkeypatch.setattr(quadratic_solvers, "FEW_WEIGHTS", 5)
    form, run = least_squares(QuadraticForm(model), tol=1e-11, max_iter=1000)
    assert form._inverse_factor is None
    assert len(run.loss_curve) > 15
    np.testing.assert_allclose(run.theta, theta, atol=1e-9)


def test_preconditioned_steps_from_zero_give_the_smallest_solution_too(monkeypatch):
    monkeypatch.setattr(quadratic_solvers, "PLAIN_ITERATIONS", 3)
    model = model_of(*table(0, 15, 6))
    theta, _ = lowest(model)
    form, run = least_squares(QuadraticForm(model), tol=1e-11, max_iter=1000)
    assert form._inverse_factor is not None
    assert 2 * run.objective <= 1e-12
    # The first three steps were those of the gradient: in the span of the rows, as all are.
    np.testing.assert_allclose(run.theta, theta, atol=1e-9)


def test_max_iter_and_the_user_end_least_squares():
    model = model_of(*table(0, 90, 6))
    form, run = least_squares(QuadraticForm(model), tol=1e-12, max_iter=5)
    assert len(run.loss_curve) == 5
    assert not run.converged
    assert "max_iter = 5" in run.stop_reason
    assert run.objective == form.loss(run.theta)
    form, run = least_squares(QuadraticForm(model), tol=1e-12, max_iter=50, watch=lambda n, theta: n == 4)
    assert len(run.loss_curve) == 4
    assert run.stop_reason == STOPPED
    assert form._inverse_factor is None


def steps_of(method, n=10_000):
    steps = []
    for step in islice(method, n):
        steps.append(step)
        if step.finished:
            break
    return steps


@dataclass
class Counted:
    """A form that counts how often its gradient is taken."""

    form: QuadraticForm
    passes: list

    def __getattr__(self, name):
        return getattr(self.form, name)

    def value_and_gradient(self, theta):
        self.passes.append(0)
        return self.form.value_and_gradient(theta)


@pytest.mark.parametrize("restart", [3, 250])
@pytest.mark.parametrize("ready", [False, True])
def test_conjugate_descent_tells_the_value_and_the_criterion_of_its_points(monkeypatch, restart, ready):
    rng = np.random.default_rng(0)
    form = QuadraticForm(model_of(*table(0, 60, 4)))
    if ready:
        # Of a matrix that is not the Hessian, lest one step be all.
        A = rng.standard_normal((form.n_weights, 2 * form.n_weights))
        form = QuadraticForm(form.model, A @ A.T / form.n_weights)
    theta = rng.standard_normal(form.n_weights)
    passes = []
    monkeypatch.setattr(linear, "RESTART", restart)
    problem = Counted(form, passes)
    steps = steps_of(conjugate_descent(problem, theta), 7)
    assert len(passes) == -(-7 // restart)
    assert steps[-1].criterion < steps[0].criterion
    for step in steps:
        value, gradient = form.value_and_gradient(step.parameters)
        assert step.objective == pytest.approx(value, rel=1e-10)
        size = max(gradient @ form.metric(None)(gradient), 0) ** 0.5
        assert step.criterion == pytest.approx(size, rel=1e-6, abs=1e-8)


def test_conjugate_descent_takes_the_best_of_the_krylov_space():
    """After m steps: the lowest objective in the span of g, H g, ..., H^(m - 1) g."""
    form = QuadraticForm(model_of(*table(0, 60, 4)))
    theta = np.zeros(form.n_weights)
    _, gradient = form.value_and_gradient(theta)
    product = form.curvature_product(theta)
    H = np.column_stack([product(e) for e in np.eye(form.n_weights)])
    basis = gradient[:, None] / np.linalg.norm(gradient)
    for step in steps_of(conjugate_descent(form, theta), 5):
        best = basis @ np.linalg.solve(basis.T @ H @ basis, -basis.T @ gradient)
        np.testing.assert_allclose(step.parameters, best, atol=1e-10)
        basis = np.linalg.qr(np.column_stack([basis, H @ basis[:, -1]]))[0]


def test_with_the_gram_matrix_one_step_is_all():
    model = model_of(*table(0, 60, 4))
    form = QuadraticForm(model).preconditioned()
    first = steps_of(conjugate_descent(form, np.zeros(form.n_weights)), 1)[0]
    np.testing.assert_allclose(first.parameters, lowest(model)[0], atol=1e-10)


def test_conjugate_descent_ends_where_the_gradient_is_zero():
    """At the start, and after the restarts of a problem that is solved."""
    X, _ = table(0, 30, 3)
    form = QuadraticForm(model_of(X, np.zeros(30)))
    steps = steps_of(conjugate_descent(form, np.zeros(form.n_weights)))
    assert len(steps) == 1
    assert "gradient is zero" in steps[0].finished
    assert steps[0].converged
    assert steps[0].criterion == 0
    assert steps[0].objective == 0


def test_conjugate_descent_goes_on_from_the_gradient_itself_until_nothing_is_left():
    """The last iterate is the only one that is finished, and no other follows."""
    form = QuadraticForm(model_of(*table(0, 60, 2)))
    steps = list(conjugate_descent(form, np.zeros(form.n_weights)))
    assert [bool(step.finished) for step in steps] == [False] * (len(steps) - 1) + [True]
    np.testing.assert_allclose(steps[-1].parameters, lowest(form.model)[0], atol=1e-9)


# The convex problem with decay or positive outputs.


def solved(model, goal=1e-8, tol=1e-10, max_iter=2000, start="none", **options):
    """The network, the descent and the certificate, from no units or from proximal steps."""
    matrix, beta, mean = spectral_start(model)
    reference = reference_norm(model, matrix, beta, mean)
    network, first = QuadraticNetwork(model, np.zeros(0)), Descent(model.packed_head(beta, mean))
    if start == "proximal":
        network, first = proximal_start(model, first.theta, max_iter=max_iter)
    options = {"max_iter": max_iter, **options}
    network, run = rank_adapted(network, first, reference, goal=goal, tol=tol, options=lambda network: dict(options))
    return network, run, certificate(model, network.parts(run.theta), reference)


@pytest.mark.parametrize("n", [30, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("alpha", [1e-3, 0.03, 1.0, 30.0])
@pytest.mark.parametrize("start", ["none", "proximal"])
def test_the_optimum_among_all_ranks_is_reached_and_certified(start, alpha, positive, n):
    X, y = table(0, n, 10)
    alpha = alpha * np.std(y)
    network, run, told = solved(model_of(X, y, alpha=alpha, positive=positive), start=start)
    assert run.converged
    assert abs(told.gap) <= 1e-8
    curve = np.array(run.loss_curve)
    assert np.all(np.diff(curve) <= 1e-12 * curve[:-1])
    assert run.objective == pytest.approx(network.value_and_gradient(run.theta)[0], rel=1e-13)
    assert network.n_hidden <= 10
    assert not positive or np.all(network.output == 1)


@pytest.mark.parametrize("n", [30, 300])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("start", ["none", "proximal"])
def test_the_best_positive_matrix_is_reached_and_certified_without_decay(start, head, n):
    network, run, told = solved(model_of(*table(0, n, 10), head=head, positive=True), start=start)
    assert run.converged
    assert told.gap <= 1e-8
    assert np.all(network.output == 1)
    curve = np.array(run.loss_curve)
    assert np.all(np.diff(curve) <= np.maximum(1e-12 * curve[:-1], 1e-25))


def test_more_decay_takes_fewer_units_and_enough_takes_none():
    X, y = table(0, 100, 8)
    ranks, penalties = [], []
    for alpha in np.std(y) * np.array([0.01, 0.1, 0.5, 2.0, 100.0]):
        model = model_of(X, y, alpha=alpha)
        network, run, _ = solved(model)
        ranks.append(network.n_hidden)
        M, beta, _ = model.user(*network.parts(run.theta))
        nuclear = np.abs(np.linalg.eigvalsh(model.scales[:, None] * M * model.scales)).sum()
        penalties.append(nuclear + np.sum((beta * model.scales) ** 2))
    assert ranks == sorted(ranks, reverse=True)
    assert ranks[0] > ranks[2] > ranks[-1] == 0
    assert penalties == sorted(penalties, reverse=True)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.2])
def test_weights_repeat_rows_in_the_optimum(alpha, positive):
    X, y = table(1, 80, 5)
    counts = np.random.default_rng(0).integers(0, 4, 80)
    results = []
    for rows in ((X, y, counts), (np.repeat(X, counts, axis=0), np.repeat(y, counts), None)):
        model = model_of(*rows, alpha=alpha * np.std(y), positive=positive)
        network, run, _ = solved(model) if alpha or positive else (None, None, None)
        if network is None:
            form, run = least_squares(QuadraticForm(model), tol=1e-12, max_iter=1000)
            results.append(model.user(*form.parts(run.theta)))
        else:
            results.append(model.user(*network.parts(run.theta)))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-8)


def test_the_solution_does_not_depend_on_the_scales_of_the_columns():
    X, y = table(0, 60, 5)
    D = np.array([1e-3, 1.0, 20.0, 1e4, 0.1])
    for positive in (False, True):
        results = []
        for columns in (X, X * D):
            model = model_of(columns, y, alpha=0.1 * np.std(y), positive=positive)
            network, run, _ = solved(model)
            results.append(model.user(*network.parts(run.theta)))
        (M, beta, c), (M_scaled, beta_scaled, c_scaled) = results
        np.testing.assert_allclose(M_scaled * D * D[:, None], M, atol=1e-7 * np.abs(M).max())
        np.testing.assert_allclose(beta_scaled * D, beta, atol=1e-7 * np.abs(beta).max())
        assert c_scaled == pytest.approx(c, rel=1e-7)


def test_collinear_and_constant_columns_do_not_stop_it():
    X, y = table(0, 60, 4)
    more = np.column_stack([X, X[:, 0] + X[:, 1], np.full(60, 7.0)])
    for alpha, positive, head in itertools.product([0.0, 0.1], [False, True], HEADS):
        # Without decay a positive matrix may use an intercept and a constant column for a linear part, at infinity.
        attained = alpha or head != (False, True)
        if (alpha or positive) and attained:
            network, run, told = solved(model_of(more, y, alpha=alpha * np.std(y), positive=positive, head=head))
            assert run.converged
            assert told.gap <= 1e-8
            assert np.all(np.isfinite(network.model.user(*network.parts(run.theta))[0]))


def test_a_constant_column_changes_nothing_beside_a_linear_part_and_an_intercept():
    X, y = table(0, 60, 4)
    results = []
    for columns in (X, np.column_stack([X, np.full(60, 7.0)])):
        model = model_of(columns, y, alpha=0.1 * np.std(y))
        network, run, _ = solved(model)
        results.append((run.objective, model.user(*network.parts(run.theta))))
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-12)
    for was, now in zip(results[0][1], results[1][1], strict=True):
        part = now[tuple(slice(size) for size in was.shape)] if np.ndim(was) else now
        np.testing.assert_allclose(part, was, atol=1e-7)
    np.testing.assert_array_equal(results[1][1][0][4], 0)


def test_it_is_ended_by_max_iter_and_by_the_user_and_does_not_say_it_converged():
    X, y = table(0, 60, 8)
    model = model_of(X, y, alpha=0.1 * np.std(y))
    _, run, told = solved(model, max_iter=5)
    assert len(run.loss_curve) == 5
    assert told.gap > 1e-8
    assert not run.converged
    calls = []
    network, run, _ = solved(model, watch=lambda n, theta: calls.append(n) or n == 7)
    assert calls == list(range(1, 8))
    assert run.stop_reason == STOPPED
    assert not run.converged
    assert len(network.unpack(run.theta)[0]) == network.n_hidden


def test_an_interruption_between_two_rounds_keeps_the_network_before(monkeypatch):
    X, y = table(0, 60, 4)
    model = model_of(X, y, alpha=0.01 * np.std(y))

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(quadratic_solvers, "certificate", interrupted)
    network, run, _ = solved(model)
    assert run.stop_reason == INTERRUPTED
    assert not run.converged
    assert network.n_hidden == 0


@np.errstate(over="ignore", invalid="ignore")
def test_a_start_whose_weights_overflow_is_an_error():
    X, y = table(0, 60, 4)
    model = model_of(X, y, alpha=1.0)
    with pytest.raises(ValueError, match="X or y: weights of their scales overflow float64; rescale them"):
        proximal_start(model, model.packed_head(np.full(4, 1e308), 0.0), max_iter=10)


def test_beyond_the_columns_of_proximal_steps_the_start_has_no_units(monkeypatch):
    X, y = table(0, 60, 6)
    model = model_of(X, y, alpha=0.01 * np.std(y))
    _, beta, mean = spectral_start(model)
    head = model.packed_head(beta, mean)
    network, _ = proximal_start(model, head, max_iter=1000)
    assert network.n_hidden > 1
    monkeypatch.setattr(quadratic_solvers, "PROXIMAL_COLUMNS", 5)
    network, first = proximal_start(model, head, max_iter=1000)
    assert network.n_hidden == 0
    np.testing.assert_array_equal(first.theta, head)


def test_added_units_have_the_sizes_of_least_squares_along_their_squares():
    X, y = table(0, 60, 6)
    y = y + 5 * np.sum((X / X.std(axis=0)) ** 2, axis=1)
    for alpha, positive in itertools.product([0.0, 0.01], [False, True]):
        model = model_of(X, y, alpha=alpha * np.std(y), positive=positive)
        matrix, beta, mean = spectral_start(model)
        network, head = QuadraticNetwork(model, np.zeros(0)), model.packed_head(beta, mean)
        head = Descent(head).followed_by(newton_cg, network, tol=1e-12, max_iter=50).theta
        told = certificate(model, network.parts(head), reference_norm(model, matrix, beta, mean))
        new = np.flatnonzero(told.slopes > 1e-3 * told.unit)
        assert len(new) > 1
        larger, theta = quadratic_solvers._with_more(network, head, told, new)
        W, kept, signs = larger.unpack(theta)
        np.testing.assert_array_equal(kept, head)
        # The objective along squares of the units is -<slope, tau> + tau' Q tau / 2, and tau its lowest point.
        squares = (
            told.signs[new] * (((X - model.whitening.center) @ model.whitening.columns) @ told.directions[new].T) ** 2
        )
        Q, slope = squares.T @ squares / len(X), told.slopes[new]
        tau = np.zeros(len(new))
        for w, sign in zip(W, signs, strict=True):
            a = np.argmax(np.abs(told.directions[new] @ w) / np.linalg.norm(told.directions[new], axis=1))
            tau[a] = w @ w / (told.directions[new][a] @ told.directions[new][a])
            assert sign == told.signs[new][a]
        derivative, used = Q @ tau - slope, tau > 1e-9 * tau.max()
        np.testing.assert_allclose(derivative[used], 0, atol=1e-8 * slope.max())
        assert np.all(derivative >= -1e-8 * slope.max())
        before, after = network.value_and_gradient(head)[0], larger.value_and_gradient(theta)[0]
        assert after - before == pytest.approx(-slope @ tau + tau @ Q @ tau / 2, rel=1e-9)
        assert after < before


def test_what_the_certificate_does_not_admit_has_not_converged(monkeypatch):
    """Descent that ends at its tolerance, and no direction to go on."""
    X, y = table(0, 60, 4)
    model = model_of(X, y, alpha=0.1 * np.std(y))
    assert solved(model)[1].converged

    def never(*args):
        return replace(certificate(*args), gap=1.0, slopes=np.full(4, -1.0))

    monkeypatch.setattr(quadratic_solvers, "certificate", never)
    assert not solved(model)[1].converged


# Few units.


def planted(seed, n, d, k, positive, head=(False, False)):
    X, y, teacher = make_quadratic(
        n,
        d,
        k,
        output_weights="positive" if positive else "signed",
        linear_coef=np.ones(d) * head[0],
        output_bias=2.0 * head[1],
        return_teacher=True,
        random_state=seed,
    )
    return model_of(X, y, head=head, positive=positive), teacher


def fitted(model, k, seed, n_starts=9, init="spectral", begin=lambda: False, **options):
    rng = np.random.RandomState(seed)
    network, theta = quadratic_start(model, spectral_start(model), k, rng, init=init)
    return low_rank(network, Descent(theta), rng, n_starts=n_starts, begin=begin, **{"max_iter": 1000, **options})


def n_recovered(seeds, n, d, k, positive, head=(False, False), **options):
    count = 0
    for seed in seeds:
        model, teacher = planted(seed, n, d, k, positive, head)
        network, run = fitted(model, k, seed, **options)
        M, beta, c = model.user(*network.parts(run.theta))
        error = np.linalg.norm(M - teacher.matrix_) / np.linalg.norm(teacher.matrix_)
        exact = error < 1e-9 and np.abs(beta - teacher.coef_).max() < 1e-8 and abs(c - teacher.intercept_) < 1e-8
        # What it says agrees with what it has.
        assert exact == network.is_lowest(run.objective)
        count += exact
    return count


@pytest.mark.parametrize("positive", [False, True])
def test_five_units_are_recovered_from_one_and_a_half_times_as_many_rows_as_weights(positive):
    assert n_recovered(range(12), 150, 20, 5, positive) == 12


@pytest.mark.parametrize("positive", [False, True])
def test_with_a_linear_part_and_an_intercept_from_twice_as_many(positive):
    assert n_recovered(range(6), 2 * (100 + 21), 20, 5, positive, (True, True)) == 6


@pytest.mark.parametrize("positive", [False, True])
def test_small_random_starts_recover_too(positive):
    assert n_recovered(range(6), 200, 20, 5, positive, init="random") == 6


@pytest.mark.parametrize(
    ("n", "positive", "at_least"),
    [
        (40, True, 10),
        (40, False, 7),
        pytest.param(60, True, 12, marks=pytest.mark.slow),
        pytest.param(60, False, 12, marks=pytest.mark.slow),
    ],
)
def test_one_unit_is_real_phase_retrieval(n, positive, at_least):
    """Below 2 d - 1 = 39 rows the solution is not unique."""
    assert n_recovered(range(12), n, 20, 1, positive) >= at_least


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "d", "k", "positive", "share"),
    [
        (150, 20, 5, False, 0.95),
        (150, 20, 5, True, 0.95),
        (375, 50, 5, False, 0.95),
        (375, 50, 5, True, 0.95),
        (40, 20, 1, True, 0.8),
        (40, 20, 1, False, 0.6),
        (150, 50, 1, True, 0.95),
    ],
)
def test_recovery_over_many_seeds(n, d, k, positive, share):
    assert n_recovered(range(100, 140), n, d, k, positive) >= share * 40


def test_the_kept_start_is_that_of_the_lowest_objective():
    """Without further starts the first, however bad; with them never a worse one."""
    for seed in range(6):
        model, _ = planted(seed, 40, 20, 1, False)
        objectives = [fitted(model, 1, seed, n_starts=n)[1].objective for n in (0, 3, 9)]
        assert objectives[0] >= objectives[1] >= objectives[2]


def test_few_units_stop_as_they_are_told():
    model, _ = planted(0, 110, 20, 5, False)
    network, run = fitted(model, 5, 0, begin=lambda: True)
    assert run.stop_reason == STOPPED or network.is_lowest(run.objective)
    _, run = fitted(model, 5, 0, n_starts=0, max_iter=3)
    assert len(run.loss_curve) == 3
    assert not run.converged


def test_noise_is_fitted_to_a_point_where_the_gradient_vanishes():
    for alpha, positive in itertools.product([0.0, 0.05], [False, True]):
        X, y = make_quadratic(300, 10, 3, noise=0.3, random_state=0)
        model = model_of(X, y, alpha=alpha, positive=positive)
        network, run = fitted(model, 3, 0)
        run = polished(network, run, tol=1e-10, max_iter=1000)
        assert run.converged
        value, gradient = network.value_and_gradient(run.theta)
        assert run.objective == pytest.approx(value, rel=1e-13)
        assert gradient @ network.metric(run.theta)(gradient) <= 1e-20
        assert network.n_hidden <= 3
        assert not positive or np.all(network.output == 1)


def test_weights_repeat_rows_of_few_units():
    X, y = make_quadratic(200, 8, 3, noise=0.3, random_state=0)
    counts = np.random.default_rng(0).integers(0, 4, 200)
    results = []
    for rows in ((X, y, counts), (np.repeat(X, counts, axis=0), np.repeat(y, counts), None)):
        model = model_of(*rows)
        network, run = fitted(model, 3, 0)
        run = polished(network, run, tol=1e-12, max_iter=1000)
        results.append(model.user(*network.parts(run.theta)))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


def test_wide_networks_have_outputs_of_either_sign_that_are_admissible(monkeypatch):
    widths = []

    class Spy(QuadraticNetwork):
        def __init__(self, model, output):
            super().__init__(model, output)
            assert set(np.abs(self.output)) <= {1.0}
            widths.append((self.n_hidden, int(np.sum(self.output > 0)), model.alpha, model.target_scale))

    monkeypatch.setattr(quadratic_solvers, "QuadraticNetwork", Spy)
    options = {"max_iter": 400, "verbose": 0}
    for positive, k, expected in [(False, 4, [6, 8, 4]), (True, 4, [12, 16, 8]), (False, 1, [3, 0, 2])]:
        widths.clear()
        model, _ = planted(0, 200, 10, k, positive)
        for attempt in range(3):
            network, run = quadratic_solvers._from_wide(
                model, k, attempt, 1.0, np.random.RandomState(0), np.inf, dict(options)
            )
            assert network.n_hidden <= k
            assert run.objective == pytest.approx(network.value_and_gradient(run.theta)[0], rel=1e-12)
            assert len(run.loss_curve) <= 400
        assert [width[0] for width in widths] == [3 * k, 4 * k, 2 * k]
        assert [width[1] for width in widths] == expected


@pytest.mark.parametrize("positive", [False, True])
def test_wide_networks_find_what_the_spectral_start_does_not(positive):
    count = 0
    for seed in range(6):
        model, _ = planted(seed, 150, 20, 5, positive)
        network, run = quadratic_solvers._from_wide(
            model, 5, 0, 1.0, np.random.RandomState(seed), np.inf, {"max_iter": 1000, "verbose": 0}
        )
        count += network.is_lowest(run.objective)
    assert count >= 5


def test_polishing_says_what_it_found():
    model, teacher = planted(0, 200, 10, 2, False)
    network = QuadraticNetwork(model, teacher.output_coef_)
    W = model.whitening.to_white(teacher.hidden_coef_) / model.target_scale**0.5
    exact = Descent(W.ravel(), objective=network.loss(W.ravel()))
    run = polished(network, exact, tol=1e-12, max_iter=100)
    assert run.converged
    assert run.loss_curve == []
    near = exact.moved(network, W.ravel() * 1.01)
    run = polished(network, near, tol=1e-12, max_iter=100)
    assert run.converged
    assert network.is_lowest(run.objective)
    interrupted = polished(network, near.stopped(INTERRUPTED), tol=1e-12, max_iter=100)
    assert not interrupted.converged
    assert not polished(network, replace(near, stop_reason=STOPPED, converged=True), tol=1.0, max_iter=9).converged
    np.testing.assert_array_equal(interrupted.theta, near.theta)
    # What converged before, to another tolerance, has not to this one.
    stale = Descent(near.theta, near.objective, [1.0] * 5, converged=True)
    assert not polished(network, stale, tol=1e-12, max_iter=5).converged


# The best of several starts.


@dataclass
class Flat:
    """A network of which only the floor is asked."""

    floor: float = -np.inf

    def is_lowest(self, value):
        return value <= self.floor


def trials(objectives, **options):
    """Run `best_of_starts` on given objectives: the first, then those of the further starts."""
    network, asked = Flat(options.pop("floor", -np.inf)), []

    def further(attempt, best, rival):
        asked.append((attempt, rival))
        value = objectives[1 + attempt]
        if isinstance(value, BaseException):
            raise value
        return network, value if isinstance(value, Descent) else Descent(np.array([1.0 + attempt]), value)

    options = {"n_starts": len(objectives) - 1, "begin": lambda: False, **options}
    best = best_of_starts((network, Descent(np.array([0.0]), objectives[0])), further, **options)
    return best[1], asked


def test_a_later_start_wins_by_more_than_the_margin_only():
    for below, winner in [(1 - 2 * MARGIN, 1), (1 - MARGIN / 2, 0), (1.0, 0), (1 + MARGIN / 2, 0), (2.0, 0)]:
        run, _ = trials([1.0, below])
        assert run.theta == winner
        assert run.objective == (below if winner else 1.0)


def test_starts_end_when_one_agrees_with_the_best_before():
    _, asked = trials([1.0, 2.0, 1 + MARGIN / 2, 0.1])
    assert len(asked) == 2
    _, asked = trials([1.0, 1 - MARGIN / 2, 0.1])
    assert len(asked) == 1
    # A better one begins the count anew.
    _, asked = trials([1.0, 1.0, 0.5, 0.5, 0.5, 0.1], agreeing=2)
    assert len(asked) == 4
    run, asked = trials([1.0, 1.5, 1.0, 1.5, 1.0, 0.1], agreeing=3)
    assert len(asked) == 5
    assert run.objective == 0.1


def test_each_start_is_told_its_number_and_its_rival():
    run, asked = trials([1.0, 0.5, 0.9, 0.2])
    assert asked == [(0, 1.0), (1, 0.5), (2, 0.5)]
    assert run.objective == 0.2


def test_no_start_follows_a_zero_residual_or_an_interruption():
    run, asked = trials([1e-30, 0.0], floor=1e-20)
    assert asked == []
    run, asked = trials([1.0, 1e-30, 0.0], floor=1e-20)
    assert len(asked) == 1
    assert run.theta == 1.0
    first = Descent(np.zeros(1), 1.0, stop_reason=INTERRUPTED)
    _, run = best_of_starts((Flat(), first), None, n_starts=3, begin=None)
    assert run is first


def test_a_callback_stops_before_the_next_start_and_the_best_is_kept():
    calls = iter([False, True])
    run, asked = trials([1.0, 0.5, 0.1], begin=lambda: next(calls))
    assert len(asked) == 1
    assert run.objective == 0.5
    assert run.stop_reason == STOPPED
    assert not run.converged


def test_an_interrupted_start_leaves_the_best_before():
    run, asked = trials([1.0, 0.5, KeyboardInterrupt(), 0.1])
    assert len(asked) == 2
    assert run.objective == 0.5
    assert run.stop_reason == INTERRUPTED
    assert not run.converged
    for reason in (INTERRUPTED, STOPPED):
        run, asked = trials([1.0, Descent(np.ones(1), 1e-3, stop_reason=reason), 0.1])
        assert len(asked) == 1
        assert run.objective == 1.0
        assert run.stop_reason == reason


# The papers' descent, and the last Newton step.


def small_problem():
    X, y = make_quadratic(100, 4, 2, noise=0.1, random_state=0)
    model = model_of(X, y)
    return quadratic_start(model, spectral_start(model), 2, np.random.RandomState(0))


def test_tolerance_zero_runs_all_iterations_of_the_papers_formula():
    network, theta = small_problem()
    run = papers_descent(network, theta, step_size=1.0, tol=0, max_iter=25)
    mu = 1 / largest_curvature(network, theta)
    for value in run.loss_curve:
        theta = theta - mu * network.value_and_gradient(theta)[1]
        assert value == pytest.approx(network.value_and_gradient(theta)[0], rel=1e-9)
    np.testing.assert_allclose(run.theta, theta, rtol=1e-9, atol=1e-12)
    assert len(run.loss_curve) == 25
    assert run.converged


def test_a_tolerance_ends_the_papers_descent_at_its_criterion():
    network, theta = small_problem()
    run = papers_descent(network, theta, step_size=1.0, tol=1e-4, max_iter=5000)
    assert run.converged
    assert len(run.loss_curve) < 5000
    steps = list(islice(quadratic_steps(network, theta), len(run.loss_curve)))
    changes = [step <= 1e-4 for step in steps]
    assert changes[-1]
    assert not any(changes[:-1])
    # Asked for less than rounding, it takes ten times rounding.
    tight = papers_descent(network, theta, step_size=1.0, tol=1e-300, max_iter=20_000)
    assert tight.converged
    assert "tol = 2.22e-15" in tight.stop_reason
    short = papers_descent(network, theta, step_size=1.0, tol=1e-4, max_iter=3)
    assert not short.converged


def quadratic_steps(network, theta):
    """|w+ - w| / |w+| of each step of gradient descent, w the units."""
    mu = 1 / largest_curvature(network, theta)
    while True:
        new = theta - mu * network.value_and_gradient(theta)[1]
        before, after = network.unpack(theta)[0], network.unpack(new)[0]
        yield np.linalg.norm(after - before) / np.linalg.norm(after)
        theta = new


def test_a_descent_stopped_before_it_begins_has_its_start():
    network, theta = small_problem()
    run = papers_descent(network, theta, step_size=1.0, tol=1e-4, max_iter=100, stopped=True)
    np.testing.assert_array_equal(run.theta, theta)
    assert run.loss_curve == []
    assert run.stop_reason == STOPPED
    assert not run.converged


def test_the_given_curvature_and_step_size_set_the_step():
    network, theta = small_problem()
    gradient = network.value_and_gradient(theta)[1]
    run = papers_descent(network, theta, step_size=0.5, tol=0, max_iter=1, curvature=20.0)
    np.testing.assert_allclose(run.theta, theta - gradient * 0.5 / 20, rtol=1e-12)


@dataclass
class Rounded:
    """Gradient and curvature of a unit parabola about the solution, whose values are lost in a large constant."""

    solution: np.ndarray
    slope_error: float = 0.0
    constant: float = 1e6

    def __post_init__(self):
        self.rows = Rows(np.zeros((1, 1)), np.zeros(1))

    def value_and_gradient(self, theta):
        r = theta - self.solution
        return self.constant + r @ r / 2, r

    def curvature_product(self, theta):
        return lambda d: (1 - self.slope_error) * d

    def metric(self, theta):
        return lambda g: g

    def is_lowest(self, value):
        return False


def test_a_last_newton_step_is_taken_by_the_gradient_where_values_are_rounded():
    solution = np.array([1.0, -2.0, 0.5])
    start = solution + 1e-6
    first, *_, step = newton_cg(Rounded(solution), start)
    np.testing.assert_allclose(first.parameters, solution, atol=1e-12)
    assert not first.finished
    assert np.sum((start - solution) ** 2) < 1e6 * ROUNDING * np.finfo(float).eps
    np.testing.assert_allclose(step.parameters, solution, atol=1e-12)
    assert step.criterion < 1e-11
    assert "less than rounding" in step.finished
    assert step.converged


def test_a_last_newton_step_that_raises_the_gradient_is_not_taken():
    """The step is three times too long: it leads to twice the gradient."""
    solution = np.array([1.0, -2.0, 0.5])
    start = solution + 1e-6
    (step,) = newton_cg(Rounded(solution, slope_error=2 / 3), start)
    np.testing.assert_array_equal(step.parameters, start)
    assert step.criterion == pytest.approx(3**0.5 * 1e-6, rel=1e-6)
