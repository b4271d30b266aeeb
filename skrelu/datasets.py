"""Data with a planted network: the truth is known, so recovery can be measured."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_array, check_random_state

from skrelu.activations import Activation, get_activation


@dataclass(frozen=True, eq=False)
class ReLUTeacher:
    """The planted single unit ``x -> max(0, <w*, x> + b)``.

    Parameters
    ----------
    coef_ : ndarray of shape (n_features,)
        The weights w*.
    intercept_ : float
        The bias b.

    Examples
    --------
    >>> import numpy as np
    >>> from skrelu.datasets import ReLUTeacher
    >>> ReLUTeacher(np.array([1.0, -1.0]), 0.5).predict([[2.0, 1.0], [0.0, 3.0]])
    array([1.5, 0. ])
    """

    coef_: np.ndarray
    intercept_: float

    def predict(self, X):
        """Return the noiseless responses ``max(0, X w* + b)``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,)
            Responses, all >= 0.

        Raises
        ------
        ValueError
            If X is not a finite matrix with as many columns as `coef_` has entries.
        """
        return np.maximum(0.0, _inputs(X, len(self.coef_)) @ self.coef_ + self.intercept_)


@dataclass(frozen=True, eq=False)
class OneHiddenLayerTeacher:
    """The planted network ``x -> c + sum_j v_j f(<w_j, x> + b_j)`` of one hidden layer.

    Parameters
    ----------
    hidden_coef_ : ndarray of shape (n_hidden, n_features)
        The weights w_j, one unit a row.
    hidden_intercept_ : ndarray of shape (n_hidden,)
        The biases b_j.
    output_coef_ : ndarray of shape (n_hidden,)
        The output weights v_j.
    output_intercept_ : float
        The bias c.
    activation : str or Activation, default="relu"
        The activation f, as `activations.get_activation` takes it.

    Examples
    --------
    >>> import numpy as np
    >>> from skrelu.datasets import OneHiddenLayerTeacher
    >>> absolute_value = OneHiddenLayerTeacher(np.array([[1.0], [-1.0]]), np.zeros(2), np.ones(2), 0.5)
    >>> absolute_value.predict([[2.0], [-3.0]])
    array([2.5, 3.5])
    """

    hidden_coef_: np.ndarray
    hidden_intercept_: np.ndarray
    output_coef_: np.ndarray
    output_intercept_: float
    activation: str | Activation = "relu"

    def predict(self, X):
        """Return the noiseless responses ``c + f(X W' + b) v``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,)
            Responses.

        Raises
        ------
        ValueError
            If X is not a finite matrix with as many columns as `hidden_coef_`.
        """
        z = _inputs(X, self.hidden_coef_.shape[1]) @ self.hidden_coef_.T + self.hidden_intercept_
        return get_activation(self.activation).value(z) @ self.output_coef_ + self.output_intercept_


def make_relu_regression(
    n_samples=100,
    n_features=100,
    *,
    n_nonzero=10,
    coef=None,
    bias=0.0,
    noise=0.0,
    return_teacher=False,
    random_state=None,
):
    """Plant a single ReLU with sparse weights in Gaussian data.

    The rows of X are independent N(0, I) and::

        y_i = max(0, <w*, x_i> + bias) + noise * e_i,    e_i independent N(0, 1)

    where w* has `n_nonzero` Gaussian entries at random positions, divided by their Euclidean norm so that |w*| = 1.
    For bias = 0 this gives E[y] = |w*| / sqrt(2 pi) and E[y^2] = |w*|^2 / 2 + noise^2.

    Parameters
    ----------
    n_samples : int, default=100
        Number of rows.
    n_features : int, default=100
        Length of w*.
    n_nonzero : int, default=10
        Number of nonzero entries of w*, all of them if there are fewer features.
    coef : array-like of shape (n_features,), default=None
        The weights w*, used as they are. They set the number of features: `n_features` and `n_nonzero` play no part.
    bias : float, default=0.0
        Added inside the ReLU, in units of y.
    noise : float, default=0.0
        Standard deviation of the noise, in units of y. Noise can make y negative.
    return_teacher : bool, default=False
        Whether to return the teacher, too.
    random_state : int, RandomState instance or None, default=None
        Seed. Weights, inputs and noise are drawn from three streams of their own: with the same seed a larger sample
        begins with the rows of a smaller one, and neither noise nor given weights change the inputs.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Inputs.
    y : ndarray of shape (n_samples,)
        Responses.
    teacher : ReLUTeacher
        The planted unit, with `coef_`, `intercept_` and `predict`; only if `return_teacher`.

    Raises
    ------
    ValueError
        If a size is not an integer >= 1, `noise` is not a finite number >= 0, `bias` is not finite, or `coef` is not a
        finite vector.

    Examples
    --------
    >>> from skrelu.datasets import make_relu_regression
    >>> X, y, teacher = make_relu_regression(50, 20, n_nonzero=3, return_teacher=True, random_state=0)
    >>> X.shape, y.shape
    ((50, 20), (50,))
    >>> int((teacher.coef_ != 0).sum())
    3
    >>> bool((teacher.predict(X) == y).all())
    True
    """
    n_samples = _positive_integer("n_samples", n_samples)
    bias, noise = _finite_number("bias", bias), _noise_level(noise)
    weight_stream, *sample_streams = _streams(random_state, 3)
    if coef is None:
        n_features = _positive_integer("n_features", n_features)
        coef = _sparse_unit_vector(n_features, _positive_integer("n_nonzero", n_nonzero), weight_stream)
    else:
        coef = _weights("coef", coef, "a vector", (None,))
    return _sample(ReLUTeacher(coef, bias), n_samples, len(coef), noise, return_teacher, sample_streams)


def make_one_hidden_layer(
    n_samples=1000,
    n_features=20,
    n_hidden=5,
    *,
    activation="relu",
    output_weights="signed",
    coef=None,
    output_coef=None,
    bias=0.0,
    output_bias=0.0,
    noise=0.0,
    return_teacher=False,
    random_state=None,
):
    """Plant a network of one hidden layer in Gaussian data.

    The rows of X are independent N(0, I) and::

        y_i = output_bias + sum_j v_j f(<w_j, x_i> + b_j) + noise * e_i,    e_i independent N(0, 1)

    where the w_j are independent and uniform on the unit sphere. The Hermite coefficients c_m of ``g -> f(g + b_j)``
    (`activations.Activation.hermite_coefficients`) give ``E[y] = output_bias + sum_j v_j c_0(b_j)`` and
    ``E[y x] = sum_j v_j c_1(b_j) w_j``.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows.
    n_features : int, default=20
        Length of each w_j.
    n_hidden : int, default=5
        Number of hidden units.
    activation : str or Activation, default="relu"
        The activation f, as `activations.get_activation` takes it.
    output_weights : {"signed", "positive"}, default="signed"
        Whether each v_j is +1 or -1, equally probable, or always +1.
    coef : array-like of shape (n_hidden, n_features), default=None
        The weights w_j, one unit a row, used as they are. They set the numbers of units and features: `n_hidden` and
        `n_features` play no part.
    output_coef : array-like of shape (n_hidden,), default=None
        The output weights v_j, used as they are: `output_weights` plays no part.
    bias : float or array-like of shape (n_hidden,), default=0.0
        The biases b_j of the hidden units, one number for all or one a unit.
    output_bias : float, default=0.0
        Added to the output, in units of y.
    noise : float, default=0.0
        Standard deviation of the noise, in units of y.
    return_teacher : bool, default=False
        Whether to return the teacher, too.
    random_state : int, RandomState instance or None, default=None
        Seed. Hidden weights, output weights, inputs and noise are drawn from four streams of their own: with the same
        seed a larger sample begins with the rows of a smaller one, and neither noise nor given weights change the rest.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Inputs.
    y : ndarray of shape (n_samples,)
        Responses.
    teacher : OneHiddenLayerTeacher
        The planted network, with `hidden_coef_`, `hidden_intercept_`, `output_coef_`, `output_intercept_` and
        `predict`; only if `return_teacher`.

    Raises
    ------
    ValueError
        If a size is not an integer >= 1, `noise` is not a finite number >= 0, a bias is not finite, weights or biases
        are not finite arrays of the shapes above, or `activation` or `output_weights` is none of the accepted.

    Examples
    --------
    >>> from skrelu.datasets import make_one_hidden_layer
    >>> X, y, teacher = make_one_hidden_layer(50, 8, 3, activation="tanh", return_teacher=True, random_state=0)
    >>> X.shape, y.shape, teacher.hidden_coef_.shape
    ((50, 8), (50,), (3, 8))
    >>> bool((teacher.predict(X) == y).all())
    True
    """
    n_samples = _positive_integer("n_samples", n_samples)
    output_bias, noise = _finite_number("output_bias", output_bias), _noise_level(noise)
    if output_weights not in ("signed", "positive"):
        raise ValueError(f'output_weights must be "signed" or "positive", got {output_weights!r}.')
    hidden_stream, output_stream, *sample_streams = _streams(random_state, 4)
    if coef is None:
        shape = _positive_integer("n_hidden", n_hidden), _positive_integer("n_features", n_features)
        coef = hidden_stream.standard_normal(shape)
        coef /= np.linalg.norm(coef, axis=1, keepdims=True)
    else:
        coef = _weights("coef", coef, "a matrix, one unit a row", (None, None))
    n_hidden, n_features = coef.shape
    one_a_unit = f"a vector, one entry for each of {n_hidden} units", (n_hidden,)
    if output_coef is not None:
        output_coef = _weights("output_coef", output_coef, *one_a_unit)
    else:
        signs = output_stream.choice([-1.0, 1.0], n_hidden)
        output_coef = signs if output_weights == "signed" else np.ones(n_hidden)
    if np.ndim(bias) == 0:
        bias = np.full(n_hidden, _finite_number("bias", bias))
    else:
        bias = _weights("bias", bias, *one_a_unit)
    teacher = OneHiddenLayerTeacher(coef, bias, output_coef, output_bias, activation)
    return _sample(teacher, n_samples, n_features, noise, return_teacher, sample_streams)


def _sample(teacher, n_samples, n_features, noise, return_teacher, streams):
    """Draw Gaussian inputs and the noisy responses of a teacher, of any number of outputs."""
    input_stream, noise_stream = streams
    X = input_stream.standard_normal((n_samples, n_features))
    y = teacher.predict(X)
    if noise > 0:
        y += noise * noise_stream.standard_normal(y.shape)
    return (X, y, teacher) if return_teacher else (X, y)


def _sparse_unit_vector(n_features, n_nonzero, rng):
    """Return Gaussian entries at random positions, of unit norm."""
    support = rng.permutation(n_features)[:n_nonzero]
    coef = np.zeros(n_features)
    coef[support] = rng.standard_normal(len(support))
    return coef / np.linalg.norm(coef)


def _streams(random_state, n_streams):
    """Return independent generators that depend on `random_state` alone."""
    entropy = check_random_state(random_state).randint(2**32, size=4, dtype=np.uint32)
    return [np.random.default_rng(seed) for seed in np.random.SeedSequence(entropy).spawn(n_streams)]


def _inputs(X, n_features):
    """Return inputs of a teacher as a finite matrix of so many columns."""
    X = check_array(X, accept_sparse=True, input_name="X")
    if X.shape[1] != n_features:
        raise ValueError(f"X has {X.shape[1]} columns, the teacher expects {n_features}.")
    return X


def _weights(name, values, accepted, shape):
    """Return a finite copy; its dimensions must be those of `shape`, of any size where that is None."""
    values = check_array(values, dtype=np.float64, ensure_2d=False, input_name=name, copy=True)
    if values.ndim != len(shape) or any(n not in (None, m) for m, n in zip(values.shape, shape, strict=True)):
        raise ValueError(f"{name} must be {accepted}, got shape {values.shape}.")
    return values


def _positive_integer(name, value):
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}.")
    return int(value)


def _finite_number(name, value):
    if not isinstance(value, Real) or not np.isfinite(float(value)):
        raise ValueError(f"{name} must be a finite number, got {value!r}.")
    return float(value)


def _noise_level(noise):
    noise = _finite_number("noise", noise)
    if noise < 0:
        raise ValueError(f"noise must be a finite number >= 0, got {noise!r}.")
    return noise
