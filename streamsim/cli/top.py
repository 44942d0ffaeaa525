"""`streamsim top URL...`: what running server processes do, from their `/metrics`, as text in a terminal.

One line for each process, then the routes with the most requests. Rates and times are those since the last
look.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

DEFAULT_URL = "http://127.0.0.1:8080"
ROUTES = 10
TIMEOUT_S = 5.0
MAX_BYTES = 16 << 20
CLEAR = "\x1b[H\x1b[2J"

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_REQUESTS, _SECONDS = "streamsim_http_requests_total", "streamsim_http_request_seconds"
_TIMES = _SECONDS + "_bucket"

Labels = tuple[tuple[str, str], ...]


class NoMetrics(Exception):
    """A process cannot be asked, or what it answers is not of streamsim; the text says why."""


@dataclass(frozen=True)
class Look:
    """What one process counted up to a moment.

    :ivar at_s: when, on a clock that only rises.
    :ivar samples: values by the metric's name and its labels.
    """

    at_s: float
    samples: Mapping[str, Mapping[Labels, float]]

    def sum(self, name: str, **labels: str) -> float:
        """The sum of a metric over all samples with these labels; 0 if there are none."""
        wanted = labels.items()
        return sum(value for own, value in self.samples.get(name, {}).items() if wanted <= dict(own).items())

    def since(self, before: Look | None) -> Look:
        """The same with its counters as rates per second since `before`, or since the start without one.

        A counter that fell belongs to a process that was started anew: all of it is new.
        """
        if before is None:
            return self
        seconds = max(self.at_s - before.at_s, 1e-9)
        rates: dict[str, Mapping[Labels, float]] = dict(self.samples)
        for name in self.samples:
            if name.endswith(("_total", "_bucket", "_count", "_sum")):
                old = before.samples.get(name, {})
                rates[name] = {
                    labels: (value - old.get(labels, 0.0) if value >= old.get(labels, 0.0) else value)
                    / seconds
                    for labels, value in self.samples[name].items()
                }
        return Look(self.at_s, rates)


def add_parser(commands: Any) -> None:
    """The command's arguments."""
    parser = commands.add_parser(
        "top",
        help="show what running servers do: requests, lanes, workers, outbox, live runs",
        description="Reads /metrics of each server process; of several processes on one port, their sum.",
    )
    parser.add_argument(
        "urls", nargs="*", metavar="URL", default=[DEFAULT_URL], help=f"default {DEFAULT_URL}"
    )
    parser.add_argument(
        "--interval", type=_seconds, metavar="S", default=2.0, help="seconds between two looks; default 2"
    )
    parser.add_argument("--once", action="store_true", help="look twice, print once, and end")


def run(
    options: argparse.Namespace,
    *,
    sleep: Callable[[float], object] = time.sleep,
    now_s: Callable[[], float] = time.monotonic,
) -> int:
    """Print until interrupted, or once; the exit status: 0, or 1 if no process could be asked."""
    before: dict[str, Look] = {}
    looks = 0
    try:
        while True:
            now, wrong = _look_at(options.urls, now_s)
            looks += 1
            if not now and (options.once or looks == 1):
                for text in wrong.values():
                    print(f"streamsim: {text}", file=sys.stderr)
                return 1
            if not options.once or looks == 2:
                rates = {url: look.since(before.get(url)) for url, look in now.items()}
                start = CLEAR if sys.stdout.isatty() else ""
                # Without an earlier look there are totals and no rates.
                print(start + "\n".join(screen(rates, wrong, fresh=looks == 1)), flush=True)
            if options.once and looks == 2:
                return 0
            before = now
            sleep(options.interval)
    except KeyboardInterrupt:
        return 0


def screen(looks: Mapping[str, Look], wrong: Mapping[str, str], *, fresh: bool = False) -> Iterator[str]:
    """The lines to show.

    :param looks: by URL, with rates. :param wrong: messages of processes that could not be asked, by URL.
    :param fresh: the looks have totals since the start of the process, not rates.
    """
    per = "" if fresh else "/s"
    widest = max(len(url) for url in (*looks, *wrong, "process"))
    names = (f"requests{per}", f"decisions{per}", f"errors{per}", "99 %", "waiting", "workers", "models")
    yield f"{'process':{widest}}" + "".join(f"{name:>13}" for name in (*names, "live", "outbox"))
    for url, look in looks.items():
        cells = (
            _number(look.sum(_REQUESTS)),
            _number(look.sum("streamsim_decision_calls_total")),
            _number(sum(_failed(look))),
            _duration(percentile(look, 0.99)),
            *(
                _number(look.sum(f"streamsim_{name}"))
                for name in ("lane_depth", "sandbox_workers", "model_workers", "live_runs", "outbox_rows")
            ),
        )
        yield f"{url:{widest}}" + "".join(f"{cell:>13}" for cell in cells)
    for url, message in wrong.items():
        yield f"{url:{widest}}  {message}"
    yield ""
    routes = defaultdict[str, float](float)
    for look in looks.values():
        for labels, value in look.samples.get(_REQUESTS, {}).items():
            routes[dict(labels)["route"]] += value
    yield f"{f'requests{per}':>13}{'median':>13}{'99 %':>13}  route"
    for route, rate in sorted(routes.items(), key=lambda item: -item[1])[:ROUTES]:
        if rate:
            times = (_duration(percentile(_merged(looks.values()), share, route)) for share in (0.5, 0.99))
            yield f"{_number(rate):>13}" + "".join(f"{one:>13}" for one in times) + f"  {route}"


def percentile(look: Look, share: float, route: str | None = None) -> float | None:
    """The time in s within which this share of requests was answered, interpolated in its bucket.

    As `histogram_quantile` of Prometheus does; infinite beyond the last bucket, None without requests.

    :param share: from 0 to 1. :param route: of this route alone; of all by default.
    """
    counts = defaultdict[float, float](float)
    for labels, value in look.samples.get(_TIMES, {}).items():
        known = dict(labels)
        if route is None or known["route"] == route:
            counts[float(known["le"])] += value
    buckets = sorted(counts.items())
    if not buckets or not buckets[-1][1]:
        return None
    wanted = share * buckets[-1][1]
    low, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted and count > below:
            return (
                bound if bound == float("inf") else low + (bound - low) * (wanted - below) / (count - below)
            )
        low, below = bound, count
    return None


def parse(text: str, at_s: float = 0.0) -> Look:
    """A look from the Prometheus text format."""
    samples: dict[str, dict[Labels, float]] = defaultdict(dict)
    for line in text.splitlines():
        if found := _SAMPLE.match(line):
            samples[found[1]][tuple(_LABEL.findall(found[2] or ""))] = float(found[3])
    return Look(at_s, samples)


def fetch(url: str, at_s: float) -> Look:
    """Look at the process at a URL, e.g. "http://10.0.0.5:8080".

    :raises NoMetrics: it does not answer, or is no streamsim.
    """
    place = url.rstrip("/").removesuffix("/metrics") + "/metrics"
    if not place.startswith(("http://", "https://")):
        raise NoMetrics(f"{url}: must be a URL such as {DEFAULT_URL}")
    try:
        with urllib.request.urlopen(place, timeout=TIMEOUT_S) as answer:
            look = parse(answer.read(MAX_BYTES).decode("utf-8", "replace"), at_s)
    except urllib.error.HTTPError as error:
        raise NoMetrics(f"answers {error.code} at {place}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise NoMetrics(f"cannot be reached at {place}: {getattr(error, 'reason', error)}") from None
    if "streamsim_lane_depth" not in look.samples:
        raise NoMetrics(f"what answers at {place} is no streamsim")
    return look


def _look_at(urls: Iterable[str], now_s: Callable[[], float]) -> tuple[dict[str, Look], dict[str, str]]:
    looks: dict[str, Look] = {}
    wrong: dict[str, str] = {}
    for url in urls:
        try:
            looks[url] = fetch(url, now_s())
        except NoMetrics as error:
            wrong[url] = str(error)
    return looks, wrong


def _failed(look: Look) -> Iterator[float]:
    for labels, value in look.samples.get(_REQUESTS, {}).items():
        if dict(labels)["status"] >= "429":
            yield value


def _merged(looks: Iterable[Look]) -> Look:
    total: dict[Labels, float] = defaultdict(float)
    for look in looks:
        for labels, value in look.samples.get(_TIMES, {}).items():
            total[labels] += value
    return Look(0.0, {_TIMES: total})


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return "over 5 s" if seconds == float("inf") else f"{seconds * 1000:,.1f} ms"


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError("must be a number of seconds from 0.1 to 3600")
    return value
