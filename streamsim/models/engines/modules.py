"""The files of a model as Python modules, without a file system: they live in the upload alone."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType

from streamsim.models.engines import folder
from streamsim.models.engines.folder import Folder

ROOT = f"{folder.ROOT}/"
"""Models see their files below this folder; it exists nowhere."""


class Files(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports modules from files, ahead of everything that is installed; `folder` lets them be read."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self.folder = Folder(files)
        self.pieces = {ROOT + name: name for name in files}
        """By the file name that code is compiled with: what to call it in errors."""
        self._paths: dict[str, tuple[str, bool]] = {}
        for name in files:
            self._add(name)
        self._modules: dict[str, ModuleType] = {}
        self._inside = False

    def _add(self, name: str) -> None:
        """Let a file be a module, if it is Python."""
        stem, dot, ending = name.rpartition(".")
        if dot and ending == "py":
            parts = stem.split("/")
            for depth in range(1, len(parts)):
                self._paths.setdefault(".".join(parts[:depth]), ("", True))
            if parts[-1] == "__init__":
                self._paths[".".join(parts[:-1])] = (name, True)
            else:
                self._paths[".".join(parts)] = (name, False)

    @property
    def names(self) -> frozenset[str]:
        """The modules that these files are."""
        return frozenset(self._paths)

    def run(self, main: str) -> ModuleType:
        """Execute the main file, and what it imports, anew."""
        with self.importable():
            for name in self._paths:
                sys.modules.pop(name, None)
            return importlib.import_module(main.removesuffix(".py").replace("/", "."))

    @contextmanager
    def importable(self) -> Iterator[None]:
        """Makes these files the ones that imports find; several models may have files of one name."""
        if self._inside:
            yield
            return
        self._inside = True
        hidden = {name: sys.modules.pop(name) for name in self._paths if name in sys.modules}
        sys.modules.update(self._modules)
        sys.meta_path.insert(0, self)
        try:
            with self.folder.visible():
                yield
        finally:
            self._inside = False
            sys.meta_path.remove(self)
            self._modules = {name: sys.modules.pop(name) for name in self._paths if name in sys.modules}
            sys.modules.update(hidden)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        for name in self.folder.written:
            self._add(name)
        if fullname not in self._paths:
            return None
        file, package = self._paths[fullname]
        origin = ROOT + (file or fullname.replace(".", "/"))
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=origin, is_package=package)
        spec.has_location = bool(file)
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        file, _ = self._paths[module.__name__]
        if not file:
            return
        # Models are stepped also while other folders are visible.
        module.__dict__["open"] = self.folder.open
        content = self.folder.files[file]
        text = content.removeprefix("\ufeff") if isinstance(content, str) else content
        exec(compile(text, ROOT + file, "exec", dont_inherit=True), module.__dict__)
