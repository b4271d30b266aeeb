"""A fitted model in a file of skops: no pickle, and nothing is loaded that holds a type unknown here."""

import io
import warnings
import zipfile
from dataclasses import dataclass
from typing import get_type_hints

import numpy as np
import sklearn
from sklearn.base import is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.pipeline import Pipeline

import skrelu
from skrelu import constraints
from skrelu._cli.console import InputError, count, one_line
from skrelu._cli.models import UpToFiveFolds

# The mark of scikit-learn in place of children.
TREE_LEAF = -1
# A file is read as a whole.
MOST_BYTES = 2**30
VERSIONS = {"skrelu": skrelu.__version__, "scikit-learn": sklearn.__version__}
# Besides what skops itself trusts: estimators of scikit-learn, arrays, and functions of numpy and scipy that compute.
TRUSTED = [
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    *(
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in (
            UpToFiveFolds,
            *(vars(module)[name] for module in (skrelu, constraints) for name in module.__all__),
        )
        if isinstance(kind, type)
    ),
]


@dataclass(frozen=True)
class SavedModel:
    """What a prediction needs.

    Attributes
    ----------
    name : str
        Of the model in the table of scores.
    pipeline : Pipeline
        Fitted; it takes raw columns.
    target : str
    columns : list of str
        The columns that it takes, in order.
    numeric : list of int
        Which of them are numeric.
    aside : list of str
        Columns that decided the folds.
    versions : dict of str to str
        Packages that fitted it.
    """

    name: str
    pipeline: Pipeline
    target: str
    columns: list
    numeric: list
    aside: list
    versions: dict


def check(option):
    """Raise `InputError` if skops is missing."""
    try:
        import skops.io  # noqa: F401
    except ImportError as error:
        raise InputError(f'{option} needs skops: pip install "skrelu[cli]"') from error


def dump(name, pipeline, table):
    """Return the content of the file of a pipeline fitted to the columns of a table."""
    from skops.io import dumps

    saved = SavedModel(name, pipeline, table.target, table.names, table.numeric, list(table.aside), VERSIONS)
    content = dumps(vars(saved))
    if len(content) > MOST_BYTES:
        raise InputError(f"--save: {name} takes {len(content)} bytes, at most {MOST_BYTES} can be read again")
    return content


def load(path):
    """Read the file of a fitted model.

    Parameters
    ----------
    path : str

    Returns
    -------
    SavedModel

    Raises
    ------
    InputError
        If the file cannot be read, is damaged or of another kind, or holds any type that is unknown here; of such a
        file nothing is loaded.
    """
    from skops.io import get_untrusted_types, loads

    content = _read(path)
    try:
        _check_sizes(content)
        unknown = sorted(set(get_untrusted_types(data=content)) - set(TRUSTED))
        if not unknown:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of other versions, which `versions` tells
                return _checked(loads(content, trusted=TRUSTED))
    except Exception as error:  # whatever a file may be wrong in
        reason = one_line(f"{type(error).__name__}: {error}")[:200]
        raise InputError(f"{path} is no model saved by skrelu compare, or is damaged ({reason})") from error
    raise InputError(f"{path} holds {count(len(unknown), 'unknown type')}, nothing is loaded: {', '.join(unknown)}")


def _read(path):
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"cannot read {path!r}: {error}") from error
    if len(content) > MOST_BYTES:
        raise InputError(f"{path} has more than {MOST_BYTES} bytes: no model saved by skrelu compare")
    return content


def _check_sizes(content):
    """Refuse an archive that is larger unpacked: skops stores its parts as they are."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(part.file_size for part in archive.infolist()) > len(content):
            raise ValueError("it is compressed")


def _checked(content):
    """Return the `SavedModel` of a loaded file; raise any exception if it is none."""
    saved = SavedModel(**content)
    for name, kind in get_type_hints(SavedModel).items():
        if type(getattr(saved, name)) is not kind:
            raise TypeError(f"{name} is no {kind.__name__}")
    if not saved.columns or not all(isinstance(name, str) for name in saved.columns):
        raise TypeError("columns are no names")
    regressor = innermost(saved.pipeline)
    if not is_regressor(regressor):
        raise TypeError("the last step is no regressor")
    _check_trees(regressor)
    return saved


def innermost(pipeline):
    """Return the fitted regressor of a pipeline, also of one with a scaled target."""
    last = pipeline[-1]
    return last.regressor_ if isinstance(last, TransformedTargetRegressor) else last


def _check_trees(regressor):
    """Refuse trees whose nodes point outside of arrays: scikit-learn would follow them."""
    if isinstance(regressor, RandomForestRegressor):
        for tree in (estimator.tree_ for estimator in regressor.estimators_):
            is_leaf = tree.children_left == TREE_LEAF
            _check_nodes(regressor, is_leaf, tree.children_left, tree.children_right, tree.feature)
    elif isinstance(regressor, HistGradientBoostingRegressor):
        for nodes in (tree.nodes for trees in regressor._predictors for tree in trees):
            is_leaf = nodes["is_leaf"].astype(bool)
            _check_nodes(regressor, is_leaf, nodes["left"], nodes["right"], nodes["feature_idx"])
            if nodes["is_categorical"].any():
                raise ValueError("a tree splits categories")


def _check_nodes(regressor, is_leaf, left, right, feature):
    inner = np.flatnonzero(~is_leaf)
    children = np.stack([left[inner], right[inner]])
    # A child stands behind its parent, so that every walk ends.
    inside = (children > inner) & (children < len(is_leaf))
    if not len(is_leaf) or not inside.all() or not np.isin(feature[inner], range(regressor.n_features_in_)).all():
        raise ValueError("the nodes of a tree point outside of it")
