"""Policy code in the manner of StreamingBandit: its imports, names, argument names and old NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamsim.experiments import catalogue

from tests.policies.play import Player, play, seed

LINEAR = {
    "get_action": """
import libs.bts as bts
import libs.lm as lm
import numpy as np

default = {'b': np.zeros(3).tolist(), 'A': np.identity(3).tolist(), 'n': 0}
model = lm.LM(default = bts.BTS(self.get_theta(), lm.LM, m = 20, default_params = default).sample())
betas = model.get_coefs()
x = - (betas[1,0] / (2*betas[2,0])) if betas[2,0] < 0 else np.random.uniform(0, 3)
self.action["x"] = np.asscalar(np.clip(x, 0, 3))
""",
    "get_reward": """
import numpy
global numpy
self.reward["y"] = 5 - (self.action["x"] - 2)**2 + numpy.random.normal(0, numpy.float(0.1))
""",
    "set_reward": """
import libs.bts, libs.lm
x = self.action["x"]
BTS = bts.BTS(self.get_theta(), lm.LM, m = 20, default_params = \\
      {'b': np.zeros(3).tolist(), 'A': np.identity(3).tolist(), 'n': 0})
BTS.update(self.reward["y"], [1, x, x**2])
self.set_theta(BTS)
""",
}
LOCK_IN = {
    "get_action": """
import libs.lif as lf
Lif = lf.LiF(self.get_theta(all_float=False), x0=1.0, a=.5, t=20, gamma=.05, omega=2*np.pi/10, lifversion=1)
suggestion = Lif.suggest()
for field in ["x", "t", "x0"]:
    self.action[field] = suggestion[field]
""",
    "get_reward": 'self.reward["y"] = -1 * pow((self.action["x"] - 2), 2)',
    "set_reward": """
Lif = lif.LiF(self.get_theta(all_float=False), x0=1.0, a=.5, t=20, gamma=.05, omega=2*np.pi/10, lifversion=1)
Lif.update(self.action["t"], self.action["x"], self.reward["y"], self.action["x0"])
self.set_theta(Lif)
""",
}
BAYES = {
    "get_action": """
import libs.thompson_bayesian_linear as tbl
default = self.get_theta(key="m", value="m")
if default == {}:
    default = {'J': [1, 1, -1], 'P': [[1,0,0],[0,1,0],[0,0,1]], 'err': 1}
betas = tbl.ThompsonBayesianLinear(default).sample()
self.action["x"] = np.asscalar(np.clip(-(betas[1] / (2*betas[2])), 0, 3))
""",
    "get_reward": 'self.reward["y"] = 5 - (self.action["x"] - 2)**2 + np.random.normal(0, 1)',
    "set_reward": """
default = self.get_theta(key="m", value="m")
if default == {}:
    default = {'J': [1, 1, -1], 'P': [[1,0,0],[0,1,0],[0,0,1]], 'err': 1}
model = tbl.ThompsonBayesianLinear(default)
model.update(y = self.reward["y"], x = [1, self.action["x"], self.action["x"]**2])
self.set_theta(model, key="m", value="m")
""",
}


def player(code: dict[str, str]) -> Player:
    entry = catalogue.entries()[0]
    whole = {piece: code.get(piece, "") for piece in catalogue.PIECES}
    description = catalogue.Description(
        name="legacy", idea="", parameters=(), context="", reference="", learns=False, logs_propensity=False,
        action=entry.description.action, reward=entry.description.reward,
    )  # fmt: skip
    return Player(catalogue.CatalogueEntry(1, "legacy", description, whole), forgetful=True)


@pytest.mark.parametrize("code", [LINEAR, LOCK_IN, BAYES], ids=["bts and lm", "lif", "tbl"])
def test_continuous_policies_run_and_approach_the_maximum(code: dict[str, str]) -> None:
    seed(1)
    chosen = [step.action["x"] for step in play(player(code), 300)]
    assert np.mean(chosen[-50:]) == pytest.approx(2, abs=0.3)


def test_arms_by_list_with_keyword_theta_and_debug() -> None:
    seed(2)
    code = {
        "get_action": """
import libs.thompson as thmp
means = base.List(self.get_theta(key="treatment"), base.Mean, ["control", "treatment"])
bernoulli = thmp.BBThompsonList(self.get_theta(key="p", name="other"), ["control", "treatment"])
self.action["treatment"] = means.max() if means.count() > 10 else means.random()
self.action["propensity"] = bernoulli.propensity(self.action["treatment"], n = 1000)
self.debug(means.get_dict())
""",
        "get_reward": """
import numpy as np
self.reward["value"] = np.random.binomial(1, 0.9 if self.action["treatment"] == "control" else 0.1)
""",
        "set_reward": """
from libs.base import *
mean = Mean(self.get_theta(key="treatment", value=self.action["treatment"]))
mean.update(self.reward["value"])
self.set_theta(mean, key="treatment", value=self.action["treatment"])
prop = base.Proportion(self.get_theta(key="p", value=self.action["treatment"], name="other"))
prop.update(self.reward["value"])
self.set_theta(prop, key="p", value=self.action["treatment"], name="other")
""",
    }
    legacy = player(code)
    played = play(legacy, 60)
    assert [step.action["treatment"] for step in played[-20:]] == ["control"] * 20
    means: dict[str, Any] = legacy.theta("treatment")
    assert means["control"]["n"] + means["treatment"]["n"] == 60
    assert played[-1].action["propensity"] > 0.9
