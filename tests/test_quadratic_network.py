"""Quadratic networks: against the formula in the user's units, explicit features and finite differences."""

import itertools

import numpy as np
import pytest
from scipy import sparse

from skrelu import whitening as whitening_module
from skrelu.networks.quadratic import RANK_TOL, RIDGE, QuadraticModel, QuadraticNetwork
from skrelu.networks.quadratic_form import QuadraticForm
from skrelu.rows import Rows
from skrelu.rows import memory as rows_module
from skrelu.starts import quadratic_start, small_units, spectral_start
from skrelu.whitening import unwhitened

STORAGES = {"dense": np.ascontiguousarray, "csr": sparse.csr_array, "csc": sparse.csc_matrix}
KINDS = list(itertools.product([True, False], [True, False], [0.0, 0.3]))  # fit_linear, fit_intercept, alpha
HEADS = list(itertools.product([True, False], repeat=2))  # fit_linear, fit_intercept
COLUMNS = ["full", "constant", "collinear", "both"]


@pytest.fixture(params=[1, 2**20])
def block_bytes(request, monkeypatch):
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", request.param)


def table(seed, n=60, d=4, columns="full", dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) * np.arange(1, d + 1) + rng.standard_normal(d)
    if columns in ("collinear", "both"):
        X = np.column_stack([X, X[:, 0] - 2 * X[:, 1]])
    if columns in ("constant", "both"):
        X = np.column_stack([X, np.full(n, 3.0)])
    return X.astype(dtype), (5 * rng.standard_normal(n) + 2).astype(dtype), (rng.random(n) + 0.1).astype(dtype)


def model_of(X, y, weight=None, kind=(True, True, 0.0), positive=False):
    names = ("fit_linear", "fit_intercept", "alpha")
    return QuadraticModel.of(Rows(X, y, weight), positive=positive, **dict(zip(names, kind, strict=True)))


def network_of(X, y, weight=None, kind=(True, True, 0.0), output=(1, -1, 1)):
    return QuadraticNetwork(model_of(X, y, weight, kind), output)


def size_of(net):
    return net.n_hidden * net.shape[1] + net.model.n_head


def point(net, seed, size=1.0):
    return size * np.random.default_rng(seed).standard_normal(size_of(net))


def matrix_point(model, seed, size=1.0):
    """Some (M~, beta~, c~), zero where the model has none."""
    rng = np.random.default_rng(seed)
    M = rng.standard_normal((model.whitening.size,) * 2)
    beta = rng.standard_normal(model.whitening.size) * model.fit_linear
    return size * (M + M.T), size * beta, size * rng.standard_normal() * model.fit_intercept


def values_of(X, M, beta, c):
    """``x' M x + <beta, x> + c``, row by row."""
    return np.array([x @ M @ x + beta @ x + c for x in np.asarray(X, dtype=np.float64)])


def slow_loss(X, y, weight, M, beta, c):
    p = weight / weight.sum()
    return p @ (values_of(X, M, beta, c) - y) ** 2 / 2


def variances_of(X, weight, kind):
    """Those of the columns; a constant one that may stand for the missing intercept has its square."""
    p = weight / weight.sum()
    variances = p @ (X - p @ X) ** 2
    constant = variances < 1e-20
    return np.where(constant, 0.0 if kind[0] and kind[1] else (p @ X) ** 2, variances)


def user_units(net, theta):
    """The units w_j, v_j and (M, beta, c) in the user's units, from the definition of the coordinates."""
    W, _, _ = net.unpack(theta)
    return net.model.target_scale**0.5 * W @ net.whitening.columns.T, net.model.user(*net.parts(theta))


def slow_objective(net, X, y, weight, theta, kind):
    W, (M, beta, c) = user_units(net, theta)
    S = variances_of(X, weight, kind)
    penalty = np.sum(W**2 @ S) + beta**2 @ S
    return slow_loss(X, y, weight, M, beta, c) + net.model.alpha * penalty / 2


def differences(f, x, h=1e-6):
    """Central differences of f at x, a column for each coordinate."""
    return np.stack([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(len(x))], axis=-1)


# The coordinates.


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("kind", KINDS)
def test_user_is_the_formula_of_the_coordinates_and_from_user_its_inverse(kind, columns):
    X, y, weight = table(0, columns=columns)
    model = model_of(X, y, weight, kind)
    T, m, t = model.whitening.columns, model.whitening.center, model.target_scale
    assert t == pytest.approx((weight @ y**2 / weight.sum()) ** 0.5, rel=1e-12)
    M, beta, c = matrix_point(model, 1)
    user = model.user(M, beta, c)
    white = (X - m) @ T
    np.testing.assert_allclose(values_of(X, *user), t * values_of(white, M, beta, c), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(user[0], t * T @ M @ T.T, rtol=1e-12, atol=1e-12)
    back = model.user(*model.from_user(*user))
    for was, now in zip(user, back, strict=True):
        np.testing.assert_allclose(now, was, rtol=1e-9, atol=1e-9)
    if columns == "full":
        for was, now in zip((M, beta, c), model.from_user(*user), strict=True):
            np.testing.assert_allclose(now, was, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_center_is_the_mean_only_where_the_origin_does_not_matter(kind):
    X, y, weight = table(0)
    model = model_of(X, y, weight, kind)
    center = weight @ X / weight.sum() if kind == (True, True, 0.0) else np.zeros(4)
    np.testing.assert_allclose(model.whitening.center, center, rtol=1e-12)
    np.testing.assert_allclose(model.center, center @ model.whitening.columns, rtol=1e-12)


def test_from_user_of_what_has_no_part_along_missing_directions():
    """From any M, beta and c of the user: the same function of the rows."""
    X, y, weight = table(0, columns="both")
    rng = np.random.default_rng(3)
    A = rng.standard_normal((6, 6))
    user = A + A.T, rng.standard_normal(6), 0.7
    model = model_of(X, y, weight, (True, False, 0.0))
    back = model.user(*model.from_user(*user))
    np.testing.assert_allclose(values_of(X, *back), values_of(X, *user), rtol=1e-9)


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_root_is_that_of_the_penalty(kind, columns):
    X, y, weight = table(0, columns=columns)
    model = model_of(X, y, weight, kind)
    T, S = model.whitening.columns, variances_of(X, weight, kind)
    np.testing.assert_allclose(model.scales**2, S, rtol=1e-10, atol=1e-20)
    np.testing.assert_allclose(model.penalty_matrix, (T.T * S) @ T, rtol=1e-9, atol=1e-12)
    expected = model.penalty_matrix if kind[2] else np.eye(X.shape[1])
    np.testing.assert_allclose(model.root.T @ model.root, expected, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(model.inverse_root, np.linalg.pinv(model.root, rcond=1e-6), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("kind", KINDS)
def test_units_make_up_the_matrix_orthogonally_with_its_nuclear_norm(kind, columns):
    X, y, weight = table(0, columns=columns)
    model = model_of(X, y, weight, kind)
    M, beta, c = matrix_point(model, 1)
    M_user = model.user(M, beta, c)[0]
    W, v = model.units(M)
    root = variances_of(X, weight, kind) ** 0.5
    seen = (W.T * v) @ W
    if columns != "constant" or not (kind[0] and kind[1]):
        np.testing.assert_allclose(seen, M_user, rtol=1e-9, atol=1e-9 * np.abs(M_user).max())
    np.testing.assert_allclose(root[:, None] * seen * root, root[:, None] * M_user * root, atol=1e-9)
    gram = (W * root) @ (W * root).T
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-10 * gram.max())
    assert np.all(np.diff(np.diag(gram)) <= 1e-12)
    nuclear = np.linalg.svd(root[:, None] * M_user * root, compute_uv=False).sum()
    assert np.trace(gram) == pytest.approx(nuclear, rel=1e-10)
    assert len(W) == model.whitening.rank
    largest = np.argmax(np.abs(W * root), axis=1)
    assert np.all(W[np.arange(len(W)), largest] > 0)
    assert set(v) <= {-1.0, 1.0}


def test_units_drop_what_is_rounding():
    X, y, weight = table(0)
    model = model_of(X, y, weight)
    w = np.random.default_rng(0).standard_normal((2, 4))
    assert len(model.units(np.outer(w[0], w[0]) - np.outer(w[1], w[1]))[0]) == 2
    assert len(model.units(np.outer(w[0], w[0]) - RANK_TOL / 10 * np.outer(w[1], w[1]))[0]) == 1
    assert len(model.units(np.zeros((4, 4)))[0]) == 0


def test_constant_columns_add_nothing_beside_a_linear_part_and_an_intercept():
    """Decay does not see them: with them M would be free to stand for a linear part without decay."""
    X, y, weight = table(0)
    for alpha, constant in itertools.product([0.0, 0.3], [0.0, 1.0, -1e6, 1 / 3]):
        model = model_of(np.column_stack([X, np.full(60, constant)]), y, weight, (True, True, alpha))
        assert model.whitening.rank == 4
        assert model.scales[4] == 0
        np.testing.assert_allclose(model.whitening.columns[4], 0, atol=0)
        W, _ = model.units(np.ones((5, 5)))
        np.testing.assert_array_equal(W[:, 4], 0)


def test_a_constant_column_may_stand_for_the_intercept():
    X, y, weight = table(0, columns="constant")
    for kind in [(True, False, 0.3), (False, True, 0.3), (False, False, 0.3)]:
        model = model_of(X, y, weight, kind)
        assert model.whitening.rank == 5
        assert model.scales[4] == pytest.approx(3.0, rel=1e-12)


def test_head_and_its_packing():
    X, y, weight = table(0)
    for kind in KINDS:
        net = network_of(X, y, weight, kind)
        theta = point(net, 0)
        assert net.model.n_head == 4 * kind[0] + kind[1]
        beta, c = net.model.head(theta)
        W, head, v = net.unpack(theta)
        assert W.shape == (3, 4)
        np.testing.assert_array_equal(beta, head[:4] if kind[0] else np.zeros(4))
        assert c == (theta[-1] if kind[1] else 0.0)
        np.testing.assert_array_equal(net.pack(W, net.model.packed_head(beta, c)), theta)
        expected = sum(sign * np.outer(w, w) for sign, w in zip(v, W, strict=True))
        np.testing.assert_allclose(net.parts(theta)[0], expected, rtol=1e-12, atol=1e-14)


# The network: value, gradient, Hessian.


@pytest.mark.parametrize("columns", ["full", "both"])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_value_is_the_formula(block_bytes, kind, storage, columns):
    X, y, weight = table(0, columns=columns)
    net = network_of(STORAGES[storage](X), y, weight, kind)
    for seed in range(2):
        theta = point(net, seed)
        expected = slow_objective(net, X, y, weight, theta, kind) / net.model.target_scale**2
        assert net.value_and_gradient(theta)[0] == pytest.approx(expected, rel=1e-10)
        loss = slow_loss(X, y, weight, *user_units(net, theta)[1]) / net.model.target_scale**2
        assert net.loss(theta) == pytest.approx(loss, rel=1e-10)


@pytest.mark.parametrize("columns", ["full", "both"])
@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_those_of_the_value(block_bytes, kind, columns):
    X, y, weight = table(1, columns=columns)
    net = network_of(sparse.csr_array(X), y, weight, kind)
    theta = point(net, 2)
    gradient = net.value_and_gradient(theta)[1]
    numeric = differences(lambda x: net.value_and_gradient(x)[0], theta)
    np.testing.assert_allclose(gradient, numeric, atol=1e-7 * max(1, np.abs(gradient).max()))
    product = net.curvature_product(theta)
    hessian = np.column_stack([product(e) for e in np.eye(len(theta))])
    numeric = differences(lambda x: net.value_and_gradient(x)[1], theta)
    np.testing.assert_allclose(hessian, numeric, atol=1e-7 * np.abs(hessian).max())
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-11 * np.abs(hessian).max())


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_without_units_is_its_linear_part(kind):
    X, y, weight = table(0)
    net = network_of(X, y, weight, kind, output=())
    theta = point(net, 0)
    expected = slow_objective(net, X, y, weight, theta, kind) / net.model.target_scale**2
    value, gradient = net.value_and_gradient(theta)
    assert value == pytest.approx(expected, rel=1e-10)
    assert gradient.shape == theta.shape == net.metric(theta)(gradient).shape
    assert net.curvature_product(theta)(theta).shape == theta.shape
    more, moved = net.factored(theta, 0)
    np.testing.assert_array_equal(moved, theta)
    assert more.n_hidden == 0


@pytest.mark.parametrize("kind", KINDS)
def test_weights_repeat_rows(kind):
    X, y, _ = table(0)
    counts = np.random.default_rng(0).integers(0, 4, len(X))
    weighted = network_of(X, y, 7.0 * counts, kind)
    repeated = network_of(np.repeat(X, counts, axis=0), np.repeat(y, counts), None, kind)
    theta = point(weighted, 0)
    for a, b in zip(weighted.value_and_gradient(theta), repeated.value_and_gradient(theta), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        weighted.curvature_product(theta)(theta), repeated.curvature_product(theta)(theta), rtol=1e-9, atol=1e-9
    )
    forms = QuadraticForm(weighted.model), QuadraticForm(repeated.model)
    theta = np.random.default_rng(0).standard_normal(forms[0].n_weights)
    results = [form.value_and_gradient(theta) for form in forms]
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    starts = [spectral_start(form.model) for form in forms]
    for a, b in zip(*starts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("storage", STORAGES)
def test_float32_is_float64_to_its_accuracy(storage):
    X, y, weight = table(0)
    kind = (True, True, 0.3)
    exact = network_of(X, y, weight, kind)
    X, y, weight = X.astype(np.float32), y.astype(np.float32), weight.astype(np.float32)
    single = network_of(STORAGES[storage](X), y, weight, kind)
    # The same point in both: the coordinates of the two differ.
    theta = point(exact, 0)
    _, user = user_units(exact, theta)
    W = exact.model.target_scale**0.5 * exact.unpack(theta)[0] @ exact.whitening.columns.T
    single_W = single.whitening.to_white(W) / single.model.target_scale**0.5
    _, linear, c = single.model.from_user(*user)
    there = single.pack(single_W, single.model.packed_head(linear, c))
    value, gradient = single.value_and_gradient(there)
    assert value == pytest.approx(exact.value_and_gradient(theta)[0], rel=1e-5)
    assert gradient.dtype == np.float64
    assert single.curvature_product(there)(there).dtype == np.float64
    form, exact_form = QuadraticForm(single.model), QuadraticForm(exact.model)
    parts = single.parts(there)
    loss = form.moments(*parts)[0]
    assert loss == pytest.approx(exact_form.moments(*exact.parts(theta))[0], rel=1e-5)
    assert loss == pytest.approx(single.loss(there), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_metric_is_the_inverse_of_the_mean_gauss_newton_matrix(kind):
    """``4 v_i v_j <w_i, w_j> I`` of the units, and the penalty as if its matrix were a multiple of the identity."""
    X, y, weight = table(0)
    net = network_of(X, y, weight, kind)
    theta = point(net, 0)
    W, _, v = net.unpack(theta)
    alpha, t = net.model.alpha, net.model.target_scale
    decay = alpha * np.trace(net.model.penalty_matrix) / 4
    A = 4 * np.array([[v[i] * v[j] * W[i] @ W[j] for j in range(3)] for i in range(3)]) + decay / t * np.eye(3)
    A += RIDGE * np.trace(A) / 3 * np.eye(3)
    inverse = np.linalg.inv(A)
    q = point(net, 1)
    moved = net.metric(theta)(q)
    np.testing.assert_allclose(net.unpack(moved)[0], inverse @ net.unpack(q)[0], rtol=1e-9)
    beta, c = net.model.head(q)
    expected = net.model.packed_head(beta / (1 + decay), c)
    np.testing.assert_allclose(net.unpack(moved)[1], expected, rtol=1e-12)


def test_the_metric_undoes_the_curvature_of_gaussian_inputs():
    """At a zero residual, along directions that no unit has."""
    X = np.random.default_rng(0).standard_normal((100_000, 3))
    W, v = np.array([[1.0, 0, 0], [1.0, 2.0, 0]]), np.array([1.0, -1.0])
    model = model_of(X, (X @ W.T) ** 2 @ v)
    net = QuadraticNetwork(model, v)
    M, beta, c = model.from_user((W.T * v) @ W, np.zeros(3), 0.0)
    theta = net.pack(model.whitening.to_white(W) / model.target_scale**0.5, np.append(beta, c))
    np.testing.assert_allclose(net.parts(theta)[0], M, atol=1e-12)
    assert net.is_lowest(net.loss(theta))
    for unit in range(2):
        direction = np.zeros(len(theta))
        direction[3 * unit + 2] = 1.0
        moved = net.metric(theta)(net.curvature_product(theta)(direction))
        np.testing.assert_allclose(moved, direction, atol=0.05)


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("kind", KINDS)
def test_in_user_units_it_is_the_same_function_with_the_objective_times_the_square_of_the_scale(kind, columns):
    X, y, weight = table(0, columns=columns)
    net = network_of(X, y, weight, kind)
    theta = point(net, 0)
    user, there = net.in_user_units(theta)
    t = net.model.target_scale
    assert user.value_and_gradient(there)[0] == pytest.approx(t**2 * net.value_and_gradient(theta)[0], rel=1e-9)
    W, expected = user_units(net, theta)
    np.testing.assert_allclose(user.unpack(there)[0], W, rtol=1e-12, atol=1e-12)
    for a, b in zip(user.parts(there), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    for a, b in zip(user.model.user(*user.parts(there)), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    numeric = differences(lambda x: user.value_and_gradient(x)[0], there)
    gradient = user.value_and_gradient(there)[1]
    np.testing.assert_allclose(gradient, numeric, atol=1e-6 * np.abs(gradient).max())


# Orthogonal units.


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("kind", KINDS)
def test_factored_keeps_the_function_and_lowers_the_penalty(kind, columns):
    X, y, weight = table(0, columns=columns)
    net = network_of(X, y, weight, kind, output=(1, -1, 1, 1, -1, 1, -1, 1))
    theta = point(net, 0)
    new, there = net.factored(theta, net.n_hidden)
    assert new.n_hidden == net.whitening.rank
    before, after = user_units(net, theta)[1], user_units(new, there)[1]
    np.testing.assert_allclose(values_of(X, *after), values_of(X, *before), rtol=1e-8, atol=1e-8)
    W = new.unpack(there)[0] @ net.model.root.T
    gram = W @ W.T
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-10 * gram.max())
    assert np.all(np.diff(np.diag(gram)) <= 1e-12)
    # The part that the rows can see, in the metric of the decay.
    T, R = net.whitening.columns, net.model.root
    seen = R @ np.linalg.pinv(T, rcond=1e-6) @ T
    assert np.trace(gram) == pytest.approx(np.linalg.svd(seen @ net.parts(theta)[0] @ seen.T, compute_uv=False).sum())
    assert new.value_and_gradient(there)[0] <= net.value_and_gradient(theta)[0] * (1 + 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_factored_keeps_the_largest_terms_and_the_mean(kind):
    X, y, weight = table(0)
    net = network_of(X, y, weight, kind, output=(1, -1, 1, 1, -1))
    theta = point(net, 0)
    new, there = net.factored(theta, 2)
    R, p = net.model.root, weight / weight.sum()
    values, vectors = np.linalg.eigh(R @ net.parts(theta)[0] @ R.T)
    kept = np.argsort(-np.abs(values))[:2]
    expected = (vectors[:, kept] * values[kept]) @ vectors[:, kept].T
    np.testing.assert_allclose(R @ new.parts(there)[0] @ R.T, expected, atol=1e-10)
    np.testing.assert_array_equal(new.output, np.sign(values[kept]))
    np.testing.assert_array_equal(net.model.head(theta)[0], net.model.head(there)[0])
    if kind[1]:
        before, after = (values_of(X, *user_units(*pair)[1]) for pair in ((net, theta), (new, there)))
        assert p @ after == pytest.approx(p @ before, rel=1e-9)


def test_factored_drops_what_cancels():
    X, y, weight = table(0)
    net = network_of(X, y, weight, output=(1, -1, 1))
    w = np.random.default_rng(0).standard_normal((2, 4))
    theta = net.pack(np.array([w[0], w[0], w[1]]), np.zeros(5))
    new, there = net.factored(theta, 3)
    assert new.n_hidden == 1
    np.testing.assert_allclose(new.parts(there)[0], np.outer(w[1], w[1]), atol=1e-12)
    gone = net.pack(np.array([w[0], w[0], 0 * w[1]]), np.ones(5))
    new, there = net.factored(gone, 3)
    assert new.parts(there)[0] == pytest.approx(np.zeros((4, 4)), abs=1e-14)


def test_variants_change_what_they_are_told():
    X, y, weight = table(0)
    net = network_of(X, y, weight, (True, True, 0.3))
    assert net.variant(alpha=0.0).model.alpha == 0
    np.testing.assert_array_equal(net.variant(alpha=0.0).output, net.output)
    assert net.variant(np.ones(5)).n_hidden == 5
    assert net.variant(np.ones(5)).model is net.model
    theta = point(net, 0)
    assert net.variant(alpha=0.0).value_and_gradient(theta)[0] == net.loss(theta)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_lowest_objective_is_that_of_rounding(dtype):
    X, y, weight = table(0, dtype=dtype)
    net = network_of(X, y, weight)
    eps = np.finfo(dtype).eps
    assert net.is_lowest(0.99 * (100 * eps) ** 2 / 2)
    assert not net.is_lowest(1.01 * (100 * eps) ** 2 / 2)


# The convex problem.


def features_of(form):
    """A row of features for each of X: products of two coordinates, the coordinates, one; in the units of theta."""
    model = form.model
    T, m = model.whitening.columns, model.whitening.center
    X = np.vstack([np.asarray(b.toarray() if sparse.issparse(b) else b) for b, _, _ in form.rows._blocks])
    white = (X - m) @ (np.diag(T) if T.ndim == 1 else T)
    d = white.shape[1]
    columns = []
    for i, j in itertools.combinations_with_replacement(range(d), 2):
        # x~_i^2 - 1 where there is an intercept: c~ + tr M~ is what theta has.
        product = white[:, i] * white[:, j] - (i == j) * model.fit_intercept
        columns.append(product / 2**0.5 if i == j else product)
    columns += [white[:, i] for i in range(d)] * model.fit_linear
    return np.column_stack([*columns, *[np.ones(len(X))] * model.fit_intercept])


@pytest.mark.parametrize("columns", ["full", "both"])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(("fit_linear", "fit_intercept"), HEADS)
def test_the_form_is_least_squares_in_explicit_features(block_bytes, fit_linear, fit_intercept, storage, columns):
    X, y, weight = table(0, columns=columns)
    model = model_of(STORAGES[storage](X), y, weight, (fit_linear, fit_intercept, 0.0))
    form = QuadraticForm(model)
    A, t, p = features_of(form), model.target_scale, weight / weight.sum()
    assert form.n_weights == A.shape[1]
    theta = np.random.default_rng(0).standard_normal(form.n_weights)
    r = A @ theta - y / t
    value, gradient = form.value_and_gradient(theta)
    assert value == pytest.approx(p @ r**2 / 2, rel=1e-10)
    assert form.loss(theta) == value
    np.testing.assert_allclose(gradient, A.T @ (p * r), rtol=1e-9, atol=1e-9)
    hessian = (A.T * p) @ A
    np.testing.assert_allclose(form.curvature_product(theta)(theta), hessian @ theta, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(slow_loss(X, y, weight, *model.user(*form.parts(theta))) / t**2, value, rtol=1e-9)
    np.testing.assert_array_equal(form.metric(theta)(theta), theta)
    ready = form.preconditioned()
    inverse = np.linalg.pinv(hessian, rcond=1e-12, hermitian=True)
    np.testing.assert_allclose(
        ready.metric(theta)(theta), inverse @ theta, rtol=1e-6, atol=1e-6 * np.abs(inverse).max()
    )
    np.testing.assert_array_equal(ready.value_and_gradient(theta)[1], gradient)


def test_the_hessian_of_many_gaussian_rows_is_the_identity():
    X = np.random.default_rng(0).standard_normal((100_000, 3)) * [1, 10, 0.1] + [0, 5, 3]
    form = QuadraticForm(model_of(X, np.ones(len(X))))
    hessian = np.column_stack([form.curvature_product(None)(e) for e in np.eye(form.n_weights)])
    np.testing.assert_allclose(hessian, np.eye(form.n_weights), atol=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_the_form_and_the_network_agree(kind):
    X, y, weight = table(0)
    net = network_of(X, y, weight, kind)
    theta = point(net, 0)
    loss, G, g, total = QuadraticForm(net.model).moments(*net.parts(theta))
    assert loss == pytest.approx(net.loss(theta), rel=1e-10)
    gradient = net.variant(alpha=0.0).value_and_gradient(theta)[1]
    W, head, _ = net.unpack(gradient)
    np.testing.assert_allclose(W, 2 * net.output[:, None] * net.unpack(theta)[0] @ G, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(head, net.model.packed_head(g, total), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_moments_of_the_residual(kind):
    X, y, weight = table(0)
    model = model_of(X, y, weight, kind)
    white = (X - model.whitening.center) @ model.whitening.columns
    p, (M, beta, c) = weight / weight.sum(), matrix_point(model, 0)
    for matrix, target in itertools.product([M, None], [None, 0.0, 2.5]):
        r = values_of(white, np.zeros((4, 4)) if matrix is None else M, beta, c)
        r -= y * (1 / model.target_scale if target is None else target)
        told = QuadraticForm(model).moments(matrix, beta, c, target)
        expected = p @ r**2 / 2, (white.T * (p * r)) @ white, (p * r) @ white, p @ r
        for a, b in zip(told, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


def test_more_columns_than_the_whitening_mixes(monkeypatch):
    """The metric is then diagonal; value, gradient and units are not touched by that."""
    monkeypatch.setattr(whitening_module, "MAX_FULL", 2)
    X, y, weight = table(0)
    for kind in KINDS:
        model = model_of(X, y, weight, kind)
        assert model.whitening.columns.ndim == 1
        net = QuadraticNetwork(model, [1, -1, 1])
        theta = point(net, 0)
        W = model.target_scale**0.5 * net.unpack(theta)[0] * model.whitening.columns
        M, beta, c = model.user(*net.parts(theta))
        np.testing.assert_allclose(M, (W.T * net.output) @ W, rtol=1e-12)
        S = variances_of(X, weight, kind)
        penalty = model.alpha * (np.sum(W**2 @ S) + beta**2 @ S) / 2
        expected = (slow_loss(X, y, weight, M, beta, c) + penalty) / model.target_scale**2
        assert net.value_and_gradient(theta)[0] == pytest.approx(expected, rel=1e-10)
        form = QuadraticForm(model)
        assert form.moments(*net.parts(theta))[0] == pytest.approx(net.loss(theta), rel=1e-10)
        units, v = model.units(net.parts(theta)[0])
        np.testing.assert_allclose((units.T * v) @ units, M, rtol=1e-9, atol=1e-9)


def test_data_that_are_no_function_of_their_units():
    """Rows and responses of any size: the coordinates are those of the same data of size one."""
    X, y, weight = table(0)
    for kind in [(True, True, 0.0), (True, False, 0.0), (False, False, 0.0)]:
        plain = network_of(X, y, weight, kind)
        theta = point(plain, 0)
        for unit, t in [(1e6, 1e-6), (1e-8, 1e9)]:
            other = network_of(unit * X, t * y, weight, kind)
            for a, b in zip(plain.value_and_gradient(theta), other.value_and_gradient(theta), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


# Starts.


@pytest.mark.parametrize(("fit_linear", "fit_intercept"), HEADS)
def test_the_spectral_start_is_the_second_moment_of_what_the_linear_part_leaves(fit_linear, fit_intercept):
    X, y, weight = table(0)
    model = model_of(X, y, weight, (fit_linear, fit_intercept, 0.0))
    white = (X - model.whitening.center) @ model.whitening.columns
    p, target = weight / weight.sum(), y / model.target_scale
    M, linear, mean = spectral_start(model)
    assert mean == pytest.approx(p @ target, rel=1e-10)
    # Without a linear part its estimate would be noise.
    expected = (p * target) @ white if fit_linear else np.zeros(white.shape[1])
    np.testing.assert_allclose(linear, expected, rtol=1e-9, atol=1e-10)
    r = target - white @ linear - mean
    expected = ((white.T * (p * r)) @ white - p @ r * np.eye(4)) / 2
    np.testing.assert_allclose(M, expected, rtol=1e-9, atol=1e-10)


def test_the_spectral_start_estimates_the_planted_network():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100_000, 3)) @ rng.standard_normal((3, 3)) + rng.standard_normal(3)
    A = rng.standard_normal((3, 3))
    planted = A + A.T, rng.standard_normal(3), 2.0
    y = values_of(X, *planted)
    model = model_of(X, y)
    M, linear, mean = spectral_start(model)
    M_star, linear_star, c_star = model.from_user(*planted)
    np.testing.assert_allclose(M, M_star, atol=0.02)
    np.testing.assert_allclose(linear, linear_star, atol=0.02)
    assert mean == pytest.approx(c_star + np.trace(M_star), abs=0.02)


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_start_has_the_largest_terms_and_the_mean_of_the_moments(kind, positive):
    X, y, weight = table(0)
    model = model_of(X, y, weight, kind, positive=positive)
    moments = spectral_start(model)
    values, vectors = np.linalg.eigh(moments[0])
    values = np.maximum(values, 0) if positive else values
    for k in (1, 2, 4):
        net, theta = quadratic_start(model, moments, k, np.random.RandomState(0))
        order = np.argsort(-np.abs(values), kind="stable")[:k]
        M, beta, c = net.parts(theta)
        np.testing.assert_allclose(M, (vectors[:, order] * values[order]) @ vectors[:, order].T, atol=1e-10)
        np.testing.assert_allclose(beta, moments[1] * kind[0], atol=0)
        assert c == pytest.approx((moments[2] - np.trace(M)) * kind[1], abs=1e-12)
        assert not positive or np.all(net.output == 1)


@pytest.mark.parametrize("positive", [True, False])
def test_units_beyond_the_columns_are_small_and_of_either_sign(positive):
    X, y, weight = table(0)
    model = model_of(X, y, weight, positive=positive)
    moments = spectral_start(model)
    net, theta = quadratic_start(model, moments, 9, np.random.RandomState(0))
    W, _, v = net.unpack(theta)
    # Half of all, rounded down, are negative, as long as the others suffice.
    assert np.sum(v < 0) == (0 if positive else 4)
    np.testing.assert_array_equal(v[4:], np.sort(v[4:])[::-1])
    np.testing.assert_array_equal(W[4:], small_units(model, 9, np.random.RandomState(0))[4:])
    random, there = quadratic_start(model, moments, 9, np.random.RandomState(0), init="random")
    np.testing.assert_array_equal(random.output, v)
    np.testing.assert_array_equal(random.unpack(there)[0], small_units(model, 9, np.random.RandomState(0)))
    assert random.parts(there)[2] + np.trace(random.parts(there)[0]) == pytest.approx(moments[2], rel=1e-10)


def test_small_units_have_a_tenth_of_the_size_of_y():
    X, y, weight = table(0, columns="both")
    model = model_of(X, y, weight)
    W = small_units(model, 4000, np.random.RandomState(0))
    assert W.shape == (4000, 6)
    # Squares of the weights of the directions that there are.
    assert np.mean(W**2) * model.whitening.rank == pytest.approx(0.01, rel=0.03)


def test_the_users_own_coordinates_change_nothing():
    X, y, weight = table(0)
    white = unwhitened(model_of(X, y, weight).whitening)
    np.testing.assert_array_equal(white.to_columns(np.eye(4)), np.eye(4))
