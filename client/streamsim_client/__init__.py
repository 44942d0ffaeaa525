"""A typed client of the service's REST APIs, for blocking code and for asyncio.

>>> from streamsim_client import Client
>>> with Client(URL, token=TOKEN) as client:
...     decision = client.decisions.get_action(ID, KEY, {"visitor": 7})
...     client.decisions.set_reward(ID, KEY, {"click": 1}, action=decision["action"], context={"visitor": 7})
{'status': 'success'}

`AsyncClient` has the same calls as coroutines. In all examples `URL` is a server's, e.g. "http://127.0.0.1:8080",
`TOKEN` a bearer token, `ID` and `KEY` an experiment's, and `client` a `Client`; see docs/api.md.
"""

from streamsim_client.client import AsyncClient, Client
from streamsim_client.errors import (
    BadRequest,
    ClientError,
    CodeTimeout,
    Conflict,
    Disconnected,
    Forbidden,
    InternalError,
    NotFound,
    ServerError,
    TimedOut,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    Unprocessable,
    Unreadable,
)
from streamsim_client.retries import Retries

__all__ = [
    "AsyncClient",
    "BadRequest",
    "Client",
    "ClientError",
    "CodeTimeout",
    "Conflict",
    "Disconnected",
    "Forbidden",
    "InternalError",
    "NotFound",
    "Retries",
    "ServerError",
    "TimedOut",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "Unprocessable",
    "Unreadable",
]
