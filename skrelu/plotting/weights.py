"""Recovered weights beside the true ones."""

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_array

from skrelu.metrics import match_units, recovery_error
from skrelu.plotting.base import pyplot

RECOVERED, LONE, TRUE = "Recovered", "Recovered, no true partner", "True"
STYLES: dict[str, dict] = {
    RECOVERED: {"facecolor": "#8fbfe0", "edgecolor": "none"},
    LONE: {"facecolor": "white", "edgecolor": "#c44601", "hatch": "//////", "linewidth": 0.8},
    TRUE: {"edgecolor": "black", "linewidth": 1.0, "baseline": None},
}


class WeightsDisplay:
    """Weights of the hidden units, one unit a row, with the true ones drawn over them.

    Each row is a bar chart of the weights of one unit over the features; all rows share one scale, that of the largest
    weight. True weights are outlines, over the bars of the unit that `metrics.match_units` pairs with them: where the
    weights are recovered, the outline runs along the tips of the bars. Recovered units that no true one is left for
    follow at the bottom, hatched; a true unit that was not found is an outline without bars. Bars, hatches and
    outlines stay apart in grey and for the colour-blind, too.

    Parameters
    ----------
    coef : array-like of shape (n_units_found, n_features) or (n_features,)
        Recovered weights, one unit a row. A vector is one row.
    coef_true : array-like of shape (n_units, n_features) or (n_features,), default=None
        True weights.
    names : array-like of str of shape (n_features,), default=None
        Names of the features; their numbers if None.

    Attributes
    ----------
    recovered_ : list of matplotlib StepPatch
        The bars, in the order of the rows of `coef`.
    true_ : list of matplotlib StepPatch
        The outlines, in the order of the rows of `coef_true`, from the top down; empty without them.
    ax_ : matplotlib Axes
        Axes drawn on.
    figure_ : matplotlib Figure
        Figure that holds the axes.

    See Also
    --------
    WeightsDisplay.from_estimator : Draw the weights of a fitted estimator.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skrelu.plotting import WeightsDisplay
    >>> coef = [[0.1, 2.0, 0.0], [1.0, 0.0, -1.0], [0.0, 0.2, 0.1]]
    >>> display = WeightsDisplay(coef=coef, coef_true=[[1.0, 0.0, -1.0], [0.0, 2.0, 0.0]]).plot()
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]  # true units, and in brackets the recovered ones
    ['0 (1)', '1 (0)', '– (2)']
    >>> plt.close(display.figure_)
    """

    def __init__(self, *, coef, coef_true=None, names=None):
        self.coef = coef
        self.coef_true = coef_true
        self.names = names

    def plot(self, ax=None, **kwargs):
        """Draw the rows.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure, of a size that the weights ask for, if None.
        **kwargs : dict
            Passed to ``Axes.stairs`` for the bars of all recovered units, such as ``facecolor``.

        Returns
        -------
        WeightsDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If an array is not one- or two-dimensional and finite, or `coef_true` has another number of columns than
            `coef`, or `names` another length.
        """
        plt = pyplot("WeightsDisplay.plot")
        coef, coef_true, names = self._validated()
        places, labels = _places(coef, coef_true)
        if ax is None:
            size = np.clip(0.1 * coef.shape[1], 6.4, 12.8), np.clip(1.2 + 0.4 * len(labels), 4.8, 16.0)
            _, ax = plt.subplots(figsize=size, layout="constrained")
        largest = np.abs(coef).max() if coef_true is None else max(np.abs(coef).max(), np.abs(coef_true).max())

        def draw(weights, place, kind, **style):
            # Rows are 1 apart and reach 0.45 up and down.
            heights = weights / (largest or 1.0) * 0.45 - place
            return ax.stairs(heights, np.arange(len(weights) + 1) - 0.5, label=kind, **STYLES[kind] | style)

        ax.hlines(-np.arange(len(labels)), -0.5, coef.shape[1] - 0.5, color="0.6", linewidth=0.6)
        lone = len(labels) if coef_true is None else len(coef_true)
        self.recovered_ = [
            draw(weights, place, RECOVERED if place < lone else LONE, **{"baseline": -place, "fill": True} | kwargs)
            for weights, place in zip(coef, places, strict=True)
        ]
        self.true_ = [] if coef_true is None else [draw(weights, i, TRUE) for i, weights in enumerate(coef_true)]
        self._annotate(ax, labels, names, largest)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(cls, estimator, *, coef_true=None, ax=None, **kwargs):
        """Draw the `hidden_coef_` of a fitted estimator, or its `coef_` if it has no hidden units.

        Parameters
        ----------
        estimator : fitted estimator
            Any with an attribute `hidden_coef_` or `coef_`. Features are named by its `feature_names_in_`.
        coef_true : array-like of shape (n_units, n_features) or (n_features,), default=None
            True weights.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure if None.
        **kwargs : dict
            Passed to ``Axes.stairs`` for the bars.

        Returns
        -------
        WeightsDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        NotFittedError
            If the estimator has neither attribute.

        Examples
        --------
        >>> import matplotlib.pyplot as plt
        >>> from skrelu import ProjectedReLURegressor
        >>> from skrelu.datasets import make_relu_regression
        >>> from skrelu.plotting import WeightsDisplay
        >>> X, y, teacher = make_relu_regression(100, 10, return_teacher=True, random_state=0)
        >>> model = ProjectedReLURegressor().fit(X, y)
        >>> display = WeightsDisplay.from_estimator(model, coef_true=teacher.coef_)
        >>> plt.close(display.figure_)
        """
        coef = getattr(estimator, "hidden_coef_", getattr(estimator, "coef_", None))
        if coef is None:
            raise NotFittedError(f"This {type(estimator).__name__} has neither hidden_coef_ nor coef_: fit it first.")
        names = getattr(estimator, "feature_names_in_", None)
        return cls(coef=coef, coef_true=coef_true, names=names).plot(ax, **kwargs)

    def _validated(self):
        """Return coef and coef_true as matrices, and as many names as columns."""
        coef, names = _matrix(self.coef, "coef"), self.names
        coef_true = None if self.coef_true is None else _matrix(self.coef_true, "coef_true")
        if names is not None and len(names) != coef.shape[1]:
            raise ValueError(f"names must have one name a feature, {coef.shape[1]}, got {len(names)}.")
        return coef, coef_true, names

    def _annotate(self, ax, labels, names, largest):
        """Label rows and features, and say what the shapes and their heights mean."""
        from matplotlib.ticker import MaxNLocator

        title = f"Rows reach to ±{largest:.3g}"
        if self.coef_true is not None:
            title += f"; recovery error {recovery_error(self.coef_true, self.coef):.2g}"
        units = "Hidden unit" if self.coef_true is None else "True unit (recovered unit)"
        ax.set(xlabel="Feature", ylabel=units, ylim=(0.45 - len(labels), 0.55))
        ax.set_yticks(-np.arange(len(labels)), labels)
        ax.margins(x=0.01)
        if names is None:
            ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        else:
            ticks = np.arange(0, len(names), -(-len(names) // 40))
            ax.set_xticks(ticks, [names[i] for i in ticks], rotation=90 if len(names) > 6 else 0)
        # Above the axes, where no bar is hidden; one entry a kind.
        handles = {patch.get_label(): patch for patch in (*self.true_, *self.recovered_)}
        place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "frameon": False, "ncols": 3}
        ax.legend(handles=handles.values(), title=title, alignment="left", **place)


def _matrix(coef, name):
    """Return weights as a finite matrix, one unit a row."""
    return np.atleast_2d(check_array(coef, dtype=np.float64, ensure_2d=False, input_name=name))


def _places(coef, coef_true):
    """Return the row of the picture for each recovered unit, from 0 at the top, and the labels of the rows."""
    if coef_true is None:
        return np.arange(len(coef)), [str(j) for j in range(len(coef))]
    rows, columns, _ = match_units(coef_true, coef)
    alone = np.delete(np.arange(len(coef)), columns)
    places = np.empty(len(coef), dtype=int)
    places[columns], places[alone] = rows, len(coef_true) + np.arange(len(alone))
    partner = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    labels = [f"{i} ({partner.get(i, '–')})" for i in range(len(coef_true))]
    return places, labels + [f"– ({j})" for j in alone]
