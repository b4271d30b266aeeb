"""The picture of a comparison: the scores of all models, and below them what the best of ours makes of the columns."""

import io
import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from skrelu._cli.console import InputError
from skrelu._cli.plot_effects import draw_effects

# Vermilion and blue of Okabe and Ito: told apart with any colour vision; in grey, the marker tells.
OURS_STYLE: dict[str, Any] = {"color": "#D55E00", "marker": "D"}
PEER_STYLE: dict[str, Any] = {"color": "#0072B2", "marker": "o"}
MEAN_STYLE: dict[str, Any] = {"s": 70, "edgecolors": "black", "linewidths": 0.8, "zorder": 3, "clip_on": False}
BELOW_STYLE: dict[str, Any] = {"marker": "<"}
# A model far worse than the mean of the target would squeeze all others into one spot.
LOWEST_R2 = -0.5
WIDTH = 9.0
LETTERS_A_LINE = 100


def check(path):
    """Raise `InputError` if matplotlib is missing or has no format for the ending of the path."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError as error:
        raise InputError('--plot needs matplotlib: pip install "skrelu[cli]"') from error
    formats = FigureCanvasAgg.get_supported_filetypes()
    if _format(path) not in formats:
        raise InputError(f"--plot: {path} must end in one of {', '.join('.' + ending for ending in sorted(formats))}")


def _format(path):
    return Path(path).suffix.lower().removeprefix(".")


def draw(path, title, scores, ours, effects=None):
    """Return the content of a picture file of the kind that the path names.

    Parameters
    ----------
    path : str
    title : str
    scores : list of Score
        The first on top.
    ours : container of str
        Names of models that are told apart.
    effects : EffectsOfModel, default=None
        Drawn below, if there are any.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [2.0 + 0.4 * len(scores)] + ([effects.height] if effects is not None else [])
    figure = Figure(figsize=(WIDTH, sum(heights)))
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    canvas = FigureCanvasAgg(figure)
    parts = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    top = figure.add_subfigure(parts[0])
    _draw_scores(top, scores, ours)
    # A dollar sign in the name of a column is no formula, and a letter that the font lacks no reason for a warning.
    lines = [textwrap.fill(line, LETTERS_A_LINE) for line in title.split(": ", 1)]
    top.suptitle("\n".join(lines), fontsize="medium", parse_math=False)
    if effects is not None:
        draw_effects(figure.add_subfigure(parts[1]), effects, OURS_STYLE["color"])
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        canvas.print_figure(content, dpi=150, format=_format(path))
    return content.getvalue()


def _draw_scores(figure, scores, ours):
    axes = figure.add_subplot()
    styles = [OURS_STYLE if score.model in ours else PEER_STYLE for score in scores]
    for height, (score, style) in enumerate(zip(scores, styles, strict=True)):
        _draw_model(axes, height, score, style)
    _finish_axes(axes, scores)
    for label, style in (("skrelu, mean", OURS_STYLE), ("others, mean", PEER_STYLE)):
        if style in styles:
            axes.scatter([], [], label=label, **MEAN_STYLE | style)
    if any(score.r2_mean < LOWEST_R2 for score in scores):
        axes.scatter([], [], label=f"mean below {LOWEST_R2}", **MEAN_STYLE | BELOW_STYLE | {"color": "white"})
    figure.legend(loc="outside lower center", ncols=3, frameon=False)


def _draw_model(axes, height, score, style):
    folds = np.maximum(score.r2_folds, LOWEST_R2)
    if len(folds):
        axes.hlines(height, folds.min(), folds.max(), color=style["color"], linewidth=1, alpha=0.4)
    axes.scatter(folds, np.full(len(folds), height), s=24, alpha=0.6, linewidths=0, clip_on=False, **style)
    mean_style = MEAN_STYLE | style | (BELOW_STYLE if score.r2_mean < LOWEST_R2 else {})
    axes.scatter(max(score.r2_mean, LOWEST_R2), height, **mean_style)


def _finish_axes(axes, scores):
    axes.set_yticks(range(len(scores)), [score.model for score in scores])
    axes.set_ylim(len(scores) - 0.5, -0.5)
    means = axes.secondary_yaxis("right")
    means.set_yticks(range(len(scores)), [f"{score.r2_mean:.3f}" for score in scores])
    means.tick_params(length=0)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.85", linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in (*(axes.spines[side] for side in ("top", "left", "right")), means.spines["right"]):
        spine.set_visible(False)
    axes.set_xlabel("R2 on held-out rows (small points: one fold each; numbers: mean)")
    axes.set_ylabel("model")
