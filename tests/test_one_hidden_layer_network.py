"""One hidden layer: against the formula in the user's units; derivatives by finite differences away from kinks."""

import itertools

import numpy as np
import pytest
from scipy import sparse

from skrelu import whitening as whitening_module
from skrelu.activations import Activation, gelu, leaky_relu, relu, softplus, tanh
from skrelu.networks import OneHiddenLayer
from skrelu.networks.one_hidden_layer import DEFAULTS
from skrelu.networks.orientation import orientation
from skrelu.networks.weights import Weights
from skrelu.rows import Rows
from skrelu.rows import memory as rows_module
from skrelu.whitening import unwhitened, whitening

STORAGES = {"dense": np.ascontiguousarray, "csr": sparse.csr_array, "csc": sparse.csc_matrix}
OPTIONS = {
    "plain": {},
    "decay": {"alpha": 0.3},
    "positive": {"alpha": 0.3, "positive": True},
    "free": {"free_output": True},
    "relaxed": {"relaxed": True},
    "relaxed, free": {"relaxed": True, "free_output": True},
    "relaxed, decay": {"relaxed": True, "alpha": 0.3},
    "smoothed": {"smoothing": 0.7},
    "all": {"relaxed": True, "alpha": 0.3, "positive": True, "smoothing": 0.7},
}
UNITS = ["white", "diagonal", "user"]
absolute = Activation(np.abs, np.sign, "absolute", homogeneity=1, odd_slope=0.0, kink=2.0)
PIECEWISE = [relu, leaky_relu, absolute]
SMOOTH = [softplus, gelu, tanh]


def ids(activation):
    return activation.name


@pytest.fixture(params=[1, 2**20])
def block_bytes(request, monkeypatch):
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", request.param)


def table(seed, n=70, d=4, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) * np.arange(1, d + 1) + rng.standard_normal(d)
    return X.astype(dtype), (5 * rng.standard_normal(n) + 2).astype(dtype), (rng.random(n) + 0.1).astype(dtype)


def coordinates_of(rows, units, fit_intercept):
    if units == "user":
        return unwhitened(whitening(rows, centered=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whitening_module, "MAX_FULL", 2 if units == "diagonal" else 1000)
        return whitening(rows, centered=fit_intercept)


def network(X, y, weight=None, *, units="white", activation=relu, fit_intercept=True, output=(1, -1, 1), **options):
    rows = Rows(X, y, weight)
    scale = 1.0 if units == "user" else rows.target_scale()
    return OneHiddenLayer(
        rows,
        activation,
        coordinates_of(rows, units, fit_intercept),
        np.array(output, dtype=float),
        fit_intercept=fit_intercept,
        target_scale=scale,
        **options,
    )


def size_of(net):
    return net.n_hidden * net.shape[1] + net.n_head + net.n_hidden * net.free_output


def point(net, seed, size=1.0):
    return size * np.random.default_rng(seed).standard_normal(size_of(net))


def slow_activation(net, z):
    """Return a, or its even part, at z; smoothed: the kink k |z| / 2 has become (z^2 / eps + eps / 4) k / 2 inside."""
    value, eps = net.activation.value(z), net.smoothing
    if eps and net.activation.kink:
        inside = np.abs(z) < eps / 2
        value = value + np.where(inside, net.activation.kink / 2 * (z**2 / eps + eps / 4 - np.abs(z)), 0)
    return value - net.activation.odd_slope * z if net.relaxed else value


def slow_objective(net, X, y, weight, weights, t=1.0):
    """Return F in the user's units, row by row; the smoothing is in units of the units, `unit`."""
    unit = net._hidden_unit
    p = weight / weight.sum()
    beta = np.zeros(X.shape[1]) if weights.linear is None else weights.linear
    total = 0.0
    for x_i, y_i, p_i in zip(X, y, p, strict=True):
        z = weights.hidden @ x_i + weights.hidden_bias
        f = weights.output_bias + beta @ x_i + weights.output @ (unit * slow_activation(net, z / unit))
        total += p_i * (f - y_i) ** 2 / 2
    variances = p @ (X - p @ X) ** 2
    penalty = np.sum(weights.hidden**2 @ variances) + np.sum(weights.output**2)
    return total + net.alpha * penalty / 2


# the objective


@pytest.mark.parametrize(
    ("units", "storage"),
    [("white", "dense"), ("white", "csr"), ("white", "csc"), ("diagonal", "csr"), ("user", "dense"), ("user", "csc")],
)
@pytest.mark.parametrize("fit_intercept", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("options", OPTIONS)
def test_value_is_the_formula(block_bytes, options, units, fit_intercept, storage):
    X, y, weight = table(0)
    net = network(STORAGES[storage](X), y, weight, units=units, fit_intercept=fit_intercept, **OPTIONS[options])
    for seed in range(2):
        theta = point(net, seed)
        expected = slow_objective(net, X, y, weight, net.weights(theta)) / net.target_scale**2
        assert net.value_and_gradient(theta)[0] == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("free_output", [False, True])
@pytest.mark.parametrize("activation", [*PIECEWISE, *SMOOTH], ids=ids)
def test_value_of_every_activation_is_the_formula(activation, free_output):
    check_value(activation, free_output, relaxed=False)


@pytest.mark.parametrize("free_output", [False, True])
@pytest.mark.parametrize("activation", [f for f in [*PIECEWISE, *SMOOTH] if f.odd_slope is not None], ids=ids)
def test_value_of_a_relaxed_network_is_the_formula(activation, free_output):
    """Of activations that have an even part to relax to."""
    check_value(activation, free_output, relaxed=True)


def check_value(activation, free_output, relaxed):
    X, y, weight = table(1)
    net = network(X, y, weight, activation=activation, free_output=free_output, relaxed=relaxed)
    for seed in range(2):
        theta = point(net, seed)
        expected = slow_objective(net, X, y, weight, net.weights(theta)) / net.target_scale**2
        assert net.value_and_gradient(theta)[0] == pytest.approx(expected, rel=1e-11)


def test_outputs_are_free_unless_magnitudes_are_in_the_units():
    X, y, _ = table(2)
    assert not network(X, y).free_output
    assert network(X, y, alpha=0.1).free_output
    assert network(X, y, activation=softplus).free_output
    assert network(X, y, free_output=True).free_output
    assert not network(X, y, alpha=0.1, free_output=False).free_output


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("activation", [relu, softplus], ids=ids)
def test_float32_is_as_accurate_as_float32(options, activation):
    for seed in range(3):
        X, y, weight = table(seed, dtype=np.float32)
        net = network(X, y, weight, activation=activation, **OPTIONS[options])
        exact = OneHiddenLayer(
            Rows(X.astype(float), y.astype(float), weight.astype(float)),
            activation,
            net.whitening,
            net.output,
            target_scale=net.target_scale,
            **OPTIONS[options],
        )
        theta = point(net, seed)
        (value, gradient), (expected, slope) = (each.value_and_gradient(theta) for each in (net, exact))
        assert value == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(gradient, slope, atol=3e-5 * np.abs(slope).max())
        assert gradient.dtype == np.float64
        product, moved = (each.curvature_product(theta)(theta) for each in (net, exact))
        np.testing.assert_allclose(product, moved, atol=3e-5 * np.abs(moved).max())


@pytest.mark.parametrize("options", OPTIONS)
def test_weights_are_repetition(options):
    X, y, _ = table(3)
    counts = np.random.default_rng(3).integers(0, 4, len(y))
    weighted = network(X, y, counts.astype(float), **OPTIONS[options])
    repeated = network(np.repeat(X, counts, axis=0), np.repeat(y, counts), **OPTIONS[options])
    scaled = network(X, y, counts / 9, **OPTIONS[options])
    theta = point(weighted, 3)
    value, gradient = weighted.value_and_gradient(theta)
    for other in (repeated, scaled):
        assert other.value_and_gradient(theta)[0] == pytest.approx(value, rel=1e-11)
        np.testing.assert_allclose(other.value_and_gradient(theta)[1], gradient, atol=1e-11 * np.abs(gradient).max())
        np.testing.assert_allclose(
            other.curvature_product(theta)(gradient), weighted.curvature_product(theta)(gradient), rtol=1e-8, atol=1e-10
        )


def test_the_penalty_does_not_know_the_units_of_columns():
    """Whitened by symmetric roots of scaled columns, theta is the same, and so is F / t^2, penalty and all."""
    scales = np.array([1e-20, 1e30, 3.0, 1e5])
    for fit_intercept in (True, False):
        X, y, weight = table(4)
        one, other = (network(Z, y, weight, alpha=0.2, fit_intercept=fit_intercept) for Z in (X, X * scales))
        theta = point(one, 4)
        for a, b in zip(one.value_and_gradient(theta), other.value_and_gradient(theta), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_a_network_does_not_know_the_units_of_y():
    for options in ({}, {"relaxed": True}, {"free_output": True}):
        X, y, weight = table(5)
        one, other = (network(X, z, weight, **options) for z in (y, 2.0**60 * y))
        theta = point(one, 5)
        assert other.value_and_gradient(theta)[0] == one.value_and_gradient(theta)[0]
        np.testing.assert_array_equal(other.value_and_gradient(theta)[1], one.value_and_gradient(theta)[1])


# derivatives


def kinks(net):
    """Return where the (smoothed) activation is not twice differentiable."""
    if not net.activation.kink:
        return []
    return [-net.smoothing / 2, net.smoothing / 2] if net.smoothing else [0.0]


def without_kinks(net_of, X, y, weight, theta, margin=0.02):
    """Return the network of the rows whose z is further than the margin from every kink, whitened as before."""
    first = net_of(X, y, weight)
    weights = first.weights(theta)
    z = (X @ weights.hidden.T + weights.hidden_bias) / first._hidden_unit
    gap = np.min([np.abs(z - kink).min(axis=1) for kink in kinks(first)] + [np.full(len(X), np.inf)], axis=0)
    keep = gap > margin
    assert keep.sum() > len(X) / 2
    rows = Rows(X[keep], y[keep], weight[keep])
    return OneHiddenLayer(rows, first.activation, first.whitening, first.output, **first._options)


def smooth_case(seed, **options):
    X, y, weight = table(seed, n=120)
    first = network(X, y, weight, **options)
    theta = point(first, seed, 0.2 if options.get("units") == "user" else 1.0)
    if first.free_output:
        # Away from v = 0, where |v| has a kink of its own; v of both signs.
        theta[-3:] = np.sign(theta[-3:]) * (0.5 + np.abs(theta[-3:]))
        theta[-1] = -abs(theta[-1])
    return without_kinks(lambda *data: network(*data, **options), X, y, weight, theta), theta


CASES = [
    *itertools.product([relu], OPTIONS, UNITS, [True, False]),
    *itertools.product([leaky_relu, absolute], ["plain", "relaxed, free", "smoothed", "all"], ["white"], [True, False]),
    *itertools.product([softplus, gelu], ["decay", "relaxed", "all"], ["white", "user"], [True, False]),
    *itertools.product([tanh], ["decay", "positive"], ["white"], [True, False]),
]
# Five has no factor in common with the units and intercepts: every fifth case, that runs always, meets them all.
cases = pytest.mark.parametrize(
    ("activation", "options", "units", "fit_intercept"),
    [pytest.param(*case, marks=pytest.mark.slow if i % 5 else []) for i, case in enumerate(CASES)],
)


def central(f, theta, direction, h):
    """Return the derivative of f along a direction, of order h^4."""
    slope = [(f(theta + s * direction) - f(theta - s * direction)) / (2 * s) for s in (h, h / 2)]
    return (4 * slope[1] - slope[0]) / 3


@cases
def test_gradient_is_a_finite_difference(activation, options, units, fit_intercept):
    net, theta = smooth_case(0, activation=activation, units=units, fit_intercept=fit_intercept, **OPTIONS[options])
    gradient = net.value_and_gradient(theta)[1]
    assert gradient.shape == theta.shape
    numeric = [central(lambda at: net.value_and_gradient(at)[0], theta, e, 1e-4) for e in np.eye(len(theta))]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-7, atol=1e-8 * np.abs(gradient).max())


def left_out(net, theta):
    """Return, at theta, the part of the Hessian that the curvature leaves out: ``v_j r a''(z_j)``, where not convex."""
    X, y, s = next(iter(blocks(net.rows)))
    t, weights = net.target_scale, net.weights(theta)
    unit = net._hidden_unit
    z = (X @ weights.hidden.T + weights.hidden_bias) / unit
    beta = 0 if weights.linear is None else X @ weights.linear
    r = (weights.output_bias + beta + unit * slow_activation(net, z) @ weights.output - y) / t
    v = weights.output * unit / t
    second = np.zeros_like(z)
    if net.smoothing and net.activation.kink:
        second = np.where(np.abs(z) < net.smoothing / 2, net.activation.kink / net.smoothing, 0)
    curved = (s * r)[:, None] * v * second  # weight of (dz)^2
    if net.activation.kink:
        curved = np.minimum(curved, 0)
    else:
        h = 1e-5
        curved = (s * r)[:, None] * v * (net.activation.derivative(z + h) - net.activation.derivative(z - h)) / (2 * h)
    A = (X - net.whitening.center) @ net.whitening.to_columns(np.eye(X.shape[1])).T
    A = np.column_stack([A, np.ones(len(X))]) if net.fit_intercept else A
    k, p = net.shape
    H = np.zeros((len(theta), len(theta)))
    for j in range(k):
        H[j * p : (j + 1) * p, j * p : (j + 1) * p] = (A.T * curved[:, j]) @ A
    return H


def blocks(rows):
    collected = []
    rows.sum(lambda X, y, s: (collected.append((X, y, s)) or 0.0,))
    return collected


@cases
def test_curvature_is_the_hessian_but_for_what_it_leaves_out(activation, options, units, fit_intercept):
    net, theta = smooth_case(1, activation=activation, units=units, fit_intercept=fit_intercept, **OPTIONS[options])
    product = net.variant(gauss_newton=True).curvature_product(theta)
    H = np.column_stack([product(e) for e in np.eye(len(theta))])
    np.testing.assert_allclose(H, H.T, atol=1e-11 * np.abs(H).max())
    numeric = np.stack([central(lambda at: net.value_and_gradient(at)[1], theta, e, 1e-4) for e in np.eye(len(theta))])
    np.testing.assert_allclose(H + left_out(net, theta), numeric, atol=3e-7 * np.abs(H).max())
    if not net.free_output:
        assert np.linalg.eigvalsh(H)[0] > -1e-12 * np.abs(H).max()
    if activation.second_derivative is not None:
        product = net.curvature_product(theta)
        full = np.column_stack([product(e) for e in np.eye(len(theta))])
        np.testing.assert_allclose(full, numeric, atol=3e-7 * np.abs(H).max())


@pytest.mark.parametrize("storage", ["csr", "csc"])
@pytest.mark.parametrize("options", OPTIONS)
def test_derivatives_of_sparse_data_are_those_of_dense(block_bytes, options, storage):
    X, y, weight = table(6)
    X *= np.random.default_rng(6).random(X.shape) < 0.5
    dense, net = (network(Z, y, weight, **OPTIONS[options]) for Z in (X, STORAGES[storage](X)))
    theta, direction = point(dense, 6), point(dense, 7)
    pairs = [
        (net.value_and_gradient(theta)[1], dense.value_and_gradient(theta)[1]),
        (net.curvature_product(theta)(direction), dense.curvature_product(theta)(direction)),
        (net.metric(theta)(direction), dense.metric(theta)(direction)),
        (net.residual_second_moment(theta), dense.residual_second_moment(theta)),
    ]
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("activation", PIECEWISE, ids=ids)
@pytest.mark.parametrize("options", ["plain", "free", "relaxed"])
def test_derivative_at_exactly_zero_is_the_mean_of_both_sides(options, activation):
    """As `Activation` defines it, and the paper: sign 0 = 0."""
    rng = np.random.default_rng(8)
    X, y = rng.integers(-3, 4, (60, 3)).astype(float), rng.integers(-5, 6, 60).astype(float)
    net = network(X, y, units="user", fit_intercept=False, activation=activation, **OPTIONS[options])
    hidden = np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0], [2.0, 1.0, -3.0]])
    v, beta = np.array([1.0, -1.0, 1.0]), np.array([1.0, 0.0, 2.0])
    theta = net.pack(hidden, beta if net.relaxed else np.zeros(0), v)
    z = X @ hidden.T
    assert np.all(np.any(z == 0, axis=0))
    q = activation.odd_slope if net.relaxed else 0.0
    value, slope = activation.value(z) - q * z, activation.derivative(z) - q
    residual = value @ v + net.relaxed * (X @ beta) - y
    expected = (v * slope * residual[:, None]).T @ X / len(y)
    np.testing.assert_allclose(net.unpack(net.value_and_gradient(theta)[1])[0], expected, rtol=1e-12, atol=1e-12)


# parameters and weights


@pytest.mark.parametrize("activation", [relu, softplus], ids=ids)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("options", OPTIONS)
def test_weights_and_parameters_are_inverse(options, units, fit_intercept, activation):
    X, y, weight = table(9)
    net = network(X, y, weight, units=units, fit_intercept=fit_intercept, activation=activation, **OPTIONS[options])
    theta = point(net, 9)
    if net.positive:
        theta[-3:] = np.abs(theta[-3:])
    weights = net.weights(theta)
    assert (weights.linear is None) == (not net.relaxed)
    assert isinstance(weights.output_bias, float)
    if not fit_intercept:
        assert not np.any(weights.hidden_bias)
        assert weights.output_bias == 0
    np.testing.assert_allclose(net.parameters(weights), theta, rtol=1e-10, atol=1e-11)
    if not net.free_output:
        np.testing.assert_allclose(weights.output, net.output, rtol=1e-14)


def test_positive_outputs_are_the_absolute_values_of_free_ones():
    X, y, weight = table(10)
    net = network(X, y, weight, **OPTIONS["positive"])
    theta = point(net, 10)
    theta[-3:] = [-1.0, 2.0, -0.5]
    assert np.all(net.weights(theta).output > 0)
    turned = np.append(theta[:-3], np.abs(theta[-3:]))
    assert net.value_and_gradient(turned)[0] == net.value_and_gradient(theta)[0]
    np.testing.assert_allclose(
        net.value_and_gradient(turned)[1][-3:], net.value_and_gradient(theta)[1][-3:] * np.sign(theta[-3:]), rtol=1e-13
    )


def test_parts_of_the_parameters_are_where_they_are_said_to_be():
    """(w_j, b_j) of each unit, then (beta, c), then v."""
    X, y, weight = table(11)
    for relaxed, fit_intercept, free in itertools.product([False, True], repeat=3):
        net = network(X, y, weight, relaxed=relaxed, fit_intercept=fit_intercept, free_output=free)
        theta = np.arange(float(size_of(net)))
        hidden, head, v = net.unpack(theta)
        assert hidden.shape == net.shape == (3, 4 + fit_intercept)
        np.testing.assert_array_equal(hidden.ravel(), theta[: hidden.size])
        assert len(head) == net.n_head == 4 * relaxed + fit_intercept
        np.testing.assert_array_equal(head, theta[hidden.size : hidden.size + len(head)])
        np.testing.assert_array_equal(v, theta[-3:] if free else [1, -1, 1])
        np.testing.assert_array_equal(net.pack(hidden, head, v), theta)


def test_units_of_theta_are_those_of_the_whitened_data():
    """A unit of length one varies over the rows as much as y does: t for fixed outputs."""
    X, y, weight = table(12)
    p = weight / weight.sum()
    net = network(X, 100 * y, weight)
    theta = point(net, 12)
    hidden = net.unpack(theta)[0]
    weights = net.weights(theta)
    planes = X @ weights.hidden.T + weights.hidden_bias
    t = net.target_scale
    np.testing.assert_allclose(p @ planes, t * hidden[:, -1], rtol=1e-9)
    spread = np.sqrt(p @ (planes - p @ planes) ** 2)
    np.testing.assert_allclose(spread, t * np.linalg.norm(hidden[:, :-1], axis=1), rtol=1e-9)
    free = net.variant(free_output=True)
    for net_, expected in ((net, (t, 1)), (free, (t**0.5, t**0.5))):
        ones = net_.weights(np.ones(size_of(net_)))
        norm = np.linalg.norm(net_.whitening.to_white(ones.hidden), axis=1)
        np.testing.assert_allclose(norm, 2 * expected[0], rtol=1e-9)
        np.testing.assert_allclose(np.abs(ones.output), expected[1], rtol=1e-12)


def test_variant_changes_what_it_is_told():
    X, y, weight = table(13)
    net = network(X, y, weight, alpha=0.1, positive=True)
    other = net.variant([1.0, 1.0], relaxed=True, smoothing=0.3)
    assert (other.n_hidden, other.alpha, other.positive, other.relaxed, other.smoothing) == (2, 0.1, True, True, 0.3)
    assert other.target_scale == net.target_scale
    assert not net.relaxed
    assert net.n_hidden == 3
    np.testing.assert_array_equal(other.output, [1, 1])


def test_normalised_weights_are_the_same_function():
    X, _, _ = table(14)
    rng = np.random.default_rng(14)
    weights = Weights(rng.standard_normal((3, 4)), rng.standard_normal(3), np.array([2.0, -0.3, 5.0]), 1.5)
    other = weights.normalised(relu)
    np.testing.assert_array_equal(other.output, [1, -1, 1])
    one, same = (np.maximum(X @ w.hidden.T + w.hidden_bias, 0) @ w.output + w.output_bias for w in (weights, other))
    np.testing.assert_allclose(same, one, rtol=1e-12)


def test_number_of_weights_and_what_does_not_determine_them():
    X, y, _ = table(15, n=40)
    X = np.column_stack([X, X[:, 0] + X[:, 1], np.ones(40)])  # six columns of rank four
    net = network(X, y)
    assert net.n_weights == 3 * 5 + 1
    assert network(X[:, :4], y, fit_intercept=False).n_weights == 3 * 4
    assert net.undetermined(point(net, 0)) == ""
    many = network(X, y, output=np.ones(5))
    assert "more units (5) than X has rank (4)" in many.undetermined(point(many, 0))
    few = network(X, y, np.full(40, 15 / 40))
    assert "15 rows do not determine 16 weights" in few.undetermined(point(few, 0))
    enough = network(X, y, np.full(40, 16 / 40))
    assert enough.undetermined(point(enough, 0)) == ""


# relaxed and oriented


@pytest.mark.parametrize("activation", [relu, leaky_relu, softplus, gelu], ids=ids)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("free_output", [True, False])
@pytest.mark.parametrize("units", UNITS)
def test_relaxed_parameters_are_the_same_function(units, free_output, fit_intercept, activation):
    X, y, weight = table(16)
    net = network(
        X, y, weight, units=units, fit_intercept=fit_intercept, activation=activation, free_output=free_output
    )
    theta = point(net, 16)
    relaxed = net.variant(relaxed=True)
    same = net.relaxed_parameters(theta)
    assert same.shape == (size_of(relaxed),)
    assert relaxed.value_and_gradient(same)[0] == pytest.approx(net.value_and_gradient(theta)[0], rel=1e-11)
    np.testing.assert_allclose(relaxed.oriented(same), theta, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("activation", [relu, leaky_relu, softplus], ids=ids)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_oriented_turns_units_that_point_the_wrong_way(fit_intercept, activation):
    """Any signs of (w_j, b_j) are the same relaxed function, and the linear part tells the right ones: k <= rank."""
    for seed in range(5):
        X, y, weight = table(seed)
        net = network(
            X, y, weight, fit_intercept=fit_intercept, activation=activation, free_output=True, output=(1, -1, 1, -1)
        )
        theta = point(net, seed)
        relaxed = net.variant(relaxed=True)
        hidden, head, v = relaxed.unpack(net.relaxed_parameters(theta))
        for signs in itertools.product([1.0, -1.0], repeat=4):
            turned = relaxed.pack(np.array(signs)[:, None] * hidden, head, v)
            assert relaxed.value_and_gradient(turned)[0] == pytest.approx(net.value_and_gradient(theta)[0], rel=1e-10)
            np.testing.assert_allclose(relaxed.oriented(turned), theta, rtol=1e-10, atol=1e-11)


def test_orientation_finds_the_exact_solution_among_all_signs():
    """Independent parts: of all 2^k sums one is the vector."""
    for k, seed in itertools.product(range(1, 9), range(5)):
        rng = np.random.default_rng(seed)
        parts = rng.standard_normal((k, k + seed % 3)) * np.geomspace(1, 20, k)[:, None]
        signs = np.where(rng.random(k) < 0.5, -1.0, 1.0)
        linear = signs @ parts
        found = orientation(parts, linear)
        np.testing.assert_array_equal(found, signs)
        every = np.array(list(itertools.product([1.0, -1.0], repeat=k)))
        errors = np.linalg.norm(every @ parts - linear, axis=1)
        np.testing.assert_array_equal(every[errors.argmin()], found)


def test_orientation_of_an_inexact_vector_is_lowest_among_its_neighbours():
    """And no worse than the signs of least squares; mostly the best of all."""
    best = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        k = 2 + seed % 7
        parts, linear = rng.standard_normal((k, 5)), 2 * rng.standard_normal(5)
        found = orientation(parts, linear)
        assert set(found) <= {-1.0, 1.0}

        def error(signs, parts=parts, linear=linear):
            return np.sum((signs @ parts - linear) ** 2)

        for j in range(k):
            assert error(found * np.where(np.arange(k) == j, -1, 1)) >= error(found) - 1e-8 * (linear @ linear)
        coefficients = np.linalg.lstsq(parts.T, linear, rcond=None)[0]
        assert error(found) <= error(np.where(coefficients < 0, -1, 1)) + 1e-8 * (linear @ linear)
        best += error(found) <= min(error(np.array(s)) for s in itertools.product([1.0, -1.0], repeat=k)) + 1e-9
    assert best >= 30


def test_orientation_does_not_know_the_scale():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        parts, linear = rng.standard_normal((6, 4)), rng.standard_normal(4)
        np.testing.assert_array_equal(orientation(2.0**40 * parts, 2.0**40 * linear), orientation(parts, linear))
        np.testing.assert_array_equal(np.abs(orientation(parts, 0 * linear)), 1)


# the metric, the residual


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("activation", [relu, softplus], ids=ids)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_metric_is_the_inverse_of_the_kronecker_matrix(fit_intercept, activation, options, units):
    """E[D D'] x I with a ridge, D_j = v_j a'(z_j), 1 for the linear part; E[a a'] for free outputs; I for c.

    The penalty adds its mean curvature to the units.
    """
    X, y, weight = table(17)
    net = network(X, y, weight, units=units, activation=activation, fit_intercept=fit_intercept, **OPTIONS[options])
    theta = point(net, 17)
    p, weights, unit = weight / weight.sum(), net.weights(theta), net._hidden_unit
    z = (X @ weights.hidden.T + weights.hidden_bias) / unit
    h = 1e-6
    value = slow_activation(net, z)
    slope = (slow_activation(net, z + h) - slow_activation(net, z - h)) / (2 * h)
    D = slope * weights.output * unit / net.target_scale
    D = np.column_stack([D, np.ones(len(D))]) if net.relaxed else D
    k, columns = net.shape
    A = (D.T * p) @ D
    decay = net.alpha / net.target_scale**2
    A += decay * unit**2 * np.trace(net.whitening.variances) / net.whitening.rank * np.diag(np.arange(len(A)) < k)
    A += DEFAULTS["ridge"] * np.trace(A) / len(A) * np.eye(len(A))
    matrix = np.kron(A, np.eye(columns))
    if not net.relaxed:
        matrix = np.block(
            [[matrix, np.zeros((k * columns, net.n_head))], [np.zeros((net.n_head, k * columns)), np.eye(net.n_head)]]
        )
    inverse = np.column_stack([net.metric(theta)(e) for e in np.eye(len(theta))])
    m = len(matrix)
    np.testing.assert_allclose(inverse[:m, :m] @ matrix, np.eye(m), atol=1e-5)
    np.testing.assert_array_equal(inverse[m:, :m], 0)
    np.testing.assert_array_equal(inverse[:m, m:], 0)
    if net.free_output:
        B = (value.T * p) @ value + decay * (net.target_scale / unit) ** 2 * np.eye(k)
        B += DEFAULTS["ridge"] * np.trace(B) / k * np.eye(k)
        if net.positive:  # dv/dtheta
            signs = np.sign(theta[-k:])
            B = B * np.outer(signs, signs)
        np.testing.assert_allclose(inverse[m:, m:] @ B, np.eye(k), atol=1e-5)


def test_metric_of_dead_units_is_finite():
    X, y, weight = table(18)
    net = network(X, y, weight)
    theta = point(net, 18)
    theta[: net.n_hidden * net.shape[1]] = 0
    theta[4::5][:3] = -1e3  # biases: no row is active
    applied = net.metric(theta)(theta)
    np.testing.assert_allclose(applied, theta)
    inverse = net.metric(0 * point(network(X, y, free_output=True), 1))
    assert np.all(np.isfinite(inverse(theta)))


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("options", ["plain", "relaxed", "smoothed", "free"])
def test_second_moment_of_the_residual(monkeypatch, block_bytes, options, diagonal):
    if diagonal:
        monkeypatch.setattr(whitening_module, "MAX_FULL", 2)
    for fit_intercept in (True, False):
        X, y, weight = table(19)
        net = network(X, y, weight, fit_intercept=fit_intercept, **OPTIONS[options])
        theta = point(net, 19)
        weights, p, unit = net.weights(theta), weight / weight.sum(), net._hidden_unit
        T = net.whitening.to_columns(np.eye(4)).T
        expected = np.zeros((4, 4))
        for x_i, y_i, p_i in zip(X, y, p, strict=True):
            z = (weights.hidden @ x_i + weights.hidden_bias) / unit
            beta = 0 if weights.linear is None else weights.linear @ x_i
            r = (weights.output_bias + beta + unit * weights.output @ slow_activation(net, z) - y_i) / net.target_scale
            white = T.T @ (x_i - net.whitening.center)
            expected += p_i * r * (np.outer(white, white) - np.eye(4))
        np.testing.assert_allclose(net.residual_second_moment(theta), expected, atol=1e-10 * np.abs(expected).max())


def test_zero_is_the_lowest():
    for dtype in (np.float64, np.float32):
        X, _, _ = table(20, dtype=dtype)
        hidden = np.eye(3, 4)
        planted = (np.maximum(X @ hidden.T, 0) @ [1, -1, 1] + 2).astype(dtype)
        net = network(X, planted)
        weights = Weights(hidden, np.zeros(3), np.array([1.0, -1.0, 1.0]), 2.0)
        theta = net.parameters(weights)
        assert net.is_lowest(net.value_and_gradient(theta)[0])
        other = net.parameters(Weights(hidden * (1 + 1e4 * np.finfo(dtype).eps), np.zeros(3), weights.output, 2.0))
        assert not net.is_lowest(net.value_and_gradient(other)[0])


@pytest.mark.parametrize("storage", STORAGES)
def test_the_data_are_never_modified(storage):
    X, y, weight = table(21)
    stored = STORAGES[storage](X)
    arrays = [stored.data, stored.indices, stored.indptr] if sparse.issparse(stored) else [stored]
    for array in [*arrays, y, weight]:
        array.flags.writeable = False
    for options in OPTIONS.values():
        net = network(stored, y, weight, **options)
        theta = point(net, 21)
        before = theta.copy()
        net.value_and_gradient(theta)
        net.curvature_product(theta)(theta)
        net.metric(theta)(theta)
        net.residual_second_moment(theta)
        np.testing.assert_array_equal(theta, before)
