"""The corpus of hostile policy code (I6), and attacks of our own, against a real server on a real sandbox."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from streamsim.sandbox.zygote import kernel
from tests.attacks import harness
from tests.attacks.own import OWN
from tests.attacks.targets import SECRET
from tests.effort import LONG

pytestmark = pytest.mark.serial


def _corpus(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Path(__file__).with_name(name).read_text())
    return found


FIRST, MORE = _corpus("corpus.json"), _corpus("corpus2.json")
FILES = [snippet for snippet in MORE if "engine" in snippet]
"""Of models, whose file is the attack: see test_model_files."""
POLICIES = [snippet for snippet in FIRST + MORE if snippet not in FILES]
# Must be found out, or the harness sees nothing.
CONTROLS: list[dict[str, Any]] = [
    {"id": "control-answer", "code": "self.action['pwned'] = 1", "expect": ["ok"]},
    {"id": "control-log", "code": "self.log_data({'a': ['pwned']})", "expect": ["ok"]},
    {"id": "control-end", "code": "pass", "expect": ["error"]},
]
SNIPPETS = POLICIES + OWN
# In short one corpus less as an ordinary user: what it tries is refused by the same filters.
OF_KIND = {"root": SNIPPETS, "user": [one for one in SNIPPETS if LONG or one not in MORE]}
CAP_SYS_ADMIN = 21


@pytest.fixture(scope="module", params=list(OF_KIND))
def result(request: pytest.FixtureRequest) -> harness.Result:
    """All snippets of a kind, run once against a server of that user."""
    root = os.geteuid() == 0
    if request.param == "root" and not root:
        pytest.skip("needs root")
    if request.param == "user" and root and not kernel.capabilities()[0] >> CAP_SYS_ADMIN & 1:
        pytest.skip("as root without CAP_SYS_ADMIN, an ordinary user may not reach this Python")
    return harness.run(request.param, OF_KIND[request.param] + CONTROLS)


def test_the_corpus_is_whole() -> None:
    assert (len(FIRST), len(MORE)) == (256, 158)
    assert len({snippet["id"] for snippet in SNIPPETS}) == len(SNIPPETS)


@pytest.mark.parametrize(
    ("result", "snippet"),
    [pytest.param(kind, one, id=f"{kind}-{one['id']}") for kind, ones in OF_KIND.items() for one in ones],
    indirect=["result"],
)
def test_it_ends_as_it_must(result: harness.Result, snippet: dict[str, Any]) -> None:
    assert harness.faults(snippet, result.outcomes[snippet["id"]]) == [], snippet["must"]


@pytest.mark.parametrize("control", [pytest.param(one, id=one["id"]) for one in CONTROLS])
def test_what_gets_through_is_found_out(result: harness.Result, control: dict[str, Any]) -> None:
    assert harness.faults(control, result.outcomes[control["id"]])


def test_nothing_was_reached_changed_or_left_behind(result: harness.Result) -> None:
    assert result.wrong == []


def test_bystanders_never_wait_longer_than_the_time_limit(result: harness.Result) -> None:
    assert len(result.waits) > 100
    assert max(result.waits) < harness.WALL_MS / 1000


def test_the_servers_log_holds_nothing_of_the_attacks(result: harness.Result) -> None:
    for text in (SECRET, "FORGED", "pwned", "Traceback", " 500 "):
        assert text not in result.log
