"""Paths to variables of a run: `price`, `price[2]`, `price["day"]`, `price.max`, `scope.price`, nested.

A strict parser: text that is not a path of this grammar is refused, and nothing is ever evaluated.

    path   = name step*
    step   = "." name | "[" key ("," key)* "]"
    key    = digits | quoted text | label
    name   = a Python identifier that does not begin with "_"

With `free` names, for models whose names are not identifiers (`Teacup Temperature[1]`), a name is any text
without brackets, and a label inside brackets is any text without brackets and commas.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import msgspec

MAX_LENGTH: Final = 500
MAX_STEPS: Final = 16
MAX_INDEX: Final = 10**9

_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"|' r"'((?:[^'\\]|\\['\\])*)'")
_IDENTIFIER = re.compile(r"[^\W\d_]\w*")
_FREE = re.compile(r"[^\[\]\0-\x1f\x7f]+")
_LABEL = re.compile(r"[^\[\],\"'\0-\x1f\x7f]+")
_SPACE = re.compile(r" *")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)

Key = int | str


class Field(msgspec.Struct, frozen=True, tag=True):
    """`.name`"""

    name: str


class Index(msgspec.Struct, frozen=True, tag=True):
    """`[key, ...]`"""

    keys: tuple[Key, ...]


class Path(msgspec.Struct, frozen=True):
    """A parsed path; `text` is what was given."""

    text: str
    name: str
    steps: tuple[Field | Index, ...] = ()


class BadPath(ValueError):
    """The text is no path; the message names it and says why."""


def parse(text: str, *, free: bool = False) -> Path:
    """The path that a text is. :raises BadPath:"""
    if len(text) > MAX_LENGTH:
        raise BadPath(f"{text[:100]}…: a variable path has at most {MAX_LENGTH} characters")
    return _Parser(text, free).path()


def whole(text: str) -> str:
    """The name of a whole variable, as recorded ones have. :raises BadPath: it is too long, or no text."""
    if not 0 < len(text) <= MAX_LENGTH or not text.isprintable() or _is_hidden(text):
        raise BadPath(f"{text[:100]!r} is no name of a variable")
    return text


def split(text: str) -> list[str]:
    """Parts of a comma-separated list of paths; commas inside brackets or quotes do not separate."""
    parts, depth, quote, start, escaped = [], 0, "", 0, False
    for position, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and not escaped else quote
            escaped = letter == "\\" and not escaped
        elif letter in "\"'" and depth:
            quote = letter
        elif letter == "[":
            depth += 1
        elif letter == "]":
            depth -= 1
        elif letter == "," and depth <= 0:
            parts.append(text[start:position])
            start = position + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


class _Parser:
    def __init__(self, text: str, free: bool) -> None:
        self._text = text
        self._free = free
        self._at = 0

    def path(self) -> Path:
        name = self._name()
        steps: list[Field | Index] = []
        while self._at < len(self._text):
            if len(steps) == MAX_STEPS:
                raise self._bad(f"more than {MAX_STEPS} steps")
            if self._take("."):
                steps.append(Field(self._name()))
            elif self._take("["):
                steps.append(Index(self._keys()))
            else:
                raise self._bad("expecting '.name' or '[key]'")
        return Path(self._text, name, tuple(steps))

    def _name(self) -> str:
        name = self._match(_FREE if self._free else _IDENTIFIER)
        if name is None:
            raise self._bad("expecting a name, which does not begin with '_'")
        if self._free:
            name = name.strip()
        elif not name.isidentifier() or unicodedata.normalize("NFKC", name) != name:
            # Python itself would take such text for another name.
            raise self._bad("expecting a name as Python has them")
        if not name or _is_hidden(name):
            raise self._bad("such names are not variables")
        return name

    def _keys(self) -> tuple[Key, ...]:
        keys: list[Key] = []
        while True:
            self._match(_SPACE)
            keys.append(self._key())
            self._match(_SPACE)
            if self._take("]"):
                return tuple(keys)
            if not self._take(","):
                raise self._bad("expecting ',' or ']'")

    def _key(self) -> Key:
        quoted = _QUOTED.match(self._text, self._at)
        if quoted is not None:
            self._at = quoted.end()
            text = quoted[1] if quoted[1] is not None else quoted[2]
            return self._checked(_ESCAPE.sub(r"\1", text))
        text = self._match(_LABEL) or ""
        text = text.rstrip(" ")
        if _INDEX.fullmatch(text):
            if len(text) > len(str(MAX_INDEX)) or int(text) > MAX_INDEX:
                raise self._bad("the index is too large")
            return int(text)
        if not self._free or not text:
            raise self._bad('expecting an index, 0 or above, or a "key" in quotes')
        return self._checked(text)

    def _checked(self, key: str) -> str:
        if _is_hidden(key) or "\0" in key:
            raise self._bad("such keys are not variables")
        return key

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        match = pattern.match(self._text, self._at)
        if match is None:
            return None
        self._at = match.end()
        return match[0]

    def _take(self, letter: str) -> bool:
        if self._text[self._at : self._at + 1] == letter:
            self._at += 1
            return True
        return False

    def _bad(self, why: str) -> BadPath:
        shown = self._text if self._text.isprintable() else ascii(self._text)
        return BadPath(f"{shown} is no path of a variable: {why}, at character {self._at + 1}")


def _is_hidden(name: str) -> bool:
    """Whether a name is one of Python's own, as `__class__` is."""
    return name.startswith("__") and name.endswith("__")
