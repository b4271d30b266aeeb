"""The joint fit of moments: against full tensors, planted units, the theorem of the power method, and tensorly."""

import itertools
from dataclasses import replace
from math import factorial

import numpy as np
import pytest
from tensorly.decomposition import parafac, symmetric_parafac_power_iteration

from skrelu import starts
from skrelu.activations import gelu, leaky_relu, relu, sigmoid, softplus, tanh
from skrelu.metrics import recovery_error
from skrelu.moments import HermiteMoments, pairs
from skrelu.starts import MARGIN, RANDOM_STARTS, TOL, fit_moments
from skrelu.tensors import PARALLEL, PRECISION, RIDGE, MomentFit, power_directions

VARIANCES = (0.7, 0.5, 0.3, 0.3)


def planted_moments(W, b, v, *, n=1e18, variances=(1.0,) * 4, activation=relu, noise=0.0, seed=0):
    """Return the moments of a network of a normal x by Stein's formula, symmetric noise added; n sets the prior."""
    k, size = W.shape[1], np.linalg.norm(W, axis=1)
    U = W / size[:, None]
    h = v * activation.hermite_coefficients(4, scale=size, bias=b)
    rng = np.random.default_rng(seed)
    a, c = pairs(k)
    products = U[:, a] * U[:, c]
    M3, M4 = (np.einsum("j,ja,jb,jc", h[3], U, U, U), np.einsum("j,ja,jb,jc,jd", h[4], U, U, U, U))
    np.testing.assert_allclose(M4[a, c][:, a, c], (products.T * h[4]) @ products, atol=1e-12)
    M3, M4, M2 = (
        M + noise * symmetrised(rng.standard_normal(M.shape)) for M in (M3, M4, np.einsum("j,ja,jb", h[2], U, U))
    )
    first = h[1] @ U + noise * rng.standard_normal(k)
    spectrum = np.linalg.eigvalsh(M2)
    return HermiteMoments(
        np.eye(k), spectrum, 0.0, h[0].sum(), first, M2, M3[a, c], M4[a, c][:, a, c], n, tuple(variances)
    )


def symmetrised(M):
    return sum(np.transpose(M, order) for order in itertools.permutations(range(M.ndim))) / factorial(M.ndim)


def units(name, seed, k):
    """Return (W, b, v) of planted units."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((k, k)))[0]
    W = Q + rng.standard_normal((k, k)) / (2 * k**0.5)
    W /= np.linalg.norm(W, axis=1, keepdims=True)
    b, v = np.zeros(k), np.ones(k)
    if name == "orthonormal":
        W = Q
    elif name == "signed":
        v = np.where(np.arange(k) % 2 == 0, -1.0, 1.0)
    elif name == "nearly parallel":
        W[1] = np.cos(0.3) * W[0] + np.sin(0.3) * np.linalg.qr(W[:2].T)[0][:, 1]
    elif name == "unequal":
        W *= np.linspace(0.4, 2, k)[:, None]
    elif name == "biased":
        b = rng.uniform(-0.8, 0.8, k)
    return W, b, v


def full_tensors(found):
    k = len(found.first)
    where = np.zeros((k, k), dtype=int)
    a, b = pairs(k)
    where[a, b] = where[b, a] = np.arange(len(a))
    return [found.first, found.second, symmetrised(found.third[where]), symmetrised(found.fourth[where][:, :, where])]


# the objective


def slow_objective(fit, W, b):
    """Return J by tensors of full size, the constant ``sum_m |M_m|^2 / (2 m! sigma_m^2)`` subtracted."""
    size, moments = np.linalg.norm(W, axis=1), fit.moments
    U = W / size[:, None]
    c = fit.activation.hermite_coefficients(4, scale=size, bias=b)
    value = 0.0
    for m, M in enumerate(full_tensors(moments), 1):
        if m == 1 and fit.relaxed:
            continue
        model = sum(
            v * c_j * np.einsum(",".join("abcd"[:m]), *[u] * m) for v, c_j, u in zip(fit.output, c[m], U, strict=True)
        )
        value += (np.sum((M - model) ** 2) - np.sum(M**2)) / (2 * factorial(m) * moments.variances[m - 1])
    prior = np.sum(size**2) / fit.size**2 + (np.sum(b**2 / size**2) if fit.bias is None else 0.0)
    return value + PRECISION * prior / (2 * moments.n)


def noisy_fit(seed, k, *, tied=False, relaxed=False, activation=relu, n_units=None):
    """Return a fit of noisy moments whose prior counts, and a point (W, b, theta) away from the solution."""
    rng = np.random.default_rng(seed)
    n_units = n_units or k
    W, b = rng.standard_normal((n_units, k)), rng.standard_normal(n_units)
    v = np.where(np.arange(n_units) % 3 == 0, -1.0, 1.0)
    moments = planted_moments(W, b, v, n=30.0, variances=VARIANCES, noise=0.1, seed=seed, activation=activation)
    bias = rng.standard_normal(k) if tied else None
    fit = MomentFit(moments, activation, v, 0.8, bias, relaxed=relaxed)
    W = rng.standard_normal((n_units, k))
    b = W @ bias if tied else rng.standard_normal(n_units)
    return fit, W, b, W.ravel() if tied else np.column_stack([W, b]).ravel()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("relaxed", [False, True])
@pytest.mark.parametrize("activation", [relu, leaky_relu, softplus], ids=lambda activation: activation.name)
def test_objective_is_the_distance_of_full_tensors(activation, relaxed, tied):
    for seed, (k, n_units) in enumerate([(1, 1), (2, 3), (4, 2), (3, 3)]):
        fit, W, b, theta = noisy_fit(seed, k, tied=tied, relaxed=relaxed, activation=activation, n_units=n_units)
        for found, expected in zip(fit.unpack(theta), (W, b, fit.output), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-14)
        value, gradient = fit.value_and_gradient(theta)
        assert value == pytest.approx(slow_objective(fit, W, b), rel=1e-10)
        assert gradient.shape == theta.shape


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("relaxed", [False, True])
@pytest.mark.parametrize("activation", [relu, leaky_relu, softplus], ids=lambda activation: activation.name)
def test_gradient_is_a_finite_difference(activation, relaxed, tied):
    """Richardson: (4 D(h/2) - D(h)) / 3, D the central difference, is right to order h^4."""
    for seed in range(3):
        fit, _, _, theta = noisy_fit(seed, 3, tied=tied, relaxed=relaxed, activation=activation)
        _, gradient = fit.value_and_gradient(theta)
        h, numeric = 1e-3, []
        for e in np.eye(len(theta)):
            slopes = [
                (fit.value_and_gradient(theta + s * e)[0] - fit.value_and_gradient(theta - s * e)[0]) / (2 * s)
                for s in (h, h / 2)
            ]
            numeric.append((4 * slopes[1] - slopes[0]) / 3)
        np.testing.assert_allclose(gradient, numeric, rtol=1e-7, atol=1e-8 * np.abs(gradient).max())


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("activation", [softplus, tanh], ids=lambda activation: activation.name)
def test_free_outputs_are_part_of_the_objective_and_of_its_gradient(activation, positive, tied):
    for seed in range(3):
        fixed, W, b, _ = noisy_fit(seed, 3, tied=tied, activation=activation)
        v = np.random.default_rng(seed).standard_normal(3)
        fit = replace(fixed, output_size=0.7, positive=positive)
        theta = fit.pack(W, b, v)
        v = np.abs(v) if positive else v
        np.testing.assert_allclose(fit.unpack(theta)[2], v, rtol=1e-14)
        value, gradient = fit.value_and_gradient(theta)
        prior = PRECISION * np.sum(v**2) / (2 * 0.7**2 * fit.moments.n)
        assert value == pytest.approx(slow_objective(replace(fixed, output=v), W, b) + prior, rel=1e-10)
        h, numeric = 1e-3, []
        for e in np.eye(len(theta)):
            slopes = [
                (fit.value_and_gradient(theta + s * e)[0] - fit.value_and_gradient(theta - s * e)[0]) / (2 * s)
                for s in (h, h / 2)
            ]
            numeric.append((4 * slopes[1] - slopes[0]) / 3)
        np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-7 * np.abs(gradient).max())


@pytest.mark.parametrize("activation", [softplus, tanh, sigmoid, gelu], ids=lambda activation: activation.name)
def test_units_that_are_not_homogeneous_are_recovered_from_exact_moments(activation):
    """Directions, sizes and outputs; up to the sign of a unit where the activation is odd but for a constant."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        W = np.linalg.qr(rng.standard_normal((3, 3)))[0] * np.array([[1.0], [1.2], [0.9]])
        v = np.where(np.arange(3) % 2 == 0, -1.0, 1.0)
        moments = planted_moments(W, np.zeros(3), v, activation=activation)
        found_W, _, found_v = fit_moments(moments, activation, 3, np.random.RandomState(seed), bias=np.zeros(3))
        if activation.even_constant is not None:
            W, found_W = v[:, None] * W, np.sign(found_v)[:, None] * found_W
            v, found_v = np.ones(3), np.abs(found_v)
        assert recovery_error(np.column_stack([W, v]), np.column_stack([found_W, found_v])) < 1e-4


def test_relaxed_objective_does_not_know_the_signs_of_units():
    for seed in range(3):
        fit, W, b, theta = noisy_fit(seed, 4, relaxed=True)
        signs = np.where(np.random.default_rng(seed).random(4) < 0.5, -1.0, 1.0)
        signs[0] = -1
        turned = np.column_stack([signs[:, None] * W, signs * b]).ravel()
        assert fit.value_and_gradient(turned)[0] == pytest.approx(fit.value_and_gradient(theta)[0], rel=1e-12)
        full = replace(fit, relaxed=False)
        assert full.value_and_gradient(turned)[0] != pytest.approx(full.value_and_gradient(theta)[0], rel=1e-3)


def test_gradient_vanishes_at_planted_units():
    """Of exact moments and without prior; there the distance is zero: J = -sum_m |M_m|^2 / (2 m! sigma_m^2)."""
    for seed in range(3):
        W, b, v = units("biased", seed, 4)
        moments = planted_moments(W, b, v, variances=VARIANCES)
        fit = MomentFit(moments, relu, v, 1.0, None)
        value, gradient = fit.value_and_gradient(np.column_stack([W, b]).ravel())
        np.testing.assert_allclose(gradient, 0, atol=1e-13)
        constant = sum(
            np.sum(M**2) / (2 * factorial(m) * sigma)
            for m, (M, sigma) in enumerate(zip(full_tensors(moments), VARIANCES, strict=True), 1)
        )
        assert value == pytest.approx(-constant, rel=1e-12)


def test_units_of_no_size_have_finite_gradients():
    fit, _, _, theta = noisy_fit(0, 3)
    value, gradient = fit.value_and_gradient(0 * theta)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


# The curvature of the prior of b / |w| in w is left out.
@pytest.mark.parametrize(("n", "largest_bias"), [(1e18, 0.5), (40.0, 0.0)])
@pytest.mark.parametrize("activation", [relu, softplus], ids=lambda activation: activation.name)
def test_metric_is_the_inverse_of_the_hessian_at_planted_units(activation, n, largest_bias):
    """Where no other is left: within the b_j, within the v_j, and in the w_j across the span of orthonormal units."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        Q = np.linalg.qr(rng.standard_normal((5, 5)))[0]
        W, v = Q[:3] * np.array([[0.5], [1.0], [2.0]]), np.array([1.0, -1.0, 0.7])
        b = rng.uniform(-largest_bias, largest_bias, 3)
        moments = planted_moments(W, b, v, n=n, variances=VARIANCES, activation=activation)
        fit = MomentFit(moments, activation, v, 0.8, None, output_size=1.3)
        theta = fit.pack(W, b, v)
        product = fit.metric(theta)
        directions = [fit.pack(A @ Q[3:], 0 * b, 0 * v) for A in rng.standard_normal((2, 3, 2))]
        directions += [fit.pack(0 * W, *x) for x in ((rng.standard_normal(3), 0 * v), (0 * b, rng.standard_normal(3)))]
        for part, direction in zip((slice(0, 5), slice(0, 5), 5, 6), directions, strict=True):
            h = 1e-5 * direction
            change = (fit.value_and_gradient(theta + h)[1] - fit.value_and_gradient(theta - h)[1]) / 2e-5
            within = np.zeros((3, 7))
            within[:, part] = change.reshape(3, 7)[:, part]
            found = product(within.ravel())
            assert np.linalg.norm(found - direction) < 30 * RIDGE * np.linalg.norm(direction)


# orientation of relaxed units


@pytest.mark.parametrize("name", ["orthonormal", "signed", "unequal", "biased"])
@pytest.mark.parametrize("activation", [relu, leaky_relu], ids=lambda activation: activation.name)
def test_relaxed_units_are_oriented_by_the_first_moment(activation, name):
    for seed in range(10):
        W, b, v = units(name, seed, 6)
        fit = MomentFit(planted_moments(W, b, v, activation=activation), activation, v, 1.0, None)
        signs = np.where(np.random.default_rng(seed).random(6) < 0.5, -1.0, 1.0)
        found_W, found_b = fit.oriented(signs[:, None] * W, signs * b)
        np.testing.assert_array_equal(found_W, W)
        np.testing.assert_array_equal(found_b, b)


# planted units are found


def numeric_hessian(fit, theta, h=1e-5):
    steps = h * np.eye(len(theta))
    return np.stack(
        [(fit.value_and_gradient(theta + e)[1] - fit.value_and_gradient(theta - e)[1]) / (2 * h) for e in steps]
    )


@pytest.mark.parametrize(
    ("name", "k"),
    [
        pytest.param(name, k, marks=[pytest.mark.slow] if k == 10 else [])
        for name in ["orthonormal", "generic", "signed", "unequal", "biased", "nearly parallel"]
        for k in [1, 2, 5, 10]
        if (name, k) != ("nearly parallel", 1)
    ],
)
def test_units_are_recovered_from_exact_moments(name, k):
    """Nearly parallel ones (angle 0.3) to fewer digits, those of a gradient below 1e-9: J is flat there."""
    for seed in range(3 if k < 10 else 10):
        W, b, v = units(name, seed, k)
        known_bias = None if name == "biased" else np.zeros(k)
        found = fit_moments(planted_moments(W, b, v), relu, k, np.random.RandomState(seed), bias=known_bias)
        assert [part.shape for part in found] == [(k, k), (k,), (k,)]
        error = recovery_error(np.column_stack([W, b, v]), np.column_stack(found))
        accuracy = 1e-6
        if name == "nearly parallel":
            fit = MomentFit(planted_moments(W, b, v), relu, v, 1.0, known_bias)
            flattest = np.linalg.eigvalsh(numeric_hessian(fit, W.ravel()))[0]
            accuracy = max(accuracy, 1e-9 * W.size**0.5 / flattest / np.linalg.norm(np.column_stack([W, v])))
        assert error < accuracy


@pytest.mark.parametrize("name", ["generic", "signed", "unequal"])
def test_free_biases_of_unbiased_units_are_found_to_be_zero(name):
    for seed in range(3):
        W, b, v = units(name, seed, 5)
        found = fit_moments(planted_moments(W, b, v), relu, 5, np.random.RandomState(seed))
        assert recovery_error(np.column_stack([W, b, v]), np.column_stack(found)) < 1e-5


def test_tied_biases_are_those_of_the_mean():
    """A network without biases of inputs with mean m has ``b_j = <m, w_j>`` in centred coordinates."""
    for seed in range(5):
        W, _, v = units("signed", seed, 5)
        mean = np.random.default_rng(seed).standard_normal(5) / 5**0.5
        moments = planted_moments(W, W @ mean, v)
        found_W, found_b, found_v = fit_moments(moments, relu, 5, np.random.RandomState(seed), bias=mean)
        np.testing.assert_allclose(found_b, found_W @ mean, rtol=1e-12)
        assert recovery_error(np.column_stack([W, v]), np.column_stack([found_W, found_v])) < 1e-5


def test_fewer_units_than_directions():
    for seed in range(3):
        W, b, v = units("signed", seed, 6)
        W, b, v = W[:3], b[:3], v[:3]
        found = fit_moments(planted_moments(W, b, v), relu, 3, np.random.RandomState(seed), n_negative=2)
        assert recovery_error(np.column_stack([W, b, v]), np.column_stack(found)) < 1e-5


def test_error_grows_in_proportion_to_the_noise():
    """Ten times the noise, about ten times the error, over two decades."""
    for seed in range(3):
        W, b, v = units("signed", seed, 4)
        errors = []
        for noise in (1e-4, 1e-3, 1e-2):
            moments = planted_moments(W, b, v, noise=noise, seed=seed)
            found = fit_moments(moments, relu, 4, np.random.RandomState(0), bias=np.zeros(4))
            errors.append(recovery_error(np.column_stack([W, v]), np.column_stack([found[0], found[2]])))
        np.testing.assert_allclose(np.divide(errors[1:], errors[:-1]), 10, rtol=0.3)
        assert errors[-1] < 0.2


def test_a_degree_counts_by_its_precision():
    """Noise of the fourth moment pulls at the true units in proportion to 1 / its variance."""
    for seed in range(3):
        W, _, v = units("orthonormal", seed, 4)
        exact, noisy = (planted_moments(W, np.zeros(4), v, noise=noise, seed=seed) for noise in (0.0, 0.1))
        slopes = {}
        for variance in (1.0, 1e6):
            moments = replace(exact, fourth=noisy.fourth, variances=(1.0, 1.0, 1.0, variance))
            fit = MomentFit(moments, relu, v, 1.0, np.zeros(4))
            slopes[variance] = np.linalg.norm(fit.value_and_gradient(W.ravel())[1])
        assert slopes[1.0] > 1e-2
        assert slopes[1e6] == pytest.approx(1e-6 * slopes[1.0], rel=1e-6)


@pytest.mark.parametrize("n_negative", [0, 1, 3])
def test_number_of_negative_outputs_is_as_asked(n_negative):
    W, b, v = units("signed", 0, 3)
    found = fit_moments(planted_moments(W, b, v, n=100), relu, 3, np.random.RandomState(0), n_negative=n_negative)
    assert np.sum(found[2] == -1) == n_negative
    assert np.sum(found[2] == 1) == 3 - n_negative


def test_number_of_negative_outputs_is_the_inertia_of_the_second_moment():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        W, b, _ = units("generic", seed, 4)
        v = np.where(rng.random(4) < 0.5, -1.0, 1.0)
        found = fit_moments(planted_moments(W, b, v, noise=1e-3, seed=seed), relu, 4, np.random.RandomState(seed))
        assert np.sum(found[2] < 0) == np.sum(v < 0)


def test_the_best_of_the_starts_is_returned(monkeypatch):
    """There are several where the power method finds too few directions, until the relaxed fits of two agree; an
    earlier one wins unless a later one is better by more than the margin.
    """
    values, relaxed, plain, several, agreed = [], [], starts.minimised, 0, 0

    def minimised(fit, W, b):
        result = plain(fit, W, b)
        (relaxed if fit.relaxed else values).append(result[0])
        return result

    monkeypatch.setattr(starts, "minimised", minimised)
    for seed in range(8):
        values.clear()
        relaxed.clear()
        W, b, v = units("nearly parallel", seed, 4)
        moments = planted_moments(W, b, v, noise=0.3, seed=seed, n=1e4)
        found = fit_moments(moments, relu, 4, np.random.RandomState(seed))
        few = len(power_directions(moments, np.random.RandomState(seed))) < 4
        same = [abs(x - min(relaxed[:i])) <= MARGIN * abs(x) + TOL / moments.n for i, x in enumerate(relaxed[1:], 1)]
        assert not any(same[:-1])
        assert len(relaxed) == (1 + RANDOM_STARTS if few else 1) or same[-1]
        assert len(values) == len(relaxed) - any(same)
        agreed += any(same)
        fit = MomentFit(moments, relu, found[2], (3 / 4) ** 0.5, None)
        value = fit.value_and_gradient(np.column_stack(found[:2]).ravel())[0]
        best = min(values)
        assert value <= best + RANDOM_STARTS * MARGIN * abs(best)
        first = next(x for x in values if x <= best + MARGIN * abs(best) / 2)
        if sum(abs(x - best) <= 10 * MARGIN * abs(best) for x in values) == 1:
            assert value == pytest.approx(first, rel=1e-12)
        several += values[-1] > best + MARGIN * abs(best)
    assert several >= 2  # the last is not always the best
    assert agreed >= 2


def test_signs_are_those_of_the_second_moment():
    """At the planted directions, whatever the order of the units."""
    for seed in range(5):
        W, b, _ = units("generic", seed, 5)
        v = np.where(np.random.default_rng(seed).random(5) < 0.5, -1.0, 1.0)
        signs = starts._signs(planted_moments(W, b, v), W, int(np.sum(v < 0)))
        np.testing.assert_array_equal(signs, v)


# the power method


@pytest.mark.parametrize("k", [1, 2, 5, 12])
@pytest.mark.parametrize("signed", [False, True])
def test_power_method_finds_every_orthonormal_direction(k, signed):
    """The maxima of |sum_j a_j <q_j, u>^4| are the q_j, the largest |a_j| first."""
    for seed in range(5):
        Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((k, k)))[0]
        sizes = np.linspace(1, 2, k)
        v = np.where(np.arange(k) % 2 == 0, -1.0, 1.0) if signed else np.ones(k)
        U = power_directions(planted_moments(sizes[:, None] * Q, np.zeros(k), v), np.random.RandomState(seed))
        assert U.shape == (k, k)
        np.testing.assert_allclose(np.abs(U @ Q[::-1].T), np.eye(k), atol=1e-10)


def test_directions_of_the_power_method_are_apart():
    for seed in range(5):
        W, b, v = units("nearly parallel", seed, 5)
        moments = planted_moments(W, b, v, noise=0.02, seed=seed)
        U = power_directions(moments, np.random.RandomState(seed))
        np.testing.assert_allclose(np.linalg.norm(U, axis=1), 1, rtol=1e-12)
        assert np.all(np.abs(U @ U.T - np.eye(len(U))) < PARALLEL)
        values = np.abs(moments.along(U)[0][3])
        assert np.all(np.diff(values) <= 0)
        # The first is the best of a thousand directions.
        others = moments.random_directions(1000, np.random.RandomState(seed))
        assert values[0] >= np.abs(moments.along(others)[0][3]).max()


def test_power_method_of_no_moments_finds_nothing():
    W, b, v = units("generic", 0, 3)
    moments = planted_moments(W, b, v)
    moments = replace(moments, fourth=0 * moments.fourth)
    assert power_directions(moments, np.random.RandomState(0)).shape == (0, 3)
    zero = replace(moments, first=0 * moments.first, second=0 * moments.second, third=0 * moments.third)
    for part in fit_moments(zero, relu, 3, np.random.RandomState(0)):
        assert np.all(np.isfinite(part))


# tensorly


@pytest.fixture
def numpy_seed():
    """Seed the global generator, which tensorly draws from, and give it back as it was."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    yield
    np.random.set_state(state)  # noqa: NPY002


def test_orthonormal_units_are_those_of_tensorly(numpy_seed):
    """Its symmetric power iteration with deflation is right for orthogonal tensors of positive weights."""
    for seed in range(3):
        k = 4
        W, b, v = units("orthonormal", seed, k)
        W *= np.linspace(0.8, 1.4, k)[:, None]
        moments = planted_moments(W, b, v)
        c4 = relu.hermite_coefficients(4)[4]
        weights, factor = symmetric_parafac_power_iteration(full_tensors(moments)[3] / c4, k, 10, 15)
        found = fit_moments(moments, relu, k, np.random.RandomState(seed), bias=np.zeros(k))[0]
        order = np.argsort(-np.linalg.norm(found, axis=1))
        sizes = np.linalg.norm(found[order], axis=1)
        np.testing.assert_allclose(sizes, weights, rtol=1e-6)
        np.testing.assert_allclose(np.abs(found[order] @ factor), np.diag(sizes), atol=1e-6)


def test_alternating_least_squares_of_tensorly_stays_at_our_units():
    """Where units are not orthogonal: a fixed point of another algorithm for the same tensor."""
    for seed in range(3):
        k = 4
        W, b, v = units("generic", seed, k)
        M4 = full_tensors(planted_moments(W, b, v))[3]
        found, _, signs = fit_moments(planted_moments(W, b, v), relu, k, np.random.RandomState(seed), bias=np.zeros(k))
        size = np.linalg.norm(found, axis=1)
        weights = signs * size * relu.hermite_coefficients(4)[4]
        start = weights, [(found / size[:, None]).T for _ in range(4)]
        weights, factors = parafac(M4, k, init=start, n_iter_max=20, tol=0)
        again = np.einsum("j,aj,bj,cj,dj", weights, *factors)
        assert np.linalg.norm(again - M4) < 1e-6 * np.linalg.norm(M4)
        directions = factors[0] / np.linalg.norm(factors[0], axis=0)
        assert recovery_error(W, directions.T, sign_invariant=True) < 1e-5


# draws


def test_same_seed_same_units_and_no_global_state():
    W, b, v = units("signed", 0, 5)
    moments = planted_moments(W, b, v, noise=0.05)
    before = np.random.get_state()  # noqa: NPY002
    one = fit_moments(moments, relu, 5, np.random.RandomState(3))
    after = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]
    np.random.random(5)  # noqa: NPY002
    other = fit_moments(moments, relu, 5, np.random.RandomState(3))
    for a, c in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, c)


def test_units_do_not_depend_on_the_basis_of_the_span():
    """Eigenvectors have signs that rounding could turn over: the units, in the space of x, must not see them."""
    W, b, v = units("signed", 1, 4)
    signs = np.array([1.0, -1.0, -1.0, 1.0])
    one = planted_moments(W, b, v, noise=0.03)
    a, c = pairs(4)
    of_pairs = signs[a] * signs[c]
    other = replace(
        one,
        basis=one.basis * signs,
        first=one.first * signs,
        second=one.second * np.outer(signs, signs),
        third=one.third * np.outer(of_pairs, signs),
        fourth=one.fourth * np.outer(of_pairs, of_pairs),
    )
    results = [fit_moments(moments, relu, 4, np.random.RandomState(0)) for moments in (one, other)]
    np.testing.assert_allclose(results[0][0], results[1][0] * signs, atol=1e-6)
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-6)
    np.testing.assert_array_equal(results[0][2], results[1][2])
