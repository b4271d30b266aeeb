"""The picture of the front page: what is recovered from how few rows, how exactly, and ranks on real tables."""

import numpy as np
from measure import Contender, group, plant, race, say
from one_hidden_layer import FITS, PEERS
from one_hidden_layer import plant as plant_network
from real_tables import HALVES, Results, draw_ranks, mean_ranks, score_table, styles
from report import draw_success
from single_relu import L0_CONTENDERS

N_FEATURES, N_HIDDEN, N_SAMPLES = 50, 5, 500  # of the planted network: two rows a weight
OURS, PEER = "#0072b2", "#767676"


def cover(options):
    """Return records of the two planted panels: one ReLU from few rows, errors of a hidden layer."""
    say("cover: one ReLU, one hidden layer")
    seeds = range(options.seeds)
    records = []
    for n in range(100, 401, 100 if options.quick else 25):
        problems = [plant("Gaussian", n, seed) for seed in seeds]
        records += race(dict(block="cover", panel="rows", n=n), L0_CONTENDERS, problems)
    contenders = [FITS[0], *(Contender(*PEERS[name]) for name in ("lbfgs", "mlp"))]
    problems = [plant_network("signed", N_FEATURES, N_HIDDEN, N_SAMPLES, seed) for seed in seeds]
    return records + race(dict(block="cover", panel="errors"), contenders, problems)


def draw(records, path, results):
    """Draw the panels, the ranks from the file of results of real tables."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = group(records, "panel")
    fig, axes = plt.subplots(1, 3, figsize=(13, 4.6), width_ratios=(1, 1, 0.8), layout="constrained")
    _draw_rows(axes[0], panels[("rows",)])
    _draw_errors(axes[1], panels[("errors",)])
    _draw_tables(axes[2], Results(results).records)
    for ax in axes:
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    fig.savefig(path, dpi=130)
    plt.close(fig)


def _draw_rows(ax, records):
    """Draw the share of exact recoveries against the number of rows."""
    draw_success(ax, records, label="{}")
    ax.set_title("One ReLU: 20 of 1000 weights nonzero, Gaussian", loc="left", fontsize="medium")
    ax.set(xlabel="Rows", ylabel="Share recovered (relative error < 1e-6)", ylim=(-0.03, 1.03))
    ax.legend(loc="upper right", bbox_to_anchor=(1.02, 0.92), frameon=False, fontsize=8)


def _draw_errors(ax, records):
    """Draw the error of each fit, a row for each method; networks spread over its height."""
    methods = list(reversed(group(records, "method").values()))
    for row, members in enumerate(methods):
        heights = row + 0.5 * (np.linspace(0, 1, len(members)) - 0.5)
        errors = np.clip([member["error"] for member in members], 1e-16, None)
        ours = members[0]["ours"]
        ax.plot(errors, heights, "o" if ours else "x", color=OURS if ours else PEER, markersize=5, alpha=0.8)
        ax.text(2e-16, row + 0.33, members[0]["method"], fontsize="small")
    ax.set(yticks=[], ylim=(-0.5, len(methods) - 0.3))
    ax.set_title(f"{N_HIDDEN} ReLUs of {N_FEATURES} columns, {N_SAMPLES} rows", loc="left", fontsize="medium")
    ax.set(xscale="log", xlabel="Relative error, one mark a planted network", xlim=(1e-16, 3))


def _draw_tables(ax, records):
    """Draw the mean ranks on the reporting half of the real tables."""
    names = HALVES["reporting"]
    tables, models, scores = score_table([record for record in records if record["table"] in names])
    draw_ranks(ax, models, mean_ranks(scores), styles(models))
    ax.set_title(f"{len(tables)} real tables, ours by default", loc="left", fontsize="medium")
    ax.set_xlabel("Mean rank by R2 (1 is best)")
