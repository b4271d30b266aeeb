"""A planted network of one hidden layer."""

from dataclasses import dataclass

import numpy as np

from skrelu.activations import Activation, get_activation
from skrelu.datasets.draws import (
    finite_number,
    hidden_weights,
    inputs,
    noise_level,
    number_for_each,
    output_signs,
    positive_integer,
    sample,
    streams,
)


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
        The activation f, as `skrelu.activations.get_activation` takes it.

    Examples
    --------
    >>> import numpy as np
    >>> from skrelu.datasets import OneHiddenLayerTeacher
    >>> W = np.array([[1.0], [-1.0]])
    >>> absolute_value = OneHiddenLayerTeacher(W, np.zeros(2), np.ones(2), 0.5)
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
        z = inputs(X, self.hidden_coef_.shape[1]) @ self.hidden_coef_.T + self.hidden_intercept_
        return get_activation(self.activation).value(z) @ self.output_coef_ + self.output_intercept_


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

        y_i = output_bias + sum_j v_j f(<w_j, x_i> + b_j) + noise * e_i,
        e_i independent N(0, 1)

    where the w_j are independent and uniform on the unit sphere. The Hermite coefficients c_m of ``g -> f(g + b_j)``
    (`skrelu.activations.Activation.hermite_coefficients`) give ``E[y] = output_bias + sum_j v_j c_0(b_j)`` and
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
        The activation f, as `skrelu.activations.get_activation` takes it.
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
    >>> X, y, teacher = make_one_hidden_layer(
    ...     50, 8, 3, activation="tanh", return_teacher=True, random_state=0)
    >>> X.shape, y.shape, teacher.hidden_coef_.shape
    ((50, 8), (50,), (3, 8))
    >>> bool((teacher.predict(X) == y).all())
    True
    """
    n_samples = positive_integer("n_samples", n_samples)
    output_bias, noise = finite_number("output_bias", output_bias), noise_level(noise)
    hidden_stream, output_stream, *sample_streams = streams(random_state, 4)
    coef = hidden_weights(coef, n_hidden, n_features, hidden_stream)
    n_hidden, n_features = coef.shape
    output_coef = output_signs(output_weights, output_coef, n_hidden, output_stream)
    bias = number_for_each("bias", bias, n_hidden, "units")
    teacher = OneHiddenLayerTeacher(coef, bias, output_coef, output_bias, activation)
    return sample(teacher, n_samples, n_features, noise, return_teacher, sample_streams)
