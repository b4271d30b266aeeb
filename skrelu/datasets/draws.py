"""What all planted data are drawn with, and checks of what was asked for."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_array, check_random_state


def sample(teacher, n_samples, n_features, noise, return_teacher, streams):
    """Draw Gaussian inputs and the noisy responses of a teacher, of any number of outputs."""
    input_stream, noise_stream = streams
    X = input_stream.standard_normal((n_samples, n_features))
    y = teacher.predict(X)
    if noise > 0:
        y += noise * noise_stream.standard_normal(y.shape)
    return (X, y, teacher) if return_teacher else (X, y)


def hidden_weights(coef, n_hidden, n_features, stream):
    """Return given weights of hidden units, or rows uniform on the unit sphere."""
    if coef is not None:
        return given_weights("coef", coef, "a matrix, one unit a row", (None, None))
    shape = positive_integer("n_hidden", n_hidden), positive_integer("n_features", n_features)
    coef = stream.standard_normal(shape)
    return coef / np.linalg.norm(coef, axis=1, keepdims=True)


def output_signs(output_weights, output_coef, n_hidden, stream):
    """Return given output weights, random signs, or ones.

    Raises
    ------
    ValueError
        If `output_weights` is none of "signed" and "positive", or the given weights do not fit.
    """
    if output_weights not in ("signed", "positive"):
        raise ValueError(f'output_weights must be "signed" or "positive", got {output_weights!r}.')
    if output_coef is not None:
        accepted = f"a vector, one entry for each of {n_hidden} units"
        return given_weights("output_coef", output_coef, accepted, (n_hidden,))
    signs = stream.choice([-1.0, 1.0], n_hidden)
    return signs if output_weights == "signed" else np.ones(n_hidden)


def output_matrix(output_coef, n_outputs, n_hidden, stream):
    """Return given weights of several outputs, or independent N(0, 1) entries, one output a row."""
    if output_coef is not None:
        accepted = f"a matrix, one output a row and one column for each of {n_hidden} units"
        return given_weights("output_coef", output_coef, accepted, (None, n_hidden))
    return stream.standard_normal((positive_integer("n_outputs", n_outputs), n_hidden))


def streams(random_state, n_streams):
    """Return independent generators that depend on `random_state` alone."""
    entropy = check_random_state(random_state).randint(2**32, size=4, dtype=np.uint32)
    return [np.random.default_rng(seed) for seed in np.random.SeedSequence(entropy).spawn(n_streams)]


def inputs(X, n_features):
    """Return inputs of a teacher as a finite matrix of so many columns."""
    X = check_array(X, accept_sparse=True, input_name="X")
    if X.shape[1] != n_features:
        raise ValueError(f"X has {X.shape[1]} columns, the teacher expects {n_features}.")
    return X


def given_weights(name, values, accepted, shape):
    """Return a finite copy; its dimensions must be those of `shape`, of any size where that is None."""
    values = check_array(values, dtype=np.float64, ensure_2d=False, input_name=name, copy=True)
    if values.ndim != len(shape) or any(n not in (None, m) for m, n in zip(values.shape, shape, strict=True)):
        raise ValueError(f"{name} must be {accepted}, got shape {values.shape}.")
    return values


def number_for_each(name, values, n, things):
    """Return a finite vector of n entries: one number repeated, or a copy of a vector of one entry for each thing."""
    if np.ndim(values) == 0:
        return np.full(n, finite_number(name, values))
    return given_weights(name, values, f"a vector, one entry for each of {n} {things}", (n,))


def positive_integer(name, value):
    """Return an integer >= 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}.")
    return int(value)


def finite_number(name, value):
    """Return a finite number as a float."""
    if not isinstance(value, Real) or not np.isfinite(float(value)):
        raise ValueError(f"{name} must be a finite number, got {value!r}.")
    return float(value)


def noise_level(noise):
    """Return a finite number >= 0 as a float."""
    noise = finite_number("noise", noise)
    if noise < 0:
        raise ValueError(f"noise must be a finite number >= 0, got {noise!r}.")
    return noise
