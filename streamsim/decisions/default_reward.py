"""The reward of an advice that nobody redeems in time, as an experiment has it stored."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, Final

from streamsim import values

MAX_PYTHON_TEXT: Final = 65_536


def default_reward(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The default reward of an experiment with these properties; `{}` if it has none."""
    stored = properties.get("default_reward")
    return reward_of_text(stored) if isinstance(stored, str) else stored or {}


def reward_of_text(text: str) -> dict[str, Any]:
    """A default reward that was given as text: of a JSON object, or as Python writes a dict.

    :raises InvalidValue: it is neither, or holds what JSON cannot.
    """
    where = "default_reward"
    try:
        reward = values.parse(text, where)
    except values.InvalidValue:
        if len(text) > MAX_PYTHON_TEXT:
            raise
        try:
            reward = values.plain(ast.literal_eval(text.strip()), where)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise values.InvalidValue(where, "is neither JSON nor the text of a Python dict") from None
    if type(reward) is not dict:
        raise values.InvalidValue(where, "must be the text of a JSON object, or of a Python dict")
    return reward
