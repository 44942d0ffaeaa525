"""The README's commands, pasted into a shell against a fresh server, give what the README shows."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.backends import Storage
from tests.support import PASSWORD, Server

README = Path(__file__).parents[2] / "README.md"
# What differs from one installation, or one decision, to the next.
VARIES = {"id", "key", "headline", "last_added_get_action", "last_added_set_reward"}
MARK = "--- end of a command ---"


def blocks() -> list[tuple[str, str]]:
    """(commands, shown answer) of the README, after the one that starts the server."""
    found = re.findall(r"```(sh|json)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert "make serve" in found[0][1]
    pairs = list(zip(found[1::2], found[2::2], strict=True))
    assert all(command[0] == "sh" and answer[0] == "json" for command, answer in pairs)
    return [(command[1], answer[1]) for command, answer in pairs]


def same(shown: Any, given: Any, name: str = "") -> bool:
    """Whether an answer is as shown: the same names and values, or the same type where values vary."""
    if isinstance(shown, dict):
        return (
            isinstance(given, dict)
            and shown.keys() == given.keys()
            and all(same(shown[key], given[key], key) for key in shown)
        )
    return type(shown) is type(given) and (name in VARIES or shown == given)


def test_the_readmes_commands_give_what_it_shows(tmp_path: Path, storage: Storage) -> None:
    pairs = blocks()
    with Server(tmp_path / "server", settings=storage) as server:
        script = f"\necho; echo '{MARK}'\n".join(command for command, _ in pairs)
        script = script.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
        script = script.replace("correct-horse", PASSWORD)
        ended = subprocess.run(
            ["bash", "-e"],
            input=script,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    answers = [json.loads(answer) for answer in ended.stdout.split(MARK)]
    for (command, shown), given in zip(pairs, answers, strict=True):
        assert same(json.loads(shown), given), f"{command}\nshows {shown}\ngave {given}"


def test_every_file_that_the_readme_links_exists() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / target).exists(), target


def test_every_make_target_that_the_readme_names_exists() -> None:
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make (\w+)`", README.read_text(encoding="utf-8")):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
