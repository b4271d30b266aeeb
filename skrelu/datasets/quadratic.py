"""A planted quadratic network."""

from dataclasses import dataclass

import numpy as np

from skrelu.datasets.draws import (
    finite_number,
    given_weights,
    hidden_weights,
    inputs,
    noise_level,
    output_signs,
    positive_integer,
    sample,
    streams,
)


@dataclass(frozen=True, eq=False)
class QuadraticTeacher:
    """The planted quadratic network ``x -> sum_j v_j <w_j, x>^2 + <b, x> + c``.

    Parameters
    ----------
    hidden_coef_ : ndarray of shape (n_hidden, n_features)
        The weights w_j, one unit a row.
    output_coef_ : ndarray of shape (n_hidden,)
        The output weights v_j.
    coef_ : ndarray of shape (n_features,)
        The weights b of the linear part.
    intercept_ : float
        The constant c.

    Attributes
    ----------
    matrix_ : ndarray of shape (n_features, n_features)
        The matrix ``M = sum_j v_j w_j w_j'``.

    Examples
    --------
    >>> import numpy as np
    >>> from skrelu.datasets import QuadraticTeacher
    >>> W, v = np.array([[0.5, 0.5], [0.5, -0.5]]), np.array([1.0, -1.0])
    >>> product = QuadraticTeacher(W, v, np.zeros(2), 0.0)  # the product of two columns
    >>> product.predict([[2.0, 3.0]])
    array([6.])
    >>> product.matrix_
    array([[0. , 0.5],
           [0.5, 0. ]])
    """

    hidden_coef_: np.ndarray
    output_coef_: np.ndarray
    coef_: np.ndarray
    intercept_: float

    @property
    def matrix_(self):
        """``M = sum_j v_j w_j w_j'``, of shape (n_features, n_features)."""
        return (self.hidden_coef_.T * self.output_coef_) @ self.hidden_coef_

    def predict(self, X):
        """Return the noiseless responses ``sum_j v_j <w_j, x>^2 + <b, x> + c``.

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
        X = inputs(X, self.hidden_coef_.shape[1])
        return (X @ self.hidden_coef_.T) ** 2 @ self.output_coef_ + X @ self.coef_ + self.intercept_


def make_quadratic(
    n_samples=1000,
    n_features=20,
    n_hidden=3,
    *,
    output_weights="signed",
    coef=None,
    output_coef=None,
    linear_coef=None,
    output_bias=0.0,
    noise=0.0,
    return_teacher=False,
    random_state=None,
):
    """Plant a quadratic network in Gaussian data.

    The rows of X are independent N(0, I) and::

        y_i = output_bias + <b, x_i> + sum_j v_j <w_j, x_i>^2 + noise * e_i,
        e_i independent N(0, 1)

    where the w_j are independent and uniform on the unit sphere. For ``M = sum_j v_j w_j w_j'`` this gives
    ``E[y] = output_bias + tr M``, ``E[y x] = b`` and ``E[y (x x' - I)] = 2 M``. With one unit, and nothing else, these
    are the data of real phase retrieval.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows.
    n_features : int, default=20
        Length of each w_j.
    n_hidden : int, default=3
        Number of hidden units.
    output_weights : {"signed", "positive"}, default="signed"
        Whether each v_j is +1 or -1, equally probable, or always +1.
    coef : array-like of shape (n_hidden, n_features), default=None
        The weights w_j, one unit a row, used as they are. They set the numbers of units and features: `n_hidden` and
        `n_features` play no part.
    output_coef : array-like of shape (n_hidden,), default=None
        The output weights v_j, used as they are: `output_weights` plays no part.
    linear_coef : array-like of shape (n_features,), default=None
        The weights b of the linear part; None for none.
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
    teacher : QuadraticTeacher
        The planted network, with `matrix_`, `hidden_coef_`, `output_coef_`, `coef_`, `intercept_` and `predict`; only
        if `return_teacher`.

    Raises
    ------
    ValueError
        If a size is not an integer >= 1, `noise` is not a finite number >= 0, a bias is not finite, weights are not
        finite arrays of the shapes above, or `output_weights` is none of the accepted.

    Examples
    --------
    >>> from skrelu.datasets import make_quadratic
    >>> X, y, teacher = make_quadratic(50, 8, 2, return_teacher=True, random_state=0)
    >>> X.shape, y.shape, teacher.matrix_.shape
    ((50, 8), (50,), (8, 8))
    >>> bool((teacher.predict(X) == y).all())
    True
    """
    n_samples = positive_integer("n_samples", n_samples)
    output_bias, noise = finite_number("output_bias", output_bias), noise_level(noise)
    hidden_stream, output_stream, *sample_streams = streams(random_state, 4)
    coef = hidden_weights(coef, n_hidden, n_features, hidden_stream)
    n_hidden, n_features = coef.shape
    output_coef = output_signs(output_weights, output_coef, n_hidden, output_stream)
    if linear_coef is None:
        linear_coef = np.zeros(n_features)
    else:
        linear_coef = given_weights("linear_coef", linear_coef, f"a vector of {n_features} entries", (n_features,))
    teacher = QuadraticTeacher(coef, output_coef, linear_coef, output_bias)
    return sample(teacher, n_samples, n_features, noise, return_teacher, sample_streams)
