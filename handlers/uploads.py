"""Requests whose body may be a log: taken as it comes, packed, up to `evaluation.log_bytes`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, ClassVar, Final

import tornado.web

from handlers.base import Access, BaseHandler
from handlers.refusals import body_too_large, no_room
from streamsim.errors import BadRequest, StreamsimError, TooManyRequests, refuse_unknown
from streamsim.evaluation.packed import Unpacked, Upload
from streamsim.evaluation.plans import form_of

AT_ONCE: Final = 8
"""So many logs are on their way at once in a process."""
BODY_S: Final = 600.0
LOG_TYPES: Final = {
    "text/csv": "csv",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
    "application/json-lines": "jsonl",
    "application/gzip": None,
    "application/x-gzip": None,
}
"""Of logs that are a body alone; None: the query's `format` says which."""


@tornado.web.stream_request_body
class UploadHandler(BaseHandler):
    """A body is a log of one of `LOG_TYPES`, or a JSON object; either as it is or as gzip data.

    What is wrong with a request is told once its body is read, for who still sends reads no answer.
    """

    access: ClassVar[Access] = "user"
    streamed: ClassVar[bool] = True
    _under_way: ClassVar[int] = 0
    upload: Upload | None = None
    _refused: StreamsimError | None = None
    _counted = False
    _packed = False
    _pieces: list[bytes]
    _space = 0

    async def prepare(self) -> None:
        self._pieces = []
        self._space = self.service_settings.server.max_body_bytes
        if self.request.method != "OPTIONS" and not self.has_method(self.request.method or ""):
            raise tornado.web.HTTPError(405)
        connection: Any = self.request.connection
        connection.set_body_timeout(BODY_S)
        try:
            await super().prepare()
            coding = self.request.headers.get("Content-Encoding", "identity").strip().lower()
            self._packed = coding in ("gzip", "x-gzip")
            if not self._packed and coding != "identity":
                raise BadRequest("Content-Encoding must be gzip, or absent", field="Content-Encoding")
            if self._type() in LOG_TYPES:
                if UploadHandler._under_way >= AT_ONCE:
                    raise TooManyRequests("too many logs are being sent; try again soon")
                self._counted = True
                UploadHandler._under_way += 1
                self.upload = Upload(self.service_settings.evaluation.log_bytes)
        except StreamsimError as error:
            self._refused = error

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        application: Any = self.application
        if self._refused is None and not application.admit(self.request, len(chunk)):
            self._refused, self.upload = no_room(), None
        if self.upload is not None:
            return asyncio.to_thread(self.upload.add, chunk)
        self._space -= len(chunk)
        if self._space < 0 and self._type() not in LOG_TYPES:
            self._refused = body_too_large(self.service_settings)
        if self._refused is None:
            self._pieces.append(chunk)
        else:
            self._pieces = []
        return None

    def on_connection_close(self) -> None:
        self._uncount()
        super().on_connection_close()

    def on_finish(self) -> None:
        self._uncount()

    def _uncount(self) -> None:
        if self._counted:
            self._counted = False
            UploadHandler._under_way -= 1

    def _type(self) -> str:
        return self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    async def received(
        self, fields: Sequence[str], lists: Sequence[str] = ()
    ) -> tuple[dict[str, Any], list[bytes], str | None]:
        """The fields of the body or, beside a log, of the query; the log in parts; and its format.

        :param lists: fields that are lists, which in a query are separated by commas.
        :raises BadRequest: :raises TooLarge: :raises Unauthorized:
        """
        if self._refused is not None:
            raise self._refused
        if self.upload is None:
            self.request.body = b"".join(self._json_pieces())
            return (self.json_body(fields) if self.request.body else {}), [], None
        parts = await asyncio.to_thread(self.upload.parts)
        refuse_unknown(self.request.query_arguments, set(fields) - {"log"}, "parameter")
        query: dict[str, Any] = {name: self.text_argument(name) for name in self.request.query_arguments}
        for name in query.keys() & set(lists):
            query[name] = query[name].split(",")
        form = query.pop("format", None) or LOG_TYPES[self._type()]
        return query, parts, form_of(form)

    def _json_pieces(self) -> Sequence[bytes]:
        if not self._packed:
            return self._pieces
        most = self.service_settings.server.max_body_bytes
        unpacked = Unpacked(most)
        try:
            return [piece for part in self._pieces for piece in unpacked.add(part)] + [unpacked.end()]
        except StreamsimError as error:
            if error.code == "too_large":
                raise body_too_large(self.service_settings) from None
            raise BadRequest("the body is no gzip data", field="body") from None
