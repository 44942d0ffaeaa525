"""What the documentation names is there: files, tests, links, invariants, targets of make."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPPED = {".venv", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "data", "build"}
PAGES = [
    path
    for path in sorted(ROOT.rglob("*.md"))
    if not SKIPPED & set(path.relative_to(ROOT).parts) and "node_modules" not in path.parts
]
TOPS = {path.name for path in ROOT.iterdir()} - SKIPPED
ROOMS = {path.name for path in (ROOT / "streamsim").iterdir() if path.is_dir()}
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
INVARIANT = re.compile(r"\bI([1-9]\d?)\b(?!/)")
INVARIANTS = re.findall(r"^\| I(\d+) \| \*\*.+?\*\*.* \| (.+?) \|$", ARCHITECTURE, re.MULTILINE)
NOT_HELD = "not yet held by a test"

CODE = re.compile(r"\.(py|lua|md|toml|cfg|yml|conf)(::\w+)?$")

# In policies/ and in examples, `I1` may be a name of the code; nobody cites invariants there.
CITING = ("streamsim", "handlers", "client", "tests", "bench", "docs")


def named(page: str) -> list[str]:
    """Paths in backquotes: files at the project's top, and what has a slash and a known folder or ending.

    A name alone, such as `bad.py`, may be a file of a reader's own.
    """
    found = re.findall(r"`([\w.*-]+(?:/[\w.*-]*)*(?:::\w+)?)`", page)
    return [
        text
        for text in found
        if ("/" in text and (text.split("/")[0] in TOPS | ROOMS or CODE.search(text)))
        or ("." in text and text in TOPS)
    ]


def missing(page: str) -> list[str]:
    """The paths that a page names and that are not there; of a test also its name."""
    wrong = []
    for text in named(page):
        path, _, test = text.partition("::")
        if not any(ROOT.glob(path.rstrip("/"))) or (test and test not in functions(path)):
            wrong.append(text)
    return wrong


@cache
def functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def anchors(page: str) -> set[str]:
    """Of the headings of a page, as they are written in links."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_and_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert missing(text) == []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        place, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        linked = (page.parent / place) if place else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked.read_text(encoding="utf-8")), target


def test_a_file_that_is_not_there_is_found() -> None:
    page = (
        "`streamsim/nothing.py` `tests/guides.py::nothing` `storage/nothing.py` `old/nothing.py` `docs/*.md`"
    )
    assert missing(page) == [
        "streamsim/nothing.py",
        "tests/guides.py::nothing",
        "storage/nothing.py",
        "old/nothing.py",
    ]


def test_every_invariant_that_is_cited_is_defined() -> None:
    defined = {int(number) for number, _ in INVARIANTS}
    assert defined == set(range(1, max(defined) + 1))
    cited = {}
    for top in CITING:
        for path in (ROOT / top).rglob("*"):
            if path.suffix in (".py", ".md", ".lua") and path != Path(__file__):
                for number in INVARIANT.findall(path.read_text(encoding="utf-8")):
                    cited[int(number)] = path.relative_to(ROOT).as_posix()
    assert len(cited) >= 12
    assert {number: path for number, path in cited.items() if number not in defined} == {}


def test_every_invariant_names_the_tests_that_hold_it_or_says_that_none_does() -> None:
    for number, holders in INVARIANTS:
        tests = named(holders)
        assert (holders == NOT_HELD) != bool(tests), f"I{number}"
        assert all(test.startswith("tests/") for test in tests), f"I{number}"


def test_make_alone_lists_every_target_and_builds_nothing(tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (tmp_path / "Makefile").write_text(makefile)
    ended = subprocess.run(["make"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony
    listed = re.findall(r"^make ([\w-]+) +\S", ended.stdout, re.MULTILINE)
    assert sorted([*listed, "help"]) == sorted(phony[1].split())
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


def test_the_page_shows_how_to_play_a_policy_in_a_debugger() -> None:
    (command,) = re.findall(r"\.venv/bin/python -c '\n(.+?)'\n", ARCHITECTURE, re.DOTALL)
    program = "\n".join(line.removeprefix("    ") for line in command.splitlines())
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert len(ended.stdout.splitlines()) == 5
