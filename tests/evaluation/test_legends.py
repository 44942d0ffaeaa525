"""The legend of many pairs stands beside its panel, not on it."""

from __future__ import annotations

import pytest

from streamsim.evaluation.compare import Bands
from streamsim.evaluation.plots import _lines


@pytest.mark.parametrize(("entries", "beside"), [(3, False), (21, True)])
def test_a_legend_never_hides_a_panel(entries: int, beside: bool) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panel = figure.subplots()
    band = Bands([1.0, 2.0], [0.5, 1.0], [2.0, 3.0])
    names = {f"a policy with a name {place} − another one": band for place in range(entries)}
    _lines(panel, [1, 2], names, "title", "label")
    canvas.draw()  # type: ignore[no-untyped-call]
    legend = panel.get_legend()
    assert legend is not None
    inside, whole = panel.get_window_extent(), legend.get_window_extent()
    assert bool(whole.x0 >= inside.x1 - 1) is beside
    assert whole.height <= figure.bbox.height
    assert inside.width > 0.2 * figure.bbox.width
