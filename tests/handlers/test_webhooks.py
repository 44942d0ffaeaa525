"""Webhooks of an experiment, over HTTP: what is declared, told, shown, and tried again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from streamsim import dates
from streamsim.config.settings import WebhookSettings
from streamsim.dates import HOUR_MS
from streamsim.evaluation.announcing import Announcer
from streamsim.evaluation.guardrails import Guardrails
from streamsim.server.upkeep import Upkeep
from streamsim.services import Services
from streamsim.webhooks.courier import Courier
from tests.application import Caller, Clock
from tests.handlers.test_guardrails import DRAW, GIVEN, HARM, SLOW, play
from tests.receiver import SECRET, Receiver, receiving

ALLOWED = {"webhooks.allow": ["127.0.0.1", "hooks.example.com"]}
here = pytest.mark.parametrize("settings", [ALLOWED], indirect=True)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture
def results() -> list[str]:
    """What became of attempts."""
    return []


@pytest.fixture
def courier(services: Services, clock: Clock, results: list[str]) -> Courier:
    return Courier(services.store, services.settings.webhooks, clock, results.append)


@pytest.fixture
def announcer(services: Services, clock: Clock) -> Announcer:
    return Announcer(services.store, services.offline, "this process", clock, 1000)


async def found(services: Services, made: dict[str, Any]) -> Any:
    return await services.store.decisions.get_experiment(made["id"])


def hook(receiver: Receiver, *events: str) -> dict[str, Any]:
    return {"url": receiver.url, "secret": SECRET, **({"events": list(events)} if events else {})}


@here
@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_states_are_told_signed_and_in_order(ann: Caller, courier: Courier, receiver: Receiver) -> None:
    made = await ann.experiment("told", webhooks=[hook(receiver)])
    path = f"/exp/{made['id']}"
    await ann.put(path, {"name": "renamed"})  # no change of state
    await ann.put(path, {"state": "paused"})
    assert await courier.round() == 1
    await ann.put(path, {"state": None})
    assert await courier.round() == 1
    await ann.delete(path)
    assert await courier.round() == 1
    assert await courier.round() == 0
    assert all(one.signed for one in receiver.messages)
    assert receiver.types == ["state"] * 3
    assert [(one.data["before"], one.data["state"]) for one in receiver.messages] == [
        ("running", "paused"), ("paused", "running"), ("running", "archived")
    ]  # fmt: skip
    assert receiver.messages[0].data == {
        "exp_id": made["id"], "name": "renamed", "state": "paused", "before": "running", "revision": 3
    }  # fmt: skip
    assert len({one.id for one in receiver.messages}) == 3


@here
@pytest.mark.gen_test
async def test_a_secret_never_comes_back_and_stays_with_its_url(
    ann: Caller, services: Services, receiver: Receiver
) -> None:
    made = await ann.experiment("secret", webhooks=[hook(receiver, "state")])
    path = f"/exp/{made['id']}"
    shown = (await ann.get(path)).body
    assert shown["webhooks"] == [{"url": receiver.url, "events": ["state"]}]
    # What GET gave may be sent back, with another webhook beside it.
    more = [*shown["webhooks"], {"url": "https://hooks.example.com/x", "secret": "y" * 16}]
    answer = await ann.put(path, {**shown, "webhooks": more})
    assert answer.status == 200, answer.body
    stored = (await found(services, made)).properties["webhooks"]
    assert [one["secret"] for one in stored] == [SECRET, "y" * 16]
    assert stored[1]["events"] == ["drift", "guardrail", "state", "winner"]
    answers = [await ann.get(path), await ann.get(f"{path}/webhooks"), await ann.get("/exp?_sort=id")]
    answers.append(await ann.delete(path))
    assert all(SECRET not in str(one) and "y" * 16 not in str(one) for one in answers)


@here
@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("webhooks[0].url", [{"url": "http://127.0.0.2/", "secret": SECRET}]),
        ("webhooks[0].url", [{"url": "file:///etc/passwd", "secret": SECRET}]),
        ("webhooks[0].secret", [{"url": "https://hooks.example.com"}]),
        ("webhooks[0].secret", [{"url": "https://hooks.example.com", "secret": "short"}]),
        ("webhooks[0].events[0]", [{"url": "https://hooks.example.com", "secret": SECRET, "events": ["x"]}]),
        ("webhooks[0].events", [{"url": "https://hooks.example.com", "secret": SECRET, "events": []}]),
        ("webhooks[0]", [{"url": "https://hooks.example.com", "secret": SECRET, "more": 1}]),
        ("webhooks[1].url", [{"url": "https://hooks.example.com", "secret": SECRET}] * 2),
        ("webhooks", []),
        ("webhooks", [{"url": "https://hooks.example.com", "secret": SECRET}] * 6),
        ("webhooks", "https://hooks.example.com"),
    ],
)
async def test_what_is_no_webhook_is_refused_by_name(ann: Caller, field: str, wrong: Any) -> None:
    answer = await ann.post("/exp", {"name": "wrong", "webhooks": wrong})
    assert (answer.status, answer.body["error"]["field"]) == (400, field), answer.body


@pytest.mark.gen_test
async def test_nothing_is_allowed_by_default(ann: Caller, receiver: Receiver) -> None:
    answer = await ann.post("/exp", {"name": "wrong", "webhooks": [hook(receiver)]})
    assert answer.status == 400
    assert "the setting webhooks.allow is empty" in answer.body["error"]["message"]


@here
@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_what_fails_is_tried_again_later_each_time_and_given_up_in_the_end(
    ann: Caller, services: Services, clock: Clock, receiver: Receiver, results: list[str]
) -> None:
    courier = Courier(services.store, WebhookSettings(("127.0.0.1",), attempts=4), clock, results.append)
    receiver.status = 503
    made = await ann.experiment("fails", webhooks=[hook(receiver, "state")])
    await ann.put(f"/exp/{made['id']}", {"state": "paused"})
    pauses = []
    for attempt in range(1, 4):
        assert await courier.round() == 1
        assert await courier.round() == 0
        (shown,) = (await ann.get(f"/exp/{made['id']}/webhooks")).body
        assert (shown["status"], shown["attempts"], shown["error"]) == ("waiting", attempt, "answered 503")
        pauses.append(dates.parse_iso(shown["next_attempt"]) - dates.parse_iso(shown["last_attempt"]))
        clock.ahead_ms += pauses[-1] + 1000
    for pause, longest in zip(pauses, (5000, 10_000, 20_000), strict=True):
        assert longest / 2 - 1000 <= pause <= longest + 1000
    assert await courier.round() == 1
    (shown,) = (await ann.get(f"/exp/{made['id']}/webhooks")).body
    assert (shown["status"], shown["attempts"], shown["error"]) == ("failed", 4, "answered 503")
    assert "next_attempt" not in shown
    clock.ahead_ms += 48 * HOUR_MS
    assert await courier.round() == 0
    assert results == ["retried"] * 3 + ["failed"]
    # Every attempt was the same message.
    assert len({one.id for one in receiver.messages}) == 1
    assert len(receiver.messages) == 4


@here
@pytest.mark.gen_test
async def test_a_webhook_that_was_taken_away_gets_nothing_more(
    ann: Caller, courier: Courier, receiver: Receiver
) -> None:
    made = await ann.experiment("gone", webhooks=[hook(receiver)])
    await ann.put(f"/exp/{made['id']}", {"state": "paused"})
    await ann.put(f"/exp/{made['id']}", {"webhooks": None})
    await courier.round()
    assert receiver.messages == []
    (shown,) = (await ann.get(f"/exp/{made['id']}/webhooks")).body
    assert shown["status"] == "failed"
    assert "no webhook of this URL any more" in shown["error"]


@here
@pytest.mark.gen_test
async def test_messages_are_the_owners_alone(ann: Caller, bob: Caller, receiver: Receiver) -> None:
    made = await ann.experiment("mine", webhooks=[hook(receiver)])
    assert (await bob.get(f"/exp/{made['id']}/webhooks")).status == 401
    assert (await ann.get(f"/exp/{made['id']}/webhooks")).body == []
    assert (await ann.get(f"/exp/{made['id']}/webhooks?limit=0")).status == 400


@here
@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_guardrail_that_trips_is_told_once_by_two_processes(
    ann: Caller, services: Services, clock: Clock, courier: Courier, receiver: Receiver
) -> None:
    random.seed(21)
    rails = [SLOW | {"then": "fallback"}]
    made = await ann.experiment(
        "guarded", get_action=DRAW, guardrails=rails, fallback="a", webhooks=[hook(receiver)], **GIVEN
    )
    await play(ann, made, 900, HARM)
    for _ in range(2):
        services.decisions.guarded.add(made["id"])
        await Guardrails(services.store, services.decisions, 10_000, clock).look()
    await courier.round()
    assert sorted(receiver.types) == ["guardrail", "state"]
    by_type = {one.body["type"]: one.data for one in receiver.messages}
    assert by_type["guardrail"]["guardrail"]["arm"] == "b"
    assert by_type["guardrail"]["guardrail"]["low"] > 10
    assert (by_type["state"]["before"], by_type["state"]["state"]) == ("running", "paused")


@here
@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_states_that_come_by_date_and_number_are_told_once(
    ann: Caller, services: Services, clock: Clock, courier: Courier, announcer: Announcer, receiver: Receiver
) -> None:
    starts, ends = (dates.iso(clock() + hours * HOUR_MS) for hours in (1, 2))
    made = await ann.experiment(
        "dated", starts=starts, ends=ends, get_action="self.action['arm'] = 'a'", fallback={"arm": "b"},
        webhooks=[hook(receiver, "state")],
    )  # fmt: skip
    counted = await ann.experiment(
        "counted", max_decisions=2, get_action="self.action['arm'] = 'a'", webhooks=[hook(receiver, "state")]
    )
    assert not await announcer.schedule(await found(services, made))
    clock.ahead_ms = HOUR_MS + 1000
    assert await announcer.schedule(await found(services, made))
    assert not await announcer.schedule(await found(services, made))
    clock.ahead_ms = 2 * HOUR_MS + 1000
    assert await announcer.schedule(await found(services, made))
    assert not await announcer.schedule(await found(services, counted))
    await ann.post(f"/getaction/{counted['id']}", {"key": counted["key"], "contexts": [{}] * 2})
    assert await announcer.schedule(await found(services, counted))
    assert not await announcer.schedule(await found(services, counted))
    await courier.round()
    told = {(one.data["name"], one.data["state"]) for one in receiver.messages}
    assert told == {("dated", "running"), ("dated", "stopped"), ("counted", "stopped")}
    assert len(receiver.messages) == 3


@here
@pytest.mark.gen_test
async def test_a_winner_and_drift_are_told_once_each(
    ann: Caller, services: Services, clock: Clock, courier: Courier, receiver: Receiver
) -> None:
    random.seed(22)
    made = await ann.experiment(
        "won", get_action=DRAW, webhooks=[hook(receiver, "winner", "drift")],
        rewards={"family": "bernoulli"}, **GIVEN,
    )  # fmt: skip

    async def earn(n: int, means: dict[str, float]) -> None:
        answer = await ann.post(f"/getaction/{made['id']}", {"key": made["key"], "contexts": [{}] * n})
        rewards = [
            {"advice_id": one["advice_id"], "reward": int(random.random() < means[one["action"]["arm"]])}
            for one in answer.body["results"]
        ]
        await ann.post(f"/setreward/{made['id']}", {"key": made["key"], "rewards": rewards})

    one, other = (
        Announcer(services.store, services.offline, owner, clock, 1000) for owner in ("one", "other")
    )

    async def look() -> list[bool]:
        clock.ahead_ms += 2000
        return [await one.look(await found(services, made)), await other.look(await found(services, made))]

    for _ in range(2):
        await earn(500, {"a": 0.2, "b": 0.2, "c": 0.2})
    clock.ahead_ms += 2 * HOUR_MS  # every reward has come
    assert await look() == [False, False]
    for _ in range(4):
        await earn(500, {"a": 0.2, "b": 0.9, "c": 0.2})
    clock.ahead_ms += 2 * HOUR_MS
    assert await look() == [True, False]
    assert await look() == [False, False]
    await courier.round()
    assert sorted(receiver.types) == ["drift", "winner"]
    by_type = {one.body["type"]: one.data for one in receiver.messages}
    assert (by_type["winner"]["arm"], by_type["winner"]["control"]) == ("b", "a")
    assert by_type["drift"]["check"]["detail"]["changed"][0]["name"] == "arm b"


@here
@pytest.mark.gen_test
async def test_upkeep_sends_counts_and_forgets(
    ann: Caller, services: Services, clock: Clock, receiver: Receiver
) -> None:
    upkeep = Upkeep(services, clock)
    made = await ann.experiment("kept", webhooks=[hook(receiver)])
    await ann.put(f"/exp/{made['id']}", {"state": "paused"})
    await upkeep.messages()
    assert len(receiver.messages) == 1
    assert b'streamsim_webhook_attempts_total{result="delivered"} 1.0' in services.metrics.text()
    assert await upkeep.clean_up() == 0
    clock.ahead_ms = 31 * 24 * HOUR_MS
    assert await upkeep.clean_up() >= 1
    assert await services.store.deliveries.list_deliveries(made["id"], limit=9) == []
    await upkeep.schedules()
    await upkeep.announce()
