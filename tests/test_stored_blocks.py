"""Blocks of rows that are read anew in every pass: the same fit as in memory, and no more memory than two blocks."""

import re
import threading
import tracemalloc
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from skrelu import (
    OneHiddenLayerReLU,
    ProjectedReLURegressor,
)
from skrelu.datasets import make_one_hidden_layer
from skrelu.rows.read import read
from skrelu.rows.stored import StoredRows

X, Y = make_one_hidden_layer(300, 6, 2, random_state=0)
CUTS = [0, 50, 51, 180, 300]


def cut(values):
    return [values[i:j] for i, j in pairwise(CUTS)]


class Reread:
    """An iterable without length that starts over each time."""

    def __init__(self, blocks):
        self.blocks, self.n_passes = blocks, 0

    def __iter__(self):
        self.n_passes += 1
        return iter(self.blocks)


class UsedUp:
    """An iterable that says it starts over, and does not."""

    def __init__(self, blocks):
        self.iterator = iter(blocks)

    def __iter__(self):
        return self.iterator


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() <= before


def agree(found, expected, X):
    """The same network to rounding: the same function, loss and way there."""
    scale = np.abs(expected.predict(X)).max()
    np.testing.assert_allclose(found.predict(X), expected.predict(X), atol=1e-9 * scale, rtol=0)
    assert abs(found.loss_ - expected.loss_) <= 1e-9 * scale**2
    assert found.n_features_in_ == X.shape[1]


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.differing_executors])
@given(cuts=st.lists(st.integers(0, 60), max_size=6), seed=st.integers(0, 5), single=st.booleans())
def test_sums_do_not_hang_on_the_cuts(cuts, seed, single):
    rng = np.random.default_rng(seed)
    dtype = np.float32 if single else np.float64
    X, y, s = rng.standard_normal((60, 3)).astype(dtype), rng.standard_normal(60), rng.integers(0, 3, 60)
    s[0], bounds = 1, sorted({0, 60, *cuts})
    blocks = [X[i:j] for i, j in pairwise(bounds)]
    whole, _ = read(ProjectedReLURegressor(), X, y, s)
    stored, _ = read(ProjectedReLURegressor(), blocks, y, s)
    assert isinstance(stored, StoredRows)
    assert stored.dtype == dtype

    def f(X, y, s, w):
        return float(s @ (X @ w - y) ** 2), X.T @ (s[:, None] * X)

    eps = np.finfo(dtype).eps
    for a, b in zip(stored.sum(f, X[0]), whole.sum(f, X[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=100 * eps, atol=100 * eps)
    np.testing.assert_array_equal(stored.each(lambda X, y: X @ X.T @ y * 0 + y), whole.each(lambda X, y: y))
    factors = rng.integers(0, 2, 60).astype(dtype)
    factors[s > 0] = 1
    np.testing.assert_allclose(
        stored.reweighted(factors).sum(f, X[0])[0], whole.reweighted(factors).sum(f, X[0])[0], rtol=100 * eps
    )


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(sparse.csr_matrix, marks=pytest.mark.slow),
        pytest.param(sparse.csr_array, marks=pytest.mark.slow),
        sparse.csc_array,
    ],
)
def test_sparse_blocks(make):
    X, y = make_one_hidden_layer(300, 6, 2, random_state=1)
    X[np.random.default_rng(0).random(X.shape) < 0.4] = 0
    y = OneHiddenLayerReLU(2, random_state=0).fit(X, y).predict(X)
    expected = OneHiddenLayerReLU(2, alpha=0, random_state=0).fit(X, y)
    found = OneHiddenLayerReLU(2, alpha=0, random_state=0).fit([make(block) for block in cut(X)], y)
    agree(found, expected, X)


def test_weights_come_with_the_blocks_or_besides():
    s = np.random.default_rng(0).integers(0, 4, len(Y))
    expected = OneHiddenLayerReLU(2, alpha=0, n_init=1, random_state=0).fit(X, Y, sample_weight=s)
    triples = list(zip(cut(X), cut(Y), cut(s), strict=True))
    for data in ((triples, None, None), (cut(X), Y, s), (cut(X), cut(Y), cut(s)), (iter(triples), None, None)):
        agree(OneHiddenLayerReLU(2, alpha=0, n_init=1, random_state=0).fit(*data), expected, X)


def test_columns_keep_their_names():
    table = pd.DataFrame(X, columns=list("abcdef"))
    fitted = OneHiddenLayerReLU(2, random_state=0).fit(cut(table), Y)
    assert list(fitted.feature_names_in_) == list("abcdef")
    with pytest.raises(ValueError, match="feature names"):
        OneHiddenLayerReLU(2).fit([table[:100], table[100:].rename(columns={"a": "z"})], Y)


def test_files_are_read_block_by_block(tmp_path):
    """Files of the .npy format behind a sequence: nothing but their names in memory."""

    class Files:
        def __init__(self, paths):
            self.paths = paths

        def __len__(self):
            return len(self.paths)

        def __getitem__(self, i):
            return np.load(self.paths[i])

    paths = []
    for k, block in enumerate(cut(X)):
        paths.append(tmp_path / f"{k}.npy")
        np.save(paths[-1], block)
    expected = OneHiddenLayerReLU(2, random_state=0).fit(X, Y)
    agree(OneHiddenLayerReLU(2, random_state=0).fit(Files(paths), Y), expected, X)


class Made:
    """Blocks that are made when they are asked for."""

    def __init__(self, n_blocks, n_rows, d):
        self.n_blocks, self.n_rows, self.d = n_blocks, n_rows, d

    def __len__(self):
        return self.n_blocks

    def __getitem__(self, i):
        if i >= self.n_blocks:
            raise IndexError(i)
        return np.random.default_rng(i).standard_normal((self.n_rows, self.d))


@pytest.mark.parametrize("once", [False, True])
def test_memory_is_a_few_blocks(once):
    """Thirty blocks of a megabyte; an iterator, that comes only once, lies in a temporary file meanwhile."""
    blocks = Made(30, 2_500, 50)
    y = np.concatenate([np.maximum(block @ np.ones(50), 0) for block in blocks])
    tracemalloc.start()
    fitted = ProjectedReLURegressor().fit(_source(blocks, once), y)
    predicted = fitted.predict(_source(blocks, once))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(predicted, y, atol=1e-9 * np.abs(y).max())
    assert peak < 8e6 + 6 * y.nbytes


def _source(blocks, once):
    return (blocks[i] for i in range(len(blocks))) if once else blocks


BAD = {
    "no block": (lambda X, y: (iter([]), y), "its first item is"),
    "rows, not blocks": (lambda X, y: (iter(X), y), "2-D blocks of rows"),
    "an empty block first": (lambda X, y: ([X[:0], X], y), "0 sample"),
    "columns": (lambda X, y: ([X, X[:, :3]], y), "features"),
    "NaN": (lambda X, y: ([X, X * np.nan], np.append(y, y)), "NaN"),
    "dtypes": (lambda X, y: ([X, X.astype(np.float32)], np.append(y, y)), "block 1 is float32, the first float64"),
    "y too short": (lambda X, y: (cut(X), y[:-1]), "inconsistent numbers of samples"),
    "y twice": (lambda X, y: (list(zip(cut(X), cut(y), strict=True)), y), "y is given twice"),
    "y missing": (lambda X, y: (cut(X), None), "y: none is given"),
    "y of a block": (lambda X, y: ([(X, y[:-1]), (X, y)], None), re.escape("y: block 0 has 299 values")),
    "y of some blocks": (lambda X, y: ([(X, y), X], None), "only 1 of 2 blocks have one"),
    "used up": (lambda X, y: (UsedUp([(X, y)]), None), "no block of rows"),
    "sparse once": (lambda X, y: (iter([sparse.csr_array(X)]), y), "give a sequence"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_blocks_are_named(name):
    make, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=message):
        OneHiddenLayerReLU(2).fit(*make(X, Y))


def test_blocks_that_change_between_passes_are_told():

    class Shrinking(Reread):
        def __iter__(self):
            self.n_passes += 1
            return iter(self.blocks if self.n_passes < 4 else self.change(self.blocks))

    for change, message in (
        (lambda b: [*b[:2], b[2][:-1], b[3]], "block 2 has the shape"),
        (lambda b: b[:-1], "3 blocks, in the first pass 4"),
        (lambda b: [*b, b[0]], "in the first pass the end"),
    ):
        blocks = Shrinking(cut(X))
        blocks.change = change
        with pytest.raises(ValueError, match=message):
            OneHiddenLayerReLU(2, random_state=0).fit(blocks, Y)


def test_an_error_while_reading_is_told_as_it_is():

    class Failing(Reread):
        def __iter__(self):
            self.n_passes += 1
            yield from self.blocks[:2]
            if self.n_passes > 3:
                raise OSError("the disk is gone")
            yield from self.blocks[2:]

    with pytest.raises(OSError, match="the disk is gone"):
        OneHiddenLayerReLU(2, random_state=0).fit(Failing(cut(X)), Y)


def test_a_list_of_rows_is_a_table_as_ever():
    expected = ProjectedReLURegressor().fit(X, Y)
    found = ProjectedReLURegressor().fit(X.tolist(), Y.tolist())
    np.testing.assert_array_equal(found.coef_, expected.coef_)
