"""A planted network of one hidden layer with several outputs."""

from dataclasses import dataclass

import numpy as np

from skrelu.activations import Activation, get_activation
from skrelu.datasets.draws import (
    hidden_weights,
    inputs,
    noise_level,
    number_for_each,
    output_matrix,
    positive_integer,
    sample,
    streams,
)


@dataclass(frozen=True, eq=False)
class TwoLayerTeacher:
    """The planted network ``x -> c + U f(V x + b)`` of one hidden layer and several outputs.

    Parameters
    ----------
    hidden_coef_ : ndarray of shape (n_hidden, n_features)
        The weights V of the first layer, one unit a row.
    hidden_intercept_ : ndarray of shape (n_hidden,)
        The biases b.
    output_coef_ : ndarray of shape (n_outputs, n_hidden)
        The weights U of the second layer, one output a row and one unit a column.
    output_intercept_ : ndarray of shape (n_outputs,)
        The biases c.
    activation : str or Activation, default="relu"
        The activation f, as `skrelu.activations.get_activation` takes it.

    Examples
    --------
    >>> import numpy as np
    >>> from skrelu.datasets import TwoLayerTeacher
    >>> V, U = np.array([[1.0], [-1.0]]), np.array([[1.0, 1.0], [1.0, -1.0]])
    >>> teacher = TwoLayerTeacher(V, np.zeros(2), U, np.array([0.0, 0.5]))
    >>> teacher.predict([[2.0], [-3.0]])  # the absolute value, and x + 1/2
    array([[ 2. ,  2.5],
           [ 3. , -2.5]])
    """

    hidden_coef_: np.ndarray
    hidden_intercept_: np.ndarray
    output_coef_: np.ndarray
    output_intercept_: np.ndarray
    activation: str | Activation = "relu"

    def predict(self, X):
        """Return the noiseless responses ``c + f(X V' + b) U'``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            Responses, a matrix for one output, too.

        Raises
        ------
        ValueError
            If X is not a finite matrix with as many columns as `hidden_coef_`.
        """
        z = inputs(X, self.hidden_coef_.shape[1]) @ self.hidden_coef_.T + self.hidden_intercept_
        return get_activation(self.activation).value(z) @ self.output_coef_.T + self.output_intercept_


def make_two_layer_relu(
    n_samples=1000,
    n_features=20,
    n_hidden=5,
    n_outputs=8,
    *,
    activation="relu",
    coef=None,
    output_coef=None,
    bias=0.0,
    output_bias=0.0,
    noise=0.0,
    return_teacher=False,
    random_state=None,
):
    """Plant a network of one hidden layer and several outputs in Gaussian data.

    The rows of X are independent N(0, I) and::

        y_i = output_bias + U f(V x_i + b) + noise * e_i,    e_i independent N(0, I)

    where the rows v_j of V are independent and uniform on the unit sphere and the entries of U independent N(0, 1).
    This is the model of [1]_ (there without biases), whose algorithms of polynomial time ask for a U of full column
    rank: it has that with probability 1 if ``n_outputs >= n_hidden``. Unit rows lose nothing where f is positively
    homogeneous, like ``max(0, z)``: only the product of ``|v_j|`` and the column u_j of U counts.

    The Hermite coefficients c_m of ``g -> f(g + b_j)`` (`skrelu.activations.Activation.hermite_coefficients`) give::

        E[y]               = output_bias + sum_j c_0(b_j) u_j
        E[y x']            = sum_j c_1(b_j) u_j v_j'
        E[y (x) He_2(x)]   = sum_j c_2(b_j) u_j (x) v_j (x) v_j,    He_2(x) = x x' - I

    For given rows of another length the c_m are those of ``g -> f(|v_j| g + b_j)``, and ``v_j / |v_j|`` stands for v_j.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows.
    n_features : int, default=20
        Length of each v_j.
    n_hidden : int, default=5
        Number of hidden units.
    n_outputs : int, default=8
        Number of outputs.
    activation : str or Activation, default="relu"
        The activation f, as `skrelu.activations.get_activation` takes it.
    coef : array-like of shape (n_hidden, n_features), default=None
        The weights V, one unit a row, used as they are. They set the numbers of units and features: `n_hidden` and
        `n_features` play no part.
    output_coef : array-like of shape (n_outputs, n_hidden), default=None
        The weights U, one output a row and one unit a column, used as they are. They set the number of outputs:
        `n_outputs` plays no part. The number of units remains that of `coef` or `n_hidden`.
    bias : float or array-like of shape (n_hidden,), default=0.0
        The biases b_j of the hidden units, one number for all or one a unit.
    output_bias : float or array-like of shape (n_outputs,), default=0.0
        Added to the outputs, in units of y, one number for all or one an output.
    noise : float, default=0.0
        Standard deviation of the noise in each output, in units of y.
    return_teacher : bool, default=False
        Whether to return the teacher, too.
    random_state : int, RandomState instance or None, default=None
        Seed. Hidden weights, output weights, inputs and noise are drawn from four streams of their own: with the same
        seed a larger sample begins with the rows of a smaller one, and neither noise nor given weights change the rest.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Inputs.
    y : ndarray of shape (n_samples, n_outputs)
        Responses, a matrix for one output, too.
    teacher : TwoLayerTeacher
        The planted network, with `hidden_coef_`, `hidden_intercept_`, `output_coef_`, `output_intercept_` and
        `predict`; only if `return_teacher`.

    Raises
    ------
    ValueError
        If a size is not an integer >= 1, `noise` is not a finite number >= 0, weights or biases are not finite arrays
        of the shapes above, or `activation` is none of the accepted.

    References
    ----------
    .. [1] A. Bakshi, R. Jayaram and D. P. Woodruff, "Learning Two Layer Rectified Neural Networks in Polynomial Time",
       COLT 2019. arXiv:1811.01885.

    Examples
    --------
    >>> from skrelu.datasets import make_two_layer_relu
    >>> X, y, teacher = make_two_layer_relu(
    ...     50, 8, 3, 4, return_teacher=True, random_state=0)
    >>> X.shape, y.shape, teacher.hidden_coef_.shape, teacher.output_coef_.shape
    ((50, 8), (50, 4), (3, 8), (4, 3))
    >>> bool((teacher.predict(X) == y).all())
    True
    """
    n_samples, noise = positive_integer("n_samples", n_samples), noise_level(noise)
    hidden_stream, output_stream, *sample_streams = streams(random_state, 4)
    coef = hidden_weights(coef, n_hidden, n_features, hidden_stream)
    n_hidden, n_features = coef.shape
    output_coef = output_matrix(output_coef, n_outputs, n_hidden, output_stream)
    bias = number_for_each("bias", bias, n_hidden, "units")
    output_bias = number_for_each("output_bias", output_bias, len(output_coef), "outputs")
    teacher = TwoLayerTeacher(coef, bias, output_coef, output_bias, activation)
    return sample(teacher, n_samples, n_features, noise, return_teacher, sample_streams)
