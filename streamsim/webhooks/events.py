"""What webhooks are told of, and the messages that this makes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from streamsim import dates, values
from streamsim.storage.contract.decisions import Experiment
from streamsim.storage.contract.deliveries import Delivery

Event = Literal["state", "guardrail", "drift", "winner"]
EVENTS: Final[tuple[Event, ...]] = get_args(Event)
MAX_WEBHOOKS: Final = 5


def messages(
    experiment: Experiment, event: Event, id: str, data: Mapping[str, Any], now_ms: int
) -> list[Delivery]:
    """A message to each webhook of an experiment that is told of an event.

    :param id: of what happened: what is found twice is told once, as long as it is kept.
    :param data: more of what happened.
    """
    hooks: list[dict[str, Any]] = experiment.properties.get("webhooks") or []
    told = {"exp_id": experiment.id, "name": experiment.name, **data}
    body = values.dump({"type": event, "timestamp": dates.iso(now_ms), "data": told})
    return [
        Delivery(
            experiment_id=experiment.id,
            id=f"{id}-{hashlib.sha256(hook['url'].encode()).hexdigest()[:12]}",
            event=event,
            url=hook["url"],
            body=body,
            created_ms=now_ms,
            due_ms=now_ms,
        )
        for hook in hooks
        if event in hook["events"]
    ]


def state_changed(before: Experiment, after: Experiment, now_ms: int) -> list[Delivery]:
    """The messages of an edit, if the state is another one then. :param after: as it is stored next."""
    old, new = state_of(before), state_of(after)
    if old == new:
        return []
    id = f"state-{after.id}-{before.revision + 1}"
    data = {"state": new, "before": old, "revision": before.revision + 1}
    return messages(after, "state", id, data, now_ms)


def state_of(experiment: Experiment) -> str:
    """The declared state."""
    return "archived" if experiment.archived else str(experiment.properties.get("state") or "running")
