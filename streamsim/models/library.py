"""The models of all tenants: upload, new versions, and what loading them found."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final

import msgspec

from streamsim import values
from streamsim.config import ModelSettings
from streamsim.dates import iso
from streamsim.errors import BadRequest, Conflict, ModelError, NotFound
from streamsim.models import model_files, requests
from streamsim.models.engines.base import Found, ScenarioFound
from streamsim.models.model_files import ModelFiles
from streamsim.models.workers import ModelWorkers, installed
from streamsim.storage.contract.runs import Model, NameTaken, RunStore
from streamsim.values import JsonObject

ENGINES: Final = ("bptk", "pysd", "python")
FIELDS: Final = ("name", "engine", "files", "main", "scenarios", "manager")
MAX_FOUND_BYTES: Final = 512 << 10
"""Of the names that loading a model finds: they are kept with it, and told to everybody who lists models."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_loaded = msgspec.msgpack.Decoder(dict[str, Found])
_found = msgspec.json.Decoder(Found)


class Models:
    """What tenants do with models; every method takes the tenant that asks."""

    def __init__(
        self,
        store: RunStore,
        workers: ModelWorkers,
        settings: ModelSettings,
        now_ms: Callable[[], int],
        *,
        frozen_stocks: bool = False,
    ) -> None:
        """:param frozen_stocks: as in `requests.settings`."""
        self._store = store
        self._workers = workers
        self._settings = settings
        self._now_ms = now_ms
        self._frozen_stocks = frozen_stocks

    async def create(self, tenant: str, body: JsonObject) -> Model:
        """Load a new model in the sandbox, and store it.

        :raises BadRequest: a malformed field, or the model does not load: `detail` names its file and line.
        :raises Conflict: its name, or that of one of its scenario managers, is taken.
        """
        name = body.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BadRequest(
                "name must have 1 to 64 letters, digits or '_', the first a letter", field="name"
            )
        if await self._store.get_model(tenant, name) is not None:
            raise Conflict(f"there is a model {name} already: PUT /models/{name} gives it a new version")
        if len(await self._store.list_models(tenant)) >= self._settings.per_tenant:
            raise Conflict(f"at most {self._settings.per_tenant} models: delete one first")
        return await self._put(await self._model(tenant, name, body), new=True)

    async def update(self, tenant: str, name: str, body: JsonObject) -> Model:
        """A new version; what it leaves out, except files, is as before. Runs keep the version they have.

        :raises NotFound: :raises BadRequest: :raises Conflict: as `create`.
        """
        if body.get("name", name) != name:
            raise BadRequest("name cannot be changed: upload the model under the other name", field="name")
        old = await self.get(tenant, name)
        body = {"engine": old.engine, "main": old.main, **msgspec.json.decode(old.options), **body}
        model = msgspec.structs.replace(await self._model(tenant, name, body), created_ms=old.created_ms)
        return await self._put(model, new=False)

    async def get(self, tenant: str, name: str) -> Model:
        """The newest version. :raises NotFound:"""
        model = await self._store.get_model(tenant, name)
        if model is None:
            raise NotFound(f"you have no model {name[:64]}")
        return model

    async def version(self, tenant: str, name: str, version: int) -> Model:
        """A version that something began with, also of a deleted model. :raises NotFound:"""
        model = await self._store.get_model(tenant, name, version)
        if model is None:
            raise NotFound(f"model {name} has no version {version}")
        return model

    async def list(self, tenant: str) -> list[Model]:
        """The newest versions of all models, without files."""
        return await self._store.list_models(tenant)

    async def delete(self, tenant: str, name: str) -> None:
        """Delete a model; runs that have it go on. :raises NotFound:"""
        if not await self._store.delete_model(tenant, name):
            raise NotFound(f"you have no model {name[:64]}")

    async def _put(self, model: Model, *, new: bool) -> Model:
        try:
            worker = await self._workers.spawn([model])
        except ModelError as error:
            # A failing upload is the uploader's input; the same failure later is not its caller's.
            raise BadRequest(f"the model does not load: {error.message}", detail=error.detail) from None
        try:
            size = len(memoryview(worker.loaded))
            if size > MAX_FOUND_BYTES:
                raise BadRequest(
                    f"the model does not load: the names in it have {size} bytes in all, at most "
                    f"{MAX_FOUND_BYTES} are allowed"
                )
            found = _loaded.decode(worker.loaded)[model.name]
        except (msgspec.DecodeError, KeyError, RecursionError):
            raise BadRequest("the model does not load: it answered what no model does") from None
        finally:
            worker.kill()
        if not self._frozen_stocks:
            _check_stocks(msgspec.json.decode(model.options).get("scenarios") or {}, found)
        for name in (*found.managers, *(name for scenarios in found.managers.values() for name in scenarios)):
            values.check(name, "name")
        model = msgspec.structs.replace(
            model, found=msgspec.json.encode(found), managers=tuple(found.managers)
        )
        try:
            return await self._store.put_model(model, new=new)
        except NameTaken as taken:
            if taken.owner:
                raise Conflict(
                    f"your model {taken.owner} has a scenario manager {taken.name} already"
                ) from None
            raise Conflict(f"there is a model {taken.name} already") from None
        except KeyError:
            raise NotFound(f"you have no model {model.name}") from None

    async def _model(self, tenant: str, name: str, body: JsonObject) -> Model:
        # Unpacking takes a while, in which others are served.
        files = await asyncio.to_thread(
            model_files.collected, model_files.given(body.get("files")), self._settings.max_bytes
        )
        main = body.get("main")
        if main is None:
            main = model_files.main_file(files)
        if not isinstance(main, str) or main not in files.texts:
            raise BadRequest("main must be one of the files", field="main")
        engine = body.get("engine") or model_files.engine_of(files, main)
        if engine is None:
            known = ", ".join((*model_files.ENDINGS, ".xml with XMILE in it"))
            raise BadRequest(
                f"main: what is {main[:200]}? Its engine follows from {known}; name another as engine, "
                f"one of {', '.join(ENGINES)}",
                field="engine",
            )
        if engine not in ENGINES:
            raise BadRequest(f"engine must be one of {', '.join(ENGINES)}", field="engine")
        if not installed(engine):
            raise BadRequest(
                f"the engine {engine} is not installed here: pip install 'streamsim[{engine}]'",
                field="engine",
            )
        options = _options(body)
        if files.binary:
            options["binary"] = files.binary
        now_ms = self._now_ms()
        return Model(
            tenant=tenant,
            name=name,
            engine=engine,
            main=main,
            files=files.texts,
            options=values.dump(options),
            created_ms=now_ms,
            modified_ms=now_ms,
        )


def _options(body: JsonObject) -> JsonObject:
    options: JsonObject = {}
    manager, scenarios = body.get("manager"), body.get("scenarios")
    if manager is not None:
        if not isinstance(manager, str) or not 0 < len(manager) <= 200:
            raise BadRequest("manager must be text of 1 to 200 characters", field="manager")
        options["manager"] = manager
    if scenarios is not None:
        form = "scenarios must be an object of name -> object with constants, points, runspecs or initial"
        if not isinstance(scenarios, dict) or not all(
            isinstance(given, dict) for given in scenarios.values()
        ):
            raise BadRequest(form, field="scenarios")
        if any(given.keys() - {"constants", "points", "runspecs", "initial"} for given in scenarios.values()):
            raise BadRequest(form, field="scenarios")
        options["scenarios"] = scenarios
    return options


def _check_stocks(scenarios: JsonObject, found: Found) -> None:
    """:raises BadRequest: a scenario that came with the upload would freeze a stock for ever."""
    for known in found.managers.values():
        for scenario, given in scenarios.items():
            for name in given.get("constants") or {}:
                if scenario in known and requests.is_stock(known[scenario], name):
                    raise BadRequest(
                        f"scenarios.{scenario}.constants.{name}: {requests.STOCK_BEGINS}", field="scenarios"
                    )


def found_in(model: Model) -> Found:
    """What loading a model found."""
    return _found.decode(model.found)


def shown(model: Model) -> JsonObject:
    """A model as the API answers it: everything but its files."""
    found = found_in(model)
    scenarios = {name: list(scenarios) for name, scenarios in found.managers.items()}
    return {
        "name": model.name,
        "version": model.version,
        "engine": model.engine,
        "main": model.main,
        "created": iso(model.created_ms),
        "modified": iso(model.modified_ms),
        "scenario_managers": scenarios,
        "equations": {
            name: _first(scenarios).equations for name, scenarios in found.managers.items() if scenarios
        },
        "agents": {
            name: _first(scenarios).agents
            for name, scenarios in found.managers.items()
            if scenarios and _first(scenarios).agents
        },
        "variables": found.variables,
        "operations": found.operations,
        "warnings": found.warnings,
    }


def shown_with_files(model: Model) -> JsonObject:
    """A model with its files, each as an upload takes it."""
    binary = msgspec.json.decode(model.options).get("binary", [])
    return {**shown(model), "files": model_files.shown(ModelFiles(model.files, binary))}


def _first(scenarios: dict[str, ScenarioFound]) -> ScenarioFound:
    return next(iter(scenarios.values()))
