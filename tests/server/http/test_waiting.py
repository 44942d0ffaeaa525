"""The end of a listening socket: no connection that a client has is reset."""

from __future__ import annotations

import os
import socket

import pytest

from streamsim.server.http.limits import waiting
from tests.patience import PATIENCE_S


@pytest.mark.skipif(os.geteuid() != 0, reason="documented: an ordinary user may be refused the filter")
def test_all_that_wait_are_found_and_no_connection_comes_after_them() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        address = listening.getsockname()
        clients = [socket.create_connection(address, timeout=PATIENCE_S) for _ in range(3)]
        found = waiting(listening)
        assert [where for _, where in found] == [client.getsockname() for client in clients]
        with socket.socket() as late:
            late.settimeout(0.2)
            with pytest.raises(TimeoutError):
                late.connect(address)
    # What was found goes on: the filter was the listening socket's.
    for client, (connection, _) in zip(clients, found, strict=True):
        client.sendall(b"a")
        connection.setblocking(True)
        assert connection.recv(1) == b"a"
        connection.close()
        client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=PATIENCE_S).close()
