"""Rows whose outputs are grossly wrong, found by robust fits of two layers before the ordinary fit to the others."""

import warnings
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from functools import partial
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
from skrelu.solvers.loop import INTERRUPTED
from skrelu.solvers.quasi_newton import quasi_newton
from skrelu.solvers.two_layer import SIZE_MARGIN, WIDTHS, pruned, random_units, refined
from skrelu.whitening import whitening

BOUND = 2.0  # distances of y from its median, in units of their median, beyond which rows count less
WIDE_ITERATIONS = 60  # of a wide network, before any reweighting
WIDE_ROUNDS = 4  # of reweighting, before units are dropped
ROUNDS = 12  # of reweighting, after
ROUND_ITERATIONS = 30
SOFT = 0.1  # of the median residual: below, residuals count alike
GROSS = 6.0  # median residuals beyond which a row is thought wrong at first
MASKS = 8  # at most, from one start, for as long as they change
FALSE_ALARMS = 0.05  # expected number of rows of normal noise that are set aside
FLOOR_EPS = 1e4  # residuals below this many eps of the root mean square of y are rounding
MAX_SHARE = 0.5  # of the equations: with more weights, a network may fit most rows, whatever they are
GROWTH = 1.25  # of the number of units while it is sought: much wider networks fit wrong rows, too
STARTS_OF_A_SIZE = 2
SIZES_ABOVE = 2  # tried in vain, then no larger one follows


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


def detected(rows, network_of, rng, n_hidden, fit_intercept, n_init, max_iter):
    """Return the `Outliers` of the best of several starts.

    That is the one with the lowest quantile, of level ``(1 + p / (n q)) / 2``, of the residuals of all rows, p the
    number of weights, n the sum of the sample weights, q the rank of the outputs: least median of squares, with room
    for the rows that any network of as many weights fits [1]_.

    Parameters
    ----------
    rows : Rows
    network_of : callable (rows, *, coordinates, mean, moments, n_hidden) -> TwoLayer
    rng : RandomState
        Copied: the fit that follows draws as if there had been no search.
    n_hidden : int or "auto"
        "auto": of numbers that increase by a quarter from that of the moments' directions on, the one that minimises
        ``n q log F + p log n``, F the objective; then units are dropped, one by one, for as long as that falls.
    fit_intercept : bool
    n_init, max_iter : int
        Largest number of starts, and of iterations of each.

    Raises
    ------
    ValueError
        When squares of y overflow.

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
    n_units = moments.basis.shape[1] if auto else n_hidden
    # Without weight decay: what that leaves of y is no noise, and hides wrong rows.
    options = {"coordinates": coordinates, "mean": moments.mean, "moments": moments, "n_hidden": n_units}
    network = network_of(calm, **options).variant(alpha=0.0)
    search = _Search(rows, moments.weighting, deepcopy(rng), max_iter)
    found = search.narrowed(search.grown(network, n_init)) if auto else search.best(network, n_init)
    if found.mask is not None and search.share(found.mask) < 0.5:
        return replace(found, network=_on(found.network, rows.reweighted(1.0 - found.mask)))
    reason = f"so few rows cannot tell wrong ones with {network.n_weights} weights"
    if found.mask is not None:
        reason = "no majority of them agrees with one network"
    if not found.interrupted:
        warnings.warn(f"No rows were set aside: {reason}.", ConvergenceWarning, stacklevel=7)
    return replace(found, mask=np.zeros(rows.n_samples, dtype=bool), network=_on(found.network, rows))


def bounded(rows):
    """Return the rows reweighted so that no output, however far from the median, can dominate a sum of squares."""

    def output(X, y, j):
        return y.reshape(len(y), -1)[:, j]

    center = np.array([rows.quantile(rows.each(output, j), 0.5) for j in range(rows.n_outputs)], dtype=rows.dtype)
    distance = rows.each(lambda X, y: np.linalg.norm(y.reshape(len(y), -1) - center, axis=1))
    if not np.all(np.isfinite(distance)):
        raise ValueError(f"y: squares of its entries overflow {rows.dtype}; rescale it")
    typical = rows.quantile(distance, 0.5)
    if typical == 0:
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
        return Outliers(random_units(network, self.rng, 0), network=network)

    def share(self, mask):
        """Return the share of the weight of all rows that a mask sets aside."""
        return 1 - self.rows.reweighted(1.0 - mask).weight_sum / self.rows.weight_sum

    def taken(self, network):
        """Return the share of the equations of all rows that the weights of a network can satisfy."""
        return network.n_weights / (self.rows.weight_sum * network.output_rank)

    def best(self, network, n_starts):
        """Return the best of several starts (`best_of_starts`); none is tried with more weights than `MAX_SHARE`."""

        def further(attempt, network, rival):
            return network, self._from_start(network, attempt)

        start, n_starts = (network, self.nothing(network)), n_starts if self.taken(network) <= MAX_SHARE else 0
        return best_of_starts(start, further, n_starts=n_starts, begin=lambda: False)[1]

    def grown(self, network, n_starts):
        """Return the best of more and more units, by the Bayesian information criterion."""
        while network.n_hidden > 1 and self.taken(network) > MAX_SHARE:
            network = network.variant(network.n_hidden - 1)
        best, lowest, in_vain = self.nothing(network), np.inf, 0
        while in_vain < SIZES_ABOVE and self.taken(network) <= MAX_SHARE:
            found = self.best(network, min(n_starts, STARTS_OF_A_SIZE))
            if found.interrupted:
                return best.stopped(found.stop_reason)
            value = self._criterion(network, found)
            in_vain = 0 if value < lowest - SIZE_MARGIN else in_vain + 1
            best, lowest = (best, lowest) if in_vain else (found, value)
            if network.is_lowest(found.objective) or network.n_hidden >= network.whitening.rank:
                break
            network = network.variant(min(ceil(GROWTH * network.n_hidden), network.whitening.rank))
        return best

    def _criterion(self, network, found):
        n = self.rows.weight_sum
        fit = n * network.output_rank * np.log(max(found.objective, network.lowest))
        return fit + network.n_weights * np.log(max(n, 2))

    def narrowed(self, found):
        """Return the best after units are dropped, one by one: those too many fit wrong rows."""
        try:
            while found.mask is not None and not found.interrupted and found.network.n_hidden > 1:
                smaller = found.network.variant(found.network.n_hidden - 1)
                left = pruned(found.network, found.theta, smaller.n_hidden), _without_rarest(found.network, found.theta)
                trials = [self._robust(smaller, Descent(theta)) for theta in left]
                trial = min(trials, key=partial(self._criterion, smaller))
                if self._criterion(smaller, trial) >= self._criterion(found.network, found) - SIZE_MARGIN:
                    break
                found = trial
        except KeyboardInterrupt:
            return found.stopped(INTERRUPTED)
        return found

    def _from_start(self, network, attempt):
        """Return the `Outliers` of one start.

        First a wide network of random units on the `bounded` rows; then the least sum of the norms of residuals, where
        they are not gross, by iterative reweighting, units being dropped on the way; then least squares on the rows
        that are not set aside and a new mask by their residuals, by turns until the mask repeats.
        """
        width = ceil(WIDTHS[attempt % len(WIDTHS)] * network.n_hidden)
        wide = network.variant(width, weighting=self.weighting)
        descent = self._continued(Descent(random_units(wide, self.rng, attempt)), wide, WIDE_ITERATIONS)
        wide, descent = self._reweighted(wide, descent, WIDE_ROUNDS)
        return self._robust(network, replace(descent, theta=pruned(wide, descent.theta, network.n_hidden)))

    def _robust(self, network, descent):
        """Return the `Outliers` that a descent comes to by least norms, and then least squares."""
        weighted = network.variant(weighting=self.weighting)
        weighted, descent = self._reweighted(weighted, descent, ROUNDS)
        size = self._distances(weighted, descent.theta)
        mask = size > max(GROSS * self.rows.quantile(size, 0.5), self._floor)
        return self._concentrated(network, descent, mask)

    def _reweighted(self, network, descent, rounds):
        """Return (network, descent) after iterations on rows of weights ``1 / |r_i|``, r_i their residuals before.

        Beyond `GROSS` medians they are ``1 / |r_i|^3``: else a wide network would rather fit the rows that are wrong.
        """
        for _ in range(rounds):
            size = self._distances(network, descent.theta)
            typical = self.rows.quantile(size, 0.5)
            if not typical > self._floor:
                break
            ratio = np.maximum(size / typical, SOFT)
            network = _on(network, self.rows.reweighted(np.minimum(1, GROSS / ratio) ** 2 / ratio))
            descent = self._continued(descent, network, ROUND_ITERATIONS)
        return network, descent

    def _concentrated(self, network, descent, mask):
        """Return the `Outliers` that least squares on the rows kept and masks by their residuals come to, by turns."""
        for _ in range(MASKS):
            kept, last = _on(network, self.rows.reweighted(1.0 - mask)), mask
            descent = refined(kept, self.weighting, descent.moved(kept, descent.theta), max_iter=self.max_iter)
            mask, theta = self._mask(kept, descent.uninterrupted().theta), descent.theta
            if np.array_equal(mask, last) or self.share(mask) >= 0.5:
                break
        size = self._distances(kept.variant(weighting=self.weighting), theta)
        residual = self.rows.quantile(size, (1 + self.taken(network)) / 2)
        objective = residual**2 / 2 if residual > self._floor else 0.0
        return Outliers(theta, objective, network=kept, mask=mask)

    def _mask(self, kept, theta):
        """Return the rows whose residuals, in the metric of the covariance of those kept, are too large to be noise.

        Their squares follow chi2 of f degrees of freedom for normal noise, f the number of directions of noise above
        rounding. In units of their median, the bound is the quantile that `FALSE_ALARMS` of all rows exceed; p weights
        take the share ``p / (n q)`` of the variance of the residuals of rows that are kept, and add as much to others.
        Along the directions without noise, what is above rounding is wrong.
        """
        values, vectors = np.linalg.eigh(kept.residual_covariance(theta))
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
        return descent.followed_by(quasi_newton, network, max_iter=n_iter).uninterrupted()

    @property
    def _floor(self):
        return FLOOR_EPS * float(np.finfo(self.rows.dtype).eps)


def _on(network, rows):
    """Return the network on other rows."""
    network = copy(network)
    network.rows = rows
    return network


def _without_rarest(network, theta):
    """Return theta without the unit of the least ``E[f'(z)^2]``: one that fits a single wrong row is off elsewhere."""
    rarest = np.argmin(np.diag(network.layer(theta, slopes=True).slopes))
    return np.delete(theta.reshape(network.shape), rarest, axis=0).ravel()


def _weights(network, theta):
    """Return the weights of both layers, as the rows see them."""
    layer, dtype = network.layer(theta), network.rows.dtype
    return *network.stacked(theta), layer.coef.astype(dtype), layer.intercept.astype(dtype)[:, None]


def _residuals(network, X, y, W, b, coef, intercept):
    """Return the residuals (n_outputs, n_rows) of a block."""
    Z = products(X, W)
    Z += b
    return coef.T @ unit_values(network.activation, Z)[0] + intercept - network.targets(y)
