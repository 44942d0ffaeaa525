"""What the model program answers to entries, as the host reads it: the process is not to be trusted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar

import msgspec

from streamsim import values
from streamsim.errors import ModelError
from streamsim.models import paths
from streamsim.sandbox.wire import TextDecoder
from streamsim.values import Json, JsonObject

MAX_VALUES: Final = 200_000
NO_ANSWER: Final = "the model's process answered what no model does"

Series = dict[str, JsonObject]
"""By manager and scenario: `{"equations": {name: {time: value}}, "agents": {...}}`."""
Form = TypeVar("Form")
Result = TypeVar("Result")
Decoder: TypeAlias = TextDecoder[Form] | msgspec.msgpack.Decoder[Form]


class Began(msgspec.Struct):
    """To the beginning of a session: the time of its first step."""

    step: float


class Steps(msgspec.Struct):
    """To steps: one answer each, in the forms of BptkServer; the time of the next; whether that is past
    the stop.
    """

    answers: list[JsonObject]
    step: float
    ended: bool


class SweepPart(msgspec.Struct):
    """To some runs of a sweep: times, and by run and equation the values at these.

    `agent_times`: the times of agents' figures as text; `agents`: by run and figure the values at these.
    """

    times: list[float]
    values: list[list[list[float | None]]]
    agent_times: list[str] = []
    agents: list[list[list[float | None]]] = []


class Changed(msgspec.Struct):
    """To operations and to new values of variables: what came of it, and what was recorded on the way."""

    result: Json = None
    values: JsonObject = {}
    recorded: JsonObject = {}


began: Final = TextDecoder[Began](Began)
steps: Final = TextDecoder[Steps | None](Steps | None)
series: Final = TextDecoder[dict[str, Series]](dict[str, Series])
executed: Final = TextDecoder[dict[str, dict[str, dict[str, float | None]]]](
    dict[str, dict[str, dict[str, float | None]]]
)
changed: Final = TextDecoder[Changed](Changed)
variables: Final = TextDecoder[JsonObject](JsonObject)
sweep_part: Final = msgspec.msgpack.Decoder(SweepPart)
"""Parts of sweeps have types down to the last number, and are stored as they come."""


def decoded(decoder: Decoder[Form], answer: msgspec.Raw) -> Form:
    """An answer of the form of a decoder. :raises ModelError: it has another."""
    try:
        return decoder.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ModelError(NO_ANSWER) from None


def checked(decoder: Decoder[Form], answer: msgspec.Raw) -> Form:
    """An answer whose values are to be passed on or stored.

    :raises ModelError: it is not of the decoder's form, or has what is no JSON value.
    """
    return _checked(decoder, answer, lambda form: form)


def recorded(answer: msgspec.Raw) -> dict[str, bytes]:
    """Variables by name, as their JSON text. :raises ModelError:"""
    return _checked(variables, answer, texts)


def changed_and_recorded(answer: msgspec.Raw) -> tuple[Changed, dict[str, bytes]]:
    """What came of a change, and the recorded variables by name as JSON text. :raises ModelError:"""
    return _checked(changed, answer, lambda change: (change, texts(change.recorded)))


def texts(variables: JsonObject) -> dict[str, bytes]:
    """Recorded variables as they are stored. :raises BadPath: a name is none of a whole variable."""
    return {paths.whole(name): values.dump(value) for name, value in variables.items()}


def _checked(decoder: Decoder[Form], answer: msgspec.Raw, use: Callable[[Form], Result]) -> Result:
    try:
        form = decoder.decode(answer)
        values.check(msgspec.to_builtins(form), "answer", max_values=MAX_VALUES)
        return use(form)
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        values.InvalidValue,
        RecursionError,
        paths.BadPath,
    ) as error:
        raise ModelError(f"the model answered what cannot be passed on: {error}") from None
