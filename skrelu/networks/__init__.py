"""Networks as functions of their parameters: value, gradient and Gauss-Newton matrix, each one sum over rows."""

from skrelu.networks.one_hidden_layer import OneHiddenLayer
from skrelu.networks.single_relu import SingleReLU

__all__ = ["OneHiddenLayer", "SingleReLU"]
