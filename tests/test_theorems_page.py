"""The paths and tests that the pages name: they exist, and every theorem of docs/guide/theorems.rst has its test."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUILT = ("docs/_build", "docs/gallery", "docs/reference/generated")
PAGES = [
    *sorted(
        name
        for path in (ROOT / "docs").rglob("*.rst")
        if not (name := path.relative_to(ROOT).as_posix()).startswith(BUILT)
    ),
    "README.md",
    "CONTRIBUTING.md",
]
THEOREMS = "docs/guide/theorems.rst"
# What a page shows as code: between one or two backticks, or after the word pytest in a command.
CODE = re.compile(r"``(?P<double>[^`]+)``|(?<!`)`(?P<single>[^`]+)`(?!`)|pytest[^\n`]* (?P<command>tests/\S+)")
PLACE = re.compile(r"(?P<path>(?:skrelu|tests|examples|docs)/[\w./*-]*)(?:::(?P<test>\w+))?\S*")
AND_ANOTHER = re.compile(r"::(?P<test>\w+)")


def named(text):
    """Return the places (path, test or None) that a page names; ``::test_x`` is of the file before it."""
    places, file = [], None
    for match in CODE.finditer(text):
        code = match[match.lastgroup].strip()
        if place := PLACE.fullmatch(code):
            places.append((place["path"], place["test"]))
            file = place["path"] if place["path"].startswith("tests/") else file
        elif another := AND_ANOTHER.fullmatch(code):
            places.append((file, another["test"]))
    return places


@cache
def functions(path):
    """Return the names of the test functions of a file."""
    return {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}


def missing(text):
    """Return what a text names and what is not there: paths, and ``path::test``."""
    wrong = []
    for path, test in named(text):
        if path is None or not any(ROOT.glob(path)):
            wrong.append(path or f"::{test} of no file")
        elif test is not None and not (path.endswith(".py") and test in functions(path)):
            wrong.append(f"{path}::{test}")
    return wrong


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page):
    assert missing((ROOT / page).read_text()) == []


def blocks():
    """Return the texts of the theorems, by their labels."""
    pieces = re.split(r"^\.\. _(theorem-[\w-]+):$", (ROOT / THEOREMS).read_text(), flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


@pytest.mark.parametrize("label", blocks())
def test_every_theorem_has_its_call_its_code_and_its_test(label):
    text = blocks()[label].split("\n.. _", 1)[0]
    for row in ("call", "code", "tests", "here", "see"):
        assert f"\n   * - {row}\n" in text
    places = named(text)
    assert any(path.startswith("skrelu/") for path, _ in places)
    assert any(test is not None for _, test in places)


def test_every_theorem_is_in_the_summary():
    summary = (ROOT / THEOREMS).read_text().split("\n.. _", 1)[0]
    assert set(re.findall(r"<(theorem-[\w-]+)>", summary)) == set(blocks())


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("``skrelu/rows/``, `tests/conftest.py` and ``two_layer_fit.py``", []),
        ("``skrelu/row/``", ["skrelu/row/"]),
        ("``examples/planted/plot_*.py``", []),
        ("``examples/planted/plots_*.py``", ["examples/planted/plots_*.py"]),
        ("`docs/guide/missing.rst`", ["docs/guide/missing.rst"]),
        ("``tests/test_theorems_page.py::named``", []),
        ("``tests/test_theorems_page.py::names``", ["tests/test_theorems_page.py::names"]),
        ("``tests/test_theorems_page.py``,\n``::named``, ``::names``", ["tests/test_theorems_page.py::names"]),
        ("``::named``", ["::named of no file"]),
        ("``tests/README.md::named``", ["tests/README.md"]),
        ("$ python -m pytest -n 2 tests/test_theorems_page.py::names", ["tests/test_theorems_page.py::names"]),
        ("``python examples/benchmarks/run.py --quick`` and https://skrelu/row", []),
    ],
)
def test_a_wrong_name_is_seen(text, wrong):
    assert missing(text) == wrong
