"""What the user sees: errors, notes, tables and progress; rich draws them where it is installed and a terminal listens.

Results go to stdout; everything else goes to stderr, so that stdout can be piped.
"""

import sys
from contextlib import contextmanager

PROGRESS_WIDTH = 60


class InputError(Exception):
    """Bad input: the message is the one line that the user reads."""


def one_line(text):
    """Return the text with every run of white space, line ends included, as one space."""
    return " ".join(str(text).split())


def count(n, noun):
    """Return the number with its noun: "1 row", "2 rows"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def say(text, stream=None):
    """Print a line; characters that the stream cannot encode are escaped, for a report must not end in an error."""
    stream = sys.stdout if stream is None else stream
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)


def complain(kind, message):
    """Print one line on stderr; kind is "error" or "note"."""
    say(f"skrelu: {kind}: {one_line(message)}", sys.stderr)


def print_table(header, rows, highlighted=()):
    """Print a table on stdout: boxed and coloured on a terminal with rich, else aligned text.

    Parameters
    ----------
    header : sequence of str
        Column titles; the first column is set flush left, the others flush right.
    rows : sequence of sequence of str
        The cells.
    highlighted : container of int
        Positions of the rows that stand out on a terminal.
    """
    if sys.stdout.isatty():
        try:
            return _print_rich_table(header, rows, highlighted)
        except ImportError:
            pass
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, ["-" * width for width in widths], *rows):
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        say("  ".join([first, *others]))


def _print_rich_table(header, rows, highlighted):
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for i, title in enumerate(header):
        table.add_column(title, justify="left" if i == 0 else "right")
    for i, row in enumerate(rows):
        table.add_row(*map(Text, row), style="bold cyan" if i in highlighted else None)
    Console().print(table)


@contextmanager
def progress(total):
    """Show how far a long run is, on stderr when it is a terminal; nothing of it stays there afterwards.

    Parameters
    ----------
    total : int
        Number of steps.

    Yields
    ------
    callable
        ``report(n_done, doing)``: the steps done, and the name of what runs now.
    """
    if not sys.stderr.isatty():
        yield lambda n_done, doing: None
        return
    try:
        bar = _rich_bar()
    except ImportError:
        with _plain_progress(total) as report:
            yield report
        return
    with bar:
        task = bar.add_task("", total=total)
        yield lambda n_done, doing: bar.update(task, completed=n_done, description=doing)


def _rich_bar():
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


@contextmanager
def _plain_progress(total):
    def show(line):
        sys.stderr.write("\r" + line[:PROGRESS_WIDTH].ljust(PROGRESS_WIDTH) + "\r")
        sys.stderr.flush()

    try:
        yield lambda n_done, doing: show(f"[{n_done}/{total}] {doing}")
    finally:
        show("")
