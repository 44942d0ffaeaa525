"""The corpus of hostile code as code of simulation models, against a real server on a real sandbox (I6)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks import harness
from tests.attacks.conftest import MODELS, Attacked
from tests.attacks.corpus import MORE, POLICIES
from tests.attacks.harness import Server
from tests.attacks.model_code import ModelCampaign, faults
from tests.attacks.targets import SECRET
from tests.effort import LONG

pytestmark = pytest.mark.serial

# Must be found out, or the harness sees nothing.
CONTROLS: list[dict[str, Any]] = [
    {"id": f"control-{number}", "code": "self.action['x'] = 'pwned'", "expect": ["ok"]} for number in range(2)
]
# Half of them at a step, half while the model is loaded. In short only every second of one corpus: the
# sandbox is the policies', on which all are tried.
CHOSEN = POLICIES if LONG else [one for one in POLICIES if one not in MORE][::2]
SNIPPETS = [{**one, "at_step": number % 2 == 0} for number, one in enumerate(CHOSEN + CONTROLS)]


@pytest.fixture(scope="module")
def result(servers: dict[Attacked, Server]) -> harness.Result:
    """All snippets, run once."""
    return harness.run(servers[MODELS], SNIPPETS, ModelCampaign)


@pytest.mark.parametrize("snippet", [pytest.param(one, id=one["id"]) for one in SNIPPETS[:-2]])
def test_it_ends_as_it_must(result: harness.Result, snippet: dict[str, Any]) -> None:
    assert faults(snippet, result.outcomes[snippet["id"]]) == [], snippet["must"]


@pytest.mark.parametrize("control", [pytest.param(one, id=one["id"]) for one in SNIPPETS[-2:]])
def test_what_gets_through_is_found_out(result: harness.Result, control: dict[str, Any]) -> None:
    assert faults(control, result.outcomes[control["id"]])


def test_nothing_was_reached_changed_or_left_behind(result: harness.Result) -> None:
    assert result.wrong == []


def test_bystanders_go_on_and_never_wait_longer_than_the_time_limit(result: harness.Result) -> None:
    assert len(result.waits) > 100
    assert max(result.waits) < harness.WALL_MS / 1000


def test_the_servers_log_holds_nothing_of_the_attacks(result: harness.Result) -> None:
    for text in (SECRET, "FORGED", "pwned", "Traceback", " 500 "):
        assert text not in result.log
