"""Data with a planted network: the truth is known, so recovery can be measured."""

from skrelu.datasets.one_hidden_layer import OneHiddenLayerTeacher, make_one_hidden_layer
from skrelu.datasets.quadratic import QuadraticTeacher, make_quadratic
from skrelu.datasets.single_relu import ReLUTeacher, make_relu_regression
from skrelu.datasets.two_layer import TwoLayerTeacher, make_two_layer_relu

__all__ = [
    "OneHiddenLayerTeacher",
    "QuadraticTeacher",
    "ReLUTeacher",
    "TwoLayerTeacher",
    "make_one_hidden_layer",
    "make_quadratic",
    "make_relu_regression",
    "make_two_layer_relu",
]
