"""Modules that are imported when something of them is first asked for."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    def __getattr__(self, name: str) -> Any:
        found = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, found)
        return found


def later(name: str) -> ModuleType:
    """The module of that name if it is imported by now, else what takes its place until then.

    So a process in which nobody asks needs neither the time nor the memory of a large library. An attribute
    that was found once costs no more than one of the module.

    >>> later("statistics").fmean([1.0, 2.0])
    1.5
    """
    return sys.modules.get(name) or _Later(name)
