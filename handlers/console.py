"""The web console: static files that `make` bundles, and the page at `/` that loads them."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final, NamedTuple

import tornado.web

from handlers.base import Access, BaseHandler

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
# Names of files carry a hash of what is in them, so that a name always means the same.
FOREVER: Final = "public, max-age=31536000, immutable"
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".css": "text/css; charset=utf-8",
}
PAGE: Final = "index.html"


class File(NamedTuple):
    """A file of the bundle, as it is and packed."""

    kind: str
    plain: bytes
    packed: bytes


def bundle(folder: Path) -> dict[str, File]:
    """The files of the console by name; none if it was not built."""
    if not (folder / PAGE).is_file():
        return {}
    return {
        path.name: File(TYPES[path.suffix], path.read_bytes(), path.with_name(f"{path.name}.gz").read_bytes())
        for path in folder.iterdir()
        if path.suffix in TYPES
    }


class ConsoleFiles(BaseHandler):
    """What answers with files of the bundle."""

    access: ClassVar[Access] = "public"

    @property
    def files(self) -> dict[str, File]:
        """The bundle of this process."""
        found: dict[str, File] = self.application.settings["console"]
        return found

    def send(self, file: File, cache: str) -> None:
        """Finish with a file, packed if the client takes that."""
        self.set_header("Content-Type", file.kind)
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", cache)
        self.add_header("Vary", "Accept-Encoding")
        accepted = self.request.headers.get("Accept-Encoding", "").lower()
        codings = [part.replace(" ", "").partition(";q=") for part in accepted.split(",")]
        # A weight of 0 refuses it.
        if any(name == "gzip" and (not weight or weight.strip("0.")) for name, _, weight in codings):
            self.set_header("Content-Encoding", "gzip")
            self.finish(file.packed)
        else:
            self.finish(file.plain)


class ConsoleFileHandler(ConsoleFiles):
    """`/console/{file}`"""

    def get(self, file: str) -> None:
        """A file of the console's bundle; the page that loads them is `/`."""
        found = self.files.get(file)
        if found is None or file == PAGE:
            raise tornado.web.HTTPError(404, "the console has no such file")
        self.send(found, FOREVER)


routes = [("/console/{file:part}", ConsoleFileHandler)]
