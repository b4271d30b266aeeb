"""One hidden layer: loss, gradient, Gauss-Newton products and metric, in whitened coordinates."""

import numpy as np

from skrelu.criteria import spectral_degrees_of_freedom
from skrelu.networks.orientation import orientation
from skrelu.networks.piecewise_linear import piecewise_linear_pass, products
from skrelu.networks.units import regular_inverse, unit_values
from skrelu.networks.weights import Weights
from skrelu.whitening import weighted_gram

DEFAULTS = {
    "fit_intercept": True,
    "alpha": 0.0,
    "ratio": 1.0,
    "target_scale": 1.0,
    "positive": False,
    "relaxed": False,
    "smoothing": 0.0,
    "gauss_newton": False,
    "ridge": 1e-3,
}
UNIT_TOL = 1e-8  # relative size of units that count as zero, and 1 - cosine of units that count as parallel


class OneHiddenLayer:
    """Half the weighted mean squared error of one hidden layer, in coordinates in which the data are white.

    In the user's units

    ``F(w, b, v, c) = 1/(2 sum_i s_i) sum_i s_i (f(x_i) - y_i)^2 + (alpha/2) sum_j (q^2 w_j' S w_j + v_j^2)``,
    ``f(x) = c + sum_j v_j a(<w_j, x> + b_j)``,

    q a ratio, 1 by default, S the variances of the columns. The *relaxed* network has a linear part ``<beta, x>``
    besides, and the even part of the activation, ``a(z) - h z``, in place of a: where a(z) - a(-z) = 2 h z (a ReLU:
    h = 1/2), both represent the same functions as a with a linear part, but the signs of the (w_j, b_j) no longer
    matter, so that descent is not caught where a unit points the wrong way. It returns to the network by `oriented`.

    The solvers see one vector theta: (w_j, b_j) of each unit in the coordinates of `whitening`; then (beta, c), or c;
    then the v_j if they are free. y is in units of its root mean square t, and weights in units in which all are of
    order one.

    Parameters
    ----------
    rows : Rows
    activation : Activation
    whitening : Whitening
        Its `center` is 0 without intercept.
    output : ndarray of shape (n_hidden,)
        The v_j in units of theta. They are fixed when the activation is homogeneous and alpha = 0: magnitudes are in
        w_j.
    fit_intercept : bool, default=True
        Whether there are b and c.
    alpha : float, default=0.0
    ratio : float, default=1.0
        q.
    target_scale : float, default=1.0
        t.
    positive : bool, default=False
        Whether all v_j are positive: free ones are replaced by their absolute values.
    free_output : bool, optional
        Whether v is part of theta, instead of by the rule above.
    relaxed : bool, default=False
    smoothing : float, default=0.0
        Width, in units of theta, over which the kink of the activation is smoothed.
    gauss_newton : bool, default=False
        Whether `curvature_product` leaves out the second derivatives of the activation.
    ridge : float, default=1e-3
        Share of its mean diagonal added to the matrix of the metric.
    """

    def __init__(self, rows, activation, whitening, output, **options):
        self.rows, self.activation, self.whitening = rows, activation, whitening
        self.output, self.n_hidden = np.asarray(output, dtype=np.float64), len(output)
        self._options = options
        self.fit_intercept, self.alpha, self.ratio, self.target_scale, self.positive, *rest = (
            options.get(name, default) for name, default in DEFAULTS.items()
        )
        self.relaxed, self.smoothing, self.gauss_newton, self.ridge = rest
        p = activation.homogeneity
        self.free_output = options.get("free_output", self.alpha > 0 or p is None)
        t = self.target_scale
        self._hidden_unit = 1.0 if p is None else t ** (1 / (p + 1) if self.free_output else 1 / p)
        self._output_unit = t if p is None else t / self._hidden_unit**p
        self.shape = (self.n_hidden, whitening.size + self.fit_intercept)

    def variant(self, output=None, **options):
        """Return this network with other options, or other (a different number of) output weights."""
        output = self.output if output is None else output
        return OneHiddenLayer(self.rows, self.activation, self.whitening, output, **{**self._options, **options})

    # parameters

    @property
    def n_head(self):
        """Length of (beta, c), or of c."""
        return (self.whitening.size if self.relaxed else 0) + self.fit_intercept

    def unpack(self, theta):
        """Return (hidden (k, size [+ 1]), head, v) of theta."""
        hidden, head, v = self._split(theta)
        if self.positive:
            v = np.abs(v)
        return hidden, head, v if self.free_output else self.output

    def _split(self, theta):
        size, end = self.n_hidden * self.shape[1], self.n_hidden * self.shape[1] + self.n_head
        return theta[:size].reshape(self.shape), theta[size:end], theta[end:]

    def pack(self, hidden, head, v):
        """Return the theta of its parts."""
        return np.concatenate([hidden.ravel(), head, v if self.free_output else ()])

    def weights(self, theta):
        """Return the `Weights` of theta in the user's units."""
        t = self.target_scale
        W, b, beta, c, v = self._planes(theta)
        unit = self._hidden_unit
        return Weights(W * unit, b * unit, v * self._output_unit, c * t, None if beta is None else beta * t)

    @property
    def n_weights(self):
        """Number of weights that the data can tell: not the v of homogeneous units, nor what is along constants."""
        of_unit = self.whitening.rank + self.fit_intercept + (self.activation.homogeneity is None)
        return self.n_hidden * of_unit + self.fit_intercept

    def undetermined(self, theta):
        """Return a sentence if the data cannot determine the weights, else nothing."""
        n, rank = self.rows.weight_sum, self.whitening.rank
        if n < self.n_weights:
            return f"{n:g} rows do not determine {self.n_weights} weights"
        if self.n_hidden > rank:
            return f"more units ({self.n_hidden}) than X has rank ({rank}): no recovery is to be expected"
        hidden, _, v = self.unpack(theta)
        hidden = v[:, None] * hidden
        size = np.linalg.norm(hidden, axis=1)
        alive = size > UNIT_TOL * size.max()
        U = hidden[alive] / size[alive, None]
        n_units = len(U)
        if self.activation.homogeneity is not None:
            n_units -= int(np.count_nonzero(np.any(np.triu(U @ U.T > 1 - UNIT_TOL, 1), axis=0)))
        if n_units < self.n_hidden:
            return f"the data determine {n_units} units, not {self.n_hidden}: the others vanish or are parallel to them"
        return ""

    def parameters(self, weights):
        """Return the theta of `Weights`: the inverse of `weights`, but for what no row of X can see."""
        t, unit = self.target_scale, self._hidden_unit
        hidden = self.whitening.to_white(weights.hidden / unit)
        center = self.whitening.center
        if self.fit_intercept:
            hidden = np.column_stack([hidden, (weights.hidden_bias + weights.hidden @ center) / unit])
        head = (
            [] if weights.linear is None or not self.relaxed else self.whitening.to_white(weights.linear[None])[0] / t
        )
        if self.fit_intercept:
            shift = 0.0 if weights.linear is None else weights.linear @ center
            head = [*head, (weights.output_bias + shift) / t]
        return self.pack(hidden, np.asarray(head, dtype=np.float64), weights.output / self._output_unit)

    def _planes(self, theta):
        """Return W (k, d), b, beta (d,) or None, c and v as the rows see them."""
        hidden, head, v = self.unpack(theta)
        rank, center = self.whitening.size, self.whitening.center
        W = self.whitening.to_columns(hidden[:, :rank])
        b = hidden[:, rank] - W @ center if self.fit_intercept else np.zeros(len(W))
        c = head[-1] if self.fit_intercept else 0.0
        if not self.relaxed:
            return W, b, None, float(c), v
        beta = self.whitening.to_columns(head[None, :rank])[0]
        return W, b, beta, float(c - beta @ center), v

    def _stacked(self, theta):
        """Return the weights of all units and of the linear part, in the dtype of the data."""
        W, b, beta, c, v = self._planes(theta)
        if beta is not None:
            W, b = np.vstack([W, beta]), np.append(b, c)
        dtype = self.rows.dtype
        return W.astype(dtype), b.astype(dtype)[:, None], dtype.type(c), v.astype(dtype)

    # rows

    def _forward(self, X, y, W, b, c, v):
        """Return Z (k, n_rows), value and derivative of the units, and the residual."""
        Z = products(X, W)
        Z += b
        units = Z[: self.n_hidden]
        value, derivative = unit_values(self.activation, units, relaxed=self.relaxed, smoothing=self.smoothing)
        residual = v @ value
        residual += Z[self.n_hidden] if self.relaxed else c
        residual -= y / y.dtype.type(self.target_scale)
        return units, value, derivative, residual

    def value_and_gradient(self, theta):
        """Return the objective and its gradient; one pass."""
        loss, G, g_bias, g_c, g_v = self.rows.sum(self._block_gradient, *self._stacked(theta))
        # Products with v here are k (d + 1) numbers, in each row they would be k.
        weight = np.append(self.unpack(theta)[2], np.ones(len(G) - self.n_hidden))
        gradient = self._pull_back(weight[:, None] * G, weight * g_bias, g_c, g_v, theta)
        if self.alpha > 0:
            penalty, g_penalty = self._penalty_terms(theta)
            loss, gradient = loss + penalty, gradient + g_penalty
        return float(loss), gradient

    def _block_gradient(self, X, y, s, W, b, c, v):
        """Return loss, sums of ``r a'(z) x'`` and of ``r a'(z)``, of r, and of ``r a(z)``, r the weighted residual."""
        if self.activation.homogeneity == 1 and not self.smoothing:
            return piecewise_linear_pass(
                X,
                y / y.dtype.type(self.target_scale),
                *(s, W, b, c, v),
                mean_slope=0.0 if self.relaxed else self.activation.odd_slope,
                half_kink=self.activation.kink / 2,
                relaxed=self.relaxed,
                free_output=self.free_output,
            )
        _, value, derivative, residual = self._forward(X, y, W, b, c, v)
        g = s * residual
        derivative *= g
        G = np.vstack([derivative, g]) if self.relaxed else derivative
        by_output = (value @ g).astype(np.float64) if self.free_output else 0.0
        sums = (G @ X).astype(np.float64), G.sum(axis=1, dtype=np.float64), g.sum().astype(np.float64), by_output
        return 0.5 * (g @ residual).astype(np.float64), *sums

    def _pull_back(self, G, g_bias, g_c, g_v, theta):
        """Return the gradient with respect to theta from sums of ``g x'`` and g over rows."""
        k, center = self.n_hidden, self.whitening.center
        if self.fit_intercept:
            G = G - np.outer(g_bias, center)
        G = self.whitening.pull_back(G)
        if self.fit_intercept:
            G = np.column_stack([G, g_bias])
        head = G[k] if self.relaxed else np.full(self.n_head, g_c)
        return self.pack(G[:k], head, self._output_signs(theta) * g_v)

    def _output_signs(self, theta):
        """Return dv/dtheta of the free v_j: 1, or the signs of those whose absolute values count."""
        return np.where(theta[-self.n_hidden :] < 0, -1.0, 1.0) if self.positive and self.free_output else 1.0

    @property
    def decays(self):
        """Alpha in the units of hidden and of output weights."""
        t = self.target_scale
        return self.alpha * (self.ratio * self._hidden_unit / t) ** 2, self.alpha * (self._output_unit / t) ** 2

    def _penalty_terms(self, theta):
        hidden, head, v = self.unpack(theta)
        rank, scale = self.whitening.size, self.decays
        SW = np.zeros_like(hidden)
        SW[:, :rank] = hidden[:, :rank] @ self.whitening.variances
        value = (scale[0] * np.sum(hidden * SW) + scale[1] * (v @ v)) / 2
        return value, self.pack(scale[0] * SW, np.zeros_like(head), scale[1] * self._output_signs(theta) * v)

    def slope_moments(self, theta):
        """Return ``E[D D']``, ``D_j = v_j a'(z_j)``, 1 for a linear part, and ``E[a a']``, 0 for fixed v; one pass."""

        def f(X, y, s, W, b, c, v):
            _, value, derivative, _ = self._forward(X, y, W, b, c, v)
            D = derivative * v[:, None]
            D = np.vstack([D, np.ones_like(D[:1])]) if self.relaxed else D
            by_output = ((value * s) @ value.T).astype(np.float64) if self.free_output else 0.0
            return ((D * s) @ D.T).astype(np.float64), by_output

        return self.rows.sum(f, *self._stacked(theta))

    def metric(self, theta):
        """Return, as a function, the inverse of the Gauss-Newton matrix of independent white inputs; one pass.

        Were derivatives of the units independent of the white x, the Gauss-Newton matrix would be the Kronecker product
        of ``E[D D']`` (`slope_moments`) and the identity. The penalty adds its mean curvature.
        """
        A, A_v = self.slope_moments(theta)
        if self.alpha > 0:
            mean_variance = np.trace(self.whitening.variances) / max(self.whitening.rank, 1)
            A += self.decays[0] * mean_variance * np.diag(np.arange(len(A)) < self.n_hidden)
            A_v = A_v + self.decays[1] * np.eye(self.n_hidden)
        inverse = regular_inverse(A, self.ridge)
        signs = self._output_signs(theta) * np.ones(self.n_hidden)
        inverse_v = np.outer(signs, signs) * regular_inverse(A_v, self.ridge) if self.free_output else None

        def apply(q):
            hidden, head, v = self._split(q)
            if self.relaxed:
                both = inverse @ np.vstack([hidden, head])
                hidden, head = both[:-1], both[-1]
            else:
                hidden = inverse @ hidden
            return self.pack(hidden, head, inverse_v @ v if self.free_output else v)

        return apply

    def curvature_product(self, theta):
        """Return the function ``d -> H d``, one pass each.

        H is the Gauss-Newton matrix, the second derivatives in a hidden and an output weight, those of the activation
        (unless `gauss_newton`) and, where the kink is smoothed, its own where they are convex: the Hessian of the
        objective away from kinks. For fixed v and a ReLU, or with `gauss_newton`, it is positive semidefinite.
        """
        stacked = self._stacked(theta)
        eps, kink = self.smoothing, self.activation.kink
        bend = None if self.gauss_newton else self.activation.second_derivative

        def f(X, y, s, W, b, c, v, dW, db, dc, dv):
            k = self.n_hidden
            units, value, derivative, residual = self._forward(X, y, W, b, c, v)
            dZ = products(X, dW)
            dZ += db
            change = v @ (derivative * dZ[:k])
            change += dZ[k] if self.relaxed else dc
            if self.free_output:
                change += dv @ value
            g, r = s * change, s * residual
            G = v[:, None] * derivative * g
            if eps and kink:
                G += np.where(np.abs(units) < eps / 2, kink / eps, 0) * np.maximum(np.outer(v, r), 0) * dZ[:k]
            if bend is not None:
                G += np.outer(v, r) * bend(units) * dZ[:k]
            by_output = 0.0
            if self.free_output:
                slopes = derivative * r
                G += dv[:, None] * slopes
                by_output = (value @ g + np.sum(slopes * dZ[:k], axis=1)).astype(np.float64)
            G = np.vstack([G, g]) if self.relaxed else G
            sums = (G @ X).astype(np.float64), G.sum(axis=1, dtype=np.float64), g.sum().astype(np.float64)
            return *sums, by_output

        def product(direction):
            W, b, c, _ = self._stacked(direction)
            dv = direction[len(direction) - self.n_hidden :] if self.free_output else np.zeros(self.n_hidden)
            dv = (self._output_signs(theta) * dv).astype(self.rows.dtype)
            G, g_bias, g_c, g_v = self.rows.sum(f, *stacked, W, b, c, dv)
            moved = self._pull_back(G, g_bias, g_c, g_v, theta)
            # Of a quadratic penalty: the Hessian times a direction is the gradient there.
            return moved + self._penalty_terms(direction)[1] if self.alpha > 0 else moved

        return product

    def degrees_of_freedom(self, theta):
        """Return the trace of the Gauss-Newton smoother, as if x were independent of the slopes of the units; one pass.

        Then its matrix is the Kronecker product of `metric`, and the trace
        ``1 + sum_ij a_i s_j / (a_i s_j + alpha)``, a the eigenvalues of ``E[D D']`` and s those of the covariance in
        units in which S = I, and one for the bias, which counts as if it were penalised. Where lengths of units and
        outputs are not one and the same, ``tr A_v (A_v + alpha I)^-1`` besides, ``A_v = E[a a']``. Without alpha it is
        the number of weights.
        """
        if self.alpha == 0:
            return float(self.n_weights)
        A, A_v = self.slope_moments(theta)
        penalties = np.linalg.eigvalsh(self.whitening.variances)[self.whitening.size - self.whitening.rank :]
        variances = np.append(1 / np.maximum(penalties, 1e-10), np.ones(int(self.fit_intercept)))
        hidden_decay, output_decay = self.decays
        total = spectral_degrees_of_freedom(np.linalg.eigvalsh(A), variances, hidden_decay) + self.fit_intercept
        if self.activation.homogeneity is None:
            total += spectral_degrees_of_freedom(np.linalg.eigvalsh(A_v), np.ones(1), output_decay)
        return total

    def mean_square(self, theta, objective):
        """Return the mean squared residual of a theta with this objective."""
        return 2 * max(objective - (self._penalty_terms(theta)[0] if self.alpha > 0 else 0.0), 0.0)

    def residual_second_moment(self, theta):
        """Return ``E[r (x~ x~' - I)]``, r the residual: what one more unit could explain; one pass."""

        def f(X, y, s, W, b, c, v):
            residual = self._forward(X, y, W, b, c, v)[-1]
            g, total = s * residual, 0.0
            for piece, Z in self.whitening.whitened(X):
                total = total + weighted_gram(Z, g[piece]).astype(np.float64)
            return total, g.sum().astype(np.float64)

        second, mean = self.rows.sum(f, *self._stacked(theta))
        return second - mean * np.eye(len(second))

    # orientation

    def oriented(self, theta):
        """Return the theta of the network nearest to a relaxed one: each unit with the sign that the linear part tells.

        A network is a relaxed one whose linear part is ``beta = q sum_j v_j w_j``.
        """
        hidden, head, v = self.unpack(theta)
        rank, q = self.whitening.size, self.activation.odd_slope
        signs = orientation(q * v[:, None] * hidden[:, :rank], head[:rank])
        network = self.variant(relaxed=False)
        hidden = signs[:, None] * hidden
        c = head[rank:] - q * (v @ hidden[:, rank:]) if self.fit_intercept else head[rank:]
        return network.pack(hidden, c, v)

    def relaxed_parameters(self, theta):
        """Return the parameters of the same function in the relaxed network: the inverse of `oriented`."""
        hidden, head, v = self.unpack(theta)
        linear = self.activation.odd_slope * (v @ hidden)
        if self.fit_intercept:
            linear[-1] += head[0]
        return self.variant(relaxed=True).pack(hidden, linear, v)

    def is_lowest(self, value):
        """Whether a value of the objective is, to rounding, zero."""
        return value <= (100 * float(np.finfo(self.rows.dtype).eps)) ** 2 / 2
