"""Hermite moments against tensors of full size, against theorems of Stein, and against what noise alone would do."""

import itertools
import tracemalloc
from dataclasses import fields
from math import factorial

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermeval
from scipy import sparse

from skrelu import moments as moments_module
from skrelu.activations import get_activation
from skrelu.datasets import OneHiddenLayerTeacher, make_one_hidden_layer
from skrelu.moments import HermiteMoments, hermite_moments, pairs
from skrelu.rows import Rows
from skrelu.rows import memory as rows_module
from skrelu.whitening import whitening

STORAGES = {"C": np.ascontiguousarray, "csr": sparse.csr_array, "csc": sparse.csc_array}
DEGREES = [1, 2, 3, 4]


@pytest.fixture(params=[1, 2**20])
def block_bytes(request, monkeypatch):
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", request.param)


def estimate(X, y, weight=None, n_directions=None):
    rows = Rows(X, y, weight)
    return hermite_moments(rows, whitening(rows, centered=True), n_directions)


def table(seed, n=300, d=4, dtype=np.float64):
    """Return correlated inputs that are not normal, an output that is no network, and weights."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + rng.standard_normal(d)
    X *= rng.random((n, d)) < 0.7
    y = np.sin(X[:, 0]) + X[:, 1] ** 2 - np.abs(X[:, 2] + 1) + rng.standard_normal(n) + 3
    return X.astype(dtype), y.astype(dtype), (rng.random(n) + 0.1).astype(dtype)


def symmetric_products(M, others):
    """Return the tensor product of two symmetric tensors, summed over all distinct ways to share out the indices."""
    m, k = M.ndim, M.ndim + others.ndim
    total = 0
    for first in itertools.combinations(range(k), m):
        rest = [i for i in range(k) if i not in first]
        total = total + np.transpose(np.multiply.outer(M, others), np.argsort([*first, *rest]))
    return total


def hermite_tensor(z, m):
    """Return He_m(z), a symmetric tensor of order m, row by row and from its definition."""
    eye = np.eye(len(z))
    if m == 2:
        return np.multiply.outer(z, z) - eye
    if m == 3:
        return np.einsum("a,b,c", z, z, z) - symmetric_products(z, eye)
    one = np.einsum("a,b,c,d", z, z, z, z)
    return one - symmetric_products(np.multiply.outer(z, z), eye) + symmetric_products(eye, eye) / 2


def contracted(M, u):
    """Return M(u, ..., u) of a full tensor."""
    while M.ndim:
        M = M @ u
    return float(M)


def slow_moments(X, y, weight, n_directions):
    """Return basis, spectrum, mean, full tensors of degree 1 to 4 and variances, one row after the other."""
    p = weight / weight.sum()
    X = X - p @ X
    X = X / (p @ X**2) ** 0.5
    values, vectors = np.linalg.eigh((X.T * p) @ X)
    Z = X @ (vectors / values**0.5) @ vectors.T
    y = y / (p @ y**2) ** 0.5
    mean, first = p @ y, (p * y) @ Z
    residual = y - mean - Z @ first
    variances = [p @ residual**2] * 2
    second = sum(w * r * hermite_tensor(z, 2) for w, r, z in zip(p, residual, Z, strict=True))
    values, vectors = np.linalg.eigh(second)
    order = np.argsort(-np.abs(values))
    basis = vectors[:, order[:n_directions]]
    Z, Q = Z @ basis, basis.T @ second @ basis
    tensors = [first @ basis]
    for m in (2, 3, 4):
        left = residual - np.array([z @ Q @ z - np.trace(Q) for z in Z]) / 2
        M = sum(w * r * hermite_tensor(z, m) for w, r, z in zip(p, left, Z, strict=True))
        if m == 2:
            M = Q = Q + M
        tensors.append(M)
    variances += [p @ left**2] * 2
    return basis, values[order], mean, tensors, variances


# estimates against full tensors


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    "n_directions", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(4, marks=pytest.mark.slow)]
)
def test_moments_are_those_of_full_tensors(block_bytes, storage, n_directions):
    for seed in range(2):
        X, y, weight = table(seed)
        found = estimate(STORAGES[storage](X), y, weight, n_directions)
        basis, spectrum, mean, tensors, variances = slow_moments(X, y, weight, n_directions)
        np.testing.assert_allclose(found.basis @ found.basis.T, basis @ basis.T, atol=1e-10)
        np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(n_directions), atol=1e-13)
        np.testing.assert_allclose(found.spectrum, spectrum, rtol=1e-10, atol=1e-12)
        assert found.mean == pytest.approx(mean, rel=1e-12)
        assert found.n == pytest.approx(weight.sum(), rel=1e-14)
        np.testing.assert_allclose(found.variances, variances, rtol=1e-10)
        U = np.random.default_rng(seed).standard_normal((5, n_directions))
        U /= np.linalg.norm(U, axis=1, keepdims=True)
        values = found.along(U @ (basis.T @ found.basis))[0]
        expected = [[contracted(M, u) for u in U] for M in tensors]
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-11)
        turn = found.basis.T @ basis
        np.testing.assert_allclose(found.first, turn @ tensors[0], atol=1e-11)
        np.testing.assert_allclose(found.second, turn @ tensors[1] @ turn.T, atol=1e-11)


def test_edge_and_number_of_directions_are_as_documented():
    """edge = sigma ((1 + sqrt(rank / n))^2 - 1 + 1 / sqrt(n)), n the sum of the weights; at least one direction."""
    for seed in range(5):
        X, y, weight = table(seed)
        X = np.column_stack([X, X[:, 0] - X[:, 1]])  # five columns of rank four
        found = estimate(X, y, 2 * weight)
        n, sigma = 2 * weight.sum(), found.variances[0] ** 0.5
        assert found.edge == pytest.approx(sigma * ((1 + (4 / n) ** 0.5) ** 2 - 1 + n**-0.5), rel=1e-10)
        assert found.basis.shape == (5, max(1, np.sum(np.abs(found.spectrum) > found.edge)))
    noise = np.random.default_rng(0).standard_normal(300)
    found = estimate(X, noise)
    assert np.all(np.abs(found.spectrum) < found.edge)
    assert found.basis.shape == (5, 1)


def test_directions_are_at_most_max_directions(monkeypatch):
    monkeypatch.setattr(moments_module, "MAX_DIRECTIONS", 2)
    X, y, weight = table(0)
    for asked in (3, 100):
        assert estimate(X, y, weight, asked).basis.shape == (4, 2)
        assert estimate(X, X @ np.ones(4), weight, asked).basis.shape == (4, 2)
    monkeypatch.setattr(moments_module, "MAX_DIRECTIONS", 40)
    assert estimate(X, y, weight, 100).basis.shape == (4, 4)


# what the estimates estimate


def stein_moments(teacher, coordinates, scale, U):
    """Return ``sum_j v_j c_m(|w_j|, b_j) <u_j, u>^m / scale`` (4, n) for the units in whitened coordinates."""
    W = coordinates.to_white(teacher.hidden_coef_)
    b = teacher.hidden_intercept_ + teacher.hidden_coef_ @ coordinates.center
    size = np.linalg.norm(W, axis=1)
    c = get_activation(teacher.activation).hermite_coefficients(4, scale=size, bias=b)
    cosines = U @ (W / size[:, None]).T
    return np.stack([cosines**m @ (teacher.output_coef_ * c[m]) for m in DEGREES]) / scale


def standard_errors(found, Z, y, U):
    """Return those of the means ``E[r He_m(<z, u>)]``, r what the regression on lower degrees leaves of y."""
    line = y - found.mean - Z @ found.first
    curve = line - (np.einsum("ia,ab,ib->i", Z, found.second, Z) - np.trace(found.second)) / 2
    terms = [
        (line if m == 1 else curve)[:, None] * hermeval(Z @ U.T, np.eye(5)[m])  # one step of the second is enough
        for m in DEGREES
    ]
    return np.stack([np.mean(term**2, axis=0) for term in terms]) ** 0.5 / len(y) ** 0.5


def planted(seed, n, activation="relu", bias=0.0, d=5, k=4, output_weights="signed", noise=0.0):
    return make_one_hidden_layer(
        n,
        d,
        k,
        activation=activation,
        bias=bias,
        output_weights=output_weights,
        noise=noise,
        return_teacher=True,
        random_state=seed,
    )


def deviations_from_stein(seed, n, activation, bias, transform=None):
    """Return (estimate - exact) / standard error and exact / standard error, (4, n_vectors) each."""
    X, y, teacher = planted(seed, n, activation, bias, noise=0.1)
    if transform is not None:  # the same network of x' = A x + m
        A, m = transform
        X = X @ A.T + m
        W = teacher.hidden_coef_ @ np.linalg.inv(A)
        teacher = OneHiddenLayerTeacher(W, teacher.hidden_intercept_ - W @ m, teacher.output_coef_, 0.0, activation)
    rows = Rows(X, y)
    coordinates = whitening(rows, centered=True)
    found = hermite_moments(rows, coordinates, 5)
    scale = rows.target_scale()
    U = np.random.default_rng(seed).standard_normal((10, 5))
    U /= np.linalg.norm(U, axis=1, keepdims=True)
    Z = (X - coordinates.center) @ coordinates.columns @ found.basis
    exact = stein_moments(teacher, coordinates, scale, U @ found.basis.T)
    error = standard_errors(found, Z, y / scale, U)
    return (found.along(U)[0] - exact) / error, exact / error


@pytest.mark.parametrize("bias", [0.0, (0.5, -0.8, 1.2, 0.0)])
@pytest.mark.parametrize("activation", ["relu", "softplus", "tanh"])
def test_moments_estimate_steins_identities(activation, bias):
    """E[y He_m] = sum v_j c_m u_j^m, to five standard errors each and to one on average."""
    results = [deviations_from_stein(seed, 20_000, activation, bias) for seed in range(4)]
    z = np.stack([deviation for deviation, _ in results])
    assert np.abs(z).max() < 5
    typical = np.sqrt(np.mean(z**2, axis=(0, 2)))
    assert np.all((typical > 0.4) & (typical < 1.6))
    # The test has power: the moments that are not zero by symmetry are many standard errors.
    size = np.sqrt(np.mean(np.stack([exact for _, exact in results]) ** 2, axis=(0, 2)))
    zero = {"relu": [3], "softplus": [3], "tanh": [2, 4]}[activation] if np.ndim(bias) == 0 else []
    for m in DEGREES:
        assert (size[m - 1] < 0.5) if m in zero else (size[m - 1] > 2)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_moments_of_correlated_inputs_are_those_of_whitened_units(activation):
    rng = np.random.default_rng(0)
    A, m = rng.standard_normal((5, 5)) + 2 * np.eye(5), 10 * rng.standard_normal(5)
    results = [deviations_from_stein(seed, 20_000, activation, (0.5, -0.8, 1.2, 0.0), (A, m)) for seed in (0, 1)]
    assert np.abs([deviation for deviation, _ in results]).max() < 5


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "softplus", "tanh", "gelu"])
def test_moments_are_unbiased_at_four_hundred_thousand_rows(activation):
    bias = (0.5, -0.8, 1.2, 0.0)
    z = np.stack([deviations_from_stein(seed, 400_000, activation, bias)[0] for seed in range(3)])
    assert np.abs(z).max() < 5
    assert np.all(np.sqrt(np.mean(z**2, axis=(0, 2))) < 1.6)


def test_variances_are_those_of_the_estimates_where_noise_is_all():
    """The variance of M_m(u, ..., u) is then m! variances_m / n."""
    n, z = 2000, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = estimate(rng.standard_normal((n, 4)), rng.standard_normal(n), None, 4)
        U = rng.standard_normal((6, 4))
        values = found.along(U / np.linalg.norm(U, axis=1, keepdims=True))[0]
        variance = np.array([factorial(m) * found.variances[m - 1] / n for m in DEGREES])
        z.append(values**2 / variance[:, None])
    typical = np.mean(z, axis=(0, 2)) ** 0.5
    np.testing.assert_allclose(typical, 1, atol=0.25)


def test_control_variates_are_what_makes_moments_usable():
    """Their errors beside those of the raw means of ``y He_m``: the raw ones are far worse in every sample."""
    for seed in range(5):
        n, d, k = 20_000, 20, 5
        X, y, teacher = planted(seed, n, d=d, k=k, output_weights="positive")
        rows = Rows(X, y)
        coordinates = whitening(rows, centered=True)
        found = hermite_moments(rows, coordinates, d)
        scale = rows.target_scale()
        Z = (X - coordinates.center) @ coordinates.columns @ found.basis
        U = found.random_directions(60, np.random.RandomState(seed))
        exact = stein_moments(teacher, coordinates, scale, U @ found.basis.T)
        raw = np.stack([(y / scale) @ hermeval(Z @ U.T, np.eye(5)[m]) / n for m in DEGREES])
        error, raw_error = (np.linalg.norm(values - exact, axis=1) for values in (found.along(U)[0], raw))
        assert error[1] < raw_error[1] / 3
        assert error[3] < raw_error[3] / 5


# noise and the number of directions


def share_of_noise_below_the_edge(n, d, n_seeds, noise):
    below = 0
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        found = estimate(rng.standard_normal((n, d)), noise(rng, n))
        below += np.all(np.abs(found.spectrum) <= found.edge)
    return below / n_seeds


def test_eigenvalues_of_noise_are_below_the_edge():
    assert share_of_noise_below_the_edge(500, 10, 40, lambda rng, n: rng.standard_normal(n)) >= 0.95
    assert share_of_noise_below_the_edge(60, 40, 40, lambda rng, n: 5 + rng.standard_normal(n)) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize(
    ("n", "d"), [(40, 5), (200, 5), (2500, 5), (60, 50), (500, 50), (5000, 50), (2000, 20), (300, 100)]
)
def test_eigenvalues_of_noise_are_nearly_always_below_the_edge(n, d, distribution):
    draw = {"normal": lambda rng, n: rng.standard_normal(n), "uniform": lambda rng, n: rng.random(n)}[distribution]
    assert share_of_noise_below_the_edge(n, d, 200, draw) >= 0.95


def test_weights_that_add_up_to_less_than_one_row_tell_as_little_as_one():
    X, y, weight = table(0)
    few, one = (estimate(X, y, size * weight / weight.sum()) for size in (0.3, 1.0))
    assert few.n == 1
    assert few.edge == pytest.approx(one.edge)


@pytest.mark.parametrize("output_weights", ["positive", "signed"])
def test_as_many_directions_as_planted_units(output_weights):
    for seed in range(5):
        X, y, teacher = planted(seed, 10_000, d=20, k=5, output_weights=output_weights)
        found = estimate(X, y)
        assert found.basis.shape == (20, 5)
        assert np.sum(np.linalg.eigvalsh(found.second) < 0) == np.sum(teacher.output_coef_ < 0)
        # and the span is that of the units
        left = teacher.hidden_coef_ - teacher.hidden_coef_ @ found.basis @ found.basis.T
        assert np.linalg.norm(left) < 0.15 * np.linalg.norm(teacher.hidden_coef_)


def test_noise_of_the_data_adds_no_directions():
    for seed in range(5):
        X, y, _ = planted(seed, 10_000, d=20, k=3, noise=0.3)
        assert estimate(X, y).basis.shape == (20, 3)


# degenerate outputs


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_directions", [None, 1, 3, 9])
def test_a_linear_output_has_no_higher_moments(n_directions, dtype):
    for seed in range(3):
        X, _, weight = table(seed, dtype=dtype)
        w = np.array([1.0, -2.0, 0.5, 0.0], dtype=dtype)
        y = X @ w + dtype(2)
        found = estimate(X, y, weight, n_directions)
        k = min(n_directions or 1, 4)
        assert found.basis.shape == (4, k)
        np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(k), atol=1e-12)
        for array in (found.spectrum, found.second, found.third, found.fourth):
            np.testing.assert_array_equal(array, 0)
        assert found.edge == 0
        assert found.third.shape == (k * (k + 1) // 2, k)
        assert found.fourth.shape == (k * (k + 1) // 2, k * (k + 1) // 2)
        rows = Rows(X, y, weight)
        scaled = whitening(rows, centered=True).to_white(w[None])[0] / rows.target_scale()
        accuracy = 1e4 * np.finfo(dtype).eps
        np.testing.assert_allclose(found.basis @ found.first, scaled, atol=accuracy)  # the first basis vector is it
        assert found.n == pytest.approx(float(weight.sum()), rel=1e-6)


def test_exactly_linear_is_told_from_nearly_linear():
    X, _, _ = table(0)
    noise = np.random.default_rng(0).standard_normal(len(X))
    for size, linear in ((1e-14, True), (1e-11, False)):
        found = estimate(X, X @ np.ones(4) + size * noise)
        assert np.all(found.spectrum == 0) == linear


@pytest.mark.parametrize("value", [0.0, 1.0, -1e8])
def test_a_constant_output_has_a_mean_only(value):
    X, _, weight = table(1)
    found = estimate(X, np.full(len(X), value), weight, 2)
    assert found.mean == pytest.approx(np.sign(value), rel=1e-12)
    np.testing.assert_allclose(found.first, 0, atol=1e-12)
    U = found.random_directions(3, np.random.RandomState(0))
    np.testing.assert_allclose(found.along(U)[0], 0, atol=1e-12)


def test_columns_that_do_not_vary_have_no_moments():
    X, y, weight = table(2)
    wide = np.column_stack([X[:, :2], np.full(len(X), 5.0), X[:, 2:], X[:, 0] + X[:, 3], np.zeros(len(X))])
    found, plain = estimate(wide, y, weight, 4), estimate(X, y, weight, 4)
    assert all(np.all(np.isfinite(getattr(found, field.name))) for field in fields(found))
    np.testing.assert_allclose(found.basis[[2, 6]], 0, atol=1e-10)
    np.testing.assert_allclose(found.spectrum[:4], plain.spectrum, rtol=1e-9)
    np.testing.assert_allclose(found.spectrum[4:], 0, atol=1e-10)
    assert found.edge == pytest.approx(plain.edge, rel=1e-10)


# units, weights, storage


def invariants(found, coordinates, seed=0):
    """Return what does not depend on the signs of the basis: moments along fixed directions of whitened space."""
    U = np.random.default_rng(seed).standard_normal((8, coordinates)) @ found.basis
    values, gradients = found.along(U / np.linalg.norm(U, axis=1, keepdims=True))
    return [values, gradients @ found.basis.T, found.spectrum, found.edge, found.mean, found.variances, found.n]


def assert_same(found, expected, accuracy, d=4):
    for a, b in zip(invariants(found, d), invariants(expected, d), strict=True):
        np.testing.assert_allclose(a, b, rtol=accuracy, atol=accuracy)


def test_moments_do_not_know_the_units():
    """Not of x, nor of y: they are those of y over its root mean square."""
    scales = 10.0 ** np.array([120, -100, 0, 7])
    for seed in range(3):
        X, y, weight = table(seed)
        expected = estimate(X, y, weight, 3)
        assert_same(estimate(X * scales + np.array([0, 0, 30.0, -1e8]), 1e-100 * y, weight, 3), expected, 1e-7)
        shifted = estimate(X + 7.0, y, weight, 3)
        assert_same(shifted, expected, 1e-9)


def test_weights_are_repetition():
    X, y, _ = table(3)
    counts = np.random.default_rng(3).integers(0, 4, len(X))
    weighted = estimate(X, y, counts.astype(float))
    assert_same(weighted, estimate(np.repeat(X, counts, axis=0), np.repeat(y, counts)), 1e-10)
    scaled = estimate(X, y, counts / 7)
    assert scaled.n == pytest.approx(weighted.n / 7, rel=1e-13)
    assert scaled.edge > weighted.edge


@pytest.mark.parametrize("storage", ["csr", "csc"])
def test_sparse_is_dense(block_bytes, storage):
    X, y, weight = table(4)
    assert_same(estimate(STORAGES[storage](X), y, weight, 3), estimate(X, y, weight, 3), 1e-10)


@pytest.mark.parametrize("storage", STORAGES)
def test_float32_is_close(storage):
    for seed in range(3):
        X, y, weight = table(seed, dtype=np.float32)
        found = estimate(STORAGES[storage](X), y, weight, 3)
        assert_same(found, estimate(*(array.astype(float) for array in (X, y, weight)), 3), 1e-4)
        assert found.fourth.dtype == found.basis.dtype == np.float64


def test_an_estimate_takes_four_passes(monkeypatch):
    counted, plain_sum = [0], Rows.sum

    def counting_sum(self, f, *parameters):
        counted[0] += 1
        return plain_sum(self, f, *parameters)

    X, y, weight = table(5)
    rows = Rows(X, y, weight)
    coordinates = whitening(rows, centered=True)
    rows.target_scale()  # which the rows keep
    monkeypatch.setattr(Rows, "sum", counting_sum)
    hermite_moments(rows, coordinates, 2)
    assert counted[0] == 4


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("n_directions", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_memory_is_that_of_blocks(storage, n_directions):
    """Less than n d numbers in all, let alone n d^2, d^3 or n k^2: sparse data never become dense."""
    n, d = 20_000, 200
    rng = np.random.default_rng(0)
    X = STORAGES[storage](rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.02))
    rows = Rows(X, np.asarray(X @ np.ones(d)) ** 2)
    tracemalloc.start()
    try:
        hermite_moments(rows, whitening(rows, centered=True), n_directions)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < n * d * 8


# moments along directions


def random_moments(seed, k, n=1000.0):
    """Return moments of no network, of every symmetry that the packed storage allows."""
    rng = np.random.default_rng(seed)
    n_pairs = len(pairs(k)[0])
    second, fourth = rng.standard_normal((k, k)), rng.standard_normal((n_pairs, n_pairs))
    basis = np.linalg.qr(rng.standard_normal((k + 3, k)))[0]
    return HermiteMoments(
        basis,
        rng.standard_normal(k + 3),
        0.1,
        0.5,
        rng.standard_normal(k),
        second + second.T,
        rng.standard_normal((n_pairs, k)),
        fourth + fourth.T,
        n,
        (1.0,) * 4,
    )


def full_tensors(found):
    """Return the symmetrised full tensors of degree 1 to 4."""
    k = len(found.first)
    where = np.zeros((k, k), dtype=int)
    a, b = pairs(k)
    where[a, b] = where[b, a] = np.arange(len(a))
    third, fourth = found.third[where], found.fourth[where][:, :, where]
    return [
        found.first,
        found.second,
        *(
            sum(np.transpose(M, order) for order in itertools.permutations(range(M.ndim))) / factorial(M.ndim)
            for M in (third, fourth)
        ),
    ]


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_moments_along_directions_are_contractions_of_full_tensors(k):
    for seed in range(3):
        found = random_moments(seed, k)
        U = np.random.default_rng(100 + seed).standard_normal((6, k))
        values, gradients = found.along(U)
        assert values.shape == (4, 6)
        assert gradients.shape == (4, 6, k)
        for m, M in enumerate(full_tensors(found), 1):
            letters = "abcd"[:m]
            operands = ",".join(["z" + letter for letter in letters])
            expected = np.einsum(f"{letters},{operands}->z", M, *[U] * m)
            np.testing.assert_allclose(values[m - 1], expected, rtol=1e-10, atol=1e-11)
            left = ",".join(["z" + letter for letter in letters[1:]])
            expected = m * np.einsum(f"{letters}{',' * (m > 1)}{left},z->za", M, *[U] * (m - 1), np.ones(6))
            np.testing.assert_allclose(gradients[m - 1], expected, rtol=1e-10, atol=1e-11)


def test_gradients_along_directions_are_finite_differences():
    found = random_moments(0, 4)
    rng = np.random.default_rng(0)
    U, D = rng.standard_normal((2, 5, 4))
    h = 1e-4
    ahead, behind = found.along(U + h * D)[0], found.along(U - h * D)[0]
    np.testing.assert_allclose(np.sum(found.along(U)[1] * D, axis=2), (ahead - behind) / (2 * h), rtol=1e-5, atol=1e-5)


def test_random_directions_are_uniform_unit_vectors_of_the_span():
    found = random_moments(1, 3)
    U = found.random_directions(20_000, np.random.RandomState(0))
    np.testing.assert_allclose(np.linalg.norm(U, axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(U.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(U.T @ U / len(U), np.eye(3) / 3, atol=0.02)
    np.testing.assert_array_equal(U, found.random_directions(20_000, np.random.RandomState(0)))


def test_random_directions_do_not_depend_on_the_basis_of_the_span():
    found = random_moments(2, 3)
    turn = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))[0]
    turned = HermiteMoments(
        **{field.name: getattr(found, field.name) for field in fields(found)} | {"basis": found.basis @ turn}
    )
    a, b = (m.random_directions(7, np.random.RandomState(5)) @ m.basis.T for m in (found, turned))
    np.testing.assert_allclose(a, b, atol=1e-13)


# units that are odd but for a constant


@pytest.mark.parametrize("bias", [0.0, 0.8])
def test_span_of_odd_units_comes_from_the_third_moment(bias):
    """Without biases their second moment vanishes; with them, both moments are used, and count the units."""
    for seed in range(5):
        X, y, teacher = make_one_hidden_layer(
            10_000, 20, 4, activation="tanh", bias=bias, return_teacher=True, random_state=seed
        )
        rows = Rows(X, y)
        coordinates = whitening(rows, centered=True)
        W = np.linalg.qr(coordinates.to_white(teacher.hidden_coef_).T)[0]

        def largest_angle(basis, W=W):
            return np.linalg.norm(W - basis @ (basis.T @ W), 2)

        odd, even = (hermite_moments(rows, coordinates, 4, odd=odd) for odd in (True, False))
        np.testing.assert_allclose(odd.basis.T @ odd.basis, np.eye(4), atol=1e-12)
        assert largest_angle(odd.basis) < 0.2
        if not bias:
            assert largest_angle(even.basis) > 0.7
        assert 3 <= np.sum(odd.spectrum > odd.edge) <= 4


def test_the_spectrum_of_odd_units_is_that_of_the_second_and_the_third_moment_along_the_linear_part():
    for seed in range(3):
        X, y, weight = table(seed)
        rows, p = Rows(X, y, weight), weight / weight.sum()
        coordinates = whitening(rows, centered=True)
        Z, y = (X - p @ X) @ coordinates.columns, y / rows.target_scale()
        linear = (p * y) @ Z
        r = y - p @ y - Z @ linear
        second, third = np.zeros((4, 4)), np.zeros((4, 4))
        for p_i, r_i, z in zip(p, r, Z, strict=True):
            second += p_i * r_i * hermite_tensor(z, 2)
            third += p_i * r_i * hermite_tensor(z, 3) @ linear / np.linalg.norm(linear)
        found = hermite_moments(rows, coordinates, odd=True)
        expected = np.linalg.svd(np.hstack([second, third]))[1]
        np.testing.assert_allclose(found.spectrum, expected, rtol=1e-9)
        edge = (1 + (4 / weight.sum()) ** 0.5) ** 2 - 1 + weight.sum() ** -0.5
        assert found.edge == pytest.approx(1.5 * (p @ r**2) ** 0.5 * edge)


def test_the_edge_of_odd_units_is_above_noise():
    above = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows = Rows(rng.standard_normal((600, 30)), rng.standard_normal(600))
        found = hermite_moments(rows, whitening(rows, centered=True), odd=True)
        above += found.spectrum[0] > found.edge
    assert above <= 1
