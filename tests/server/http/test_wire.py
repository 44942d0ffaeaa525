"""What both HTTP servers do with bytes: framing, limits, and what no server may let through."""

from __future__ import annotations

import asyncio
import json

import pytest

from streamsim.config import Settings
from streamsim.services import Services
from tests.patience import PATIENCE_S
from tests.server.http.raw import LAST, answered_in_turn, exchanged, statuses, steady

GET = b"GET /healthy HTTP/1.1\r\nHost: x\r\n\r\n"
CALL = b'{"key": "a wrong one", "context": {"a": 1}}'
POST = b"POST /getaction/abc HTTP/1.1\r\nHost: x\r\n"
SIZED = POST + b"Content-Length: %d\r\n\r\n" % len(CALL) + CALL
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n%b\r\n%X\r\n%b\r\n0\r\n\r\n" % (
    CALL[:5],
    len(CALL) - 5,
    CALL[5:],
)
SMALL = [{"server.max_header_bytes": 1024, "server.max_body_bytes": 1024, "server.idle_connection_s": 1}]


@pytest.mark.gen_test
async def test_requests_sent_at_once_are_answered_in_order(port: int) -> None:
    answers = await exchanged(port, [GET + SIZED + CHUNKED + GET.replace(b"healthy", b"nothing") + LAST])
    assert statuses(answers) == [200, 401, 401, 404, 200]


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", SMALL, indirect=True)
@pytest.mark.parametrize(
    "request_",
    [
        GET.replace(b"healthy", b"nothing"),
        GET.replace(b"GET", b"HEAD"),
        GET.replace(b"GET", b"PUT"),
        GET.replace(b"GET", b"POST"),
        GET.replace(b"GET", b"get"),
        GET.replace(b"/1.1", b"/1.0"),
        GET.replace(b"lth", b"\nlth"),
        GET.replace(b"lth", b" lth"),
        GET.replace(b"healthy", b"healthy?" + b"a" * 1024),
        GET.replace(b"x\r", b"y\r\nHost: x\r"),
    ],
)
async def test_headers_sent_again_excuse_nothing_else_in_a_request(port: int, request_: bytes) -> None:
    alone = await answered_in_turn(port, [request_])
    again = await answered_in_turn(port, [GET, GET, request_])
    assert [steady(one) for one in again[2:]] == [steady(one) for one in alone]


@pytest.mark.gen_test
async def test_a_thousand_requests_at_once_are_all_answered(port: int) -> None:
    assert statuses(await exchanged(port, [GET * 1000 + LAST])) == [200] * 1001


@pytest.mark.gen_test
@pytest.mark.parametrize("request_", [GET, SIZED, CHUNKED], ids=["get", "sized", "chunked"])
async def test_a_request_in_pieces_is_answered_as_a_whole_one(port: int, request_: bytes) -> None:
    whole = steady(await exchanged(port, [request_ + LAST]))
    single = [bytes([byte]) for byte in request_ + LAST]
    assert steady(await exchanged(port, single)) == whole
    for cut in range(1, len(request_), 7):
        assert steady(await exchanged(port, [request_[:cut], request_[cut:] + LAST])) == whole


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthy HTTP/1.1\r\n\r\n",
        b"GET /healthy HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /healthy HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        b"GET /healthy HTTP/1.1\r\nHost: x\r\nA: a\r\n b\r\n\r\n",
        b"GET /healthy HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n",
        b"GET /healthy HTTP/1.1\r\nHost: x\r\nA : c\r\n\r\n",
        b"GET /healthy HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n",
        b"GET /heal\0thy HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET  /healthy HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /heal thy HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthy HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET /healthy HTTP/0.9\r\nHost: x\r\n\r\n",
        b"GET /healthy RTSP/1.0\r\nHost: x\r\n\r\n",
        b"GET /healthy\r\n\r\n",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        POST + b"Content-Length: 5, 6\r\n\r\nabcdef",
        POST + b"Content-Length: +5\r\n\r\nabcde",
        POST + b"Content-Length: 0x5\r\n\r\nabcde",
        POST + b"Content-Length: 5_0\r\n\r\nabcde",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: identity\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0;extension=1\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: 1\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n",
    ],
)
async def test_what_is_no_request_is_400_and_what_follows_it_is_not_read(port: int, head: bytes) -> None:
    expected = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    assert await exchanged(port, [head + GET]) == expected
    answers = await exchanged(port, [GET + head + GET])
    assert statuses(answers) == [200, 400]
    assert answers.endswith(expected)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "head",
    [
        GET.replace(b"\r", b""),
        GET.replace(b"x\r\n", b"x\n"),
        GET.replace(b"1.1", b"1.2"),
        GET.replace(b"GET", b"FETCH"),
        GET.replace(b"/healthy", b"healthy"),
        SIZED.replace(b"Host: x", b"Host: x\r\nContent-Length: %d" % len(CALL)),
    ],
)
async def test_our_server_refuses_what_tornado_takes(ports: dict[str, int], head: bytes) -> None:
    assert statuses(await exchanged(ports["fast"], [head + LAST])) == [400]
    assert statuses(await exchanged(ports["tornado"], [head + LAST])) != [400]


@pytest.mark.gen_test
async def test_absolute_targets_and_bytes_beyond_ascii_are_taken_as_tornado_takes_them(
    ports: dict[str, int],
) -> None:
    for target in (
        b"http://x/healthy",
        b"*",
        b"/\xc3\xa9?a=\xff",
        b'/getaction/x?context={"a":1}',
        b"//healthy",
    ):
        request = GET.replace(b"/healthy", target) + LAST
        ours, theirs = [steady(await exchanged(port, [request])) for port in ports.values()]
        assert ours == theirs
        assert statuses(ours)[1:] == [200]


@pytest.mark.gen_test
async def test_an_upgrade_is_not_taken_and_the_connection_goes_on(port: int) -> None:
    offer = GET.replace(b"x\r\n", b"x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n")
    assert statuses(await exchanged(port, [offer + GET + LAST])) == [200, 200, 200]


@pytest.mark.gen_test
async def test_connections_of_http_1_0_end_unless_they_are_to_be_kept(port: int) -> None:
    old = b"GET /healthy HTTP/1.0\r\n"
    assert statuses(await exchanged(port, [old + b"\r\n" + GET])) == [200]
    kept = await exchanged(port, [old + b"Connection: keep-alive\r\n\r\n" + LAST])
    assert statuses(kept) == [200, 200]
    assert b"Connection: Keep-Alive\r\n" in kept


@pytest.mark.gen_test
async def test_nothing_is_read_after_a_last_request(port: int) -> None:
    answers = await exchanged(port, [LAST + GET + b"nonsense\r\n\r\n"])
    assert statuses(answers) == [200]
    assert b"Connection: close\r\n" in answers


@pytest.mark.gen_test
async def test_an_answer_to_head_has_the_headers_of_one_to_get_and_no_body(port: int) -> None:
    head = await exchanged(port, [GET.replace(b"GET", b"HEAD").replace(b"healthy", b"nothing") + LAST])
    first, _, rest = head.partition(b"\r\n\r\n")
    assert statuses(first) == [404]
    assert b"Content-Length: " in first
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.gen_test
async def test_a_client_that_asks_first_is_told_to_go_on(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(SIZED.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue")[: -len(CALL)])
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 (Continue)\r\n\r\n"
    writer.write(CALL + LAST)
    assert statuses(await reader.read()) == [401, 200]
    writer.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", SMALL, indirect=True)
async def test_heads_and_bodies_over_the_limits_are_answered_with_their_status(port: int) -> None:
    long = GET.replace(b"Host: x", b"Host: x\r\nA: " + b"a" * 1024)
    assert statuses(await exchanged(port, [long + GET])) == [431]
    assert statuses(await exchanged(port, [long[:1030]])) == [431]
    assert statuses(await exchanged(port, [GET + long])) == [200, 431]
    line = GET.replace(b"/healthy", b"/healthy?a=" + b"a" * 1024)
    answer = await exchanged(port, [line])
    assert statuses(answer) == [414]
    head, _, content = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: %d\r\n" % len(content) in head
    assert b"Connection: close" in head
    error = json.loads(content)["error"]
    assert error["code"] == "too_large"
    assert "larger than 1024 bytes (server.max_header_bytes)" in error["message"]
    assert statuses(await exchanged(port, [line[:1030]])) == [414]
    assert statuses(await exchanged(port, [GET + line + GET])) == [200, 414]
    body = b" " * 1025
    sized = POST + b"Content-Length: 1025\r\n\r\n" + body
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n401\r\n" + body + b"\r\n0\r\n\r\n"
    assert statuses(await exchanged(port, [sized + chunked + LAST])) == [413, 413, 200]


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", SMALL, indirect=True)
async def test_a_client_that_does_not_go_on_is_cut_off_in_time(port: int) -> None:
    begun = [b"", GET[:9], GET[:-2], SIZED[:-1], CHUNKED[:-1], CHUNKED[:-30]]
    # All at once: each is cut off after a second of its own.
    first = await asyncio.gather(*(exchanged(port, [one]) for one in begun))
    assert dict(zip(begun, first, strict=True)) == dict.fromkeys(begun, b"")
    second = await asyncio.gather(*(exchanged(port, [GET + one]) for one in begun))
    assert {one: statuses(answer) for one, answer in zip(begun, second, strict=True)} == {
        one: [200] for one in begun
    }


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", SMALL, indirect=True)
async def test_our_server_cuts_off_a_client_that_does_not_read_its_answers(
    ports: dict[str, int], services: Services, settings: Settings
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", ports["fast"], limit=1)
    # With so small a limit a stream soon stops reading from its socket.
    document = GET.replace(b"/healthy", b"/openapi.json")
    async with asyncio.timeout(PATIENCE_S):
        # It takes requests until its answers fill what the kernel holds.
        while not writer.transport.is_closing():
            writer.write(document * 20)
            await asyncio.sleep(0.01)
    assert statuses(await exchanged(ports["fast"], [LAST])) == [200]


@pytest.mark.gen_test
async def test_our_server_says_that_it_closes_where_an_answer_comes_before_the_body_is_read(
    ports: dict[str, int],
) -> None:
    # The path of an upload, which is read as it comes; it has no PUT.
    head = b"PUT /eval/x/offpolicy HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    answer = await exchanged(ports["fast"], [head + b"1234"])
    assert statuses(answer) == [405]
    assert b"\r\nConnection: close\r\n" in answer
    answer = await exchanged(ports["fast"], [head + b"123456789" + LAST])
    assert statuses(answer) == [405]
    assert b"\r\nConnection: close\r\n" in answer
