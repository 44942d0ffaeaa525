"""Drawn requests go to both servers, which answer alike, or ours is the one that refuses."""

from __future__ import annotations

import pytest

from tests.effort import LONG
from tests.server.http.differential import CLOSE, OLD, SETTINGS, STRICTER, compare, compare_these
from tests.server.http.raw import LAST

# Both servers close what waits for a second: beside other tests one of them may be late.
pytestmark = pytest.mark.serial


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [SETTINGS], indirect=True)
async def test_both_servers_answer_alike_or_ours_is_the_stricter_one(ports: dict[str, int]) -> None:
    found = await compare(ports, seed=16, connections=20_000 if LONG else 1200)
    assert found.wrong == []
    assert found.failed == []
    assert found.stricter.keys() | {OLD} == {*STRICTER, CLOSE, OLD}  # so few draw it that it has its own test
    assert found.requests > found.compared


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [SETTINGS], indirect=True)
async def test_wherever_a_line_ends_without_cr_no_server_takes_what_the_other_refuses(
    ports: dict[str, int],
) -> None:
    get, body = b"GET /healthy HTTP/1.1\r\nHost: x\r\nA: a\r\n\r\n", b"POST /nothing HTTP/1.1\r\nHost: x\r\n"
    large = b"GET /healthy HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 3000 + b"\r\n\r\n"
    sent = [
        # Before a head, in it, and at its end.
        *(before + get + LAST for before in (b"\n", b"\r\n", b"\n\r\n", b"\r\n\n", b"\r\n\r\n", b"\n\n")),
        *(get.replace(b"\r\n", b"\n", count) + LAST for count in range(1, 5)),
        *(
            get[: -len(end)] + other + LAST
            for end, other in (
                (b"\r\n", b"\n"),
                (b"\r\n\r\n", b"\n\r\n"),
                (b"\r\n", b"\n\r\n"),
                (b"\r\n\r\n", b"\n\n"),
            )
        ),
        # With a body, and before a head that is too large; one that is itself.
        body + b"Content-Length: 2\r\n\n{}" + LAST,
        body + b"Content-Length: 2\r\n\n\r\n{}" + LAST,
        get.replace(b"\r\n", b"\n") + large + LAST,
        large.replace(b"\r\n", b"\n") + LAST,
    ]
    pieces = [[one] for one in sent] + [[one[:cut], one[cut:]] for one in sent for cut in range(1, 60, 7)]
    found = await compare_these(ports, iter(pieces))
    assert found.wrong == []
    assert found.failed == []
    assert found.compared == len(pieces)
    assert found.stricter.keys() == {"a line ends without CR"}


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [SETTINGS], indirect=True)
async def test_a_request_of_http_1_0_with_transfer_encoding_is_the_last_of_its_connection(
    ports: dict[str, int],
) -> None:
    begin, chunked = b" /healthy HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n", b"1\r\nx\r\n0\r\n\r\n"
    old = begin + b"Transfer-Encoding: chunked\r\n\r\n" + chunked
    pieces = [[method + old + after] for method in (b"GET", b"POST") for after in (b"", LAST)]
    found = await compare_these(ports, iter(pieces))
    assert found.wrong == []
    assert found.stricter == {OLD: len(pieces)}
    # With the length of its body alone it may be followed.
    framed = begin + b"Content-Length: 1\r\n\r\nx"
    found = await compare_these(ports, iter([[b"POST" + framed + LAST]]))
    assert (found.wrong, found.stricter, found.requests) == ([], {}, 2)
