"""Descents over hostile tables: gradient descent never rises, projected weights lie in their set, in bounded time."""

import time
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from skrelu import OneHiddenLayerNet, OneHiddenLayerReLU, ProjectedReLURegressor, QuadraticNet, TwoLayerReLURecovery
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

N_FAST, N_SLOW = 6, 100  # tables for each estimator, and for each set
SECONDS = 10.0  # of process time for one fit
MAX_ITER = 40
COLUMNS = ("normal", "normal", "constant", "zero", "duplicate", "outlier", "binary", "heavy")
ESTIMATORS = [ProjectedReLURegressor, OneHiddenLayerReLU, OneHiddenLayerNet, QuadraticNet, TwoLayerReLURecovery]
SETS = {
    "L0Ball": lambda d, size: L0Ball(max(1, d // 2)),
    "NonnegativeSparse": lambda d, size: NonnegativeSparse(max(1, d // 2)),
    "GroupL0Ball": lambda d, size: GroupL0Ball(np.arange(d) // 2, 1),
    "GroupL1Ball": lambda d, size: GroupL1Ball(np.arange(d) // 2, size),
    "LowRank": lambda d, size: LowRank((d, 1) if d % 2 else (d // 2, 2), 1),
    "NuclearBall": lambda d, size: NuclearBall((d, 1) if d % 2 else (d // 2, 2), size),
    "L1Ball": lambda d, size: L1Ball(size),
    "L2Ball": lambda d, size: L2Ball(size),
    "Simplex": lambda d, size: Simplex(size),
    "TotalVariationBall": lambda d, size: TotalVariationBall(size),
    "Nonnegative": lambda d, size: Nonnegative(),
    "Monotone": lambda d, size: Monotone(),
    "Subspace": lambda d, size: Subspace(np.column_stack([np.ones(d), np.arange(d)])),
    "Box": lambda d, size: Box(-size, size),
}


@dataclass(frozen=True)
class Table:
    """So many rows and columns, each in a unit of its own, at most 10^spread."""

    n: int
    d: int
    spread: int
    noise: float
    size: float
    intercept: bool
    single: bool
    seed: int


tables = st.builds(
    Table,
    n=st.one_of(st.integers(10, 60), st.integers(1, 10)),
    d=st.integers(1, 8),
    spread=st.sampled_from([0, 1, 3]),
    noise=st.sampled_from([0.3, 0.0, 10.0]),
    size=st.sampled_from([1.0, 0.0, 0.1, 10.0, 1e6]),
    intercept=st.booleans(),
    single=st.booleans(),
    seed=st.integers(0, 2**16),
)


def arrays(table):
    """Return X, y and weights."""
    rng, n = np.random.default_rng(table.seed), table.n
    X = np.empty((n, table.d))
    for j in range(table.d):
        normal = rng.standard_normal(n)
        X[:, j] = {
            "normal": normal,
            "constant": np.ones(n),
            "zero": np.zeros(n),
            "duplicate": X[:, 0] if j else normal,
            "outlier": np.where(np.arange(n) == n // 2, 1e4, normal),
            "binary": normal > 0,
            "heavy": np.exp(3 * normal),
        }[rng.choice(COLUMNS)]
    size = np.abs(X).max(axis=0)
    y = np.maximum((X / np.where(size > 0, size, 1)) @ rng.standard_normal(table.d), 0)
    y += table.noise * rng.standard_normal(n)
    X *= 10.0 ** rng.integers(-table.spread, table.spread + 1, table.d)
    dtype = np.float32 if table.single else np.float64
    return X.astype(dtype), y.astype(dtype), rng.integers(1, 4, n).astype(dtype)


def fitted(model, table):
    """Return the model fitted in bounded time."""
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(*arrays(table))
    assert time.process_time() - started < SECONDS
    return model


def check_descent(estimator, table):
    """Steps that are halved whenever they would raise the objective: it never rises by more than rounding."""
    options = {} if estimator is ProjectedReLURegressor else {"random_state": 0}
    model = estimator(solver="gd", max_iter=MAX_ITER, tol=0, fit_intercept=table.intercept, **options)
    curve = np.array(fitted(model, table).loss_curve_)
    rounding = 20 * float(np.finfo(np.float32 if table.single else np.float64).eps)
    assert np.all(curve[1:] <= curve[:-1] * (1 + rounding))
    assert len(curve) == model.n_iter_ <= MAX_ITER
    assert np.all(np.isfinite(model.predict(arrays(table)[0])))


def check_feasible(name, table):
    """The weights are their own projection, and as good as zero where the set has it, but for smoothed kinks."""
    K = SETS[name](table.d, table.size)
    model = fitted(ProjectedReLURegressor(K, fit_intercept=table.intercept), table)
    w, (X, y, s) = model.coef_, arrays(table)
    rounding = 16 * table.d * float(np.finfo(w.dtype).eps)
    np.testing.assert_allclose(K.project(w), w, rtol=0, atol=rounding * np.abs(w).max())
    assert np.isfinite(model.optimality_)
    assert np.all(np.isfinite(model.predict(X)))
    zero = np.sum(s * y.astype(float) ** 2) / s.sum() / 2
    assert np.any(K.project(np.zeros(table.d))) or model.loss_ <= zero * (1.001 + 1e3 * rounding)


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


every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS)
every_set = pytest.mark.parametrize("name", SETS)


@every_estimator
@over_tables(N_FAST)
def test_gradient_descent_never_rises(estimator, table):
    check_descent(estimator, table)


@every_set
@over_tables(N_FAST)
def test_projected_weights_lie_in_their_set(name, table):
    check_feasible(name, table)


@pytest.mark.slow
@every_estimator
@over_tables(N_SLOW)
def test_gradient_descent_never_rises_on_many_tables(estimator, table):
    check_descent(estimator, table)


@pytest.mark.slow
@every_set
@over_tables(N_SLOW)
def test_projected_weights_lie_in_their_set_on_many_tables(name, table):
    check_feasible(name, table)
