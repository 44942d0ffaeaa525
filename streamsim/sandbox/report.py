"""What the zygote tells the host about the confinement that this machine gives."""

from __future__ import annotations

import msgspec


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The layers reached, for `streamsim doctor` and for the decision whether to serve.

    `namespaces`: those in force, empty where the kernel allows none; `through`: host, user or none.
    `root`: own (only the Python trees exist) or shared (Landlock alone hides files).
    `landlock`: ABI version, 0 if absent. `seccomp`: whether system calls are filtered.
    `uids`: first and number of the workers' own user ids; (own id, 0) if all run as the server's user.
    `cgroup`: controllers in force per worker, empty if none.
    `readable`: workers can also import what is not preloaded.
    `versions`: of Python, the kernel and the preloaded libraries. `start_ms`: time that the start took.
    `missing`: layers without which it must not serve, each with its reason. `notes`: weaker, but acceptable.
    """

    namespaces: list[str]
    through: str
    root: str
    landlock: int
    seccomp: bool
    uids: tuple[int, int]
    cgroup: list[str]
    readable: bool
    versions: dict[str, str]
    start_ms: float
    missing: dict[str, str]
    notes: list[str]
