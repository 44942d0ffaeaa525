"""Every policy of the catalogue, by its presence there, plays over HTTP as a user would set it up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streamsim.experiments import catalogue
from tests.backends import Storage
from tests.policies.play import Player, seed
from tests.support import Client, Server

ROUNDS = 25
PIECES = ("get_context", "get_action", "get_reward", "set_reward")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, shared_storage: Storage) -> Iterator[Client]:
    with Server(tmp_path_factory.mktemp("server"), settings=shared_storage) as server:
        yield server.admin()


def create(client: Client, entry: catalogue.CatalogueEntry, name: str) -> dict[str, Any]:
    """An experiment with the code that the server's catalogue serves, and those that it needs."""
    served = client.get(f"/exp/defaults/{entry.id}").body
    assert served["name"] == entry.name
    assert {piece: served[piece] for piece in PIECES} == entry.code
    needed = {
        need.parameter: create(
            client, next(e for e in catalogue.entries() if e.slug == need.policy), need.parameter + name
        )
        for need in entry.description.needs
    }
    code = entry.edited({parameter: experiment["id"] for parameter, experiment in needed.items()})
    answer = client.post("/exp", {"name": name, **code})
    assert answer.status == 200, answer.body
    created: dict[str, Any] = answer.body
    return created


@pytest.mark.parametrize("slug", [entry.slug for entry in catalogue.entries()])
def test_a_policy_of_the_catalogue_decides_and_learns_over_http(client: Client, slug: str) -> None:
    entry = next(entry for entry in catalogue.entries() if entry.slug == slug)
    created = create(client, entry, slug)
    environment = Player(entry)
    seed(1)
    for _ in range(ROUNDS):
        context = environment.context()
        call = {"key": created["key"], "context": context}
        decided = client.post(f"/getaction/{created['id']}", call)
        assert decided.status == 200, decided.body
        action = decided.body["action"]
        assert entry.description.action.field in action
        reward = environment.earn(context, action)
        learned = client.post(f"/setreward/{created['id']}", {**call, "action": action, "reward": reward})
        assert learned.status == 200, learned.body
    summary = client.get(f"/stats/{created['id']}/summary").body
    assert (summary["get_action_calls"], summary["set_reward_calls"]) == (ROUNDS, ROUNDS)
    if entry.description.logs_propensity:
        rows = client.get(f"/stats/{created['id']}/actionlog").body
        for row in rows:
            probabilities = row.get("probabilities")
            if probabilities is not None:
                assert sum(probabilities.values()) == pytest.approx(1)
            assert 0 < row["propensity"] <= 1
