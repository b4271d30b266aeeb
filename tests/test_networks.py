"""The single ReLU against a slow, obvious reference in the user's units; derivatives by Taylor's theorem."""

import itertools

import numpy as np
import pytest
from scipy import sparse

from skrelu.networks import SingleReLU
from skrelu.rows import Rows
from skrelu.rows import memory as rows_module

STORAGES = {"dense": np.ascontiguousarray, "csr": sparse.csr_array, "csc": sparse.csc_matrix}
VARIANTS = {
    "plain": {},
    "majorant": {"majorant": True},
    "smoothed": {"smoothing": 0.8},
    "both": {"majorant": True, "smoothing": 0.8},
}
UNITS = ["user", "common", "diagonal"]


@pytest.fixture(params=[1, 2**20])
def block_bytes(request, monkeypatch):
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", request.param)


def table(seed, n=60, d=4, negative=True, dtype=np.float64):
    """Return data with different means and scales of the columns, y of both signs (or >= 0), and weights."""
    rng = np.random.default_rng(seed)
    X = 3 * rng.standard_normal((n, d)) * np.arange(1, d + 1) + rng.standard_normal(d)
    y = rng.standard_normal(n)
    y = np.where(y > 0, 10 * y, 2 * y)  # some beyond three times the size of the negative ones
    return X.astype(dtype), (y if negative else np.abs(y)).astype(dtype), (rng.random(n) + 0.1).astype(dtype)


def vary(objective, majorant=False, smoothing=0.0):
    tau = objective.noise_threshold if majorant else np.inf
    return objective.variant(linear_above=tau, smoothing=smoothing)


def network(X, y, weight=None, *, units="user", fit_intercept=True, variant="plain"):
    rows = Rows(X, y, weight)
    if units == "user":
        objective = SingleReLU(rows, fit_intercept=fit_intercept)
    else:
        objective = SingleReLU.standardised(rows, fit_intercept, diagonal=units == "diagonal")
    return vary(objective, **VARIANTS[variant])


def start(objective, seed, size=1.0):
    rng = np.random.default_rng(seed)
    d = objective.rows.n_features + objective.fit_intercept
    return (size * rng.standard_normal(d)).astype(objective.rows.dtype)


def slow_loss(X, y, weight, w, b):
    """Return F(w, b), its generalised gradient and mean derivative, in the user's units, row by row."""
    value, g, g_b, curvature = 0.0, np.zeros(X.shape[1]), 0.0, 0.0
    for x_i, y_i, s_i in zip(X, y, weight / weight.sum(), strict=True):
        z = float(x_i @ w) + b
        slope = 1.0 if z > 0 else 0.0 if z < 0 else 0.5
        residual = max(0.0, z) - y_i
        value += s_i * residual**2 / 2
        g += s_i * residual * slope * x_i
        g_b += s_i * residual * slope
        curvature += s_i * slope
    return value, g, g_b, curvature


def slow_reference(objective, X, y, weight, theta):
    """Return value, gradient and curvature in the coordinates of the solvers, by the chain rule from `slow_loss`."""
    t, scale, center = objective.target_scale, objective.scale, objective.center
    v, beta = (theta[:-1], theta[-1]) if objective.fit_intercept else (theta, 0.0)
    w = t / scale * v
    b = t * beta - w @ center if objective.fit_intercept else 0.0
    value, g, g_b, curvature = slow_loss(X, y, weight, w, b)
    if not objective.fit_intercept:
        return value / t**2, g * t / scale / t**2, curvature
    return value / t**2, np.append(t / scale * (g - g_b * center), t * g_b) / t**2, curvature


def slow_derivative(objective, X):
    """Return A, the derivative of z / t with respect to theta."""
    A = (X - objective.center) / objective.scale
    return np.column_stack([A, np.ones(len(X))]) if objective.fit_intercept else A


# value and gradient


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("units", UNITS)
def test_value_and_gradient_are_those_of_the_slow_reference(block_bytes, storage, units, fit_intercept):
    X, y, weight = table(0)
    objective = network(STORAGES[storage](X), y, weight, units=units, fit_intercept=fit_intercept)
    for seed in range(3):
        theta = start(objective, seed, 0.3)
        value, gradient, curvature = objective.value_and_gradient(theta)
        expected = slow_reference(objective, X, y, weight, theta)
        assert value == pytest.approx(expected[0], rel=1e-12)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-11, atol=1e-13 * np.abs(expected[1]).max())
        assert curvature == pytest.approx(expected[2], rel=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("units", UNITS)
def test_units_of_no_intercept_and_centre(units, variant):
    """Without intercept nothing is centred; with it the centre is the weighted mean and the scales the deviations."""
    X, y, weight = table(1)
    with_intercept = network(X, y, weight, units=units, variant=variant)
    without = network(X, y, weight, units=units, fit_intercept=False, variant=variant)
    assert np.all(without.center == 0)
    if units == "user":
        assert np.all(with_intercept.center == 0)
        assert np.all(with_intercept.scale == 1)
        assert with_intercept.target_scale == 1
        assert with_intercept.unit == 1
        return
    p = weight / weight.sum()
    mean, t = p @ X, (p @ y**2) ** 0.5
    deviation, size = (p @ (X - mean) ** 2) ** 0.5, (p @ X**2) ** 0.5
    np.testing.assert_allclose(with_intercept.center, mean, rtol=1e-12)
    if units == "diagonal":
        np.testing.assert_allclose(with_intercept.scale, deviation, rtol=1e-12)
        np.testing.assert_allclose(without.scale, size, rtol=1e-12)
        np.testing.assert_allclose(with_intercept.unit, deviation / t, rtol=1e-12)
    else:
        np.testing.assert_allclose(with_intercept.scale, deviation.max(), rtol=1e-12)
        np.testing.assert_allclose(without.scale, size.max(), rtol=1e-12)
        assert with_intercept.unit == pytest.approx(deviation.max() / t, rel=1e-12)


def away_from_kinks(objective, X, y, weight, theta, kinks, margin):
    """Return the rows whose z / t is further than the margin from every kink."""
    z = slow_derivative(objective, X) @ theta
    keep = np.min([np.abs(z - kink) for kink in kinks], axis=0) > margin
    assert keep.sum() > 20
    return X[keep], y[keep], weight[keep]


def smooth_point(variant, units, fit_intercept, seed=2):
    """Return (objective, theta) with no row near a kink, in units that were fixed before rows were dropped."""
    X, y, weight = table(seed, n=120)
    first = network(X, y, weight, units=units, fit_intercept=fit_intercept, variant=variant)
    theta = start(first, seed, 0.2 if units == "user" else 1.0)
    X, y, weight = away_from_kinks(first, X, y, weight, theta, (-0.4, 0, 0.4), 0.05)
    plain = SingleReLU(
        Rows(X, y, weight),
        scale=first.scale,
        center=first.center,
        target_scale=first.target_scale,
        fit_intercept=fit_intercept,
    )
    objective = vary(plain, **VARIANTS[variant])
    reach = np.abs(slow_derivative(objective, X)).sum(axis=1).max()
    return objective, theta, 0.05 / reach  # |z| moves by less than 0.05 for |step|_inf up to this


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("units", UNITS)
def test_error_of_the_taylor_model_falls_with_slope_two(units, fit_intercept, variant):
    """pymanopt's gradient check with a verdict: |F(theta + h u) - F(theta) - h g'u| is of order h^2."""
    objective, theta, longest = smooth_point(variant, units, fit_intercept)
    value, gradient, _ = objective.value_and_gradient(theta)
    for seed in range(3):
        u = start(objective, 10 + seed)
        steps = longest / np.abs(u).max() * np.geomspace(1e-2, 1, 9)
        errors = [abs(objective.value_and_gradient(theta + h * u)[0] - value - h * (gradient @ u)) for h in steps]
        slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
        assert 1.98 < slope < 2.02


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("units", UNITS)
def test_gauss_newton_is_the_hessian_between_kinks(units, fit_intercept, variant):
    """There the objective is quadratic: differences of gradients are exact."""
    objective, theta, longest = smooth_point(variant, units, fit_intercept)
    _, gradient, _ = objective.value_and_gradient(theta)
    H = objective.gauss_newton(theta, np.arange(len(theta)))
    for seed in range(3):
        u = start(objective, 10 + seed)
        u *= longest / np.abs(u).max()
        change = objective.value_and_gradient(theta + u)[1] - gradient
        np.testing.assert_allclose(H @ u, change, rtol=1e-9, atol=1e-10 * np.abs(change).max())


def test_derivative_at_exactly_zero_is_one_half():
    """At z_i = 0 twice the gradient is the paper's: 1/n sum (max(0, z) - y)(1 + sign z) x, sign 0 = 0."""
    rng = np.random.default_rng(3)
    X = rng.integers(-3, 4, size=(80, 3)).astype(float)
    y = rng.integers(-2, 5, size=80).astype(float)
    for w in ([0, 0, 0], [1, -1, 0], [2, 1, -3]):
        w = np.array(w, dtype=float)
        z = X @ w
        assert np.any(z == 0)
        paper = X.T @ ((np.maximum(z, 0) - y) * (1 + np.sign(z))) / len(y)
        _, gradient, curvature = network(X, y, fit_intercept=False).value_and_gradient(w)
        np.testing.assert_allclose(2 * gradient, paper, rtol=1e-13, atol=1e-14)
        assert curvature == pytest.approx(np.mean((1 + np.sign(z)) / 2), rel=1e-13)
        slow = slow_loss(X, y, np.ones(80), w, 0.0)
        np.testing.assert_allclose(gradient, slow[1], rtol=1e-12, atol=1e-14)


# Gauss-Newton


def slow_slope(objective, X, y, theta, variant):
    """Return the second derivative of each row's loss with respect to z / t, from the definitions."""
    z, y = slow_derivative(objective, X) @ theta, y / objective.target_scale
    options = VARIANTS[variant]
    slope = np.where(z > 0, 1.0, 0.0)
    if options.get("majorant"):
        negative = np.minimum(y, 0)
        p = np.concatenate([s for _, _, s in blocks(objective.rows)])
        sigma = ((p @ negative**2) / (p @ (y < 0))) ** 0.5 if np.any(y < 0) else 0.0
        slope[y > 3 * sigma] = 1.0
    eps = options.get("smoothing", 0.0)
    if eps:
        slope = slope + np.where((y < 0) & (np.abs(z) < eps / 2), -y / eps, 0)
    return slope


def blocks(rows):
    collected = []
    rows.sum(lambda X, y, s: (collected.append((X, y, s)) or 0.0,))
    return collected


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("units", ["user", "diagonal"])
def test_gauss_newton_on_every_kind_of_basis(block_bytes, storage, fit_intercept, variant, units):
    X, y, weight = table(4)
    objective = network(STORAGES[storage](X), y, weight, units=units, fit_intercept=fit_intercept, variant=variant)
    theta = start(objective, 4, 0.3)
    A, p = slow_derivative(objective, X), weight / weight.sum()
    H = (A.T * (p * slow_slope(objective, X, y, theta, variant))) @ A
    size = len(theta)
    rng = np.random.default_rng(4)
    B = rng.standard_normal((size, 3)) * (rng.random((size, 3)) < 0.7)
    indices = [np.arange(size), np.array([1, 3]), np.array([0, 2, size - 1]), np.array([size - 1]), np.arange(0)]
    for basis in [*indices, B, sparse.csr_array(B), sparse.csc_array(B), np.eye(size)[:, 2:], np.zeros((size, 0))]:
        dense = basis.toarray() if sparse.issparse(basis) else basis
        dense = np.eye(size)[:, dense] if dense.dtype.kind == "i" else dense
        result = objective.gauss_newton(theta, basis)
        assert result.shape == (dense.shape[1], dense.shape[1])
        np.testing.assert_allclose(result, dense.T @ H @ dense, rtol=1e-10, atol=1e-12 * np.abs(H).max())
    for direction in np.eye(size):
        product = objective.gauss_newton_product(theta, direction)
        np.testing.assert_allclose(product, H @ direction, rtol=1e-10, atol=1e-12 * np.abs(H).max())


# values


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_values_are_those_of_value_and_gradient(block_bytes, storage, fit_intercept, variant):
    X, y, weight = table(5)
    objective = network(STORAGES[storage](X), y, weight, units="diagonal", fit_intercept=fit_intercept, variant=variant)
    thetas = [start(objective, seed) for seed in range(4)] + [np.zeros(X.shape[1] + fit_intercept)]
    expected = [objective.value_and_gradient(theta)[0] for theta in thetas]
    np.testing.assert_allclose(objective.values(thetas), expected, rtol=1e-13)
    np.testing.assert_allclose(objective.values(np.stack(thetas)), expected, rtol=1e-13)
    assert objective.values(thetas[:1]).shape == (1,)


# units


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("units", UNITS)
def test_coefficients_and_parameters_are_inverse(units, fit_intercept):
    X, y, weight = table(6)
    objective = network(X, y, weight, units=units, fit_intercept=fit_intercept)
    theta = start(objective, 6)
    w, b = objective.coefficients(theta)
    assert isinstance(b, float)
    assert w.shape == (X.shape[1],)
    if not fit_intercept:
        assert b == 0
    np.testing.assert_allclose(objective.parameters(w, b), theta, rtol=1e-13, atol=1e-14)
    plane = slow_derivative(objective, X) @ theta * objective.target_scale
    np.testing.assert_allclose(X @ w + b, plane, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(w * objective.unit, theta[: len(w)], rtol=1e-13)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("diagonal", [True, False])
def test_standardised_objective_does_not_know_the_units(diagonal, fit_intercept, variant):
    X, y, weight = table(7)
    rng = np.random.default_rng(7)
    factor = np.exp(3 * rng.standard_normal(X.shape[1])) if diagonal else 30.0
    shift = 100 * rng.standard_normal(X.shape[1]) if fit_intercept else 0.0
    units = "diagonal" if diagonal else "common"
    one = network(X, y, weight, units=units, fit_intercept=fit_intercept, variant=variant)
    other = network(X * factor + shift, 1e-3 * y, 5 * weight, units=units, fit_intercept=fit_intercept, variant=variant)
    for seed in range(3):
        theta = start(one, seed)
        for a, b in zip(one.value_and_gradient(theta), other.value_and_gradient(theta), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_objective_at_zero_is_one_half_and_curvature_of_order_one():
    for seed in range(3):
        X, y, weight = table(seed)
        objective = network(1e6 * X - 3e6, 1e-8 * y, weight, units="diagonal")
        assert objective.value_and_gradient(np.zeros(X.shape[1] + 1))[0] == pytest.approx(0.5, rel=1e-12)
        H = objective.gauss_newton(start(objective, seed), np.arange(X.shape[1] + 1))
        assert np.diag(H).max() < 4


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_constant_column_has_no_gradient(diagonal, fit_intercept):
    """About its mean it is zero; without intercept it is the bias column that the user made, and of unit scale."""
    X, y, weight = table(8)
    X[:, 1] = -5.0
    objective = network(X, y, weight, units="diagonal" if diagonal else "common", fit_intercept=fit_intercept)
    _, gradient, _ = objective.value_and_gradient(start(objective, 8, 0.3))
    if fit_intercept:
        assert abs(gradient[1]) < 1e-14
    else:
        assert abs(gradient[1]) > 1e-3
    if diagonal:
        assert objective.scale[1] == pytest.approx(5, rel=1e-13)


# majorant


@pytest.mark.parametrize("negative", [True, False])
def test_majorant_is_nowhere_below_the_loss(negative):
    for seed in range(10):
        X, y, weight = table(seed, negative=negative)
        plain = network(X, y, weight, units="diagonal")
        majorant = vary(plain, majorant=True)
        thetas = [start(plain, 100 + k, size) for k, size in itertools.product(range(20), (0.1, 1, 10))]
        excess = majorant.values(thetas) - plain.values(thetas)
        assert np.all(excess >= -1e-13 * plain.values(thetas))
        assert np.any(excess > 1e-3)


def test_majorant_equals_the_loss_where_its_linear_rows_have_the_right_sign():
    X, _, weight = table(9, n=200)
    theta = np.array([1.0, -0.5, 0.2, 0.3, 0.4])
    rng = np.random.default_rng(9)
    z = X @ theta[:-1] + theta[-1]
    # Rows beyond 3 sigma have z > 0, the others are noise about zero.
    y = np.where(z > 1, z + rng.random(200), 0.1 * rng.standard_normal(200))
    plain = network(X, y, weight)
    majorant = vary(plain, majorant=True)
    for seed in range(10):
        near = theta + 1e-3 * np.random.default_rng(seed).standard_normal(5)
        values = [objective.value_and_gradient(near) for objective in (plain, majorant)]
        for a, b in zip(*values, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("units", UNITS)
def test_majorant_is_convex_when_no_target_is_negative(units):
    for seed in range(5):
        X, y, weight = table(seed, negative=False)
        y[::4] = 0
        majorant = network(X, y, weight, units=units, variant="majorant")
        plain = majorant.variant()
        nonconvex = 0
        for k in range(40):
            ends = [start(majorant, 2 * k + i, size) for i, size in enumerate((0.1, 0.5))]
            for share in (0.25, 0.5, 0.75):
                between = share * ends[0] + (1 - share) * ends[1]
                low, *ends_high = majorant.values([between, *ends])
                chord = share * ends_high[0] + (1 - share) * ends_high[1]
                assert low <= chord * (1 + 1e-12)
                value, *at_ends = plain.values([between, *ends])
                nonconvex += value > share * at_ends[0] + (1 - share) * at_ends[1] + 1e-9
        assert nonconvex > 0  # the loss itself is not: the test can tell


def test_majorant_linearises_exactly_the_rows_above_three_sigma():
    """sigma is the weighted root mean square of the negative targets; a row far below z = 0 tells which it is."""
    y = np.array([-1.0, -2.0, 0.0, 3.9, 4.2, 10.0])
    weight = np.array([3.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    sigma = ((3 * 1 + 1 * 4) / 4) ** 0.5
    assert 3.9 < 3 * sigma < 4.2
    for X in (np.ones((6, 1)), 1e3 * np.ones((6, 1))):
        majorant = network(X, y, weight, fit_intercept=False, variant="majorant")
        w = np.array([-1.0]) / X[0]
        linear = y > 3 * sigma
        expected = np.sum(weight * np.where(linear, (-1 - y) ** 2, y**2)) / 2 / weight.sum()
        assert majorant.value_and_gradient(w)[0] == pytest.approx(expected, rel=1e-14)


# smoothing


@pytest.mark.parametrize("majorant", [False, True])
def test_smoothing_lies_between_the_loss_and_its_bound(majorant):
    for seed in range(5):
        X, y, weight = table(seed)
        plain = vary(network(X, y, weight, units="diagonal"), majorant)
        t, p = plain.target_scale, weight / weight.sum()
        thetas = [start(plain, 100 + k, size) for k, size in itertools.product(range(10), (0.01, 0.3, 3))]
        values = plain.values(thetas)
        largest = []
        for eps in (1.0, 0.1, 1e-2, 1e-4):
            excess = vary(plain, majorant, eps).values(thetas) - values
            bound = p @ np.maximum(-y / t, 0) * eps / 8
            assert np.all(excess >= -1e-14)
            assert np.all(excess <= bound * (1 + 1e-12))
            largest.append(excess.max() / bound)
        assert largest[0] > 0.5  # the bound is nearly reached near theta = 0


def test_the_bound_of_the_smoothing_is_reached_at_zero():
    X, y, weight = table(10)
    objective = network(X, y, weight, units="common")
    zero = np.zeros(X.shape[1] + 1)
    excess = objective.variant(smoothing=0.2).values([zero])[0] - objective.values([zero])[0]
    bound = weight @ np.maximum(-y, 0) / weight.sum() * 0.2 / 8 / objective.target_scale
    assert excess == pytest.approx(bound, rel=1e-10)


def test_smoothed_gradient_converges_where_there_is_no_kink():
    X, y, weight = table(11)
    objective = network(X, y, weight, units="diagonal")
    theta = start(objective, 11)
    exact = objective.value_and_gradient(theta)
    closest = np.abs(slow_derivative(objective, X) @ theta).min()
    smoothed = objective.variant(smoothing=closest).value_and_gradient(theta)
    for a, b in zip(exact, smoothed, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


def test_smoothing_changes_nothing_without_negative_targets():
    X, y, weight = table(12, negative=False)
    objective = network(X, y, weight)
    assert not objective.has_kinks
    theta = start(objective, 12)
    for a, b in zip(
        objective.value_and_gradient(theta), objective.variant(smoothing=10.0).value_and_gradient(theta), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_variants_leave_the_objective_as_it_was():
    X, y, weight = table(13)
    objective = network(X, y, weight)
    theta = start(objective, 13)
    before = objective.value_and_gradient(theta)
    variant = vary(objective, majorant=True, smoothing=0.5)
    assert variant.value_and_gradient(theta)[0] > before[0]
    for other in (objective, variant.variant()):
        for a, b in zip(other.value_and_gradient(theta), before, strict=True):
            np.testing.assert_array_equal(a, b)


# the lowest possible value


@pytest.mark.parametrize("units", UNITS)
def test_is_lowest_without_negative_targets(units):
    X, _, weight = table(14)
    w, b = np.array([1.0, -1.0, 0.5, 0.0]), 0.3
    y = np.maximum(X @ w + b, 0)
    objective = network(X, y, weight, units=units)
    assert not objective.has_kinks
    planted = objective.parameters(w, b)
    assert objective.is_lowest(objective.value_and_gradient(planted)[0])
    nearby = objective.value_and_gradient(planted * (1 + 1e-10))[0]
    assert not objective.is_lowest(nearby)


def test_is_lowest_with_negative_targets():
    """The floor is half the mean square of the negative targets: a ReLU can do no better."""
    X, y, weight = table(15)
    objective = network(X, y, weight, units="diagonal")
    assert objective.has_kinks
    floor = weight @ np.minimum(y / objective.target_scale, 0) ** 2 / weight.sum() / 2
    assert objective.is_lowest(floor * (1 + 1e-14))
    assert not objective.is_lowest(floor * (1 + 1e-12))
    for seed in range(20):
        assert objective.value_and_gradient(start(objective, seed))[0] > floor
    negative = network(X, -np.abs(y), weight)
    asleep = np.append(np.zeros(X.shape[1]), -1.0)
    assert negative.is_lowest(negative.value_and_gradient(asleep)[0])
    assert not negative.is_lowest(negative.value_and_gradient(-asleep)[0])


# dtypes, weights, storage


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_float32_is_kept(fit_intercept, units, variant, storage):
    X, y, weight = table(16, dtype=np.float32)
    objective = network(STORAGES[storage](X), y, weight, units=units, fit_intercept=fit_intercept, variant=variant)
    theta = start(objective, 16)
    value, gradient, curvature = objective.value_and_gradient(theta)
    w, b = objective.coefficients(theta)
    found = {
        "scale": objective.scale.dtype,
        "center": objective.center.dtype,
        "gradient": gradient.dtype,
        "gauss_newton": objective.gauss_newton(theta, np.arange(len(theta))).dtype,
        "dense basis": objective.gauss_newton(theta, np.eye(len(theta), dtype=np.float32)).dtype,
        "gauss_newton_product": objective.gauss_newton_product(theta, theta).dtype,
        "w": w.dtype,
        "parameters": objective.parameters(w, b).dtype,
    }
    assert found == dict.fromkeys(found, np.dtype(np.float32))
    assert isinstance(value, float)
    assert isinstance(curvature, float)
    double = network(X.astype(float), y.astype(float), weight.astype(float), units=units, fit_intercept=fit_intercept)
    expected = vary(double, **VARIANTS[variant]).value_and_gradient(theta.astype(float))
    assert value == pytest.approx(expected[0], rel=1e-5)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-4, atol=1e-5 * np.abs(expected[1]).max())
    np.testing.assert_allclose(objective.values([theta]), [value], rtol=1e-5)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("units", UNITS)
def test_a_weight_is_that_many_copies(units, variant, storage):
    X, y, _ = table(17)
    counts = np.random.default_rng(17).integers(0, 4, size=len(y))
    weighted = network(STORAGES[storage](X), y, counts.astype(float), units=units, variant=variant)
    repeated = network(
        STORAGES[storage](np.repeat(X, counts, axis=0)), np.repeat(y, counts), units=units, variant=variant
    )
    theta = start(weighted, 17, 0.3)
    assert weighted.rows.weight_sum == repeated.rows.weight_sum
    for a, b in zip(weighted.value_and_gradient(theta), repeated.value_and_gradient(theta), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)
    H = [objective.gauss_newton(theta, np.arange(len(theta))) for objective in (weighted, repeated)]
    np.testing.assert_allclose(*H, rtol=1e-11, atol=1e-12 * np.abs(H[0]).max())


@pytest.mark.parametrize("storage", ["csr", "csc"])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("units", UNITS)
def test_sparse_is_dense(units, variant, storage):
    X, y, weight = table(18)
    X *= np.random.default_rng(18).random(X.shape) < 0.4
    one, other = (
        network(store(X), y, weight, units=units, variant=variant) for store in (np.asarray, STORAGES[storage])
    )
    theta = start(one, 18, 0.3)
    for a, b in zip(one.value_and_gradient(theta), other.value_and_gradient(theta), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(one.scale, other.scale, rtol=1e-13)
