"""Shallow ReLU networks, fitted by the algorithms that come with proofs, as scikit-learn estimators."""

from skrelu import activations, constraints, datasets, metrics, plotting
from skrelu.one_hidden_layer import OneHiddenLayerNet
from skrelu.one_hidden_layer_relu import OneHiddenLayerReLU
from skrelu.projected import ProjectedReLURegressor
from skrelu.projected_cv import ProjectedReLURegressorCV
from skrelu.quadratic import QuadraticNet
from skrelu.two_layer import TwoLayerReLURecovery

__version__ = "0.1.0.dev0"

__all__ = [
    "OneHiddenLayerNet",
    "OneHiddenLayerReLU",
    "ProjectedReLURegressor",
    "ProjectedReLURegressorCV",
    "QuadraticNet",
    "TwoLayerReLURecovery",
    "activations",
    "constraints",
    "datasets",
    "metrics",
    "plotting",
]
