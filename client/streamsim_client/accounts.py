"""Who asks: login, users, passwords, bearer tokens."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TypedDict

from streamsim_client.account_answers import Session, UserShown
from streamsim_client.answers import Done, LoggedIn, NewToken, Token
from streamsim_client.groups import Group, S, call, each, given, path


class _Tokens(TypedDict):
    tokens: list[Token]


class _Users(TypedDict):
    users: list[UserShown]


class _Sessions(TypedDict):
    sessions: list[Session]


class Accounts(Group[S]):
    """`client.accounts`

    >>> made = client.accounts.add_token("laptop", days=30)
    >>> with Client(URL, token=made["token"]) as laptop:
    ...     [token["label"] for token in laptop.accounts.tokens() if token["id"] == made["id"]]
    ['laptop']
    """

    @call
    async def log_in(self, username: str, password: str) -> LoggedIn:
        """Log in; the client keeps the session's cookie, in place of a bearer token that it had.

        :raises Unauthorized: a wrong name or password. :raises TooManyRequests: too many attempts.
        """
        body = {"username": username, "password": password}
        answer = await self._ask(LoggedIn, "POST", "/login", body=body)
        # Of the two the server would believe the token.
        self._sender.token = None
        return answer

    @call
    async def log_out(self) -> Done:
        """End the session on the server; of a client with a bearer token, revoke the token."""
        return await self._ask(Done, "GET", "/logout")

    @call
    async def add_user(self, username: str, password: str) -> Done:
        """Add a user; for administrators. :raises BadRequest: the name is taken, or malformed."""
        return await self._ask(Done, "POST", "/user", body={"username": username, "password": password})

    @call
    async def change_password(self, old_password: str, new_password: str) -> Done:
        """Change one's own password. It ends all login sessions, this one too; tokens stay.

        :raises Unauthorized: the old one is wrong. :raises BadRequest: the new one is too short or too long.
        """
        body = {"old_password": old_password, "new_password": new_password}
        return await self._ask(Done, "PUT", "/user/password", body=body)

    @call
    async def add_token(self, label: str = "", days: int | None = None) -> NewToken:
        """A new bearer token, for `Client(url, token=...)`. :param days: it is valid for."""
        return await self._ask(NewToken, "POST", "/user/token", body=given(label=label, days=days))

    @call
    async def tokens(self) -> list[Token]:
        """One's own live tokens, without their secrets."""
        return (await self._ask(_Tokens, "GET", "/user/token"))["tokens"]

    @call
    async def revoke_token(self, token_id: str) -> Token:
        """Revoke a token by its id, not its secret. :raises NotFound:"""
        return await self._ask(Token, "DELETE", path("user", "token", token_id))

    @each
    async def users(self, *, limit: int | None = None) -> AsyncGenerator[UserShown, None]:
        """All users in order of name; for administrators. :param limit: how many one request fetches."""
        async for page in self._pages(_Users, "/users", {"limit": limit}):
            for user in page["users"]:
                yield user

    @call
    async def sessions(self, username: str) -> list[Session]:
        """The live login sessions and tokens of a user, the newest first: one's own, or an administrator's.

        :raises Unauthorized: another user's. :raises NotFound: there is no such user.
        """
        return (await self._ask(_Sessions, "GET", path("users", username, "sessions")))["sessions"]

    @call
    async def end_session(self, username: str, session_id: str) -> Done:
        """End a login session or revoke a token, of oneself or, for administrators, of anybody.

        :raises Unauthorized: another user's. :raises NotFound: there is none of this id.
        """
        return await self._ask(Done, "DELETE", path("users", username, "sessions", session_id))
