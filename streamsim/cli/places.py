"""Whether a file is kept where it is: a container's own file system goes with the container."""

from __future__ import annotations

from pathlib import Path
from typing import Final

MOUNTS: Final = Path("/proc/self/mountinfo")
LAYERED: Final = frozenset({"overlay", "fuse-overlayfs", "aufs"})


def goes_with_the_container(path: Path, mounts: str | None = None) -> bool:
    """Whether a file belongs to the layers of a container and to no volume.

    :param mounts: text in the form of `/proc/self/mountinfo` (proc(5)), by default that of this process.
    """
    if mounts is None:
        mounts = MOUNTS.read_text() if MOUNTS.exists() else ""
    best, kind = -1, ""
    target = path.absolute()
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        place = Path(fields[4].encode().decode("unicode_escape"))
        # A later mount on the same place covers the earlier one.
        if target.is_relative_to(place) and len(place.parts) >= best:
            best, kind = len(place.parts), after.split(" ")[0]
    return kind in LAYERED
