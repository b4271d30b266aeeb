"""Cross-validation: the same folds for every model, one task per model and fold."""

import time
import warnings
from dataclasses import dataclass, field

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.pipeline import Pipeline
from sklearn.utils.parallel import Parallel, delayed

from skrelu._cli.console import one_line
from skrelu._cli.folds import scored_by_fold
from skrelu._cli.models import build_pipeline
from skrelu.solvers.loop import INTERRUPTED


@dataclass(frozen=True)
class FoldResult:
    """One model on one fold: its predictions of the test rows, or the error that it raised; the fitted one if kept."""

    model: str
    prediction: np.ndarray | None
    seconds: float
    error: str | None
    converged: bool
    warnings: tuple
    fitted: Pipeline | None = None


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


def cross_validate(table, folds, names, seed, n_jobs, keep=()):
    """Yield a `FoldResult` for each model and fold, models outermost, in order; those named in `keep` stay fitted."""
    tasks = (delayed(fit_fold)(name, table, train, test, seed, name in keep) for name in names for train, test in folds)
    return Parallel(n_jobs=n_jobs, return_as="generator")(tasks)


def fit_fold(name, table, train, test, seed, keep=False):
    """Fit one model on the training rows and predict the test rows; an error becomes part of the result."""
    model, prediction, error = None, None, None
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
    # Some estimators, ours and others, end their fit on an interruption and warn: the comparison is to end as well.
    if any(told in message for _, message in messages for told in (INTERRUPTED, "interrupted by user")):
        raise KeyboardInterrupt
    convergence = [issubclass(category, ConvergenceWarning) for category, _ in messages]
    others = tuple(
        f"{category.__name__}: {one_line(message)}"
        for (category, message), excused in zip(messages, convergence, strict=True)
        if not excused
    )
    return FoldResult(name, prediction, seconds, error, not any(convergence), others, model if keep else None)


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
