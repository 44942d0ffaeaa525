"""`python -m bench.models`: sessions and sweeps beside a BptkServer with the same model in the same run.

The other server is bptk-py's own under gunicorn, one process with 8 threads; it needs flask and gunicorn. All
of its answers that are compared must be equal to ours.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.load import Result, measure
from tests.servers import free_port
from tests.support import Server

EXAMPLE = Path(__file__).parents[1] / "examples" / "customer_acquisition.py"
MANAGER, SCENARIO = "sddsl_customer_acquisition", "interactive_scenario"
EQUATIONS = ["customers", "customer_acquisition", "market_saturation"]
CLIENTS, SETS = 8, 200
APPLICATION = """
from BPTK_Py.server import BptkServer
from customer_acquisition import bptk_factory
application = BptkServer(__name__, bptk_factory)
"""


class Peer:
    """One of the two servers, as a client sees it."""

    def __init__(self, port: int, token: str = "") -> None:
        self.port, self._token = port, token

    def bytes_of(self, path: str, body: Any = None) -> bytes:
        """A POST request."""
        content = b"" if body is None else json.dumps(body).encode()
        headers = ["POST " + path + " HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(content)}"]
        headers += ["Content-Type: application/json"] if body is not None else []
        headers += [f"Authorization: Bearer {self._token}"] if self._token else []
        return "\r\n".join([*headers, "", ""]).encode() + content

    def post(self, path: str, body: Any = None) -> Any:
        """The answer to a POST request."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method="POST")
        request.data = b"" if body is None else json.dumps(body).encode()
        request.add_header("Content-Type", "text/plain" if body is None else "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())

    def session(self) -> str:
        """An instance with a session that does not end while it is measured."""
        instance = self.post("/start-instance")["instance_uuid"]
        settings = {MANAGER: {SCENARIO: {"runspecs": {"stoptime": 1_000_000}}}}
        body = {"scenario_managers": [MANAGER], "scenarios": [SCENARIO], "equations": EQUATIONS}
        self.post(f"/{instance}/begin-session", {**body, "settings": settings})
        return str(instance)

    def steps(self, seconds: float) -> Result:
        """As many steps as go, 8 clients with an instance each."""
        requests = [self.bytes_of(f"/{self.session()}/run-step") for _ in range(CLIENTS)]
        return measure(self.port, requests, CLIENTS, seconds, own=True)


class BptkServer:
    """The original, as a process."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        (folder / "customer_acquisition.py").write_text(EXAMPLE.read_text())
        (folder / "application.py").write_text(APPLICATION)
        command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{self.port}", "--workers", "1"]
        command += ["--threads", str(CLIENTS), "--worker-class", "gthread", "application:application"]
        self._process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)

    def __enter__(self) -> Peer:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthy").close()
                return Peer(self.port)
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.1)

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.wait(30)


def sets() -> list[dict[str, float]]:
    """The parameter sets of the sweep."""
    return [{"contact_rate": 1.0 + 0.1 * index} for index in range(SETS)]


def sequential_runs(peer: Peer) -> tuple[float, list[Any]]:
    """Seconds for one `/run` after the other, and the series of each."""
    answers = []
    began = time.perf_counter()
    for constants in sets():
        body = {
            "scenario_managers": [MANAGER],
            "scenarios": [SCENARIO],
            "equations": EQUATIONS,
            "settings": {MANAGER: {SCENARIO: {"constants": constants}}},
        }
        answers.append(peer.post("/run", body)[MANAGER][SCENARIO]["equations"])
    return time.perf_counter() - began, answers


def sweep(peer: Peer) -> tuple[float, list[Any]]:
    """Seconds for one `/sweep` over the same sets, and the series of each."""
    body = {
        "scenario_manager": MANAGER,
        "scenario": SCENARIO,
        "equations": EQUATIONS,
        "parameters": {"contact_rate": [one["contact_rate"] for one in sets()]},
        "everyRun": True,
    }
    began = time.perf_counter()
    answer = peer.post("/sweep", body)
    return time.perf_counter() - began, [one["equations"] for one in answer["every_run"]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.models", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement")
    parser.add_argument(
        "--rounds", type=int, default=3, help="measurements of each kind; medians are printed"
    )
    options = parser.parse_args()
    compare(options.seconds, options.rounds)


def compare(seconds: float, rounds: int) -> None:
    """Measure both servers in turn, and print. :raises SystemExit: their numbers differ."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsim-bench-")))
        loop = importlib.util.find_spec("uvloop") is not None
        print(f"streamsim: one process on {'uvloop' if loop else 'asyncio'}; BptkServer: gunicorn, 8 threads")
        server = stack.enter_context(Server(folder / "streamsim", settings={"server.uvloop": loop}))
        admin = server.admin()
        files = {EXAMPLE.name: EXAMPLE.read_text()}
        assert admin.post("/models", {"name": "customers", "files": files}).status == 201
        ours = Peer(server.port, admin.post("/user/token", {}).body["token"])
        (folder / "bptk").mkdir()
        theirs = stack.enter_context(BptkServer(folder / "bptk"))
        rates: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(rounds):
            for name, peer in (("ours", ours), ("theirs", theirs)):
                result = peer.steps(seconds)
                rates[name].append(result.rate)
                print(f"run-step x8 {name:7}{result.rate:9.0f}/s p50 {result.quantile_ms(0.5):.1f} ms")
        medians = {name: statistics.median(one) for name, one in rates.items()}
        print(f"run-step: {medians['ours'] / medians['theirs']:.1f} times their requests/s")
        theirs_s, expected = sequential_runs(theirs)
        ours_s, found = min((sweep(ours) for _ in range(rounds)), key=lambda one: one[0])
        print(f"{SETS} parameter sets: sweep {ours_s:.2f} s, their /run one by one {theirs_s:.2f} s")
        print(f"sweep: {theirs_s / ours_s:.1f} times as fast; numbers equal: {found == expected}")
        if found != expected:
            raise SystemExit("the numbers differ")


if __name__ == "__main__":
    main()
