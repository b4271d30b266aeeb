"""How the objective of a fit fell."""

from textwrap import fill

import numpy as np
from sklearn.exceptions import NotFittedError

from skrelu.plotting.base import pyplot, styled, vector

LINESTYLES, MARKERS = ("-", "--", "-.", ":"), ("", "o", "s", "^", "D")


class ConvergenceDisplay:
    """Objective against iterations, on a logarithmic axis.

    A linear rate, ``loss_t = C q^t``, shows as a straight line of slope log q.

    Parameters
    ----------
    curves : dict of str to array-like of shape (n_iter,)
        For each name the objective after iterations 1, ..., n_iter, in squared units of y.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        One a curve, in the order of `curves`.
    ax_ : matplotlib Axes
        Axes drawn on.
    figure_ : matplotlib Figure
        Figure that holds the axes.

    See Also
    --------
    ConvergenceDisplay.from_estimator : Draw the curve of a fitted estimator.

    Notes
    -----
    A logarithmic axis has no zero: values that are not positive are drawn at the smallest positive value of their
    curve, or at 2.2e-16 if it has none. Values that are not finite leave gaps.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skrelu.plotting import ConvergenceDisplay
    >>> display = ConvergenceDisplay(curves={"rate 1/2": [0.5, 0.25, 0.125], "rate 1/4": [0.25, 0.0625]}).plot()
    >>> [line.get_label() for line in display.lines_]
    ['rate 1/2', 'rate 1/4']
    >>> plt.close(display.figure_)
    """

    def __init__(self, *, curves):
        self.curves = curves

    def plot(self, ax=None, **kwargs):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on, beside what they hold; a new figure if None.
        **kwargs : dict
            Passed to ``Axes.plot`` for every curve. By default lines take the colours of the axes' cycle, and solid,
            dashed, dash-dotted and dotted styles in turn, from the fifth on with markers: they stay apart in grey.

        Returns
        -------
        ConvergenceDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no curve, or one is not a vector with at least one value.
        """
        plt = pyplot("ConvergenceDisplay.plot")
        if not self.curves:
            raise ValueError("curves must hold at least one curve, got none.")
        curves = {name: vector(curve, f"curves[{name!r}]", finite=False) for name, curve in self.curves.items()}
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.lines_ = []
        for name, curve in curves.items():
            style = styled({"label": name, **_style(len(ax.get_lines()), len(curve))}, kwargs, plt.Line2D)
            self.lines_ += ax.plot(np.arange(1, len(curve) + 1), _positive(curve), **style)
        ax.set(xlabel="Iteration", ylabel="Objective (squared units of y)", yscale="log")
        ax.xaxis.set_major_locator(plt.MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
        handles, labels = ax.get_legend_handles_labels()
        if handles:
            size = "medium" if len(handles) <= 6 else "small"
            ax.legend(handles, [fill(label, 40) for label in labels], fontsize=size)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(cls, estimator, *, name=None, ax=None, **kwargs):
        """Draw the `loss_curve_` of a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator
            Any with an attribute `loss_curve_`, one value an iteration.
        name : str, default=None
            Label of the curve; the name of the estimator's class if None. A label that starts with an underscore is
            left out of the legend.
        ax : matplotlib Axes, default=None
            Axes to draw on: the `ax_` of another display overlays the curves. A new figure if None.
        **kwargs : dict
            Passed to ``Axes.plot``.

        Returns
        -------
        ConvergenceDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        NotFittedError
            If the estimator has no `loss_curve_`.

        Examples
        --------
        >>> import matplotlib.pyplot as plt
        >>> from sklearn.neural_network import MLPRegressor
        >>> from skrelu.datasets import make_relu_regression
        >>> from skrelu.plotting import ConvergenceDisplay
        >>> X, y = make_relu_regression(200, 10, random_state=0)
        >>> slow = MLPRegressor(solver="sgd", tol=1e-2, random_state=0).fit(X, y)
        >>> fast = MLPRegressor(solver="adam", tol=1e-2, random_state=0).fit(X, y)
        >>> display = ConvergenceDisplay.from_estimator(slow, name="sgd")
        >>> display = ConvergenceDisplay.from_estimator(fast, name="adam", ax=display.ax_)
        >>> plt.close(display.figure_)
        """
        pyplot(f"{cls.__name__}.from_estimator")
        class_name = type(estimator).__name__
        if not hasattr(estimator, "loss_curve_"):
            raise NotFittedError(f"This {class_name} has no loss_curve_: fit it first, by a solver that iterates.")
        return cls(curves={class_name if name is None else name: estimator.loss_curve_}).plot(ax, **kwargs)


def _style(place, length):
    """Return the style of a line by its place on the axes; a single value needs a marker to be seen."""
    marker = MARKERS[place // len(LINESTYLES) % len(MARKERS)]
    return {
        "linestyle": LINESTYLES[place % len(LINESTYLES)],
        "marker": marker if length > 1 else marker or "o",
        "markevery": 0.1 if length > 1 else None,
    }


def _positive(curve):
    """Lift values <= 0 to the smallest positive one (2.2e-16 if none), and mask values that are not finite."""
    positive = curve[np.isfinite(curve) & (curve > 0)]
    floor = positive.min() if positive.size else np.finfo(np.float64).eps
    return np.where(np.isfinite(curve), np.maximum(curve, floor), np.nan)
