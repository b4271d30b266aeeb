"""The cells of any CSV file, with the standard library alone.

One reader serves always: with pandas a second one would have to agree with it on what is a number and what is missing.
"""

import csv
import difflib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skrelu._cli.console import InputError, count

DELIMITERS = ",;\t"
SEPARATORS = "commas, semicolons, tabs"
# First bytes of files that are often taken for tables, and what to do with them.
OTHER_FILES = {
    b"\x1f\x8b": "a gzip file; unpack it first",
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it, or save the sheet as CSV",
}
MISSING = {"", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "?"}
# The squares of larger numbers overflow in the sums of every model; such cells count as infinite.
LARGEST_NUMBER = 1e150
NAMES_SHOWN = 12
LETTERS_SHOWN = 40


@dataclass(frozen=True)
class Sheet:
    """A CSV file as it stands.

    Attributes
    ----------
    path : str
    columns : dict of str to tuple of str
        The cells of each column; blank lines are no rows.
    lines : list of int
        Where each row ends in the file.
    decimal_comma : bool
        Whether 1,5 is a number: where semicolons separate the cells.
    """

    path: str
    columns: dict
    lines: list
    decimal_comma: bool

    @property
    def names(self):
        """Names of the columns."""
        return list(self.columns)

    def is_number(self, cell):
        """Whether a cell is a number or missing."""
        return _is_number(cell, self.decimal_comma)

    def numbers(self, name, role):
        """Return a column as float64, NaN where missing; `role` says in the refusal of text what the column is."""
        cells = self.columns[name]
        for line, cell in zip(self.lines, cells, strict=True):
            if not self.is_number(cell):
                meant = " (no thousands separators, no units: 1234.5)" if any(map(str.isdigit, cell)) else ""
                raise InputError(
                    f"{self.path}, line {line}: the {role} {name!r} must be numeric, got {shortened(cell)!r}{meant}"
                )
        return np.array([_number(cell, self.decimal_comma) for cell in cells])

    def parsed(self):
        """Return name to array: float64 if every cell is a number or missing, else stripped text."""
        return {name: _parse(cells, self.decimal_comma) for name, cells in self.columns.items()}


def read_sheet(path):
    """Read a CSV file with column names in its first line.

    Parameters
    ----------
    path : str
        A file in UTF-8, with or without byte order mark, separated by commas, semicolons or tabs: the one that splits
        the first line into most names. Other encodings are refused, as one that accepts every byte (latin-1) would
        read any file, silently wrong.

    Returns
    -------
    Sheet
        With at least one row.

    Raises
    ------
    InputError
        If the file cannot be read, is empty, its rows have unequal lengths, or a column name is empty or repeated.
    """
    content = _read_text(path)
    delimiter = _sniff(path, content)
    records = _records(path, content, delimiter)
    _, header = next(records, (0, None))
    if header is None:
        raise InputError(f"{path} is empty")
    names = [name.strip() for name in header]
    _check_names(path, names)
    lines: list[int] = []
    rows: list[list[str]] = []
    for line, row in records:
        if len(row) != len(names):
            hint = "" if rows else " (the names of the columns must be in line 1)"
            fields, columns = count(len(row), "field"), count(len(names), "column")
            raise InputError(f"{path}, line {line}: {fields}, but the first line names {columns}{hint}")
        lines.append(line)
        rows.append(row)
    if not rows:
        raise InputError(f"{path} has 0 rows below the column names")
    cells = dict(zip(names, zip(*rows, strict=True), strict=True))
    return Sheet(str(path), cells, lines, decimal_comma=delimiter == ";")


def _read_text(path):
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"cannot read {path!r}: {error}") from error
    for first_bytes, kind in OTHER_FILES.items():
        if content.startswith(first_bytes):
            raise InputError(f"{path} is {kind}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte, line = content[error.start], content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: byte 0x{byte:02x} is not UTF-8; save the table as UTF-8") from error


def _records(path, content, delimiter, strict=True):
    """Yield the line number and the fields of each record that is not blank."""
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, skipinitialspace=True, strict=strict)
    try:
        for row in reader:
            if row and row != [""]:
                yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error} (is a quote left open?)") from error


def _sniff(path, content):
    def n_names(delimiter):
        try:
            _, header = next(_records(path, content, delimiter, strict=False), (0, []))
        except InputError:  # a line of many names is longer than a field may be
            return 0
        return len(header)

    return max(DELIMITERS, key=n_names)


def _check_names(path, names):
    seen = set()
    for position, name in enumerate(names, start=1):
        if not name:
            raise InputError(
                f"{path}: column {position} of {len(names)} has no name in the first line "
                "(an index column? give it a name or leave it out)"
            )
        if name in seen:
            hint = " (is there a line of names?)" if _is_number(name) else ""
            raise InputError(f"{path}: two columns are named {name!r}{hint}")
        seen.add(name)


def are_numbers(names):
    """Whether all names are numbers, as they are when the first line of a file is no header."""
    return all(_is_number(name) for name in names)


def known_name(path, names, name):
    """Return the name if it is one of a column, else raise `InputError` with what is close to it."""
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        raise InputError(f"{path} has no column {name!r}; did you mean {close[0]!r}?")
    raise InputError(f"{path} has no column {name!r}; it has {listed(names)}")


def shortened(cell):
    """Return the first `LETTERS_SHOWN` characters of a cell, with dots where more follow."""
    return cell if len(cell) <= LETTERS_SHOWN else cell[:LETTERS_SHOWN] + "..."


def listed(names):
    """Return the names quoted, the first `NAMES_SHOWN` of them."""
    return ", ".join(map(repr, names[:NAMES_SHOWN])) + (", ..." if len(names) > NAMES_SHOWN else "")


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
    try:
        return np.array([_number(cell, decimal_comma) for cell in cells])
    except ValueError:
        return text(cells)


def text(cells):
    """Return cells as stripped strings, "" for missing."""
    stripped = (cell.strip() for cell in cells)
    return np.array(["" if cell.lower() in MISSING else cell for cell in stripped], dtype=object)
