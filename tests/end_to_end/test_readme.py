"""The README's commands, pasted into a shell against a fresh server, give what the README shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.guides import pasted
from tests.support import ROOT

README = ROOT / "README.md"
# What differs from one installation, or one decision, to the next.
VARIES = {"id", "key", "headline", "last_added_get_action", "last_added_set_reward"}


def same(shown: Any, given: Any, name: str = "") -> bool:
    """Whether an answer is as shown: the same names and values, or the same type where values vary."""
    if isinstance(shown, dict):
        return (
            isinstance(given, dict)
            and shown.keys() == given.keys()
            and all(same(shown[key], given[key], key) for key in shown)
        )
    return type(shown) is type(given) and (name in VARIES or shown == given)


def test_the_readmes_commands_give_what_it_shows(tmp_path: Path) -> None:
    answers = pasted("README.md", tmp_path, skip=1)
    assert len(answers) == 7
    for commands, shown, given in answers:
        assert same(shown, given), f"{commands}\nshows {shown}\ngave {given}"


def test_every_file_that_the_readme_links_exists() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / target).exists(), target


def test_every_make_target_that_the_readme_names_exists() -> None:
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make (\w+)`", README.read_text(encoding="utf-8")):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
