"""Random hostile tables: whatever is in them, every estimator has a finite fit, or says what to do, in bounded time.

A `Table` is the recipe of one. A failing test prints it; ``arrays(Table(...))`` makes it again.
"""

import inspect
import re
import time
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from skrelu import OneHiddenLayerNet, OneHiddenLayerReLU, ProjectedReLURegressor, QuadraticNet, TwoLayerReLURecovery

ESTIMATORS = [OneHiddenLayerReLU, OneHiddenLayerNet, QuadraticNet, TwoLayerReLURecovery, ProjectedReLURegressor]
N_FAST, N_SLOW = 4, 500  # tables for each estimator
SECONDS = 20.0  # of process time for one fit; most take less than half of one
N_NEW = 8  # rows of the same kind that the fit has not seen
OFFSET = 1e8  # in units of the scale of its column
# Scales of columns and y: their squares and the ratios of two of them are finite, or nearly so.
EXPONENTS = {np.float64: 150, np.float32: 19}
# Tables of scales below that, and without denormal numbers, are no reason for an error.
MODERATE = {np.float64: 50, np.float32: 5}

COLUMNS = ("normal", "constant", "zero", "duplicate", "combination", "integer", "binary", "one-hot", "heavy", "outlier")
TARGETS = ("constant", "zero", "linear", "planted", "noise", "heavy", "counts", "binary", "column", "outlier")
ROWS = ("plain", "repeated", "sorted", "equal")
WEIGHTS = ("none", "ones", "counts", "zeros", "one", "tiny", "huge", "wide")


@dataclass(frozen=True)
class Columns:
    """Some columns of one kind, 10^exponent (entry + offset)."""

    kind: str
    count: int = 1
    exponent: int = 0
    offset: float = 0.0


@dataclass(frozen=True)
class Target:
    """One output, 10^exponent (entry + offset)."""

    kind: str
    exponent: int = 0
    offset: float = 0.0


@dataclass(frozen=True)
class Table:
    """The recipe of a table."""

    n: int
    columns: tuple
    targets: tuple
    rows: str = "plain"
    weights: str = "none"
    single: bool = False
    is_sparse: bool = False
    seed: int = 0

    @property
    def dtype(self):
        return np.float32 if self.single else np.float64

    @property
    def is_moderate(self):
        """Whether scales are such that an error would be no excuse."""
        exponents = [abs(part.exponent) for part in self.columns + self.targets]
        denormal = any(part.kind == "denormal" for part in self.columns)
        return not denormal and max(exponents) <= MODERATE[self.dtype]


def arrays(table):
    """Return X, y (n, m), sample weights or None, and new rows X."""
    rng, n = np.random.default_rng(table.seed), table.n
    X = np.zeros((n + N_NEW, 0))
    for group in table.columns:
        X = np.column_stack([X, scaled(columns_of(group, X, n, table.dtype, rng), group, table.dtype)])
    source = {
        "plain": np.arange(n),
        "repeated": np.arange(n) // 4,
        "equal": np.zeros(n, dtype=int),
        "sorted": np.argsort(X[:n, 0], kind="stable"),
    }[table.rows]
    X[:n] = X[source]
    size = np.abs(X).max(axis=0)
    Z = X[:n] / np.where(size > 0, size, 1)
    y = np.column_stack([scaled(target_of(part, Z, rng), part, table.dtype) for part in table.targets])
    X, y, s = X.astype(table.dtype), y.astype(table.dtype), weights_of(table, rng)
    assert np.all(np.isfinite(X))
    assert np.all(np.isfinite(y))
    train, new = X[:n], X[n:]
    return (sparse.csr_array(train), y, s, sparse.csr_array(new)) if table.is_sparse else (train, y, s, new)


def scaled(values, part, dtype):
    limit = EXPONENTS[dtype]
    return (values + part.offset) * 10.0 ** int(np.clip(part.exponent, -limit, limit))


def columns_of(group, X, n, dtype, rng):
    """Return (n + N_NEW, count) entries."""
    shape = len(X), group.count
    normal = rng.standard_normal(shape)
    with_outliers = normal.copy()
    # Among the rows that are fitted.
    with_outliers[rng.integers(n, size=group.count), np.arange(group.count)] = 10.0 ** rng.integers(3, 13, group.count)
    if group.kind in ("duplicate", "combination"):
        if not X.shape[1]:
            return normal
        chosen, size = rng.integers(X.shape[1], size=group.count), np.abs(X).max(axis=0)
        if group.kind == "duplicate" and group.exponent == 0:
            return X[:, chosen]
        Z = X / np.where(size > 0, size, 1)
        return Z[:, chosen] if group.kind == "duplicate" else Z @ rng.standard_normal((X.shape[1], group.count))
    return {
        "normal": normal,
        "outlier": with_outliers,
        "constant": np.broadcast_to(rng.standard_normal(group.count), shape),
        "zero": np.zeros(shape),
        "integer": rng.integers(-3, 10, shape).astype(float),
        "binary": (rng.random(shape) < rng.random()).astype(float),
        "one-hot": np.eye(group.count)[rng.integers(group.count, size=len(X))],
        "heavy": np.exp(3 * normal),
        "denormal": normal * float(np.finfo(dtype).tiny) * 1e-3,
    }[group.kind]


def target_of(part, Z, rng):
    """Return n entries; Z are the columns, none above one."""
    n, d = Z.shape
    noise, slope = rng.standard_normal(n), rng.standard_normal((3, d))
    return {
        "constant": np.full(n, noise[0]),
        "zero": np.zeros(n),
        "linear": Z @ slope[0],
        "planted": np.maximum(Z @ slope.T, 0) @ [1.0, -1.0, 1.0],
        "noise": noise,
        "heavy": np.exp(3 * noise),
        "counts": rng.poisson(3, n).astype(float),
        "binary": (noise > 0).astype(float),
        "column": Z[:, rng.integers(d)],
        "outlier": np.where(np.arange(n) == rng.integers(n), 10.0 ** rng.integers(3, 13), noise),
    }[part.kind]


def weights_of(table, rng):
    n, far = table.n, 200 if table.dtype is np.float64 else 30
    counts, first = rng.integers(1, 5, n).astype(float), np.arange(n) == rng.integers(n)
    return {
        "none": None,
        "ones": np.ones(n),
        "counts": counts,
        "zeros": np.where(first, 1.0, counts * (rng.random(n) < 0.5)),
        "one": np.where(first, 3.0, 0.0),
        "tiny": counts * 10.0**-far,
        "huge": counts * 10.0**far,
        "wide": 10.0 ** rng.uniform(-12, 12, n),
    }[table.weights]


# Strategies.

exponents = st.one_of(st.just(0), st.sampled_from([-150, -12, -3, 3, 12, 150]), st.integers(-150, 150))
offsets = st.sampled_from([0.0, 0.0, 0.0, 5.0, OFFSET])
groups = st.builds(Columns, st.sampled_from((*COLUMNS, "denormal")), st.integers(1, 12), exponents, offsets)
outputs = st.builds(Target, st.sampled_from(TARGETS), exponents, offsets)


def tables(most_rows, most_groups):
    return st.builds(
        Table,
        n=st.one_of(st.integers(1, 12), st.integers(1, most_rows)),
        columns=st.lists(groups, min_size=1, max_size=most_groups).map(tuple),
        targets=st.lists(outputs, min_size=1, max_size=3).map(tuple),
        rows=st.sampled_from(("plain", *ROWS)),
        weights=st.sampled_from(("none", *WEIGHTS)),
        single=st.booleans(),
        is_sparse=st.booleans(),
        seed=st.integers(0, 2**16),
    )


# What is promised.


def check(estimator, table):
    """Fit and predict with default parameters: finite, or an error that names X or y and what to do.

    Return whether there is a fit.
    """
    X, y, s, new = arrays(table)
    y = y if estimator is TwoLayerReLURecovery and y.shape[1] > 1 else y[:, 0]
    model, started = estimator(random_state=0), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            model.fit(X, y, s)
        except ValueError as error:
            excused = re.search(r"^X( or y)?: .*(rescale|standardise)", str(error)) and not table.is_moderate
            if not excused:
                raise
            return False
        seconds = time.process_time() - started
        assert seconds < SECONDS
        predicted = [model.predict(X), model.predict(new)]
        if "return_std" in inspect.signature(model.predict).parameters:
            for rows, expected in zip((X, new), predicted, strict=True):
                values, std = model.predict(rows, return_std=True)
                np.testing.assert_array_equal(values, expected)
                assert std.shape == expected.shape
                assert np.all(np.isfinite(std)), "std"
                assert np.all(std >= 0), "std"
    for values in predicted:
        assert np.all(np.isfinite(values)), "predictions"
        assert values.dtype == table.dtype
    for name, value in vars(model).items():
        if name.endswith("_") and not name.startswith("_") and np.asarray(value).dtype.kind == "f":
            # Of a fit with as many degrees of freedom as rows the criterion is infinite.
            finite = np.isfinite(value) if name != "criterion_" else ~np.isnan(value)
            assert np.all(finite), name
    assert 1 <= model.n_iter_ == len(model.loss_curve_)
    assert_not_worse_than_a_constant(model, X, y, s)
    return True


def assert_not_worse_than_a_constant(model, X, y, s):
    """The loss is at most that of the best constant prediction, nonnegative for a ReLU, to rounding."""
    y, s = y.reshape(len(y), -1).astype(float), np.ones(len(y)) if s is None else s / s.max()
    t = np.abs(y).max() or 1.0
    center = s @ (y / t) / s.sum()
    if isinstance(model, ProjectedReLURegressor):
        center = np.maximum(center, 0)
    loss = s @ np.sum((y / t - center) ** 2, axis=1) / s.sum() / 2
    eps = float(np.finfo(X.dtype).eps)
    assert model.loss_ / t / t <= 1.001 * loss + (1e3 * eps + 1e-6) ** 2, (
        f"loss {model.loss_ / t / t:.3g} above {loss:.3g}"
    )


def hostile(n_examples):
    """Return the decorator of a test over so many tables, the same each time."""
    return settings(
        max_examples=n_examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


def parsed(text):
    """Return the table of ``n | columns | targets | options``; a part is its kind and the numbers that follow it."""
    n, columns, targets, options = (part.strip() for part in text.split("|"))
    rows, weights, *flags, seed = options.split()
    return Table(
        int(n),
        tuple(Columns(kind, *map(int, numbers)) for kind, *numbers in map(str.split, columns.split(","))),
        tuple(Target(kind, *map(int, numbers)) for kind, *numbers in map(str.split, targets.split(","))),
        rows,
        weights,
        "single" in flags,
        "sparse" in flags,
        int(seed),
    )


# Tables that failed once, with what they failed by.
OFF = int(OFFSET)
ReLU, Net, One, Two = OneHiddenLayerReLU, OneHiddenLayerNet, ProjectedReLURegressor, TwoLayerReLURecovery
FAILED = {
    "denormal columns: nan": (ReLU, "58 | denormal 7 | constant | plain none 0"),
    "denormal columns: loss": (
        One,
        f"17 | normal 2 12, denormal 4 -12, denormal 4 -12 | constant 1 {OFF} | plain none 1",
    ),
    "y constant and small: predictions": (Net, "150 | normal | constant -150 | plain huge sparse 0"),
    "y zero, outliers: predictions": (ReLU, "8 | outlier 8 -150 | zero | plain none 0"),
    "y large: std": (ReLU, "10 | outlier 10 0 5, constant 6 150 5 | outlier 150 | sorted tiny 14984"),
    "y large: its square": (Net, f"5 | denormal 2 -143 | outlier 150 {OFF} | sorted wide 62219"),
    "y small: std": (
        Net,
        "8 | normal 9 12, binary 8 12, binary 10 3, constant 4 -3 | column -150 | sorted wide sparse 101",
    ),
    "single precision: weights overflow": (
        ReLU,
        "199 | outlier 6, duplicate 1, heavy 7 12, one-hot 7 -19 | linear 19 | plain wide single 31895",
    ),
    "single precision: squares overflow": (
        One,
        "9 | heavy 5 19, heavy 3 19 | binary -19 | repeated none single sparse 465",
    ),
    "single precision: the matrix overflows": (
        QuadraticNet,
        f"183 | duplicate 12 -19 5 | constant 0 {OFF} | plain huge single sparse 426",
    ),
    "single precision: squares of units overflow": (
        QuadraticNet,
        "12 | outlier 12 0 5 | outlier 19 5 | sorted zeros single sparse 12",
    ),
    "single precision: lengths of units underflow": (
        Two,
        "12 | one-hot 2 19 5 | noise | plain zeros single sparse 200",
    ),
    "single precision: lengths underflow, outliers": (Two, "6 | outlier 3 | binary -19 | repeated zeros single 6285"),
    "weights of all sizes: predictions of zero": (
        QuadraticNet,
        "6 | integer 9, heavy 11 -12, outlier, constant 2 0 5, constant 11 -12 | heavy | plain wide 1",
    ),
    "small weights: std": (QuadraticNet, f"8 | integer 1 3 {OFF} | heavy 62 5 | repeated tiny 18147"),
    "scales: eigenvalues of nan": (QuadraticNet, f"10 | outlier, combination 3 -150 | outlier 0 {OFF} | plain none 1"),
    "scales: the criterion": (
        QuadraticNet,
        "10 | combination 10, combination 3 -19 | outlier 12, counts | repeated huge single sparse 263",
    ),
    "small columns: the later start overflows": (
        ReLU,
        f"4 | integer 7 0 5, denormal 11 68, combination 11 0 5 | outlier 68 {OFF} | plain wide 3",
    ),
    "an average worse than the mean of y": (
        Net,
        f"131 | outlier 2 150 {OFF}, outlier 1 150 {OFF} | outlier 1 | plain none 0",
    ),
    "rows that are all equal: the constant of a unit left out": (
        Net,
        "8 | integer 6 0 5, zero 12 0 5, one-hot 6 | outlier -128 5 | equal tiny 2097",
    ),
    "single precision: the constant of a unit left out": (
        Net,
        "3 | integer 3 -70, zero 11 -38 | binary -12, noise 51 5 | repeated huge single 1108",
    ),
    "small columns: standard errors": (
        Two,
        "5 | zero 12, combination 7 0 5, denormal 9 3, constant 12 12"
        f" | constant 0 5, constant 0 5, heavy 0 {OFF} | plain none 6",
    ),
    "small columns, two outputs: std": (
        Two,
        f"4 | denormal 8 -70, zero 10 -88 {OFF}, denormal 8 150, denormal 6 -150, zero 7 0 5"
        f" | binary -150, column -55 5 | plain none sparse 375",
    ),
}


SLOWEST = (
    "single precision: the constant of a unit left out",
    "single precision: squares of units overflow",
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOWEST else []) for name in FAILED],
)
def test_tables_that_failed_once(name):
    estimator, text = FAILED[name]
    check(estimator, parsed(text))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@hostile(N_FAST)
@given(table=tables(40, 3))
def test_hostile_tables(estimator, table):
    check(estimator, table)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ESTIMATORS)
@hostile(N_SLOW)
@given(table=tables(200, 5))
def test_many_hostile_tables(estimator, table):
    check(estimator, table)
