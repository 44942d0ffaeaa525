"""The client is a distribution of its own, which needs nothing of the server; its old name still works."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires, version
from pathlib import Path
from pkgutil import iter_modules

import streamsim_client

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = [module.name for module in iter_modules(streamsim_client.__path__)]


def names(requirements: list[str]) -> set[str]:
    """Of required distributions, without bounds."""
    return {re.split(r"[^A-Za-z0-9-]", requirement)[0] for requirement in requirements}


def python(program: str, *options: str) -> str:
    """What a program printed, in a process of its own."""
    command = [sys.executable, *options, "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_it_needs_httpx_and_msgspec_and_nothing_else() -> None:
    assert names(PROJECT["dependencies"]) == {"httpx", "msgspec"}
    assert names(requires("streamsim-client") or []) == {"httpx", "msgspec"}
    assert version("streamsim-client") == PROJECT["version"]


def test_it_imports_where_nothing_of_the_server_can_be_imported() -> None:
    missing = [
        "streamsim",
        "handlers",
        "tornado",
        "numpy",
        "scipy",
        "motor",
        "pymongo",
        "redis",
        "bcrypt",
        "yaml",
    ]
    found = python(
        f"import sys\nsys.modules.update(dict.fromkeys({missing}))\n"
        f"for name in {MODULES}:\n    __import__(f'streamsim_client.{{name}}')\n"
        "print([name for name in sys.modules if name.startswith('streamsim.')])\n"
    )
    assert found == "[]\n"


def test_everything_it_exports_is_there() -> None:
    assert [name for name in streamsim_client.__all__ if not hasattr(streamsim_client, name)] == []


def test_the_old_name_gives_the_same_classes_and_a_warning() -> None:
    found = python(
        "import warnings, streamsim_client.runs\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    from streamsim.client.runs import Project\n"
        "import streamsim.client\n"
        "assert Project is streamsim_client.runs.Project\n"
        "for name in streamsim_client.__all__:\n"
        "    assert getattr(streamsim.client, name) is getattr(streamsim_client, name), name\n"
        f"for name in {MODULES}:\n"
        "    old = __import__(f'streamsim.client.{name}', fromlist=['x'])\n"
        "    assert old is __import__(f'streamsim_client.{name}', fromlist=['x']), name\n"
        "print([(one.category.__name__, str(one.message)) for one in caught])\n"
    )
    assert found == "[('DeprecationWarning', 'streamsim.client is now streamsim_client: import that')]\n"


def test_the_old_name_says_what_to_install_where_the_client_is_not() -> None:
    program = "import sys\nsys.modules['streamsim_client'] = None\nimport streamsim.client\n"
    ended = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert "pip install streamsim-client" in ended.stderr
