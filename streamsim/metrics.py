"""What the service counts and times, in Prometheus' form.

With several server processes on one port a scrape reaches any of them; prometheus_client then adds up what
all processes wrote to the folder that `PROMETHEUS_MULTIPROC_DIR` names.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})


class Metrics:
    """The registry of one server process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.backlog = 0  # of the store, as the jobs last heard
        self._requests = Counter(
            "streamsim_http_requests_total",
            "Answered requests.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "streamsim_http_request_seconds",
            "Time from a request's headers to its answer.",
            ("route",),
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._calls = Counter(
            "streamsim_decision_calls_total",
            "Calls of policy code that were committed.",
            registry=self.registry,
        )
        self._commits = Counter(
            "streamsim_commits_total", "Commits of batches, by result.", ("result",), registry=self.registry
        )
        self._committed = self._commits.labels("committed")
        self._refused = self._commits.labels("refused")
        self._failed_items = Counter(
            "streamsim_upkeep_failed_items_total",
            "Items of periodic work that failed and are tried again, by work.",
            ("work",),
            registry=self.registry,
        )
        self._messages = Counter(
            "streamsim_webhook_attempts_total",
            "Attempts to send a message to a webhook, by result: delivered, retried or failed.",
            ("result",),
            registry=self.registry,
        )
        # Looking a labelled child up in the library takes a lock and a tuple of texts; requests repeat.
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._gauges: list[tuple[Gauge, Callable[[], float]]] = []
        self._counters: list[tuple[Counter, Callable[[], float], list[float]]] = []

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count and time one answered request; `route` is a path template, never a path.

        A method that no standard has is "other": nothing that a client writes becomes a label.
        """
        if method not in METHODS:
            method = "other"
        known = self._known.get((route, method, status))
        if known is None:
            known = (self._requests.labels(route, method, str(status)), self._seconds.labels(route))
            self._known[route, method, status] = known
        known[0].inc()
        known[1].observe(seconds)

    def failed_item(self, work: str) -> None:
        """Count an item of periodic work that failed."""
        self._failed_items.labels(work).inc()

    def message(self, result: Literal["delivered", "retried", "failed"]) -> None:
        """Count an attempt to send a message to a webhook."""
        self._messages.labels(result).inc()

    def commit(self, calls: int, refused: bool) -> None:
        """Count one commit of a batch of calls; `refused` if another process's came first."""
        if refused:
            self._refused.inc()
        else:
            self._committed.inc()
            self._calls.inc(calls)

    def gauge(
        self,
        name: str,
        meaning: str,
        read: Callable[[], float],
        *,
        mode: Literal["livesum", "livemax"] = "livesum",
    ) -> None:
        """A present value, read when sampled; over several processes the live ones' sum, or largest."""
        gauge = Gauge(name, meaning, registry=self.registry, multiprocess_mode=mode)
        self._gauges.append((gauge, read))

    def counter(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """A count that only rises, read when sampled."""
        self._counters.append((Counter(name, meaning, registry=self.registry), read, [0.0]))

    def sample(self) -> None:
        """Read what is read on demand. Called at a scrape, and by the jobs for scrapes of other processes."""
        for gauge, read in self._gauges:
            gauge.set(read())
        for counter, read, last in self._counters:
            value = read()
            counter.inc(value - last[0])
            last[0] = value

    def text(self) -> bytes:
        """All metrics in the Prometheus text format."""
        self.sample()
        registry = self.registry
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
