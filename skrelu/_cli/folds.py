"""Which rows are trained on and which are held out: any, whole groups, or later ones."""

from datetime import UTC, datetime

import numpy as np
from sklearn.model_selection import GroupKFold, KFold, TimeSeriesSplit

from skrelu._cli.console import InputError, count

DEFAULT_FOLDS = 5
# The first fold is trained on that many different times at least: one may be a single row.
FIRST_TIMES = 2


def make_folds(table, n_folds=None, seed=0, groups=None, time=None):
    """Return the table with its rows reordered, its folds as (train, test) pairs, and a list of notes.

    The rows are shuffled before they are split, not the folds drawn from ordered rows: inner cross-validations cut
    the training rows where they lie, and a file is often sorted by its target. For their sake the rows of a group lie
    side by side, and rows that have a time lie in its order.

    Parameters
    ----------
    table : Table
    n_folds : int, default=None
        None: `DEFAULT_FOLDS`, or as many as there can be.
    seed : int, default=0
        Of the shuffling.
    groups : str, default=None
        A column set aside: rows with equal cells are held out together.
    time : str, default=None
        A column set aside, of numbers or ISO dates: each fold is tested on rows later than all it was trained on.

    Raises
    ------
    InputError
        If there are too few rows, groups or times, or the column misses cells or is no time.
    """
    order = np.random.RandomState(seed).permutation(len(table.y))
    if groups is not None:
        labels = _by_appearance(_complete(table, "--groups", groups)[order])
    elif time is not None:
        labels = np.unique(_times(_complete(table, "--time", time)), return_inverse=True)[1][order]
    else:
        labels = np.arange(len(order))
    together = np.argsort(labels, kind="stable")
    table, labels = table.reordered(order[together]), labels[together]
    n_folds, notes = _choose_number(n_folds, int(labels[-1]) + 1, groups, time)
    folds = _split(labels, n_folds, groups, time)
    if not scored_by_fold(table.y, folds):
        notes.append("a test fold has one target value only: R2 is that of all held-out predictions together")
    return table, folds, notes


def scored_by_fold(y, folds):
    """Whether R2 is defined on every test fold: at least two rows, and not all of one target value."""
    return all(np.ptp(y[test]) > 0 for _, test in folds)


def _split(labels, n_folds, groups, time):
    if groups is not None:
        return list(GroupKFold(n_folds).split(labels, groups=labels))
    if time is None:
        return list(KFold(n_folds).split(labels))
    # The times are split, not the rows: rows of one time are all trained on or all tested on.
    splits = TimeSeriesSplit(n_folds).split(np.arange(labels[-1] + 1))
    return [tuple(np.flatnonzero(np.isin(labels, part)) for part in split) for split in splits]


def _choose_number(n_folds, n_units, groups, time):
    """Return the number of folds of that many rows, groups or times, and a list of notes."""
    noun, column, reserve = "row", "", 0
    if groups is not None:
        noun, column = "group", f" of {groups!r}"
    elif time is not None:
        noun, column, reserve = "different value", f" of {time!r}", FIRST_TIMES
    available = f"{count(n_units, noun)}{column}"
    most = n_units - reserve
    if most < 2:
        raise InputError(f"{available}: at least {reserve + 2} are needed")
    if n_folds is None:
        n_folds = min(DEFAULT_FOLDS, most)
        return n_folds, [f"{available}: {n_folds} folds instead of {DEFAULT_FOLDS}"] if most < DEFAULT_FOLDS else []
    if n_folds > most:
        less = f" less {reserve}" if reserve else ""
        raise InputError(f"--cv must not exceed the number of {noun}s{column}{less}, {most}, got {n_folds}")
    return n_folds, []


def _complete(table, option, name):
    """Return a column set aside; a missing cell in it is refused, as it says neither with nor apart from which rows."""
    cells = table.aside[name]
    missing = cells == "" if cells.dtype == object else np.isnan(cells)
    if missing.any():
        raise InputError(f"{option}: {name!r} misses {count(np.count_nonzero(missing), 'cell')}")
    return cells


def _by_appearance(cells):
    """Return the number of each row's group, in the order in which the groups appear."""
    _, first, groups = np.unique(cells, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[groups]


def _times(cells):
    """Return numbers in the order of time: the cells, or the seconds of dates."""
    return cells if cells.dtype != object else np.array([_seconds(cell) for cell in cells])


def is_date(cell):
    """Whether a cell is an ISO date, a month or a year."""
    try:
        _seconds(cell)
    except InputError:
        return False
    return True


def _seconds(cell):
    """Return the seconds of an ISO date, of the month or of the year that it begins; without a zone it is in UTC."""
    for rest in ("", "-01", "-01-01"):
        try:
            moment = datetime.fromisoformat(cell + rest)
        except ValueError:
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    raise InputError(f"--time: {cell!r} is neither a number nor an ISO date such as 2024-01-31")
