"""Solvers behind the one hidden layer: each on problems whose answer is known in closed form or by certificates."""

from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from skrelu import activations
from skrelu.datasets import make_one_hidden_layer
from skrelu.metrics import recovery_error
from skrelu.networks import OneHiddenLayer
from skrelu.rows import Rows
from skrelu.solvers import descent, hidden_layer
from skrelu.solvers.descent import Descent, until_stalled
from skrelu.solvers.gradient import HALVINGS, gradient_descent, largest_curvature
from skrelu.solvers.hidden_layer import grown, polished, refined, widened
from skrelu.solvers.loop import INTERRUPTED, Iterate, iterate
from skrelu.solvers.newton import conjugate_gradients, newton_cg
from skrelu.solvers.quasi_newton import MEMORY, Steps, quasi_newton
from skrelu.whitening import whitening


@dataclass
class Toy:
    """The face of a network over a function given with gradient, Hessian and inverse metric."""

    f: object
    gradient: object
    hessian: object
    inverse_metric: object = None
    floor: float = -np.inf
    rows: object = field(default_factory=lambda: Rows(np.zeros((1, 1)), np.zeros(1)))
    passes: int = 0
    whitening: object = field(default_factory=lambda: SimpleNamespace(size=None))

    def unpack(self, theta):
        """One unit without bias, whose weights are all of theta."""
        return theta[None], None, None

    def value_and_gradient(self, theta):
        self.passes += 1
        return self.f(theta), self.gradient(theta)

    def curvature_product(self, theta):
        H = self.hessian(theta)
        return lambda d: H @ d

    def metric(self, theta):
        A = np.eye(len(theta)) if self.inverse_metric is None else self.inverse_metric
        return lambda g: A @ g

    def is_lowest(self, value):
        return value <= self.floor


def positive_definite(seed, size, condition):
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]
    return (Q * np.geomspace(1 / condition, 1, size)) @ Q.T


def quadratic(seed=0, size=12, condition=100.0, **options):
    """``1 + (theta - solution)' H (theta - solution) / 2``."""
    H, solution = positive_definite(seed, size, condition), np.random.default_rng(seed + 1).standard_normal(size)

    def f(theta):
        return 1 + (theta - solution) @ H @ (theta - solution) / 2

    return Toy(f, lambda theta: H @ (theta - solution), lambda theta: H, **options), H, solution


def log_cosh(seed=0, size=10):
    """``sum_i log cosh <a_i, theta - solution>``: convex and smooth, quadratic only at the solution."""
    rng = np.random.default_rng(seed)
    A, solution = rng.standard_normal((3 * size, size)), rng.standard_normal(size)

    def f(theta):
        return 1e-3 + np.sum(np.logaddexp(A @ (theta - solution), -A @ (theta - solution)) - np.log(2))

    return (
        Toy(
            f,
            lambda theta: A.T @ np.tanh(A @ (theta - solution)),
            lambda theta: (A.T / np.cosh(A @ (theta - solution)) ** 2) @ A,
        ),
        solution,
    )


def run(method, n):
    """At most n steps, to the first that is finished."""
    steps = []
    for step in islice(method, n):
        steps.append(step)
        if step.finished:
            break
    return steps


# Conjugate gradients.


@pytest.mark.parametrize("seed", range(3))
def test_conjugate_gradients_solve_to_the_asked_accuracy_and_no_more(seed):
    H, b = positive_definite(seed, 30, 100.0), np.random.default_rng(seed).standard_normal(30)
    A = positive_definite(seed + 10, 30, 10.0)
    n_products = []
    for tol in (1e-1, 1e-4, 1e-8):
        calls = 0

        def product(d):
            nonlocal calls
            calls += 1
            return H @ d

        x = conjugate_gradients(product, b, lambda g: A @ g, tol=tol)
        r = H @ x - b
        assert np.sqrt(r @ A @ r) <= tol * np.sqrt(b @ A @ b) * (1 + 1e-6)
        n_products.append(calls)
    assert n_products[0] < n_products[1] < n_products[2]


def test_conjugate_gradients_with_the_inverse_as_metric_take_one_step():
    H, b = positive_definite(0, 20, 1e6), np.ones(20)
    calls = []
    x = conjugate_gradients(lambda d: calls.append(0) or H @ d, b, lambda g: np.linalg.solve(H, g), tol=1e-8)
    assert len(calls) == 1
    np.testing.assert_allclose(x, np.linalg.solve(H, b), rtol=1e-8)


def test_conjugate_gradients_take_as_many_steps_as_there_are_eigenvalues():
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 20)))[0]
    H = (Q * np.repeat([1.0, 10.0, 100.0, 1000.0], 5)) @ Q.T
    calls = []
    conjugate_gradients(lambda d: calls.append(0) or H @ d, np.ones(20), lambda g: g.copy(), tol=1e-9)
    assert len(calls) == 4


def test_conjugate_gradients_of_a_singular_matrix_give_the_shortest_solution():
    H = positive_definite(0, 20, 10.0)
    H = H[:, :8] @ np.diag(np.arange(1.0, 9.0)) @ H[:, :8].T
    b = H @ np.ones(20)
    x = conjugate_gradients(lambda d: H @ d, b, lambda g: g.copy(), tol=1e-12)
    np.testing.assert_allclose(x, np.linalg.pinv(H) @ b, rtol=0, atol=1e-8)


def test_conjugate_gradients_stop_where_there_is_no_curvature():
    """At the first direction: that direction, a descent direction. Later: what is solved so far."""
    b = np.array([1.0, 2.0])
    np.testing.assert_array_equal(conjugate_gradients(lambda d: -d, b, lambda g: 3 * g, tol=0.1), 3 * b)
    np.testing.assert_array_equal(conjugate_gradients(lambda d: 0 * d, b, lambda g: g.copy(), tol=0.1), b)
    H = np.diag([2.0, -1.0])
    x = conjugate_gradients(lambda d: H @ d, np.array([1.0, 0.1]), lambda g: g.copy(), tol=1e-10)
    assert x @ [1.0, 0.1] > 0
    np.testing.assert_array_equal(conjugate_gradients(lambda d: d, np.zeros(2), lambda g: g.copy(), tol=0.1), 0)


# Newton steps.


@pytest.mark.parametrize("condition", [1.0, 1e3])
def test_newton_steps_solve_a_quadratic(condition):
    toy, _, solution = quadratic(condition=condition)
    steps = run(newton_cg(toy, np.zeros(12)), 30)
    np.testing.assert_allclose(steps[-1].parameters, solution, rtol=0, atol=1e-7)
    assert steps[-1].finished
    assert steps[-1].converged
    assert all(b.objective <= a.objective for a, b in pairwise(steps))


def test_newton_steps_end_superlinearly():
    """``|theta+ - solution| <= C |theta - solution|^2``: the digits double."""
    for seed in range(3):
        toy, solution = log_cosh(seed)
        steps = run(newton_cg(toy, solution + 0.1), 15)
        errors = [np.linalg.norm(step.parameters - solution) for step in steps]
        errors = [e for e in errors if e > 1e-9]
        tail = [e for e in errors if e < 0.1]
        assert len(errors) <= 8
        # The exponent of the last decrease: 2, or 1 with the accuracy min(0.1, |g|) replaced by a constant.
        assert len(tail) >= 2
        assert np.log(tail[-1]) / np.log(tail[-2]) > 1.6
        assert all(b.objective < a.objective for a, b in pairwise(steps) if not b.finished)


def test_newton_steps_are_halved_where_the_whole_one_overshoots():
    """log cosh in one variable: the Newton step from |theta| > 1.09 overshoots ever further."""
    toy = Toy(
        lambda t: 1 + float(np.logaddexp(t[0], -t[0])),
        lambda t: np.tanh(t),
        lambda t: np.diag(1 / np.cosh(t) ** 2),
    )
    steps = run(newton_cg(toy, np.array([3.0])), 60)
    assert abs(steps[-1].parameters[0]) < 1e-7
    assert all(b.objective <= a.objective for a, b in pairwise(steps))


def test_newton_steps_end_when_the_residual_is_zero():
    toy, _, solution = quadratic(floor=1 + 1e-6)
    steps = run(newton_cg(toy, solution + 1.0), 30)
    assert steps[-1].finished == "the residual is zero to rounding"
    assert steps[-1].objective <= 1 + 1e-6
    assert all(not step.finished for step in steps[:-1])


def test_newton_steps_that_lead_nowhere_are_no_success():
    """A gradient that lies: no step lowers the objective."""
    toy = Toy(lambda t: 1 + float(t @ t), lambda t: -t, lambda t: np.eye(2))
    (step,) = newton_cg(toy, np.ones(2))
    assert "no step lowers" in step.finished
    assert not step.converged
    np.testing.assert_array_equal(step.parameters, 1)


# L-BFGS.


def test_quasi_newton_with_the_true_metric_is_newton():
    toy, H, solution = quadratic(condition=1e4)
    toy.inverse_metric = np.linalg.inv(H)
    first = run(quasi_newton(toy, np.zeros(12)), 1)[0]
    np.testing.assert_allclose(first.parameters, solution, rtol=0, atol=1e-9)


@pytest.mark.parametrize("condition", [10.0, 1e3])
def test_quasi_newton_solves_a_quadratic_monotonically(condition):
    toy, _, solution = quadratic(condition=condition)
    steps = run(quasi_newton(toy, np.zeros(12)), 300)
    assert all(b.objective <= a.objective for a, b in pairwise(steps))
    np.testing.assert_allclose(steps[-1].parameters, solution, rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_pairs", [0, 1, 2, 5, MEMORY + 1, 3 * MEMORY + 2])
def test_the_product_is_that_of_the_bfgs_updates_of_the_metric(n_pairs):
    """``B+ = (I - s y' / s'y) B (I - y s' / s'y) + s s' / s'y`` over the last pairs, the oldest first, densely."""
    rng, size = np.random.default_rng(0), 40
    H, B = positive_definite(0, size, 100.0), positive_definite(1, size, 10.0)
    dense, steps, pairs = B, Steps(size), rng.standard_normal((n_pairs, size))
    for s in pairs:
        steps.add(s, H @ s)
        steps.add(s, -H @ s)  # no positive curvature: left out
    assert len(steps) == min(n_pairs, MEMORY)
    for s in pairs[-MEMORY:]:
        y = H @ s
        left = np.eye(size) - np.outer(s, y) / (s @ y)
        dense = left @ dense @ left.T + np.outer(s, s) / (s @ y)
    g = rng.standard_normal(size)
    np.testing.assert_allclose(
        steps.inverse_product(g, lambda q: B @ q), dense @ g, rtol=0, atol=1e-10 * np.abs(g).max()
    )


def test_quasi_newton_beats_gradient_descent_by_its_curvature():
    """On a condition of 1000: thousands of steps of length 1/L against a few dozen."""
    toy, _, _ = quadratic(condition=1e3)
    curve = [step.objective - 1 for step in run(quasi_newton(toy, np.zeros(12)), 60)]
    slow = [step.objective - 1 for step in run(gradient_descent(toy, np.zeros(12), step_size=1.0), 60)]
    assert curve[-1] < slow[-1] / 100


def test_the_criterion_is_the_root_of_twice_the_decrease_of_a_newton_step():
    toy, H, solution = quadratic(condition=50.0)
    toy.inverse_metric = np.linalg.inv(H)
    first = run(quasi_newton(toy, np.zeros(12)), 1)[0]
    assert first.criterion == pytest.approx(np.sqrt(2 * (toy.f(np.zeros(12)) - 1)), rel=1e-10)
    after = run(newton_cg(toy, solution + 1e-3), 1)[0]
    g = toy.gradient(after.parameters)
    assert after.criterion == pytest.approx(np.sqrt(g @ np.linalg.solve(H, g)), rel=1e-10, abs=1e-15)


# Gradient descent.


def test_gradient_descent_is_the_formula_and_its_criterion_the_relative_change():
    toy, H, solution = quadratic(size=5, condition=30.0)
    L, theta = np.linalg.eigvalsh(H)[-1], np.ones(5)
    for step in run(gradient_descent(toy, theta, step_size=0.7), 5):
        # largest_curvature knows three digits.
        expected = theta - 0.7 / L * H @ (theta - solution)
        np.testing.assert_allclose(step.parameters, expected, rtol=0, atol=1e-3 * np.abs(expected - theta).max())
        change = np.linalg.norm(step.parameters - theta) / np.linalg.norm(step.parameters)
        assert step.criterion == pytest.approx(change, rel=1e-12)
        assert step.objective == toy.f(step.parameters)
        theta = step.parameters


def test_gradient_descent_converges_at_the_rate_of_its_smallest_eigenvalue():
    toy, _, solution = quadratic(size=6, condition=20.0)
    errors = [
        np.linalg.norm(s.parameters - solution) for s in run(gradient_descent(toy, np.zeros(6), step_size=1.0), 200)
    ]
    assert errors[150] / errors[149] == pytest.approx(1 - 1 / 20, rel=1e-3)


def test_the_automatic_step_is_halved_for_good():
    """The curvature at the start is too small by 16: four halvings, once."""
    toy = Toy(lambda t: 8 * float(t @ t), lambda t: 16 * t, lambda t: np.eye(3))
    steps = run(gradient_descent(toy, np.ones(3), step_size="auto"), 3)
    # 1 -> 1/2 -> 1/4 -> 1/8: |1 - 16 / 8| = 1 no longer raises the objective.
    np.testing.assert_allclose(steps[0].parameters, -np.ones(3))
    assert all(b.objective <= a.objective for a, b in pairwise(steps))
    fixed = run(gradient_descent(toy, np.ones(3), step_size=1.0), 2)
    assert fixed[1].objective > fixed[0].objective > 24


def test_the_automatic_step_is_not_halved_for_ever():
    """Where the objective is no number: the one that is left is below rounding."""
    toy = Toy(lambda t: np.nan, lambda t: -t, lambda t: np.eye(2))
    (step,) = run(gradient_descent(toy, np.ones(2), step_size="auto"), 1)
    np.testing.assert_array_equal(step.parameters, 1)
    assert toy.passes == 1 + HALVINGS


@pytest.mark.parametrize("size", [1, 2, 3, 40])
def test_largest_curvature_is_the_largest_eigenvalue_to_three_digits(size):
    H = positive_definite(size, size, 1e3)
    toy = Toy(None, None, lambda theta: H)
    assert largest_curvature(toy, np.zeros(size)) == pytest.approx(np.linalg.eigvalsh(H)[-1], rel=1e-3)


# Stages.


def counted(n, objective=lambda t: 1.0 / (t + 1)):
    """A method of n steps."""

    def method(network, theta):
        for t in range(n):
            yield Iterate(theta + t + 1, objective(t), 1.0 / (t + 1))
        yield Iterate(theta + n, objective(n), 0.0, finished="done")

    return method


def test_stages_join_their_curves_and_share_their_iterations():
    one = Descent(np.zeros(2)).followed_by(counted(3), None, max_iter=20)
    np.testing.assert_array_equal(one.theta, 3)
    assert one.loss_curve == [1, 1 / 2, 1 / 3, 1 / 4]
    assert (one.objective, one.stop_reason, one.converged) == (1 / 4, "done", True)
    two = one.followed_by(counted(10), None, max_iter=7)
    assert len(two.loss_curve) == 7
    assert two.loss_curve[:4] == one.loss_curve
    np.testing.assert_array_equal(two.theta, 6)
    assert not two.converged
    assert two.followed_by(counted(3), None, max_iter=7) is two
    assert one.followed_by(counted(3), None, max_iter=4) is one


def test_a_stage_ends_at_its_tolerance_and_not_after_an_interruption():
    stage = Descent(np.zeros(1)).followed_by(counted(50), None, max_iter=100, tol=0.1)
    assert len(stage.loss_curve) == 10
    assert stage.converged
    interrupted = replace(stage, stop_reason=INTERRUPTED)
    assert interrupted.interrupted
    assert interrupted.followed_by(counted(3), None, max_iter=100) is interrupted


def slow_toy(rate, size=1):
    """Descent by a fixed factor a step, as `quasi_newton` sees it after the toy replaces it."""

    def method(network, theta):
        value = 1.0
        while True:
            value *= rate
            yield Iterate(theta, value, 1.0)

    return method


@pytest.mark.parametrize(
    ("rate", "rival", "reason", "converged"),
    [
        (1 - 1e-5, np.inf, "falls no further", True),  # 20 steps: 2e-4 < 1e-3
        (1 - 1e-5, 1e-9, "falls no further", True),
        (1 - 1e-3, 0.5, "another start is better", False),  # five times 2 % in 20 steps is not 50 %
        (1 - 1e-3, 0.99, "", None),  # already better
        (1 - 1e-3, np.inf, "", None),
        (0.5, 1e-9, "", None),  # soon better
    ],
)
def test_descent_is_ended_when_it_stalls_or_will_not_beat_its_rival(monkeypatch, rate, rival, reason, converged):
    monkeypatch.setattr(descent, "quasi_newton", slow_toy(rate))
    steps = []
    for step in islice(until_stalled(rival)(None, np.zeros(1)), 80):
        steps.append(step)
        if step.finished:
            break
    assert reason in steps[-1].finished
    if reason:
        assert steps[-1].converged is converged
        assert len(steps) == 41  # twice the window, and one
    else:
        assert len(steps) == 80
        assert not steps[-1].finished


# On networks.


def planted(n=400, d=6, k=3, *, seed=0, noise=0.0, **options):
    X, y, teacher = make_one_hidden_layer(n, d, k, noise=noise, return_teacher=True, random_state=seed, **options)
    rows = Rows(X, y)
    scale = rows.target_scale()
    network = OneHiddenLayer(
        rows, activations.relu, whitening(rows, centered=True), teacher.output_coef_, target_scale=scale
    )
    return network, teacher


def found(network, theta):
    """The weights in the user's units, outputs +-1."""
    weights = network.weights(theta)
    return np.abs(weights.output)[:, None] * weights.hidden


def random_theta(network, seed):
    rng = np.random.default_rng(seed)
    fixed = network.variant(free_output=False)
    theta = fixed.pack(rng.standard_normal(fixed.shape), np.zeros(fixed.n_head), network.output)
    return hidden_layer.balanced(network, theta)


def test_refined_recovers_from_random_starts_without_noise():
    """Five networks, five random starts with the true signs each, eighteen rows a weight: at least half succeed."""
    hits = 0
    for seed in range(5):
        network, teacher = planted(seed=seed)
        for start in range(5):
            result, descent = refined(
                network, random_theta(network, start), np.random.RandomState(start), max_iter=1000
            )
            hits += recovery_error(teacher.hidden_coef_, found(result, descent.theta)) < 1e-4
    assert hits >= 13


def test_the_relaxed_stage_does_not_mind_which_way_units_point():
    """From the planted units turned over: the even parts are right at once, and the linear part tells the signs."""
    network, teacher = planted()
    free = network.variant(free_output=False)
    hidden, head, v = free.unpack(free.parameters(weights_of(teacher)))
    turned = free.pack(hidden * np.array([1.0, -1.0, -1.0])[:, None], head, v)
    result, descent = refined(network, turned, np.random.RandomState(0), max_iter=1000)
    assert recovery_error(teacher.hidden_coef_, found(result, descent.theta)) < 1e-5


def weights_of(teacher):
    from skrelu.networks.weights import Weights

    return Weights(teacher.hidden_coef_, teacher.hidden_intercept_, teacher.output_coef_, teacher.output_intercept_)


@pytest.mark.parametrize("relaxed", [True, False])
def test_wide_networks_are_pruned_to_the_planted_one(relaxed):
    """At least half of ten random starts, which know nothing of the signs."""
    network, teacher = planted(n=600)
    hits = 0
    for seed in range(10):
        options = {"width": 9, "decays": (0.03, 0.01, 0.003), "relaxed": relaxed, "max_iter": 1000}
        result, descent = widened(network, np.random.RandomState(seed), **options)
        assert result.n_hidden == 3
        hits += recovery_error(teacher.hidden_coef_, found(result, descent.theta)) < 1e-4
    assert hits >= 5


@pytest.mark.parametrize("seed", range(3))
def test_parallel_units_of_one_sign_are_merged_into_the_same_function(seed):
    """Each planted unit in three pieces, and one pair of opposite signs that are not merged."""
    network, teacher = planted(d=8, k=4, seed=seed, output_coef=[1.0, -1.0, 1.0, -1.0])
    pieces = np.array([0.5, 0.3, 0.2])
    fixed = network.variant(free_output=False)
    hidden, head, v = fixed.unpack(fixed.parameters(weights_of(teacher)))
    split = (pieces[None, :, None] * hidden[:, None]).reshape(12, -1)
    source = network.variant(np.repeat(v, 3), free_output=False)
    theta = source.pack(split, head, source.output)
    assert source.value_and_gradient(theta)[0] < 1e-25
    result, merged = hidden_layer._collapsed(network, source, theta, np.random.RandomState(0))
    assert result.n_hidden == 4
    assert result.value_and_gradient(merged)[0] < 1e-25
    assert recovery_error(teacher.hidden_coef_, found(result, merged)) < 1e-12


def test_units_that_are_not_parallel_are_kept_by_their_size():
    network, _ = planted(d=4, k=2, output_coef=[1.0, 1.0])
    source = network.variant(np.array([1.0, 1.0, -1.0]), free_output=False)
    hidden = np.zeros((3, 5))
    hidden[0, 0], hidden[1, 1], hidden[2, 0] = 1.0, 0.1, 2.0
    result, theta = hidden_layer._collapsed(
        network, source, source.pack(hidden, np.zeros(1), source.output), np.random.RandomState(0)
    )
    kept, _, v = result.unpack(theta)
    np.testing.assert_allclose(np.abs(v)[:, None] * kept, hidden[[2, 0]], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(np.sign(v), [-1, 1])


def criterion(network, descent):
    """The Bayesian information criterion of the fit."""
    n, n_weights = network.rows.weight_sum, network.whitening.rank + network.fit_intercept
    return n * np.log(descent.objective) + network.n_hidden * n_weights * np.log(n)


@pytest.mark.parametrize("seed", range(5))
def test_growth_lowers_the_criterion_by_the_margin_until_one_more_unit_does_not(seed):
    network, _ = planted(n=300, seed=seed, noise=0.3)
    rng = np.random.RandomState(seed)
    single = network.variant(network.output[:1])
    start = refined(single, random_theta(single, seed), rng, max_iter=500)
    result, descent = grown(*start, rng, max_iter=500)
    if result.n_hidden > 1:
        assert criterion(result, descent) < criterion(*start) - 1
    one_more = refined(*hidden_layer._with_one_more(result, descent.theta), rng, max_iter=500)
    assert criterion(*one_more) >= criterion(result, descent) - 1


def test_growth_stops_at_the_planted_size():
    """From the planted units, in at least four of five seeds; without noise their number is never exceeded."""
    sizes = []
    for seed in range(5):
        network, teacher = planted(n=500, seed=seed, noise=0.3)
        truth = hidden_layer.balanced(network, network.variant(free_output=False).parameters(weights_of(teacher)))
        start = refined(network, truth, np.random.RandomState(seed), max_iter=500)
        sizes.append(grown(*start, np.random.RandomState(seed), max_iter=500)[0].n_hidden)
    assert sizes.count(3) >= 4, sizes


def test_growth_adds_nothing_to_noise():
    """Ten rows a weight of pure noise: at least four of five seeds stay at one unit."""
    stayed = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rows = Rows(rng.standard_normal((300, 5)), rng.standard_normal(300))
        network = OneHiddenLayer(
            rows, activations.relu, whitening(rows, centered=True), [1.0], target_scale=rows.target_scale()
        )
        start = refined(network, random_theta(network, seed), np.random.RandomState(seed), max_iter=500)
        stayed += grown(*start, np.random.RandomState(seed), max_iter=500)[0].n_hidden == 1
    assert stayed >= 4


def test_growth_leaves_half_of_the_rows():
    """The number of weights stays below n / 2, whatever the criterion would gain."""
    network, _ = planted(n=60, d=8, k=8, seed=0)
    single = network.variant(network.output[:1])
    start = refined(single, random_theta(single, 0), np.random.RandomState(0), max_iter=200)
    result, _ = grown(*start, np.random.RandomState(0), max_iter=200)
    assert result.n_hidden * 9 <= 30


@pytest.mark.parametrize("noise", [0.05, 0.5])
@pytest.mark.parametrize("alpha", [0.0, 0.05])
def test_polishing_ends_at_the_tolerance(noise, alpha):
    network, _ = planted(noise=noise, seed=1)
    network = network.variant(alpha=alpha)
    result, descent = refined(network, random_theta(network, 0), np.random.RandomState(0), max_iter=1000)
    done = polished(result, descent, tol=1e-9, max_iter=3000)
    assert done.converged
    assert done.loss_curve[: len(descent.loss_curve)] == descent.loss_curve
    final = result.variant(smoothing=hidden_layer.SMOOTHINGS[-1])
    _, g = final.value_and_gradient(done.theta)
    assert np.sqrt(g @ final.metric(done.theta)(g)) <= 1e-7
    # The smoothed objective is a Newton solution: no random step of size 1e-3 lowers it.
    value = final.value_and_gradient(done.theta)[0]
    rng = np.random.default_rng(0)
    for _ in range(20):
        step = rng.standard_normal(len(g))
        assert final.value_and_gradient(done.theta + 1e-3 * step / np.linalg.norm(step))[0] >= value - 1e-12


def test_polishing_a_zero_residual_is_done_at_once():
    network, teacher = planted()
    theta = network.variant(free_output=False).parameters(weights_of(teacher))
    descent = Descent(theta, network.value_and_gradient(theta)[0], [1.0], False, "so far")
    done = polished(network, descent, tol=1e-10, max_iter=100)
    assert done.converged
    assert done.loss_curve == [1.0]
    np.testing.assert_array_equal(done.theta, theta)


def test_every_stage_but_those_of_other_networks_is_monotone():
    """L-BFGS on the network itself never rises, relaxed or not."""
    for seed in range(3):
        network, _ = planted(noise=0.2, seed=seed)
        for variant in (network, network.variant(free_output=True), network.variant(free_output=True, alpha=0.1)):
            theta = random_theta(variant, seed)
            result = iterate(quasi_newton(variant, theta), theta, max_iter=80, tol=-1.0, criterion="")
            curve = np.array([variant.value_and_gradient(theta)[0], *result.loss_curve])
            assert np.all(np.diff(curve) <= 1e-15)
            assert curve[-1] < 0.5 * curve[0]
