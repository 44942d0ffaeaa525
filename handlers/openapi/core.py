"""Descriptions of `handlers.core`."""

from __future__ import annotations

from typing import Final

from handlers import core
from handlers.openapi.operation import (
    ANY,
    NUMBER,
    Answer,
    Described,
    Operation,
    Parameter,
    Schema,
    array,
    mapping,
    one_of,
    or_null,
    record,
    ref,
    text,
)
from handlers.openapi.parts import ADVICE, KEY
from streamsim.config import Settings

_KEY: Final = text(1, description="The experiment's key.")
_SHORT: Final = or_null(text(1, core.MAX_TEXT))
_PRESENT: Final = "For an experiment in the shadow: the action that your present system takes."
_IN_PLACE: Final = "In place of context and action, which do not count beside it."
_METRICS: Final[Schema] = {**mapping(NUMBER), "maxProperties": core.MAX_METRICS}
REWARD: Final[dict[str, Schema]] = {
    "reward": {"description": "A JSON value, often an object or a number."},
    "context": ANY,
    "action": ANY,
    "advice_id": {"description": _IN_PLACE, **_SHORT},
    "metrics": {"description": "Other numbers about the same decision, by name.", **or_null(_METRICS)},
    "idempotency_key": {"description": "The same reward sent again under it counts once.", **_SHORT},
}
DECISION: Final = record({"action": ANY}, {"advice_id": text(1), "context": ANY})
REWARDED: Final = record(
    {"status": one_of("success")}, {"context": ANY, "action": ANY, "reward": ANY, "late": one_of(True)}
)
_CODE: Final = (422, 429, 504)


def _either(single: Schema) -> Schema:
    """The answer to one call, or to a batch."""
    results = record({"results": array({"anyOf": [single, ref("Error")]})})
    return {"anyOf": [single, results]}


def operations(_settings: Settings) -> Described:
    key = Parameter("key", "The experiment's key.", text(1), KEY, required=True)
    context = {"age": 41}
    decided, rewarded = {"action": {"arm": "A"}}, {"status": "success"}
    return {
        core.ActionHandler: {
            "get": Operation(
                "Decide.",
                {200: Answer("The action; stored before it is answered.", DECISION, decided)},
                query=(
                    key,
                    Parameter("context", "The context, often an object.", ANY, context, json=True),
                    Parameter("action", _PRESENT, ANY, json=True),
                ),
                errors=(409, *_CODE),
            ),
            "post": Operation(
                "Decide, for one context or for many.",
                {
                    200: Answer(
                        "The action; of a batch, in order, each action or error.",
                        _either(DECISION),
                        {"results": [decided, decided]},
                    )
                },
                body=record(
                    {"key": _KEY},
                    {
                        "context": ANY,
                        "action": {"description": _PRESENT},
                        "contexts": array(ANY, 1, core.MAX_CALLS),
                        "actions": array(ANY, 1, core.MAX_CALLS, description="One for each of contexts."),
                    },
                ),
                sends={"key": KEY, "contexts": [context, {}]},
                errors=(409, *_CODE),
            ),
        },
        core.RewardHandler: {
            "get": Operation(
                "Tell a reward.",
                {200: Answer("It is learnt from and stored.", REWARDED, rewarded)},
                query=(
                    key,
                    Parameter("reward", "The reward; {} if left out.", ANY, 1, json=True),
                    Parameter("context", "The context, often an object.", ANY, context, json=True),
                    Parameter("action", "The action.", ANY, {"arm": "A"}, json=True),
                    Parameter("metrics", "Other numbers, by name.", _METRICS, json=True),
                    Parameter(
                        "advice_id",
                        "In place of context and action, which do not count beside it.",
                        text(1, core.MAX_TEXT),
                    ),
                    Parameter(
                        "idempotency_key",
                        "The same reward sent again under it counts once.",
                        text(1, core.MAX_TEXT),
                        "order-17",
                    ),
                ),
                errors=(409, *_CODE),
            ),
            "post": Operation(
                "Tell a reward, or many.",
                {200: Answer("It is learnt from and stored.", _either(REWARDED), rewarded)},
                body=record(
                    {"key": _KEY},
                    {**REWARD, "rewards": array(record({}, REWARD), 1, core.MAX_CALLS)},
                ),
                sends={"key": KEY, "reward": {"value": 1}, "advice_id": ADVICE},
                errors=(409, *_CODE),
            ),
        },
    }
