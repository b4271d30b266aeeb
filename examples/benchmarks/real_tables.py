"""Real tables: default parameters against regressors of scikit-learn with their usual tuning.

Needs ``pip install '.[benchmark]'``. The tables are those of `tables.py`, in two halves: one for choosing defaults, one
for reporting.
"""

import json
import time
import warnings
from pathlib import Path

import numpy as np
from measure import Block, Table, machine, say
from real_peers import PEERS, Model
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import HALVES, NAMES, load

from skrelu import OneHiddenLayerNet, OneHiddenLayerReLU, ProjectedReLURegressorCV, QuadraticNet, TwoLayerReLURecovery

FOLDS = KFold(5, shuffle=True, random_state=0)
BASELINE, CLOCK = "ridge", "mlp"  # what differences of R2 and times refer to
FEW_ROWS = 250  # tables of --quick have fewer
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00")
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "<", ">", "*")
REACH = 0.3  # differences beyond are drawn at the edge


def single_relu(X, y):
    """One ReLU with weights in an l1 ball: where y is not negative."""
    return ProjectedReLURegressorCV() if y.min() >= 0 else None


OURS = {
    "relu": Model("OneHiddenLayerReLU", lambda X, y: OneHiddenLayerReLU(random_state=0), ours=True),
    "net": Model("OneHiddenLayerNet", lambda X, y: OneHiddenLayerNet(random_state=0), ours=True),
    "quadratic": Model("QuadraticNet", lambda X, y: QuadraticNet(), ours=True),
    "two-layer": Model("TwoLayerReLURecovery", lambda X, y: TwoLayerReLURecovery(random_state=0), ours=True),
    "single": Model("ProjectedReLURegressorCV", single_relu, ours=True),
}
MODELS = OURS | PEERS
KINDS = {"ours": list(OURS), "peers": list(PEERS)}


def add_options(parser):
    """Add the options of this block to those of the command line."""
    group = parser.add_argument_group("block tables")
    group.add_argument("--half", choices=HALVES, default="reporting", help="of the tables (default reporting)")
    group.add_argument("--tables", nargs="+", choices=NAMES, help="these tables only", metavar="NAME")
    choices = [*KINDS, *MODELS]
    group.add_argument(
        "--models", nargs="+", choices=choices, help=f"fit these anew (default all): {', '.join(choices)}", metavar="M"
    )
    group.add_argument("--missing", action="store_true", help="fit only what the file of --results lacks")
    group.add_argument("--results", help="JSON file of these results: those in it are kept, new ones are added")
    group.add_argument("--picture", help="file for the picture: differences of R2 to Ridge, and ranks")


def real_tables(options):
    """Five-fold R2 of every model on every table; default parameters are ours, tuning is the peers'."""
    names = list(options.tables or HALVES[options.half])
    models = [model for name in options.models or KINDS for model in KINDS.get(name, [name])]
    results = Results(options.results)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for name in names:
            X, y = load(name)
            if options.quick and len(X) >= FEW_ROWS:
                continue
            # Without --models, what the file has is kept: an interrupted run goes on where it was.
            kept = results.models_of(name) if options.missing or not options.models else ()
            for model in models:
                if model not in kept:
                    results.add(fit(name, model, X, y))
    records = [record for record in results.records if record["table"] in names]
    if options.picture:
        draw(records, options.picture)
    return Block([summary(records)], records)


class Results:
    """Records of fits, kept in a file if there is one; a new record replaces the old one of its table and model."""

    def __init__(self, path):
        self.path = Path(path) if path else None
        known = self.path is not None and self.path.exists()
        self.records = json.loads(self.path.read_text())["records"] if known else []
        self.machine = machine()

    def models_of(self, name):
        """Return the models of which there are records for a table."""
        return [record["model"] for record in self.records if record["table"] == name]

    def add(self, record):
        """Keep a record, and write the file at once: a run may be stopped at any time."""
        key = record["table"], record["model"]
        self.records = [old for old in self.records if (old["table"], old["model"]) != key] + [record]
        if self.path:
            new = self.path.with_name(self.path.name + ".new")
            new.write_text(json.dumps({"machine": self.machine, "records": self.records}, indent=1, default=float))
            new.replace(self.path)


def fit(name, key, X, y):
    """Return the record of a model on a table: R2 and seconds (wall, processor) of each fold.

    Where the model is not tried, there are no folds. A fit that raises has R2 None, and its error in the record.
    """
    model = MODELS[key]
    record = dict(block="tables", table=name, model=key, ours=model.ours, n=len(X), d=X.shape[1])
    record |= dict(r2=[], seconds=[], processor_seconds=[], errors=[], time=time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    estimator = model.make(X, y)
    for train, test in FOLDS.split(X) if estimator is not None else ():
        pipeline = make_pipeline(StandardScaler(), clone(estimator))
        wall, processor = time.perf_counter(), time.process_time()
        try:
            pipeline.fit(X[train], y[train])
            r2 = r2_score(y[test], pipeline.predict(X[test]))
        except Exception as error:  # a table on which a model fails is a result, not the end of the run
            r2 = None
            record["errors"].append(f"{type(error).__name__}: {error}")
        record["seconds"].append(time.perf_counter() - wall)
        record["processor_seconds"].append(time.process_time() - processor)
        record["r2"].append(r2)
    if record["r2"]:
        failures = f", {len(record['errors'])} failed" if record["errors"] else ""
        say(f"tables: {name}, {key}: R2 {mean_r2(record):.3f}, {sum(record['seconds']):.1f} s{failures}")
    return record


def mean_r2(record):
    """Return the mean over the folds, NaN if a fit failed."""
    return float(np.mean(np.array(record["r2"], dtype=float)))


def score_table(records):
    """Return names of tables and models, and an array of R2 (tables, models) with NaN where there is none."""
    records = [record for record in records if record["r2"]]
    tables = sorted({record["table"] for record in records})
    present = {record["model"] for record in records}
    models = [model for model in MODELS if model in present]
    scores = np.full((len(tables), len(models)), np.nan)
    for record in records:
        scores[tables.index(record["table"]), models.index(record["model"])] = mean_r2(record)
    return tables, models, scores


def mean_ranks(scores):
    """Return the mean rank (1 the best) of each model that has a score on every table, NaN for the others."""
    ranks = np.full(scores.shape[1], np.nan)
    everywhere = np.isfinite(scores).all(axis=0)
    ranks[everywhere] = rankdata(-scores[:, everywhere], axis=1).mean(axis=0)
    return ranks


def summary(records):
    """Return the table for readers: a row for each model."""
    tables, models, scores = score_table(records)
    columns = ["method", "tables", "mean R2", "median R2", "mean rank", "minus Ridge", "worst minus Ridge", "at"]
    table = Table(
        f"Five-fold R2 on {len(tables)} real tables",
        [*columns, "seconds", "times MLP"],
        note="Mean and median over tables of the mean over folds; nothing is clipped. Rank: among the methods that "
        "have a score on every table. Minus Ridge: difference of R2 to RidgeCV, on the tables that the method has; "
        "mean, and the worst one with its table. Seconds: processor time of all fits with their tuning, and over that "
        "of MLPRegressor (Adam) on the same tables. skrelu has default parameters.",
    )
    ranks = mean_ranks(scores)
    seconds = {(r["model"], r["table"]): sum(r["processor_seconds"]) for r in records}
    for j, model in enumerate(models):
        has = np.isfinite(scores[:, j])
        label = f"skrelu {MODELS[model].label}" if MODELS[model].ours else MODELS[model].label
        means = [f"{f(scores[has, j]):.3f}" if has.any() else "-" for f in (np.mean, np.median)]
        cells = [label, f"{has.sum()}/{len(tables)}", *means]
        cells += [f"{ranks[j]:.1f}" if np.isfinite(ranks[j]) else "-", *_differences(tables, models, scores, j)]
        timed = [name for name in tables if (model, name) in seconds and seconds[model, name] > 0]
        own = sum(seconds[model, name] for name in timed)
        clock = sum(seconds.get((CLOCK, name), np.nan) for name in timed)
        table.rows.append([*cells, f"{own:.1f}", f"{own / clock:.2g}" if np.isfinite(clock) else "-"])
    return table


def _differences(tables, models, scores, j):
    """Return the cells of the mean and of the worst difference to the baseline."""
    if BASELINE not in models:
        return ["-"] * 3
    difference = scores[:, j] - scores[:, models.index(BASELINE)]
    if models[j] == BASELINE or not np.isfinite(difference).any():
        return ["-"] * 3
    worst = int(np.nanargmin(difference))
    return [f"{np.nanmean(difference):+.3f}", f"{difference[worst]:+.3f}", tables[worst]]


def draw(records, path):
    """Draw a row for each table, a dot for the R2 of each model minus that of Ridge; mean ranks beside them."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    tables, models, scores = score_table(records)
    if BASELINE not in models:
        say(f"no picture: it needs results of {BASELINE}")
        return
    baseline = scores[:, models.index(BASELINE)]
    order = np.argsort(baseline)
    height = 2 + 0.24 * max(len(tables), len(models))
    fig, (left, right) = plt.subplots(1, 2, figsize=(12, height), width_ratios=(3, 1), layout="constrained")
    look = styles(models)
    rows = np.arange(len(tables))
    for j, model in enumerate(models):
        if model == BASELINE:
            continue
        difference = (scores[:, j] - baseline)[order]
        left.plot(np.clip(difference, -REACH, REACH), rows, linestyle="", label=MODELS[model].label, **look[model])
    left.set_yticks(rows, [f"{tables[i]}  {baseline[i]:.2f}" for i in order])
    left.axvline(0, color="black", linewidth=1)
    left.set(xlim=(-1.04 * REACH, 1.04 * REACH), ylim=(-0.7, len(tables) - 0.3))
    left.set_xlabel(f"R2 minus that of RidgeCV (beside the names); beyond {REACH} at the edge")
    left.grid(alpha=0.25)
    fig.legend(loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    draw_ranks(right, models, mean_ranks(scores), look)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    fig.savefig(path, dpi=130)
    plt.close(fig)


def styles(models):
    """Return the style of each model: ours in colour and in front, peers in grey."""
    own = [model for model in models if MODELS[model].ours]
    peers = [model for model in models if not MODELS[model].ours]
    own_styles = {m: dict(color=COLOURS[i], marker="osD^v"[i], markersize=7, zorder=4) for i, m in enumerate(own)}
    grey = dict(color="#888888", markerfacecolor="none", markersize=5, zorder=3)
    return own_styles | {model: grey | dict(marker=MARKERS[i]) for i, model in enumerate(peers)}


def draw_ranks(ax, models, ranks, look):
    """Draw the mean ranks, the best on top."""
    ranked = sorted((j for j in range(len(models)) if np.isfinite(ranks[j])), key=lambda j: -ranks[j])
    for row, j in enumerate(ranked):
        ax.plot(ranks[j], row, linestyle="", **look[models[j]])
    ax.set_yticks(range(len(ranked)), [MODELS[models[j]].label for j in ranked], fontsize="small")
    ax.set(xlabel="Mean rank", ylim=(-0.7, len(ranked) - 0.3))
    ax.grid(alpha=0.25)
