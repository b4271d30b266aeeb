"""``skrelu compare``: cross-validate, print the ranked table, write the plot and the JSON file."""

import json
import math
import os
import platform
from pathlib import Path

import numpy as np
import scipy
import sklearn

import skrelu
from skrelu._cli import plot
from skrelu._cli.console import InputError, complain, count, print_table, progress, say
from skrelu._cli.crossval import cross_validate, make_folds, rank
from skrelu._cli.models import OURS, default_names, parse_names
from skrelu._cli.tables import diabetes, read_csv

HEADER = ("model", "R2 mean", "R2 std", "fit seconds per fold")


def compare(arguments):
    """Run the command and return its exit status; everything that can be refused is refused before the first fit."""
    names = parse_names(arguments.models)
    for option in ("json", "plot"):
        _check_output(f"--{option}", getattr(arguments, option), arguments.table)
    if arguments.plot is not None:
        plot.check(arguments.plot)
    table = diabetes(arguments.target) if arguments.table is None else read_csv(arguments.table, arguments.target)
    table, folds, fold_notes = make_folds(table, arguments.cv, arguments.seed)
    model_notes = []
    if names is None:
        names, model_notes = default_names(len(table.y))
    for note in (*table.notes, *fold_notes, *model_notes):
        complain("note", note)

    results, interrupted = _run(table, folds, names, arguments)
    scores = rank(table, folds, results)
    title = _title(table, folds)
    if scores:
        _print_scores(title, scores, len(folds))
    if interrupted:
        complain("error", f"interrupted: {len(scores)} of {len(names)} models finished")
        return 130
    if arguments.json is not None:
        _write_json(arguments.json, table, folds, arguments.seed, scores)
    succeeded = [score for score in scores if score.error is None]
    if arguments.plot is not None and succeeded:
        _write(arguments.plot, lambda path: plot.draw(path, title, succeeded, OURS))
    return 0 if len(succeeded) == len(scores) else 1


def _run(table, folds, names, arguments):
    """Return the results of all folds, or of those that were done when the user interrupted, and whether he did."""
    results = []
    running = [name for name in names for _ in folds]
    try:
        with progress(len(running)) as report:
            report(0, running[0])
            for result in cross_validate(table, folds, names, arguments.seed, arguments.jobs):
                results.append(result)
                report(len(results), running[min(len(results), len(running) - 1)])
    except KeyboardInterrupt:
        return results, True
    return results, False


def _check_output(option, path, table):
    """Refuse a path that cannot be written, or that is the table itself."""
    if path is None:
        return
    target = Path(path)
    folder = target.parent
    if target.is_dir():
        raise InputError(f"{option}: {path} is a folder")
    if not folder.is_dir():
        raise InputError(f"{option}: there is no folder {folder}")
    if not os.access(target if target.exists() else folder, os.W_OK):
        raise InputError(f"{option}: no permission to write {path}")
    if table is not None and target.exists() and Path(table).exists() and target.samefile(table):
        raise InputError(f"{option}: {path} is the table itself")


def _title(table, folds):
    kinds = [f"{len(table.numeric)} numeric", f"{len(table.categorical)} categorical"]
    if table.n_constant:
        kinds.append(f"{table.n_constant} constant, left out")
    return (
        f"{table.name}: {len(table.y)} rows, {count(table.n_columns, 'column')} ({', '.join(kinds)}), "
        f"target {table.target!r}, {len(folds)} folds"
    )


def _print_scores(title, scores, n_folds):
    rows = []
    for score in scores:
        if score.error is not None:
            rows.append((score.model, "failed", "", ""))
            continue
        name = score.model + ("*" if score.n_not_converged else "")
        rows.append((name, _number(score.r2_mean), _number(score.r2_std), f"{score.fit_seconds:.3f}"))
    say(title)
    print_table(HEADER, rows, [i for i, score in enumerate(scores) if score.model in OURS])
    unfinished = [f"{score.model} in {score.n_not_converged}" for score in scores if score.n_not_converged]
    if unfinished:
        say(f"* did not converge: {', '.join(unfinished)} of {n_folds} folds")
    for score in scores:
        if score.error is not None:
            complain("error", f"{score.model} failed: {score.error}")
            continue
        for warning in score.warnings:
            complain("note", f"{score.model}: {warning}")


def _number(value):
    return "-" if math.isnan(value) else f"{value:.4f}" if abs(value) < 1000 else f"{value:.3g}"


def _write(path, writer):
    try:
        writer(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def _write_json(path, table, folds, seed, scores):
    """Write the results as strict JSON: what is not a finite number is null."""
    content = {
        "table": table.name,
        "n_rows": len(table.y),
        "n_columns": table.n_columns,
        "n_numeric": len(table.numeric),
        "n_categorical": len(table.categorical),
        "n_constant": table.n_constant,
        "target": table.target,
        "cv": len(folds),
        "seed": seed,
        "results": [_as_json(score) for score in scores],
        "versions": {
            "python": platform.python_version(),
            "skrelu": skrelu.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    _write(path, lambda path: Path(path).write_text(text, encoding="utf-8"))


def _as_json(score):
    return {
        "model": score.model,
        "r2_mean": _finite(score.r2_mean),
        "r2_std": _finite(score.r2_std),
        "r2_folds": [_finite(r2) for r2 in score.r2_folds],
        "fit_seconds": _finite(score.fit_seconds),
        "folds_not_converged": score.n_not_converged,
        "error": score.error,
    }


def _finite(value):
    return float(value) if math.isfinite(value) else None
