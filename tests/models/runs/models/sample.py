"""Variables and operations with the names of the documents."""

from __future__ import annotations

import math  # noqa: F401 -- a module that no path may reach
import random

import market
import numpy as np
from epicenter import Epicenter

sample_string = "Hello World"
sample_int = 10
sample_bool = False
sample_array = [2, 4, 6, 8]
sample_dict = {"day": "monday", "weather": {"sun": True}, 7: "seven"}
sample_matrix = np.array([[1.0, 2.0], [3.0, 4.0]])
sample_tuple = (1, 2)
results = {"max_profit": 914, "mean_profit": -753, "min_profit": -2210, "std_dev_profit": 427}
risks = {"TR-01": None}
calls = 0
price = 1.5
draws = []
_hidden = "secret"
rng = np.random.default_rng(1)
thermostat = market.Thermostat()


def runmodel(text, number, flag):
    global calls
    calls += 1
    return round(number * 0.8176, 2)


def setRiskAssignedTo(risk, index):  # noqa: N802
    risks[risk] = index


def helper(depth):
    if depth == 0:
        raise ValueError("no profit in /usr/lib/python3")
    helper(depth - 1)


def fail():
    global calls
    calls = 1000
    helper(2)


def nothing():
    pass


def draw():
    draws.append(random.random() + np.random.normal())
    return draws[-1]


def save(*names):
    for name in names:
        Epicenter.record(name)


def save_as(name, value):
    Epicenter.record(name, value)


def set_price(value):
    global price
    price = value
    Epicenter.record("price")


def _private():
    return "secret"


def loop():
    while True:
        pass
