"""Data of Vensim models beside the library: how it is read between its times, arrays, tables, subscripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamsim.models.engines.base import Outputs, Source
from tests.models.engines.vensim import model

pytest.importorskip("pysd")
import pysd

from streamsim.models.engines.pysd import PysdEngine
from tests.models.engines.test_pysd import expected, run, same

pytestmark = pytest.mark.filterwarnings("ignore")

FILES = {
    "rain.csv": "time,rain,a,b,c\n0,1.5,1,2,3\n4,6.5,4,5,6\n7,2,7,8,9\n12,3,1,1,1\n",
    "curve.csv": "x,y\n0,1\n3,4\n8,2\n",
    "sizes.csv": "part,size\na,2\nb,3\nc,5\n",
    "series.tab": "Time\tsun\n0\t1\n6\t4\n10\t2\n",
}
EQUATIONS = """
Part : GET DIRECT SUBSCRIPT('sizes.csv', ',', 'A2', 'A', '') ~~|
straight = GET DIRECT DATA('rain.csv', ',', 'A', 'B2') ~~|
between:INTERPOLATE: := GET DIRECT DATA('rain.csv', ',', 'A', 'B2') ~~|
ahead:LOOK FORWARD: := GET DIRECT DATA('rain.csv', ',', 'A', 'B2') ~~|
back:HOLD BACKWARD: := GET DIRECT DATA('rain.csv', ',', 'A', 'B2') ~~|
raw:RAW: := GET DIRECT DATA('rain.csv', ',', 'A', 'B2') ~~|
each[Part] := GET DIRECT DATA('rain.csv', ',', 'A', 'C2') ~~|
size[Part] = GET DIRECT CONSTANTS('sizes.csv', ',', 'B2*') ~~|
curve = GET DIRECT LOOKUPS('curve.csv', ',', 'A', 'B2') ~~|
read = curve(Time) ~~|
total = INTEG(straight + SUM(each[Part!]) + sun, SUM(size[Part!])) ~~|
sun:INTERPOLATE: ~~|
"""


def ours(text: str) -> PysdEngine:
    return PysdEngine(Source("m", "pysd", "m.mdl", {"m.mdl": text, **FILES}))


def theirs(text: str, folder: Path) -> pysd.py_backend.model.Model:
    for name, data in {"m.mdl": text, **FILES}.items():
        (folder / name).write_text(data)
    return pysd.read_vensim(str(folder / "m.mdl"), data_files=[str(folder / "series.tab")])


def test_data_is_the_librarys_at_and_between_its_times(tmp_path: Path) -> None:
    text = model(EQUATIONS)
    series = run(ours(text))
    frames = expected(theirs(text, tmp_path))
    assert {"straight", "ahead", "back", "raw", "each[b]", "size[c]", "sun", "total"} <= frames.keys()
    same(series, frames)
    # By hand.
    assert (series["straight"]["2.0"], series["back"]["2.0"], series["ahead"]["2.0"]) == (4, 1.5, 6.5)
    raw: dict[str, float | None] = {**series["raw"]}
    assert (raw["2.0"], raw["4.0"]) == (None, 6.5)
    assert series["each[b]"]["4.0"] == 5


def test_data_is_set_as_a_table_or_as_one_number() -> None:
    engine = ours(model(EQUATIONS))
    assert engine.start("m", "base", Outputs()).points("straight")[1] == [4, 6.5]
    series = run(engine, ["straight"], points={"straight": [(0.0, 0.0), (10.0, 20.0)]})
    assert series["straight"] == {time: 2 * float(time) for time in series["straight"]}
    assert set(run(engine, ["straight"], constants={"straight": 3})["straight"].values()) == {3}
