"""The pages for developers name what exists: every room on its floor, every solver, every registry.

And the citation file has every paper that the front page names.
"""

import re
import runpy
from itertools import pairwise
from pathlib import Path

import skrelu

PACKAGE = Path(skrelu.__file__).parent
ROOT = Path(__file__).parents[1]
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "development").glob("*.rst"))}
ROOMS = ("Doors", "Estimators", "Solving", "Mathematics", "Ground")


def modules(folder):
    """Return the names of the files of a folder, and with a slash those of its packages."""
    files = {path.name for path in folder.glob("*.py")}
    return files | {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}


def first_column(title):
    """Return the names in the first column of a table of the page."""
    table = PAGES["how_it_is_built"].split(f".. list-table:: {title}\n")[1].split("\n\n   * - ")[1]
    cells = re.findall(r"^   \* - (.*)$", "   * - " + table.split("\n\n")[0], flags=re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"``(.*?)``", cell)]


def floors():
    """Return the floor of each room, as the test of the arrows has them."""
    found = runpy.run_path(str(ROOT / "tests" / "test_architecture.py"))["FLOORS"]
    return {name: i for i, names in enumerate(found) for name in names}


def test_the_tables_have_every_room_once():
    named = [name for title in ROOMS for name in first_column(title)]
    assert sorted(named) == sorted(modules(PACKAGE))


def test_the_tables_go_down_the_floors():
    floor = floors()
    spans = [[floor[re.sub(r"\.py$|/$", "", name)] for name in first_column(title)] for title in ROOMS]
    for above, below in pairwise(spans):
        assert max(above) < min(below)


def test_the_picture_has_the_rooms_of_the_tables():
    drawing = (ROOT / "docs" / "static" / "rooms.svg").read_text(encoding="utf-8")
    drawn = [name for line in re.findall(r'class="m">(.*?)<', drawing) for name in line.split(", ")]
    rooms = [name.removesuffix(".py") for title in ROOMS for name in first_column(title)]
    assert sorted(drawn) == sorted(rooms)


def test_the_table_of_solvers_has_every_file_once():
    assert sorted(first_column("Solvers")) == sorted(modules(PACKAGE / "solvers") - {"__init__.py"})


def test_the_registries_that_are_to_be_extended_exist():
    page = " ".join(PAGES["extending"].split())
    named = re.findall(r"`(\w+)`+ (?:in the registry |in|of) ``((?:tests|skrelu)/[\w/]+\.py)``", page)
    assert len(named) > 5
    for name, file in named:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^(class |def )?{name}\b", source, flags=re.MULTILINE), name


def test_every_paper_of_the_front_page_can_be_cited():
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    papers = set(re.findall(r"arxiv\.org/abs/([\d.]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert papers
    assert [paper for paper in papers if f'value: "arXiv:{paper}"' not in cited] == []
