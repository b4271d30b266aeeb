"""`OneHiddenLayerNet`: any activation recovers, is normalised, passes the checks, and is finite on hostile data."""

import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, cross_val_score
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from skrelu import OneHiddenLayerNet, OneHiddenLayerReLU
from skrelu.activations import Activation, relu, tanh
from skrelu.datasets import make_one_hidden_layer
from skrelu.metrics import recovery_error

HOMOGENEOUS = ["relu", "leaky_relu", "squared_relu"]
ODD = ["tanh", "sigmoid", "erf"]
ALL = [*HOMOGENEOUS, *ODD, "softplus", "gelu", "swish"]
every_activation = pytest.mark.parametrize("activation", ALL)
# One homogeneous, one odd, and the default; the others run with the slow tests.
each_kind = pytest.mark.parametrize(
    "activation",
    [
        name if name in ("leaky_relu", "tanh", "softplus") else pytest.param(name, marks=pytest.mark.slow)
        for name in ALL
    ],
)
quietly = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def planted(seed, n=4000, d=20, k=4, *, biased=False, **options):
    bias = np.random.default_rng(seed).uniform(-1, 1, k) if biased else 0.0
    return make_one_hidden_layer(n, d, k, bias=bias, return_teacher=True, random_state=seed, **options)


def function_error(model, teacher, d, seed=0):
    """Relative error of the function on fresh rows."""
    X = np.random.default_rng(10**6 + seed).standard_normal((2000, d))
    f = teacher.predict(X)
    return np.linalg.norm(model.predict(X) - f) / np.linalg.norm(f - f.mean())


# recovery


def assert_recovered(activation, seed, d, k, n, **options):
    X, y, teacher = planted(seed, n, d, k, activation=activation, **options)
    model = OneHiddenLayerNet(k, activation=activation, random_state=seed).fit(X, y)
    assert function_error(model, teacher, d, seed) < 1e-6
    assert model.loss_ < 1e-20 * np.mean(y**2)
    assert model.converged_
    if activation in HOMOGENEOUS:
        np.testing.assert_array_equal(np.abs(model.output_coef_), 1)
    if activation in ODD:
        assert np.all(model.output_coef_ > 0)
    # Up to what is a symmetry, the weights are unique; of other activations signs of units are no symmetry.
    signs = np.where(teacher.output_coef_ < 0, -1.0, 1.0) if activation in ODD else np.ones(k)
    true = np.column_stack([signs[:, None] * teacher.hidden_coef_, signs * teacher.hidden_intercept_])
    found = np.column_stack([model.hidden_coef_, model.hidden_intercept_])
    assert recovery_error(true, found) < 1e-6


@each_kind
@pytest.mark.parametrize(
    ("biased", "output_weights"), [pytest.param(False, "positive", marks=pytest.mark.slow), (True, "signed")]
)
def test_the_planted_network_is_recovered(activation, biased, output_weights):
    assert_recovered(activation, 0, 20, 4, 4000, biased=biased, output_weights=output_weights)


@pytest.mark.slow
@every_activation
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("output_weights", ["positive", "signed"])
def test_every_planted_network_is_recovered(activation, biased, output_weights):
    for seed in range(20):
        assert_recovered(activation, seed, 20, 4, 4000, biased=biased, output_weights=output_weights)


@pytest.mark.slow
@every_activation
@pytest.mark.parametrize(("d", "k", "n"), [(10, 3, 1000), (30, 6, 6000)])
def test_other_sizes_are_recovered(activation, d, k, n):
    for seed in range(5):
        assert_recovered(activation, seed, d, k, n)


@pytest.mark.parametrize("activation", ["softplus", "tanh", "sigmoid"])
def test_the_model_without_biases_is_recovered(activation):
    """Inputs off the origin; sigmoid(z) - 1/2 alone is odd, so that without an intercept v keeps its sign."""
    X, _, teacher = planted(3, 2000, 10, 3, activation=activation)
    X = X + 0.3
    model = OneHiddenLayerNet(3, activation=activation, fit_intercept=False, random_state=0).fit(X, teacher.predict(X))
    assert function_error(model, teacher, 10) < 1e-6
    np.testing.assert_array_equal(model.hidden_intercept_, 0)
    assert model.output_intercept_ == 0
    assert np.any(teacher.output_coef_ < 0)
    assert np.any(model.output_coef_ < 0) == (activation != "tanh")


def test_positive_outputs_stay_positive():
    X, y, teacher = planted(1, 2000, 10, 3, activation="softplus", output_weights="positive")
    model = OneHiddenLayerNet(3, output_weights="positive", random_state=0).fit(X, y)
    assert function_error(model, teacher, 10) < 1e-6
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.set_params(alpha=0, max_iter=50, n_init=2).fit(X, -y)
    assert np.all(model.output_coef_ >= 0)


@pytest.mark.parametrize("activation", ["softplus", "tanh"])
def test_any_number_of_units_is_found(activation):
    X, y, teacher = planted(2, 3000, 12, 3, activation=activation, biased=True)
    model = OneHiddenLayerNet(activation=activation, random_state=0).fit(X, y)
    assert len(model.output_coef_) == 3
    assert function_error(model, teacher, 12) < 1e-6


def test_an_activation_of_value_and_derivative_alone():
    """The sine: the solver has no second derivative, and nothing is known of its parity."""
    sine = Activation(np.sin, np.cos, "sine")
    X, y, teacher = planted(0, 4000, 10, 3, activation=sine, biased=True)
    model = OneHiddenLayerNet(3, activation=sine, random_state=0).fit(X, y)
    assert function_error(model, teacher, 10) < 1e-6
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


@each_kind
def test_the_tensor_start_is_better_than_a_random_one(activation):
    """The median error of the units, after matching; up to a sign where that is free."""
    errors = {"tensor": [], "random": []}
    for seed in range(3):
        X, y, teacher = planted(seed, 10_000, activation=activation)
        for init, found in errors.items():
            options = {"init": init, "solver": "gd", "max_iter": 1, "tol": 0, "random_state": seed}
            model = OneHiddenLayerNet(4, activation=activation, **options).fit(X, y)
            free = {"sign_invariant": activation in ODD, "scale_invariant": activation not in HOMOGENEOUS}
            found.append(recovery_error(teacher.hidden_coef_, model.init_coef_, **free))
    assert np.median(errors["tensor"]) < 0.5 * np.median(errors["random"])
    assert np.median(errors["tensor"]) < 0.2


@pytest.mark.parametrize(
    "activation",
    ["tanh", pytest.param("softplus", marks=pytest.mark.slow), pytest.param("gelu", marks=pytest.mark.slow)],
)
def test_newton_with_noise_converges_to_rounding(activation):
    X, y, teacher = planted(0, 2000, 10, 3, activation=activation, noise=0.1)
    model = OneHiddenLayerNet(3, activation=activation, alpha=0, random_state=0).fit(X, y)
    assert model.converged_
    assert 2 * model.loss_ == pytest.approx(0.01, rel=0.15)
    assert function_error(model, teacher, 10) < 0.1


# the ReLU is one of them


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"alpha": 0},
        pytest.param({"alpha": 0.1}, marks=pytest.mark.slow),
        {"step_size": 0.5, "max_iter": 20, "tol": 0},
    ],
)
def test_the_relu_is_a_special_case(options):
    X, y, _ = planted(0, 300, 6, 3, activation="relu", noise=0.1)
    one = OneHiddenLayerReLU(3, random_state=0, **options).fit(X, y)
    for activation in ("relu", relu):
        same = OneHiddenLayerNet(3, activation=activation, random_state=0, **options).fit(X, y)
        np.testing.assert_array_equal(same.hidden_coef_, one.hidden_coef_)
        np.testing.assert_array_equal(same.predict(X), one.predict(X))
    assert "activation" not in one.get_params()
    assert clone(one).fit(X, y).loss_ == one.loss_
    with pytest.raises(ValueError, match="activation"):
        one.set_params(activation="tanh")


def test_wrong_activations():
    for wrong in ("elu", None, np.tanh):
        with pytest.raises(ValueError, match="activation"):
            OneHiddenLayerNet(activation=wrong).fit(np.eye(3), np.ones(3))


# scikit-learn


@quietly
@parametrize_with_checks([OneHiddenLayerNet(random_state=0)])
def test_scikit_learn_checks(estimator, check):
    """Every check, no expected failure."""
    check(estimator)


@pytest.mark.slow
@quietly
@pytest.mark.parametrize(
    "estimator",
    [
        OneHiddenLayerNet(1, activation="tanh"),
        OneHiddenLayerNet(1, activation="sigmoid", random_state=0),
        OneHiddenLayerNet(2, activation="gelu", solver="gd"),
        # A bias of no penalty may run off to where softplus is a line: there would be no minimiser to agree about.
        OneHiddenLayerNet(1, activation="softplus", init="random", alpha=0.01, fit_intercept=False),
    ],
    ids=str,
)
def test_scikit_learn_checks_of_other_networks(estimator):
    check_estimator(estimator, on_skip=None)


@pytest.mark.parametrize(
    "activation", [name if name == "tanh" else pytest.param(name, marks=pytest.mark.slow) for name in ALL]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_real_data(activation):
    """Five-fold R2 on the diabetes data, defaults."""
    X, y = load_diabetes(return_X_y=True)
    model = OneHiddenLayerNet(activation=activation, random_state=0)
    assert cross_val_score(model, X, y, cv=KFold(5, shuffle=True, random_state=0)).mean() > 0.4


# weights, determinism


WEIGHTED = [{}, {"alpha": 0}, {"alpha": 0.01}, {"step_size": 1.0, "max_iter": 30, "tol": 0}]


# All problems of one activation, the default of another, descent of each; all pairs with the slow tests.
@pytest.mark.parametrize(
    ("activation", "options"),
    [
        pytest.param(
            name,
            options,
            marks=[] if name == "tanh" or len(options) > 1 else pytest.mark.slow,
        )
        for options in WEIGHTED
        for name in ("softplus", "tanh", "sigmoid", "gelu", "squared_relu")
    ],
)
def test_integer_weights_are_repetitions(activation, options):
    X, y, _ = planted(0, 400, 6, 2, activation=activation, biased=True, noise=0.05)
    X = X * np.arange(1, 7) + 1
    s = np.random.default_rng(1).integers(0, 4, 400).astype(float)
    rows = np.random.default_rng(2).permutation(np.repeat(np.arange(400), s.astype(int)))
    model = OneHiddenLayerNet(2, activation=activation, n_init=2, random_state=0, **options)
    weighted, repeated, plain = model.fit(X, y, s).predict(X), clone(model).fit(X[rows], y[rows]), clone(model)
    np.testing.assert_allclose(repeated.predict(X), weighted, atol=1e-6 * np.ptp(y))
    assert np.abs(plain.fit(X, y).predict(X) - weighted).max() > 1e-4 * np.ptp(y)


@pytest.mark.parametrize(
    "activation", [name if name == "tanh" else pytest.param(name, marks=pytest.mark.slow) for name in ALL]
)
def test_same_data_same_result_to_the_last_bit(activation):
    X, y, _ = planted(0, 300, 6, 2, activation=activation, noise=0.05)
    model = OneHiddenLayerNet(2, activation=activation, n_init=2, random_state=0)
    np.testing.assert_array_equal(clone(model).fit(X, y).predict(X), model.fit(X, y).predict(X))
    np.testing.assert_allclose(
        clone(model).fit(sparse.csr_array(X), y).predict(X), model.predict(X), atol=1e-6 * np.ptp(y)
    )


def test_a_unit_turned_over_is_the_same_function():
    """tanh(z) = -tanh(-z), sigmoid(z) = 1 - sigmoid(-z): outputs are positive, and what that costs is in the bias."""
    X, y, teacher = planted(5, 2000, 8, 3, activation="sigmoid", output_bias=2.0, biased=True)
    assert np.any(teacher.output_coef_ < 0)
    model = OneHiddenLayerNet(3, activation="sigmoid", random_state=0).fit(X, y)
    negative = np.sum(np.minimum(teacher.output_coef_, 0))
    assert model.output_intercept_ == pytest.approx(2 + negative, abs=1e-6)


# hostile data


def hostile():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 4)), rng.standard_normal(30)
    yield "one row", X[:1], y[:1]
    yield "two rows", X[:2], y[:2]
    yield "one column", X[:, :1], y
    yield "constant column", np.column_stack([X, np.ones(30)]), y
    yield "constant inputs", np.ones((30, 3)), y
    yield "constant target", X, np.full(30, 3.0)
    yield "zero target", X, np.zeros(30)
    yield "linear target", X, X @ [1.0, 2, 3, 4]
    yield "more columns than rows", rng.standard_normal((5, 20)), y[:5]
    yield "large inputs", 1e150 * X, y
    yield "small inputs", 1e-150 * X, y
    yield "large target", X, 1e150 * y
    yield "small target", X, 1e-150 * y
    yield "outlier", np.vstack([X, 1e6 * np.ones(4)]), np.append(y, 0)


HOSTILE = [{}, {"n_hidden": 7}, {"alpha": 0}, {"solver": "gd"}, {"alpha": 0.1, "fit_intercept": False}]


@quietly
# Each problem with an activation of its own; all pairs with the slow tests.
@pytest.mark.parametrize(
    ("activation", "options"),
    [
        pytest.param(name, options, marks=[] if i == j else pytest.mark.slow)
        for j, options in enumerate(HOSTILE)
        for i, name in enumerate(ALL)
    ],
)
def test_hostile_inputs_give_finite_fits_or_a_clear_error(activation, options):
    for name, X, y in hostile():
        model = OneHiddenLayerNet(activation=activation, random_state=0, max_iter=30, n_init=1, **options)
        raised = ""
        try:
            model.fit(X, y)
        except ValueError as error:
            raised = str(error)
        if raised:
            assert "rescale" in raised, name
            assert "large" in name or "small" in name, name
            continue
        assert np.all(np.isfinite(model.predict(X))), name
        assert np.isfinite(model.loss_), name


def test_units_without_bound_end_with_a_reason():
    """Where the infimum lies at infinity, descent ends all the same, and quickly."""
    X, y = load_diabetes(return_X_y=True)
    with warnings.catch_warnings():
        # Weights that run off until the criterion is met, or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = OneHiddenLayerNet(3, activation=tanh, alpha=0, random_state=0).fit(X, y)
    assert model.n_iter_ < 500
    assert model.stop_reason_
