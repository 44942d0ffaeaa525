"""What a model of the pysd library has: every variable that it documents, and of which kind it is."""

from __future__ import annotations

import itertools
from typing import Final, TypeAlias

from streamsim.models.engines.base import KINDS, LibraryObject

Names: TypeAlias = dict[str, tuple[str, str, tuple[str, ...]]]
"""Names that can be asked for -> (the library's name, kind, labels of an array's element)."""
CONTROL: Final = {
    "initial_time": "starttime",
    "final_time": "stoptime",
    "time_step": "dt",
    "saveper": "saveper",
}
"""Variables that say when a simulation runs, and the run specification of each."""


Spaces: TypeAlias = dict[str, list[list[str]]]
"""The labels of each dimension, by the library's name of an array."""


def spaces(model: LibraryObject) -> tuple[Spaces, set[str]]:
    """The arrays of a model that stands at its beginning; and those that are not declared as such.

    A variable without subscripts is an array nevertheless, if its expression gives one.
    """
    subscripts = model._subscript_dict
    found: Spaces = {}
    undeclared = set()
    for row in model.doc.to_dict("records"):
        python = row["Py Name"]
        if row["Subscripts"]:
            found[python] = [list(subscripts.get(label, [label])) for label in row["Subscripts"]]
        elif "Lookup" not in str(row["Type"]):
            value = _value(model, python)
            if getattr(value, "dims", ()):
                found[python] = [list(map(str, value.coords[name].values)) for name in value.dims]
                undeclared.add(python)
    return found, undeclared


def _value(model: LibraryObject, python: str) -> LibraryObject:
    """What a variable is now; None where the library cannot tell, which running the model will say."""
    try:
        return getattr(model.components, python)()
    except Exception:
        return None


def names(model: LibraryObject, found: Spaces) -> Names:
    """All variables of a model, arrays by element."""
    result: Names = {}
    for row in model.doc.to_dict("records"):
        real, python = row["Real Name"], row["Py Name"]
        kind = kind_of(row["Type"], row["Subtype"])
        if python not in found:
            result[real] = (python, kind, ())
            continue
        for labels in itertools.product(*found[python]):
            result[f"{real}[{','.join(labels)}]"] = (python, kind, labels)
    return result


def arrays(model: LibraryObject, found: Spaces) -> dict[str, list[list[str]]]:
    """The labels of each dimension, by name of an array."""
    return {
        row["Real Name"]: found[row["Py Name"]]
        for row in model.doc.to_dict("records")
        if row["Py Name"] in found
    }


def by_kind(known: Names) -> dict[str, list[str]]:
    """The names of each of `KINDS`."""
    result: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name, (_, kind, _) in known.items():
        result[kind].append(name)
    return result


def kind_of(types: object, subtypes: object) -> str:
    """The kind of a variable; the parts of an array may be defined in several ways, as `Auxiliary, Constant`.

    What integrates is a stock, and a table of x and y are points. What is made of constants alone is a
    constant. All others are computed: also series of data, delays, smooths, and time itself.
    """
    parts = {part.strip() for part in types.split(",")} if isinstance(types, str) else set()
    if "Stateful" in parts and "Integ" in str(subtypes):
        return "stocks"
    if "Lookup" in parts:
        return "points"
    return "constants" if parts == {"Constant"} else "converters"
