"""What scikit-learn lets its users expect of every estimator, for all public ones at once: forms of X and y, names of
columns, sparse matrices, weights, metadata routing, tags.
"""

from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, StackingRegressor
from sklearn.exceptions import DataConversionWarning, NotFittedError, UnsetMetadataPassedError
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_validate
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

import skrelu
from skrelu import (
    OneHiddenLayerNet,
    OneHiddenLayerReLU,
    ProjectedReLURegressor,
    ProjectedReLURegressorCV,
    QuadraticNet,
    TwoLayerReLURecovery,
)
from skrelu.constraints import L0Ball, L1Ball

# A few steps of descent: a form of the data that is not the same numbers would show.
STEPS = {"solver": "gd", "max_iter": 5, "tol": 0, "random_state": 0}
SMALL = {"n_hidden": 2, "alpha": 0.01, **STEPS}
MODELS = {
    "OneHiddenLayerNet": OneHiddenLayerNet(activation="tanh", **SMALL),
    "OneHiddenLayerReLU": OneHiddenLayerReLU(**SMALL),
    "ProjectedReLURegressor": ProjectedReLURegressor(L1Ball(5.0), **STEPS),
    "ProjectedReLURegressorCV": ProjectedReLURegressorCV(L0Ball(), sizes=[1, 2], cv=2, **STEPS),
    "QuadraticNet": QuadraticNet(**SMALL),
    "TwoLayerReLURecovery": TwoLayerReLURecovery(**SMALL),
}
every = pytest.mark.parametrize("name", MODELS)


def paired(forms):
    """Parametrize by all pairs of an estimator and a form; each form runs always with two of the estimators."""
    cases = [
        pytest.param(name, form, marks=[] if (i - j) % 3 == 0 else pytest.mark.slow)
        for i, name in enumerate(MODELS)
        for j, form in enumerate(forms)
    ]
    return pytest.mark.parametrize(("name", "form"), cases)


RNG = np.random.default_rng(0)
N = 40
# Whole numbers, that every dtype has.
X = RNG.integers(-9, 10, (N, 3)).astype(float)
Y = np.round(np.maximum(X @ [1.0, 2.0, 0.0] + 1, 0))
S = RNG.integers(1, 4, N).astype(float)
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])
POLARS = pl.DataFrame(X, schema=["a", "b", "c"])


def test_every_public_estimator_is_among_them():
    classes = {name for name in skrelu.__all__ if isinstance(vars(skrelu)[name], type)}
    assert {type(model).__name__ for model in MODELS.values()} == classes
    assert all(isinstance(model, BaseEstimator) for model in MODELS.values())


@cache
def fitted(name):
    """Return the fit to the arrays, which no test changes."""
    return clone(MODELS[name]).fit(X, Y)


@cache
def fitted_to_names(name):
    return clone(MODELS[name]).fit(FRAME, Y)


def predictions(name):
    return fitted(name).predict(X)


def assert_same(name, found):
    expected = predictions(name)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


# Forms of X and y.


def frozen(array):
    array = array.copy()
    array.setflags(write=False)
    return array


FORMS_OF_X = {
    "list": X.tolist(),
    "tuple": tuple(map(tuple, X)),
    "object": X.astype(object),
    "int8": X.astype(np.int8),
    "int64": X.astype(np.int64),
    "half": X.astype(np.float16),
    "long double": X.astype(np.longdouble),
    "big endian": X.astype(">f8"),
    "column by column": np.asfortranarray(X),
    "every other row and column": np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2],
    "backwards": X[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": frozen(X),
    "pandas": FRAME,
    "pandas Int64": FRAME.astype("Int64"),
    "pandas Float32": FRAME.astype("Float32"),
    "pandas sparse": FRAME.astype(pd.SparseDtype("float64", 0.0)),
    "pandas numbered columns": pd.DataFrame(X),
    "polars": POLARS,
    "polars integers": POLARS.cast(pl.Int16),
}
FORMS_OF_Y = {
    "list": Y.tolist(),
    "tuple": tuple(Y),
    "object": Y.astype(object),
    "unsigned": Y.astype(np.uint8),
    "int64": Y.astype(np.int64),
    "single": Y.astype(np.float32),
    "big endian": Y.astype(">f8"),
    "every other": np.repeat(Y, 2)[::2],
    "read-only": frozen(Y),
    "pandas of another index": pd.Series(Y, index=np.arange(N)[::-1]),
    "pandas Int64": pd.Series(Y).astype("Int64"),
    "polars": pl.Series(Y),
}


@paired(FORMS_OF_X)
def test_x_in_another_form_is_the_same_x(name, form):
    given = FORMS_OF_X[form]
    model = clone(MODELS[name]).fit(given, Y)
    assert model.n_features_in_ == 3
    assert_same(name, model.predict(given))


@paired(FORMS_OF_Y)
def test_y_in_another_form_is_the_same_y(name, form):
    assert_same(name, clone(MODELS[name]).fit(X, FORMS_OF_Y[form]).predict(X))


@pytest.mark.parametrize("make", [np.asarray, pd.Series, pl.Series, lambda y: pd.Series(y).astype("boolean")])
@every
def test_truth_values_are_zero_and_one(name, make):
    truth = Y > 5
    expected = clone(MODELS[name]).fit(X, truth.astype(float)).predict(X)
    np.testing.assert_array_equal(clone(MODELS[name]).fit(X, make(truth)).predict(X), expected)


@pytest.mark.parametrize("make", [np.asarray, pd.DataFrame, lambda y: pl.DataFrame({"y": y[:, 0]})])
@every
def test_y_of_one_column_is_told_to_be_a_column_or_is_one_output(name, make):
    model, column = clone(MODELS[name]), make(Y[:, None])
    if get_tags(model).target_tags.multi_output:
        np.testing.assert_array_equal(model.fit(X, column).predict(X), predictions(name)[:, None])
    else:
        with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
            model.fit(X, column)
        np.testing.assert_array_equal(model.predict(X), predictions(name))


TEXT = ["u", "v"] * (N // 2)
WRONG_X = {
    "matrix": (np.asmatrix(X), TypeError, r"np\.matrix is not supported.*np\.asarray"),
    "NA": (FRAME.astype("Int64").mask(FRAME > 8), ValueError, r"X contains NaN\.\n\w+ does not accept missing values"),
    "null": (POLARS.with_columns(a=None), ValueError, r"X contains NaN\.\n\w+ does not accept missing values"),
    "categories": (FRAME.assign(a=pd.Categorical(TEXT)), ValueError, "could not convert string to float: 'u'"),
    "text": (FRAME.assign(a=TEXT), ValueError, "could not convert string to float: 'u'"),
    "objects": (FRAME.assign(a=TEXT).to_numpy(), ValueError, "could not convert string to float: 'u'"),
    "polars text": (POLARS.with_columns(a=pl.Series(TEXT)), ValueError, "could not convert string to float: 'u'"),
    "three dimensions": (X[:, :, None], ValueError, "Found array with dim 3, while dim <= 2 is required"),
    "a number": (3.0, ValueError, "Expected 2D array, got scalar array"),
    "rows of two lengths": ([[1.0, 2.0], [3.0]] * (N // 2), ValueError, "inhomogeneous shape"),
}
WRONG_Y = {
    "NA": (pd.Series(Y).mask(Y > 5).astype("Float64"), ValueError, "Input y contains NaN"),
    "null": (pl.Series([None, *Y[1:]]), ValueError, "Input y contains NaN"),
    "text": (pd.Series(TEXT), ValueError, "could not convert string to float: 'u'"),
    "sparse": (sparse.csr_array(Y[:, None]), TypeError, r"[Ss]parse data w.*passed for y, but dense data is required"),
}


@pytest.mark.parametrize("kind", WRONG_X)
@every
def test_what_is_no_table_of_numbers_is_told(name, kind):
    given, error, message = WRONG_X[kind]
    with pytest.raises(error, match=message):
        clone(MODELS[name]).fit(given, Y)
    with pytest.raises(error, match=message):
        (fitted_to_names(name) if hasattr(given, "columns") else fitted(name)).predict(given)


@pytest.mark.parametrize("kind", WRONG_Y)
@every
def test_targets_that_are_no_numbers_are_told(name, kind):
    given, error, message = WRONG_Y[kind]
    with pytest.raises(error, match=message):
        clone(MODELS[name]).fit(X, given)


# Names of columns.


@pytest.mark.parametrize("frame", [FRAME, POLARS], ids=["pandas", "polars"])
@every
def test_names_of_columns_are_kept_and_demanded(name, frame):
    model = clone(MODELS[name]).fit(frame, Y)
    np.testing.assert_array_equal(model.feature_names_in_, np.array(["a", "b", "c"], dtype=object))
    for columns, message in (
        (["c", "b", "a"], "must be in the same order"),
        (["a", "b"], "seen at fit time, yet now missing:\n- c"),
    ):
        with pytest.raises(ValueError, match=message):
            model.predict(frame[columns])
    other = frame.rename(columns={"c": "z"}) if frame is FRAME else frame.rename({"c": "z"})
    with pytest.raises(ValueError, match="unseen at fit time:\n- z"):
        model.predict(other)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        assert_same(name, model.predict(X))
    assert not hasattr(model.fit(X, Y), "feature_names_in_")
    assert not hasattr(model, "get_feature_names_out")
    with pytest.warns(UserWarning, match="X has feature names"):
        model.predict(frame)


@every
def test_names_that_are_partly_no_text_are_told(name):
    with pytest.raises(TypeError, match="only supported if all input features have string names"):
        clone(MODELS[name]).fit(FRAME.set_axis(["a", 1, 2], axis=1), Y)


@pytest.mark.parametrize("container", ["pandas", "polars"])
@every
def test_names_pass_through_a_pipeline(name, container):
    """The numbers of a scaled table are those of its array."""
    scaler = StandardScaler().set_output(transform=container)
    pipeline = make_pipeline(scaler, clone(MODELS[name])).fit(FRAME, Y)
    assert list(pipeline[-1].feature_names_in_) == ["a", "b", "c"]
    expected = make_pipeline(StandardScaler(), clone(MODELS[name])).fit(X, Y).predict(X)
    np.testing.assert_allclose(pipeline.predict(FRAME), expected, rtol=0, atol=1e-9 * np.abs(expected).max())


# Sparse matrices and arrays. Of CSR and CSC the tests of each estimator.


def with_flaws(make):
    """Return X with entries stored twice, zeros stored, columns out of order and indices of 64 bits, read-only."""
    row, column = (index.ravel() for index in np.indices(X.shape))
    order = np.random.default_rng(1).permutation(np.tile(np.arange(X.size), 2))
    halves = sparse.coo_array((X.ravel()[order] / 2, (row[order], column[order])), shape=X.shape)
    along, across, length = (row, column, N) if make.__name__.startswith("csr") else (column, row, 3)
    along, across = along[order], across[order]
    by_row = np.argsort(along, kind="stable")
    starts = np.append(0, np.cumsum(np.bincount(along, minlength=length))).astype(np.int64)
    parts = halves.data[by_row], across[by_row].astype(np.int64), starts
    flawed = make(X.shape)
    flawed.data, flawed.indices, flawed.indptr = map(frozen, parts)
    return flawed


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csr_matrix, sparse.csc_array, sparse.csc_matrix])
@every
def test_sparse_data_with_every_flaw_are_the_dense_data_and_left_alone(name, make):
    flawed = with_flaws(make)
    assert not flawed.has_canonical_format
    assert flawed.nnz == 2 * X.size
    before = [part.tobytes() for part in (flawed.data, flawed.indices, flawed.indptr)]
    assert_same(name, clone(MODELS[name]).fit(flawed, Y).predict(flawed))
    assert [part.tobytes() for part in (flawed.data, flawed.indices, flawed.indptr)] == before
    assert flawed.indices.dtype == np.int64


@pytest.mark.parametrize("format", ["coo", "bsr", "lil", "dok", "dia"])
@every
def test_other_sparse_formats_are_converted(name, format):
    given = sparse.coo_array(X).asformat(format)
    assert_same(name, clone(MODELS[name]).fit(given, Y).predict(given))
    assert given.format == format


# Weights and scores.


ONES = {"float": np.ones(N), "int": np.ones(N, dtype=int), "list": [1] * N, "series": pd.Series([True] * N)}


@pytest.mark.parametrize("form", ONES)
@every
def test_weights_of_one_are_no_weights(name, form):
    np.testing.assert_array_equal(clone(MODELS[name]).fit(X, Y, ONES[form]).predict(X), predictions(name))


@pytest.mark.parametrize("make", [list, pd.Series, pl.Series, np.int8])
@every
def test_weights_in_another_form_are_the_same_weights(name, make):
    expected = clone(MODELS[name]).fit(X, Y, S).predict(X)
    assert np.abs(expected - predictions(name)).max() > 1e-3
    np.testing.assert_array_equal(clone(MODELS[name]).fit(X, Y, make(S)).predict(X), expected)


@every
def test_the_score_is_the_coefficient_of_determination(name):
    model = fitted(name)
    assert model.score(X, Y) == r2_score(Y, predictions(name))
    assert model.score(X, Y, S) == r2_score(Y, predictions(name), sample_weight=S)


# Metadata routing.


def routed(estimator, **metadata):
    with sklearn.config_context(enable_metadata_routing=True):
        return estimator.fit(X, Y, **metadata)


def weighted(name):
    """Return a model that asks for weights, and its predictions for X with them."""
    with sklearn.config_context(enable_metadata_routing=True):
        model = clone(MODELS[name]).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    return model, clone(MODELS[name]).fit(X, Y, S).predict(X)


@every
def test_weights_that_are_asked_for_come_through_meta_estimators(name):
    model, expected = weighted(name)
    search = GridSearchCV(model, {"max_iter": [5]}, cv=2)
    stack = StackingRegressor([("model", model)], LinearRegression(), cv=2)
    for meta, inner in (
        (make_pipeline(model), lambda fitted: fitted[-1]),
        (search, lambda fitted: fitted.best_estimator_),
        (TransformedTargetRegressor(model), lambda fitted: fitted.regressor_),
        (stack, lambda fitted: fitted.estimators_[0]),
    ):
        np.testing.assert_array_equal(inner(routed(meta, sample_weight=S)).predict(X), expected)


@every
def test_weights_that_are_asked_for_come_to_every_output_and_fold(name):
    model, expected = weighted(name)
    with sklearn.config_context(enable_metadata_routing=True):
        several = MultiOutputRegressor(model).fit(X, np.column_stack([Y, Y]), sample_weight=S)
        folds = cross_validate(model, X, Y, cv=KFold(2), params={"sample_weight": S}, return_estimator=True)
    np.testing.assert_array_equal(several.predict(X), np.column_stack([expected, expected]))
    for k, (train, test) in enumerate(KFold(2).split(X)):
        by_hand = clone(MODELS[name]).fit(X[train], Y[train], S[train])
        np.testing.assert_array_equal(folds["estimator"][k].predict(X), by_hand.predict(X))
        assert folds["test_score"][k] == by_hand.score(X[test], Y[test], S[test])


@every
def test_weights_that_are_refused_are_kept_away_and_those_not_spoken_of_are_an_error(name):
    with sklearn.config_context(enable_metadata_routing=True):
        refusing = clone(MODELS[name]).set_fit_request(sample_weight=False)
    scaler = StandardScaler(with_mean=False, with_std=False)
    with sklearn.config_context(enable_metadata_routing=True):
        scaler.set_fit_request(sample_weight=True)
    pipeline = routed(make_pipeline(scaler, refusing), sample_weight=S)
    np.testing.assert_array_equal(pipeline.predict(X), predictions(name))
    for meta in (make_pipeline(clone(MODELS[name])), GridSearchCV(clone(MODELS[name]), {"max_iter": [5]}, cv=2)):
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            routed(meta, sample_weight=S)


@every
def test_a_bag_fits_the_rows_that_it_draws(name):
    bag = BaggingRegressor(clone(MODELS[name]).set_params(random_state=None), 2, random_state=0).fit(X, Y)
    for inner, rows in zip(bag.estimators_, bag.estimators_samples_, strict=True):
        by_hand = clone(inner).fit(X[rows], Y[rows])
        np.testing.assert_allclose(inner.predict(X), by_hand.predict(X), rtol=1e-9, atol=1e-9)


GROUPS = RNG.integers(0, 5, N)


def test_groups_reach_the_splitter():
    model, by_group = MODELS["ProjectedReLURegressorCV"], GroupKFold(3)
    by_hand = clone(model).set_params(cv=list(by_group.split(X, Y, GROUPS))).fit(X, Y, S)
    grouped = clone(model).set_params(cv=by_group)
    direct = clone(grouped).fit(X, Y, S, groups=GROUPS.tolist())
    with sklearn.config_context(enable_metadata_routing=True):
        grouped.set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        outer = cross_validate(grouped, X, Y, cv=by_group, params={"groups": GROUPS}, return_estimator=True)
    through = routed(make_pipeline(grouped), sample_weight=S, groups=GROUPS)[-1]
    for found in (direct, through):
        assert found.cv_results_.keys() == by_hand.cv_results_.keys()
        for key, values in by_hand.cv_results_.items():
            np.testing.assert_array_equal(found.cv_results_[key], values)
    for found, (train, _) in zip(outer["estimator"], by_group.split(X, Y, GROUPS), strict=True):
        splits = list(by_group.split(X[train], Y[train], GROUPS[train]))
        expected = clone(model).set_params(cv=splits).fit(X[train], Y[train])
        np.testing.assert_array_equal(found.predict(X), expected.predict(X))


@pytest.mark.parametrize("keyword", ["groups", "weights"])
def test_what_the_splitter_does_not_take_is_an_error(keyword):
    with pytest.raises(TypeError, match=f"unexpected argument.*{keyword}"):
        clone(MODELS["ProjectedReLURegressorCV"]).fit(X, Y, **{keyword: GROUPS})


@pytest.mark.parametrize("name", [name for name in MODELS if not name.startswith("Projected")])
def test_deviations_come_through_a_pipeline(name):
    expected = fitted(name).predict(X, return_std=True)
    plain = make_pipeline(clone(MODELS[name])).fit(X, Y).predict(X, return_std=True)
    with sklearn.config_context(enable_metadata_routing=True):
        asking = clone(MODELS[name]).set_predict_request(return_std=True)
        routed_to = make_pipeline(asking).fit(X, Y).predict(X, return_std=True)
    for found in (plain, routed_to):
        np.testing.assert_array_equal(np.array(found), np.array(expected))


# Tags.


def works(task):
    """Whether a task raises no error."""
    try:
        task()
    except (TypeError, ValueError):
        return False
    return True


@every
def test_tags_are_true(name):
    model, tags = clone(MODELS[name]), get_tags(MODELS[name])
    both = np.column_stack([Y, Y + 1])
    gaps = np.where(X > 8, np.nan, X)
    assert tags.estimator_type == "regressor"
    assert tags.input_tags.two_d_array
    assert tags.input_tags.sparse == works(lambda: clone(model).fit(sparse.csr_array(X), Y))
    assert tags.input_tags.allow_nan == works(lambda: clone(model).fit(gaps, Y))
    assert tags.input_tags.string == works(lambda: clone(model).fit(FRAME.assign(a=TEXT), Y))
    assert tags.input_tags.three_d_array == works(lambda: clone(model).fit(X[:, :, None], Y))
    assert tags.input_tags.positive_only == (not works(lambda: clone(model).fit(-np.abs(X), Y)))
    assert tags.target_tags.multi_output == works(lambda: clone(model).fit(X, both))
    assert tags.target_tags.single_output
    assert tags.target_tags.required == (not works(lambda: clone(model).fit(X)))
    assert tags.target_tags.positive_only == (not works(lambda: clone(model).fit(X, np.abs(Y) - 50)))
    assert tags.regressor_tags.poor_score == bool(np.all(clone(model).fit(X, np.minimum(X[:, 0], 0)).predict(X) >= 0))
    assert not tags.no_validation
    assert not tags.non_deterministic
    assert tags.requires_fit
    with pytest.raises(NotFittedError):
        clone(model).predict(X)
    assert tags.array_api_support
    assert fitted(name).__sklearn_tags__() == tags


@every
def test_the_picture_of_a_notebook_tells_what_is_fitted(name):
    model = clone(MODELS[name])
    assert "<span>Not fitted</span>" in model._repr_html_()
    shown = fitted(name)._repr_html_()
    assert "<span>Fitted</span>" in shown
    assert name in shown
    assert "max_iter" in shown
