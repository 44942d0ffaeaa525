"""Files of a container that are on no volume."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamsim.cli import places
from streamsim.cli.places import goes_with_the_container

# As Docker makes them: layers, a named volume, a folder with a space in its name, and a file.
MOUNTS = """\
1180 1034 0:54 / / rw,relatime master:325 - overlay overlay rw,lowerdir=/l/A:/l/B,upperdir=/d,workdir=/w
1181 1180 0:57 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
1190 1180 254:0 /volumes/kept/_data /data rw,relatime master:1 - ext4 /dev/vda rw
1191 1180 254:0 /home/me/back\\040up /back\\040up rw,relatime - ext4 /dev/vda rw
1192 1180 254:0 /hosts /etc/hosts rw,relatime - ext4 /dev/vda rw
"""


@pytest.mark.parametrize(
    ("path", "lost"),
    [
        ("/backup.db", True),
        ("/database/backup.db", True),
        ("/data/backup.db", False),
        ("/data/deep/backup.db", False),
        ("/back up/backup.db", False),
        ("/etc/hosts2", True),
    ],
)
def test_a_file_on_no_volume_goes_with_its_container(path: str, lost: bool) -> None:
    assert goes_with_the_container(Path(path), MOUNTS) == lost


def test_a_later_mount_covers_an_earlier_one() -> None:
    over = MOUNTS + "1193 1180 0:60 / /data rw - overlay overlay rw\n"
    assert goes_with_the_container(Path("/data/backup.db"), over)


def test_elsewhere_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MOUNTS", tmp_path / "none")
    assert not goes_with_the_container(tmp_path / "x")
