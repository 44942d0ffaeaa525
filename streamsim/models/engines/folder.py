"""The files of a model as a folder that its code and every library read; it exists in no file system.

While a folder is `visible`, `open`, `os.stat` and what lists directories see its files below `/model`, which
is also where relative paths lead. All that Python reads files with is built on these, so that `pandas`,
`openpyxl` and a modelling library need nothing of their own. Nothing is written anywhere: what a library
writes while a model loads is kept in the folder.
"""

from __future__ import annotations

import base64
import builtins
import io
import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Any, Final

from streamsim.models.engines.base import ModelValue, Source
from streamsim.models.file_texts import decoded, lines

ROOT: Final = "/model"
_FILE: Final = stat.S_IFREG | 0o444
_DIRECTORY: Final = stat.S_IFDIR | 0o555


def contents(source: Source) -> dict[str, str | bytes]:
    """The files of a model: text, or bytes that are no text in UTF-8."""
    binary = frozenset(source.options.get("binary", ()))
    return {name: base64.b64decode(text) if name in binary else text for name, text in source.files.items()}


class Folder:
    """Files by relative path."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self.files = dict(files)
        self.writable = False
        self.written: set[str] = set()
        """Paths that were written since the beginning."""
        self._real: dict[str, Any] = {}

    def text(self, name: str) -> str:
        """A file as text, in whatever encoding it is. :raises KeyError: there is none."""
        content = self.files[name]
        return lines(content) if isinstance(content, str) else decoded(content)

    # ---- as Python's own functions

    def open(self, file: ModelValue, mode: str = "r", *args: ModelValue, **named: ModelValue) -> IO[Any]:
        """`open`: of these files, else of what the sandbox shows."""
        name = _inside(file)
        if name is None or (name not in self.files and not _below(file) and not set(mode) & {"w", "x"}):
            real: IO[Any] = (self._real.get("open") or builtins.open)(file, mode, *args, **named)
            return real
        if set(mode) & {"w", "a", "x", "+"}:
            if not self.writable:
                raise PermissionError(f"a model's files cannot be written: {name}")
            return self._written(name, mode)
        if name not in self.files:
            raise FileNotFoundError(2, "the model has no such file", name)
        content = self.files[name]
        if "b" in mode:
            return io.BytesIO(content.encode() if isinstance(content, str) else content)
        options = dict(zip(("buffering", "encoding", "errors", "newline"), args, strict=False)) | named
        newline, encoding = options.get("newline"), options.get("encoding")
        if isinstance(content, str):
            return io.StringIO(content.removeprefix("\ufeff"), newline=newline)
        if encoding is None:
            return io.StringIO(decoded(content), newline=newline)
        return io.TextIOWrapper(io.BytesIO(content), encoding, options.get("errors"), newline)

    def _written(self, name: str, mode: str) -> IO[Any]:
        folder = self

        class Text(io.StringIO):
            def close(self) -> None:
                folder._keep(name, self.getvalue())
                super().close()

        class Bytes(io.BytesIO):
            def close(self) -> None:
                folder._keep(name, self.getvalue())
                super().close()

        return Bytes() if "b" in mode else Text()

    def _keep(self, name: str, content: str | bytes) -> None:
        self.files[name] = content
        self.written.add(name)

    def stat(self, path: ModelValue, *args: ModelValue, **named: ModelValue) -> os.stat_result:
        """`os.stat`, and `os.lstat`: there are no links."""
        return self._status(path) or self._real["stat"](path, *args, **named)

    def lstat(self, path: ModelValue, *args: ModelValue, **named: ModelValue) -> os.stat_result:
        """`os.lstat`: there are no links."""
        return self._status(path) or self._real["lstat"](path, *args, **named)

    def listdir(self, path: ModelValue = None) -> list[Any]:
        """`os.listdir`"""
        names = self._names(path)
        return self._real["listdir"](path or ".") if names is None else names

    def scandir(self, path: ModelValue = None) -> Any:
        """`os.scandir`"""
        names = self._names(path)
        if names is None:
            return self._real["scandir"](path or ".")
        shown = "." if path is None else os.fspath(path)
        return _Entries([_Entry(self, os.path.join(shown, name), name) for name in names])

    def getcwd(self) -> str:
        """`os.getcwd`"""
        return ROOT

    def _status(self, path: ModelValue) -> os.stat_result | None:
        name = _inside(path)
        if name is None:
            return None
        if name in self.files:
            content = self.files[name]
            size = len(content.encode() if isinstance(content, str) else content)
            return os.stat_result((_FILE, 0, 0, 1, 0, 0, size, 0, 0, 0))
        if name == "" or any(one.startswith(f"{name}/") for one in self.files):
            return os.stat_result((_DIRECTORY, 0, 0, 1, 0, 0, 0, 0, 0, 0))
        if _below(path):
            raise FileNotFoundError(2, "the model has no such file", name)
        return None

    def _names(self, path: ModelValue) -> list[str] | None:
        """What is in a directory; None if it is not one of these."""
        name = _inside("." if path is None else path)
        if name is None:
            return None
        prefix = f"{name}/" if name else ""
        inside = {one[len(prefix) :].partition("/")[0] for one in self.files if one.startswith(prefix)}
        if not inside and not _below(path):
            return None
        if not inside:
            raise FileNotFoundError(2, "the model has no such folder", name)
        return sorted(inside)

    @contextmanager
    def visible(self) -> Iterator[None]:
        """Python's own functions see these files."""
        places: list[tuple[Any, str, Any]] = [
            (builtins, "open", self.open),
            (io, "open", self.open),
            *((os, name, getattr(self, name)) for name in ("stat", "lstat", "listdir", "scandir", "getcwd")),
        ]
        before = [(holder, name, getattr(holder, name)) for holder, name, _ in places]
        self._real = {name: was for _, name, was in before}
        openers = _numpy_openers()
        opener = openers.get(None)
        for holder, name, own in places:
            setattr(holder, name, own)
        if opener is not None:
            openers[None] = self.open
        try:
            yield
        finally:
            for holder, name, was in before:
                setattr(holder, name, was)
            if opener is not None:
                openers[None] = opener


def _inside(path: ModelValue) -> str | None:
    """The name of a file that a path would be of; None if it leads elsewhere."""
    if isinstance(path, int):
        return None
    try:
        text = os.fspath(path)
    except TypeError:
        return None
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    whole = posixpath.normpath(posixpath.join(ROOT, text))
    if whole == ROOT:
        return ""
    return whole[len(ROOT) + 1 :] if whole.startswith(f"{ROOT}/") else None


def _below(path: ModelValue) -> bool:
    """Whether a path names the folder itself, so that it can lead nowhere else."""
    if path is None or isinstance(path, int):
        return False
    text = os.fspath(path)
    return os.fsdecode(text).startswith(ROOT)


def _numpy_openers() -> dict[Any, Any]:
    """How NumPy opens text; it remembers `open` when it is first imported."""
    import numpy.lib._datasource as datasource

    found: Any = vars(datasource)["_file_openers"]
    found.keys()
    openers: dict[Any, Any] = found._file_openers
    return openers


class _Entry:
    """As `os.DirEntry`."""

    def __init__(self, folder: Folder, path: str, name: str) -> None:
        self._folder = folder
        self.path = path
        self.name = name

    def __fspath__(self) -> str:
        return self.path

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return self._folder.stat(self.path)

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return stat.S_ISDIR(self.stat().st_mode)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return stat.S_ISREG(self.stat().st_mode)

    def is_symlink(self) -> bool:
        return False

    def inode(self) -> int:
        return 0


class _Entries:
    """As the iterator of `os.scandir`."""

    def __init__(self, entries: list[_Entry]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> _Entries:
        return self

    def __next__(self) -> _Entry:
        return next(self._entries)

    def __enter__(self) -> _Entries:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._entries = iter(())
