"""When a request that failed is sent again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from streamsim_client.errors import ClientError, Disconnected, ServerError, TimedOut

Repeat = Literal["safe", "unsent", "never"]
"""Whether a request may be sent again.

`safe`: twice is as good as once. `unsent`: only if nothing can have been done, because no connection was made
or the server turned it away (429). `never`: the caller decides.
"""

AWAY = (429, 502, 503)


@dataclass(frozen=True)
class Retries:
    """How often and how fast the client tries again.

    :param attempts: how often a request is sent, at most; 1 is no retry.
    :param base_s: the first pause is up to this long, each later one up to twice the one before.
    :param most_s: longest pause; a server that asks for a longer one is not asked again.

    >>> once = Retries(attempts=1)
    >>> once.pause_s(1, "safe", Disconnected("the connection was reset")) is None
    True
    """

    attempts: int = 4
    base_s: float = 0.1
    most_s: float = 10.0

    def pause_s(self, attempt: int, repeat: Repeat, failure: ClientError) -> float | None:
        """Seconds before the next attempt; None if there is none.

        A `Retry-After` of the server is waited for. On top comes a random part of a pause that doubles ("full
        jitter"), so that clients that failed together do not return together.

        :param attempt: how often it was sent.
        """
        if attempt >= self.attempts or not _allowed(repeat, failure):
            return None
        asked_s = (failure.retry_after_s if isinstance(failure, ServerError) else None) or 0.0
        if asked_s > self.most_s:
            return None
        return asked_s + random.uniform(0.0, min(self.most_s, self.base_s * 2 ** (attempt - 1)))


def _allowed(repeat: Repeat, failure: ClientError) -> bool:
    if repeat == "never":
        return False
    if isinstance(failure, Disconnected):
        return not failure.sent or (repeat == "safe" and not isinstance(failure, TimedOut))
    if not isinstance(failure, ServerError):
        return False
    return failure.status == 429 or (repeat == "safe" and failure.status in AWAY)
