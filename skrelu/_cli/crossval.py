"""Cross-validation: the same folds for every model, one task per model and fold."""

import time
import warnings
from dataclasses import dataclass, field

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.utils.parallel import Parallel, delayed

from skrelu._cli.console import InputError, one_line
from skrelu._cli.models import build_pipeline

DEFAULT_FOLDS = 5


@dataclass(frozen=True)
class FoldResult:
    """One model on one fold: its predictions of the test rows, or the error that it raised."""

    model: str
    prediction: np.ndarray | None
    seconds: float
    error: str | None
    converged: bool
    warnings: tuple


@dataclass(frozen=True)
class Score:
    """One model on all folds; NaN where there is no score, and no fold scores where they are pooled."""

    model: str
    r2_mean: float = np.nan
    r2_std: float = np.nan
    r2_folds: list = field(default_factory=list)
    fit_seconds: float = np.nan
    n_not_converged: int = 0
    error: str | None = None
    warnings: tuple = ()


def make_folds(table, n_folds, seed):
    """Return the table with its rows shuffled, its folds as (train, test) pairs, and a list of notes.

    The rows are shuffled before they are split, not the folds drawn from ordered rows: inner cross-validations cut
    the training rows where they lie, and a file is often sorted by its target.
    """
    n_rows, notes = len(table.y), []
    if n_folds is None:
        n_folds = min(DEFAULT_FOLDS, n_rows)
        if n_folds < DEFAULT_FOLDS:
            notes.append(f"{n_rows} rows: {n_folds} folds instead of {DEFAULT_FOLDS}")
    elif n_folds > n_rows:
        raise InputError(f"--cv must not exceed the number of rows, {n_rows}, got {n_folds}")
    order = np.random.RandomState(seed).permutation(n_rows)
    shuffled = type(table)(**{**vars(table), "X": table.X[order], "y": table.y[order]})
    folds = list(KFold(n_folds).split(shuffled.y))
    if not scored_by_fold(shuffled.y, folds):
        notes.append("a test fold has one target value only: R2 is that of all held-out predictions together")
    return shuffled, folds, notes


def scored_by_fold(y, folds):
    """Whether R2 is defined on every test fold: at least two rows, and not all of one target value."""
    return all(np.ptp(y[test]) > 0 for _, test in folds)


def cross_validate(table, folds, names, seed, n_jobs):
    """Yield a `FoldResult` for each model and fold, models outermost, in order."""
    tasks = (delayed(fit_fold)(name, table, train, test, seed) for name in names for train, test in folds)
    return Parallel(n_jobs=n_jobs, return_as="generator")(tasks)


def fit_fold(name, table, train, test, seed):
    """Fit one model on the training rows and predict the test rows; an error becomes part of the result."""
    prediction, error = None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.perf_counter()
        try:
            model = build_pipeline(name, table, seed).fit(table.X[train], table.y[train])
            seconds = time.perf_counter() - start
            prediction = np.asarray(model.predict(table.X[test]), dtype=float)
            if prediction.shape != (len(test),) or not np.isfinite(prediction).all():
                raise ValueError(f"predictions must be {len(test)} finite numbers")
        except Exception as failure:
            seconds, error = time.perf_counter() - start, _first_line(failure)
    messages = [(warning.category, str(warning.message)) for warning in caught]
    # Some estimators end their fit on an interruption and warn: the comparison is to end as well.
    if any("interrupted by user" in message for _, message in messages):
        raise KeyboardInterrupt
    convergence = [issubclass(category, ConvergenceWarning) for category, _ in messages]
    others = tuple(
        f"{category.__name__}: {one_line(message)}"
        for (category, message), excused in zip(messages, convergence, strict=True)
        if not excused
    )
    return FoldResult(name, prediction, seconds, error, not any(convergence), others)


def _first_line(failure):
    lines = str(failure).strip().splitlines()
    return f"{type(failure).__name__}: {lines[0]}" if lines else type(failure).__name__


def rank(table, folds, results):
    """Return a `Score` for each model whose folds are all done: by decreasing R2, the failed ones last."""
    by_model: dict[str, list[FoldResult]] = {}
    for result in results:
        by_model.setdefault(result.model, []).append(result)
    # Wild predictions overflow to an R2 of minus infinity, which is the right rank.
    with np.errstate(over="ignore", invalid="ignore"):
        scores = [_score(table.y, folds, group) for group in by_model.values() if len(group) == len(folds)]
    return sorted(scores, key=lambda score: (score.error is not None, -score.r2_mean if score.error is None else 0.0))


def _score(y, folds, results):
    model = results[0].model
    seen = tuple(dict.fromkeys(warning for result in results for warning in result.warnings))
    error = next((result.error for result in results if result.error is not None), None)
    if error is not None:
        return Score(model, error=error, warnings=seen)
    by_fold, std = [], np.nan
    if scored_by_fold(y, folds):
        by_fold = [r2_score(y[test], result.prediction) for (_, test), result in zip(folds, results, strict=True)]
        mean, std = float(np.mean(by_fold)), float(np.std(by_fold))
    else:
        truth = np.concatenate([y[test] for _, test in folds])
        mean = r2_score(truth, np.concatenate([result.prediction for result in results]))
    return Score(
        model,
        r2_mean=mean,
        r2_std=std,
        r2_folds=by_fold,
        fit_seconds=float(np.mean([result.seconds for result in results])),
        n_not_converged=sum(not result.converged for result in results),
        warnings=seen,
    )
