"""Where code stands and what it may import: the table of rooms in docs/architecture.md against the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LONGEST = 400

# Package -> the only room that may import it.
DRIVERS = {"motor": "streamsim/storage/mongo/", "redis": "streamsim/storage/redis/"}


def floors() -> dict[str, int]:
    """Room -> floor, from the page's table."""
    rows = re.findall(r"^\| (\d+) \| (`.+?`) \|", PAGE, re.MULTILINE)
    return {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(.+?)`", rooms)}


FLOORS = floors()
FILES = {
    path.relative_to(ROOT).as_posix(): path
    for top in ("streamsim", "handlers")
    for path in sorted((ROOT / top).rglob("*.py"))
}
MODULES = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in FILES}


class Import(NamedTuple):
    """A module that a file imports, wherever in it the import stands."""

    path: str
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.module}"


def imports(path: str, source: str) -> Iterator[Import]:
    """Every import of a file: at its top, in functions, under TYPE_CHECKING, by name with import_module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(path, node.lineno, name.name)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relative to itself; name the package"
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield Import(path, node.lineno, inner if inner in MODULES else str(node.module))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            first = node.args[0]
            if isinstance(first, ast.JoinedStr) and first.values:
                first = first.values[0]
            if isinstance(first, ast.Constant):
                yield Import(path, node.lineno, str(first.value).rstrip("."))


def room(path: str) -> str | None:
    """The room of a file: the longest that its path begins with."""
    found = [one for one in FLOORS if path == one or (one.endswith("/") and path.startswith(one))]
    return max(found, key=len, default=None)


@cache
def all_imports() -> list[Import]:
    return [one for path, file in FILES.items() for one in imports(path, file.read_text(encoding="utf-8"))]


@cache
def own() -> list[Import]:
    return [one for one in all_imports() if one.module in MODULES]


def upward(found: list[Import]) -> list[str]:
    """Those that lead to a room on the same or a higher floor."""
    wrong = []
    for one in found:
        here, there = room(one.path), room(MODULES[one.module])
        if here is not None and there is not None and here != there and FLOORS[there] >= FLOORS[here]:
            wrong.append(f"{one}: {here} is on floor {FLOORS[here]}, {there} on floor {FLOORS[there]}")
    return wrong


def test_every_file_is_in_a_room_of_the_table_and_every_room_is_there() -> None:
    assert [path for path in FILES if room(path) is None] == []
    assert [one for one in FLOORS if not (ROOT / one).exists()] == []
    assert len(FLOORS) > 20


def test_every_import_leads_to_a_lower_room() -> None:
    assert len(own()) > 400
    assert upward(own()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import streamsim.server.http.server",
        "from streamsim.server import http",
        "from streamsim.server.http.server import Server",
        "def later():\n    from streamsim.server import http",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from streamsim.server.serve import Process",
        "import importlib\nimportlib.import_module('streamsim.server.http.server')",
    ],
)
def test_an_import_of_a_higher_room_is_found_wherever_it_stands(source: str) -> None:
    found = [one for one in imports("streamsim/decisions/lane.py", source) if one.module in MODULES]
    assert len(upward(found)) == 1
    assert upward([one._replace(path="streamsim/cli/main.py") for one in found]) == []


def test_only_the_sandboxes_registry_names_programs() -> None:
    named = [
        path
        for path, file in FILES.items()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and re.fullmatch(r"streamsim\.programs[\w.]*", str(node.value))
    ]
    assert set(named) == {"streamsim/sandbox/registry.py"}


def test_a_driver_is_imported_by_its_own_room_alone() -> None:
    for package, home in DRIVERS.items():
        users = {one.path for one in all_imports() if one.module.split(".")[0] == package}
        assert users
        assert [path for path in users if room(path) != home] == []
    assert not {one.path for one in all_imports() if one.path.startswith("handlers/")} & {
        one.path for one in all_imports() if one.module.split(".")[0] in ("sqlite3", "pymongo", "bson")
    }


def too_long() -> list[str]:
    """Python files over the limit, longest first."""
    tops = ("streamsim", "handlers", "client", "bench", "tests")
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for top in tops
        for path in (ROOT / top).rglob("*.py")
    }
    found = sorted(((length, path) for path, length in lengths.items() if length > LONGEST), reverse=True)
    return [f"{path} ({length})" for length, path in found]


def test_no_file_is_longer_than_400_lines() -> None:
    assert too_long() == []
