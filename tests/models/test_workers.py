"""A failure of a model's process in the words of its author, and of a policy's in those of a policy's."""

from __future__ import annotations

from typing import Literal

import pytest

from streamsim.errors import ModelError, ModelTimeout
from streamsim.models.workers import OURS, expected, failed
from streamsim.sandbox.host.pool import (
    ProtocolViolation,
    SandboxLost,
    WorkerCrashed,
    WorkerDied,
    WorkerTimeout,
)
from streamsim.sandbox.wire import Failure


@pytest.mark.parametrize(
    ("death", "policy", "model"),
    [
        (
            WorkerCrashed("ended unexpectedly (signal 9)", "process"),
            "policy process ended unexpectedly (signal 9)",
            "the model's process ended unexpectedly (signal 9)",
        ),
        (
            SandboxLost("ended, because the sandbox did", "process"),
            "policy process ended, because the sandbox did",
            "the model's process ended, because the sandbox did",
        ),
        (
            ProtocolViolation("broke the protocol: a policy process", "the_process"),
            "the policy process broke the protocol: a policy process",
            "the model's process broke the protocol: a policy process",
        ),
        (WorkerCrashed("the call was given up"), "the call was given up", "the call was given up"),
        (
            WorkerTimeout("took longer than 5 ms", "call"),
            "stopped: a call took longer than 5 ms",
            f"stopped: the model took longer than 5 ms{OURS['timeout']}",
        ),
    ],
)
def test_a_death_is_told_in_the_words_of_whose_code_it_was(
    death: WorkerDied, policy: str, model: str
) -> None:
    assert str(death) == policy
    assert str(type(death)(*death.args)) == policy
    error = expected(death)
    assert isinstance(error, ModelTimeout if isinstance(death, WorkerTimeout) else ModelError)
    assert error.message == model


@pytest.mark.parametrize(
    ("kind", "setting"), [("timeout", "models.cpu_ms"), ("memory", "models.memory_bytes")]
)
def test_a_limit_of_the_server_is_said_to_be_one(kind: Literal["timeout", "memory"], setting: str) -> None:
    error = failed(Failure(kind, "TimeLimit", "stopped", "m.py", 3))
    assert error.message.startswith("m.py, line 3: TimeLimit: stopped")
    assert f"limit of this server: {setting}" in error.message
    assert "limit" not in failed(Failure("exception", "KeyError", "'x'", "m.py", 3)).message
