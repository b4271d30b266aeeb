"""The theorem of `ProjectedReLURegressor`, tested as one: the iteration to the letter, its rate, where it fails."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from skrelu import ProjectedReLURegressor, constraints
from skrelu.constraints import L0Ball, L1Ball

BASIS = np.random.default_rng(99).standard_normal((12, 4))


def planted(seed, n, d=1000, s=20):
    """Gaussian rows and s Gaussian nonzero weights, without noise."""
    rng = np.random.default_rng(seed)
    w = np.zeros(d)
    w[rng.choice(d, s, replace=False)] = rng.standard_normal(s)
    X = rng.standard_normal((n, d))
    return X, np.maximum(X @ w, 0), w


def relative_error(w_true, w):
    return np.linalg.norm(w - w_true) / np.linalg.norm(w_true)


def fit(constraint, X, y, **parameters):
    return ProjectedReLURegressor(constraint, **{"fit_intercept": False, **parameters}).fit(X, y)


# The iteration of the paper, slow and obvious.


def paper_iterates(X, y, project, n_iter, step_size=1.0, sample_weight=None):
    """``w+ = P(w - mu g(w))``, mu = 2, 1, 1, ..., ``g = (1/n) sum (relu(z) - y)(1 + sign z) x``, sign(0) = 0."""
    s = np.ones(len(y)) if sample_weight is None else sample_weight
    w, iterates = np.zeros(X.shape[1]), []
    for t in range(n_iter):
        g = np.zeros_like(w)
        for x_i, y_i, s_i in zip(X, y, s, strict=True):
            z = sum(w * x_i)
            g = g + s_i * (max(0.0, z) - y_i) * (1 + np.sign(z)) * x_i
        w = project(w - step_size * (2 if t == 0 else 1) * g / s.sum())
        iterates.append(w)
    return iterates


def half_mean_square(X, y, w, b=0.0, sample_weight=None):
    return 0.5 * np.average((np.maximum(X @ w + b, 0) - y) ** 2, weights=sample_weight)


SMALL_SETS = {
    "none": None,
    "L0Ball": L0Ball(3),
    "L1Ball": L1Ball(1.5),
    "L2Ball": constraints.L2Ball(0.8),
    "GroupL0Ball": constraints.GroupL0Ball(np.arange(12) // 3, 2),
    "GroupL1Ball": constraints.GroupL1Ball(np.arange(12) // 3, 1.2),
    "Nonnegative": constraints.Nonnegative(),
    "Box": constraints.Box(-0.2, 0.3),
    "Simplex": constraints.Simplex(1.3),
    "Subspace": constraints.Subspace(BASIS),
    "Monotone": constraints.Monotone(),
    "TotalVariationBall": constraints.TotalVariationBall(1.0),
    "LowRank": constraints.LowRank((3, 4), 1),
    "NuclearBall": constraints.NuclearBall((3, 4), 1.1),
    "NonnegativeSparse": constraints.NonnegativeSparse(4),
}


class Recorder:
    """A constraint given as a callable that remembers what it returned."""

    def __init__(self, constraint):
        self.constraint, self.returned = constraint, []

    def __call__(self, w):
        u = w.copy() if self.constraint is None else self.constraint.project(w)
        self.returned.append(u)
        return u


def last_of(X, y, iterates, sample_weight=None):
    losses = [half_mean_square(X, y, w, sample_weight=sample_weight) for w in iterates]
    return iterates[-1], losses


@pytest.mark.parametrize("name", SMALL_SETS)
@pytest.mark.parametrize("max_iter", [1, 2, 3, 5])
def test_gd_is_the_papers_iteration_to_the_letter(name, max_iter):
    """Every iterate, every objective; what is kept is the last of them."""
    X, y, _ = planted(0, n=40, d=12, s=5)
    K = SMALL_SETS[name]
    expected = paper_iterates(X, y, (lambda w: w) if K is None else K.project, max_iter)
    last, losses = last_of(X, y, expected)

    model = fit(K, X, y, solver="gd", step_size=1.0, max_iter=max_iter, tol=0)
    np.testing.assert_allclose(model.coef_, last, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.loss_curve_, losses, rtol=1e-12)
    assert model.n_iter_ == max_iter

    recorder = Recorder(K)
    fit(recorder, X, y, solver="gd", step_size=1.0, max_iter=max_iter, tol=0)
    np.testing.assert_allclose(recorder.returned[:max_iter], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("step_size", [0.25, 0.5, 1.7])
@pytest.mark.parametrize("name", ["none", "L0Ball", "L1Ball"])
def test_a_step_size_multiplies_the_papers_and_selects_gd(name, step_size):
    X, y, _ = planted(1, n=40, d=12, s=5)
    K = SMALL_SETS[name]
    expected = paper_iterates(X, y, (lambda w: w) if K is None else K.project, 4, step_size)
    model = fit(K, X, y, step_size=step_size, max_iter=4, tol=0)
    np.testing.assert_allclose(model.coef_, last_of(X, y, expected)[0], rtol=0, atol=1e-12)


def test_gd_with_an_intercept_is_the_iteration_with_a_column_of_ones_that_no_set_constrains():
    X, y, _ = planted(2, n=60, d=12, s=5)
    y = y + 0.5
    K = L1Ball(1.5)

    def project(w):
        return np.append(K.project(w[:-1]), w[-1])

    X1 = np.column_stack([X, np.ones(len(X))])
    for max_iter in (1, 2, 3, 5):
        expected, _ = last_of(X1, y, paper_iterates(X1, y, project, max_iter))
        model = fit(K, X, y, step_size=1.0, max_iter=max_iter, tol=0, fit_intercept=True)
        np.testing.assert_allclose(np.append(model.coef_, model.intercept_), expected, rtol=0, atol=1e-12)


def test_gd_weighs_the_rows():
    X, y, _ = planted(3, n=40, d=12, s=5)
    s = np.random.default_rng(0).integers(0, 4, len(y)).astype(float)
    expected, _ = last_of(X, y, paper_iterates(X, y, L0Ball(3).project, 4, sample_weight=s), s)
    model = ProjectedReLURegressor(L0Ball(3), step_size=1.0, fit_intercept=False, max_iter=4, tol=0).fit(X, y, s)
    np.testing.assert_allclose(model.coef_, expected, rtol=0, atol=1e-12)


def test_gd_stops_by_the_documented_criterion():
    """``|w+ - w| <= tol |w+|`` holds at the last iteration and at none before."""
    X, y, _ = planted(4, n=200, d=12, s=5)
    recorder = Recorder(L0Ball(5))
    model = fit(recorder, X, y, step_size=1.0, tol=1e-5)
    w = np.array([np.zeros(12), *recorder.returned[: model.n_iter_]])
    changes = np.linalg.norm(np.diff(w, axis=0), axis=1) / np.linalg.norm(w[1:], axis=1)
    assert model.converged_
    assert changes[-1] <= 1e-5 < changes[:-1].min()


@pytest.mark.parametrize("seed", range(3))
def test_gd_auto_never_raises_the_objective(seed):
    X, y, _ = planted(seed, n=60, d=40, s=5)
    model = ProjectedReLURegressor(L1Ball(3.0), solver="gd", max_iter=200, tol=0).fit(50 * X + 10, y)
    curve = np.array(model.loss_curve_)
    assert np.all(np.diff(curve) <= 0)
    assert curve[-1] < curve[0]


@pytest.mark.parametrize("name", ["none", "L0Ball", "L1Ball"])
def test_gd_auto_halves_the_papers_step_for_good_where_it_would_raise_the_objective(name):
    X, y, _ = planted(6, n=40, d=12, s=5)
    X = 4 * X  # the paper's own step would diverge
    K = SMALL_SETS[name]
    project = (lambda w: w) if K is None else K.project
    w, factor, n_halvings, losses = np.zeros(12), 1.0, 0, []
    for t in range(12):
        z = X @ w
        g = X.T @ ((np.maximum(z, 0) - y) * (1 + np.sign(z))) / len(y)
        while half_mean_square(X, y, new := project(w - factor * (2 if t == 0 else 1) * g)) > half_mean_square(X, y, w):
            factor, n_halvings = factor / 2, n_halvings + 1
        w = new
        losses.append(half_mean_square(X, y, w))
    assert n_halvings >= 2
    model = fit(K, X, y, solver="gd", max_iter=12, tol=0)
    np.testing.assert_allclose(model.loss_curve_, losses, rtol=1e-10)
    np.testing.assert_allclose(model.coef_, w, rtol=0, atol=1e-12)


# The rate and the phase transition of the theorem: d = 1000, 20 nonzero weights, the paper's step.


def recorded_errors(seed, n, max_iter=60):
    """The relative error of w_0 = 0 and of every iterate of the paper's descent on the l0 ball."""
    X, y, w = planted(seed, n)
    recorder = Recorder(L0Ball(20))
    model = fit(recorder, X, y, step_size=1.0, max_iter=max_iter, tol=0)
    return np.array([1.0, *(relative_error(w, u) for u in recorder.returned[:max_iter])]), model, w


@pytest.mark.parametrize("seed", range(8))
def test_the_error_halves_on_average_at_1200_rows(seed):
    """Linear convergence at a rate of at most 1/2 a step, down to rounding."""
    errors, model, w = recorded_errors(seed, 1200)
    n_steps = int(np.argmax(errors < 1e-12))
    assert n_steps > 0
    assert errors[n_steps] ** (1 / n_steps) <= 0.5
    assert np.all(errors[1 : n_steps + 1] < errors[:n_steps])
    assert relative_error(w, model.coef_) < 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_the_error_halves_in_every_step_at_2000_rows(seed):
    """The theorem to the letter: |w_{t+1} - w*| <= |w_t - w*| / 2 for every t, down to 1e-12."""
    errors, _, _ = recorded_errors(seed, 2000, max_iter=30)
    n_steps = int(np.argmax(errors < 1e-12))
    assert n_steps > 0
    assert np.all(errors[1 : n_steps + 1] <= errors[:n_steps] / 2)


@pytest.mark.slow
def test_the_error_halves_in_every_step_over_many_seeds(least_successes):
    """High probability is 0.99 here: a false alarm has probability 1e-6, a share of 0.83 is seen with 0.99."""
    halved = 0
    for seed in range(100):
        errors, _, _ = recorded_errors(seed, 2000, max_iter=30)
        n_steps = int(np.argmax(errors < 1e-12))
        halved += n_steps > 0 and np.all(errors[1 : n_steps + 1] <= errors[:n_steps] / 2)
    assert halved >= least_successes(100, 0.99)


@pytest.mark.parametrize("seed", range(8))
def test_the_papers_step_succeeds_at_600_rows(seed):
    errors, model, w = recorded_errors(seed, 600, max_iter=80)
    assert relative_error(w, model.coef_) < 1e-6
    assert errors[46] < 1e-6


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n", [30, 100])
def test_the_papers_step_fails_below_its_phase_transition(seed, n):
    X, y, w = planted(seed, n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = fit(L0Ball(20), X, y, step_size=1.0, max_iter=200)
    assert relative_error(w, model.coef_) > 0.1
    assert np.all(np.isfinite(model.predict(X)))


@pytest.mark.parametrize("seed", range(6))
def test_a_descent_that_overshoots_until_no_row_is_active_has_diverged(seed):
    """At 30 rows the paper's step grows the weights until every z is negative: the gradient is zero, nothing solved."""
    X, y, _ = planted(seed, 30)
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        model = fit(L0Ball(20), X, y, step_size=1.0, max_iter=200)
    assert not model.converged_
    assert model.loss_ <= min(0.5 * np.mean(y**2), *model.loss_curve_) * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_recovers_twenty_weights_from_fewer_equations(seed):
    """About half of 30 rows say anything of w beyond a sign: fewer equations than the 20 unknowns, on any support."""
    X, y, w = planted(seed, 30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = fit(L0Ball(20), X, y)
    assert relative_error(w, model.coef_) > 0.1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("constraint", [None, constraints.L2Ball(0.7)])
def test_gd_turns_with_the_coordinates(seed, constraint):
    """Rotating X and w together changes no step of the descent."""
    X, y, _ = planted(seed, n=60, d=15, s=15)
    Q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((15, 15)))
    plain, turned = Recorder(constraint), Recorder(constraint)
    for recorder, A in ((plain, X), (turned, X @ Q)):
        fit(recorder, A, y, step_size=0.5, max_iter=20, tol=0)
    np.testing.assert_allclose(turned.returned[:20], plain.returned[:20] @ Q, rtol=0, atol=1e-11)


@pytest.mark.parametrize("constraint", [L0Ball(6), L1Ball(2.0)])
@pytest.mark.parametrize("parameters", [{"step_size": 0.5, "max_iter": 30, "tol": 0}, {}])
def test_a_permutation_of_the_columns_permutes_the_weights(constraint, parameters):
    X, y, _ = planted(5, n=150, d=40, s=6)
    order = np.random.default_rng(0).permutation(40)
    plain, permuted = (fit(constraint, A, y, **parameters) for A in (X, X[:, order]))
    np.testing.assert_allclose(permuted.coef_, plain.coef_[order], rtol=0, atol=1e-10)
