"""The one loop of all solvers: history, stopping, best iterate, finite values, interruption, callbacks."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

DIVERGED = 10  # times the objective at the start: a descent that was to run on and ends above has diverged
INTERRUPTED = "interrupted by the user"
STOPPED = "stopped by a callback"


class Iterate(NamedTuple):
    """One iteration of a method.

    Attributes
    ----------
    parameters : ndarray
    objective : float
        At `parameters`.
    criterion : float
        The loop stops when it is at most `tol`, if `final`.
    final : bool
        Whether this is the last stage of the method, whose criterion counts.
    finished : str
        A sentence when the method itself can go no further, else empty.
    converged : bool
        Whether `finished` is a success.
    """

    parameters: np.ndarray
    objective: float
    criterion: float
    final: bool = True
    finished: str = ""
    converged: bool = True


@dataclass(frozen=True)
class Result:
    """What a solver returns, always.

    Attributes
    ----------
    parameters : ndarray
        The last iterate when converged, and at max_iter when `start_objective` is known and not exceeded (by a factor
        `DIVERGED` when tol is negative); else the one with the lowest objective.
    loss_curve : list of float
        Objective after each iteration, length `n_iter`.
    n_iter : int
    criterion : float
        At the last iteration.
    converged : bool
    stop_reason : str
        A sentence.
    exhausted : bool
        Whether it was max_iter that ended the run.
    """

    parameters: np.ndarray
    loss_curve: list
    n_iter: int
    criterion: float
    converged: bool
    stop_reason: str
    exhausted: bool = False


def iterate(method, start, *, max_iter, tol, criterion, start_objective=np.inf, watch=None, verbose=0):
    """Run a method until its criterion is at most tol, it finishes, diverges, is stopped, or max_iter is reached.

    Parameters
    ----------
    method : iterator of Iterate
    start : ndarray
        Returned when no iteration does better than `start_objective`, its objective.
    max_iter : int
    tol : float
        Negative: all `max_iter` iterations are run.
    criterion : str
        Formula of the criterion, for the sentence in `stop_reason`.
    watch : callable (n_iter, parameters) -> bool, optional
        Told of every iteration; True stops.
    verbose : int
        Print every iteration whose number is a multiple of ``10 / verbose``, at least every one.

    Returns
    -------
    Result
    """
    best, last, curve, reason, converged, exhausted = (start_objective, start), None, [], "", False, False
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for last in method:
                finite = np.isfinite(last.objective) and np.all(np.isfinite(last.parameters))
                if not finite:
                    reason = "diverged: the objective is no longer finite"
                    break
                curve.append(float(last.objective))
                n_iter = len(curve)
                if last.objective <= best[0]:
                    best = (last.objective, last.parameters)
                if verbose and n_iter % max(1, 10 // verbose) == 0:
                    print(f"Iteration {n_iter}, objective = {last.objective:.8g}, {criterion} = {last.criterion:.3g}")
                if last.final and last.criterion <= tol:
                    reason, converged = f"{criterion} = {last.criterion:.3g} <= tol = {tol:.3g}", True
                elif last.finished:
                    reason, converged = last.finished, last.converged
                if watch is not None and watch(n_iter, last.parameters) and not reason:
                    reason = STOPPED
                if not reason and n_iter >= max_iter:
                    exhausted = True
                    goal = f" > tol = {tol:.3g}" if tol >= 0 else ""
                    reason = f"max_iter = {max_iter} reached with {criterion} = {last.criterion:.3g}{goal}"
                if reason:
                    break
    except KeyboardInterrupt:
        reason = INTERRUPTED
    reason = reason or "the method has no further step"
    if last is None:
        return Result(start, [start_objective], 1, np.inf, False, reason)
    # A descent with a known start that came to max_iter returns its last step unless that is above the start, or, where
    # max_iter steps were asked for, far above: the first steps of a good descent may rise.
    allowed = start_objective * (DIVERGED if tol < 0 else 1)
    asked = exhausted and last.objective <= allowed < np.inf
    parameters = last.parameters if converged or asked else best[1]
    return Result(
        parameters, curve or [start_objective], max(1, len(curve)), last.criterion, converged, reason, exhausted
    )
