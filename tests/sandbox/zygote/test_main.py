"""The zygote: what it reports on each kind of machine, when it refuses, and how it ends."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamsim.sandbox import table
from streamsim.sandbox.limits import MIB
from streamsim.sandbox.zygote import landlock, namespaces

# The worker's own first steps would find the holes; the self-test must find them as well.
SABOTAGE = {
    "landlock": "from streamsim.sandbox.zygote import landlock; landlock.restrict = lambda *given: None",
    "seccomp": "from streamsim.sandbox.zygote import seccomp; "
    "seccomp.Filter.install = lambda self, pid: None",
    "rlimits": "from streamsim.sandbox.zygote import confine; confine._limits = lambda request: None",
    "user": "import os; os.setresuid = os.setresgid = lambda *ids: None",
    "descriptors": "import os; spare = os.dup(2); "
    "from streamsim.sandbox.zygote import kernel; real = kernel.setup; "
    "kernel.setup = lambda name, *given: 0 if name == 'close_range' else real(name, *given)",
    "table": "from streamsim.sandbox import table; table.CALLS += (table.Call('socket', 41, 198),)",
}


def _status(name: str) -> str:
    """A field of this process's own status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


@pytest.mark.parametrize(
    ("kind", "through"), [("root", "host"), ("few-capabilities", "user"), ("user", "user")]
)
def test_namespaces_are_reached_where_the_kernel_allows_them(
    launch: Callable[..., Any], namespaces_work: bool, kind: str, through: str
) -> None:
    if not namespaces_work:
        pytest.skip("this kernel gives no namespaces")
    machine = launch(kind)
    report = machine.report
    assert set(report.namespaces) == {"mount", "uts", "ipc", "pid", "net"}
    assert (report.root, report.through) == ("own", through)
    assert report.uids == (65534, 0) if kind == "user" else report.uids in table.UID_RANGES
    assert report.missing == {}
    assert report.notes == []


def test_podmans_default_profile_hides_all_but_the_hosts_name(
    launch: Callable[..., Any], namespaces_work: bool
) -> None:
    if not namespaces_work:
        pytest.skip("this kernel gives no namespaces")
    machine = launch("podman-user")
    report = machine.report
    assert set(report.namespaces) == {"mount", "uts", "ipc", "pid", "net"}
    assert (report.root, report.through, report.missing) == ("own", "user", {})
    assert report.notes == ["the name of this host is visible: sethostname: Operation not permitted"]
    subject = machine.spawn()
    assert subject.run("import os\nresult = os.uname().nodename") == os.uname().nodename
    # Landlock alone would let a worker see that these exist.
    assert subject.run(
        "import os\nresult = [os.path.exists(path) for path in ('/usr', '/etc', '/proc')]"
    ) == [
        True,
        False,
        False,
    ]


@pytest.mark.usefixtures("may_look_inside")
def test_no_namespace_is_the_hosts(launch: Callable[..., Any], namespaces_work: bool) -> None:
    if not namespaces_work:
        pytest.skip("this kernel gives no namespaces")
    for kind in ("root", "user"):
        there = f"/proc/{launch(kind).spawn().host_pid}/ns"
        for name in ("mnt", "uts", "ipc", "pid", "net"):
            assert os.readlink(f"{there}/{name}") != os.readlink(f"/proc/self/ns/{name}")


@pytest.mark.parametrize("kind", ["container", "container-user"])
def test_a_default_container_is_good_enough_to_serve(launch: Callable[..., Any], kind: str) -> None:
    machine = launch(kind)
    assert (machine.report.namespaces, machine.report.root, machine.report.through) == ([], "shared", "none")
    assert machine.report.missing == {}
    assert machine.report.landlock == landlock.abi() > 0
    assert machine.report.seccomp
    assert any("namespaces" in note for note in machine.report.notes)
    assert machine.spawn().run("result = 6 * 7") == 42


def test_workers_have_users_of_their_own_only_if_the_zygote_may_set_them(launch: Callable[..., Any]) -> None:
    assert launch("container").report.uids in table.UID_RANGES
    assert launch("container-user").report.uids == (65534, 0)


def test_python_that_workers_cannot_read_is_reported_and_preloaded_modules_still_work(
    launch: Callable[..., Any],
) -> None:
    if all(os.stat(parent).st_mode & 1 for parent in Path(sys.base_prefix).parents):
        pytest.skip("this Python can be read by everybody")
    machine = launch("hidden-python")
    assert not machine.report.readable
    assert any("cannot read" in note for note in machine.report.notes)
    assert machine.spawn().run("import numpy; result = float(numpy.linalg.det(numpy.eye(3)))") == 1.0


@pytest.mark.parametrize(
    ("kind", "layer"), [("no-landlock", "landlock"), ("bare", "landlock"), ("no-seccomp", "seccomp")]
)
def test_no_worker_starts_where_a_required_layer_is_missing(
    launch: Callable[..., Any], kind: str, layer: str
) -> None:
    machine = launch(kind)
    assert [*machine.report.missing] == [layer]
    assert machine.refused() == machine.report.missing[layer]


@pytest.mark.parametrize("kind", ["no-landlock", "no-seccomp"])
def test_degraded_is_said_and_keeps_the_other_layers(launch: Callable[..., Any], kind: str) -> None:
    machine = launch(kind, degraded=True)
    assert machine.report.missing
    subject = machine.spawn()
    assert subject.run("result = 6 * 7") == 42
    lines = subject.proc("status").splitlines()
    assert "NoNewPrivs:\t1" in lines
    # One filter makes the test's refusals.
    filters = 1 + machine.report.seccomp + int(_status("Seccomp_filters"))
    assert f"Seccomp_filters:\t{filters}" in lines
    assert machine.report.seccomp == (kind == "no-landlock")
    with pytest.raises(Exception, match=r"NotFound|Permission"):
        subject.run("open('/etc/passwd')")


def test_landlock_alone_keeps_files_connections_and_signals(
    launch: Callable[..., Any], open_folder: Path
) -> None:
    subject = launch("landlock-alone", degraded=True, libraries=[str(open_folder)]).spawn()
    open_folder.chmod(0o777)
    readable = open_folder / "file"
    readable.write_text("x")
    readable.chmod(0o666)
    code = """
import os, socket
def refused(action):
    try:
        action()
    except PermissionError as error:
        return error.errno
result = [open(path).read()]
result += [refused(lambda: open(path, "w")), refused(lambda: open(path, "r+"))]
result += [refused(lambda: open(path + "2", "x"))]
result += [refused(lambda: os.unlink(path)), refused(lambda: os.truncate(path, 0))]
result += [refused(lambda: os.mkdir(path + "3")), refused(lambda: open("/etc/passwd"))]
if abi >= 4:
    result += [refused(lambda: socket.create_connection(("127.0.0.1", port), 5))]
if abi >= 6:
    result += [refused(lambda: os.kill(host, 0))]
"""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        abi = landlock.abi()
        answers = subject.run(code, path=str(readable), port=port, abi=abi, host=os.getpid())
    assert answers[0] == "x"
    assert {*answers[1:]} <= {errno.EACCES, errno.EPERM}
    assert readable.read_text() == "x"


def test_degraded_without_anything_that_hides_files_opens_none(launch: Callable[..., Any]) -> None:
    subject = launch("bare", degraded=True).spawn()
    code = "try:\n    open(path)\nexcept PermissionError as error:\n    result = error.errno"
    for path in ("/etc/passwd", "/dev/null", os.__file__):
        assert subject.run(code, path=path) == 1


@pytest.mark.parametrize("layer", SABOTAGE)
@pytest.mark.parametrize("kind", ["root", "container"])
def test_the_self_test_refuses_a_worker_whose_layer_is_not_in_force(
    launch: Callable[..., Any], kind: str, layer: str
) -> None:
    if layer == "landlock" and kind == "root":
        layer = "seccomp"  # in a root of its own, a worker without Landlock still sees nothing to tell by
    machine = launch(kind, boot=SABOTAGE[layer])
    assert [*machine.report.missing] == ["self-test"]
    assert machine.refused().startswith("self-test: ")


@pytest.mark.parametrize("failing", ["landlock.restrict", "seccomp.Filter.install", "confine._privileges"])
def test_a_layer_that_the_kernel_refuses_stops_the_worker(launch: Callable[..., Any], failing: str) -> None:
    module, _, rest = failing.partition(".")
    boot = (
        f"from streamsim.sandbox.zygote import {module}\n"
        "def refuse(*given):\n    raise OSError(13, 'as the test wants')\n"
        f"{module}.{rest} = refuse"
    )
    machine = launch("root", boot=boot)
    assert "as the test wants" in machine.refused()
    assert [*machine.report.missing] == [{"confine": "privileges"}.get(module, module)]


def test_a_start_that_fails_is_told(launch: Callable[..., Any]) -> None:
    for kind in ("root", "container"):
        with pytest.raises(Exception, match="nothing_of_this_name"):
            launch(kind, boot="zygote.SCIENCE = ('streamsim.nothing_of_this_name',)")


def test_threads_that_a_library_leaves_behind_are_an_error(launch: Callable[..., Any]) -> None:
    boot = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    with pytest.raises(Exception, match="1 threads; forking is not safe"):
        launch("container", boot=boot)


def test_a_uid_index_out_of_range_is_refused_and_the_next_worker_starts(launch: Callable[..., Any]) -> None:
    machine = launch("container")
    message, _, channel = machine.ask(uid_index=machine.report.uids[1])
    channel.close()
    assert message[0] == "refused"
    assert "uid index" in message[2]
    assert machine.spawn().run("result = 1") == 1


def test_ends_are_reported_with_the_wait_status(launch: Callable[..., Any]) -> None:
    machine = launch("root")
    stopped, crashed, finished = (machine.spawn(index) for index in range(3))
    stopped.start("import os; os._exit(7)")
    crashed.start("import ctypes; ctypes.string_at(0)")
    finished.channel.close()
    assert os.waitstatus_to_exitcode(stopped.status()) == 7
    assert os.waitstatus_to_exitcode(crashed.status()) == -signal.SIGSEGV
    assert os.waitstatus_to_exitcode(finished.status()) == 0


@pytest.mark.parametrize("kind", ["root", "user", "container", "container-user"])
def test_a_worker_begins_where_it_is_to_and_the_next_one_on_every_processor(
    launch: Callable[..., Any], kind: str
) -> None:
    every = sorted(os.sched_getaffinity(0))
    machine = launch(kind)
    placed = machine.spawn(processors=every[-1:])
    begun = "import os; result = sorted(os.sched_getaffinity(0))"
    assert placed.run(begun) == every[-1:]
    assert machine.spawn(1).run(begun) == every
    # It may be moved, so what was forked there is not kept there for ever; none of those named may be there.
    os.sched_setaffinity(placed.host_pid, every)
    assert placed.run(begun) == every
    assert machine.spawn(2, processors=[every[-1] + 1]).run(begun) == every


@pytest.mark.parametrize("kind", ["root", "user", "container", "container-user"])
@pytest.mark.parametrize("how", ["channel closes", "zygote killed"])
def test_a_busy_worker_ends_with_its_zygote(launch: Callable[..., Any], kind: str, how: str) -> None:
    machine = launch(kind)
    subject = machine.spawn()
    subject.start("while True: pass")
    if how == "channel closes":
        machine.control.close()
    else:
        machine.process.kill()
    assert subject.gone()
    machine.process.wait()


HOST = """
import os, socket, subprocess, sys, msgspec
from streamsim.sandbox import wire
from streamsim.sandbox.zygote import main as zygote
from streamsim.sandbox.limits import Limits
control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
argv, environment = zygote.command(theirs.fileno(), zygote.Options())
zygote_process = subprocess.Popen(argv, env=environment, pass_fds=[theirs.fileno()])
control.recv(65536)
ours, worker = socket.socketpair()
request = ["spawn", 1, "probe", 0, Limits(wall_ms=60000, cpu_ms=60000), []]
socket.send_fds(control, [msgspec.msgpack.encode(request)], [worker.fileno()])
_, descriptors, _, _ = socket.recv_fds(control, 65536, 1)
code = "def handle(request, channel):\\n while True: pass"
ours.sendall(wire.encode("call", bytes(16), 0, {"code": code}))
ours.recv(100)
ours.sendall(wire.encode("call", bytes(16), 0, None))
print(zygote.host_pid(descriptors[0]), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["root", "user", "container", "container-user"])
def test_a_busy_worker_ends_when_the_host_is_killed(kind: str, require_kind: Callable[[str], Path]) -> None:
    launching = require_kind(kind)
    host = subprocess.Popen(
        [sys.executable, str(launching), kind, sys.executable, "-c", HOST],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with host:
        assert host.stdout is not None
        pid = int(host.stdout.readline())
        pidfd = os.pidfd_open(pid)
        host.kill()
    try:
        assert select.select([pidfd], [], [], 30)[0]
    finally:
        os.close(pidfd)


@pytest.mark.usefixtures("may_look_inside")
def test_workers_share_the_preloaded_memory(launch: Callable[..., Any]) -> None:
    subject = launch("root").spawn()
    rows = dict(line.split(":") for line in subject.proc("smaps_rollup").splitlines()[1:])
    private = sum(int(rows[name].split()[0]) for name in ("Private_Clean", "Private_Dirty"))
    assert private * 1024 < 8 * MIB


@pytest.mark.parametrize("kind", ["root", "no-clone3"])
def test_each_worker_has_a_control_group_that_is_removed_with_it(
    launch: Callable[..., Any], kind: str
) -> None:
    machine = launch(kind)
    if not machine.report.cgroup:
        pytest.skip("this machine gives no control group")
    subject = machine.spawn()
    own = next(line for line in subject.proc("cgroup").splitlines() if line.startswith("0::"))
    assert own.endswith("/1")
    folders = [Path(mount + own[3:]) for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")]
    folder = next(folder for folder in folders if folder.exists())
    assert folder.joinpath("cgroup.procs").read_text().split() == [str(subject.host_pid)]
    subject.channel.close()
    subject.status()
    assert not folder.exists()
    machine.close()
    # Without namespaces the zygote has given up the right to remove it; the next one does.
    assert machine.report.root == "shared" or not folder.parent.exists()


def test_more_libraries_can_be_imported_and_only_read(launch: Callable[..., Any], open_folder: Path) -> None:
    open_folder.joinpath("extra_library.py").write_text("VALUE = 11")
    for kind in ("root", "container"):
        subject = launch(kind, libraries=[str(open_folder)]).spawn()
        assert subject.run("import extra_library; result = extra_library.VALUE") == 11
        with pytest.raises(Exception, match="PermissionError"):
            subject.run("open(path, 'w')", path=str(open_folder / "new"))


def test_a_checkout_shows_the_package_and_nothing_beside_it() -> None:
    trees = namespaces.trees()
    package = Path(namespaces.package())
    assert any(package == Path(tree) or package.is_relative_to(tree) for tree in trees)
    for beside in ("data", "config.yml", "setup.cfg", "tests"):
        assert not any((package.parent / beside).is_relative_to(tree) for tree in trees)
        assert not namespaces.exposed(str(package.parent / beside))
    assert namespaces.exposed(str(package / "app.py"))
    assert namespaces.exposed(f"{sys.prefix}/lib/streamsim.yml")
    assert not namespaces.exposed(sys.prefix)


def test_groups_that_a_killed_zygote_left_behind_are_removed(launch: Callable[..., Any]) -> None:
    machine = launch("root")
    if not machine.report.cgroup:
        pytest.skip("this machine gives no control group")
    subject = machine.spawn()
    own = next(line for line in subject.proc("cgroup").splitlines() if line.startswith("0::"))
    folders = [Path(mount + own[3:]).parent for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")]
    folder = next(folder for folder in folders if folder.exists())
    machine.process.kill()
    assert subject.gone()
    machine.process.wait()
    launch("root")
    assert not folder.exists()
