"""What the user should know about columns that are taken as categories, and perhaps should not be."""

from skrelu._cli.folds import is_date
from skrelu._cli.models import MAX_CATEGORIES
from skrelu._cli.reading import MISSING, shortened

# Of the cells that are not missing: a column with so many numbers was meant to be numeric, and one with so many
# different values has next to no rows that share a category.
SUSPICIOUS_SHARE = 0.9


def category_notes(sheet, names, aside):
    """Return at most one note for each of the columns that are taken as categories.

    Parameters
    ----------
    sheet : Sheet
    names : list of str
        Of these columns.
    aside : sequence of str
        Columns that decide the folds already.
    """
    return [note for name in names if (note := _note(sheet, name, aside))]


def _note(sheet, name, aside):
    cells = [
        (line, cell.strip())
        for line, cell in zip(sheet.lines, sheet.columns[name], strict=True)
        if cell.strip().lower() not in MISSING
    ]
    text = [(line, cell) for line, cell in cells if not sheet.is_number(cell)]
    n_numbers = len(cells) - len(text)
    line, cell = text[0]
    if n_numbers >= SUSPICIOUS_SHARE * len(cells):
        more = f" and {len(text) - 1} more" if len(text) > 1 else ""
        return (
            f"{name!r} is taken as categories because of line {line}, {shortened(cell)!r}{more}; "
            f"{n_numbers} of {len(cells)} cells are numbers"
        )
    n_values = len({cell for _, cell in cells})
    if n_values > MAX_CATEGORIES and n_values >= SUSPICIOUS_SHARE * len(cells):
        by_time = f", or use --time {name!r}" if not aside and all(is_date(cell) for _, cell in cells) else ""
        return (
            f"{name!r} is taken as categories because of line {line}, {shortened(cell)!r}; {n_values} different values "
            f"in {len(cells)} cells, only the {MAX_CATEGORIES - 1} most frequent become columns: leave it out{by_time}"
        )
    return None
