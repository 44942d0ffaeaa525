"""A model of the pysd library while it runs: values by element, tables, stocks, and the way through time.

The library sets a variable whole; here some elements of an array can be set while the others stay computed.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection
from typing import Final

from streamsim.models.engines.base import LibraryObject, Refused
from streamsim.models.engines.pysd_names import CONTROL

MAX_STEPS: Final = 1_000_000
CLOSE: Final = 1e-6
"""A time that is so little of a step before another is that time."""


class PysdState:
    """The library's model, and what was set in it. Elements of an array are counted row by row."""

    def __init__(self, model: LibraryObject, undeclared: Collection[str] = ()) -> None:
        self._model = model
        self._undeclared = undeclared
        self.module: Final = model.components._components
        self.begun = False
        self._bases: dict[str, tuple[LibraryObject, LibraryObject]] = {}
        self._fixed: dict[str, dict[int, float]] = {}
        self._initial: dict[str, dict[int, float]] = {}
        self._stocks: dict[str, dict[int, float]] = {}
        self._start: float | None = None
        self._steps = 0

    # ---- what a simulation is

    def control(self, name: str) -> float:
        """`initial_time`, `final_time`, `time_step` or `saveper` as it is now: they may be expressions."""
        if name == "initial_time" and self._start is not None:
            return self._start
        return float(getattr(self._model.time, name)())

    def set_control(self, name: str, value: float) -> None:
        """Fix one of them, before the first step."""
        self._model.time.set_control_vars(**{name: value})
        if name == "initial_time":
            self._start = value

    @property
    def time(self) -> float:
        """The time of the model, rounded as the library does in its own results."""
        return float(self._model.time.round()) if self.begun else self.control("initial_time")

    # ---- what is set

    def fix(self, changes: dict[str, dict[int, float]]) -> None:
        """Let elements of variables have these values from now on: by the library's name and position."""
        model = self._model
        if self.begun:
            model._remove_constant_cache()
        for python, values in changes.items():
            if python in CONTROL:
                self.set_control(python, values[0])
                continue
            if python not in self._bases:
                base = inspect.unwrap(getattr(self.module, python))
                self._bases[python] = (base, model._dependencies[python])
            self._fixed.setdefault(python, {}).update(values)
            self._install(python)
        if self.begun:
            model.clean_caches()
            model._add_constant_cache()
        else:
            model.clean_caches()

    def _install(self, python: str) -> None:
        base, dependencies = self._bases[python]
        fixed = self._fixed[python]
        if python in self._undeclared:
            # It has as many elements as its expression gives.
            function, whole = (lambda: _replaced(base(), fixed)), False
        else:
            function, whole = _fixed_function(base, fixed, self._model._subscript_dict)
        function.__dict__.update(base.__dict__)
        function.__name__ = python
        model = self._model
        if not self.begun:
            # How long a value lasts follows from these when the run begins.
            model._dependencies[python] = {} if whole else dependencies
            model.cache.cached_funcs.discard(python)
        elif python in model.cache.cached_funcs:
            function = model.cache(function)
        model.components._set_component(python, function)

    def set_table(self, python: str, positions: list[int], pairs: list[tuple[float, float]]) -> None:
        """Give a lookup, or elements of one, a table; or a series of data, which is whole."""
        import pandas

        table = self.table(python)
        kind = getattr(getattr(self.module, python), "type", None)
        x, y = zip(*pairs, strict=True)
        spaces = dict(getattr(table, "final_coords", None) or {})
        size = math.prod(map(len, spaces.values()))
        if self.begun:
            self._model._remove_constant_cache()
        if len(positions) == size or kind != "Lookup" or not hasattr(table, "values"):
            if len(positions) != size:
                raise Refused("a table of data is set whole, not by element")
            self._model._set_components({python: pandas.Series(y, index=x)}, new=False)
            if hasattr(table, "values"):
                table.values = [(list(x), list(y), spaces)]
        else:
            parts = {at: self.read_table(python, at) for at in range(size)} | dict.fromkeys(positions, (x, y))
            labels = _labels(spaces)
            table.values = [
                (
                    list(part[0]),
                    list(part[1]),
                    {name: [label] for name, label in zip(spaces, labels[at], strict=True)},
                )
                for at, part in parts.items()
            ]
            table.initialize()
        self._model.clean_caches()
        if self.begun:
            self._model._add_constant_cache()

    def table(self, python: str) -> LibraryObject:
        """The library's table of a lookup or of data; None if a variable has none."""
        wanted = self._model._dependencies.get(python, {})
        name = wanted.get("__lookup__") or wanted.get("__data__")
        return getattr(self.module, name, None) if isinstance(name, str) else None

    def read_table(self, python: str, position: int) -> tuple[list[float], list[float]]:
        """The x and the y of a table, or of an element of it. :raises Refused: there is none."""
        table = self.table(python)
        if table is None:
            raise Refused("it has no table")
        spaces = dict(getattr(table, "final_coords", None) or {})
        labels = dict(zip(spaces, _labels(spaces)[position], strict=True))
        for x, y, coords in getattr(table, "values", ()):
            if all(labels[name] in coords[name] for name in coords):
                return list(map(float, x)), list(map(float, y))
        data = table.data
        if not hasattr(data, "coords"):
            raise Refused("it is a constant, and has no table")
        if labels:
            data = data.loc[labels]
        return list(map(float, data.coords[data.dims[0]].values)), list(map(float, data.values))

    def set_stocks(self, changes: dict[str, dict[int, float]]) -> None:
        """Let stocks have these values now, and go on from there."""
        if not self.begun:
            for python, values in changes.items():
                self._stocks.setdefault(python, {}).update(values)
            return
        model = self._model
        model._remove_constant_cache()
        for python, values in changes.items():
            stock = self._stock(python)
            stock.state = _replaced(stock.state, values)
        model.clean_caches()
        model._add_constant_cache()

    def set_initial(self, changes: dict[str, dict[int, float]]) -> None:
        """Let stocks begin with these values, and whatever begins with what they begin with."""
        for python, values in changes.items():
            self._initial.setdefault(python, {}).update(values)

    def _stock(self, python: str) -> LibraryObject:
        return getattr(self.module, next(iter(self._model._dependencies[python])))

    # ---- the way through time

    def begin(self, outputs: list[str]) -> None:
        """Initialise the model; what is set from now on holds from the model's time on.

        :param outputs: the library's names of what is read at each step; it keeps them for that step.
        """
        model = self._model
        start = self.control("initial_time")
        initial = {}
        if self._initial:
            model.time.set_control_vars(initial_time=start)
            model.initialize()
            initial = {
                python: _replaced(self._stock(python).state, values)
                for python, values in self._initial.items()
            }
        tables = [name for name in outputs if "__lookup__" in model._dependencies.get(name, ())]
        model.set_stepper(
            _Nothing(),
            step_vars=[],
            return_columns=[name for name in outputs if name not in tables],
            initial_condition=(start, initial),
        )
        self.begun = True
        if self._stocks:
            self.set_stocks(self._stocks)

    def more(self) -> bool:
        """Whether the model's own final time is still ahead."""
        return bool(self._model.time.in_bounds())

    def saves(self) -> bool:
        """Whether the model saves its results at this time: SAVEPER."""
        return bool(self._model.time.in_return())

    def advance(self) -> None:
        """One step of the model. :raises Refused: it makes too many."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise Refused(f"runspecs: at most {MAX_STEPS} steps")
        self._model._integrate_step()

    def reach(self, time: float) -> None:
        """As many steps as there are up to a time: the last one is at that time, or before it."""
        clock = self._model.time
        while clock() + clock.time_step() * (1 - CLOSE) <= time:
            self.advance()


class _Nothing:
    """The library wants to write into an output at each step; here equations are asked for by name."""

    def set_capture_elements(self, _elements: object) -> None: ...

    def initialize(self, _model: object) -> None: ...

    def update(self, _model: object) -> None: ...


def _fixed_function(
    base: LibraryObject, fixed: dict[int, float], subscripts: LibraryObject
) -> tuple[LibraryObject, bool]:
    """A variable's function with some elements fixed, and whether those are all."""
    import numpy as np
    import xarray as xr

    dimensions = base.subscripts
    if not dimensions:
        value = fixed[0]
        return lambda: value, True
    coords = {name: subscripts.get(name, [name]) for name in dimensions}
    shape = tuple(map(len, coords.values()))
    positions = list(fixed)
    values = list(fixed.values())
    if len(fixed) == math.prod(shape):
        array = np.empty(math.prod(shape))
        array[positions] = values
        whole = xr.DataArray(array.reshape(shape), coords, dimensions)
        return lambda: whole, True

    def partly() -> LibraryObject:
        return _replaced(
            xr.DataArray(0.0, coords, dimensions) + base(), dict(zip(positions, values, strict=True))
        )

    return partly, False


def _replaced(value: LibraryObject, values: dict[int, float]) -> LibraryObject:
    """A copy of a value with some elements replaced; a number is one element."""
    if not hasattr(value, "values"):
        return values[0]
    copy = value.astype(float).copy()
    flat = copy.values.reshape(-1)
    flat[list(values)] = list(values.values())
    copy.values = flat.reshape(copy.shape)
    return copy


def _labels(spaces: dict[str, list[str]]) -> list[tuple[str, ...]]:
    import itertools

    return list(itertools.product(*spaces.values()))
