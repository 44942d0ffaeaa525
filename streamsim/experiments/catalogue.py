"""The catalogue of policies: one folder per policy, with its description and its four pieces of code.

`policies/index.yml` lists the folders in the order of their numbers; folders that it does not list follow by
name. A folder holds `policy.yml` (the fields of `Description`) and `get_context.py`, `get_action.py`,
`get_reward.py`, `set_reward.py`. A piece of code starts with its parameters: plain assignments of literals
to names in capitals.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from streamsim.errors import NotFound

PIECES: Final = ("get_context", "get_action", "get_reward", "set_reward")
DIRECTORY: Final = Path(__file__).resolve().parents[2] / "policies"
"""Beside this package, in a checkout and where it is installed."""


T = TypeVar("T")


class CatalogueError(Exception):
    """A folder of the catalogue is not what it must be; the message names folder and fault."""


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A plain assignment at the top of the code. `range`: [least, most], null for none; or text."""

    name: str
    default: Any
    range: tuple[float | None, float | None] | str
    meaning: str


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the policy decides. `field` of the action holds it; `range` is set for a number."""

    field: str
    meaning: str
    range: tuple[float, float] | None = None


class Reward(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the policy expects as reward; `field` of it holds the number, higher is better."""

    field: str
    meaning: str


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field that the code reads, and the function of `inputs` that checks it.

    `path`: e.g. context.arms. `kind`: arms, name, choice (of `one_of`), number, whole or numbers. `range`:
    [least, most], null for -1e15 or 1e15.
    """

    path: str
    kind: Literal["arms", "name", "choice", "number", "whole", "numbers"]
    range: tuple[float | None, float | None] | None = None
    one_of: tuple[str, ...] = ()


class Need(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another experiment that must exist: its id is the value of `parameter`; it may run `policy`."""

    parameter: str
    policy: str


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`policy.yml`. `arms`: the names among which the policy chooses by default, if it does."""

    name: str
    idea: str
    parameters: tuple[Parameter, ...]
    context: str
    action: Action
    reward: Reward
    reference: str
    learns: bool
    logs_propensity: bool
    inputs: tuple[Input, ...] = ()
    arms: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()


class CatalogueEntry(msgspec.Struct, frozen=True):
    """A policy: `id` from 0, `slug` (the folder's name), description, and code by piece."""

    id: int
    slug: str
    description: Description
    code: dict[str, str]

    @property
    def name(self) -> str:
        return self.description.name

    def edited(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """The code with other values of these parameters, as a user would edit them.

        :raises KeyError: for a name that is no parameter of this policy.
        """
        for name in parameters:
            if name not in {parameter.name for parameter in self.description.parameters}:
                raise KeyError(f"{self.slug} has no parameter {name}")
        return {piece: _edited(source, parameters) for piece, source in self.code.items()}


class Catalogue:
    """Numbers, names and policies as the admin API serves them."""

    def __init__(self, entries: Sequence[CatalogueEntry]) -> None:
        self.entries = tuple(entries)
        self._by_id = {str(entry.id): entry for entry in entries}
        self._by_name = {_spelt(name): entry for entry in entries for name in (entry.slug, entry.name)}

    def names(self) -> dict[str, str]:
        """Number -> name."""
        return {number: entry.name for number, entry in self._by_id.items()}

    def get(self, default_id: str) -> dict[str, Any]:
        """Number, slug, the four pieces of code, and the description of one policy, ready for JSON.

        :param default_id: its number, its folder or its name, of which letters and digits count.
        :raises NotFound: for one that the catalogue does not have.
        """
        entry = self._by_id.get(default_id) or self._by_name.get(_spelt(default_id))
        if entry is None:
            last = len(self.entries) - 1
            raise NotFound(f"the catalogue has policies 0 to {last}, also by their names", field="default_id")
        described = msgspec.json.decode(msgspec.json.encode(entry.description))
        return {"id": entry.id, "slug": entry.slug, **described, **entry.code}


@cache
def entries() -> tuple[CatalogueEntry, ...]:
    """The catalogue that comes with streamsim, in order of id. :raises CatalogueError:"""
    return tuple(load(DIRECTORY))


def load(directory: Path) -> list[CatalogueEntry]:
    """Read and check all policies of a directory, in order of id.

    :raises CatalogueError: naming the folder and what is wrong with it.
    """
    folders = {path.name: path for path in directory.iterdir() if (path / "policy.yml").is_file()}
    index = directory / "index.yml"
    listed = _decoded(index, list[str]) if index.is_file() else []
    for slug in listed:
        if slug not in folders or listed.count(slug) > 1:
            raise CatalogueError(f"{index.name} lists {slug!r}, which has no folder or is listed twice")
    slugs = [*listed, *sorted(set(folders) - set(listed))]
    loaded = [_entry(number, folders[slug]) for number, slug in enumerate(slugs)]
    for entry in loaded:
        for need in entry.description.needs:
            if need.policy not in folders:
                raise CatalogueError(f"{entry.slug} needs {need.policy!r}, which has no folder")
    return loaded


def assignments(source: str) -> dict[str, Any]:
    """The parameters of a piece of code: the plain assignments it starts with, by name."""
    return {name: ast.literal_eval(value) for name, value in _parameters(source)}


def inputs(source: str) -> set[Input]:
    """The fields that a piece of code reads with the functions of `inputs`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(ast.Attribute(ast.Name("inputs"), "arms")):
                found.add(Input("context.arms", "arms"))
            case ast.Call(ast.Attribute(ast.Name("inputs"), kind), [_, ast.Constant(path), *more]):
                given = [ast.literal_eval(argument) for argument in more]
                declared: dict[str, Any] = {"path": path, "kind": kind}
                if kind == "choice":
                    declared["one_of"] = given[0]
                elif given:
                    declared["range"] = [*given, None][:2]
                found.add(msgspec.convert(declared, Input))
    return found


def _spelt(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _parameters(source: str) -> list[tuple[str, ast.expr]]:
    found: list[tuple[str, ast.expr]] = []
    for statement in ast.parse(source).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name.isupper() and _literal(value):
                found.append((name, value))
            case _:
                break
    return found


def _literal(expression: ast.expr) -> bool:
    try:
        ast.literal_eval(expression)
    except ValueError:
        return False
    return True


def _edited(source: str, parameters: Mapping[str, Any]) -> str:
    lines = source.encode().splitlines(keepends=True)
    for name, value in reversed(_parameters(source)):
        if name in parameters:
            first, last = value.lineno - 1, (value.end_lineno or value.lineno) - 1
            text = lines[first][: value.col_offset] + repr(parameters[name]).encode()
            lines[first : last + 1] = [text + lines[last][value.end_col_offset :]]
    return b"".join(lines).decode()


def _entry(number: int, folder: Path) -> CatalogueEntry:
    description = _decoded(folder / "policy.yml", Description)
    code: dict[str, str] = {}
    assigned: dict[str, Any] = {}
    for piece in PIECES:
        path = folder / f"{piece}.py"
        try:
            code[piece] = path.read_text(encoding="utf-8")
            compile(code[piece], f"<{piece}>", "exec", dont_inherit=True)
        except (OSError, ValueError, SyntaxError) as error:
            raise CatalogueError(f"{folder.name}/{path.name}: {error}") from None
        for name, value in assignments(code[piece]).items():
            if assigned.setdefault(name, value) != value:
                raise CatalogueError(f"{folder.name}: {name} has different values in its pieces of code")
    documented = {parameter.name: parameter.default for parameter in description.parameters}
    if documented != assigned:
        differing = sorted(
            name for name in documented.keys() | assigned.keys()
            if name not in documented or name not in assigned or documented[name] != assigned[name]
        )  # fmt: skip
        raise CatalogueError(f"{folder.name}: policy.yml and code differ in {', '.join(differing)}")
    read = set().union(*map(inputs, code.values()))
    if read != set(description.inputs):
        differing = sorted({field.path for field in read ^ set(description.inputs)})
        raise CatalogueError(f"{folder.name}: policy.yml and code differ in {', '.join(differing)}")
    for need in description.needs:
        if need.parameter not in documented:
            raise CatalogueError(f"{folder.name}: the need {need.parameter} is no parameter")
    return CatalogueEntry(number, folder.name, description, code)


def _decoded(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise CatalogueError(f"{path.parent.name}/{path.name}: {error}") from None
