"""The automatic weight decay of quadratic networks: a path of solutions, and the criterion that chooses among them."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from skrelu.criteria import INFLATION, generalised_cross_validation
from skrelu.networks.quadratic import QuadraticModel, QuadraticNetwork
from skrelu.networks.quadratic_form import QuadraticForm, SummedForm
from skrelu.networks.quadratic_tangent import tangent
from skrelu.solvers.descent import Descent, until_stalled
from skrelu.solvers.proximal import proximal_descent
from skrelu.solvers.quadratic import FEW_WEIGHTS, polished

FACTOR = 0.5  # between weight decays
LENGTH = 24  # of the path, at most
PATIENCE = 6  # weight decays without a lower criterion end it
MARGIN = 1e-3  # a smaller weight decay wins only if its criterion is lower by more than this, relatively
ABOVE = 1e-3  # by which the first weight decay exceeds the one at which M vanishes
RIDGES = np.geomspace(1e2, 1e-10, 37)  # penalties of the linear part, columns in units of their deviations
PATH_TOL, PATH_ITERATIONS = 3e-5, 150  # of the proximal steps at each weight decay
CUT_ITERATIONS = 40  # of the descent with fewer units at each weight decay
WIDE_UNITS = 20  # of networks without limit, where the proximal steps would be too dear, that a step may add
SMALL_STEP = 0.05  # of the second moment of the residual, -2 of the error of M if x is Gaussian: new units
PATH_WEIGHTS, FINAL_WEIGHTS = 500, 1000  # up to so many weights their covariance is exact
LEVERAGE_COST = 5e8  # rows times the square of the weights, above which leverages are not taken
LEAST_SHARE = 0.1  # of its residual left out that a row shows: leverages are known to first order only
PRESENT = 1e-2  # of the largest eigenvalue of M; smaller ones count as that where the largest gap is looked for
SINGULAR = 1e-12  # of the diagonal of the Hessian of least squares, added to it
NO_RESIDUAL = 1e-12  # of the mean square of y: the criterion of a linear fit below leaves nothing to M
NEARLY_EXACT = 1e-6  # of the mean square of y: a residual below calls for the exact solution


@dataclass
class Path:
    """Solutions along decreasing weight decay.

    Attributes
    ----------
    model : QuadraticModel
        Whitened, without penalty.
    n_units : int or None
        The most units; None for no limit.
    linear_penalty : float
        rho, of the linear part.
    alphas, criterion : list of float
        In units of y, and of its square.
    parts : list of tuple
        (M~, beta~, c~) in the coordinates of `model`.
    unpenalised : tuple or None
        Parts of the solution without penalty, if it is one to choose.
    interrupted : bool
    """

    model: QuadraticModel
    n_units: int | None
    linear_penalty: float = 1.0
    alphas: list = field(default_factory=list)
    criterion: list = field(default_factory=list)
    parts: list = field(default_factory=list)
    unpenalised: tuple | None = None
    interrupted: bool = False

    @cached_property
    def form(self):
        """The problem without penalty, in units of the scales, its sums known where weights are few."""
        form = QuadraticForm(self.model.in_scales())
        return form.summed() if form.n_weights <= FEW_WEIGHTS else form

    @property
    def best(self):
        """The place of the weight decay chosen."""
        return chosen(self.criterion)

    @property
    def alpha(self):
        """The weight decay chosen; 0 before there is a path."""
        return self.alphas[self.best] if self.alphas else 0.0

    def at(self, alpha):
        """Return the model with that weight decay and the `linear_penalty`."""
        return replace(self.model, alpha=alpha, linear_factor=self.linear_penalty / alpha if alpha > 0 else 1.0)

    def network(self, place, n_units=None):
        """Return (network, theta) of a solution, or of the largest units of its M."""
        return network_of(self.at(self.alphas[place]), self.parts[place], n_units or self.n_units)

    def told(self, moments):
        """Return the weight decays and their criterion; moments are those of the solution chosen."""
        if self.alphas:
            return self.alphas, self.criterion
        return [0.0], [self._criterion(0.0, self.unpenalised, moments)]

    def least_squares(self):
        """Set `unpenalised` to the solution without limits; return whether its residual is nearly zero, or not known.

        It is not known where weights are too many.
        """
        if not isinstance(self.form, SummedForm):
            return True
        H, (_, gradient) = self.form.hessian_at_zero, self.form.at_zero
        diagonal = np.diag(H)
        theta = np.linalg.solve(H + np.diag(SINGULAR * diagonal + (diagonal == 0)), -gradient)
        self.unpenalised = self.model.from_user(*self.form.model.user(*self.form.parts(theta)))
        return 2 * self.form.loss(theta) <= NEARLY_EXACT

    def follow(self):
        """Add solutions at decreasing weight decay.

        The first is the one at which M vanishes; each is half the one before. It ends once the criterion has not fallen
        for some values, with the solution without penalty, if there is one.
        """
        unit = self.model.target_scale
        nothing = NO_RESIDUAL * unit * unit
        try:
            parts, first = _linear_start(self)
            for place in range(LENGTH):
                alpha = first * (1 + ABOVE) * FACTOR**place * unit
                if place:
                    parts = (_proximal if isinstance(self.form, SummedForm) else _descended)(self, alpha, parts)
                self._add(alpha, _cut(self, alpha, parts))
                if alpha == 0 or self.criterion[0] <= nothing or place - self.best >= PATIENCE:
                    break
            if self.unpenalised is not None and alpha > 0:
                self._add(0.0, self.unpenalised)
        except KeyboardInterrupt:
            self.interrupted = True

    def planted(self, tol, options):
        """Return (network, descent) without residual and penalty, of the units of the path; None if there is none.

        Its units are those before the largest gap in the eigenvalues of the M chosen; it must have fewer weights than
        there are rows. Without noise they stand out long before there is no residual.
        """
        parts = self.parts[self.best]
        k = _number_present(parts[0])
        if self.interrupted or n_weights(self.model, k) >= self.model.rows.weight_sum:
            return None
        network, theta = network_of(self.model, parts, k)
        descent = Descent(theta).followed_by(until_stalled(), network, **options)
        self.interrupted = descent.interrupted
        if not 2 * descent.objective <= NEARLY_EXACT:
            return None
        descent = polished(network, descent, tol=tol, **options)
        if not network.is_lowest(descent.objective):
            return None
        self._add(0.0, network.parts(descent.theta))
        return network, descent

    def _add(self, alpha, parts):
        self.alphas.append(alpha)
        self.parts.append(parts)
        self.criterion.append(self._criterion(alpha, parts))

    def _criterion(self, alpha, parts, moments=None):
        unit = self.model.target_scale
        return criterion(self.at(alpha), parts, moments) * unit * unit


def _number_present(M):
    """Return how many eigenvalues are before the largest gap, relatively; 0 of a zero matrix."""
    sizes = np.sort(np.abs(np.linalg.eigvalsh(M)))[::-1]
    if not np.max(sizes, initial=0.0) > 0:
        return 0
    return int(np.argmax(sizes / np.maximum(np.append(sizes[1:], 0.0), PRESENT * sizes[0]))) + 1


def chosen(values):
    """Return the place of the value that is lower than those before by more than `MARGIN`, relatively."""
    best = 0
    for place, value in enumerate(values):
        if value < values[best] * (1 - MARGIN):
            best = place
    return best


def n_weights(model, n_units=None):
    """Return how many free weights a network of so many units has; None for no limit."""
    rank = model.whitening.rank
    k = rank if n_units is None else min(n_units, rank)
    return k * rank - k * (k - 1) // 2 + model.fit_linear * rank + model.fit_intercept


def network_of(model, parts, n_units):
    """Return (network, theta) of (M~, beta~, c~), or of the `n_units` largest units of M~."""
    values, vectors = np.linalg.eigh(parts[0])
    network = QuadraticNetwork(model, np.where(values < 0, -1.0, 1.0))
    theta = network.pack((np.abs(values) ** 0.5 * vectors).T, model.packed_head(*parts[1:]))
    return network.factored(theta, len(values) if n_units is None else n_units)


def criterion(model, parts, moments=None):
    """Return the larger of generalised and of leave-one-out cross-validation, y in units of t; at most three passes.

    The second, to first order, is ``sum_i s_i (r_i / (1 - g h_i))^2`` with the leverages ``h_i = j(x_i)' H^-1 j(x_i) /
    n``, each copy of a row left out by itself, g = `INFLATION` as in `generalised_cross_validation`, and 1 - g h_i at
    least `LEAST_SHARE`. It sees what the mean does not: squares of outlying columns, fitted by the rows that have them.
    It is left out where it would cost more than `LEVERAGE_COST`. A residual that is zero to rounding is taken as it is.
    Where anything overflows the criterion is infinite. `moments` are those of `QuadraticForm`, if they are known.
    """
    n, rank = model.rows.weight_sum, model.whitening.rank
    loss, second, _, _ = QuadraticForm(model).moments(*parts) if moments is None else moments
    if model.is_lowest(loss):
        return 2 * loss
    told = tangent(model, parts, second, PATH_WEIGHTS) if np.isfinite(loss) else None
    if told is None:
        return float("inf")
    value = generalised_cross_validation(2 * loss, told.degrees_of_freedom, n)
    if told.factor is None or n * (rank * (rank + 1)) ** 2 > LEVERAGE_COST:
        return value
    M, beta, c = parts

    def f(X, y, s):
        total = 0.0
        for piece, Z in model.whitening.whitened(X):
            residual = np.einsum("ij,ij->i", Z @ M, Z) + Z @ beta + c - y[piece] / model.target_scale
            share = np.maximum(1 - INFLATION / n * told.variances(X[piece]), LEAST_SHARE)
            total = total + np.sum(s[piece] * (residual / share) ** 2, dtype=np.float64)
        return (total,)

    return float(np.nan_to_num(np.maximum(value, model.rows.sum(f)[0]), nan=np.inf, posinf=np.inf))


def _linear_start(path):
    """Return the parts of the linear fit, and the weight decay at which M vanishes, y in units of t.

    The penalty rho of the linear fit is the one of `RIDGES` with the lowest criterion.
    """
    form, model = path.form, path.form.model
    d = model.whitening.size
    zero, beta = np.zeros((d, d)), np.zeros(d)
    loss, _, g, total = form.moments(zero, beta, 0.0)
    mean = -total * model.fit_intercept
    if model.fit_linear:
        white = path.model.whitening.to_white(np.diag(model.whitening.columns))
        values, vectors = np.linalg.eigh(white @ white.T)
        values, along = values.clip(0), -vectors.T @ g
        scores = []
        for rho in RIDGES:
            b = along / (values + rho)
            square = 2 * loss - mean**2 - 2 * along @ b + b @ (values * b)
            freedom = np.sum(values / (values + rho)) + model.fit_intercept
            scores.append(generalised_cross_validation(max(square, 0.0), freedom, model.rows.weight_sum))
        path.linear_penalty = float(RIDGES[chosen(scores)])
        beta = vectors @ (along / (values + path.linear_penalty))
    second = form.moments(zero, beta, mean)[1]
    model.require_finite(second, mean)
    values = np.linalg.eigvalsh(second)
    norm = max(-values[0], 0.0) if model.positive else np.max(np.abs(values))
    return path.model.from_user(*model.user(zero, beta, mean)), 2 * float(norm)


def _proximal(path, alpha, parts):
    """Return parts after proximal steps, whose sums are known: matrices of few columns."""
    form = path.form.with_model(replace(path.at(alpha), whitening=path.form.model.whitening))
    theta = form.pack(*form.model.from_user(*path.model.user(*parts)))
    path.model.require_finite(theta)
    descent = Descent(theta).followed_by(proximal_descent, form, tol=PATH_TOL, max_iter=PATH_ITERATIONS)
    return path.model.from_user(*form.model.user(*form.parts(descent.uninterrupted().theta)))


def _descended(path, alpha, parts):
    """Return parts after descent of a few units, small ones along the directions of descent among them."""
    second = QuadraticForm(path.model).moments(*parts)[1]
    path.model.require_finite(second)
    values, vectors = np.linalg.eigh(second)
    slopes = np.where((values > 0) & path.model.positive, 0.0, values)
    largest = np.argsort(-np.abs(slopes), kind="stable")[: path.n_units or WIDE_UNITS]
    step = -SMALL_STEP * slopes[largest]
    M = parts[0] + (vectors[:, largest] * step) @ vectors[:, largest].T
    network, theta = network_of(path.at(alpha), (M, *parts[1:]), path.n_units or 2 * WIDE_UNITS)
    descent = Descent(theta).followed_by(until_stalled(), network, max_iter=CUT_ITERATIONS)
    return network.parts(descent.uninterrupted().theta)


def _cut(path, alpha, parts):
    """Return the parts of a solution with no more units than there may be."""
    if path.n_units is None:
        return parts
    network, theta = network_of(path.at(alpha), parts, path.n_units)
    if network.n_hidden == path.n_units and alpha > 0:
        descent = Descent(theta).followed_by(until_stalled(), network, max_iter=CUT_ITERATIONS)
        theta = descent.uninterrupted().theta
    return network.parts(theta)
