"""docs/api-bandit.md names every endpoint of the bandit API, and no other."""

from __future__ import annotations

import re

from handlers import admin, administration, core, login, ops, stats
from tests.support import ROOT

DOCUMENT = ROOT / "docs" / "api-bandit.md"
METHODS = ("GET", "POST", "PUT", "DELETE")


def test_document_and_routes_are_in_step() -> None:
    documented = set(re.findall(r"`(GET|POST|PUT|DELETE) (/\S*)`", DOCUMENT.read_text()))
    served = {
        (method, template.replace(":part", ""))
        for module in (core, stats, admin, administration, login, ops)
        for template, handler in module.routes
        for method in METHODS
        if method in handler.allowed_methods()
    }
    # The words on bearer tokens and cookies name an endpoint twice, which a set does not mind.
    assert documented == served
