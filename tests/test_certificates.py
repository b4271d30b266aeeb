"""Certificates of global optimality: against a slow solver of the convex problem, and the formulas of the docstring."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from skrelu.certificates import certificate, reference_norm
from skrelu.networks.quadratic import QuadraticModel, QuadraticNetwork
from skrelu.networks.quadratic_form import QuadraticForm
from skrelu.rows import Rows
from skrelu.solvers.descent import Descent
from skrelu.solvers.newton import newton_cg
from skrelu.solvers.proximal import proximal_descent
from skrelu.solvers.quadratic import proximal_start, rank_adapted
from skrelu.starts import spectral_start

HEADS = list(itertools.product([True, False], repeat=2))  # fit_linear, fit_intercept
KINDS = list(itertools.product([True, False], [True, False], [0.0, 0.5, 5.0]))


def table(seed, n=40, d=4, shift=0.7):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) @ (np.eye(d) + 0.3 * rng.standard_normal((d, d))) * np.arange(1, d + 1) + shift
    Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    W = np.diag(1 / np.arange(1, d + 1)) @ Q
    M = (W * np.resize([3.0, -2.0, 1.0, 0.1], d)) @ W.T
    y = np.einsum("ij,ij->i", X @ M, X) + X @ rng.standard_normal(d) + 3 + 2 * rng.standard_normal(n)
    return X, y, rng.random(n) + 0.1


@dataclass
class Convex:
    """The problem over matrices in the user's units, with explicit features: slow, and obvious.

    The linear part and the intercept are eliminated: at their best for each ``A = S^1/2 M S^1/2`` the objective is
    ``(z - y)' Q (z - y) / 2 + (alpha/2) |A|_*`` of the values z of the quadratic part.
    """

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    fit_linear: bool
    fit_intercept: bool
    alpha: float
    positive: bool

    def __post_init__(self):
        self.p = self.weight / self.weight.sum()
        self.S = self.p @ (self.X - self.p @ self.X) ** 2
        n, d = self.X.shape
        scaled = self.X / self.S**0.5
        self.features = np.array([np.outer(x, x).ravel() for x in scaled])
        self.head = U = np.hstack([scaled[:, : d * self.fit_linear], np.ones((n, int(self.fit_intercept)))])
        ridge = np.diag([self.alpha] * (d * self.fit_linear) + [0.0] * self.fit_intercept)
        P = np.diag(self.p)
        self.solve_head = np.linalg.solve(U.T @ P @ U + ridge, U.T @ P) if U.size else np.zeros((0, n))
        self.Q = P - P @ U @ self.solve_head

    def value(self, A):
        r = self.features @ A.ravel() - self.y
        return r @ self.Q @ r / 2 + self.alpha / 2 * np.abs(np.linalg.eigvalsh(A)).sum()

    def shrunk(self, A, step):
        values, vectors = np.linalg.eigh((A + A.T) / 2)
        smaller = np.abs(values) - step * self.alpha / 2
        values = np.maximum(values - step * self.alpha / 2, 0) if self.positive else np.sign(values) * smaller.clip(0)
        return (vectors * values) @ vectors.T

    def solution(self, n_iter=20_000):
        """Accelerated proximal gradients with restarts, or least squares."""
        d = self.X.shape[1]
        H, b = self.features.T @ self.Q @ self.features, self.features.T @ self.Q @ self.y
        if self.alpha == 0 and not self.positive:
            return np.linalg.lstsq(H, b, rcond=1e-11)[0].reshape(d, d)
        step = 1 / np.linalg.eigvalsh(H)[-1]
        A, ahead, momentum = np.zeros((d, d)), np.zeros((d, d)), 1.0
        for _ in range(n_iter):
            new = self.shrunk(ahead - step * (H @ ahead.ravel() - b).reshape(d, d), step)
            if np.sum((ahead - new) * (new - A)) > 0:
                ahead, momentum = A, 1.0
                continue
            if np.linalg.norm(new - ahead) <= 1e-14 * np.linalg.norm(new):
                break
            momentum, before = (1 + (1 + 4 * momentum**2) ** 0.5) / 2, momentum
            ahead = new + (before - 1) / momentum * (new - A)
            A = new
        return A

    def parts(self, A):
        """(M, beta, c) in the user's units, beta and c the best."""
        root, d = self.S**0.5, len(A)
        head = -self.solve_head @ (self.features @ A.ravel() - self.y)
        beta = head[:d] / root if self.fit_linear else np.zeros(d)
        return A / root / root[:, None], beta, head[-1] if self.fit_intercept else 0.0

    def objective(self, M, beta, c):
        f = np.array([x @ M @ x + beta @ x + c for x in self.X])
        root = self.S**0.5
        nuclear = np.linalg.svd(root[:, None] * M * root, compute_uv=False).sum()
        return self.p @ (f - self.y) ** 2 / 2 + self.alpha / 2 * (nuclear + beta**2 @ self.S)

    def model(self):
        return QuadraticModel.of(
            Rows(self.X, self.y, self.weight),
            fit_linear=self.fit_linear,
            fit_intercept=self.fit_intercept,
            alpha=self.alpha,
            positive=self.positive,
        )


def problem(kind, positive=False, seed=0, n=40, d=4, shift=0.7):
    X, y, weight = table(seed, n, d, shift)
    return Convex(X, y, weight, *kind, positive)


def told_at(convex, parts):
    """The certificate at parts in the user's units."""
    model = convex.model()
    return certificate(model, model.from_user(*parts), reference_norm(model, *spectral_start(model)))


def some_parts(convex, seed, size=1.0):
    """Far from any optimum, but admissible: about the scales of the problem."""
    rng = np.random.default_rng(seed)
    d, root, t = convex.X.shape[1], convex.S**0.5, np.std(convex.y)
    A = rng.standard_normal((d, d))
    A = A @ A.T if convex.positive else A + A.T
    beta = rng.standard_normal(d) / root * convex.fit_linear
    return size * t * A / root / root[:, None], size * t * beta, size * t * rng.standard_normal() * convex.fit_intercept


def test_the_slow_solver_solves_its_problem():
    """Its optimum is a fixed point of plain proximal gradients, and parts give back the value of what is eliminated."""
    for kind, positive in itertools.product(KINDS, [True, False]):
        convex = problem(kind, positive)
        A = convex.solution()
        assert convex.objective(*convex.parts(A)) == pytest.approx(convex.value(A), rel=1e-11)
        rng = np.random.default_rng(0)
        for size in (1e-2, 1e-4):
            B = convex.shrunk(A + size * np.linalg.norm(A) * rng.standard_normal((4, 4)), 0.0)
            assert convex.value(B) >= convex.value(A) * (1 - 1e-13)


# What it tells.


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gap_is_zero_at_the_optimum_and_positive_elsewhere(kind, positive):
    convex = problem(kind, positive)
    A = convex.solution()
    assert np.linalg.norm(A) > 0.01
    parts = convex.parts(A)
    told = told_at(convex, parts)
    assert abs(told.gap) < 1e-9
    assert np.all(told.slopes <= 1e-8 * told.unit)
    M, beta, c = parts
    rng = np.random.default_rng(1)
    for size in (1.0, 1e-2):
        moved = convex.shrunk(A + size * np.linalg.norm(A) * rng.standard_normal((4, 4)), 0.0)
        root = convex.S**0.5
        assert told_at(convex, (moved / root / root[:, None], beta, c)).gap > 1e-4 * size
    if kind[0]:
        assert told_at(convex, (M, beta * 1.01, c)).gap > 1e-7
    if kind[1]:
        assert told_at(convex, (M, beta, c + 0.01 * np.std(convex.y))).gap > 1e-7


@pytest.mark.parametrize("positive", [pytest.param(True, marks=pytest.mark.slow), False])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[2] > 0])
def test_the_dual_value_is_a_lower_bound_at_any_point(kind, positive):
    """With an intercept: of the best among those within one root mean square of y."""
    for seed, shift in [(0, 0.0), (1, 0.0), (2, 10.0)]:
        convex = problem(kind, positive, seed=seed, shift=shift)
        A, t = convex.solution(), (convex.p @ convex.y**2) ** 0.5
        lowest = convex.value(A)
        best = convex.parts(A)
        bounds = []
        for size in (1e-6, 1e-3, 0.1, 1.0):
            M, beta, _ = best
            M_far, beta_far, c_far = some_parts(convex, seed + 10, size)
            M, beta = (1 - size) * M + M_far, (1 - size) * beta + beta_far
            c = best[2] + np.clip(c_far / t, -1, 1) * t * 0.999
            gap = told_at(convex, (M, beta, c)).gap
            P = convex.objective(M, beta, c)
            assert 0 <= gap <= 1
            bounds.append(P * (1 - gap))
            assert bounds[-1] <= lowest * (1 + 1e-10)
            # Nor is it smaller than what is lost.
            assert gap >= (P - lowest) / P - 1e-10
        # Near the optimum it is tight.
        assert shift or bounds[0] > 0.99 * lowest


def test_the_bound_does_not_depend_on_where_zero_is():
    """Of y + b and c + b, the same gap, but for its unit: a bound of the old intercepts would be wrong there."""
    convex = problem((False, True, 0.5), seed=1)
    A = convex.solution()
    M, beta, c = convex.parts(A)
    for offset in (1e3, -1e3):
        moved = Convex(convex.X, convex.y + offset, convex.weight, False, True, 0.5, False)
        assert moved.value(A) == pytest.approx(convex.value(A), rel=1e-9)
        gap = told_at(moved, (1.001 * M, beta, c + offset + 1e-3)).gap
        lost = 1 - moved.value(A) / moved.objective(1.001 * M, beta, c + offset + 1e-3)
        assert lost - 1e-9 <= gap <= 1


@pytest.mark.parametrize("positive", [pytest.param(True, marks=pytest.mark.slow), False])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[2] > 0])
def test_the_gap_with_decay_is_the_formula(kind, positive):
    for seed, size in itertools.product(range(4), [0.03, 1.0]):
        convex = problem(kind, positive, seed=seed)
        M, beta, c = parts = some_parts(convex, seed + 5, size)
        gap = told_at(convex, parts).gap
        X, y, p, S, alpha = convex.X, convex.y, convex.p, convex.S, convex.alpha
        r = np.array([x @ M @ x + beta @ x + c for x in X]) - y
        scaled = X / S**0.5
        values = np.linalg.eigvalsh((scaled.T * (p * r)) @ scaled)
        norm = max(0, -values[0]) if positive else np.abs(values).max()
        quadratic = p @ r**2 + convex.fit_linear * np.sum(((p * r) @ scaled) ** 2) / alpha
        slope = -(p @ (r * (y - c))) - convex.fit_intercept * abs(p @ r) * (p @ y**2) ** 0.5
        best = 0.0
        largest = alpha / 2 / norm if norm > 0 else np.inf
        # The best tau, by search.
        for tau in np.append(np.linspace(0, min(largest, 10), 20_001), max(slope, 0) / quadratic):
            if tau <= largest:
                best = max(best, tau * slope - tau**2 * quadratic / 2)
        P = convex.objective(*parts)
        assert gap == pytest.approx((P - best) / P, abs=1e-6)


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("head", HEADS)
def test_the_gap_without_decay_is_the_formula(head, positive):
    for seed in range(3):
        convex = problem((*head, 0.0), positive, seed=seed)
        M, beta, c = parts = some_parts(convex, seed + 5)
        told = told_at(convex, parts)
        X, y, p = convex.X, convex.y, convex.p
        centered = X - p @ X if head == (True, True) else X
        values, vectors = np.linalg.eigh((centered.T * p) @ centered)
        white = centered @ (vectors / values**0.5) @ vectors.T
        z, t = (p @ y**2) ** 0.5, 1.0
        r = (np.array([x @ M @ x + beta @ x + c for x in X]) - y) / z * t
        best = np.linalg.lstsq(p[:, None] ** 0.5 * convex.head, p**0.5 * y, rcond=None)[0] if any(head) else []
        r_head = (convex.head @ best - y) / z if any(head) else -y / z
        reference = np.abs(np.linalg.eigvalsh((white.T * (p * r_head)) @ white)).max()
        G, g, total = (white.T * (p * r)) @ white, (p * r) @ white * head[0], p @ r * head[1]
        if positive:
            # M about the same coordinates: x = m + C^1/2 x~.
            root = (vectors * values**0.5) @ vectors.T
            M_white = root @ M @ root
            size = max(0, -np.linalg.eigvalsh(G)[0]) + abs(np.sum(G * M_white)) / np.trace(M_white)
            size += (g @ g + total**2) ** 0.5
        else:
            size = np.abs(np.linalg.eigvalsh(np.block([[G, g[:, None]], [g[None], np.array([[total]])]]))).max()
        assert told.gap == pytest.approx(size / reference, rel=1e-7)
        assert told.unit == pytest.approx(reference, rel=1e-8)


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_the_gap_has_no_dimension(alpha, positive):
    convex = problem((True, True, alpha), positive)
    M, beta, c = parts = convex.parts(1.002 * convex.solution())
    gap = told_at(convex, parts).gap
    assert 1e-4 < gap < 0.99
    # With decay |M| is in the units of y, and |beta|^2 in their square: see the next test.
    for t in (1e-5, 1e7) if alpha == 0 else ():
        other = Convex(convex.X, t * convex.y, convex.weight, True, True, 0.0, positive)
        assert told_at(other, (t * M, t * beta, t * c)).gap == pytest.approx(gap, rel=1e-7)
    D = np.array([1e-3, 1.0, 50.0, 1e4])
    scaled = Convex(convex.X * D, convex.y, convex.weight, True, True, alpha, positive)
    assert told_at(scaled, (M / D / D[:, None], beta / D, c)).gap == pytest.approx(gap, rel=1e-7)
    assert told_at(scaled, parts).gap != pytest.approx(gap, rel=1e-3)
    weighted = Convex(convex.X, convex.y, 1e3 * convex.weight, True, True, alpha, positive)
    assert told_at(weighted, parts).gap == pytest.approx(gap, rel=1e-10)


@pytest.mark.parametrize("positive", [True, False])
def test_with_decay_the_gap_scales_with_y_where_there_is_no_linear_part(positive):
    convex = problem((False, True, 0.5), positive)
    M, beta, c = parts = convex.parts(1.002 * convex.solution())
    gap = told_at(convex, parts).gap
    assert 1e-4 < gap < 0.99
    for t in (1e-5, 1e7):
        other = Convex(convex.X, t * convex.y, convex.weight, False, True, t * 0.5, positive)
        assert told_at(other, (t * M, beta, t * c)).gap == pytest.approx(gap, rel=1e-8)


@pytest.mark.parametrize("positive", [True, False])
def test_the_gap_without_decay_is_the_same_after_rotation_and_shift(positive):
    convex = problem((True, True, 0.0), positive)
    M, beta, c = parts = some_parts(convex, 3)
    gap = told_at(convex, parts).gap
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    turned = Convex(convex.X @ Q, convex.y, convex.weight, True, True, 0.0, positive)
    assert told_at(turned, (Q.T @ M @ Q, Q.T @ beta, c)).gap == pytest.approx(gap, rel=1e-8)
    m = np.array([1.0, -20.0, 3.0, 100.0])
    shifted = Convex(convex.X + m, convex.y, convex.weight, True, True, 0.0, positive)
    there = M, beta - 2 * M @ m, c - beta @ m + m @ M @ m
    assert told_at(shifted, there).gap == pytest.approx(gap, rel=1e-6)


def test_weights_repeat_rows():
    X, y, _ = table(0)
    counts = np.random.default_rng(0).integers(0, 4, len(X))
    for kind, positive in itertools.product(KINDS, [True, False]):
        convex = Convex(X, y, counts, *kind, positive)
        repeated = Convex(np.repeat(X, counts, axis=0), np.repeat(y, counts), np.ones(counts.sum()), *kind, positive)
        parts = some_parts(convex, 0, 0.1)
        a, b = told_at(convex, parts), told_at(repeated, parts)
        assert a.gap == pytest.approx(b.gap, rel=1e-9, abs=1e-9)
        np.testing.assert_allclose(a.slopes, b.slopes, rtol=1e-8, atol=1e-9)


# What is not an optimum.


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_no_units_with_the_best_linear_part_are_no_optimum(kind, positive):
    """A critical point of every network: there the weights w_j = 0 have no slope."""
    convex = problem(kind, positive)
    parts = convex.parts(np.zeros((4, 4)))
    told = told_at(convex, parts)
    assert told.gap > 0.01
    assert told.slopes.max() > 0.01 * told.unit
    # With alpha = 0 the unit is |G| there.
    if kind[2] == 0 and not positive:
        assert told.gap == pytest.approx(1.0, rel=1e-8)
    # Decay as strong as that is an optimum.
    if kind[2] > 0:
        slope = told.slopes.max() + told.unit
        for factor, optimal in [(1.01, True), (0.99, False)]:
            alpha = kind[2] * factor * slope / told.unit
            weaker = Convex(convex.X, convex.y, convex.weight, *kind[:2], alpha, positive)
            # Its best linear part is another; without one it is the same point.
            if not kind[0]:
                assert (told_at(weaker, weaker.parts(np.zeros((4, 4)))).gap < 1e-10) == optimal


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.05])
def test_the_best_network_of_too_few_units_is_no_optimum(alpha, positive):
    rng = np.random.default_rng(0)
    X, W = rng.standard_normal((60, 4)), rng.standard_normal((2, 4))
    v = np.array([1.0, 1.0 if positive else -1.0])
    convex = Convex(X, (X @ W.T) ** 2 @ v, np.ones(60), False, False, alpha, positive)
    model = convex.model()
    network = QuadraticNetwork(model, v[:1])
    start = model.whitening.to_white(W[:1]) / model.target_scale**0.5
    run = Descent(start.ravel()).followed_by(newton_cg, network, tol=1e-12, max_iter=100)
    assert np.linalg.norm(network.value_and_gradient(run.theta)[1]) < 1e-8
    reference = reference_norm(model, *spectral_start(model))
    told = certificate(model, network.parts(run.theta), reference)
    assert told.gap > 0.01
    assert told.slopes.max() > 0.01 * told.unit
    if alpha == 0:
        planted = model.from_user((W.T * v) @ W, np.zeros(4), 0.0)
        assert certificate(model, planted, reference).gap == 0


def test_an_exact_saddle_is_no_optimum():
    """Rows e_i and y = M_ii: of two planted units one alone fits its row exactly, and the other has weight zero."""
    X, y = np.eye(2), np.array([1.0, 2.0])
    for positive, alpha in itertools.product([True, False], [0.0, 0.1]):
        convex = Convex(X, y, np.ones(2), False, False, alpha, positive)
        # With decay the fitted entry is at its own best: (M - 2) / 2 + alpha S / 2 = 0.
        M = np.diag([0.0, 2.0 - alpha * convex.S[1]])
        model = convex.model()
        network = QuadraticNetwork(model, [1.0])
        w = model.whitening.to_white(np.array([[0.0, M[1, 1] ** 0.5]])) / model.target_scale**0.5
        value, gradient = network.value_and_gradient(w.ravel())
        np.testing.assert_allclose(gradient, 0, atol=1e-14)
        assert value > 0.05
        told = told_at(convex, (M, np.zeros(2), 0.0))
        assert told.gap > 0.05
        told_optimum = told_at(convex, (np.diag(y - alpha * convex.S), np.zeros(2), 0.0))
        assert abs(told_optimum.gap) < 1e-12


def test_positive_outputs_accept_what_signed_ones_do_not():
    """Data of negative curvature: the best positive semidefinite matrix is 0, and the certificate says so."""
    X = np.random.default_rng(0).standard_normal((200, 3))
    y = -np.sum(X**2, axis=1)
    for alpha in (0.0, 0.3):
        zero = np.zeros((3, 3)), np.zeros(3), 0.0
        told = told_at(Convex(X, y, np.ones(200), False, False, alpha, True), zero)
        assert told.gap == 0
        assert np.all(told.slopes < 0)
        np.testing.assert_array_equal(told.signs, 1)
        assert told_at(Convex(X, y, np.ones(200), False, False, alpha, False), zero).gap > 0.5


def test_a_matrix_that_is_optimal_on_its_range_only_is_no_optimum():
    """The slack <G, M> vanishes at rank-one optima, and the eigenvalue of G across them tells."""
    X = np.random.default_rng(0).standard_normal((100, 2))
    convex = Convex(X, X[:, 0] ** 2 + X[:, 1] ** 2, np.ones(100), False, False, 0.0, True)
    squares, y, p = X[:, 0] ** 2, convex.y, convex.p
    m = (p @ (squares * y)) / (p @ squares**2)
    told = told_at(convex, (np.diag([m, 0.0]), np.zeros(2), 0.0))
    assert told.gap > 0.1
    # A multiple of the optimum has G <= 0 or G >= 0, and then slack or slope.
    for factor in (0.9, 1.1):
        assert told_at(convex, (factor * np.eye(2), np.zeros(2), 0.0)).gap > 0.05


# Directions.


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_slopes_are_the_rates_at_which_units_lower_the_objective(kind, positive):
    """The objective of the convex problem along ``M + h v u u'``, u out of the range of M for decay to be linear."""
    convex = problem(kind, positive)
    model = convex.model()
    network = QuadraticNetwork(model, np.zeros(0))
    head = np.random.default_rng(0).standard_normal(model.n_head)
    told = certificate(model, network.parts(head), reference_norm(model, *spectral_start(model)))
    base = network.value_and_gradient(head)[0]
    h = 1e-7
    slopes = []
    for u, sign, slope in zip(told.directions, told.signs, told.slopes, strict=True):
        larger = network.variant([sign])
        value = larger.value_and_gradient(larger.pack(h**0.5 * u[None], head))[0]
        slopes.append((base - value) / h)
        # In units whose gradient is that with respect to the square of the size: half of |w|^2 R'R.
        assert slopes[-1] == pytest.approx(slope, rel=1e-4, abs=1e-5)
        R = model.root
        assert np.linalg.norm(R @ u) == pytest.approx(1.0, rel=1e-9)
    assert np.all(told.signs == 1) or not positive or told.slopes.min() < 0
    assert model.alpha == 0 or told.unit == pytest.approx(model.alpha / 2 / model.target_scale, rel=1e-12)


def test_a_zero_residual_is_an_optimum_whatever_rounding_says():
    rng = np.random.default_rng(0)
    X, W = rng.standard_normal((30, 3)), rng.standard_normal((2, 3))
    for positive in (True, False):
        convex = Convex(X, (X @ W.T) ** 2 @ np.ones(2), np.ones(30), True, True, 0.0, positive)
        assert told_at(convex, (W.T @ W, np.zeros(3), 0.0)).gap == 0
        assert told_at(convex, (1.0001 * W.T @ W, np.zeros(3), 0.0)).gap > 1e-6


def test_a_linear_function_needs_no_units():
    X = np.random.default_rng(0).standard_normal((50, 3))
    for positive in (True, False):
        convex = Convex(X, X @ [1.0, 2.0, 3.0] + 4, np.ones(50), True, True, 0.0, positive)
        assert told_at(convex, convex.parts(np.zeros((3, 3)))).gap < 1e-9


def test_nothing_to_fit():
    for positive, alpha in itertools.product([True, False], [0.0, 0.5]):
        X = np.random.default_rng(0).standard_normal((50, 3))
        convex = Convex(X, np.zeros(50), np.ones(50), True, True, alpha, positive)
        told = told_at(convex, (np.zeros((3, 3)), np.zeros(3), 0.0))
        assert told.gap == 0
        assert np.all(np.isfinite(told.slopes))


@pytest.mark.parametrize("positive", [True, False])
def test_constant_columns_neither_help_nor_mislead(positive):
    """With decay they would stand for a linear part without decay."""
    for alpha, constant in itertools.product([0.0, 0.5], [1.0, 100.0]):
        convex = problem((True, True, alpha), positive)
        rows = Rows(np.column_stack([convex.X, np.full(40, constant)]), convex.y, convex.weight)
        model = QuadraticModel.of(rows, fit_linear=True, fit_intercept=True, alpha=alpha, positive=positive)
        reference = reference_norm(model, *spectral_start(model))
        for M, beta, c in (convex.parts(convex.solution()), some_parts(convex, 3, 0.1)):
            told = certificate(model, model.from_user(np.pad(M, (0, 1)), np.append(beta, 0), c), reference)
            assert told.gap == pytest.approx(told_at(convex, (M, beta, c)).gap, rel=1e-7, abs=1e-9)


def test_the_reference_is_the_norm_at_the_best_linear_part():
    for head in HEADS:
        convex = problem((*head, 0.0))
        model = convex.model()
        _, beta, c = model.from_user(*convex.parts(np.zeros((4, 4))))
        _, G, g, total = QuadraticForm(model).moments(None, beta, c)
        np.testing.assert_allclose(g * head[0], 0, atol=1e-10)
        assert abs(total * head[1]) < 1e-10
        expected = np.abs(np.linalg.eigvalsh(G)).max()
        assert reference_norm(model, *spectral_start(model)) == pytest.approx(expected, rel=1e-9)


# The solver against the slow one.


@pytest.mark.parametrize("n", [12, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_solver_comes_to_the_optimum_of_the_slow_one(kind, positive, n):
    convex = problem(kind, positive, seed=2, n=n)
    if kind[2] == 0 and (n == 12 or not positive):
        return  # Interpolation and least squares: in test_quadratic_solvers.
    model, lowest = convex.model(), convex.value(convex.solution(100_000))
    matrix, beta, mean = spectral_start(model)
    reference = reference_norm(model, matrix, beta, mean)
    empty, head = QuadraticNetwork(model, np.zeros(0)), model.packed_head(beta, mean)
    network, run = rank_adapted(
        empty, Descent(head), reference, goal=1e-9, tol=1e-11, options=lambda network: {"max_iter": 2000}
    )
    parts = model.user(*network.parts(run.theta))
    assert run.converged
    assert certificate(model, network.parts(run.theta), reference).gap <= 1e-9
    assert convex.objective(*parts) == pytest.approx(lowest, rel=1e-9)
    # The lowest of the network, too: its units are those of the nuclear norm.
    assert run.objective * model.target_scale**2 == pytest.approx(lowest, rel=1e-9)
    assert np.all(np.diff(run.loss_curve) <= 1e-13 * np.array(run.loss_curve[:-1]))


@pytest.mark.parametrize("positive", [pytest.param(True, marks=pytest.mark.slow), False])
@pytest.mark.parametrize("kind", KINDS)
def test_proximal_steps_come_to_the_same_optimum(kind, positive):
    convex = problem(kind, positive, seed=2)
    model, lowest = convex.model(), convex.value(convex.solution(100_000))
    form = QuadraticForm(model.scaled())
    if kind[2]:
        np.testing.assert_allclose(form.model.penalty_matrix, np.eye(4), atol=1e-12)
    run = Descent(np.zeros(form.n_weights)).followed_by(proximal_descent, form, tol=1e-14, max_iter=20_000)
    parts = form.parts(run.theta)
    np.testing.assert_allclose(form.pack(*parts), run.theta, rtol=1e-12, atol=1e-13)
    user = form.model.user(*parts)
    assert convex.objective(*user) == pytest.approx(lowest, rel=1e-10)
    # The convexity is used: steps without momentum take many more.
    assert len(run.loss_curve) < 5000
    # A start for the network: as good as its tolerance, and orthogonal.
    _, beta, mean = spectral_start(model)
    network, start = proximal_start(model, model.packed_head(beta, mean), max_iter=1000)
    theta = start.theta
    assert convex.objective(*model.user(*network.parts(theta))) == pytest.approx(lowest, rel=1e-4)
    assert not positive or np.all(network.output == 1)
    assert network.n_hidden == np.linalg.matrix_rank(network.parts(theta)[0], tol=1e-9)
