"""Any CSV file to arrays, with the standard library alone.

One reader serves always: with pandas a second one would have to agree with it on what is a number and what is missing.
"""

import csv
import difflib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_diabetes

from skrelu._cli.console import InputError, count

DELIMITERS = ",;\t"
MISSING = {"", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "?"}
# The squares of larger numbers overflow in the sums of every model; such cells count as infinite.
LARGEST_NUMBER = 1e150
MIN_ROWS = 3
NAMES_SHOWN = 12


@dataclass(frozen=True)
class Table:
    """A regression problem, ready for a `ColumnTransformer`.

    Attributes
    ----------
    name, target : str
        Of the file, and of the column to predict.
    X : ndarray of shape (n_rows, n_features), float64 or object
        Features without the constant ones: numbers, NaN where missing; in categorical columns strings, "" where
        missing.
    y : ndarray of shape (n_rows,)
        Finite target values.
    numeric, categorical : list of int
        The columns of X of each kind.
    n_constant : int
        Number of columns left out because they are constant.
    notes : list of str
        What the user should know about how the file was read.
    """

    name: str
    target: str
    X: np.ndarray
    y: np.ndarray
    numeric: list
    categorical: list
    n_constant: int
    notes: list

    @property
    def n_columns(self):
        """Number of columns of the file besides the target."""
        return self.X.shape[1] + self.n_constant


def diabetes(target=None):
    """Return the diabetes data of scikit-learn, in the units of measurement."""
    data = load_diabetes(scaled=False)
    columns = dict(zip(data.feature_names, data.data.T, strict=True)) | {"target": data.target}
    return _make_table("diabetes", columns, target or "target", [])


def read_csv(path, target=None):
    """Read a table with column names in the first line.

    Parameters
    ----------
    path : str
        A file in UTF-8, with or without byte order mark, separated by commas, semicolons or tabs: the one that splits
        the first line into most names. Other encodings are refused, as one that accepts every byte (latin-1) would
        read any file, silently wrong.
    target : str, default=None
        The column to predict; None takes the last one.

    Returns
    -------
    Table
        The table without the rows whose target is missing.

    Raises
    ------
    InputError
        If the file cannot be read, its rows have unequal lengths, a column name is empty or repeated, the target is
        unknown, not numeric or constant, or too few rows or no features remain.
    """
    text = _read_text(path)
    delimiter = _sniff(path, text)
    records = _records(path, text, delimiter)
    _, header = next(records, (0, None))
    if header is None:
        raise InputError(f"{path} is empty")
    names = [name.strip() for name in header]
    _check_names(path, names)
    target, notes = _choose_target(path, names, target)

    lines, rows = [], []
    for line, row in records:
        if len(row) != len(names):
            raise InputError(f"{path}, line {line}: {len(row)} fields, but the first line names {len(names)} columns")
        lines.append(line)
        rows.append(row)
    if len(rows) < MIN_ROWS:
        raise InputError(f"{path} has {count(len(rows), 'row')} below the column names, at least {MIN_ROWS} are needed")
    decimal_comma = delimiter == ";"
    columns = {name: _parse(cells, decimal_comma) for name, cells in zip(names, zip(*rows, strict=True), strict=True)}
    if columns[target].dtype == object:
        _refuse_target(path, target, columns[target], lines, decimal_comma)
    return _make_table(Path(path).name, columns, target, notes)


def _read_text(path):
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"cannot read {path!r}: {error}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte, line = content[error.start], content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: byte 0x{byte:02x} is not UTF-8; save the table as UTF-8") from error


def _records(path, text, delimiter, strict=True):
    """Yield the line number and the fields of each record that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=strict)
    try:
        for row in reader:
            if row and row != [""]:
                yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error} (is a quote left open?)") from error


def _sniff(path, text):
    def n_names(delimiter):
        _, header = next(_records(path, text, delimiter, strict=False), (0, []))
        return len(header)

    return max(DELIMITERS, key=n_names)


def _check_names(path, names):
    for position, name in enumerate(names, start=1):
        if not name:
            raise InputError(
                f"{path}: column {position} of {len(names)} has no name in the first line "
                "(an index column? give it a name or leave it out)"
            )
        if names.index(name) < position - 1:
            raise InputError(f"{path}: two columns are named {name!r}")
    if len(names) == 1:
        raise InputError(f"{path} has one column, {names[0]!r}; a target and at least one feature are needed")


def _choose_target(path, names, target):
    notes = []
    if all(_is_number(name) for name in names):
        notes.append(f"the first line of {path} is taken as column names, and all of them are numbers")
    if target is None:
        target = names[-1]
        notes.append(f"no --target given: the last column, {target!r}, is the target")
    return _known_name(path, names, target), notes


def _known_name(path, names, target):
    if target in names:
        return target
    close = difflib.get_close_matches(target, names, n=1)
    if close:
        raise InputError(f"{path} has no column {target!r}; did you mean {close[0]!r}?")
    shown = ", ".join(map(repr, names[:NAMES_SHOWN])) + (", ..." if len(names) > NAMES_SHOWN else "")
    raise InputError(f"{path} has no column {target!r}; it has {shown}")


def _number(cell, decimal_comma=False):
    """Return the cell as float, NaN for missing or infinite; raise ValueError if it is neither.

    Underscores, which Python allows in numbers, make a code ("2024_01") and no number.
    """
    try:
        value = float(cell)
    except ValueError:
        if cell.strip().lower() in MISSING:
            return np.nan
        if not (decimal_comma and cell.count(",") == 1):
            raise
        value = float(cell.replace(",", "."))
    if "_" in cell:
        raise ValueError(cell)
    return value if abs(value) <= LARGEST_NUMBER else np.nan


def _is_number(cell, decimal_comma=False):
    try:
        _number(cell, decimal_comma)
    except ValueError:
        return False
    return True


def _parse(cells, decimal_comma):
    """Return a column as float64 if every cell is a number or missing, else as stripped strings, "" for missing."""
    try:
        return np.array([_number(cell, decimal_comma) for cell in cells])
    except ValueError:
        stripped = (cell.strip() for cell in cells)
        return np.array(["" if cell.lower() in MISSING else cell for cell in stripped], dtype=object)


def _refuse_target(path, target, cells, lines, decimal_comma):
    line, cell = next(
        (line, cell) for line, cell in zip(lines, cells, strict=True) if not _is_number(cell, decimal_comma)
    )
    shown = cell if len(cell) <= 40 else cell[:40] + "..."
    raise InputError(f"{path}, line {line}: the target column {target!r} must be numeric, got {shown!r}")


def _make_table(name, columns, target, notes):
    columns = dict(columns)
    y = columns.pop(_known_name(name, list(columns), target))
    known = np.isfinite(y)
    if not known.all():
        n_dropped = len(y) - np.count_nonzero(known)
        notes = [*notes, f"{count(n_dropped, 'row')} without a value of the target {target!r} left out"]
        y = y[known]
        columns = {key: column[known] for key, column in columns.items()}
    if len(y) < MIN_ROWS:
        raise InputError(
            f"{name}: {count(len(y), 'row')} with a value of the target {target!r}, at least {MIN_ROWS} are needed"
        )
    if np.all(y == y[0]):
        raise InputError(f"{name}: the target column {target!r} is constant, {y[0]:g}: nothing to predict")

    varying = [column for column in columns.values() if not _is_constant(column)]
    if not varying:
        raise InputError(f"{name}: every column besides the target {target!r} is constant")
    is_text = np.array([column.dtype == object for column in varying])
    return Table(
        name=name,
        target=target,
        X=np.column_stack(varying),
        y=y,
        numeric=np.flatnonzero(~is_text).tolist(),
        categorical=np.flatnonzero(is_text).tolist(),
        n_constant=len(columns) - len(varying),
        notes=notes,
    )


def _is_constant(column):
    """Whether all cells are equal or all are missing; being partly missing is information."""
    return bool(np.all(column == column[0]) or (column.dtype != object and np.isnan(column).all()))
