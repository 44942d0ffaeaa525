"""Sends the same drawn requests to both servers, and holds the answers against each other."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from tests.server.http.fuzzed import requests
from tests.server.http.raw import exchanged, statuses, steady

SETTINGS: Final = {
    "server.max_header_bytes": 2048,
    "server.max_body_bytes": 1024,
    "server.idle_connection_s": 1,
}
"""Settings under which drawn requests meet every limit."""

STRICTER: Final = {
    "a line ends without CR": re.compile("without CR|Expected CRLF|[Ee]xpected (CR|LF)"),
    "a method that no standard has": re.compile("Invalid method"),
    "another version than HTTP/1.0 and HTTP/1.1": re.compile("Invalid HTTP version|Expected HTTP/"),
    "two headers Content-Length, though equal": re.compile("Duplicate Content-Length"),
    "a target that is no path, URL or *": re.compile("in url|Invalid char"),
    "Content-Length or Transfer-Encoding as llhttp has it": re.compile("Content-Length|Transfer-Encoding"),
    "a line of a chunk's size that is too long": re.compile("invalid chunk size"),
}
"""Where ours refuses with 400 what Tornado takes, or closes at without an answer, by what its log says."""
CLOSE: Final = "Connection: close among other options"
OLD: Final = "Transfer-Encoding in HTTP/1.0"
"""Where ours closes, and Tornado takes another request."""
# Tornado closes with bytes unread; then the kernel may take its last answer back.
_ATTEMPTS: Final = 4
_BAD: Final = b"HTTP/1.1 400 Bad Request\r\n\r\n"
_CONTINUE: Final = b"HTTP/1.1 100 (Continue)\r\n\r\n"
_LAST_CLOSE: Final = re.compile(rb"Connection: close\r\n(?!.*\r\nConnection: )", re.DOTALL)


def _agreed(ours: bytes, theirs: bytes) -> bool | str | None:
    """Whether both answered the same; None if ours refused earlier, CLOSE or OLD if it closed earlier."""
    if ours == theirs:
        return True
    # A request that is refused is not asked for its body any more.
    mine, other = ours.replace(_CONTINUE, b""), theirs.replace(_CONTINUE, b"")
    if mine.endswith(_BAD) and other.startswith(mine.removesuffix(_BAD)):
        return None
    for reason, said in ((CLOSE, b""), (OLD, b"Connection: Keep-Alive\r\n")):
        kept, closed = _LAST_CLOSE.subn(said, mine)
        if closed and other.startswith(kept):
            return reason
    return False


@dataclass
class Differences:
    """`stricter`: how often ours refused for each reason; `wrong`: what was sent, our answer, and theirs."""

    compared: int = 0
    requests: int = 0
    stricter: dict[str, int] = field(default_factory=dict)
    wrong: list[tuple[list[bytes], bytes, bytes]] = field(default_factory=list)
    failed: list[list[bytes]] = field(default_factory=list)


class _Refusals(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


async def _reason(port: int, pieces: list[bytes]) -> str | None:
    """Why our server refused; None if it is in no list."""
    log = logging.getLogger("streamsim.http")
    refusals, level = _Refusals(), log.level
    log.addHandler(refusals)
    log.setLevel(logging.INFO)
    try:
        await exchanged(port, pieces)
    finally:
        log.removeHandler(refusals)
        log.setLevel(level)
    said = " ".join(refusals.messages)
    return next((reason for reason, pattern in STRICTER.items() if pattern.search(said)), None)


async def _answers(ports: dict[str, int], pieces: list[bytes]) -> list[bytes]:
    """What each server answers: ours, Tornado's."""
    answers = (exchanged(ports["fast"], pieces), exchanged(ports["tornado"], pieces))
    return [steady(answer) for answer in await asyncio.gather(*answers)]


async def compare(ports: dict[str, int], seed: int, connections: int) -> Differences:
    """Send what a seed draws over so many connections to each server."""
    return await compare_these(ports, islice(requests(seed), connections))


async def compare_these(
    ports: dict[str, int], all_pieces: Iterator[list[bytes]], at_once: int = 64
) -> Differences:
    """Send these, each over a connection of its own in its pieces, to each server."""
    found = Differences()
    doubtful: list[tuple[list[bytes], bytes, bytes]] = []

    async def one_after_the_other() -> None:
        for pieces in all_pieces:
            ours, theirs = b"", b""
            same: bool | str | None = False
            for _ in range(_ATTEMPTS):
                ours, theirs = await _answers(ports, pieces)
                same = _agreed(ours, theirs)
                if same is not False:
                    break
            found.compared += 1
            found.requests += len(statuses(theirs))
            if any(status >= 500 for status in statuses(ours)):
                found.failed.append(pieces)
            if same is False:
                found.wrong.append((pieces, ours, theirs))
            elif isinstance(same, str):
                found.stricter[same] = found.stricter.get(same, 0) + 1
            elif same is None:
                doubtful.append((pieces, ours, theirs))

    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    for pieces, ours, theirs in doubtful:
        reason = await _reason(ports["fast"], pieces)
        if reason is None:
            # Both may have refused, and Tornado's answer was taken back.
            again = [await _answers(ports, pieces) for _ in range(_ATTEMPTS)]
            if not any(_agreed(*answers) is True for answers in again):
                found.wrong.append((pieces, ours, theirs))
        else:
            found.stricter[reason] = found.stricter.get(reason, 0) + 1
    return found
