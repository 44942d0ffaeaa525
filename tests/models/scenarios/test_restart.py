"""Sessions go on with the numbers of an undisturbed one, whatever is killed, on any server process."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from streamsim.models.engines.base import Outputs, Source
from streamsim.services import Services
from tests.application import Caller
from tests.effort import LONG
from tests.models.conftest import EXAMPLES, INTERACTIVE, MANAGER, example, session, setting
from tests.patience import PATIENCE_S
from tests.support import Client, Server

STEPS = 6
SESSIONS = 50 if LONG else 16


def value(client: int, step: int) -> float | None:
    """The override that a client sends at a step, if any."""
    return 0.01 + 0.001 * client if step % 3 == 0 else None


def undisturbed(client: int) -> list[float]:
    """The customers of a session that nothing happened to, computed by the library's own functions."""
    pytest.importorskip("BPTK_Py")
    from streamsim.models.engines.base import ScenarioSettings
    from streamsim.models.engines.bptk import BptkEngine

    file = "customer_acquisition.py"
    engine = BptkEngine(Source("m", "bptk", file, {file: (EXAMPLES / file).read_text()}))
    simulation = engine.start(MANAGER, "interactive_scenario", Outputs(equations=["customers"]))
    series = []
    for step in range(STEPS):
        sent = value(client, step)
        if sent is not None:
            simulation.change(ScenarioSettings(constants={"word_of_mouth_success": sent}), step + 1.0)
        series.append(simulation.step(step + 1.0)["customers"])
    return series


def body(client: int, step: int) -> Any:
    sent = value(client, step)
    return None if sent is None else setting(sent)


def customers_in(answer: Any) -> float:
    (number,) = answer[MANAGER]["interactive_scenario"]["customers"].values()
    return float(number)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, settings={"models.live": 60}) as server:
        yield server


def push_customers(client: Client) -> None:
    answer = client.post("/models", {"name": "customers", "files": example("customer_acquisition.py")})
    assert answer.status == 201, answer


def begin(client: Client) -> str:
    instance = client.post("/start-instance", {}).body["instance_uuid"]
    assert client.post(f"/{instance}/begin-session", INTERACTIVE).status == 200
    return str(instance)


@pytest.mark.durable
def test_sessions_go_on_after_the_server_was_killed(server: Server) -> None:
    client = server.admin()
    push_customers(client)
    instances = [begin(client) for _ in range(SESSIONS)]
    series: list[list[float]] = [[] for _ in instances]
    for step in range(4):
        for index, instance in enumerate(instances):
            if (step, index) == (2, SESSIONS // 2):
                server.kill()
                server.start()
                client.close()
            answer = client.post(f"/{instance}/run-step", body(index, step))
            assert answer.status == 200, answer
            series[index].append(customers_in(answer.body))
    assert series == [undisturbed(index)[:4] for index in range(SESSIONS)]
    results = client.get(f"/{instances[7]}/flat-session-results").body
    assert results[MANAGER]["interactive_scenario"]["equations"]["customers"] == undisturbed(7)[:4]


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_sessions_go_on_after_their_processes_were_killed(
    customers: Caller, services: Services
) -> None:
    instances = [await session(customers) for _ in range(4)]
    series: list[list[float]] = [[] for _ in instances]
    for step in range(STEPS):
        for index, instance in enumerate(instances):
            if step % 2 == 1:
                services.live_runs.all[instance].worker.kill()
            answer = await customers.post(f"/{instance}/run-step", body(index, step))
            series[index].append(customers_in(answer.body))
    assert series == [undisturbed(index) for index in range(4)]


@pytest.mark.every_backend
@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"models.live": 2}], indirect=True)
async def test_more_sessions_than_room_in_memory(customers: Caller, services: Services) -> None:
    instances = [await session(customers) for _ in range(6)]
    series: list[list[float]] = [[] for _ in instances]

    async def step_all(step: int) -> None:
        async def one(index: int, instance: str) -> None:
            answer = await customers.post(f"/{instance}/run-step", body(index, step))
            series[index].append(customers_in(answer.body))

        await asyncio.gather(*(one(index, instance) for index, instance in enumerate(instances)))

    for step in range(STEPS):
        await step_all(step)
    assert series == [undisturbed(index) for index in range(6)]
    assert len(services.live_runs.all) == 2


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two servers over one store, with the customer model."""
    folder = tmp_path_factory.mktemp("two")
    shared = {"storage.url": f"sqlite:///{folder}/one/data/streamsim.db"}
    with Server(folder / "one") as one, Server(folder / "two", settings=shared) as other:
        push_customers(one.admin())
        yield one, other


def test_two_server_processes_step_one_instance_56_times(two: tuple[Server, Server]) -> None:
    clients = [server.admin() for server in two for _ in range(4)]
    instance = begin(clients[0])

    def seven(client: Client) -> list[str]:
        answers = [client.post(f"/{instance}/run-step", None) for _ in range(7)]
        assert {answer.status for answer in answers} == {200}, answers
        return [next(iter(answer.body[MANAGER]["interactive_scenario"]["customers"])) for answer in answers]

    with ThreadPoolExecutor(8) as threads:
        times = [time for seven_times in threads.map(seven, clients) for time in seven_times]
    assert sorted(map(float, times)) == [float(step) for step in range(1, 57)]


def test_a_stream_of_one_process_locks_the_instance_on_the_other(two: tuple[Server, Server]) -> None:
    first, second = (server.admin() for server in two)
    instance = begin(first)
    assert customers_in(second.post(f"/{instance}/run-step", None).body) == 0.0
    body = {**INTERACTIVE, "stepSize": 0.01}  # a long stream
    assert first.post(f"/{instance}/begin-session", body).status == 200
    streaming = http.client.HTTPConnection("127.0.0.1", two[0].port, timeout=PATIENCE_S)
    cookie = "; ".join(f"{name}={value}" for name, value in first.cookies.items())
    streaming.request("POST", f"/{instance}/stream-steps", headers={"Cookie": cookie})
    stream = streaming.getresponse()
    assert stream.read(1) == b"["
    # However fast the stream goes on meanwhile.
    for path in ("run-step", "stream-steps") * 20:
        answer = second.post(f"/{instance}/{path}", None)
        assert (answer.status, answer.body) == (409, {"error": "instance is locked"})
    # A new session ends the stream of the one before, wherever it is.
    assert second.post(f"/{instance}/begin-session", INTERACTIVE).status == 200
    steps = json.loads(b"[" + stream.read())
    streaming.close()
    assert 0 < len(steps) < 5901
    steps = [second.post(f"/{instance}/run-step", None).body for _ in range(2)]
    times = [list(step[MANAGER]["interactive_scenario"]["customers"]) for step in steps]
    assert times == [["1.0"], ["2.0"]]
    rest = first.post(f"/{instance}/stream-steps", None).body
    assert len(rest) == 58
    assert second.post(f"/{instance}/run-step", None).body == {"msg": "Stoptime reached"}


def test_two_server_processes_serve_one_session_in_turns(two: tuple[Server, Server]) -> None:
    first, second = (server.admin() for server in two)
    instance = begin(first)
    series = []
    for step in range(STEPS):
        client = (first, second)[step % 2]
        answer = client.post(f"/{instance}/run-step", body(3, step))
        assert answer.status == 200, answer
        series.append(customers_in(answer.body))
    assert series == undisturbed(3)
    for client in (first, second):
        results = client.get(f"/{instance}/flat-session-results").body
        assert results[MANAGER]["interactive_scenario"]["equations"]["customers"] == undisturbed(3)
    assert second.post(f"/{instance}/begin-session", INTERACTIVE).status == 200
    assert customers_in(first.post(f"/{instance}/run-step", None).body) == 0.0
    assert second.post(f"/{instance}/end-session", None).status == 200
    assert first.post(f"/{instance}/run-step", None).status == 400


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"models.live": 2}], indirect=True)
async def test_the_session_that_leaves_memory_is_the_one_used_least_recently(
    customers: Caller, services: Services
) -> None:
    first, second = await session(customers), await session(customers)
    assert (await customers.post(f"/{first}/run-step", None)).status == 200
    third = await session(customers)
    assert list(services.live_runs.all) == [first, third]
    answer = await customers.post(f"/{second}/run-step", None)
    assert list(answer.body[MANAGER]["interactive_scenario"]["customers"]) == ["1.0"]
