"""The answer about an experiment's arms as a picture: for each segment a forest plot of their means, and of
their differences to the control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from streamsim.evaluation.inference.report import Fixed, Inference, Value
from streamsim.evaluation.pictures import COLOURS, Format, check_plots, drawn, plain

_WIDTH_IN: Final = 7.0
_AROUND_IN, _ARM_IN = 1.4, 0.36
_NAME: Final = 24
_MARKS: Final = (
    ("o", "at every look"),
    ("s", "one look, constant weights"),
    ("D", "one look, two-point weights"),
)
_GREY: Final = "#666666"


def forest(found: Inference, kind: Format) -> bytes:
    """One row of two panels for each segment: arms, and differences.

    :raises BadRequest: there are no plots here.
    """
    check_plots()
    from matplotlib.figure import Figure

    parts = found.segments
    heights = [_AROUND_IN + _ARM_IN * max(len(part.arms), 1) for part in parts] or [_AROUND_IN]
    figure = Figure(figsize=(2 * _WIDTH_IN, sum(heights)), layout="constrained")
    grid = figure.subplots(len(heights), 2, squeeze=False, gridspec_kw={"height_ratios": heights})
    look = "at every look" if found.rows.get("complete") else "at this look alone"
    if not parts:
        why = found.warnings[0] if found.warnings else "There is nothing to compare yet."
        for axes in grid.ravel():
            axes.set_axis_off()
        figure.text(0.5, 0.5, plain(why, 400), ha="center", va="center", wrap=True)
    for (means, differences), part in zip(grid, parts, strict=False):
        which = "" if part.value is None else f", {plain(found.by or '', _NAME)} {plain(part.value, _NAME)}"
        among = f"{part.decisions:,} decisions{which}"
        _panel(
            means, part.arms, "Mean reward of each arm", among, "mean reward had the arm always been played"
        )
        control = plain(found.control or "", _NAME)
        label = f"difference of mean rewards (with {1 - found.alpha:.4g} {look})"
        _panel(differences, part.differences, f"Difference to {control}", among, label)
        differences.axvline(0, color=_GREY, linewidth=0.8, zorder=1)
    labelled = {
        label: one
        for axes in grid.ravel()
        for one, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if len(labelled) > 1:
        figure.legend(
            labelled.values(), labelled, loc="outside lower center", ncols=len(labelled), fontsize=9
        )
    return drawn(figure, kind)


def _panel(axes: Any, values: Sequence[Value], title: str, among: str, label: str) -> None:
    """One line for each value, the first on top; one without figures says so in its place."""
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_title(among, fontsize=8, loc="right", color=_GREY)
    axes.set_xlabel(label)
    axes.set_yticks(range(len(values)), [plain(one.arm, _NAME) for one in values])
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    for place, one in enumerate(values):
        if one.estimate is None or one.low is None or one.high is None:
            where = {"xycoords": ("axes fraction", "data"), "va": "center"}
            axes.annotate("not told", (0.03, place), color=_GREY, **where)
            continue
        shown = [Fixed(one.estimate, one.low, one.high), one.constant, one.two_point]
        for number, interval in enumerate(shown):
            if interval is None:
                continue
            mark, name = _MARKS[number]
            axes.errorbar(
                interval.estimate,
                place + 0.2 * number,
                xerr=[[interval.estimate - interval.low], [interval.high - interval.estimate]],
                fmt=mark,
                color=COLOURS[number],
                markersize=5 if number == 0 else 3.5,
                linewidth=1.8 if number == 0 else 1.0,
                capsize=3,
                label=name,
            )
