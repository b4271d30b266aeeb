"""What the command line says about a table that is not what its owner thinks."""

import gzip
import io
import zipfile

import pytest

from skrelu.__main__ import main
from skrelu._cli.models import MAX_CATEGORIES
from skrelu._cli.tables import read_csv


@pytest.fixture
def write(tmp_path):
    """Write text (or bytes) to a file and return its path."""

    def write_file(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write_file


@pytest.fixture
def notes(write):
    """Return the notes on a table of a column `c` of these cells, a number and a target."""

    def read(cells, *aside):
        rows = [f'"{cell}",{i},{i * i}' for i, cell in enumerate(cells)]
        return read_csv(write("\n".join(["c,x,y", *rows])), "y", aside).notes

    return read


# Columns taken as categories


def test_one_text_cell_among_numbers(notes):
    cells = [f"{i}.5" for i in range(300)]
    cells[4] = "about 80"
    note = "'c' is taken as categories because of line 6, 'about 80'; 299 of 300 cells are numbers"
    assert notes(cells) == [note]


@pytest.mark.parametrize(
    ("n_text", "n_missing", "message"),
    [
        (1, 20, "because of line 22, '1,234'; 19 of 20 cells are numbers"),
        (2, 0, "because of line 2, '1,234' and 1 more; 18 of 20 cells are numbers"),
        (3, 0, None),
    ],
)
def test_nine_tenths_of_what_is_not_missing(notes, n_text, n_missing, message):
    cells = ["NA", ""] * (n_missing // 2) + ["1,234"] * n_text + [str(i % 5) for i in range(20 - n_text)]
    assert notes(cells) == ([f"'c' is taken as categories {message}"] if message else [])


def test_decimal_commas_are_numbers_between_semicolons(write):
    rows = [f"{i},5;{i}" for i in range(20)]
    (note,) = read_csv(write("\n".join(["c;y", *rows, "1.000,5;3"])), "y").notes
    assert note.endswith("because of line 22, '1.000,5'; 20 of 21 cells are numbers")


def test_identifiers(notes):
    (note,) = notes([f"id {i}" for i in range(60)])
    kept = MAX_CATEGORIES - 1
    assert note == (
        "'c' is taken as categories because of line 2, 'id 0'; 60 different values in 60 cells, "
        f"only the {kept} most frequent become columns: leave it out"
    )


def test_dates(notes):
    dates = [f"2024-{1 + i // 28:02}-{1 + i % 28:02}" for i in range(232)]
    (note,) = notes(dates)
    assert "232 different values in 232 cells" in note
    assert note.endswith("leave it out, or use --time 'c'")
    assert notes(dates, "c") == []
    assert notes(dates, "x")[0].endswith("leave it out")


@pytest.mark.parametrize("cells", [[f"id {i}" for i in range(MAX_CATEGORIES)], [f"id {i % 50}" for i in range(60)]])
def test_categories_that_are_kept_or_shared(notes, cells):
    assert notes(cells) == []


def test_compare_prints_the_notes(write, capsys):
    path = write("c,x,y\n" + "".join(f"id {i},{i},{i}\n" for i in range(60)))
    assert main(["compare", path, "--target", "y", "--models", "ridge"]) == 0
    assert capsys.readouterr().err.startswith("skrelu: note: 'c' is taken as categories")


# Refusals


def zipped():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"x,y\n1,2\n", mtime=0), "table.csv is a gzip file; unpack it first"),
        (zipped(), "table.csv is a zip archive or an Excel workbook; unpack it, or save the sheet as CSV"),
        ("x y\n1 2\n2 3\n3 4\n", "(accepted separators: commas, semicolons, tabs)"),
        ("Houses\nx,y\n1,2\n", "line 2: 2 fields, but the first line names 1 column (the names of the columns must be"),
        ("x,y\n1,2\n1,2,3\n", "line 3: 3 fields, but the first line names 2 columns\n"),
        ("1,1\n1,2\n2,3\n", "two columns are named '1' (is there a line of names?)"),
        ("x,x\n1,2\n2,3\n", "two columns are named 'x'\n"),
        ('x,y\n1,2\n2,"157,372"\n3,4\n', "got '157,372' (no thousands separators, no units: 1234.5)\n"),
        ("x,y\n1,2\n2,many\n3,4\n", "must be numeric, got 'many'\n"),
    ],
    ids=lambda value: value if isinstance(value, str) else "bytes",
)
def test_refusals_say_what_to_do(write, capsys, content, message):
    assert main(["compare", write(content), "--target", "y"]) == 2
    (line,) = capsys.readouterr().err.splitlines(keepends=True)
    assert message in line


def test_a_table_may_start_with_the_letters_of_a_zip_archive(write):
    assert read_csv(write("PK,y\n1,2\n2,3\n3,5\n"), "y").names == ["PK"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "--target", "x", "m", "new"], "skrelu predict has no option --target (see skrelu predict --help)"),
        (["predict", "--target=x", "m", "new"], "skrelu predict has no option --target (see skrelu predict --help)"),
        (["predict", "m", "new", "old"], "skrelu predict takes no further argument old (see skrelu predict --help)"),
        (["--target"], "skrelu has no option --target (see skrelu --help)"),
    ],
)
def test_the_unknown_option_is_blamed(capsys, arguments, message):
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"skrelu: error: {message}\n"
