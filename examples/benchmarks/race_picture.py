"""The picture of the race: error against time, one problem of each kind."""

import time
import warnings

import numpy as np
from measure import group, say
from race import OURS, OURS_PAPER, QUICK_SECONDS, SECONDS, SETTINGS, SHOWN

PROBLEMS, QUICK_PROBLEMS = 5, 2
LIMIT = SECONDS / 2  # no new start begins later on a problem
TITLES = dict(zip("ABCD", ("One ReLU, ", "One hidden layer, ", "", "Two layers, "), strict=True))
SMALLEST = 1e-16  # error at the bottom of the picture
STEP = 1.02  # factor in time between two points of a curve, at least
# Each differs from the others in colour, in its grey, and in line or marker.
STYLES = {
    OURS: dict(color="black", marker="o"),
    OURS_PAPER: dict(color="black", marker="o", markerfacecolor="white"),
    "least squares, rows y > 0": dict(color="#d55e00", marker="s"),
    "L-BFGS, spectral start (*)": dict(color="#d55e00", marker="s"),
    "nuclear norm, proximal gradient (*)": dict(color="#cc79a7", marker="X"),
    "pyscnn, gated ReLUs": dict(color="#cc79a7", marker="X"),
    "L-BFGS": dict(color="#0072b2", linewidth=2.2),
    "L-BFGS, W and v (*)": dict(color="#0072b2", linewidth=2.2),
    "variable projection (*)": dict(color="#0072b2", linewidth=2.2),
    "L-BFGS, W; v told (**)": dict(color="#56b4e9", linewidth=2.2, linestyle=(0, (5, 1.5))),
    "L-BFGS, U and V (*)": dict(color="#56b4e9", linewidth=2.2, linestyle=(0, (5, 1.5))),
    "least_squares": dict(color="#56b4e9", marker="^"),
    "MLPRegressor, lbfgs": dict(color="#009e73", marker="v"),
    "MLPRegressor, adam": dict(color="#009e73", linewidth=1.4, linestyle=(0, (6, 1.5, 1, 1.5))),
    "torch, LBFGS": dict(color="#767676", linewidth=1.4),
    "torch, Adam": dict(color="#767676", linewidth=1.6, linestyle=(0, (1, 1.2))),
}


def traces(options):
    """Return records of curves: seconds and the smallest error so far, of each method and problem."""
    records, limit = [], QUICK_SECONDS if options.quick else LIMIT
    for part, name in SHOWN:
        make, runners, _ = SETTINGS[part, name]
        for seed in range(QUICK_PROBLEMS if options.quick else PROBLEMS):
            say(f"race, picture: {part}, {name}, problem {seed}")
            problem = make(seed)
            for runner in runners:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    points = _trace(runner, problem, limit)
                setting = dict(block="race-picture", part=part, setting=name, method=runner.name, seed=seed)
                records.append(setting | dict(zip(("seconds", "error"), points.T.tolist(), strict=True)))
    return records


def _trace(runner, problem, limit):
    """Return (seconds, error) of the iterates of restarts until one succeeds; evaluations of errors take no time."""
    points, spent, start = [], 0.0, 0
    while not points or (runner.restarts and points[-1][1] >= runner.aim and spent < limit):
        seen, begin = [], time.perf_counter()
        fit = runner.trial(problem, start, lambda f: seen.append((time.perf_counter(), f)))  # noqa: B023
        end, last = time.perf_counter(), 0.0
        for at, iterate in seen:
            elapsed = spent + at - begin
            if elapsed >= STEP * last:
                points.append((elapsed, problem.error(iterate())))
                last = elapsed
        spent, start = spent + end - begin, start + 1
        points.append((spent, problem.error(fit)))
    points = np.array(points)
    points[:, 1] = np.minimum.accumulate(np.nan_to_num(points[:, 1], nan=np.inf))
    return points


def draw(records, path):
    """Draw a panel for each kind: markers for fits that show nothing before their end, curves for the others."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, 2, figsize=(11, 10.4), sharey=True, layout="constrained")
    for ax, ((part, name), members) in zip(axes.flat, group(records, "part", "setting").items(), strict=True):
        for (method,), own in group(members, "method").items():
            _draw_method(ax, own, STYLES[method], method, max(r["seconds"][-1] for r in members))
        title = TITLES[part] + name
        ax.set_title(title[0].upper() + title[1:], loc="left")
        ax.set(xscale="log", yscale="log", ylim=(SMALLEST / 3, 3), xlabel="Time, restarts included (seconds)")
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.14), ncols=2, frameon=False, fontsize="small")
    for ax in axes[:, 0]:
        ax.set_ylabel("Relative error")
    fig.savefig(path, dpi=130)
    plt.close(fig)


def _draw_method(ax, records, style, label, end):
    """Draw the last point of each problem, or the median over problems of the smallest error so far."""
    if "marker" in style:
        last = np.array([(record["seconds"][-1], record["error"][-1]) for record in records])
        order = dict(markersize=6, linestyle="", markeredgecolor=style["color"], zorder=4)
        ax.plot(last[:, 0], np.clip(last[:, 1], SMALLEST, 1), label=label, **order, **style)
        return
    grid = np.geomspace(min(record["seconds"][0] for record in records), end, 400)
    curves = [
        np.concatenate([[1.0], record["error"]])[np.searchsorted(record["seconds"], grid, side="right")]
        for record in records
    ]
    ax.plot(grid, np.clip(np.median(curves, axis=0), SMALLEST, 1), drawstyle="steps-post", label=label, **style)
