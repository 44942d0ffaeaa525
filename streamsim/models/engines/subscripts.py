"""Names of arrays: whole, by element, or by slice, as the modelling languages write them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from streamsim.models.engines.base import Refused
from streamsim.values import Json

ALL = ("*", ":")
"""What stands for all labels of a dimension, besides the name of a dimension or of a range."""


def elements(
    text: str, arrays: Mapping[str, Sequence[Sequence[str]]], ranges: Mapping[str, Sequence[str]]
) -> list[str] | None:
    """The elements that a text names, row by row: of `rate`, `rate[North]`, `rate[*,young]`.

    :param arrays: by name the labels of each dimension.
    :param ranges: labels by name of a dimension or range.
    :returns: names of elements, each `name[label,...]`; None if the text names no array.
    :raises Refused: the array has no such element.

    >>> elements("rate[*,b]", {"rate": [["x", "y"], ["a", "b"]]}, {})
    ['rate[x,b]', 'rate[y,b]']
    """
    parts = _parts(text, arrays)
    if parts is None:
        return None
    name, given = parts
    spaces = arrays[name]
    if given is None:
        chosen = [list(space) for space in spaces]
    else:
        if len(given) != len(spaces):
            raise Refused(f"{text}: {name} has {len(spaces)} subscripts, not {len(given)}")
        chosen = [
            _labels(text, name, label, space, ranges) for label, space in zip(given, spaces, strict=True)
        ]
    return [f"{name}[{','.join(labels)}]" for labels in itertools.product(*chosen)]


def shape(
    text: str, arrays: Mapping[str, Sequence[Sequence[str]]], ranges: Mapping[str, Sequence[str]]
) -> tuple[int, ...]:
    """How many elements `elements` has along each dimension that is not fixed to one label."""
    parts = _parts(text, arrays)
    if parts is None:
        return ()
    name, given = parts
    sizes = []
    for index, space in enumerate(arrays[name]):
        label = given[index] if given is not None else "*"
        if label not in space:
            sizes.append(len(_labels(text, name, label, space, ranges)))
    return tuple(sizes)


def flat(
    value: Json,
    text: str,
    arrays: Mapping[str, Sequence[Sequence[str]]],
    ranges: Mapping[str, Sequence[str]],
) -> list[float] | None:
    """The numbers of nested lists, row by row; None if they have not the `shape` of the text.

    >>> flat([[1, 2], [3, 4]], "rate", {"rate": [["x", "y"], ["a", "b"]]}, {})
    [1, 2, 3, 4]
    """
    values = [value]
    for size in shape(text, arrays, ranges):
        if not all(isinstance(part, list) and len(part) == size for part in values):
            return None
        values = [item for part in values for item in part]
    return values if all(type(number) in (int, float) for number in values) else None


def nested(values: Sequence[Json], sizes: Sequence[int]) -> Json:
    """The opposite of `flat`: lists in a shape; one value if the shape is empty."""
    if not sizes:
        return values[0]
    inner = len(values) // sizes[0]
    return [nested(values[at * inner : (at + 1) * inner], sizes[1:]) for at in range(sizes[0])]


def _parts(text: str, arrays: Mapping[str, Sequence[Sequence[str]]]) -> tuple[str, list[str] | None] | None:
    if text in arrays:
        return text, None
    name, bracket, rest = text.rpartition("[")
    if not bracket or name not in arrays or not rest.endswith("]"):
        return None
    return name, [label.strip() for label in rest[:-1].split(",")]


def _labels(
    text: str, name: str, label: str, space: Sequence[str], ranges: Mapping[str, Sequence[str]]
) -> list[str]:
    if label in space:
        return [label]
    if label in ALL:
        return list(space)
    labels = list(ranges.get(label, ()))
    if not labels or not set(labels) <= set(space):
        raise Refused(f"{text}: {name} has no subscript {label}: expecting one of {', '.join(space)}, or *")
    return labels
