"""What the service says about itself: one line for each record, as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from streamsim import dates

TEXT_FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class TextLines(logging.Formatter):
    """Date, level, logger, message; the date is that of JSON answers, in UTC."""

    def __init__(self) -> None:
        super().__init__(TEXT_FORM)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return dates.iso(int(record.created * 1000))


class JsonLines(logging.Formatter):
    """One JSON object for each record: `time`, `level`, `logger`, `message`, and `error` with a traceback.

    A line of the access log has also `address`, `user` (null where nobody logged in), `method`, `path`,
    `status`, `ms` and `request_id`.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": dates.iso(int(record.created * 1000)),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "access", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(form: str) -> None:
    """Log everything from INFO on to stderr, anew if it did before.

    :param form: text or json, as `server.log`.
    """
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=logging.INFO, handlers=[output], force=True)
    logging.captureWarnings(True)


def log_access(
    log: logging.Logger,
    level: int,
    *,
    address: str,
    user: str | None,
    method: str,
    path: str,
    status: int,
    seconds: float,
    request_id: str,
) -> None:
    """A line of the access log. :param path: without the query, which may hold keys."""
    ms = round(seconds * 1000, 1)
    access: dict[str, Any] = {
        "address": address,
        "user": user,
        "method": method,
        "path": path,
        "status": status,
    }
    access |= {"ms": ms, "request_id": request_id}
    log.log(
        level,
        "%s %s %d %s %s %.1f ms %s",
        *(address or "-", user or "-", status, method, path, ms, request_id),
        extra={"access": access},
    )
