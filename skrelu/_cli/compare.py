"""``skrelu compare``: cross-validate, print the ranked table, write the plot, the JSON file and the best model."""

import json
import math
import platform
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import scipy
import sklearn

import skrelu
from skrelu._cli import outputs, plot, saved
from skrelu._cli.console import InputError, complain, count, print_table, progress, say
from skrelu._cli.crossval import cross_validate, fit_fold, rank
from skrelu._cli.effects import find_effects
from skrelu._cli.folds import make_folds
from skrelu._cli.models import OURS, default_names, parse_names
from skrelu._cli.plot_effects import EffectsOfModel
from skrelu._cli.tables import diabetes, read_csv

HEADER = ("model", "R2 mean", "R2 std", "fit seconds per fold")


def compare(arguments):
    """Run the command and return its exit status; everything that can be refused is refused before the first fit."""
    names = parse_names(arguments.models)
    outputs.check(arguments, ("json", "plot", "save"), {"the table": arguments.table})
    if arguments.plot is not None:
        plot.check(arguments.plot)
    if arguments.save is not None:
        saved.check("--save")
    table, folds, notes = _read(arguments)
    if names is None:
        names, model_notes = default_names(len(table.y))
        notes += model_notes
    for note in notes:
        complain("note", note)

    results, interrupted = _run(table, folds, names, arguments)
    scores = rank(table, folds, results)
    title = _title(table, folds, arguments)
    if scores:
        _print_scores(title, scores, len(folds))
    if interrupted:
        complain("error", f"interrupted: {len(scores)} of {len(names)} models finished")
        return 130
    if arguments.json is not None:
        outputs.write(arguments.json, _json(table, folds, arguments, scores))
    succeeded = [score for score in scores if score.error is None]
    if arguments.plot is not None and succeeded:
        effects = _effects(table, folds, succeeded, results, arguments.seed)
        outputs.write(arguments.plot, plot.draw(arguments.plot, title, succeeded, OURS, effects))
    is_saved = arguments.save is None or (bool(succeeded) and _save(table, succeeded[0].model, arguments))
    return 0 if is_saved and len(succeeded) == len(scores) else 1


def _read(arguments):
    """Return the table, the folds and a list of notes."""
    aside = [name for name in (arguments.groups, arguments.time) if name is not None]
    if arguments.table is None:
        table = diabetes(arguments.target, aside)
    else:
        table = read_csv(arguments.table, arguments.target, aside)
    table, folds, notes = make_folds(table, arguments.cv, arguments.seed, arguments.groups, arguments.time)
    return table, folds, [*table.notes, *notes]


def _run(table, folds, names, arguments):
    """Return the results of all folds, or of those that were done when the user interrupted, and whether he did."""
    results = []
    running = [name for name in names for _ in folds]
    keep = OURS if arguments.plot is not None else ()
    try:
        with progress(len(running)) as report:
            report(0, running[0])
            for result in cross_validate(table, folds, names, arguments.seed, arguments.jobs, keep):
                results.append(result)
                report(len(results), running[min(len(results), len(running) - 1)])
    except KeyboardInterrupt:
        return results, True
    except BrokenProcessPool as error:
        raise InputError("--jobs: a process died, as where memory is short; fewer of them need less") from error
    return results, False


def _effects(table, folds, scores, results, seed):
    """Return the effects of the best of ours, None if there is none of ours."""
    best = next((score.model for score in scores if score.model in OURS), None)
    if best is None:
        return None
    fitted = [result.fitted for result in results if result.model == best]
    with progress(len(table.names)) as report:
        found = find_effects(table, folds, fitted, seed, lambda n, column: report(n, f"effect of {column}"))
    return EffectsOfModel(best, found, table.target, float(np.mean(table.y)))


def _save(table, name, arguments):
    """Fit a model to all rows, save it, and return whether that worked."""
    rows = np.arange(len(table.y))
    with progress(1) as report:
        report(0, f"{name} on all rows")
        result = fit_fold(name, table, rows, rows, arguments.seed, keep=True)
    if result.error is not None:
        complain("error", f"{name} failed on all rows, nothing is saved: {result.error}")
        return False
    outputs.write(arguments.save, saved.dump(name, result.fitted, table))
    say(f"{name}, the first of the table, fitted on all {len(rows)} rows, is saved as {arguments.save}")
    return True


def _title(table, folds, arguments):
    kinds = [f"{len(table.numeric)} numeric", f"{len(table.categorical)} categorical"]
    if table.n_constant:
        kinds.append(f"{table.n_constant} constant, left out")
    folded = f"{len(folds)} folds"
    if arguments.groups is not None:
        folded += f" of whole groups of {arguments.groups!r}"
    elif arguments.time is not None:
        folded += f" tested on later {arguments.time!r}"
    return (
        f"{table.name}: {len(table.y)} rows, {count(table.n_columns, 'column')} ({', '.join(kinds)}), "
        f"target {table.target!r}, {folded}"
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


def _json(table, folds, arguments, scores):
    """Return the results as strict JSON: what is not a finite number is null."""
    content = {
        "table": table.name,
        "n_rows": len(table.y),
        "n_columns": table.n_columns,
        "n_numeric": len(table.numeric),
        "n_categorical": len(table.categorical),
        "n_constant": table.n_constant,
        "target": table.target,
        "groups": arguments.groups,
        "time": arguments.time,
        "cv": len(folds),
        "seed": arguments.seed,
        "results": [_as_json(score) for score in scores],
        "versions": {
            "python": platform.python_version(),
            "skrelu": skrelu.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


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
