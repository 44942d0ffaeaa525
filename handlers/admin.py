"""The admin API: a user's experiments, and the catalogue of policies to start from."""

from __future__ import annotations

from typing import ClassVar

from handlers.base import Access, BaseHandler
from streamsim.dates import iso
from streamsim.errors import BadRequest
from streamsim.experiments import fields

MAX_LISTED = 1000


class ExperimentsHandler(BaseHandler):
    """`/exp`"""

    access: ClassVar[Access] = "user"

    async def get(self) -> None:
        """Query: limit?, after?. Id -> name of the user's experiments, in order of id."""
        limit = self.integer_argument("limit", MAX_LISTED, 1, MAX_LISTED)
        after = self.text_argument("after") or ""
        names, more = await self.services.experiments.names(self.user.name, limit=limit, after=after)
        if more is not None:
            self.link_next(limit=limit, after=more)
        self.write_json(names)

    async def post(self) -> None:
        """Body: name, and any of the code pieces and properties. Creates an experiment."""
        created = await self.services.experiments.create(self.user.name, self.json_body(fields.FIELDS))
        self.write_json({"id": created.id, "name": created.name, "key": created.key, "error": False})


class ExperimentHandler(BaseHandler):
    """`/exp/{exp_id}`"""

    access: ClassVar[Access] = "user"

    async def get(self, exp_id: str) -> None:
        """All info of the experiment."""
        self.write_json(fields.shown(await self.services.experiments.get(self.user.name, exp_id), iso))

    async def put(self, exp_id: str) -> None:
        """Body: the fields to change, as for POST. A `revision` makes the edit conditional on it."""
        body = self.json_body(fields.FIELDS)
        edited = await self.services.experiments.edit(self.user.name, exp_id, body)
        self.write_json({"status": "success", "id": edited.id, "revision": edited.revision})

    async def delete(self, exp_id: str) -> None:
        """Archives the experiment and answers it."""
        archived = await self.services.experiments.archive(self.user.name, exp_id)
        self.write_json(fields.shown(archived, iso))


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
        """Name, code and description of a policy of the catalogue."""
        self.write_json(self.services.catalogue.get(default_id))


routes = [
    ("/exp", ExperimentsHandler),
    ("/exp/defaults", DefaultsHandler),
    ("/exp/defaults/{default_id}", DefaultHandler),
    ("/exp/{exp_id}", ExperimentHandler),
    ("/exp/{exp_id}/resetexperiment", ResetHandler),
]
