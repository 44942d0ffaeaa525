"""Is the service there, and what it counts."""

from __future__ import annotations

from typing import TypedDict

from streamsim_client.account_answers import ServerShown
from streamsim_client.groups import Group, S, call
from streamsim_client.sending import Request
from streamsim_client.values import Object


class Healthy(TypedDict):
    """`version`: of the server."""

    status: str
    version: str


class Ready(TypedDict):
    """`{"status": "ready"}`"""

    status: str


class Service(Group[S]):
    """`client.service`. Only `about` needs a login.

    >>> client.service.healthy()["status"]
    'ok'
    """

    @call
    async def healthy(self) -> Healthy:
        """Answers while the server process runs."""
        return await self._ask(Healthy, "GET", "/healthy")

    @call
    async def ready(self) -> Ready:
        """Answers if a decision could be committed now. :raises Unavailable:"""
        return await self._ask(Ready, "GET", "/ready")

    @call
    async def metrics(self) -> str:
        """Counters and times in the Prometheus text format."""
        return (await self._sender.ask(Request("GET", "/metrics", repeat="safe"))).text

    @call
    async def openapi(self) -> Object:
        """The OpenAPI document of every endpoint."""
        return await self._ask(Object, "GET", "/openapi.json")

    @call
    async def full_metrics(self) -> Object:
        """As a BptkServer's: `instanceCount`, `threadCount`, and the steps of one's own instances."""
        return await self._ask(Object, "GET", "/full-metrics")

    @call
    async def about(self) -> ServerShown:
        """Versions, store, sandbox and limits of the server; for administrators. :raises Unauthorized:"""
        return await self._ask(ServerShown, "GET", "/server")
