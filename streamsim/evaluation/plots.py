"""Plots of comparisons, as SVG or PNG: cumulative reward and, where it is known, regret, with 95 % bands;
paired differences; the share of each arm over time. Needs matplotlib (the extra `plots`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from streamsim.evaluation.compare import Bands, Comparison, Summary
from streamsim.evaluation.intervals import thin
from streamsim.evaluation.pictures import COLOURS, Format, check_plots, drawn, plain

DASHES: Final = ("-", "--", "-.", ":")
MAX_ARMS: Final = 8
MAX_BARS: Final = 40
MAX_INSIDE: Final = 4
"""Lines whose legend leaves room for them; that of more stands beside the panel."""
MANY: Final = 8
"""A legend of more entries is set in smaller letters, of twice as many in columns."""
_WIDTH_IN, _HEIGHT_IN = 7.0, 4.0


def plot(comparison: Comparison, kind: Format) -> bytes:
    """The whole comparison as one picture. :raises BadRequest: there are no plots here."""
    check_plots()
    from matplotlib.figure import Figure

    policies = comparison.policies
    with_regret = all(policy.regret is not None for policy in policies.values())
    panels = 1 + with_regret + bool(comparison.differences) + len(policies)
    columns = 1 if panels == 1 else 2
    rows = -(-panels // columns)
    figure = Figure(figsize=(_WIDTH_IN * columns, _HEIGHT_IN * rows), layout="constrained")
    axes = iter(figure.subplots(rows, columns, squeeze=False).ravel())
    runs = f"{comparison.replications} replications, 95 % intervals"
    if comparison.replications == 1:
        runs = "1 replication"
    _lines(
        next(axes),
        comparison.points,
        {plain(name): policy.reward for name, policy in policies.items()},
        f"Cumulative reward ({runs})",
        "cumulative reward (sum of rewards)",
    )
    if with_regret:
        _lines(
            next(axes),
            comparison.points,
            {plain(name): policy.regret for name, policy in policies.items() if policy.regret is not None},
            f"Cumulative regret ({runs})",
            "cumulative regret (units of reward)",
        )
    if comparison.differences:
        bands = {
            f"{plain(one.first, 24)} − {plain(one.second, 24)}": one.reward for one in comparison.differences
        }
        panel = next(axes)
        _lines(
            panel,
            comparison.points,
            bands,
            f"Paired differences ({runs})",
            "difference in cumulative reward",
        )
        panel.axhline(0, color="#666666", linewidth=0.8, zorder=1)
    shown = _shown(policies.values())
    for name, policy in policies.items():
        _arms(next(axes), comparison.points, name, policy, shown)
    for empty in axes:
        empty.set_axis_off()
    return drawn(figure, kind)


def _lines(
    axes: Any,
    points: Sequence[int],
    bands: Mapping[str, Bands],
    title: str,
    label: str,
) -> None:
    for place, (name, band) in enumerate(bands.items()):
        colour, dash = COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]
        mean, low, high = (
            np.array(figures, dtype=np.float64) for figures in (band.mean, band.low, band.high)
        )
        axes.plot(points, mean, dash, color=colour, linewidth=1.6, label=name, zorder=3)
        axes.fill_between(points, low, high, color=colour, alpha=0.2, linewidth=0, zorder=2)
    _finish(axes, points, title, label)


def _shown(policies: Iterable[Summary]) -> list[str]:
    """The arms that are shown apart, those chosen most, and with one colour in all panels."""
    chosen: dict[str, float] = {}
    for policy in policies:
        for arm, shares in policy.arms.items():
            chosen[arm] = chosen.get(arm, 0.0) + sum(shares)
    most = MAX_ARMS if len(chosen) <= MAX_ARMS else MAX_ARMS - 1
    return sorted(sorted(chosen, key=lambda arm: -chosen[arm])[:most])


def _arms(axes: Any, points: Sequence[int], name: str, policy: Summary, shown: Sequence[str]) -> None:
    """Shares stacked to 1, each over some draws, so many that single ones do not show; rare arms as one."""
    taken = [arm for arm in shown if arm in policy.arms]
    labels, shares = [plain(arm) for arm in taken], [np.array(policy.arms[arm]) for arm in taken]
    colours = [COLOURS[shown.index(arm) % len(COLOURS)] for arm in taken]
    if rest := [figures for arm, figures in policy.arms.items() if arm not in taken]:
        labels.append(f"{len(rest)} other{'s' if len(rest) > 1 else ''}")
        shares.append(np.sum(rest, axis=0))
        colours.append(COLOURS[len(shown) % len(COLOURS)])
    kept = thin(len(points), MAX_BARS)
    ends = np.array(points)[kept]
    counts = [np.cumsum(share * np.diff(points, prepend=0))[kept] for share in shares]
    edges = np.concatenate(([0], ends))
    means = [np.diff(count, prepend=0) / np.diff(edges) for count in counts]
    stacked = [np.append(share[:1], share) for share in means]
    axes.stackplot(
        edges,
        stacked,
        step="pre",
        labels=labels,
        colors=colours,
        alpha=0.85,
        linewidth=0,
    )
    axes.set_ylim(0, 1)
    _finish(axes, points, f"Arms chosen by {plain(name)}", "share of decisions", beside=True)


def _finish(axes: Any, points: Sequence[int], title: str, label: str, *, beside: bool = False) -> None:
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("decisions (draws)")
    axes.set_ylabel(label)
    axes.set_xlim(0, points[-1])
    axes.grid(color="#DDDDDD", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    # Many entries, as of all pairs, would hide what they explain.
    entries = len(axes.get_legend_handles_labels()[1])
    beside = beside or entries > MAX_INSIDE
    where: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if beside else {"loc": "best"}
    small = {} if entries <= 2 * MANY else {"ncols": -(-entries // (2 * MANY)), "columnspacing": 0.8}
    axes.legend(fontsize=9 if entries <= MANY else 6, framealpha=0.9, **where, **small)
