"""Pictures of a fit: how the objective fell, and where recovery sets in."""

from skrelu.plotting.convergence import ConvergenceDisplay
from skrelu.plotting.recovery import RecoveryDisplay

__all__ = ["ConvergenceDisplay", "RecoveryDisplay"]
