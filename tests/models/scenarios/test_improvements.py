"""What is answered better than a BptkServer does, each over HTTP; errors are in test_client_errors."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from typing import Any

import pytest

from streamsim.services import Services
from tests.application import Caller, Clock
from tests.models.conftest import INTERACTIVE, MANAGER, error, example, push, session, setting
from tests.support import Answer

ID = "0" * 32
RUN = {"scenario_managers": [MANAGER], "scenarios": ["base"], "equations": ["customers"]}


def customers_of(answer: Answer, time: str, scenario: str = "interactive_scenario") -> float:
    value: float = answer.body[MANAGER][scenario]["customers"][time]
    return value


# 3. Settings of a run go nowhere else.


@pytest.mark.gen_test
async def test_3_settings_of_a_run_do_not_leak_into_later_runs(customers: Caller) -> None:
    body = {**RUN, "scenarios": ["interactive_scenario"]}
    before = await customers.post("/run", body)
    changed = await customers.post("/run", body | setting(0.5))
    assert changed.body != before.body
    assert (await customers.post("/run", body)).body == before.body


@pytest.mark.gen_test
async def test_3_eight_clients_with_different_settings_get_160_right_answers(customers: Caller) -> None:
    body = {**RUN, "scenarios": ["interactive_scenario"]}
    values = [0.01 * (client + 1) for client in range(8)]
    expected = [(await customers.post("/run", body | setting(value))).body for value in values]
    assert len({json.dumps(one) for one in expected}) == 8

    async def client(index: int) -> list[Any]:
        return [(await customers.post("/run", body | setting(values[index]))).body for _ in range(20)]

    answers = await asyncio.gather(*(client(index) for index in range(8)))
    assert sum(answer == expected[index] for index in range(8) for answer in answers[index]) == 160


# 4. Steps of one instance are serialised.


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_4_eight_clients_stepping_one_instance_get_56_consecutive_steps(customers: Caller) -> None:
    instance = await session(customers)

    async def client() -> list[str]:
        steps = [await customers.post(f"/{instance}/run-step", None) for _ in range(7)]
        return [next(iter(one.body[MANAGER]["interactive_scenario"]["customers"])) for one in steps]

    times = [time for each in await asyncio.gather(*(client() for _ in range(8))) for time in each]
    assert sorted(map(float, times)) == [float(step) for step in range(1, 57)]
    results = (await customers.get(f"/{instance}/session-results")).body
    assert list(results[MANAGER]["interactive_scenario"]["equations"]["customers"]) == [
        f"{step}.0" for step in range(1, 57)
    ]


# 5. The settings of a session end with it.


@pytest.mark.gen_test
async def test_5_settings_of_begin_session_end_with_the_session(customers: Caller) -> None:
    plain = await session(customers)
    changed = await session(customers, **setting(0.5))
    numbers = {}
    for instance in (plain, changed):
        for _ in range(4):
            answer = await customers.post(f"/{instance}/run-step", None)
        numbers[instance] = customers_of(answer, "4.0")
    assert numbers[plain] == 3247.916662037037
    assert numbers[changed] != numbers[plain]
    await customers.post(f"/{changed}/begin-session", INTERACTIVE)
    for _ in range(4):
        answer = await customers.post(f"/{changed}/run-step", None)
    assert customers_of(answer, "4.0") == numbers[plain]


# 6. A stream unlocks its instance however it ends.


@pytest.mark.gen_test
async def test_6_stream_is_an_array_of_all_steps_and_unlocks(customers: Caller) -> None:
    instance = await session(customers)
    await customers.post(f"/{instance}/run-step", None)
    answer = await customers.post(f"/{instance}/stream-steps", None)
    assert answer.headers["content-type"].startswith("application/json")
    assert [next(iter(one[MANAGER]["interactive_scenario"]["customers"])) for one in answer.body] == [
        f"{step}.0" for step in range(2, 61)
    ]
    assert (await customers.post(f"/{instance}/run-step", None)).body == {"msg": "Stoptime reached"}
    assert (await customers.post(f"/{instance}/stream-steps", None)).body == []


@pytest.mark.gen_test
async def test_6_stream_without_a_session_is_valid_json(customers: Caller) -> None:
    instance = (await customers.post("/start-instance", None)).body["instance_uuid"]
    assert error(await customers.post(f"/{instance}/stream-steps", None))[0] == 400


@pytest.mark.gen_test
async def test_6_instance_is_unlocked_when_the_streams_client_goes_away(
    customers: Caller, services: Services
) -> None:
    await push(customers, "epidemic", example("sir_epidemic.py"))
    instance = await session(
        customers,
        scenario_managers=["sir_epidemic"],
        scenarios=["base"],
        equations=["infected"],
        stepSize="dt",
    )
    host, port = customers.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    cookie = "; ".join(f"{name}={value}" for name, value in customers.cookies.items())
    request = (
        f"POST /{instance}/stream-steps HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nContent-Length: 0\r\n\r\n"
    )
    writer.write(request.encode())
    assert b"200" in await reader.readline()
    await reader.readuntil(b'"0.25"')
    assert error(await customers.post(f"/{instance}/run-step", None)) == (409, "instance is locked")
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.close()
    async with asyncio.timeout(20):
        # The server notices at its next write, which no event tells.
        while (answer := await customers.post(f"/{instance}/run-step", None)).status == 409:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert answer.status == 200
    assert "sir_epidemic" in answer.body


# 7. What a model does not have is named.


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"scenario_managers": ["nope"]}, "nope"),
        ({"scenarios": ["nope"]}, "nope"),
        ({"equations": ["customers", "custmers"]}, "custmers"),
        ({"agents": ["person"]}, "person"),
        ({"settings": {"nope": {}}}, "nope"),
        ({"settings": {MANAGER: {"nope": {}}}}, "nope"),
        ({"settings": {MANAGER: {"base": {"constants": {"nope": 1}}}}}, "nope"),
        ({"settings": {MANAGER: {"base": {"constants": {"contact_rate": None}}}}}, "contact_rate"),
        ({"settings": {MANAGER: {"base": {"constants": {"contact_rate": "1 +"}}}}}, "contact_rate"),
        ({"settings": {MANAGER: {"base": {"points": {"nope": [[0, 1]]}}}}}, "nope"),
        ({"settings": {MANAGER: {"base": {"wrong": {}}}}}, "wrong"),
        ({"settings": {MANAGER: {"base": {"runspecs": {"dt": 0}}}}}, "dt"),
    ],
)
async def test_7_unknown_names_are_400_that_names_them(
    customers: Caller, change: dict[str, Any], name: str
) -> None:
    status, text = error(await customers.post("/run", RUN | change))
    assert (status, name in text) == (400, True), text
    instance = await session(customers)
    status, text = error(await customers.post(f"/{instance}/begin-session", RUN | change))
    assert (status, name in text) == (400, True), text
    # The session before is as it was.
    assert (await customers.post(f"/{instance}/run-step", None)).status == 200


@pytest.mark.gen_test
async def test_7_unknown_constant_at_a_step_changes_nothing(customers: Caller) -> None:
    instance = await session(customers)
    status, text = error(await customers.post(f"/{instance}/run-step", setting(1.0, "nope")))
    assert (status, "nope" in text) == (400, True)
    assert customers_of(await customers.post(f"/{instance}/run-step", None), "1.0") == 0.0


@pytest.mark.gen_test
async def test_7_starttime_works(customers: Caller) -> None:
    specs = {"settings": {MANAGER: {"base": {"runspecs": {"starttime": 3, "stoptime": 6}}}}}
    series = (await customers.post("/run", RUN | specs)).body[MANAGER]["base"]["equations"]["customers"]
    assert series == {"3.0": 0.0, "4.0": 1000.0, "5.0": 2081.6666666666665, "6.0": 3247.916662037037}


# 8. NaN is null; orders are stable; all states of an agent type are listed.


NAN = """
from BPTK_Py import Model, bptk as Bptk
def bptk_factory():
    model = Model(starttime=1, stoptime=3, dt=1, name="m")
    model.constant("big").equation = 1e308
    model.converter("infinite").equation = model.constant("big") * 10.0
    bptk = Bptk()
    bptk.register_scenario_manager({"nan": {"model": model}})
    bptk.register_scenarios({"base": {}}, "nan")
    return bptk
"""


@pytest.mark.gen_test
async def test_8_nan_and_infinity_are_null(ann: Caller) -> None:
    await push(ann, "nan", {"nan.py": NAN})
    body = {"scenario_managers": ["nan"], "scenarios": ["base"], "equations": ["infinite", "big"]}
    answer = (await ann.post("/run", body)).body["nan"]["base"]["equations"]
    assert answer == {
        "infinite": {"1.0": None, "2.0": None, "3.0": None},
        "big": dict.fromkeys(answer["big"], 1e308),
    }


@pytest.mark.gen_test
async def test_8_equations_have_a_stable_order_and_agents_all_states(customers: Caller) -> None:
    await push(customers, "market", example("agent_market.py"))
    body = {"scenarioManager": MANAGER, "scenario": "base"}
    texts = {json.dumps((await customers.post("/equations", body)).body) for _ in range(5)}
    assert len(texts) == 1
    answer = await customers.post("/agents", {"scenarioManager": "agent_market", "scenario": "base"})
    assert answer.body == {"consumer": {"properties": ["spent"], "states": ["unaware", "aware", "customer"]}}


# 9. Ids are random, and nobody sees those of others.


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_9_instances_of_another_tenant_do_not_exist(
    customers: Caller, bob: Caller, nobody: Caller
) -> None:
    answer = await customers.post("/start-instances", {"instances": 20, "timeout": {"minutes": 5}})
    ids = answer.body["instance_uuids"]
    assert answer.body["timeout"] == {"minutes": 5}
    assert len(set(ids)) == 20
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
    # Not the node and clock of a version 1 UUID: no long part is common.
    assert len({one[-12:] for one in ids}) == 20
    await customers.post(f"/{ids[0]}/begin-session", INTERACTIVE)
    for path in ("begin-session", "run-step", "end-session", "keep-alive", "stop-instance", "stream-steps"):
        answer = await bob.post(f"/{ids[0]}/{path}", {**INTERACTIVE, "settings": {}})
        assert error(answer) == (404, "expecting a valid instance id to be given")
    for path in ("session-results", "flat-session-results"):
        assert (await bob.get(f"/{ids[0]}/{path}")).status == 404
    for other in (bob, nobody):
        metrics = (await other.get("/full-metrics")).body
        assert metrics.keys() == {"instanceCount", "threadCount"}
        assert metrics["instanceCount"] == 20
    own = (await customers.get("/full-metrics")).body
    assert own[ids[0]]["step"] == 1.0
    assert ids[0] not in str((await nobody.get("/metrics")).body)
    assert "bptk_instance_count 20.0" in (await nobody.get("/metrics")).body
    assert "bptk_thread_count" in (await nobody.get("/metrics")).body
    assert (await bob.get("/scenarios")).status == 404


# 10. State survives: see also test_restart.


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_10_save_and_load_state_lose_nothing(customers: Caller, services: Services) -> None:
    assert (await customers.get("/save-state")).body == []
    instance = await session(customers)
    for value in (None, None, 0.7):
        await customers.post(f"/{instance}/run-step", None if value is None else setting(value))
    (state,) = (await customers.get("/save-state")).body
    assert (state["instance_id"], state["step"]) == (instance, 4.0)
    log = state["state"]["settings_log"]
    assert log[2]["settings"][MANAGER]["interactive_scenario"]["constants"] == {"word_of_mouth_success": 0.7}
    services.live_runs.close()
    for method in ("GET", "POST"):
        assert (await customers.request(method, "/load-state", body=None)).status == 200
    answer = await customers.post(f"/{instance}/run-step", None)
    assert customers_of(answer, "4.0") == 17113.083009259255


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_10_timeout_counts_from_the_last_access(customers: Caller, clock: Clock) -> None:
    ids = (await customers.post("/start-instances", {"instances": 2, "timeout": {"minutes": 10}})).body
    kept, left = ids["instance_uuids"]
    clock.ahead_ms += 9 * 60_000
    assert (await customers.post(f"/{kept}/keep-alive", None)).body == {"msg": "instance timer reset"}
    clock.ahead_ms += 9 * 60_000
    assert (await customers.post(f"/{kept}/keep-alive", None)).status == 200
    assert (await customers.post(f"/{left}/keep-alive", None)).status == 404


# 11. The model's own step can be asked for.


@pytest.mark.gen_test
async def test_11_step_size_is_1_unless_the_models_is_asked_for(customers: Caller) -> None:
    await push(customers, "epidemic", example("sir_epidemic.py"))
    base = {"scenario_managers": ["sir_epidemic"], "scenarios": ["base"], "equations": ["infected"]}
    series = (await customers.post("/run", base)).body["sir_epidemic"]["base"]["equations"]["infected"]
    for size, times in (
        (None, ["0.0", "1.0", "2.0"]),
        ("dt", ["0.0", "0.25", "0.5"]),
        (0.5, ["0.0", "0.5", "1.0"]),
    ):
        instance = await session(customers, **base, **({} if size is None else {"stepSize": size}))
        answer = await customers.post(f"/{instance}/run-steps", {"numberSteps": 3, "settings": {}})
        steps = [one["sir_epidemic"]["base"]["infected"] for one in answer.body]
        assert steps == [{time: series[time]} for time in times]
    instance = (await customers.post("/start-instance", None)).body["instance_uuid"]
    for size in (0, -1, "x", None):
        answer = await customers.post(f"/{instance}/begin-session", {**base, "stepSize": size})
        assert error(answer)[0] == 400
