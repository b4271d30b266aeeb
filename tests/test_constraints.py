"""Every constraint set against its definition: one registry of sets, one list of hostile inputs.

`EPS` counts rounding errors: a bound `8 * eps` allows eight of them. Distances to the exact answer are never compared
with a looser figure than the method deserves; cvxpy, an interior-point method, agrees to its own accuracy only.
"""

import itertools
import math
import pickle
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import issparse
from sklearn.base import clone

from skrelu import constraints
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
from skrelu.constraints.base import Constraint
from skrelu.constraints.extended import CallableSet, FreeIntercept, as_constraint


@dataclass(frozen=True)
class Case:
    """A set and what defines it, written a second time in the most obvious way."""

    constraint: Constraint
    excess: Callable  # u -> 0 for u in K, else by how much the definition is violated
    member: Callable  # rng -> a point of K
    program: Callable | None = None  # cvxpy variable -> constraints; None: not convex
    nearest: Callable | None = None  # w -> distance to K by enumeration; for the sets that are not convex
    dimension: Callable | None = None  # u in K -> dimension of the face (of its span, before the normal)
    gauge: Callable | None = None  # the function whose level the boundary is
    sharp: bool = False  # the projection errs relative to its own size, not to that of w


def total(values):
    """Return a sum without rounding, 0 where it is below all numbers."""
    return math.fsum(float(v) for v in values)


def length(u):
    return math.hypot(*(float(v) for v in u))


def variation(u):
    return total(abs(float(b) - float(a)) for a, b in itertools.pairwise(u))


def runs(u):
    return 1 + sum(a != b for a, b in itertools.pairwise(u))


def singular_values(u, shape, first=0):
    peak = float(np.abs(u).max()) or 1.0
    return np.linalg.svd(np.asarray(u, dtype=float).reshape(shape) / peak, compute_uv=False)[first:] * peak


def rank_of(u, shape):
    s = singular_values(u, shape)
    return int((s > 10 * np.finfo(u.dtype).eps * s[0]).sum())


def enumerated(w, subsets, clip=False):
    """Return the distance from w to the union of coordinate subspaces, each given by its coordinates."""
    target = np.maximum(w, 0) if clip else w
    return min(length(np.where(np.isin(np.arange(w.size), list(s)), w - target, w)) for s in subsets)


def subsets_of(items, n):
    return [s for k in range(min(n, len(items)) + 1) for s in itertools.combinations(items, k)]


def registry(d=6, radius=1.5, n=2):
    """Return the cases by name, for vectors of d entries; n is the number of entries, groups or ranks kept."""
    labels = np.array(["b", "a", "c"])[np.arange(d) ** 2 % 7 % 3]
    parts = [np.flatnonzero(labels == g) for g in np.unique(labels)]
    shape = (2, d // 2) if d % 2 == 0 else (1, d)
    lower = np.where(np.arange(d) % 3 == 0, -np.inf, -0.5)
    upper = np.where(np.arange(d) % 3 == 1, np.inf, 0.25)
    columns = np.stack([np.ones(d), np.arange(d) - 1.0, 1e-9 * np.ones(d), np.zeros(d)], axis=1)
    thin = np.linalg.qr(columns[:, : min(2, d)])[0]

    def ball(gauge):
        def member(rng):
            u = rng.standard_normal(d) * (rng.random(d) < 0.6)
            return u * (radius * rng.choice([1.0, rng.random()]) / max(gauge(u), 1e-300))

        return {"gauge": gauge, "excess": lambda u: max(0.0, gauge(u) - radius), "member": member}

    def on_sphere(gauge, inside, boundary):
        return lambda u: boundary(u) if gauge(u) > radius * (1 - 1e-5) else inside

    def l1(u):
        return total(abs(u))

    def group_gauge(u):
        return total(length(u[g]) for g in parts)

    def nuclear(u):
        return total(singular_values(u, shape))

    def active(u):
        return sum(g.size for g in parts if (u[g] != 0).any())

    def support(u):
        return int((u != 0).sum())

    def tangent(u):
        r = rank_of(u, shape)
        return r * (sum(shape) - r)

    def vectorised(v):
        return cp.reshape(v, shape, order="C")

    def sparse_member(rng):
        return rng.standard_normal(d) * (rng.permutation(d) < n)

    a, b = shape
    return {
        "L0Ball": Case(
            L0Ball(n),
            excess=lambda u: max(0, support(u) - n),
            member=sparse_member,
            nearest=lambda w: enumerated(w, subsets_of(range(d), n)),
            dimension=support,
        ),
        "NonnegativeSparse": Case(
            NonnegativeSparse(n),
            excess=lambda u: max(0, support(u) - n) + max(0, -u.min()),
            member=lambda rng: abs(sparse_member(rng)),
            nearest=lambda w: enumerated(w, subsets_of(range(d), n), clip=True),
            dimension=support,
        ),
        "GroupL0Ball": Case(
            GroupL0Ball(labels, n),
            excess=lambda u: max(0, sum((u[g] != 0).any() for g in parts) - n),
            member=lambda rng: rng.standard_normal(d) * np.isin(labels, rng.permutation(np.unique(labels))[:n]),
            nearest=lambda w: enumerated(w, [np.concatenate([[], *s]) for s in subsets_of(parts, n)]),
            dimension=active,
        ),
        "LowRank": Case(
            LowRank(shape, n - 1),
            excess=lambda u: total(singular_values(u, shape, first=n - 1)) / d,
            member=lambda rng: (rng.standard_normal((a, n - 1)) @ rng.standard_normal((n - 1, b))).ravel(),
            nearest=lambda w: length(singular_values(w, shape, first=n - 1)),
            dimension=lambda u: d if n - 1 >= min(shape) else tangent(u),
        ),
        "L1Ball": Case(
            L1Ball(radius),
            **ball(l1),
            program=lambda v: [cp.norm1(v) <= radius],
            dimension=on_sphere(l1, d, support),
            sharp=True,
        ),
        "L2Ball": Case(
            L2Ball(radius),
            **ball(length),
            program=lambda v: [cp.norm2(v) <= radius],
            dimension=lambda u: d if radius else 0,
            sharp=True,
        ),
        "Simplex": Case(
            Simplex(radius),
            excess=lambda u: abs(total(u) - radius) + max(0, -u.min()),
            member=lambda rng: radius * rng.dirichlet(np.full(d, 0.3)),
            program=lambda v: [cp.sum(v) == radius, v >= 0],
            dimension=support,
            gauge=total,
            sharp=True,
        ),
        "GroupL1Ball": Case(
            GroupL1Ball(list(labels), radius),
            **ball(group_gauge),
            program=lambda v: [sum(cp.norm2(v[g]) for g in parts) <= radius],
            dimension=on_sphere(group_gauge, d, active),
        ),
        "NuclearBall": Case(
            NuclearBall(shape, radius),
            **ball(nuclear),
            program=lambda v: [cp.normNuc(vectorised(v)) <= radius],
            dimension=on_sphere(nuclear, d, tangent),
        ),
        "Nonnegative": Case(
            Nonnegative(),
            excess=lambda u: max(0, -u.min()),
            member=lambda rng: np.maximum(rng.standard_normal(d), 0),
            program=lambda v: [v >= 0],
            dimension=support,
            sharp=True,
        ),
        "Box": Case(
            Box(lower, upper),
            excess=lambda u: max(0, (lower - u).max(), (u - upper).max()),
            member=lambda rng: np.minimum(np.maximum(2 * rng.standard_normal(d), lower), upper),
            program=lambda v: (
                [v[i] >= lower[i] for i in range(d) if lower[i] > -np.inf]
                + [v[i] <= upper[i] for i in range(d) if upper[i] < np.inf]
            ),
            dimension=lambda u: int(((u > lower) & (u < upper)).sum()),
            sharp=True,
        ),
        "Subspace": Case(
            Subspace(columns),
            excess=lambda u: length(u - thin @ (thin.T @ u)),
            member=lambda rng: thin @ rng.standard_normal(thin.shape[1]),
            program=lambda v: [v == thin @ (thin.T @ v)],
            dimension=lambda u: min(2, d),
        ),
        "Monotone": Case(
            Monotone(),
            excess=lambda u: max([0, *(a - b for a, b in itertools.pairwise(u.tolist()))]),
            member=lambda rng: np.sort(np.round(2 * rng.standard_normal(d)) / 10),
            program=lambda v: [cp.diff(v) >= 0] if d > 1 else [],
            dimension=runs,
        ),
        "Monotone, decreasing": Case(
            Monotone(increasing=False),
            excess=lambda u: max([0, *(b - a for a, b in itertools.pairwise(u.tolist()))]),
            member=lambda rng: -np.sort(np.round(2 * rng.standard_normal(d)) / 10),
            program=lambda v: [cp.diff(v) <= 0] if d > 1 else [],
            dimension=runs,
        ),
        "TotalVariationBall": Case(
            TotalVariationBall(radius),
            **(ball(variation) | {"member": lambda rng: bounded_variation(rng, d, radius)}),
            program=lambda v: [cp.tv(v) <= radius] if d > 1 else [],
            dimension=on_sphere(variation, d, runs),
        ),
    }


def bounded_variation(rng, d, radius):
    jumps = rng.standard_normal(d - 1) * (rng.random(d - 1) < 0.5)
    jumps *= radius * rng.choice([1.0, rng.random()]) / max(abs(jumps).sum(), 1e-300)
    return rng.standard_normal() + np.concatenate([[0.0], np.cumsum(jumps)])


CASES = registry()
CONVEX = [name for name, case in CASES.items() if case.program]
every_set = pytest.mark.parametrize("name", CASES)
every_convex_set = pytest.mark.parametrize("name", CONVEX)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])

HOSTILE = {
    "zeros": np.zeros(6),
    "negative zeros": -np.zeros(6),
    "ties": np.array([1.0, -1.0, 1.0, -1.0, 1.0, 1.0]),
    "constant": np.full(6, -3.0),
    "huge": 1e300 * np.array([1.0, -2.0, 0.5, 2.0, -1.0, 1.5]),
    "largest": np.finfo(float).max * np.array([1.0, -1.0, 1.0, 1.0, -1.0, 1.0]),
    "tiny": 1e-300 * np.array([1.0, -2.0, 0.5, 2.0, -1.0, 1.5]),
    "smallest": 5e-324 * np.array([1.0, -1.0, 0.0, 2.0, 1.0, 3.0]),
    "both": np.array([1e300, -1e-300, 1e-300, 1.0, -1e300, 0.0]),
    "offset": 1e12 + np.array([3.0, 1.0, 2.0, 2.0, 5.0, -1.0]),
}


def certify(case, w, p, rng=None):
    """Assert that p lies in K and, for a convex K, that <w - p, u - p> <= 0 for points u of K, up to rounding."""
    d, dtype = w.size, p.dtype
    eps = float(np.finfo(dtype).eps)
    assert p.shape == w.shape
    assert np.isfinite(p).all()
    radius = getattr(case.constraint, "radius", 0.0)
    # Of the gauges only the variation may be small beside the entries, whose rounding it sees.
    size = radius if case.gauge not in (None, variation) else max(radius, float(abs(p).max()))
    underflow = d * float(np.finfo(dtype).smallest_subnormal)
    assert case.excess(p.astype(float)) <= 4 * (d * eps * size + underflow)
    if rng is None or case.program is None:
        return
    w, p = w.astype(float), p.astype(float)
    for _ in range(200):
        u = case.member(rng)
        scale = max(abs(w).max(), abs(u).max(), abs(p).max()) or 1.0
        W, P, U = w / scale, p / scale, u / scale
        size = length(W - P) if case.sharp else length(W) + length(P)
        reach = length(U) + length(P) + (0 if case.sharp else length(W))
        assert np.dot(W - P, U - P) <= 8 * (eps * size * reach + underflow)


@every_set
@every_dtype
@pytest.mark.parametrize(
    "spread", [pytest.param(0.1, marks=pytest.mark.slow), 1.0, pytest.param(30.0, marks=pytest.mark.slow)]
)
def test_the_projection_is_a_nearest_point(name, dtype, spread):
    case = CASES[name]
    rng = np.random.default_rng(1)
    for _ in range(10):
        w = (spread * rng.standard_normal(6)).astype(dtype)
        p = case.constraint.project(w)
        assert p.dtype == dtype
        certify(case, w, p, rng)
        if case.nearest:
            w, p = w.astype(float), p.astype(float)
            eps = float(np.finfo(dtype).eps)
            assert length(w - p) == pytest.approx(case.nearest(w), rel=0, abs=8 * eps * length(w))


@pytest.mark.parametrize("n", range(8))
@pytest.mark.parametrize("name", ["L0Ball", "NonnegativeSparse", "GroupL0Ball"])
def test_the_best_of_all_supports_is_found_with_ties(name, n):
    case = registry(n=n)[name]
    rng = np.random.default_rng(2)
    for _ in range(20):
        w = rng.integers(-2, 3, size=6).astype(float)
        p = case.constraint.project(w)
        assert case.excess(p) == 0
        assert length(w - p) == case.nearest(w)


@pytest.mark.parametrize("rank", range(4))
@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2), (1, 4)])
def test_low_rank_leaves_the_trailing_singular_values(shape, rank):
    w = np.random.default_rng(3).standard_normal(math.prod(shape))
    p = LowRank(shape, rank).project(w)
    s = singular_values(w, shape)
    assert length(w - p) == pytest.approx(length([*s[rank:], 0.0]), abs=1e-14)
    assert total(singular_values(p, shape, first=rank)) <= 1e-14


@every_convex_set
def test_an_interior_point_solver_agrees(name):
    case = CASES[name]
    rng = np.random.default_rng(4)
    for _ in range(3):
        w = 2 * rng.standard_normal(6)
        v = cp.Variable(6)
        cp.Problem(cp.Minimize(cp.sum_squares(v - w)), case.program(v)).solve(solver="CLARABEL")
        np.testing.assert_allclose(case.constraint.project(w), v.value, rtol=0, atol=2e-4)


@every_set
@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
def test_hostile_inputs(name, dtype):
    case = CASES[name]
    limit = np.finfo(dtype).max
    for hostile in HOSTILE.values():
        w = np.clip(hostile, -limit, limit).astype(dtype)
        certify(case, w, case.constraint.project(w), np.random.default_rng(5))


@every_set
@pytest.mark.parametrize("radius", [0.0, 5e-324, 1e-300, 1e-8, 1e8, 1e300])
def test_hostile_radii(name, radius):
    case = registry(radius=radius)[name]
    for kind, w in HOSTILE.items():
        p = case.constraint.project(w)
        certify(case, w, p)
        face = case.constraint.face(p)
        for part in (face.normal, face.curvature):
            assert part is None or np.isfinite(part).all(), kind
        if radius == 0 and case.gauge:
            assert (p == (p[0] if case.gauge is variation else 0)).all(), kind


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("name", CASES)
def test_few_entries(name, d):
    case = registry(d=d, n=1)[name]
    rng = np.random.default_rng(6)
    for w in (np.array([3.0, -2.0, 2.5])[:d], np.zeros(d), np.ones(d)):
        p = case.constraint.project(w)
        certify(case, w, p, rng)
        face = case.constraint.face(p)
        assert columns(face, d).shape[1] == case.dimension(p)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    w=st.lists(st.floats(-1e307, 1e307), min_size=1, max_size=8),
    radius=st.floats(min_value=0, allow_nan=False, allow_infinity=False),
)
def test_any_numbers(w, radius):
    w = np.array(w)
    for case in registry(d=w.size, radius=radius).values():
        p = case.constraint.project(w)
        assert np.isfinite(p).all()
        again = case.constraint.project(p)
        eps = np.finfo(float).eps
        assert (abs(again / 2 - p / 2) <= 4 * w.size * eps * (abs(p).max() / 2) + 5e-324).all()
        case.constraint.face(p)


@every_set
@every_dtype
def test_members_stay_and_projections_stay(name, dtype):
    case = CASES[name]
    rng = np.random.default_rng(7)
    eps = np.finfo(dtype).eps
    for _ in range(30):
        p = case.constraint.project((3 * rng.standard_normal(6)).astype(dtype))
        np.testing.assert_allclose(case.constraint.project(p), p, rtol=0, atol=4 * eps * abs(p).max(initial=0))
        u = (0.999 * case.member(rng) if case.gauge not in (None, total) else case.member(rng)).astype(dtype)
        kept = case.constraint.project(u)
        np.testing.assert_array_equal(kept, u)
        assert kept is not u


@every_set
def test_the_input_is_neither_changed_nor_returned(name):
    for w in (np.array([4.0, -3.0, 2.0, -1.0, 5.0, 0.5]), np.zeros(6)):
        before = w.copy()
        p = CASES[name].constraint.project(w)
        np.testing.assert_array_equal(w, before)
        assert not np.shares_memory(p, w)


@every_set
@pytest.mark.parametrize("kind", [np.int64, np.int8, np.bool_, np.float16, np.longdouble, ">f8"])
def test_other_real_types_become_float64(name, kind):
    w = np.array([1, 0, 1, 1, 0, 1]).astype(kind)
    p = CASES[name].constraint.project(w)
    assert p.dtype == np.float64
    assert p.dtype.isnative
    np.testing.assert_array_equal(p, CASES[name].constraint.project(w.astype(float)))
    np.testing.assert_array_equal(p, CASES[name].constraint.project(w.tolist()))


def test_the_lowest_index_wins_a_tie():
    np.testing.assert_array_equal(L0Ball(2).project([1.0, -2.0, 2.0, -2.0]), [0, -2, 2, 0])
    np.testing.assert_array_equal(NonnegativeSparse(1).project([-2.0, 1.0, 1.0]), [0, 1, 0])
    np.testing.assert_array_equal(GroupL0Ball(["z", "z", "a"], 1).project([3.0, 4.0, -5.0]), [3, 4, 0])
    np.testing.assert_array_equal(GroupL0Ball([7, 2, 2, 2, 2], 1).project([2.0, 1.0, 1.0, 1.0, 1.0]), [2, 0, 0, 0, 0])


def test_no_constraint_is_the_identity():
    w = np.random.default_rng(8).standard_normal(6)
    groups = [0, 0, 1, 1, 2, 2]
    for free in (L0Ball(6), L0Ball(99), GroupL0Ball(groups, 3), LowRank((2, 3), 2), Box(-np.inf, np.inf)):
        np.testing.assert_array_equal(free.project(w), w)
    np.testing.assert_array_equal(Subspace(np.eye(6)[:, ::-1]).project(w), w)


def test_special_cases_agree_with_each_other():
    """Groups of one make the group ball the l1 ball; a single group the l2 ball; diagonal matrices the nuclear ball."""
    w = np.array([3.0, -2.0, 0.5, 1.5])
    np.testing.assert_allclose(GroupL1Ball(range(4), 2).project(w), L1Ball(2).project(w), rtol=1e-15)
    np.testing.assert_allclose(GroupL1Ball([0] * 4, 2).project(w), L2Ball(2).project(w), rtol=1e-15)
    np.testing.assert_array_equal(GroupL0Ball(range(4), 2).project(w), L0Ball(2).project(w))
    nuclear = NuclearBall((4, 4), 2).project(np.diag(w).ravel()).reshape(4, 4)
    np.testing.assert_allclose(nuclear, np.diag(L1Ball(2).project(w)), atol=1e-15)
    np.testing.assert_array_equal(Simplex(2).project(w), L1Ball(2).project(np.maximum(w, 0)))
    np.testing.assert_array_equal(Monotone(increasing=False).project(w), -Monotone().project(-w))


@pytest.mark.parametrize("radius", [1e-9, 1.0, 1e3, 2e4])
def test_many_entries_on_the_l1_sphere(radius):
    """Optimality for d = 1e5: a common threshold on the support, none above it outside, the norm exact."""
    w = np.random.default_rng(9).standard_normal(100_000)
    p = L1Ball(radius).project(w)
    eps = np.finfo(float).eps
    assert abs(total(abs(p)) - radius) <= 4 * eps * radius
    support = p != 0
    threshold = (abs(w) - abs(p))[support]
    assert np.ptp(threshold) <= 4 * eps * abs(w).max()
    assert abs(w[~support]).max() <= threshold.max()
    assert (np.sign(p) == np.sign(w))[support].all()


@pytest.mark.parametrize("part", [0.0, 1e-6, 0.01, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["noise", "walk", "integers", "sawtooth", "offset"])
def test_total_variation_by_its_multipliers(kind, part):
    """Optimality: z = cumsum(p - w) ends at 0, |z| <= lam, and z = lam sign(jump) wherever p jumps."""
    rng = np.random.default_rng(10)
    d = 500
    w = {
        "noise": rng.standard_normal(d),
        "walk": np.cumsum(rng.standard_normal(d)),
        "integers": rng.integers(0, 3, d).astype(float),
        "sawtooth": np.arange(d) % 7 + 0.0,
        "offset": 1e6 + rng.standard_normal(d),
    }[kind]
    radius = part * variation(w)
    p = TotalVariationBall(radius).project(w)
    rounding = 4 * np.finfo(float).eps * abs(w).max()
    assert abs(variation(p) - radius) <= rounding * runs(p)
    z = np.cumsum(p - w)
    jump = np.sign(np.diff(p))
    lam = abs(z).max()
    assert abs(z[-1]) <= d * rounding
    np.testing.assert_allclose(z[:-1][jump != 0], (lam * jump)[jump != 0], rtol=0, atol=d * rounding)


def test_total_variation_is_fast():
    """Ten thousand entries in well under a third of a second (best of three, as the machine may be busy)."""
    w = np.cumsum(np.random.default_rng(11).standard_normal(10_000))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        TotalVariationBall(1.0).project(w)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3


def columns(face, d):
    """Return the basis of a face as a dense matrix."""
    if issparse(face.basis):
        return face.basis.toarray()
    if face.basis.ndim == 1:
        assert face.basis.dtype.kind == "i"
        assert (np.diff(face.basis) > 0).all()
        return np.eye(d)[:, face.basis]
    return face.basis


def faces(name):
    """Yield points of K in general position on its boundary, and one inside, with their faces."""
    case = CASES[name]
    rng = np.random.default_rng(12)
    for spread in (0.05, 2.0, 2.0, 2.0, 2.0):
        p = case.constraint.project(spread * rng.standard_normal(6) + 0.01)
        yield case, p, case.constraint.face(p), rng


@every_set
def test_faces_have_the_dimension_of_their_piece(name):
    for case, p, face, _ in faces(name):
        B = columns(face, 6)
        assert B.shape == (6, case.dimension(p))
        assert np.linalg.matrix_rank(B) == B.shape[1] if B.size else True
        assert (face.normal is not None) == (case.gauge is not None and case.gauge(p) > case.constraint.radius - 1e-12)


@every_set
def test_faces_are_tangent(name):
    """Along the face the distance to K grows like a square; where the face is flat it stays zero."""
    for case, p, face, rng in faces(name):
        B = columns(face, 6)
        if B.shape[1] == 0:
            continue
        flat = name not in ("LowRank", "NuclearBall") and face.curvature is None
        for _ in range(5):
            c = rng.standard_normal(B.shape[1])
            if face.normal is not None:
                n = B.T @ face.normal
                c -= n * (n @ c) / (n @ n)
            t = B @ c / max(length(B @ c), 1e-12)
            reach = abs(np.diff(np.unique(np.concatenate([p, [0.0, -0.5, 0.25]])))).min()
            h = min(1e-4, reach / 10)
            u = p + h * t
            assert length(case.constraint.project(u) - u) <= (1e-14 if flat else 10 * h**2)


@every_set
def test_normal_and_curvature_are_derivatives_of_the_gauge(name):
    for case, p, face, rng in faces(name):
        if face.normal is None:
            continue
        B = columns(face, 6)
        assert face.normal.shape == (6,)
        reach = abs(np.diff(np.unique(np.append(p, 0.0)))).min()
        h = min(1e-3, reach / 10)
        c = rng.standard_normal((B.shape[1], 5))
        n = B.T @ face.normal
        C = 0 if face.curvature is None else face.curvature
        if np.ndim(C) == 1:
            c -= np.outer(n, n @ c) / (n @ n)
            C = np.diag(C)
        for c_j in (c / np.linalg.norm(c, axis=0)).T:
            t = B @ c_j
            ahead, here, behind = case.gauge(p + h * t), case.gauge(p), case.gauge(p - h * t)
            assert (ahead - behind) / (2 * h) == pytest.approx(n @ c_j, abs=10 * h**2 + 1e-15 / h)
            if name != "NuclearBall":
                second = 0 if face.curvature is None else c_j @ C @ c_j
                assert (ahead - 2 * here + behind) / h**2 == pytest.approx(second, abs=20 * h + 4e-15 / h**2)


@every_set
def test_faces_keep_float32(name):
    p = CASES[name].constraint.project(np.array([2, -3, 1, 0.5, -1, 2.5], dtype=np.float32))
    face = CASES[name].constraint.face(p)
    for part in (face.normal, face.curvature, face.basis):
        assert part is None or part.dtype in (np.float32, np.intp)
    assert columns(face, 6).shape[1] == CASES[name].dimension(p)


def test_faces_of_low_rank_follow_the_rank_of_the_point():
    w = np.outer([1.0, 2.0, -1.0], [0.5, 1.0, 3.0]).ravel()
    assert LowRank((3, 3), 2).face(w).basis.shape == (9, 5)
    assert LowRank((3, 3), 2).face(np.zeros(9)).basis.shape == (9, 0)
    np.testing.assert_array_equal(LowRank((3, 3), 3).face(w).basis, np.arange(9))


def test_a_small_variation_on_a_large_offset_is_on_the_boundary():
    constraint = TotalVariationBall(1e-3)
    p = constraint.project(1e6 + np.random.default_rng(14).standard_normal(50))
    assert constraint.face(p).normal is not None


def test_faces_in_closed_form():
    face = L1Ball(3).face([0.0, -2.0, 1.0])
    np.testing.assert_array_equal(face.basis, [1, 2])
    np.testing.assert_array_equal(face.normal, [0, -1, 1])
    face = Simplex(3).face([0.0, 2.0, 1.0])
    np.testing.assert_array_equal(face.normal, [0, 1, 1])
    face = TotalVariationBall(3).face([0.0, 2.0, 2.0, 1.0])
    np.testing.assert_array_equal(face.basis.toarray(), [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(face.normal, [-1, 1, 1, -1])
    face = L2Ball(5).face([3.0, 4.0])
    np.testing.assert_allclose(face.normal, [0.6, 0.8], rtol=1e-15)
    np.testing.assert_allclose(face.curvature, [0.2, 0.2], rtol=1e-15)
    face = NuclearBall((2, 2), 2).face([2.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(face.normal, [1, 0, 0, 0], atol=1e-15)
    np.testing.assert_array_equal(GroupL0Ball([0, 0, 1], 1).face([0.0, 2.0, 0.0]).basis, [0, 1])
    np.testing.assert_array_equal(Box([0, 0, 0], 1).face([0.0, 0.5, 1.0]).basis, [1])


@pytest.mark.parametrize("name", ["L1Ball", "L2Ball", "GroupL1Ball", "NuclearBall", "TotalVariationBall"])
@every_dtype
def test_the_boundary_is_a_thousand_roundings_thick(name, dtype):
    case = CASES[name]
    p = case.constraint.project(np.array([3, -1, 2, 0.5, 4, 1], dtype=float))
    p -= p.mean() if name == "TotalVariationBall" else 0
    eps = float(np.finfo(dtype).eps)
    factor = 1 + abs(p).max() / 1.5 if name == "TotalVariationBall" else 1.0
    for part, active in ((500, True), (2000, False)):
        face = case.constraint.face((p * (1 - part * eps * factor)).astype(dtype))
        assert (face.normal is not None) == active


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.constraint.size_parameter])
def test_the_size_of_a_vector_is_that_of_the_smallest_set_that_holds_it(name):
    case, rng = CASES[name], np.random.default_rng(0)
    for _ in range(3):
        w = case.constraint.resized(4).project(case.member(rng) + rng.standard_normal(6))
        size = case.constraint.size_of(w)
        smaller = size - 1 if isinstance(size, int) else 0.99 * size
        assert size > 0
        np.testing.assert_allclose(case.constraint.resized(size).project(w), w, rtol=1e-12, atol=1e-12)
        assert length(case.constraint.resized(smaller).project(w) - w) > 1e-3


@every_set
def test_rescaling_commutes_with_projecting(name):
    constraint = CASES[name].constraint
    w = np.array([3.0, -1.0, 2.0, 0.5, -4.0, 1.0])
    for scale in (8.0, 0.3, np.float32(2.0), 5):
        image = constraint.rescaled(scale)
        assert type(image) is type(constraint)
        assert image is not constraint
        expected = scale * constraint.project(w)
        np.testing.assert_allclose(image.project(scale * w), expected, rtol=0, atol=4e-15 * abs(expected).max())


@every_set
def test_rescaling_by_a_vector(name):
    constraint = CASES[name].constraint
    scale = np.array([0.5, 2.0, 1.0, 3.0, 0.1, 8.0])
    if not constraint.diagonal:
        with pytest.raises(ValueError, match=f"{type(constraint).__name__}: scale must be one number, finite and > 0"):
            constraint.rescaled(scale)
        return
    image = constraint.rescaled(scale)
    rng = np.random.default_rng(13)
    for _ in range(20):
        assert CASES[name].excess(image.project(scale * CASES[name].member(rng)) / scale) <= 1e-15
        u = scale * CASES[name].member(rng)
        np.testing.assert_allclose(image.project(u), u, rtol=1e-15)


@pytest.mark.parametrize("scale", [0, -1.0, np.nan, np.inf, "2", [1.0, 0.0], [[1.0]]])
@every_set
def test_bad_scales(name, scale):
    with pytest.raises(ValueError, match=r"scale must be (one number|a number or a vector of numbers), finite and > 0"):
        CASES[name].constraint.rescaled(scale)


BAD = {
    "L1Ball: radius must be a finite number >= 0, got -1.0": (L1Ball(-1.0), 2),
    "L2Ball: radius must be a finite number >= 0, got nan": (L2Ball(math.nan), 2),
    "Simplex: radius must be a finite number >= 0, got '1'": (Simplex("1"), 2),
    "TotalVariationBall: radius must be a finite number >= 0, got inf": (TotalVariationBall(math.inf), 2),
    "GroupL1Ball: radius must be a finite number >= 0, got None": (GroupL1Ball([0, 1], None), 2),
    "NuclearBall: radius must be a finite number >= 0, got True": (NuclearBall((1, 2), True), 2),
    "L0Ball: n_nonzero must be an integer >= 0, got 1.5": (L0Ball(1.5), 2),
    "NonnegativeSparse: n_nonzero must be an integer >= 0, got -2": (NonnegativeSparse(-2), 2),
    "GroupL0Ball: n_groups must be an integer >= 0, got True": (GroupL0Ball([0, 1], True), 2),
    "GroupL0Ball: groups has length 3 but w has 4 entries": (GroupL0Ball([0, 1, 1], 1), 4),
    "GroupL1Ball: groups must be a vector of labels, got an array of shape (2, 2)": (GroupL1Ball(np.eye(2)), 4),
    "LowRank: rank must be an integer >= 0, got '1'": (LowRank((1, 2), "1"), 2),
    "LowRank: shape (2, 3) has 6 entries but w has 4": (LowRank((2, 3)), 4),
    "NuclearBall: shape must be two integers >= 1, got 4": (NuclearBall(4), 4),
    "NuclearBall: each side of shape must be an integer >= 0, got 2.0": (NuclearBall((2.0, 2)), 4),
    "Box: lower must be <= upper, got 2.0 > 1.0 at index 1": (Box([0.0, 2.0], 1.0), 2),
    "Box: lower must be numbers < inf, got inf": (Box(math.inf, math.inf), 2),
    "Box: upper must be numbers > -inf, got nan": (Box(0.0, math.nan), 2),
    "Box: upper has shape (3,) but w has 2 entries": (Box(0.0, [1, 2, 3]), 2),
    "Subspace: basis has 3 rows but w has 2 entries": (Subspace(np.ones((3, 1))), 2),
    "Subspace: basis must be a finite matrix of shape (d, r), got [1.0, 1.0]": (Subspace([1.0, 1.0]), 2),
    "Subspace: basis must be a finite matrix of shape (d, r), got [[nan]]": (Subspace([[math.nan]]), 1),
    "Monotone: increasing must be True or False, got 'auto'": (Monotone("auto"), 2),
}


@pytest.mark.parametrize("message", BAD)
@pytest.mark.parametrize("method", ["project", "face"])
def test_bad_parameters(message, method):
    constraint, d = BAD[message]
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(constraint, method)(np.ones(d))


@every_set
@pytest.mark.parametrize("method", ["project", "face"])
@pytest.mark.parametrize(
    ("w", "message"),
    [
        (np.ones((2, 3)), r"w must be a vector with at least one entry, got an array of shape \(2, 3\)"),
        (1.0, r"got an array of shape \(\)"),
        ([], r"got an array of shape \(0,\)"),
        ([1, 2, np.nan, 4, 5, 6], "w must be finite, got nan at index 2"),
        ([1, 2, 3, 4, 5, -np.inf], "w must be finite, got -inf at index 5"),
        (np.ones(6, dtype=complex), "w must be real numbers, got dtype complex128"),
        (["a"] * 6, "w must be real numbers, got dtype <U1"),
    ],
)
def test_bad_vectors(name, method, w, message):
    constraint = CASES[name].constraint
    with pytest.raises(ValueError, match=f"{type(constraint).__name__}: .*{message}"):
        getattr(constraint, method)(w)


@every_set
def test_sets_are_estimators(name):
    constraint = CASES[name].constraint
    w = np.array([3.0, -1.0, 2.0, 0.5, -4.0, 1.0])
    expected = constraint.project(w)
    for copy in (clone(constraint), pickle.loads(pickle.dumps(constraint))):
        assert repr(copy.get_params()) == repr(constraint.get_params())
        np.testing.assert_array_equal(copy.project(w), expected)
    for key, value in constraint.get_params().items():
        assert getattr(constraint, key) is value


def test_the_public_table_is_complete():
    assert {type(case.constraint).__name__ for case in CASES.values()} == set(constraints.__all__)
    for name in constraints.__all__:
        assert f"``{name}(" in constraints.__doc__
        assert getattr(constraints, name).convex == any(case.program for key, case in CASES.items() if name in key)
    for case in (L0Ball, L1Ball, L2Ball, Nonnegative, Box, Simplex, Monotone, TotalVariationBall, NonnegativeSparse):
        assert np.isfinite(case().project([2.0, 1.0])).all()


def test_subspace_does_not_depend_on_the_units_of_its_columns():
    basis = np.array([[1.0, 1.0], [1.0, -1.0], [0.0, 1.0]])
    w = np.array([1.0, 2.0, 4.0])
    units = Subspace(basis * [1e-200, 1e200]).project(w)
    np.testing.assert_allclose(units, Subspace(basis).project(w), rtol=0, atol=4e-15)
    np.testing.assert_array_equal(Subspace(np.zeros((3, 2))).project(w), np.zeros(3))
    assert Subspace(np.zeros((3, 0))).face(w).basis.shape == (3, 0)


def test_an_entry_joins_the_support_just_before_its_gap_reaches_the_radius():
    np.testing.assert_allclose(L1Ball(1.0).project([2.0, -1.0625]), [0.96875, -0.03125], rtol=1e-15)
    np.testing.assert_array_equal(L1Ball(1.0).project([2.0, -1.0]), [1, 0])


def test_the_radius_is_met_when_many_entries_are_just_above_the_threshold():
    """One rounding of the threshold, times 1e5 entries, would move the norm by 1e-11."""
    w = np.append(1.0, 0.1 + 1e-7 * np.random.default_rng(15).random(100_000))
    assert abs(total(L1Ball(1.0).project(w)) - 1) <= 4 * np.finfo(float).eps


def test_exactness_where_the_radius_is_small_beside_the_entries():
    """Thresholding |w| - theta would leave rounding of size 1e-6 here, ten thousand times the radius."""
    p = L1Ball(1e-10).project([1e10, 1e10, 1.0])
    np.testing.assert_array_equal(p, [5e-11, 5e-11, 0])
    np.testing.assert_array_equal(Simplex(1e-10).project([-1e10, -1e10, -2e10]), [5e-11, 5e-11, 0])


# Sizes and atoms.

every_sized_set = pytest.mark.parametrize("name", [name for name in CASES if CASES[name].constraint.size_parameter])


@every_sized_set
def test_the_size_of_a_point_is_that_of_the_smallest_set_that_contains_it(name):
    family, rng = CASES[name].constraint, np.random.default_rng(16)
    for _ in range(5):
        w = family.project(rng.standard_normal(6) + 0.5)
        size = family.size_of(w)
        assert type(size) is type(family.size)
        smaller, large_enough = (size - 1, size) if isinstance(size, int) else (size * (1 - 1e-12), size * (1 + 1e-15))
        np.testing.assert_allclose(family.resized(large_enough).project(w), w, rtol=0, atol=1e-15)
        assert not np.array_equal(family.resized(smaller).project(w), w)


@every_sized_set
def test_a_resized_set_differs_in_its_size_only(name):
    constraint = CASES[name].constraint
    parameters = constraint.get_params()
    other = constraint.resized(4)
    assert type(other) is type(constraint)
    assert other.size == 4
    assert constraint.size is parameters[constraint.size_parameter] is not other.size
    assert repr(other.get_params()) == repr({**parameters, constraint.size_parameter: 4})


@pytest.mark.parametrize("name", ["L1Ball", "Simplex", "GroupL1Ball", "NuclearBall"])
def test_atoms_are_the_combinations_of_so_many_extreme_points(name):
    constraint, rng = CASES[name].constraint, np.random.default_rng(17)
    # Far from the set a nearest point is an extreme one.
    for _ in range(5):
        first, second = (constraint.project(1e3 * rng.standard_normal(6)) for _ in range(2))
        for points, size in ((first, 1), (first + 0.5 * second, 2)):
            assert constraint.atoms(size).size == size
            np.testing.assert_allclose(constraint.atoms(size).project(points), points, rtol=0, atol=1e-14)


def test_sets_without_simple_extreme_points_have_no_atoms():
    for constraint in (L2Ball(), Box(), TotalVariationBall(), L0Ball(), Subspace(np.eye(2))):
        assert constraint.atoms(1) is None


@every_set
def test_the_level_of_the_simplex_alone_is_an_equation(name):
    for _, _, face, _ in faces(name):
        assert face.equation == (name == "Simplex")


def test_sizes_are_one_by_default():
    shaped = {GroupL0Ball: [[0, 1]], GroupL1Ball: [[0, 1]], LowRank: [(1, 2)], NuclearBall: [(1, 2)]}
    for case in CASES.values():
        kind = type(case.constraint)
        if kind.size_parameter:
            assert kind(*shaped.get(kind, [])).size == 1


# Sets that the estimators build around the user's.


@every_set
def test_a_free_intercept_has_the_sizes_and_the_atoms_of_its_set(name):
    constraint, w = CASES[name].constraint, np.array([3.0, -1.0, 2.0, 0.5, -4.0, 1.0])
    product, point = FreeIntercept(constraint), np.append(w, -70.0)
    assert (product.convex, product.curved) == (constraint.convex, constraint.curved)
    np.testing.assert_array_equal(product.project(point), np.append(constraint.project(w), -70.0))
    face = product.face(product.project(point.astype(np.float32)))
    for part in (face.basis, face.normal, face.curvature):
        assert part is None or part.dtype in (np.float32, np.intp)
    if constraint.size_parameter:
        assert (product.size, product.size_of(point)) == (constraint.size, constraint.size_of(w))
        expected = np.append(constraint.resized(2).project(w), -70.0)
        np.testing.assert_array_equal(product.resized(2).project(point), expected)
    atoms = constraint.atoms(1)
    assert (product.atoms(1) is None) == (atoms is None)
    if atoms is not None:
        np.testing.assert_array_equal(product.atoms(1).project(point), np.append(atoms.project(w), -70.0))


def test_a_callable_projects_in_its_own_units():
    at_least_one = CallableSet(lambda w: np.maximum(w, 1.0))
    w = np.array([-3.0, 3.0, 12.0], dtype=np.float32)
    np.testing.assert_array_equal(at_least_one.project(w), [1, 3, 12])
    rescaled = at_least_one.rescaled(2.0).rescaled(3.0)
    np.testing.assert_array_equal(rescaled.project(w), [6, 6, 12])
    np.testing.assert_array_equal(at_least_one.rescaled(np.array([1.0, 4.0, 20.0])).project(w), [1, 4, 20])
    assert rescaled.project(w).dtype == np.float32
    assert rescaled.face(w) is None
    # The weights of whole numbers are numbers, too.
    assert CallableSet(lambda w: np.ones(3, dtype=int)).project(w).dtype == np.float32


def test_a_parameter_names_the_whole_space_a_set_or_a_callable():
    space, w = as_constraint(None), np.array([3.0, -1.0])
    assert space.project(w) is w
    np.testing.assert_array_equal(space.face(w).basis, [0, 1])
    assert space.rescaled(np.array([2.0, 3.0])) is space
    assert (space.convex, space.diagonal) == (True, True)
    ball = L1Ball(1.0)
    assert as_constraint(ball) is ball
    for projection in (ball.project, SimpleNamespace(project=ball.project)):
        np.testing.assert_array_equal(as_constraint(projection).project(w), [1, 0])
