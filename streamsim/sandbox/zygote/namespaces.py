"""Own namespaces and a root that holds nothing but the Python trees (namespaces(7), pivot_root(2))."""

from __future__ import annotations

import ctypes
import os
import site
import stat
import struct
import sys
import sysconfig
from collections.abc import Iterable
from functools import cache
from typing import Final

import streamsim
from streamsim.sandbox import table
from streamsim.sandbox.zygote import kernel

NEW_MOUNT, NEW_UTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
FLAGS: Final = NEW_MOUNT | NEW_UTS | NEW_IPC | NEW_PID | NEW_NET
NAMES: Final = ("mount", "uts", "ipc", "pid", "net")
MS_RDONLY, MS_NOSUID, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 8, 32, 4096, 16384, 1 << 18
MNT_DETACH: Final = 2
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC, MOVE_MOUNT_F_EMPTY_PATH = 1, os.O_CLOEXEC, 4
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4
# Covered by the new root while it is built; everything needed from below it has been opened before.
BUILD_AT: Final = "/usr"

HOST, USER, NONE = "host", "user", "none"
"""How namespaces were reached: with the host's own privilege, with a user namespace, not at all."""


def package() -> str:
    """The `streamsim` package directory; never its parent, which in a checkout holds data and settings."""
    return os.path.dirname(os.path.abspath(streamsim.__file__))


def trees(libraries: Iterable[str] = ()) -> list[str]:
    """What a worker may read: standard library, site packages, shared libraries, this package.

    :param libraries: further directories that policy code may import from.
    """
    wanted = [*_of_python(), *table.SYSTEM_TREES, package(), *libraries]
    found = sorted({os.path.abspath(path) for path in wanted if os.path.isdir(path)})
    return [path for path in found if not any(path.startswith(other + "/") for other in found)]


@cache
def _of_python() -> tuple[str, ...]:
    """Where this Python has its files; to work that out takes milliseconds."""
    prefixes = (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)
    wanted = [os.path.join(prefix, lib) for prefix in prefixes for lib in ("lib", "lib64")]
    wanted += [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return *wanted, *site.getsitepackages()


def exposed(path: str, libraries: Iterable[str] = ()) -> bool:
    """Whether workers may read `path`: then neither data nor settings may lie there."""
    real = os.path.realpath(path)
    return any(f"{real}/".startswith(f"{os.path.realpath(tree)}/") for tree in trees(libraries))


def attempt(how: str, readable: list[str]) -> OSError | None:
    """Tries `enter` in a child process. Returns what was refused, or None if it works."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            enter(how, readable)
            os.write(writer, b"\0")
        except OSError as error:
            os.write(writer, f"{error.errno} {error.strerror}".encode())
        except Exception as error:
            os.write(writer, f"0 {error!r}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(child, 0)
    if text == "\0":
        return None
    code, _, what = text.partition(" ")
    return OSError(int(code or 0), what or "the attempt ended without a word")


def enter(how: str, readable: list[str]) -> list[str]:
    """Moves this process, single-threaded, into new namespaces and a read-only root with only `readable`.

    The process-id namespace holds from the next fork on; that child is its process 1.

    :returns: what is weaker than it could be.
    :raises OSError: naming the step that the kernel refuses.
    """
    if how == USER:
        _unshare_user()
    else:
        _unshare(FLAGS)
    notes = []
    try:
        kernel.checked(kernel.LIBC.sethostname(b"sandbox", 7), "sethostname")
    except PermissionError as error:
        # Podman's default profile lets all other steps through.
        notes.append(f"the name of this host is visible: {error.strerror}")
    _mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    _pivot(readable)
    return notes


def _unshare(flags: int) -> None:
    kernel.checked(kernel.LIBC.unshare(flags), "unshare")


def _unshare_user() -> None:
    """A helper that stays outside writes the id map: as root all ids, for the workers; else the own one."""
    identifiers = {"uid_map": os.geteuid(), "gid_map": os.getegid()}
    maps = {name: _map(name, own) for name, own in identifiers.items()}
    pid = os.getpid()
    reader, writer = os.pipe()
    helper = os.fork()
    if helper == 0:
        code = 1
        try:
            os.close(writer)
            if os.read(reader, 1):
                if os.geteuid() != 0:
                    _write(f"/proc/{pid}/setgroups", "deny")
                for name, text in maps.items():
                    _write(f"/proc/{pid}/{name}", text)
                code = 0
        except OSError as error:
            code = error.errno or 1
        finally:
            os._exit(code)
    os.close(reader)
    try:
        _unshare(FLAGS | NEW_USER)
        os.write(writer, b"\0")
    finally:
        os.close(writer)
        _, status = os.waitpid(helper, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise OSError(code, f"writing the id map: {os.strerror(code)}")


def _map(name: str, own: int) -> str:
    if os.geteuid() != 0:
        return f"{own} {own} 1\n"
    with open(f"/proc/self/{name}") as file:
        rows = [line.split() for line in file]
    return "".join(f"{inside} {inside} {count}\n" for inside, _, count in rows)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _pivot(readable: list[str]) -> None:
    # `/lib -> usr/lib` stays a symbolic link; any other path becomes a directory of its own.
    links = {path: os.readlink(path) for path in table.SYSTEM_TREES if os.path.islink(path)}
    copies = [(path, _clone(path)) for path in [*readable, *table.DEVICES] if path not in links]
    _mount(b"none", BUILD_AT.encode(), b"tmpfs", MS_NOSUID, b"mode=0755,size=1m")
    umask = os.umask(0o022)
    for path, tree in copies:
        target = BUILD_AT + path
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        kernel.setup("move_mount", tree, b"", AT_FDCWD, target.encode(), MOVE_MOUNT_F_EMPTY_PATH)
        os.close(tree)
    for path, points_to in links.items():
        os.symlink(points_to, BUILD_AT + path)
    os.umask(umask)
    os.chdir(BUILD_AT)
    kernel.setup("pivot_root", b".", b".")
    kernel.checked(kernel.LIBC.umount2(b".", MNT_DETACH), "umount2")
    os.chdir("/")
    _restrict_mount(AT_FDCWD, b"/", ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV, 0)


def _clone(path: str) -> int:
    """A detached read-only copy of the mounts at `path`."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE
    tree = kernel.setup("open_tree", AT_FDCWD, path.encode(), flags)
    attributes = ATTR_RDONLY | ATTR_NOSUID | (0 if path in table.DEVICES else ATTR_NODEV)
    _restrict_mount(tree, b"", attributes, AT_EMPTY_PATH | AT_RECURSIVE)
    return tree


def _restrict_mount(descriptor: int, path: bytes, attributes: int, flags: int) -> None:
    attribute = struct.pack("=QQQQ", attributes, 0, 0, 0)
    kernel.setup("mount_setattr", descriptor, path, flags, attribute, len(attribute))


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int, data: bytes | None) -> None:
    result = kernel.LIBC.mount(source, target, kind, ctypes.c_ulong(flags), data)
    kernel.checked(result, f"mount {target.decode()}")
