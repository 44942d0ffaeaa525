"""An uploaded log on its way: gzip in memory, with bounds on what it is packed and unpacked."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from streamsim.errors import BadRequest, StreamsimError, TooLarge

PART_BYTES: Final = 1 << 20
"""Uploads are handed on and stored in parts of at most so many bytes."""
_MAGIC: Final = b"\x1f\x8b"
_AT_ONCE: Final = 1 << 20
_GZIP: Final = 16 + zlib.MAX_WBITS


class Unpacked:
    """Bytes as they are or, where they begin as gzip does, what they hold; of several members, all.

    :param most: so many bytes are given, no more.
    """

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._head = b""
        self._begun = False
        self._gzip: zlib._Decompress | None = None
        self.packed = False

    def add(self, data: bytes) -> Iterator[bytes]:
        """What the next bytes hold, in pieces. :raises TooLarge: :raises BadRequest: no gzip data."""
        if not self._begun:
            data, self._head = self._head + data, b""
            if len(data) < len(_MAGIC) and _MAGIC.startswith(data):
                self._head = data
                return
            self._begun, self.packed = True, data.startswith(_MAGIC)
        if not self.packed:
            yield self._bounded(data)
            return
        while data:
            if self._gzip is None:
                self._gzip = zlib.decompressobj(_GZIP)
            try:
                piece = self._gzip.decompress(data, _AT_ONCE)
            except zlib.error as error:
                raise BadRequest(
                    f"the log begins as gzip data, but it is not: {error}", field="log"
                ) from None
            yield self._bounded(piece)
            data = self._gzip.unconsumed_tail
            if self._gzip.eof:
                # Zeros fill up what comes after the last member.
                data, self._gzip = self._gzip.unused_data.lstrip(b"\0"), None

    def end(self) -> bytes:
        """What is left. :raises BadRequest: gzip data that ends early."""
        if self._gzip is not None:
            raise BadRequest("the gzip data of the log ends early", field="log")
        return self._head

    def _bounded(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise TooLarge(
                f"a log has at most {self._most} bytes, unpacked (evaluation.log_bytes)", field="log"
            )
        return data


class Upload:
    """A log that arrives piece by piece, and is kept packed. A fault is told at its end: then its sender has
    sent all of it, and reads answers.

    :param most: bytes that it may have, packed and unpacked.
    """

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._unpacked = Unpacked(most)
        self._packer: zlib._Compress | None = None
        self._parts: list[bytes] = []
        self._fault: StreamsimError | None = None
        self._last = b"\n"
        self.lines = 0

    def add(self, data: bytes) -> None:
        """The next bytes."""
        if self._fault is not None:
            return
        try:
            self._left -= len(data)
            if self._left < 0:
                raise TooLarge(f"a log has at most {self._most} bytes (evaluation.log_bytes)", field="log")
            for piece in self._unpacked.add(data):
                self._count(piece)
                if not self._unpacked.packed:
                    self._pack(piece)
            if self._unpacked.packed:
                self._parts.append(data)
        except (TooLarge, BadRequest) as error:
            self._fault, self._parts = error, []

    def parts(self) -> list[bytes]:
        """All of it as gzip data, in parts. :raises TooLarge: :raises BadRequest:"""
        if self._fault is None:
            try:
                rest = self._unpacked.end()
                self._count(rest)
                if not self._unpacked.packed:
                    self._pack(rest)
            except BadRequest as error:
                self._fault = error
        if self._fault is not None:
            raise self._fault
        self.lines += self._last != b"\n"
        if self._packer is not None:
            self._parts.append(self._packer.flush())
            self._packer = None
        whole = b"".join(self._parts)
        self._parts = []
        return [whole[start : start + PART_BYTES] for start in range(0, len(whole), PART_BYTES)]

    def _count(self, piece: bytes) -> None:
        self.lines += piece.count(b"\n")
        self._last = piece[-1:] or self._last

    def _pack(self, piece: bytes) -> None:
        if self._packer is None:
            self._packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
        self._parts.append(self._packer.compress(piece))
