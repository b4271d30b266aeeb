"""Data with a planted network: the truth is known, so recovery can be measured."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_array, check_random_state


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
        X = check_array(X, accept_sparse=True, input_name="X")
        if X.shape[1] != len(self.coef_):
            raise ValueError(f"X has {X.shape[1]} columns, the teacher expects {len(self.coef_)}.")
        return np.maximum(0.0, X @ self.coef_ + self.intercept_)


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
    bias, noise = _finite_number("bias", bias), _finite_number("noise", noise)
    if noise < 0:
        raise ValueError(f"noise must be a finite number >= 0, got {noise!r}.")
    weight_stream, *sample_streams = _streams(random_state, 3)
    if coef is None:
        n_features = _positive_integer("n_features", n_features)
        coef = _sparse_unit_vector(n_features, _positive_integer("n_nonzero", n_nonzero), weight_stream)
    else:
        coef = check_array(coef, dtype=np.float64, ensure_2d=False, input_name="coef", copy=True)
        if coef.ndim != 1:
            raise ValueError(f"coef must be a vector, got shape {coef.shape}.")
    return _sample(ReLUTeacher(coef, bias), n_samples, len(coef), noise, return_teacher, sample_streams)


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


def _positive_integer(name, value):
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}.")
    return int(value)


def _finite_number(name, value):
    if not isinstance(value, Real) or not np.isfinite(float(value)):
        raise ValueError(f"{name} must be a finite number, got {value!r}.")
    return float(value)
