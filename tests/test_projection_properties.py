"""Projections onto every set over hostile vectors, by what makes a point the nearest one: a certificate, not samples.

A `Case` is the recipe of a set and a vector; a failing test prints it, and ``drawn(name, Case(...))`` makes it again.
The sets are those that `skrelu.constraints` names: a new one without a `Family` here fails.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from skrelu import constraints

N_FAST, N_SLOW = 8, 300  # cases for each set and property
ROUNDINGS = 16  # of each entry, in units of d eps: what the decompositions of matrices need
KINDS = ("normal", "ties", "zeros", "sparse", "equal", "alternating", "sorted", "offset", "wide", "denormal", "largest")
FACTORS = (0.3, 1.0, 3.0, 1e-12, 0.01, 30.0, 1e12, 0.0)  # sizes of sets relative to the largest entry


@dataclass(frozen=True)
class Case:
    """A vector of so many entries and a set: its size, and by the seed whatever else it has."""

    d: int
    kind: str
    exponent: int
    factor: float
    count: int
    single: bool
    seed: int


cases = st.builds(
    Case,
    d=st.one_of(st.integers(4, 16), st.integers(1, 4)),
    kind=st.sampled_from(KINDS),
    exponent=st.one_of(st.just(0), st.sampled_from([-300, -12, 12, 300]), st.integers(-300, 300)),
    factor=st.sampled_from(FACTORS),
    count=st.sampled_from([2, 1, 3, 4, 5, 0]),
    single=st.booleans(),
    seed=st.integers(0, 2**16),
)


def drawn(name, case):
    """Return the set, the vector, and the generator that goes on."""
    rng, d = np.random.default_rng(case.seed), case.d
    dtype = np.float32 if case.single else np.float64
    # Projections may have larger entries.
    number = np.finfo(dtype)
    limit = float(number.max) / 16
    normal = rng.standard_normal(d)
    w = {
        "normal": normal,
        "ties": rng.integers(-2, 3, d).astype(float),
        "zeros": np.zeros(d) * np.sign(normal),
        "sparse": normal * (rng.random(d) < 0.3),
        "equal": np.full(d, normal[0]),
        "alternating": np.where(np.arange(d) % 2, 1.0, -1.0),
        "sorted": np.sort(normal),
        "offset": 1e6 + normal,
        "wide": normal * 10.0 ** rng.uniform(-300, 300, d),
        "denormal": normal * float(number.tiny) * 1e-3,
        "largest": limit * np.sign(normal),
    }[case.kind]
    if case.kind not in ("denormal", "largest", "wide"):
        w = w * 10.0**case.exponent
    w = np.clip(w, -limit, limit).astype(dtype)
    size = min(case.factor * float(np.abs(w).max()), limit)
    return FAMILIES[name].make(d, size, case.count, rng), w, rng


# What a set is, a second time and in the most obvious way.


@dataclass(frozen=True)
class Family:
    """A set and its definition.

    A point p of a convex K is nearest to w if ``<w - p, z> <= <w - p, p>`` for all z of K: if the support function
    ``h_K(w - p)`` is ``<w - p, p>``. `gap(K, g, p, unit)` is by how much it is not, for g = w - p of size one, p and K
    in this unit. The distance to a set that is not convex has a closed form, `distance(K, w)`.
    """

    make: Callable  # (d, size, count, rng) -> K
    excess: Callable  # (K, u) -> 0 for u in K, else by how much the definition is violated
    gap: Callable | None = None
    distance: Callable | None = None
    sharp: bool = False  # errs relative to the size of p, not to that of w


def total(values):
    return math.fsum(map(float, values))


def length(u):
    return math.hypot(*map(float, u))


def parts(K):
    """Return the coordinates of each group."""
    labels = np.asarray(K.groups)
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def singular_values(K, u):
    peak = float(np.abs(u).max()) or 1.0
    return np.linalg.svd(np.asarray(u, dtype=float).reshape(K.shape) / peak, compute_uv=False) * peak


def tails(g):
    """Return the sums of the last entries, the whole sum first."""
    return np.cumsum(g[::-1])[::-1]


def shape_of(d, rng):
    a = int(rng.choice([k for k in range(1, d + 1) if d % k == 0]))
    return a, d // a


def labels_of(d, rng):
    return rng.integers(0, 4, d)


def box(d, size, count, rng):
    lower, upper = size * np.sort(rng.standard_normal((2, d)), axis=0)
    free = rng.integers(0, 5, d)
    # One of five coordinates is fixed, one free on either side.
    upper = np.where(free == 0, lower, np.where(free == 1, np.inf, upper))
    return constraints.Box(np.where(free == 2, -np.inf, lower), upper)


def subspace(d, size, count, rng):
    A = rng.standard_normal((d, count))
    if count > 2:
        A[:, 2] = A[:, 0]
    return constraints.Subspace(A * 10.0 ** rng.integers(-9, 9, count))


def spanned(K):
    """Return an orthonormal basis of a subspace."""
    A = K.basis / np.abs(K.basis).max(axis=0) if K.basis.size else K.basis
    U, s, _ = np.linalg.svd(A, full_matrices=False)
    return U[:, s > 1e-9]


def box_gap(K, g, p, unit):
    with np.errstate(over="ignore", invalid="ignore"):
        return total(np.where(g > 0, g * (K.upper / unit - p), np.where(g < 0, g * (K.lower / unit - p), 0)))


def ball_gap(dual):
    """Return the gap of the ball of a norm: its support function is the radius times the dual norm."""
    return lambda K, g, p, unit: K.radius / unit * dual(K, g) - g @ p


def dropped(sizes, n):
    return length([*np.sort(sizes)[: max(0, len(sizes) - n)], 0.0])


def rising(K, u):
    return u if K.increasing else u[::-1]


def variation(u):
    half = 0.5 * np.asarray(u, dtype=float)  # the differences of the largest numbers are no numbers
    return total(abs(np.diff(half)))


def group_lengths(K, u):
    return np.array([length(u[g]) for g in parts(K)])


FAMILIES = {
    "L0Ball": Family(
        lambda d, size, count, rng: constraints.L0Ball(count),
        excess=lambda K, u: max(0, np.count_nonzero(u) - K.n_nonzero),
        distance=lambda K, w: dropped(np.abs(w), K.n_nonzero),
    ),
    "NonnegativeSparse": Family(
        lambda d, size, count, rng: constraints.NonnegativeSparse(count),
        excess=lambda K, u: max(0, np.count_nonzero(u) - K.n_nonzero) + max(0, -u.min()),
        distance=lambda K, w: math.hypot(length(np.minimum(w, 0)), dropped(np.maximum(w, 0), K.n_nonzero)),
    ),
    "GroupL0Ball": Family(
        lambda d, size, count, rng: constraints.GroupL0Ball(labels_of(d, rng), count),
        excess=lambda K, u: max(0, np.count_nonzero(group_lengths(K, u)) - K.n_groups),
        distance=lambda K, w: dropped(group_lengths(K, w), K.n_groups),
    ),
    "LowRank": Family(
        lambda d, size, count, rng: constraints.LowRank(shape_of(d, rng), count),
        excess=lambda K, u: total(singular_values(K, u / u.size)[K.rank :]),
        distance=lambda K, w: dropped(singular_values(K, w), K.rank),
    ),
    "L1Ball": Family(
        lambda d, size, count, rng: constraints.L1Ball(size),
        excess=lambda K, u: max(0.0, total(abs(u)) - K.radius),
        gap=ball_gap(lambda K, g: np.abs(g).max()),
        sharp=True,
    ),
    "L2Ball": Family(
        lambda d, size, count, rng: constraints.L2Ball(size),
        excess=lambda K, u: max(0.0, length(u) - K.radius),
        gap=ball_gap(lambda K, g: length(g)),
        sharp=True,
    ),
    "Simplex": Family(
        lambda d, size, count, rng: constraints.Simplex(size),
        excess=lambda K, u: abs(total(u) - K.radius) + max(0.0, -u.min()),
        gap=ball_gap(lambda K, g: g.max()),
        sharp=True,
    ),
    "GroupL1Ball": Family(
        lambda d, size, count, rng: constraints.GroupL1Ball(labels_of(d, rng), size),
        excess=lambda K, u: max(0.0, total(group_lengths(K, u)) - K.radius),
        gap=ball_gap(lambda K, g: group_lengths(K, g).max()),
        sharp=True,
    ),
    "NuclearBall": Family(
        lambda d, size, count, rng: constraints.NuclearBall(shape_of(d, rng), size),
        excess=lambda K, u: max(0.0, total(singular_values(K, u)) - K.radius),
        gap=ball_gap(lambda K, g: singular_values(K, g)[0]),
        sharp=True,
    ),
    "Nonnegative": Family(
        lambda d, size, count, rng: constraints.Nonnegative(),
        excess=lambda K, u: max(0.0, -u.min()),
        gap=lambda K, g, p, unit: max(g.max(), -(g @ p)),
        sharp=True,
    ),
    "Box": Family(
        box,
        excess=lambda K, u: max(0.0, (K.lower - u).max(), (u - K.upper).max()),
        gap=box_gap,
        sharp=True,
    ),
    "Subspace": Family(
        subspace,
        excess=lambda K, u: length(u - spanned(K) @ (spanned(K).T @ u)),
        gap=lambda K, g, p, unit: length(spanned(K).T @ g),
    ),
    "Monotone": Family(
        lambda d, size, count, rng: constraints.Monotone(count % 2 == 0),
        excess=lambda K, u: 2 * max(0.0, -np.diff(rising(K, u) / 2).min(initial=0)),
        gap=lambda K, g, p, unit: max(tails(rising(K, g)).max(), abs(g.sum()), abs(g @ p)),
    ),
    "TotalVariationBall": Family(
        lambda d, size, count, rng: constraints.TotalVariationBall(size),
        excess=lambda K, u: 2 * max(0.0, variation(u) - K.radius / 2),
        gap=lambda K, g, p, unit: max(abs(g.sum()), K.radius / unit * np.abs(tails(g)).max() - g @ p),
    ),
}

every_set = pytest.mark.parametrize("name", constraints.__all__)
every_convex_set = pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.gap])


def over_cases(n_examples):
    """Return the decorator of a test over so many cases, the same each time."""
    return lambda test: settings(
        max_examples=n_examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )(given(case=cases)(test))


# What is promised.


def unit_of(*vectors):
    """Return the power of two below the largest entry: dividing by it changes no digit."""
    return 2.0 ** (math.frexp(float(max(np.abs(u).max() for u in vectors)) or 1.0)[1] - 1)


def rounding_of(case, w, size=1.0):
    """Return how far entries of w, in this unit, may be off."""
    number = np.finfo(w.dtype)
    # Denormal numbers have fewer digits.
    absolute = float(number.eps) * float(np.abs(w).max()) + float(number.smallest_subnormal)
    return ROUNDINGS * case.d * absolute / size


def check_membership(name, case):
    """Finite, in K to rounding, its own projection, of the dtype and shape of w, which stays as it is."""
    K, w, _ = drawn(name, case)
    before = w.copy()
    p = K.project(w)
    np.testing.assert_array_equal(w, before)
    assert p.shape == w.shape
    assert p.dtype == w.dtype
    assert np.all(np.isfinite(p))
    assert FAMILIES[name].excess(K, p.astype(float)) <= rounding_of(case, p)
    np.testing.assert_allclose(K.project(p) / 2, p / 2, rtol=0, atol=rounding_of(case, p) / 2)


def check_nearest(name, case):
    """No point of K is nearer, by the certificate of the family."""
    (K, w, _), family = drawn(name, case), FAMILIES[name]
    p = K.project(w)
    size, unit = unit_of(w, p), unit_of(p)
    g = w.astype(float) / size - p.astype(float) / size
    if not np.any(g):
        return
    rounding = max(rounding_of(case, w, size), rounding_of(case, p, unit))
    if family.distance:
        assert length(g) == pytest.approx(family.distance(K, w.astype(float) / size), rel=0, abs=rounding)
    else:
        gap = family.gap(K, g, p.astype(float) / unit, unit)
        assert gap <= rounding * (1 if family.sharp else 1 + size / unit)


def check_nonexpansive(name, case):
    """Firmly: ``|Pw - Pz|^2 <= <Pw - Pz, w - z>`` for near and far z."""
    K, w, rng = drawn(name, case)
    size = float(np.abs(w).max()) or 1.0
    z = w / 2 + size / 64 * 10.0 ** rng.integers(-12, 2) * rng.uniform(-1, 1, case.d)
    z = (2 * z).astype(w.dtype)
    p, q = K.project(w), K.project(z)
    unit = unit_of(w, z, p, q)
    rounding = max(rounding_of(case, part, unit) for part in (w, z, p, q))
    w, z, p, q = (part.astype(float) / unit for part in (w, z, p, q))
    assert (p - q) @ (p - q) <= (p - q) @ (w - z) + rounding * (length(w - z) + length(p - q) + rounding)


CHECKS = (check_membership, check_nearest)


def test_every_set_has_a_family():
    assert set(FAMILIES) == set(constraints.__all__)
    assert {name for name, family in FAMILIES.items() if family.gap} == {
        name for name in constraints.__all__ if getattr(constraints, name).convex
    }


def ids(check):
    return check.__name__


every_check = pytest.mark.parametrize("check", CHECKS, ids=ids)


@every_check
@every_set
@over_cases(N_FAST)
def test_projections(name, check, case):
    check(name, case)


@every_convex_set
@over_cases(N_FAST)
def test_projections_onto_convex_sets(name, case):
    check_nonexpansive(name, case)


@pytest.mark.slow
@every_check
@every_set
@over_cases(N_SLOW)
def test_many_projections(name, check, case):
    check(name, case)


@pytest.mark.slow
@every_convex_set
@over_cases(N_SLOW)
def test_many_projections_onto_convex_sets(name, case):
    check_nonexpansive(name, case)
