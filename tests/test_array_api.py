"""Fits and predictions with arrays of other namespaces than NumPy's, through scikit-learn's dispatch.

They need SCIPY_ARRAY_API=1 in the environment: see conftest.py.
"""

from importlib.util import find_spec

import array_api_strict
import numpy as np
import pytest
from scipy import special
from sklearn import config_context
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.externals.array_api_compat import get_namespace
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_array_api_input, check_array_api_mixed_inputs
from sklearn.utils.estimator_checks import check_array_api_same_namespace as check_same_namespace

from skrelu import (
    OneHiddenLayerNet,
    OneHiddenLayerReLU,
    ProjectedReLURegressor,
    ProjectedReLURegressorCV,
    QuadraticNet,
    TwoLayerReLURecovery,
    activations,
    constraints,
    datasets,
)
from skrelu._compat import to_numpy
from skrelu.rows import device
from skrelu.rows.device_array import Device

EPS = {"float64": 1e-9, "float32": 2e-3}  # of the largest number: fits end within rounding, not at it
CASES = [("array_api_strict", "CPU_DEVICE", "float64"), ("array_api_strict", "device1", "float32")]
CASES += [("torch", "cpu", dtype) for dtype in EPS] if find_spec("torch") else []
ESTIMATORS = [
    ProjectedReLURegressor(),
    ProjectedReLURegressorCV(),
    OneHiddenLayerReLU(),
    OneHiddenLayerNet(),
    QuadraticNet(),
    TwoLayerReLURecovery(),
]


def named(estimator):
    return type(estimator).__name__


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    return request.param


@pytest.fixture
def place(case):
    name, device_name, _ = case
    if name == "array_api_strict":
        return array_api_strict, array_api_strict.Device(device_name)
    import torch

    return get_namespace(torch.asarray(1)), torch.device(device_name)


@pytest.fixture
def dtype(case):
    return np.dtype(case[2])


def sent(place, *arrays):
    xp, where = place
    return [None if array is None else xp.asarray(array, device=where) for array in arrays]


# checks of scikit-learn


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=named)
@pytest.mark.parametrize("weighted", [False, True])
def test_scikit_learns_checks(case, estimator, weighted):
    check_array_api_input(named(estimator), estimator.set_params(max_iter=20), *case, check_sample_weight=weighted)
