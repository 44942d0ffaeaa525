"""XMILE in both engines beside their libraries: every variable, every time, for each construct.

What a library cannot do itself fails here, too.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.models.engines.xmile import MODELS

pytest.importorskip("pysd")
pytest.importorskip("BPTK_Py.sdcompiler.compile")
from tests.models.engines import test_pysd, test_xmile

pytestmark = pytest.mark.filterwarnings("ignore")

FAIL_THERE = {
    "pysd": (
        "lookup",
        "arrays",
        "arrays_of_two",
        "arrays_of_stocks",
        "times",
        "history",
        "random",
        "modules",
        "macro",
    ),
    "bptk": ("forecast",),
}
"""What a library itself cannot translate or run."""


def by_pysd(text: str, folder: Path) -> dict[str, dict[str, float]]:
    """All series, which are the library's."""
    seeded()
    frames = test_pysd.expected(test_pysd.library(text, folder, "m.xmile"))
    seeded()
    series = test_pysd.run(test_pysd.engine(text, "m.xmile"))
    test_pysd.same(series, frames)
    return series


def seeded() -> None:
    random.seed(5)
    np.random.seed(5)


BY: dict[str, Callable[[str, Path], dict[str, dict[str, float]]]] = {
    "pysd": by_pysd,
    "bptk": test_xmile.the_same,
}


@pytest.mark.parametrize(
    ("engine", "name"), [(one, name) for one in BY for name in MODELS if name not in FAIL_THERE[one]]
)
def test_every_variable_of_every_construct_is_the_librarys(engine: str, name: str, tmp_path: Path) -> None:
    series = BY[engine](MODELS[name], tmp_path)
    assert all(len(values) == 17 for values in series.values())
    assert series


def there(engine: str, text: str, folder: Path) -> None:
    if engine == "pysd":
        test_pysd.expected(test_pysd.library(text, folder, "m.xmile"))
    else:
        test_xmile.theirs(text, folder, ["ahead"])


def here(engine: str, text: str) -> None:
    if engine == "pysd":
        test_pysd.run(test_pysd.engine(text, "m.xmile"))
    else:
        test_xmile.ours(text)


@pytest.mark.parametrize(("engine", "name"), [(one, name) for one in BY for name in FAIL_THERE[one]])
def test_what_a_library_cannot_do_fails_here_too(engine: str, name: str, tmp_path: Path) -> None:
    # Of any kind: the library's own.
    with pytest.raises(Exception):  # noqa: B017, PT011
        there(engine, MODELS[name], tmp_path)
    with pytest.raises(Exception):  # noqa: B017, PT011
        here(engine, MODELS[name])


def test_constructs_do_what_the_language_says(tmp_path: Path) -> None:
    # Of what both libraries have, the numbers by hand.
    for engine, by in BY.items():
        people = list(by(MODELS["stocks"], tmp_path)["people"].values())
        assert people[2] == pytest.approx(100 * (1 + 0.5 * (0.03 - 1 / 60)) ** 2), engine
        table = by(MODELS["tables"], tmp_path)
        assert table["effect"]["0.0"] == 1, engine
        assert table["effect"]["8.0"] == 6, engine
        late = by(MODELS["delays"], tmp_path)["late"]
        assert (late["3.5"], late["4.0"]) == (0, 5), engine
    modules = test_xmile.the_same(MODELS["modules"], tmp_path)
    assert modules["shop.stored"]["1.0"] == 5 + 0.5 * (3 + 3.5)
    assert modules["seen"]["1.0"] == 2 * modules["shop.stored"]["1.0"]
