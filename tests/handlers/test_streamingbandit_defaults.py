"""StreamingBandit's twelve default experiments, written anew from what its documents say of them.

Each uses the calls, names and forms of theta that code written for it uses, runs with values of theta as they
were stored and as text, and learns what it is there to learn.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.application import Caller

MEANS = """
mean = base.Mean(self.get_theta(key="treatment", value=self.action["treatment"]))
mean.update(self.reward["value"])
self.set_theta(mean, key="treatment", value=self.action["treatment"])
"""
SHARES = MEANS.replace("Mean", "Proportion")
# Treatment B is the better one.
BERNOULLI = 'self.reward["value"] = np.random.binomial(1, 0.8 if self.action["treatment"] == "B" else 0.3)'
PARABOLA = 'self.reward["value"] = 5 - (self.action["x"] - 2) ** 2 + np.random.normal(0, 0.1)'
LINEAR_THETA = """
stored = self.get_theta(key="model", value="x")
if stored == {}:
    stored = {"J": [0, 0, 0], "P": np.identity(3).tolist(), "err": 1}
model = tbl.ThompsonBayesianLinear(stored)
"""

DEFAULTS: dict[str, dict[str, str]] = {
    "A/B test": {
        "get_action": """
import libs.base as base
arms = base.List(self.get_theta(key="treatment"), base.Mean, ["A", "B"])
self.action["treatment"] = arms.random() if arms.count() < 100 else arms.max()
""",
        "get_reward": BERNOULLI,
        "set_reward": MEANS,
    },
    "E-first": {
        "get_action": """
e, n = 1, 60
arms = base.List(self.get_theta(key="treatment"), base.Mean, ["A", "B"])
if n > arms.count():
    self.action["treatment"] = arms.random()
    self.action["propensity"] = 0.5
else:
    self.action["treatment"] = arms.max()
    self.action["propensity"] = 1
""",
        "get_reward": BERNOULLI,
        "set_reward": MEANS,
    },
    "E-greedy": {
        "get_action": """
e = .1
arms = base.List(self.get_theta(key="treatment"), base.Mean, ["A", "B"])
if np.random.binomial(1, e) == 1:
    self.action["treatment"] = arms.random()
else:
    self.action["treatment"] = arms.max()
""",
        "get_reward": BERNOULLI,
        "set_reward": MEANS,
    },
    "Lock in feedback": {
        "get_action": """
import libs.lif as lf
omega = 2 * np.pi / 20
Lif = lf.Lif(self.get_theta(all_float=False), x0=0.0, a=.5, t=20, gamma=.02, omega=omega, lifversion=1)
suggestion = Lif.suggest()
self.action["x"], self.action["t"] = suggestion["x"], suggestion["t"]
self.set_theta(Lif)
""",
        "get_reward": PARABOLA,
        "set_reward": """
Lif = lif.Lif(self.get_theta(), x0=0.0, a=.5, t=20, gamma=.02, omega=2 * np.pi / 20, lifversion=1)
Lif.update(self.action["t"], self.action["x"], self.reward["value"])
self.set_theta(Lif)
""",
    },
    "Online marketing experiment": {
        "get_context": "self.context['device'] = random.choice(['phone', 'desktop'])",
        "get_action": """
shares = self.get_theta(key=self.context["device"])
self.action["treatment"] = thmp.BBThompsonList(shares, ["A", "B"]).thompson()
""",
        "get_reward": BERNOULLI,
        "set_reward": SHARES.replace('"treatment", value', 'self.context["device"], value'),
    },
    "Social science experiment": {
        "get_context": "self.context['participant'] = np.random.randint(0, 40)",
        "get_action": """
known = self.get_theta(key="participant", value=self.context["participant"])
if known == {}:
    known = {"condition": random.choice(["A", "B"])}
    self.set_theta(known, key="participant", value=self.context["participant"])
self.action["treatment"] = known["condition"]
""",
        "get_reward": BERNOULLI,
        "set_reward": MEANS,
    },
    "Bootstrapped Thompson sampling": {
        "get_action": """
import libs.bts as bts, libs.lm as lm
default = {"b": np.zeros(3).tolist(), "A": np.identity(3).tolist(), "n": 0}
b = lm.LM(default=bts.BTS(self.get_theta(), lm.LM, m=20, default_params=default).sample()).get_coefs()
x = -(float(b[1, 0]) / (2 * float(b[2]))) if b[2] < 0 else np.random.uniform(0, 4)
self.action["x"] = np.asscalar(np.clip(x, 0, 4))
""",
        "get_reward": PARABOLA,
        "set_reward": """
default = {"b": np.zeros(3).tolist(), "A": np.identity(3).tolist(), "n": 0}
sampler = bts.BTS(self.get_theta(), lm.LM, m=20, default_params=default)
sampler.update(self.reward["value"], [1, self.action["x"], self.action["x"] ** 2])
self.set_theta(sampler)
""",
    },
    "Thompson Bayesian linear regression": {
        "get_action": LINEAR_THETA
        + """
b = model.sample()
x = -(b[1] / (2 * b[2])) if b[2] < 0 else np.random.uniform(0, 4)
self.action["x"] = np.asscalar(np.clip(x, 0, 4))
""",
        "get_reward": PARABOLA,
        "set_reward": LINEAR_THETA
        + """
model.update(y=self.reward["value"], x=[1, self.action["x"], self.action["x"] ** 2])
self.set_theta(model, key="model", value="x")
""",
    },
    "Thompson optimal sampling": {
        "get_action": """
arms = thmp.ThompsonVarList(self.get_theta(key="treatment"), ["A", "B"])
self.action["treatment"] = arms.experimentThompson()
""",
        "get_reward": """
self.reward["value"] = np.random.normal(0, 5 if self.action["treatment"] == "B" else 1)
""",
        "set_reward": MEANS.replace("Mean", "Variance"),
    },
    "Thompson sampling, k-armed Bernoulli": {
        "get_action": """
propl = thmp.BBThompsonList(self.get_theta(key="treatment"), ["A", "B"])
self.action["treatment"] = propl.thompson()
""",
        "get_reward": BERNOULLI,
        "set_reward": SHARES,
    },
}
# With other experiments inside: their ids are put into the code.
NESTED = {
    "get_action": """
pick = thmp.BBThompsonList(self.get_theta(key="policy"), ["{0}", "{1}"]).thompson()
self.action["treatment"] = Experiment(exp_id=pick).run_action_code(context={{}})["treatment"]
self.action["policy"] = pick
""",
    "get_reward": BERNOULLI,
    "set_reward": """
nested = Experiment(exp_id=self.action["policy"])
nested.run_reward_code({{}}, {{"treatment": self.action["treatment"]}}, self.reward)
share = base.Proportion(self.get_theta(key="policy", value=self.action["policy"]))
share.update(self.reward["value"])
self.set_theta(share, key="policy", value=self.action["policy"])
""",
}
PARALLEL = {
    "get_action": 'self.action["treatment"] = Experiment("{0}").run_action_code({{}})["treatment"]',
    "get_reward": BERNOULLI,
    "set_reward": """
for id in ["{0}", "{1}"]:
    other = Experiment(id)
    if other.run_action_code({{}})["treatment"] == self.action["treatment"]:
        other.run_reward_code({{}}, self.action, self.reward)
        share = base.Proportion(self.get_theta(key="policy", value=id))
        share.update(self.reward["value"])
        self.set_theta(share, key="policy", value=id)
""",
}
N = 400
COMPAT = [None, "streamingbandit"]


async def simulated(client: Caller, experiment: dict[str, Any], draws: int = N) -> list[dict[str, Any]]:
    answer = await client.get(f"/eval/{experiment['id']}/simulate", N=draws, seed=4, verbose="True")
    assert (answer.status, answer.body.get("simulate")) == (200, "success"), answer.body
    return [answer.body["data"][str(n)] for n in range(draws)]


@pytest.mark.gen_test
@pytest.mark.parametrize("compat", COMPAT)
@pytest.mark.parametrize("name", list(DEFAULTS))
async def test_a_default_runs_and_learns(ann: Caller, name: str, compat: str | None) -> None:
    experiment = await ann.experiment(name, compat=compat, **DEFAULTS[name])
    draws = await simulated(ann, experiment)
    late = [draw["action"] for draw in draws[N // 2 :]]
    if "x" in late[0]:
        assert abs(sum(action["x"] for action in late) / len(late) - 2) < 0.5
    elif name == "Social science experiment":
        conditions: dict[int, set[str]] = {}
        for draw in draws:
            conditions.setdefault(draw["context"]["participant"], set()).add(draw["action"]["treatment"])
        assert all(len(condition) == 1 for condition in conditions.values())
        assert set.union(*conditions.values()) == {"A", "B"}
    else:
        # B pays more, or varies more where that is what is to be found out.
        assert sum(action["treatment"] == "B" for action in late) > 0.7 * len(late)
    # And as an application calls it.
    key = experiment["key"]
    for _ in range(5):
        decided = await ann.get(f"/getaction/{experiment['id']}", key=key, context=draws[0]["context"])
        told = {"context": draws[0]["context"], "action": decided.body["action"], "reward": {"value": 1}}
        assert (await ann.get(f"/setreward/{experiment['id']}", key=key, **told)).status == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("compat", COMPAT)
@pytest.mark.parametrize("code", [NESTED, PARALLEL], ids=["nested policies", "parallel evaluation"])
async def test_a_default_with_experiments_inside_runs_and_learns(
    ann: Caller, code: dict[str, str], compat: str | None
) -> None:
    inside = [await ann.experiment(name, compat=compat, **DEFAULTS[name]) for name in ("E-first", "E-greedy")]
    ids = [one["id"] for one in inside]
    experiment = await ann.experiment(
        "outer", compat=compat, **{piece: text.format(*ids) for piece, text in code.items()}
    )
    draws = await simulated(ann, experiment)
    late = [draw["action"]["treatment"] for draw in draws[N // 2 :]]
    assert late.count("B") > 0.7 * len(late)
    theta = draws[-1]["theta"]
    counts = [int(theta[f"policy:{id}"]["n"]) for id in ids]
    assert sum(counts) == N if code is NESTED else min(counts) > N // 4


@pytest.mark.gen_test
@pytest.mark.parametrize("compat", COMPAT)
async def test_lock_in_feedback_is_as_fast_as_there(ann: Caller, compat: str | None) -> None:
    code = {
        piece: text.replace("x0=0.0", "x0=3.0") for piece, text in DEFAULTS["Lock in feedback"].items()
    } | {"get_reward": 'self.reward["value"] = -1 * pow((self.action["x"] - 5), 2)'}
    draws = await simulated(ann, await ann.experiment(compat=compat, **code), 999)
    centres = [float(draws[n - 1]["theta"]["x0"]) for n in (200, 400, 999)]
    assert centres == pytest.approx([4.23, 4.73, 4.99], abs=0.006)
