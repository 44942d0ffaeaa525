"""What all pictures share: their forms, colours and texts. Needs matplotlib (the extra `plots`)."""

from __future__ import annotations

import importlib.util
import io
from typing import Any, Final, Literal

from streamsim.errors import BadRequest

Format = Literal["svg", "png"]
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""Okabe and Ito's, which people who see colours differently can tell apart."""
_DOTS_PER_INCH: Final = 120


def check_plots() -> None:
    """:raises BadRequest: matplotlib is not installed, so that there are no pictures."""
    if importlib.util.find_spec("matplotlib") is None:
        raise BadRequest(
            "format must be json or csv: this server draws no plots; its operator can install matplotlib "
            "(pip install 'streamsim[plots]')",
            field="format",
        )


def drawn(figure: Any, kind: Format) -> bytes:
    """A figure of matplotlib as a file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    data = io.BytesIO()
    if kind == "png":
        figure.set_dpi(_DOTS_PER_INCH)
        canvas: Any = FigureCanvasAgg(figure)
        canvas.print_png(data)
    else:
        canvas = FigureCanvasSVG(figure)
        canvas.print_svg(data, metadata={"Date": None})
    return data.getvalue()


def plain(text: str, most: int = 40) -> str:
    """A user's text as it is: no mathematics between dollars, no label hidden by an underscore."""
    text = (text if len(text) <= most else f"{text[: most - 1]}…").replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
