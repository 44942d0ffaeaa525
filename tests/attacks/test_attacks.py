"""The corpus of hostile policy code (I6), and attacks of our own, against a real server on a real sandbox."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.attacks import harness
from tests.attacks.conftest import Attacked, impossible
from tests.attacks.corpus import FIRST, MORE, POLICIES
from tests.attacks.harness import Kind, Server
from tests.attacks.own import OWN
from tests.attacks.targets import SECRET
from tests.effort import LONG

pytestmark = pytest.mark.serial

# Must be found out, or the harness sees nothing.
CONTROLS: list[dict[str, Any]] = [
    {"id": "control-answer", "code": "self.action['pwned'] = 1", "expect": ["ok"]},
    {"id": "control-log", "code": "self.log_data({'a': ['pwned']})", "expect": ["ok"]},
    {"id": "control-end", "code": "pass", "expect": ["error"]},
]
SNIPPETS = POLICIES + OWN
# In short half of one corpus as an ordinary user, and our own: what they try is refused by the same filters.
OF_KIND: dict[Kind, list[dict[str, Any]]] = {
    "root": SNIPPETS,
    "user": SNIPPETS if LONG else [one for one in POLICIES if one not in MORE][::2] + OWN,
}
# Where a worker can have no namespaces, a path says whether a file is there, its size and its owner.
SHOWN = "stat-oracle"
WITHOUT_NAMESPACES: tuple[Kind, ...] = ("container", "container-user") if LONG else ()
OF_KIND |= dict.fromkeys(WITHOUT_NAMESPACES, SNIPPETS)
REFUSED = {
    kind: [one for one in ones if kind not in WITHOUT_NAMESPACES or one["id"] != SHOWN]
    for kind, ones in OF_KIND.items()
}

RESULTS: dict[Kind, harness.Result] = {}


@pytest.fixture
def result(kind: Kind, servers: dict[Attacked, Server]) -> harness.Result:
    """All snippets of a kind, run once against a server of that user."""
    if reason := impossible(kind):
        pytest.skip(reason)
    if kind not in RESULTS:
        RESULTS[kind] = harness.run(servers[kind], OF_KIND[kind] + CONTROLS)
    return RESULTS[kind]


def each(snippets: Mapping[Kind, list[dict[str, Any]]]) -> pytest.MarkDecorator:
    """A test of each of them, by kind."""
    all_of_them = [
        pytest.param(kind, one, id=f"{kind}-{one['id']}") for kind, ones in snippets.items() for one in ones
    ]
    return pytest.mark.parametrize(("kind", "snippet"), all_of_them)


def test_the_corpus_is_whole() -> None:
    assert (len(FIRST), len(MORE)) == (256, 158)
    assert len({snippet["id"] for snippet in SNIPPETS}) == len(SNIPPETS)


@each(REFUSED)
def test_it_ends_as_it_must(result: harness.Result, snippet: dict[str, Any]) -> None:
    assert harness.faults(snippet, result.outcomes[snippet["id"]]) == [], snippet["must"]


if LONG:

    @pytest.mark.parametrize("kind", WITHOUT_NAMESPACES)
    def test_without_namespaces_a_file_shows_that_it_is_there_its_size_and_owner_and_no_more(
        result: harness.Result,
    ) -> None:
        outcome = result.outcomes[SHOWN]
        assert re.fullmatch(r'{"action":{"pwned":"size \d+ owner \d+"}}', outcome.answer)
        assert SECRET not in outcome.traces
        assert (outcome.end, outcome.next) == ("ok", 200)


@each(dict.fromkeys(OF_KIND, CONTROLS))
def test_what_gets_through_is_found_out(result: harness.Result, snippet: dict[str, Any]) -> None:
    assert harness.faults(snippet, result.outcomes[snippet["id"]])


@pytest.mark.parametrize("kind", OF_KIND)
def test_nothing_was_reached_changed_or_left_behind(result: harness.Result) -> None:
    assert result.wrong == []


@pytest.mark.parametrize("kind", OF_KIND)
def test_bystanders_never_wait_longer_than_the_time_limit(result: harness.Result) -> None:
    assert len(result.waits) > 100
    assert max(result.waits) < harness.WALL_MS / 1000


@pytest.mark.parametrize("kind", OF_KIND)
def test_the_servers_log_holds_nothing_of_the_attacks(result: harness.Result) -> None:
    for text in (SECRET, "FORGED", "pwned", "Traceback", " 500 "):
        assert text not in result.log
