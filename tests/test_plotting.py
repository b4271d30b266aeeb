import builtins
from itertools import pairwise

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from skrelu.plotting import ConvergenceDisplay, RecoveryDisplay, WeightsDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


class Descends(BaseEstimator):
    """A fit whose loss halves in each iteration."""

    def fit(self, X=None, y=None):
        self.loss_curve_ = [0.5, 0.25, 0.125, 0.0625]
        return self


class Counts(BaseEstimator):
    """Recovers the planted weights, which its data carry, iff there are at least `needed` samples a size."""

    def __init__(self, needed=1, size=None, random_state=None):
        self.needed = needed
        self.size = size
        self.random_state = random_state

    def fit(self, X, y):
        assert isinstance(self.random_state, int)
        exact = len(X) >= self.needed * self.size
        self.coef_ = y if exact else y + 1.0
        return self


class Tosses(Counts):
    """Recovers with probability 1/2, by its own seed."""

    def fit(self, X, y):
        self.coef_ = y + np.random.default_rng(self.random_state).integers(2)
        return self


class Holds(BaseEstimator):
    """Weights of a fitted network, under the given names."""

    def __init__(self, **attributes):
        vars(self).update(attributes)


class Wraps(BaseEstimator):
    """Fits another estimator, as a pipeline does."""

    def __init__(self, inner):
        self.inner = inner

    def fit(self, X, y):
        self.coef_ = self.inner.fit(X, y).coef_
        return self


def make_counted(n_samples, size, random_state):
    """Return weights in place of responses, so that `Counts` can recover them."""
    coef = np.random.default_rng(random_state).standard_normal(size)
    return np.zeros((n_samples, size)), coef, coef


def set_size(estimator, size):
    return estimator.set_params(size=size)


def run_grid(estimator, **kwargs):
    kwargs = {"n_samples": [1, 2, 3, 4], "sizes": [1, 2, 3], "n_trials": 2, "random_state": 0} | kwargs
    return RecoveryDisplay.from_estimator(estimator, make_data=make_counted, set_size=set_size, **kwargs)


class TestConvergenceDisplay:
    def test_artists_carry_the_curves(self):
        curves = {"slow": [1.0, 0.5, 0.25], "fast": np.array([1.0, 0.01])}
        display = ConvergenceDisplay(curves=curves)
        assert display.plot() is display
        for line, (name, curve) in zip(display.lines_, curves.items(), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, len(curve) + 1))
            np.testing.assert_array_equal(line.get_ydata(), curve)
            assert line.get_label() == name
        assert display.ax_.get_yscale() == "log"
        assert display.ax_.get_xlabel() == "Iteration"
        assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["slow", "fast"]
        assert display.figure_ is display.ax_.figure

    def test_a_linear_rate_is_a_straight_line_on_the_screen(self):
        display = ConvergenceDisplay(curves={"rate": 3.0 * 0.7 ** np.arange(30)}).plot()
        (line,) = display.lines_
        heights = display.ax_.transData.transform(line.get_xydata())[:, 1]
        np.testing.assert_allclose(np.diff(heights), np.diff(heights)[0], rtol=1e-9)

    def test_values_without_logarithm(self):
        curves = {"exact": [1.0, 1e-20, 0.0, -1.0], "zero": [0.0, 0.0], "diverged": [1.0, np.inf, np.nan, 2.0]}
        display = ConvergenceDisplay(curves=curves).plot()
        drawn = [line.get_ydata().tolist() for line in display.lines_]
        assert drawn[0] == [1.0, 1e-20, 1e-20, 1e-20]
        assert drawn[1] == [np.finfo(np.float64).eps] * 2
        np.testing.assert_array_equal(drawn[2], [1.0, np.nan, np.nan, 2.0])
        display.figure_.canvas.draw()
        assert curves["exact"] == [1.0, 1e-20, 0.0, -1.0]

    def test_a_single_value_is_visible(self):
        (line,) = ConvergenceDisplay(curves={"one": [0.5]}).plot().lines_
        assert line.get_marker() == "o"

    def test_styles_tell_lines_apart_and_can_be_set(self):
        display = ConvergenceDisplay(curves={str(i): [1.0, 0.5] for i in range(4)}).plot()
        assert len({line.get_linestyle() for line in display.lines_}) == 4
        assert len({line.get_color() for line in display.lines_}) == 4
        display = ConvergenceDisplay(curves={"a": [1.0, 0.5]}).plot(linestyle=":", color="black", label="b")
        (line,) = display.lines_
        assert (line.get_linestyle(), line.get_color(), line.get_label()) == (":", "black", "b")

    def test_twenty_lines_stay_apart_in_grey(self):
        display = ConvergenceDisplay(curves={str(i): 0.5 ** np.arange(30.0) for i in range(20)}).plot()
        assert len({(line.get_linestyle(), line.get_marker()) for line in display.lines_}) == 20
        # Markers are few, so that the styles of the lines can be seen between them.
        assert {line.get_markevery() for line in display.lines_} == {0.1}
        display.figure_.canvas.draw()

    def test_short_names_of_a_style_replace_the_defaults(self):
        (line,) = ConvergenceDisplay(curves={"a": [1.0, 0.5]}).plot(ls=":", c="black", lw=5).lines_
        assert (line.get_linestyle(), line.get_color(), line.get_linewidth()) == (":", "black", 5)
        with pytest.raises(TypeError, match="aliases of one another"):
            ConvergenceDisplay(curves={"a": [1.0, 0.5]}).plot(ls=":", linestyle="-")

    def test_long_names_leave_room_for_the_curves(self):
        name = "a solver whose name lists all of its parameters: step_size=0.1, max_iter=1000, tol=0"
        display = ConvergenceDisplay(curves={name: [1.0, 0.5], "short": [1.0, 0.1]}).plot()
        display.figure_.canvas.draw()
        texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert [text.replace("\n", " ") for text in texts] == [name, "short"]
        assert max(map(len, texts[0].split("\n"))) <= 40
        assert display.lines_[0].get_label() == name
        assert display.ax_.get_position().width > 0.8

    def test_hidden_labels_make_no_legend(self):
        assert ConvergenceDisplay(curves={"_hidden": [1.0, 0.5]}).plot().ax_.get_legend() is None

    def test_each_plot_has_a_figure_of_its_own(self):
        display = ConvergenceDisplay(curves={"a": [1.0, 0.5]})
        first = display.plot().ax_
        second = display.plot().ax_
        assert first.figure is not second.figure
        assert len(first.get_lines()) == len(second.get_lines()) == len(display.lines_) == 1
        assert display.lines_[0].axes is second

    def test_from_estimator(self):
        display = ConvergenceDisplay.from_estimator(Descends().fit())
        np.testing.assert_array_equal(display.lines_[0].get_ydata(), [0.5, 0.25, 0.125, 0.0625])
        assert display.lines_[0].get_label() == "Descends"

    def test_from_estimator_overlays(self):
        first = ConvergenceDisplay.from_estimator(Descends().fit(), name="first")
        second = ConvergenceDisplay.from_estimator(Descends().fit(), name="second", ax=first.ax_, linewidth=5)
        assert second.ax_ is first.ax_
        assert [text.get_text() for text in first.ax_.get_legend().get_texts()] == ["first", "second"]
        assert first.lines_[0].get_linestyle() != second.lines_[0].get_linestyle()
        assert second.lines_[0].get_linewidth() == 5

    def test_refuses(self):
        with pytest.raises(NotFittedError, match="Descends has no loss_curve_: fit it first"):
            ConvergenceDisplay.from_estimator(Descends())
        with pytest.raises(ValueError, match=r"curves\['a'\] must be a vector, got shape \(1, 2\)"):
            ConvergenceDisplay(curves={"a": [[1.0, 2.0]]}).plot()
        with pytest.raises(ValueError, match="minimum of 1 is required"):
            ConvergenceDisplay(curves={"a": []}).plot()
        with pytest.raises(ValueError, match="at least one curve, got none"):
            ConvergenceDisplay(curves={}).plot()
        assert not plt.get_fignums()


class TestRecoveryDisplay:
    success = ((0.1, 0.9, 1.0), (0.0, 0.4, 0.8))

    def test_artists_carry_the_fractions(self):
        display = RecoveryDisplay(success=self.success, n_samples=[50, 100, 200], size=[5, 10], size_name="Rank")
        assert display.plot() is display
        np.testing.assert_array_equal(display.mesh_.get_array(), self.success)
        assert display.mesh_.get_clim() == (0, 1)
        # Each grid point lies in its cell, and cells meet half-way.
        corners = display.mesh_.get_coordinates()
        np.testing.assert_array_equal(corners[0, :, 0], [25, 75, 150, 250])
        np.testing.assert_array_equal(corners[:, 0, 1], [2.5, 7.5, 12.5])
        np.testing.assert_array_equal(display.ax_.get_xticks(), [50, 100, 200])
        np.testing.assert_array_equal(display.ax_.get_yticks(), [5, 10])
        assert display.ax_.get_ylabel() == "Rank"
        assert display.ax_.get_xlabel() == "Number of samples"
        assert display.colorbar_.ax.get_ylabel() == "Fraction of exact recoveries"
        assert display.theory_line_ is None
        assert display.ax_.get_legend() is None
        assert list(display.ax_.texts) == []
        display.figure_.canvas.draw()

    def test_lightness_increases_with_success_in_grey(self):
        display = RecoveryDisplay(success=self.success, n_samples=[50, 100, 200], size=[5, 10]).plot()
        lightness = display.mesh_.cmap(np.linspace(0, 1, 11))[:, :3] @ [0.299, 0.587, 0.114]
        assert np.all(np.diff(lightness) > 0.04)

    def test_theory_is_drawn_inside_the_map(self):
        grid = {"success": self.success, "n_samples": [50, 100, 200], "size": [5, 10]}
        plain = RecoveryDisplay(**grid).plot()
        display = RecoveryDisplay(**grid, theory=[60, 10_000]).plot()
        np.testing.assert_array_equal(display.theory_line_.get_xydata(), [[60, 5], [10_000, 10]])
        assert display.ax_.get_xlim() == plain.ax_.get_xlim() == (25, 250)
        assert display.ax_.get_ylim() == plain.ax_.get_ylim() == (2.5, 12.5)
        display.figure_.canvas.draw()

    @pytest.mark.parametrize(("theory", "side"), [([60, 200], -1), ([60, 70], 1), ([60, 10_000], 1)])
    def test_theory_is_named_within_the_axes_at_its_last_visible_point(self, theory, side):
        display = RecoveryDisplay(success=self.success, n_samples=[50, 100, 200], size=[5, 10], theory=theory).plot()
        display.figure_.canvas.draw()
        (text,) = display.ax_.texts
        box, frame = text.get_window_extent(), display.ax_.get_window_extent()
        assert text.get_text() == "Theory"
        assert frame.x0 < box.x0 < box.x1 < frame.x1
        assert frame.y0 < box.y0 < box.y1 < frame.y1
        place = 0 if theory[1] > 250 else 1
        point = display.ax_.transData.transform((theory[place], [5, 10][place]))
        assert box.y0 < point[1] < box.y1
        assert (box.x0 > point[0]) == (side == 1)
        assert (box.x1 < point[0]) == (side == -1)

    def test_theory_beyond_the_map_has_no_name(self):
        display = RecoveryDisplay(
            success=self.success, n_samples=[50, 100, 200], size=[5, 10], theory=[1e3, 1e4]
        ).plot()
        assert list(display.ax_.texts) == []

    def test_given_axes_and_style(self):
        _, ax = plt.subplots()
        display = RecoveryDisplay(success=[[0.5]], n_samples=[50], size=[5]).plot(ax, cmap="gray")
        assert display.ax_ is ax
        assert display.mesh_.cmap.name == "gray"
        display.figure_.canvas.draw()

    def test_styles_do_not_clash_with_the_defaults(self):
        display = RecoveryDisplay(success=self.success, n_samples=[50, 100, 200], size=[5, 10])
        norm = matplotlib.colors.BoundaryNorm([0, 0.5, 1], 256)
        assert display.plot(norm=norm).mesh_.norm is norm
        np.testing.assert_array_equal(display.plot(ec="black").mesh_.get_edgecolor(), [[0, 0, 0, 1]])
        assert display.plot(vmax=2).mesh_.get_clim() == (0, 2)

    def test_several_maps_can_share_a_scale(self):
        fig, axes = plt.subplots(1, 2)
        display = RecoveryDisplay(success=self.success, n_samples=[50, 100, 200], size=[5, 10])
        assert display.plot(axes[0], colorbar=False).colorbar_ is None
        assert len(fig.axes) == 2
        assert display.plot(axes[1]).colorbar_.mappable is display.mesh_
        assert len(fig.axes) == 3
        assert run_grid(Counts(), colorbar=False).colorbar_ is None

    def test_geometric_grids_have_logarithmic_axes(self):
        display = RecoveryDisplay(success=np.zeros((2, 4)), n_samples=[100, 200, 400, 1600], size=[5, 10]).plot()
        assert (display.ax_.get_xscale(), display.ax_.get_yscale()) == ("log", "linear")
        corners = display.mesh_.get_coordinates()
        middle = [100 * 2**0.5, 200 * 2**0.5, 800]
        np.testing.assert_allclose(corners[0, :, 0], [100 / 2**0.5, *middle, 3200])
        np.testing.assert_array_equal(corners[:, 0, 1], [2.5, 7.5, 12.5])
        np.testing.assert_allclose(display.ax_.get_xlim(), [100 / 2**0.5, 3200])

    @pytest.mark.parametrize(
        "n_samples", [25 * 2 ** np.arange(12), np.linspace(1e5, 3e6, 30), np.arange(20, 2000, 20), [10, 1e6]]
    )
    def test_ticks_are_values_of_the_grid_that_do_not_touch(self, n_samples):
        display = RecoveryDisplay(success=np.zeros((1, len(n_samples))), n_samples=n_samples, size=[5]).plot()
        display.figure_.canvas.draw()
        labels = display.ax_.get_xticklabels()
        values = [float(label.get_text().replace(",", "")) for label in labels]
        np.testing.assert_array_equal(values, display.ax_.get_xticks())
        assert set(values) <= set(n_samples)
        assert len(values) > 1
        boxes = [label.get_window_extent() for label in labels]
        assert all(left.x1 + 2 < right.x0 for left, right in pairwise(boxes))

    def test_each_plot_has_a_figure_of_its_own(self):
        display = RecoveryDisplay(success=[[0.5]], n_samples=[50], size=[5], theory=[50])
        first = display.plot().figure_
        assert display.plot().figure_ is not first
        assert display.colorbar_.ax.figure is display.theory_line_.figure is display.mesh_.figure is display.figure_

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"success": [[0.5, 1.0]]}, r"\(2, 3\), got shape \(1, 2\)"),
            ({"success": [[0.5, 1.0, 1.5]] * 2}, r"success must lie in \[0, 1\], got values in \[0.5, 1.5\]"),
            ({"n_samples": [50, 200, 100]}, r"n_samples must increase, got \[50.0, 200.0, 100.0\]"),
            ({"size": [5, 5]}, r"size must increase"),
            ({"theory": [50, 100, 150]}, "theory must have one value a size, 2, got 3"),
            ({"size": [[5, 10]]}, r"size must be a vector, got shape \(1, 2\)"),
        ],
    )
    def test_refuses(self, changes, message):
        grid = {"success": self.success, "n_samples": [50, 100, 200], "size": [5, 10]} | changes
        with pytest.raises(ValueError, match=message):
            RecoveryDisplay(**grid).plot()
        assert not plt.get_fignums()

    def test_from_estimator_counts_exact_recoveries(self):
        display = run_grid(Counts(), theory=[1, 2, 3], size_name="Number of nonzeros")
        expected = [[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]
        np.testing.assert_array_equal(display.success, expected)
        np.testing.assert_array_equal(display.mesh_.get_array(), expected)
        np.testing.assert_array_equal(display.theory_line_.get_xdata(), [1, 2, 3])
        assert display.ax_.get_ylabel() == "Number of nonzeros"

    def test_from_estimator_leaves_the_estimator_alone(self):
        estimator = Counts(needed=2)
        run_grid(estimator)
        assert estimator.get_params() == {"needed": 2, "size": None, "random_state": None}
        assert not hasattr(estimator, "coef_")

    def test_tolerance_is_the_relative_error(self):
        # The wrong weights are off by 1 in each entry.
        estimator = Counts(needed=100)
        assert run_grid(estimator, tol=1e-6).success.max() == 0
        assert run_grid(estimator, tol=1e6).success.min() == 1

    def test_trials_are_independent_of_one_another_and_of_the_jobs(self):
        sequential = run_grid(Tosses(), n_trials=50)
        assert sequential.success.min() > 0.2
        assert sequential.success.max() < 0.8
        assert len(np.unique(sequential.success)) > 3
        with joblib.parallel_config(backend="threading"):
            parallel = run_grid(Tosses(), n_trials=50, n_jobs=2)
        np.testing.assert_array_equal(parallel.success, sequential.success)
        assert not np.array_equal(run_grid(Tosses(), n_trials=50, random_state=1).success, sequential.success)

    def test_given_seeds_of_the_estimator_are_kept(self):
        # All trials toss the same coin.
        success = run_grid(Tosses(random_state=3), n_trials=20).success
        assert len(np.unique(success)) == 1

    def test_seeds_reach_nested_estimators(self):
        display = RecoveryDisplay.from_estimator(
            Wraps(Counts()),
            make_data=make_counted,
            n_samples=[1, 2],
            sizes=[2],
            set_size=lambda estimator, size: estimator.set_params(inner__size=size),
        )
        np.testing.assert_array_equal(display.success, [[0.0, 1.0]])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"n_trials": 0}, "n_trials must be an integer >= 1, got 0"),
            ({"n_samples": [3, 2]}, "n_samples must increase"),
            ({"theory": [1.0]}, "theory must have one value a size, 3, got 1"),
        ],
    )
    def test_from_estimator_refuses_before_the_first_trial(self, changes, message):
        def never(estimator, size):
            raise AssertionError

        grid = {"n_samples": [1, 2], "sizes": [1, 2, 3], "set_size": never, "make_data": make_counted} | changes
        with pytest.raises(ValueError, match=message):
            RecoveryDisplay.from_estimator(Counts(), **grid)


class TestWeightsDisplay:
    true = np.array([[1.0, 0.0, -2.0], [0.0, 0.5, 0.0]])

    @staticmethod
    def drawn(patch):
        """Return the place of a row, 0 at the top, and its heights in units of the highest."""
        values = patch.get_data().values
        place = round(-values.mean())
        return place, (values + place) / 0.45

    def labels(self, display):
        display.figure_.canvas.draw()
        return [label.get_text() for label in display.ax_.get_yticklabels()]

    def kinds(self, display):
        return [text.get_text() for text in display.ax_.get_legend().get_texts()]

    def test_rows_carry_the_weights(self):
        display = WeightsDisplay(coef=self.true)
        assert display.plot() is display
        for j, (patch, weights) in enumerate(zip(display.recovered_, self.true, strict=True)):
            place, heights = self.drawn(patch)
            assert place == j
            assert patch.get_data().baseline == -j
            assert patch.get_fill()
            np.testing.assert_allclose(heights, weights / 2, atol=1e-15)
            np.testing.assert_array_equal(patch.get_data().edges, [-0.5, 0.5, 1.5, 2.5])
        assert display.true_ == []
        assert self.labels(display) == ["0", "1"]
        assert self.kinds(display) == []
        assert display.ax_.get_legend().get_title().get_text() == "Rows reach to ±2"
        assert display.ax_.get_ylabel() == "Hidden unit"
        assert display.ax_.get_xlabel() == "Feature"
        assert display.figure_ is display.ax_.figure

    def test_units_are_matched(self):
        coef = np.array([[0.0, 0.1, 0.1], [0.0, 0.6, 0.0], [1.0, 0.0, -1.8]])
        display = WeightsDisplay(coef=coef, coef_true=self.true).plot()
        assert [self.drawn(patch)[0] for patch in display.recovered_] == [2, 1, 0]
        assert [self.drawn(patch)[0] for patch in display.true_] == [0, 1]
        for patch, weights in zip(display.recovered_ + display.true_, [*coef, *self.true], strict=True):
            np.testing.assert_allclose(self.drawn(patch)[1], weights / 2, atol=1e-15)
        assert self.labels(display) == ["0 (2)", "1 (1)", "– (0)"]
        assert self.kinds(display) == ["True", "Recovered, no true partner", "Recovered"]
        assert [bool(patch.get_hatch()) for patch in display.recovered_] == [True, False, False]
        assert not any(patch.get_fill() for patch in display.true_)
        assert display.ax_.get_ylabel() == "True unit (recovered unit)"
        # sqrt(0.1^2 + 0.2^2 + 0.1^2 + 0.1^2) / sqrt(5.25)
        assert display.ax_.get_legend().get_title().get_text() == "Rows reach to ±2; recovery error 0.12"

    def test_missing_units_have_no_bars(self):
        display = WeightsDisplay(coef=self.true[1:], coef_true=self.true).plot()
        assert self.labels(display) == ["0 (–)", "1 (0)"]
        assert [self.drawn(patch)[0] for patch in display.recovered_] == [1]
        assert self.kinds(display) == ["True", "Recovered"]

    @pytest.mark.parametrize("shape", [(1, 5), (3, 1), (20, 100), pytest.param((60, 200), marks=pytest.mark.slow)])
    def test_every_row_lies_inside_the_picture(self, shape):
        coef = np.random.default_rng(0).standard_normal(shape)
        display = WeightsDisplay(coef=coef, coef_true=-coef).plot()
        display.figure_.canvas.draw()
        low, high = display.ax_.get_ylim()
        left, right = display.ax_.get_xlim()
        for patch in display.recovered_ + display.true_:
            assert low < patch.get_data().values.min() <= patch.get_data().values.max() < high
            assert left < patch.get_data().edges[0] < patch.get_data().edges[-1] < right
        width, height = display.figure_.get_size_inches()
        assert width <= 12.8
        assert height <= 16

    @pytest.mark.parametrize("shape", [(1, 5), (20, 100), pytest.param((60, 200), marks=pytest.mark.slow)])
    @pytest.mark.parametrize("beside", [False, True])
    def test_legend_lies_within_the_axes_above_the_first_row(self, shape, beside):
        ax = plt.subplots(1, 2, figsize=(10, 4))[1][0] if beside else None
        coef = np.ones(shape)
        display = WeightsDisplay(coef=coef, coef_true=coef).plot(ax)
        display.figure_.canvas.draw()
        box, frame = display.ax_.get_legend().get_window_extent(), display.ax_.get_window_extent()
        top = display.ax_.transData.transform((0, 0.45))[1]
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1
        assert top < box.y0 < box.y1 <= frame.y1

    def test_vectors_and_zeros(self):
        display = WeightsDisplay(coef=np.zeros(4), coef_true=np.zeros(4)).plot()
        np.testing.assert_array_equal(self.drawn(display.recovered_[0])[1], np.zeros(4))
        assert self.labels(display) == ["0 (0)"]

    def test_names_label_the_features(self):
        display = WeightsDisplay(coef=self.true, names=["age", "bmi", "bp"]).plot()
        assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["age", "bmi", "bp"]
        np.testing.assert_array_equal(display.ax_.get_xticks(), [0, 1, 2])
        display = WeightsDisplay(coef=np.ones((1, 100)), names=[f"x{i}" for i in range(100)]).plot()
        labels = [label.get_text() for label in display.ax_.get_xticklabels()]
        assert labels == [f"x{i}" for i in range(0, 100, 3)]
        np.testing.assert_array_equal(display.ax_.get_xticks(), range(0, 100, 3))

    @pytest.mark.parametrize(("length", "n_features"), [(3, 3), (20, 3), (300, 3), (8, 200), (300, 200)])
    def test_names_do_not_touch_and_leave_room(self, length, n_features):
        names = [f"{i:0{length}}" for i in range(n_features)]
        display = WeightsDisplay(coef=np.ones((1, n_features)), names=names).plot()
        display.figure_.canvas.draw()
        labels = display.ax_.get_xticklabels()
        boxes = [label.get_window_extent() for label in labels]
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
        assert {label.get_rotation() for label in labels} == {0 if length == 3 else 90}
        assert all(len(label.get_text()) == min(length, 30) for label in labels)
        assert display.ax_.get_window_extent().height > 2 * display.figure_.dpi

    def test_signs_can_be_left_open(self):
        display = WeightsDisplay(coef=-self.true[::-1], coef_true=self.true, sign_invariant=True).plot()
        for patch, weights in zip(display.recovered_, self.true[::-1], strict=True):
            np.testing.assert_allclose(self.drawn(patch)[1], weights / 2, atol=1e-15)
        assert "recovery error 0" in display.ax_.get_legend().get_title().get_text()
        model = Holds(hidden_coef_=-self.true)
        display = WeightsDisplay.from_estimator(model, coef_true=self.true, sign_invariant=True)
        np.testing.assert_allclose(self.drawn(display.recovered_[0])[1], self.true[0] / 2, atol=1e-15)

    @pytest.mark.parametrize("style", [{"color": "red"}, {"fc": "red"}, {"facecolor": "red", "label": "mine"}])
    def test_styles_replace_the_defaults(self, style):
        coef = np.vstack([self.true, [0.0, 0.1, 0.1]])
        display = WeightsDisplay(coef=coef, coef_true=self.true).plot(**style)
        assert {patch.get_facecolor() for patch in display.recovered_} == {(1.0, 0.0, 0.0, 1.0)}
        assert [bool(patch.get_hatch()) for patch in display.recovered_] == [False, False, True]
        kinds = ["mine"] if "label" in style else ["Recovered", "Recovered, no true partner"]
        assert self.kinds(display) == ["True", *kinds]

    def test_each_plot_has_a_figure_of_its_own(self):
        display = WeightsDisplay(coef=self.true, coef_true=self.true)
        first = display.plot().figure_
        assert display.plot().figure_ is not first
        assert len(display.recovered_) == len(display.true_) == 2
        assert {patch.figure for patch in display.recovered_ + display.true_} == {display.figure_}

    def test_given_axes_and_style(self):
        _, ax = plt.subplots()
        display = WeightsDisplay(coef=self.true, coef_true=self.true).plot(ax, facecolor="red")
        assert display.ax_ is ax
        assert display.figure_ is ax.figure
        assert {patch.get_facecolor() for patch in display.recovered_} == {(1.0, 0.0, 0.0, 1.0)}
        assert plt.get_fignums() == [ax.figure.number]

    def test_from_estimator(self):
        model = Holds(coef_=np.ones(3), hidden_coef_=self.true, feature_names_in_=np.array(["a", "b", "c"]))
        display = WeightsDisplay.from_estimator(model)
        assert len(display.recovered_) == 2
        assert display.true_ == []
        assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["a", "b", "c"]
        _, ax = plt.subplots()
        display = WeightsDisplay.from_estimator(Holds(coef_=np.ones(3)), coef_true=np.ones(3), ax=ax, alpha=0.5)
        assert display.ax_ is ax
        assert len(display.recovered_) == len(display.true_) == 1
        assert display.recovered_[0].get_alpha() == 0.5

    def test_refuses(self):
        with pytest.raises(NotFittedError, match="Holds has neither hidden_coef_ nor coef_: fit it first"):
            WeightsDisplay.from_estimator(Holds())
        for parameters, message in [
            ({"coef": [[np.nan]]}, "coef contains NaN"),
            ({"coef": np.zeros((0, 3))}, "minimum of 1 is required"),
            ({"coef": np.ones(3), "coef_true": [[np.inf]]}, "coef_true contains infinity"),
            ({"coef": np.ones(3), "coef_true": np.ones(2)}, "same number of columns, got 2 and 3"),
            ({"coef": np.ones(3), "names": ["a"]}, "names must have one name a feature, 3, got 1"),
        ]:
            with pytest.raises(ValueError, match=message):
                WeightsDisplay(**parameters).plot()
        assert not plt.get_fignums()


@pytest.mark.parametrize(
    "draw",
    [
        lambda: ConvergenceDisplay(curves={"a": [1.0]}).plot(),
        lambda: ConvergenceDisplay.from_estimator(Descends().fit()),
        lambda: RecoveryDisplay(success=[[1.0]], n_samples=[1], size=[1]).plot(),
        lambda: run_grid(Counts()),
        lambda: WeightsDisplay(coef=[1.0]).plot(),
        lambda: WeightsDisplay.from_estimator(Holds(coef_=np.ones(1))),
    ],
)
def test_without_matplotlib_the_error_names_the_extra(draw, monkeypatch):
    real_import = builtins.__import__

    def no_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_matplotlib)
    with pytest.raises(ImportError, match=r'needs matplotlib: pip install "skrelu\[plot\]"'):
        draw()
