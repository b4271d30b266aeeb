"""``skrelu demo``: plant each network, recover it from noiseless samples, print the errors."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skrelu import OneHiddenLayerNet, OneHiddenLayerReLU, ProjectedReLURegressor, QuadraticNet, TwoLayerReLURecovery
from skrelu._cli.console import print_table, progress, say
from skrelu.constraints import L0Ball, L1Ball
from skrelu.datasets import make_one_hidden_layer, make_quadratic, make_relu_regression, make_two_layer_relu
from skrelu.metrics import recovery_error
from skrelu.solvers.loop import INTERRUPTED

HEADER = ("planted network and estimator", "rows", "columns", "relative error", "fit seconds")


@dataclass(frozen=True)
class Experiment:
    """One row of the table.

    Attributes
    ----------
    name : str
        The network, and the estimator that recovers it.
    plant : callable
        ``plant(random_state=seed)`` returns X, y and the teacher.
    estimator : callable
        ``estimator(teacher)`` returns the unfitted estimator, which may be told what the theorem presumes known.
    weights : str
        The attribute of teacher and estimator that is compared.
    """

    name: str
    plant: Callable
    estimator: Callable
    weights: str


def _l1_ball(teacher):
    return ProjectedReLURegressor(L1Ball(np.abs(teacher.coef_).sum()), fit_intercept=False)


EXPERIMENTS = (
    Experiment(
        "ReLU of 20 columns, ProjectedReLURegressor(L0Ball(20))",
        partial(make_relu_regression, n_samples=250, n_features=1000, n_nonzero=20, return_teacher=True),
        lambda teacher: ProjectedReLURegressor(L0Ball(20), fit_intercept=False),
        "coef_",
    ),
    Experiment(
        "ReLU of 20 columns, ProjectedReLURegressor(L1Ball(true radius))",
        partial(make_relu_regression, n_samples=300, n_features=1000, n_nonzero=20, return_teacher=True),
        _l1_ball,
        "coef_",
    ),
    Experiment(
        "5 ReLUs of either sign, OneHiddenLayerReLU(5)",
        partial(make_one_hidden_layer, n_samples=1000, n_features=50, n_hidden=5, return_teacher=True),
        lambda teacher: OneHiddenLayerReLU(5, random_state=0),
        "hidden_coef_",
    ),
    Experiment(
        "4 tanh units, OneHiddenLayerNet(4)",
        partial(
            make_one_hidden_layer,
            n_samples=1000,
            n_features=20,
            n_hidden=4,
            activation="tanh",
            output_weights="positive",  # tanh is odd: a unit may be turned over together with its output weight
            return_teacher=True,
        ),
        lambda teacher: OneHiddenLayerNet(4, activation="tanh", random_state=0),
        "hidden_coef_",
    ),
    Experiment(
        "5 quadratic units of either sign, QuadraticNet(5)",
        partial(make_quadratic, n_samples=1000, n_features=50, n_hidden=5, return_teacher=True),
        lambda teacher: QuadraticNet(5, random_state=0),
        "matrix_",
    ),
    Experiment(
        "5 ReLUs, 8 outputs, TwoLayerReLURecovery()",
        partial(make_two_layer_relu, n_samples=300, n_features=20, n_hidden=5, n_outputs=8, return_teacher=True),
        lambda teacher: TwoLayerReLURecovery(random_state=0),
        "hidden_coef_",
    ),
)


def demo(arguments):
    """Run the command and return its exit status."""
    rows: list[tuple] = []
    with progress(len(EXPERIMENTS)) as report:
        for experiment in EXPERIMENTS:
            report(len(rows), experiment.name)
            rows.append(run(experiment, arguments.seed))
    say("Weights planted, sampled without noise, and recovered; the error is |found - planted| / |planted|.")
    print_table(HEADER, rows)
    return 0


def run(experiment, seed):
    """Return the cells of one row."""
    X, y, teacher = experiment.plant(random_state=seed)
    estimator = experiment.estimator(teacher)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the error tells
        estimator.fit(X, y)
    seconds = time.perf_counter() - start
    if INTERRUPTED in estimator.stop_reason_:
        raise KeyboardInterrupt
    planted, found = (getattr(model, experiment.weights) for model in (teacher, estimator))
    if experiment.weights == "matrix_":
        # Its rows are no units, which would be matched.
        planted, found = planted.ravel(), found.ravel()
    error = recovery_error(planted, found)
    return experiment.name, str(X.shape[0]), str(X.shape[1]), f"{error:.1e}", f"{seconds:.3f}"
