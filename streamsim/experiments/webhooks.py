"""The webhooks that an experiment declares, and the messages to them as its owner sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from streamsim.errors import BadRequest
from streamsim.storage.contract.deliveries import Delivery
from streamsim.webhooks.destinations import Destinations, Refused

MAX_LISTED: Final = 1000


def completed(
    properties: dict[str, Any], stored: Mapping[str, Any], destinations: Destinations
) -> dict[str, Any]:
    """The properties of a request, with the secrets of URLs that had one before.

    :param stored: the properties before. :raises BadRequest: naming the part: a URL may not be told, is there
        twice, or has no secret.
    """
    if properties.get("webhooks") is None:
        return properties
    known = {hook["url"]: hook["secret"] for hook in stored.get("webhooks") or []}
    found: list[dict[str, Any]] = []
    for place, hook in enumerate(properties["webhooks"]):
        url, secret = hook["url"], hook["secret"] or known.get(hook["url"])
        where = f"webhooks[{place}]"
        if url not in known:
            try:
                destinations.check(url)
            except Refused as error:
                raise BadRequest(f"{where}.url: {error}", field=f"{where}.url") from None
        if url in [one["url"] for one in found]:
            raise BadRequest(f"{where}.url: is there twice", field=f"{where}.url")
        if secret is None:
            raise BadRequest(
                f"{where}.secret: is missing: at least 16 characters that you and the receiver know",
                field=f"{where}.secret",
            )
        found.append({**hook, "secret": secret, "events": sorted(set(hook["events"]))})
    return {**properties, "webhooks": found}


def shown(hooks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Webhooks without their secrets."""
    return [{name: one for name, one in hook.items() if name != "secret"} for hook in hooks]


def delivery_shown(one: Delivery, iso: Callable[[int], str]) -> dict[str, Any]:
    """A message as the owner of its experiment gets it. :param iso: writes a date."""
    result: dict[str, Any] = {
        "id": one.id,
        "event": one.event,
        "url": one.url,
        "status": one.state,
        "attempts": one.attempts,
        "created": iso(one.created_ms),
        "body": msgspec.Raw(one.body),
    }
    if one.modified_ms:
        result["last_attempt"] = iso(one.modified_ms)
    if one.state == "waiting":
        result["next_attempt"] = iso(one.due_ms)
    if one.error:
        result["error"] = one.error
    return result
