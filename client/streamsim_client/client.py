"""The two clients: `Client` for code without an event loop, `AsyncClient` for asyncio."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, Self

import httpx

from streamsim_client.accounts import Accounts
from streamsim_client.decisions import Decisions
from streamsim_client.evaluation import Evaluation
from streamsim_client.experiments import Experiments
from streamsim_client.groups import S
from streamsim_client.models import Jobs, Models, Sweeps
from streamsim_client.retries import Retries
from streamsim_client.runs import Project, Runs
from streamsim_client.scenarios import Scenarios, Sessions
from streamsim_client.sending import Asyncio, Blocking
from streamsim_client.service import Service
from streamsim_client.stats import Stats

TIMEOUT_S = 90.0
"""Longer than the server lets a request simulate (its `evaluation.request_s`)."""


class _Faces(Generic[S]):
    def __init__(self, sender: S) -> None:
        self._sender = sender
        self.accounts: Accounts[S] = Accounts(sender)
        self.service: Service[S] = Service(sender)
        self.experiments: Experiments[S] = Experiments(sender)
        self.decisions: Decisions[S] = Decisions(sender)
        self.stats: Stats[S] = Stats(sender)
        self.evaluation: Evaluation[S] = Evaluation(sender)
        self.models: Models[S] = Models(sender)
        self.scenarios: Scenarios[S] = Scenarios(sender)
        self.sessions: Sessions[S] = Sessions(sender)
        self.sweeps: Sweeps[S] = Sweeps(sender)
        self.jobs: Jobs[S] = Jobs(sender)
        self.runs: Runs[S] = Runs(sender)

    def project(self, account: str, project: str) -> Project[S]:
        """Runs of a project.

        :param account: the user's name.
        :param project: a name for a group of runs, of your choice.
        """
        return Project(self._sender, account, project)


class Client(_Faces[Blocking]):
    """All calls of a streamsim server, in groups. A context that closes its connections.

    Threads may share one.

    :param url: of the server, e.g. "http://127.0.0.1:8080".
    :param token: a bearer token; or call `accounts.log_in`.
    :param timeout_s: longest wait for the next bytes of an answer.
    :param http: an httpx client to use, e.g. with certificates or a proxy of your own; you close it, and
        its timeout counts.
    :raises ValueError: `url` is no http:// or https:// address.

    >>> with Client(URL, token=TOKEN) as client:
    ...     client.service.ready()
    {'status': 'ready'}
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: Retries = Retries(),  # noqa: B008 -- frozen
        http: httpx.Client | None = None,
    ) -> None:
        tls = _tls(url)
        sends = httpx.Client(timeout=timeout_s, verify=tls) if http is None else http
        self._own = sends if http is None else None
        super().__init__(Blocking(sends, url, token, retries))

    def close(self) -> None:
        """Close the connections."""
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(_Faces[Asyncio]):
    """As `Client`, with the same calls as coroutines and asynchronous iterators.

    :param http: as for `Client`, an `httpx.AsyncClient`.
    :raises ValueError: `url` is no http:// or https:// address.

    >>> import asyncio
    >>> async def arms():
    ...     async with AsyncClient(URL) as client:
    ...         return await client.decisions.get_actions(ID, KEY, [{"visitor": 1}, {"visitor": 2}])
    >>> asyncio.run(arms())
    [{'action': {'arm': 'a'}}, {'action': {'arm': 'a'}}]
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: Retries = Retries(),  # noqa: B008 -- frozen
        http: httpx.AsyncClient | None = None,
    ) -> None:
        tls = _tls(url)
        sends = httpx.AsyncClient(timeout=timeout_s, verify=tls) if http is None else http
        self._own = sends if http is None else None
        super().__init__(Asyncio(sends, url, token, retries))

    async def close(self) -> None:
        """Close the connections."""
        if self._own is not None:
            await self._own.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _tls(url: str) -> bool:
    """Whether the server has a certificate to check. If not, httpx need not load what it trusts, which takes
    longer than many requests.

    :raises ValueError: it is not the address of a server.
    """
    parsed = httpx.URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"{url!r} is no http:// or https:// address")
    return parsed.scheme == "https"
