"""The peers on real tables: regressors of scikit-learn, each with its usual tuning.

Each entry of `PEERS` makes an estimator for standardised columns, or None where it is not tried. Searches have three
inner folds, the Lasso has five, all of random rows: many tables are sorted. Where the size of y matters, y is
standardised, too.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LassoCV, RidgeCV
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import SVR

INNER = KFold(3, shuffle=True, random_state=0)
INNER_LINEAR = KFold(5, shuffle=True, random_state=0)
MANY_COLUMNS, MANY_ROWS = 15, 2000  # beyond which there are no squares and products, and no kernel matrices


@dataclass(frozen=True)
class Model:
    """A regressor under test.

    Attributes
    ----------
    label : str
    make : callable (X, y) -> estimator or None
        For a whole table, of which only the size and the sign of y may be used. None: not tried on this table.
    ours : bool
    """

    label: str
    make: object
    ours: bool = False


def search(estimator, **grid):
    """Return a grid search by squared error."""
    return GridSearchCV(estimator, grid, cv=INNER, scoring="neg_mean_squared_error")


def standardised(estimator):
    """Return the estimator for y of mean zero and variance one."""
    return TransformedTargetRegressor(estimator, transformer=StandardScaler())


def ridge(X, y):
    """Linear, generalised cross-validation."""
    return RidgeCV(alphas=np.logspace(-3, 5, 17))


def lasso(X, y):
    """Linear, five inner folds."""
    return LassoCV(cv=INNER_LINEAR, max_iter=10_000)


def squares(X, y):
    """Lasso on columns, squares and products."""
    if X.shape[1] > MANY_COLUMNS:
        return None
    return make_pipeline(
        PolynomialFeatures(2, include_bias=False), StandardScaler(), LassoCV(cv=INNER_LINEAR, max_iter=10_000)
    )


def kernel_ridge(X, y):
    """Gaussian kernel, penalty and width searched."""
    if len(X) > MANY_ROWS:
        return None
    widths = np.array([0.01, 0.03, 0.1, 0.3, 1.0]) / X.shape[1]
    return standardised(search(KernelRidge(kernel="rbf"), alpha=np.logspace(-3, 1, 5), gamma=widths))


def svr(X, y):
    """Gaussian kernel, C and width searched."""
    widths = np.array([0.1, 0.3, 1.0]) / X.shape[1]
    return standardised(search(SVR(cache_size=500), C=[0.1, 1.0, 10.0, 100.0], gamma=widths))


def forest(X, y):
    """A hundred trees, default parameters."""
    return RandomForestRegressor(random_state=0)


def boosting(X, y):
    """Default parameters."""
    return HistGradientBoostingRegressor(random_state=0)


def boosting_searched(X, y):
    """Rate and leaves searched, twice the default number of trees."""
    grid = dict(learning_rate=[0.03, 0.1], max_leaf_nodes=[4, 10, 31])
    return search(HistGradientBoostingRegressor(max_iter=200, random_state=0), **grid)


def mlp(X, y):
    """A hundred units by Adam, default parameters."""
    return standardised(MLPRegressor(random_state=0))


def mlp_searched(X, y):
    """Twenty units by L-BFGS, penalty searched."""
    network = MLPRegressor(hidden_layer_sizes=(20,), solver="lbfgs", max_iter=500, random_state=0)
    return standardised(search(network, alpha=[0.1, 1.0, 10.0, 100.0]))


PEERS = {
    "ridge": Model("RidgeCV", ridge),
    "lasso": Model("LassoCV", lasso),
    "squares": Model("squares and products, LassoCV", squares),
    "kernel-ridge": Model("KernelRidge, searched", kernel_ridge),
    "svr": Model("SVR, searched", svr),
    "forest": Model("RandomForest", forest),
    "boosting": Model("HistGradientBoosting", boosting),
    "boosting-searched": Model("HistGradientBoosting, searched", boosting_searched),
    "mlp": Model("MLPRegressor (Adam)", mlp),
    "mlp-searched": Model("MLPRegressor (L-BFGS), searched", mlp_searched),
}
