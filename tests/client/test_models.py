"""Every call of the model, scenario, session, sweep and job groups, end to end: both kinds, both backends."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from streamsim_client import BadRequest, Conflict, NotFound
from streamsim_client.models import Jobs, Models, Sweeps
from streamsim_client.scenarios import Scenarios, Sessions
from tests.client.conftest import Called, Shown, public_calls
from tests.servers import wait_until
from tests.support import ROOT
from tests.tea import TEA

GROUPS = (Models, Scenarios, Sessions, Sweeps, Jobs)
EXAMPLES = ROOT / "examples"
TEMPERATURE: dict[str, Any] = {"equations": ["temperature"]}


def cooled(step: int, room: float = 20.0, rate: float = 0.5) -> float:
    """The closed form of the model."""
    return room + (100.0 - room) * (1 - rate) ** step


def stepped(answer: dict[str, Any]) -> dict[str, float]:
    found: dict[str, float] = answer["tea"]["base"]["temperature"]
    return found


@pytest.fixture
def tea(user: Shown) -> Shown:
    """A user with the model."""
    user.models.push("tea", {"tea.py": TEA})
    return user


def test_a_model_is_pushed_seen_and_deleted(user: Shown) -> None:
    assert user.models.all() == []
    first = user.models.push("tea", {"tea.py": TEA}, engine="bptk")
    assert (first["version"], first["scenario_managers"]) == (1, {"tea": ["base", "winter"]})
    assert user.models.push("tea", {"tea.py": TEA})["version"] == 2
    assert user.models.update("tea", {"tea.py": TEA.replace("100.0", "90.0")})["version"] == 3
    with pytest.raises(Conflict) as taken:
        user.models.create("tea", {"tea.py": TEA})
    # The scenario endpoints tell a text alone; its code is that of the status.
    assert (taken.value.code, taken.value.field) == ("conflict", None)
    assert "tea" in taken.value.message
    assert user.models.get("tea")["files"] == {"tea.py": TEA.replace("100.0", "90.0")}
    assert [one["version"] for one in user.models.all()] == [3]
    with pytest.raises(BadRequest, match="line 2"):
        user.models.create("broken", {"broken.py": "x = 1\nimport nothing_like_this"})
    assert user.models.delete("tea") == {"msg": "Model deleted."}
    with pytest.raises(NotFound):
        user.models.get("tea")
    assert user.models.create("tea", {"tea.py": TEA})["version"] >= 1


def test_bytes_are_pushed_and_come_back_as_they_can_be_pushed_again(user: Shown) -> None:
    files = {"tea.py": TEA, "data/sizes.bin": bytes(range(256))}
    assert user.models.push("tea", files, main="tea.py")["warnings"] == []
    stored = user.models.get("tea")["files"]
    assert stored["tea.py"] == TEA
    assert base64.b64decode(stored["data/sizes.bin"]["base64"]) == files["data/sizes.bin"]
    assert user.models.push("tea", stored)["version"] == 2
    assert user.models.get("tea")["files"] == stored


def test_scenarios_run_from_start_to_stop(tea: Shown) -> None:
    assert tea.scenarios.names() == {"tea": ["base", "winter"]}
    assert tea.scenarios.equations("tea", "base")["stocks"] == ["temperature"]
    with pytest.raises(BadRequest):
        tea.scenarios.agents("tea", "base")
    settings = {"tea": {"winter": {"runspecs": {"stoptime": 3}}}}
    answer = tea.scenarios.run(["tea"], ["base", "winter"], **TEMPERATURE, settings=settings)
    winter = answer["tea"]["winter"]["equations"]["temperature"]
    assert winter == {f"{t}.0": pytest.approx(cooled(t, room=10.0)) for t in range(4)}
    assert len(answer["tea"]["base"]["equations"]["temperature"]) == 11


def test_a_model_in_json_is_run_without_being_kept(user: Shown) -> None:
    water = {"name": "water", "initial_value": {"type": "literal", "value": 1.0}}
    tap = {"name": "tap", "equation": {"type": "literal", "value": 2.0}}
    model = {
        "name": "bath",
        "specs": {"starttime": 0.0, "stoptime": 1.0, "dt": 1.0},
        "entities": {"stocks": [{**water, "equation": {"type": "ref", "name": "tap"}}], "constants": [tap]},
    }
    assert user.scenarios.execute(model, ["water"]) == {"default": {"water": {"0.0": 1.0, "1.0": 3.0}}}
    fast = {"fast": {"constants": {"tap": 5.0}}}
    assert user.scenarios.execute(model, ["water"], fast)["fast"]["water"]["1.0"] == 6.0
    with pytest.raises(BadRequest, match="nobody"):
        user.scenarios.execute(model, ["nobody"])
    assert user.models.all() == []


def test_agents_of_a_model(user: Shown) -> None:
    found = user.models.push("market", {"market.py": (EXAMPLES / "agent_market.py").read_text()})
    [(manager, scenarios)] = found["scenario_managers"].items()
    agents = user.scenarios.agents(manager, scenarios[0])
    assert agents
    for kind in agents.values():
        assert set(kind) == {"states", "properties"}


def test_a_session_is_stepped_and_streamed(tea: Shown) -> None:
    instance = tea.sessions.start({"minutes": 5})
    assert instance["timeout"] == {"minutes": 5}
    ID = instance["instance_uuid"]  # noqa: N806
    with pytest.raises(BadRequest):
        tea.sessions.step(ID)
    assert tea.sessions.begin(ID, ["tea"], ["base"], **TEMPERATURE) == {"msg": "session started"}
    assert stepped(tea.sessions.step(ID)) == {"0.0": 100.0}
    cold = {"tea": {"base": {"constants": {"room": 0.0}}}}
    assert stepped(tea.sessions.step(ID, cold)) == {"1.0": 60.0}
    flat: list[Any] = [stepped(one) for one in tea.sessions.steps(ID, 2, flat=True)]
    assert flat == [30.0, 15.0]
    [state] = tea.sessions.save_state()
    assert state["instance_id"] == ID
    assert tea.sessions.load_state() == [state]
    assert str(ID) in tea.service.full_metrics()
    rest = [stepped(one) for one in tea.sessions.stream(ID)]
    assert rest == [{f"{t}.0": pytest.approx(15.0 / 2 ** (t - 3))} for t in range(4, 11)]
    results = tea.sessions.results(ID)["tea"]["base"]["equations"]["temperature"]
    assert len(results) == 11
    flat_results = tea.sessions.flat_results(ID)["tea"]["base"]["equations"]["temperature"]
    assert flat_results == list(results.values())
    assert tea.sessions.keep_alive(ID) == {"msg": "instance timer reset"}
    assert tea.sessions.end(ID) == {"msg": "session terminated"}
    assert list(tea.sessions.results(ID)) == []
    assert tea.sessions.stop(ID) == {"msg": "Instance deleted."}
    with pytest.raises(NotFound) as gone:
        tea.sessions.keep_alive(ID)
    assert gone.value.status == 404


def test_a_stream_that_is_left_early_stops_the_session_there(tea: Shown) -> None:
    several = tea.sessions.start_many(2)
    one, other = several["instance_uuids"]
    for instance in (one, other):
        tea.sessions.begin(instance, ["tea"], ["base"], step_size="dt", **TEMPERATURE)
    steps = tea.sessions.stream(one)
    assert stepped(next(steps)) == {"0.0": 100.0}
    steps.close()

    def free() -> bool:
        try:
            tea.sessions.step(one)
        except Conflict:
            return False
        return True

    # The server sees at its next write that nobody reads.
    wait_until(free, "an instance that is no longer streamed")
    assert stepped(tea.sessions.step(other)) == {"0.0": 100.0}


def test_a_sweep_answers_bands_or_goes_on_as_a_job(tea: Shown) -> None:
    fields: dict[str, Any] = {
        "quantiles": [0.5],
        "seed": 1,
        "settings": {"tea": {"base": {"runspecs": {"stoptime": 1}}}},
    }
    rates = {"rate": [0.25, 0.5, 0.75]}
    swept = tea.sweeps.run("tea", "base", ["temperature"], rates, **fields, every_run=True)
    assert swept["bands"]["temperature"]["mean"]["1.0"] == pytest.approx(60.0)
    assert [one["seed"] for one in swept["every_run"]] == [2, 3, 4]
    drawn = {"rate": {"distribution": "beta", "alpha": 2, "beta": 3, "max": 0.4}}
    seeded = {**fields, "runs": 2, "seeds": [7, 8], "every_run": True}
    beta = tea.sweeps.run("tea", "base", ["temperature"], drawn, **seeded)
    assert [one["seed"] for one in beta["every_run"]] == [7, 8, 7, 8]
    assert max(one["parameters"]["rate"] for one in beta["every_run"]) <= 0.4
    job = tea.sweeps.start("tea", "base", ["temperature"], rates, **fields)
    assert job["kind"] == "sweep"
    *_, last = tea.jobs.events(job["id"])
    assert (last["event"], last["state"], last["progress"]) == ("end", "done", {"done": 3, "total": 3})
    assert tea.jobs.get(job["id"])["result"]["bands"] == swept["bands"]
    other = tea.sweeps.start("tea", "base", ["temperature"], rates, **fields)
    assert [one["id"] for one in tea.jobs.all(limit=1)] == [other["id"], job["id"]]
    assert tea.jobs.cancel(job["id"])["job"] == "removed"
    with pytest.raises(NotFound):
        tea.jobs.get("0" * 32)


def test_every_call_of_these_groups_was_made(request: pytest.FixtureRequest, called: Called) -> None:
    if request.config.option.keyword or any("::" in argument for argument in request.config.args):
        pytest.skip("only some of the tests run")
    assert set.union(*map(public_calls, GROUPS)) - called == set()
