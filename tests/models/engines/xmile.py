"""XMILE models, one for each construct of the language, for both engines that read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

HEAD = """<?xml version="1.0" encoding="utf-8"?>
<xmile version="1.0" xmlns="http://docs.oasis-open.org/xmile/ns/XMILE/v1.0"
 xmlns:isee="http://iseesystems.com/XMILE">
<header><name>f</name><vendor>streamsim</vendor><product version="1.0" lang="en">streamsim</product></header>
<sim_specs method="Euler" time_units="Days"><start>0</start><stop>8</stop><dt>0.5</dt></sim_specs>
"""


def model(variables: str, dimensions: Mapping[str, Sequence[str]] | None = None, more: str = "") -> str:
    """A file with these variables, and labels by name of a dimension. `more`: of modules, after the model."""
    spaces = "".join(
        f'<dim name="{name}">' + "".join(f'<elem name="{label}"/>' for label in labels) + "</dim>"
        for name, labels in (dimensions or {}).items()
    )
    declared = f"<dimensions>{spaces}</dimensions>" if spaces else ""
    return f"{HEAD}{declared}<model><variables>{variables}</variables></model>{more}</xmile>"


def variable(
    name: str, equation: str, kind: str = "aux", dimensions: Sequence[str] = (), more: str = ""
) -> str:
    """A variable with one equation."""
    equation = equation.replace("<", "&lt;").replace(">", "&gt;")
    return f'<{kind} name="{name}">{_spaces(dimensions)}<eqn>{equation}</eqn>{more}</{kind}>'


def elements(
    name: str, equations: dict[str, str], dimensions: Sequence[str], more: str = "", kind: str = "aux"
) -> str:
    """An array with an equation for each element."""
    parts = "".join(
        f'<element subscript="{label}"><eqn>{one}</eqn></element>' for label, one in equations.items()
    )
    return f'<{kind} name="{name}">{_spaces(dimensions)}{parts}{more}</{kind}>'


def table(points: Sequence[tuple[float, float]], kind: str = "continuous") -> str:
    """A graphical function of a variable."""
    x, y = (",".join(map(str, numbers)) for numbers in zip(*points, strict=True))
    return f'<gf type="{kind}"><xpts>{x}</xpts><ypts>{y}</ypts></gf>'


def _spaces(dimensions: Sequence[str]) -> str:
    named = "".join(f'<dim name="{name}"/>' for name in dimensions)
    return f"<dimensions>{named}</dimensions>" if named else ""


PARTS = {"part": ("a", "b", "c")}
FIELDS = {"region": ("north", "south"), "age": ("young", "old")}
TABLE = ((0, 1), (2, 4), (5, 6))
TANK = variable("inflow", "2", "flow") + variable("use", "3 + TIME", "flow")

MODELS = {
    "stocks": model(
        variable("people", "100", "stock", more="<inflow>births</inflow><outflow>deaths</outflow>")
        + variable("births", "people * 0.03", "flow")
        + variable("deaths", "people / lifetime", "flow")
        + variable("lifetime", "60")
    ),
    "non_negative_stock": model(
        variable("tank", "10", "stock", more="<inflow>inflow</inflow><outflow>use</outflow><non_negative/>")
        + TANK
    ),
    "non_negative_flow": model(
        variable("tank", "10", "stock", more="<inflow>net</inflow>")
        + variable("net", "3 - TIME", "flow", more="<non_negative/>")
    ),
    "tables": model(
        variable("effect", "TIME * 2 - 3", more=table(TABLE))
        + variable("beyond", "TIME * 2 - 3", more=table(TABLE, "extrapolate"))
        + variable("steps", "TIME", more=table(TABLE, "discrete"))
    ),
    "lookup": model(variable("curve", "TIME", more=table(TABLE)) + variable("at", "LOOKUP(curve, TIME / 2)")),
    "arrays": model(
        elements("rate", {"a": "0.1", "b": "TIME / 10", "c": "0.3"}, ["part"])
        + variable("level", "10", "stock", ["part"], "<inflow>growth</inflow>")
        + variable("growth", "level * rate", "flow", ["part"])
        + variable("all", "SUM(level[*])")
        + variable("one", "level[b] * 2")
        + variable("mean", "MEAN(rate[*])"),
        PARTS,
    ),
    "arrays_of_two": model(
        elements(
            "rate",
            {"north, young": "1", "north, old": "2", "south, young": "TIME", "south, old": "4"},
            ["region", "age"],
        )
        + variable("level", "1", "stock", ["region", "age"], "<inflow>growth</inflow>")
        + variable("growth", "rate - level / 20", "flow", ["region", "age"])
        + variable("northern", "SUM(level[north, *])")
        + variable("young", "SUM(level[*, young])", dimensions=())
        + variable("by region", "SUM(level[region, *])", dimensions=["region"]),
        FIELDS,
    ),
    "arrays_without_stars": model(
        elements("rate", {"a": "0.1", "b": "TIME / 10", "c": "0.3"}, ["part"])
        + variable("level", "10", "stock", ["part"], "<inflow>growth</inflow>")
        + variable("growth", "level * rate", "flow", ["part"])
        + variable("one", "level[b] * 2")
        + variable("all", "SUM(level[part])"),
        PARTS,
    ),
    "arrays_of_two_without_stars": model(
        elements(
            "rate",
            {"north,young": "1", "north,old": "2", "south,young": "TIME", "south,old": "4"},
            ["region", "age"],
        )
        + variable("level", "1", "stock", ["region", "age"], "<inflow>growth</inflow>")
        + variable("growth", "rate - level / 20", "flow", ["region", "age"])
        + variable("single", "level[south,young] * 2"),
        FIELDS,
    ),
    "arrays_of_stocks": model(
        elements("level", {"a": "1", "b": "2", "c": "3"}, ["part"], "<outflow>loss</outflow>", "stock")
        + variable("loss", "level * 0.1", "flow", ["part"]),
        PARTS,
    ),
    "delays": model(
        variable("signal", "STEP(5, 2) + RAMP(1, 3)")
        + variable("lag", "2")
        + variable("first", "DELAY1(signal, lag)")
        + variable("third", "DELAY3(signal, lag)")
        + variable("late", "DELAY(signal, lag)")
        + variable("nth", "DELAYN(signal, lag, 2)")
    ),
    "smooths": model(
        variable("signal", "STEP(5, 2)")
        + variable("lag", "2")
        + variable("start", "1")
        + variable("once", "SMTH1(signal, lag, start)")
        + variable("thrice", "SMTH3(signal, lag, start)")
    ),
    "trends": model(
        variable("signal", "1 + TIME")
        + variable("lag", "2")
        + variable("start", "0.1")
        + variable("growth", "TREND(signal, lag, start)")
    ),
    "forecast": model(variable("signal", "1 + TIME") + variable("ahead", "FORCST(signal, 2, 3, 0)")),
    "times": model(
        variable("now", "TIME")
        + variable("length", "STOPTIME - STARTTIME")
        + variable("step", "DT")
        + variable("late", "IF TIME >= 4 AND TIME < 6 THEN 1 ELSE 0")
    ),
    "history": model(
        variable("signal", "TIME * 2")
        + variable("before", "PREVIOUS(signal, 7)")
        + variable("first", "INIT(signal)")
    ),
    "random": model(variable("noise", "RANDOM(0, 1)") + variable("bell", "NORMAL(0, 1)")),
    "conveyor": model(
        variable(
            "line",
            "10",
            "stock",
            more="<inflow>in</inflow><outflow>out</outflow><conveyor><len>4</len></conveyor>",
        )
        + variable("in", "3", "flow")
        + variable("out", "0", "flow")
    ),
    "queue": model(
        variable("waiting", "10", "stock", more="<inflow>in</inflow><outflow>served</outflow><queue/>")
        + variable("in", "3", "flow")
        + variable("served", "2", "flow")
    ),
    "modules": model(
        '<module name="shop"><connect to="shop.demand" from="wanted"/></module>'
        + variable("wanted", "3 + TIME")
        + variable("seen", "shop.stored * 2"),
        more='<model name="shop"><variables>'
        + '<aux name="demand" access="input"><eqn>1</eqn></aux>'
        + '<stock name="stored" access="output"><eqn>5</eqn><inflow>filling</inflow></stock>'
        + variable("filling", "demand", "flow")
        + "</variables></model>",
    ),
    "macro": model(
        variable("twice", "DOUBLED(TIME)"),
        more='<macro name="DOUBLED"><parm>n</parm><eqn>n * 2</eqn></macro>',
    ),
    "group": model(variable("rate", "2") + '<group name="g"><entity name="rate"/></group>'),
}
