"""The command line: what a model makes of the columns, and the picture."""

import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.inspection import partial_dependence as slow_partial_dependence

from skrelu.__main__ import main
from skrelu._cli import plot
from skrelu._cli.effects import MOST_CATEGORIES, Effect, find_effects, partial_dependence
from skrelu._cli.folds import make_folds
from skrelu._cli.models import build_pipeline
from skrelu._cli.plot_effects import EffectsOfModel, draw_effects
from skrelu._cli.tables import read_csv

SHIFT = {"red": 6.0, "blue": 0.0, "": -6.0}


@pytest.fixture
def planted(tmp_path):
    """y = 2 x + an effect of the colour - a flag + noise; z has none, and there are gaps and an outlier."""
    rng = np.random.RandomState(0)
    lines = ["z,flag,x,colour,code,y"]
    for i in range(300):
        x, colour, flag = rng.randn() if i != 8 else 50, rng.choice(list(SHIFT)), rng.randint(2)
        y = 2 * x + SHIFT[colour] - flag + 0.1 * rng.randn()
        lines.append(f"{rng.randn()},{flag},{x if i != 7 else ''},{colour},code {i % 30},{y}")
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def fitted(planted):
    """The table, the folds and the ridge fits of the folds."""
    table, folds, _ = make_folds(read_csv(planted, "y"), 3)
    return table, folds, [build_pipeline("ridge", table, 0).fit(table.X[train], table.y[train]) for train, _ in folds]


def found(table, folds, models, seed=0):
    return find_effects(table, folds, models, seed, lambda n_done, column: None)


def test_partial_dependence_is_that_of_scikit_learn(fitted):
    table, _, (model, *_) = fitted
    for i, grid in ((2, np.array([-1.0, 0.0, 2.5])), (3, np.array(["red", "", "new"], dtype=object))):
        arguments = {"custom_values": {i: grid}, "categorical_features": table.categorical}
        expected = slow_partial_dependence(model, table.X, [i], **arguments)["average"][0]
        np.testing.assert_allclose(partial_dependence(model, table.X, i, grid), expected, rtol=1e-12)


def test_effects_are_in_order_of_importance(fitted):
    table, folds, models = fitted
    effects = found(table, folds, models)
    assert [effect.name for effect in effects[:3]] == ["x", "colour", "flag"]
    assert effects[0].importance > effects[1].importance > effects[2].importance > 0
    assert all(effect.importance < 0.01 * effects[1].importance for effect in effects[3:])


def test_importance_is_the_loss_of_r2(fitted):
    """Shuffling adds twice the variance of a term to the squared error of an additive model that is exact."""
    table, folds, models = fitted
    importance = {effect.name: effect.importance for effect in found(table, folds, models)}
    variance = np.var([SHIFT[colour] for colour in table.X[:, 3]])
    assert importance["colour"] == pytest.approx(2 * variance / np.var(table.y), rel=0.1)


def test_only_held_out_rows_count(fitted):
    """A model that knows its training rows by heart finds nothing in noise."""
    table, _, _ = fitted
    noise = np.random.RandomState(1).randn(len(table.y))
    table = type(table)(**{**vars(table), "y": noise})
    table, folds, _ = make_folds(table, 2)
    models = [build_pipeline("forest", table, 0).fit(table.X[train], table.y[train]) for train, _ in folds]
    seen = [(train, train) for train, _ in folds]
    assert found(table, seen, models)[0].importance > 0.3
    assert found(table, folds, models)[0].importance < 0.15


def test_grids_and_curves(fitted):
    table, folds, models = fitted
    x, colour, flag, *others = found(table, folds, models)
    assert (x.is_numeric, colour.is_numeric, flag.is_numeric) == (True, False, True)
    assert x.curves.shape == (3, len(x.grid))
    assert x.grid[-1] < 5 < x.cells.max() == 50
    assert np.isfinite(x.cells).all()
    slope = (x.curves[:, -1] - x.curves[:, 0]) / (x.grid[-1] - x.grid[0])
    np.testing.assert_allclose(slope, 2, rtol=0.02)
    assert sorted(colour.grid) == sorted(SHIFT)
    heights = dict(zip(colour.grid, colour.curves.mean(axis=0), strict=True))
    assert heights["red"] - heights[""] == pytest.approx(12, rel=0.02)
    assert flag.grid.tolist() == [0, 1]
    assert all(len(effect.grid) == MOST_CATEGORIES for effect in others if effect.name == "code")


def test_the_same_seed_finds_the_same(fitted):
    first, again, other = ([effect.importance for effect in found(*fitted, seed=seed)] for seed in (0, 0, 1))
    assert first == again
    assert first != other


# The picture


def test_the_effects_are_those_of_the_best_of_ours(monkeypatch, planted, tmp_path):
    drawn = []
    monkeypatch.setattr(plot, "draw", lambda *arguments: drawn.append(arguments) or b"picture")
    path = tmp_path / "out.png"
    arguments = ["compare", str(planted), "--cv", "2", "--plot", str(path), "--models"]
    assert main([*arguments, "projected-relu,mean,ridge,quadratic-net"]) == 0
    assert main([*arguments, "quadratic-net,projected-relu"]) == 0
    assert main([*arguments, "mean,ridge"]) == 0
    (_, _, scores, ours, effects), (*_, reordered), (*_, none) = drawn
    assert effects.model == next(score.model for score in scores if score.model in ours)
    assert effects.target == "y"
    assert effects.effects[0].name == "x"
    np.testing.assert_array_equal(effects.effects[0].curves, reordered.effects[0].curves)
    assert none is None
    assert path.read_bytes() == b"picture"


@pytest.mark.parametrize("ending", ["png", pytest.param("svg", marks=pytest.mark.slow)])
def test_plot(tmp_path, planted, ending):
    path = tmp_path / f"out.{ending}"
    assert main(["compare", str(planted), "--cv", "2", "--models", "mean,projected-relu", "--plot", str(path)]) == 0
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG") if ending == "png" else b"<svg" in content


def test_plot_of_three_rows(tmp_path):
    table, path = tmp_path / "table.csv", tmp_path / "out.png"
    table.write_text("x,c,y\n1,a,1\n2,,2\n,a,4\n")
    assert main(["compare", str(table), "--models", "projected-relu", "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")


def panels(effects):
    """Draw effects on their own and return the figure and its visible axes."""
    shown = EffectsOfModel("some-model", effects, "y", 0.5)
    figure = Figure(figsize=(plot.WIDTH, shown.height), layout="constrained")
    FigureCanvasAgg(figure)
    draw_effects(figure.add_subfigure(figure.add_gridspec(1, 1)[0]), shown, OURS_COLOR)
    figure.savefig(io.BytesIO(), format="png")
    return figure, [axes for axes in figure.subfigs[0].axes if axes.get_visible()]


OURS_COLOR = plot.OURS_STYLE["color"]


def curve(name="x", scale=1):
    curves = scale * np.random.RandomState(0).rand(5, 25)
    return Effect(name, 0.1, True, np.arange(50.0), np.linspace(0, 49, 25), curves)


def bars(names):
    grid = np.array(names, dtype=object)
    return Effect("category", 0.2, False, grid, grid, np.random.RandomState(0).rand(5, len(grid)))


@pytest.mark.parametrize(
    ("n", "columns"),
    [
        (1, 1),
        (2, 2),
        pytest.param(3, 3, marks=pytest.mark.slow),
        pytest.param(4, 2, marks=pytest.mark.slow),
        (5, 3),
        pytest.param(6, 3, marks=pytest.mark.slow),
    ],
)
def test_panels(n, columns):
    _, axes = panels([curve(f"column {i}", i + 1) for i in range(n)])
    assert [a.get_title() for a in axes] == [f"column {i}  (0.1)" for i in range(n)]
    assert axes[0].get_subplotspec().get_gridspec().ncols == columns
    assert len({a.get_ylim() for a in axes}) == 1


def test_long_names_do_not_touch():
    long = "a column with a $name$ that_goes^on for longer than any panel is wide"
    figure, axes = panels([curve(long) for _ in range(6)])
    boxes = [a.title.get_window_extent() for a in axes]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(box.x0 > 0 and box.x1 < figure.bbox.x1 for box in boxes)


def test_bars_stand_on_the_mean_of_the_target():
    effect = bars(["gas", "", "a name that is longer than there is room for"])
    _, (axes,) = panels([effect])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["gas", "(missing)", "a name that is long\u2026"]
    assert {bar.get_y() for bar in axes.patches} == {0.5}
    np.testing.assert_allclose([bar.get_y() + bar.get_height() for bar in axes.patches], effect.curves.mean(axis=0))


def test_categories_that_are_not_shown_are_counted():
    shown = bars(["gas", "oil"])
    effect = replace(shown, cells=np.array(["gas", "oil", "gas", "wood", "wind"], dtype=object))
    _, (few, all_shown) = panels([effect, shown])
    assert few.get_xlabel() == "and 2 more"
    assert all_shown.get_xlabel() == ""


def test_curves_show_mean_and_folds():
    effect = curve()
    _, (axes,) = panels([effect])
    heights = [line.get_ydata() for line in axes.lines]
    assert any(np.array_equal(y, effect.curves.mean(axis=0)) for y in heights)
    assert all(any(np.array_equal(y, fold) for y in heights) for fold in effect.curves)
