"""README.md: its code runs, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert float(capsys.readouterr().out) < 1e-12


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", README))))
def test_links_lead_somewhere(link):
    assert link.startswith("https://arxiv.org/abs/") or (ROOT / link).is_file()


def test_one_command_for_the_main_job_and_one_for_the_tests():
    commands = re.findall(r"```sh\n(python3 .*?)\n```", README)
    assert [command.rsplit("&& ", 1)[1] for command in commands] == [
        ".venv/bin/skrelu compare",
        ".venv/bin/python -m pytest -n 2",
    ]
