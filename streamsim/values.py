"""JSON values: what may cross a boundary, checked on the host and prepared in the sandbox.

A value is None, a bool, a 64-bit integer, a finite float, text without lone surrogates, or a list or
text-keyed dict of values, nested at most `MAX_DEPTH` deep with at most `MAX_VALUES` values in all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec
import numpy as np

Json: TypeAlias = Any
"""A JSON value whose form its user decides: None, bool, int, float, str, a list or a dict with text keys."""
JsonObject: TypeAlias = dict[str, Any]
"""A JSON object whose fields its user decides, or that are still to be checked."""

MAX_DEPTH = 32
MAX_VALUES = 20_000
MAX_WHERE = 200
MAX_QUOTED_KEY = 64
"""Characters of the path to a part at fault, and of each key in it."""
MIN_INT, MAX_INT = -(2**63), 2**63 - 1

_BLOCK = 1 << 16
_COMMA, _QUOTE, _BRACE, _CASE = ord(","), ord('"'), ord("{"), ord("{") - ord("[")
"""With the bit `_CASE` set, both opening brackets are the same byte, and no other is."""

_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode


class InvalidValue(ValueError):
    """`where` is the path to the part at fault, e.g. `action.price[2]`; `why` says what is accepted."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where = where
        self.why = why


class _Budget:
    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


class _Fault(Exception):
    """Something is no value. The path to it is gathered on the way out, so that checking takes time in
    proportion to the value alone, however long its keys are."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.path: list[str | int] = []

    def told(self, where: str) -> InvalidValue:
        for part in reversed(self.path):
            where += f"[{part}]" if isinstance(part, int) else f".{_shortened(part, MAX_QUOTED_KEY)}"
        return InvalidValue(_shortened(where, MAX_WHERE), self.why)


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def check(value: object, where: str, *, max_values: int = MAX_VALUES) -> None:
    """Refuse what is not a value. Takes exact builtin types only, as a decoder gives them.

    :raises InvalidValue: naming the part at fault, by at most `MAX_WHERE` characters.
    """
    if type(value) is dict and len(value) <= max_values and is_flat(value):
        return
    try:
        _check(value, MAX_DEPTH, _Budget(max_values))
    except _Fault as fault:
        raise fault.told(where) from None


def _check(value: Any, depth: int, budget: _Budget) -> None:
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_text(value)
    elif kind is float:
        if not math.isfinite(value):
            raise _Fault("NaN and infinity are not JSON numbers")
    elif kind is int:
        if not MIN_INT <= value <= MAX_INT:
            raise _Fault("integers have at most 64 bits")
    elif kind is dict:
        if depth <= 0:
            raise _Fault(f"nested deeper than {MAX_DEPTH} levels")
        budget.left -= len(value)
        if budget.left < 0:
            raise _Fault("too many values")
        for key, item in value.items():
            if type(key) is not str:
                raise _Fault(f"a key is of type {type(key).__name__}; keys are text")
            if "\0" in key:
                raise _Fault("a key contains a NUL character")
            if not key.isascii():
                _check_text(key)
            kind = type(item)
            # What most are, told without a call.
            if kind is str:
                if item.isascii():
                    continue
            elif kind is int:
                if MIN_INT <= item <= MAX_INT:
                    continue
            elif kind is float:
                if item - item == 0.0:
                    continue
            elif kind is bool or item is None:
                continue
            try:
                _check(item, depth - 1, budget)
            except _Fault as fault:
                fault.path.append(key)
                raise
    elif kind is list:
        if depth <= 0:
            raise _Fault(f"nested deeper than {MAX_DEPTH} levels")
        budget.left -= len(value)
        if budget.left < 0:
            raise _Fault("too many values")
        if _are_finite(value) or are_scalars(value):
            return
        for index, item in enumerate(value):
            try:
                _check(item, depth - 1, budget)
            except _Fault as fault:
                fault.path.append(index)
                raise
    elif value is not None and kind is not bool:
        raise _Fault(f"{kind.__name__} is not a JSON value")


def _are_finite(items: list[Any]) -> bool:
    """Whether all are exact floats and surely finite: a sum is finite only if its terms are."""
    return set(map(type, items)) == {float} and math.isfinite(sum(items))


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise _Fault("text contains a lone surrogate") from None


def without_fraction(number: float) -> float:
    """A float that is a whole number as that integer, as far as floats tell whole numbers apart."""
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def dump(value: object) -> bytes:
    """JSON text of a checked value. NaN and infinities become null."""
    return _encode(value)


def dump_sorted(value: object) -> bytes:
    """JSON text of a checked value, the same for every order of its keys."""
    return _encode_sorted(value)


def parse(text: bytes | str, where: str, *, max_values: int = MAX_VALUES) -> Any:
    """The value of a JSON text.

    :raises InvalidValue: not JSON, or JSON that is not a value as defined here.
    """
    if len(text) > max_values and _has_too_many(text, max_values):
        raise InvalidValue(where, "too many values")
    try:
        value = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, UnicodeEncodeError) as error:
        raise InvalidValue(where, f"not valid JSON: {error}") from None
    except RecursionError:
        raise InvalidValue(where, f"nested deeper than {MAX_DEPTH} levels") from None
    check(value, where, max_values=max_values)
    return value


def _has_too_many(text: bytes | str, most: int) -> bool:
    """Whether a JSON text has more values than are allowed, found without making them: a container for every
    few bytes takes a hundred times as long to decode as text of that length.
    """
    if _counted(text) <= most:
        return False
    return _counted(text, bare=True) > most


def _counted(text: bytes | str, *, bare: bool = False) -> int:
    """The larger of the numbers of commas and of containers: there are at least as many values.

    :param bare: leave out what is in texts, where commas and brackets are none. It takes ten times as long.
    """
    if isinstance(text, str):
        if not bare:
            return max(text.count(","), text.count("[") + text.count("{") - 1)
        text = text.encode("utf-8", "replace")
    if bare:
        # Then every quotation mark begins or ends a text.
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    commas = containers = within = 0
    for start in range(0, len(text), _BLOCK):
        block = np.frombuffer(text, np.uint8, min(_BLOCK, len(text) - start), start)
        if bare:
            # Of their number only whether it is even matters, so that a byte is enough for it.
            marks = np.cumsum(block == _QUOTE, dtype=np.uint8) + np.uint8(within)
            block, within = block[marks & 1 == 0], int(marks[-1]) & 1
        commas += int(np.count_nonzero(block == _COMMA))
        containers += int(np.count_nonzero(block | _CASE == _BRACE))
    return max(commas, containers - 1)


def plain(value: object, where: str, *, finite: bool = True) -> Any:
    """A copy of anything that policy code made, in exact builtin types, ready for `check`.

    Accepts subclasses of the JSON types, tuples, NumPy scalars and arrays, without calling any method that
    the code may have overridden.

    :param finite: refuse NaN and infinities; if False they become None.
    :raises InvalidValue: naming the part at fault.
    """
    if type(value) is dict and is_flat(value):
        return value.copy()
    try:
        return _plain(value, MAX_DEPTH, _Budget(MAX_VALUES), finite)
    except _Fault as fault:
        raise fault.told(where) from None


def is_flat(value: dict[Any, Any]) -> bool:
    """Whether a dict is a value that holds neither dict nor list: what most actions and thetas are."""
    for key in value:
        if type(key) is not str or not key.isascii() or "\0" in key:
            return False
    return len(value) <= MAX_VALUES and are_scalars(value.values())


def are_scalars(items: Iterable[Any]) -> bool:
    """Whether all are values, and neither dicts nor lists nor text beyond ASCII."""
    for item in items:
        kind = type(item)
        if kind is float:
            if item - item != 0.0:  # NaN and infinities, without a call
                return False
        elif kind is int:
            if not MIN_INT <= item <= MAX_INT:
                return False
        elif kind is str:
            if not item.isascii():
                return False
        elif kind is not bool and item is not None:
            return False
    return True


def _plain(value: Any, depth: int, budget: _Budget, finite: bool) -> Any:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if issubclass(kind, str):
        text = str.__str__(value)
        if not str.isascii(text):
            _check_text(text)
        return text
    if issubclass(kind, int):
        number = int.__int__(value)
        if not MIN_INT <= number <= MAX_INT:
            raise _Fault("integers have at most 64 bits")
        return number
    if issubclass(kind, float):
        real = float.__float__(value)
        if not math.isfinite(real):
            if finite:
                raise _Fault("NaN and infinity are not JSON numbers")
            return None
        return real
    if depth <= 0:
        raise _Fault(f"nested deeper than {MAX_DEPTH} levels")
    if issubclass(kind, dict):
        budget.left -= dict.__len__(value)
        if budget.left < 0:
            raise _Fault("too many values")
        result = {}
        for key, item in list(dict.items(value)):
            if type(key) is int:  # as JSON writes it
                key = str(key)
            if not issubclass(type(key), str):
                raise _Fault(f"a key is of type {_name(type(key))}; keys are text")
            key = str.__str__(key)
            if "\0" in key:
                raise _Fault("a key contains a NUL character")
            if not key.isascii():
                _check_text(key)
            if key in result:
                raise _Fault(
                    f"the key {_shortened(key, MAX_QUOTED_KEY)} is there twice, as a number and as text"
                )
            try:
                result[key] = _plain(item, depth - 1, budget, finite)
            except _Fault as fault:
                fault.path.append(key)
                raise
        return result
    if issubclass(kind, list | tuple):
        items = list.copy(value) if issubclass(kind, list) else list(tuple.__iter__(value))
        budget.left -= len(items)
        if budget.left < 0:
            raise _Fault("too many values")
        if _are_finite(items) or are_scalars(items):
            return items
        for index, item in enumerate(items):
            try:
                items[index] = _plain(item, depth - 1, budget, finite)
            except _Fault as fault:
                fault.path.append(index)
                raise
        return items
    module = type.__getattribute__(kind, "__module__")
    if module == "numpy" and hasattr(kind, "tolist"):
        # tolist() of an exact NumPy type gives builtin types; a subclass lives in another module.
        return _plain(kind.tolist(value), depth - 1, budget, finite)
    raise _Fault(f"{_name(kind)} is not a JSON value")


def _name(kind: type) -> str:
    name = type.__dict__["__name__"].__get__(kind)
    return name if isinstance(name, str) and name.isascii() else "an object"
