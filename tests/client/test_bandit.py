"""Every call of the bandit and evaluation groups, end to end: both kinds, both backends."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from streamsim_client import (
    BadRequest,
    Conflict,
    NotFound,
    ServerError,
    TooLarge,
    Unauthorized,
    Unprocessable,
)
from streamsim_client.decisions import Decisions
from streamsim_client.evaluation import Evaluation
from streamsim_client.experiments import Experiments
from streamsim_client.stats import Stats
from tests.client.conftest import Called, Shown, public_calls

GROUPS = (Decisions, Evaluation, Experiments, Stats)
COUNTING = {
    "get_context": "self.context['n'] = 1",
    "get_action": "self.action['arm'] = 'a' if self.context.get('n', 0) % 2 else 'b'",
    "get_reward": "self.reward['value'] = 1",
    "set_reward": "n = self.get_theta(key='count').get('n', 0)\n"
    "self.set_theta({'n': n + self.reward['value']}, key='count')\n"
    "self.log_data({'seen': self.reward['value']})",
}


@pytest.fixture
def counting(user: Shown) -> dict[str, Any]:
    """An experiment that picks a for odd contexts, and adds up its rewards."""
    created: dict[str, Any] = user.experiments.create("counting", **COUNTING)
    return created


def decide(user: Shown, made: dict[str, Any], number: int) -> list[Any]:
    contexts = [{"n": n} for n in range(number)]
    decisions: list[Any] = user.decisions.get_actions(made["id"], made["key"], contexts)
    return decisions


def test_code_that_was_replaced_is_found_and_restored(user: Shown, counting: dict[str, Any]) -> None:
    user.experiments.update(counting["id"], get_action="self.action['arm'] = 'c'", note="c alone")
    assert [(one["revision"], one["note"]) for one in user.experiments.revisions(counting["id"])] == [
        (2, "c alone"),
        (1, ""),
    ]
    old = user.experiments.revision(counting["id"], 1)
    assert old["get_action"] == COUNTING["get_action"]
    user.experiments.update(counting["id"], get_action=old["get_action"], note="back to 1")
    assert user.experiments.get(counting["id"])["get_action"] == COUNTING["get_action"]
    with pytest.raises(NotFound):
        user.experiments.revision(counting["id"], 4)


def test_a_dry_run_tells_what_would_be_decided(user: Shown, counting: dict[str, Any]) -> None:
    before = user.stats.summary(counting["id"])
    told = user.experiments.dry_run(counting["id"], {"n": 1}, reward={"value": 1})
    assert told["context"] == {"n": 1}
    assert told["written"]
    with pytest.raises(Unprocessable) as failed:
        user.experiments.dry_run(counting["id"], get_action="x = 1\ny = x / 0")
    assert isinstance(failed.value.detail, dict)
    assert failed.value.detail["line"] == 2
    assert user.stats.summary(counting["id"]) == before


def test_an_experiment_is_made_edited_archived(user: Shown, counting: dict[str, Any]) -> None:
    shown = user.experiments.get(counting["id"])
    assert {name: shown[name] for name in COUNTING} == COUNTING
    updated = user.experiments.update(counting["id"], name="other", revision=shown["revision"])
    with pytest.raises(Conflict) as stale:
        user.experiments.update(counting["id"], hourly_theta=True, revision=shown["revision"])
    assert stale.value.field == "if_revision"
    assert updated["revision"] == shown["revision"] + 1
    more = [user.experiments.create(f"number {n}", advice_id=True, delta_hours=1)["id"] for n in range(4)]
    found = dict(user.experiments.names(limit=2))
    assert set(found) == {counting["id"], *more}
    assert found[counting["id"]] == "other"
    assert list(found) == sorted(found)
    assert user.experiments.archive(counting["id"])["name"] == "other"
    with pytest.raises(Unauthorized):
        user.experiments.get(counting["id"])


def test_an_error_has_all_that_the_server_told(user: Shown) -> None:
    with pytest.raises(BadRequest) as refused:
        user.experiments.create("broken", get_action="x = 1\nif")
    error = refused.value
    assert (error.status, error.code, error.field) == (400, "bad_request", "get_action")
    assert error.detail["line"] == 2
    assert error.request_id is not None
    for part in ("400 bad_request", "get_action", error.request_id, error.message):
        assert part in str(error)


def test_an_experiment_begins_from_the_catalogue(user: Shown) -> None:
    defaults = user.experiments.defaults()
    number, name = next(iter(defaults.items()))
    policy = user.experiments.default(number)
    assert policy["name"] == name
    made = user.experiments.create("mine", get_action=policy["get_action"], set_reward=policy["set_reward"])
    assert user.experiments.get(made["id"])["get_action"] == policy["get_action"]
    with pytest.raises(NotFound):
        user.experiments.default(1000)


def test_decide_and_learn(user: Shown, nobody: Shown, counting: dict[str, Any]) -> None:
    experiment, key = counting["id"], counting["key"]
    assert nobody.decisions.get_action(experiment, key, {"n": 1}) == {"action": {"arm": "a"}}
    assert nobody.decisions.get_action(experiment, key) == {"action": {"arm": "b"}}
    with pytest.raises(Unauthorized):
        nobody.decisions.get_action(experiment, "wrong")
    for idempotency_key in (None, "mine", "mine"):
        done = nobody.decisions.set_reward(
            experiment,
            key,
            {"value": 2},
            context={"n": 1},
            action={"arm": "a"},
            idempotency_key=idempotency_key,
        )
        assert done == {"status": "success"}
    assert user.stats.current_theta(experiment) == {"count": {"n": 4}}
    with pytest.raises(Unprocessable) as other:
        nobody.decisions.set_reward(experiment, key, {"value": 3}, idempotency_key="mine")
    assert other.value.field == "idempotency_key"
    overview = {one["id"]: one for one in user.stats.overview()}
    assert sum(overview[experiment]["decisions"]) == 2 == sum(overview[experiment]["rewards"])
    hours = user.stats.buckets(experiment, step="hour")
    assert sum(bucket["decisions"] for bucket in hours["buckets"]) == 2
    assert hours["since"] is None
    summary = user.stats.summary(experiment)
    assert (summary["get_action_calls"], summary["set_reward_calls"]) == (2, 2)
    with pytest.raises(Unauthorized):
        user.experiments.reset(experiment, key, theta_key="nothing")
    whole = user.experiments.theta(experiment)
    assert whole["rows"] == [{"name": "_theta", "key": "count", "value": "", "theta": {"n": 4}}]
    with pytest.raises(Conflict):
        user.experiments.put_theta(experiment, "old", [])
    fresh = user.experiments.put_theta(experiment, whole["version"], theta={"count": {"n": 7}})
    assert fresh["version"] == user.experiments.theta(experiment)["version"] != whole["version"]
    assert user.stats.current_theta(experiment) == {"count": {"n": 7}}
    assert user.experiments.reset(experiment, key) == {"status": "success"}
    assert user.stats.current_theta(experiment) == {}
    assert user.experiments.webhooks(experiment, limit=5) == []
    changed = user.experiments.rotate_key(experiment)
    with pytest.raises(Unauthorized):
        nobody.decisions.get_action(experiment, key)
    assert nobody.decisions.get_action(experiment, changed["key"]) == {"action": {"arm": "b"}}


def test_batches_have_an_answer_or_an_error_for_each(user: Shown, counting: dict[str, Any]) -> None:
    experiment, key = counting["id"], counting["key"]
    decisions = user.decisions.get_actions(experiment, key, [{"n": 1}, {"n": "text"}, {"n": 2}])
    assert [decisions[0], decisions[2]] == [{"action": {"arm": "a"}}, {"action": {"arm": "b"}}]
    assert isinstance(decisions[1], Unprocessable)
    assert (decisions[1].status, decisions[1].detail["line"]) == (422, 1)
    rewards = user.decisions.set_rewards(
        experiment, key, [{"reward": {"value": 1}}, {"reward": {}}, {"reward": {"value": 2}}]
    )
    assert [rewards[0], rewards[2]] == [{"status": "success"}] * 2
    assert rewards[1].code == "policy_error"
    assert user.stats.current_theta(experiment) == {"count": {"n": 3}}
    with pytest.raises(TooLarge) as many:
        user.decisions.get_actions(experiment, key, [{}] * 1001)
    assert many.value.field == "contexts"


def test_an_advice_id_is_redeemed_once(user: Shown) -> None:
    made = user.experiments.create("advising", **COUNTING, advice_id=True, delta_hours=1)
    advice = user.decisions.get_action(made["id"], made["key"], {"n": 1})["advice_id"]
    user.decisions.set_reward(made["id"], made["key"], {"value": 1}, advice_id=advice)
    with pytest.raises(Conflict):
        user.decisions.set_reward(made["id"], made["key"], {"value": 1}, advice_id=advice)
    with pytest.raises(NotFound):
        user.decisions.set_reward(made["id"], made["key"], {"value": 1}, advice_id="0" * 32)
    assert next(user.stats.reward_log(made["id"]))["advice_id"] == advice
    [decided] = user.stats.decisions(made["id"], limit=1)
    assert (decided["advice_id"], len(decided["rewards"])) == (advice, 1)


def test_logs_are_followed_over_pages(user: Shown, counting: dict[str, Any]) -> None:
    experiment, key = counting["id"], counting["key"]
    decide(user, counting, 7)
    rewards = [{"reward": {"value": n}, "context": {"n": n}, "action": {"arm": "a"}} for n in range(5)]
    user.decisions.set_rewards(experiment, key, rewards)
    user.decisions.get_actions(experiment, key, [{"n": "text"}] * 3)
    rows = list(user.stats.action_log(experiment, limit=2))
    assert [row["context"]["n"] for row in rows] == list(range(7))[::-1]
    assert rows == list(user.stats.action_log(experiment))
    assert [row["reward"]["value"] for row in user.stats.reward_log(experiment, limit=3)] == [4, 3, 2, 1, 0]
    assert [row["seen"] for row in user.stats.log(experiment, limit=3)] == [4, 3, 2, 1, 0]
    assert [row["code"] for row in user.stats.error_log(experiment, limit=1)] == ["policy_error"] * 3
    assert list(user.stats.hourly_theta(experiment)) == []
    [event] = user.stats.live(experiment)
    assert event["summary"] == user.stats.summary(experiment)
    health = user.stats.health(experiment, rows=100)
    assert health["decisions"] == 7
    assert {check["name"] for check in health["checks"]} >= {"propensities", "errors"}
    told = user.stats.inference(experiment, alpha=0.1, low=0, high=4.5, control="a")
    assert (told["alpha"], told["bounds"], told["control"], told["segments"]) == (0.1, [0, 4.5], "a", [])
    assert "No rewarded decision has the probabilities of all arms" in told["warnings"][0]


def test_an_iterator_that_is_left_early_leaves_the_client_usable(
    user: Shown, counting: dict[str, Any]
) -> None:
    decide(user, counting, 5)
    rows = user.stats.action_log(counting["id"], limit=1)
    assert next(rows)["context"] == {"n": 4}
    rows.close()
    assert user.stats.summary(counting["id"])["get_action_calls"] == 5


def test_simulations(user: Shown, counting: dict[str, Any]) -> None:
    experiment = counting["id"]
    simulated = user.evaluation.simulate(experiment, n=3, seed=1, log_stats=True)
    assert [simulated["data"][str(draw)]["reward"] for draw in range(3)] == [{"value": 1}] * 3
    short = user.evaluation.simulate(experiment, n=3, seed=1, verbose=False)
    assert (short["seed"], short["theta"]) == (1, simulated["data"]["2"]["theta"])
    assert [row["draw"] for row in user.stats.simulation_log(experiment, limit=2)] == [2, 1, 0]
    with pytest.raises(BadRequest) as unknown:
        user.evaluation.simulate(experiment, theta="full")
    assert unknown.value.field == "theta"


def test_a_simulation_that_fails_after_its_answer_began_raises(user: Shown) -> None:
    long = "self.action['arm'] = 'x' * 2000\nif self.get_theta(key='t'): 1 / 0"
    learn = "n = self.reward['n']\nif n > 900: self.set_theta({'n': n}, key='t')"
    count = "import builtins\nself.reward['n'] = builtins.n = getattr(builtins, 'n', 0) + 1"
    made = user.experiments.create("failing", get_action=long, get_reward=count, set_reward=learn)
    with pytest.raises(ServerError) as failed:
        user.evaluation.simulate(made["id"], n=1000, seed=1)
    assert (failed.value.status, failed.value.code) == (200, "policy_error")
    assert "ZeroDivisionError" in json.dumps(failed.value.detail)


def test_a_comparison_job_ends_with_what_compare_returns(user: Shown, counting: dict[str, Any]) -> None:
    job = user.evaluation.start_comparison([counting["id"]], n=20, replications=2, seed=1)
    assert (job["kind"], job["experiments"], job["N"]) == ("comparison", [counting["id"]], 20)
    *_, last = user.jobs.events(job["id"])
    assert (last["event"], last["state"]) == ("end", "done")
    compared = user.evaluation.compare([counting["id"]], n=20, replications=2, seed=1)
    assert user.jobs.get(job["id"])["result"] == compared
    table = user.evaluation.compare_as("csv", [counting["id"]], n=20, replications=2, seed=1)
    assert user.evaluation.compared_as("csv", job["id"]) == table


def test_a_simulation_job_is_watched_to_its_end(user: Shown, counting: dict[str, Any]) -> None:
    experiment = counting["id"]
    job = user.evaluation.start(experiment, n=50, replications=2, seed=1)
    assert (job["N"], job["replications"]) == (50, 2)
    events = list(user.evaluation.events(experiment, job["id"]))
    assert (events[-1]["event"], events[-1]["state"]) == ("end", "done")
    assert events[-1]["progress"]["done"] == events[-1]["progress"]["total"]
    done = user.evaluation.job(experiment, job["id"])
    assert done["result"]["reward"]["mean"][-1] == 50
    other = user.evaluation.start(experiment, n=1)
    assert [one["id"] for one in user.evaluation.jobs(experiment, limit=1)] == [other["id"], job["id"]]
    assert user.evaluation.cancel(experiment, job["id"])["simulation"] == "removed"
    with pytest.raises(NotFound):
        user.evaluation.job(experiment, job["id"])


def test_comparisons(user: Shown, counting: dict[str, Any]) -> None:
    other = user.experiments.create("other", **COUNTING)
    request: dict[str, Any] = {"environment": counting["id"], "n": 10, "replications": 1, "seed": 1}
    experiments = [counting["id"], other["id"]]
    comparison = user.evaluation.compare(experiments, **request)
    assert comparison["points"][-1] == 10
    assert comparison["differences"][0]["reward"]["mean"][-1] == 0
    table = list(csv.reader(io.StringIO(user.evaluation.compare_as("csv", experiments, **request).decode())))
    assert len(table) > len(comparison["points"])


def test_off_policy_estimates(user: Shown, counting: dict[str, Any]) -> None:
    rows = [
        {"context": {}, "action": {"arm": arm}, "reward": {"value": int(arm == "a")}, "propensity": 0.5}
        for arm in "abab"
    ]
    answer = user.evaluation.off_policy(
        counting["id"],
        {"code": {"get_action": "self.action['arm'] = 'a'\nself.action_probabilities = {'a': 1.0}"}},
        estimators=["ips"],
        log="\n".join(map(json.dumps, rows)),
        format="jsonl",
    )
    [estimate] = answer["estimates"]
    # Inverse propensity: (1/0.5 + 0 + 1/0.5 + 0) / 4.
    assert (estimate["estimator"], estimate["value"]) == ("ips", pytest.approx(1.0))
    assert answer["log"]["rows"] == 4
    always = {
        arm: {
            "code": {
                "get_action": f"self.action['arm'] = '{arm}'\nself.action_probabilities = {{'{arm}': 1.0}}"
            }
        }
        for arm in "ab"
    }
    both = user.evaluation.off_policies(
        counting["id"], always, estimators=["ips"], log="\n".join(map(json.dumps, rows)), context_fields=[]
    )
    assert both["candidates"]["a"]["estimates"][0]["value"] == pytest.approx(1.0)
    pair = next(one for one in both["differences"] if (one["first"], one["second"]) == ("a", "b"))
    assert pair["value"] == pytest.approx(1.0)


def test_the_sample_ratio_of_counts(user: Shown) -> None:
    check = user.evaluation.sample_ratio({"a": 300, "b": 100}, shares={"a": 0.75, "b": 0.25})
    assert (check["ok"], check["statistic"]) == (True, 0.0)


def test_every_call_of_these_groups_was_made(request: pytest.FixtureRequest, called: Called) -> None:
    if request.config.option.keyword or any("::" in argument for argument in request.config.args):
        pytest.skip("only some of the tests run")
    assert set.union(*map(public_calls, GROUPS)) - called == set()
