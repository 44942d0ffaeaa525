"""Landlock: files outside the listed trees cannot be opened, nothing can be written (landlock(7))."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable

from streamsim.sandbox import table
from streamsim.sandbox.zygote import kernel

CREATE_RULESET_VERSION, RULE_PATH_BENEATH = 1, 1


def abi() -> int:
    """The ABI version that the kernel offers; 0 if Landlock is absent, disabled or not permitted."""
    number = table.number(table.SETUP["landlock_create_ruleset"])
    version = kernel.syscall(number, None, 0, CREATE_RULESET_VERSION)
    if version < 0 and ctypes.get_errno() not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES):
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    return max(version, 0)


def ruleset(version: int, readable: Iterable[str]) -> int:
    """A descriptor of a ruleset that allows to read below the paths in `readable` and nothing else.

    Built once; every worker restricts itself with it. Paths that do not exist are left out.

    :raises OSError: if the kernel refuses.
    """
    known = _known(version)
    attribute = struct.pack("=QQQ", known.files, known.tcp, known.scopes)[: known.attribute_bytes]
    rules = kernel.setup("landlock_create_ruleset", attribute, len(attribute), 0)
    for path in readable:
        try:
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            access = table.LANDLOCK_READ_FILE
            if stat.S_ISDIR(os.fstat(parent).st_mode):
                access |= table.LANDLOCK_READ_DIR
            rule = struct.pack("=Qi", access, parent)
            kernel.setup("landlock_add_rule", rules, RULE_PATH_BENEATH, rule, 0)
        finally:
            os.close(parent)
    return rules


def restrict(rules: int, version: int) -> None:
    """Puts this process under the ruleset, for good; `no_new_privs` must be set.

    :raises OSError: if the kernel refuses.
    """
    kernel.setup("landlock_restrict_self", rules, _known(version).flags)


def _known(version: int) -> table.Landlock:
    return max((row for row in table.LANDLOCK if row.abi <= version), key=lambda row: row.abi)
