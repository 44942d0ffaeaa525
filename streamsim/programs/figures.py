"""The program that works out figures about much data; it runs no user code.

load      None
request   ["add", name, bytes, last]  a part of an item; `last` ends it
          ["make", "compare", points, replications, seed, form] -> length of the text: a `Comparison` as JSON
              or CSV; items: under each policy's name its `Curve`s
          ["make", "table"] -> likewise: a `Comparison`, given as JSON under "comparison", as CSV
          ["make", "summary", points] -> likewise: a `Summary` as JSON; items: `Curve`s under any one name
          ["make", "health", properties, now_ms] -> likewise: the checks of a live experiment as JSON; items:
              pages of [JSON text, date in ms], newest first, under "action", "reward" and "error"
          ["make", "inference", asked, form] -> likewise: an `Inference` as JSON or CSV; items: pages
              under "action" and "reward"
          ["keep", asked, arms, rewards, seen, unsure, n, last] -> None; item: a tally under "tally", if
              there is one; begins a `Keeping`, whose rows come as pages of [JSON text, date in ms, position],
              oldest first, under "action" and "reward"
          ["settle", cut_ms, ended, whole] -> length of the text: a `Settled` in msgpack, or 0
          ["tell", form] -> likewise: an `Inference` as JSON or CSV
          ["make", "sweep"] -> likewise: the bands of a sweep; items: its plan under "plan", what the workers
              answered under "part"
          ["part", start, most] -> bytes of that text
result    what the request asks for, None, `Refused`, or of a `Keeping` ["late"], ["arms", arms]
          or ["unsuited"]: it has come to nothing
"""

from __future__ import annotations

from typing import Any

import msgspec

from streamsim import values
from streamsim.errors import BadRequest
from streamsim.evaluation import live_health
from streamsim.evaluation.compare import Comparison, compare, summary, to_csv
from streamsim.evaluation.inference import live, report
from streamsim.evaluation.inference.asked import Asked
from streamsim.evaluation.inference.keeping import Keeping, Late, Unsuited
from streamsim.evaluation.inference.keeping import Logged as Placed
from streamsim.evaluation.inference.tally import OtherArms
from streamsim.evaluation.own_log import Logged, oldest_first
from streamsim.evaluation.simulation import Curve
from streamsim.evaluation.wire import Refused
from streamsim.models import sweep_summary
from streamsim.models.engines import base
from streamsim.sandbox.wire import Failure, clean
from streamsim.sandbox.worker.failures import Described
from streamsim.sandbox.worker.main import Channel

_curve = msgspec.msgpack.Decoder(Curve)
_comparison = msgspec.json.Decoder(Comparison)
_page = msgspec.msgpack.Decoder(list[Logged])
_placed = msgspec.msgpack.Decoder(list[Placed]).decode


class Program:
    """The items of one request, and what was made of them."""

    loaded = None

    def __init__(self, load: Any, channel: Channel) -> None:
        self._items: dict[str, list[bytes]] = {}
        self._begun: list[bytes] = []
        self._text = b""
        self._keeping: Keeping | None = None

    def handle(self, request: Any) -> object:
        word, *given = request
        match word:
            case "add":
                self._add(*given)
            case "make" | "keep" | "settle" | "tell":
                try:
                    self._text = self._make(*given) if word == "make" else self._keep(word, *given)
                except BadRequest as error:
                    return Refused(False, error.message, error.field, error.detail)
                except base.Refused as refused:
                    raise Described(Failure("rejected", base.REFUSED, clean(str(refused)))) from None
                except Late:
                    return ["late"]
                except OtherArms as other:
                    return ["arms", other.arms]
                except Unsuited:
                    return ["unsuited"]
                return len(self._text)
            case _:
                start, most = given
                return self._text[start : start + most]
        return None

    def _add(self, name: str, part: bytes, last: bool) -> None:
        self._begun.append(part)
        if last:
            self._items.setdefault(name, []).append(b"".join(self._begun))
            self._begun = []

    def _make(self, word: str, *asked: Any) -> bytes:
        match word:
            case "compare":
                points, replications, seed, form = asked
                curves = {name: [*map(_curve.decode, items)] for name, items in self._items.items()}
                found = compare(points, curves, replications=replications, seed=seed)
                return to_csv(found).encode() if form == "csv" else values.dump(found)
            case "table":
                (text,) = self._items.pop("comparison")
                return to_csv(_comparison.decode(text)).encode()
            case "summary":
                (items,) = self._items.values()
                (points,) = asked
                return values.dump(summary(points, [*map(_curve.decode, items)]))
            case "inference":
                given, form = asked
                logged = self._rows("action"), self._rows("reward")
                told = live.examine(*logged, msgspec.convert(given, Asked))
                return report.to_csv(told).encode() if form == "csv" else values.dump(told)
            case "sweep":
                (plan,) = self._items.pop("plan")
                return values.dump(sweep_summary.summary(plan, self._items.pop("part")))
            case _:
                properties, now_ms, unit = asked
                rows, rewards, errors = (self._rows(kind) for kind in ("action", "reward", "error"))
                return values.dump(live_health.examine(rows, rewards, errors, properties, now_ms, unit))

    def _keep(self, word: str, *asked: Any) -> bytes:
        if word == "keep":
            given, arms, rewards, seen, unsure, n, last = asked
            (begun,) = self._items.pop("tally", [None])
            question = msgspec.convert(given, Asked)
            self._keeping = Keeping(question, arms, begun, rewards, seen, unsure, n, last)
            return b""
        keeping = self._keeping
        assert keeping is not None
        for kind, take in (("action", keeping.decisions), ("reward", keeping.rewards)):
            for page in self._items.pop(kind, ()):
                take(_placed(page))
        if word == "settle":
            cut_ms, ended, whole = asked
            if ended:
                keeping.end(whole=whole)
            settled = keeping.settle(cut_ms)
            return b"" if settled is None else msgspec.msgpack.encode(settled)
        (form,) = asked
        told = keeping.answer()
        return report.to_csv(told).encode() if form == "csv" else values.dump(told)

    def _rows(self, kind: str) -> list[dict[str, Any]]:
        """The rows of a log, oldest first, with `date_ms`."""
        return oldest_first([row for page in self._items.pop(kind, ()) for row in _page.decode(page)])
