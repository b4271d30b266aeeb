"""Where recovery of planted weights sets in: the phase-transition map."""

from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_array, check_random_state
from sklearn.utils.parallel import Parallel, delayed

from skrelu.metrics import recovery_error
from skrelu.plotting.base import pyplot, styled, vector


class RecoveryDisplay:
    """Phase transition: how often the planted weights are recovered exactly.

    Each cell of the heat map shows the fraction of trials that recover weights of some size (sparsity, rank, width)
    from some number of samples, from dark (never) to light (always).

    Parameters
    ----------
    success : array-like of shape (n_sizes, n_counts)
        Fractions in [0, 1].
    n_samples : array-like of shape (n_counts,)
        Numbers of samples of the columns, increasing.
    size : array-like of shape (n_sizes,)
        Sizes of the rows, increasing, in the units of the constraint.
    theory : array-like of shape (n_sizes,), default=None
        Number of samples that a theorem asks for at each size, drawn as a curve.
    size_name : str, default="Size"
        Label of the vertical axis, such as "Number of nonzeros".

    Attributes
    ----------
    mesh_ : matplotlib QuadMesh
        The heat map.
    theory_line_ : matplotlib Line2D or None
        The theoretical curve.
    colorbar_ : matplotlib Colorbar or None
        The scale of the heat map.
    ax_ : matplotlib Axes
        Axes drawn on.
    figure_ : matplotlib Figure
        Figure that holds the axes.

    See Also
    --------
    RecoveryDisplay.from_estimator : Run the trials of an estimator and draw them.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skrelu.plotting import RecoveryDisplay
    >>> success = [[0.2, 1.0, 1.0], [0.0, 0.3, 1.0]]
    >>> display = RecoveryDisplay(success=success, n_samples=[50, 100, 150], size=[5, 10], theory=[60, 120]).plot()
    >>> display.mesh_.get_clim()
    (0.0, 1.0)
    >>> plt.close(display.figure_)
    """

    def __init__(self, *, success, n_samples, size, theory=None, size_name="Size"):
        self.success = success
        self.n_samples = n_samples
        self.size = size
        self.theory = theory
        self.size_name = size_name

    def plot(self, ax=None, *, colorbar=True, **kwargs):
        """Draw the heat map and the theoretical curve.

        Cells meet half-way between neighbouring values of the grid. Axes are true to scale: a logarithmic one where the
        largest step of the grid is more than five times its smallest, a linear one else.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure if None.
        colorbar : bool, default=True
            Whether to draw the scale of the colours beside the axes; of several maps one may be enough.
        **kwargs : dict
            Passed to ``Axes.pcolormesh``. The colour map is "cividis" by default: its lightness increases evenly, in
            grey and for the colour-blind, too.

        Returns
        -------
        RecoveryDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If shapes do not agree, `n_samples` or `size` do not increase, or `success` leaves [0, 1].
        """
        plt = pyplot("RecoveryDisplay.plot")
        from matplotlib.collections import QuadMesh

        success, n_samples, size, theory = self._validated()
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        limits = {} if "norm" in kwargs else {"vmin": 0.0, "vmax": 1.0}
        style = styled({"cmap": "cividis", **limits}, kwargs, QuadMesh)
        self.mesh_ = ax.pcolormesh(_cell_edges(n_samples), _cell_edges(size), success, **style)
        ax.set(xlabel="Number of samples", ylabel=self.size_name)
        # Wide numbers need wide gaps; the height of all is the same.
        _scale_axis(ax.xaxis, n_samples, 0.05 + 0.02 * len(f"{n_samples[-1]:,.10g}"))
        _scale_axis(ax.yaxis, size, 0.05)
        label = "Fraction of exact recoveries"
        self.colorbar_ = ax.figure.colorbar(self.mesh_, ax=ax, label=label) if colorbar else None
        self.theory_line_ = None if theory is None else _draw_theory(ax, theory, size)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator,
        *,
        make_data,
        n_samples,
        sizes,
        set_size,
        n_trials=10,
        tol=1e-6,
        random_state=None,
        n_jobs=None,
        theory=None,
        size_name="Size",
        ax=None,
        colorbar=True,
        **kwargs,
    ):
        """Plant, fit, and count exact recoveries over a grid.

        A trial succeeds when ``recovery_error(coef_true, fitted.coef_) < tol``. For weights stored under other names,
        compute the fractions and pass them to the constructor.

        Parameters
        ----------
        estimator : estimator
            Cloned for each trial. Where its `random_state` is None, the trial sets it.
        make_data : callable
            ``make_data(n_samples, size, random_state) -> (X, y, coef_true)``; random_state is an int.
        n_samples : array-like of shape (n_counts,)
            Numbers of samples, increasing.
        sizes : array-like of shape (n_sizes,)
            Sizes, increasing.
        set_size : callable
            ``set_size(estimator, size) -> estimator`` tells the clone the planted size, for instance
            ``lambda e, s: e.set_params(constraint=L0Ball(s))``.
        n_trials : int, default=10
            Trials of each cell.
        tol : float, default=1e-6
            Relative error below which the recovery counts as exact; without unit.
        random_state : int, RandomState instance or None, default=None
            Seed. Each trial has a seed of its own, by its place in the grid: results do not depend on `n_jobs`.
        n_jobs : int, default=None
            Number of parallel jobs over the trials, as in joblib.
        theory : array-like of shape (n_sizes,), default=None
            Number of samples that a theorem asks for at each size.
        size_name : str, default="Size"
            Label of the vertical axis.
        ax : matplotlib Axes, default=None
            Axes to draw on; a new figure if None.
        colorbar : bool, default=True
            Whether to draw the scale of the colours beside the axes.
        **kwargs : dict
            Passed to ``Axes.pcolormesh``.

        Returns
        -------
        RecoveryDisplay
            The display, drawn; `success` holds the fractions.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `n_samples` or `sizes` do not increase, `theory` has another length, or `n_trials` is below 1. All
            this is checked before the first trial.

        Examples
        --------
        Orthogonal matching pursuit on noiseless linear data:

        >>> import matplotlib.pyplot as plt
        >>> from sklearn.linear_model import OrthogonalMatchingPursuit
        >>> from skrelu.datasets import make_relu_regression
        >>> from skrelu.plotting import RecoveryDisplay
        >>> def make_data(n_samples, size, random_state):
        ...     X, _, teacher = make_relu_regression(
        ...         n_samples, 50, n_nonzero=size, return_teacher=True, random_state=random_state
        ...     )
        ...     return X, X @ teacher.coef_, teacher.coef_
        >>> display = RecoveryDisplay.from_estimator(
        ...     OrthogonalMatchingPursuit(fit_intercept=False),
        ...     make_data=make_data,
        ...     n_samples=[10, 30],
        ...     sizes=[1, 4],
        ...     set_size=lambda estimator, size: estimator.set_params(n_nonzero_coefs=size),
        ...     random_state=0,
        ... )
        >>> display.success.tolist()
        [[0.8, 1.0], [0.1, 1.0]]
        >>> plt.close(display.figure_)
        """
        pyplot(f"{cls.__name__}.from_estimator")
        if not isinstance(n_trials, Integral) or n_trials < 1:
            raise ValueError(f"n_trials must be an integer >= 1, got {n_trials!r}.")
        display = cls(
            success=np.zeros((len(sizes), len(n_samples))),
            n_samples=n_samples,
            size=sizes,
            theory=theory,
            size_name=size_name,
        )
        display._validated()
        trials = [(n, size) for size in sizes for n in n_samples for _ in range(n_trials)]
        outcomes = Parallel(n_jobs=n_jobs)(
            delayed(_recovers)(estimator, make_data, n, size, set_size, tol, seed)
            for (n, size), seed in zip(trials, _seeds(random_state, len(trials)), strict=True)
        )
        display.success = np.reshape(outcomes, (len(sizes), len(n_samples), n_trials)).mean(axis=2)
        return display.plot(ax, colorbar=colorbar, **kwargs)

    def _validated(self):
        """Return success, n_samples, size and theory as arrays that fit together."""
        n_samples, size = vector(self.n_samples, "n_samples"), vector(self.size, "size")
        for name, values in (("n_samples", n_samples), ("size", size)):
            if np.any(np.diff(values) <= 0):
                raise ValueError(f"{name} must increase, got {values.tolist()}.")
        success = check_array(self.success, dtype=np.float64, input_name="success")
        if success.shape != (len(size), len(n_samples)):
            raise ValueError(
                f"success must have one row a size and one column a number of samples, {(len(size), len(n_samples))}, "
                f"got shape {success.shape}."
            )
        if success.min() < 0 or success.max() > 1:
            raise ValueError(f"success must lie in [0, 1], got values in [{success.min()}, {success.max()}].")
        theory = None if self.theory is None else vector(self.theory, "theory")
        if theory is not None and len(theory) != len(size):
            raise ValueError(f"theory must have one value a size, {len(size)}, got {len(theory)}.")
        return success, n_samples, size, theory


def _recovers(estimator, make_data, n_samples, size, set_size, tol, seed):
    """Run one trial: whether the planted weights are recovered to relative error `tol`."""
    data_seed, fit_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(2))
    X, y, coef_true = make_data(n_samples, size, data_seed)
    model = set_size(clone(estimator), size)
    unseeded = [
        name
        for name, value in model.get_params().items()
        if value is None and (name == "random_state" or name.endswith("__random_state"))
    ]
    model.set_params(**dict.fromkeys(unseeded, fit_seed)).fit(X, y)
    return recovery_error(coef_true, model.coef_) < tol


def _seeds(random_state, n_seeds):
    """Return seeds that depend on `random_state` and their place alone."""
    entropy = check_random_state(random_state).randint(2**32, size=4, dtype=np.uint32)
    return np.random.SeedSequence(entropy).generate_state(n_seeds).tolist()


def _is_logarithmic(values):
    """Whether steps differ so much that the small ones would vanish on a linear axis."""
    steps = np.diff(values)
    return len(steps) > 1 and values[0] > 0 and steps.max() > 5 * steps.min()


def _cell_edges(values):
    """Return the midpoints between values, and as far beyond the outer ones; a single value has width 1."""
    if _is_logarithmic(values):
        return np.exp(_midpoints(np.log(values)))
    return _midpoints(values) if len(values) > 1 else values[0] + np.array([-0.5, 0.5])


def _midpoints(values):
    middle = (values[:-1] + values[1:]) / 2
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])


def _scale_axis(axis, values, spacing):
    """Scale an axis as its grid is spaced, with ticks at grid values further apart than a fraction of its length."""
    logarithmic = _is_logarithmic(values)
    axis.axes.set(**{f"{axis.axis_name}scale": "log" if logarithmic else "linear"})
    places = np.log(values) if logarithmic else values
    ticks = [0]
    for i, place in enumerate(places):
        if place - places[ticks[-1]] >= spacing * (places[-1] - places[0]) > 0:
            ticks.append(i)
    axis.set_ticks(values[ticks])
    axis.set_ticks([], minor=True)
    axis.set_major_formatter("{x:,.10g}")


def _draw_theory(ax, theory, size):
    """Draw the number of samples that theory asks for: white with a black rim, legible on any colour."""
    from matplotlib.patheffects import withStroke

    limits = ax.get_xlim(), ax.get_ylim()
    rim = {"color": "white", "path_effects": [withStroke(linewidth=4, foreground="black")]}
    (line,) = ax.plot(theory, size, linewidth=2, marker="o", label="Theory", **rim)
    ax.set(xlim=limits[0], ylim=limits[1])
    inside = np.flatnonzero((theory > limits[0][0]) & (theory < limits[0][1]))
    if inside.size:
        # Named at its end, on the side of the few samples, where nothing is recovered, if there is room.
        end = theory[inside[-1]], size[inside[-1]]
        room = ax.transAxes.inverted().transform(ax.transData.transform(end))[0] > 0.3
        place = {"xytext": (-9 if room else 9, 0), "ha": "right" if room else "left", "va": "center"}
        ax.annotate("Theory", end, textcoords="offset points", **place, **rim)
    return line
