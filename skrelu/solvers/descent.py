"""Descents made of several stages, and the best of several starts: what the default solvers are composed of."""

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from skrelu.solvers.gradient import gradient_descent
from skrelu.solvers.loop import INTERRUPTED, STOPPED, iterate
from skrelu.solvers.quasi_newton import quasi_newton

WINDOW = 20  # iterations; descent has stalled when the objective falls by less than STALL over them, relatively
STALL = 1e-3
STALLED = "the objective falls no further"
MARGIN = 2e-3  # a later start wins only if its objective is lower by more than this, relatively


@dataclass(frozen=True)
class Descent:
    """What a sequence of stages has come to.

    Attributes
    ----------
    theta : ndarray
    objective : float
    loss_curve : list of float
        The objectives of all stages: those of relaxed, wide and smoothed networks, too.
    converged : bool
    stop_reason : str
    """

    theta: np.ndarray
    objective: float = np.inf
    loss_curve: list = field(default_factory=list)
    converged: bool = False
    stop_reason: str = ""

    @property
    def interrupted(self):
        """Whether the user stopped it, or a callback."""
        return self.stop_reason in (INTERRUPTED, STOPPED)

    def followed_by(self, method, network, *, max_iter, **options):
        """Return the descent after one more stage, if `max_iter` is not used up; options are those of `iterate`."""
        left = max_iter - len(self.loss_curve)
        if left < 1 or self.interrupted:
            return self
        before, watch = len(self.loss_curve), options.get("watch")
        if watch is not None:
            options["watch"] = lambda n_iter, theta: watch(before + n_iter, theta)
        options = {"tol": -1.0, "criterion": "sqrt(g' M^-1 g)", **options}
        result = iterate(method(network, self.theta), self.theta, max_iter=left, **options)
        curve, reason = [value for value in result.loss_curve if np.isfinite(value)], result.stop_reason
        if result.exhausted:
            reason = f"max_iter = {max_iter} reached with {options['criterion']} = {result.criterion:.3g}"
        objective = curve[-1] if curve else self.objective
        return Descent(result.parameters, objective, self.loss_curve + curve, result.converged, reason)

    def moved(self, network, theta):
        """Return the descent gone over to theta in another network; one pass, again if the user interrupts it."""
        try:
            return replace(self, theta=theta, objective=network.value_and_gradient(theta)[0])
        except KeyboardInterrupt:  # what has been found is not to be lost
            return replace(self.stopped(INTERRUPTED), theta=theta, objective=network.value_and_gradient(theta)[0])

    def uninterrupted(self):
        """Return the descent; what has interrupted it interrupts what it is a part of, that alone is of no use."""
        if self.interrupted:
            raise KeyboardInterrupt
        return self

    def stopped(self, reason):
        """Return the descent ended from outside."""
        return replace(self, converged=False, stop_reason=reason)


def until_stalled(rival=np.inf, *, base=None, stall=STALL, floor=0.0):
    """Return the method `base` (None: `quasi_newton`) ended when it stalls, or when it will not come below `rival`.

    It stalls when the objective falls by less than `stall` of itself over `WINDOW` iterations, and will not come below
    if even five times that decrease would leave it above.
    """

    def method(network, theta):
        values = []
        for step in (base or quasi_newton)(network, theta):
            values.append(step.objective)
            if step.objective < floor and not step.finished:
                step = step._replace(finished="the residual is nearly zero")
            if len(values) > 2 * WINDOW and not step.finished:
                fall = values[-1 - WINDOW] - values[-1]
                if fall < stall * values[-1]:
                    step = step._replace(finished=STALLED)
                elif values[-1] - 5 * fall > rival:
                    step = step._replace(finished="another start is better", converged=False)
            yield step

    return method


def best_of_starts(best, further, *, n_starts, begin, agreeing=1):
    """Return (network, descent) of the best of a first descent and of at most `n_starts` others.

    No other is tried once the residual is zero, or once `agreeing` of them have come to the same objective as the best
    before them, to `MARGIN`.

    Parameters
    ----------
    best : tuple
        (network, descent) of the first.
    further : callable (attempt, network, rival) -> (network, descent)
        Makes another start, given the best network and its objective, above which it may be abandoned.
    n_starts : int
    begin : callable
        Told of each start; True stops.
    agreeing : int, default=1
    """
    agreed = 0
    for attempt in range(n_starts):
        network, descent = best
        if network.is_lowest(descent.objective) or descent.interrupted:
            break
        if begin():
            return network, descent.stopped(STOPPED)
        try:
            trial = further(attempt, network, descent.objective)
        except KeyboardInterrupt:
            return network, descent.stopped(INTERRUPTED)
        if trial[1].interrupted:
            return network, descent.stopped(trial[1].stop_reason)
        if trial[1].objective < descent.objective * (1 - MARGIN):
            best, agreed = trial, 0
        elif trial[1].objective <= descent.objective * (1 + MARGIN):
            agreed += 1
            if agreed == agreeing:
                break
    return best


def papers_descent(network, theta, *, step_size, tol, max_iter, curvature=None, stopped=False, **options):
    """Return the descent of the papers' iteration (`gradient_descent`) to its `tol`; 0 means: all of `max_iter`.

    `stopped` tells that a callback has asked to stop before: it gets the start.
    """
    tol = max(tol, 10 * float(np.finfo(network.rows.dtype).eps)) if tol > 0 else -1.0
    descent = Descent(theta, stop_reason=STOPPED if stopped else "").followed_by(
        partial(gradient_descent, step_size=step_size, curvature=curvature),
        network,
        tol=tol,
        max_iter=max_iter,
        criterion="|w+ - w| / |w+|",
        start_objective=network.value_and_gradient(theta)[0],
        **options,
    )
    asked = tol < 0 and len(descent.loss_curve) == max_iter
    return replace(descent, converged=descent.converged or asked)
