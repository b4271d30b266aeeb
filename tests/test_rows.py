"""The row seam: sums over blocks against plain numpy, for every storage, block size and weighting."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse

from skrelu.networks import SingleReLU
from skrelu.rows import Rows, column_blocks
from skrelu.rows import memory as rows_module

STORAGES = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "csr_matrix": sparse.csr_matrix,
    "csc_matrix": sparse.csc_matrix,
    "csr_array": sparse.csr_array,
    "csc_array": sparse.csc_array,
}
SPARSE = [name for name in STORAGES if name.startswith("cs")]
BLOCK_BYTES = [1, 700, 2**20, 2**50]  # 1: the smallest blocks that are made; 2**50: one block


@pytest.fixture(params=BLOCK_BYTES)
def block_bytes(request, monkeypatch):
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", request.param)
    return request.param


@pytest.fixture(params=[*STORAGES, "memmap"])
def store(request, tmp_path):
    """Return the function that stores a dense matrix in one of the ways."""

    def memmap(X):
        stored = np.memmap(tmp_path / "X.bin", dtype=X.dtype, mode="w+", shape=X.shape)
        stored[:] = X
        return stored

    return memmap if request.param == "memmap" else STORAGES[request.param]


def table(seed, n=103, d=5, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.6)
    return X.astype(dtype), rng.standard_normal(n).astype(dtype), rng.random(n).astype(dtype)


def statistics_of_block(X, y, s, w):
    """Return one number, one vector and one matrix."""
    z = X @ w
    return float(s @ (z - y) ** 2), (s * z) @ X, X.T @ (s[:, None] * (X @ np.eye(X.shape[1])))


def recorded_blocks(rows):
    blocks = []
    rows.sum(lambda X, y, s: (blocks.append((X, y, s)) or 0.0,))
    return blocks


# Rows.sum


@pytest.mark.parametrize("weighted", [False, True])
def test_sum_is_the_plain_weighted_sum(store, block_bytes, weighted):
    X, y, weight = table(0)
    w = np.linspace(-1, 1, X.shape[1])
    number, vector, matrix = Rows(store(X), y, weight if weighted else None).sum(statistics_of_block, w)
    p = weight / weight.sum() if weighted else np.full(len(y), 1 / len(y))
    z = X @ w
    np.testing.assert_allclose(number, sum(p * (z - y) ** 2), rtol=1e-13)
    np.testing.assert_allclose(vector, (p * z) @ X, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(matrix, (X.T * p) @ X, rtol=1e-12, atol=1e-15)


def test_every_row_is_seen_once_and_in_order(store, block_bytes):
    X, y, weight = table(1)
    blocks = recorded_blocks(Rows(store(X), y, weight))
    dense = [block.toarray() if sparse.issparse(block) else block for block, _, _ in blocks]
    np.testing.assert_array_equal(np.concatenate(dense), X)
    np.testing.assert_array_equal(np.concatenate([y_b for _, y_b, _ in blocks]), y)
    np.testing.assert_allclose(np.concatenate([s for _, _, s in blocks]), weight / weight.sum(), rtol=1e-15)


@pytest.mark.parametrize("name", ["C", "F", "csr_array", "csr_matrix"])
def test_blocks_follow_block_bytes(monkeypatch, name):
    X, y, _ = table(2, n=400, d=10)
    X[:] = 1.0
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", 50 * 10 * 8)
    blocks = recorded_blocks(Rows(STORAGES[name](X), y))
    assert [len(y_b) for _, y_b, _ in blocks] == [50] * 8


@pytest.mark.parametrize("name", ["C", "F", "csr_array", "csr_matrix"])
def test_blocks_of_wide_rows_keep_at_least_eight(monkeypatch, name):
    X, y, _ = table(2, n=20, d=10)
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", 1)
    blocks = recorded_blocks(Rows(STORAGES[name](X), y))
    assert [len(y_b) for _, y_b, _ in blocks] == [8, 8, 4]


def test_blocks_share_the_memory_of_the_data(store, block_bytes):
    X, y, weight = table(3)
    X = store(X)
    for block, y_b, _ in recorded_blocks(Rows(X, y, weight)):
        assert np.shares_memory(y_b, y)
        if sparse.issparse(X):
            assert np.shares_memory(block.data, X.data)
            assert np.shares_memory(block.indices, X.indices)
            assert type(block) is type(X)
        else:
            assert np.shares_memory(block, X)


def test_blocks_without_weight_are_never_read(store, monkeypatch):
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", 1)
    X, y, weight = table(4, n=40)
    weight[8:24] = 0
    X[8:24] = np.nan if store in (STORAGES["C"], STORAGES["F"]) else X[8:24]
    stored = store(X)
    blocks = recorded_blocks(Rows(stored, y, weight))
    if sparse.issparse(stored) and stored.format == "csc":
        assert len(blocks) == 1
    else:
        assert [y_b[0] for _, y_b, _ in blocks] == [y[0], y[24], y[32]]


def test_weights_are_normalised_and_their_sum_kept(store):
    X, y, weight = table(5)
    rows = Rows(store(X), y, 7 * weight)
    assert rows.weight_sum == pytest.approx(7 * weight.sum(), rel=1e-14)
    assert sum(s.sum() for _, _, s in recorded_blocks(rows)) == pytest.approx(1, rel=1e-14)
    assert (rows.n_samples, rows.n_features, rows.dtype) == (*X.shape, X.dtype)
    unweighted = Rows(store(X), y)
    assert unweighted.weight_sum == len(y)
    assert all(np.all(s == s[0]) for _, _, s in recorded_blocks(unweighted))


@pytest.mark.parametrize("factor", [1e-305, 1e-30, 1e30, 1e305])
def test_weights_of_any_size(factor):
    X, y, weight = table(6)
    rows, plain = Rows(X, y, factor * weight), Rows(X, y, weight)
    assert rows.weight_sum == pytest.approx(factor * weight.sum(), rel=1e-12)
    w = np.ones(X.shape[1])
    for a, b in zip(rows.sum(statistics_of_block, w), plain.sum(statistics_of_block, w), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_float32_stays(store):
    X, y, weight = table(7, dtype=np.float32)
    rows = Rows(store(X), y, weight)
    assert rows.dtype == np.float32
    assert {part.dtype for block in recorded_blocks(rows) for part in block} == {np.dtype(np.float32)}
    for centered in (True, False):
        mean, size = rows.column_statistics(centered=centered)
        assert (mean.dtype, size.dtype) == (np.float32, np.float32)


def test_sum_demands_the_same_parts_of_every_block(monkeypatch):
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", 1)
    X, y, _ = table(8, n=20)
    lengths = iter([1, 2, 2])
    with pytest.raises(ValueError, match="zip"):
        Rows(X, y).sum(lambda X, y, s: (0.0,) * next(lengths))


# column_statistics


def exact_statistics(X, weight, centered):
    """Return means and root mean squares in extended precision, whose range holds the square of any float64."""
    X, p = X.astype(np.longdouble), weight.astype(np.longdouble)
    p = p[:, None] / p.sum()
    mean = (p * X).sum(axis=0) if centered else np.zeros(X.shape[1], dtype=np.longdouble)
    return mean, np.sqrt((p * (X - mean) ** 2).sum(axis=0))


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_column_statistics_of_ordinary_data(store, block_bytes, centered, weighted):
    X, y, weight = table(9)
    if weighted:
        weight[::3] = 0
    mean, size = Rows(store(X), y, weight if weighted else None).column_statistics(centered=centered)
    exact = exact_statistics(X, weight if weighted else np.ones(len(y)), centered)
    np.testing.assert_allclose(mean, exact[0].astype(float), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(size, exact[1].astype(float), rtol=1e-13)


def hostile_table():
    rng = np.random.default_rng(10)
    z = rng.standard_normal((200, 6))
    X = z * [1e150, 1e-150, 1e200, 1e-200, 1e300, 1e-300] + [0, 0, 1e200, 1e-200, 1e300, 1e-300]
    return X, rng.random(200) + 0.1


@pytest.mark.parametrize("centered", [True, False])
def test_column_statistics_of_huge_and_tiny_columns(store, block_bytes, centered):
    X, weight = hostile_table()
    mean, size = Rows(store(X), np.zeros(len(X)), weight).column_statistics(centered=centered)
    exact = exact_statistics(X, weight, centered)
    np.testing.assert_allclose(mean / size, (exact[0] / exact[1]).astype(float), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(size, exact[1].astype(float), rtol=1e-12, atol=0)


def test_column_statistics_of_a_column_far_from_zero(store, block_bytes):
    """About a mean of 1e8 a float64 resolves 1.5e-8: the spread of 1 is known to about 1e-8 at worst."""
    rng = np.random.default_rng(11)
    X = 1e8 + rng.standard_normal((500, 2))
    mean, size = Rows(store(X), np.zeros(len(X))).column_statistics(centered=True)
    exact = exact_statistics(X, np.ones(len(X)), True)
    np.testing.assert_allclose(mean, exact[0].astype(float), rtol=1e-14)
    np.testing.assert_allclose(size, exact[1].astype(float), rtol=1e-7)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [10, 1000, 100_000])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["C", "csr_array", "csc_array"])
def test_constant_columns_are_recognised(name, weighted, n, dtype):
    """Whatever n and the weights: else rounding in their mean becomes their scale, and 1 / scale is huge."""
    constants = np.array([1.0, 0.1, 7.3, -3e5], dtype=dtype)
    X = STORAGES[name](np.tile(constants, (n, 1)))
    weight = np.random.default_rng(12).random(n).astype(dtype) if weighted else None
    rows = Rows(X, np.ones(n, dtype=dtype), weight)
    for diagonal in (True, False):
        objective = SingleReLU.standardised(rows, True, diagonal=diagonal)
        assert np.all(objective.scale >= 0.1)


def test_zero_columns(store, block_bytes):
    X, y, weight = table(13)
    X[:, 2] = 0
    for centered in (True, False):
        mean, size = Rows(store(X), y, weight).column_statistics(centered=centered)
        assert mean[2] == 0
        assert size[2] == 0
        assert np.all(size[[0, 1, 3, 4]] > 0)


def uncanonical(X, kind):
    """Return a sparse matrix with explicit zeros, unsorted indices and entries stored in two halves."""
    coo = sparse.coo_array(X)
    order = np.random.default_rng(14).permutation(2 * coo.nnz + 4)
    data = np.concatenate([coo.data / 2, coo.data / 2, np.zeros(4)])[order]
    row = np.concatenate([coo.row, coo.row, [0, 1, 2, 3]])[order]
    column = np.concatenate([coo.col, coo.col, [1, 1, 2, 3]])[order]
    by = np.argsort(row if kind == "csr" else column, kind="stable")
    counts = np.bincount(row if kind == "csr" else column, minlength=X.shape[0 if kind == "csr" else 1])
    indptr = np.concatenate([[0], np.cumsum(counts)])
    container = sparse.csr_array if kind == "csr" else sparse.csc_array
    return container((data[by], (column if kind == "csr" else row)[by], indptr), shape=X.shape)


@pytest.mark.parametrize("kind", ["csr", "csc"])
@pytest.mark.parametrize("centered", [True, False])
def test_column_statistics_of_uncanonical_sparse_data(kind, centered):
    X, y, weight = table(15)
    stored = uncanonical(X, kind)
    np.testing.assert_array_equal(stored.toarray(), X)
    assert not stored.has_canonical_format
    statistics = Rows(stored, y, weight).column_statistics(centered=centered)
    for a, b in zip(statistics, Rows(X, y, weight).column_statistics(centered=centered), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("kind", ["csr", "csc"])
@pytest.mark.parametrize("read_only", [True, False])
def test_uncanonical_sparse_data_are_not_touched(kind, read_only, block_bytes):
    """SciPy's abs and max sum duplicates in place: in views that would leave the caller's matrix with wrong entries."""
    X, y, weight = table(15)
    stored = uncanonical(X, kind)
    parts = [getattr(stored, name).copy() for name in ("data", "indices", "indptr")]
    if read_only:
        for name in ("data", "indices", "indptr"):
            getattr(stored, name).flags.writeable = False
    objective = SingleReLU.standardised(Rows(stored, y, weight), True, diagonal=True)
    objective.value_and_gradient(np.ones(X.shape[1] + 1))
    objective.gauss_newton(np.ones(X.shape[1] + 1), np.arange(X.shape[1] + 1))
    for name, before in zip(("data", "indices", "indptr"), parts, strict=True):
        np.testing.assert_array_equal(getattr(stored, name), before)


# target_scale


def test_target_scale(store, block_bytes):
    X, y, weight = table(16)
    for factor in (1.0, 1e150, 1e-150, 1e300):
        expected = factor * (weight @ y**2 / weight.sum()) ** 0.5
        assert Rows(store(X), factor * y, weight).target_scale() == pytest.approx(expected, rel=1e-12)
    assert Rows(store(X), np.zeros_like(y), weight).target_scale() == 1
    assert Rows(store(X), 0 * y - 3.0, weight).target_scale() == pytest.approx(3, rel=1e-14)
    with pytest.raises(ValueError, match=r"squares of y, of size .* underflow float64; rescale"):
        Rows(store(X), 1e-300 * y, weight).target_scale()


# column_blocks


@pytest.mark.parametrize("kind", ["index", "dense", "sparse"])
def test_column_blocks_are_the_product(store, block_bytes, kind):
    X, _, _ = table(17)
    B = np.random.default_rng(17).standard_normal((X.shape[1], 3)) * [1, 0, 2]
    basis = {"index": np.array([3, 0]), "dense": B, "sparse": sparse.csr_array(B)}[kind]
    expected = X[:, [3, 0]] if kind == "index" else X @ B
    result = np.full_like(expected, np.nan)
    for rows, piece in column_blocks(store(X), basis):
        assert isinstance(piece, np.ndarray)
        assert np.all(np.isnan(result[rows]))
        result[rows] = piece
    np.testing.assert_allclose(result, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.parametrize("kind", ["index", "sparse"])
def test_pieces_of_sparse_blocks_are_bounded(monkeypatch, name, kind):
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", 20 * 4 * 8)
    X, _, _ = table(18, n=103, d=6)
    basis = np.arange(4) if kind == "index" else sparse.csr_array(np.eye(6, 4))
    pieces = [piece for _, piece in column_blocks(STORAGES[name](X), basis)]
    assert [len(piece) for piece in pieces] == [20, 20, 20, 20, 20, 3]


@pytest.mark.parametrize("name", SPARSE)
def test_no_columns_give_empty_pieces(name):
    X, _, _ = table(19)
    pieces = [piece for _, piece in column_blocks(STORAGES[name](X), np.arange(0))]
    assert sum(len(piece) for piece in pieces) == len(X)
    assert {piece.shape[1] for piece in pieces} == {0}


# memory


def test_passes_over_a_memory_map_hold_a_few_blocks(tmp_path, monkeypatch):
    """What the passes allocate is a few blocks and vectors, far below the data."""
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", 2**20)
    n, d = 16_000, 400
    X = np.memmap(tmp_path / "X.bin", dtype=np.float64, mode="w+", shape=(n, d))
    X[:] = np.random.default_rng(20).standard_normal((1, d)) + np.arange(n)[:, None] % 7
    y = np.abs(np.asarray(X[:, 0]))
    assert X.nbytes > 48 * rows_module.BLOCK_BYTES
    tracemalloc.start()
    objective = SingleReLU.standardised(Rows(X, y), True, diagonal=True)
    theta = np.full(d + 1, 0.1)
    objective.value_and_gradient(theta)
    objective.values([theta, -theta])
    objective.gauss_newton_product(theta, theta)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * rows_module.BLOCK_BYTES + 4 * y.nbytes
