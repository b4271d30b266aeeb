"""Pictures of a fit: how the objective fell, where recovery sets in, and what was recovered."""

from skrelu.plotting.convergence import ConvergenceDisplay
from skrelu.plotting.recovery import RecoveryDisplay
from skrelu.plotting.weights import WeightsDisplay

__all__ = ["ConvergenceDisplay", "RecoveryDisplay", "WeightsDisplay"]
