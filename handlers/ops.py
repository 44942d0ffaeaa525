"""What operators and their machines look at: a page with links, liveness, readiness, metrics."""

from __future__ import annotations

from importlib.metadata import version
from typing import ClassVar

from handlers.base import Access, BaseHandler
from handlers.console import PAGE as CONSOLE
from handlers.console import ConsoleFiles
from streamsim.errors import Unavailable
from streamsim.metrics import CONTENT_TYPE
from streamsim.storage.contract.errors import StoreUnavailable

VERSION = version("streamsim")

PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>streamsim</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }}
</style>
<h1>streamsim {VERSION}</h1>
<p>Contextual-bandit experiments and simulation models as one service.</p>
<ul>
<li><a href="/healthy">Is it alive?</a>
<li><a href="/ready">Can it decide?</a>
<li><a href="/metrics">Metrics</a>
<li><a href="/openapi.json">All endpoints</a>, as an OpenAPI document
<li>After a login: <a href="/exp">your experiments</a>, <a href="/exp/defaults">policies to start from</a>
</ul>
</html>
"""


class PageHandler(ConsoleFiles):
    """`/`"""

    def get(self) -> None:
        """The web console, or where it was not built a page with links."""
        console = self.files.get(CONSOLE)
        if console is not None:
            self.send(console, "no-store")
            return
        self.set_header("Content-Type", "text/html; charset=utf-8")
        policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
        self.set_header("Content-Security-Policy", policy)
        self.finish(PAGE)


class HealthyHandler(BaseHandler):
    """`/healthy`"""

    access: ClassVar[Access] = "public"

    def get(self) -> None:
        """200 while the process runs; it listens once it can serve."""
        self.write_json({"status": "ok", "version": VERSION})

    def head(self) -> None:
        """As GET, without the body."""


class ReadyHandler(BaseHandler):
    """`/ready`"""

    access: ClassVar[Access] = "public"

    async def get(self) -> None:
        """200 if a decision could be committed now; 503 if a store is away, which it names, or the process
        is stopping."""
        if self.services.draining:
            raise Unavailable("the server is stopping")
        store = self.services.store
        try:
            await store.ping()
        except StoreUnavailable:
            raise Unavailable(f"{store.decides_on} cannot be reached now") from None
        self.write_json({"status": "ready"})


class OpenApiHandler(BaseHandler):
    """`/openapi.json`"""

    access: ClassVar[Access] = "public"

    def get(self) -> None:
        """All endpoints as an OpenAPI document."""
        self.write_json(self.application.settings["openapi"]())


class MetricsHandler(BaseHandler):
    """`/metrics`"""

    access: ClassVar[Access] = "public"

    async def get(self) -> None:
        """Counters and times in the Prometheus text format."""
        await self.services.instances.count()
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(self.services.metrics.text())


routes = [
    ("/", PageHandler),
    ("/healthy", HealthyHandler),
    ("/ready", ReadyHandler),
    ("/metrics", MetricsHandler),
    ("/openapi.json", OpenApiHandler),
]
