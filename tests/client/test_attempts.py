"""What is sent again, how often and after how long; and what is not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from streamsim_client import (
    Client,
    Disconnected,
    Retries,
    ServerError,
    TimedOut,
    TooManyRequests,
    Unavailable,
    Unreadable,
)
from tests.client.conftest import KINDS, Connect, Shown, connections
from tests.client.flaky import Flaky
from tests.servers import free_port


@pytest.fixture(params=KINDS)
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes clients of each kind; no backend is behind what they call."""
    with asyncio.Runner() as runner, connections(request.param, set(), runner.run) as connected:
        yield connected


@pytest.fixture
def flaky() -> Iterator[Flaky]:
    with Flaky(None) as alone:
        yield alone


@pytest.fixture
def client(connect: Connect, flaky: Flaky) -> Shown:
    return connect(flaky.url, retries=Retries(attempts=4, base_s=0.001, most_s=1.0))


def test_a_request_that_nobody_took_is_known_not_to_be_sent(connect: Connect) -> None:
    client = connect(f"http://127.0.0.1:{free_port()}", retries=Retries(attempts=3, base_s=0.001))
    with pytest.raises(Disconnected) as refused:
        client.decisions.get_action("id", "key")
    assert not refused.value.sent


def test_reads_are_repeated_until_the_attempts_are_used_up(client: Shown, flaky: Flaky) -> None:
    flaky.failures = ["lost", 502, 503]
    assert client.experiments.defaults() == {}
    assert len(flaky.seen) == 4
    flaky.failures = [503] * 4
    with pytest.raises(Unavailable) as away:
        client.experiments.defaults()
    assert (away.value.status, away.value.retry_after_s, len(flaky.seen)) == (503, 0.0, 8)


def test_a_server_that_wants_a_long_rest_gets_it(client: Shown, flaky: Flaky) -> None:
    flaky.failures, flaky.retry_after = [429], "3600"
    with pytest.raises(TooManyRequests) as busy:
        client.service.healthy()
    assert (busy.value.retry_after_s, len(flaky.seen)) == (3600, 1)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 500, 504])
def test_what_would_fail_again_is_not_repeated(client: Shown, flaky: Flaky, status: int) -> None:
    flaky.failures = [status]
    with pytest.raises(ServerError) as failed:
        client.service.healthy()
    assert (failed.value.status, len(flaky.seen)) == (status, 1)


def test_what_is_not_safe_to_repeat_is_sent_once(client: Shown, flaky: Flaky) -> None:
    unsafe = [
        lambda: client.experiments.create("an experiment"),
        lambda: client.experiments.update("id", name="x", revision=1),
        lambda: client.experiments.archive("id"),
        lambda: client.experiments.reset("id", "key"),
        lambda: client.experiments.rotate_key("id"),
        lambda: client.evaluation.start("id"),
        lambda: client.evaluation.cancel("id", "job"),
        lambda: client.evaluation.simulate("id", n=1, log_stats=True),
        lambda: client.accounts.change_password("old", "new"),
        lambda: client.accounts.add_user("name", "password"),
        lambda: client.accounts.add_token(),
        lambda: client.accounts.revoke_token("id"),
        lambda: client.accounts.log_in("name", "password"),
        lambda: client.models.update("model", {}),
        lambda: client.models.delete("model"),
        lambda: client.sessions.start(),
        lambda: client.sessions.begin("instance", ["manager"], ["scenario"]),
        lambda: client.sessions.step("instance"),
        lambda: client.sessions.steps("instance", 2),
        lambda: next(client.sessions.stream("instance")),
        lambda: client.sessions.stop("instance"),
        lambda: client.sweeps.start("manager", "scenario", ["equation"], {}),
        lambda: client.jobs.cancel("job"),
        lambda: client.runs.create("admin", "fair", "model"),
        lambda: client.runs.operate("run", "operation"),
        lambda: client.runs.set("run", {"price": 1}),
        lambda: client.runs.replay("run"),
        lambda: client.runs.clone("run"),
        lambda: client.project("admin", "fair").operate("run", "operation"),
        lambda: client.project("admin", "fair").patch("run", {"saved": True}),
    ]
    one: Any
    for number, one in enumerate(unsafe, 1):
        flaky.failures = [503]
        with pytest.raises(Unavailable):
            one()
        assert len(flaky.seen) == number


def test_a_slow_answer_is_not_asked_for_again(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = connect(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.05)
        with pytest.raises(TimedOut):
            client.service.healthy()
        silent.settimeout(1)
        silent.accept()[0].close()
        silent.settimeout(0)
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_a_page_that_is_no_json_is_not_taken_for_an_answer(client: Shown, flaky: Flaky) -> None:
    flaky.content = b"<h1>Welcome</h1>"
    with pytest.raises(Unreadable):
        client.service.healthy()
    with pytest.raises(Unreadable):
        client.runs.variable("run", "price")
    with pytest.raises(Unreadable):
        next(client.sessions.stream("instance"))
    flaky.content = b"[]"
    with pytest.raises(Unreadable, match="Content-Range"):
        client.project("ann", "fair").page()


def test_a_stream_that_breaks_off_gives_what_came_and_then_raises(client: Shown, flaky: Flaky) -> None:
    flaky.content = b'[{"step": 1},{"step": 2},{"st'
    steps = client.sessions.stream("instance")
    assert [next(steps), next(steps)] == [{"step": 1}, {"step": 2}]
    with pytest.raises(Unreadable):
        next(steps)
    flaky.failures = ["cut"]
    with pytest.raises(Disconnected):
        next(client.sessions.stream("instance"))
    assert flaky.failures == []


def test_an_address_that_is_none_is_refused() -> None:
    for url in ("localhost:8080", "ftp://localhost", ""):
        with pytest.raises(ValueError, match="http"):
            Client(url)


def test_pauses_double_are_bounded_and_never_shorter_than_the_server_asks() -> None:
    retries = Retries(attempts=9, base_s=1.0, most_s=5.0)
    away = Unavailable(503, "unavailable", "")
    asking = Unavailable(503, "unavailable", "", retry_after_s=3.0)
    for attempt, most in ((1, 1), (2, 2), (3, 4), (4, 5), (8, 5)):
        found = [retries.pause_s(attempt, "safe", away) for _ in range(300)]
        pauses = [pause for pause in found if pause is not None]
        assert len(pauses) == 300
        assert all(0 <= pause <= most for pause in pauses)
        assert max(pauses) > 0.8 * most  # of 300 draws; misses once in 10^29
        assert min(pauses) < 0.2 * most
        assert all(3 <= (retries.pause_s(attempt, "safe", asking) or 0) <= 3 + most for _ in range(50))
    assert retries.pause_s(9, "safe", away) is None
    assert retries.pause_s(1, "unsent", away) is None
    assert retries.pause_s(1, "unsent", Disconnected("refused", sent=False)) is not None
    assert retries.pause_s(1, "never", TooManyRequests(429, "too_many_requests", "")) is None
