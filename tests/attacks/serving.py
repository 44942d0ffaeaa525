"""`python serving.py KIND FOLDER`: `streamsim serve`, with secrets planted where hostile code may look.

KIND is one of `tests/sandbox/launching.py`. In the server process CANARY tokens are in the environment, in
text in memory, and in a file with an inheritable open descriptor.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
KEPT: list[object] = []


def launch(kind: str, folder: str) -> None:
    """Becomes the server on that kind of machine."""
    sys.path.insert(0, str(HERE.parent / "sandbox"))
    import launching  # type: ignore[import-not-found]  # its folder is on the path from here on

    if os.geteuid() == 0 and "reach" in launching.KINDS[kind]:
        launching.reach([sys.prefix, sys.base_prefix, str(ROOT)])
    launching.main(kind, [sys.executable, str(HERE / "serving.py"), "here", folder])


def plant(folder: Path) -> None:
    """Secrets of the server process, beside those in its environment."""
    token = os.environ["STREAMSIM_REDIS_PASSWORD"].replace("ENV", "MEM")
    KEPT.extend(f"{token}-{number}" for number in range(100))
    descriptor = os.open(folder / "inherited", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(descriptor, token.replace("MEM", "FD").encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.set_inheritable(descriptor, True)
    KEPT.append(descriptor)


if __name__ == "__main__":
    kind, folder = sys.argv[1:]
    if kind != "here":
        launch(kind, folder)
    plant(Path(folder))
    from streamsim.cli.main import main

    os.chdir(folder)
    arguments = ["serve", "--port", "0", "--data", f"{folder}/data", "--config", f"{folder}/config.yml"]
    sys.exit(main(arguments))
