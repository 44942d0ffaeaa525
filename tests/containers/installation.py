"""An installation of docker-compose.yml on this machine's container engine, and clients that call it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from tests.servers import free_port, wait_until
from tests.support import ROOT, Client

PASSWORD: Final = "correct-horse-battery"
PROJECT: Final = "streamsimtest"
CLIENTS: Final = 32
CODE: Final = {
    "get_action": "self.action['arm'] = 'a'",
    "set_reward": "n = self.get_theta(key='n').get('n', 0)\nself.set_theta({'n': n + 1}, key='n')",
}


def engine() -> str | None:
    """Why there is no container engine to try this on; None if there is one."""
    if shutil.which("docker") is None or not composing():
        return "docker or docker-compose is not installed"
    found = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    return None if found.returncode == 0 else f"no container engine answers: {found.stderr.strip()[-200:]}"


def composing() -> list[str]:
    """The command of docker-compose, version 1 or 2."""
    if shutil.which("docker-compose") is not None:
        return ["docker-compose"]
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ["docker", "compose"] if plugin.returncode == 0 else []


class Installation:
    """The compose file's services under a project name of their own.

    `COMPOSE_FILE` may name further files that change it, as docker-compose has it.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._variables = folder / "env"
        lines = {
            "REDIS_PASSWORD": "redis-password-of-the-test",
            "MONGO_PASSWORD": "mongo-password-of-the-test",
            "STREAMSIM_ADMIN_PASSWORD": PASSWORD,
            "STREAMSIM_PORT": self.port,
            "STREAMSIM_NETWORK": "172.29.77",
        }
        self._variables.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        self.url = f"http://127.0.0.1:{self.port}"

    def compose(self, *words: str) -> str:
        """The output of a command of docker-compose. :raises AssertionError: it failed."""
        command = [*composing(), "-p", PROJECT, "--env-file", str(self._variables), *words]
        # Compose looks at the environment before the file; there is nothing of it in a shell that made none.
        done = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            env={name: value for name, value in os.environ.items() if "PASSWORD" not in name},
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr[-2000:]}"
        return done.stdout

    def build(self) -> None:
        """The image, with the network of this machine, so that a proxy on it can be reached."""
        done = subprocess.run(
            ["docker", "build", "--network", "host", "-t", "streamsim", str(ROOT)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]

    def up(self) -> float:
        """Start what does not run; the seconds until a decision can be had."""
        began = time.monotonic()
        self.compose("up", "-d", "--no-build")
        wait_until(self._ready, "ready behind nginx")
        return time.monotonic() - began

    def _ready(self) -> bool:
        client = Client(self.url)
        try:
            return client.get("/ready").status == 200
        except OSError:
            return False
        finally:
            client.close()

    def wait_healthy(self, service: str) -> None:
        """Until the engine says that a service is well."""
        name = self.container(service)
        form = "{{.State.Health.Status}}"

        def healthy() -> bool:
            command = ["docker", "inspect", "-f", form, name]
            return (
                subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
                == "healthy"
            )

        wait_until(healthy, f"{service} is healthy")

    def container(self, service: str) -> str:
        """The id of a service's container."""
        return self.compose("ps", "-q", service).strip()

    def down(self, *words: str) -> None:
        """End everything."""
        self.compose("down", "--remove-orphans", *words)

    def admin(self) -> Client:
        """A client that is logged in as the first user."""
        client = Client(self.url)
        assert client.post("/login", {"username": "admin", "password": PASSWORD}).status == 200
        return client


class Load:
    """32 clients that decide and reward without a pause, while the context lasts.

    `failed`: what was not answered with 200. `seconds`: how long a call took. `rewards`: acknowledged ones.
    """

    def __init__(self, installation: Installation, experiments: list[dict[str, Any]]) -> None:
        self.failed: list[str] = []
        self.seconds: list[float] = []
        self.rewards = 0
        self._port = installation.port
        self._experiments = experiments
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.reach(len(self._threads) * 10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def reach(self, more: int) -> None:
        """Wait for so many further calls."""
        until = len(self.seconds) + more
        wait_until(lambda: len(self.seconds) >= until, f"{more} calls")

    def quantile(self, share: float) -> float:
        """Of the seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]

    def _call(self, number: int) -> None:
        one = self._experiments[number % len(self._experiments)]
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        rewarding = False
        while not self._over.is_set():
            name = "setreward" if rewarding else "getaction"
            body = {"key": one["key"], **({"reward": 1, "action": {"arm": "a"}} if rewarding else {})}
            began = time.monotonic()
            try:
                connection.request(
                    "POST", f"/{name}/{one['id']}", json.dumps(body), {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                text = answer.read()
                failed = "" if answer.status == 200 else f"{name} {answer.status} {text[:200]!r}"
            except (TimeoutError, OSError, http.client.HTTPException) as error:
                connection.close()
                failed = f"{name} {error!r}"
            with self._lock:
                self.seconds.append(time.monotonic() - began)
                if failed:
                    self.failed.append(failed)
                else:
                    self.rewards += rewarding
            rewarding = not rewarding
        connection.close()
