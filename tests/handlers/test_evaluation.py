"""Simulate, as documented, and what it promises: repeatable, apart from live theta, bounded, streamed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient

from streamsim.experiments import catalogue
from streamsim.programs.simulate import Program
from streamsim.sandbox.worker.clock import Clock
from streamsim.services import Services
from streamsim.storage.contract.decisions import ThetaAddress
from tests.application import Caller
from tests.support import request_headers

ENTRIES = {entry.slug: entry for entry in catalogue.entries()}
COUNTER = {
    "get_context": "self.context['x'] = random.random()",
    "get_action": "self.action['arm'] = 'ab'[np.random.randint(2)]",
    "get_reward": "self.reward['value'] = 1 if self.action['arm'] == 'a' else 0",
    "set_reward": "t = self.get_theta()\nself.set_theta({'n': t.get('n', 0) + 1})",
}


class Opening:
    """A channel that gives nested experiments their code, and no theta."""

    clock = Clock()

    def __init__(self, codes: dict[str, dict[str, str]]) -> None:
        self.codes = codes

    def progress(self, finished: int) -> None:
        """Nobody listens."""

    def ask(self, question: tuple[str, str]) -> Any:
        return ("", self.codes[question[1]]), []


async def from_catalogue(ann: Caller, slug: str, codes: dict[str, dict[str, str]]) -> dict[str, Any]:
    """An experiment with a policy of the catalogue, and those that it needs; `codes` gets the code of all."""
    entry = ENTRIES[slug]
    needed = {}
    for need in entry.description.needs:
        needed[need.parameter] = (await from_catalogue(ann, need.policy, codes))["id"]
    code = entry.edited(needed)
    made = await ann.experiment(f"{entry.name} {len(needed)}", **code)
    codes[made["id"]] = code
    return made


async def stored_theta(services: Services, experiments: Iterable[str]) -> dict[Any, Any]:
    """Bytes and version of every row of these experiments, as the store has them."""
    found = {}
    for id in experiments:
        for name in await services.store.decisions.theta_names(id):
            scope = ThetaAddress(id, name, None, None)
            answer = await services.store.decisions.read_theta(scope)
            found[id, name] = (answer.version, answer.rows)
    return found


@pytest.mark.gen_test
@pytest.mark.parametrize("slug", sorted(ENTRIES))
async def test_every_policy_of_the_catalogue_is_simulated_repeatably_beside_its_live_theta(
    ann: Caller, services: Services, slug: str
) -> None:
    codes: dict[str, dict[str, str]] = {}
    experiment = await from_catalogue(ann, slug, codes)
    path, key = f"/eval/{experiment['id']}/simulate", experiment["key"]
    request = {"N": 40, "verbose": "True", "seed": 10}
    first = await ann.get(path, **request)
    assert first.status == 200, first.body
    assert (first.body["simulate"], first.body["experiment"]) == ("success", experiment["id"])
    data = first.body["data"]
    assert list(data) == [str(number) for number in range(40)]
    assert all(set(row) == {"context", "action", "reward", "theta"} for row in data.values())
    assert await stored_theta(services, codes) == {}
    for draw in list(data.values())[:6]:
        decided = await ann.get(f"/getaction/{experiment['id']}", key=key, context=draw["context"])
        learned = {"context": draw["context"], "action": decided.body["action"], "reward": draw["reward"]}
        assert (await ann.get(f"/setreward/{experiment['id']}", key=key, **learned)).status == 200
    live = await stored_theta(services, codes)
    assert live

    assert (await ann.get(path, **request)).body == first.body
    last = await ann.get(path, N=40, verbose="False", seed=10)
    assert "data" not in last.body
    assert last.body["theta"] == data["39"]["theta"]
    assert (await ann.get(path, N=20, seed=1, theta="current")).status == 200
    assert await stored_theta(services, codes) == live
    summary = (await ann.get(f"/stats/{experiment['id']}/summary")).body
    assert (summary["get_action_calls"], summary["set_reward_calls"]) == (6, 6)

    # The same in this process, in which strings have other hashes than in the sandbox.
    load = (experiment["id"], codes[experiment["id"]], {"name": experiment["name"]}, 10)
    elsewhere, records = Program(load, Opening(codes)), list[bytes]()  # type: ignore[arg-type]
    while len(records) < 40:
        records += elsewhere.handle((40 - len(records), True)).records
    assert [json.loads(record) for record in records] == list(data.values())


@pytest.mark.gen_test
async def test_another_seed_gives_another_run_and_none_tells_the_one_it_took(ann: Caller) -> None:
    experiment = await ann.experiment(**COUNTER)
    path = f"/eval/{experiment['id']}/simulate"
    answers = [(await ann.get(path, N=20, seed=seed)).body["data"] for seed in (1, 2)]
    assert answers[0] != answers[1]
    free = (await ann.get(path, N=20)).body
    assert (await ann.get(path, N=20, seed=free["seed"])).body == free


@pytest.mark.gen_test
async def test_the_default_is_a_thousand_draws_from_empty_theta(ann: Caller) -> None:
    experiment = await ann.experiment(**COUNTER)
    await ann.get(f"/setreward/{experiment['id']}", key=experiment["key"], reward=1)
    body = (await ann.get(f"/eval/{experiment['id']}/simulate", seed=1)).body
    assert len(body["data"]) == 1000
    assert body["data"]["0"]["theta"] == {"n": 1}
    assert body["data"]["999"]["theta"] == {"n": 1000}


@pytest.mark.gen_test
async def test_theta_current_starts_from_a_copy(ann: Caller) -> None:
    experiment = await ann.experiment(**COUNTER)
    for _ in range(3):
        await ann.get(f"/setreward/{experiment['id']}", key=experiment["key"], reward=1)
    body = (await ann.get(f"/eval/{experiment['id']}/simulate", N=2, theta="current", verbose="False")).body
    assert body["theta"] == {"n": 5}
    assert (await ann.get(f"/stats/{experiment['id']}/currenttheta")).body == {"n": 3}


@pytest.mark.gen_test
async def test_a_nested_experiment_is_simulated_with_its_own_copy(ann: Caller, bob: Caller) -> None:
    inner = await ann.experiment("inner", **COUNTER)
    await ann.get(f"/setreward/{inner['id']}", key=inner["key"], reward=1)
    outer = await ann.experiment(
        "outer",
        get_action=f"self.action = Experiment('{inner['id']}').run_action_code(self.context)",
        set_reward=f"e = Experiment('{inner['id']}')\ne.run_reward_code({{}}, self.action, self.reward)\n"
        "self.set_theta(e.get_theta())",
    )
    path = f"/eval/{outer['id']}/simulate"
    assert (await ann.get(path, N=4, verbose="False")).body["theta"] == {"n": 4}
    assert (await ann.get(path, N=4, verbose="False", theta="current")).body["theta"] == {"n": 5}
    assert (await ann.get(f"/stats/{inner['id']}/currenttheta")).body == {"n": 1}
    thief = await bob.experiment("thief", get_action=f"Experiment('{inner['id']}')")
    refused = await bob.get(f"/eval/{thief['id']}/simulate", N=1)
    assert refused.status == 422
    assert "there is no experiment" in refused.body["error"]["message"]


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_logged_draws_are_in_the_simulation_log_and_nowhere_else(ann: Caller) -> None:
    experiment = await ann.experiment(**COUNTER)
    path = f"/eval/{experiment['id']}/simulate"
    body = (await ann.get(path, N=30, log_stats="True", verbose="True", seed=3)).body
    rows = (await ann.get(f"/stats/{experiment['id']}/simulationlog")).body
    assert [row["draw"] for row in rows] == list(range(29, -1, -1))
    for row in rows:
        expected = body["data"][str(row["draw"])]
        assert {name: row[name] for name in expected} == expected
    assert len({row["simulation"] for row in rows}) == 1
    assert len((await ann.get(f"/stats/{experiment['id']}/simulationlog", limit=10)).body) == 10
    for log in ("actionlog", "rewardlog", "log"):
        assert (await ann.get(f"/stats/{experiment['id']}/{log}")).body == []
    await ann.get(path, N=5, log_stats="False")
    assert len((await ann.get(f"/stats/{experiment['id']}/simulationlog")).body) == 30


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"evaluation.draws": 50}], indirect=True)
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"N": "0"}, "N"),
        ({"N": "51"}, "N"),
        ({"N": "ten"}, "N"),
        ({"N": "1e3"}, "N"),
        ({"seed": "-1"}, "seed"),
        ({"seed": "9223372036854775808"}, "seed"),
        ({"verbose": "perhaps"}, "verbose"),
        ({"log_stats": "1.5"}, "log_stats"),
        ({"theta": "old"}, "theta"),
        ({"draws": "5"}, "draws"),
    ],
)
async def test_bad_parameters_are_named(ann: Caller, query: dict[str, str], field: str) -> None:
    experiment = await ann.experiment(**COUNTER)
    answer = await ann.get(f"/eval/{experiment['id']}/simulate", **query)
    assert (answer.status, answer.body["error"]["field"]) == (400, field)


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"evaluation.request_s": 0.3}], indirect=True)
async def test_a_simulation_over_its_time_is_a_clear_error(ann: Caller) -> None:
    slow = COUNTER | {"get_reward": "t = __import__('time'); t.sleep(0.02); self.reward['value'] = 1"}
    experiment = await ann.experiment(**slow)
    answer = await ann.get(f"/eval/{experiment['id']}/simulate", N=1000, verbose="False")
    assert answer.status == 400
    assert "evaluation.request_s" in answer.body["error"]["message"]


@pytest.mark.gen_test
async def test_a_draw_that_fails_is_named_with_piece_and_line(ann: Caller) -> None:
    failing = COUNTER | {"set_reward": "t = self.get_theta()\nself.set_theta({'n': t.get('n', 0) + 1})\n"
                         "if t.get('n') == 6: raise KeyError('seven')"}  # fmt: skip
    experiment = await ann.experiment(**failing)
    answer = await ann.get(f"/eval/{experiment['id']}/simulate", N=100)
    assert (answer.status, answer.body["error"]["code"]) == (422, "policy_error")
    assert answer.body["error"]["message"].startswith("draw 7: ")
    detail = answer.body["error"]["detail"]
    assert (detail["piece"], detail["line"], detail["type"]) == ("set_reward", 3, "KeyError")


@pytest.mark.gen_test
async def test_a_failure_after_the_answer_began_is_told_at_its_end(ann: Caller) -> None:
    failing = COUNTER | {
        "get_context": "self.context['x'] = 'y' * 2000",
        "set_reward": COUNTER["set_reward"] + "\nif t.get('n') == 2999: raise KeyError('late')",
    }
    experiment = await ann.experiment(**failing)
    answer = await ann.get(f"/eval/{experiment['id']}/simulate", N=5000)
    assert answer.status == 200
    assert answer.body["simulate"] == "failed"
    assert answer.body["error"]["message"].startswith("draw 3000: ")
    assert len(answer.body["data"]) == 2999


@pytest.mark.gen_test
async def test_a_long_answer_comes_in_pieces(ann: Caller) -> None:
    experiment = await ann.experiment(**COUNTER | {"get_context": "self.context['x'] = 'y' * 2000"})
    pieces: list[int] = []
    await AsyncHTTPClient().fetch(
        f"{ann.url}/eval/{experiment['id']}/simulate?N=10000",
        headers=request_headers(ann.cookies, None),
        streaming_callback=lambda piece: pieces.append(len(piece)),
    )
    assert sum(pieces) > 20_000_000
    assert max(pieces) < 3_000_000


@pytest.mark.gen_test
async def test_a_simulation_runs_behind_live_decisions_in_priority(ann: Caller, services: Services) -> None:
    import os

    slow = COUNTER | {"get_reward": "t = __import__('time'); t.sleep(0.05); self.reward['value'] = 1"}
    experiment = await ann.experiment(**slow)
    under_way = asyncio.ensure_future(ann.get(f"/eval/{experiment['id']}/simulate", N=20, verbose="False"))
    found: list[Any] = []
    while not found:
        await asyncio.sleep(0.01)
        identity = f"ann/{experiment['id']}"
        found = [w.pid for w in services.sandbox.workers if w.identity == identity and w.loaded]
    assert os.getpriority(os.PRIO_PROCESS, found[0]) == services.settings.evaluation.nice // 2 == 9
    assert json.dumps((await under_way).body)
