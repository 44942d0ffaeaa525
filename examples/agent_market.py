"""A small agent-based market in bptk-py: consumers hear of a product from each other, and some buy it.

A consumer is `unaware`, `aware` or `customer`. Time unit: weeks. Seeded runs repeat.
"""

import random

import BPTK_Py
from BPTK_Py import Agent, Event, Model

MANAGER = "agent_market"


class Consumer(Agent):
    def initialize(self) -> None:
        self.agent_type = "consumer"
        self.state = "unaware"
        self.set_property("spent", {"type": "Double", "value": 0.0})
        for state in ("unaware", "aware", "customer"):
            self.register_event_handler([state], "tip", self.hear)

    def hear(self, _event: Event) -> None:
        if self.state == "unaware":
            self.state = "aware"

    def act(self, time: float, round_no: int, step_no: int) -> None:
        if self.state == "aware" and random.random() < self.model.conversion:
            self.state = "customer"
        if self.state == "customer":
            self.spent += self.model.price
            if random.random() < self.model.contact_rate:
                self.model.random_events("consumer", 1, lambda other: Event("tip", self.id, other))


class Market(Model):
    def instantiate_model(self) -> None:
        self.register_agent_factory("consumer", lambda id, model, properties: Consumer(id, model, properties))

    def begin_round(self, time: float, sim_round: int, step: int) -> None:
        self.random_events("consumer", self.advertising, lambda other: Event("tip", 0, other))


def scenario(**properties: float) -> dict:
    values = {"conversion": 0.3, "contact_rate": 0.5, "price": 10.0, "advertising": 2} | properties
    return {
        "runspecs": {"starttime": 1, "stoptime": 20, "dt": 1},
        "properties": {
            name: {"type": "Integer" if isinstance(value, int) else "Double", "value": value}
            for name, value in values.items()
        },
        "agents": [{"name": "consumer", "count": 100}],
    }


def bptk_factory() -> BPTK_Py.bptk:
    bptk = BPTK_Py.bptk()
    scenarios = {"base": scenario(), "campaign": scenario(advertising=10)}
    manager = {"type": "abm", "model": Market(name="market"), "scenarios": scenarios}
    bptk.register_scenario_manager({MANAGER: manager})
    return bptk
