"""Two layers, the output layer eliminated: against least squares in the user's units, and finite differences."""

import itertools

import numpy as np
import pytest
from scipy import sparse

from skrelu.activations import Activation, relu, softplus, squared_relu
from skrelu.networks import two_layer_curvature
from skrelu.networks.given_output import GivenOutput
from skrelu.networks.two_layer import DEAD_EPS, PARALLEL_TOL, RANK_EPS, RIDGE, TwoLayer
from skrelu.networks.units import pseudo_inverse, rectified, regular_inverse, unit_values
from skrelu.rows import Rows
from skrelu.rows import memory as rows_module
from skrelu.whitening import unwhitened, whitening


def _cubed(z):
    return np.maximum(z, 0) ** 3


def _cubed_slope(z):
    return 3 * np.maximum(z, 0) ** 2


def _cubed_second(z):
    return 6 * np.maximum(z, 0)


# Three times differentiable nearly everywhere, so that second differences are accurate; homogeneous, and not.
cubed = Activation(_cubed, _cubed_slope, "cubed", second_derivative=_cubed_second, homogeneity=3)
free_cubed = Activation(_cubed, _cubed_slope, "free cubed", second_derivative=_cubed_second)
ACTIVATIONS = {f.name: f for f in (relu, squared_relu, softplus, cubed)}
STORAGES = {"dense": np.ascontiguousarray, "csr": sparse.csr_array, "csc": sparse.csc_matrix}
KINDS = list(itertools.product([True, False], [0.0, 0.3]))  # fit_intercept, alpha
SMOOTHED = [(name, 0.0) for name in ACTIVATIONS] + [("relu", 0.5)]


class Raw(TwoLayer):
    """The same without special treatment of the lengths of units."""

    _free_lengths = False


@pytest.fixture(params=[1, 2**20])
def block_bytes(request, monkeypatch):
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", request.param)


def table(seed, n=80, d=4, m=3, columns="full", dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) * np.arange(1, d + 1) + rng.standard_normal(d)
    if columns == "both":
        X = np.column_stack([X, X[:, 0] - 2 * X[:, 1], np.full(n, 3.0)])
    y = 5 * rng.standard_normal((n, m)) @ rng.standard_normal((m, m)) + np.arange(m)
    return X.astype(dtype), y.astype(dtype), (rng.random(n) + 0.1).astype(dtype)


def options_of(X, y, weight, kind, **options):
    """(rows, whitening, options) as the estimator passes them to the network."""
    rows = Rows(X, y, weight)
    p = np.full(len(y), 1 / len(y)) if weight is None else weight / weight.sum()
    center = p @ y * kind[0]
    given = {"fit_intercept": kind[0], "alpha": kind[1], "center": center, "target_scale": rows.target_scale(center)}
    return rows, whitening(rows, centered=kind[0]), {**given, "output_rank": min(y.shape[1], len(y)), **options}


def network_of(X, y, weight=None, kind=(True, 0.0), activation=relu, n_hidden=3, made=TwoLayer, **options):
    rows, coordinates, given = options_of(X, y, weight, kind, **options)
    return made(rows, activation, coordinates, n_hidden, **given)


def point(net, seed=0):
    return np.random.default_rng(100 + seed).standard_normal(np.prod(net.shape))


def features(net, X, theta):
    """The values of the units in the user's units, row by row."""
    W, b = net.hidden(theta)
    return unit_values(net.activation, np.asarray(X, dtype=np.float64) @ W.T + b, smoothing=0.0)[0]


def best_output(net, X, y, weight, theta):
    """(U, c) of the user's units and the objective there, by numpy's least squares on stacked equations."""
    A, k = features(net, X, theta), net.n_hidden
    p = (np.ones(len(A)) if weight is None else np.asarray(weight, dtype=np.float64)) ** 0.5
    p = p / np.linalg.norm(p)
    stacked = p[:, None] * np.column_stack([A, np.ones((len(A), int(net.fit_intercept)))])
    stacked = np.vstack([stacked, np.eye(k, stacked.shape[1]) * net.alpha**0.5])
    targets = np.vstack([p[:, None] * y, np.zeros((k, y.shape[1]))])
    solution = np.linalg.lstsq(stacked, targets, rcond=1e-10)[0]
    objective = np.sum((stacked @ solution - targets) ** 2) / 2
    W, _ = net.hidden(theta)
    X = np.asarray(X, dtype=np.float64)
    variances = (p**2) @ (X - (p**2) @ X) ** 2
    objective += net.alpha / 2 * np.sum(W**2 @ variances)
    return solution[:k].T, solution[k] if net.fit_intercept else np.zeros(y.shape[1]), objective


def differences(f, x, h=1e-6):
    """Central differences of f at x, a column for each coordinate."""
    return np.stack([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(len(x))], axis=-1)


def matrix_of(product, n):
    return np.column_stack([product(e) for e in np.eye(n)])


def along_lengths(net, theta):
    """An orthonormal basis of the directions in which the lengths of units change, a row for each unit."""
    hidden = theta.reshape(net.shape)
    unit = hidden / np.linalg.norm(hidden, axis=1, keepdims=True)
    return np.stack([np.outer(np.arange(len(unit)) == j, row).ravel() for j, row in enumerate(unit)])


# Value and output layer.


@pytest.mark.parametrize("columns", ["full", "both"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_value_and_output_are_those_of_least_squares(kind, activation, columns):
    X, y, weight = table(0, columns=columns)
    net = network_of(X, y, weight, kind, ACTIVATIONS[activation])
    theta = point(net)
    U, c, objective = best_output(net, X, y, weight, theta)
    t = net.target_scale
    assert net.value_and_gradient(theta)[0] * t**2 == pytest.approx(objective, rel=1e-9)
    coef, intercept = net.output(theta)
    # The normal equations of a pair of units and a constant of condition c lose log10 c^2 digits; one correction gives
    # them back, but not with weight decay, which has made them well conditioned.
    np.testing.assert_allclose(coef, U, atol=1e-10 * np.abs(U).max())
    np.testing.assert_allclose(intercept, c, atol=1e-10 * (np.abs(y).max() + np.abs(c).max()))
    p = weight / weight.sum()
    A = features(net, X, theta)
    loss = p @ np.sum((A @ U.T + c - y) ** 2, axis=1) / 2
    assert net.loss(theta) * t**2 == pytest.approx(loss, rel=1e-9)
    sizes = np.linalg.norm(U, axis=0) * (p @ (A - (p @ A) * kind[0]) ** 2) ** 0.5
    np.testing.assert_allclose(net.contributions(theta) * t, sizes, rtol=1e-7)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_output_is_least_squares_to_twelve_digits(fit_intercept):
    """Where the normal equations alone would lose them: units that are nearly parallel, condition 1e4."""
    for seed in range(5):
        X, y, _ = table(seed, n=300)
        net = network_of(X, y, None, (fit_intercept, 0.0), n_hidden=4)
        hidden = point(net, seed).reshape(net.shape)
        hidden[1] = hidden[0] + 1e-4 * hidden[1]
        theta = hidden.ravel()
        U, c, objective = best_output(net, X, y, None, theta)
        coef, intercept = net.output(theta)
        np.testing.assert_allclose(coef, U, atol=1e-9 * np.abs(U).max())
        residual = np.sum((features(net, X, theta) @ coef.T + intercept - y) ** 2, axis=1).mean() / 2
        assert residual == pytest.approx(objective, rel=1e-12)
        theta = point(net, seed)
        U, c, _ = best_output(net, X, y, None, theta)
        coef, intercept = net.output(theta)
        np.testing.assert_allclose(coef, U, atol=1e-12 * np.abs(U).max())
        np.testing.assert_allclose(intercept, c, atol=1e-12 * np.abs(y).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_weighted", [1, 2, 5])
def test_a_weighting_is_that_of_the_outputs(kind, n_weighted):
    X, y, weight = table(1)
    P = np.random.default_rng(0).standard_normal((3, n_weighted))
    net = network_of(X, y, weight, kind, weighting=P)
    # The same network of the weighted outputs as outputs, in the same units.
    same = network_of(X, (y - net.center) @ P, weight, kind, center=0.0, target_scale=net.target_scale)
    theta = point(net)
    for a, b in zip(net.value_and_gradient(theta), same.value_and_gradient(theta), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    d = point(net, 1)
    np.testing.assert_allclose(net.curvature_product(theta)(d), same.curvature_product(theta)(d), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("rotate", [False, True])
def test_the_objective_does_not_depend_on_the_axes_of_the_outputs(rotate):
    X, y, weight = table(2)
    net = network_of(X, y, weight)
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0] if rotate else np.eye(3)[[2, 0, 1]]
    turned = network_of(X, y @ Q, weight)
    theta = point(net)
    for a, b in zip(net.value_and_gradient(theta), turned.value_and_gradient(theta), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(turned.output(theta)[0], Q.T @ net.output(theta)[0], rtol=1e-9, atol=1e-12)


# Derivatives.


@pytest.mark.parametrize("columns", ["full", "both"])
@pytest.mark.parametrize(("activation", "smoothing"), SMOOTHED)
@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_those_of_the_value(kind, activation, smoothing, columns):
    """Without projection: gradient and Hessian are the first and second differences of the objective."""
    X, y, weight = table(3, columns=columns)
    net = network_of(X, y, weight, kind, ACTIVATIONS[activation], made=Raw, smoothing=smoothing)
    theta = point(net, 1)
    gradient = net.value_and_gradient(theta)[1]
    numeric = differences(lambda x: net.value_and_gradient(x)[0], theta)
    np.testing.assert_allclose(gradient, numeric, atol=1e-7 * max(1, np.abs(gradient).max()))
    hessian = matrix_of(net.curvature_product(theta), len(theta))
    numeric = differences(lambda x: net.value_and_gradient(x)[1], theta)
    np.testing.assert_allclose(hessian, numeric, atol=1e-6 * max(1, np.abs(hessian).max()))
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-9 * np.abs(hessian).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("storage", STORAGES)
def test_blocks_and_storage_change_nothing(monkeypatch, storage, kind):
    X, y, weight = table(3, columns="both")
    results = []
    for block_bytes, X_stored in [(2**20, X), (1, STORAGES[storage](X))]:
        monkeypatch.setattr(rows_module, "BLOCK_BYTES", block_bytes)
        net = network_of(X_stored, y, weight, kind, softplus)
        theta, d = point(net), point(net, 1)
        parts = *net.value_and_gradient(theta), net.curvature_product(theta)(d), net.metric(theta)(d)
        results.append((*parts, *net.output(theta), net.loss(theta), net.contributions(theta), net.active_rows(theta)))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("activation", "smoothing"), [case for case in SMOOTHED if case[0] != "softplus"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_where_lengths_are_free_the_part_along_them_is_replaced(fit_intercept, activation, smoothing):
    X, y, weight = table(4)
    made = [
        network_of(X, y, weight, (fit_intercept, 0.0), ACTIVATIONS[activation], made=cls, smoothing=smoothing)
        for cls in (TwoLayer, Raw)
    ]
    theta = point(made[0], 2)
    L = along_lengths(made[0], theta)
    Q = np.eye(len(theta)) - L.T @ L
    (value, gradient), (raw_value, raw_gradient) = (net.value_and_gradient(theta) for net in made)
    assert value == raw_value
    np.testing.assert_allclose(gradient, Q @ raw_gradient, atol=1e-12)
    if not smoothing:
        np.testing.assert_allclose(L @ raw_gradient, 0, atol=1e-12)
    H, raw_H = (matrix_of(net.curvature_product(theta), len(theta)) for net in made)
    sizes = np.sum(made[0].layer(theta).coef ** 2, axis=1)
    np.testing.assert_allclose(H, Q @ raw_H @ Q + (L.T * sizes) @ L, atol=1e-10 * np.abs(raw_H).max())


@pytest.mark.parametrize("kind", [(True, 0.3), (False, 0.3)])
@pytest.mark.parametrize("activation", ["relu", "squared_relu"])
def test_with_weight_decay_lengths_are_not_free(kind, activation):
    X, y, weight = table(4)
    made = [network_of(X, y, weight, kind, ACTIVATIONS[activation], made=cls) for cls in (TwoLayer, Raw)]
    theta, d = point(made[0], 2), point(made[0], 3)
    for a, b in zip(made[0].value_and_gradient(theta), made[1].value_and_gradient(theta), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(*(net.curvature_product(theta)(d) for net in made))


def test_without_homogeneity_lengths_are_not_free():
    X, y, weight = table(4)
    made = [network_of(X, y, weight, activation=free_cubed, made=cls) for cls in (TwoLayer, Raw)]
    theta, d = point(made[0], 2), point(made[0], 3)
    np.testing.assert_array_equal(*(net.value_and_gradient(theta)[1] for net in made))
    np.testing.assert_array_equal(*(net.curvature_product(theta)(d) for net in made))


@pytest.mark.parametrize(("activation", "smoothing"), SMOOTHED)
@pytest.mark.parametrize("kind", KINDS)
def test_gauss_newton_is_the_matrix_of_the_linearised_residual(kind, activation, smoothing):
    """``J'(I - A (A'A + decay)^-1 A')J``: without terms of the residual, symmetric, no eigenvalue negative."""
    X, y, weight = table(5)
    f = ACTIVATIONS[activation]
    net = network_of(X, y, weight, kind, f, gauss_newton=True, smoothing=smoothing)
    theta = point(net, 1)
    p, k, m = weight / weight.sum(), 3, 3
    white = (X - net.whitening.center) @ net.whitening.columns
    columns = np.column_stack([white, np.ones((len(X), int(kind[0])))])
    value, derivative = unit_values(f, columns @ theta.reshape(net.shape).T, smoothing=smoothing)
    U = net.layer(theta).coef
    J = np.einsum("ij,id,jo->iojd", derivative, columns, U) * p[:, None, None, None] ** 0.5
    A = np.column_stack([value, np.ones((len(X), int(kind[0])))]) * p[:, None] ** 0.5
    decay = np.eye(A.shape[1]) * net.decays[1]
    decay[k:] = 0
    projector = np.eye(len(A)) - A @ np.linalg.solve(A.T @ A + decay, A.T)
    J = J.reshape(len(X), m, -1)
    expected = np.einsum("iop,ij,joq->pq", J, projector, J, optimize=True)
    if kind[1]:
        S = np.zeros((net.shape[1],) * 2)
        S[:4, :4] = net.whitening.variances
        expected += net.decays[0] * np.kron(np.eye(k), S)
    found = matrix_of(net.curvature_product(theta), len(theta))
    np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(expected).max())
    np.testing.assert_allclose(found, found.T, atol=1e-11 * np.abs(found).max())
    assert np.linalg.eigvalsh(found + found.T).min() > -1e-11 * np.abs(found).max()


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_gauss_newton_is_the_hessian_where_the_residual_is_zero(fit_intercept):
    X, y, _ = table(6)
    net = network_of(X, y, None, (fit_intercept, 0.0))
    theta = point(net)
    U = np.random.default_rng(0).standard_normal((3, 3))
    planted = features(net, X, theta) @ U.T + fit_intercept * np.arange(3)
    net = network_of(X, planted, None, (fit_intercept, 0.0), made=Raw)
    theta = net.parameters(*network_of(X, y, None, (fit_intercept, 0.0)).hidden(theta))
    assert net.is_lowest(net.value_and_gradient(theta)[0])
    full = matrix_of(net.curvature_product(theta), len(theta))
    short = matrix_of(net.variant(gauss_newton=True).curvature_product(theta), len(theta))
    np.testing.assert_allclose(full, short, atol=1e-9 * np.abs(full).max())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_metric_is_a_kronecker_product(kind, activation):
    X, y, weight = table(7)
    net = network_of(X, y, weight, kind, ACTIVATIONS[activation])
    theta, q, p = point(net), point(net, 1), weight / weight.sum()
    W, b = net.hidden(theta)
    slopes = net.activation.derivative((X @ W.T + b) / net._hidden_unit)
    U = net.output(theta)[0] / net._output_unit
    A = (U.T @ U) * ((slopes.T * p) @ slopes)
    if kind[1]:
        A += net.decays[0] * np.trace(net.whitening.variances) / 4 * np.eye(3)
    A += RIDGE * np.trace(A) / 3 * np.eye(3)
    np.testing.assert_allclose(
        net.metric(theta)(q).reshape(net.shape), np.linalg.solve(A, q.reshape(net.shape)), rtol=1e-6
    )


# Coordinates and units.


@pytest.mark.parametrize("columns", ["full", "both"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_parameters_and_hidden_are_inverse(fit_intercept, activation, columns):
    X, y, weight = table(8, columns=columns)
    net = network_of(X, y, weight, (fit_intercept, 0.0), ACTIVATIONS[activation])
    rng = np.random.default_rng(0)
    W, b = rng.standard_normal((3, X.shape[1])), rng.standard_normal(3) * fit_intercept
    theta = net.parameters(W, b)
    back = net.hidden(theta)
    np.testing.assert_allclose(X @ back[0].T + back[1], X @ W.T + b, atol=1e-9)
    np.testing.assert_allclose(net.parameters(*back), theta, atol=1e-10)
    if columns == "full":
        np.testing.assert_allclose(back[0], W, atol=1e-11)
        np.testing.assert_allclose(back[1], b, atol=1e-10)
    (hidden,) = net.unpack(theta)
    assert hidden.shape == net.shape == (3, X.shape[1] + fit_intercept)
    np.testing.assert_array_equal(hidden.ravel(), theta)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_targets_are_centred_in_units_of_their_scale(activation):
    X, y, weight = table(9)
    net = network_of(X, y, weight, activation=ACTIVATIONS[activation])
    np.testing.assert_allclose(net.targets(y), (y - net.center).T / net.target_scale, rtol=1e-13)
    single = network_of(X, y[:, :1], weight)
    np.testing.assert_allclose(single.targets(y[:, 0]), single.targets(y[:, :1]), rtol=1e-13)
    assert net._hidden_unit ** (net.activation.homogeneity or 0) * net._output_unit == pytest.approx(net.target_scale)


@pytest.mark.parametrize("factor", [1e-30, 1e30])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_scaling_y_changes_nothing_but_the_units(activation, alpha, factor):
    """Of a homogeneous f of degree p: alpha in units of ``y^(2p/(p+1))``. Else: hidden weights stay, decay does not."""
    f, (X, y, weight) = ACTIVATIONS[activation], table(10)
    p = f.homogeneity
    net = network_of(X, y, weight, (True, alpha), f)
    scaled_alpha = alpha * factor ** (2 * p / (p + 1)) if p else 0.0
    scaled = network_of(X, factor * y, weight, (True, scaled_alpha), f)
    if not p:
        net = net.variant(alpha=0.0)
    theta, d = point(net), point(net, 1)
    for a, b in zip(net.value_and_gradient(theta), scaled.value_and_gradient(theta), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(
        net.curvature_product(theta)(d), scaled.curvature_product(theta)(d), rtol=1e-8, atol=1e-9
    )
    unit = factor ** (1 / (p + 1)) if p else 1.0
    np.testing.assert_allclose(scaled.hidden(theta)[0], unit * net.hidden(theta)[0], rtol=1e-10)
    np.testing.assert_allclose(scaled.output(theta)[0], factor / unit ** (p or 0) * net.output(theta)[0], rtol=1e-8)


@pytest.mark.parametrize("activation", ["relu", "squared_relu", "cubed"])
def test_lengths_of_homogeneous_units_change_nothing(activation):
    X, y, weight = table(11)
    net = network_of(X, y, weight, activation=ACTIVATIONS[activation])
    theta, lengths = point(net), np.array([0.01, 3.0, 100.0])
    longer = (theta.reshape(net.shape) * lengths[:, None]).ravel()
    value, gradient = net.value_and_gradient(theta)
    there, gradient_there = net.value_and_gradient(longer)
    assert there == pytest.approx(value, rel=1e-11)
    np.testing.assert_allclose(
        gradient_there.reshape(net.shape) * lengths[:, None], gradient.reshape(net.shape), atol=1e-10
    )
    np.testing.assert_allclose(net.contributions(longer), net.contributions(theta), rtol=1e-9)
    decayed = net.variant(alpha=0.3)
    assert decayed.value_and_gradient(longer)[0] > 1.1 * decayed.value_and_gradient(theta)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_repeat_rows(kind):
    X, y, _ = table(12)
    counts = np.random.default_rng(0).integers(0, 4, len(X))
    weighted = network_of(X, y, 7.0 * counts, kind)
    repeated = network_of(np.repeat(X, counts, axis=0), np.repeat(y, counts, axis=0), None, kind)
    theta, d = point(weighted), point(weighted, 1)
    for a, b in zip(weighted.value_and_gradient(theta), repeated.value_and_gradient(theta), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        weighted.curvature_product(theta)(d), repeated.curvature_product(theta)(d), rtol=1e-8, atol=1e-9
    )
    for a, b in zip(weighted.output(theta), repeated.output(theta), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(weighted.metric(theta)(d), repeated.metric(theta)(d), rtol=1e-7)
    weighted = network_of(X, y, 1.0 * counts, kind)
    np.testing.assert_allclose(weighted.active_rows(theta), repeated.active_rows(theta), rtol=1e-9)
    assert weighted.n_equations == pytest.approx(repeated.n_equations)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("storage", STORAGES)
def test_float32_is_float64_to_its_accuracy(kind, storage):
    X, y, weight = table(13, n=200)
    exact = network_of(X, y, weight, kind)
    single = network_of(
        *(STORAGES[storage](X.astype(np.float32)), y.astype(np.float32), weight.astype(np.float32)), kind
    )
    theta = point(exact)
    there = single.parameters(*exact.hidden(theta))
    value, gradient = single.value_and_gradient(there)
    assert value == pytest.approx(exact.value_and_gradient(theta)[0], rel=1e-5)
    assert gradient.dtype == single.curvature_product(there)(there).dtype == np.float64
    for a, b in zip(single.output(there), exact.output(theta), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4 * np.abs(b).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weighted_targets_have_the_dtype_of_the_data(dtype):
    X, y, weight = table(13, dtype=dtype)
    net = network_of(X, y, weight, weighting=np.eye(3)[:, :2])
    targets = net.targets(y)
    assert targets.dtype == dtype
    np.testing.assert_array_equal(targets, net.variant(weighting=None).targets(y)[:2])


def test_the_lowest_objective_is_that_of_a_residual_of_a_hundred_eps():
    X, y, weight = table(0)
    net = network_of(X, y, weight)
    residual = 100 * np.finfo(np.float64).eps
    assert net.lowest == pytest.approx(residual**2 / 2)
    assert net.is_lowest(net.lowest)
    assert not net.is_lowest(1.01 * net.lowest)
    single = network_of(X.astype(np.float32), y.astype(np.float32))
    assert single.lowest == pytest.approx((100 * np.finfo(np.float32).eps) ** 2 / 2)


def test_a_planted_network_has_no_residual():
    """In any units: values of y from 1e-3 to 1e3, inputs of any mean and scale."""
    for seed, (f, fit_intercept) in enumerate(itertools.product(ACTIVATIONS.values(), [True, False])):
        X, y, weight = table(seed, n=300)
        rng = np.random.default_rng(seed)
        hidden = network_of(X, y, weight, (fit_intercept, 0.0), f)
        (W, b), U = hidden.hidden(point(hidden, seed)), rng.standard_normal((5, 3))
        y = f.value(X @ W.T + b) @ U.T * np.geomspace(1e-3, 1e3, 5) + fit_intercept * 7.0
        net = network_of(X, y, weight, (fit_intercept, 0.0), f)
        theta = net.parameters(W, b)
        assert net.is_lowest(net.value_and_gradient(theta)[0])
        found, c = net.output(theta)
        np.testing.assert_allclose(found, U * np.geomspace(1e-3, 1e3, 5)[:, None], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(c, fit_intercept * 7.0, atol=1e-9)


# Dead, parallel and constant units.


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("flaw", ["dead", "parallel", "same", "zero", "constant", "opposite"])
def test_flawed_units_are_finite_and_take_nothing_away(flaw, alpha):
    """A unit that cannot help leaves the fit of the others as it is, with a finite gradient and curvature."""
    X, y, weight = table(14)
    X = np.column_stack([X, np.full(len(X), 1.0)])
    net = network_of(X, y, weight, (True, alpha), n_hidden=3)
    hidden = point(net).reshape(net.shape)
    if flaw == "dead":
        hidden[1, :-1], hidden[1, -1] = 1e-3 * hidden[1, :-1], -10
    elif flaw == "parallel":
        hidden[1] = 3 * hidden[0]
    elif flaw == "same":
        hidden[1] = hidden[0]
    elif flaw == "zero":
        hidden[1] = 0
    elif flaw == "constant":
        hidden[1], hidden[1, -1] = 0, 2.0
    else:
        hidden[1] = -hidden[0]
    theta = hidden.ravel()
    value, gradient = net.value_and_gradient(theta)
    assert np.isfinite(value)
    for array in (gradient, net.curvature_product(theta)(point(net, 1)), net.metric(theta)(gradient)):
        assert np.all(np.isfinite(array))
    for part in (*net.output(theta), net.contributions(theta), net.active_rows(theta)):
        assert np.all(np.isfinite(part))
    np.testing.assert_allclose(value * net.target_scale**2, best_output(net, X, y, weight, theta)[2], rtol=1e-9)
    numeric = differences(lambda x: net.value_and_gradient(x)[0], theta)
    if flaw in ("dead", "opposite") or alpha:
        # Elsewhere the objective is not even continuous: a unit leaves zero, its double, or a constant, for any length.
        live = np.repeat([True, flaw != "zero", True], net.shape[1])
        np.testing.assert_allclose(gradient[live], numeric[live], atol=1e-6)
    assert net.parallel_units(theta) == 1
    assert net.undetermined(theta)
    if not alpha and flaw != "opposite":
        others = network_of(X, y, weight, n_hidden=2)
        np.testing.assert_allclose(value, others.value_and_gradient(hidden[[0, 2]].ravel())[0], rtol=1e-9)


def test_all_units_dead():
    X, y, weight = table(14)
    for kind in KINDS:
        net = network_of(X, y, weight, kind, n_hidden=2)
        theta = np.zeros(np.prod(net.shape))
        if kind[0]:
            theta.reshape(net.shape)[:, -1] = -1
        value, gradient = net.value_and_gradient(theta)
        p = weight / weight.sum()
        expected = p @ np.sum((y - net.center) ** 2, axis=1) / 2 / net.target_scale**2
        assert value == pytest.approx(expected, rel=1e-12)
        np.testing.assert_array_equal(gradient, 0)
        assert np.all(np.isfinite(net.metric(theta)(gradient)))
        product = net.curvature_product(theta)(point(net))
        assert np.all(np.isfinite(product))
        if kind[0]:  # Without biases all rows lie on the kinks.
            np.testing.assert_array_equal(product, net.decays[0] * net._variances(point(net)))
        np.testing.assert_array_equal(net.output(theta)[0], 0)
        np.testing.assert_allclose(net.output(theta)[1], net.center)
        assert net.parallel_units(theta) == 2


def test_which_units_count_as_parallel():
    X, y, weight = table(15, n=400)
    for angle, expected in [(0.3 * (2 * PARALLEL_TOL) ** 0.5, 1), (3 * (2 * PARALLEL_TOL) ** 0.5, 0)]:
        net = network_of(X, y, weight)
        hidden = point(net).reshape(net.shape)
        unit = hidden[0] / np.linalg.norm(hidden[0])
        across = hidden[1] - (hidden[1] @ unit) * unit
        hidden[1] = 5 * (unit + angle * across / np.linalg.norm(across))
        assert net.parallel_units(hidden.ravel()) == expected
        free = network_of(X, y, weight, activation=free_cubed)
        assert free.parallel_units(hidden.ravel()) == 0
        hidden[2] = hidden[1]
        assert net.parallel_units(hidden.ravel()) == expected + 1


def test_units_that_differ_only_where_the_rows_do_not_vary_are_parallel():
    X, y, weight = table(15, columns="both")
    net = network_of(X, y, weight)
    hidden = point(net).reshape(net.shape)
    # Along the fifth and sixth columns, which the others tell.
    hidden[1] = hidden[0]
    missing = np.linalg.svd(net.whitening.columns)[2][-2:]
    hidden[1, :-1] += missing.T @ [3.0, -2.0]
    W, b = net.hidden(hidden.ravel())
    np.testing.assert_allclose(X @ W[0] + b[0], X @ W[1] + b[1], atol=1e-9)
    assert net.parallel_units(hidden.ravel()) == 1


# Counts and sentences.


@pytest.mark.parametrize("columns", ["full", "both"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_number_of_weights_is_the_rank_of_the_jacobian(fit_intercept, activation, columns):
    """Of all outputs with respect to V, b, U and c, for general weights."""
    X, _, _ = table(16, n=400, columns=columns)
    f, rng = ACTIVATIONS[activation], np.random.default_rng(0)
    X = X / (1 + np.abs(X).max(axis=0))
    d = X.shape[1]
    W, b, U = rng.standard_normal((3, d)), rng.standard_normal(3) / 9 * fit_intercept, rng.standard_normal((4, 3))
    if columns == "both":
        U[3] = U[0] - U[1]  # outputs of rank 3
    y = f.value(X @ W.T + b) @ U.T
    rank = 3 if columns == "both" else 4
    net = network_of(X, y, None, (fit_intercept, 0.0), f, output_rank=rank)
    inputs = np.column_stack([X, np.ones((400, int(fit_intercept)))])
    value, slope = f.value(X @ W.T + b), f.derivative(X @ W.T + b)
    of_hidden = np.einsum("ij,id,oj->iojd", slope, inputs, U[:rank]).reshape(400 * rank, -1)
    values = np.column_stack([value, np.ones((400, int(fit_intercept)))])
    J = np.column_stack([of_hidden, np.kron(values[:, None], np.eye(rank)).reshape(400 * rank, -1)])
    # A constant column and a bias are the same; without intercept the constant column stands for the bias.
    assert net.n_weights == np.linalg.matrix_rank(J, tol=1e-9 * np.linalg.norm(J, 2))
    assert net.n_equations == 400 * rank


def test_undetermined_tells_of_too_few_equations():
    X, y, _ = table(17)
    for kind in [(True, 0.0), (False, 0.0)]:
        full = network_of(X, y, None, kind)
        needed = full.n_weights
        rows = needed // 3
        assert needed == 3 * (4 + kind[0] + 3 - 1) + 3 * kind[0]
        few = network_of(X[:rows], y[:rows], None, kind)
        expected = f"{rows * 3} equations do not determine {needed} weights"
        assert few.undetermined(point(few)) == expected
        # A weight is so many rows: ten times as many equations are enough.
        weighted = network_of(X[:rows], y[:rows], np.full(rows, 10.0), kind)
        assert "equations" not in weighted.undetermined(point(weighted))
    assert full.undetermined(point(full)) == ""


def test_undetermined_tells_of_parallel_units_and_of_units_that_vanish():
    X, y, _ = table(17)
    net = network_of(X, y)
    hidden = point(net).reshape(net.shape)
    hidden[2] = 2 * hidden[0]
    said = "the data determine 2 units, not 3: the others vanish or are parallel or opposite to them"
    assert net.undetermined(hidden.ravel()) == said
    hidden[2], hidden[2, -1] = 0, -1
    assert net.undetermined(hidden.ravel()) == said


def test_undetermined_tells_of_a_unit_that_is_active_on_few_rows():
    X, y, _ = table(17, n=200)
    net = network_of(X, y)
    white = (X - net.whitening.center) @ net.whitening.columns
    hidden = point(net).reshape(net.shape)
    heights = np.sort(white @ hidden[1, :4])[::-1]
    for active in (3, 4, 5, 6):
        hidden[1, 4] = -(heights[active - 1] + heights[active]) / 2
        np.testing.assert_allclose(net.active_rows(hidden.ravel())[1], active)
        expected = f"a unit is active on {active} rows only, which do not determine its 5 weights" if active < 5 else ""
        assert net.undetermined(hidden.ravel()) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_of_weights_does_not_take_rows_away(dtype):
    """Just as many rows as weights, among many: sums of weights in float32 are accurate to 1e-7 of them only."""
    rng = np.random.default_rng(0)
    for n in (30_011, 70_001, 99_991):
        X = rng.standard_normal((n, 60)).astype(dtype)
        y = rng.standard_normal((n, 2)).astype(dtype)
        net = network_of(X, y, n_hidden=1)
        white = (X - net.whitening.center) @ net.whitening.columns
        hidden = np.append(rng.standard_normal(60), 0.0)
        heights = np.sort(white @ hidden[:60])[::-1]
        for active in (60, 61, 62):
            hidden[60] = -(heights[active - 1] + heights[active]) / 2
            assert bool(net.undetermined(hidden)) == (active < 61)


def test_active_rows_are_those_above_zero(block_bytes):
    X, y, weight = table(18)
    net = network_of(X, y, weight)
    W, b = net.hidden(point(net))
    np.testing.assert_allclose(net.active_rows(point(net)), weight @ (X @ W.T + b > 0), atol=1e-6)


# The parts.


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_smoothed_units_are_those_where_there_is_no_kink(activation):
    f, z = ACTIVATIONS[activation], np.linspace(-2, 2, 4001)
    value, derivative = unit_values(f, z, smoothing=0.4)
    plain = unit_values(f, z)
    if not f.kink:
        np.testing.assert_array_equal(value, plain[0])
        np.testing.assert_array_equal(derivative, plain[1])
        return
    away = np.abs(z) >= 0.2
    np.testing.assert_allclose(value[away], plain[0][away], atol=1e-15)
    np.testing.assert_allclose(derivative[away], plain[1][away], atol=1e-15)
    # The value whose slope that is, once more differentiable: the slope is a ramp.
    np.testing.assert_allclose(np.gradient(value, z)[1:-1], derivative[1:-1], atol=1e-3)
    np.testing.assert_allclose(derivative, f.kink * np.clip((z + 0.2) / 0.4, 0, 1), atol=1e-14)
    assert np.all(value >= plain[0])
    assert value[2000] == pytest.approx(f.kink * 0.4 / 8)


def test_pseudo_inverse_leaves_out_dependent_and_constant_units():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((50, 5)) * [1, 1e-6, 1e6, 1, 1]
    A[:, 3] = A[:, 0]
    A[:, 4] = 0
    C = A.T @ A / 50
    deviations = np.sqrt(np.diag(C))
    found = pseudo_inverse(C, deviations, RANK_EPS * np.finfo(float).eps)
    unit = np.where(deviations > 0, deviations, 1.0)
    scaled = C / unit[:, None] / unit
    expected = np.linalg.pinv(scaled, rcond=1e-10, hermitian=True) / unit[:, None] / unit
    np.testing.assert_allclose(found * unit[:, None] * unit, expected * unit[:, None] * unit, atol=1e-10)
    np.testing.assert_array_equal(found[4], 0)
    np.testing.assert_array_equal(found[:, 4], 0)


def test_the_ranks_of_units_are_told_by_the_documented_bounds():
    """Variances below `DEAD_EPS` eps of the mean square are constant; correlations below `RANK_EPS` eps dependent."""
    X, y, _ = table(19, n=200)
    eps = np.finfo(float).eps
    net = network_of(X, y, n_hidden=2)
    for share, alive in [(0.2, False), (20.0, True)]:
        # A unit of deviation 1 and mean h: its variance is 1 / (1 + h^2) of its mean square.
        hidden = point(net).reshape(net.shape)
        hidden[0] /= np.linalg.norm(hidden[0, :-1])
        hidden[0, -1] = (share * DEAD_EPS * eps) ** -0.5
        deviations = net.layer(hidden.ravel()).deviations
        assert (deviations[0] > 0) == alive
    for share, kept in [(0.2, False), (5.0, True)]:
        # Two units without kinks whose correlation is 1 - e: the smaller eigenvalue is e.
        hidden = point(net).reshape(net.shape)
        hidden[0] /= np.linalg.norm(hidden[0, :-1])
        across = hidden[1, :-1] - (hidden[1, :-1] @ hidden[0, :-1]) * hidden[0, :-1]
        hidden[0, -1] = 6
        hidden[1] = hidden[0]
        hidden[1, :-1] += (2 * share * RANK_EPS * eps) ** 0.5 * across / np.linalg.norm(across)
        inverse = net.layer(hidden.ravel()).inverse
        assert (np.abs(inverse).max() > 1e10) == kept


def test_regular_inverse_adds_a_share_of_the_mean_diagonal():
    A = np.diag([4.0, 2.0, 0.0])
    np.testing.assert_allclose(regular_inverse(A, 0.5), np.diag(1 / np.array([5.0, 3.0, 1.0])))
    np.testing.assert_array_equal(regular_inverse(np.zeros((2, 2)), 1e-6), np.eye(2))


def test_rectified_activations():
    for f in (relu, squared_relu, cubed, free_cubed):
        assert rectified(f) is f
    for f in ("softplus", "leaky_relu", "tanh", "gelu", "sigmoid"):
        with pytest.raises(ValueError, match=f"rectified, 0 for z <= 0 and positive for z > 0, {f} is not"):
            rectified(__import__("skrelu").activations.get_activation(f))
    shifted = Activation(lambda z: np.maximum(z - 5, 0), lambda z: z > 5, "shifted")
    above = Activation(lambda z: np.maximum(z, 0) + (z == 0), lambda z: z > 0, "above")
    for f in (shifted, above):
        with pytest.raises(ValueError, match="is not"):
            rectified(f)


def test_a_variant_keeps_what_it_is_not_told():
    X, y, weight = table(0)
    net = network_of(X, y, weight, (True, 0.3), smoothing=0.1)
    other = net.variant(5, gauss_newton=True)
    assert (other.n_hidden, other.gauss_newton, other.alpha, other.smoothing) == (5, True, 0.3, 0.1)
    assert (net.n_hidden, net.gauss_newton) == (3, False)
    assert other.variant(alpha=0.0).n_hidden == 5


def test_in_the_users_coordinates_it_is_the_same_function():
    X, y, weight = table(0)
    net = network_of(X, y, weight)
    plain = TwoLayer(net.rows, relu, unwhitened(net.whitening), 3, **net.options)
    theta = point(net)
    there = plain.parameters(*net.hidden(theta))
    assert plain.value_and_gradient(there)[0] == pytest.approx(net.value_and_gradient(theta)[0], rel=1e-10)
    for a, b in zip(plain.output(there), net.output(theta), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


# Passes.


class Counted:
    """Rows that count their passes."""

    def __init__(self, rows):
        self.rows, self.passes = rows, 0

    def __getattr__(self, name):
        return getattr(self.rows, name)

    def sum(self, f, *parameters):
        self.passes += 1
        return self.rows.sum(f, *parameters)


def counted_network(kind=(True, 0.0), activation=relu, **options):
    X, y, weight = table(31)
    rows, coordinates, given = options_of(X, y, weight, kind, **options)
    counted = Counted(rows)
    return TwoLayer(counted, activation, coordinates, 3, **given), counted


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gauss_newton", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_products_with_the_hessian_take_one_pass_once_its_sums_are_worth_it(
    monkeypatch, activation, gauss_newton, kind
):
    net, counted = counted_network(kind, ACTIVATIONS[activation], smoothing=0.3, gauss_newton=gauss_newton)
    theta, product = point(net), net.curvature_product(point(net))
    found, passes = [], []
    for seed in range(6):
        before = counted.passes
        found.append(product(point(net, 1 + seed)))
        passes.append(counted.passes - before)
    # Three units and three outputs: the sums cost about as much as the first passes of three products.
    assert passes == [2, 2, 2, 2, 1, 1]
    monkeypatch.setattr(two_layer_curvature, "MAX_ENTRIES", 0)
    two_passes, before = net.curvature_product(theta), counted.passes
    for seed, expected in enumerate(found):
        np.testing.assert_allclose(
            two_passes(point(net, 1 + seed)), expected, rtol=1e-9, atol=1e-11 * np.abs(expected).max()
        )
    assert counted.passes - before == 2 * len(found)


@pytest.mark.parametrize(("room", "passes"), [(0, 1), (-1, 2)])
def test_sums_are_taken_if_they_are_no_more_numbers_than_there_may_be(monkeypatch, room, passes):
    """Of k units, m outputs and d columns: for each unit, of k + m + 1 products with d columns and the constant."""
    net, counted = counted_network()
    k, m, d = 3, 3, 4
    monkeypatch.setattr(two_layer_curvature, "MAX_ENTRIES", k * (k + m + 1) * (d + 1) + room)
    product = net.curvature_product(point(net))
    for seed in range(5):
        before = counted.passes
        product(point(net, seed))
    assert counted.passes - before == passes


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_given_output_layer_is_that_of_the_users_units(fit_intercept, activation):
    X, y, weight = table(33)
    rng = np.random.default_rng(33)
    net = network_of(X, y, weight, (fit_intercept, 0.0), ACTIVATIONS[activation])
    U, c = rng.standard_normal((3, 3)), rng.standard_normal(3) * fit_intercept
    given, theta, p = GivenOutput(net, U, c), point(net), weight / weight.sum()
    values, t = features(net, X, theta), net.target_scale
    residual = values @ U.T + c - y
    np.testing.assert_allclose(given.residual_covariance(theta) * t * t, (residual.T * p) @ residual, rtol=1e-10)
    spread = np.sqrt(p @ (values - (p @ values) * fit_intercept) ** 2)
    np.testing.assert_allclose(given.contributions(theta) * t, np.linalg.norm(U, axis=0) * spread, rtol=1e-9)
    for told, expected in zip(given.output(theta), (U, c), strict=True):
        np.testing.assert_array_equal(told, expected)


def test_the_output_layer_of_the_latest_weights_takes_no_pass():
    net, counted = counted_network()
    theta = point(net)
    layer = net.layer(theta)
    assert counted.passes == 1
    assert net.layer(theta.copy()) is layer
    assert counted.passes == 1
    slopes = net.layer(theta, slopes=True).slopes
    assert slopes.shape == (3, 3)
    assert counted.passes == 2
    assert net.layer(theta).slopes is slopes
    assert counted.passes == 2
    moved = net.layer(np.concatenate([theta[:-1], [0.5]])).coef
    assert np.any(moved != layer.coef)
    theta[-1] = 0.5  # weights that change in place
    np.testing.assert_array_equal(net.layer(theta).coef, moved)
    assert counted.passes == 3
