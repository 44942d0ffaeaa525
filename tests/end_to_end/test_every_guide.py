"""Every guide runs in one checkout against one server after every other guide, in either order.

In the short form only in the order of which no reader would think.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.effort import LONG
from tests.guides import pasted_against
from tests.support import ROOT, Server

# What is not pasted at the start of each: where it says how to start a server.
GUIDES = {
    "README.md": 1,
    "docs/api.md": 0,
    "docs/policies.md": 0,
    "docs/models.md": 0,
    "docs/runs.md": 0,
    "docs/from-streamingbandit.md": 0,
    "docs/api-bandit.md": 0,
    "docs/evaluation.md": 0,
}
# What a server makes up, so that it is another each time.
DRAWN = frozenset({"id", "key", "get_action_calls", "last_added_get_action", "last_added_set_reward"})


@pytest.mark.parametrize(
    "order",
    [
        pytest.param(list(reversed(GUIDES)), id="backwards"),
        *([pytest.param(list(GUIDES), id="forwards")] if LONG else []),
    ],
)
def test_each_guide_gives_what_it_shows_after_every_other(tmp_path: Path, order: list[str]) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    with Server(tmp_path / "server") as server:
        for document in order:
            for commands, shown, given in pasted_against(server, document, tmp_path, skip=GUIDES[document]):
                if isinstance(shown, dict) and DRAWN & shown.keys():
                    assert shown.keys() == given.keys(), (document, commands)
                elif document != "README.md":
                    assert given == shown, (document, commands)
