"""Arrays of bptk-py's models: of compiled XMILE, `rate[north,young]`; of the SD DSL, `rate[north][young]`."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from streamsim.models.engines.base import LibraryObject, Refused
from streamsim.models.engines.subscripts import elements

_KINDS = ("constants", "converters", "flows", "biflows", "stocks")


class Arrays(NamedTuple):
    """`labels`: by name of an array those of each dimension, where its elements are named `name[label,...]`.
    `ranges`: labels by name of a dimension. `cells`: the elements by name of an array or of a row of one.
    `hollow`: arrays that have no value beside their elements; in compiled XMILE they have their sum.
    `computed`: equations that look their value up in a table of their name.
    """

    labels: dict[str, list[list[str]]]
    ranges: dict[str, list[str]]
    cells: dict[str, list[str]]
    hollow: set[str]
    computed: list[str]

    def targets(self, name: str) -> list[str]:
        """The elements that a value for an array, or a slice of one, is for; of others the name itself."""
        if name in self.cells:
            return self.cells[name]
        try:
            return elements(name, self.labels, self.ranges) or [name]
        except Refused:
            return [name]


def arrays(model: LibraryObject) -> Arrays:
    """The arrays of a model."""
    return _compiled(model) if hasattr(model, "dimensions_order") else _written(model)


def _compiled(model: LibraryObject) -> Arrays:
    spaces = {name: list(map(str, one["labels"])) for name, one in model.dimensions.items() if name}
    labels, cells = {}, {}
    for name, order in model.dimensions_order.items():
        found = [spaces.get(dimension, []) for dimension in order]
        names = [f"{name}[{','.join(one)}]" for one in itertools.product(*found)]
        if order and names and all(one in model.equations for one in names):
            labels[name], cells[name] = found, names
    tables = [one for one in model.equations if one.partition("[")[0] in model.points]
    return Arrays(labels, spaces, cells, set(), tables)


def _written(model: LibraryObject) -> Arrays:
    known: dict[str, LibraryObject] = {}
    for kind in _KINDS:
        of_kind = getattr(model, kind, None)
        known |= of_kind if isinstance(of_kind, dict) else {}
    labels: dict[str, list[list[str]]] = {}
    cells: dict[str, list[str]] = {}
    for name, element in known.items():
        found = _leaves(name, known)
        if found == [name]:
            continue
        cells[name] = found
        if "[" not in name:
            own = [str(label) for label in element._elements.equations]
            if found == [f"{name}[{label}]" for label in own]:
                labels[name] = [own]
    return Arrays(labels, {}, cells, set(cells), [])


def _leaves(name: str, known: dict[str, LibraryObject]) -> list[str]:
    """The elements of an element, down to those that have none."""
    below = getattr(getattr(known.get(name), "_elements", None), "equations", None)
    if not below:
        return [name]
    return [leaf for label in below for leaf in _leaves(f"{name}[{label}]", known)]
