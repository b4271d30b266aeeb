"""Two layers with several outputs, the output layer eliminated: loss, gradient and curvature of the hidden one."""

from dataclasses import dataclass

import numpy as np

from skrelu.networks.piecewise_linear import products
from skrelu.networks.two_layer_curvature import ReducedHessian
from skrelu.networks.units import pseudo_inverse, regular_inverse, unit_values

DEFAULTS: dict = {
    "fit_intercept": True,
    "alpha": 0.0,
    "center": 0.0,
    "target_scale": 1.0,
    "output_rank": 1,
    "weighting": None,
    "smoothing": 0.0,
    "gauss_newton": False,
}
RANK_EPS = 1e3  # of the correlation of units: directions below this many eps count as dependent
DEAD_EPS = 1e2  # units whose variance is below this many eps of their mean square count as constant
RIDGE = 1e-6  # of the mean diagonal, added to the matrix of the metric
PARALLEL_TOL = 1e-8  # 1 - cosine of units that count as parallel, and relative size of units that count as zero


@dataclass(frozen=True)
class OutputLayer:
    """The output layer that fits best, in units of y, and what of the hidden units it was fitted with.

    Attributes
    ----------
    coef : ndarray of shape (n_hidden, n_outputs)
    intercept : ndarray of shape (n_outputs,)
    mean : ndarray of shape (n_hidden,)
        Of the hidden units; 0 without intercept.
    inverse : ndarray of shape (n_hidden, n_hidden)
        Pseudo-inverse of their covariance; without intercept, of their second moments. With weight decay, of the sum.
    deviations : ndarray of shape (n_hidden,)
        Root of the diagonal of that matrix.
    slopes : ndarray of shape (n_hidden, n_hidden)
        ``E[f'(z_j) f'(z_l)]``.
    """

    coef: np.ndarray
    intercept: np.ndarray
    mean: np.ndarray
    inverse: np.ndarray
    deviations: np.ndarray
    slopes: np.ndarray

    def cast(self, dtype):
        """Return the weights (k, n_outputs) and (n_outputs, 1) in a dtype."""
        return self.coef.astype(dtype), self.intercept.astype(dtype)[:, None]


class TwoLayer:
    """Half the weighted mean squared error of two layers as a function of the hidden one, in white coordinates.

    In the user's units

    ``F(W, b) = min_{U, c} 1/(2 sum_i s_i) sum_i s_i |U f(W x_i + b) + c - y_i|^2
    + (alpha/2) sum_j (w_j' S w_j + |u_j|^2)``,

    S the variances of the columns: variable projection. Two passes over the rows give F and its gradient: one for the
    normal equations of the inner problem, k + 1 unknowns for each output, one for the residual.

    The solvers see the vector theta of the (w_j, b_j) in the coordinates of `whitening`. y is in units of its root mean
    square t about `center`, weights in units in which all are of order one. For a homogeneous f and alpha = 0, F does
    not depend on the length of (w_j, b_j).

    Parameters
    ----------
    rows : Rows
    activation : Activation
    whitening : Whitening
        Its `center` is 0 without intercept.
    n_hidden : int
    fit_intercept : bool, default=True
        Whether there are b and c.
    alpha : float, default=0.0
    center : ndarray of shape (n_outputs,) or 0.0
        Subtracted from y: its mean, 0 without intercept.
    target_scale : float, default=1.0
        t.
    output_rank : int, default=1
        Rank of the outputs: for dependent ones equations and weights are counted once.
    weighting : ndarray of shape (n_outputs, n_weighted) or None
        P: the network of ``P'(y - center)`` in place of y. None stands for the identity.
    smoothing : float, default=0.0
        Width over which the kink of the activation is smoothed, in units of theta for units of length one.
    gauss_newton : bool, default=False
        Whether `curvature_product` leaves out all terms with the residual.
    """

    def __init__(self, rows, activation, whitening, n_hidden, **options):
        self.rows, self.activation, self.whitening, self.n_hidden = rows, activation, whitening, n_hidden
        self.options = options
        values = (options.get(name, default) for name, default in DEFAULTS.items())
        self.fit_intercept, self.alpha, self.center, self.target_scale, *rest = values
        self.output_rank, self.weighting, self.smoothing, self.gauss_newton = rest
        p, t = activation.homogeneity, self.target_scale
        self._hidden_unit = 1.0 if p is None else t ** (1 / (p + 1))
        self._output_unit = t if p is None else t / self._hidden_unit**p
        self.shape = (n_hidden, whitening.size + self.fit_intercept)
        self._latest = np.zeros(0), False, None

    def variant(self, n_hidden=None, **options):
        """Return this network with other options, or another number of units."""
        size = n_hidden or self.n_hidden
        return TwoLayer(self.rows, self.activation, self.whitening, size, **{**self.options, **options})

    # parameters

    def parameters(self, hidden, bias):
        """Return the theta of hidden weights (k, d) and biases (k,) in the user's units."""
        white, unit = self.whitening.to_white(hidden / self._hidden_unit), self._hidden_unit
        if self.fit_intercept:
            white = np.column_stack([white, (bias + hidden @ self.whitening.center) / unit])
        return white.ravel()

    def unpack(self, theta):
        """Return (hidden (k, size [+ 1]),): the output layer is no part of theta."""
        return (theta.reshape(self.shape),)

    def hidden(self, theta):
        """Return the hidden weights (k, d) and biases (k,) of theta in the user's units."""
        W, b = self._planes(theta)
        return W * self._hidden_unit, b * self._hidden_unit

    def output(self, theta):
        """Return the output weights (n_outputs, k) and biases (n_outputs,) of theta in the user's units.

        The normal equations lose digits; their solution is corrected once by that for the residual.
        """
        stacked, layer = self.stacked(theta), self.layer(theta)

        def f(X, y, s, W, b, coef, intercept):
            value, residual = self._forward(X, y, W, b, coef, intercept)[1::2]
            g = residual * s
            return (value @ g.T).astype(np.float64), g.sum(axis=1, dtype=np.float64)

        cross, mean = self.rows.sum(f, *stacked, *layer.cast(self.rows.dtype))
        correction = layer.inverse @ (cross - np.outer(layer.mean, mean)) if self.alpha == 0 else 0.0 * cross
        coef = layer.coef - correction
        intercept = layer.intercept + (correction.T @ layer.mean - mean) * (self.fit_intercept and self.alpha == 0)
        return coef.T * self._output_unit, intercept * self.target_scale + self.center

    def _planes(self, theta):
        """Return W (k, d) and b as the rows see them."""
        hidden, size = theta.reshape(self.shape), self.whitening.size
        W = self.whitening.to_columns(hidden[:, :size])
        return W, hidden[:, size] - W @ self.whitening.center if self.fit_intercept else np.zeros(len(W))

    def stacked(self, theta):
        """Return W (k, d) and b (k, 1) as the rows see them, in the dtype of the data."""
        W, b = self._planes(theta)
        return W.astype(self.rows.dtype), b.astype(self.rows.dtype)[:, None]

    @property
    def n_weights(self):
        """Number of weights that the data can tell: not the scale that units of a homogeneous activation share."""
        free_scale = self.activation.homogeneity is not None
        of_unit = self.whitening.rank + self.fit_intercept + self.output_rank - free_scale
        return self.n_hidden * of_unit + self.output_rank * self.fit_intercept

    @property
    def n_equations(self):
        """Sum of the sample weights times the rank of the outputs."""
        return self.rows.weight_sum * self.output_rank

    def parallel_units(self, theta):
        """Return the number of units that vanish or, of a homogeneous activation, are on the line of another one."""
        # Without what they have along directions in which the rows do not vary.
        hidden, sizes = self.parameters(*self.hidden(theta)).reshape(self.shape), self.contributions(theta)
        alive = sizes > PARALLEL_TOL * sizes.max()
        if self.activation.homogeneity is None:
            return int(np.sum(~alive))
        U = hidden[alive] / np.linalg.norm(hidden[alive], axis=1, keepdims=True)
        # Of opposite ones, too, relu(z) = z + relu(-z), the linear part may stand for those of others.
        parallel = np.any(np.triu(np.abs(U @ U.T) > 1 - PARALLEL_TOL, 1), axis=0)
        return int(np.sum(~alive) + np.sum(parallel))

    def undetermined(self, theta):
        """Return a sentence if the data cannot determine the weights, else nothing."""
        n, parallel = self.n_equations, self.parallel_units(theta)
        if n <= self.n_weights:
            return f"{n:g} equations do not determine {self.n_weights} weights"
        if parallel:
            determined = f"the data determine {self.n_hidden - parallel} units, not {self.n_hidden}"
            return f"{determined}: the others vanish or are parallel or opposite to them"
        needed, active = self.whitening.rank + self.fit_intercept, self.active_rows(theta)
        if active.min() < needed * (1 - DEAD_EPS * float(np.finfo(self.rows.dtype).eps)):
            return f"a unit is active on {active.min():g} rows only, which do not determine its {needed} weights"
        return ""

    def active_rows(self, theta):
        """Return, for each unit, the sum of the sample weights of the rows where it is not zero; one pass."""

        def f(X, y, s, W, b):
            return (((products(X, W) + b > 0) @ s).astype(np.float64),)

        return np.round(self.rows.sum(f, *self.stacked(theta))[0] * self.rows.weight_sum, 6)

    def is_finite(self, theta):
        """Whether units of a homogeneous f, of length one in the user's units, do not overflow: powers of X can.

        One pass: their root mean squares times n^(1/2), above which none is where rows weigh alike, are compared.
        """
        p = self.activation.homogeneity
        if p is None:
            return True
        layer = self.layer(theta)
        values = np.hypot(layer.mean, layer.deviations) * self.rows.n_samples**0.5
        size = np.hypot.reduce(self._planes(theta)[0], axis=1)
        with np.errstate(over="ignore", under="ignore"):
            largest = float(np.finfo(self.rows.dtype).max) * size**p
        return bool(np.all((values <= largest) | (size == 0)))  # of no direction: constants, as they are

    def contributions(self, theta):
        """Return ``|u_j|`` times the standard deviation of the unit; one pass."""
        layer = self.layer(theta)
        return np.linalg.norm(layer.coef, axis=1) * layer.deviations

    @property
    def _free_lengths(self):
        """Whether the objective does not depend on the lengths of units; the Gauss-Newton matrix is left as it is."""
        return self.alpha == 0 and self.activation.homogeneity is not None and not self.gauss_newton

    @property
    def decays(self):
        """Alpha in the units of hidden and of output weights; equal if f is homogeneous."""
        return tuple(self.alpha * (unit / self.target_scale) ** 2 for unit in (self._hidden_unit, self._output_unit))

    # rows

    def targets(self, y):
        """Return P'(y - center) / t, a row for each output."""
        # A copy with a row for each output in one piece, as the units have it.
        targets = y.reshape(len(y), -1).T.copy()
        targets -= np.asarray(self.center, dtype=y.dtype).reshape(-1, 1)
        targets /= y.dtype.type(self.target_scale)
        return targets if self.weighting is None else self.weighting.T.astype(y.dtype) @ targets

    def _forward(self, X, y, W, b, coef, intercept):
        """Return Z, value and derivative of the units, (k, n_rows) each, and the residual (n_outputs, n_rows)."""
        Z = products(X, W)
        Z += b
        value, derivative = unit_values(self.activation, Z, smoothing=self.smoothing)
        residual = coef.T @ value
        residual += intercept
        residual -= self.targets(y)
        return Z, value, derivative, residual

    def layer(self, theta, *, slopes=False):
        """Return the best `OutputLayer` of theta; one pass, none if it is the latest one."""
        latest, has_slopes, layer = self._latest
        if not (np.array_equal(latest, theta) and has_slopes >= slopes):
            layer = self._fitted_layer(theta, slopes)
            self._latest = theta.copy(), slopes, layer
        return layer

    def _fitted_layer(self, theta, slopes):
        def f(X, y, s, W, b):
            Z = products(X, W)
            Z += b
            if slopes or self.smoothing:
                value, derivative = unit_values(self.activation, Z, smoothing=self.smoothing)
            else:
                value = self.activation.value(Z)
            # Products of a matrix with its own transpose take half the operations of others.
            root, targets = np.sqrt(s), self.targets(y)
            value, targets = value * root, targets * root
            sums = value @ value.T, value @ targets.T, value @ root, targets @ root
            of_slopes = np.zeros(1)
            if slopes:
                derivative *= root
                of_slopes = derivative @ derivative.T
            return tuple(part.astype(np.float64) for part in (*sums, of_slopes))

        gram, cross, mean, mean_target, of_slopes = self.rows.sum(f, *self.stacked(theta))
        if not self.fit_intercept:
            mean, mean_target = np.zeros_like(mean), np.zeros_like(mean_target)
        covariance = gram - np.outer(mean, mean)
        eps = float(np.finfo(self.rows.dtype).eps)
        alive = np.diag(covariance) > DEAD_EPS * eps * np.diag(gram)
        deviations = np.sqrt(np.diag(covariance), where=alive, out=np.zeros(self.n_hidden))
        # Weight decay below the rounding of units leaves dependent ones singular.
        if self.decays[1] > 10 * float(np.finfo(np.float64).eps) * np.trace(gram):
            inverse = np.linalg.inv(covariance + self.decays[1] * np.eye(self.n_hidden))
        else:
            inverse = pseudo_inverse(covariance, deviations, RANK_EPS * eps)
        coef = inverse @ (cross - np.outer(mean, mean_target))
        return OutputLayer(coef, mean_target - mean @ coef, mean, inverse, deviations, of_slopes)

    def value_and_gradient(self, theta):
        """Return the objective and its gradient; two passes."""
        layer, stacked = self.layer(theta), self.stacked(theta)

        def f(X, y, s, W, b, coef, intercept):
            _, _, derivative, residual = self._forward(X, y, W, b, coef, intercept)
            g = residual * s
            derivative *= coef @ g
            loss = 0.5 * np.sum(g * residual, dtype=np.float64)
            return loss, (derivative @ X).astype(np.float64), derivative.sum(axis=1, dtype=np.float64)

        loss, G, g_bias = self.rows.sum(f, *stacked, *layer.cast(self.rows.dtype))
        gradient = self._pull_back(G, g_bias)
        if self.alpha > 0:
            decay, g_penalty = self.decays, self._variances(theta)
            loss += (decay[0] * (theta @ g_penalty) + decay[1] * np.sum(layer.coef**2)) / 2
            gradient += decay[0] * g_penalty
        return float(loss), self._at_fixed_lengths(theta, gradient)

    def _variances(self, theta):
        """Return the gradient of ``sum_j w_j' S w_j / 2``."""
        hidden, size = theta.reshape(self.shape), self.whitening.size
        moved = np.zeros_like(hidden)
        moved[:, :size] = hidden[:, :size] @ self.whitening.variances
        return moved.ravel()

    def _pull_back(self, G, g_bias):
        """Return the gradient with respect to theta from sums of ``g x'`` and g over rows."""
        if not self.fit_intercept:
            return self.whitening.pull_back(G).ravel()
        white = self.whitening.pull_back(G - np.outer(g_bias, self.whitening.center))
        return np.column_stack([white, g_bias]).ravel()

    def metric(self, theta):
        """Return, as a function, the inverse of the Gauss-Newton matrix of independent white inputs; one pass.

        Were the derivatives of the units independent of the white x, that of the hidden layer alone would be the
        Kronecker product of ``<u_j, u_l> E[f'(z_j) f'(z_l)]`` and the identity.
        """
        layer = self.layer(theta, slopes=True)
        A = (layer.coef @ layer.coef.T) * layer.slopes
        if self.alpha > 0:
            mean_variance = np.trace(self.whitening.variances) / max(self.whitening.rank, 1)
            A += self.decays[0] * mean_variance * np.eye(len(A))
        inverse = regular_inverse(A, RIDGE)
        return lambda q: (inverse @ q.reshape(self.shape)).ravel()

    def curvature_product(self, theta):
        """Return the function ``d -> H d``, H the Hessian of the objective away from kinks (`ReducedHessian`)."""
        return ReducedHessian(self, theta)

    def residual_covariance(self, theta):
        """Return the second moments (n_outputs, n_outputs) of the residuals; two passes."""
        layer = self.layer(theta)

        def f(X, y, s, W, b, coef, intercept):
            residual = self._forward(X, y, W, b, coef, intercept)[-1].astype(np.float64)
            return ((residual * s) @ residual.T,)

        return self.rows.sum(f, *self.stacked(theta), *layer.cast(self.rows.dtype))[0]

    def loss(self, theta):
        """Return the objective without its penalty; two passes."""
        return float(np.trace(self.residual_covariance(theta))) / 2

    @property
    def lowest(self):
        """The objective at and below which the residual is, to rounding, zero: digits go with means far away."""
        return ((100 + self.whitening.away) * float(np.finfo(self.rows.dtype).eps)) ** 2 / 2

    def _at_fixed_lengths(self, theta, direction):
        """Return a direction without its part along the lengths of the units, where these are free.

        The objective does not change along it, but by smoothing, which is of a fixed width.
        """
        return direction - self._along_lengths(theta, direction) if self._free_lengths else direction

    def _along_lengths(self, theta, direction, sizes=1.0):
        """Return the part of a direction along the lengths of the units, times their sizes."""
        hidden, direction = theta.reshape(self.shape), direction.reshape(self.shape)
        along = np.sum(hidden * direction, axis=1) / np.maximum(np.sum(hidden**2, axis=1), np.finfo(float).tiny)
        return ((sizes * along)[:, None] * hidden).ravel()

    def is_lowest(self, value):
        """Whether a value of the objective is, to rounding, zero."""
        return value <= self.lowest
