"""Every network on random tables: values by the formula in the user's units, derivatives by differences between kinks.

A `Case` is the recipe of a table, a network and weights; a failing test prints it. The networks are the modules of
`skrelu.networks`, the activations those that `skrelu.activations` names: a new one without a place here fails.
"""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy import sparse

from skrelu import activations, networks
from skrelu.activations import Activation
from skrelu.networks import OneHiddenLayer, SingleReLU
from skrelu.networks.quadratic import QuadraticModel, QuadraticNetwork
from skrelu.networks.quadratic_form import QuadraticForm
from skrelu.networks.two_layer import TwoLayer
from skrelu.rows import Rows
from skrelu.whitening import whitening

N_FAST, N_SLOW = 12, 200  # cases for each network and property
STEP = 1e-3  # of the differences, relative to weights of order one
ACTIVATIONS = {
    name: found for name in activations.__all__ if isinstance(found := getattr(activations, name), Activation)
}
PARTS = (
    "given_output",
    "orientation",
    "piecewise_linear",
    "quadratic_tangent",
    "two_layer_curvature",
    "units",
    "weights",
)
COLUMNS = ("normal", "normal", "constant", "zero", "duplicate", "outlier", "binary")


@dataclass(frozen=True)
class Case:
    """A table of d columns, each in a unit of its own, and a network of k units and m outputs."""

    n: int
    d: int
    k: int
    m: int
    spread: int
    activation: str
    intercept: bool
    decay: float
    relaxed: bool
    free: bool
    positive: bool
    smoothed: bool
    is_sparse: bool
    seed: int


cases = st.builds(
    Case,
    n=st.integers(30, 80),
    d=st.integers(1, 5),
    k=st.integers(1, 4),
    m=st.integers(1, 3),
    spread=st.integers(0, 100),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    intercept=st.booleans(),
    decay=st.sampled_from([0.0, 0.3]),
    relaxed=st.booleans(),
    free=st.booleans(),
    positive=st.booleans(),
    smoothed=st.booleans(),
    is_sparse=st.booleans(),
    seed=st.integers(0, 2**16),
)


def table(case):
    """Return X, y and weights, the same unit for all entries of a column."""
    rng = np.random.default_rng(case.seed)
    X = rng.standard_normal((case.n, case.d)) @ rng.standard_normal((case.d, case.d)) + rng.standard_normal(case.d)
    if case.d > 3:
        X[:, 3] = X[:, 0] - X[:, 1]
    X = X * 10.0 ** rng.integers(-case.spread, case.spread + 1, case.d)
    y = (rng.standard_normal((case.n, case.m)) + 0.3) * 10.0 ** rng.integers(-case.spread, case.spread + 1)
    return X, y, rng.random(case.n) + 0.1, rng


def hostile_table(case, dtype):
    """Return a table in that dtype of columns of any kind, one at least as small and one as large as squares allow."""
    rng, n = np.random.default_rng(case.seed), case.n
    limit = 150 if dtype is np.float64 else 18
    X = np.empty((n, case.d))
    for j in range(case.d):
        normal = rng.standard_normal(n)
        X[:, j] = {
            "normal": normal,
            "constant": np.ones(n),
            "zero": np.zeros(n),
            "duplicate": X[:, 0] if j else normal,
            "outlier": np.where(np.arange(n) == 3, 10.0 ** (limit / 10), normal),
            "binary": normal > 0,
        }[rng.choice(COLUMNS)] * (10.0 ** rng.integers(-limit, limit) if j % 2 else 1.0)
    y = rng.standard_normal((n, case.m)) * 10.0 ** rng.integers(-limit // 2, limit // 2)
    counts = rng.integers(0, 3, n) + (np.arange(n) == 0)
    return X.astype(dtype), y.astype(dtype), counts.astype(dtype), rng


@dataclass(frozen=True)
class Problem:
    """A network, what its kinks and predictions hang on, and the restriction of its products with directions."""

    made: Callable  # rows -> network in the coordinates of the first rows
    size: int
    kinks: Callable  # (network, theta, X, y) -> numbers of each row whose signs are those of the sides of kinks
    product: Callable  # (network, theta) -> d -> H d
    predicted: Callable | None = None  # (network, theta, X) -> (n, m)
    theta: Callable = lambda network, theta: theta  # weights away from the kinks of the penalty
    within: Callable = lambda network, theta, direction: direction  # the part of a direction that H knows


def one_relu(case, rows, rng):
    made = SingleReLU.standardised(rows, case.intercept, diagonal=case.free)
    above, width = (0.5 if case.relaxed else np.inf), (0.3 if case.smoothed else 0.0)

    def network(rows):
        options = {"scale": made.scale, "center": made.center, "target_scale": made.target_scale}
        plain = SingleReLU(rows, fit_intercept=case.intercept, diagonal=case.free, **options)
        # Whether there are negative y, and so kinks, is known from all rows.
        plain.noise_threshold = made.noise_threshold
        return plain.variant(linear_above=above, smoothing=width)

    def kinks(net, theta, X, y):
        w, b = net.coefficients(theta)
        z = (X @ w + b)[:, None] / net.target_scale
        # Linear rows are far from any.
        return np.where(y / net.target_scale > above, 1.0, np.hstack([z, z - width / 2, z + width / 2]))

    return Problem(
        network,
        rows.n_features + case.intercept,
        kinks,
        lambda net, theta: lambda direction: net.gauss_newton_product(theta, direction),
        lambda net, theta, X: np.maximum(X @ net.coefficients(theta)[0] + net.coefficients(theta)[1], 0)[:, None],
    )


def one_hidden(case, rows, rng):
    activation, output = ACTIVATIONS[case.activation], np.where(rng.random(case.k) < 0.5, -1.0, 1.0)
    relaxed = case.relaxed and activation.odd_slope is not None
    options = {"alpha": case.decay, "relaxed": relaxed, "positive": case.positive, "fit_intercept": case.intercept}
    options |= {"free_output": True} if case.free else {}
    white, t = whitening(rows, centered=case.intercept), rows.target_scale()

    def network(rows):
        return OneHiddenLayer(
            rows, activation, white, np.abs(output) if case.positive else output, target_scale=t, **options
        )

    def kinks(net, theta, X, y):
        weights = net.weights(theta)
        return (X @ weights.hidden.T + weights.hidden_bias) / net._hidden_unit

    def theta_of(net, theta):
        v = theta[len(theta) - case.k :]
        return np.append(theta[: len(theta) - case.k], np.sign(v) * (0.5 + np.abs(v))) if net.free_output else theta

    def predicted(net, theta, X):
        weights = net.weights(theta)
        hidden = activation.value((X @ weights.hidden.T + weights.hidden_bias) / net._hidden_unit)
        scale = 1.0 if activation.homogeneity is None else net._hidden_unit**activation.homogeneity
        return (weights.output_bias + scale * hidden @ weights.output)[:, None]

    first = network(rows)
    size = case.k * first.shape[1] + first.n_head + case.k * first.free_output
    return Problem(network, size, kinks, OneHiddenLayer.curvature_product, predicted, theta_of)


def no_kinks(net, theta, X, y):
    return np.ones((X.shape[0], 1))


def quadratic_model(case, rows):
    return QuadraticModel.of(
        rows, fit_linear=case.free, fit_intercept=case.intercept, alpha=case.decay, positive=case.positive
    )


def quadratic_values(model, parts, X):
    M, beta, c = model.user(*parts)
    return (np.einsum("ij,ij->i", X @ M, X) + X @ beta + c)[:, None]


def quadratic(case, rows, rng):
    model, output = quadratic_model(case, rows), np.where(rng.random(case.k) < 0.5, -1.0, 1.0)
    return Problem(
        lambda rows: QuadraticNetwork(replace(model, rows=rows), output),
        case.k * rows.n_features + model.n_head,
        no_kinks,
        QuadraticNetwork.curvature_product,
        lambda net, theta, X: quadratic_values(net.model, net.parts(theta), X),
    )


def quadratic_form(case, rows, rng):
    model = replace(quadratic_model(case, rows), alpha=0.0)

    def made(rows):
        form = QuadraticForm(replace(model, rows=rows))
        return form.summed() if case.smoothed else form

    def product(form, theta):
        dense, along = form.hessian(), form.curvature_product(theta)
        rounding = 1e3 * float(np.finfo(form.rows.dtype).eps)
        np.testing.assert_allclose(
            along(theta), dense @ theta, rtol=0, atol=rounding * np.abs(dense).max() * len(theta)
        )
        return along

    return Problem(
        made,
        QuadraticForm(model).n_weights,
        no_kinks,
        product,
        lambda net, at, X: quadratic_values(model, net.parts(at), X),
    )


def two_layer(case, rows, rng):
    activation, white = ACTIVATIONS[case.activation], whitening(rows, centered=case.intercept)
    center = rows.sum(lambda X, y, s: (s @ y.reshape(len(y), -1),))[0] * case.intercept
    options = {"fit_intercept": case.intercept, "alpha": case.decay, "center": center, "output_rank": case.m}
    t = rows.target_scale(center)

    def kinks(net, theta, X, y):
        hidden, bias = net.hidden(theta)
        return (X @ hidden.T + bias) / net._hidden_unit

    def predicted(net, theta, X):
        layer = net.layer(theta)
        return (activation.value(kinks(net, theta, X, None)) @ layer.coef + layer.intercept) * t + center

    return Problem(
        lambda rows: TwoLayer(rows, activation, white, case.k, target_scale=t, **options),
        case.k * (rows.n_features + case.intercept),
        kinks,
        TwoLayer.curvature_product,
        predicted,
        within=lambda net, theta, direction: net._at_fixed_lengths(theta, direction),
    )


NETWORKS = {
    "single_relu": one_relu,
    "one_hidden_layer": one_hidden,
    "quadratic": quadratic,
    "quadratic_form": quadratic_form,
    "two_layer": two_layer,
}
SEVERAL_OUTPUTS = ("two_layer",)


def problem(name, case, X, y, s, rng):
    """Return the problem, its table with as many outputs as it has, the storage as asked, and weights of order one."""
    y = y if name in SEVERAL_OUTPUTS else y[:, :1]
    stored = sparse.csr_array(X) if case.is_sparse else X
    found = NETWORKS[name](case, Rows(stored, y, s), rng)
    network = found.made(Rows(stored, y, s))
    return found, network, (X, stored, y, s), found.theta(network, rng.standard_normal(found.size))


def central(f, theta, direction):
    """Return the derivative of f along a direction, of order h^4."""
    slope = [(f(theta + h * direction) - f(theta - h * direction)) / (2 * h) for h in (STEP, STEP / 2)]
    return (4 * slope[1] - slope[0]) / 3


# What is promised.


def check_value(name, case):
    """Half the weighted mean squared error in the user's units, without penalty and majorants."""
    case = replace(case, decay=0.0, relaxed=False, smoothed=False)
    *data, rng = table(case)
    found, network, (X, _, y, s), theta = problem(name, case, *data, rng)
    error = np.sum(((found.predicted(network, theta, X) - y) / network_unit(network)) ** 2, axis=1)
    expected = (s / s.sum()) @ error / 2
    assert network.value_and_gradient(theta)[0] == pytest.approx(expected, rel=1e-8)


def network_unit(network):
    return network.model.target_scale if hasattr(network, "model") else network.target_scale


def check_derivatives(name, case):
    """The gradient is the derivative of the value, the product that of the gradient, and the Hessian symmetric."""
    *data, rng = table(case)
    found, network, (X, stored, y, s), theta = problem(name, case, *data, rng)
    directions = [direction / np.linalg.norm(direction) for direction in rng.standard_normal((2, len(theta)))]
    # Rows that cross no kink on the way, in the coordinates of all.
    ways = [theta + h * direction for direction in directions for h in (STEP, -STEP)]
    sides = [np.sign(found.kinks(network, at, X, y)) for at in (theta, *ways)]
    kept = np.all([np.all(side == sides[0], axis=1) for side in sides], axis=0)
    assert kept.sum() > case.n / 2
    network = found.made(Rows(stored[np.flatnonzero(kept)], y[kept], s[kept]))
    value, gradient, *_ = network.value_and_gradient(theta)
    directions = [found.within(network, theta, direction) for direction in directions]
    product, moved = found.product(network, theta), []
    for direction in directions:
        slope = central(lambda at: network.value_and_gradient(at)[0], theta, direction)
        size = np.linalg.norm(gradient) + value
        assert gradient @ direction == pytest.approx(slope, rel=0, abs=1e-7 * size)
        bend = central(lambda at: network.value_and_gradient(at)[1], theta, direction)
        moved.append(product(direction))
        bend = found.within(network, theta, bend)
        np.testing.assert_allclose(moved[-1], bend, rtol=0, atol=1e-6 * (np.linalg.norm(bend) + size))
    one, other = moved[0] @ directions[1], moved[1] @ directions[0]
    size = np.linalg.norm(moved[0]) + np.linalg.norm(moved[1]) + np.linalg.norm(gradient)
    assert one == pytest.approx(other, rel=0, abs=1e-9 * size + 1e-13 * value)


def check_finite(name, case):
    """Values, gradients and products of weights of order one, whatever the columns and their units."""
    for dtype in (np.float64, np.float32):
        *data, rng = hostile_table(case, dtype)
        found, network, _, theta = problem(name, case, *data, rng)
        theta = theta.astype(dtype) if name == "single_relu" else theta
        value, gradient, *_ = network.value_and_gradient(theta)
        assert value >= 0
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))
        assert np.all(np.isfinite(found.product(network, theta)(theta)))


every_network = pytest.mark.parametrize("name", NETWORKS)
every_check = pytest.mark.parametrize(
    "check", [check_value, check_derivatives, check_finite], ids=lambda check: check.__name__
)


def over_cases(n_examples):
    """Return the decorator of a test over so many cases, the same each time."""
    return lambda test: settings(
        max_examples=n_examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )(given(case=cases)(test))


def test_every_module_is_a_network_or_a_part_of_one():
    assert {module.name for module in pkgutil.iter_modules(networks.__path__)} == {*NETWORKS, *PARTS}


def test_every_activation_is_drawn():
    named = {name for name in activations.__all__ if isinstance(getattr(activations, name), Activation)}
    assert {ACTIVATIONS[name].name for name in named} == named


@every_check
@every_network
@over_cases(N_FAST)
def test_networks(name, check, case):
    check(name, case)


@pytest.mark.slow
@every_check
@every_network
@over_cases(N_SLOW)
def test_networks_in_many_cases(name, check, case):
    check(name, case)
