"""What a run costs: how often it calls the functions that the library made of a model, beside the library.

Seconds are printed by `python -m bench.engines`; calls are the same on every machine.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from bench.engines import REGIONS
from tests.models.engines.vensim import MODELS, THREE, model

pytest.importorskip("pysd")
from tests.models.engines.test_pysd import engine, library, run

pytestmark = pytest.mark.filterwarnings("ignore")


def calls(run_it: Callable[[], Any], stem: str) -> Counter[str]:
    """How often each function of the translated model was called, by name."""
    found: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and Path(frame.f_code.co_filename).name == f"{stem}.py":
            found[frame.f_code.co_name] += 1

    sys.setprofile(profile)
    try:
        run_it()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize(
    "text", [model(REGIONS, stop="2", step="1"), model(THREE, stop="1"), MODELS["stocks"], MODELS["delays"]]
)
def test_a_run_calls_a_models_functions_no_more_often_than_the_library(text: str, tmp_path: Path) -> None:
    theirs = library(text, tmp_path)
    expected = calls(theirs.run, "m")
    ours = engine(text)
    found = calls(lambda: run(ours), "m")
    assert expected
    assert sum(found.values()) <= 1.2 * sum(expected.values())


def test_an_array_of_42_elements_costs_one_call_at_each_time() -> None:
    ours = engine(model(REGIONS, stop="20", step="1"))
    found = calls(lambda: run(ours), "m")
    assert found["births"] <= 21 + 2
    assert found["share"] <= 21 + 2
