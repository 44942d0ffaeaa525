"""Model files that attack whoever reads them: entities, files of the host, names outside, sheer size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.attacks.corpus import FILES
from tests.support import Client, Server

ENDS = {201: "ok", 400: "error", 413: "error", 422: "error"}
OF_THE_HOST = "root:"
"""How the file begins that some of them ask for."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with Server(tmp_path_factory.mktemp("files")) as server:
        yield server.admin()


@pytest.mark.parametrize("snippet", FILES, ids=lambda one: one["id"])
def test_a_hostile_file_is_refused_or_tells_nothing(client: Client, snippet: dict[str, Any]) -> None:
    body = {
        "name": "hostile",
        "engine": snippet["engine"],
        "files": {snippet["file"]: snippet["code"]},
        "main": snippet["file"],
    }
    answer = client.post("/models", body)
    assert ENDS.get(answer.status, answer.status) in snippet["expect"], answer.body
    traces = [str(answer.body), str(client.get("/models").body)]
    if answer.status == 201:
        traces.append(str(client.get("/models/hostile").body))
        assert client.delete("/models/hostile").status == 200
    assert not any(OF_THE_HOST in trace for trace in traces)
    assert all(len(trace) < 16_384 for trace in traces)


def test_the_host_has_the_file_that_is_asked_for() -> None:
    with open("/etc/passwd") as file:
        assert OF_THE_HOST in file.read()
