"""`ProjectedReLURegressorCV`: the chosen size, the scores behind the choice, weights, folds, bad input."""

import re
from functools import cache

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, LeaveOneOut, PredefinedSplit, ShuffleSplit

from skrelu import ProjectedReLURegressor, ProjectedReLURegressorCV, constraints
from skrelu.constraints import L0Ball, L1Ball

D = 12
GROUPS = np.arange(D) // 3


def planted(seed=0, n=150, d=D, s=3, noise=0.1, shift=0.0):
    rng = np.random.default_rng(seed)
    w = np.zeros(d)
    w[:s] = rng.choice([-1.0, 1.0], s)
    X = rng.standard_normal((n, d))
    return X, np.maximum(X @ w + shift, 0) + noise * rng.standard_normal(n), rng.integers(0, 4, n).astype(float)


def fold_error(model, X, y, s, test):
    return np.average((model.predict(X[test]) - y[test]) ** 2, weights=s[test])


def slow_cross_validation(family, parameter, sizes, X, y, s, splits, **parameters):
    """Fit each size to each training fold by hand, from scratch: errors (n_splits, n_sizes)."""
    errors = np.empty((len(splits), len(sizes)))
    for k, (train, test) in enumerate(splits):
        for j, size in enumerate(sizes):
            constraint = clone(family).set_params(**{parameter: size})
            model = ProjectedReLURegressor(constraint, **parameters).fit(X[train], y[train], s[train])
            errors[k, j] = fold_error(model, X, y, s, test)
    return errors


FAMILIES = {
    "L1Ball": (L1Ball(), "radius", [0.3, 1.0, 2.0, 4.0]),
    "L2Ball": (constraints.L2Ball(), "radius", [0.3, 1.0, 3.0]),
    "GroupL1Ball": (constraints.GroupL1Ball(GROUPS), "radius", [0.5, 2.0]),
    "Simplex": (constraints.Simplex(), "radius", [0.5, 1.0]),
    "TotalVariationBall": (constraints.TotalVariationBall(), "radius", [1.0, 3.0]),
    "NuclearBall": (constraints.NuclearBall((3, 4)), "radius", [0.5, 2.0]),
    "L0Ball": (L0Ball(), "n_nonzero", [1, 3, 6]),
    "GroupL0Ball": (constraints.GroupL0Ball(GROUPS), "n_groups", [1, 2, 4]),
    "LowRank": (constraints.LowRank((3, 4)), "rank", [1, 2, 3]),
    "NonnegativeSparse": (constraints.NonnegativeSparse(), "n_nonzero", [1, 3, 5]),
}


def planted_without_kinks():
    """So that the path and cold starts by hand end in the same optimum."""
    X, y, s = planted()
    return X, np.maximum(y, 0), s


@cache
def fitted(name, fit_intercept):
    """The fit in three folds, shared by the tests, which do not change it."""
    family, _, sizes = FAMILIES[name]
    model = ProjectedReLURegressorCV(family, sizes=sizes, cv=3, fit_intercept=fit_intercept)
    return model.fit(*planted_without_kinks())


@pytest.mark.parametrize(
    ("name", "fit_intercept"),
    [(name, True) for name in FAMILIES]
    + [pytest.param(name, False, marks=pytest.mark.slow) for name in ("L1Ball", "L0Ball")],
)
def test_the_scores_are_those_of_fits_by_hand(name, fit_intercept):
    family, parameter, sizes = FAMILIES[name]
    X, y, s = planted_without_kinks()
    splits = list(KFold(3).split(X))
    errors = slow_cross_validation(family, parameter, sizes, X, y, s, splits, fit_intercept=fit_intercept)
    shares = np.array([s[test].sum() for _, test in splits]) / s.sum()

    model = fitted(name, fit_intercept)
    results = model.cv_results_
    found = -np.array([results[f"split{k}_test_score"] for k in range(3)])
    np.testing.assert_allclose(found, errors, rtol=1e-6)
    mean = shares @ errors
    std = np.sqrt(shares @ (errors - mean) ** 2)
    np.testing.assert_allclose(-results["mean_test_score"], mean, rtol=1e-6)
    np.testing.assert_allclose(results["std_test_score"], std, rtol=1e-4)
    np.testing.assert_array_equal(results["rank_test_score"][np.argsort(mean)], np.arange(1, len(sizes) + 1))
    np.testing.assert_array_equal(results[f"param_{parameter}"], sizes)
    assert set(results) == {
        f"param_{parameter}",
        *(f"split{k}_test_score" for k in range(3)),
        "mean_test_score",
        "std_test_score",
        "rank_test_score",
    }
    np.testing.assert_array_equal(model.sizes_, sizes)
    assert getattr(model.best_constraint_, parameter) == sizes[int(np.argmin(mean))]


def test_the_scores_of_gd_are_those_of_gd():
    """Every fold descends from where the smaller size ended; run to the optimum it ends where a cold start ends."""
    X, y, s = planted()
    splits = list(KFold(2).split(X))
    parameters = {"solver": "gd", "max_iter": 50_000}
    errors = slow_cross_validation(L1Ball(), "radius", [0.5, 1.5], X, y, s, splits, **parameters)
    model = ProjectedReLURegressorCV(sizes=[0.5, 1.5], cv=2, **parameters).fit(X, y, s)
    np.testing.assert_allclose([-model.cv_results_[f"split{k}_test_score"] for k in range(2)], errors, rtol=1e-6)
    assert "w+" in model.stop_reason_


@pytest.mark.parametrize("name", FAMILIES)
def test_the_last_fit_is_that_of_the_chosen_size(name):
    X, y, s = planted_without_kinks()
    model = fitted(name, True)
    alone = ProjectedReLURegressor(model.best_constraint_).fit(X, y, s)
    np.testing.assert_array_equal(model.coef_, alone.coef_)
    for attribute in ("intercept_", "loss_", "loss_curve_", "optimality_", "n_iter_", "converged_", "stop_reason_"):
        assert getattr(model, attribute) == getattr(alone, attribute)


# The choice.


def first_of(n_seeds, n_fast):
    """The first seeds; the others run with the slow tests."""
    return pytest.mark.parametrize(
        "seed", [seed if seed < n_fast else pytest.param(seed, marks=pytest.mark.slow) for seed in range(n_seeds)]
    )


@first_of(5, 1)
def test_the_planted_number_of_weights_is_chosen(seed):
    X, y, _ = planted(seed)
    model = ProjectedReLURegressorCV(L0Ball(), sizes=range(1, D + 1), selection="one_se").fit(X, y)
    assert model.best_constraint_.n_nonzero == 3
    np.testing.assert_array_equal(np.flatnonzero(model.coef_), [0, 1, 2])


@pytest.mark.parametrize("seed", range(5))
def test_without_noise_the_smallest_of_equal_sizes_is_chosen(seed):
    """All sizes from the planted one on have error zero, to rounding: none is better by more than the margin.

    Errors at rounding level differ by factors, so the scale of y must enter the margin.
    """
    X, y, _ = planted(seed, noise=0.0)
    model = ProjectedReLURegressorCV(L0Ball(), sizes=[1, 2, 3, 5, 8]).fit(X, y)
    assert model.best_constraint_.n_nonzero == 3
    assert model.loss_ < 1e-20


@pytest.mark.parametrize("seed", range(6))
def test_of_sizes_that_differ_by_rounding_the_smallest_is_chosen(seed):
    """Balls that contain the fit without a constraint give the same fit, to the accuracy of the solver."""
    X, y, _ = planted(seed)
    y = np.maximum(y, 0)
    free = np.abs(ProjectedReLURegressor().fit(X, y).coef_).sum()
    model = ProjectedReLURegressorCV(sizes=free * np.array([0.2, 2.0, 2.5, 3.0, 4.0])).fit(X, y)
    assert model.best_constraint_.radius == pytest.approx(2 * free)


@first_of(3, 1)
@pytest.mark.parametrize(("family", "size"), [(constraints.GroupL0Ball(GROUPS), 1), (constraints.LowRank((3, 4)), 1)])
def test_the_planted_structure_is_chosen(family, size, seed):
    X, _, _ = planted(seed)
    rng = np.random.default_rng(seed)
    w = (
        np.where(GROUPS == 1, 1.0, 0.0)
        if "groups" in family.get_params()
        else np.outer([1, -1, 2], [1, 1, 0, -1]).ravel()
    )
    y = np.maximum(X @ w, 0) + 0.1 * rng.standard_normal(len(X))
    model = ProjectedReLURegressorCV(family, sizes=[1, 2, 3], selection="one_se").fit(X, y)
    assert model.best_constraint_.size == size


@first_of(3, 1)
@pytest.mark.parametrize("constraint", [pytest.param(None, marks=pytest.mark.slow), L0Ball()])
def test_one_standard_error_is_never_larger_and_follows_its_rule(constraint, seed):
    X, y, s = planted(seed, n=60, noise=0.8)
    sizes = [1, 2, 3, 5, 8, 12]
    smallest, one_se = (
        ProjectedReLURegressorCV(constraint, sizes=sizes, selection=selection, cv=4).fit(X, y, s)
        for selection in ("min", "one_se")
    )
    assert one_se.best_constraint_.size <= smallest.best_constraint_.size
    error = -one_se.cv_results_["mean_test_score"]
    best = int(np.argmin(error))
    bound = error[best] + one_se.cv_results_["std_test_score"][best] / 2
    assert one_se.best_constraint_.size == sizes[int(np.argmax(error <= bound * (1 + 1e-6)))]
    assert smallest.best_constraint_.size == sizes[int(np.argmax(error <= error[best] * (1 + 1e-6)))]


@pytest.mark.slow
@first_of(2, 1)
def test_the_automatic_radii(seed):
    """Twenty radii in geometric progression over three decades, which reach the fit without a constraint."""
    X, y, _ = planted(seed, noise=0.3)
    model = ProjectedReLURegressorCV().fit(X, y)
    free = np.abs(ProjectedReLURegressor().fit(X, y).coef_).sum()
    assert len(model.sizes_) == 20
    np.testing.assert_allclose(np.diff(np.log(model.sizes_)), np.log(model.sizes_[-1] / model.sizes_[0]) / 19)
    assert model.sizes_[-1] >= free * (1 - 1e-8)
    assert model.sizes_[-1] <= 2 * free
    assert model.sizes_[0] == pytest.approx(1e-3 * free, rel=1.0)
    assert isinstance(model.best_constraint_, L1Ball)
    by_grid = ProjectedReLURegressorCV(sizes=model.sizes_).fit(X, y)
    np.testing.assert_array_equal(by_grid.coef_, model.coef_)


@pytest.mark.slow
def test_the_automatic_numbers_are_distinct_integers_from_one():
    X, y, _ = planted()
    for family in (
        L0Ball(),
        constraints.GroupL0Ball(GROUPS),
        constraints.LowRank((3, 4)),
        constraints.NonnegativeSparse(),
    ):
        sizes = ProjectedReLURegressorCV(family, cv=2).fit(X, y).sizes_
        assert sizes.dtype.kind == "i"
        assert sizes[0] == 1
        assert np.all(np.diff(sizes) > 0)
        assert sizes[-1] <= D


def test_a_target_of_zeros_leaves_one_automatic_radius():
    X, _, _ = planted()
    model = ProjectedReLURegressorCV().fit(X, np.zeros(len(X)))
    np.testing.assert_array_equal(model.predict(X), 0)
    assert np.all(np.isfinite(model.cv_results_["mean_test_score"]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_cross_validation_is_worth_it():
    """Few rows, many columns: the chosen radius predicts new rows better than no constraint, by a factor."""
    X, y, _ = planted(0, n=700, d=60, noise=0.5)
    train, test = slice(0, 80), slice(80, None)
    errors = [
        np.mean((model.fit(X[train], y[train]).predict(X[test]) - y[test]) ** 2)
        for model in (ProjectedReLURegressorCV(), ProjectedReLURegressorCV(L0Ball()), ProjectedReLURegressor())
    ]
    assert max(errors[:2]) < 0.6 * errors[2]


# Folds and weights.


@pytest.mark.slow
def test_folds_as_a_number_a_splitter_or_a_list():
    X, y, s = planted()

    def fit(cv):
        return ProjectedReLURegressorCV(L0Ball(), sizes=[1, 3, 6], cv=cv).fit(X, y, s)

    expected = fit(5).cv_results_
    splits = list(KFold(5).split(X))
    for cv in (None, KFold(5), splits, iter(splits), PredefinedSplit(np.repeat(np.arange(5), 30))):
        for name, values in fit(cv).cv_results_.items():
            np.testing.assert_array_equal(values, expected[name])


def test_folds_that_overlap_or_leave_rows_out():
    X, y, s = planted()
    splitter = ShuffleSplit(4, train_size=0.5, test_size=0.2, random_state=0)
    errors = slow_cross_validation(L1Ball(), "radius", [0.5, 2.0], X, y, s, list(splitter.split(X)))
    model = ProjectedReLURegressorCV(sizes=[0.5, 2.0], cv=splitter).fit(X, y, s)
    np.testing.assert_allclose([-model.cv_results_[f"split{k}_test_score"] for k in range(4)], errors, rtol=1e-6)


def test_one_row_may_be_a_fold():
    X, y, _ = planted(n=20)
    model = ProjectedReLURegressorCV(L0Ball(), sizes=[1, 3], cv=LeaveOneOut()).fit(X, y)
    assert len([name for name in model.cv_results_ if name.startswith("split")]) == 20


@pytest.mark.parametrize(
    ("constraint", "sizes", "selection"),
    [
        (None, [0.5, 1.0, 2.0, 3.0], "min"),
        pytest.param(L0Ball(), [1, 2, 3, 6], "one_se", marks=pytest.mark.slow),
        pytest.param(None, [0.5, 1.0, 2.0, 3.0], "one_se", marks=pytest.mark.slow),
        pytest.param(L0Ball(), [1, 2, 3, 6], "min", marks=pytest.mark.slow),
        *(
            pytest.param(constraint, sizes, selection, marks=pytest.mark.slow)
            for constraint, sizes in (
                (constraints.NuclearBall((3, 4)), [0.5, 1.0, 2.0]),
                (None, "auto"),
                (L0Ball(), "auto"),
            )
            for selection in ("min", "one_se")
        ),
    ],
)
def test_integer_weights_are_repetitions_in_the_same_fold(constraint, sizes, selection):
    X, y, s = planted(noise=0.5)
    fold = np.arange(len(y)) % 4
    rows = np.repeat(np.arange(len(y)), s.astype(int))
    model = ProjectedReLURegressorCV(constraint, selection=selection, sizes=sizes)
    weighted = clone(model).set_params(cv=PredefinedSplit(fold)).fit(X, y, s)
    repeated = clone(model).set_params(cv=PredefinedSplit(fold[rows])).fit(X[rows], y[rows])
    assert weighted.best_constraint_.size == pytest.approx(repeated.best_constraint_.size, rel=1e-8)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=0, atol=1e-7)
    for name, values in repeated.cv_results_.items():
        np.testing.assert_allclose(weighted.cv_results_[name], values, rtol=1e-6, atol=1e-9)


def test_repeated_indices_of_a_split_are_repetitions():
    X, y, _ = planted()
    train, test = np.arange(100), np.arange(100, 150)
    twice = [(np.concatenate([train, train[:50]]), np.concatenate([test, test[:10]]))]
    X2, y2 = np.concatenate([X, X[:50], X[100:110]]), np.concatenate([y, y[:50], y[100:110]])
    copied = [(np.r_[0:100, 150:200], np.r_[100:150, 200:210])]
    a = ProjectedReLURegressorCV(sizes=[0.5, 2.0], cv=twice).fit(X, y)
    b = ProjectedReLURegressorCV(sizes=[0.5, 2.0], cv=copied).fit(X2, y2)
    np.testing.assert_allclose(a.cv_results_["mean_test_score"], b.cv_results_["mean_test_score"], rtol=1e-8)


@pytest.mark.parametrize("empty", ["train", "test"])
def test_a_fold_of_weight_zero_is_an_error_or_left_out(empty):
    X, y, _ = planted(n=60)
    s = np.ones(60)
    s[:20] = 0
    rows = np.arange(60)
    split = (rows[20:], rows[:20]) if empty == "test" else (rows[:20], rows[20:])
    others = [(rows[30:], rows[20:30]), (rows[20:40], rows[40:])]
    try:
        model = ProjectedReLURegressorCV(sizes=[0.5, 2.0], cv=[split, *others]).fit(X, y, s)
    except ValueError as error:
        assert re.search("weight", str(error))  # noqa: PT017 - either outcome is right
    else:
        assert np.all(np.isfinite(model.cv_results_["mean_test_score"]))


@pytest.mark.slow
def test_two_processes_find_what_one_finds():
    X, y, s = planted()
    one, two = (ProjectedReLURegressorCV(L0Ball(), sizes=[1, 3], cv=2, n_jobs=n).fit(X, y, s) for n in (None, 2))
    np.testing.assert_array_equal(two.coef_, one.coef_)
    for name, values in one.cv_results_.items():
        np.testing.assert_array_equal(two.cv_results_[name], values)


# Bad input.


@pytest.mark.parametrize(
    ("constraint", "sizes", "message"),
    [
        (constraints.Nonnegative(), "auto", "constraint: a set with a size is needed, .* got Nonnegative"),
        (constraints.Monotone(), [1], "constraint: a set with a size is needed"),
        (constraints.Box(), [1], "constraint: a set with a size is needed"),
        (constraints.Subspace(np.eye(D)[:, :2]), [1], "constraint: a set with a size is needed"),
        (None, [], "sizes: one or more numbers are needed"),
        (None, ["a"], "sizes: one or more numbers are needed"),
        (None, [[1.0, 2.0]], "sizes: one or more numbers are needed"),
        (None, [1.0, None], "sizes: one or more numbers are needed"),
        (None, [True, False], "sizes: one or more numbers are needed"),
        (None, [-1.0, 1.0], "radius must be a finite number >= 0, got -1.0"),
        (None, [np.nan], "radius must be a finite number"),
        (L0Ball(), [0.5, 1.0], "n_nonzero must be an integer"),
        (L0Ball(), [-1], "n_nonzero must be an integer >= 0"),
        (constraints.LowRank((2, 2)), [1], r"LowRank: shape \(2, 2\) has 4 entries but w has 12"),
        (None, "many", "The 'sizes' parameter of ProjectedReLURegressorCV must be"),
        (lambda w: w, "auto", "The 'constraint' parameter of ProjectedReLURegressorCV must be"),
    ],
)
def test_sets_and_sizes_that_do_not_fit(constraint, sizes, message):
    X, y, _ = planted(n=40)
    with pytest.raises(ValueError, match=message):
        ProjectedReLURegressorCV(constraint, sizes=sizes).fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cv": 1}, "cv|n_splits"),
        ({"cv": 0}, "cv|n_splits"),
        ({"cv": "five"}, "cv"),
        ({"cv": []}, "cv|split"),
        ({"cv": 41}, "n_splits=41"),
        ({"selection": "max"}, "selection"),
        ({"n_jobs": 1.5}, "n_jobs"),
    ],
)
def test_wrong_parameters(parameters, message):
    X, y, _ = planted(n=40)
    with pytest.raises(ValueError, match=message):
        ProjectedReLURegressorCV(**parameters).fit(X, y)


def test_sizes_are_sorted_and_the_size_of_the_family_is_ignored_and_kept():
    X, y, _ = planted()
    family = L0Ball(7)
    model = ProjectedReLURegressorCV(family, sizes=[6, 1, 3, 3], cv=2).fit(X, y)
    np.testing.assert_array_equal(model.sizes_, [1, 3, 6])
    assert family.n_nonzero == 7
    assert model.constraint is family
    assert model.best_constraint_ is not family


def test_fits_on_the_path_that_fail_are_counted_in_a_warning():
    X, y, _ = planted(noise=0.5)
    with pytest.warns(ConvergenceWarning) as record:
        ProjectedReLURegressorCV(sizes=[0.5, 2.0], cv=2, step_size=0.01, max_iter=3).fit(X, y)
    messages = [str(warning.message) for warning in record]
    assert any(re.search("4 of 4 fits on the path did not converge", message) for message in messages)


class InterruptedBall(L1Ball):
    """An l1 ball whose third projection is interrupted by the user; counts those that follow."""

    calls = 0

    def project(self, w):
        InterruptedBall.calls += 1
        if InterruptedBall.calls == 3:
            raise KeyboardInterrupt
        return super().project(w)


def test_an_interruption_ends_the_cross_validation():
    """Ctrl-C stops the work: an error, or the best so far with a warning, but not the folds that are left."""
    X, y, _ = planted()
    InterruptedBall.calls = 0
    try:
        with pytest.warns(ConvergenceWarning, match="interrupted"):
            ProjectedReLURegressorCV(InterruptedBall(), sizes=np.geomspace(0.1, 5, 20)).fit(X, y)
    except KeyboardInterrupt:
        pass
    assert InterruptedBall.calls < 50
