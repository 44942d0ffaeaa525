"""Plain Python modules: public variables of the module are the variables, public functions the operations.

`from epicenter import Epicenter` gives what records variables. A path leads through what the model itself
made: its modules, lists, dicts, NumPy arrays and instances of its own classes. Anything else is a leaf.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamsim import values
from streamsim.models import paths
from streamsim.models.engines.base import Engine, Found, ModelValue, Operation, Refused, Source, Variable
from streamsim.models.engines.folder import contents
from streamsim.models.engines.modules import Files
from streamsim.models.paths import BadPath, Field, Index, Path
from streamsim.sandbox.wire import Failure
from streamsim.sandbox.worker.failures import Described, describe
from streamsim.values import Json, JsonObject

MAX_RECORDED_BYTES: Final = 4 << 20
"""All recorded variables of a run together, as JSON."""
_CALLABLE = (
    FunctionType,
    BuiltinFunctionType,
    MethodType,
    functools.partial,
    type(functools.lru_cache(lambda: None)),
)
_DATA = (bool, int, float, str, list, tuple, dict, set, frozenset, np.ndarray, np.generic)
_ABSENT: Final = object()
Array: TypeAlias = NDArray[ModelValue]


class CannotSet(Exception):
    """A value that was fit to be set turned out not to be."""


class PythonEngine(Engine):
    """A `.py` file, with what it imports from the model's other files."""

    def __init__(self, source: Source) -> None:
        if not source.main.endswith(".py"):
            raise Refused("main must be a .py file")
        self.files = Files(contents(source))
        self._main = source.main
        self._own = self.files.names
        self._all: JsonObject = {}
        self._new: JsonObject = {}
        self._sizes: dict[str, int] = {}
        epicenter: ModelValue = ModuleType("epicenter")
        epicenter.Epicenter = type("Epicenter", (), {"record": staticmethod(self._record)})
        sys.modules["epicenter"] = epicenter
        self._module = ModuleType("nothing")
        self.open(0)
        self.found = Found(
            variables=[Variable(name, type(value).__name__) for name, value in self._variables().items()],
            operations=[Operation(name, _signature(value)) for name, value in self._operations().items()],
        )

    def open(self, seed: int) -> PythonEngine:
        """The module executed anew."""
        self._all, self._new, self._sizes = {}, {}, {}
        self._module = self.files.run(self._main)
        return self

    # ---- what runs do

    def get(self, texts: list[str]) -> JsonObject:
        """Values by path."""
        return {text: self._shown(self._value(_parsed(text)), text) for text in texts}

    def set(self, changes: JsonObject) -> JsonObject:
        """Set variables, of which all must exist; a new key of a dict may be given in brackets."""
        parsed = {text: _parsed(text) for text in changes}
        for text, value in changes.items():
            self._put(parsed[text], value, check=True)
        for text, value in changes.items():
            try:
                self._put(parsed[text], value, check=False)
            except Refused as refused:
                # One of the others changed what this one needs; all are taken back by whoever sees this.
                raise CannotSet(str(refused)) from None
        return self.get(list(changes))

    def call(self, name: str, arguments: list[Json]) -> Json:
        """Call a public function."""
        function = self._operations().get(name)
        if function is None:
            raise Refused(f"the model has no operation {name}")
        try:
            result = function(*arguments)
        except TypeError as error:
            if _fits(function, arguments):
                raise
            raise Described(self._misfit(function, error)) from None
        return self._shown(result, "result")

    def recorded(self, *, all: bool = False) -> JsonObject:
        """What the model recorded since this was last asked, or ever."""
        new, self._new = self._new, {}
        return dict(self._all) if all else new

    # ---- inside

    def _record(self, name: str, value: ModelValue = _ABSENT) -> None:
        """`Epicenter.record(name)`, `Epicenter.record(name, value)`: store a variable with the answer."""
        if not isinstance(name, str):
            raise TypeError("Epicenter.record(name, value): name must be text")
        name = paths.whole(name)
        if value is _ABSENT:
            try:
                value = self._value(_parsed(name))
            except Refused as refused:
                raise NameError(str(refused)) from None
        shown = self._shown(value, name)
        self._sizes[name] = len(values.dump(shown))
        if sum(self._sizes.values()) > MAX_RECORDED_BYTES:
            raise ValueError(f"a run records at most {MAX_RECORDED_BYTES} bytes of variables")
        self._all[name] = self._new[name] = shown

    def _modules(self) -> dict[str, ModuleType]:
        """The model's modules as they are addressed: its main one by nothing, those it imports by name."""
        modules: dict[str, ModuleType] = {"": self._module}
        waiting = [("", self._module)]
        while waiting:
            scope, module = waiting.pop()
            for name, value in vars(module).items():
                if (
                    not name.startswith("_")
                    and self._is_own_module(value)
                    and not any(value is known for known in modules.values())
                ):
                    modules[scope + name] = value
                    waiting.append((f"{scope}{name}.", value))
        return modules

    def _variables(self) -> JsonObject:
        return {
            f"{scope}.{name}" if scope else name: value
            for scope, module in self._modules().items()
            for name, value in vars(module).items()
            if not name.startswith("_") and self._is_data(value)
        }

    def _operations(self) -> JsonObject:
        return {
            f"{scope}.{name}" if scope else name: value
            for scope, module in self._modules().items()
            for name, value in vars(module).items()
            if not name.startswith("_") and self._is_operation(value)
        }

    def _is_own_module(self, value: object) -> bool:
        return type(value) is ModuleType and value.__name__ in self._own

    def _is_own(self, value: object) -> bool:
        """Whether it is an instance of one of the model's classes."""
        return type(value).__module__ in self._own and not isinstance(value, type)

    def _is_data(self, value: object) -> bool:
        return value is None or isinstance(value, _DATA) or self._is_own(value)

    def _is_operation(self, value: object) -> bool:
        if not isinstance(value, _CALLABLE):
            return False
        inner = value.func if isinstance(value, functools.partial) else value
        return getattr(inner, "__module__", None) in self._own

    def _value(self, path: Path) -> ModelValue:
        owner, steps = self._owner(path)
        name = steps[0].name
        value = vars(owner).get(name, _ABSENT)
        if value is _ABSENT or not self._is_data(value):
            raise Refused(f"the model has no variable {path.text}")
        for step in steps[1:]:
            value = self._step(value, step, path)
        return value

    def _owner(self, path: Path) -> tuple[ModuleType, list[ModelValue]]:
        """The module of a variable, and the path from there."""
        owner = self._module
        steps: list[ModelValue] = [Field(path.name), *path.steps]
        while len(steps) > 1 and isinstance(steps[1], Field):
            inner = vars(owner).get(steps[0].name)
            if not self._is_own_module(inner):
                break
            owner = inner  # type: ignore[assignment]
            steps.pop(0)
        return owner, steps

    def _step(self, value: ModelValue, step: Field | Index, path: Path) -> ModelValue:
        if isinstance(step, Field):
            if isinstance(value, dict):
                return self._key(value, step.name, path)
            return self._attribute(value, step.name, path)
        if isinstance(value, np.ndarray):
            return value[_position(value, step.keys, path)]
        for key in step.keys:
            value = self._key(value, key, path)
        return value

    def _key(self, value: ModelValue, key: int | str, path: Path) -> ModelValue:
        if isinstance(value, dict):
            actual = _key_of(value, key)
            if actual is not _ABSENT:
                return value[actual]
        elif isinstance(value, list | tuple):
            if isinstance(key, int) and key < len(value):
                return value[key]
        elif isinstance(value, np.ndarray):
            return value[_position(value, (key,), path)]
        raise Refused(f"the model has no variable {path.text}: there is no {key!r}")

    def _attribute(self, value: object, name: str, path: Path) -> ModelValue:
        if self._is_own(value):
            attribute = getattr(value, name, _ABSENT)
            if attribute is not _ABSENT and self._is_data(attribute):
                return attribute
        raise Refused(f"the model has no variable {path.text}: there is no field {name}")

    def _put(self, path: Path, value: Json, *, check: bool) -> None:
        """Set what a path leads to, or only see whether that is possible."""
        old = _ABSENT
        owner, steps = self._owner(path)
        if len(steps) == 1:
            old = self._value(path)
            value = _fit(old, value, path)
            if not check:
                setattr(owner, steps[0].name, value)
            return
        last = steps[-1]
        holder = self._value(msgspec.structs.replace(path, steps=path.steps[:-1]))
        if isinstance(last, Field) and not isinstance(holder, dict):
            old = self._attribute(holder, last.name, path)
            value = _fit(old, value, path)
            if isinstance(getattr(type(holder), last.name, None), property) and (
                getattr(type(holder), last.name).fset is None
            ):
                raise Refused(f"{path.text} cannot be set")
            if not check:
                setattr(holder, last.name, value)
            return
        keys = (last.name,) if isinstance(last, Field) else last.keys
        if isinstance(holder, np.ndarray):
            _put_element(holder, _position(holder, keys, path), value, path, check=check)
            return
        for key in keys[:-1]:
            holder = self._key(holder, key, path)
        key = keys[-1]
        if isinstance(holder, np.ndarray):
            _put_element(holder, _position(holder, (key,), path), value, path, check=check)
        elif isinstance(holder, dict):
            actual = _key_of(holder, key)
            if actual is _ABSENT and isinstance(last, Field):
                raise Refused(f"the model has no variable {path.text}")
            if actual is not _ABSENT:
                key, value = actual, _fit(holder[actual], value, path)
            if not check:
                holder[key] = value
        elif isinstance(holder, list):
            value = _fit(self._key(holder, key, path), value, path)
            if not check:
                holder[key] = value  # type: ignore[index]
        else:
            raise Refused(f"{path.text} cannot be set: it is part of a {type(holder).__name__}")

    def _shown(self, value: ModelValue, where: str) -> Json:
        """A value as JSON has it: instances of the model's classes as objects of their public data."""
        return values.plain(self._opened_up(value, values.MAX_DEPTH), where, finite=False)

    def _opened_up(self, value: ModelValue, depth: int) -> ModelValue:
        if depth < 0:
            return value
        if isinstance(value, dict):
            return {_text_key(key): self._opened_up(item, depth - 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._opened_up(item, depth - 1) for item in value]
        if isinstance(value, np.ndarray | np.generic):
            return self._opened_up(value.tolist(), depth - 1) if value.dtype != object else value
        if self._is_own(value) and not isinstance(value, _DATA):
            return {
                name: self._opened_up(item, depth - 1)
                for name, item in getattr(value, "__dict__", {}).items()
                if not name.startswith("_") and self._is_data(item)
            }
        return value

    def _misfit(self, function: Callable[..., ModelValue], error: TypeError) -> Failure:
        """A call with arguments that the function does not take: the place is its definition."""
        failure = describe(error, {})
        code = getattr(inspect.unwrap(function), "__code__", None)
        file = self.files.pieces.get(getattr(code, "co_filename", ""), "")
        if code is None or not file:
            return failure
        line = code.co_firstlineno
        return msgspec.structs.replace(failure, piece=file, line=line, trace=((file, code.co_name, line),))


def _parsed(text: str) -> Path:
    try:
        return paths.parse(text)
    except BadPath as bad:
        raise Refused(str(bad)) from None


def _text_key(key: object) -> object:
    return str(key) if isinstance(key, int | float) else key


def _key_of(value: dict[ModelValue, ModelValue], key: int | str) -> object:
    """The key of a dict that is meant: JSON has keys of text only."""
    for candidate in (key, str(key)):
        if candidate in value:
            return candidate
    return int(key) if isinstance(key, str) and key.isdecimal() and int(key) in value else _ABSENT


def _position(array: Array, keys: tuple[int | str, ...], path: Path) -> tuple[int, ...]:
    position = tuple(key for key in keys if isinstance(key, int))
    if not len(position) == len(keys) <= array.ndim or not all(
        index < size for index, size in zip(position, array.shape, strict=False)
    ):
        raise Refused(f"the model has no variable {path.text}: the array has the shape {array.shape}")
    return position


def _put_element(array: Array, position: tuple[int, ...], value: Json, path: Path, *, check: bool) -> None:
    place = array[position]
    try:
        fitted = np.asarray(value)
        same = np.asarray(fitted, dtype=array.dtype)
        fits = fitted.shape == np.shape(place) and bool(np.all(same == fitted))
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits or not array.flags.writeable:
        raise Refused(f"{path.text} cannot be set: the array holds values of type {array.dtype}")
    if not check:
        array[position] = value


def _fit(old: object, value: Json, path: Path) -> ModelValue:
    """A JSON value as the variable's type, where JSON has no such type."""
    if isinstance(old, bool) and value in ("True", "False"):
        return value == "True"
    if isinstance(old, tuple) and type(old) is tuple and isinstance(value, list):
        return tuple(value)
    if isinstance(old, set) and isinstance(value, list):
        try:
            return set(value)
        except TypeError:
            raise Refused(f"{path.text} cannot be set: the items of a set are scalars") from None
    if isinstance(old, np.ndarray):
        try:
            new = np.asarray(value)
        except ValueError:
            raise Refused(f"{path.text} cannot be set: expecting an array with rows of one length") from None
        return new.astype(old.dtype) if np.can_cast(new.dtype, old.dtype) else new
    return value


def _fits(function: Callable[..., ModelValue], arguments: list[Json]) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except (TypeError, ValueError):
        return False
    return True


def _signature(function: Callable[..., ModelValue]) -> list[str]:
    """Its parameters as they are written, without annotations."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [str(parameter.replace(annotation=parameter.empty))[:200] for parameter in parameters]


ENGINE = PythonEngine
