"""Recovered weights beside the true ones."""

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_array

from skrelu.metrics import match_units, recovery_error
from skrelu.plotting.base import pyplot, styled

RECOVERED, LONE, TRUE = "Recovered", "Recovered, no true partner", "True"
LONGEST_NAME = 30  # characters
STYLES: dict[str, dict] = {
    RECOVERED: {"fill": True, "facecolor": "#8fbfe0", "edgecolor": "none"},
    LONE: {"fill": True, "facecolor": "white", "edgecolor": "#c44601", "hatch": "//////", "linewidth": 0.8},
    TRUE: {"fill": False, "edgecolor": "black", "linewidth": 1.0},
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
    sign_invariant : bool, default=False
        Whether units are known up to their signs, as those of even activations are: recovered ones then take the signs
        of the true ones, and the recovery error is that up to signs.

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

    def __init__(self, *, coef, coef_true=None, names=None, sign_invariant=False):
        self.coef = coef
        self.coef_true = coef_true
        self.names = names
        self.sign_invariant = sign_invariant

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
        from matplotlib.patches import StepPatch

        coef, coef_true, names = self._validated()
        places, signs, labels = _places(coef, coef_true, self.sign_invariant)
        if ax is None:
            _, ax = plt.subplots(figsize=_figure_size(coef.shape[1], len(labels), names), layout="constrained")
        largest = np.abs(coef).max() if coef_true is None else max(np.abs(coef).max(), np.abs(coef_true).max())

        def draw(weights, place, kind, **given):
            # Rows are 1 apart and reach 0.45 up and down.
            heights = weights / (largest or 1.0) * 0.45 - place
            defaults = STYLES[kind] | {"label": kind, "baseline": None if kind == TRUE else -place}
            if "color" in given:
                del defaults["facecolor"]
            return ax.stairs(heights, np.arange(len(weights) + 1) - 0.5, **styled(defaults, given, StepPatch))

        ax.hlines(-np.arange(len(labels)), -0.5, coef.shape[1] - 0.5, color="0.6", linewidth=0.6)
        lone = len(labels) if coef_true is None else len(coef_true)
        self.recovered_ = [
            draw(sign * weights, place, RECOVERED if place < lone else LONE, **kwargs)
            for weights, place, sign in zip(coef, places, signs, strict=True)
        ]
        self.true_ = [] if coef_true is None else [draw(weights, i, TRUE) for i, weights in enumerate(coef_true)]
        self._annotate(ax, labels, names, largest)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(cls, estimator, *, coef_true=None, sign_invariant=False, ax=None, **kwargs):
        """Draw the `hidden_coef_` of a fitted estimator, or its `coef_` if it has no hidden units.

        Parameters
        ----------
        estimator : fitted estimator
            Any with an attribute `hidden_coef_` or `coef_`. Features are named by its `feature_names_in_`.
        coef_true : array-like of shape (n_units, n_features) or (n_features,), default=None
            True weights.
        sign_invariant : bool, default=False
            Whether units are known up to their signs.
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
        return cls(coef=coef, coef_true=coef_true, names=names, sign_invariant=sign_invariant).plot(ax, **kwargs)

    def _validated(self):
        """Return coef and coef_true as matrices, and as many names as columns, the long ones cut."""
        coef, names = _matrix(self.coef, "coef"), self.names
        coef_true = None if self.coef_true is None else _matrix(self.coef_true, "coef_true")
        if names is not None:
            if len(names) != coef.shape[1]:
                raise ValueError(f"names must have one name a feature, {coef.shape[1]}, got {len(names)}.")
            names = [str(name) for name in names]
            names = [name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…" for name in names]
        return coef, coef_true, names

    def _annotate(self, ax, labels, names, largest):
        """Label rows and features, and say what the shapes and their heights mean."""
        from matplotlib.ticker import MaxNLocator

        width, height = ax.get_position().size * ax.figure.get_size_inches()
        title = f"Rows reach to ±{largest:.3g}"
        if self.coef_true is not None:
            error = recovery_error(self.coef_true, self.coef, sign_invariant=self.sign_invariant)
            title += f"; recovery error {error:.2g}"
        units = "Hidden unit" if self.coef_true is None else "True unit (recovered unit)"
        # One entry a kind, within the axes but above the first row, where no bar is hidden.
        handles = {patch.get_label(): patch for patch in (*self.true_, *self.recovered_)}
        shown = list(handles.values()) if len(handles) > 1 else []
        inches = 0.5 if shown else 0.3
        head = inches / max(height - inches, 1.0) * len(labels)
        place = {"loc": "upper left", "frameon": False, "borderaxespad": 0.1, "borderpad": 0.2, "ncols": 3}
        ax.legend(handles=shown, title=title, alignment="left", fontsize="small", **place)
        ax.set(xlabel="Feature", ylabel=units, ylim=(0.45 - len(labels), 0.5 + head))
        ax.set_yticks(-np.arange(len(labels)), labels)
        ax.margins(x=0.01)
        if names is None:
            ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        else:
            ticks = np.arange(0, len(names), -(-len(names) // _most_names(width)))
            ax.set_xticks(ticks, [names[i] for i in ticks], rotation=90 if _are_upright(names, width) else 0)


def _most_names(width):
    """Return how many upright names fit side by side into a width in inches."""
    return max(int(width / 0.17), 1)


def _are_upright(names, width):
    """Whether names, of 0.1 inches a character with the gaps, would collide in a row."""
    return 0.1 * max(map(len, names)) * min(len(names), _most_names(width)) > width


def _figure_size(n_features, n_rows, names):
    """Return width and height in inches that the rows and the names of the features ask for."""
    width, height = np.clip(0.1 * n_features, 6.4, 12.8), np.clip(1.8 + 0.5 * n_rows, 3.6, 16.0)
    # Axes take 0.775 of the width until they are laid out.
    if names is not None and _are_upright(names, 0.775 * width):
        height += 0.08 * max(map(len, names))
    return width, height


def _matrix(coef, name):
    """Return weights as a finite matrix, one unit a row."""
    return np.atleast_2d(check_array(coef, dtype=np.float64, ensure_2d=False, input_name=name))


def _places(coef, coef_true, sign_invariant):
    """Return the row of the picture and the sign for each recovered unit, and the labels of the rows, from the top."""
    signs = np.ones(len(coef))
    if coef_true is None:
        return np.arange(len(coef)), signs, [str(j) for j in range(len(coef))]
    rows, columns, flips = match_units(coef_true, coef, sign_invariant=sign_invariant)
    signs[columns] = flips
    alone = np.delete(np.arange(len(coef)), columns)
    places = np.empty(len(coef), dtype=int)
    places[columns], places[alone] = rows, len(coef_true) + np.arange(len(alone))
    partner = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    labels = [f"{i} ({partner.get(i, '–')})" for i in range(len(coef_true))]
    return places, signs, labels + [f"– ({j})" for j in alone]
