"""Single precision: how exact are planted weights, and how much faster is a fit?"""

import time
import warnings

import numpy as np
from measure import Block, Table, say

from skrelu import OneHiddenLayerReLU, ProjectedReLURegressor, QuadraticNet, TwoLayerReLURecovery, datasets
from skrelu.constraints import L0Ball
from skrelu.metrics import recovery_error


def _matrix_error(teacher, model):
    planted = (teacher.hidden_coef_.T * teacher.output_coef_) @ teacher.hidden_coef_
    return np.linalg.norm(model.matrix_ - planted) / np.linalg.norm(planted)


def _units_error(teacher, model):
    return recovery_error(teacher.hidden_coef_, model.hidden_coef_)


def _directions_error(teacher, model):
    return recovery_error(teacher.hidden_coef_, model.hidden_coef_, scale_invariant=True)


def _weights_error(teacher, model):
    return recovery_error(teacher.coef_, model.coef_)


# Problem: the estimator, how its data are made, and the error of its weights.
CASES = {
    "one ReLU, l0, d = 1000, n = 200": (
        ProjectedReLURegressor(L0Ball(20)),
        lambda seed: datasets.make_relu_regression(200, 1000, n_nonzero=20, return_teacher=True, random_state=seed),
        _weights_error,
    ),
    "one ReLU, dense, d = 500, n = 20 000": (
        ProjectedReLURegressor(),
        lambda seed: datasets.make_relu_regression(20_000, 500, n_nonzero=500, return_teacher=True, random_state=seed),
        _weights_error,
    ),
    "one hidden layer, d = 50, k = 10, n = 5000": (
        OneHiddenLayerReLU(10, random_state=0),
        lambda seed: datasets.make_one_hidden_layer(5000, 50, 10, return_teacher=True, random_state=seed),
        _units_error,
    ),
    "one hidden layer, d = 100, k = 20, n = 50 000": (
        OneHiddenLayerReLU(20, random_state=0),
        lambda seed: datasets.make_one_hidden_layer(50_000, 100, 20, return_teacher=True, random_state=seed),
        _units_error,
    ),
    "quadratic, d = 50, k = 5, n = 1000": (
        QuadraticNet(5, random_state=0),
        lambda seed: datasets.make_quadratic(1000, 50, 5, return_teacher=True, random_state=seed),
        _matrix_error,
    ),
    "two layers, d = 100, k = m = 20, n = 1000": (
        TwoLayerReLURecovery(20, random_state=0),
        lambda seed: datasets.make_two_layer_relu(1000, 100, 20, 20, return_teacher=True, random_state=seed),
        _directions_error,
    ),
}


def precision(options):
    """Error and processor time of the same default fits in both precisions."""
    table = Table(
        f"Single and double precision, default fits, {options.threads} thread(s)",
        ["problem", "trials", "error, float64", "error, float32", "time, float64 / float32"],
        note="Relative errors of the planted weights, the largest of the trials. Processor time, median of the ratios.",
    )
    records, n_trials = [], min(options.seeds, 5)
    for name, (estimator, make, error) in CASES.items():
        say(f"precision: {name}")
        found = {"float64": [], "float32": []}
        for seed in range(n_trials):
            X, y, teacher = make(seed)
            for dtype, trials in found.items():
                data, start = (X.astype(dtype), y.astype(dtype)), time.process_time()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model = estimator.fit(*data)
                trials.append((error(teacher, model), time.process_time() - start))
        (double, slow), (single, fast) = (np.array(trials).T for trials in found.values())
        ratio = float(np.median(slow / fast))
        records.append(dict(block="precision", problem=name, double=double.max(), single=single.max(), ratio=ratio))
        table.rows.append([name, str(n_trials), f"{double.max():.1e}", f"{single.max():.1e}", f"{ratio:.2f}"])
    return Block([table], records)
