"""State of the interpreter that one call must not leave to the next.

The functions that change such state are wrapped to leave a mark; only then there is anything to put back.
Code that goes around the wrappers reaches nobody but the experiment that it belongs to.
"""

from __future__ import annotations

import decimal
import functools
import gc
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from streamsim.sandbox.limits import Limits
from streamsim.sandbox.worker.clock import Clock

_GENERATORS: Final = [(random, ("seed", "setstate")), (np.random, ("seed", "set_state"))]
_SETTINGS: Final = [
    (np, ("seterr", "seterrcall", "setbufsize", "set_printoptions")),
    (decimal, ("getcontext", "setcontext")),
    (signal, ("signal", "setitimer", "alarm", "siginterrupt", "pthread_sigmask")),
    (gc, ("disable", "set_threshold", "set_debug")),
    (warnings, ("filterwarnings", "simplefilter", "resetwarnings")),
    (sys, ("setrecursionlimit", "settrace", "setprofile", "setswitchinterval", "set_int_max_str_digits")),
]
_ENTROPY_BYTES: Final = 64
_OURS: Final = {signal.SIGKILL, signal.SIGSTOP, signal.SIGALRM}


class _Marks:
    seeded = changed = False


_marks: Final = _Marks()
# Called through these, so that putting back leaves no mark.
_original: Final[dict[str, Callable[..., Any]]] = {}


def watch() -> None:
    """Wrap the functions of this process that change such state. The zygote does it once for all workers."""
    if _original:
        return
    for watched, mark in ((_GENERATORS, "seeded"), (_SETTINGS, "changed")):
        for module, names in watched:
            for name in names:
                function = getattr(module, name)
                _original[f"{module.__name__}.{name}"] = function
                setattr(module, name, _marking(function, mark))


def _marking(function: Callable[..., Any], mark: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def marking(*arguments: Any, **named: Any) -> Any:
        setattr(_marks, mark, True)
        return function(*arguments, **named)

    return marking


def seed() -> None:
    """Let the generators that all code shares begin anew, and nobody know where."""
    _original["random.seed"]()
    # NumPy's own way to take entropy costs ten times as much: half a millisecond of every worker's start.
    _original["numpy.random.seed"](np.frombuffer(os.urandom(_ENTROPY_BYTES), np.uint32))
    _marks.seeded = False


class State:
    """The state of a fresh worker, to be put back after a call that changed it."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        watch()
        _marks.seeded = _marks.changed = False
        self._clock, self._limits = clock, limits
        self._numpy_errors, self._numpy_print = np.geterr(), np.get_printoptions()
        self._numpy_buffer = np.getbufsize()
        self._warnings = list(warnings.filters)
        self._recursion = sys.getrecursionlimit()
        self._digits = sys.get_int_max_str_digits()
        self._interval = sys.getswitchinterval()
        self._gc = gc.get_threshold()

    def reset(self) -> None:
        """Put back whatever the last call may have changed; nothing to do after most calls."""
        if _marks.seeded:
            seed()
        if _marks.changed:
            self._put_back()
            _marks.changed = False

    def _put_back(self) -> None:
        original = _original
        original["sys.settrace"](None)
        original["sys.setprofile"](None)
        original["sys.setrecursionlimit"](self._recursion)
        original["sys.set_int_max_str_digits"](self._digits)
        original["sys.setswitchinterval"](self._interval)
        original["numpy.seterr"](**self._numpy_errors)
        original["numpy.seterrcall"](None)
        original["numpy.setbufsize"](self._numpy_buffer)
        original["numpy.set_printoptions"](**self._numpy_print)
        original["decimal.setcontext"](decimal.Context())
        original["gc.set_threshold"](*self._gc)
        original["gc.set_debug"](0)
        gc.enable()
        original["warnings.resetwarnings"]()
        warnings.filters[:] = self._warnings  # type: ignore[index]
        original["signal.pthread_sigmask"](signal.SIG_SETMASK, ())
        for timer in (signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            try:
                original["signal.setitimer"](timer, 0)
            except OSError:
                pass  # the system-call filter refuses these timers, so none can run
        for number in signal.valid_signals() - _OURS:
            original["signal.signal"](number, signal.SIG_DFL)
        self._clock.install(self._limits)
