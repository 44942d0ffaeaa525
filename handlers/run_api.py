"""What the endpoints of the run API share: bodies, errors, and what OPTIONS tells.

Errors are the error record of that API. Paths begin with `/v2`, which may be left out before `/model`.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Final

from handlers.base import Access, BaseHandler
from streamsim import values
from streamsim.errors import BadRequest, ModelError, StreamsimError
from streamsim.models import paths
from streamsim.models.run_service import RunService

MAX_VALUES: Final = 200_000
HEADERS: Final = "content-type, authorization, x-autorestore, x-request-id"
EXPOSED: Final = "Content-Range, Pragma, Retry-After, X-Request-Id"


class RunApiHandler(BaseHandler):
    """What these endpoints share.

    `properties`: fields of bodies and parameters, with what they mean. `described`: the endpoint that OPTIONS
    tells about, if it is another one. `kind`: what a bad request is about, in error records.
    `query`: parameters that GET takes, in lower case; any other is refused, but for the `_` of scripts that
    get round caches.
    """

    access: ClassVar[Access] = "user"
    kind: ClassVar[str] = "run"
    described: ClassVar[type[BaseHandler] | None] = None
    properties: ClassVar[dict[str, str]] = {}
    query: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **named: Any) -> None:
        """What can be read has HEAD, too: the answer without its body."""
        super().__init_subclass__(**named)
        if "get" in cls.__dict__:
            cls.head = cls.get

    async def prepare(self) -> None:
        await super().prepare()
        if self.request.method == "OPTIONS":
            return
        known = self.query if self.request.method in ("GET", "HEAD") else frozenset()
        for name in self.request.query_arguments:
            if name.lower() not in known and name != "_":
                taken = f"expecting {', '.join(sorted(known))}" if known else "there are none here"
                raise BadRequest(f"unknown parameter {name[:100]} in the query: {taken}", field=name[:100])

    def initialize(self) -> None:
        super().initialize()
        # What an error record names.
        self.about: dict[str, Any] = {}

    @property
    def service(self) -> RunService:
        return self.services.run_service

    @property
    def tenant(self) -> str:
        return self.user.name

    def set_default_headers(self) -> None:
        super().set_default_headers()
        if "Access-Control-Expose-Headers" in self._headers:
            self.set_header("Access-Control-Expose-Headers", EXPOSED)

    def options(self, *_args: str, **_kwargs: str) -> None:
        """What this endpoint takes; also a browser's question before a request from another origin."""
        super().options()
        if "Access-Control-Allow-Headers" in self._headers:
            self.set_header("Access-Control-Allow-Headers", HEADERS)
        described = self.described or type(self)
        methods = [method for method in described.allowed_methods() if method != "OPTIONS"]
        self.set_status(200)
        self.write_json(
            {
                "uri": self.request.path,
                "methods": {method: inspect.getdoc(getattr(described, method.lower())) for method in methods},
                "properties": self.properties,
            }
        )

    def segments(self) -> list[str]:
        """Parts of the path after `/v2`, as they were sent: matrix parameters are split before decoding."""
        parts = self.request.path.split("/")[1:]
        return parts[1:] if parts[0].lower() == "v2" else parts

    def body(self) -> dict[str, Any]:
        """The JSON body. :raises BadRequest: it is no object."""
        return self.json_object(MAX_VALUES)

    def included(self) -> list[str]:
        """Variables that the query names in `include`."""
        return [path for text in self.get_query_arguments("include") for path in paths.split(text)]

    def from_store(self) -> None:
        """Say that what is answered was read from the store, not from the memory of a run."""
        self.set_header("Pragma", "persistent")

    def told(self, error: StreamsimError) -> tuple[int, dict[str, Any]]:
        # These documents know of no 422.
        status = 400 if error.status == 422 else error.status
        return status, error_record(error, self.kind, self.about)


def error_record(error: StreamsimError, kind: str, about: dict[str, Any]) -> dict[str, Any]:
    """The error record: `type`, `message`, `error`, what the request was about, and a model's `fault`."""
    of_model = isinstance(error, ModelError)
    detail = error.detail if isinstance(error.detail, dict) else {}
    message = f"{detail['type']}: {detail['message']}" if of_model and "type" in detail else error.message
    arguments = values.dump(about["arguments"]).decode() if "arguments" in about else None
    record: dict[str, Any] = {
        "type": f"invalid_{kind}" if error.status in (400, 422) else error.code,
        **about,
        **({} if arguments is None else {"arguments": arguments}),
        "message": message,
        "error": True,
    }
    if of_model:
        trace = [{"type": "python", **frame} for frame in detail.get("trace", [])]
        record["fault"] = {
            "cause": trace[-1] if trace else None,
            "context": None,
            "trace": trace,
            "information": {
                "class": detail.get("type", error.code),
                "value": {
                    "type": kind,
                    "runId": about.get("run_id"),
                    "key": about.get("name"),
                    "detail": arguments,
                },
            },
            "type": "python",
            "message": message,
            "native": None,
        }
    return record
