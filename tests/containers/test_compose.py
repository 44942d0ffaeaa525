"""docker-compose.yml on a real engine: `make containers`. Restarts, kills, backup and restore under load."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamsim.config import Settings
from tests.containers.installation import CODE, PROJECT, Installation, Load, engine
from tests.models.engines import vensim
from tests.servers import wait_until
from tests.support import ROOT

if "STREAMSIM_CONTAINERS" not in os.environ:
    pytest.skip("make containers runs these", allow_module_level=True)
if (missing := engine()) is not None:
    pytest.skip(missing, allow_module_level=True)

WAIT_S = Settings().storage.wait_s
SERVERS = ("streamsim-1", "streamsim-2")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    found = Installation(tmp_path_factory.mktemp("compose"))
    found.build()
    try:
        seconds = found.up()
        print(f"ready {seconds:.1f} s after `up -d`")
        assert seconds < 45
        yield found
    finally:
        print(found.compose("logs", "--tail=5", *SERVERS))
        found.down("--volumes")


@pytest.fixture(scope="module")
def experiments(installation: Installation) -> list[dict[str, Any]]:
    admin = installation.admin()
    made = [admin.post("/exp", {"name": f"e{number}", **CODE}).body for number in range(8)]
    admin.close()
    return made


def counted(installation: Installation, experiments: list[dict[str, Any]]) -> int:
    admin = installation.admin()
    found = 0
    for one in experiments:
        theta = admin.get(f"/stats/{one['id']}/currenttheta").body
        found += sum(row.get("n", 0) for row in theta.values() if isinstance(row, dict))
    admin.close()
    return found


def docker(*words: str) -> str:
    """The output of a command of the engine's."""
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


def tell(what: str, load: Load) -> None:
    failed = sorted({text[:60] for text in load.failed})
    print(
        f"{what}: {len(load.seconds)} calls, {len(load.failed)} failed {failed[:3]},"
        f" p50 {load.quantile(0.5):.3f} p99.9 {load.quantile(0.999):.3f} longest {max(load.seconds):.3f} s"
    )


def test_both_engines_run_and_a_plot_is_drawn(installation: Installation) -> None:
    admin = installation.admin()
    files = {
        "bptk": {"sir.py": (ROOT / "examples" / "sir_epidemic.py").read_text()},
        "pysd": {"people.mdl": vensim.model(vensim.STOCKS)},
    }
    for engine_name, texts in files.items():
        answer = admin.post("/models", {"name": f"of_{engine_name}", "files": texts, "engine": engine_name})
        assert answer.status == 201, answer.body
    ids = []
    for number in (0, 1):
        policy = admin.get(f"/exp/defaults/{number}").body
        pieces = {name: policy[name] for name in ("get_context", "get_action", "get_reward", "set_reward")}
        ids.append(admin.post("/exp", {"name": f"compared {number}", **pieces}).body["id"])
    plot = admin.request("POST", "/eval/compare", body={"experiments": ids, "N": 20}, query={"format": "svg"})
    assert plot.status == 200, plot.body
    for one in ids:
        admin.delete(f"/exp/{one}")
    admin.close()


def test_the_image_is_under_325_mb_above_its_base_and_a_new_version_of_the_service_under_12(
    installation: Installation,
) -> None:
    base = re.search(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert base is not None
    history = ("history", "--human=false", "--format", "{{.Size}}")
    sizes, below = (
        [int(size) for size in docker(*history, image).split()] for image in ("streamsim", base[1])
    )
    own = sizes[: len(sizes) - len(below)]
    libraries = own.index(max(own))
    # Of Docker's own base, which has 125 MB, this is 450 MB in all.
    assert sum(own) < 325e6
    assert sum(own[:libraries]) < 12e6


def test_a_rolling_restart_fails_no_call(
    installation: Installation, experiments: list[dict[str, Any]]
) -> None:
    before = counted(installation, experiments)
    with Load(installation, experiments) as load:
        for server in SERVERS:
            installation.compose("restart", server)
            installation.wait_healthy(server)
            load.reach(500)
    tell("rolling restart", load)
    assert load.failed == []
    assert load.quantile(0.999) < 1
    assert counted(installation, experiments) - before == load.rewards


def test_a_killed_server_costs_only_what_it_had_accepted(
    installation: Installation, experiments: list[dict[str, Any]]
) -> None:
    before = counted(installation, experiments)
    with Load(installation, experiments) as load:
        subprocess.run(
            ["docker", "kill", installation.container("streamsim-1")], check=True, capture_output=True
        )
        load.reach(2000)
        subprocess.run(
            ["docker", "start", installation.container("streamsim-1")], check=True, capture_output=True
        )
        installation.wait_healthy("streamsim-1")
        load.reach(500)
    tell("killed server", load)
    # At most one call of each client was under way there.
    assert len(load.failed) <= 32
    assert all(" 502 " in text for text in load.failed), load.failed[:5]
    assert 0 <= counted(installation, experiments) - before - load.rewards <= len(load.failed)


def test_without_mongodb_every_call_succeeds(
    installation: Installation, experiments: list[dict[str, Any]]
) -> None:
    with Load(installation, experiments) as load:
        installation.compose("stop", "mongo")
        load.reach(1000)
        installation.compose("start", "mongo")
        installation.wait_healthy("mongo")
        load.reach(200)
    tell("without MongoDB", load)
    assert load.failed == []


def test_while_redis_restarts_calls_wait_and_none_longer_than_the_setting(
    installation: Installation, experiments: list[dict[str, Any]]
) -> None:
    before = counted(installation, experiments)
    with Load(installation, experiments) as load:
        docker("kill", installation.container("redis"))
        # Longer than a call waits.
        wait_until(lambda: len(load.failed) >= 32, "calls are refused")
        docker("start", installation.container("redis"))
        installation.wait_healthy("redis")
        load.reach(500)
    tell("killed Redis", load)
    assert all(" 503 " in text for text in load.failed), load.failed[:5]
    assert max(load.seconds) < WAIT_S + 2
    assert counted(installation, experiments) - before >= load.rewards


def test_up_again_changes_nothing(installation: Installation) -> None:
    before = [installation.container(server) for server in SERVERS]
    installation.compose("up", "-d", "--no-build")
    assert [installation.container(server) for server in SERVERS] == before


def test_down_and_up_keeps_everything_and_leaves_no_volume_without_a_name(
    installation: Installation, experiments: list[dict[str, Any]]
) -> None:
    before = counted(installation, experiments)
    installation.down()
    installation.up()
    assert counted(installation, experiments) == before
    names = docker("volume", "ls", "-q", "--filter", "dangling=true").split()
    assert [name for name in names if name.startswith(PROJECT)] == []


def test_docker_stop_drains(installation: Installation) -> None:
    began = time.monotonic()
    installation.compose("stop", "streamsim-2")
    assert time.monotonic() - began < 30
    log = installation.compose("logs", "--tail=20", "streamsim-2")
    assert "Traceback" not in log
    installation.compose("start", "streamsim-2")
    installation.wait_healthy("streamsim-2")


def test_a_backup_as_one_file_is_outside_the_container_and_serves(
    installation: Installation, experiments: list[dict[str, Any]], tmp_path: Path
) -> None:
    before = counted(installation, experiments)
    backup = tmp_path / "backup"
    backup.mkdir()
    os.chown(backup, 10001, 10001)
    installation.compose("stop", *SERVERS)
    mounted = ("run", "--rm", "--no-deps", "-v", f"{backup}:/backup")
    script = 'exec streamsim migrate --from "$STREAMSIM_STORAGE_REDIS,$STREAMSIM_STORAGE_MONGO" --to '
    with pytest.raises(AssertionError, match="container's own file system"):
        installation.compose(
            *mounted, "--entrypoint", "sh", SERVERS[0], "-c", f"{script} sqlite:////data/b.db"
        )
    said = installation.compose(
        *mounted, "--entrypoint", "sh", SERVERS[0], "-c", f"{script} sqlite:////backup/b.db"
    )
    assert "experiment: 10" in said  # eight that decide, and two that were compared and are archived
    installation.down("--volumes")
    container = docker(
        *("run", "-d", "--rm", "-p", f"127.0.0.1:{installation.port}:8080", "-v", f"{backup}:/backup"),
        *("-e", "STREAMSIM_STORAGE_URL=sqlite:////backup/b.db", "--cap-drop", "ALL", "streamsim"),
    ).strip()
    try:
        wait_until(installation.ready, "the backup serves")
        assert counted(installation, experiments) == before
    finally:
        docker("stop", container)
