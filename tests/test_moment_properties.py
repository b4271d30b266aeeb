"""Whitening, moments and tensors over hostile tables: finite, symmetric, equivariant, and exact where data are.

A `Table` is the recipe of one; a failing test prints it, and ``arrays(Table(...))`` makes it again.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy import sparse

from skrelu import activations
from skrelu.activations import Activation
from skrelu.joint_diagonalisation import jointly_diagonalised
from skrelu.moments import HermiteMoments, hermite_moments, pairs
from skrelu.output_moments import output_moments
from skrelu.rows import Rows, memory
from skrelu.starts import fit_moments, minimised
from skrelu.tensors import PARALLEL, MomentFit, power_directions
from skrelu.whitening import whitening

N_FAST, N_SLOW = 10, 400  # tables for each property
COLUMNS = ("normal", "normal", "constant", "zero", "duplicate", "outlier", "binary", "denormal")
ACTIVATIONS = [found for name in activations.__all__ if isinstance(found := getattr(activations, name), Activation)]


@dataclass(frozen=True)
class Table:
    """So many rows, columns and outputs, each in a unit of its own, at most 10^spread."""

    n: int
    d: int
    m: int
    k: int
    spread: int
    weights: str
    storage: str
    odd: bool
    seed: int


tables = st.builds(
    Table,
    n=st.one_of(st.integers(20, 60), st.integers(1, 20)),
    d=st.integers(1, 6),
    m=st.integers(1, 4),
    k=st.integers(1, 4),
    spread=st.sampled_from([2, 0, 10, 70, 140]),
    weights=st.sampled_from(["counts", "none", "zeros", "wide"]),
    storage=st.sampled_from(["dense", "csr", "csc", "fortran"]),
    odd=st.booleans(),
    seed=st.integers(0, 2**16),
)


def arrays(table):
    """Return X, y (n, m), weights and the generator that goes on."""
    rng, (n, d) = np.random.default_rng(table.seed), (table.n, table.d)
    X = np.empty((n, d))
    for j in range(d):
        normal = rng.standard_normal(n) + rng.integers(-1, 2)
        X[:, j] = {
            "normal": normal,
            "constant": np.ones(n),
            "zero": np.zeros(n),
            "duplicate": X[:, 0] if j else normal,
            "outlier": np.where(np.arange(n) == n // 2, 1e8, normal),
            "binary": normal > 0,
            "denormal": 1e-310 * normal,
        }[rng.choice(COLUMNS)]
    X *= 10.0 ** rng.integers(-table.spread, table.spread + 1, d)
    y = (rng.standard_normal((n, table.m)) + rng.integers(0, 5)) * 10.0 ** rng.integers(-table.spread, table.spread + 1)
    first = np.arange(n) == 0
    weights = {
        "none": np.ones(n),
        "counts": rng.integers(1, 4, n).astype(float),
        "zeros": np.where(first, 1.0, rng.integers(0, 3, n)),
        "wide": 10.0 ** rng.uniform(-12, 12, n),
    }[table.weights]
    return X, y, weights, rng


def plain(table):
    """Return a table of normal columns of full rank and moderate units, on which equivariance can be seen."""
    rng = np.random.default_rng(table.seed)
    n, d = table.n + 30, table.d
    X = rng.standard_normal((n, d)) @ (np.eye(d) + 0.3 * rng.standard_normal((d, d))) + rng.standard_normal(d)
    y = np.maximum(X @ rng.standard_normal((d, table.m)), 0) + 0.1 * rng.standard_normal((n, table.m))
    return X, y, rng.integers(1, 4, n).astype(float), rng


def stored(table, X):
    made = {
        "dense": np.ascontiguousarray,
        "csr": sparse.csr_array,
        "csc": sparse.csc_array,
        "fortran": np.asfortranarray,
    }
    return made[table.storage](X)


def moments_of(rows, table):
    """Return the `HermiteMoments` of the first output and the `OutputMoments` of all, as numbers that have no signs."""
    white = whitening(rows, centered=True)
    if rows.n_outputs == 1:
        found = hermite_moments(rows, white, table.k, odd=table.odd)
        sizes = [np.linalg.norm(part) for part in (found.first, found.second, found.third, found.fourth)]
        return found, np.array([*np.abs(found.spectrum), found.edge, found.mean, *sizes[:2], *found.variances])
    found = output_moments(rows, white, table.k)
    return found, np.array([*found.spectrum, found.edge, np.linalg.norm(found.first), np.linalg.norm(found.second)])


def finite(found):
    return all(np.all(np.isfinite(part)) for part in vars(found).values())


# Whitening and moments.


def check_whitening(table):
    """Of any columns finite, white along `rank` directions and zero along the others; to and from columns inverse."""
    X, y, s, rng = arrays(table)
    for dtype in (np.float64, np.float32) if table.spread < 15 else (np.float64,):
        rows = Rows(stored(table, X.astype(dtype)), y[:, 0].astype(dtype), s.astype(dtype))
        for centered in (True, False):
            found = whitening(rows, centered=centered)
            assert finite(found)
            W = rng.standard_normal((2, table.d))
            once = found.to_white(found.to_columns(W))
            np.testing.assert_allclose(found.to_white(found.to_columns(once)), once, rtol=0, atol=1e-8)
            np.testing.assert_allclose(
                found.pull_back(W), W @ found.columns, rtol=0, atol=1e-12 * np.abs(found.columns).max()
            )
            p = s / s.sum()
            Z = np.vstack([piece for _, piece in found.whitened(rows._all_blocks[0][0])]).astype(float)
            values = np.linalg.eigvalsh((Z.T * p) @ Z)
            assert np.sum(values > 0.5) == found.rank <= min(table.d, np.count_nonzero(s))
            assert values.max(initial=0) <= 1.5


def check_moments(table):
    """Finite, of an orthonormal basis, sorted, symmetric."""
    X, y, s, _ = arrays(table)
    for m in {1, table.m}:
        found, numbers = moments_of(Rows(stored(table, X), y[:, :m], s), table)
        assert finite(found)
        assert np.all(np.isfinite(numbers))
        k = found.basis.shape[1]
        np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(k), rtol=0, atol=1e-10)
        assert np.all(np.diff(np.abs(found.spectrum)) <= 1e-12 * np.abs(found.spectrum).max())
        # Sums of terms of order one, which may cancel.
        eps = float(np.finfo(float).eps)
        for moment in [found.second, found.fourth] if m == 1 else [found.second]:
            turned, rounding = np.swapaxes(moment, -1, -2), 1e-10 * np.abs(moment).max() + 10 * eps
            np.testing.assert_allclose(moment, turned, rtol=0, atol=rounding)


def check_equivariance(table):
    """Invertible maps of the columns, shifts, units of y, the order of rows, storage and blocks change no number."""
    X, y, s, rng = plain(table)
    d, order = table.d, rng.permutation(len(X))
    A = np.eye(d) + 0.3 * rng.standard_normal((d, d)) / d**0.5
    A *= 10.0 ** rng.integers(-3, 4, d)
    unit = 2.0 ** int(rng.integers(-40, 40))
    for m in {1, table.m}:
        z = y[:, :m]
        numbers = moments_of(Rows(X, z, s), table)[1]
        repeated = np.repeat(np.arange(len(X)), s.astype(int))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(memory, "BLOCK_BYTES", 8 * d * int(rng.integers(1, 30)))
            in_blocks = moments_of(Rows(stored(table, X), z, s), table)[1]
        others = {
            "columns": moments_of(Rows((X - 3) @ A, z, s), table)[1],
            "units": moments_of(Rows(X, unit * z, s), table)[1],
            "order": moments_of(Rows(X[order], z[order], s[order]), table)[1],
            "repetition": moments_of(Rows(X[repeated], z[repeated]), table)[1],
            "blocks": in_blocks,
        }
        for name, other in others.items():
            np.testing.assert_allclose(other, numbers, rtol=1e-6, atol=1e-7 * np.abs(numbers).max(), err_msg=name)


# Tensors.


def planted(table, activation):
    """Return the exact moments of so many units, none nearly parallel, in their span."""
    rng = np.random.default_rng(table.seed)
    d = k = table.k
    U = np.linalg.qr(rng.standard_normal((d, k)))[0].T + 0.15 * rng.standard_normal((k, d)) / d**0.5
    U /= np.linalg.norm(U, axis=1, keepdims=True)
    sizes, v = rng.uniform(0.7, 1.4, k), np.where(rng.random(k) < 0.5, -1.0, 1.0)
    b = sizes * rng.uniform(-0.5, 0.5, k)
    c = v * activation.hermite_coefficients(4, scale=sizes, bias=b)
    a, e = pairs(d)
    products = U[:, a] * U[:, e]
    basis = np.linalg.qr(rng.standard_normal((d + 2, d)))[0]
    second, third, fourth = (U.T * c[2]) @ U, (products.T * c[3]) @ U, (products.T * c[4]) @ products
    found = HermiteMoments(
        basis, np.zeros(d + 2), 0.0, float(c[0].sum()), c[1] @ U, second, third, fourth, 1e12, (1.0,) * 4
    )
    return found, sizes[:, None] * U, b, v, rng


def check_planted_units(table):
    """The fit of exact moments of ReLUs is the planted units."""
    moments, W, b, v, _ = planted(table, activations.relu)
    found, bias, output = fit_moments(moments, activations.relu, table.k, np.random.RandomState(0))
    match = [
        int(np.argmin(np.linalg.norm(found - w, axis=1) + 9 * (output != sign))) for w, sign in zip(W, v, strict=True)
    ]
    assert sorted(match) == list(range(table.k))
    np.testing.assert_allclose(found[match], W, rtol=0, atol=1e-4)
    np.testing.assert_allclose(bias[match], b, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(output[match], v)


def check_objective(table):
    """Of every activation: the distance of full tensors, its gradient, and a fit that lowers it and ends."""
    activation = ACTIVATIONS[table.seed % len(ACTIVATIONS)]
    moments, W, b, v, rng = planted(table, activation)
    free = activation.homogeneity is None
    fit = MomentFit(
        moments, activation, v, 1.3, None, table.odd and activation.odd_slope is not None, 0.8 if free else None
    )
    theta, other = (fit.pack(*(part + 0.2 * rng.standard_normal(part.shape) for part in (W, b, v))) for _ in "ab")
    (value, gradient), (value_other, _) = fit.value_and_gradient(theta), fit.value_and_gradient(other)
    expected = distance(fit, theta, W, b, v) - distance(fit, other, W, b, v)
    assert value - value_other == pytest.approx(expected, rel=1e-8, abs=1e-8)
    direction, h = rng.standard_normal(len(theta)), 1e-4
    sides = [fit.value_and_gradient(theta + step * direction)[0] for step in (h, -h, h / 2, -h / 2)]
    slope = (8 * (sides[2] - sides[3]) - (sides[0] - sides[1])) / (6 * h)
    assert gradient @ direction == pytest.approx(slope, rel=1e-6, abs=1e-7 * (1 + np.linalg.norm(gradient)))
    start = fit.unpack(other)
    lowest, *units = minimised(replace(fit, output=start[2]), *start[:2])
    assert lowest <= value_other + 1e-12 * abs(value_other)
    assert all(np.all(np.isfinite(part)) for part in units)


def distance(fit, theta, W, b, v):
    """Return J with full tensors in place of contractions, up to no constant."""
    found, bias, output = fit.unpack(theta)
    total = 0.0
    for m, letters in enumerate(("a", "ab", "abc", "abcd"), 1):
        tensors = []
        for units, biases, outputs in ((found, bias, output), (W, b, v)):
            size = np.linalg.norm(units, axis=1)
            c = outputs * fit.activation.hermite_coefficients(m, scale=size, bias=biases)[m]
            factors = ",".join("j" + letter for letter in letters)
            tensors.append(np.einsum(f"j,{factors}->{letters}", c, *[units / size[:, None]] * m))
        weight = np.prod(np.arange(1, m + 1)) * fit.moments.variances[m - 1]
        total += (m > fit.relaxed) * np.sum((tensors[0] - tensors[1]) ** 2) / (2 * weight)
    size = np.linalg.norm(found, axis=1)
    prior = np.sum(size**2) / fit.size**2 + np.sum((bias / size) ** 2)
    prior += 0.0 if fit.output_size is None else np.sum(output**2) / fit.output_size**2
    return total + 20 * prior / (2 * fit.moments.n)


def check_power_method(table):
    """Unit vectors, the largest moment first, no two nearly parallel; of no moments there are none."""
    moments, *_ = planted(table, activations.relu)
    for degree in (3, 4):
        U = power_directions(moments, np.random.RandomState(table.seed), degree)
        np.testing.assert_allclose(np.linalg.norm(U, axis=1), 1, rtol=1e-12)
        values = np.abs(moments.along(U)[0][degree - 1])
        assert np.all(np.diff(values) <= 1e-12 * values.max(initial=0))
        assert np.all(np.abs(np.triu(U @ U.T, 1)) < PARALLEL)


def check_diagonalisation(table):
    """Exact terms are found up to signs, in any units and axes; tensors of any rank have finite ones."""
    rng = np.random.default_rng(table.seed)
    k, d = table.k, table.k + table.d
    q = k + int(rng.integers(0, 3))
    V = np.linalg.qr(rng.standard_normal((d, k)))[0].T + 0.1 * rng.standard_normal((k, d)) / d**0.5
    V /= np.linalg.norm(V, axis=1, keepdims=True)
    U = np.linalg.qr(rng.standard_normal((q, k)))[0].T * rng.uniform(0.7, 1.4, (k, 1))
    tensor, basis = np.einsum("jo,ja,jb->oab", U, V, V), np.linalg.qr(rng.standard_normal((d + 1, d)))[0]
    scale = 10.0 ** int(rng.integers(-100, 100))
    v, u = jointly_diagonalised(scale * tensor, k, basis, np.random.RandomState(0))
    if q > 1:
        np.testing.assert_allclose(np.abs(v @ V.T).max(axis=0), 1, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.einsum("jo,ja,jb->oab", u / scale, v, v), tensor, rtol=0, atol=1e-4)
    flawed = tensor * (rng.random(q) < 0.5)[:, None, None]
    v, u = jointly_diagonalised(flawed, k + 1, basis, np.random.RandomState(0))
    assert np.all(np.isfinite(v))
    assert np.all(np.isfinite(u))


CHECKS = (
    *(check_whitening, check_moments, check_equivariance),
    *(check_planted_units, check_objective, check_power_method, check_diagonalisation),
)
every_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


def over_tables(n_examples):
    """Return the decorator of a test over so many tables, the same each time."""
    return lambda test: settings(
        max_examples=n_examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )(given(table=tables)(test))


@every_check
@over_tables(N_FAST)
def test_moments_and_tensors(check, table):
    check(table)


@pytest.mark.slow
@every_check
@over_tables(N_SLOW)
def test_moments_and_tensors_of_many_tables(check, table):
    check(table)
