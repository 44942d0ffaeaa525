"""What is sent again, how often, and what it does: a server that fails first stands before the real one."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from streamsim.client import (
    Client,
    ClientError,
    Disconnected,
    Retries,
    ServerError,
    TimedOut,
    TooManyRequests,
    Unavailable,
    Unreadable,
)

from ..servers import free_port
from ..support import Server
from .conftest import Connect, Shown

COUNTING = {
    "get_action": "self.action['arm'] = 'a'",
    "set_reward": "n = self.get_theta(key='count').get('n', 0)\n"
    "self.set_theta({'n': n + self.reward['value']}, key='count')",
}
PASSED = ("content-type", "content-length", "set-cookie", "x-request-id", "retry-after", "link")


class Flaky(ThreadingHTTPServer):
    """Passes requests on to a real server, but meets the first ones with failures.

    A failure is a status that it answers by itself, with `retry_after`; "lost" passes the request on and
    breaks the connection in place of the answer; "cut" breaks it in the middle of the answer.
    """

    daemon_threads = True

    def __init__(self, target: Server) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.target = target
        self.failures: list[int | str] = []
        self.retry_after: str | None = "0"
        self.seen: list[tuple[str, str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def calls(self, path: str) -> int:
        return sum(found.partition("?")[0].startswith(path) for _, found, _ in self.seen)


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Flaky

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, body))
        failure = self.server.failures.pop(0) if self.server.failures else None
        if isinstance(failure, int):
            self.send_response(failure)
            if self.server.retry_after is not None:
                self.send_header("Retry-After", self.server.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.server.target.port, timeout=30)
        connection.request(self.command, self.path, body or None, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if failure == "lost":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() in PASSED:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[:5] if failure == "cut" else content)
        if failure == "cut":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer  # noqa: N815

    def log_message(self, *_args: Any) -> None:
        """Nothing."""


@pytest.fixture
def flaky(server: Server) -> Iterator[Flaky]:
    before = Flaky(server)
    thread = threading.Thread(target=before.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield before
    before.shutdown()
    thread.join()
    before.server_close()


@pytest.fixture
def made(user: Shown) -> dict[str, Any]:
    created: dict[str, Any] = user.experiments.create("counting", **COUNTING)
    return created


@pytest.fixture
def client(connect: Connect, flaky: Flaky) -> Shown:
    return connect(flaky.url, retries=Retries(attempts=4, base_s=0.001, most_s=1.0))


@pytest.mark.parametrize("failure", ["lost", "cut", 502, 503, 429])
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


@pytest.mark.parametrize("failure", ["lost", "cut", 502, 503])
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


def test_a_request_that_nobody_took_is_known_not_to_be_sent(connect: Connect) -> None:
    client = connect(f"http://127.0.0.1:{free_port()}", retries=Retries(attempts=3, base_s=0.001))
    with pytest.raises(Disconnected) as refused:
        client.decisions.get_action("id", "key")
    assert not refused.value.sent


def test_reads_are_repeated_until_the_attempts_are_used_up(
    connect: Connect, token: str, flaky: Flaky
) -> None:
    client = connect(flaky.url, token=token, retries=Retries(attempts=4, base_s=0.001, most_s=1.0))
    flaky.failures = ["lost", 502, 503]
    assert client.experiments.defaults()
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


def test_what_is_not_safe_to_repeat_is_sent_once(
    connect: Connect, token: str, flaky: Flaky, made: dict[str, Any]
) -> None:
    client = connect(flaky.url, token=token)
    unsafe = [
        lambda: client.experiments.create("an experiment"),
        lambda: client.experiments.update(made["id"], name="x", revision=1),
        lambda: client.experiments.archive(made["id"]),
        lambda: client.experiments.reset(made["id"], made["key"]),
        lambda: client.evaluation.start(made["id"]),
        lambda: client.evaluation.cancel(made["id"], "job"),
        lambda: client.evaluation.simulate(made["id"], n=1, log_stats=True),
        lambda: client.accounts.change_password("old", "new"),
        lambda: client.accounts.add_user("name", "password"),
        lambda: client.accounts.add_token(),
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


def test_a_page_that_is_no_json_is_not_taken_for_an_answer(connect: Connect, flaky: Flaky) -> None:
    client = connect(flaky.url + "/?")
    with pytest.raises(Unreadable):
        client.service.healthy()


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
        assert all(pause is not None and 0 <= pause <= most for pause in found)
        assert max(found) > 0.8 * most  # of 300 draws; misses once in 10^29
        assert min(found) < 0.2 * most
        assert all(3 <= (retries.pause_s(attempt, "safe", asking) or 0) <= 3 + most for _ in range(50))
    assert retries.pause_s(9, "safe", away) is None
    assert retries.pause_s(1, "unsent", away) is None
    assert retries.pause_s(1, "unsent", Disconnected("refused", sent=False)) is not None
    assert retries.pause_s(1, "never", TooManyRequests(429, "too_many_requests", "")) is None
