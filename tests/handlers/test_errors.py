"""One form for all errors, on every route; limits on what is sent; and what a bug may show."""

from __future__ import annotations

import http.client
import logging
import re
from typing import Any

import pytest
import tornado.web

from handlers.routes import ROUTES
from handlers.run_api import RunApiHandler
from handlers.scenarios import ScenarioHandler
from streamsim.services import Services
from streamsim.storage.contract.errors import StoreUnavailable
from tests.application import Caller
from tests.patience import PATIENCE_S
from tests.support import Answer

ALL = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
JSON = "application/json; charset=utf-8"


def is_error(answer: Answer, status: int, code: str) -> bool:
    """Whether an answer is an error in the documented form."""
    error = answer.body["error"]
    assert answer.body.keys() == {"error"}
    assert {"code", "message"} <= error.keys() <= {"code", "message", "field", "detail"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert answer.headers["content-type"] == JSON
    return (answer.status, error["code"]) == (status, code)


def paths() -> list[tuple[str, type[Any]]]:
    # The scenario and run endpoints have forms of their own: tests/models.
    own = (ScenarioHandler, RunApiHandler)
    routes = [route for route in ROUTES if not issubclass(route[1], own)]
    return [(re.sub(r"\{\w+\}", "0" * 32, template), handler) for template, handler in routes]


@pytest.mark.gen_test
@pytest.mark.parametrize(("path", "handler"), paths())
async def test_methods_that_a_route_lacks_are_405_and_say_which_it_has(
    ann: Caller, path: str, handler: type[tornado.web.RequestHandler]
) -> None:
    have = [
        m for m in ALL if getattr(handler, m.lower()) is not getattr(tornado.web.RequestHandler, m.lower())
    ]
    for method in ALL:
        if method in have:
            continue
        answer = await ann.request(method, path, body={} if method in ("POST", "PUT", "PATCH") else None)
        if method != "HEAD":
            assert is_error(answer, 405, "method_not_allowed")
        assert answer.status == 405
        assert answer.headers["allow"] == ", ".join([*have, "OPTIONS"])
    answer = await ann.request("OPTIONS", path)
    assert (answer.status, answer.headers["allow"]) == (204, ", ".join([*have, "OPTIONS"]))


@pytest.mark.gen_test
@pytest.mark.parametrize(("path", "handler"), paths())
async def test_errors_of_every_route_have_the_documented_form(
    ann: Caller, services: Services, path: str, handler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_arguments: object, **_named: object) -> None:
        raise StoreUnavailable("the disk is full at /some/path")

    for method in handler.allowed_methods():
        if method in ("POST", "PUT"):
            answer = await ann.request(method, path, body=b"{not json")
            if handler.access == "admin":
                assert is_error(answer, 401, "unauthorized")
            else:
                assert is_error(answer, 400, "bad_request")
                assert answer.body["error"]["field"] == "body"
    if handler.access in ("user", "admin") or path == "/ready":
        monkeypatch.setattr(services.store.accounts, "get_session", away)
        monkeypatch.setattr(services.store, "ping", away)
        method = handler.allowed_methods()[0]
        answer = await ann.request(method, path, body={} if method in ("POST", "PUT") else None)
        assert is_error(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        assert "/some/path" not in str(answer.body)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "path", ["/nothing", "/exp/", "/exp/a-b", "//", "/stats/x/simulations", "/getaction"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_unknown_paths_are_404(ann: Caller, nobody: Caller, path: str, method: str) -> None:
    for client in (ann, nobody):
        body: dict[str, Any] | None = {} if method in ("POST", "PUT", "PATCH") else None
        assert is_error(await client.request(method, path, body=body), 404, "not_found")


@pytest.mark.gen_test
async def test_a_bug_is_500_with_an_id_to_find_it_by_and_nothing_else(
    ann: Caller, services: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_arguments: object, **_named: object) -> None:
        raise RuntimeError("a secret of the host in /etc/shadow")

    monkeypatch.setattr(services.experiments, "names", broken)
    with caplog.at_level(logging.ERROR):
        answer = await ann.get("/exp", key="a secret key")
    assert is_error(answer, 500, "internal")
    assert "secret" not in str(answer.body)
    assert "shadow" not in str(answer.body)
    assert answer.headers["x-request-id"] in caplog.text
    assert "RuntimeError: a secret of the host" in caplog.text
    assert "a secret key" not in caplog.text


@pytest.mark.gen_test
async def test_request_id_is_the_callers_if_it_is_a_plain_one(nobody: Caller) -> None:
    drawn = []
    for path in ("/healthy", "/nothing"):
        answer = await nobody.request("GET", path, headers={"X-Request-Id": "trace-1.a_B"})
        assert answer.headers["x-request-id"] == "trace-1.a_B"
        for odd in ("a b", "x" * 65, "<script>", ""):
            answer = await nobody.request("GET", path, headers={"X-Request-Id": odd})
            drawn.append(answer.headers["x-request-id"])
    assert all(re.fullmatch("[0-9a-f]+", id) for id in drawn)
    assert len(set(drawn)) == len(drawn)


@pytest.mark.gen_test
async def test_answers_are_neither_sniffed_nor_cached_nor_framed(ann: Caller) -> None:
    for path in ("/exp", "/", "/healthy", "/nothing"):
        headers = (await ann.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        policy = headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} <= {*policy}
        assert headers["referrer-policy"] in ("no-referrer", "same-origin")
        assert "tornado" not in headers["server"].lower()


@pytest.mark.gen_test
@pytest.mark.parametrize("size", [(1 << 20) + 1, 5 << 20])
@pytest.mark.parametrize("path", ["/exp", "/login", "/getaction/abc", "/nothing"])
async def test_body_over_the_limit_is_413_whatever_the_route(ann: Caller, path: str, size: int) -> None:
    answer = await ann.request("POST", path, body=b" " * size)
    assert is_error(answer, 413, "too_large")
    assert str(1 << 20) in answer.body["error"]["message"]
    assert (await ann.get("/exp")).status == 200


@pytest.mark.gen_test
async def test_body_at_the_limit_is_read(ann: Caller) -> None:
    body = b'{"name": "large"}'.ljust(1 << 20)
    assert (await ann.post("/exp", body)).status == 200


@pytest.mark.gen_test
async def test_chunked_body_over_the_limit_is_413(ann: Caller, http_port: int, io_loop: Any) -> None:
    def send(chunks: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=PATIENCE_S)
        # No Content-Length: the client sends the pieces as chunks.
        connection.request("POST", "/login", body=(b" " * 65536 for _ in range(chunks)), encode_chunked=True)
        status = connection.getresponse().status
        connection.close()
        return status

    assert await io_loop.run_in_executor(None, send, 16) == 400  # at the limit, but no JSON
    assert await io_loop.run_in_executor(None, send, 17) == 413


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[1]",
        b'"text"',
        b"{'name': 'x'}",
        b'{"name": NaN}',
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        b'{"name": 1' + b"0" * 30 + b"}",
        b"[" * 100_000,
        b'{"name": ' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"name": "x", "get_action": "\x00"}',
    ],
)
async def test_bodies_that_are_no_json_object_are_400(ann: Caller, body: bytes) -> None:
    assert is_error(await ann.post("/exp", body), 400, "bad_request")
    assert (await ann.get("/exp")).body == {}


@pytest.mark.gen_test
async def test_a_body_is_read_whatever_its_declared_type(ann: Caller) -> None:
    for number, kind in enumerate(("application/x-www-form-urlencoded", "text/plain", "application/json")):
        body = {"name": f"a&b=c%{number}", "get_action": "x = 1 & 2"}
        answer = await ann.request("POST", "/exp", body=body, headers={"Content-Type": kind})
        assert answer.status == 200
    assert len((await ann.get("/exp")).body) == 3


@pytest.mark.gen_test
async def test_query_that_is_no_utf8_is_400(ann: Caller) -> None:
    created = await ann.experiment()
    answer = await ann.request("GET", f"/exp/{created['id']}/resetexperiment?key=%ff%fe")
    assert is_error(answer, 400, "bad_request")


@pytest.mark.gen_test
async def test_only_configured_origins_may_send_credentials(ann: Caller) -> None:
    allowed, other = "https://app.example.com", "https://evil.example.com"
    answer = await ann.request("GET", "/exp", headers={"Origin": allowed})
    assert answer.headers["access-control-allow-origin"] == allowed
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"]
    for origin in (other, "null", "https://app.example.com.evil.com", "http://app.example.com", "*"):
        answer = await ann.request("GET", "/exp", headers={"Origin": origin})
        assert not any(name.startswith("access-control") for name in answer.headers)
    asked = {"Origin": allowed, "Access-Control-Request-Method": "PUT"}
    preflight = await ann.request("OPTIONS", f"/exp/{'0' * 32}", headers=asked)
    assert preflight.status == 204
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    refused = await ann.request("OPTIONS", "/exp", headers={**asked, "Origin": other})
    assert not any(name.startswith("access-control") for name in refused.headers)


@pytest.mark.gen_test
async def test_a_page_of_another_origin_cannot_use_the_cookie_to_change_something(ann: Caller) -> None:
    for headers in (
        {"Origin": "https://evil.example.com"},
        {"Origin": "https://evil.example.com", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://sub.example.com", "Sec-Fetch-Site": "same-site"},
    ):
        answer = await ann.request("POST", "/exp", body={"name": "forged"}, headers=headers)
        assert is_error(answer, 403, "forbidden")
    assert (await ann.get("/exp")).body == {}
    allowed = {"Origin": "https://app.example.com", "Sec-Fetch-Site": "same-site"}
    assert (await ann.request("POST", "/exp", body={"name": "mine"}, headers=allowed)).status == 200
