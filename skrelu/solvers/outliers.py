"""Rows whose outputs are grossly wrong, found by robust fits of two layers before the ordinary fit to the others."""

import warnings
from copy import copy
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from scipy.stats import chi2
from sklearn.exceptions import ConvergenceWarning

from skrelu.networks.piecewise_linear import products
from skrelu.networks.two_layer import TwoLayer
from skrelu.networks.units import unit_values
from skrelu.output_moments import output_moments
from skrelu.rows import Rows
from skrelu.solvers.descent import Descent, best_of_starts
from skrelu.solvers.quasi_newton import quasi_newton
from skrelu.solvers.two_layer import SIZE_MARGIN, SIZES, WIDTHS, pruned, refined
from skrelu.whitening import whitening

BOUND = 2.0  # distances of y from its median, in units of their median, beyond which rows count less
WIDE_ITERATIONS = 60  # of a wide network, before any reweighting
WIDE_ROUNDS = 4  # of reweighting, before units are dropped
ROUNDS = 12  # of reweighting, after
ROUND_ITERATIONS = 30
SOFT = 0.1  # of the median residual: below, residuals count alike
GROSS = 6.0  # median residuals beyond which a row is set aside at first
MASKS = 8  # at most, from one start, for as long as they change
FALSE_ALARMS = 0.05  # expected number of rows of normal noise that are set aside
FLOOR_EPS = 1e4  # residuals below this many eps of the root mean square of y are rounding
MAX_SHARE = 0.5  # of the equations: with more weights, a network may fit most rows, whatever they are
STARTS_OF_A_SIZE = 3  # while the number of units is sought


@dataclass(frozen=True)
class Outliers(Descent):
    """What a robust descent has come to; its objective is half the square of a quantile of the residuals of all rows.

    Attributes
    ----------
    network : TwoLayer or None
        That of theta, on the rows that are kept.
    mask : ndarray of shape (n_samples,) of bool, or None
        Rows to set aside; None before the first start.
    """

    network: TwoLayer | None = None
    mask: np.ndarray | None = None


def detected(rows, network_of, rng, *, n_hidden, fit_intercept, n_init, max_iter):
    """Return the `Outliers` of the best of several starts.

    That is the one with the lowest quantile, of level ``(1 + p / (n q)) / 2``, of the residuals of all rows, p the
    number of weights, n the sum of the sample weights, q the rank of the outputs: least median of squares, with room
    for the rows that any network of as many weights fits [1]_.

    Parameters
    ----------
    rows : Rows
    network_of : callable (rows, *, coordinates, moments, n_hidden) -> TwoLayer
    rng : RandomState
    n_hidden : int or "auto"
        "auto": the number of directions of the moments, then twice as many for as long as that lowers ``n q log F + p
        log n``, F the objective.
    fit_intercept : bool
    n_init, max_iter : int
        Largest number of starts, and of iterations of each.

    Warns
    -----
    ConvergenceWarning
        When half of the rows or more would have to be set aside, or there are too few rows to tell: none is.

    References
    ----------
    .. [1] P. J. Rousseeuw, "Least median of squares regression", Journal of the American Statistical Association 79
       (1984).
    """
    calm, auto = bounded(rows), n_hidden == "auto"
    centered = whitening(calm, centered=True)
    moments = output_moments(calm, centered, None if auto else n_hidden)
    coordinates = centered if fit_intercept else whitening(calm, centered=False)
    n_units, n_starts = (moments.basis.shape[1], min(n_init, STARTS_OF_A_SIZE)) if auto else (n_hidden, n_init)
    network = network_of(calm, coordinates=coordinates, moments=moments, n_hidden=n_units)
    search = _Search(rows, moments.weighting, rng, max_iter)
    found = search.nothing(network)
    if search.taken(network) > MAX_SHARE:
        reason = f"{rows.weight_sum:g} rows are too few to tell wrong ones with {network.n_weights} weights"
    else:
        reason = "no majority of rows agrees with one network"
        found = search.best(network, n_starts)
        found = search.grown(network, found, n_starts) if auto else found
    if found.mask is not None and search.share(found.mask) < 0.5:
        return found
    if not found.interrupted:
        warnings.warn(f"No rows were set aside: {reason}.", ConvergenceWarning, stacklevel=6)
    return replace(found, mask=np.zeros(rows.n_samples, dtype=bool), network=_on(found.network, rows))


def bounded(rows):
    """Return the rows reweighted so that no output, however far from the median, can dominate a sum of squares."""

    def output(X, y, j):
        return y.reshape(len(y), -1)[:, j]

    center = np.array([rows.quantile(rows.each(output, j), 0.5) for j in range(rows.n_outputs)])
    distance = rows.each(lambda X, y: np.linalg.norm(y.reshape(len(y), -1) - center, axis=1))
    typical = rows.quantile(distance, 0.5)
    if not 0 < typical < np.inf:
        return rows
    return rows.reweighted((BOUND / np.maximum(distance / typical, BOUND)) ** 2)


@dataclass(frozen=True)
class _Search:
    """All rows, the weighting of the outputs in first stages, and the limit of the iterations of each start."""

    rows: Rows
    weighting: np.ndarray
    rng: np.random.RandomState
    max_iter: int

    def nothing(self, network):
        """Return what there is before any start."""
        return Outliers(_wide_start(network, self.rng, 0), network=network)

    def share(self, mask):
        """Return the share of the weight of all rows that a mask sets aside."""
        return 1 - self.rows.reweighted(1.0 - mask).weight_sum / self.rows.weight_sum

    def taken(self, network):
        """Return the share of the equations of all rows that the weights of a network can satisfy."""
        return network.n_weights / (self.rows.weight_sum * network.output_rank)

    def best(self, network, n_starts):
        """Return the best of several starts: see `best_of_starts`."""

        def further(attempt, network, rival):
            return network, self._from_start(network, attempt)

        start = network, self.nothing(network)
        return best_of_starts(start, further, n_starts=n_starts, begin=lambda: False)[1]

    def grown(self, network, found, n_starts):
        """Return the best of more units, doubled in number for as long as that lowers the criterion."""
        while not (network.is_lowest(found.objective) or found.interrupted):
            larger = network.variant(min(2 * network.n_hidden, network.whitening.rank))
            if larger.n_hidden == network.n_hidden or self.taken(larger) > MAX_SHARE:
                break
            trial = self.best(larger, n_starts)
            if trial.interrupted:
                return found.stopped(trial.stop_reason)
            if _criterion(larger, trial) >= _criterion(network, found) - SIZE_MARGIN:
                break
            network, found = larger, trial
        return found

    def _from_start(self, network, attempt):
        """Return the `Outliers` of one start.

        First a wide network of random units on the `bounded` rows; then the least sum of the norms of residuals, not of
        their squares, by iterative reweighting, units being dropped on the way; then least squares on the rows that are
        not set aside and a new mask by their residuals, by turns until the mask repeats.
        """
        wide = network.variant(
            ceil(WIDTHS[attempt % len(WIDTHS)] * network.n_hidden), weighting=self.weighting, alpha=0.0
        )
        descent = self._continued(Descent(_wide_start(wide, self.rng, attempt)), wide, WIDE_ITERATIONS)
        wide, descent = self._reweighted(wide, descent, WIDE_ROUNDS)
        narrow = wide.variant(network.n_hidden)
        descent = replace(descent, theta=pruned(wide, descent.theta, network.n_hidden))
        narrow, descent = self._reweighted(narrow, descent, ROUNDS)
        return self._concentrated(network, narrow, descent)

    def _reweighted(self, network, descent, rounds):
        """Return (network, descent) after iterations on rows of weights ``1 / |r_i|``, r_i their residuals before."""
        for _ in range(rounds):
            size = self._distances(network, descent.theta)
            typical = self.rows.quantile(size, 0.5)
            if not typical > self._floor:
                break
            network = _on(network, self.rows.reweighted(typical / np.maximum(size, SOFT * typical)))
            descent = self._continued(descent, network, ROUND_ITERATIONS)
        return network, descent

    def _concentrated(self, network, robust, descent):
        """Return the `Outliers` that least squares on the rows kept and masks by their residuals come to, by turns."""
        size = self._distances(robust, descent.theta)
        mask, theta, n_iter = (
            size > max(GROSS * self.rows.quantile(size, 0.5), self._floor),
            descent.theta,
            descent.loss_curve,
        )
        for _ in range(MASKS):
            kept = _on(network, self.rows.reweighted(1.0 - mask))
            moved = replace(Descent(theta).moved(kept, theta), loss_curve=n_iter)
            descent = _uninterrupted(refined(kept, self.weighting, moved, max_iter=self.max_iter))
            theta, last = descent.theta, mask
            mask = self._mask(kept, theta)
            if np.array_equal(mask, last) or self.share(mask) >= 0.5:
                break
        size = self._distances(kept.variant(weighting=self.weighting), theta)
        residual = self.rows.quantile(size, (1 + self.taken(network)) / 2)
        objective = residual**2 / 2 if residual > self._floor else 0.0
        return Outliers(theta, objective, network=kept, mask=mask)

    def _mask(self, kept, theta):
        """Return the rows whose residuals, in the metric of the covariance of those kept, are too large to be noise.

        Squares of these lengths d follow chi2 of f degrees of freedom for normal noise, f the number of directions of
        noise above rounding. In units of their median, the quantile that `FALSE_ALARMS` of all rows exceed is the bound;
        p weights take the share ``p / (n q)`` of the variance of the residuals of rows that are kept, and add as much to
        others. Along the directions without noise, what is above rounding is wrong.
        """
        values, vectors = np.linalg.eigh(_covariance(kept, theta))
        values = np.maximum(values, 0)
        directions = vectors / np.sqrt(values + self._floor**2)
        squares = self._distances(kept, theta, directions) ** 2
        freedom = max(1.0, float(np.sum(values / (values + self._floor**2))))
        room = 1 - self.taken(kept)
        tail = chi2.isf(min(FALSE_ALARMS / max(self.rows.weight_sum, 1.0), 0.5), freedom)
        bound = tail / chi2.median(freedom) / room**2
        return squares > max(1.0, bound * kept.rows.quantile(squares, 0.5))

    def _distances(self, network, theta, directions=None):
        """Return the norms of the residuals of all rows, of their products with the directions if there are any."""

        def f(X, y, *weights):
            residual = _residuals(network, X, y, *weights)
            return np.linalg.norm(residual if directions is None else directions.T @ residual, axis=0)

        return self.rows.each(f, *_weights(network, theta))

    def _continued(self, descent, network, n_iter):
        """Return the descent after `n_iter` more iterations."""
        n_iter = min(self.max_iter, len(descent.loss_curve) + n_iter)
        return _uninterrupted(descent.followed_by(quasi_newton, network, max_iter=n_iter))

    @property
    def _floor(self):
        return FLOOR_EPS * float(np.finfo(self.rows.dtype).eps)


def _on(network, rows):
    """Return the network on other rows."""
    network = copy(network)
    network.rows = rows
    return network


def _wide_start(network, rng, attempt):
    """Return the theta of random units, of several sizes by turns where these count."""
    hidden = rng.standard_normal(network.shape) / max(network.whitening.rank, 1) ** 0.5
    if network.fit_intercept:
        hidden[:, -1] = 0
    if network.activation.homogeneity is None:
        hidden *= SIZES[attempt % len(SIZES)]
    return hidden.ravel()


def _uninterrupted(descent):
    """Return the descent; what has interrupted it interrupts the start that it belongs to, whose mask is not ready."""
    if descent.interrupted:
        raise KeyboardInterrupt
    return descent


def _weights(network, theta):
    """Return the weights of both layers, as the rows see them."""
    layer, dtype = network.layer(theta), network.rows.dtype
    return *network.stacked(theta), layer.coef.astype(dtype), layer.intercept.astype(dtype)[:, None]


def _residuals(network, X, y, W, b, coef, intercept):
    """Return the residuals (n_outputs, n_rows) of a block."""
    Z = products(X, W)
    Z += b
    return coef.T @ unit_values(network.activation, Z)[0] + intercept - network.targets(y)


def _covariance(network, theta):
    """Return the second moments of the residuals."""

    def f(X, y, s, *weights):
        residual = _residuals(network, X, y, *weights)
        return (((residual * s) @ residual.T).astype(np.float64),)

    return network.rows.sum(f, *_weights(network, theta))[0]


def _criterion(network, found):
    n = network.rows.weight_sum
    return network.n_equations * np.log(max(found.objective, network.lowest)) + network.n_weights * np.log(max(n, 2))
