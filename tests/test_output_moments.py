"""Moments of several outputs, joint diagonalisation, and the start they make: references, theory and planted units."""

import numpy as np
import pytest
from scipy import sparse

from skrelu import joint_diagonalisation, output_moments
from skrelu.activations import Activation, relu, softplus, squared_relu
from skrelu.datasets import make_two_layer_relu
from skrelu.joint_diagonalisation import _along, _coefficients, _misfit, _slices, jointly_diagonalised
from skrelu.metrics import recovery_error
from skrelu.output_moments import FLOOR, RANK_EPS
from skrelu.rows import Rows
from skrelu.rows import memory as rows_module
from skrelu.starts import BIASES, _bias_of_ratio, two_layer_start
from skrelu.whitening import gearys_ratio, whitening

ACTIVATIONS = {"relu": relu, "squared_relu": squared_relu, "softplus": softplus}
STORAGES = {"dense": np.ascontiguousarray, "csr": sparse.csr_array, "csc": sparse.csc_matrix}


def table(seed, n=300, d=5, m=4):
    """Correlated columns with means, outputs of a network of three units with noise and a linear part, weights."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) * np.arange(1, d + 1) + rng.standard_normal(d)
    hidden = np.maximum(X @ rng.standard_normal((d, 3)) + 1, 0)
    y = hidden @ rng.standard_normal((3, m)) + X @ rng.standard_normal((d, m)) + rng.standard_normal((n, m)) + 3
    return X, y, rng.random(n) + 0.1


def moments_of(X, y, weight=None, n_directions=None):
    rows = Rows(X, y, weight)
    coordinates = whitening(rows, centered=True)
    return output_moments.output_moments(rows, coordinates, n_directions), coordinates


def slow(X, y, weight, coordinates):
    """(whitened x, y in units, residual of its linear fit, weights), row by row."""
    p = np.full(len(X), 1 / len(X)) if weight is None else weight / weight.sum()
    white = (X - p @ X) @ coordinates.columns
    y = y.reshape(len(y), -1)
    centred = y - p @ y
    centred = centred / (p @ np.sum(centred**2, axis=1)) ** 0.5
    root = p[:, None] ** 0.5
    fit = np.linalg.lstsq(root * white, root * centred, rcond=1e-9)[0]
    return white, centred, centred - white @ fit, p


# The moments.


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("block_bytes", [1, 2**20])
def test_moments_are_those_of_explicit_sums(monkeypatch, block_bytes, storage, weighted):
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", block_bytes)
    X, y, weight = table(0)
    weight = weight if weighted else None
    found, coordinates = moments_of(STORAGES[storage](X), y, weight, 3)
    white, centred, residual, p = slow(X, y, weight, coordinates)
    np.testing.assert_allclose(found.mean, p @ y, rtol=1e-12)
    np.testing.assert_allclose(found.covariance, (centred.T * p) @ centred, atol=1e-13)
    assert np.trace(found.covariance) == pytest.approx(1, rel=1e-12)
    C = (residual.T * p) @ residual
    expected = C + FLOOR * np.trace(C) / 4 * np.eye(4)
    np.testing.assert_allclose(found.weighting.T @ expected @ found.weighting, np.eye(4), atol=1e-10)
    np.testing.assert_allclose(found.weighting @ found.weighting.T, np.linalg.inv(expected), rtol=1e-9)
    he_2 = np.einsum("ia,ib->iab", white, white) - np.eye(5)
    second = np.einsum("i,io,iab->oab", p, residual @ found.weighting, he_2)
    values, vectors = np.linalg.eigh(np.einsum("oab,ocb->ac", second, second))
    np.testing.assert_allclose(found.spectrum, values[::-1] ** 0.5, rtol=1e-9)
    np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(3), atol=1e-12)
    leading = vectors[:, ::-1][:, :3]
    np.testing.assert_allclose(found.basis @ found.basis.T, leading @ leading.T, atol=1e-9)
    B = found.basis
    np.testing.assert_allclose(found.second, np.einsum("oab,ak,bl->okl", second, B, B), atol=1e-12)
    first = np.einsum("i,io,ia->oa", p, centred @ found.weighting, white)
    np.testing.assert_allclose(found.first, first @ B, atol=1e-11)
    assert found.output_rank == 4
    n = weight.sum() if weighted else len(X)
    assert found.edge == pytest.approx((5 / n) ** 0.5 * (1 + 2) + n**-0.5)


def test_weights_that_add_up_to_less_than_one_row_tell_as_little_as_one():
    X, y, weight = table(0)
    few, one = (moments_of(X, y, size * weight / weight.sum())[0].edge for size in (0.3, 1.0))
    assert few == pytest.approx(one) == pytest.approx(5**0.5 * (1 + 2) + 1)


def test_the_residual_of_the_linear_fit_makes_the_moments_less_noisy():
    """Control variates: with a linear part ten times as large as the rest, the second moments do not feel it."""
    X, y, _ = table(1, n=500)
    B = np.random.default_rng(0).standard_normal((5, 4))
    plain, _ = moments_of(X, y, None, 3)
    tilted, _ = moments_of(X, y + 100 * X @ B, None, 3)
    np.testing.assert_allclose(tilted.spectrum, plain.spectrum, rtol=1e-8)
    np.testing.assert_allclose(tilted.basis @ tilted.basis.T, plain.basis @ plain.basis.T, atol=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("biased", [False, True])
def test_moments_are_those_of_the_hermite_coefficients(activation, biased):
    """``sum_j P'u_j c_1(b_j) w_j'`` and ``sum_j P'u_j (x) c_2(b_j) w_j w_j'`` for normal inputs, to sampling error."""
    f, rng, n, d, m = ACTIVATIONS[activation], np.random.default_rng(0), 200_000, 4, 3
    L, mean = rng.standard_normal((d, d)) + 2 * np.eye(d), rng.standard_normal(d) * biased
    directions = rng.standard_normal((3, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    b, U = rng.standard_normal(3) * biased, rng.standard_normal((m, 3))
    X = rng.standard_normal((n, d)) @ L.T + mean
    # In x the unit has other weights, of the same length in white coordinates.
    W = directions @ np.linalg.inv(L)
    y = f.value(X @ W.T + b - W @ mean) @ U.T + 5 * biased + 0.1 * rng.standard_normal((n, m))
    found, coordinates = moments_of(X, y, None, d)
    white = coordinates.to_white(W)
    np.testing.assert_allclose(np.linalg.norm(white, axis=1), 1, atol=0.01)
    c = f.hermite_coefficients(2, scale=np.ones(3), bias=b)
    t = Rows(X, y).target_scale(y.mean(axis=0))
    weighted, units = found.weighting.T @ U / t, white @ found.basis
    first = np.einsum("oj,j,jk->ok", weighted, c[1], units)
    second = np.einsum("oj,j,jk,jl->okl", weighted, c[2], units, units)
    # Of the second moments, of variance about that of P'r times He_2 over n; those of the first have that of y.
    np.testing.assert_allclose(found.second, second, atol=8 / n**0.5)
    spread = ((found.weighting.T @ found.covariance) @ found.weighting).diagonal().max() ** 0.5
    np.testing.assert_allclose(found.first, first, atol=8 * (1 + spread) / n**0.5)


def test_outputs_in_other_axes_have_the_same_spectrum_and_span():
    X, y, weight = table(2)
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    plain, _ = moments_of(X, y, weight, 3)
    turned, _ = moments_of(X, -7 * y @ Q + np.arange(4), weight, 3)
    np.testing.assert_allclose(turned.spectrum, plain.spectrum, rtol=1e-9)
    np.testing.assert_allclose(turned.basis @ turned.basis.T, plain.basis @ plain.basis.T, atol=1e-9)
    np.testing.assert_allclose(turned.covariance, Q.T @ plain.covariance @ Q, atol=1e-12)
    assert turned.edge == plain.edge


def test_inputs_in_other_coordinates_have_the_same_spectrum():
    X, y, weight = table(3)
    A = np.random.default_rng(0).standard_normal((5, 5)) + 3 * np.eye(5)
    plain, there = moments_of(X, y, weight, 3)
    moved, here = moments_of(X @ A.T - 20, y, weight, 3)
    np.testing.assert_allclose(moved.spectrum, plain.spectrum, rtol=1e-8)
    p = weight / weight.sum()
    seen = [((Z - p @ Z) @ c.columns) @ m.basis for Z, c, m in [(X, there, plain), (X @ A.T - 20, here, moved)]]
    np.testing.assert_allclose(seen[0] @ seen[0].T, seen[1] @ seen[1].T, atol=1e-7)


def test_weights_repeat_rows():
    X, y, _ = table(4)
    counts = np.random.default_rng(0).integers(0, 4, len(X)).astype(float)
    weighted, _ = moments_of(X, y, counts)
    repeated, _ = moments_of(np.repeat(X, counts.astype(int), axis=0), np.repeat(y, counts.astype(int), axis=0))
    np.testing.assert_allclose(weighted.spectrum, repeated.spectrum, rtol=1e-9)
    np.testing.assert_allclose(weighted.covariance, repeated.covariance, atol=1e-12)
    assert weighted.edge == pytest.approx(repeated.edge, rel=1e-12)
    assert weighted.basis.shape == repeated.basis.shape


def test_the_rank_of_outputs_is_that_of_the_data_in_single_precision():
    """Ten outputs of ten units: variances from 1 to 1e-4 of the largest, far above the squared rounding of y."""
    for seed in range(5):
        X, y = make_two_layer_relu(n_samples=500, n_features=50, n_hidden=10, n_outputs=10, random_state=seed)
        assert moments_of(X.astype(np.float32), y.astype(np.float32))[0].output_rank == 10
        low = y @ np.ones((10, 1)) @ np.ones((1, 10)) + np.outer(y[:, 0], np.arange(10))
        assert moments_of(X.astype(np.float32), low.astype(np.float32))[0].output_rank == 2


def test_float32_is_float64_to_its_accuracy():
    X, y, weight = table(5)
    exact, _ = moments_of(X, y, weight, 3)
    single, _ = moments_of(*(part.astype(np.float32) for part in (X, y, weight)), 3)
    np.testing.assert_allclose(single.spectrum, exact.spectrum, atol=1e-3)
    np.testing.assert_allclose(single.basis @ single.basis.T, exact.basis @ exact.basis.T, atol=1e-2)
    assert single.second.dtype == single.first.dtype == np.float64


# Ranks, numbers of directions, and what is flat.


def test_directions_above_the_edge_are_counted():
    """Few units, more outputs than units: as many directions as units, without being told."""
    for seed in range(5):
        X, y, _ = make_two_layer_relu(5000, 20, 4, 6, noise=0.1, return_teacher=True, random_state=seed)
        found, _ = moments_of(X, y)
        assert found.basis.shape == (20, 4)
        assert np.sum(found.spectrum > found.edge) == 4
        assert found.output_rank == 6


def test_without_noise_the_rank_of_the_outputs_is_the_number_of_units():
    """Few rows: fewer directions than units are above the edge; the rank says how many there are."""
    for seed in range(5):
        X, y, _ = make_two_layer_relu(60, 20, 4, 6, return_teacher=True, random_state=seed)
        found, _ = moments_of(X, y)
        assert found.output_rank == 4
        assert found.weighting.shape == (6, 4)
        assert found.basis.shape == (20, max(4, np.sum(found.spectrum > found.edge)))
    # Not if they are of full rank: then there may be any number of units.
    X, y, _ = make_two_layer_relu(60, 20, 4, 4, return_teacher=True, random_state=0)
    found, _ = moments_of(X, y)
    assert found.output_rank == 4
    assert found.basis.shape[1] == max(1, np.sum(found.spectrum > found.edge))


def test_the_rank_is_told_by_the_documented_bound():
    X, y, _ = table(6)
    eps = np.finfo(float).eps
    for share, rank in [(0.1, 4), (10.0, 5)]:
        extra = np.random.default_rng(0).standard_normal(len(X))
        extra -= (
            np.column_stack([y, X, np.ones(len(X))])
            @ np.linalg.lstsq(np.column_stack([y, X, np.ones(len(X))]), extra, rcond=None)[0]
        )
        largest = np.linalg.eigvalsh(np.cov(y.T, ddof=0))[-1]
        extra *= (share * RANK_EPS * eps * largest) ** 0.5 / extra.std()
        found, _ = moments_of(X, np.column_stack([y, extra]))
        assert found.output_rank == rank


@pytest.mark.parametrize("n_directions", [None, 1, 3, 9])
@pytest.mark.parametrize("kind", ["linear", "constant", "zero", "wide", "one row", "constant column"])
def test_flat_data_have_finite_moments(kind, n_directions):
    rng = np.random.default_rng(7)
    X = rng.standard_normal((1 if kind == "one row" else 30, 4)) * [1, 10, 100, 1000] + 5
    m = 50 if kind == "wide" else 3
    y = X @ rng.standard_normal((4, m)) if kind == "linear" else rng.standard_normal((len(X), m))
    if kind in ("constant", "zero"):
        y = np.full((30, 3), 2.0 * (kind == "constant"))
    if kind == "constant column":
        X[:, 1] = 7
    found, coordinates = moments_of(X, y, None, n_directions)
    for part in (found.basis, found.spectrum, found.mean, found.covariance, found.weighting, found.first, found.second):
        assert np.all(np.isfinite(part))
    if kind in ("linear", "constant", "zero"):
        # Nothing but a linear part: no direction is above the noise.
        assert found.spectrum[0] < 1e-6
        assert found.basis.shape[1] == (1 if n_directions is None and kind != "linear" else found.basis.shape[1])
    assert found.output_rank <= min(m, len(X) - 1)
    assert 1 <= found.basis.shape[1] <= max(1, coordinates.rank)
    k = found.basis.shape[1] + 2
    hidden, bias = two_layer_start(coordinates, found, relu, k, np.random.RandomState(0))
    assert hidden.shape == (k, 4)
    assert bias.shape == (k,)
    assert np.all(np.isfinite(hidden))
    assert np.all(np.isfinite(bias))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rounding_of_a_linear_function_is_no_moment(dtype):
    """Weighted by its own covariance the residual, rounding, would look like units."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = (rng.standard_normal((200, 6)) * np.geomspace(1, 1e3, 6) + 10).astype(dtype)
        y = X @ rng.standard_normal((6, 3)).astype(dtype)
        found, _ = moments_of(X, y)
        assert found.spectrum[0] < 1e3 * np.finfo(dtype).eps
        assert found.spectrum[0] < found.edge


def test_outputs_of_small_variance_are_left_out_where_the_tensor_would_be_too_large(monkeypatch):
    X, y, _ = table(8)
    full, _ = moments_of(X, y, None, 3)
    monkeypatch.setattr(output_moments, "MAX_ENTRIES", 2 * 5**2 + 1)
    short, coordinates = moments_of(X, y, None, 3)
    assert short.weighting.shape == (4, 2)
    _, _, residual, p = slow(X, y, None, coordinates)
    values, vectors = np.linalg.eigh((residual.T * p) @ residual)
    expected = vectors[:, -2:] / np.sqrt(values[-2:] + FLOOR * values[-2:].mean())
    np.testing.assert_allclose(short.weighting @ short.weighting.T, expected @ expected.T, rtol=1e-9)
    assert short.edge < full.edge
    monkeypatch.setattr(output_moments, "MAX_ENTRIES", 1)
    assert moments_of(X, y, None, 3)[0].weighting.shape == (4, 1)


def shares_of_the_edge(n, d, m, seeds):
    """Of pure noise, of any covariance: the largest of the spectrum, in units of the edge."""
    shares = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        y = rng.standard_normal((n, m)) @ rng.standard_normal((m, m))
        found, _ = moments_of(rng.standard_normal((n, d)), y)
        shares.append(found.spectrum[0] / found.edge)
    return np.array(shares)


NOISES = [(100, 5, 1), (200, 10, 3), (60, 20, 3), (300, 30, 1), (1000, 5, 30), (5000, 3, 1), (500, 20, 8)]


@pytest.mark.parametrize(("n", "d", "m"), NOISES)
def test_noise_alone_stays_below_the_edge(n, d, m):
    """But in about one of twenty samples, and then not by much: of so many at most the mean and three deviations."""
    shares = shares_of_the_edge(n, d, m, range(20))
    assert np.sum(shares > 1) <= 4
    assert shares.max() < 1.25


@pytest.mark.slow
@pytest.mark.parametrize(("n", "d", "m"), NOISES)
def test_noise_alone_stays_below_the_edge_in_many_samples(n, d, m):
    shares = shares_of_the_edge(n, d, m, range(1000, 1200))
    assert np.mean(shares > 1) <= 0.1
    assert np.quantile(shares, 0.9) < 1
    assert shares.max() < 1.5


def test_the_edge_is_that_of_free_probability():
    """In large dimensions the largest singular value comes near it: it is not just a bound."""
    shares = shares_of_the_edge(4000, 60, 10, range(2))
    assert np.all(shares > 0.85)


# Joint diagonalisation.


def terms(seed, k, q, n_terms=None):
    rng = np.random.default_rng(seed)
    v = rng.standard_normal((n_terms or k, k))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    return v, rng.standard_normal((n_terms or k, q))


def tensor_of(v, u):
    return np.einsum("jo,jk,jl->okl", u, v, v)


def diagonalised(T, n_terms, seed=0):
    return jointly_diagonalised(T, n_terms, np.eye(T.shape[1]), np.random.RandomState(seed))


def error_of(v, u, found_v, found_u):
    """Of v (x) v and u, after the best matching."""
    truth = np.einsum("jk,jl,jo->jklo", v, v, u).reshape(len(v), -1)
    return recovery_error(truth, np.einsum("jk,jl,jo->jklo", found_v, found_v, found_u).reshape(len(found_v), -1))


CASES = [(2, 2, 2), (3, 5, 3), (5, 8, 5), (6, 3, 6), (8, 4, 5), (10, 10, 10), (10, 2, 4)]  # k, q, n_terms


def exact_errors(k, q, n_terms, seeds):
    """(errors of the terms, misfit of their sum), of tensors whose v_j are no nearer to each other than `PARALLEL`."""
    errors, misfits = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        v, u = terms(seed, k, q, n_terms)
        while np.any(np.abs(np.triu(v @ v.T, 1)) > joint_diagonalisation.PARALLEL):
            v, u = terms(int(rng.integers(2**31)), k, q, n_terms)
        T = tensor_of(v, u)
        found = diagonalised(T, n_terms, seed)
        np.testing.assert_allclose(np.linalg.norm(found[0], axis=1), 1, rtol=1e-12)
        errors.append(error_of(v, u, *found))
        misfits.append(np.linalg.norm(T - tensor_of(*found)) / np.linalg.norm(T))
    return np.array(errors), np.array(misfits)


# L-BFGS sees squares of misfits: it ends where these are rounding, misfits of 1e-6 or so, not of 1e-15.


@pytest.mark.parametrize(("k", "q", "n_terms"), [case for case in CASES if case[1] >= case[2]])
def test_exact_tensors_are_recovered(k, q, n_terms):
    errors, misfits = exact_errors(k, q, n_terms, range(8))
    assert np.all(misfits < 1e-4)
    assert np.all(errors < 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("k", "q", "n_terms"), [case for case in CASES if case[1] >= case[2]])
def test_exact_tensors_are_recovered_in_many_cases(k, q, n_terms):
    errors, misfits = exact_errors(k, q, n_terms, range(100, 200))
    assert np.mean(misfits < 1e-4) >= 0.98
    assert np.mean(errors < 1e-3) >= 0.98


def test_more_terms_than_slices_are_recovered_as_a_rule():
    """The u_j cannot be orthogonal: not all v_j are maxima, and local minima remain."""
    errors, misfits = exact_errors(6, 3, 5, range(4))
    assert np.sum(misfits < 1e-3) >= 3
    assert np.sum(errors < 2e-2) >= 3


@pytest.mark.slow
@pytest.mark.parametrize(("k", "q", "n_terms"), [case for case in CASES if case[1] < case[2]])
def test_more_terms_than_slices_are_recovered_in_most_cases(k, q, n_terms):
    errors, misfits = exact_errors(k, q, n_terms, range(100, 130))
    # Four terms of two slices are hardest: 24 of 30 were found.
    assert np.mean(misfits < 1e-3) >= (0.7 if q == 2 else 0.85)
    assert np.mean(errors < 2e-2) >= (0.7 if q == 2 else 0.85)


@pytest.mark.parametrize("factor", [1e-8, 1.0, 1e8])
def test_the_size_of_a_tensor_does_not_matter(factor):
    v, u = terms(3, 5, 6)
    assert error_of(v, factor * u, *diagonalised(factor * tensor_of(v, u), 5)) < 1e-5


def test_a_single_slice_has_its_eigenvectors():
    A = np.random.default_rng(0).standard_normal((6, 6))
    A = A + A.T
    values, vectors = np.linalg.eigh(A)
    order = np.argsort(-np.abs(values))
    for n_terms in (3, 6, 9):
        v, u = diagonalised(A[None], n_terms)
        assert v.shape == (min(n_terms, 6), 6)
        np.testing.assert_allclose(u[:, 0], values[order][:n_terms], rtol=1e-12)
        np.testing.assert_allclose(np.abs(np.sum(v * vectors[:, order].T[:n_terms], axis=1)), 1, rtol=1e-10)


def test_misfit_and_its_gradient():
    """Half the squared misfit but for that of zero, at the best u_j, against dense least squares and differences."""
    rng = np.random.default_rng(1)
    T = rng.standard_normal((3, 4, 4))
    T = T + T.transpose(0, 2, 1)
    for n_terms in (2, 4, 6):
        theta = rng.standard_normal(4 * n_terms)
        value, gradient = _misfit(theta, T)
        v = theta.reshape(-1, 4)
        v = v / np.linalg.norm(v, axis=1, keepdims=True)
        columns = np.einsum("jk,jl->klj", v, v).reshape(16, -1)
        u, *_ = np.linalg.lstsq(columns, T.reshape(3, 16).T, rcond=None)
        np.testing.assert_allclose(_coefficients(v @ v.T, _along(_slices(T, v), v)), u, rtol=1e-6, atol=1e-9)
        rest = np.sum((columns @ u - T.reshape(3, 16).T) ** 2)
        assert value == pytest.approx((rest - np.sum(T**2)) / 2, rel=1e-9)
        h = 1e-6
        numeric = [(_misfit(theta + h * e, T)[0] - _misfit(theta - h * e, T)[0]) / (2 * h) for e in np.eye(len(theta))]
        np.testing.assert_allclose(gradient, numeric, atol=1e-6 * np.abs(gradient).max())
        np.testing.assert_allclose(np.sum(gradient.reshape(-1, 4) * theta.reshape(-1, 4), axis=1), 0, atol=1e-10)


def test_the_signs_of_the_basis_do_not_matter():
    """Eigenvectors have signs that rounding may turn over: the terms in n_features dimensions stay where they are."""
    rng = np.random.default_rng(2)
    basis = np.linalg.qr(rng.standard_normal((9, 4)))[0]
    v, u = terms(2, 4, 3)
    T = tensor_of(v, u) + 0.05 * tensor_of(*terms(5, 4, 3, 8))
    for signs in np.array([[1.0, 1, 1, 1], [1, -1, 1, 1], [-1, 1, -1, -1]]):
        plain = jointly_diagonalised(T, 4, basis, np.random.RandomState(0))
        turned = jointly_diagonalised(T * np.outer(signs, signs), 4, basis * signs, np.random.RandomState(0))
        np.testing.assert_allclose(turned[0] * signs, plain[0], atol=1e-5)
        np.testing.assert_allclose(turned[1], plain[1], atol=1e-5)


def test_a_little_noise_does_little():
    errors = {}
    for noise in (1e-3, 1e-2):
        errors[noise] = []
        for seed in range(6):
            v, _ = terms(seed, 5, 5)
            u = np.linalg.qr(np.random.default_rng(seed).standard_normal((5, 5)))[0]
            E = np.random.default_rng(seed).standard_normal((5, 5, 5))
            found = diagonalised(tensor_of(v, u) + noise * (E + E.transpose(0, 2, 1)) / 2, 5)
            errors[noise].append(error_of(v, u, *found))
    assert max(errors[1e-3]) < 0.02
    assert max(errors[1e-2]) < 0.2
    assert 3 < np.median(errors[1e-2]) / np.median(errors[1e-3]) < 30


@pytest.mark.parametrize("flaw", ["parallel u", "same v", "dependent v", "zero", "too many", "one entry"])
def test_tensors_whose_terms_are_not_unique_are_fitted_and_finite(flaw):
    v, u = terms(4, 4, 3)
    if flaw == "parallel u":
        u[1] = -2 * u[0]
    elif flaw == "same v":
        v[1] = v[0]
    elif flaw == "dependent v":
        v[1] = (v[0] + v[2]) / np.linalg.norm(v[0] + v[2])
    elif flaw == "zero":
        u[:] = 0
    elif flaw == "one entry":
        v, u = v[:1], u[:1]
    T = tensor_of(v, u)
    n_terms = 7 if flaw == "too many" else 4
    found_v, found_u = diagonalised(T, n_terms)
    assert np.all(np.isfinite(found_v))
    assert np.all(np.isfinite(found_u))
    np.testing.assert_allclose(tensor_of(found_v, found_u), T, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(found_v, axis=1), 1, rtol=1e-12)


def test_the_same_draws_give_the_same_terms():
    v, u = terms(6, 4, 4)
    one, same = diagonalised(tensor_of(v, u), 4, 1), diagonalised(tensor_of(v, u), 4, 1)
    np.testing.assert_array_equal(one[0], same[0])
    np.testing.assert_array_equal(one[1], same[1])


class Spy:
    """`minimize` of the joint fit, what it started from and came to."""

    def __init__(self, monkeypatch):
        self.starts, self.fits, self.minimize = [], [], joint_diagonalisation.minimize
        monkeypatch.setattr(joint_diagonalisation, "minimize", self)

    def __call__(self, f, start, **options):
        self.starts.append(start)
        self.fits.append(self.minimize(f, start, **options))
        return self.fits[-1]


def test_further_starts_follow_only_where_maxima_are_missing(monkeypatch):
    spy = Spy(monkeypatch)
    diagonalised(tensor_of(np.eye(5), np.eye(5)), 5)
    assert len(spy.fits) == 1
    # Fewer maxima than terms, and no two fits that agree.
    monkeypatch.setattr(joint_diagonalisation, "MARGIN", -1.0)
    spy = Spy(monkeypatch)
    T = tensor_of(*terms(1, 3, 3, 3))
    found, _ = diagonalised(T, 7)
    assert len(spy.fits) == 1 + joint_diagonalisation.RANDOM_STARTS
    # By turns with the maxima, and with random directions alone.
    k = len(joint_diagonalisation._power_directions(T / np.linalg.norm(T), 7, np.eye(3), np.random.RandomState(0)))
    first, second, third = (np.reshape(start, (7, 3))[:k] for start in spy.starts[:3])
    np.testing.assert_allclose(third, first, atol=1e-12)
    assert np.abs(second - first).max() > 0.01
    best = min(spy.fits, key=lambda fit: fit.fun)
    np.testing.assert_array_equal(found, joint_diagonalisation._unit(best.x.reshape(7, -1)))


def test_a_start_that_agrees_with_the_best_before_ends_the_search(monkeypatch):
    numbers = []
    for seed in range(12):
        E = np.random.default_rng(seed).standard_normal((4, 6, 6))
        spy = Spy(monkeypatch)
        found, _ = diagonalised(tensor_of(*terms(seed, 6, 4)) + 0.1 * (E + E.transpose(0, 2, 1)), 6, seed)
        monkeypatch.undo()
        values = [fit.fun for fit in spy.fits]
        agree = [abs(b - min(values[:i])) <= 1e-6 * abs(min(values[:i])) for i, b in enumerate(values) if i]
        assert not any(agree[:-1])
        numbers.append((len(values), bool(agree and agree[-1])))
        # The earlier of the two is kept.
        kept = spy.fits[int(np.argmin(values[: -1 if numbers[-1][1] else None]))]
        np.testing.assert_array_equal(found, joint_diagonalisation._unit(kept.x.reshape(6, -1)))
    searches = [number for number in numbers if number[0] > 1]
    assert all(agreed or n == 1 + joint_diagonalisation.RANDOM_STARTS for n, agreed in searches)
    assert sum(agreed for _, agreed in searches) >= 3
    assert max(n for n, agreed in searches if agreed) > 2


# The start.


def start(X, y, k, f=relu, weight=None, seed=0, **options):
    found, coordinates = moments_of(X, y, weight, k)
    return two_layer_start(coordinates, found, f, k, np.random.RandomState(seed), **options)


def start_errors(d, k, m, n, activation, seeds):
    errors = []
    for seed in seeds:
        X, y, teacher = make_two_layer_relu(n, d, k, m, activation=activation, return_teacher=True, random_state=seed)
        hidden, _ = start(X, y, k, ACTIVATIONS[activation], seed=seed)
        # The matching is by signed directions: a unit with the wrong sign is an error of two.
        errors.append(recovery_error(teacher.hidden_coef_, hidden, scale_invariant=True))
    return errors


# Bounds: the largest of twenty measured errors, and a fifth more.
BOUNDS = [
    (20, 5, 8, 1000, "relu", 0.165),
    (50, 10, 10, 2000, "relu", 0.195),
    (20, 5, 8, 1000, "squared_relu", 0.295),
    (50, 10, 10, 2000, "squared_relu", 0.345),
    (10, 3, 4, 50_000, "relu", 0.017),
    (10, 3, 4, 50_000, "squared_relu", 0.029),
    # More units than outputs: a longer tail, of 0.02 as a rule.
    pytest.param(10, 6, 3, 50_000, "relu", 0.12, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("d", "k", "m", "n", "activation", "bound"), BOUNDS)
def test_the_start_is_near_the_planted_units(d, k, m, n, activation, bound):
    assert max(start_errors(d, k, m, n, activation, range(100, 103))) < bound


@pytest.mark.slow
@pytest.mark.parametrize(("d", "k", "m", "n", "activation", "bound"), BOUNDS)
def test_the_start_is_near_the_planted_units_in_many_samples(d, k, m, n, activation, bound):
    errors = start_errors(d, k, m, n, activation, range(200, 220))
    assert np.sum(np.array(errors) > bound) <= 1


def test_the_error_of_the_start_falls_like_one_over_root_n():
    few, many = (np.median(start_errors(10, 3, 4, n, "relu", range(5))) for n in (2000, 32_000))
    assert 2.5 < few / many < 6.5


@pytest.mark.parametrize("activation", ["relu", "squared_relu"])
def test_biases_and_signs_are_told_by_the_first_moments(activation):
    """In inputs of any mean and covariance, in any units of y: after mapping back, biases are near the planted ones."""
    f, bias = ACTIVATIONS[activation], np.array([0.5, -0.4, 0.2, -0.7])
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X, y, teacher = make_two_layer_relu(
            40_000, 8, 4, 5, activation=f, bias=bias, output_bias=3.0, return_teacher=True, random_state=seed
        )
        A = rng.standard_normal((8, 8)) + 3 * np.eye(8)
        mean = rng.standard_normal(8)
        hidden, b = start(X @ A.T + mean, 100 * y, 4, f)
        found = np.column_stack([hidden @ A, b + hidden @ mean])
        truth = np.column_stack([teacher.hidden_coef_, bias])
        # Units of length one in whitened coordinates, which are those of the planted x.
        np.testing.assert_allclose(np.linalg.norm(found[:, :-1], axis=1), 1, atol=0.03)
        assert recovery_error(truth, found) < 0.12


def test_without_intercept_there_are_no_biases():
    """Their moments are those of biases <w_j, mean>: signs are right all the same."""
    for seed in range(4):
        X, _, teacher = make_two_layer_relu(20_000, 8, 4, 5, return_teacher=True, random_state=seed)
        X = X * np.linspace(0.5, 2, 8) + np.random.default_rng(seed).standard_normal(8) / 2
        hidden, b = start(X, teacher.predict(X), 4, fit_intercept=False)
        np.testing.assert_array_equal(b, 0)
        scale = X.std(axis=0)
        assert recovery_error(teacher.hidden_coef_ * scale, hidden * scale, scale_invariant=True) < 0.12


@pytest.mark.parametrize("activation", ["relu", "squared_relu"])
def test_bias_of_a_ratio_is_the_inverse_of_the_ratio(activation):
    f, biases = ACTIVATIONS[activation], np.linspace(-BIASES, BIASES, 57)
    c = f.hermite_coefficients(2, scale=np.ones(57), bias=biases)
    ratios = c[1] / c[2]
    assert np.all(np.diff(ratios) > 0)
    np.testing.assert_allclose(_bias_of_ratio(f, ratios), biases, atol=2e-3)
    np.testing.assert_allclose(_bias_of_ratio(f, np.array([0.0, 1e9])), [-BIASES, BIASES])


def test_activations_without_scale_get_no_bias():
    np.testing.assert_array_equal(_bias_of_ratio(softplus, np.array([0.1, 5.0])), 0)
    shifted = Activation(lambda z: 1 - np.exp(-np.maximum(z, 0)), lambda z: (z > 0) * np.exp(-z), "saturating")
    X, y, teacher = make_two_layer_relu(50_000, 6, 3, 4, activation=shifted, return_teacher=True, random_state=0)
    hidden, b = start(X, y, 3, shifted)
    np.testing.assert_allclose(b, -hidden @ X.mean(axis=0), atol=1e-12)
    assert recovery_error(teacher.hidden_coef_, hidden, scale_invariant=True) < 0.1


def test_more_units_than_directions_are_fitted_and_the_rest_is_random():
    X, y, _ = make_two_layer_relu(3000, 3, 5, 4, return_teacher=True, random_state=0)
    hidden, b = start(X, y, 5)
    assert hidden.shape == (5, 3)
    assert np.all(np.isfinite(b))
    # One output has a matrix of three eigenvectors: the other units are random directions without bias.
    found, coordinates = moments_of(X, y[:, :1], None, 3)
    hidden, b = two_layer_start(coordinates, found, relu, 6, np.random.RandomState(0))
    assert hidden.shape == (6, 3)
    np.testing.assert_allclose((b + hidden @ X.mean(axis=0))[3:], 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(coordinates.to_white(hidden), axis=1), 1, rtol=1e-9)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_one_direction_is_one_unit(noise):
    X, y, teacher = make_two_layer_relu(3000, 4, 1, 3, noise=noise, return_teacher=True, random_state=0)
    found, coordinates = moments_of(X, y)
    assert len(found.second) == (3 if noise else 1)
    assert found.basis.shape == (4, 1)
    hidden, _ = two_layer_start(coordinates, found, relu, 3, np.random.RandomState(0))
    assert recovery_error(teacher.hidden_coef_, hidden[:1], scale_invariant=True) < 0.1
    # The others are not the same again.
    directions = hidden / np.linalg.norm(hidden, axis=1, keepdims=True)
    assert np.abs(np.triu(directions @ directions.T, 1)).max() < 0.999
    np.testing.assert_allclose(np.linalg.norm(coordinates.to_white(hidden), axis=1), 1, rtol=1e-9)


def test_the_start_of_weights_is_that_of_repetition():
    X, y, _ = make_two_layer_relu(2000, 6, 3, 4, return_teacher=True, random_state=1)
    counts = np.random.default_rng(0).integers(0, 4, 2000)
    weighted = start(X, y, 3, weight=counts.astype(float))
    repeated = start(np.repeat(X, counts, axis=0), np.repeat(y, counts, axis=0), 3)
    np.testing.assert_allclose(weighted[0], repeated[0], atol=1e-6)
    np.testing.assert_allclose(weighted[1], repeated[1], atol=1e-6)


@pytest.mark.parametrize("storage", ["csr", "csc"])
def test_the_start_of_sparse_data_is_that_of_dense(storage):
    X, y, _ = make_two_layer_relu(2000, 6, 3, 4, return_teacher=True, random_state=1)
    np.testing.assert_allclose(start(STORAGES[storage](X), y, 3)[0], start(X, y, 3)[0], atol=1e-6)


# Geary's ratio.


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("weighted", [False, True])
def test_gearys_ratio_is_the_mean_deviation_over_the_standard_deviation(storage, weighted):
    X, y, weight = table(9)
    X = np.column_stack([X, np.full(len(X), 4.0)])
    p = weight / weight.sum() if weighted else np.full(len(X), 1 / len(X))
    rows = Rows(STORAGES[storage](X), y, weight if weighted else None)
    ratio, error = gearys_ratio(rows, whitening(rows, centered=True))
    Z = X - p @ X
    expected = (p @ np.abs(Z)) / np.where(np.arange(6) < 5, (p @ Z**2) ** 0.5, 1.0)
    np.testing.assert_allclose(ratio, expected, atol=1e-10)
    assert error == pytest.approx((1 - 3 / np.pi) ** 0.5 / (weight.sum() if weighted else len(X)) ** 0.5)


def test_gearys_ratio_of_normal_columns_has_the_stated_mean_and_error():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.standard_normal((2000, 400)) * 7 - 3, rng.standard_t(3, (2000, 1))])
    X = np.column_stack([X, np.where(np.arange(2000) % 2, 1.0, 5.0)])
    rows = Rows(X, X[:, 0])
    ratio, error = gearys_ratio(rows, whitening(rows, centered=True))
    off = (ratio - (2 / np.pi) ** 0.5) / error
    # 400 columns: mean within 4 / sqrt(400), deviation within 4 / sqrt(800).
    assert abs(off[:400].mean()) < 0.2
    assert abs(off[:400].std() - 1) < 0.15
    assert off[400] < -5
    assert ratio[401] == pytest.approx(1)
