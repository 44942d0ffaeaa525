"""Rewards are applied once, and decisions made once, however often the connection fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from streamsim_client import ClientError, Retries
from tests.client.conftest import Connect, Shown
from tests.client.flaky import Flaky
from tests.support import Server

COUNTING = {
    "get_action": "self.action['arm'] = 'a'",
    "set_reward": "n = self.get_theta(key='count').get('n', 0)\n"
    "self.set_theta({'n': n + self.reward['value']}, key='count')",
}


@pytest.fixture
def flaky(server: Server) -> Iterator[Flaky]:
    """Before the real server."""
    with Flaky(server) as before:
        yield before


@pytest.fixture
def made(user: Shown) -> dict[str, Any]:
    created: dict[str, Any] = user.experiments.create("counting", **COUNTING)
    return created


@pytest.fixture
def client(connect: Connect, flaky: Flaky) -> Shown:
    return connect(flaky.url, retries=Retries(attempts=4, base_s=0.001, most_s=1.0))


@pytest.mark.parametrize("failure", ["lost", "cut", 503])
def test_a_reward_is_applied_once_however_often_it_is_sent(
    client: Shown, user: Shown, made: dict[str, Any], flaky: Flaky, failure: int | str
) -> None:
    flaky.failures = [failure, failure]
    done = client.decisions.set_reward(made["id"], made["key"], {"value": 5}, action={"arm": "a"})
    assert done == {"status": "success"}
    sent = [json.loads(body) for _, _, body in flaky.seen]
    assert len(sent) == 3
    assert len({one["idempotency_key"] for one in sent}) == 1
    assert user.stats.current_theta(made["id"]) == {"count": {"n": 5}}
    assert user.stats.summary(made["id"])["set_reward_calls"] == 1


def test_a_batch_of_rewards_is_applied_once(
    client: Shown, user: Shown, made: dict[str, Any], flaky: Flaky
) -> None:
    flaky.failures = ["lost", 503]
    rewards = [{"reward": {"value": n}} for n in range(10)]
    assert client.decisions.set_rewards(made["id"], made["key"], rewards) == [{"status": "success"}] * 10
    assert user.stats.current_theta(made["id"]) == {"count": {"n": 45}}


def test_each_reward_has_a_key_of_its_own(client: Shown, user: Shown, made: dict[str, Any]) -> None:
    for _ in range(3):
        client.decisions.set_reward(made["id"], made["key"], {"value": 1})
    assert user.stats.current_theta(made["id"]) == {"count": {"n": 3}}


@pytest.mark.parametrize("failure", ["lost", 503])
def test_a_decision_that_may_have_been_made_is_not_made_again(
    client: Shown, user: Shown, made: dict[str, Any], flaky: Flaky, failure: int | str
) -> None:
    flaky.failures = [failure]
    with pytest.raises(ClientError):
        client.decisions.get_action(made["id"], made["key"])
    assert len(flaky.seen) == 1
    assert user.stats.summary(made["id"])["get_action_calls"] == (1 if isinstance(failure, str) else 0)


def test_a_decision_that_was_turned_away_is_asked_for_again(
    client: Shown, user: Shown, made: dict[str, Any], flaky: Flaky
) -> None:
    flaky.failures = [429, 429]
    assert client.decisions.get_action(made["id"], made["key"]) == {"action": {"arm": "a"}}
    assert user.stats.summary(made["id"])["get_action_calls"] == 1
