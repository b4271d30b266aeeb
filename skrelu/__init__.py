"""Shallow ReLU networks, fitted by the algorithms that come with proofs, as scikit-learn estimators."""

__version__ = "0.1.0.dev0"
