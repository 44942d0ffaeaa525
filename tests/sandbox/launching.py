"""Executes a command as it would run on another kind of machine: `python launching.py KIND COMMAND...`.

root             as it is
user             as an ordinary user, who may make user namespaces
container        as root in a container with the usual default profile: few capabilities, no namespaces
container-user   the same as an ordinary user
podman-user      as an ordinary user in a container with Podman's default profile, which allows namespaces
hidden-python    like container, but worker users cannot read Python: it is below a home of mode 700
few-capabilities as root with a container's capabilities, where everybody may make user namespaces
no-landlock      as root with namespaces, on a kernel without Landlock
bare             a container on a kernel without Landlock
no-seccomp       as root on a kernel that lets nobody filter system calls
landlock-alone   a container on such a kernel, so that neither namespaces nor a filter help

Refusals come from a system call filter, so to the command they look like the kernel's own. An ordinary user
may not be able to reach this Python (a home of mode 700): a private mount namespace covers each closed folder
on the way with an open one that holds only the trees that are needed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

from streamsim.sandbox import table
from streamsim.sandbox.zygote import kernel, namespaces, seccomp

NOBODY, GROUP = 65534, 4242
KINDS = {
    "root": "",
    "user": "reach drop",
    "container": "reach caps contain",
    "container-user": "reach contain drop",
    "podman-user": "reach podman drop",
    "hidden-python": "caps contain",
    "few-capabilities": "reach caps",
    "no-landlock": "landlock",
    "bare": "reach caps contain landlock",
    "no-seccomp": "seccomp",
    "no-clone3": "clone3",
    "landlock-alone": "reach caps contain seccomp",
}
# What the usual container engines leave to root: chown, dac_override, fowner, fsetid, kill, setgid, setuid,
# setpcap, net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap.
CONTAINER_CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
NAMESPACE_FLAGS = 0x7E020000
# (x86_64, aarch64)
UNSHARE, SETNS, MOUNT, UMOUNT, CLONE = (272, 97), (308, 268), (165, 40), (166, 39), (56, 220)
SETHOSTNAME, SETDOMAINNAME = (170, 161), (171, 162)
FILESYSTEMS = ((428, 428), (429, 429), (430, 430), (432, 432), (442, 442), (155, 41))


def main(kind: str, command: list[str]) -> None:
    steps = KINDS[kind].split()
    if os.geteuid() == 0:
        os.setgroups([GROUP])
    if "reach" in steps:
        reach([sys.prefix, sys.base_prefix, namespaces.package(), os.path.dirname(os.path.abspath(__file__))])
    if "caps" in steps:
        for capability in set(range(41)) - set(CONTAINER_CAPABILITIES):
            kernel.prctl(kernel.PR_CAPBSET_DROP, capability)
        kernel.set_capabilities(*CONTAINER_CAPABILITIES)
    refused: list[tuple[tuple[int, int], int]] = []
    if "contain" in steps:
        refused += [(entry, errno.EPERM) for entry in (UNSHARE, SETNS, MOUNT, UMOUNT, *FILESYSTEMS)]
    if "podman" in steps:
        refused += [(SETHOSTNAME, errno.EPERM), (SETDOMAINNAME, errno.EPERM)]
    if "landlock" in steps:
        names = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
        refused += [(table.SETUP[name], errno.ENOSYS) for name in names]
    if "seccomp" in steps:
        refused.append((table.SETUP["seccomp"], errno.ENOSYS))
    if "clone3" in steps:
        refused.append((table.SETUP["clone3"], errno.ENOSYS))
    if refused:
        install(refused)
    if "drop" in steps and os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        # A changed user is not dumpable, and its own files below /proc then belong to root.
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    os.execve(command[0], command, dict(os.environ))


def reach(paths: list[str]) -> None:
    """Makes `paths` reachable by everybody, for this process and its children only; needs root."""
    closed: dict[str, set[str]] = {}
    for path in map(os.path.realpath, paths):
        parents = [path[:at] for at in range(1, len(path)) if path[at] == "/"]
        for parent in parents:
            if not os.stat(parent).st_mode & 1:
                closed.setdefault(parent, set()).add(path)
                break
    if not closed:
        return
    kernel.checked(kernel.LIBC.unshare(namespaces.NEW_MOUNT), "unshare")
    namespaces._mount(b"none", b"/", None, namespaces.MS_REC | namespaces.MS_PRIVATE, None)
    flags = namespaces.OPEN_TREE_CLONE | namespaces.AT_RECURSIVE
    for parent, wanted in closed.items():
        trees = {
            path: kernel.setup("open_tree", namespaces.AT_FDCWD, path.encode(), flags) for path in wanted
        }
        namespaces._mount(b"none", parent.encode(), b"tmpfs", 0, b"mode=0755")
        for path, tree in trees.items():
            os.makedirs(path, exist_ok=True)
            kernel.setup(
                "move_mount",
                tree,
                b"",
                namespaces.AT_FDCWD,
                path.encode(),
                namespaces.MOVE_MOUNT_F_EMPTY_PATH,
            )
            os.close(tree)


def install(refused: list[tuple[tuple[int, int], int]]) -> None:
    """Filters this process and its children: each of `refused` answers its errno, clone likewise."""
    code: list[seccomp.Instruction] = [(seccomp.LD, 0, 0, seccomp.NUMBER)]
    for entry, answer in refused:
        code += [(seccomp.JEQ, 0, 1, table.number(entry)), (seccomp.RET, 0, 0, seccomp.ERRNO | answer)]
    if (UNSHARE, errno.EPERM) in refused:
        code += [
            (seccomp.JEQ, 0, 3, table.number(CLONE)),
            (seccomp.LD, 0, 0, seccomp.ARGUMENTS),
            (seccomp.JSET, 0, 1, NAMESPACE_FLAGS),
            (seccomp.RET, 0, 0, seccomp.ERRNO | errno.EPERM),
            (seccomp.LD, 0, 0, seccomp.NUMBER),
            (seccomp.JEQ, 0, 1, 435),
            (seccomp.RET, 0, 0, seccomp.ERRNO | errno.ENOSYS),
        ]
    assembled = seccomp.assemble([*code, (seccomp.RET, 0, 0, seccomp.ALLOW)])
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    program = seccomp._Program(len(assembled) // 8, assembled)
    # prctl rather than seccomp(2), which may be what is refused from here on.
    kernel.prctl(22, 2, ctypes.byref(program))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
