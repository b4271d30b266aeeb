"""Recovery by `ProjectedReLURegressor` with defaults: exact without noise, as good as an oracle's with it."""

import numpy as np
import pytest

from skrelu import ProjectedReLURegressor, constraints
from skrelu.constraints import L0Ball, L1Ball

GROUPS = np.repeat(np.arange(40), 5)
BASIS = np.random.default_rng(99).standard_normal((100, 10))


def sparse_weights(rng, d, s, *, equal=False):
    w = np.zeros(d)
    support = rng.choice(d, s, replace=False)
    w[support] = rng.choice([-1.0, 1.0], s) / s**0.5 if equal else rng.standard_normal(s)
    return w


def planted(seed, n, d=1000, s=20, *, noise=0.0, equal=False):
    """Gaussian rows, y = max(0, <w*, x>) + noise, s nonzero weights (None: all)."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(d) if s is None else sparse_weights(rng, d, s, equal=equal)
    X = rng.standard_normal((n, d))
    return X, np.maximum(X @ w, 0) + noise * rng.standard_normal(n), w


def relative_error(w_true, w):
    return np.linalg.norm(w - w_true) / np.linalg.norm(w_true)


def fit(constraint, X, y, **parameters):
    return ProjectedReLURegressor(constraint, **{"fit_intercept": False, **parameters}).fit(X, y)


# Exact recovery, counted over consecutive seeds.


def n_exact(seeds, n, constraint_of, d=1000, s=20):
    return sum(
        relative_error(w, fit(constraint_of(w), X, y).coef_) < 1e-10 for X, y, w in (planted(i, n, d, s) for i in seeds)
    )


def l0_of(w):
    return L0Ball(np.count_nonzero(w))


def l1_of(w):
    return L1Ball(np.abs(w).sum())


@pytest.mark.parametrize(
    ("n", "constraint_of", "share"), [(200, l0_of, 1.0), (175, l0_of, 0.85), (300, l1_of, 1.0), (250, l1_of, 0.8)]
)
def test_exact_recovery_of_sparse_weights(n, constraint_of, share):
    assert n_exact(range(10), n, constraint_of) >= share * 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "constraint_of", "claim"), [(200, l0_of, 1.0), (175, l0_of, 0.97), (300, l1_of, 1.0), (250, l1_of, 0.95)]
)
def test_exact_recovery_of_sparse_weights_over_many_seeds(n, constraint_of, claim, least_successes):
    """Claims above the targets 0.85 and 0.8, so that the counts, 86 and 82, are not below them; 0.76, 0.71 are seen."""
    assert n_exact(range(10, 110), n, constraint_of) >= least_successes(100, claim)


@pytest.mark.parametrize(("d", "seeds"), [(50, range(20)), (500, range(2))])
def test_dense_weights_are_exact_from_three_rows_a_weight(d, seeds):
    for seed in seeds:
        X, y, w = planted(seed, 3 * d, d, None)
        model = fit(None, X, y)
        assert relative_error(w, model.coef_) < 1e-10
        assert model.n_iter_ <= 15


# Every other set, at n = 2 (2 delta), delta its statistical dimension at the planted weights.


def statistical_dimension(K, w, seed, draws=50):
    """``E |P_T(g)|^2``, g ~ N(0, I), T the tangent cone of a convex K at w: ``P_T(g) = lim (P_K(w + t g) - w) / t``."""
    rng = np.random.default_rng(seed)
    t = 1e-7
    w = K.project(w)
    return np.mean([np.sum((K.project(w + t * g) - w) ** 2) for g in rng.standard_normal((draws, len(w)))]) / t**2


def piecewise_constant(rng, d, n_jumps):
    cuts = np.sort(rng.choice(np.arange(1, d), n_jumps, replace=False))
    return rng.standard_normal(n_jumps + 1), np.diff([0, *cuts, d])


def grouped_weights(rng):
    return np.where(np.isin(GROUPS, rng.choice(40, 3, replace=False)), rng.standard_normal(200), 0)


def group_norm_sum(w):
    return np.linalg.norm(w.reshape(40, 5), axis=1).sum()


def rank_one(rng):
    return np.outer(rng.standard_normal(16), rng.standard_normal(16)).ravel()


def monotone_weights(rng):
    values, lengths = piecewise_constant(rng, 200, 3)
    return np.repeat(np.sort(values), lengths)


def nuclear_ball(w):
    return constraints.NuclearBall((16, 16), np.linalg.norm(w.reshape(16, 16), "nuc"))


def group_l1_ball(w):
    return constraints.GroupL1Ball(GROUPS, group_norm_sum(w))


# name: (weights from a generator, K of the weights, convex hull of K whose cone gives delta; None: K itself)
PLANTS = {
    "L0Ball": (lambda rng: sparse_weights(rng, 300, 6), l0_of, l1_of),
    "L1Ball": (lambda rng: sparse_weights(rng, 300, 6), l1_of, None),
    "L2Ball": (lambda rng: rng.standard_normal(60), lambda w: constraints.L2Ball(np.linalg.norm(w)), None),
    "GroupL0Ball": (grouped_weights, lambda w: constraints.GroupL0Ball(GROUPS, 3), group_l1_ball),
    "GroupL1Ball": (grouped_weights, group_l1_ball, None),
    "Nonnegative": (lambda rng: np.abs(sparse_weights(rng, 100, 10)), lambda w: constraints.Nonnegative(), None),
    "Box": (lambda rng: np.clip(rng.standard_normal(100), -0.3, 0.3), lambda w: constraints.Box(-0.3, 0.3), None),
    "Simplex": (
        lambda rng: np.append(rng.dirichlet(np.ones(10)), np.zeros(190)),
        lambda w: constraints.Simplex(1.0),
        None,
    ),
    "Subspace": (lambda rng: BASIS @ rng.standard_normal(10), lambda w: constraints.Subspace(BASIS), None),
    "Monotone": (monotone_weights, lambda w: constraints.Monotone(), None),
    "TotalVariationBall": (
        lambda rng: np.repeat(*piecewise_constant(rng, 200, 4)),
        lambda w: constraints.TotalVariationBall(np.abs(np.diff(w)).sum()),
        None,
    ),
    "LowRank": (rank_one, lambda w: constraints.LowRank((16, 16), 1), nuclear_ball),
    "NuclearBall": (rank_one, nuclear_ball, None),
    "NonnegativeSparse": (
        lambda rng: np.abs(sparse_weights(rng, 300, 6)),
        lambda w: constraints.NonnegativeSparse(6),
        lambda w: constraints.Simplex(w.sum()),
    ),
}


def test_statistical_dimensions_agree_with_the_formulas():
    rng = np.random.default_rng(0)
    harmonic = sum((1 / np.arange(1, n + 1)).sum() for n in (50, 30))
    cases = [
        (constraints.Subspace(BASIS), BASIS @ np.ones(10), 10),
        (constraints.Nonnegative(), np.abs(sparse_weights(rng, 100, 10)), 10 + 90 / 2),
        (constraints.Box(0.0, 1.0), np.repeat([0.0, 0.5, 1.0], 20), 20 + 40 / 2),
        (constraints.L2Ball(np.sqrt(60)), np.ones(60), 60 - 1 / 2),
        (constraints.Monotone(), np.repeat([0.0, 1.0], [50, 30]), harmonic),
    ]
    for K, w, delta in cases:
        assert statistical_dimension(K, w, 0, draws=400) == pytest.approx(delta, rel=0.05)


def recovery_error_at_twice_the_transition(name, seed, fit_intercept):
    make, set_of, hull_of = PLANTS[name]
    rng = np.random.default_rng(seed)
    w = make(rng)
    delta = statistical_dimension((hull_of or set_of)(w), w, seed) + fit_intercept
    X = rng.standard_normal((int(np.ceil(2 * (2 * delta))), len(w)))
    model = fit(set_of(w), X, np.maximum(X @ w, 0), fit_intercept=fit_intercept)
    return relative_error(w, model.coef_)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("name", PLANTS)
def test_every_set_recovers_its_structure_at_twice_the_phase_transition(name, fit_intercept):
    for seed in range(2):
        assert recovery_error_at_twice_the_transition(name, seed, fit_intercept) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("name", PLANTS)
def test_every_set_recovers_its_structure_over_many_seeds(name, fit_intercept):
    """38 of 40: a false alarm has probability 1e-6 where 0.9996 are recovered; 0.81 is seen with 0.99."""
    errors = [recovery_error_at_twice_the_transition(name, seed, fit_intercept) for seed in range(2, 42)]
    assert np.mean(np.array(errors) < 1e-10) >= 0.95


# The rate of the theorem, in every set, with the paper's step: n = 32 (2 delta).


def halves_in_every_step(name, seed):
    """Whether ``|w_{t+1} - w*| <= |w_t - w*| / 2`` for every t, down to 1e-10."""
    make, set_of, hull_of = PLANTS[name]
    rng = np.random.default_rng(seed)
    w = make(rng)
    K, iterates = set_of(w), [np.zeros_like(w)]

    def recorded(u):
        iterates.append(K.project(u))
        return iterates[-1]

    n = int(np.ceil(64 * statistical_dimension((hull_of or set_of)(w), w, seed)))
    X = rng.standard_normal((n, len(w)))
    fit(recorded, X, np.maximum(X @ w, 0), step_size=1.0, max_iter=40, tol=0)
    errors = np.array([relative_error(w, u) for u in iterates])
    n_steps = int(np.argmax(errors < 1e-10))
    return n_steps > 0 and bool(np.all(errors[1 : n_steps + 1] <= errors[:n_steps] / 2))


@pytest.mark.parametrize("name", PLANTS)
@pytest.mark.parametrize(("n_seeds", "failure"), [(3, 0.03), pytest.param(100, 1e-6, marks=pytest.mark.slow)])
def test_the_error_halves_in_every_step_in_every_set(name, n_seeds, failure, least_successes):
    """High probability is 0.99 here: of three seeds all; of a hundred 92, a share of 0.83 is seen with 0.99."""
    halved = [halves_in_every_step(name, seed) for seed in range(n_seeds)]
    assert sum(halved) >= least_successes(n_seeds, 0.99, failure)


# Noise.


def oracle_ratio(seed):
    """The error over that of least squares on the true support and the truly active rows."""
    X, y, w = planted(seed, 500, noise=0.05, equal=True)
    support, active = np.flatnonzero(w), X @ w > 0
    oracle = np.zeros_like(w)
    oracle[support] = np.linalg.lstsq(X[np.ix_(active, support)], y[active])[0]
    return relative_error(w, fit(L0Ball(20), X, y).coef_) / relative_error(w, oracle)


def test_noise_costs_no_more_than_an_oracle_pays():
    assert np.median([oracle_ratio(seed) for seed in range(9)]) <= 1.02


@pytest.mark.slow
def test_noise_costs_no_more_than_an_oracle_pays_over_many_seeds():
    assert np.median([oracle_ratio(seed) for seed in range(9, 109)]) <= 1.02
