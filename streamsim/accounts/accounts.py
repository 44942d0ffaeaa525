"""Users, login sessions, bearer tokens, and the limits on login attempts.

A session is known to the server by the SHA-256 of a random secret that only the client holds, so that what is
stored lets nobody in.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from asyncio import sleep as pause
from collections.abc import Awaitable, Callable
from typing import Literal

from streamsim.accounts.passwords import Passwords
from streamsim.config import LoginSettings
from streamsim.dates import DAY_MS, HOUR_MS
from streamsim.errors import BadRequest, Conflict, NotFound, TooManyRequests, Unauthorized
from streamsim.storage.contract.accounts import LoginSession, User
from streamsim.storage.contract.errors import DuplicateName
from streamsim.storage.contract.store import Store

MAX_LABEL = 100
MAX_TOKENS = 100
SLOWEST_S = 4.0
"""Each attempt on a user beyond the limit waits twice as long as the last, and at most so long."""
FIRST_USER = "admin"

Credential = tuple[Literal["cookie", "token"], str]

# A name becomes a tenant, a part of URLs and of storage keys.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,253}")


class Accounts:
    """The accounts of an installation.

    :param end: ends all that a user owns; awaited before and after the user is removed.
    """

    def __init__(
        self,
        store: Store,
        settings: LoginSettings,
        *,
        end: Callable[[str], Awaitable[None]],
        now_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._settings = settings
        self._end = end
        self._now_ms = now_ms
        self._passwords = Passwords(settings)

    def close(self) -> None:
        """Let go of the threads."""
        self._passwords.close()

    # ---- users

    async def add_user(self, name: object, password: object, *, admin: bool = False) -> User:
        """Create an account. :raises BadRequest: for a malformed or taken name, or a bad password."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BadRequest(
                "username must have 1 to 254 letters, digits, '_', '.', '-', '@' or '+'; the first a letter "
                "or digit",
                field="username",
            )
        accepted = self._passwords.accept(password, "password", new=True)
        user = User(
            name=name,
            password_hash=await self._passwords.hash(accepted),
            admin=admin,
            created_ms=self._now_ms(),
        )
        try:
            await self._store.accounts.create_user(user)
        except DuplicateName:
            raise BadRequest(f"there is a user {name} already", field="username") from None
        return user

    async def add_first_user(self, password: str | None) -> str | None:
        """If there are no users: create an administrator named `admin`.

        :param password: its password; None draws one.
        :returns: the password that was drawn; None if none was.
        """
        if await self._store.accounts.list_users(limit=1):
            return None
        drawn = secrets.token_urlsafe(12)
        try:
            await self.add_user(FIRST_USER, password or drawn, admin=True)
        except BadRequest as error:
            if error.field == "username":  # another process was first
                return None
            raise
        return None if password else drawn

    async def users(self, *, limit: int = 1000, after: str = "") -> list[User]:
        """Users in order of name."""
        return await self._store.accounts.list_users(limit=limit, after=after)

    async def set_password(self, name: str, password: object) -> None:
        """Give a user a new password and end its login sessions. :raises BadRequest: :raises NotFound:"""
        accepted = self._passwords.accept(password, "password", new=True)
        if not await self._store.accounts.set_password(name, await self._passwords.hash(accepted)):
            raise NotFound(f"there is no user {name}")

    async def change_password(self, user: User, old: object, new: object, address: str) -> None:
        """The user's own change of password; ends all of its login sessions, tokens stay.

        :raises BadRequest: malformed. :raises Unauthorized: wrong old password. :raises TooManyRequests:
        """
        old = self._passwords.accept(old, "old_password", new=False)
        new = self._passwords.accept(new, "new_password", new=True)
        await self._count_attempt(user.name, address)
        if not await self._passwords.verify(old, user.password_hash):
            raise Unauthorized("old_password is wrong", field="old_password")
        await self._forget_attempts(user.name, address)
        await self._store.accounts.set_password(user.name, await self._passwords.hash(new))

    async def remove_user(self, name: str) -> None:
        """Remove an account with its sessions and tokens, and end what it owns. :raises NotFound:"""
        if await self._store.accounts.get_user(name) is None:
            raise NotFound(f"there is no user {name}")
        # Once before, so that a crash in between can be made good by asking again; once after, for what the
        # user created meanwhile.
        await self._end(name)
        await self._store.accounts.remove_user(name)
        await self._end(name)

    # ---- sessions and tokens

    async def log_in(
        self, name: object, password: object, address: str, device: str = ""
    ) -> tuple[str, User, str]:
        """A new session: its secret and its user; and what tells next time that the device is known.

        :param device: what an earlier log-in gave, as proved by its signature; else empty.

        :raises BadRequest: malformed. :raises Unauthorized: unknown user or wrong password, in the same time.
        :raises TooManyRequests: too many attempts on this user or from this address.
        """
        if not isinstance(name, str):
            raise BadRequest("username must be given as text", field="username")
        accepted = self._passwords.accept(password, "password", new=False)
        known = device if device.startswith(f"{name}:") else ""
        await self._count_attempt(name, address, known)
        user = await self._store.accounts.get_user(name) if _NAME.fullmatch(name) else None
        if not await self._passwords.verify(accepted, user.password_hash if user else None) or user is None:
            raise Unauthorized("wrong username or password")
        await self._forget_attempts(name, address, known)
        now_ms = self._now_ms()
        expires_ms = now_ms + self._settings.session_hours * HOUR_MS
        secret, _ = await self._add_session(user, "cookie", "", now_ms, expires_ms)
        return secret, user, known or f"{name}:{secrets.token_hex(16)}"

    async def log_out(self, credential: Credential | None) -> None:
        """End the session, or revoke the token. Nothing happens if it is not live."""
        user = await self.authenticated(credential)
        if user is not None and credential is not None:
            await self._store.accounts.remove_session(user.name, session_id(credential[1]))

    async def authenticated(self, credential: Credential | None) -> User | None:
        """The user of a live session or token; None for anything else."""
        if credential is None:
            return None
        kind, secret = credential
        found = await self._store.accounts.get_session(session_id(secret), self._now_ms())
        return found[1] if found is not None and found[0].kind == kind else None

    async def add_token(
        self, user: User, label: object, days: object, by: Credential | None = None
    ) -> tuple[str, LoginSession]:
        """A new bearer token: its secret, shown this once, and its record.

        :param by: what asks for it; a token that a token makes ends with it at the latest.
        :raises BadRequest: malformed. :raises Conflict: the user has `MAX_TOKENS` already.
        """
        if not isinstance(label, str) or len(label) > MAX_LABEL:
            raise BadRequest(f"label must be text of at most {MAX_LABEL} characters", field="label")
        longest = self._settings.token_days
        days = longest if days is None else days
        if type(days) is not int or not 1 <= days <= longest:
            raise BadRequest(f"days must be an integer from 1 to {longest}", field="days")
        if len(await self.tokens(user)) >= MAX_TOKENS:
            raise Conflict(f"you have {MAX_TOKENS} tokens, which is the most; revoke one first")
        now_ms = self._now_ms()
        expires_ms = now_ms + days * DAY_MS
        if by is not None and by[0] == "token":
            maker = await self._store.accounts.get_session(session_id(by[1]), now_ms)
            expires_ms = min(expires_ms, maker[0].expires_ms if maker else now_ms)
        return await self._add_session(user, "token", label, now_ms, expires_ms)

    async def tokens(self, user: User) -> list[LoginSession]:
        """The user's live tokens, oldest first."""
        return await self._store.accounts.list_sessions(user.name, "token", self._now_ms())

    async def revoke_token(self, user: User, token_id: str) -> LoginSession:
        """End a token. :raises NotFound: if the user has none of this id."""
        for token in await self.tokens(user):
            if token.id == token_id and await self._store.accounts.remove_session(user.name, token_id):
                return token
        raise NotFound("you have no token of this id")

    async def sessions(self, name: str, *, limit: int) -> list[LoginSession]:
        """A user's live login sessions and tokens, the newest first. :raises NotFound: no such user."""
        if await self._store.accounts.get_user(name) is None:
            raise NotFound(f"there is no user {name}")
        now_ms = self._now_ms()
        kinds: tuple[Literal["cookie"], Literal["token"]] = ("cookie", "token")
        found = [
            one for kind in kinds for one in await self._store.accounts.list_sessions(name, kind, now_ms)
        ]
        return sorted(found, key=lambda one: one.created_ms, reverse=True)[:limit]

    async def end_session(self, name: str, session_id: str) -> None:
        """End a login session of a user, or revoke a token. :raises NotFound: there is none of this id."""
        if not await self._store.accounts.remove_session(name, session_id):
            raise NotFound(f"{name} has no session or token of this id")

    # ---- inside

    async def _add_session(
        self, user: User, kind: Literal["cookie", "token"], label: str, now_ms: int, expires_ms: int
    ) -> tuple[str, LoginSession]:
        secret = secrets.token_urlsafe(32)
        session = LoginSession(
            id=session_id(secret),
            user=user.name,
            kind=kind,
            label=label,
            epoch=user.session_epoch,
            created_ms=now_ms,
            expires_ms=expires_ms,
        )
        await self._store.accounts.add_session(session)
        return secret, session

    async def _count_attempt(self, name: str, address: str, device: str = "") -> None:
        """Refuse, or slow down, whoever tries too often.

        One address may try a user `attempts` times, and all users `address_attempts` times. Nobody can lock
        a user out for others: attempts from everywhere together only slow further ones down, and a device
        from which the user logged in before is counted by itself.

        :raises TooManyRequests:
        """
        settings = self._settings
        if device:
            await self._count(_device_window(device), settings.attempts)
            return
        # The address first: it bounds how many windows of made-up names one caller can open.
        await self._count(f"login:address:{address}", settings.address_attempts)
        await self._count(_pair_window(name, address), settings.attempts)
        count, _ = await self._hit(_user_window(name))
        if count > settings.attempts:
            await pause(min(0.1 * 2.0 ** min(count - settings.attempts, 10), SLOWEST_S))

    async def _forget_attempts(self, name: str, address: str, device: str = "") -> None:
        """After a right password."""
        windows = [_device_window(device)] if device else [_user_window(name), _pair_window(name, address)]
        for window in windows:
            await self._store.decisions.clear_hits(window)

    async def _count(self, window: str, most: int) -> None:
        count, left_ms = await self._hit(window)
        if count > most:
            raise TooManyRequests(
                "too many login attempts; wait and try again", retry_after_s=max(1, -(-left_ms // 1000))
            )

    async def _hit(self, window: str) -> tuple[int, int]:
        return await self._store.decisions.hit(window, self._now_ms(), self._settings.window_s * 1000)


def session_id(secret: str) -> str:
    """What the server stores of a session's secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _hashed(text: str) -> str:
    # Since anything may be tried as a name.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _user_window(name: str) -> str:
    return f"login:user:{_hashed(name)}"


def _device_window(device: str) -> str:
    return f"login:device:{_hashed(device)}"


def _pair_window(name: str, address: str) -> str:
    return f"login:user-address:{_hashed(f'{name} {address}')}"
