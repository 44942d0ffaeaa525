"""Theta larger than one message to a worker: decisions go on, and what starts from it is refused."""

from __future__ import annotations

import pytest

from tests.application import Caller

ROWS = 60
CODE = {
    "get_action": "self.action['arm'] = 'a'\nself.action['rows'] = len(self.get_theta(key='k'))",
    "get_reward": "self.reward['value'] = 1",
    "set_reward": "self.set_theta({'text': 'x' * 90_000}, key='k', value=str(self.reward['value']))",
}


@pytest.mark.gen_test
async def test_what_starts_from_a_theta_that_is_too_large_says_so(ann: Caller) -> None:
    experiment = await ann.experiment(**CODE)
    id, key = experiment["id"], experiment["key"]
    for value in range(ROWS):
        body = {"key": key, "action": {"arm": "a"}, "reward": {"value": value}}
        assert (await ann.post(f"/setreward/{id}", body)).status == 200
    edited = await ann.put(f"/exp/{id}", {"name": "for a new worker"})
    assert edited.status == 200
    assert (await ann.get(f"/getaction/{id}", key=key)).body["action"]["rows"] == ROWS
    tried = [
        await ann.get(f"/eval/{id}/simulate", N=2, theta="current"),
        await ann.post("/eval/compare", {"experiments": [id], "environment": id, "N": 2, "theta": "current"}),
        await ann.post(
            f"/eval/{id}/offpolicy",
            {
                "candidate": {"experiment": id},
                "log": '{"context": {}, "action": "a", "reward": 1, "propensity": 0.5}\n',
            },
        ),
    ]
    assert [(answer.status, answer.body["error"]["field"]) for answer in tried] == [(413, "theta")] * 3
