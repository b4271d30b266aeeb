"""A constrained problem and its points: what the methods share."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from skrelu.constraints.base import Constraint
from skrelu.networks import SingleReLU

BACKTRACKS = tuple(0.5**k for k in range(1, 11))  # fractions of a step, tried together in one pass


@dataclass(frozen=True)
class Problem:
    """``min_{theta in K} F(theta)``, F an objective."""

    objective: SingleReLU
    constraint: Constraint

    def at(self, theta):
        """Return the `Point` at theta; one pass."""
        return Point(self, theta, *self.objective.value_and_gradient(theta))

    def on(self, constraint):
        """Return the same problem on another set."""
        return replace(self, constraint=constraint)

    def search(self, arc, reference):
        """Return the lowest point of ``arc(1/2), arc(1/4), ...`` if it is below the reference, else None; one pass."""
        trials = [arc(a) for a in BACKTRACKS]
        values = self.objective.values(trials)
        values = np.where(np.isfinite(values), values, np.inf)
        best = int(np.argmin(values))
        return self.at(trials[best]) if values[best] < reference else None

    def face_dimension(self, theta):
        """Return the dimension of the face of K at theta, None if it is not known."""
        face = self.constraint.face(theta)
        return None if face is None else face.basis.shape[-1]


@dataclass(frozen=True)
class Point:
    """A point with its objective, gradient and mean curvature."""

    problem: Problem
    theta: np.ndarray
    value: float
    gradient: np.ndarray
    curvature: float

    @property
    def is_lowest(self):
        """Whether nothing is left to gain: the residual is at rounding level, but for negative y."""
        return self.problem.objective.is_lowest(self.value)

    @cached_property
    def optimality(self):
        """``|theta - P_K(theta - g)|_2``, zero at a stationary point."""
        return float(np.linalg.norm(self.theta - self.problem.constraint.project(self.theta - self.gradient)))
