"""What is compared: the estimators of skrelu, standard regressors, and the preparation of columns they share."""

import numpy as np
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LassoCV, RidgeCV
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVR

from skrelu import (
    OneHiddenLayerNet,
    OneHiddenLayerReLU,
    ProjectedReLURegressor,
    ProjectedReLURegressorCV,
    QuadraticNet,
)
from skrelu._cli.console import InputError

# A text column of names or identifiers becomes at most this many features.
MAX_CATEGORIES = 20
# The time of a kernel method grows with the square of the rows: beyond this many it runs only when asked for by name.
MAX_KERNEL_ROWS = 20_000


class UpToFiveFolds:
    """KFold of five folds, or of as many as there are rows: LassoCV alone among the peers refuses fewer than five."""

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of folds for the rows of X."""
        return min(5, len(X))

    def split(self, X, y=None, groups=None):
        """Yield training and test indices."""
        return KFold(self.get_n_splits(X)).split(X)


def _standardised_target(model):
    """Give the model a target of mean 0 and variance 1, which the defaults of these models presume."""
    return TransformedTargetRegressor(model, transformer=StandardScaler())


# name -> (random_state -> regressor)
OURS = {
    "projected-relu": lambda seed: ProjectedReLURegressor(),
    "projected-relu-cv": lambda seed: ProjectedReLURegressorCV(),
    "one-hidden-layer-relu": lambda seed: OneHiddenLayerReLU(random_state=seed),
    "one-hidden-layer-net": lambda seed: OneHiddenLayerNet(random_state=seed),
    "quadratic-net": lambda seed: QuadraticNet(random_state=seed),
}
MODELS = OURS | {
    "ridge": lambda seed: RidgeCV(alphas=np.logspace(-3, 5, 17)),
    "lasso": lambda seed: LassoCV(cv=UpToFiveFolds()),
    "mlp": lambda seed: _standardised_target(MLPRegressor(max_iter=500, random_state=seed)),
    "forest": lambda seed: RandomForestRegressor(random_state=seed),
    "boosting": lambda seed: HistGradientBoostingRegressor(random_state=seed),
    "svr": lambda seed: _standardised_target(SVR()),
    "mean": lambda seed: DummyRegressor(),
}
KERNEL_MODELS = ("svr",)


def parse_names(text):
    """Return the model names of a comma-separated list, or None for "all"."""
    if text.strip() == "all":
        return None
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        raise InputError(f"--models: unknown model {unknown[0]!r}, accepted are all, {', '.join(MODELS)}")
    return names


def default_names(n_rows):
    """Return the models that "all" stands for on a table of `n_rows` rows, and a list of notes."""
    if n_rows <= MAX_KERNEL_ROWS:
        return list(MODELS), []
    left_out = ", ".join(KERNEL_MODELS)
    note = f"{left_out} left out: slow beyond {MAX_KERNEL_ROWS} rows; name it in --models to run it all the same"
    return [name for name in MODELS if name not in KERNEL_MODELS], [note]


def build_pipeline(name, table, seed):
    """Return a regressor of the raw columns; all that is learnt from data is learnt in its `fit`.

    Numeric columns: median for missing cells, an indicator column for each that misses some, mean 0 and variance 1
    (a column that happens to be constant in the training rows becomes zero). Categorical columns: one-hot, at most
    `MAX_CATEGORIES` columns each, the last for the rare and the unseen; a missing cell is a category of its own.
    """
    numeric = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), StandardScaler()
    )
    categorical = OneHotEncoder(
        max_categories=MAX_CATEGORIES, handle_unknown="infrequent_if_exist", sparse_output=False
    )
    columns = ColumnTransformer([("numeric", numeric, table.numeric), ("categorical", categorical, table.categorical)])
    return make_pipeline(columns, MODELS[name](seed))
