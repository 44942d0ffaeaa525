"""The catalogue of policies as the admin API serves it."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from streamsim.decisions.wire import PIECES
from tests.application import Caller


@pytest.mark.gen_test
async def test_defaults_list_the_catalogue_and_each_can_become_an_experiment(ann: Caller) -> None:
    names = (await ann.get("/exp/defaults")).body
    assert "E-greedy" in " ".join(names.values())
    assert list(names) == [str(number) for number in range(len(names))]
    for number, name in names.items():
        policy = await ann.get(f"/exp/defaults/{number}")
        by_name = [name, name.upper().replace(" ", "_"), policy.body["slug"]]
        for other in by_name:
            assert (await ann.get(f"/exp/defaults/{quote(other, safe='')}")).body == policy.body
        assert policy.status == 200
        assert policy.body["name"] == name
        pieces = {piece: policy.body[piece] for piece in PIECES}
        assert (await ann.post("/exp", {"name": name, **pieces})).status == 200


@pytest.mark.gen_test
async def test_unknown_default_is_404(ann: Caller) -> None:
    for number in ("99999", "abc", "1_0", "%20"):
        answer = await ann.get(f"/exp/defaults/{number}")
        assert (answer.status, answer.body["error"]["code"]) == (404, "not_found")
