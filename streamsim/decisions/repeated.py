"""Outcomes that a worker has told before: most policies choose among few arms, and say the same of each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from streamsim.decisions.wire import Outcome

MOST: Final = 256
"""So many outcomes are remembered."""
_BYTES: Final = 512
"""Longer ones are not."""
_decode = msgspec.json.Decoder(Outcome).decode


class Told(NamedTuple):
    """What a decision leaves behind whatever its context, once its outcome was found to be allowed.

    `answer`: its JSON text. `rest`: that of its log row behind the context. `arm`: the row that counts it.
    """

    outcome: Outcome
    answer: bytes
    rest: bytes
    arm: str


class Repeated:
    """What one worker says again, by its JSON text, so that it is decoded, checked and encoded once.

    >>> repeated = Repeated()
    >>> one, other = repeated.decoded([b'[null,"a"]', b'[null,"a"]'])
    >>> one.action, one is other
    ('a', True)
    """

    def __init__(self) -> None:
        self._outcomes: dict[bytes, Outcome] = {}
        self._told: dict[int, Told | None] = {}  # by the id of an outcome that is remembered

    def decoded(self, texts: Iterable[msgspec.Raw | bytes]) -> list[Outcome]:
        """Outcomes from JSON texts; they are shared, and not to be changed. :raises msgspec.DecodeError:"""
        known = self._outcomes
        return [known.get(text) or self._new(text) for text in map(bytes, texts)]

    def _new(self, text: bytes) -> Outcome:
        outcome = _decode(text)
        if len(text) <= _BYTES:
            if len(self._outcomes) >= MOST:
                self._outcomes.clear()
                self._told.clear()
            self._outcomes[text] = outcome
            self._told[id(outcome)] = None
        return outcome

    def told(self, outcome: Outcome) -> Told | None:
        """What was kept of an outcome."""
        told = self._told.get(id(outcome))
        return told if told is not None and told.outcome is outcome else None

    def keep(self, told: Told) -> None:
        """Keep what is known of an outcome, if that is remembered itself."""
        if id(told.outcome) in self._told:
            self._told[id(told.outcome)] = told
