"""Experiments as their owners manage them: create, edit, archive, reset, and read what they did."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import AsyncGenerator, Callable, Container, Iterator
from typing import Any, Protocol

import msgspec

from streamsim import dates
from streamsim.decisions.wire import PIECES
from streamsim.errors import BadRequest, Conflict, PreconditionFailed, Unauthorized
from streamsim.experiments import decision_rows, fields, logs, revisions, webhooks, whole_theta
from streamsim.experiments.logs import LogFormat, LogQuery
from streamsim.experiments.resets import delete_older
from streamsim.experiments.theta_views import theta_text
from streamsim.experiments.turns import Editing
from streamsim.storage.contract.decisions import (
    Committed,
    Experiment,
    Summary,
    ThetaAddress,
    Transaction,
)
from streamsim.storage.contract.errors import DuplicateName
from streamsim.storage.contract.store import Store
from streamsim.waiting import Room
from streamsim.webhooks.destinations import Destinations
from streamsim.webhooks.events import state_changed

THETA = whole_theta.THETA
MAX_ID = 128
_ATTEMPTS = 16
_AT_ONCE = 100
_WHOLE = 8
_PART_BYTES = 1 << 20
_RECORDS_BYTES = 16 << 20


class CodeChecker(Protocol):
    """What experiments need of the service that runs them."""

    async def check_code(self, tenant: str, code: dict[str, str]) -> None:
        """:raises BadRequest: for a piece that does not compile."""

    def forget(self, experiment_id: str) -> None:
        """Drop what is cached of an experiment."""

    def leave(self, experiment_id: str) -> None:
        """Nothing more is expected of an experiment."""


class Experiments:
    """The experiments of all tenants; every method takes the tenant that asks.

    One that does not exist, was archived, or belongs to someone else raises the same `Unauthorized`.

    :param iso: writes dates; `iso` does so for those who answer. :param destinations: where webhooks may be.
    """

    def __init__(
        self,
        store: Store,
        decisions: CodeChecker,
        now_ms: Callable[[], int],
        iso: Callable[[int], str] = dates.iso,
        destinations: Destinations | None = None,
    ) -> None:
        self._store = store
        self.iso = iso
        self._decisions = decisions
        self._now_ms = now_ms
        self._destinations = destinations or Destinations(())
        self._whole = Room(_WHOLE, share=1)
        self._editing = Editing()

    # ---- managing

    async def create(self, tenant: str, body: dict[str, Any]) -> tuple[Experiment, list[str]]:
        """A new experiment from a request's fields, and warnings; only `name` is required.

        A name that the tenant has already gets a number behind it, with a warning.

        :raises BadRequest: naming the field. :raises Conflict: there are too many of this name.
        :raises TooManyRequests: too many edits of the tenant wait.
        """
        body, note = revisions.note_of(body)
        name, code, properties, warnings, _ = fields.read(body)
        if name is None:
            raise BadRequest(f"name is missing: text of 1 to {fields.MAX_NAME} characters", field="name")
        complete = fields.complete(webhooks.completed(properties, {}, self._destinations))
        async with self._editing.turn(tenant):
            if code:
                await self._decisions.check_code(tenant, code)
            now_ms = self._now_ms()
            experiment = Experiment(
                id=secrets.token_hex(16),
                key=secrets.token_hex(16),
                tenant=tenant,
                name=name,
                code=dict.fromkeys(PIECES, "") | code,
                properties=complete,
                created_ms=now_ms,
                modified_ms=now_ms,
            )
            for other in _other_names(name):
                try:
                    kept = [revisions.saved(experiment, note)]
                    await self._store.decisions.create_experiment(experiment, kept)
                except DuplicateName:
                    experiment = msgspec.structs.replace(experiment, name=other)
                    continue
                if experiment.name != name:
                    warnings.append(
                        f"you have an experiment named {name} already; this one is {experiment.name}"
                    )
                return experiment, warnings
        raise _taken(name)

    async def get(self, tenant: str, experiment_id: str) -> Experiment:
        """A live experiment of the tenant. :raises Unauthorized:"""
        found = (
            await self._store.decisions.get_experiment(experiment_id)
            if len(experiment_id) <= MAX_ID
            else None
        )
        if found is None or found.archived or found.tenant != tenant:
            raise Unauthorized("you have no experiment of this id")
        return found

    async def names(self, tenant: str, *, limit: int, after: str = "") -> tuple[dict[str, str], str | None]:
        """Id -> name of live experiments in order of id; and the last id, if there are more."""
        found = await self._store.decisions.list_experiments(tenant, limit=limit + 1, after=after)
        page = found[:limit]
        return {one.id: one.name for one in page}, page[-1].id if len(found) > limit else None

    async def records(self, tenant: str, *, order: str, descending: bool) -> dict[str, dict[str, Any]]:
        """Id -> all info of the tenant's live experiments, in order of one of `fields.ORDERS`.

        As many as `_RECORDS_BYTES` of code hold.
        """
        found: list[Experiment] = []
        after, size = "", 0
        while size < _RECORDS_BYTES:
            page = await self._store.decisions.list_experiments(tenant, limit=_AT_ONCE, after=after)
            found += page
            size += sum(len(text) for one in page for text in one.code.values())
            if len(page) < _AT_ONCE:
                break
            after = page[-1].id
        records = [fields.shown(one, self.iso) for one in found]
        records.sort(key=lambda record: (str(record[order]).casefold(), record["id"]), reverse=descending)
        return {record["id"]: record for record in records}

    async def edit(
        self,
        tenant: str,
        experiment_id: str,
        body: dict[str, Any],
        expected: Container[int] | None = None,
    ) -> tuple[Experiment, list[str]]:
        """Change the fields that a request has; the others stay. The experiment then, and warnings.

        :param expected: those that may be edited, as the header `If-Match` says; None: any.
        :raises BadRequest: :raises Unauthorized: :raises PreconditionFailed: it has another revision.
        :raises Conflict: name taken, or another revision than the field `if_revision` says.
        :raises TooManyRequests: too many edits of the tenant wait.
        """
        checked: dict[str, str] = {}
        body, note = revisions.note_of(body)
        async with self._editing.turn(tenant):
            for _ in range(_ATTEMPTS):
                current = await self.get(tenant, experiment_id)
                name, code, properties, warnings, if_revision = fields.read(
                    body, fields.shown(current, self.iso)
                )
                if expected is not None and current.revision not in expected:
                    raise PreconditionFailed(
                        "the experiment was edited since the revision that If-Match names"
                    )
                if if_revision not in (None, current.revision):
                    raise Conflict("the experiment was edited since this revision", field="if_revision")
                given = webhooks.completed(properties, current.properties, self._destinations)
                complete = fields.complete(current.properties | given)
                new_code = {piece: text for piece, text in code.items() if text != current.code.get(piece)}
                if new_code and new_code != checked:
                    await self._decisions.check_code(tenant, new_code)
                    checked = new_code
                changed = msgspec.structs.replace(
                    current,
                    name=current.name if name is None else name,
                    code=current.code | code,
                    properties=complete,
                    modified_ms=self._now_ms(),
                )
                try:
                    told = state_changed(current, changed, changed.modified_ms)
                    kept = await revisions.of_edit(self._store.revisions, current, changed, note)
                    stored = await self._store.decisions.update_experiment(changed, told, kept)
                except DuplicateName:
                    raise _taken(changed.name) from None
                if stored is not None:
                    self._decisions.forget(experiment_id)
                    if note and not kept:
                        warnings.append("no code changed; note was left out")
                    return stored, warnings
        raise Conflict("the experiment is being edited by others; try again")

    async def revisions(self, tenant: str, experiment_id: str) -> list[dict[str, Any]]:
        """Each save of its code that is kept, newest first: `revisions.listed`. :raises Unauthorized:"""
        found = await self.get(tenant, experiment_id)
        return await revisions.listed(self._store.revisions, found, self.iso)

    async def revision(self, tenant: str, experiment_id: str, number: int) -> dict[str, Any]:
        """One with its code. :raises Unauthorized: :raises NotFound: it is not kept."""
        found = await self.get(tenant, experiment_id)
        return await revisions.one(self._store.revisions, found, number, self.iso)

    async def rotate_key(self, tenant: str, experiment_id: str) -> Experiment:
        """The experiment with a new key; the old one is worth nothing from now on, in all processes.

        :raises Unauthorized: :raises Conflict: others edit it all the time.
        """
        for _ in range(_ATTEMPTS):
            current = await self.get(tenant, experiment_id)
            changed = msgspec.structs.replace(current, key=secrets.token_hex(16), modified_ms=self._now_ms())
            stored = await self._store.decisions.update_experiment(changed)
            self._decisions.forget(experiment_id)
            if stored is not None:
                return stored
        raise Conflict("the experiment is being edited by others; try again")

    async def archive(self, tenant: str, experiment_id: str) -> Experiment:
        """Delete: nobody can use it any more, what it logged stays stored. :raises Unauthorized:"""
        found = await self.get(tenant, experiment_id)
        archived = await self._archive(found)
        if archived is None:
            raise Unauthorized("you have no experiment of this id")
        return archived

    async def archive_all(self, tenant: str) -> None:
        """Archive every experiment of a tenant."""
        while found := await self._store.decisions.list_experiments(tenant, limit=_AT_ONCE):
            for experiment in found:
                await self._archive(experiment)

    async def _archive(self, found: Experiment) -> Experiment | None:
        now_ms = self._now_ms()
        told = state_changed(found, msgspec.structs.replace(found, archived=True), now_ms)
        archived = await self._store.decisions.archive_experiment(found.tenant, found.id, now_ms, told)
        self._decisions.leave(found.id)
        return archived

    async def reset(
        self, tenant: str, experiment_id: str, key: str, theta_key: str | None, theta_value: str | None
    ) -> None:
        """Delete theta: all of it, that of a key, or that of a key and value; in every named set.

        All of it goes together with the advices: one that was given before is neither redeemed nor times out
        after it. A decision commits before it or after it, and starts from nothing then.

        :raises Unauthorized: wrong key; no theta is stored under the theta key and value.
        """
        found = await self.get(tenant, experiment_id)
        if not hmac.compare_digest(found.key.encode(), key.encode()):
            raise Unauthorized("key is not that of this experiment", field="key")
        if theta_value is not None and theta_key is None:
            raise Unauthorized("theta_value needs theta_key", field="theta_value")
        decisions = self._store.decisions
        for _ in range(_ATTEMPTS):
            names = await decisions.theta_names(experiment_id)
            scopes = [ThetaAddress(experiment_id, name, theta_key, theta_value) for name in names]
            scopes = [scope for scope in scopes if (await decisions.read_theta(scope)).rows]
            if not scopes and theta_key is not None:
                raise Unauthorized(
                    "no theta is stored under this theta_key and theta_value", field="theta_key"
                )
            transaction = Transaction(tenant, {experiment_id: found.revision}, deletes=scopes)
            transaction.drops = [] if theta_key is not None else [experiment_id]
            result = await decisions.commit(transaction)
            if isinstance(result, Committed):
                version = result.versions.get(experiment_id)
                if version is not None:
                    await delete_older(decisions, found, version, set(names), theta_key, theta_value)
                return
            found = await self.get(tenant, experiment_id)
        raise Conflict("the experiment is being edited by others; try again")

    # ---- reading

    async def theta(self, tenant: str, experiment_id: str, name: str = THETA) -> AsyncGenerator[bytes, None]:
        """The current theta as JSON text in parts, in the form in which policy code gets it without a key.

        A server process holds one whole theta of a tenant at a time, and of `_WHOLE` tenants.

        :raises Unauthorized: before the first part.
        """
        await self.get(tenant, experiment_id)
        async with self._whole.place(tenant):
            theta = await self._store.decisions.read_theta(ThetaAddress(experiment_id, name, None, None))
            async for part in theta_text(theta):
                yield part

    async def log_page(
        self, tenant: str, experiment_id: str, query: LogQuery, limit: int
    ) -> tuple[bytes, str | None]:
        """At most `limit` rows of a log, newest first; the position to go on `before`, if there may be more.

        :raises BadRequest: for a `before` that is no position. :raises Unauthorized:
        """
        await self.get(tenant, experiment_id)
        return await logs.page(self._store.logs, experiment_id, query, limit, self.iso)

    async def log(self, tenant: str, experiment_id: str, query: LogQuery) -> AsyncGenerator[bytes, None]:
        """All rows of a log, newest first, in parts.

        :raises BadRequest: before the first part, for a `before` that is no position. :raises Unauthorized:
        """
        await self.get(tenant, experiment_id)
        async for part in logs.whole(self._store.logs, experiment_id, query, self.iso):
            yield part

    async def decision_page(
        self, tenant: str, experiment_id: str, query: LogQuery, form: LogFormat, limit: int
    ) -> tuple[bytes, str | None]:
        """At most `limit` decisions with their rewards: `decision_rows.page`. :raises Unauthorized:"""
        await self.get(tenant, experiment_id)
        async with self._whole.place(tenant):
            return await decision_rows.page(self._store.logs, experiment_id, query, form, limit, self.iso)

    async def decision_rows(
        self, tenant: str, experiment_id: str, query: LogQuery, form: LogFormat
    ) -> AsyncGenerator[bytes, None]:
        """All decisions with their rewards, in parts: `decision_rows.whole`. :raises Unauthorized:"""
        await self.get(tenant, experiment_id)
        async with self._whole.place(tenant):
            async for part in decision_rows.whole(self._store.logs, experiment_id, query, form, self.iso):
                yield part

    async def deliveries(self, tenant: str, experiment_id: str, limit: int) -> list[dict[str, Any]]:
        """The newest messages to webhooks, newest first. :raises Unauthorized:"""
        await self.get(tenant, experiment_id)
        found = await self._store.deliveries.list_deliveries(experiment_id, limit=limit)
        return [webhooks.delivery_shown(one, self.iso) for one in found]

    async def summary(self, tenant: str, experiment_id: str) -> Summary:
        """Numbers of calls and dates of the last ones. :raises Unauthorized:"""
        await self.get(tenant, experiment_id)
        return await self._store.decisions.summary(experiment_id)

    async def whole_theta(self, tenant: str, experiment_id: str) -> AsyncGenerator[bytes, None]:
        """All sets of theta, with their version: `whole_theta.parts`.

        :raises Unauthorized: before the first part.
        """
        await self.get(tenant, experiment_id)
        async with self._whole.place(tenant):
            async for part in whole_theta.parts(self._store.decisions, experiment_id):
                yield part

    async def put_theta(self, tenant: str, experiment_id: str, body: dict[str, Any]) -> str:
        """Set theta in place of all there is; its version: `whole_theta.put`. :raises Unauthorized:"""
        found = await self.get(tenant, experiment_id)
        async with self._whole.place(tenant):
            return await whole_theta.put(self._store.decisions, found, body)


def _other_names(name: str) -> Iterator[str]:
    """The same name with a number behind it, from 2."""
    for number in range(2, _ATTEMPTS + 2):
        ending = f" ({number})"
        yield name[: fields.MAX_NAME - len(ending)] + ending


def _taken(name: str) -> Conflict:
    return Conflict(f"you have an experiment named {name} already", field="name")
