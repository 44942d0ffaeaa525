"""The models API: upload, new versions, listing."""

from __future__ import annotations

from typing import Any, ClassVar

from handlers.base import Access
from handlers.scenarios import ScenarioHandler
from streamsim import values
from streamsim.errors import BadRequest
from streamsim.models import library


class ModelHandler(ScenarioHandler):
    """What both paths share. Errors are those of the scenario API."""

    access: ClassVar[Access] = "user"

    def upload(self) -> dict[str, Any]:
        """The body of an upload, JSON or a form. :raises BadRequest: naming a field that does not exist."""
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        body = self.form() if kind == "multipart/form-data" else self.body()
        for name in body:
            if name not in library.FIELDS:
                raise BadRequest(f"there is no field {name[:100]}: expecting {', '.join(library.FIELDS)}")
        return body

    def form(self) -> dict[str, Any]:
        """The fields of a form, and its files by the names that they are sent with. :raises BadRequest:"""
        body: dict[str, Any] = {}
        for name, texts in self.request.body_arguments.items():
            if len(texts) > 1 or name == "files":
                raise BadRequest(f"{name[:100]}: expecting one field of text", field=name[:100])
            try:
                text = texts[0].decode()
                body[name] = values.parse(text.encode(), name) if name == "scenarios" else text
            except (UnicodeDecodeError, values.InvalidValue) as bad:
                raise BadRequest(f"{name[:100]}: {bad}", field=name[:100]) from None
        files: dict[str, bytes] = {}
        for name, parts in self.request.files.items():
            if name != "files":
                raise BadRequest(f"{name[:100]}: send files in parts with the name files", field=name[:100])
            for part in parts:
                if part["filename"] in files:
                    raise BadRequest(f"files: there are two of the name {part['filename'][:200]}")
                files[part["filename"]] = part["body"]
        return {**body, "files": files}


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
        self.write_json(library.shown_with_files(stored))

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
