"""Drawn requests go to both servers, which answer alike, or ours is the one that refuses."""

from __future__ import annotations

import pytest

from tests.effort import LONG
from tests.server.http.differential import CLOSE, SETTINGS, STRICTER, compare

# Both servers close what waits for a second: beside other tests one of them may be late.
pytestmark = pytest.mark.serial


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [SETTINGS], indirect=True)
async def test_both_servers_answer_alike_or_ours_is_the_stricter_one(ports: dict[str, int]) -> None:
    found = await compare(ports, seed=16, connections=20_000 if LONG else 1200)
    assert found.wrong == []
    assert found.failed == []
    assert found.stricter.keys() == {*STRICTER, CLOSE}
    assert found.requests > found.compared
