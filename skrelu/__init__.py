"""Shallow ReLU networks, fitted by the algorithms that come with proofs, as scikit-learn estimators."""

from skrelu import constraints, datasets, metrics, plotting
from skrelu.projected import ProjectedReLURegressor

__version__ = "0.1.0.dev0"

__all__ = ["ProjectedReLURegressor", "constraints", "datasets", "metrics", "plotting"]
