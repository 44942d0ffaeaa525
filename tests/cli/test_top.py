"""`streamsim top`: what is shown are the server's own numbers."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from streamsim.cli import top
from streamsim.cli.main import main
from streamsim.metrics import _BUCKETS_S, Metrics
from tests.support import Client, Server

NAMES = ["requests/s", "decisions/s", "errors/s", "99%", "waiting", "workers", "models", "live", "outbox"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


def decide(client: Client, experiment: dict[str, str], calls: int) -> None:
    for _ in range(calls):
        assert client.get(f"/getaction/{experiment['id']}", key=experiment["key"]).status == 200


def test_shows_rates_between_two_looks_and_present_numbers(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    admin = server.admin()
    experiment = admin.post("/exp", {"name": "a", "get_action": "self.action['arm'] = 1"}).body
    decide(admin, experiment, 3)
    # A clock of its own: four seconds between the two looks, in which there are 20 decisions.
    times = iter([10.0, 14.0])
    options = Namespace(urls=[server.url], interval=4.0, once=True)
    assert (
        top.run(options, sleep=lambda _seconds: decide(admin, experiment, 20), now_s=lambda: next(times)) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].replace("99 %", "99%").split() == ["process", *NAMES]
    shown = dict(zip(["process", *NAMES], lines[1].replace(" ms", "ms").split(), strict=True))
    assert (shown["process"], shown["decisions/s"], shown["errors/s"]) == (server.url, "5", "0")
    # The scrape itself is a request as well.
    assert shown["requests/s"] == "5.2"
    assert shown["99%"].endswith("ms")
    assert int(shown["workers"]) >= 1
    assert (shown["waiting"], shown["live"], shown["outbox"]) == ("0", "0", "0")
    routes = [line.split()[-1] for line in lines[4:]]
    assert routes[0] == "/getaction/{exp_id}"
    assert set(routes) == {"/getaction/{exp_id}", "/metrics"}


def test_the_first_screen_has_totals_and_ends_with_an_interrupt(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    options = Namespace(urls=[server.url], interval=2.0, once=False)
    assert top.run(options, sleep=interrupted) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[1:4] == ["requests", "decisions", "errors"]
    assert "\x1b" not in lines[0]  # not a terminal


def test_a_process_that_went_away_has_a_line_that_says_so(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Server(tmp_path) as other:
        options = Namespace(urls=[server.url, other.url], interval=2.0, once=True)

        def end(_seconds: float) -> None:
            other.stop()

        assert top.run(options, sleep=end) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(f"{server.url} ")
    assert lines[2].startswith(f"{other.url}  cannot be reached at {other.url}/metrics: ")


class Other(BaseHTTPRequestHandler):
    """A service that is no streamsim."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()
        self.wfile.write(b"node_load1 0.5\n")

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    other = HTTPServer(("127.0.0.1", 0), Other)
    Thread(target=other.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{other.server_port}"
    other.shutdown()
    other.server_close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (lambda url: url, "no streamsim"),
        (lambda url: f"{url}/below", "answers 404 at"),
        (lambda _url: "http://127.0.0.1:1", "cannot be reached at http://127.0.0.1:1/metrics: "),
        (lambda _url: "http://[::", "cannot be reached"),
        (lambda _url: "localhost:8080", "localhost:8080: must be a URL such as http://127.0.0.1:8080"),
    ],
)
def test_what_cannot_be_shown_is_said_and_the_status_is_1(
    elsewhere: str, url: Callable[[str], str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", "--once", url(elsewhere)]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "a"])
def test_an_interval_that_is_none_is_refused(interval: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["top", "--interval", interval])
    assert "--interval" in capsys.readouterr().err


def test_labels_are_read_as_the_library_writes_them() -> None:
    registry = CollectorRegistry()
    name = 'a "quoted", {braced} \\ text'
    Counter("streamsim_odd", "An odd one.", ("route",), registry=registry).labels(name).inc(3)
    look = top.parse(generate_latest(registry).decode())
    ((labels, value),) = look.samples["streamsim_odd_total"].items()
    assert dict(labels)["route"].encode().decode("unicode_escape") == name
    assert value == 3


def test_percentiles_lie_where_the_requests_do() -> None:
    metrics = Metrics()
    for _ in range(98):
        metrics.request("/a", "GET", 200, 0.0015)
    metrics.request("/a", "GET", 200, 0.3)
    metrics.request("/b", "GET", 200, 60.0)
    look = top.parse(metrics.text().decode())
    # 98 of 99 lie between 1 and 2 ms; taken as spread evenly, the median is 49.5 / 98 of the way.
    assert top.percentile(look, 0.5, "/a") == pytest.approx(0.001 + 0.001 * 49.5 / 98)
    assert top.percentile(look, 0.999, "/a") == pytest.approx(0.2 + 0.3 * (0.999 * 99 - 98))
    assert top.percentile(look, 0.5, "/b") == float("inf")
    assert top.percentile(look, 0.5, "/c") is None
    assert f"over {max(_BUCKETS_S):g} s" in "\n".join(top.screen({"u": look}, {}))


def test_a_process_that_was_started_anew_has_no_negative_rates() -> None:
    before = top.parse('streamsim_http_requests_total{route="/a",status="200"} 100', 10.0)
    after = top.parse('streamsim_http_requests_total{route="/a",status="200"} 8', 12.0)
    assert after.since(before).sum("streamsim_http_requests_total") == 4.0


def test_it_needs_no_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import streamsim.cli.top; print(*set(sys.modules) - before)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    tops = {name.partition(".")[0] for name in loaded.split()}
    assert tops - set(sys.stdlib_module_names) == {"streamsim"}
