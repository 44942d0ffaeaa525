"""`python -m bench.kinds`: a user beside hostile code of another one, on each kind of machine."""

from __future__ import annotations

import argparse
from typing import Final, get_args

from bench import starve
from tests.attacks import harness
from tests.attacks.targets import token
from tests.support import Client

_FLOODS: Final = ("hostile code", "hostile models")


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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.kinds", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement")
    table(parser.parse_args().seconds)


def table(seconds: float) -> None:
    """Each kind and flood on a server of its own, which ends with it."""
    starve.heading("server is")
    for kind in get_args(harness.Kind):
        for name in _FLOODS:
            with harness.serving(kind) as server:
                starve.row(kind, _Attacked(server), name, seconds)


if __name__ == "__main__":
    main()
