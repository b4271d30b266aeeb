"""What a model makes of each column: its importance on held-out rows, and its partial dependence."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

MOST_EFFECTS = 6
MOST_CATEGORIES = 6
# Importance and partial dependence are means over rows: more of them change little.
MOST_TESTED = 2000
MOST_ROWS = 300
GRID_POINTS = 25
# Curves end at these quantiles of the column: beyond them few rows are left.
GRID_ENDS = (0.01, 0.99)
# A numeric column of so few values is drawn at these, not between.
FEW_VALUES = 10


@dataclass(frozen=True)
class Effect:
    """One column.

    Attributes
    ----------
    name : str
    importance : float
        What R2 on held-out rows loses when the cells of the column are shuffled among them.
    is_numeric : bool
    cells : ndarray
        Of the column; numbers without the missing ones.
    grid : ndarray of shape (n_points,)
        Values of the column; of categories the most frequent.
    curves : ndarray of shape (n_folds, n_points)
        Mean prediction of the model of each fold when all cells of the column are the value of the grid.
    """

    name: str
    importance: float
    is_numeric: bool
    cells: np.ndarray
    grid: np.ndarray
    curves: np.ndarray


def find_effects(table, folds, fitted, seed, report):
    """Return the effects of the columns that the held-out predictions need most, in decreasing order of importance.

    Parameters
    ----------
    table : Table
    folds : list of (ndarray, ndarray)
        Training and test rows.
    fitted : list of Pipeline
        The model as fitted to the training rows of each fold.
    seed : int
        Of the shuffling of cells.
    report : callable
        ``report(n_done, column)`` is called before each column.

    Returns
    -------
    list of Effect
        At most `MOST_EFFECTS`; columns without which predictions are no worse are left out, but for the first.
    """
    importances = _importances(table, folds, fitted, seed, report)
    first, *others = np.argsort(importances)[::-1][:MOST_EFFECTS]
    shown = [first, *(i for i in others if importances[i] > 0)]
    rows = np.random.RandomState(seed).permutation(len(table.y))[:MOST_ROWS]
    return [_effect(table, table.X[rows], fitted, i, importances[i]) for i in shown]


def _importances(table, folds, fitted, seed, report):
    """Return for each column the rise of the mean squared error of the held-out predictions over the variance.

    Cells are shuffled among the held-out rows of all folds, for a fold may have one.
    """
    rng = np.random.RandomState(seed)
    tests = [rng.permutation(test)[: max(1, MOST_TESTED // len(folds))] for _, test in folds]
    tested = np.concatenate(tests)
    ends = np.cumsum([len(test) for test in tests])
    held_out = table.X[tested]

    def squared_error(X):
        parts = np.split(X, ends[:-1])
        found = np.concatenate([model.predict(part) for model, part in zip(fitted, parts, strict=True)])
        return np.mean((found - table.y[tested]) ** 2)

    least, n_shuffles = squared_error(held_out), min(5, 1 + 250 // len(table.names))
    errors = np.zeros((len(table.names), n_shuffles))
    for i, name in enumerate(table.names):
        report(i, name)
        for k in range(n_shuffles):
            X = held_out.copy()
            X[:, i] = rng.permutation(X[:, i])
            errors[i, k] = squared_error(X)
    return (errors.mean(axis=1) - least) / np.var(table.y)


def _effect(table, X, fitted, i, importance):
    cells, is_numeric = table.X[:, i], i in table.numeric
    if is_numeric:
        cells = cells.astype(float)
        cells = cells[np.isfinite(cells)]
        grid = np.unique(cells)
        if len(grid) > FEW_VALUES:
            low, high = np.quantile(cells, GRID_ENDS)
            grid = np.linspace(low, high, GRID_POINTS)
    else:
        grid = np.array([cell for cell, _ in Counter(cells).most_common(MOST_CATEGORIES)], dtype=object)
    curves = np.array([partial_dependence(model, X, i, grid) for model in fitted])
    return Effect(table.names[i], float(importance), is_numeric, cells, grid, curves)


def partial_dependence(model, X, i, grid):
    """Return the mean predictions of the rows of X with column i set to each value of the grid.

    The same as `sklearn.inspection.partial_dependence`, in one call of ``predict`` instead of one a value: ten times
    faster for a pipeline.
    """
    stacked = np.repeat(X[np.newaxis], len(grid), axis=0)
    stacked[:, :, i] = grid[:, np.newaxis]
    return model.predict(stacked.reshape(-1, X.shape[1])).reshape(len(grid), -1).mean(axis=1)
