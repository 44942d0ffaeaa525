"""Traces of requests and of the stages of decisions, sent to a collector by OpenTelemetry.

A request has a span, which goes on with the trace that its `traceparent` header names (W3C Trace Context). A
call of policy code has one below it, and below that one for each stage: `wait` in the lane, `run` in the
sandbox, `commit` to the store; the last two again where a commit was refused. The library is an extra, and
imported only where traces are on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

_SERVICE: Final = "streamsim"
_EXPORT_S: Final = 5.0
"""So long an export may take, and so does the end of a server whose collector is away."""

_caller: ContextVar[RequestTrace | None] = ContextVar("caller", default=None)


class Tracing:
    """What one server process tells a collector.

    :param endpoint: where the collector takes OTLP over HTTP, e.g. http://collector:4318/v1/traces
    :param share: of the traces that begin here; those that a caller began are told if the caller says so.
    :raises ImportError: OpenTelemetry is not installed.
    """

    def __init__(self, endpoint: str, share: float) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        self._provider: TracerProvider = TracerProvider(
            resource=Resource.create({"service.name": _SERVICE}),
            sampler=ParentBased(TraceIdRatioBased(share)),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer: Tracer = self._provider.get_tracer(_SERVICE)

    def request(self, method: str, traceparent: str) -> RequestTrace:
        """A request begins. :param traceparent: its header, or ""."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent: Context = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
        return RequestTrace(self._tracer.start_span(method, parent, kind=SpanKind.SERVER))

    def call(self, kind: str, experiment_id: str) -> CallTrace | None:
        """A call is queued; None where it belongs to no request that is traced.

        :param kind: getaction or setreward.
        """
        caller = _caller.get()
        if caller is None or not caller.span.is_recording():
            return None
        return CallTrace(self._tracer, caller.span, kind, experiment_id)

    def flush(self) -> None:
        """Send what has ended; blocks for the time of one export at most."""
        self._provider.force_flush(round(_EXPORT_S * 1000))

    def close(self) -> None:
        """Send what is left; blocks for the time of one export at most."""
        self._provider.shutdown()


class RequestTrace:
    """The span of a request."""

    def __init__(self, span: Span) -> None:
        self.span = span

    def calls(self) -> None:
        """What the running task does from now on is done for this request."""
        _caller.set(self)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """What is done meanwhile is done for this request."""
        token = _caller.set(self)
        try:
            yield
        finally:
            _caller.reset(token)

    def end(self, route: str, method: str, status: int, request_id: str) -> None:
        """It was answered. :param route: the template of its path."""
        from opentelemetry.trace import StatusCode

        self.span.update_name(f"{method} {route}")
        self.span.set_attributes(
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "streamsim.request_id": request_id,
            }
        )
        if status >= 500:
            self.span.set_status(StatusCode.ERROR)
        self.span.end()


class CallTrace:
    """The spans of a call: its own, and that of the stage in which it is."""

    def __init__(self, tracer: Tracer, request: Span, kind: str, experiment_id: str) -> None:
        from opentelemetry.trace import set_span_in_context

        self._tracer = tracer
        self._span = tracer.start_span(
            kind, set_span_in_context(request), attributes={"streamsim.experiment_id": experiment_id}
        )
        self._below = set_span_in_context(self._span)
        self._stage = tracer.start_span("wait", self._below)

    def enter(self, stage: str) -> None:
        """The next stage begins."""
        self._stage.end()
        self._stage = self._tracer.start_span(stage, self._below)

    def end(self, error: BaseException | None = None) -> None:
        """It was answered, or failed."""
        from opentelemetry.trace import StatusCode

        if error is not None:
            self._span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {error}"[:200])
        self._stage.end()
        self._span.end()
