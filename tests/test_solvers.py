"""Solvers: the loop by toy methods, each method against a slow reference, solutions by certificates, work by passes."""

import itertools
from itertools import pairwise

import cvxpy as cp
import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize

from skrelu import ProjectedReLURegressor, constraints
from skrelu.constraints import (
    Box,
    GroupL0Ball,
    GroupL1Ball,
    L0Ball,
    L1Ball,
    L2Ball,
    LowRank,
    Monotone,
    Nonnegative,
    NonnegativeSparse,
    NuclearBall,
    Simplex,
    Subspace,
    TotalVariationBall,
)
from skrelu.constraints.extended import CallableSet, FreeIntercept, WholeSpace
from skrelu.networks import SingleReLU
from skrelu.rows import Rows
from skrelu.solvers import face_newton, spectral
from skrelu.solvers import pursuit as pursuit_module
from skrelu.solvers.face_newton import _symmetric_solver, newton_direction, newton_point
from skrelu.solvers.gradient import projected_gradient
from skrelu.solvers.loop import Iterate, iterate
from skrelu.solvers.points import Problem
from skrelu.solvers.pursuit import MARGIN, _threshold, atomic_start, pursuit
from skrelu.solvers.spectral import spectral_newton
from skrelu.solvers.structured import structured_descent

D = 12
GROUPS = np.repeat(np.arange(4), 3)
CONVEX = {
    "whole": WholeSpace(),
    "l1": L1Ball(1.5),
    "l2": L2Ball(0.7),
    "simplex": Simplex(1.3),
    "group l1": GroupL1Ball(GROUPS, 1.2),
    "nonnegative": Nonnegative(),
    "box": Box(-0.2, np.linspace(0.1, 0.5, D)),
    "subspace": Subspace(np.random.default_rng(0).standard_normal((D, 4))),
    "increasing": Monotone(),
    "decreasing": Monotone(increasing=False),
    "variation": TotalVariationBall(1.0),
    "nuclear": NuclearBall((4, 3), 0.9),
}
NONCONVEX = {
    "l0": L0Ball(3),
    "nonnegative sparse": NonnegativeSparse(3),
    "group l0": GroupL0Ball(GROUPS, 2),
    "low rank": LowRank((4, 3), 1),
}


def test_every_set_of_the_package_is_here():
    here = {type(constraint).__name__ for constraint in (*CONVEX.values(), *NONCONVEX.values())}
    assert here == {*constraints.__all__, "WholeSpace"}
    assert all(constraint.convex for constraint in CONVEX.values())
    assert not any(constraint.convex for constraint in NONCONVEX.values())


# the loop


def toy(objectives, criteria=None, finished=None, **last):
    """Yield iterates whose parameters tell their number."""
    for k, objective in enumerate(objectives, 1):
        end = {"finished": finished, **last} if finished and k == len(objectives) else {}
        yield Iterate(np.full(2, float(k)), objective, 1.0 if criteria is None else criteria[k - 1], **end)


def run(method, **options):
    return iterate(method, np.zeros(2), **{"max_iter": 100, "tol": 1e-3, "criterion": "|step|", **options})


def test_loop_stops_at_tol():
    result = run(toy([3, 2, 2.5, 1], [1, 0.1, 1e-3, 0]))
    assert result.converged
    assert result.loss_curve == [3, 2, 2.5]
    assert result.n_iter == 3
    assert result.criterion == 1e-3
    assert result.stop_reason == "|step| = 0.001 <= tol = 0.001"
    assert result.parameters[0] == 3  # the last, though the second was lower


def test_loop_stops_at_max_iter_with_the_best():
    result = run(toy([3, 1, 2, 5, 0]), max_iter=4)
    assert not result.converged
    assert result.loss_curve == [3, 1, 2, 5]
    assert result.n_iter == 4
    assert result.parameters[0] == 2
    assert "max_iter = 4" in result.stop_reason
    assert "|step| = 1" in result.stop_reason


def test_loop_asks_for_no_more_than_max_iter():
    asked = []

    def method():
        for k in itertools.count():
            asked.append(k)
            yield Iterate(np.zeros(2), 1.0, 1.0)

    assert run(method(), max_iter=5).n_iter == 5
    assert asked == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("objectives", [[1, 1, 1], [2, 1, 1]])
def test_loop_keeps_the_later_of_two_equals(objectives):
    assert run(toy(objectives), max_iter=3).parameters[0] == 3


def test_loop_converges_at_the_last_iteration():
    result = run(toy([2, 1], [1, 0]), max_iter=2)
    assert result.converged
    assert "tol" in result.stop_reason
    single = run(toy([2], [0]), max_iter=1)
    assert (single.n_iter, single.loss_curve, single.converged) == (1, [2.0], True)


def test_negative_tol_runs_to_max_iter():
    result = run(toy([2, 1, 3], [0, 0, 0]), max_iter=3, tol=-1.0)
    assert (result.n_iter, result.converged, result.parameters[0]) == (3, False, 2)


@pytest.mark.parametrize("converged", [True, False])
def test_loop_stops_where_the_method_finishes(converged):
    result = run(toy([2, 1, 3], finished="nothing is left to do", converged=converged))
    assert result.stop_reason == "nothing is left to do"
    assert result.converged == converged
    assert result.parameters[0] == (3 if converged else 2)
    assert result.n_iter == 3


def test_loop_explains_a_method_that_just_ends():
    result = run(toy([2, 1]))
    assert result.n_iter == 2
    assert result.parameters[0] == 2
    assert result.stop_reason


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_loop_keeps_the_best_when_the_objective_diverges(bad):
    result = run(toy([3, 1, 2, bad, 0]))
    assert not result.converged
    assert result.loss_curve == [3, 1, 2]
    assert result.n_iter == 3
    assert result.parameters[0] == 2
    assert result.stop_reason.startswith("diverged")


def test_loop_keeps_the_best_when_parameters_diverge():
    def method():
        yield Iterate(np.ones(2), 1.0, 1.0)
        yield Iterate(np.array([np.nan, 1]), 0.0, 0.0)

    result = run(method())
    assert not result.converged
    assert result.stop_reason.startswith("diverged")
    np.testing.assert_array_equal(result.parameters, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_loop_returns_the_start_when_the_first_iterate_is_bad(bad):
    result = run(toy([bad]))
    assert not result.converged
    np.testing.assert_array_equal(result.parameters, 0)
    assert result.n_iter == len(result.loss_curve) == 1


def test_overflow_inside_a_method_is_no_warning():
    def method():
        x = np.array([1e300])
        while True:
            x = x * 1e10
            yield Iterate(x, float(x[0] - x[0]), 1.0)

    assert run(method()).stop_reason.startswith("diverged")


@pytest.mark.parametrize("after", [0, 1, 3])
def test_interruption_keeps_the_best(after):
    def method():
        yield from toy([3, 1, 2][:after])
        raise KeyboardInterrupt

    result = run(method())
    assert not result.converged
    assert result.stop_reason == "interrupted by the user"
    assert result.n_iter == max(1, after) == len(result.loss_curve)
    assert result.parameters[0] == {0: 0, 1: 1, 3: 2}[after]


def test_interruption_inside_the_watcher_keeps_the_best():
    def watch(n_iter, parameters):
        if n_iter == 3:
            raise KeyboardInterrupt
        return False

    result = run(toy([3, 1, 2, 0]), watch=watch)
    assert (result.n_iter, result.parameters[0]) == (3, 2)
    assert result.stop_reason == "interrupted by the user"


def test_other_errors_are_not_swallowed():
    def method():
        yield Iterate(np.ones(2), 1.0, 1.0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(method())


def test_watcher_is_told_of_every_iteration_and_may_stop():
    told = []

    def watch(n_iter, parameters):
        told.append((n_iter, parameters[0]))
        return n_iter == 3

    result = run(toy([3, 1, 2, 0]), watch=watch)
    assert told == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert (result.n_iter, result.converged, result.stop_reason) == (3, False, "stopped by a callback")
    assert result.parameters[0] == 2


def test_convergence_wins_over_the_watcher():
    result = run(toy([3, 1], [1, 0]), watch=lambda n_iter, parameters: n_iter == 2)
    assert result.converged
    assert "tol" in result.stop_reason


@pytest.mark.parametrize(
    ("verbose", "numbers"), [(0, []), (1, [10, 20]), (5, list(range(2, 26, 2))), (99, [*range(1, 26)])]
)
def test_verbose_prints_every_so_many_iterations(capsys, verbose, numbers):
    run(toy(np.arange(25.0)), max_iter=25, verbose=verbose)
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split(",")[0].removeprefix("Iteration ")) for line in lines] == numbers
    assert all("objective = " in line and "|step| = 1" in line for line in lines)


def test_history_belongs_to_the_run():
    """Python floats, one an iteration, whatever the method yields."""
    result = run(toy(np.array([2, 1], dtype=np.float32), [1, 0]))
    assert [type(value) for value in result.loss_curve] == [float, float]


# data


def linear_table(seed, n=60, d=D, noise=0.5):
    """Return data on which the majorant is least squares: all targets positive."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = 1 + np.abs(X @ rng.standard_normal(d) + noise * rng.standard_normal(n))
    return X, y, rng.random(n) + 0.5


def least_squares(X, y, weight=None, fit_intercept=False):
    objective = SingleReLU(Rows(X, y, weight), fit_intercept=fit_intercept)
    return objective.variant(linear_above=objective.noise_threshold)


def planted_table(seed, n, w, b=0.0, noise=0.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, len(w)))
    return X, np.maximum(X @ w + b, 0) + noise * rng.standard_normal(n)


def member(constraint, seed, d=D):
    """Return a point of the set near which it is not flat."""
    return constraint.project(2 * np.random.default_rng(seed).standard_normal(d))


# projected gradient: the paper's iteration


def paper_iterates(X, y, project, w, step_size, n_steps):
    """``w <- P(w - mu g), g = 1/n sum (max(0, z) - y)(1 + sign z) x``, mu = 2, 1, 1, ... from zero, else 1, 1, ..."""
    iterates, first = [], 2 if not w.any() else 1
    for t in range(n_steps):
        z = X @ w
        g = X.T @ ((np.maximum(z, 0) - y) * (1 + np.sign(z))) / len(y)
        w = project(w - step_size * (first if t == 0 else 1) * g)
        iterates.append(w)
    return iterates


@pytest.mark.parametrize("name", [*CONVEX, *NONCONVEX])
@pytest.mark.parametrize("step_size", [1.0, 0.3])
@pytest.mark.parametrize("from_zero", [True, False])
def test_projected_gradient_is_the_iteration_of_the_paper(name, step_size, from_zero):
    constraint = {**CONVEX, **NONCONVEX}[name]
    X, y = planted_table(0, 150, member(constraint, 0))
    start = np.zeros(D) if from_zero else np.random.default_rng(1).standard_normal(D)
    objective = SingleReLU(Rows(X, y), fit_intercept=False)
    problem = Problem(objective, constraint)
    method = projected_gradient(problem, problem.at(start), step_size=step_size)
    expected = paper_iterates(X, y, constraint.project, start, step_size, 12)
    before = start
    for iterate_, w in zip(itertools.islice(method, 12), expected, strict=True):
        np.testing.assert_allclose(iterate_.parameters, w, rtol=1e-9, atol=1e-12)
        assert iterate_.objective == pytest.approx(np.mean((np.maximum(X @ w, 0) - y) ** 2) / 2, rel=1e-9, abs=1e-16)
        criterion = np.linalg.norm(w - before) / np.linalg.norm(w)
        assert iterate_.criterion == pytest.approx(criterion, rel=1e-6, abs=1e-11)
        before = w


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_adaptive_gradient_descent_is_monotone(scale):
    rng = np.random.default_rng(2)
    X = scale * rng.standard_normal((80, 6)) * [1, 2, 3, 4, 5, 6] + scale
    y = np.maximum(X @ rng.standard_normal(6), 0) + 0.1 * scale * rng.standard_normal(80)
    objective = SingleReLU(Rows(X, y), fit_intercept=True)
    start = np.zeros(7)
    values = [objective.value_and_gradient(start)[0]]
    problem = Problem(objective, FreeIntercept(L2Ball(2.0)))
    method = projected_gradient(problem, problem.at(start), step_size="auto")
    values += [iterate_.objective for iterate_ in itertools.islice(method, 200)]
    assert all(after <= before for before, after in pairwise(values))
    assert values[-1] < (1 - 1e-4) * values[0]


def test_adaptive_gradient_descent_halves_for_good():
    """The factor found is the first power of 1/2 that never raises the objective, as a slow reference finds it."""
    X, y = planted_table(3, 80, np.ones(4))
    X *= 3
    objective = SingleReLU(Rows(X, y), fit_intercept=False)
    w, factor = np.full(4, 0.1), 1.0
    value, g, _ = objective.value_and_gradient(w)
    problem = Problem(objective, WholeSpace())
    method = projected_gradient(problem, problem.at(w), step_size="auto")
    for iterate_ in itertools.islice(method, 20):
        while objective.value_and_gradient(w - 2 * factor * g)[0] > value:
            factor /= 2
        w = w - 2 * factor * g
        value, g, _ = objective.value_and_gradient(w)
        np.testing.assert_allclose(iterate_.parameters, w, rtol=1e-12)
    assert factor < 0.5


@pytest.mark.parametrize("scale", [1e100, 1e160])
def test_adaptive_gradient_descent_never_halves_for_ever(scale):
    """Where the gradient overflows no step is short enough: the method must yield what it has."""
    X, y = planted_table(4, 50, np.ones(3))
    objective, calls = SingleReLU(Rows(scale * X, scale * y), fit_intercept=False), itertools.count()

    class Patient:
        def value_and_gradient(self, theta):
            assert next(calls) < 5000, "still halving"
            return objective.value_and_gradient(theta)

    with np.errstate(all="ignore"):
        problem = Problem(Patient(), WholeSpace())
        next(projected_gradient(problem, problem.at(np.zeros(3)), step_size="auto"))


def test_gradient_descent_ends_where_the_gradient_is_no_number_or_every_row_is_inactive():
    X, y = planted_table(4, 50, np.ones(3))
    with np.errstate(all="ignore"):
        problem = Problem(SingleReLU(Rows(1e200 * X, 1e200 * y), fit_intercept=False), WholeSpace())
        (last,) = projected_gradient(problem, problem.at(np.ones(3)), step_size=1.0)
    assert last.objective == last.criterion == np.inf
    problem = Problem(SingleReLU(Rows(np.abs(X), np.abs(y)), fit_intercept=False), WholeSpace())
    (last,) = projected_gradient(problem, problem.at(np.full(3, 100.0)), step_size=1.0)
    assert "every row inactive" in last.finished
    assert not last.converged
    assert np.all(np.abs(X) @ last.parameters < 0)


def test_gradient_descent_that_stands_still_says_so():
    X, y = planted_table(4, 30, np.ones(3))
    objective = SingleReLU(Rows(X, -y), fit_intercept=False)
    problem = Problem(objective, Nonnegative())
    first = next(projected_gradient(problem, problem.at(np.zeros(3)), step_size="auto"))
    assert first.criterion == 0


# Newton directions


def dense_basis(face, size):
    if sparse.issparse(face.basis):
        return face.basis.toarray()
    return np.eye(size)[:, face.basis] if face.basis.dtype.kind == "i" else face.basis


def kkt_step(X, weight, slope, face, theta, gradient):
    """Return the minimiser of the model on the face, by the full KKT system, and the multiplier."""
    B = dense_basis(face, len(theta))
    p = weight / weight.sum()
    H = (X.T * (p * slope)) @ X
    model = B.T @ H @ B
    rhs = -B.T @ gradient
    multiplier = 0.0
    if face.normal is not None:
        multiplier = -(gradient @ face.normal) / (face.normal @ face.normal)
    if face.normal is None or (multiplier <= 0 and not face.equation):
        return B @ np.linalg.solve(model, rhs), multiplier
    if face.curvature is not None:
        model = model + multiplier * (np.diag(face.curvature) if face.curvature.ndim == 1 else face.curvature)
    n = B.T @ face.normal
    K = np.block([[model, n[:, None]], [n[None, :], np.zeros((1, 1))]])
    return B @ np.linalg.solve(K, np.append(rhs, 0))[:-1], multiplier


@pytest.fixture(params=["dense", "conjugate gradients"])
def newton_route(request, monkeypatch):
    monkeypatch.setattr(face_newton, "DENSE_LIMIT", 1000 if request.param == "dense" else 0)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("outward", [True, False])
@pytest.mark.parametrize("name", [*CONVEX, *NONCONVEX])
def test_newton_direction_solves_the_kkt_system(newton_route, name, outward, intercept):
    constraint = {**CONVEX, **NONCONVEX}[name]
    X, y, weight = linear_table(5, n=90)
    objective = SingleReLU(Rows(X, y, weight), fit_intercept=intercept)
    theta = member(constraint, 5)
    if intercept:
        X, constraint, theta = np.column_stack([X, np.ones(len(X))]), FreeIntercept(constraint), np.append(theta, 0.3)
    face = constraint.face(theta)
    gradient = objective.value_and_gradient(theta)[1]
    if face.normal is not None:
        # The multiplier is decided by the gradient: give it the wanted sign.
        share = gradient @ face.normal / (face.normal @ face.normal)
        gradient = gradient - (share + (1 if outward else -1) * 0.5) * face.normal
    slope = (X @ theta > 0).astype(float)
    expected, multiplier = kkt_step(X, weight, slope, face, theta, gradient)
    if face.normal is not None:
        assert (multiplier > 0) == outward
    step = newton_direction(objective, face, theta, gradient)
    np.testing.assert_allclose(step, expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())


def test_faces_cover_every_kind():
    """Index, dense and sparse bases; with and without normal; diagonal, full and no curvature; an equation."""
    faces = [constraint.face(member(constraint, 5)) for constraint in (*CONVEX.values(), *NONCONVEX.values())]
    kinds = {"sparse" if sparse.issparse(face.basis) else face.basis.dtype.kind for face in faces}
    assert kinds == {"i", "f", "sparse"}
    assert {face.normal is None for face in faces} == {True, False}
    assert {None if face.curvature is None else face.curvature.ndim for face in faces} == {None, 1, 2}
    assert {face.equation for face in faces} == {True, False}


@pytest.mark.parametrize("name", [*CONVEX, *NONCONVEX])
def test_a_free_intercept_adds_one_free_direction_to_the_face(name):
    constraint = {**CONVEX, **NONCONVEX}[name]
    theta = member(constraint, 5)
    face, wider = constraint.face(theta), FreeIntercept(constraint).face(np.append(theta, 0.3))
    unit = np.eye(D + 1)
    B = unit[:, :D] @ dense_basis(face, D)
    np.testing.assert_array_equal(dense_basis(wider, D + 1), np.column_stack([B, unit[:, D]]))
    assert wider.equation == face.equation
    if face.normal is None:
        assert wider.normal is None
    else:
        np.testing.assert_array_equal(wider.normal, np.append(face.normal, 0))
    if face.curvature is None:
        assert wider.curvature is None
    else:
        full = [c if c.ndim == 2 else np.diag(c) for c in (face.curvature, wider.curvature)]
        np.testing.assert_array_equal(full[1][:-1, :-1], full[0])
        assert not full[1][-1].any()
        assert not full[1][:, -1].any()


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("name", ["l1", "simplex", "variation", "nuclear", "group l1"])
def test_newton_direction_minimises_a_singular_model(name, intercept):
    """With fewer rows than dimensions of the face the model has many minimisers; the step is one of them."""
    constraint = CONVEX[name]
    X, y, weight = linear_table(6, n=5)
    objective = least_squares(X, y, weight, fit_intercept=intercept)
    theta = member(constraint, 6)
    if intercept:
        X, constraint, theta = np.column_stack([X, np.ones(len(X))]), FreeIntercept(constraint), np.append(theta, 0.3)
    face = constraint.face(theta)
    B = dense_basis(face, len(theta))
    gradient = objective.value_and_gradient(theta)[1]
    step = newton_direction(objective, face, theta, gradient)
    multiplier = -(gradient @ face.normal) / (face.normal @ face.normal)
    model = B.T @ (X.T * (weight / weight.sum())) @ X @ B
    g, n = B.T @ gradient, B.T @ face.normal
    active = multiplier > 0 or face.equation
    if active and face.curvature is not None:
        model = model + multiplier * face.curvature
    c = np.linalg.lstsq(B, step, rcond=None)[0]
    directions = np.eye(len(c))
    if active:
        assert abs(n @ c) < 1e-9 * np.abs(c).max()
        directions = directions - np.outer(n, n) / (n @ n)
    np.testing.assert_allclose(directions @ (model @ c + g), 0, atol=1e-8 * np.abs(g).max())


def test_newton_direction_on_a_point_is_zero():
    X, y, weight = linear_table(7)
    objective = least_squares(X, y, weight)
    face = L2Ball(0.0).face(np.zeros(D))
    step = newton_direction(objective, face, np.zeros(D), objective.value_and_gradient(np.zeros(D))[1])
    np.testing.assert_array_equal(step, np.zeros(D))


@pytest.mark.parametrize("rank", [0, 1, 4, 6])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_symmetric_solver_is_the_pseudo_inverse(rank, scale):
    rng = np.random.default_rng(8)
    A = rng.standard_normal((6, rank))
    H = scale * (A @ A.T)
    solve = _symmetric_solver(H.copy())
    expected = np.linalg.pinv(H, rcond=1e-12, hermitian=True)
    inside = H @ rng.standard_normal(6)
    for u in (inside, rng.standard_normal(6)):
        np.testing.assert_allclose(solve(u), expected @ u, rtol=1e-9, atol=1e-10 * np.abs(expected @ u).max(initial=0))


def test_symmetric_solver_of_duplicated_columns_shares_equally():
    A = np.repeat(np.random.default_rng(9).standard_normal((20, 3)), 2, axis=1)
    x = _symmetric_solver(A.T @ A)(A.T @ np.ones(20))
    np.testing.assert_allclose(x[::2], x[1::2], rtol=1e-10)


def test_symmetric_solver_keeps_float32_and_reports_nothing_finite():
    H = np.diag([2.0, 0.0, 4.0]).astype(np.float32)
    x = _symmetric_solver(H)(np.array([2, 5, 4], dtype=np.float32))
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, [1, 0, 1], rtol=1e-6)
    assert np.all(np.isnan(_symmetric_solver(np.full((2, 2), np.nan))(np.ones(2))))


def test_newton_point_solves_least_squares_at_once():
    X, y, weight = linear_table(10)
    problem = Problem(least_squares(X, y, weight), WholeSpace())
    point = newton_point(problem, problem.at(np.zeros(D)))
    root = np.sqrt(weight)
    expected = np.linalg.lstsq(root[:, None] * X, root * y, rcond=None)[0]
    np.testing.assert_allclose(point.theta, expected, rtol=1e-10)
    assert newton_point(problem, point) is None or newton_point(problem, point).optimality <= point.optimality / 2


def test_newton_point_needs_a_face():
    X, y, weight = linear_table(11)
    problem = Problem(least_squares(X, y, weight), CallableSet(np.asarray))
    assert newton_point(problem, problem.at(np.ones(D))) is None


# spectral gradients and Newton steps: convex sets


def certificate(X, y, weight, constraint, theta, fit_intercept):
    """Return |theta - P(theta - g)| for least squares, g computed here."""
    p = weight / weight.sum()
    A = np.column_stack([X, np.ones(len(X))]) if fit_intercept else X
    g = A.T @ (p * (A @ theta - y))
    shifted = theta - g
    if fit_intercept:
        return np.linalg.norm(theta - np.append(constraint.project(shifted[:-1]), shifted[-1]))
    return np.linalg.norm(theta - constraint.project(shifted))


@pytest.mark.parametrize("route", ["newton", "gradients only"])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("name", CONVEX)
def test_spectral_newton_reaches_a_certified_optimum(monkeypatch, name, fit_intercept, route):
    constraint = CONVEX[name]
    space = FreeIntercept(constraint) if fit_intercept else constraint
    if route == "gradients only":
        projection = constraint.project
        space = (
            CallableSet(lambda w: np.append(projection(w[:-1]), w[-1])) if fit_intercept else CallableSet(projection)
        )
    for seed in range(4):
        X, y, weight = linear_table(seed, n=25 if seed % 2 else 80)
        problem = Problem(least_squares(X, y, weight, fit_intercept), space)
        start = np.zeros(D + fit_intercept)
        tol = 1e-10
        result = iterate(spectral_newton(problem, start, tol=tol), start, max_iter=1000, tol=tol, criterion="c")
        assert result.converged, result.stop_reason
        assert certificate(X, y, weight, constraint, result.parameters, fit_intercept) <= tol * (1 + 1e-3)
        if route == "newton":
            assert result.n_iter <= 100


PROGRAMS = {
    "whole": lambda w: [],
    "l1": lambda w: [cp.norm1(w) <= 1.5],
    "l2": lambda w: [cp.norm2(w) <= 0.7],
    "simplex": lambda w: [w >= 0, cp.sum(w) == 1.3],
    "group l1": lambda w: [sum(cp.norm2(w[3 * g : 3 * g + 3]) for g in range(4)) <= 1.2],
    "nonnegative": lambda w: [w >= 0],
    "box": lambda w: [w >= -0.2, w <= np.linspace(0.1, 0.5, D)],
    "subspace": lambda w: [w == CONVEX["subspace"].basis @ cp.Variable(4)],
    "increasing": lambda w: [cp.diff(w) >= 0],
    "decreasing": lambda w: [cp.diff(w) <= 0],
    "variation": lambda w: [cp.norm1(cp.diff(w)) <= 1.0],
    "nuclear": lambda w: [cp.normNuc(cp.reshape(w, (4, 3), order="C")) <= 0.9],
}


def test_newton_steps_that_fail_are_tried_less_and_less_often(monkeypatch):
    """After 2, 4, 8, 16, 32, 32, ... gradient steps on the same face."""
    X, y, _ = linear_table(3)
    problem, tried, n_steps = Problem(least_squares(X * np.geomspace(1e-3, 1, D), y), WholeSpace()), [], 0

    def in_vain(*args):
        tried.append(n_steps)

    monkeypatch.setattr(spectral, "newton_point", in_vain)
    for step in itertools.islice(spectral_newton(problem, np.ones(D), tol=0.0), 100):
        n_steps += 1
        assert not step.finished
    assert np.diff(tried).tolist() == [2, 4, 8, 16, 32, 32]


@pytest.mark.parametrize("name", CONVEX)
def test_spectral_newton_agrees_with_cvxpy(name):
    X, y, weight = linear_table(20, n=40)
    p = weight / weight.sum()
    w = cp.Variable(D)
    program = cp.Problem(cp.Minimize(cp.sum_squares(cp.multiply(np.sqrt(p), X @ w - y)) / 2), PROGRAMS[name](w))
    program.solve(solver=cp.CLARABEL)
    problem, start = Problem(least_squares(X, y, weight), CONVEX[name]), np.zeros(D)
    result = iterate(spectral_newton(problem, start, tol=1e-10), start, max_iter=1000, tol=1e-10, criterion="c")
    assert result.loss_curve[-1] <= program.value * (1 + 1e-9)
    np.testing.assert_allclose(result.parameters, w.value, atol=1e-4)


@pytest.mark.parametrize("name", CONVEX)
def test_spectral_newton_stays_in_the_set_and_reports_what_it_reached(name):
    X, y, weight = linear_table(21)
    problem = Problem(least_squares(X, y, weight), CONVEX[name])
    for iterate_ in itertools.islice(spectral_newton(problem, 3 * np.ones(D), tol=1e-10), 200):
        theta = iterate_.parameters
        np.testing.assert_allclose(problem.constraint.project(theta), theta, rtol=0, atol=1e-13)
        point = problem.at(theta)
        assert iterate_.objective == pytest.approx(point.value, rel=1e-14)
        assert iterate_.criterion >= point.optimality * (1 - 1e-6) - 1e-14
        if iterate_.finished or iterate_.criterion <= 1e-10:
            break
    else:
        pytest.fail("not converged")


@pytest.mark.parametrize("name", ["whole", "l1", "nonnegative", "variation", "nuclear"])
def test_spectral_newton_from_an_optimum_stays(name):
    X, y, weight = linear_table(22)
    problem = Problem(least_squares(X, y, weight), CONVEX[name])
    start = np.zeros(D)
    first = iterate(spectral_newton(problem, start, tol=1e-10), start, max_iter=1000, tol=1e-10, criterion="c")
    again = iterate(
        spectral_newton(problem, first.parameters, tol=1e-10), first.parameters, max_iter=3, tol=1e-10, criterion="c"
    )
    assert again.converged
    np.testing.assert_allclose(again.parameters, first.parameters, rtol=1e-8, atol=1e-10)


# pursuit: nonconvex sets


def restricted_optimum(X, y, support):
    """Return the least squares of positive y on the columns of the support and a constant."""
    A = np.column_stack([X[:, support], np.ones(len(X))])
    return np.mean((A @ np.linalg.lstsq(A, y, rcond=None)[0] - y) ** 2) / 2


@pytest.mark.parametrize("size", [2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("common", "planted"), [(0.0, True), (0.0, False), (0.7, True), (0.7, False), (1.5, True)])
def test_pursuit_finds_the_global_optimum_over_all_supports(size, planted, common):
    """All targets positive: the majorant is least squares, whose best subset brute force knows.

    The columns share a factor, which correlates them by common^2 / (1 + common^2). An excursion must lower the
    objective by `MARGIN`, relatively: a support that is worse by less counts as found.
    """
    d, n, found, seeds = 8, 30, 0, 40
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((n, d)) + common * rng.standard_normal((n, 1))
        signal = X[:, :size].sum(axis=1) + rng.standard_normal(n)
        y = 15 + signal if planted else 1 + np.abs(signal)
        best = min(restricted_optimum(X, y, list(support)) for support in itertools.combinations(range(d), size))
        objective = SingleReLU.standardised(Rows(X, y), True, diagonal=True).variant(linear_above=0.0)
        start = np.zeros(d + 1)
        problem = Problem(objective, FreeIntercept(L0Ball(size)))
        result = iterate(pursuit(problem, start, tol=1e-10), start, max_iter=1000, tol=1e-10, criterion="c")
        assert result.converged
        w, b = objective.coefficients(result.parameters)
        assert np.count_nonzero(w) <= size
        value = np.mean((X @ w + b - y) ** 2) / 2
        assert value >= best * (1 - 1e-12)
        found += value <= best * (1 + MARGIN)
    assert found >= 0.95 * seeds


def lowest_relu_loss(X, y, supports, n_starts=6):
    """Return the lowest loss found by Gauss-Newton descents from many starts on every support, all at once.

    Noisy optima sit on kinks, where these descents slow down: the three lowest are finished by Nelder and Mead.
    """
    Z = np.stack([X[:, support] for support in supports])
    rng = np.random.default_rng(0)
    linear = np.stack([np.linalg.lstsq(z, y, rcond=None)[0] for z in Z])
    rows = y > 0
    active = np.stack([np.linalg.lstsq(z[rows], y[rows], rcond=None)[0] for z in Z])
    found = []
    for start in [linear, active, *(rng.standard_normal(linear.shape) for _ in range(n_starts))]:
        w = start

        def loss(w):
            return np.mean((np.maximum(np.einsum("bij,bj->bi", Z, w), 0) - y) ** 2, axis=1) / 2

        for _ in range(40):
            z = np.einsum("bij,bj->bi", Z, w)
            on = z > 0
            residual = on * (np.maximum(z, 0) - y)
            g = np.einsum("bij,bi->bj", Z, residual)
            H = np.einsum("bij,bi,bik->bjk", Z, on.astype(float), Z) + 1e-10 * np.eye(Z.shape[2])
            step = -np.linalg.solve(H, g[..., None])[..., 0]
            trials = np.stack([w + a * step for a in (0, 1, 0.5, 0.25, 0.1, 0.02)])
            values = np.stack([loss(trial) for trial in trials])
            w = trials[values.argmin(axis=0), np.arange(len(w))]
        found += [(value, k, w[k]) for k, value in enumerate(loss(w))]
    options = {"xatol": 1e-12, "fatol": 1e-14, "maxiter": 2000, "maxfev": 2000}
    return min(
        minimize(
            lambda w, z: np.mean((np.maximum(z @ w, 0) - y) ** 2) / 2, w, (Z[k],), "Nelder-Mead", options=options
        ).fun
        for _, k, w in sorted(found, key=lambda entry: entry[0])[:3]
    )


@pytest.mark.parametrize("size", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_structured_descent_finds_the_lowest_loss_over_all_supports(size):
    """The loss of the ReLU itself, noisy, targets of both signs; the reference descends on every support."""
    d, found, seeds = 8, 0, 20
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        w = np.zeros(d)
        w[rng.permutation(d)[:size]] = rng.standard_normal(size) + np.sign(rng.standard_normal(size))
        X, y = planted_table(seed, 40, w, noise=0.3)
        supports = [list(support) for support in itertools.combinations(range(d), size)]
        best = lowest_relu_loss(X, y, supports)
        objective = SingleReLU(Rows(X, y), fit_intercept=False)
        method = structured_descent(objective, L0Ball(size), np.zeros(d), tol=1e-10)
        result = iterate(method, np.zeros(d), max_iter=1000, tol=1e-10, criterion="c")
        value = objective.value_and_gradient(result.parameters)[0]
        assert np.count_nonzero(result.parameters) <= size
        assert value >= best * (1 - 1e-8)
        found += value <= best * (1 + MARGIN)
    assert found >= 0.95 * seeds


@pytest.mark.parametrize("explore", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("name", NONCONVEX)
def test_pursuit_is_feasible_and_monotone(name, fit_intercept, explore):
    constraint = NONCONVEX[name]
    space = FreeIntercept(constraint) if fit_intercept else constraint
    for seed in range(3):
        X, y = planted_table(seed, 50, member(constraint, seed), noise=0.2)
        problem = Problem(SingleReLU(Rows(X, y), fit_intercept=fit_intercept), space)
        values, last = [problem.at(np.zeros(D + fit_intercept)).value], None
        for last in pursuit(problem, np.zeros(D + fit_intercept), tol=1e-10, explore=explore):
            theta = last.parameters
            np.testing.assert_allclose(space.project(theta), theta, rtol=0, atol=1e-13)
            assert last.objective == pytest.approx(problem.at(theta).value, rel=1e-13)
            values.append(last.objective)
        if constraint.curved:  # ends with spectral gradient steps, whose search is not monotone
            assert values[-1] <= min(values) * (1 + 1e-14)
        else:
            assert all(after <= before * (1 + 1e-14) for before, after in pairwise(values))
        assert last.finished
        assert last.converged
        point = problem.at(last.parameters)
        basis = space.face(last.parameters).basis
        face_gradient = point.gradient[basis] if basis.dtype.kind == "i" else basis.T @ point.gradient
        if constraint.curved:
            face_gradient = last.parameters - space.project(last.parameters - point.gradient)
        assert last.criterion == pytest.approx(np.linalg.norm(face_gradient), rel=1e-6, abs=1e-13)
        assert values[-1] < 0.9 * values[0]


@pytest.mark.parametrize("start", ["zero", "far"])
@pytest.mark.parametrize("name", ["l0", "nonnegative sparse", "group l0"])
def test_pursuit_solves_to_rounding_on_its_last_face(name, start):
    """Noisy, no kinks: the gradient within the face is left at rounding level, whatever the stages before reached."""
    for seed in range(10):
        X, y = planted_table(seed, 50, member(NONCONVEX[name], seed), noise=0.5)
        problem = Problem(SingleReLU(Rows(X, np.abs(y)), fit_intercept=False), NONCONVEX[name])
        theta = np.zeros(D) if start == "zero" else member(NONCONVEX[name], 50 + seed)
        *_, last = pursuit(problem, theta, tol=1e-10, explore=start == "zero")
        face = problem.constraint.face(last.parameters)
        assert np.linalg.norm(problem.at(last.parameters).gradient[face.basis]) < 1e-14 * len(y)
        assert last.criterion < 1e-14 * len(y)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("name", NONCONVEX)
def test_pursuit_recovers_planted_weights(name, fit_intercept):
    constraint = NONCONVEX[name]
    space = FreeIntercept(constraint) if fit_intercept else constraint
    for seed in range(5):
        w, b = member(constraint, seed), 0.3 * fit_intercept
        X, y = planted_table(seed, 80, w, b)
        start = np.zeros(D + fit_intercept)
        objective = SingleReLU(Rows(X, y), fit_intercept=fit_intercept)
        method = structured_descent(objective, space, start, tol=1e-10)
        result = iterate(method, start, max_iter=1000, tol=1e-10, criterion="c")
        assert result.converged
        np.testing.assert_allclose(result.parameters[:D], w, atol=1e-11)


@pytest.mark.parametrize("start", [np.zeros(D), np.ones(D)])
def test_pursuit_of_an_empty_set_is_zero(start):
    """From zero too, where the ladder of sizes must not climb beyond K."""
    X, y, _ = linear_table(23)
    problem = Problem(SingleReLU(Rows(X, y), fit_intercept=False), L0Ball(0))
    for last in pursuit(problem, start, tol=1e-10):
        np.testing.assert_array_equal(last.parameters, 0)
    assert last.finished
    assert last.converged


# starts and stages


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("name", ["l1", "simplex", "group l1", "nuclear"])
def test_atomic_start_is_feasible_and_not_worse(name, fit_intercept):
    constraint = CONVEX[name]
    space = FreeIntercept(constraint) if fit_intercept else constraint
    for seed in range(5):
        for noise in (0.0, 0.5):
            X, y = planted_table(seed, 40, member(constraint, seed), noise=noise)
            objective = SingleReLU(Rows(X, y), fit_intercept=fit_intercept).variant(linear_above=0.0)
            problem = Problem(objective, space)
            theta = np.zeros(D + fit_intercept)
            start = atomic_start(problem, theta)
            np.testing.assert_allclose(space.project(start), start, rtol=0, atol=1e-13)
            assert problem.at(start).value <= problem.at(space.project(theta)).value


TWO_BASINS = [WholeSpace(), L0Ball(1), Box(-10.0, 10.0), L1Ball(10.0), LowRank((1, 1), 1)]


@pytest.mark.parametrize("constraint", TWO_BASINS, ids=lambda constraint: type(constraint).__name__)
def test_structured_descent_from_a_warm_start_is_local(constraint):
    """One column of +-1, y = 1 where it is 1 and 2 where it is -1: local optima w = 1 and, lower, w = -2."""
    X = np.repeat([1.0, -1.0], 10)[:, None]
    y = np.where(X[:, 0] > 0, 1.0, 2.0)
    objective = SingleReLU(Rows(X, y), fit_intercept=False)
    for warm, expected in ((0.9, 1.0), (3.0, 1.0), (-1.5, -2.0), (-9.0, -2.0)):
        start = np.array([warm])
        method = structured_descent(objective, constraint, start, tol=1e-10, continued=True)
        result = iterate(method, start, max_iter=100, tol=1e-10, criterion="c")
        assert result.converged
        assert result.parameters[0] == pytest.approx(expected, rel=1e-9)
    cold = structured_descent(objective, constraint, np.zeros(1), tol=1e-10)
    result = iterate(cold, np.zeros(1), max_iter=100, tol=1e-10, criterion="c")
    assert result.parameters[0] == pytest.approx(-2, rel=1e-9)


@pytest.mark.parametrize("name", [*CONVEX, *NONCONVEX])
def test_structured_descent_from_the_solution_ends_at_once(name):
    constraint = {**CONVEX, **NONCONVEX}[name]
    w = member(constraint, 24)
    X, y = planted_table(24, 100, w)
    objective = SingleReLU(Rows(X, y), fit_intercept=False)
    method = structured_descent(objective, constraint, w, tol=1e-10, continued=True)
    result = iterate(method, w, max_iter=3, tol=1e-10, criterion="c")
    assert result.converged
    np.testing.assert_allclose(result.parameters, w, atol=1e-12)
    # The loss is nowhere above its majorant, which is zero there: no stage follows.
    last = list(structured_descent(objective, constraint, w, tol=1e-10))[-1]
    assert last.final
    assert last.criterion == 0
    assert objective.is_lowest(last.objective)


def test_a_pursuit_on_one_set_takes_so_many_steps_at_most(monkeypatch):
    X, y = planted_table(0, 60, member(L0Ball(3), 0), noise=0.3)
    problem = Problem(SingleReLU(Rows(X, y), fit_intercept=False), L0Ball(3))
    assert len(list(_threshold(problem, problem.at(np.ones(D))))) == 2
    monkeypatch.setattr(pursuit_module, "THRESHOLDING_STEPS", 1)
    assert len(list(_threshold(problem, problem.at(np.ones(D))))) == 1


@pytest.mark.parametrize("name", [*CONVEX, *NONCONVEX])
def test_objectives_of_all_stages_are_nowhere_below_the_loss(name):
    constraint = {**CONVEX, **NONCONVEX}[name]
    X, y = planted_table(25, 60, member(constraint, 25), noise=0.3)
    objective = SingleReLU(Rows(X, y), fit_intercept=False)
    assert objective.has_kinks
    iterates = list(itertools.islice(structured_descent(objective, constraint, np.zeros(D), tol=1e-8), 600))
    last_stage = next(k for k, it in enumerate(iterates) if it.final)
    losses = objective.values([iterate_.parameters for iterate_ in iterates[last_stage:]])
    assert np.all([it.objective >= loss * (1 - 1e-12) for it, loss in zip(iterates[last_stage:], losses, strict=True)])
    assert iterates[-1].criterion <= 1e-8 or iterates[-1].finished
    assert not any(it.finished for it in iterates[:last_stage])
    assert all(it.final for it in iterates[last_stage:])


# work: passes over the data


class Probe(np.ndarray):
    """An array that notes when it takes part in a computation."""

    touched = False

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        Probe.touched = True
        plain = [np.asarray(value) if isinstance(value, Probe) else value for value in inputs]
        return getattr(ufunc, method)(*plain, **kwargs)

    def __getitem__(self, key):
        Probe.touched = True
        return np.asarray(self)[key]


@pytest.fixture
def passes(monkeypatch):
    """Count the sums over rows that read X."""
    counted, plain_sum = [0], Rows.sum

    def counting_sum(self, f, *parameters):
        Probe.touched = False
        result = plain_sum(self, lambda X, *rest: f(X.view(Probe), *rest), *parameters)
        counted[0] += Probe.touched
        return result

    monkeypatch.setattr(Rows, "sum", counting_sum)
    return counted


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("d", [50, 200])
def test_dense_noiseless_fit_takes_at_most_fifteen_passes(passes, d, fit_intercept):
    for seed in range(5 if d == 50 else 2):
        passes[0] = 0
        w = np.random.default_rng(100 + seed).standard_normal(d)
        X, y = planted_table(seed, 3 * d, w)
        model = ProjectedReLURegressor(fit_intercept=fit_intercept).fit(X, y)
        np.testing.assert_allclose(model.coef_, w, rtol=0, atol=1e-10 * np.linalg.norm(w))
        assert 3 <= passes[0] <= 15


@pytest.mark.parametrize("step_size", [1.0, "auto"])
@pytest.mark.parametrize("constraint", [None, L0Ball(3), L1Ball(2.0)])
def test_an_iteration_of_gradient_descent_takes_one_pass(passes, constraint, step_size):
    """Where "auto" never has to halve its step, which it does not on normal data without noise and n >> d."""
    X, y = planted_table(0, 2000, np.r_[1.0, -0.7, 0.3, np.zeros(7)])
    used = {}
    for max_iter in (3, 10):
        passes[0] = 0
        options = {"solver": "gd", "step_size": step_size, "max_iter": max_iter, "tol": 0, "fit_intercept": False}
        ProjectedReLURegressor(constraint, **options).fit(X, y)
        used[max_iter] = passes[0]
    assert used[10] - used[3] == 7
    assert used[3] <= 3 + 2


def test_searches_over_many_steps_take_one_pass(passes):
    X, y, weight = linear_table(26)
    problem = Problem(least_squares(X, y, weight), WholeSpace())
    point = problem.at(np.zeros(D))
    passes[0] = 0
    found = problem.search(lambda a: point.theta - a * 100 * point.gradient, point.value)
    assert passes[0] == (1 if found is None else 2)
    passes[0] = 0
    assert problem.search(lambda a: point.theta + a * point.gradient, point.value) is None
    assert passes[0] == 1


def test_search_returns_the_lowest_trial():
    X, y, weight = linear_table(27)
    problem = Problem(least_squares(X, y, weight), WholeSpace())
    point = problem.at(np.zeros(D))
    trials = [point.theta - 0.5**k * 8 * point.gradient for k in range(1, 11)]
    values = [problem.at(trial).value for trial in trials]
    found = problem.search(lambda a: point.theta - a * 8 * point.gradient, point.value)
    assert found.value == pytest.approx(min(values), rel=1e-13)
    np.testing.assert_allclose(found.theta, trials[int(np.argmin(values))])


def test_search_survives_trials_that_overflow():
    X, y, weight = linear_table(28)
    problem = Problem(least_squares(X, y, weight), WholeSpace())
    point = problem.at(np.zeros(D))
    with np.errstate(over="ignore", invalid="ignore"):
        found = problem.search(lambda a: point.theta - (np.inf if a > 0.1 else 0.1 * a) * point.gradient, point.value)
    assert found.value < point.value
