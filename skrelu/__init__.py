"""Shallow ReLU networks, fitted by the algorithms that come with proofs, as scikit-learn estimators."""

from skrelu import activations, constraints, datasets, metrics, plotting
from skrelu.one_hidden_layer import OneHiddenLayerReLU
from skrelu.projected import ProjectedReLURegressor
from skrelu.projected_cv import ProjectedReLURegressorCV

__version__ = "0.1.0.dev0"

__all__ = [
    "OneHiddenLayerReLU",
    "ProjectedReLURegressor",
    "ProjectedReLURegressorCV",
    "activations",
    "constraints",
    "datasets",
    "metrics",
    "plotting",
]
