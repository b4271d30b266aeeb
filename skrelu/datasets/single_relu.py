"""A planted single ReLU."""

from dataclasses import dataclass

import numpy as np

from skrelu.datasets.draws import finite_number, given_weights, inputs, noise_level, positive_integer, sample, streams


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
        return np.maximum(0.0, inputs(X, len(self.coef_)) @ self.coef_ + self.intercept_)


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
    >>> X, y, teacher = make_relu_regression(
    ...     50, 20, n_nonzero=3, return_teacher=True, random_state=0)
    >>> X.shape, y.shape
    ((50, 20), (50,))
    >>> int((teacher.coef_ != 0).sum())
    3
    >>> bool((teacher.predict(X) == y).all())
    True
    """
    n_samples = positive_integer("n_samples", n_samples)
    bias, noise = finite_number("bias", bias), noise_level(noise)
    weight_stream, *sample_streams = streams(random_state, 3)
    if coef is None:
        n_features = positive_integer("n_features", n_features)
        coef = _sparse_unit_vector(n_features, positive_integer("n_nonzero", n_nonzero), weight_stream)
    else:
        coef = given_weights("coef", coef, "a vector", (None,))
    return sample(ReLUTeacher(coef, bias), n_samples, len(coef), noise, return_teacher, sample_streams)


def _sparse_unit_vector(n_features, n_nonzero, rng):
    """Return Gaussian entries at random positions, of unit norm."""
    support = rng.permutation(n_features)[:n_nonzero]
    coef = np.zeros(n_features)
    coef[support] = rng.standard_normal(len(support))
    return coef / np.linalg.norm(coef)
