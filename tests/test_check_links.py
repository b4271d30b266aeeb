"""docs/check_links.py: links that lead nowhere are seen, and no others."""

import runpy
from pathlib import Path

import pytest

MAIN = runpy.run_path(str(Path(__file__).resolve().parents[1] / "docs" / "check_links.py"))["main"]


def write(root, link):
    (root / "sub").mkdir()
    (root / "a b.html").write_text('<h1 id="here">Title</h1>')
    (root / "_static").mkdir()
    (root / "_static" / "template.html").write_text('<a href="nowhere.html">not a page of ours</a>')
    (root / "sub" / "page.html").write_text(f'<p id="top"></p>{link}')


@pytest.mark.parametrize(
    "link",
    [
        '<a href="../a%20b.html#here">x</a>',
        '<a href="#top">x</a>',
        '<a href="https://example.org/page#any">x</a>',
        '<img src="../a%20b.html"/>',
    ],
)
def test_what_is_there_is_not_reported(tmp_path, capsys, link):
    write(tmp_path, link)
    assert MAIN(tmp_path) == 0
    assert capsys.readouterr().out == f"0 broken links in {tmp_path}\n"


@pytest.mark.parametrize(
    ("link", "told"),
    [
        ('<a href="missing.html">x</a>', "missing.html is not there"),
        ('<img src="missing.png"/>', "missing.png is not there"),
        ('<a href="..">x</a>', ".. is not there"),
        ('<a href="../a%20b.html#there">x</a>', "../a%20b.html#there has no such anchor"),
        ('<a href="#bottom">x</a>', "#bottom has no such anchor"),
        ('<a href="http://example.org">x</a>', "http://example.org is not https"),
    ],
)
def test_what_leads_nowhere_is_reported(tmp_path, capsys, link, told):
    write(tmp_path, link)
    assert MAIN(tmp_path) == 1
    assert capsys.readouterr().out.splitlines()[0].endswith(f"page.html: {told}")
