"""Tables on the terminal and the picture."""

import shutil
import textwrap

import numpy as np
from measure import RECOVERED, group, plant, race, say
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from single_relu import L0_CONTENDERS, L1_CONTENDERS

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#767676")
WORDS = ("method", "set", "dtype", "network", "problem", "X in")  # columns of words
MARKERS = ("o", "s", "^", "x")


def show(table):
    """Print a table, with rich where it is installed."""
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except ImportError:
        _show_plain(table)
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=175)
    rich_table = Table(title=escape(table.title), title_justify="left", title_style="bold")
    for name in table.columns:
        rich_table.add_column(name, justify="left" if name in WORDS else "right")
    for i, row in enumerate(table.rows):
        key = table.columns.index("method") if "method" in table.columns else 0
        last = i + 1 == len(table.rows) or table.rows[i + 1][:key] != row[:key]
        rich_table.add_row(*map(escape, row), end_section=last and "method" in table.columns)
    console.print(rich_table)
    if table.note:
        console.print(escape(table.note), style="dim", highlight=False)
    console.print()


def _show_plain(table):
    widths = [max(len(cell) for cell in column) for column in zip(table.columns, *table.rows, strict=True)]
    print(table.title)
    for row in (table.columns, ["-" * width for width in widths], *table.rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(textwrap.fill(table.note, shutil.get_terminal_size().columns), end="\n\n")


def statistical_dimension(d=1000, s=20):
    """Return that of the descent cone of the l1 norm at a vector with s nonzero entries (Amelunxen et al. 2014)."""

    def expected_distance(tau):
        return s * (1 + tau**2) + (d - s) * 2 * ((1 + tau**2) * norm.sf(tau) - tau * norm.pdf(tau))

    return minimize_scalar(expected_distance, bounds=(0, 10), method="bounded").fun


def curves(options):
    """Return records of success against n, from 100 to 400, for the sets of the picture."""
    sizes = range(100, 401, 100 if options.quick else 25)
    records = []
    for name, contenders in (("l0", L0_CONTENDERS), ("l1", L1_CONTENDERS)):
        for n in sizes:
            say(f"plot: {name}, n = {n}")
            problems = [plant("Gaussian", n, seed) for seed in range(options.seeds)]
            records += race(dict(block="plot", set=name, law="Gaussian", n=n), contenders, problems)
    return records


def plot(records, path):
    """Draw the success rate against n, l0 beside l1; bars are 68 % Wilson intervals."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True, layout="constrained")
    titles = {"l0": "l0: 20 nonzero weights", "l1": "l1 ball of the true radius"}
    for ax, (name, title) in zip(axes, titles.items(), strict=True):
        draw_success(ax, [record for record in records if record["set"] == name])
        ax.set_title(f"{title}, of d = 1000", loc="left")
        ax.set(xlabel="Number of rows n", xlim=(92, 408), ylim=(-0.04, 1.04), xticks=range(100, 401, 50))
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("Success rate (relative error < 1e-6)")
    fig.suptitle("Recovery of one ReLU without noise, Gaussian weights; bars: 68 % intervals", fontsize="medium")
    _theory(axes[1])
    for ax in axes:
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.14), ncols=2, frameon=False, fontsize="small")
    fig.savefig(path, dpi=150)
    plt.close(fig)


def draw_success(ax, records, label="{} ({} trials)"):
    """Draw the share of successes of each method against n, with 68 % intervals; a label names it and its trials."""
    for i, (method, members) in enumerate(group(records, "method").items()):
        by_n = sorted(group(members, "n").items())
        n = np.array([key[0] for key, _ in by_n])
        trials = np.array([len(rs) for _, rs in by_n])
        hits = np.array([sum(r["error"] < RECOVERED for r in rs) for _, rs in by_n])
        low, high = _wilson(hits, trials)
        rate, x = hits / trials, n + 2.5 * (i - 1.5)  # side by side, lest the bars hide each other
        style = dict(color=COLOURS[i], zorder=4 - i / 10)
        ax.vlines(x, low, high, linewidth=1, alpha=0.6, **style)
        ax.plot(x, rate, marker=MARKERS[i], markersize=5, linewidth=2.4 if i == 0 else 1.3, **style)
        ax.lines[-1].set_label(label.format(method[0], trials.max()))


def _wilson(hits, trials, z=1.0):
    rate = hits / trials
    centre = (rate + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    return centre - half, centre + half


def _theory(ax):
    n = 2 * statistical_dimension()
    ax.axvline(n, color="black", linestyle=":", linewidth=1.2, label=f"theory for the ball alone, n = {n:.0f}")
