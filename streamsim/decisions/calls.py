"""What waits in a lane: one decision or one reward, and the answer that its caller awaits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

from streamsim import values
from streamsim.storage.contract.decisions import Advice
from streamsim.tracing import CallTrace


class Answer(Protocol):
    """Where an answer goes: a future, or what does with it at once what there is to do, and never raises."""

    def done(self) -> bool:
        """Whether nobody waits for it any more."""

    def set_result(self, answer: bytes, /) -> None:
        """Here it is."""

    def set_exception(self, error: BaseException, /) -> None:
        """There is none, for this reason."""


class Pending:
    """A call in a lane. Its answer is JSON text; its error a `StreamsimError`.

    `answer` is set before it is queued. `deadline` and `attempts` are the lane's: until when it may be tried,
    in the event loop's time, and how often its commit was refused. `size`: bytes that it came in; `let_go` is
    told them once when it has ended. `key`: that its caller gave; None for our own. `trace`: of its stages,
    where it is traced.
    """

    __slots__ = ("answer", "attempts", "deadline", "key", "let_go", "size", "trace")

    answer: Answer
    deadline: float
    attempts: int
    key: str | None
    size: int
    let_go: Callable[[int], None] | None
    trace: CallTrace | None

    @property
    def given_up(self) -> bool:
        """Whether it need not be carried out, because nobody waits for the answer any more."""
        return False

    def resolve(self, answer: bytes) -> None:
        self._end()
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: BaseException) -> None:
        self._end(error)
        if not self.answer.done():
            self.answer.set_exception(error)

    def _end(self, error: BaseException | None = None) -> None:
        if self.trace is not None:
            self.trace.end(error)
            self.trace = None
        let_go, self.let_go = self.let_go, None
        if let_go is not None:
            let_go(self.size)


class Decision(Pending):
    """A getaction call. `present`: the action that the caller's present system takes, None if it was not
    sent; `without_code`: in a shadow experiment, whether its code failed before and is left out."""

    __slots__ = ("context", "present", "without_code")

    def __init__(self, context: Any, *, present: Any = None, size: int = 0) -> None:
        self.context = context
        self.present = present
        self.without_code = False
        self.size = size
        self.key = self.let_go = self.trace = None

    @property
    def given_up(self) -> bool:
        # Nobody would see what was decided. A reward counts also if its sender did not wait.
        return self.answer.done()


class Reward(Pending):
    """A setreward call: the reward of an advice id, or of a context and an action given with it.

    `by` is "timeout" for the default reward of an advice that nobody redeemed in time. `advice` is filled in
    by the lane from the store. `parts`: of how many rewards this is the last or the sum. `metrics`: other
    numbers that came with it.
    """

    __slots__ = (
        "action",
        "advice",
        "advice_id",
        "by",
        "context",
        "idempotency_key",
        "metrics",
        "parts",
        "reward",
    )

    def __init__(
        self,
        reward: Any,
        *,
        context: Any = None,
        action: Any = None,
        advice_id: str | None = None,
        idempotency_key: str | None = None,
        by: Literal["reward", "timeout"] = "reward",
        metrics: dict[str, float] | None = None,
        size: int = 0,
    ) -> None:
        self.size = size
        self.key = self.let_go = self.trace = None
        self.reward = reward
        self.context = {} if context is None else context
        self.action = {} if action is None else action
        self.advice_id = advice_id
        self.idempotency_key = idempotency_key
        self.by = by
        self.metrics = metrics
        self.advice: Advice | None = None
        self.parts = 0

    def fingerprint(self) -> str:
        """Identifies what the caller sent, whatever the order of its fields."""
        body = [self.advice_id, self.reward]
        if self.advice_id is None:
            body += [self.context, self.action]
        if self.metrics is not None:
            body.append({"metrics": self.metrics})
        return hashlib.sha256(values.dump_sorted(body)).hexdigest()


def enter(calls: Iterable[Pending], stage: str) -> None:
    """Those of the calls that are traced begin a stage."""
    for call in calls:
        if call.trace is not None:
            call.trace.enter(stage)


def fail_all(calls: Iterable[Pending], error: BaseException) -> None:
    """All of the calls end with an error."""
    for call in calls:
        call.fail(error)
