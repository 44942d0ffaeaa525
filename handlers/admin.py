"""The admin API: a user's experiments, and the catalogue of policies to start from."""

from __future__ import annotations

from typing import ClassVar

from handlers.base import Access, BaseHandler
from handlers.core import given
from streamsim import values
from streamsim.decisions.wire import PIECES
from streamsim.errors import BadRequest, NotFound, refuse_unknown
from streamsim.experiments import fields, webhooks, whole_theta

MAX_LISTED = 1000
DEFAULT_MESSAGES = 100


class ExperimentsHandler(BaseHandler):
    """`/exp`"""

    access: ClassVar[Access] = "user"

    async def get(self) -> None:
        """Query: limit?, after?. Id -> name of the user's experiments, in order of id.

        With any of _start, _end, _sort, _order, which StreamingBandit's interface sends: id -> record.
        """
        if any(self.text_argument(name) is not None for name in ("_start", "_end", "_sort", "_order")):
            await self._records()
            return
        limit = self.integer_argument("limit", MAX_LISTED, 1, MAX_LISTED)
        after = self.text_argument("after") or ""
        names, more = await self.services.experiments.names(self.user.name, limit=limit, after=after)
        if more is not None:
            self.link_next(limit=limit, after=more)
        self.write_json(names)

    async def _records(self) -> None:
        # That interface takes what comes for all there is, so its range does not cut the list.
        for name in ("_start", "_end"):
            self.integer_argument(name, 0, 0, values.MAX_INT)
        order = self.text_argument("_sort") or "id"
        direction = (self.text_argument("_order") or "asc").lower()
        if order not in fields.ORDERS:
            raise BadRequest(f"_sort must be one of {', '.join(fields.ORDERS)}", field="_sort")
        if direction not in ("asc", "desc"):
            raise BadRequest("_order must be ASC or DESC", field="_order")
        experiments = self.services.experiments
        self.write_json(
            await experiments.records(self.user.name, order=order, descending=direction == "desc")
        )

    async def post(self) -> None:
        """Body: name, and any of the code pieces and properties. Creates an experiment."""
        created, warnings = await self.services.experiments.create(self.user.name, self.json_object())
        answer = {"id": created.id, "name": created.name, "key": created.key, "error": False}
        self.write_json({**answer, "warning": warnings} if warnings else answer)


class ExperimentHandler(BaseHandler):
    """`/exp/{exp_id}`"""

    access: ClassVar[Access] = "user"

    async def get(self, exp_id: str) -> None:
        """All info of the experiment."""
        found = await self.services.experiments.get(self.user.name, exp_id)
        self.set_header("ETag", f'"{found.revision}"')
        self.write_json(fields.shown(found, self.services.experiments.iso))

    async def put(self, exp_id: str) -> None:
        """Body: the fields to change, as for POST. `if_revision`, or the header If-Match, is a condition."""
        edited, warnings = await self.services.experiments.edit(
            self.user.name, exp_id, self.json_object(), self._revisions()
        )
        self.set_header("ETag", f'"{edited.revision}"')
        answer = {"status": "success", "id": edited.id, "revision": edited.revision}
        self.write_json({**answer, "warning": warnings} if warnings else answer)

    def _revisions(self) -> frozenset[int] | None:
        """Those that the header If-Match names; None for any."""
        header = self.request.headers.get("If-Match", "*").strip()
        if header == "*":
            return None
        tags = [tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")]
        return frozenset(int(tag) for tag in tags if tag.isascii() and tag.isdecimal() and len(tag) < 19)

    async def delete(self, exp_id: str) -> None:
        """Archives the experiment and answers it."""
        archived = await self.services.experiments.archive(self.user.name, exp_id)
        self.write_json(fields.shown(archived, self.services.experiments.iso))


class KeyHandler(BaseHandler):
    """`/exp/{exp_id}/key`"""

    access: ClassVar[Access] = "user"

    async def post(self, exp_id: str) -> None:
        """Gives the experiment a new key, and answers it; the old one is refused from now on."""
        if self.request.body:
            self.json_body(())
        changed = await self.services.experiments.rotate_key(self.user.name, exp_id)
        self.set_header("ETag", f'"{changed.revision}"')
        answer = {"status": "success", "id": changed.id, "key": changed.key, "revision": changed.revision}
        self.write_json(answer)


class RevisionsHandler(BaseHandler):
    """`/exp/{exp_id}/revisions`"""

    access: ClassVar[Access] = "user"

    async def get(self, exp_id: str) -> None:
        """Each save of the code that is kept, newest first, without the code."""
        self.write_json({"revisions": await self.services.experiments.revisions(self.user.name, exp_id)})


class RevisionHandler(BaseHandler):
    """`/exp/{exp_id}/revisions/{revision}`"""

    access: ClassVar[Access] = "user"

    async def get(self, exp_id: str, revision: str) -> None:
        """One with its code."""
        if not (revision.isascii() and revision.isdecimal() and len(revision) < 19):
            raise NotFound("revision must be a number, as the list of revisions has it")
        found = await self.services.experiments.revision(self.user.name, exp_id, int(revision))
        self.write_json(found)


class DryRunHandler(BaseHandler):
    """`/exp/{exp_id}/dryrun`"""

    access: ClassVar[Access] = "user"

    async def post(self, exp_id: str) -> None:
        """Body: context?, reward?, and any of the code pieces, unsaved. What would be decided now."""
        body = self.json_body(("context", "reward", *PIECES))
        found = await self.services.experiments.get(self.user.name, exp_id)
        context, reward = given(body.pop("context", None)), body.pop("reward", None)
        work = self.services.decisions.dry_run(fields.drafted(found, body), context, reward)
        self.write_json(await self.while_connected(work))


class ResetHandler(BaseHandler):
    """`/exp/{exp_id}/resetexperiment`"""

    access: ClassVar[Access] = "user"

    async def get(self, exp_id: str) -> None:
        """Query: key, theta_key?, theta_value?. Deletes theta, or a part of it."""
        key = self.text_argument("key")
        if not key:
            raise BadRequest("key is missing: give the experiment's key", field="key")
        await self.services.experiments.reset(
            self.user.name, exp_id, key, self.text_argument("theta_key"), self.text_argument("theta_value")
        )
        self.write_json({"status": "success"})


class ThetaHandler(BaseHandler):
    """`/exp/{exp_id}/theta`"""

    access: ClassVar[Access] = "user"

    async def get(self, exp_id: str) -> None:
        """All rows of theta, in every named set, and their version."""
        await self.stream(self.services.experiments.whole_theta(self.user.name, exp_id))

    async def put(self, exp_id: str) -> None:
        """Body: version, and rows, or theta and named? as an hourly snapshot has them. Replaces theta."""
        body = self.json_object(whole_theta.MAX_VALUES)
        refuse_unknown(body, whole_theta.FIELDS)
        version = await self.services.experiments.put_theta(self.user.name, exp_id, body)
        self.write_json({"status": "success", "version": version})


class WebhooksHandler(BaseHandler):
    """`/exp/{exp_id}/webhooks`"""

    access: ClassVar[Access] = "user"

    async def get(self, exp_id: str) -> None:
        """Query: limit?. The newest messages to the experiment's webhooks, newest first."""
        limit = self.integer_argument("limit", DEFAULT_MESSAGES, 1, webhooks.MAX_LISTED)
        self.write_json(await self.services.experiments.deliveries(self.user.name, exp_id, limit))


class DefaultsHandler(BaseHandler):
    """`/exp/defaults`"""

    access: ClassVar[Access] = "user"

    async def get(self) -> None:
        """Number -> name of the policies of the catalogue."""
        self.write_json(self.services.catalogue.names())


class DefaultHandler(BaseHandler):
    """`/exp/defaults/{default_id}`"""

    access: ClassVar[Access] = "user"

    async def get(self, default_id: str) -> None:
        """Name, code and description of a policy of the catalogue, by its number or its name."""
        self.write_json(self.services.catalogue.get(default_id))


routes = [
    ("/exp", ExperimentsHandler),
    ("/exp/defaults", DefaultsHandler),
    ("/exp/defaults/{default_id:part}", DefaultHandler),
    ("/exp/{exp_id}", ExperimentHandler),
    ("/exp/{exp_id}/key", KeyHandler),
    ("/exp/{exp_id}/revisions", RevisionsHandler),
    ("/exp/{exp_id}/revisions/{revision}", RevisionHandler),
    ("/exp/{exp_id}/dryrun", DryRunHandler),
    ("/exp/{exp_id}/resetexperiment", ResetHandler),
    ("/exp/{exp_id}/theta", ThetaHandler),
    ("/exp/{exp_id}/webhooks", WebhooksHandler),
]
