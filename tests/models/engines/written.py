"""Python models of bptk-py's SD DSL, one for each construct that it has."""

from __future__ import annotations

FILE = """
import BPTK_Py
from BPTK_Py import Model, Module
from BPTK_Py import sd_functions as sd

def bptk_factory():
    model = Model(starttime=0.0, stoptime=8.0, dt=0.5, name="m")
    x = model.converter("x")
    x.equation = sd.time() + 2.0
    {body}
    bptk = BPTK_Py.bptk()
    bptk.register_scenario_manager({{"m": {{"model": model}}}})
    bptk.register_scenarios({{"base": {{}}}}, "m")
    return bptk
"""


def model(body: str) -> str:
    """A file whose model has these lines, and the converter `x`, which is time and 2."""
    return FILE.format(body=body.strip().replace("\n", "\n    "))


def functions(*expressions: str) -> str:
    """A model with a converter for each expression."""
    return model(
        "\n".join(
            f'y{number} = model.converter("y{number}")\ny{number}.equation = {expression}'
            for number, expression in enumerate(expressions)
        )
    )


MODELS = {
    "stocks": model("""
level = model.stock("level")
rate = model.constant("rate")
grows = model.flow("grows")
both = model.biflow("both")
rate.equation = 0.1
level.initial_value = 10.0 * rate
grows.equation = level * rate
both.equation = 3.0 - x
level.equation = grows + both
"""),
    "delays": functions(
        "sd.delay(model, x, 2.0, 1.0)",
        "sd.delay(model, x, 1.5)",
        "sd.smooth(model, x, 2.0, 1.0)",
        "sd.trend(model, x, 2.0, 0.1)",
        "sd.step(3.0, 4.0)",
        "sd.pulse(model, 2.0, 1.0, 3.0)",
        "sd.time() * sd.dt(model) + sd.starttime(model) + sd.stoptime(model)",
    ),
    "tables": model("""
model.points["curve"] = [[0.0, 1.0], [4.0, 3.0], [6.0, 0.0]]
inside = model.converter("inside")
inside.equation = sd.lookup(x / 2.0, "curve")
outside = model.converter("outside")
outside.equation = sd.lookup(x * 2.0 - 8.0, "curve")
"""),
    "conditions": functions(
        "sd.If(x > 4.0, 1.0, x)",
        "sd.If(sd.And(x > 4.0, x < 6.0), 1.0, 0.0)",
        "sd.If(sd.Or(x > 9.0, x <= 3.0), 1.0, 0.0)",
        "sd.If(sd.Not(x > 4.0), 1.0, 0.0)",
        "sd.max(x, 4.0) - sd.min(x, 4.0)",
    ),
    "functions": functions(
        "sd.abs(x - 5.0)",
        "sd.exp(x / 10.0) + sd.sqrt(x) + sd.ln(x) + sd.log10(x)",
        "sd.sin(x) + sd.cos(x) + sd.tan(x / 10.0) + sd.arctan(x)",
        "sd.arcsin(x / 20.0) + sd.arccos(x / 20.0)",
        "sd.floor(x) + sd.ceil(x) + sd.round(x / 3.0, 1)",
        "sd.sinwave(2.0, 5.0) + sd.coswave(2.0, 5.0) + sd.pi()",
        "sd.combinations(5, 2) + sd.permutations(5, 2) + sd.factorial(4)",
        "sd.gammaln(5.0) + sd.invnorm(0.3) + sd.normalcdf(-1.0, 1.0)",
        "x ** 2.0 % 5.0",
        "-x",
    ),
    # Each draws as often as it is asked for, so one is asked for in each.
    "random": functions("sd.random(0.0, 1.0)"),
    "normal": functions("sd.normal(0.0, 1.0)"),
    "poisson": functions("sd.poisson(3.0)"),
    "vectors": model("""
rate = model.constant("rate")
rate.setup_named_vector({"a": 0.1, "b": 0.2})
level = model.stock("level")
level.setup_named_vector({"a": 10.0, "b": 20.0})
growth = model.flow("growth")
growth.setup_named_vector({"a": 0.0, "b": 0.0})
growth.equation = level * rate
level.equation = growth
counted = model.constant("counted")
counted.setup_vector(3, [1.0, 2.0, 3.0])
total = model.converter("total")
total.equation = level.arr_sum()
mean = model.converter("mean")
mean.equation = counted.arr_mean() + counted.arr_max() - counted.arr_min() + counted.arr_size()
"""),
    "matrices": model("""
table = model.constant("table")
table.setup_named_matrix({"r": {"a": 1.0, "b": 2.0}, "s": {"a": 3.0, "b": 4.0}})
other = model.constant("other")
other.setup_named_matrix({"r": {"a": 5.0, "b": 6.0}, "s": {"a": 7.0, "b": 8.0}})
added = model.converter("added")
added.setup_named_matrix({"r": {"a": 0.0, "b": 0.0}, "s": {"a": 0.0, "b": 0.0}})
added.equation = table + other
total = model.converter("total")
total.equation = table.arr_sum()
"""),
    "modules": model("""
class Shop(Module):
    def __init__(self, model, name, parent=None):
        super().__init__(model, name, parent)
        self.stored = self.stock("stored")
        self.sold = self.flow("sold")
    def initialize(self, demand):
        self.stored.initial_value = 50.0
        self.sold.equation = demand
        self.stored.equation = -self.sold
shop = Shop(model, "shop")
inner = Shop(model, "inner", shop)
shop.initialize(x)
inner.initialize(x / 2.0)
"""),
    "code": model("""
twice = model.function("twice", lambda model, t, value: value * 2.0 + t)
y = model.converter("y")
y.equation = twice(x)
"""),
}
