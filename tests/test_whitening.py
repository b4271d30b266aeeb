"""Whitened coordinates: the covariance they have, the weights they map, and what they do to awkward columns."""

import numpy as np
import pytest
from scipy import sparse

from skrelu import whitening as whitening_module
from skrelu.rows import Rows
from skrelu.rows import memory as rows_module
from skrelu.whitening import MANY_COLUMNS, RANK_EPS, least_normal_column, unwhitened, weighted_gram, whitening

STORAGES = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "csr": sparse.csr_array,
    "csr_matrix": sparse.csr_matrix,
    "csc": sparse.csc_array,
}


@pytest.fixture(params=[1, 2**20])
def block_bytes(request, monkeypatch):
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", request.param)


@pytest.fixture(params=["full", "diagonal"])
def kind(request, monkeypatch):
    if request.param == "diagonal":
        monkeypatch.setattr(whitening_module, "MAX_FULL", 2)
    return request.param


def table(seed, n=80, d=5, dtype=np.float64):
    """Return correlated columns of other means and scales, a third of the entries zero, and weights."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) * np.arange(1, d + 1) + rng.standard_normal(d)
    X *= rng.random((n, d)) < 0.67
    return X.astype(dtype), (rng.random(n) + 0.1).astype(dtype)


def columns(X, weight=None, *, centered=True):
    return whitening(Rows(X, np.zeros(X.shape[0], dtype=X.dtype), weight), centered=centered)


def moments(X, weight):
    """Return mean, covariance and second moments in extended precision."""
    X, p = X.astype(np.longdouble), weight.astype(np.longdouble)
    p = p / p.sum()
    mean = p @ X
    return mean, ((X - mean).T * p) @ (X - mean), (X.T * p) @ X


def white(coordinates, X):
    """Return x~ of all rows, from the pieces."""
    result = np.full((X.shape[0], coordinates.size), np.nan)
    for piece, Z in coordinates.whitened(X):
        result[piece] = Z
    return result


def matrix(coordinates):
    """Return T."""
    return coordinates.to_columns(np.eye(coordinates.size)).T


# the covariance


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("centered", [False, True])
def test_whitened_columns_have_covariance_one(block_bytes, storage, weighted, centered):
    for seed in range(3):
        X, weight = table(seed)
        coordinates = columns(STORAGES[storage](X), weight if weighted else None, centered=centered)
        Z = white(coordinates, STORAGES[storage](X))
        p = weight / weight.sum() if weighted else np.full(len(X), 1 / len(X))
        np.testing.assert_allclose((Z.T * p) @ Z, np.eye(5), atol=1e-11)
        assert coordinates.rank == coordinates.size == 5
        if centered:
            np.testing.assert_allclose(p @ Z, 0, atol=1e-12)
            np.testing.assert_allclose(coordinates.center, p @ X, rtol=1e-12)
        else:
            np.testing.assert_array_equal(coordinates.center, 0)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("centered", [False, True])
def test_diagonal_whitening_divides_by_the_sizes_of_the_columns(monkeypatch, block_bytes, storage, centered):
    monkeypatch.setattr(whitening_module, "MAX_FULL", 4)
    X, weight = table(0)
    coordinates = columns(STORAGES[storage](X), weight, centered=centered)
    _, covariance, second = moments(X, weight)
    expected = np.diag(covariance if centered else second).astype(float) ** 0.5
    np.testing.assert_allclose(coordinates.columns, 1 / expected, rtol=1e-12)
    np.testing.assert_allclose(coordinates.inverse, expected, rtol=1e-12)
    np.testing.assert_allclose(coordinates.deviations, np.diag(covariance).astype(float) ** 0.5, rtol=1e-12)
    Z, p = white(coordinates, STORAGES[storage](X)), weight / weight.sum()
    np.testing.assert_allclose(p @ Z**2, 1, rtol=1e-12)
    assert coordinates.rank == 5


def test_the_matrix_is_diagonal_above_max_full_only(monkeypatch):
    X, _ = table(1)
    monkeypatch.setattr(whitening_module, "MAX_FULL", 5)
    assert columns(X).columns.shape == (5, 5)
    monkeypatch.setattr(whitening_module, "MAX_FULL", 4)
    assert columns(X).columns.shape == (5,)


@pytest.mark.parametrize("storage", ["C", "csr", "csc"])
@pytest.mark.parametrize("centered", [False, True])
def test_float32_is_as_accurate_as_float32(kind, storage, centered):
    X, weight = table(2, dtype=np.float32)
    coordinates = columns(STORAGES[storage](X), weight, centered=centered)
    exact = columns(X.astype(np.float64), weight.astype(np.float64), centered=centered)
    assert coordinates.columns.dtype == np.float64
    np.testing.assert_allclose(coordinates.columns, exact.columns, rtol=0, atol=1e-5 * np.abs(exact.columns).max())
    np.testing.assert_allclose(coordinates.deviations, exact.deviations, rtol=1e-5)
    pieces = [Z for _, Z in coordinates.projected(STORAGES[storage](X), np.eye(5))]
    assert all(Z.dtype == np.float32 for Z in pieces)
    np.testing.assert_allclose(np.concatenate(pieces), white(exact, X.astype(np.float64)), rtol=0, atol=1e-4)


# weights and gradients


@pytest.mark.parametrize("centered", [False, True])
def test_weights_map_to_the_columns_and_back(kind, centered):
    """<to_columns(w~), x - center> = <w~, x~>, in both directions."""
    X, weight = table(3)
    coordinates = columns(X, weight, centered=centered)
    W = np.random.default_rng(3).standard_normal((4, 5))
    Z = white(coordinates, X)
    plane = (X - coordinates.center) @ coordinates.to_columns(W).T
    np.testing.assert_allclose(plane, Z @ W.T, atol=1e-11)
    np.testing.assert_allclose(Z @ coordinates.to_white(W).T, (X - coordinates.center) @ W.T, atol=1e-11)
    np.testing.assert_allclose(coordinates.to_white(coordinates.to_columns(W)), W, atol=1e-11)
    np.testing.assert_allclose(coordinates.to_columns(coordinates.to_white(W)), W, atol=1e-11)


def test_gradients_are_pulled_back_by_the_adjoint(kind):
    X, weight = table(4)
    coordinates = columns(X, weight)
    rng = np.random.default_rng(4)
    W, G = rng.standard_normal((2, 4, 5))
    np.testing.assert_allclose(
        np.sum(coordinates.to_columns(W) * G), np.sum(W * coordinates.pull_back(G)), rtol=1e-12, atol=1e-12
    )


def test_variances_are_those_of_the_columns_in_white_coordinates(kind):
    """w~' (T'ST) w~ = w' S w for w = T w~."""
    X, weight = table(5)
    coordinates = columns(X, weight)
    _, covariance, _ = moments(X, weight)
    W = np.random.default_rng(5).standard_normal((6, 5))
    expected = coordinates.to_columns(W) ** 2 @ np.diag(covariance).astype(float)
    np.testing.assert_allclose(np.sum(W @ coordinates.variances * W, axis=1), expected, rtol=1e-11)
    np.testing.assert_array_equal(coordinates.variances, coordinates.variances.T)


@pytest.mark.parametrize("storage", STORAGES)
def test_projections_are_those_of_the_whitened_rows(block_bytes, kind, storage):
    X, weight = table(6)
    coordinates = columns(STORAGES[storage](X), weight)
    B = np.random.default_rng(6).standard_normal((5, 3))
    result = np.full((len(X), 3), np.nan)
    for piece, ZB in coordinates.projected(STORAGES[storage](X), B):
        result[piece] = ZB
    np.testing.assert_allclose(result, (X - coordinates.center) @ matrix(coordinates) @ B, atol=1e-11)
    np.testing.assert_allclose(white(coordinates, STORAGES[storage](X)) @ B, result, atol=1e-11)


# columns that do not vary, or not on their own


def dependent(seed, scales=1.0):
    """Return 6 columns of rank 3 after centring: two collinear with others, one constant."""
    X, weight = table(seed, n=60, d=3)
    X = np.column_stack([X, 2 * X[:, 0] - 3, X[:, 1] - X[:, 2], np.full(60, 0.1)])
    return X * scales, weight


@pytest.mark.parametrize("storage", ["C", "csr", "csc"])
@pytest.mark.parametrize("scales", [1.0, 10.0 ** np.array([150, -150, 3, -8, 80, 20])])
def test_directions_of_no_variance_are_left_out(block_bytes, storage, scales):
    for seed in range(3):
        X, weight = dependent(seed, scales)
        coordinates = columns(STORAGES[storage](X), weight)
        assert coordinates.rank == 3
        Z, p = white(coordinates, STORAGES[storage](X)), weight / weight.sum()
        covariance = (Z.T * p) @ Z
        np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(covariance)), [0, 0, 0, 1, 1, 1], atol=1e-9)
        np.testing.assert_allclose(covariance @ covariance, covariance, atol=1e-9)
        # No row can tell weights apart that have the same image.
        W = np.random.default_rng(seed).standard_normal((4, 6)) / np.where(np.arange(6) == 5, 1, scales)
        white_weights = coordinates.to_white(W)
        plane = (X - coordinates.center) @ W.T
        np.testing.assert_allclose(Z @ white_weights.T, plane, atol=1e-9 * np.abs(plane).max())
        again = coordinates.to_columns(white_weights)
        np.testing.assert_allclose((X - coordinates.center) @ again.T, plane, atol=1e-9 * np.abs(plane).max())
        np.testing.assert_allclose(coordinates.to_white(again), white_weights, atol=1e-8 * np.abs(white_weights).max())


@pytest.mark.parametrize("storage", ["C", "csr", "csc"])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1e8, 1e-300, 1e20, 1e150])
def test_constant_columns_get_no_weight(kind, storage, value):
    """A weight that is rounding must be so beside the value that it multiplies."""
    X, weight = table(7)
    X[:, 1] = value
    coordinates = columns(STORAGES[storage](X), weight)
    assert coordinates.rank == 4
    assert np.all(np.abs(coordinates.to_columns(np.ones((2, 5)))[:, 1] * value) < 1e-12)
    assert np.all(np.isfinite(coordinates.to_white(np.ones((2, 5)))))
    others = np.delete(X, 1, axis=1)
    expected = white(columns(others, weight), others)
    Z = white(coordinates, STORAGES[storage](X))
    np.testing.assert_allclose(np.delete(Z, 1, axis=1), expected, atol=1e-11)
    np.testing.assert_allclose(Z[:, 1], 0, atol=1e-11)


def test_constant_column_counts_about_zero(kind):
    """It has a second moment, and no variance."""
    X, weight = table(8)
    X[:, 1] = 3.0
    coordinates = columns(X, weight, centered=False)
    assert coordinates.rank == 5
    assert coordinates.deviations[1] <= 1e-7
    _, covariance, _ = moments(X, weight)
    np.testing.assert_allclose(coordinates.deviations[2:], np.diag(covariance).astype(float)[2:] ** 0.5, rtol=1e-11)


@pytest.mark.parametrize("centered", [False, True])
def test_a_column_of_zeros_counts_nowhere(kind, centered):
    X, weight = table(9)
    X[:, 3] = 0
    coordinates = columns(X, weight, centered=centered)
    assert coordinates.rank == 4
    assert coordinates.deviations[3] == 0 or centered  # of a constant column any unit serves
    np.testing.assert_array_equal(white(coordinates, X)[:, 3], 0)


def test_constant_columns_have_no_standard_deviation(kind):
    X, weight = table(9)
    X[:, 3], X[:, 1] = 0.0, 7.0
    deviations = columns(X, weight).deviations
    np.testing.assert_array_equal(deviations[[1, 3]], 0)
    _, covariance, _ = moments(X, weight)
    np.testing.assert_allclose(deviations[[0, 2, 4]], np.diag(covariance).astype(float)[[0, 2, 4]] ** 0.5, rtol=1e-12)


def test_one_row_has_no_directions(kind):
    coordinates = columns(np.array([[1.0, 2.0, 3.0]]))
    assert coordinates.rank == 0
    np.testing.assert_array_equal(white(coordinates, np.array([[1.0, 2.0, 3.0]])), 0)
    np.testing.assert_array_equal(coordinates.to_columns(np.ones((2, 3))), 0)


def test_rank_is_at_most_that_of_few_rows():
    for seed in range(5):
        X = np.random.default_rng(seed).standard_normal((6, 9))
        assert columns(X).rank == 5
        assert columns(X, centered=False).rank == 6


def test_nearly_collinear_columns_are_told_apart_above_the_documented_threshold():
    """x2 = x1 + e: the covariance of the scaled columns has the eigenvalue var(e) / 2 beside 2."""
    rng = np.random.default_rng(0)
    a, e = rng.standard_normal((2, 500))
    eps = np.finfo(float).eps
    for factor, rank in ((0.1, 1), (10.0, 2)):
        X = np.column_stack([a, a + e * (4 * factor * RANK_EPS * eps) ** 0.5])
        assert columns(X).rank == rank


# scales and shifts


@pytest.mark.parametrize("storage", ["C", "csr", "csc"])
@pytest.mark.parametrize("centered", [False, True])
def test_whitened_rows_do_not_depend_on_the_units_of_columns(kind, storage, centered):
    """T has symmetric roots: no sign is turned over, and the scaled columns are the same to rounding."""
    scales = 10.0 ** np.array([150, -150, 0, 7, -40])
    for seed in range(3):
        X, weight = table(seed)
        plain = columns(STORAGES[storage](X), weight, centered=centered)
        scaled = columns(STORAGES[storage](X * scales), weight, centered=centered)
        np.testing.assert_allclose(
            white(scaled, STORAGES[storage](X * scales)), white(plain, STORAGES[storage](X)), atol=1e-10
        )
        np.testing.assert_allclose(scaled.deviations, plain.deviations * scales, rtol=1e-12)
        np.testing.assert_allclose(scaled.variances, plain.variances, rtol=1e-10, atol=1e-10)
        assert scaled.rank == 5


def test_whitening_commutes_with_permutations_and_signs_of_columns(kind):
    """Also from symmetric roots: x~ of permuted columns is x~, permuted."""
    X, weight = table(10)
    order, signs = np.array([3, 0, 4, 1, 2]), np.array([1, -1, -1, 1, -1])
    plain, moved = columns(X, weight), columns(X[:, order] * signs, weight)
    np.testing.assert_allclose(white(moved, X[:, order] * signs), white(plain, X)[:, order] * signs, atol=1e-11)


@pytest.mark.parametrize("storage", ["C", "csr", "csc"])
def test_shifted_columns_have_the_same_whitening(kind, storage):
    """The shift 1e8 leaves eight digits of the columns: entries are multiples of 1/64, so that it adds no rounding."""
    for seed in range(3):
        X, weight = table(seed)
        X = np.round(X * 64) / 64
        plain = columns(STORAGES[storage](X), weight)
        shifted = columns(STORAGES[storage](X + 1e8), weight)
        assert shifted.rank == 5
        np.testing.assert_allclose(shifted.deviations, plain.deviations, rtol=1e-7)
        np.testing.assert_allclose(white(shifted, STORAGES[storage](X + 1e8)), white(plain, X), atol=3e-6)


@pytest.mark.parametrize("shift", [1e3, 1e6, 1e8])
def test_standard_deviations_about_zero_are_those_about_the_mean(kind, shift):
    """Whatever the centre, `deviations` are what the penalty of a network is measured in."""
    X, weight = table(11)
    X = np.round(X * 64) / 64 + shift
    _, covariance, _ = moments(X, weight)
    deviations = columns(X, weight, centered=False).deviations
    np.testing.assert_allclose(deviations, np.diag(covariance).astype(float) ** 0.5, rtol=1e-6)


# weights of rows, and purity


@pytest.mark.parametrize("centered", [False, True])
def test_weights_are_repetition(kind, centered):
    X, _ = table(12)
    counts = np.random.default_rng(12).integers(0, 4, len(X))
    weighted = columns(X, counts.astype(float), centered=centered)
    repeated = columns(np.repeat(X, counts, axis=0), centered=centered)
    scaled = columns(X, 1e-3 * counts, centered=centered)
    for other in (repeated, scaled):
        assert other.rank == weighted.rank
        for name in ("center", "columns", "inverse", "deviations"):
            expected = getattr(weighted, name)
            np.testing.assert_allclose(getattr(other, name), expected, rtol=0, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("storage", STORAGES)
def test_the_data_are_never_modified(kind, storage):
    X, weight = table(13)
    stored, before = STORAGES[storage](X), weight.copy()
    arrays = [stored.data, stored.indices, stored.indptr] if sparse.issparse(stored) else [stored]
    for array in arrays:
        array.flags.writeable = False
    for centered in (True, False):
        coordinates = columns(stored, weight, centered=centered)
        white(coordinates, stored)
        list(coordinates.projected(stored, np.eye(5)))
    np.testing.assert_array_equal(stored.toarray() if sparse.issparse(stored) else stored, X)
    np.testing.assert_array_equal(weight, before)


def test_whitening_takes_three_passes(monkeypatch):
    passes, plain_sum = [0], Rows.sum

    def counting_sum(self, f, *parameters):
        passes[0] += 1
        return plain_sum(self, f, *parameters)

    monkeypatch.setattr(Rows, "sum", counting_sum)
    X, weight = table(14)
    columns(X, weight)
    assert passes[0] == 3
    monkeypatch.setattr(whitening_module, "MAX_FULL", 2)
    passes[0] = 0
    columns(X, weight)
    assert passes[0] == 2


# the user's own coordinates


def test_unwhitened_changes_nothing():
    X, weight = table(15)
    coordinates = unwhitened(columns(X, weight))
    W = np.random.default_rng(15).standard_normal((3, 5))
    for mapped in (coordinates.to_columns(W), coordinates.to_white(W), coordinates.pull_back(W)):
        np.testing.assert_array_equal(mapped, W)
    np.testing.assert_array_equal(white(coordinates, X), X)
    _, covariance, _ = moments(X, weight)
    np.testing.assert_allclose(coordinates.variances, np.diag(np.diag(covariance)).astype(float), rtol=1e-12)
    assert coordinates.rank == 5


# sums of products


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_columns", [MANY_COLUMNS - 1, MANY_COLUMNS])
@pytest.mark.parametrize("signs", ["both", "positive", "negative", "none"])
def test_weighted_gram_is_the_sum_of_weighted_squares(signs, n_columns, dtype):
    rng = np.random.default_rng(0)
    Z, weight = rng.standard_normal((40, n_columns)).astype(dtype), rng.standard_normal(40).astype(dtype)
    weight *= rng.random(40) < 0.8
    weight = {"both": weight, "positive": abs(weight), "negative": -abs(weight), "none": 0 * weight}[signs]
    kept = Z.copy()
    found = weighted_gram(Z, weight)
    np.testing.assert_array_equal(Z, kept)
    assert found.dtype == dtype
    wide = Z.astype(np.float64)
    np.testing.assert_allclose(found, (wide.T * weight) @ wide, atol=200 * np.finfo(dtype).eps)


@pytest.mark.parametrize("n_columns", [MANY_COLUMNS - 1, MANY_COLUMNS])
@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_seen_in_the_gram(lost, n_columns):
    """A residual that overflows must not be left out."""
    Z, weight = np.ones((5, n_columns)), np.array([1.0, -1.0, 0.0, lost, 2.0])
    with np.errstate(invalid="ignore"):
        assert not np.any(np.isfinite(weighted_gram(Z, weight)))


def test_the_least_normal_column_is_furthest_from_a_normal_one_in_standard_errors():
    n, rng = 1000, np.random.default_rng(0)
    two_values = np.arange(n) % 2
    X = np.column_stack([rng.standard_normal(n) * 7 - 3, rng.standard_t(3, n) + 2, rng.random(n)])
    # Rounding of a constant column has two values.
    X = np.column_stack([np.full(n, 5.0), 1e6 + 5e-10 * two_values, X])
    Z = X[:, 2:] - X[:, 2:].mean(axis=0)
    ratio = abs(Z).mean(axis=0) / (Z**2).mean(axis=0) ** 0.5
    off = abs(ratio - (2 / np.pi) ** 0.5) / ((1 - 3 / np.pi) / n) ** 0.5
    assert off.argmax() == 1
    assert least_normal_column(Rows(X, X[:, 0]), columns(X)) == (3, pytest.approx(off[1]))
    assert least_normal_column(Rows(X[:, ::2], X[:, 0]), columns(X[:, ::2])) == (2, pytest.approx(off[2]))
    assert least_normal_column(Rows(X[:, :2], X[:, 0]), columns(X[:, :2]))[1] == 0


@pytest.mark.parametrize("centered", [False, True])
def test_the_inverse_is_the_transposed_pseudo_inverse(kind, centered):
    X, weight = table(21)
    coordinates = columns(np.insert(X, 2, 3.0 if centered else 0.0, axis=1), weight, centered=centered)
    T, inverse = coordinates.columns, coordinates.inverse
    if kind == "diagonal":
        T, inverse = np.diag(T), np.diag(inverse)
    np.testing.assert_allclose(inverse, np.linalg.pinv(T).T, rtol=0, atol=1e-12 * abs(inverse).max())
