import itertools

import numpy as np
import pytest

from skrelu.metrics import recovery_error, support_score

EPS = np.finfo(np.float64).eps


def brute_force_error(truth, found, sign_invariant=False):
    """The definition, over all permutations and signs, for matrices with the same number of rows."""
    signs = itertools.product([1, -1], repeat=len(truth)) if sign_invariant else [np.ones(len(truth))]
    signs = [np.array(s)[:, None] for s in signs]
    errors = [
        np.linalg.norm(truth - s * found[list(p)]) for p in itertools.permutations(range(len(truth))) for s in signs
    ]
    return min(errors) / np.linalg.norm(truth)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("seed", range(5))
def test_permuted_rows_have_error_exactly_zero(seed):
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((7, 4))
    order = rng.permutation(7)
    assert recovery_error(W, W[order]) == 0
    assert recovery_error(W[order], W) == 0


def test_sign_invariance_is_per_row_and_only_on_request(rng):
    W = rng.standard_normal((5, 8))
    signs = np.array([1, -1, -1, 1, -1])[:, None]
    found = (signs * W)[[3, 0, 4, 2, 1]]
    assert recovery_error(W, found, sign_invariant=True) == 0
    assert recovery_error(W, found) > 0.5


def test_scale_invariance_is_per_row_and_only_on_request(rng):
    W = rng.standard_normal((5, 8))
    scales = np.array([1e-200, 0.1, 3.0, 1e5, 1e200])[:, None]
    found = (scales * W)[[3, 0, 4, 2, 1]]
    assert recovery_error(W, found, scale_invariant=True) < 10 * EPS
    assert recovery_error(W, found) > 1
    assert recovery_error(W, -found, scale_invariant=True, sign_invariant=True) < 10 * EPS
    # A negative scale is not a scale.
    assert recovery_error(W, -found, scale_invariant=True) > 0.5


def test_zero_rows_stay_zero_when_rows_are_normalised():
    assert recovery_error([[0.0, 0.0], [0.0, 5.0]], [[0.0, 2.0], [0.0, 0.0]], scale_invariant=True) == 0


@pytest.mark.parametrize("sign_invariant", [False, True])
@pytest.mark.parametrize("n_units", range(1, 6))
@pytest.mark.parametrize("noise", [3.0, 0.5, 1e-9])
def test_matching_is_the_best_of_all(n_units, sign_invariant, noise, rng):
    truth = rng.standard_normal((n_units, 3))
    found = truth[rng.permutation(n_units)] + noise * rng.standard_normal((n_units, 3))
    if sign_invariant:
        found *= rng.choice([-1, 1], size=(n_units, 1))
    expected = brute_force_error(truth, found, sign_invariant)
    np.testing.assert_allclose(recovery_error(truth, found, sign_invariant=sign_invariant), expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_rows_that_nearly_coincide_are_told_apart(seed):
    # Squared distances of 1e-20 beside others of order 1.
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((5, 3))
    truth[2:] = truth[0] + 1e-10 * rng.standard_normal((3, 3))
    assert recovery_error(truth, truth[rng.permutation(5)]) == 0
    found = truth[rng.permutation(5)] + 1e-11 * rng.standard_normal((5, 3))
    np.testing.assert_allclose(recovery_error(truth, found), brute_force_error(truth, found), rtol=1e-12)


@pytest.mark.parametrize("delta", [1e-3, 1e-8, 1e-12, 1e-15])
def test_small_errors_are_resolved(delta, rng):
    truth = rng.standard_normal((6, 10))
    found = truth + delta * rng.standard_normal(truth.shape)
    expected = np.linalg.norm(found - truth) / np.linalg.norm(truth)
    assert 0.1 * delta < expected < 10 * delta
    np.testing.assert_allclose(recovery_error(truth, found[::-1]), expected, rtol=1e-12)


def test_error_of_normalised_rows_is_the_angle(rng):
    # Unit rows at angle t differ by 2 sin(t/2).
    for angle in (1e-12, 1e-4, 1.0):
        found = 7.0 * np.array([np.cos(angle), np.sin(angle)])
        np.testing.assert_allclose(
            recovery_error([2.0, 0.0], found, scale_invariant=True), 2 * np.sin(angle / 2), rtol=1e-3, atol=EPS
        )


def test_unmatched_rows_count_with_their_norms():
    truth = np.array([[3.0, 0.0], [0.0, 4.0]])
    assert recovery_error(truth, truth[1:]) == pytest.approx(3 / 5, rel=1e-15)
    assert recovery_error(truth, [[0.0, 4.0], [3.0, 0.0], [6.0, 8.0]]) == pytest.approx(10 / 5, rel=1e-15)
    # Matched to the nearer row, at distance 1; the other adds its norm 5.
    assert recovery_error([3.0, 0.0], [[2.0, 0.0], [3.0, 4.0]]) == pytest.approx(np.sqrt(1 + 25) / 3, rel=1e-15)
    assert recovery_error(truth, np.empty((0, 2))) == 1
    # Normalised rows weigh 1 each.
    assert recovery_error(truth, 1e-3 * truth[:1], scale_invariant=True) == pytest.approx(np.sqrt(0.5), rel=1e-15)


@pytest.mark.parametrize(("n_true", "n_found"), [(2, 5), (5, 2), (3, 4), (4, 3)])
def test_rows_without_partner_against_all_matchings(n_true, n_found, rng):
    truth, found = rng.standard_normal((n_true, 3)), rng.standard_normal((n_found, 3))
    n_pairs = min(n_true, n_found)
    rest = np.sum(truth**2) + np.sum(found**2)
    matchings = [
        (list(i), list(j))
        for i in itertools.combinations(range(n_true), n_pairs)
        for j in itertools.permutations(range(n_found), n_pairs)
    ]
    pairs, error = min(
        (d2, d2 + rest - np.sum(truth[i] ** 2) - np.sum(found[j] ** 2))
        for i, j in matchings
        for d2 in [np.sum((truth[i] - found[j]) ** 2)]
    )
    assert pairs < error
    np.testing.assert_allclose(recovery_error(truth, found), np.sqrt(error / np.sum(truth**2)), rtol=1e-12)


def test_vectors_are_single_rows():
    assert recovery_error([3.0, 4.0], [3.0, 4.5]) == pytest.approx(0.1, rel=1e-15)
    assert recovery_error([3.0, 4.0], [[3.0, 4.5]]) == recovery_error([[3.0, 4.0]], [3.0, 4.5])
    assert isinstance(recovery_error([3.0, 4.0], [3.0, 4.5]), float)


def test_zero_truth():
    assert recovery_error([0.0, 0.0], [0.0, 0.0]) == 0
    assert recovery_error([0.0, 0.0], [0.0, 1e-300]) == np.inf
    assert recovery_error([0.0, 2.0], [0.0, 0.0]) == 1


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e200, 1e308])
def test_extreme_scales(scale):
    truth = np.array([[0.5, 0.25], [-0.125, 1.0]])
    found = np.array([[-0.25, 1.0], [0.5, 0.5]])
    expected = recovery_error(truth, found)
    assert recovery_error(scale * truth, scale * found) == pytest.approx(expected, rel=1e-14)
    assert recovery_error([scale], [-scale]) == 2


def test_scales_far_apart():
    assert recovery_error([3e-200, 4e-200], [1.0, 0.0]) == pytest.approx(2e199, rel=1e-14)
    # An entry that is planted as zero resolves errors below the rounding of the others.
    assert recovery_error([1.0, 0.0], [1.0, 1e-200]) == pytest.approx(1e-200, rel=1e-14)


def test_ratio_beyond_the_largest_float_is_infinite():
    assert recovery_error([1e-200], [1e200]) == np.inf
    assert recovery_error([1e200], [1e-200]) == 1


def test_float32_is_compared_exactly(rng):
    W = rng.standard_normal((3, 4)).astype(np.float32)
    assert recovery_error(W, W[::-1].astype(np.float64)) == 0


def test_recovery_error_refuses():
    with pytest.raises(ValueError, match="number of columns, got 2 and 3"):
        recovery_error([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="coef_true contains NaN"):
        recovery_error([np.nan, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="dim 3"):
        recovery_error([1.0, 2.0], np.zeros((2, 2, 2)))


def test_support_score_is_f1():
    truth = np.array([1.0, -2.0, 0.0, 0.0, 3.0])
    found = np.array([0.5, 0.0, 0.1, 0.0, -3.0])
    precision, recall = 2 / 3, 2 / 3
    assert support_score(truth, found) == pytest.approx(2 * precision * recall / (precision + recall), rel=1e-15)
    # The threshold takes 0.1 out: precision 1; a value equal to it counts as zero.
    assert support_score(truth, found, threshold=0.1) == pytest.approx(2 * (2 / 3) / (1 + 2 / 3), rel=1e-15)
    # It applies to the truth as well: 1 no longer belongs to the support.
    assert support_score(truth, found, threshold=1.5) == pytest.approx(2 / 3, rel=1e-15)
    assert support_score(truth.reshape(1, -1), found.reshape(1, -1)) == support_score(truth, found)


def test_support_score_extremes():
    assert support_score([1.0, 0.0], [-5.0, 0.0]) == 1
    assert support_score([1.0, 0.0], [0.0, 1.0]) == 0
    assert support_score([0.0, 0.0], [0.0, 1.0]) == 0
    assert support_score([0.0, 0.0], [0.0, 0.0]) == 1


def test_support_score_refuses():
    with pytest.raises(ValueError, match=r"same shape, got \(1, 2\) and \(1, 3\)"):
        support_score([1.0, 2.0], [1.0, 2.0, 3.0])
    for threshold in (-1.0, np.nan):
        with pytest.raises(ValueError, match="threshold must be a number >= 0"):
            support_score([1.0, 2.0], [1.0, 2.0], threshold=threshold)
