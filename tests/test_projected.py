"""`ProjectedReLURegressor` as a scikit-learn estimator: checks, searches, pipelines, pickles, callbacks."""

import pickle
import re

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import make_scorer, mean_squared_error
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from skrelu import ProjectedReLURegressor, ProjectedReLURegressorCV, constraints
from skrelu.constraints import L0Ball, L1Ball

CHECKED = [
    ProjectedReLURegressor(),
    ProjectedReLURegressor(L0Ball(2)),
    ProjectedReLURegressorCV(L0Ball(), sizes=[1, 2, 4], cv=2),
]
# The default grid has a hundred fits.
OTHERS = [
    ProjectedReLURegressorCV(),
    ProjectedReLURegressor(L1Ball(1.0)),
    ProjectedReLURegressor(constraints.Nonnegative(), fit_intercept=False),
    ProjectedReLURegressor(solver="gd"),
    ProjectedReLURegressor(L1Ball(1.0).project),
]
# The checks fit the descent to data without any scale; that it says so is right, and no concern of theirs.
quietly = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@quietly
@parametrize_with_checks(CHECKED)
def test_scikit_learn_checks(estimator, check):
    """Every check, no expected failure; the weight checks (dense and sparse) are among them."""
    check(estimator)


@pytest.mark.slow
@quietly
@pytest.mark.parametrize("estimator", [ProjectedReLURegressorCV(L0Ball()), *OTHERS], ids=str)
def test_scikit_learn_checks_of_other_sets(estimator):
    check_estimator(estimator, on_skip=None)


@pytest.mark.parametrize("estimator", [ProjectedReLURegressor(), ProjectedReLURegressorCV()])
def test_the_checks_are_not_escaped_by_tags(estimator):
    tags = get_tags(estimator)
    assert not tags.non_deterministic
    assert not tags.no_validation
    assert tags.requires_fit
    assert tags.input_tags.sparse
    assert tags.regressor_tags.poor_score


def planted(n=120, d=10, seed=0, noise=0.05):
    rng = np.random.default_rng(seed)
    w = np.zeros(d)
    w[:3] = 1.0, -1.0, 0.5
    X = rng.standard_normal((n, d))
    return X, np.maximum(X @ w + 0.3, 0) + noise * rng.standard_normal(n), rng.integers(0, 3, n).astype(float)


# Searches.


def weighted_search_by_hand(candidates, X, y, s, folds):
    """Mean over folds of the weighted mean squared error of each candidate."""
    errors = []
    for model in candidates:
        fits = [(clone(model).fit(X[train], y[train], s[train]), test) for train, test in folds.split(X)]
        errors.append(np.mean([mean_squared_error(y[t], m.predict(X[t]), sample_weight=s[t]) for m, t in fits]))
    return np.array(errors)


def test_grid_search_over_the_step_size():
    X, y, _ = planted()
    model = ProjectedReLURegressor(L0Ball(3), max_iter=20, tol=0)
    grid = {"step_size": [0.001, 0.3, 0.01]}
    search = GridSearchCV(model, grid, cv=3, scoring="neg_mean_squared_error").fit(X, y)
    by_hand = weighted_search_by_hand(
        [clone(model).set_params(step_size=step) for step in grid["step_size"]], X, y, np.ones(len(y)), KFold(3)
    )
    np.testing.assert_allclose(-search.cv_results_["mean_test_score"], by_hand, rtol=1e-8)
    assert search.best_params_ == {"step_size": 0.3}


def test_grid_search_over_the_radius_inside_a_pipeline():
    X, y, _ = planted()
    pipeline = make_pipeline(StandardScaler(), ProjectedReLURegressor(L1Ball()))
    grid = {"projectedrelu" + "regressor__constraint__radius": [0.1, 2.5, 0.5]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(100 * X + 7, y)
    assert list(search.best_params_.values()) == [2.5]
    best = search.best_estimator_[-1]
    assert best.constraint.radius == 2.5
    assert np.abs(best.coef_).sum() == pytest.approx(2.5) or best.optimality_ < 1e-9
    assert search.best_score_ > 0.95


def test_grid_search_over_the_constraint_itself():
    X, y, _ = planted()
    grid = {"constraint": [L0Ball(3), L0Ball(1), constraints.Nonnegative(), None]}
    search = GridSearchCV(ProjectedReLURegressor(), grid, cv=3).fit(X, y)
    assert search.best_params_["constraint"].get_params() == {"n_nonzero": 3}


def test_sample_weights_reach_a_search_without_and_with_metadata_routing():
    """Without routing the weights reach the fits alone; with it the scores, too, as recomputed by hand."""
    X, y, s = planted()
    s = s + 0.1
    radii = [0.3, 1.0, 3.0]
    folds = KFold(3)
    candidates = [ProjectedReLURegressor(L1Ball(r)) for r in radii]
    grid = {"constraint__radius": radii}
    plain = GridSearchCV(ProjectedReLURegressor(L1Ball()), grid, cv=folds).fit(X, y, sample_weight=s)
    np.testing.assert_allclose(
        plain.best_estimator_.coef_, clone(plain.best_estimator_).fit(X, y, s).coef_, rtol=0, atol=1e-12
    )
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_scorer(mean_squared_error, greater_is_better=False).set_score_request(sample_weight=True)
        model = ProjectedReLURegressor(L1Ball()).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(
            StandardScaler(with_mean=False, with_std=False).set_fit_request(sample_weight=True), model
        )
        grid = {f"{ProjectedReLURegressor.__name__.lower()}__{name}": values for name, values in grid.items()}
        search = GridSearchCV(pipeline, grid, cv=folds, scoring=scorer).fit(X, y, sample_weight=s)
    by_hand = weighted_search_by_hand(candidates, X, y, s, folds)
    np.testing.assert_allclose(-search.cv_results_["mean_test_score"], by_hand, rtol=1e-8)


@pytest.mark.slow
def test_parallel_scores_are_those_of_one_process():
    X, y, _ = planted()
    model = ProjectedReLURegressor(L0Ball(3))
    np.testing.assert_array_equal(cross_val_score(model, X, y, cv=2, n_jobs=2), cross_val_score(model, X, y, cv=2))


# Copies.

MODELS = [
    ProjectedReLURegressor(),
    ProjectedReLURegressor(L0Ball(3), step_size=0.2, max_iter=2000, tol=1e-6),
    ProjectedReLURegressor(L1Ball(1.0).project),
    ProjectedReLURegressorCV(L0Ball(), sizes=[1, 3, 5], cv=3),
]


@pytest.mark.parametrize("model", MODELS)
def test_pickles_and_joblib_dumps_predict_the_same(model, tmp_path):
    X, y, s = planted()
    model = clone(model).fit(X, y, s)
    joblib.dump(model, tmp_path / "model.joblib")
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")):
        np.testing.assert_array_equal(copy.predict(X), model.predict(X))
        assert copy.loss_curve_ == model.loss_curve_
        np.testing.assert_array_equal(copy.fit(X, y, s).coef_, model.coef_)


@pytest.mark.parametrize("model", MODELS)
def test_a_clone_is_unfitted_and_of_its_own(model):
    X, y, _ = planted()
    copy = clone(model.fit(X, y))
    assert not hasattr(copy, "coef_")
    if isinstance(model.constraint, constraints.L0Ball):
        copy.set_params(constraint__n_nonzero=7)
        assert model.constraint.n_nonzero != 7


@pytest.mark.parametrize("model", MODELS)
def test_a_fit_changes_no_parameter(model):
    X, y, _ = planted()
    before = {name: repr(value) for name, value in model.get_params().items()}
    model.fit(X, y)
    assert {name: repr(value) for name, value in model.get_params().items()} == before


def test_column_names_are_kept():
    pandas = pytest.importorskip("pandas")
    X, y, _ = planted()
    frame = pandas.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    model = ProjectedReLURegressor().fit(frame, pandas.Series(y))
    assert list(model.feature_names_in_) == list(frame.columns)
    np.testing.assert_allclose(model.coef_, ProjectedReLURegressor().fit(X, y).coef_, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[frame.columns[::-1]])


def test_predictions_are_the_formula():
    X, y, _ = planted()
    model = ProjectedReLURegressor(L1Ball(1.0)).fit(X, y)
    by_hand = [max(0.0, sum(w * x for w, x in zip(model.coef_, row, strict=True)) + model.intercept_) for row in X]
    np.testing.assert_allclose(model.predict(X), by_hand, rtol=1e-12, atol=1e-14)
    assert min(by_hand) == 0 < max(by_hand)
    assert model.coef_.shape == (10,)
    assert isinstance(model.intercept_, float)


def test_the_float_step_selects_gd_and_the_default_does_not():
    X, y, _ = planted()
    gd = ProjectedReLURegressor(solver="gd", step_size=0.2, max_iter=7, tol=0).fit(X, y)
    np.testing.assert_array_equal(ProjectedReLURegressor(step_size=0.2, max_iter=7, tol=0).fit(X, y).coef_, gd.coef_)
    assert "w+" in ProjectedReLURegressor(solver="gd", max_iter=10_000).fit(X, y).stop_reason_
    assert "w+" not in ProjectedReLURegressor().fit(X, y).stop_reason_


@pytest.mark.parametrize(("verbose", "every"), [(1, 10), (2, 5), (10, 1), (100, 1)])
def test_verbose_prints_every_so_many_iterations(verbose, every, capsys):
    X, y, _ = planted()
    ProjectedReLURegressor(step_size=0.2, max_iter=20, tol=0, verbose=verbose).fit(X, y)
    numbers = [int(number) for number in re.findall(r"^Iteration (\d+), objective = ", capsys.readouterr().out, re.M)]
    assert numbers == list(range(every, 21, every))


def test_silence_is_the_default(capsys):
    X, y, _ = planted()
    ProjectedReLURegressor().fit(X, y)
    ProjectedReLURegressorCV(cv=2, sizes=[0.5, 1.0]).fit(X, y)
    assert capsys.readouterr() == ("", "")


# Callbacks of scikit-learn.


class Hooks:
    """A callback that remembers the ends of tasks, and may stop or raise at one of them."""

    def __init__(self, *, stop_at=None, raise_at=None):
        self.stop_at, self.raise_at = stop_at, raise_at
        self.seen, self.data = [], None

    def setup(self, estimator, context):
        """Nothing to set up."""

    def teardown(self, estimator, context):
        """Nothing to tear down."""

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        """Remember the data."""
        self.data = X, y, metadata

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        """Remember the weights so far."""
        self.seen.append((context.task_name, getattr(fitted_estimator, "n_iter_", None)))
        if self.raise_at == len(self.seen):
            raise RuntimeError("the callback failed")
        return self.stop_at == len(self.seen)


def slow_fit(callback, max_iter=40):
    X, y, s = planted()
    model = ProjectedReLURegressor(L1Ball(1.0), step_size=0.05, max_iter=max_iter, tol=0).set_callbacks(callback)
    return model, (X, y, s)


def test_a_callback_sees_every_block_of_iterations_with_its_weights_and_the_data():
    hooks = Hooks()
    model, (X, y, s) = slow_fit(hooks)
    model.fit(X, y, s)
    blocks = [n_iter for name, n_iter in hooks.seen if name == "iterations"]
    assert blocks == list(range(1, 41))
    np.testing.assert_array_equal(hooks.data[0], X)
    np.testing.assert_array_equal(hooks.data[1], y)
    np.testing.assert_array_equal(hooks.data[2]["sample_weight"], s)


@pytest.mark.parametrize("max_iter", [1, 99, 100, 101, 1234, 10_000])
def test_there_are_at_most_a_hundred_blocks(max_iter):
    hooks = Hooks()
    model, (X, y, _) = slow_fit(hooks, max_iter)
    model.fit(X[:20], y[:20])
    blocks = [n_iter for name, n_iter in hooks.seen if name == "iterations"]
    assert 0 < len(blocks) <= 100
    assert len(hooks.seen) == len(blocks) + 1


def test_a_callback_that_stops_is_honoured_and_the_best_so_far_kept():
    model, (X, y, s) = slow_fit(Hooks(stop_at=7))
    with pytest.warns(ConvergenceWarning, match="stopped by a callback"):
        model.fit(X, y, s)
    assert model.stop_reason_ == "stopped by a callback"
    assert model.n_iter_ == len(model.loss_curve_) == 7
    assert not model.converged_
    unwatched = clone(model).set_callbacks().set_params(max_iter=7).fit(X, y, s)
    np.testing.assert_array_equal(model.coef_, unwatched.coef_)


@pytest.mark.parametrize("model", [ProjectedReLURegressor(), ProjectedReLURegressorCV(cv=2, sizes=[0.5, 1.0])])
def test_a_callback_that_raises_is_heard(model):
    X, y, s = planted()
    with pytest.raises(RuntimeError, match="the callback failed"):
        clone(model).set_callbacks(Hooks(raise_at=1)).fit(X, y, s)


def test_a_scoring_monitor_logs_a_falling_error():
    monitor = ScoringMonitor(scoring="neg_mean_squared_error")
    model, (X, y, _) = slow_fit(monitor)
    model.fit(X, y)
    rows = monitor.get_logs().data
    errors = [-row["neg_mean_squared_error"] for row in rows if row["task_name"] == "iterations"]
    np.testing.assert_allclose(np.array(errors) / 2, model.loss_curve_, rtol=1e-8)
    assert errors[-1] < errors[0]


def test_a_progress_bar_reaches_the_fits_nested_in_a_search(capsys):
    pytest.importorskip("rich")
    X, y, _ = planted()
    search = GridSearchCV(ProjectedReLURegressor(L1Ball()), {"constraint__radius": [0.5, 1.0]}, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=2)).fit(X, y)
    output = capsys.readouterr().out
    assert "GridSearchCV" in output
    assert "ProjectedReLURegressor" in output


def test_callbacks_do_not_change_the_fit():
    X, y, s = planted()
    for model in (ProjectedReLURegressor(), ProjectedReLURegressorCV(cv=2, sizes=[0.5, 1.0])):
        watched = clone(model).set_callbacks(Hooks()).fit(X, y, s)
        np.testing.assert_array_equal(watched.coef_, clone(model).fit(X, y, s).coef_)
