"""docs/from-streamingbandit.md: its curl commands give what it shows."""

from __future__ import annotations

from pathlib import Path

from tests.guides import pasted


def test_the_curl_commands_give_what_is_shown(tmp_path: Path) -> None:
    found = pasted("docs/from-streamingbandit.md", tmp_path)
    assert [given for _, _, given in found] == [shown for _, shown, _ in found]
    assert len(found) == 2
