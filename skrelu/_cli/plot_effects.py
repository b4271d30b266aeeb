"""Panels of effects: curves of numeric columns and bars of categories, all on one scale of the target."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from skrelu._cli.effects import FEW_VALUES

MOST_PANELS_A_ROW = 3
PANEL_HEIGHT = 2.5
MARGIN = 1.1
LONGEST_TITLE = 28
LONGEST_CATEGORY = 20
# Names of categories longer than this would touch where they stand side by side.
LONGEST_UPRIGHT = 5
RUG_TICKS = 60
THIN: dict[str, Any] = {"color": "0.25", "alpha": 0.7}


@dataclass(frozen=True)
class EffectsOfModel:
    """What is drawn: the name of a model, its effects, the name of the target and its mean."""

    model: str
    effects: list
    target: str
    mean: float

    @property
    def n_rows(self):
        """Number of rows of panels."""
        return math.ceil(len(self.effects) / MOST_PANELS_A_ROW)

    @property
    def height(self):
        """Height in inches."""
        return MARGIN + PANEL_HEIGHT * self.n_rows


def draw_effects(figure, shown, color):
    """Draw one panel an effect."""
    n_columns = math.ceil(len(shown.effects) / shown.n_rows)
    panels = figure.subplots(shown.n_rows, n_columns, sharey=True, squeeze=False)
    for axes, effect in zip(panels.flat, shown.effects, strict=False):
        axes.axhline(shown.mean, color="0.5", linewidth=0.8, linestyle="--", zorder=1)
        if effect.is_numeric:
            _draw_curve(axes, effect, color)
        else:
            _draw_bars(axes, effect, shown.mean, color)
        title = f"{_short(effect.name, LONGEST_TITLE)}  ({effect.importance:.2g})"
        axes.set_title(title, fontsize="medium", parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize="small")
    for axes in panels.flat[len(shown.effects) :]:
        axes.set_visible(False)
    figure.supylabel(f"predicted {_short(shown.target, LONGEST_TITLE)}", fontsize="medium", parse_math=False)
    figure.suptitle(
        f"{shown.model}: mean prediction if all rows had this value of the column (thin: one fold each)\n"
        "in brackets: R2 on held-out rows lost when the column is shuffled; dashed: mean of the target",
        fontsize="medium",
    )


def _draw_curve(axes, effect, color):
    marker = {"marker": "o", "markersize": 5} if len(effect.grid) <= FEW_VALUES else {}
    if len(effect.grid) == 2:  # a flag
        axes.set_xticks(effect.grid)
    axes.plot(effect.grid, effect.curves.T, linewidth=0.7, zorder=2, **THIN)
    axes.plot(effect.grid, effect.curves.mean(axis=0), color=color, linewidth=2, zorder=3, **marker)
    inside = effect.cells[(effect.cells >= effect.grid[0]) & (effect.cells <= effect.grid[-1])]
    ticks = np.quantile(inside, np.linspace(0, 1, RUG_TICKS), method="nearest")
    axes.plot(ticks, np.zeros(RUG_TICKS), "|", markersize=7, transform=axes.get_xaxis_transform(), **THIN)


def _draw_bars(axes, effect, mean, color):
    places = np.arange(len(effect.grid))
    axes.bar(places, effect.curves.mean(axis=0) - mean, width=0.6, bottom=mean, color=color, zorder=2)
    axes.plot(places, effect.curves.T, "_", markersize=10, zorder=3, **THIN)
    names = [_short(cell, LONGEST_CATEGORY) or "(missing)" for cell in effect.grid]
    upright = all(len(name) <= LONGEST_UPRIGHT for name in names)
    slant = {} if upright else {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(places, names, parse_math=False, **slant)
    n_others = len(set(effect.cells)) - len(effect.grid)
    if n_others:
        axes.set_xlabel(f"and {n_others} more", fontsize="small")


def _short(name, most):
    return name if len(name) <= most else name[: most - 1] + "\u2026"
