"""What waits, what is kept and what is answered has a budget in bytes."""

from __future__ import annotations

import asyncio
import json

import pytest
from tornado.httpclient import AsyncHTTPClient

from streamsim.services import Services
from tests.application import Caller

FAST = {"get_action": 'self.action["arm"] = "a"'}
MIB = 1 << 20


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "settings", [{"server.max_body_bytes": 4 * MIB, "lane.tenant_bytes": 8 * MIB}], indirect=True
)
async def test_waiting_calls_of_one_user_hold_a_bounded_number_of_bytes(
    ann: Caller, bob: Caller, services: Services
) -> None:
    slow = await ann.experiment("slow", get_action="import time\ntime.sleep(0.3)\n" + FAST["get_action"])
    fast = await bob.experiment("fast", **FAST)
    body = {"key": slow["key"], "context": {"text": "x" * (3 * MIB)}}
    most = 0

    async def look() -> None:
        nonlocal most
        while True:
            most = max(most, services.decisions.waiting_bytes())
            await asyncio.sleep(0.001)

    looking = asyncio.ensure_future(look())
    calls = [asyncio.ensure_future(ann.post(f"/getaction/{slow['id']}", body)) for _ in range(16)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    other = await bob.post(f"/getaction/{fast['id']}", {"key": fast["key"], "context": {"text": "x" * MIB}})
    assert other.status == 200, other.body
    answers = await asyncio.gather(*calls)
    looking.cancel()
    assert 0 < most <= 9 * MIB
    assert {answer.status for answer in answers} == {200, 429}
    refused = next(answer for answer in answers if answer.status == 429)
    assert "lane.tenant_bytes" in refused.body["error"]["message"]
    assert refused.headers["retry-after"] == "1"
    assert services.decisions.waiting_bytes() == 0


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "settings", [{"server.max_body_bytes": 4 * MIB, "lane.tenant_bytes": 4 * MIB}], indirect=True
)
async def test_a_large_call_for_which_there_is_no_room_is_refused_without_being_read(
    ann: Caller, services: Services
) -> None:
    slow = await ann.experiment("slow", get_action="import time\ntime.sleep(1)\n" + FAST["get_action"])
    path, text = f"/getaction/{slow['id']}", "x" * (3 * MIB)
    first = asyncio.ensure_future(ann.post(path, {"key": slow["key"], "context": {"text": text}}))
    while not services.decisions.waiting_bytes():
        await asyncio.sleep(0.001)
        assert not first.done(), first.result()

    async def answer(content: str) -> tuple[int, str]:
        found = await ann.request("POST", path, body=content.encode())
        return found.status, found.body["error"]["message"]

    begun = f'{{"key": "{slow["key"]}", "context": "{text}'
    full = await answer(begun + '"}')
    assert full[0] == 429
    assert "lane.tenant_bytes" in full[1]
    # What follows the key does not count, be it no JSON: nobody has looked.
    assert await answer(begun) == full
    assert await answer(f'{{"context": "{text}", "key": "{slow["key"]}", }}') == full
    # Who has no key learns nothing of what others wait for, and small calls are read.
    assert (await answer(begun.replace(slow["key"], "no key") + '"}'))[0] == 401
    assert (await answer(begun[: 64 << 10]))[0] == 400
    # A method that there is not stays one, whatever it brings.
    assert (await ann.request("PUT", path, body=(begun + '"}').encode())).status == 405
    # Each of many has its own answer, as ever.
    many = await ann.post(path, {"key": slow["key"], "contexts": [{}, {}, {}, {"text": text}]})
    assert many.status == 200
    assert "action" in many.body["results"][0]
    assert many.body["results"][3]["error"]["code"] == "too_many_requests"
    assert (await first).status == 200
    metrics = (await ann.get("/metrics")).body
    refused = 'method="POST",route="/getaction/{exp_id}",status="429"} 3.0'
    assert refused in (metrics if isinstance(metrics, str) else metrics.decode())


@pytest.mark.every_backend
@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"lane.minute_bytes": MIB}], indirect=True)
async def test_calls_with_a_key_alone_write_a_bounded_number_of_bytes_a_minute(ann: Caller) -> None:
    code = {"get_action": 'self.action["arm"] = "a" * 100_000'}
    loud, quiet = await ann.experiment("loud", **code), await ann.experiment("quiet", **FAST)
    batch = {"key": loud["key"], "contexts": [{}] * 200}
    answer = await ann.post(f"/getaction/{loud['id']}", batch)
    results = answer.body["results"]
    served = sum("action" in result for result in results)
    # The batch that reaches the bound is the last one.
    assert 10 <= served < 10 + 64
    assert {result["error"]["code"] for result in results if "error" in result} == {"too_many_requests"}
    refused = await ann.get(f"/getaction/{loud['id']}", key=loud["key"])
    assert refused.status == 429
    assert "lane.minute_bytes" in refused.body["error"]["message"]
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert (await ann.get(f"/getaction/{quiet['id']}", key=quiet["key"])).status == 200
    log = await ann.get(f"/stats/{loud['id']}/actionlog")
    assert len(log.body) == served


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_large_theta_is_streamed_as_it_is(ann: Caller) -> None:
    code = 'for n in range(40):\n    self.set_theta({"n": n, "text": "é" * 50_000}, key="k", value=str(n))'
    experiment = await ann.experiment("large", set_reward=code)
    path = f"/setreward/{experiment['id']}"
    assert (await ann.post(path, {"key": experiment["key"], "reward": {}})).status == 200
    answer = await AsyncHTTPClient().fetch(
        f"{ann.url}/stats/{experiment['id']}/currenttheta",
        headers={"Cookie": "; ".join(f"{name}={value}" for name, value in ann.cookies.items())},
    )
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert "Content-Length" not in answer.headers
    theta = json.loads(answer.body)
    assert theta == {f"k:{n}": {"n": n, "text": "é" * 50_000} for n in range(40)}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_theta_whose_keys_have_colons_is_shown_whole(ann: Caller) -> None:
    code = 'self.set_theta({"n": 1}, key="a:b", value="c")\nself.set_theta({"n": 2}, key="a", value="b:c")'
    see = "self.action['theta'] = self.get_theta()"
    experiment = await ann.experiment("colons", set_reward=code, get_action=see)
    assert (
        await ann.post(f"/setreward/{experiment['id']}", {"key": experiment["key"], "reward": {}})
    ).status == 200
    whole = {"a\\:b:c": {"n": 1}, "a:b:c": {"n": 2}}
    assert (await ann.get(f"/stats/{experiment['id']}/currenttheta")).body == whole
    seen = await ann.get(f"/getaction/{experiment['id']}", key=experiment["key"])
    assert seen.body["action"]["theta"] == whole
