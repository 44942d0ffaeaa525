"""The login API, and what a user does with its own account: password and bearer tokens."""

from __future__ import annotations

from typing import Any, ClassVar

from handlers.base import COOKIE, Access, BaseHandler
from streamsim.dates import iso
from streamsim.errors import BadRequest
from streamsim.storage.contract.accounts import LoginSession

DEVICE = "device"
DEVICE_DAYS = 365


def required(body: dict[str, Any], *names: str) -> list[Any]:
    """Fields that a body must have. :raises BadRequest: naming the first that it lacks."""
    for name in names:
        if name not in body:
            raise BadRequest(f"{name} is missing", field=name)
    return [body[name] for name in names]


class LoginHandler(BaseHandler):
    """`/login`"""

    access: ClassVar[Access] = "public"

    async def post(self) -> None:
        """Body: username, password. Sets the secure cookies `user`, the session, and `device`, by which this
        browser is known to have logged in before.
        """
        username, password = required(self.json_body(("username", "password")), "username", "password")
        address, protocol = self.client()
        known = self.get_signed_cookie(DEVICE, max_age_days=DEVICE_DAYS) or b""
        secret, user, device = await self.services.accounts.log_in(
            username, password, address, known.decode("ascii", "replace")
        )
        login = self.service_settings.login
        secure = login.cookie_secure == "always" or (login.cookie_secure == "auto" and protocol == "https")
        for name, value, days in ((COOKIE, secret, login.session_hours / 24), (DEVICE, device, DEVICE_DAYS)):
            self.set_signed_cookie(
                name, value, expires_days=days, httponly=True, samesite="Lax", secure=secure
            )
        self.write_json({"status": "success", "username": user.name, "admin": user.admin})


class LogoutHandler(BaseHandler):
    """`/logout`"""

    access: ClassVar[Access] = "public"

    async def get(self) -> None:
        """As POST, for clients of StreamingBandit."""
        await self.post()

    async def post(self) -> None:
        """Ends the session on the server and clears the cookie."""
        if self.request.body:
            self.json_body(())
        await self.services.accounts.log_out(self.credential())
        self.clear_cookie(COOKIE)
        self.write_json({"status": "success"})


class UserHandler(BaseHandler):
    """`/user`"""

    access: ClassVar[Access] = "admin"

    async def post(self) -> None:
        """Body: username, password. Adds a user."""
        username, password = required(self.json_body(("username", "password")), "username", "password")
        await self.services.accounts.add_user(username, password)
        self.write_json({"status": "success"})


class PasswordHandler(BaseHandler):
    """`/user/password`"""

    access: ClassVar[Access] = "user"

    async def put(self) -> None:
        """Body: old_password, new_password. Ends all login sessions of the user."""
        old, new = required(self.json_body(("old_password", "new_password")), "old_password", "new_password")
        await self.services.accounts.change_password(self.user, old, new, self.client()[0])
        self.clear_cookie(COOKIE)
        self.write_json({"status": "success"})


class TokensHandler(BaseHandler):
    """`/user/token`"""

    access: ClassVar[Access] = "user"

    async def get(self) -> None:
        """The user's live bearer tokens, without their secrets."""
        tokens = await self.services.accounts.tokens(self.user)
        self.write_json({"tokens": [_shown(token) for token in tokens]})

    async def post(self) -> None:
        """Body: label?, days?. A new bearer token; `token` is its secret, shown this once."""
        body = self.json_body(("label", "days"))
        accounts = self.services.accounts
        label, days = body.get("label", ""), body.get("days")
        secret, token = await accounts.add_token(self.user, label, days, by=self.credential())
        self.write_json({**_shown(token), "token": secret})


class TokenHandler(BaseHandler):
    """`/user/token/{token_id}`"""

    access: ClassVar[Access] = "user"

    async def delete(self, token_id: str) -> None:
        """Revokes the token."""
        self.write_json(_shown(await self.services.accounts.revoke_token(self.user, token_id)))


def _shown(token: LoginSession) -> dict[str, str]:
    return {
        "id": token.id,
        "label": token.label,
        "created": iso(token.created_ms),
        "expires": iso(token.expires_ms),
    }


routes = [
    ("/login", LoginHandler),
    ("/logout", LogoutHandler),
    ("/user", UserHandler),
    ("/user/password", PasswordHandler),
    ("/user/token", TokensHandler),
    ("/user/token/{token_id}", TokenHandler),
]
