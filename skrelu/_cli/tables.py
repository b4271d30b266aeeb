"""From the columns of a file to arrays for scikit-learn."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.datasets import load_diabetes

from skrelu._cli.categories import category_notes
from skrelu._cli.console import InputError, count
from skrelu._cli.reading import SEPARATORS, are_numbers, known_name, listed, read_sheet, text

MIN_ROWS = 3


@dataclass(frozen=True)
class Table:
    """A regression problem, ready for a `ColumnTransformer`.

    Attributes
    ----------
    name, target : str
        Of the file, and of the column to predict.
    names : list of str
        Of the columns of X.
    X : ndarray of shape (n_rows, n_features), float64 or object
        Features without the constant ones: numbers, NaN where missing; in categorical columns strings, "" where
        missing.
    y : ndarray of shape (n_rows,)
        Finite target values.
    numeric, categorical : list of int
        The columns of X of each kind.
    aside : dict of str to ndarray of shape (n_rows,)
        Columns that are no features: those that decide which rows are held out together.
    n_constant : int
        Number of columns left out because they are constant.
    notes : list of str
        What the user should know about how the file was read.
    """

    name: str
    target: str
    names: list
    X: np.ndarray
    y: np.ndarray
    numeric: list
    categorical: list
    aside: dict
    n_constant: int
    notes: list

    @property
    def n_columns(self):
        """Number of columns of the file besides the target and those set aside."""
        return self.X.shape[1] + self.n_constant

    def reordered(self, order):
        """Return the table with its rows in another order."""
        aside = {name: cells[order] for name, cells in self.aside.items()}
        return Table(**{**vars(self), "X": self.X[order], "y": self.y[order], "aside": aside})


def diabetes(target=None, aside=()):
    """Return the diabetes data of scikit-learn, in the units of measurement."""
    data = load_diabetes(scaled=False)
    columns = dict(zip(data.feature_names, data.data.T, strict=True)) | {"target": data.target}
    target = known_name("diabetes", list(columns), target or "target")
    return _make_table("diabetes", columns, target, aside, [])


def read_csv(path, target=None, aside=()):
    """Read a table with column names in the first line.

    Parameters
    ----------
    path : str
        The file; `reading.read_sheet` says what it may be.
    target : str, default=None
        The column to predict; None takes the last one that is not set aside.
    aside : sequence of str, default=()
        Columns that are no features.

    Returns
    -------
    Table
        The table without the rows whose target is missing.

    Raises
    ------
    InputError
        If the file cannot be read, the target or a column to set aside is unknown, the target is not numeric or
        constant, or too few rows or no features remain.
    """
    sheet = read_sheet(path)
    if len(sheet.names) == 1:
        raise InputError(
            f"{path} has one column, {sheet.names[0]!r}; a target and at least one feature are needed "
            f"(accepted separators: {SEPARATORS})"
        )
    target, notes = _choose_target(path, sheet.names, target, aside)
    if len(sheet.lines) < MIN_ROWS:
        rows = count(len(sheet.lines), "row")
        raise InputError(f"{path} has {rows} below the column names, at least {MIN_ROWS} are needed")
    columns = sheet.parsed() | {target: sheet.numbers(target, "target column")}
    table = _make_table(Path(path).name, columns, target, aside, notes)
    categorical = [table.names[i] for i in table.categorical]
    return replace(table, notes=[*table.notes, *category_notes(sheet, categorical, aside)])


def _choose_target(path, names, target, aside):
    notes = []
    if are_numbers(names):
        notes.append(f"the first line of {path} is taken as column names, and all of them are numbers")
    if target is None:
        target = [name for name in names if name not in aside][-1]
        notes.append(f"no --target given: the last column, {target!r}, is the target")
    return known_name(path, names, target), notes


def _make_table(name, columns, target, aside, notes):
    for other in aside:
        if known_name(name, list(columns), other) == target:
            raise InputError(f"{name}: the column {other!r} is the target, it cannot decide the folds too")
    known = np.isfinite(columns[target])
    if not known.all():
        n_dropped = len(known) - np.count_nonzero(known)
        notes = [*notes, f"{count(n_dropped, 'row')} without a value of the target {target!r} left out"]
        columns = {key: column[known] for key, column in columns.items()}
    y = columns[target]
    _check_target(name, target, y)
    features = {key: column for key, column in columns.items() if key != target and key not in aside}
    varying = {key: column for key, column in features.items() if not _is_constant(column)}
    if not varying:
        besides = " and ".join(map(repr, (target, *aside)))
        raise InputError(f"{name}: every column besides the target {besides} is constant")
    is_text = np.array([column.dtype == object for column in varying.values()])
    return Table(
        name=name,
        target=target,
        names=list(varying),
        X=np.column_stack(list(varying.values())),
        y=y,
        numeric=np.flatnonzero(~is_text).tolist(),
        categorical=np.flatnonzero(is_text).tolist(),
        aside={key: columns[key] for key in aside},
        n_constant=len(features) - len(varying),
        notes=notes,
    )


def _check_target(name, target, y):
    if len(y) < MIN_ROWS:
        raise InputError(
            f"{name}: {count(len(y), 'row')} with a value of the target {target!r}, at least {MIN_ROWS} are needed"
        )
    if np.all(y == y[0]):
        raise InputError(f"{name}: the target column {target!r} is constant, {y[0]:g}: nothing to predict")


def _is_constant(column):
    """Whether all cells are equal or all are missing; being partly missing is information."""
    return bool(np.all(column == column[0]) or (column.dtype != object and np.isnan(column).all()))


def read_features(path, names, numeric, known=()):
    """Read the columns that a fitted model needs.

    Parameters
    ----------
    path : str
        The file; `reading.read_sheet` says what it may be.
    names : list of str
        The columns, in the order of the result.
    numeric : list of int
        Which of them are numeric; the others are read as text, even if they hold numbers only.
    known : sequence of str, default=()
        Columns that the model does not use, and that are no surprise.

    Returns
    -------
    X : ndarray of shape (n_rows, len(names)), float64 or object
        As in `Table`.
    notes : list of str
        What the user should know about how the file was read.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or has text in a numeric one.
    """
    sheet = read_sheet(path)
    lacking = [name for name in names if name not in sheet.columns]
    if lacking:
        raise InputError(f"{path} lacks {count(len(lacking), 'column')} of the model: {listed(lacking)}")
    expected = {*names, *known}
    surplus = [name for name in sheet.names if name not in expected]
    notes = [f"{count(len(surplus), 'column')} not used by the model: {listed(surplus)}"] if surplus else []
    is_number = np.isin(range(len(names)), numeric)
    X = [
        sheet.numbers(name, "column") if number else text(sheet.columns[name])
        for name, number in zip(names, is_number, strict=True)
    ]
    return np.column_stack(X), notes
