"""A control group per worker, where the machine lets this process make one (cgroup v2, cgroups(7)).

Resource limits already bound each worker; a control group also counts what they do not see, e.g. page cache.
A group with processes cannot have limited children, so it takes a server in the root group, or in a leaf
below a delegated one (systemd: `Delegate=yes` with `DelegateSubgroup=`).
"""

from __future__ import annotations

import contextlib
import os

from streamsim.sandbox import table

MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
PREFIX = "streamsim-"


class Groups:
    """The group that holds the workers' groups; works through a descriptor, so also from another root."""

    def __init__(self, parent: int, name: str, home: int, controllers: list[str]) -> None:
        self._parent, self._name, self._home = parent, name, home
        self.controllers = controllers

    def make(self, name: str, budget: int) -> int:
        """A new group with the table's limits, as a descriptor of its folder, for `fork.into` or `enter`.

        :raises OSError: if the kernel refuses.
        """
        os.mkdir(name, dir_fd=self._home)
        for controller in self.controllers:
            for file, value in table.CGROUP[controller].items():
                limit = budget + table.CGROUP_SLACK if value is None else value
                # Not every kernel has every file, e.g. swap accounting.
                with contextlib.suppress(FileNotFoundError):
                    _write(f"{name}/{file}", str(limit), self._home)
        return os.open(name, os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._home)

    def remove(self, name: str) -> None:
        """Removes a group whose process has been reaped."""
        os.rmdir(name, dir_fd=self._home)

    def close(self) -> None:
        """Removes all of it, once no worker is left."""
        with os.scandir(self._home) as children:
            for child in children:
                if child.is_dir():
                    self.remove(child.name)
        # Where the zygote has given up the right to do this, the next one sweeps.
        with contextlib.suppress(PermissionError):
            os.rmdir(self._name, dir_fd=self._parent)


def enter(group: int) -> None:
    """Move this process into the group of a folder's descriptor.

    :raises OSError: if the kernel refuses.
    """
    _write("cgroup.procs", "0", group)


def groups() -> Groups | None:
    """A home for workers' groups with at least one of the table's controllers, or None.

    Also removes what a killed zygote left behind.
    """
    for path in _candidates():
        name = f"{PREFIX}{os.getpid()}"
        try:
            _sweep(path)
            wanted = _offered(path)
            if not wanted:
                continue
            parent = os.open(path, os.O_DIRECTORY | os.O_CLOEXEC)
            _write("cgroup.subtree_control", wanted, parent)
            os.mkdir(name, dir_fd=parent)
            home = os.open(name, os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
            _write("cgroup.subtree_control", wanted, home)
        except OSError:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(path, name))
            continue
        return Groups(parent, name, home, [sign.removeprefix("+") for sign in wanted.split()])
    return None


def _candidates() -> list[str]:
    with open("/proc/self/cgroup") as file:
        own = [line.strip().partition("::")[2] for line in file if line.startswith("0::")]
    found = []
    for mount in MOUNTS:
        if own and os.path.exists(os.path.join(mount, "cgroup.controllers")):
            path = os.path.normpath(mount + own[0])
            found += [path] if path == mount else [path, os.path.dirname(path)]
    return found


def _offered(path: str) -> str:
    with open(os.path.join(path, "cgroup.controllers")) as file:
        offered = set(file.read().split())
    return " ".join(f"+{name}" for name in table.CGROUP if name in offered)


def _sweep(path: str) -> None:
    """Groups are named after their zygote's process; one that is gone cannot remove its own."""
    for entry in os.listdir(path):
        if not entry.startswith(PREFIX) or os.path.exists(f"/proc/{entry.removeprefix(PREFIX)}"):
            continue
        # Another zygote may be at it too, and a process that is just ending holds its group for a moment.
        with contextlib.suppress(OSError):
            with os.scandir(os.path.join(path, entry)) as children:
                for child in children:
                    if child.is_dir():
                        os.rmdir(child.path)
            os.rmdir(os.path.join(path, entry))


def _write(path: str, text: str, home: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=home)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
