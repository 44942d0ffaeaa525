"""What `make dist` builds: its version, and that the same commit gives the same wheels."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile

import pytest

from tests.support import ROOT


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = SourceFileLoader("dist", str(ROOT / ".ci" / "dist"))
    spec = spec_from_loader("dist", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of its own with what the packages are made of, and one commit."""
    copy = tmp_path / "checkout"
    hidden = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for name in ("streamsim", "handlers", "policies", "client", ".ci"):
        shutil.copytree(ROOT / name, copy / name, ignore=hidden)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, copy)
    git(copy, "init", "-q")
    git(copy, "add", "-A")
    git(copy, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all")
    return copy


def git(checkout: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=checkout, check=True, capture_output=True, text=True).stdout


def dist(checkout: Path) -> dict[str, str]:
    """Build; names of the files with what they hash to."""
    subprocess.run([sys.executable, ".ci/dist"], cwd=checkout, check=True, capture_output=True)
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (checkout / "dist").iterdir()
    }


@pytest.mark.parametrize(
    ("tags", "commit", "dirty", "version"),
    [
        ("", "1a2b3c4", False, "0.1.0+g1a2b3c4"),
        ("", "1a2b3c4", True, "0.1.0+g1a2b3c4.dirty"),
        ("", None, False, "0.1.0"),
        ("v0.2.0", "1a2b3c4", False, "0.2.0"),
        ("v0.2.0", "1a2b3c4", True, "0.1.0+g1a2b3c4.dirty"),
        ("v0.9.0\nv0.10.0\nbase-start", "1a2b3c4", False, "0.10.0"),
        ("v1.0rc1", "1a2b3c4", False, "1.0rc1"),
        ("version1", "1a2b3c4", False, "0.1.0+g1a2b3c4"),
    ],
)
def test_the_version_is_that_of_the_tag_where_there_is_one(
    script: ModuleType, tags: str, commit: str | None, dirty: bool, version: str
) -> None:
    assert script.version_of("0.1.0", tags, commit, dirty) == version


def test_a_tagged_commit_gives_the_same_wheels_each_time_with_all_that_is_served(checkout: Path) -> None:
    git(checkout, "tag", "v9.8.7")
    first, second = dist(checkout), dist(checkout)
    assert set(first) == {
        "streamsim-9.8.7.tar.gz",
        "streamsim-9.8.7-py3-none-any.whl",
        "streamsim_client-9.8.7-py3-none-any.whl",
    }
    wheels = {name for name in first if name.endswith(".whl")}
    assert {name: first[name] for name in wheels} == {name: second[name] for name in wheels}
    packed = set(ZipFile(checkout / "dist" / "streamsim-9.8.7-py3-none-any.whl").namelist())
    tracked = git(checkout, "ls-files", "streamsim", "handlers", "policies").split("\n")
    # Nothing that git tracks there is left out: code, Lua, the catalogue.
    assert {name for name in tracked if name} - packed == set()
    assert git(checkout, "status", "--porcelain") == ""


def test_without_a_tag_the_commit_is_in_the_version(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "--short", "HEAD").strip()
    (checkout / "README.md").write_text("changed")
    assert f"streamsim_client-0.1.0+g{commit}.dirty-py3-none-any.whl" in dist(checkout)
