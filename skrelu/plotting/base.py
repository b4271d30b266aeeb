"""What every display needs: matplotlib when the first picture is drawn, styles and vectors."""

import numpy as np
from sklearn.utils import check_array


def pyplot(caller):
    """Import matplotlib, an optional dependency, when the first picture is drawn."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f'{caller} needs matplotlib: pip install "skrelu[plot]"') from error
    return plt


def styled(defaults, given, artist):
    """Return a style in which what is given replaces the defaults, under any of its names (``c`` for ``color``)."""
    from matplotlib.cbook import normalize_kwargs

    return defaults | normalize_kwargs(given, artist)


def vector(values, name, finite=True):
    """Return values as a vector of floats; errors name it."""
    values = check_array(values, dtype=np.float64, ensure_2d=False, ensure_all_finite=finite, input_name=name)
    if values.ndim != 1:
        raise ValueError(f"{name} must be a vector, got shape {values.shape}.")
    return values
