"""The models API: upload, new versions, listing."""

from __future__ import annotations

from typing import Any, ClassVar

from handlers.base import Access
from handlers.scenarios import ScenarioHandler
from streamsim.errors import BadRequest
from streamsim.models import library


class ModelHandler(ScenarioHandler):
    """What both paths share. Errors are those of the scenario API."""

    access: ClassVar[Access] = "user"

    def upload(self) -> dict[str, Any]:
        """The body of an upload. :raises BadRequest: naming a field that does not exist."""
        body = self.body()
        for name in body:
            if name not in library.FIELDS:
                raise BadRequest(f"there is no field {name[:100]}: expecting {', '.join(library.FIELDS)}")
        return body


class ModelsHandler(ModelHandler):
    """`/models`"""

    async def get(self) -> None:
        """All models of the user."""
        self.write_json([library.shown(model) for model in await self.services.models.list(self.tenant)])

    async def post(self) -> None:
        """Body: name, files, engine?, main?, scenarios?, manager?. Loads and stores a model."""
        model = await self.services.models.create(self.tenant, self.upload())
        self.set_status(201)
        self.write_json(library.shown(model))


class OneModelHandler(ModelHandler):
    """`/models/{model}`"""

    async def get(self, model: str) -> None:
        """What loading it found, and its files."""
        stored = await self.services.models.get(self.tenant, model)
        self.write_json({**library.shown(stored), "files": stored.files})

    async def put(self, model: str) -> None:
        """Body: files, and what is to change. A new version; runs keep the one that they began with."""
        changed = await self.services.models.update(self.tenant, model, self.upload())
        self.write_json(library.shown(changed))

    async def delete(self, model: str) -> None:
        """Deletes it; runs that have it go on."""
        await self.services.models.delete(self.tenant, model)
        self.write_json({"msg": "Model deleted."})


routes = [
    ("/models", ModelsHandler),
    ("/models/{model}", OneModelHandler),
]
