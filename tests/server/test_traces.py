"""What a collector is told of a request and of the stages of its decision; nobody is told unasked."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tornado.httpserver
import tornado.testing
import tornado.web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from tornado.ioloop import IOLoop

from streamsim import config
from streamsim.config import Settings
from streamsim.services import Services
from tests.application import OVERRIDES, Caller
from tests.backends import Storage

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLED_BY = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
NOT_WANTED = {"traceparent": f"00-{TRACE}-{PARENT}-00"}


@dataclass
class Collector:
    """Takes OTLP over HTTP, as a collector does."""

    url: str
    spans: list[Span] = field(default_factory=list)

    def named(self, name: str) -> list[Span]:
        """In the order of their beginnings."""
        return sorted((s for s in self.spans if s.name == name), key=lambda s: s.start_time_unix_nano)

    def below(self, span: Span) -> list[Span]:
        """The children of a span, likewise."""
        children = [s for s in self.spans if s.parent_span_id == span.span_id]
        return sorted(children, key=lambda s: s.start_time_unix_nano)


@pytest.fixture
def collector(io_loop: IOLoop) -> Iterator[Collector]:
    socket, port = tornado.testing.bind_unused_port()
    made = Collector(f"http://127.0.0.1:{port}/v1/traces")

    class Traces(tornado.web.RequestHandler):
        def post(self) -> None:
            body = self.request.body
            if self.request.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                made.spans += [span for scope in resource.scope_spans for span in scope.spans]

    server = tornado.httpserver.HTTPServer(tornado.web.Application([("/v1/traces", Traces)]))
    server.add_sockets([socket])
    yield made
    server.stop()
    io_loop.run_sync(server.close_all_connections)


@pytest.fixture
def settings(
    collector: Collector, tmp_path: Path, storage: Storage, request: pytest.FixtureRequest
) -> Settings:
    traced = {"server.traces": collector.url} | getattr(request, "param", {})
    return config.load(overrides=OVERRIDES | {"storage.data": str(tmp_path)} | storage | traced)


async def told(services: Services) -> None:
    """All that was traced so far is with the collector."""
    assert services.tracing is not None
    await asyncio.to_thread(services.tracing.flush)


def attributes(span: Span) -> dict[str, Any]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


CODE = {"get_action": "self.action['x'] = 1", "set_reward": "self.set_theta({'n': 1}, key='a')"}


async def call(caller: Caller, name: str, made: dict[str, Any], **more: Any) -> int:
    """Over POST, which goes the short way."""
    reward = {"reward": 1} if name == "setreward" else {}
    headers = more.pop("headers", CALLED_BY)
    body = {"key": made["key"], **reward, **more}
    answer = await caller.request("POST", f"/{name}/{made['id']}", body=body, headers=headers)
    return answer.status


@pytest.mark.gen_test
@pytest.mark.parametrize("name", ["getaction", "setreward"])
@pytest.mark.parametrize("known", [False, True], ids=["by its handler", "the short way"])
async def test_a_call_goes_on_with_its_callers_trace_stage_by_stage(
    ann: Caller, nobody: Caller, services: Services, collector: Collector, name: str, known: bool
) -> None:
    made = await ann.experiment(**CODE)
    if known:  # by this process, which the short way is only for
        assert await call(nobody, "getaction", made, headers=NOT_WANTED) == 200
    assert await call(nobody, name, made) == 200
    await told(services)
    (request,) = [span for span in collector.spans if span.trace_id.hex() == TRACE and span.kind == 2]
    assert request.parent_span_id.hex() == PARENT
    assert request.name == f"POST /{name}/{{exp_id}}"
    assert attributes(request)["http.response.status_code"] == 200
    (policy_call,) = collector.below(request)
    assert policy_call.name == name
    assert attributes(policy_call) == {"streamsim.experiment_id": made["id"]}
    stages = collector.below(policy_call)
    assert [stage.name for stage in stages] == ["wait", "run", "commit"]
    for earlier, later in pairwise(stages):
        assert earlier.start_time_unix_nano <= earlier.end_time_unix_nano <= later.start_time_unix_nano
    for span in (policy_call, *stages):
        assert request.start_time_unix_nano <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= request.end_time_unix_nano


@pytest.mark.gen_test
async def test_a_call_that_fails_says_why(
    ann: Caller, nobody: Caller, services: Services, collector: Collector
) -> None:
    made = await ann.experiment(get_action="self.action['x'] = 1 / 0")
    assert await call(nobody, "getaction", made) == 422
    await told(services)
    (failed,) = collector.named("getaction")
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert "ZeroDivisionError" in failed.status.message
    (request,) = [span for span in collector.spans if span.span_id == failed.parent_span_id]
    assert attributes(request)["http.response.status_code"] == 422
    assert [stage.name for stage in collector.below(failed)] == ["wait", "run", "commit"]


@pytest.mark.gen_test
async def test_what_a_caller_does_not_want_traced_is_not(
    ann: Caller, nobody: Caller, services: Services, collector: Collector
) -> None:
    made = await ann.experiment(**CODE)
    for _ in range(2):
        assert await call(nobody, "getaction", made, headers=NOT_WANTED) == 200
    await told(services)
    assert TRACE not in {span.trace_id.hex() for span in collector.spans}
    assert collector.named("POST /exp")  # which began a trace of its own


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"server.traces_share": 0}], indirect=True)
async def test_a_share_of_none_leaves_those_that_callers_began(
    ann: Caller, nobody: Caller, services: Services, collector: Collector
) -> None:
    made = await ann.experiment(**CODE)
    assert await call(nobody, "getaction", made, headers={}) == 200
    assert await call(nobody, "getaction", made) == 200
    await told(services)
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"server.traces": ""}], indirect=True)
async def test_nobody_is_told_unasked(
    ann: Caller, nobody: Caller, services: Services, collector: Collector
) -> None:
    made = await ann.experiment(**CODE)
    assert await call(nobody, "getaction", made) == 200
    assert services.tracing is None
    assert collector.spans == []


@pytest.mark.gen_test
async def test_odd_headers_begin_a_trace_of_their_own(
    ann: Caller, nobody: Caller, services: Services, collector: Collector
) -> None:
    made = await ann.experiment(**CODE)
    for given in ("", "x", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "a" * 5000, f"00-{TRACE}-{PARENT}"):
        assert await call(nobody, "getaction", made, headers={"traceparent": given}) == 200
    await told(services)
    requests = collector.named("POST /getaction/{exp_id}")
    assert len({span.trace_id for span in requests}) == 5
    assert {span.parent_span_id for span in requests} == {b""}
