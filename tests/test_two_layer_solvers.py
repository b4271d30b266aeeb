"""Solvers of two layers: against brute force and least squares, planted networks, and interruption anywhere."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from skrelu.activations import Activation, relu, softplus, squared_relu
from skrelu.datasets import make_two_layer_relu
from skrelu.metrics import recovery_error
from skrelu.networks.two_layer import TwoLayer
from skrelu.null_combinations import normalised
from skrelu.output_moments import output_moments
from skrelu.rows import Rows
from skrelu.solvers import two_layer
from skrelu.solvers.descent import STALLED, WINDOW, Descent, until_stalled
from skrelu.solvers.loop import INTERRUPTED, STOPPED, Iterate
from skrelu.solvers.newton import ROUNDING, newton_cg
from skrelu.solvers.quasi_newton import quasi_newton
from skrelu.solvers.two_layer import (
    NEARLY_EXACT,
    SMOOTHED_OBJECTIVE,
    best_start,
    exact,
    polished,
    pruned,
    refined,
    sized,
    widened,
)
from skrelu.starts import two_layer_start
from skrelu.whitening import whitening

ACTIVATIONS = {"relu": relu, "squared_relu": squared_relu}


def network_of(X, y, k, f=relu, fit_intercept=True, alpha=0.0, n_directions=None):
    """(network, moments, whitening about the means)."""
    rows = Rows(X, y)
    centered = whitening(rows, centered=True)
    moments = output_moments(rows, centered, n_directions or k)
    center = moments.mean if fit_intercept else np.zeros_like(moments.mean)
    coordinates = centered if fit_intercept else whitening(rows, centered=False)
    options = {"center": center, "target_scale": rows.target_scale(center), "output_rank": moments.output_rank}
    return TwoLayer(rows, f, coordinates, k, fit_intercept=fit_intercept, alpha=alpha, **options), moments, centered


def planted(seed, n=600, d=8, k=3, m=4, share=0.0, **options):
    """(X, y, teacher), with noise of a share of the standard deviation of y."""
    X, y, teacher = make_two_layer_relu(n, d, k, m, return_teacher=True, random_state=seed, **options)
    noise = share * y.std() * np.random.default_rng(seed).standard_normal(y.shape)
    return X, y + noise, teacher


def tensor_descent(network, moments, centered, seed=0):
    rng = np.random.RandomState(seed)
    start = two_layer_start(centered, moments, network.activation, network.n_hidden, rng)
    theta = network.parameters(*start)
    return Descent(theta).moved(network, theta)


def truth_of(network, teacher):
    return network.parameters(teacher.hidden_coef_, np.zeros(len(teacher.hidden_coef_)))


def error_of(network, theta, teacher):
    return recovery_error(teacher.hidden_coef_, network.hidden(theta)[0], scale_invariant=True)


def random_point(network, seed=0):
    return np.random.default_rng(seed).standard_normal(np.prod(network.shape))


def least_loss(network, X, y, theta, kept, alpha=0.0):
    """The lowest objective of these units with the best output layer, by numpy's least squares."""
    W, b = network.hidden(theta)
    values = np.maximum(X @ W[kept].T + b[kept], 0) / network._hidden_unit
    A = np.column_stack([values, np.ones((len(X), int(network.fit_intercept)))])
    targets = (y - network.center) / network.target_scale
    decay = np.eye(len(kept), A.shape[1]) * (len(X) * network.decays[1]) ** 0.5
    A, targets = np.vstack([A, decay]), np.vstack([targets, np.zeros((len(kept), y.shape[1]))])
    return np.sum((A @ np.linalg.lstsq(A, targets, rcond=1e-10)[0] - targets) ** 2) / 2 / len(X)


# Dropping units.


def kept_units(network, theta, left):
    """The indices of the units of theta that are left."""
    rows = theta.reshape(network.shape)
    return [int(np.flatnonzero(np.all(rows == row, axis=1))[0]) for row in left.reshape(-1, network.shape[1])]


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_pruned_drops_the_unit_without_which_least_squares_lose_least(alpha, fit_intercept):
    """One by one: each time by brute force over all units that are left."""
    for seed in range(5):
        X, y, _ = planted(seed, n=200, share=0.2)
        network, *_ = network_of(X, y, 6, fit_intercept=fit_intercept, alpha=alpha)
        theta, left = random_point(network, seed), list(range(6))
        while len(left) > 1:
            losses = [least_loss(network, X, y, theta, [i for i in left if i != j]) for j in left]
            del left[int(np.argmin(losses))]
            assert kept_units(network, theta, pruned(network, theta, len(left))) == left
    np.testing.assert_array_equal(pruned(network, theta, 6), theta)


@pytest.mark.parametrize("error", [0.0, 1e-12, 1e-9, 1e-8, 1e-7, 1e-6])
@pytest.mark.parametrize("flaw", ["double", "parallel", "dead", "constant", "both"])
def test_pruned_drops_units_that_are_not_needed_and_keeps_the_function(flaw, error):
    """Doubles come in pairs, each of which seems to be needed half: the others must not go in their place."""
    for seed in range(3):
        X, y, teacher = planted(seed, k=4, share=0.1)
        small, *_ = network_of(X, y, 4)
        hidden = truth_of(small, teacher).reshape(small.shape)
        extra = hidden[:2].copy()
        if flaw == "parallel":
            extra *= [[5.0], [0.1]]
        elif flaw != "double":
            extra[0], extra[0, -1] = 0, -1.0 if flaw == "dead" else 1.0
        if flaw in ("dead", "constant"):
            extra[1] = extra[0]
        extra += error * np.random.default_rng(seed).standard_normal(extra.shape) * (flaw not in ("dead", "constant"))
        wide = small.variant(6)
        theta = np.vstack([extra[:1], hidden, extra[1:]]).ravel()
        value = small.value_and_gradient(hidden.ravel())[0]
        assert small.value_and_gradient(pruned(wide, theta, 4))[0] == pytest.approx(value, rel=1e-4)


def test_pruned_of_units_that_make_up_another_exactly():
    """relu(z) - relu(-z) = z: of two opposite pairs and their linear sum, one is superfluous, whichever."""
    X, y, _ = planted(0, share=0.1)
    network, *_ = network_of(X, y, 4)
    pairs = random_point(network.variant(2)).reshape(2, -1)
    combined = np.vstack([pairs, -pairs])
    five = network.variant(6)
    # A unit that is on everywhere is linear: the difference of the first pair and a constant.
    high = pairs[0] / np.linalg.norm(pairs[0, :-1])
    high[-1] = 50
    theta = np.vstack([combined, [high], random_point(network.variant(1), 3)[None]]).ravel()
    value = five.value_and_gradient(theta)[0]
    left = pruned(five, theta, 5)
    assert five.variant(5).value_and_gradient(left)[0] == pytest.approx(value, rel=1e-6)
    assert set(kept_units(five, theta, left)) >= {1, 3, 5}


# Exact steps.


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_exact_finds_planted_networks_and_never_raises_the_objective(activation):
    f = ACTIVATIONS[activation]
    for seed, share, k_more in itertools.product(range(4), [0.0, 0.1, 1.0], [0, 1]):
        X, y, teacher = planted(seed, share=share, activation=activation)
        network, moments, centered = network_of(X, y, 3 + k_more, f)
        start = tensor_descent(network, moments, centered, seed)
        found = exact(network, start, moments.covariance)
        assert found.objective <= start.objective
        assert found.objective == network.value_and_gradient(found.theta)[0]
        assert len(found.loss_curve) <= two_layer.EXACT_STEPS
        assert np.all(np.diff([start.objective, *found.loss_curve]) < 0)
        if share == 0 and k_more == 0:
            assert network.is_lowest(found.objective)
            assert error_of(network, found.theta, teacher) < 1e-12


def test_exact_steps_end_where_they_no_longer_pay(monkeypatch):
    """Told values: of 1, 0.4, 0.3, 0.1 the first is halved, the second not; 0.3 is still kept."""
    X, y, _ = planted(0)
    network, moments, centered = network_of(X, y, 3)
    start = tensor_descent(network, moments, centered)
    values = iter([0.4, 0.3, 0.1])
    monkeypatch.setattr(two_layer, "null_combinations", lambda network, theta, covariance: theta + 1)
    monkeypatch.setattr(TwoLayer, "value_and_gradient", lambda self, theta: (next(values), theta))
    found = exact(network, Descent(start.theta, 1.0), moments.covariance)
    assert found.loss_curve == [0.4, 0.3]
    np.testing.assert_array_equal(found.theta, start.theta + 1 + 1)
    values = iter([0.9, 0.1])
    assert exact(network, Descent(start.theta, 1.0), moments.covariance).loss_curve == [0.9]
    values = iter([1.1, 0.1])
    same = exact(network, Descent(start.theta, 1.0), moments.covariance)
    assert same.loss_curve == []
    np.testing.assert_array_equal(same.theta, start.theta)
    values = iter([0.4 * 0.4**i for i in range(100)])
    assert len(exact(network, Descent(start.theta, 1.0), moments.covariance).loss_curve) == two_layer.EXACT_STEPS


def test_exact_is_nothing_without_homogeneity_or_where_a_unit_is_never_off():
    X, y, teacher = planted(0)
    free = Activation(relu.value, relu.derivative, "without scale", kink=1.0)
    for f in (free, relu):
        network, moments, _ = network_of(X, y, 3, f)
        theta = truth_of(network, teacher)
        if f is relu:
            theta.reshape(network.shape)[0, -1] = 100
        descent = Descent(theta).moved(network, theta)
        assert exact(network, descent, moments.covariance) is descent or (
            exact(network, descent, moments.covariance).objective == descent.objective
        )


# Descent.


def test_until_stalled_ends_below_the_floor():
    """Told objectives; without a floor it runs on, and a method that has ended keeps its own reason."""

    def method(network, theta):
        for i in range(200):
            yield Iterate(theta, 0.5**i, 0.0, finished="own" if i == network else "")

    steps = list(itertools.takewhile(lambda step: not step.finished, until_stalled(base=method, floor=1e-3)(500, 0)))
    assert len(steps) == 10  # 0.5^10 < 1e-3
    ended = next(step for step in until_stalled(base=method, floor=1e-3)(500, 0) if step.finished)
    assert (ended.finished, ended.converged) == ("the residual is nearly zero", True)
    ended = next(step for step in until_stalled(base=method, floor=1e-3)(10, 0) if step.finished)
    assert ended.finished == "own"
    assert len(list(until_stalled(base=method)(500, 0))) == 200
    assert not any(step.finished for step in until_stalled(base=method)(500, 0))


def test_until_stalled_with_a_rival():
    def method(network, theta):
        for i in range(200):
            yield Iterate(theta, 1.0 + 0.9**i, 0.0)

    def ending(**options):
        return next((i, s.finished) for i, s in enumerate(until_stalled(base=method, **options)(0, 0)) if s.finished)

    at, reason = ending()
    assert reason == STALLED
    values = 1.0 + 0.9 ** np.arange(200)
    fall = values[:-WINDOW] - values[WINDOW:]
    first = next(i for i in range(2 * WINDOW, 200) if fall[i - WINDOW] < 1e-3 * values[i])
    assert at == first
    at, reason = ending(rival=0.9)
    assert reason == "another start is better"
    assert at == next(i for i in range(2 * WINDOW, 200) if values[i] - 5 * fall[i - WINDOW] > 0.9)


def success_counts(d, k, m, n, seeds, make):
    """How often the residual vanishes and the planted units are found."""
    count = 0
    for seed in seeds:
        X, y, teacher = planted(seed, n, d, k, m)
        network, moments, centered = network_of(X, y, k)
        descent = make(network, moments, centered, seed)
        lowest = network.is_lowest(descent.objective)
        count += lowest and error_of(network, descent.theta, teacher) < 1e-9
        assert descent.objective == pytest.approx(network.value_and_gradient(descent.theta)[0], rel=1e-6, abs=1e-28)
    return count


def from_tensor(network, moments, centered, seed):
    return refined(network, moments.weighting, tensor_descent(network, moments, centered, seed), max_iter=1000)


def from_wide(network, moments, centered, seed):
    return widened(network, moments.weighting, np.random.RandomState(seed), 0, max_iter=1000)


@pytest.mark.parametrize("make", [from_tensor, from_wide])
@pytest.mark.parametrize(("d", "k", "m", "n"), [(8, 3, 4, 200), (10, 4, 2, 500)])
def test_descent_finds_planted_networks(make, d, k, m, n):
    """The second has more units than outputs."""
    assert success_counts(d, k, m, n, range(4), make) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("make", [from_tensor, from_wide])
@pytest.mark.parametrize(
    ("d", "k", "m", "n"), [(20, 5, 8, 300), (20, 5, 8, 1000), (20, 6, 3, 1000), (50, 10, 10, 1000)]
)
def test_descent_finds_planted_networks_in_many_samples(make, d, k, m, n):
    assert success_counts(d, k, m, n, range(100, 110), make) >= 8


@pytest.mark.slow
@pytest.mark.parametrize(("d", "k", "m", "n"), [(50, 10, 10, 300), (50, 10, 4, 1000)])
def test_few_rows_are_enough_with_several_starts(d, k, m, n):
    def several(network, moments, centered, seed):
        first = from_tensor(network, moments, centered, seed)
        options = {"n_starts": 9, "begin": lambda: False, "max_iter": 1000}
        return best_start(network, moments.weighting, first, np.random.RandomState(seed), **options)

    assert success_counts(d, k, m, n, range(100, 106), several) >= 5


def test_refined_leaves_a_solution_alone_and_counts_its_iterations():
    X, y, teacher = planted(0)
    network, moments, centered = network_of(X, y, 3)
    theta = truth_of(network, teacher)
    solved = Descent(theta).moved(network, theta)
    assert refined(network, moments.weighting, solved, max_iter=100) is solved
    start = tensor_descent(network, moments, centered)
    for budget in (1, 5):
        descent = refined(network, moments.weighting, start, max_iter=budget)
        assert len(descent.loss_curve) == budget
        assert f"max_iter = {budget}" in descent.stop_reason
    told = []
    descent = refined(network, moments.weighting, start, max_iter=500, watch=lambda n, theta: told.append(n) or n == 3)
    assert told == [1, 2, 3]
    assert descent.stop_reason == STOPPED


def test_descent_in_weighted_outputs_ends_where_that_in_outputs_does_not_rise():
    """`refined` may raise the objective of the outputs in its first stage, not in its last."""
    for seed in range(4):
        X, y, _ = planted(seed, share=0.2)
        network, moments, centered = network_of(X, y, 3)
        descent = from_tensor(network, moments, centered, seed)
        assert descent.objective <= tensor_descent(network, moments, centered, seed).objective
        gradient = network.value_and_gradient(descent.theta)[1]
        assert (gradient @ network.metric(descent.theta)(gradient)) ** 0.5 < 0.05


def test_to_zero_gives_back_the_descent_where_no_zero_is_near():
    X, y, teacher = planted(0, share=1e-4)
    network, *_ = network_of(X, y, 3)
    theta = truth_of(network, teacher)
    descent = Descent(theta).moved(network, theta)
    assert SMOOTHED_OBJECTIVE < descent.objective < NEARLY_EXACT
    assert two_layer._to_zero(network, descent, max_iter=1000) is descent
    X, y, teacher = planted(0)
    network, *_ = network_of(X, y, 3)
    theta = truth_of(network, teacher) + 1e-5 * random_point(network)
    descent = Descent(theta).moved(network, theta)
    assert network.lowest < descent.objective < NEARLY_EXACT
    assert network.is_lowest(two_layer._to_zero(network, descent, max_iter=1000).objective)
    # Not where it is not near.
    theta = truth_of(network, teacher) + 0.1 * random_point(network)
    far = Descent(theta).moved(network, theta)
    assert two_layer._to_zero(network, far, max_iter=1000) is far


def test_to_zero_takes_exact_steps_where_outputs_are_enough(monkeypatch):
    taken = []
    monkeypatch.setattr(two_layer, "exact", lambda *args, exact=two_layer.exact: taken.append(args) or exact(*args))
    for m, exact_alone in ((4, True), (2, False)):
        X, y, teacher = planted(0, m=m)
        network, *_ = network_of(X, y, 3)
        theta = truth_of(network, teacher) + 1e-5 * random_point(network)
        found = two_layer._to_zero(network, Descent(theta).moved(network, theta), max_iter=1000)
        assert network.is_lowest(found.objective)
        assert error_of(network, found.theta, teacher) < 1e-11
        assert bool(taken) == exact_alone
        assert (len(found.loss_curve) <= two_layer.EXACT_STEPS) == exact_alone
        taken.clear()


def reduced_rank(network, X, theta):
    """Rank of the derivatives of all outputs of all rows in both layers."""
    W, b = network.hidden(theta)
    Z = X @ W.T + b
    units, slopes = np.maximum(Z, 0), (Z > 0).astype(float)
    coef = network.layer(theta).coef
    inputs = np.column_stack([X - X.mean(axis=0), np.ones(len(X))])
    hidden = np.einsum("nj,nd,jo->nojd", slopes, inputs, coef).reshape(len(X) * coef.shape[1], -1)
    output = np.kron(np.column_stack([units, np.ones(len(X))]), np.eye(coef.shape[1]))
    derivatives = np.hstack([hidden, output])
    return np.linalg.matrix_rank(derivatives, tol=1e-9 * np.linalg.norm(derivatives))


@pytest.mark.parametrize("n", [40, 60, 90, 600])
def test_determined_one_by_one_is_the_rank_of_all_derivatives(n):
    """With few rows it need not be; it is never said to be where it is not, nor of dependent outputs."""
    k, d, m, verdicts = 3, 8, 4, []
    for seed in range(6):
        X, y, teacher = planted(seed, n)
        network, *_ = network_of(X, y, k)
        theta = normalised(network, truth_of(network, teacher))
        # Of each unit the length is free.
        full = reduced_rank(network, X, theta) == k * (d + 1) + (k + 1) * m - k
        one_by_one = two_layer._determined_one_by_one(network, theta)
        assert full or not one_by_one
        assert two_layer.determined(network, theta) or not one_by_one
        verdicts.append(one_by_one)
        network, *_ = network_of(X, y[:, :2], k)
        assert not two_layer._determined_one_by_one(network, theta)
    assert all(verdicts) or n < 600


def test_nothing_is_determined_where_a_unit_sees_too_few_rows():
    X, _, teacher = planted(0)
    active = np.flatnonzero(X @ teacher.hidden_coef_[0] > 0)
    kept = np.setdiff1d(np.arange(len(X)), active[7:])
    for rows, expected in ((kept, False), (np.arange(len(X)), True)):
        network, *_ = network_of(X[rows], teacher.predict(X[rows]), 3)
        theta = truth_of(network, teacher)
        assert two_layer._determined_one_by_one(network, normalised(network, theta)) == expected
        assert two_layer.determined(network, theta) == expected


def test_wide_starts_are_of_the_stated_widths_and_sizes(monkeypatch):
    X, y, _ = planted(0)
    free = Activation(relu.value, relu.derivative, "without scale", kink=1.0)
    for f, fit_intercept in itertools.product((relu, free), (True, False)):
        network, moments, _ = network_of(X, y, 3, f, fit_intercept)
        seen = []

        def spy(self, method, net, seen=seen, **options):
            seen.append((net.n_hidden, self.theta.reshape(net.shape), net.weighting, net.alpha, options["max_iter"]))
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(Descent, "followed_by", spy)
            for attempt in range(4):
                with pytest.raises(KeyboardInterrupt):
                    widened(network, moments.weighting, np.random.RandomState(0), attempt, max_iter=1000)
        assert [width for width, *_ in seen] == [6, 5, 9, 6]
        for attempt, (_, hidden, weighting, alpha, max_iter) in enumerate(seen):
            size = two_layer.SIZES[attempt % 3] if f is free else 1.0
            assert (hidden[:, :8] ** 2).sum(axis=1).mean() ** 0.5 == pytest.approx(size, rel=0.4)
            if fit_intercept:
                np.testing.assert_array_equal(hidden[:, -1], 0)
            assert weighting is moments.weighting
            assert alpha == 0
            assert max_iter == two_layer.WIDE_ITERATIONS


# The number of units.


def size_found(seed, d, k, m, n, share, start=None):
    X, y, _ = planted(seed, n, d, k, m, share)
    network, moments, centered = network_of(X, y, start or k)
    descent = from_tensor(network, moments, centered, seed)
    rng = np.random.RandomState(seed)
    network, descent = sized(network, moments.weighting, descent, rng, max_iter=1000)
    assert len(descent.theta) == np.prod(network.shape)
    assert descent.objective == pytest.approx(network.value_and_gradient(descent.theta)[0], rel=1e-6, abs=1e-28)
    return network.n_hidden


SIZES = [(8, 3, 4, 600), (10, 4, 2, 800)]


@pytest.mark.parametrize("share", [0.0, 0.1])
@pytest.mark.parametrize(("d", "k", "m", "n"), [SIZES[0], pytest.param(*SIZES[1], marks=pytest.mark.slow)])
def test_the_number_of_units_is_that_of_the_planted_ones(d, k, m, n, share):
    for seed, start in [(0, k), (1, k + 2), (2, 1)]:
        assert size_found(seed, d, k, m, n, share, start) == k


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
@pytest.mark.parametrize(("d", "k", "m", "n"), [*SIZES, (20, 5, 8, 1000)])
def test_the_number_of_units_is_that_of_the_planted_ones_in_many_samples(d, k, m, n, share):
    right = [size_found(seed, d, k, m, n, share, start) == k for seed in range(100, 106) for start in (k, k + 2, 1)]
    assert np.mean(right) >= 0.9


def test_the_criterion_is_that_of_the_docstring():
    """``n q log F + p log n``, F at least where it is zero to rounding."""
    X, y, _ = planted(0, share=0.1)
    network, *_ = network_of(X, y, 3)
    expected = 600 * 4 * np.log(0.03) + network.n_weights * np.log(600)
    assert two_layer._criterion(network, Descent(None, 0.03)) == pytest.approx(expected, rel=1e-12)
    zero, rounding = (two_layer._criterion(network, Descent(None, F)) for F in (0.0, network.lowest))
    assert zero == rounding


def test_a_size_grows_to_the_rank_and_half_the_equations_at_most(monkeypatch):
    """Told criteria that fall on and on."""
    X, y, _ = planted(0, n=200, d=8, m=4, share=0.1)
    seen = []

    def told(network, weighting, rng, attempt, **options):
        seen.append(network.n_hidden)
        theta = np.zeros(np.prod(network.shape))
        return Descent(theta, 1e-3 * 0.01**network.n_hidden)

    monkeypatch.setattr(two_layer, "widened", told)
    monkeypatch.setattr(two_layer, "_shrunk", lambda network, weighting, descent, best, options: best)
    network, *_ = network_of(X, y, 1)
    start = Descent(np.zeros(np.prod(network.shape)), 1.0)
    network, _ = sized(network, None, start, None, max_iter=10)
    assert seen == [2, 4, 8]
    assert network.n_hidden == 8
    del seen[:]
    few, *_ = network_of(X[:36], y[:36], 1)
    sized(few, None, start, None, max_iter=10)
    limit = max(k for k in (1, 2, 4, 8) if few.variant(k).n_weights <= few.n_equations / 2)
    assert seen == [k for k in (2, 4, 8) if k <= limit]
    assert limit < 8


@pytest.mark.parametrize(("margin", "grown"), [(0.5, False), (1.5, True)])
def test_a_size_grows_only_if_the_criterion_falls_by_more_than_the_margin(monkeypatch, margin, grown):
    """Told criteria: twice as many units lower it by `margin`, of a nat."""
    X, y, _ = planted(0, n=200, share=0.1)
    network, moments, _ = network_of(X, y, 2)
    assert two_layer.SIZE_MARGIN == 1
    monkeypatch.setattr(two_layer, "widened", lambda network, *a, **o: Descent(random_point(network), 0.0))
    monkeypatch.setattr(two_layer, "_criterion", lambda network, descent: -margin * (network.n_hidden > 2))
    monkeypatch.setattr(two_layer, "_shrunk", lambda network, weighting, descent, best, options: best)
    monkeypatch.setattr(TwoLayer, "is_lowest", lambda self, value: False)
    found, _ = sized(network, moments.weighting, Descent(random_point(network), 1.0), None, max_iter=10)
    assert (found.n_hidden > 2) == grown


@pytest.mark.parametrize(
    ("criteria", "best", "expected"),
    [
        ({5: 9, 4: 8, 3: 7, 2: 0, 1: 5}, 2, 2),  # all the way down to the size that is known, and one further
        ({5: 0, 4: 0.5, 3: 9, 2: -9, 1: -9}, 5, 4),  # one unit less wins unless it is worse by the margin; then the end
        ({5: 0, 4: 1.5, 3: -9, 2: -9, 1: -9}, 5, 5),
        ({5: 9, 4: 8, 3: 7, 2: 6, 1: 6.5}, 2, 1),
    ],
)
def test_units_are_dropped_until_the_criterion_rises(monkeypatch, criteria, best, expected):
    X, y, _ = planted(0, n=200, share=0.1)
    network, moments, _ = network_of(X, y, 5)
    tried = []

    def told(network, weighting, descent, **options):
        tried.append(network.n_hidden)
        return descent

    monkeypatch.setattr(two_layer, "refined", told)
    monkeypatch.setattr(two_layer, "_criterion", lambda network, descent: criteria[network.n_hidden])
    monkeypatch.setattr(two_layer, "_merged", lambda network, weighting, descent, options: (network, descent))
    known = network.variant(best)
    start = Descent(random_point(network), 1.0)
    given = (known, Descent(random_point(known), 1.0)) if best < 5 else (network, start)
    found, descent = two_layer._shrunk(network, moments.weighting, start, given, {})
    assert found.n_hidden == expected
    assert len(descent.theta) == np.prod(found.shape)
    # Down to one below the best, or to where it rises by the margin.
    assert tried == list(range(4, 0, -1))[: len(tried)]
    assert min(tried) == max(1, expected - 1)


def test_descent_is_first_in_weighted_outputs_then_in_the_outputs(monkeypatch):
    X, y, _ = planted(0, share=0.1)
    network, moments, centered = network_of(X, y, 3, alpha=0.01)
    seen = []

    def spy(self, method, net, **options):
        seen.append((net.weighting, net.alpha, self.theta))
        return self

    start = tensor_descent(network, moments, centered)
    monkeypatch.setattr(Descent, "followed_by", spy)
    refined(network, moments.weighting, start, max_iter=100)
    (first, no_decay, _), (second, decay, theta) = seen
    assert first is moments.weighting
    assert second is None
    assert (no_decay, decay) == (0, 0.01)
    np.testing.assert_allclose(np.linalg.norm(theta.reshape(network.shape)[:, :-1], axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_merged_units_are_one(fit_intercept):
    """Parallel units become one of the same function; others stay; one between two joins both."""
    for seed in range(3):
        X, y, _ = planted(seed, share=0.2)
        network, *_ = network_of(X, y, 3, fit_intercept=fit_intercept)
        hidden = normalised(network, random_point(network, seed)).reshape(network.shape)
        split = np.vstack([hidden[:1], 2 * hidden[1:2], hidden[2:], 5 * hidden[:1], 0.3 * hidden[:1]])
        wide = network.variant(5)
        left = two_layer.merged(wide, split.ravel(), 1 - 1e-9).reshape(-1, network.shape[1])
        assert left.shape == network.shape
        np.testing.assert_allclose(normalised(network, left.ravel()), hidden.ravel(), atol=1e-10)
        np.testing.assert_allclose(two_layer.merged(wide, random_point(wide), 0.9999), random_point(wide), rtol=1e-9)


def test_merged_units_are_the_sum_by_their_shares_in_the_outputs():
    """To first order in their angle that is the same function: equal shares would leave a residual of that order."""
    X, y, teacher = planted(0)
    network, *_ = network_of(X, y, 3)
    hidden = normalised(network, truth_of(network, teacher)).reshape(network.shape)
    across = np.random.default_rng(0).standard_normal(hidden.shape[1])
    for angle in (1e-2, 1e-3):
        # Shares 1/4 and 3/4 of the first unit, on either side of it.
        pair = np.vstack([hidden[0] + 3 * angle * across, hidden[0] - angle * across])
        wide = network.variant(4)
        left = two_layer.merged(wide, np.vstack([pair, hidden[1:]]).ravel(), 0.99)
        assert left.size == network.n_hidden * network.shape[1]
        assert (2 * network.value_and_gradient(left)[0]) ** 0.5 < 0.1 * angle
        equal = np.vstack([pair.mean(axis=0), hidden[1:]]).ravel()
        assert (2 * network.value_and_gradient(equal)[0]) ** 0.5 > 0.2 * angle


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_balanced_units_have_the_lowest_penalty_of_their_scales(activation):
    f, rng = ACTIVATIONS[activation], np.random.default_rng(0)
    W, b, v, deviations = (
        rng.standard_normal((4, 3)),
        rng.standard_normal(4),
        rng.standard_normal(4),
        rng.random(3) + 0.5,
    )
    hidden, bias = two_layer.balanced(W, b, v, deviations, f, 0.1)

    def penalty(scale):
        return np.sum((scale[:, None] * W * deviations) ** 2, axis=1) + (v / scale**f.homogeneity) ** 2

    scale = hidden[:, 0] / W[:, 0]
    np.testing.assert_allclose(hidden, W * scale[:, None], rtol=1e-12)
    np.testing.assert_allclose(bias, b * scale, rtol=1e-12)
    for factor in (0.99, 1.01):
        assert np.all(penalty(scale) < penalty(factor * scale))
    for alpha, other in [(0.0, f), (0.1, softplus)]:
        np.testing.assert_array_equal(two_layer.balanced(W, b, v, deviations, other, alpha)[0], W)
    zero = two_layer.balanced(0 * W, b, 0 * v, deviations, f, 0.1)
    np.testing.assert_array_equal(zero[1], b)


# The end.


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_polished_comes_to_a_gradient_of_zero(activation, fit_intercept):
    f = ACTIVATIONS[activation]
    for seed in range(3):
        X, y, teacher = planted(seed, share=0.1, activation=activation)
        network, moments, _ = network_of(X, y, 3, f, fit_intercept)
        theta = truth_of(network, teacher)
        descent = refined(network, moments.weighting, Descent(theta).moved(network, theta), max_iter=1000)
        found = polished(network, descent, tol=1e-10, max_iter=2000)
        assert found.converged
        smoothed = network.variant(smoothing=1e-4 * (f.kink > 0))
        there = normalised(network, found.theta)
        value, gradient = smoothed.value_and_gradient(there)
        assert (gradient @ smoothed.metric(there)(gradient)) ** 0.5 <= 1e-9
        assert value <= descent.objective * (1 + 1e-4)
        # A second order minimum: no eigenvalue of the Hessian is negative beyond rounding.
        product = smoothed.curvature_product(there)
        H = np.column_stack([product(e) for e in np.eye(len(there))])
        assert np.linalg.eigvalsh((H + H.T) / 2).min() > -1e-9


def test_polished_leaves_exact_solutions_alone():
    X, y, teacher = planted(0)
    network, *_ = network_of(X, y, 3)
    theta = truth_of(network, teacher)
    descent = Descent(theta).moved(network, theta)
    found = polished(network, descent, tol=1e-10, max_iter=1000)
    assert found.converged
    assert found.theta is theta
    assert found.loss_curve == []
    nearly = Descent(theta, 0.9 * SMOOTHED_OBJECTIVE)
    assert polished(network, nearly, tol=1e-10, max_iter=1000).theta is theta
    interrupted = descent.stopped(INTERRUPTED)
    found = polished(network, interrupted, tol=1e-10, max_iter=1000)
    assert not found.converged
    assert found.stop_reason == INTERRUPTED


def test_polished_units_have_length_one_unless_they_decay():
    X, y, teacher = planted(0, share=0.1)
    for alpha in (0.0, 0.01):
        network, *_ = network_of(X, y, 3, alpha=alpha)
        theta = 3 * truth_of(network, teacher)
        descent = Descent(theta).moved(network, theta)
        found = polished(network, descent, tol=1e-9, max_iter=1000)
        assert found.converged
        length = np.linalg.norm(found.theta.reshape(network.shape)[:, :-1], axis=1)
        assert np.all(np.abs(length - 1) < 0.1) == (alpha == 0)
        # With decay lengths count: what has no iterations left stays where it is.
        spent = Descent(theta, descent.objective, [1.0])
        left = polished(network, spent, tol=1e-9, max_iter=1).theta
        np.testing.assert_array_equal(left, theta if alpha else normalised(network, theta))


def test_newton_steps_converge_quadratically_to_the_last_digit():
    """The criterion of each step is of the order of the square of that before, down to rounding, in noise, too."""
    for seed in range(4):
        X, y, teacher = planted(seed, share=0.3, activation="squared_relu")
        network, *_ = network_of(X, y, 3, squared_relu)
        theta = normalised(network, truth_of(network, teacher))
        criteria = []
        for step in newton_cg(network, theta):
            criteria.append(step.criterion)
            if step.finished:
                break
        assert len(criteria) < 15
        assert min(criteria) < 1e-14
        small = next(i for i, size in enumerate(criteria) if size < 1e-3)
        for before, after in itertools.pairwise(criteria[small:]):
            assert after <= max(100 * before**2, 2e-15)
        assert "less than rounding" in step.finished


def fake(H, constant, theta_error=0.0):
    """A quadratic function above a constant, whose gradient may be wrong by a share."""

    def value_and_gradient(x):
        return constant + x @ H @ x / 2, H @ x

    return SimpleNamespace(
        value_and_gradient=value_and_gradient,
        metric=lambda x: lambda q: q,
        curvature_product=lambda x: lambda q: (1 + theta_error) * (H @ q),
        is_lowest=lambda value: value <= 0,
        rows=SimpleNamespace(dtype=np.float64),
    )


def test_below_the_rounding_of_the_objective_gradients_decide():
    """Where steps no longer change the objective, one that makes the gradient smaller is taken."""
    H, x = np.diag([1.0, 2.0, 3.0]), 1e-6 * np.ones(3)
    assert x @ H @ x < 1e6 * ROUNDING * np.finfo(float).eps
    steps = list(newton_cg(fake(H, 1e6), x))
    assert steps[-1].criterion < 1e-14
    assert "less than rounding" in steps[-1].finished
    # Halved at least each time, or the last: a curvature wrong by half leaves a third, one wrong by nine tenths more.
    steps = list(newton_cg(fake(H, 1e6, 0.5), x))
    sizes = [step.criterion for step in steps]
    assert len(sizes) > 5
    assert all(after < before / 2 for before, after in itertools.pairwise(sizes[:-1]))
    slow = list(newton_cg(fake(H, 1e6, 1.5), x))
    assert len(slow) == 1
    np.testing.assert_allclose(slow[0].parameters, x * 0.6, rtol=1e-3)
    # A step that makes it larger is not taken.
    worse = list(newton_cg(fake(H, 1e6, -0.6), x))
    assert len(worse) == 1
    np.testing.assert_array_equal(worse[0].parameters, x)
    assert worse[0].criterion == pytest.approx(np.linalg.norm(H @ x))
    assert worse[0].objective == 1e6 + x @ H @ x / 2


# Interruption.


class Interrupting(Rows):
    """Rows whose n-th pass from now on is interrupted, once."""

    left = None

    def sum(self, f, *parameters):
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return super().sum(f, *parameters)


def interruptible(seed=0, k=2):
    X, y, _ = planted(seed, n=200, share=0.2)
    network, moments, centered = network_of(X, y, k)
    rows = Interrupting(X, y)
    network = TwoLayer(rows, relu, network.whitening, k, **network.options)
    return rows, network, moments, tensor_descent(network, moments, centered)


@pytest.mark.parametrize("passes", [1, 2, 3, 7, 50, 200, 237, 500])
@pytest.mark.parametrize("solver", ["sized", "best_start"])
def test_interruption_anywhere_keeps_the_best(solver, passes):
    rows, network, moments, start = interruptible()
    start = refined(network, moments.weighting, start, max_iter=20)
    rng, rows.left = np.random.RandomState(0), passes
    if solver == "sized":
        network, found = sized(network, moments.weighting, start, rng, max_iter=200)
    else:
        options = {"n_starts": 5, "begin": lambda: False, "max_iter": 200}
        found = best_start(network, moments.weighting, start, rng, **options)
    if rows.left > 0:
        assert not found.interrupted
        return
    rows.left = None
    assert found.interrupted
    assert found.stop_reason == INTERRUPTED
    assert not found.converged
    assert len(found.theta) == np.prod(network.shape)
    if network.n_hidden == 2:
        assert found.objective <= start.objective
    assert network.value_and_gradient(found.theta)[0] == pytest.approx(found.objective, rel=1e-9)
    assert polished(network, found, tol=1e-9, max_iter=500).stop_reason == INTERRUPTED


@pytest.mark.parametrize("solver", ["sized", "best_start"])
def test_interruption_between_two_stages_keeps_the_best(monkeypatch, solver):
    """In every one of the first passes, where stages are short: units are dropped and networks changed in some."""
    monkeypatch.setattr(two_layer, "WIDE_ITERATIONS", 2)
    for passes in range(1, 40):
        rows, network, moments, start = interruptible()
        rng, rows.left = np.random.RandomState(0), passes
        if solver == "sized":
            network, found = sized(network, moments.weighting, start, rng, max_iter=4)
        else:
            options = {"n_starts": 5, "begin": lambda: False, "max_iter": 4}
            found = best_start(network, moments.weighting, start, rng, **options)
        rows.left = None
        assert found.stop_reason == INTERRUPTED
        assert network.value_and_gradient(found.theta)[0] == pytest.approx(found.objective, rel=1e-9)


@pytest.mark.parametrize("passes", [1, 2, 5, 20, 45])
def test_interruption_of_a_descent_keeps_its_best_iterate(passes):
    rows, network, _, start = interruptible()
    rows.left = passes
    found = start.followed_by(until_stalled(), network, max_iter=100)
    rows.left = None
    assert found.interrupted
    assert found.objective <= start.objective
    assert network.value_and_gradient(found.theta)[0] <= start.objective * (1 + 1e-12)


def test_a_callback_that_asks_to_stop_ends_the_starts():
    _, network, moments, start = interruptible()
    found = best_start(network, moments.weighting, start, None, n_starts=3, begin=lambda: True, max_iter=10)
    assert found.stop_reason == STOPPED
    assert found.theta is start.theta


def test_smooth_starts_must_agree_more_often(monkeypatch):
    """One that agrees ends the search of a homogeneous activation, `AGREEING` that of another."""
    for f, expected in [(relu, 1), (softplus, two_layer.hidden_layer.AGREEING)]:
        X, y, _ = planted(0, share=0.1)
        network, moments, _ = network_of(X, y, 3, f)
        tried = []
        monkeypatch.setattr(two_layer, "widened", lambda *a, tried=tried, **o: tried.append(0) or Descent(None, 1.0))
        start = Descent(np.zeros(np.prod(network.shape)), 1.0)
        best_start(network, moments.weighting, start, None, n_starts=9, begin=lambda: False, max_iter=10)
        assert len(tried) == expected


def test_quasi_newton_and_newton_end_at_the_same_minimum():
    X, y, teacher = planted(1, share=0.2, activation="squared_relu")
    network, *_ = network_of(X, y, 3, squared_relu)
    theta = truth_of(network, teacher)
    start = Descent(theta).moved(network, theta)
    ends = [start.followed_by(method, network, max_iter=400, tol=1e-8) for method in (quasi_newton, newton_cg)]
    assert all(end.converged for end in ends)
    np.testing.assert_allclose(*(normalised(network, end.theta) for end in ends), atol=1e-6)
