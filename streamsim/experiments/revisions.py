"""The code that an experiment had: kept at every save that changes it, with who saved it, when and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from streamsim.errors import BadRequest, NotFound
from streamsim.storage.contract.decisions import Experiment
from streamsim.storage.contract.revisions import Revision, RevisionStore

MAX_NOTE: Final = 500


def note_of(body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The other fields of a request, and its note. :raises BadRequest:"""
    rest = {name: value for name, value in body.items() if name != "note"}
    note = body.get("note")
    if note is None:
        return rest, ""
    if not isinstance(note, str) or len(note) > MAX_NOTE:
        raise BadRequest(f"note must be text of at most {MAX_NOTE} characters", field="note")
    return rest, note


def saved(experiment: Experiment, note: str, revision: int | None = None) -> Revision:
    """What is kept of an experiment's code. :param revision: that it gets; its present one by default."""
    return Revision(
        experiment_id=experiment.id,
        revision=experiment.revision if revision is None else revision,
        date_ms=experiment.modified_ms,
        user=experiment.tenant,
        note=note,
        code=experiment.code,
    )


async def of_edit(
    store: RevisionStore, current: Experiment, changed: Experiment, note: str
) -> list[Revision]:
    """What is kept when an experiment is changed: nothing if its code is not."""
    if changed.code == current.code:
        return []
    # Of an experiment from before revisions were kept, the code until now is not kept yet.
    before = [] if await store.has_revisions(current.id) else [saved(current, "")]
    return [*before, saved(changed, note, current.revision + 1)]


async def listed(
    store: RevisionStore, experiment: Experiment, iso: Callable[[int], str]
) -> list[dict[str, Any]]:
    """Number, date, user and note of each, newest first; the first has the code that decides now."""
    found = await store.list_revisions(experiment.id) or [saved(experiment, "")]
    return [_shown(one, iso) for one in found]


async def one(
    store: RevisionStore, experiment: Experiment, revision: int, iso: Callable[[int], str]
) -> dict[str, Any]:
    """One with its code. :raises NotFound: it is not kept."""
    found = await store.get_revision(experiment.id, revision)
    if found is None and revision == experiment.revision and not await store.has_revisions(experiment.id):
        found = saved(experiment, "")
    if found is None:
        raise NotFound("no code of this revision is kept: another edit, or too long ago")
    return _shown(found, iso) | found.code


def _shown(revision: Revision, iso: Callable[[int], str]) -> dict[str, Any]:
    return {
        "revision": revision.revision,
        "date": iso(revision.date_ms),
        "user": revision.user,
        "note": revision.note,
    }
