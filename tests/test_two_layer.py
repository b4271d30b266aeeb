"""`TwoLayerReLURecovery` as a scikit-learn estimator: checks, attributes, searches, pickles, callbacks."""

import os
import pickle
import re
import threading
import warnings
from functools import cache
from itertools import pairwise

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from skrelu import OneHiddenLayerNet, OneHiddenLayerReLU, TwoLayerReLURecovery, activations
from skrelu.activations import Activation
from skrelu.datasets import make_one_hidden_layer, make_two_layer_relu
from skrelu.metrics import match_units, recovery_error
from skrelu.rows import Rows

# The checks fit data far from Gaussian, and descent to data without any scale; that it says so is right.
quietly = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@quietly
@parametrize_with_checks([TwoLayerReLURecovery()])
def test_scikit_learn_checks(estimator, check):
    """Every check, no expected failure; the weight checks (dense and sparse) are among them."""
    check(estimator)


@pytest.mark.slow
@quietly
@pytest.mark.parametrize(
    "estimator",
    [
        TwoLayerReLURecovery(1, random_state=0),
        TwoLayerReLURecovery(2, random_state=0),
        TwoLayerReLURecovery(5, random_state=0),
        TwoLayerReLURecovery(2, activation="squared_relu", random_state=0),
        TwoLayerReLURecovery(2, alpha=0.1, random_state=0),
        TwoLayerReLURecovery(2, solver="gd", max_iter=200, random_state=0),
        TwoLayerReLURecovery(2, fit_intercept=False, random_state=0),
        TwoLayerReLURecovery(outliers="detect", random_state=0),
    ],
    ids=str,
)
def test_scikit_learn_checks_of_other_networks(estimator):
    check_estimator(estimator, on_skip=None)


def test_the_checks_are_not_escaped_by_tags():
    tags = get_tags(TwoLayerReLURecovery())
    assert not tags.non_deterministic
    assert not tags.no_validation
    assert tags.requires_fit
    assert tags.input_tags.sparse
    assert tags.target_tags.multi_output
    assert not tags.regressor_tags.poor_score


N, D, K, M = 150, 5, 3, 4


def planted(n=N, d=D, k=K, m=M, seed=0, noise=0.1, **options):
    """Noisy data of a planted network with biases, and integer weights, some of them zero."""
    options = {"bias": 0.2, "output_bias": 0.5, **options}
    X, y = make_two_layer_relu(n, d, k, m, noise=noise, random_state=seed, **options)
    return X, y, np.random.default_rng(seed).integers(0, 3, n).astype(float)


def cube(z):
    """A rectified function of homogeneity 3 that nothing is told of."""
    return np.maximum(z, 0) ** 3


def cube_slope(z):
    return 3 * np.maximum(z, 0) ** 2


def log_unit(z):
    """A rectified function that is not homogeneous."""
    return np.log1p(np.maximum(z, 0))


def log_slope(z):
    return np.where(z > 0, 1 / (1 + np.maximum(z, 0)), 0) + 0.5 * (z == 0)


LOG = Activation(log_unit, log_slope, "log", kink=1.0)

MODELS = {
    "given": TwoLayerReLURecovery(K, n_init=2, alpha=0.0, random_state=0),
    "any size": TwoLayerReLURecovery(n_init=2, alpha=0.0, random_state=0),
    "no intercept": TwoLayerReLURecovery(K, fit_intercept=False, alpha=0.0, random_state=0),
    "decay": TwoLayerReLURecovery(K, n_init=2, alpha=0.05, random_state=0),
    "squared": TwoLayerReLURecovery(K, activation="squared_relu", n_init=3, alpha=0.0, random_state=0),
    "log": TwoLayerReLURecovery(K, activation=LOG, n_init=3, alpha=0.0, random_state=0),
    "gd": TwoLayerReLURecovery(K, solver="gd", max_iter=50, tol=0, alpha=0.0, random_state=0),
}
models = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
FEW = ("given", "any size", "gd")
# The others run with the slow tests.
most = pytest.mark.parametrize(
    "model",
    [MODELS[name] if name in FEW else pytest.param(MODELS[name], marks=pytest.mark.slow) for name in MODELS],
    ids=MODELS,
)


def of(model, **options):
    """Data of a network as the model has it: its activation, no biases where it has none."""
    bias = {} if model.fit_intercept else {"bias": 0.0, "output_bias": 0.0}
    return planted(activation=model.activation, **bias, **options)


@cache
def fitted(model):
    """The fit to such data with weights, shared by the tests, which do not change it."""
    return clone(model).fit(*of(model))


WEIGHTS = ("hidden_coef_", "hidden_intercept_", "output_coef_", "output_intercept_")


# Attributes.


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@most
def test_attributes_their_shapes_and_dtypes(model, dtype):
    X, y, s = (a.astype(dtype) for a in of(model))
    model = fitted(model) if dtype is np.float64 else clone(model).fit(X, y, s)
    k = len(model.hidden_coef_)
    assert k == K or model.n_hidden == "auto"
    for name, shape in {
        "hidden_coef_": (k, D),
        "hidden_intercept_": (k,),
        "output_coef_": (M, k),
        "output_intercept_": (M,),
        "hidden_coef_std_": (k, D),
        "output_coef_std_": (M, k),
    }.items():
        array = getattr(model, name)
        assert array.shape == shape, name
        assert array.dtype == dtype, name
        assert np.all(np.isfinite(array)), name
    assert model.outlier_mask_.shape == (N,)
    assert model.outlier_mask_.dtype == bool
    assert not model.outlier_mask_.any()
    for name, kind in {
        "loss_": float,
        "residual_": float,
        "alpha_": float,
        "exact_": bool,
        "n_iter_": int,
        "converged_": bool,
        "stop_reason_": str,
        "loss_curve_": list,
    }.items():
        assert isinstance(getattr(model, name), kind), name
    assert model.alpha_ == model.alpha
    assert model.n_features_in_ == D
    assert model.predict(X).dtype == dtype
    assert model.predict(X).shape == (N, M)
    if not model.fit_intercept:
        np.testing.assert_array_equal(model.hidden_intercept_, 0)
        np.testing.assert_array_equal(model.output_intercept_, 0)


@pytest.mark.parametrize(("shape", "told"), [((N,), (7,)), ((N, 1), (7, 1)), ((N, 2), (7, 2))])
@pytest.mark.parametrize("name", ["given", "any size", "gd"])
def test_the_prediction_has_the_dimensions_of_y(name, shape, told):
    X, y, _ = planted()
    model = clone(MODELS[name]).fit(X, y[:, :2].reshape(N, 2)[:, : (*shape, 1)[1]].reshape(shape))
    assert model.predict(X[:7]).shape == told
    k = len(model.hidden_coef_)
    assert model.output_coef_.shape == ((*shape, 1)[1], k)
    assert model.output_intercept_.shape == ((*shape, 1)[1],)
    assert np.isscalar(model.score(X, model.predict(X)))


def test_one_column_is_one_dimension():
    X, y, s = planted(m=1)
    flat, column = (clone(MODELS["given"]).fit(X, target, s) for target in (y[:, 0], y))
    for name in WEIGHTS:
        np.testing.assert_array_equal(getattr(flat, name), getattr(column, name))
    np.testing.assert_array_equal(flat.predict(X), column.predict(X)[:, 0])


@models
def test_predictions_are_the_formula_and_loss_and_residual_are_theirs(model):
    X, y, s = of(model)
    model = fitted(model)
    f = activations.get_activation(model.activation).value
    by_hand = np.array(
        [model.output_intercept_ + model.output_coef_ @ f(model.hidden_coef_ @ x + model.hidden_intercept_) for x in X]
    )
    np.testing.assert_allclose(model.predict(X), by_hand, rtol=0, atol=1e-12 * np.abs(by_hand).max())
    p = s / s.sum()
    squared = p @ np.sum((by_hand - y) ** 2, axis=1)
    assert model.loss_ == pytest.approx(squared / 2, rel=1e-10)
    center = p @ y if model.fit_intercept else 0.0
    assert model.residual_ == pytest.approx(np.sqrt(squared / (p @ np.sum((y - center) ** 2, axis=1))), rel=1e-10)
    assert not model.exact_


@models
def test_the_output_layer_is_the_best_for_the_hidden_one(model):
    """U and c are at their least squares, with decay at their ridge regression."""
    X, y, s = of(model)
    model = fitted(model)
    p = s / s.sum()
    units = activations.get_activation(model.activation).value(X @ model.hidden_coef_.T + model.hidden_intercept_)
    residual = model.predict(X) - y
    alpha = model.alpha * np.linalg.norm(model.output_coef_, axis=0) if model.alpha else 0
    if model.alpha:  # of length one the rows of V are free of the scale that both layers share
        W, scale = model.hidden_coef_, np.sum((X - p @ X) ** 2 * p[:, None], axis=0)
        length = np.sqrt(W**2 @ scale)
        alpha = model.alpha * length / np.linalg.norm(model.output_coef_, axis=0)
    slope = units.T @ (p[:, None] * residual) + (alpha * model.output_coef_).T
    np.testing.assert_allclose(slope, 0, atol=(1e-5 if model.alpha else 1e-10) * np.abs(y).max())
    if model.fit_intercept:
        np.testing.assert_allclose(p @ residual, 0, atol=1e-10 * np.abs(y).max())


@models
def test_units_of_homogeneous_activations_have_length_one(model):
    norms = np.linalg.norm(fitted(model).hidden_coef_, axis=1)
    if model.activation == LOG:
        assert np.abs(norms - 1).max() > 1e-3
    else:
        np.testing.assert_allclose(norms, 1, rtol=0, atol=1e-14)


@models
def test_units_come_by_decreasing_contribution(model):
    """``|u_j|`` times the deviation of the unit; without intercept, its root mean square."""
    X, _, s = of(model)
    model = fitted(model)
    p = s / s.sum()
    units = activations.get_activation(model.activation).value(X @ model.hidden_coef_.T + model.hidden_intercept_)
    center = p @ units if model.fit_intercept else 0.0
    sizes = np.sqrt(p @ (units - center) ** 2) * np.linalg.norm(model.output_coef_, axis=0)
    assert np.all(np.diff(sizes) <= 1e-12 * sizes[0])


@models
def test_the_curve_has_one_objective_an_iteration_and_ends_at_the_objective(model):
    X, _, s = of(model)
    model = fitted(model)
    assert len(model.loss_curve_) == model.n_iter_ >= 1
    p = s / s.sum()
    S = p @ (X - p @ X) ** 2
    objective = model.loss_
    if model.alpha:  # at the best of the scales that both layers share
        objective += model.alpha * np.sum(
            np.sqrt(model.hidden_coef_**2 @ S) * np.linalg.norm(model.output_coef_, axis=0)
        )
    # The last stage smooths kinks, over 1e-4 of the root mean square: their objective is that much different.
    rel = 1e-9 if model.solver == "gd" or model.activation == "squared_relu" else 1e-4
    assert model.loss_curve_[-1] == pytest.approx(objective, rel=rel)


def test_exact_is_its_formula():
    """Zero to 1000 eps, more equations than weights, no unit that vanishes or is parallel to another."""
    X, y, _ = planted(noise=0.0)
    model = clone(MODELS["given"]).fit(X, y)
    assert model.exact_
    assert model.residual_ <= 1e3 * np.finfo(float).eps
    noisy = clone(MODELS["given"]).fit(X, y + 1e-9 * np.random.default_rng(0).standard_normal(y.shape))
    assert noisy.residual_ < 1e-8
    assert not noisy.exact_
    few = TwoLayerReLURecovery(K, random_state=0).fit(X[:9], y[:9])
    assert not few.exact_
    # Without noise the outputs have the rank of the units: so many of them count.
    assert f"{9 * K} equations do not determine {K * (D + K) + K} weights" in few.stop_reason_


# One output: the route of one output.


@pytest.mark.parametrize("alpha", [0.0, 0.05])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_one_output_takes_the_route_of_the_network_of_one(fit_intercept, alpha):
    X, y = make_one_hidden_layer(400, 5, 2, noise=0.1, random_state=0)
    options = {"fit_intercept": fit_intercept, "alpha": alpha, "random_state": 0}
    one = OneHiddenLayerReLU(2, **options).fit(X, y)
    model = TwoLayerReLURecovery(2, **options).fit(X, y)
    np.testing.assert_allclose(model.predict(X), one.predict(X), rtol=0, atol=1e-5)
    folded = model.hidden_coef_ * np.abs(model.output_coef_[0])[:, None]
    np.testing.assert_allclose(folded[match_units(one.hidden_coef_, folded)[1]], one.hidden_coef_, rtol=0, atol=1e-4)


def test_one_output_of_another_activation_takes_its_route_too():
    X, y = make_one_hidden_layer(300, 4, 2, activation="squared_relu", noise=0.05, random_state=0)
    one = OneHiddenLayerNet(2, activation="squared_relu", random_state=0).fit(X, y)
    model = TwoLayerReLURecovery(2, activation="squared_relu", random_state=0).fit(X, y)
    assert model.loss_ <= one.loss_ * (1 + 1e-6)


def test_one_output_that_is_certified_is_the_planted_network():
    X, y, teacher = make_one_hidden_layer(500, 10, 3, return_teacher=True, random_state=0)
    model = TwoLayerReLURecovery(3, random_state=0).fit(X, y)
    assert model.exact_
    assert model.converged_
    assert recovery_error(teacher.hidden_coef_, model.hidden_coef_) < 1e-10
    signs = model.output_coef_[0, match_units(teacher.hidden_coef_, model.hidden_coef_)[1]]
    np.testing.assert_allclose(signs, teacher.output_coef_, rtol=0, atol=1e-10)


# Activations.


@pytest.mark.parametrize("name", ["tanh", "softplus", "leaky_relu", "gelu", "sigmoid"])
def test_activations_that_are_not_rectified_are_rejected_by_name(name):
    X, y, _ = planted()
    message = rf"activation must be rectified, 0 for z <= 0 and positive for z > 0, {name} is not"
    with pytest.raises(ValueError, match=message):
        TwoLayerReLURecovery(activation=getattr(activations, name)).fit(X, y)
    with pytest.raises(ValueError, match="The 'activation' parameter of TwoLayerReLURecovery must be"):
        TwoLayerReLURecovery(activation=name).fit(X, y)


def test_a_user_activation_that_is_homogeneous_by_declaration_has_unit_rows():
    X, _, _ = planted()
    f = Activation(cube, cube_slope, "cube", homogeneity=3)
    _, y, teacher = make_two_layer_relu(300, D, K, M, activation=f, return_teacher=True, random_state=0)
    X = make_two_layer_relu(300, D, K, M, random_state=0)[0]
    model = TwoLayerReLURecovery(K, activation=f, random_state=0).fit(X, y)
    assert model.exact_
    np.testing.assert_allclose(np.linalg.norm(model.hidden_coef_, axis=1), 1, rtol=0, atol=1e-14)
    assert recovery_error(teacher.hidden_coef_, model.hidden_coef_) < 1e-9


def test_the_name_of_an_activation_is_the_activation():
    X, y, _ = planted(activation="squared_relu")
    named, given = (
        TwoLayerReLURecovery(K, activation=f, n_init=2, random_state=0).fit(X, y)
        for f in ("squared_relu", activations.squared_relu)
    )
    np.testing.assert_array_equal(named.hidden_coef_, given.hidden_coef_)


# Sparse, column names, memory maps, precision.


# As the next ones, in the fast run by test_same_answer.py and test_state.py.
@pytest.mark.slow
@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csc_matrix])
@most
def test_sparse_is_dense(model, container):
    X, _, s = planted()
    X = X * (np.random.default_rng(1).random(X.shape) < 0.6)
    rng = np.random.default_rng(2)
    f = activations.get_activation(model.activation).value
    y = f(X @ rng.standard_normal((D, K)) + 0.2 * model.fit_intercept) @ rng.standard_normal((K, M))
    y = y + 0.05 * rng.standard_normal(y.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # columns with many zeros are not Gaussian
        dense, thin = clone(model).fit(X, y, s), clone(model).fit(container(X), y, s)
    np.testing.assert_allclose(thin.predict(container(X)), dense.predict(X), rtol=0, atol=1e-7)
    np.testing.assert_allclose(thin.predict(X), dense.predict(X), rtol=0, atol=1e-7)


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csc_array])
def test_sparse_noiseless_is_exact(container):
    X, _, _ = planted(n=300)
    X = X * (np.random.default_rng(1).random(X.shape) < 0.7)
    rng = np.random.default_rng(2)
    V, U = rng.standard_normal((K, D)), rng.standard_normal((M, K))
    model = TwoLayerReLURecovery(K, random_state=0).fit(container(X), np.maximum(X @ V.T, 0) @ U.T)
    assert model.exact_
    assert recovery_error(V, model.hidden_coef_, scale_invariant=True) < 1e-10


@pytest.mark.parametrize("name", ["given", "any size"])
def test_memory_maps_are_arrays(name, tmp_path):
    X, y, _ = planted()
    np.save(tmp_path / "X.npy", X)
    mapped = clone(MODELS[name]).fit(np.load(tmp_path / "X.npy", mmap_mode="r"), y)
    np.testing.assert_array_equal(mapped.hidden_coef_, clone(MODELS[name]).fit(X, y).hidden_coef_)


def test_column_names_are_kept():
    pandas = pytest.importorskip("pandas")
    X, y, _ = planted()
    frame = pandas.DataFrame(X, columns=[f"x{j}" for j in range(D)])
    model = clone(MODELS["given"]).fit(frame, pandas.DataFrame(y, columns=list("abcd")))
    assert list(model.feature_names_in_) == list(frame.columns)
    np.testing.assert_allclose(model.hidden_coef_, clone(MODELS["given"]).fit(X, y).hidden_coef_, rtol=0, atol=1e-10)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[frame.columns[::-1]])


@pytest.mark.parametrize("name", ["given", "no intercept", "decay", pytest.param("squared", marks=pytest.mark.slow)])
def test_single_precision_is_close(name):
    X, y, s = (a.astype(np.float32) for a in of(MODELS[name]))
    single, double = clone(MODELS[name]).fit(X, y, s), clone(MODELS[name]).fit(*(a.astype(float) for a in (X, y, s)))
    assert single.loss_ == pytest.approx(double.loss_, rel=1e-3)
    np.testing.assert_allclose(single.predict(X), double.predict(X), rtol=0, atol=2e-2 * np.abs(y).max())


@pytest.mark.parametrize("seed", range(5))
def test_single_precision_without_noise_is_exact_for_its_precision(seed):
    X, y, teacher = make_two_layer_relu(300, 10, 4, 6, return_teacher=True, random_state=seed)
    X = X.astype(np.float32)
    y = teacher.predict(X.astype(float)).astype(np.float32)
    model = TwoLayerReLURecovery(4, random_state=seed).fit(X, y)
    assert model.exact_
    assert model.residual_ <= 1e3 * np.finfo(np.float32).eps
    assert recovery_error(teacher.hidden_coef_, model.hidden_coef_) < 1e-4


# Repeated fits.


@pytest.mark.slow
@most
def test_the_same_fit_twice_is_the_same_to_the_last_bit(model):
    X, y, s = of(model)
    first, second = clone(model).fit(X, y, s), fitted(model)
    for name in WEIGHTS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.loss_curve_ == second.loss_curve_
    coef = first.hidden_coef_.copy()
    first.fit(*of(model, seed=3))
    np.testing.assert_array_equal(first.fit(X, y, s).hidden_coef_, coef)


def test_the_draws_do_not_depend_on_the_number_of_rows():
    """No draw has an entry for each row: what is drawn first is the same, and is small."""
    sizes = []

    class Watched(np.random.RandomState):
        def standard_normal(self, size=None):
            sizes.append(int(np.prod(size)))
            return super().standard_normal(size)

    for n in (300, 600):
        X, y, _ = planted(n=n, k=4, m=2, noise=0.3)
        TwoLayerReLURecovery(4, random_state=Watched(0), n_init=3).fit(X, y)
    assert len(sizes) > 1
    assert max(sizes) < 300


def test_a_seed_a_generator_of_it_and_no_global_state():
    X, y, _ = planted(noise=1.0)
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - it must not change
    with np.errstate(all="raise", under="ignore"):
        errors = np.geterr()
        seeded = TwoLayerReLURecovery(2, random_state=0).fit(X, y)
        assert np.geterr() == errors
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    generator = TwoLayerReLURecovery(2, random_state=np.random.RandomState(0)).fit(X, y)
    np.testing.assert_array_equal(generator.hidden_coef_, seeded.hidden_coef_)
    np.random.seed(5)  # noqa: NPY002 - the global generator must make no difference
    again = TwoLayerReLURecovery(2, random_state=0).fit(X, y)
    np.testing.assert_array_equal(again.hidden_coef_, seeded.hidden_coef_)


@pytest.mark.slow
def test_fits_in_threads_are_those_in_turn():
    data = [planted(seed=seed) for seed in range(4)]
    in_turn = [clone(MODELS["given"]).fit(*each).hidden_coef_ for each in data]
    found = [None] * 4

    def one(i):
        found[i] = clone(MODELS["given"]).fit(*data[i]).hidden_coef_

    threads = [threading.Thread(target=one, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one_way, other in zip(in_turn, found, strict=True):
        np.testing.assert_array_equal(one_way, other)


@pytest.mark.parametrize(
    "name", ["given", "no intercept", "decay", pytest.param("log", marks=pytest.mark.slow), "any size"]
)
def test_a_warm_start_at_the_optimum_is_soon_done(name):
    X, y, s = of(MODELS[name])
    model = clone(MODELS[name]).set_params(warm_start=True).fit(X, y, s)
    before = model.hidden_coef_.copy(), model.loss_
    model.fit(X, y, s)
    # Whether descent has stalled is seen after two windows of 20 iterations; a few Newton steps follow.
    assert model.n_iter_ <= 80
    assert model.loss_ == pytest.approx(before[1], rel=1e-8)
    np.testing.assert_allclose(model.hidden_coef_, before[0], rtol=0, atol=1e-5)


def test_a_warm_start_of_an_exact_fit_stays():
    X, y, _ = planted(noise=0.0)
    model = TwoLayerReLURecovery(K, warm_start=True, random_state=0).fit(X, y)
    before = model.hidden_coef_.copy()
    assert model.fit(X, y).exact_
    np.testing.assert_allclose(model.hidden_coef_, before, rtol=0, atol=1e-12)


def test_a_warm_start_continues_the_descent():
    """Thirty steps at once, or twelve and eighteen: L, the unit of the step, is that of each start."""
    X, y, s = planted()
    options = {"solver": "gd", "step_size": 0.5, "tol": 0, "random_state": 0}
    at_once = TwoLayerReLURecovery(K, max_iter=30, **options).fit(X, y, s)
    in_two = TwoLayerReLURecovery(K, max_iter=12, warm_start=True, **options).fit(X, y, s)
    curve = in_two.loss_curve_
    assert curve == at_once.loss_curve_[:12]
    in_two.set_params(max_iter=18).fit(X, y, s)
    assert np.all(np.diff(curve + in_two.loss_curve_) < 0)
    assert in_two.loss_curve_[-1] == pytest.approx(at_once.loss_curve_[-1], rel=0.05)


def test_a_warm_start_with_other_units_or_columns_starts_anew():
    X, y, _ = planted()
    model = TwoLayerReLURecovery(3, warm_start=True, n_init=2, random_state=0).fit(X, y)
    fresh = TwoLayerReLURecovery(2, n_init=2, random_state=0).fit(X[:, :4], y)
    np.testing.assert_array_equal(model.set_params(n_hidden=2).fit(X[:, :4], y).hidden_coef_, fresh.hidden_coef_)
    other = TwoLayerReLURecovery(3, n_init=2, random_state=0).fit(X[:, :4], y)
    np.testing.assert_array_equal(model.set_params(n_hidden=3).fit(X[:, :4], y).hidden_coef_, other.hidden_coef_)


def test_a_warm_start_with_other_outputs_goes_on():
    """The hidden layer is the start; the output layer is a least squares fit anyway."""
    X, y, _ = planted(noise=0.0)
    model = TwoLayerReLURecovery(K, warm_start=True, random_state=0).fit(X, y)
    hidden = model.hidden_coef_.copy()
    model.fit(X, y[:, :3])
    assert model.exact_
    assert model.output_coef_.shape == (3, K)
    np.testing.assert_allclose(model.hidden_coef_[match_units(hidden, model.hidden_coef_)[1]], hidden, atol=1e-12)
    flat = model.fit(X, y[:, 0])
    assert flat.predict(X).shape == (N,)
    assert flat.exact_


@most
def test_pickles_and_joblib_dumps_predict_the_same(model, tmp_path):
    X, _, _ = of(model)
    model = fitted(model)
    joblib.dump(model, tmp_path / "model.joblib")
    if model.activation == LOG:  # pickled by the name of its functions, which this module, imported by a path, lacks
        pytest.skip("a module imported by its path")
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")):
        np.testing.assert_array_equal(copy.predict(X), model.predict(X))
        assert copy.loss_curve_ == model.loss_curve_
        assert copy.stop_reason_ == model.stop_reason_
        assert copy.exact_ == model.exact_


@most
def test_a_fit_changes_no_parameter_and_no_data(model):
    X, y, s = of(model)
    model = clone(model)
    before = {name: repr(value) for name, value in model.get_params().items()}
    copies = X.copy(), y.copy(), s.copy()
    for array in (X, y, s):
        array.setflags(write=False)
    model.fit(X, y, s)
    assert {name: repr(value) for name, value in model.get_params().items()} == before
    for array, copy in zip((X, y, s), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


# Searches and pipelines.


def test_grid_search_over_the_step_size():
    X, y, _ = planted()
    model = TwoLayerReLURecovery(K, random_state=0, max_iter=15, tol=0)
    grid = {"step_size": [0.01, 1.0, 0.1]}
    search = GridSearchCV(model, grid, cv=3, scoring="neg_mean_squared_error").fit(X, y)
    by_hand = [
        np.mean(
            [
                mean_squared_error(y[test], clone(model).set_params(step_size=step).fit(X[a], y[a]).predict(X[test]))
                for a, test in KFold(3).split(X)
            ]
        )
        for step in grid["step_size"]
    ]
    np.testing.assert_allclose(-search.cv_results_["mean_test_score"], by_hand, rtol=1e-12)
    assert search.best_params_ == {"step_size": 1.0}


def test_a_pipeline_with_a_search_over_decay_and_size():
    X, y, _ = planted(noise=0.02)
    pipeline = make_pipeline(StandardScaler(), TwoLayerReLURecovery(n_init=2, random_state=0))
    grid = {"twolayerrelurecovery__alpha": [0.0, 1.0], "twolayerrelurecovery__n_hidden": [3, 1]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(100 * X + 7, y)
    assert search.best_params_ == {"twolayerrelurecovery__alpha": 0.0, "twolayerrelurecovery__n_hidden": 3}
    assert search.best_score_ > 0.99


def test_cross_validation_with_several_outputs():
    X, y, _ = planted(noise=0.02)
    scores = cross_val_score(MODELS["given"], X, y, cv=3)
    assert np.all(scores > 0.99)
    assert np.all(cross_val_score(MODELS["given"], X, y[:, 0], cv=3) > 0.95)


@pytest.mark.slow
def test_parallel_scores_are_those_of_one_process():
    X, y, _ = planted()
    model = MODELS["given"]
    np.testing.assert_array_equal(cross_val_score(model, X, y, cv=2, n_jobs=2), cross_val_score(model, X, y, cv=2))


# Stopping.


def test_the_float_step_selects_gd_and_the_default_does_not():
    X, y, _ = planted()
    options = {"max_iter": 7, "tol": 0, "random_state": 0}
    gd = TwoLayerReLURecovery(K, solver="gd", step_size=0.5, **options).fit(X, y)
    alone = TwoLayerReLURecovery(K, step_size=0.5, **options).fit(X, y)
    np.testing.assert_array_equal(alone.hidden_coef_, gd.hidden_coef_)
    assert alone.n_iter_ == 7
    assert "w+" in TwoLayerReLURecovery(K, solver="gd", tol=1e-3, random_state=0).fit(X, y).stop_reason_
    assert "w+" not in MODELS["given"].fit(X, y).stop_reason_


def test_a_tolerance_of_zero_runs_every_iteration_without_complaint():
    X, y, _ = planted()
    model = TwoLayerReLURecovery(K, solver="gd", tol=0, max_iter=37, random_state=0).fit(X, y)
    assert model.n_iter_ == 37
    assert model.converged_


def test_gd_auto_never_raises_the_objective():
    X, y, _ = planted()
    for options in ({}, {"alpha": 0.1}, {"fit_intercept": False}):
        curve = clone(MODELS["gd"]).set_params(max_iter=200, **options).fit(X, y).loss_curve_
        assert np.all(np.diff(curve) <= 1e-15)
        assert curve[-1] < curve[0]


def test_the_step_of_the_paper_is_one_over_the_largest_curvature():
    """One step of descent goes along the gradient in V, b, by 1/L of the Gauss-Newton matrix, slowly computed."""
    X, y, s = planted(n=60)
    p, options = s / s.sum(), {"fit_intercept": False, "tol": 0, "max_iter": 1, "random_state": 0}
    near = TwoLayerReLURecovery(K, step_size=1e-9, **options).fit(X, y, s)

    def parts(V):
        Z = X @ V.T
        A, root = np.maximum(Z, 0), np.sqrt(p)[:, None]
        U = np.linalg.lstsq(root * A, root * y, rcond=None)[0].T
        residual = A @ U.T - y
        G = ((residual @ U) * (Z > 0) * p[:, None]).T @ X
        # Derivative of U f(V x) by V; then without what a change of U could make good.
        J = np.einsum("oj,nj,ni->noji", U, Z > 0, X).reshape(len(X), -1, V.size) * root[:, :, None]
        Q = np.linalg.qr(root * A)[0]
        J = J - np.einsum("na,ba,boq->noq", Q, Q, J, optimize=True)
        J = J.reshape(-1, V.size)
        return G, np.linalg.eigvalsh(J.T @ J)[-1]

    V = near.hidden_coef_
    # The length of each unit is free: rows of length one stand for those at which descent began, up to their scales.
    far = TwoLayerReLURecovery(K, step_size=0.1, **options).fit(X, y, s)
    G, L = parts(V)
    moved = V - 0.1 * G / L
    assert np.all(np.isfinite(moved))
    order = match_units(V, far.hidden_coef_)[1]
    step = far.hidden_coef_[order] - V
    along = G - np.sum(G * V, axis=1, keepdims=True) * V
    cosine = -np.sum(step * along, axis=1) / np.linalg.norm(step, axis=1) / np.linalg.norm(along, axis=1)
    assert np.all(cosine > 0.999)


@pytest.mark.parametrize("max_iter", [1, 5, 30])
@pytest.mark.parametrize("name", ["given", "decay", "gd", "any size", "log"])
def test_max_iter_is_the_largest_number_of_iterations_and_a_warning_tells(name, max_iter):
    X, y, _ = planted(noise=1.0)
    model = clone(MODELS[name]).set_params(max_iter=max_iter, tol=1e-10)
    message = rf"did not converge: .*max_iter = {max_iter} reached.*max_iter"
    with pytest.warns(ConvergenceWarning, match=message) as record:
        model.fit(X, y)
    assert len(record) == 1
    assert record[0].filename == __file__
    assert not model.converged_
    assert 1 <= model.n_iter_ <= max_iter
    assert np.isfinite(model.loss_)


def test_the_criterion_of_the_descent_holds_at_the_last_iteration_and_at_none_before():
    """On rows whose lengths are told: an activation that is not homogeneous."""
    X, y, _ = planted()
    options = {"solver": "gd", "step_size": 1.0, "random_state": 0, "fit_intercept": False, "activation": LOG}
    model = TwoLayerReLURecovery(K, tol=1e-5, **options).fit(X, y)
    assert model.converged_
    n = model.n_iter_
    w = [TwoLayerReLURecovery(K, tol=0, max_iter=i, **options).fit(X, y).hidden_coef_ for i in (n - 2, n - 1, n)]
    w = [u[match_units(w[-1], u)[1]] for u in w]
    change = [np.linalg.norm(b - a) / np.linalg.norm(b) for a, b in pairwise(w)]
    assert change[1] <= 1e-5 < change[0]


def test_the_default_solver_has_converged_where_the_gradient_vanishes():
    """The gradient by V and b at the solution, in units of y; kinks are smoothed over 1e-4 of these."""
    X, y, s = planted()
    model = fitted(MODELS["given"])
    assert model.converged_
    p = s / s.sum()
    Z = X @ model.hidden_coef_.T + model.hidden_intercept_
    slope = ((model.predict(X) - y) @ model.output_coef_) * np.clip(Z / 1e-3 + 0.5, 0, 1) * p[:, None]
    scale = np.sqrt(p @ np.sum((y - p @ y) ** 2, axis=1)) * np.linalg.norm(model.output_coef_, axis=0)
    G = np.column_stack([slope.T @ X, slope.sum(axis=0)]) / scale[:, None]
    # One row on a kink carries 1/n of the gradient.
    assert np.abs(G).max() < 1.5 / N


@pytest.mark.parametrize(("verbose", "every"), [(1, 10), (2, 5), (10, 1)])
def test_verbose_prints_every_so_many_iterations(verbose, every, capsys):
    X, y, _ = planted()
    TwoLayerReLURecovery(K, step_size=0.5, max_iter=20, tol=0, verbose=verbose, random_state=0).fit(X, y)
    numbers = [int(number) for number in re.findall(r"^Iteration (\d+), objective = ", capsys.readouterr().out, re.M)]
    assert numbers == list(range(every, 21, every))


def test_verbose_prints_the_stages_of_the_default_solver_and_of_one_output(capsys):
    X, y, _ = planted()
    for target in (y, y[:, 0]):
        clone(MODELS["given"]).set_params(verbose=10).fit(X, target)
        assert "Iteration 1, objective = " in capsys.readouterr().out


@most
def test_silence_is_the_default(model, capsys):
    X, y, _ = of(model)
    clone(model).fit(X, y)
    assert capsys.readouterr() == ("", "")


# Callbacks of scikit-learn.


class Hooks:
    """A callback that remembers the ends of tasks, and may stop or raise at one of them."""

    def __init__(self, *, stop_at=None, raise_at=None):
        self.stop_at, self.raise_at = stop_at, raise_at
        self.seen, self.data, self.losses = [], None, []

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
        if fitted_estimator is not None and hasattr(fitted_estimator, "hidden_coef_"):
            residual = fitted_estimator.predict(X) - y
            self.losses.append(0.5 * np.sum(residual**2) / len(X))
        if self.raise_at == len(self.seen):
            raise RuntimeError("the callback failed")
        return self.stop_at == len(self.seen)


def test_a_callback_sees_every_block_of_iterations_with_its_weights_and_the_data():
    hooks = Hooks()
    X, y, s = planted()
    model = TwoLayerReLURecovery(K, step_size=0.5, max_iter=40, tol=0, random_state=0).set_callbacks(hooks)
    model.fit(X, y, s)
    assert [n_iter for name, n_iter in hooks.seen if name == "iterations"] == list(range(1, 41))
    assert hooks.seen[0][0] == "start"
    for told, given in zip((*hooks.data[:2], hooks.data[2]["sample_weight"]), (X, y, s), strict=True):
        np.testing.assert_array_equal(told, given)
    hooks = Hooks()
    clone(model).set_callbacks(hooks).fit(X, y)
    plain = clone(model).set_callbacks().fit(X, y)
    np.testing.assert_allclose(hooks.losses[1:41], plain.loss_curve_, rtol=1e-10)


OUTPUTS = pytest.mark.parametrize("m", [pytest.param(1, marks=pytest.mark.slow), M])


@OUTPUTS
@pytest.mark.parametrize("max_iter", [60, 101, pytest.param(12_345, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["given", "any size"])
def test_there_are_at_most_a_hundred_blocks_and_a_task_for_each_start(name, max_iter, m):
    hooks = Hooks()
    X, y, _ = planted(n=60, noise=0.5, m=m)
    model = clone(MODELS[name]).set_params(max_iter=max_iter).set_callbacks(hooks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    names = [task for task, _ in hooks.seen]
    assert names.count("iterations") <= 100
    assert 2 <= names.count("start") <= model.n_init + 1
    assert len(names) == names.count("iterations") + names.count("start") + 1


def test_a_callback_that_stops_the_descent_is_honoured():
    X, y, s = planted()
    model = TwoLayerReLURecovery(K, step_size=0.5, max_iter=40, tol=0, random_state=0)
    stopped = clone(model).set_callbacks(Hooks(stop_at=8))  # the start, then seven iterations
    with pytest.warns(ConvergenceWarning, match="stopped by a callback"):
        stopped.fit(X, y, s)
    assert stopped.stop_reason_ == "stopped by a callback"
    assert stopped.n_iter_ == len(stopped.loss_curve_) == 7
    assert not stopped.converged_
    np.testing.assert_array_equal(stopped.hidden_coef_, model.set_params(max_iter=7).fit(X, y, s).hidden_coef_)


@quietly
@OUTPUTS
@pytest.mark.parametrize(
    "name", ["given", *(pytest.param(name, marks=pytest.mark.slow) for name in ("any size", "decay", "log"))]
)
def test_a_callback_that_stops_in_any_stage_is_honoured(name, m):
    """No task is begun after the one at whose end the callback asked to stop, and the fit says so."""
    X, y, _ = planted(n=60, noise=0.5, m=m)
    all_of_it = Hooks()
    model = clone(MODELS[name]).set_params(max_iter=100)
    clone(model).set_callbacks(all_of_it).fit(X, y)
    last = len(all_of_it.seen) - 1  # the end of the fit itself
    for stop_at in sorted({*range(1, min(last, 6)), last - 2, last - 1}):
        hooks = Hooks(stop_at=stop_at)
        stopped = clone(model).set_callbacks(hooks)
        with pytest.warns(ConvergenceWarning, match="stopped by a callback"):
            stopped.fit(X, y)
        assert len(hooks.seen) == stop_at + 1, stop_at
        assert "stopped by a callback" in stopped.stop_reason_
        assert not stopped.converged_
        assert np.all(np.isfinite(stopped.predict(X)))


@most
def test_a_callback_that_raises_is_heard(model):
    X, y, s = of(model)
    with pytest.raises(RuntimeError, match="the callback failed"):
        clone(model).set_callbacks(Hooks(raise_at=2)).fit(X, y, s)


@most
def test_callbacks_do_not_change_the_fit(model):
    X, y, s = of(model)
    watched = clone(model).set_callbacks(Hooks()).fit(X, y, s)
    np.testing.assert_array_equal(watched.hidden_coef_, fitted(model).hidden_coef_)


def test_a_scoring_monitor_logs_a_falling_error():
    monitor = ScoringMonitor(scoring="neg_mean_squared_error")
    X, y, _ = planted()
    model = TwoLayerReLURecovery(K, solver="gd", max_iter=30, tol=0, random_state=0).set_callbacks(monitor).fit(X, y)
    rows = monitor.get_logs().data
    errors = [-row["neg_mean_squared_error"] for row in rows if row["task_name"] == "iterations"]
    np.testing.assert_allclose(np.array(errors) * M / 2, model.loss_curve_, rtol=1e-8)
    assert errors[-1] < errors[0]


def test_a_progress_bar_reaches_the_fits_nested_in_a_search(capsys):
    pytest.importorskip("rich")
    X, y, _ = planted()
    search = GridSearchCV(TwoLayerReLURecovery(2, random_state=0), {"alpha": [0.0, 0.1]}, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=2)).fit(X, y)
    assert "TwoLayerReLURecovery" in capsys.readouterr().out


# Interruption.

# What follows the last stage of descent: order of the units, loss, standard errors, rows of each unit.
LAST_PASSES = 12


@pytest.mark.parametrize("m", [pytest.param(1, marks=pytest.mark.slow), M])
@pytest.mark.parametrize(
    "name",
    [
        "given",
        "any size",
        pytest.param("decay", marks=pytest.mark.slow),
        pytest.param("log", marks=pytest.mark.slow),
        "gd",
    ],
)
def test_an_interruption_keeps_the_best_so_far_and_warns(name, m, monkeypatch):
    """Ctrl-C at any pass after those of the start and before the last ones, of the attributes."""
    X, y, _ = planted(n=60, noise=0.5, m=m)
    original, passes, limit = Rows.sum, 0, np.inf

    def counted(self, f, *parameters):
        nonlocal passes
        passes += 1
        if passes == limit:
            raise KeyboardInterrupt
        return original(self, f, *parameters)

    monkeypatch.setattr(Rows, "sum", counted)
    model = clone(MODELS[name]).set_params(n_init=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    total, first = passes, 70 if name == "gd" else 25
    assert total > 100
    escaped, unheard = [], []
    for at in range(first, total - LAST_PASSES, max(1, (total - first) // 8)):
        limit, passes = at, 0
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            try:
                model.fit(X, y)
            except KeyboardInterrupt:
                escaped.append(at)
                continue
        if "interrupted by the user" not in model.stop_reason_ or len(record) != 1:
            unheard.append(at)
            continue
        assert "interrupted by the user" in str(record[0].message)
        assert not model.converged_
        assert passes < limit + 25
        assert 1 <= model.n_iter_ == len(model.loss_curve_)
        assert np.all(np.isfinite(model.predict(X)))
    assert not escaped, total
    assert not unheard, total


# Divergence.


@pytest.mark.parametrize("step_size", [1e3, 1e6, 1e300])
def test_a_diverging_descent_keeps_the_best_iterate_and_warns(step_size):
    X, y, _ = planted()
    with pytest.warns(
        ConvergenceWarning, match=rf"did not converge: .*(?i:lower) step_size .now {re.escape(f'{step_size:g}')}"
    ) as record:
        model = TwoLayerReLURecovery(
            K, step_size=step_size, max_iter=300, activation="squared_relu", random_state=0
        ).fit(X, y)
    assert len(record) == 1
    assert not model.converged_
    assert np.all(np.isfinite(model.predict(X)))
    assert model.loss_ <= np.sum(np.var(y, axis=0))


def test_no_thread_is_left_over_and_no_environment_changed():
    X, y, _ = planted()
    before = dict(os.environ), threading.active_count()
    clone(MODELS["given"]).fit(X, y)
    assert (dict(os.environ), threading.active_count()) == before
