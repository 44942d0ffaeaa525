"""The command line: accounts on an installation, the doctor, and messages instead of tracebacks."""

from __future__ import annotations

import io
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from streamsim.cli import model
from streamsim.cli.main import main
from streamsim.server.serve import EXIT_REFUSED
from tests.support import PASSWORD, Server

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command on the data of `tmp_path`: exit status, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMSIM_LOGIN_BCRYPT_ROUNDS", "4")

    def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        status = main([*arguments, "--data", str(tmp_path / "data")])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_a_command_imports_no_library_of_another_command_or_backend() -> None:
    code = "import sys, streamsim.cli.main; print(*{name.partition('.')[0] for name in sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    others = {"redis", "pymongo", "motor", "scipy", "matplotlib", "tqdm", "distributed", "BPTK_Py", "pysd"}
    assert not others & set(found.split())


def test_users_are_added_listed_and_removed(command: Command) -> None:
    assert command("user", "list") == (0, "", "")
    assert command("user", "add", "ann", "--password-stdin", stdin=PASSWORD + "\n")[0] == 0
    assert command("user", "add", "root", "--admin", "--password-stdin", stdin=PASSWORD)[0] == 0
    status, out, _ = command("user", "list")
    assert status == 0
    assert [line.split("\t")[:2] for line in out.splitlines()] == [["ann", "user"], ["root", "admin"]]
    assert PASSWORD not in out
    assert command("user", "remove", "ann")[0] == 0
    assert [line.split("\t")[0] for line in command("user", "list")[1].splitlines()] == ["root"]


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (("add", "ann", "--password-stdin"), PASSWORD, "there is a user ann already"),
        (("add", "bob", "--password-stdin"), "short", "at least 8 bytes"),
        (("add", "bob", "--password-stdin"), "x" * 73, "at most 72"),
        (("add", "b/ob", "--password-stdin"), PASSWORD, "username must have"),
        (("passwd", "bob", "--password-stdin"), PASSWORD, "there is no user bob"),
        (("remove", "bob"), "", "there is no user bob"),
    ],
)
def test_refused_commands_say_why_and_change_nothing(
    command: Command, arguments: tuple[str, ...], stdin: str, message: str
) -> None:
    command("user", "add", "ann", "--password-stdin", stdin=PASSWORD)
    before = command("user", "list")
    status, out, errors = command("user", *arguments, stdin=stdin)
    assert (status, out) == (1, "")
    assert message in errors
    assert "Traceback" not in errors
    assert command("user", "list") == before


def test_passwords_typed_twice_must_agree(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter([PASSWORD, PASSWORD + "!", PASSWORD, PASSWORD])
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(typed))
    assert command("user", "add", "ann")[0] == 1
    assert command("user", "add", "ann")[0] == 0


def test_without_a_terminal_a_password_is_asked_for_in_a_sentence(tmp_path: Path) -> None:
    command = [
        str(Path(sys.executable).with_name("streamsim")),
        "user",
        "add",
        "ann",
        "--data",
        str(tmp_path),
    ]
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, start_new_session=True, check=False
    )
    assert ended.returncode == 1
    assert "use --password-stdin" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("name", "text", "engine"),
    [
        ("a.py", "from BPTK_Py import Model\n", "bptk"),
        ("a.py", "def bptk_factory():\n    pass\n", "bptk"),
        ("a.py", "price = 3.0\n", "python"),
        ("a.mdl", "{UTF-8}", None),
    ],
)
def test_the_engine_of_a_pushed_module_is_guessed(name: str, text: str, engine: str | None) -> None:
    assert model.guessed(name, text) == engine


@pytest.mark.parametrize(
    "arguments",
    [(), ("user",), ("user", "add"), ("serve", "--port", "x"), ("serve", "--child", "x"), ("no",)],
)
def test_wrong_usage_is_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2
    assert "usage: streamsim" in capsys.readouterr().err


def test_a_setting_that_cannot_be_used_is_named(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "other.yml"
    file.write_text("server: {prot: 1}")
    for arguments in (("serve", "--config", str(file)), ("doctor", "--config", str(file))):
        status, _, errors = command(*arguments)
        assert status == EXIT_REFUSED
        assert "server.prot" in errors
    assert command("serve", "--port", "99999")[0] == EXIT_REFUSED
    # A config.yml in the working folder is read without being named.
    (tmp_path / "config.yml").write_text("login: {attempts: no}")
    status, _, errors = command("user", "list")
    assert status == EXIT_REFUSED
    assert "login.attempts" in errors


def test_doctor_says_what_this_machine_gives(command: Command) -> None:
    status, out, _ = command("doctor")
    assert status == 0
    for name in ("python", "kernel", "tornado", "numpy", "store", "sqlite", "seccomp", "landlock", "uids"):
        assert name in out
    assert out.endswith("streamsim serve would start\n")


def test_doctor_says_what_is_missing(command: Command, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "streamsim.db").write_text("this is no database" * 1000)
    status, out, _ = command("doctor")
    assert status == 1
    assert "unavailable" in out
    assert out.endswith("streamsim serve would refuse to start\n")


def test_commands_act_on_a_running_server(command: Command, tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert command("user", "add", "ann", "--password-stdin", stdin=PASSWORD)[0] == 0
        ann = server.client()
        assert ann.post("/login", {"username": "ann", "password": PASSWORD}).status == 200
        made = ann.post("/exp", {"name": "hers", "get_action": "self.action['a'] = 1"}).body
        decide = f"/getaction/{made['id']}"
        assert ann.get(decide, key=made["key"]).status == 200
        assert command("user", "passwd", "ann", "--password-stdin", stdin="a new password")[0] == 0
        assert ann.get("/exp").status == 401
        assert ann.post("/login", {"username": "ann", "password": PASSWORD}).status == 401
        assert ann.post("/login", {"username": "ann", "password": "a new password"}).status == 200
        assert command("user", "remove", "ann")[0] == 0
        assert ann.get("/exp").status == 401
        assert ann.get(decide, key=made["key"]).status == 401


def test_installed_command_tells_its_version() -> None:
    script = Path(sys.executable).with_name("streamsim")
    out = subprocess.run([script, "--version"], capture_output=True, text=True, check=True).stdout
    assert out.startswith("streamsim 0.")


@pytest.mark.parametrize("given", ["--data", "--config"])
def test_nothing_is_kept_where_policy_code_could_read_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    folder = Path(sysconfig.get_path("purelib")) / f"streamsim-test-{tmp_path.name}"
    assert main(["user", "list", given, str(folder)]) == EXIT_REFUSED
    assert "policy code could read it" in capsys.readouterr().err
    assert not folder.exists()
