"""Streams are read the same wherever the network cuts them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from streamsim_client import Unreadable
from streamsim_client.reading import elements, events
from tests.conftest import Run

STEPS = [{"a": {"b": [1.5, '],[ \\" }']}}, {}, {"c": None}]


async def cut(text: str, size: int) -> AsyncGenerator[str, None]:
    for start in range(0, len(text), size):
        yield text[start : start + size]


async def everything(items: AsyncGenerator[Any, None]) -> list[Any]:
    return [item async for item in items]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), ("\n , ", " : ")])
def test_elements_of_an_array(run: Run, size: int, separators: tuple[str, str]) -> None:
    text = json.dumps(STEPS, separators=separators)
    assert run(everything(elements(cut(text, size)))) == STEPS
    assert run(everything(elements(cut("[ ]", size)))) == []


@pytest.mark.parametrize("text", ["", "[", "[{}", '[{"a": 1},', '{"a": 1}', '[{"a": 1'])
def test_what_is_no_whole_array_is_unreadable(run: Run, text: str) -> None:
    with pytest.raises(Unreadable):
        run(everything(elements(cut(text, 2))))


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_events(run: Run, size: int) -> None:
    text = 'event: progress\ndata: {"done": 1}\n\n: a comment\n\nevent: end\ndata: {"done": 2}\n\n'
    found = run(everything(events(cut(text, size))))
    assert found == [("progress", {"done": 1}), ("end", {"done": 2})]
