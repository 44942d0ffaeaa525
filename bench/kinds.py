"""`python -m bench.kinds`: a user beside the attacks of the tests, on each kind of machine that they know."""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing.synchronize import Event
from typing import Any, Final, get_args

from bench import starve
from bench.floods import FAST, FLOODS, Flood, User
from tests.attacks import harness, test_model_attacks
from tests.attacks.corpus import POLICIES
from tests.attacks.model_code import ModelCampaign
from tests.attacks.targets import token
from tests.support import Client

_PROCESSES: Final = multiprocessing.get_context("fork")
ALONE_S: Final = 16.0
"""About as long as the attacks take: a p99 of few requests is another one each time."""
_READY_S: Final = 120.0
_PAUSE_S: Final = 0.005
"""Between two of its requests, as an application makes pauses."""
_ATTACKS: Final[dict[str, tuple[type[harness.Campaign], Sequence[dict[str, Any]], Flood]]] = {
    "policies": (harness.Campaign, POLICIES, FLOODS["hostile code"]),
    "models": (ModelCampaign, test_model_attacks.SNIPPETS, FLOODS["hostile models"]),
}
"""How and with what code the tests attack, and what the user asks for."""


class _Attacked:
    """The server that the tests of attacks begin."""

    def __init__(self, server: harness.Server) -> None:
        server.started()
        self.port = server.port

    def client(self) -> Client:
        return Client(f"http://127.0.0.1:{self.port}")

    def admin(self) -> Client:
        client = self.client()
        answer = client.post("/login", {"username": "admin", "password": token("ADMIN-PASSWORD")})
        assert answer.status == 200, answer.body
        return client


class _Campaign:
    """The tests' attacks under way, with their bystanders and their auditor, in a process of their own on the
    last processor: its clients would be on another machine."""

    def __init__(self, server: harness.Server, base: type[harness.Campaign], snippets: Any) -> None:
        self._ready, self._go = _PROCESSES.Event(), _PROCESSES.Event()
        attacks = _waiting(base, self._ready, self._go, set(harness.working(server.process.pid)))
        self._process = _PROCESSES.Process(target=self._attack, args=(server, attacks, snippets), daemon=True)

    def __enter__(self) -> _Campaign:
        self._process.start()
        assert self._ready.wait(_READY_S), "the attacks did not begin"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def attack(self) -> None:
        """From here on; until then there are only bystanders and the auditor."""
        self._go.set()

    def under_way(self) -> bool:
        return self._process.is_alive()

    @staticmethod
    def _attack(server: harness.Server, attacks: type[harness.Campaign], snippets: Any) -> None:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        result = harness.Result(wrong=server.targets.wrong)
        asyncio.run(harness._run(attacks, server, result, snippets))


def _waiting(
    base: type[harness.Campaign], ready: Event, go: Event, others: set[int]
) -> type[harness.Campaign]:
    """A campaign that says when it is ready to attack, and waits; whose victims are not the `others`."""

    class Waiting(base):  # type: ignore[misc, valid-type]  # mypy takes no variable as a base class
        async def _asked(self) -> list[int]:
            return [pid for pid in await super()._asked() if pid not in others]

        async def _work(self, queue: list[dict[str, Any]]) -> None:
            ready.set()
            await asyncio.to_thread(go.wait)
            await super()._work(queue)

    return Waiting


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.kinds", description=__doc__)
    parser.add_argument("--seconds", type=float, default=ALONE_S, help="length of the measurement alone")
    table(parser.parse_args().seconds)


def table(seconds: float) -> None:
    """Each kind and campaign on a server of its own, which ends with it."""
    starve.heading("server is", "attacked by")
    for kind in get_args(harness.Kind):
        for name, (base, snippets, flood) in _ATTACKS.items():
            with harness.serving(kind) as server:
                victim = User(_Attacked(server), "victim", flood, [FAST])
                starve.measured(victim, flood, 0.5)
                with _Campaign(server, base, snippets) as campaign:
                    alone = starve.measured(victim, flood, seconds, _PAUSE_S)
                    campaign.attack()
                    beside = starve.measured_while(victim, flood, campaign.under_way, _PAUSE_S)
            starve.print_row(kind, name, alone, beside)


if __name__ == "__main__":
    main()
