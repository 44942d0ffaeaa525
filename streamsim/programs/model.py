"""The program that loads a tenant's simulation models and runs them.

load      `Load`; `loaded` is `{model: Found}`
request   a list of entries, each `{"op": name, ...}`; the result is that of the last one

Entries run in order. What a journal holds are entries, so bringing a run back is sending them again.
"""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np

from streamsim.models.answers import SweepPart
from streamsim.models.engines.base import (
    REFUSED,
    Engine,
    Found,
    Outputs,
    Refused,
    ScenarioSettings,
    Simulation,
    Source,
    Variables,
)
from streamsim.models.engines.variables import ScenarioVariables
from streamsim.models.session import Begin, SettingsBy, StepSession, change, started, times, whole
from streamsim.models.sweep_agents import Figures
from streamsim.models.sweep_summary import TIMES_MOVE
from streamsim.sandbox.wire import Failure, clean
from streamsim.sandbox.worker import failures as errors
from streamsim.sandbox.worker.clock import SoftTimeout
from streamsim.sandbox.worker.main import Channel, as_text

RECURSION: Final = 20_000
"""Equations ask for the step before, and that for the one before it; such calls take no C stack."""

_settings = msgspec.json.Decoder(SettingsBy)


class Load(msgspec.Struct):
    """What a worker loads."""

    models: list[Source]


class Program:
    """Loaded models, and the session of their run."""

    def __init__(self, load: Any, channel: Channel) -> None:
        sys.setrecursionlimit(RECURSION)
        self._channel = channel
        self._engines: dict[str, Engine] = {}
        self._pieces: dict[str, str] = {}
        self._session: StepSession | None = None
        self._run: Variables | None = None
        sources = msgspec.convert(load, Load).models
        for source in sources:
            self._engines[source.name] = self._guarded(partial(self._engine, source))
        self.loaded: dict[str, Found] = {name: engine.found for name, engine in self._engines.items()}
        self._importable = ExitStack()
        if len(sources) == 1:
            # Several models may have modules of one name; those of a single one can be imported at any time.
            self._importable.enter_context(_modules(self._only()))
        self._owners = {
            manager: engine for engine in self._engines.values() for manager in engine.found.managers
        }

    def handle(self, request: list[dict[str, Any]]) -> Any:
        """Run entries; the result of the last, as JSON text; of a sweep as it is."""
        result: Any = None
        for index, entry in enumerate(request, 1):
            arguments = dict(entry)
            operation = getattr(self, f"op_{arguments.pop('op')}")
            result = self._guarded(partial(operation, **arguments))
            if index < len(request):
                self._channel.progress(index)
        return result if request and request[-1]["op"] == "sweep" else as_text(result)

    def close(self) -> None:
        """Make the model's modules importable no longer; for processes that go on without it."""
        self._importable.close()

    # ---- scenarios

    def op_run(self, begin: Any) -> Any:
        """Whole runs; the session, if there is one, is left alone."""
        begin = msgspec.convert(begin, Begin)
        self._seed(begin.seed)
        return whole(begin, self._start)

    def op_sweep(
        self,
        begin: Any,
        names: list[str],
        rows: list[list[float]],
        seeds: list[int] | None = None,
        paths: Sequence[list[str]] = (),
    ) -> Any:
        """A scenario with each row of constants, as `answers.SweepPart`.

        :param seeds: by row; without them they follow from that of `begin`. :param paths: as in `Plan`.
        """
        begin = msgspec.convert(begin, Begin)
        manager, scenario, outputs = begin.scenarios[0]
        seeds = seeds or [begin.seed + number for number in range(1, len(rows) + 1)]
        part = SweepPart([], [])
        for index, (row, seed) in enumerate(zip(rows, seeds, strict=True)):
            self._channel.clock.start()
            self._seed(seed)
            varied = {manager: {scenario: ScenarioSettings(constants=dict(zip(names, row, strict=True)))}}
            simulation = started(begin, self._start)[manager, scenario]
            change({(manager, scenario): simulation}, varied, None)
            when, steps, agents = [], [], Figures(paths)
            for time in times(simulation):
                when.append(time)
                steps.append(simulation.step(time))
                agents.add(steps[-1].pop("agents", {}))
            if index == 0:
                part.times, part.agent_times = when, agents.times
            if (when, agents.times) != (part.times, part.agent_times):
                raise Refused(TIMES_MOVE)
            part.values.append([[step[name] for step in steps] for name in outputs.equations])
            part.agents.append(agents.values)
            self._channel.progress(index + 1)
        return msgspec.structs.asdict(part)

    def op_begin(self, begin: Any) -> Any:
        """Start a session in place of an earlier one."""
        begin = msgspec.convert(begin, Begin)
        self._seed(begin.seed)
        self._session = StepSession(begin, self._start)
        return {"step": self._session.next}

    def op_steps(self, count: int, settings: Any = None, flat: bool = False) -> Any:
        """Advance by some steps; their answers, and the time after them."""
        if self._session is None:
            return None
        changes = msgspec.convert(settings, SettingsBy) if settings else {}
        answers = []
        for index in range(count):
            answers.append(self._session.step(changes if index == 0 else {}, flat))
        return {"answers": answers, "step": self._session.next, "ended": self._session.ended}

    def op_results(self, flat: bool) -> Any:
        """Everything that the session answered so far."""
        return {} if self._session is None else self._session.results(flat)

    def op_end(self) -> Any:
        """End the session."""
        self._session = None

    # ---- variables and operations of a run with one model

    def op_open(self, seed: int, rules: int = 0) -> Any:
        """Begin a run of the model; what was recorded. `rules`: as `engines.base.RULES`."""
        self._seed(seed)
        engine = self._only()
        self._run = engine.open(seed) or ScenarioVariables(engine, seed, rules)
        return {"recorded": self._run.recorded()}

    def op_get(self, paths: list[str]) -> Any:
        """Values of variables. Changes nothing, neither what random numbers come next."""
        state, legacy = random.getstate(), np.random.get_state()
        try:
            return self._opened().get(paths)
        finally:
            random.setstate(state)
            np.random.set_state(legacy)

    def op_set(self, changes: dict[str, Any]) -> Any:
        """Set variables; their values afterwards, and what was recorded."""
        return {"values": self._opened().set(changes), "recorded": self._opened().recorded()}

    def op_call(self, name: str, arguments: list[Any]) -> Any:
        """Call an operation; its result, and what was recorded."""
        result = self._opened().call(name, arguments)
        return {"result": result, "recorded": self._opened().recorded()}

    def op_recorded(self) -> Any:
        """Everything that was recorded so far."""
        return self._opened().recorded(all=True)

    def op_note(self) -> None:
        """Something about the run changed that is not the model's."""

    # ---- inside

    def _opened(self) -> Variables:
        if self._run is None:
            raise Refused("the run has not begun")
        return self._run

    def _only(self) -> Engine:
        return next(iter(self._engines.values()))

    def _engine(self, source: Source) -> Engine:
        self._pieces.update({f"/model/{name}": name for name in source.files})
        made: Engine = importlib.import_module(f"streamsim.models.engines.{source.engine}").ENGINE(source)
        return made

    def _start(self, manager: str, scenario: str, outputs: Outputs, rules: int) -> Simulation:
        engine = self._owners.get(manager)
        if engine is None:
            raise Refused(f"unknown scenario manager {manager}")
        with _modules(engine):
            return engine.start(manager, scenario, outputs, rules)

    def _seed(self, seed: int) -> None:
        random.seed(seed)
        np.random.seed(seed % 2**32)

    def _guarded(self, call: Callable[[], Any]) -> Any:
        """Run the model's code under the clock; every failure becomes a record without paths of the host."""
        clock = self._channel.clock
        try:
            clock.start()
            try:
                return call()
            finally:
                clock.stop()
        except Refused as refused:
            raise errors.Described(Failure("rejected", REFUSED, clean(str(refused)))) from None
        except BaseException as error:
            raise errors.Described(self._explained(error) or errors.traced(error, self._pieces)) from None

    def _explained(self, error: BaseException) -> Failure | None:
        """What the engine of a model says of an error of its library."""
        if not isinstance(error, Exception) or isinstance(
            error, (SoftTimeout, MemoryError, errors.Described)
        ):
            return None
        told = (engine.explain(error) for engine in self._engines.values())
        return next((failure for failure in told if failure is not None), None)


def _modules(engine: Engine) -> AbstractContextManager[None]:
    """Makes the engine's own files importable, if it has any."""
    files = getattr(engine, "files", None)
    return files.importable() if files is not None else nullcontext()
