r"""All endpoints in one table.

Each handler module ends with `routes`, pairs of a path template and a handler class. `{name}` in a template
is a part of the path made of letters, digits and underscores (`\w+`), handed to the method by name, as all
letters of a path match in either case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import tornado.web
from tornado.routing import URLSpec

from handlers import admin, core, evaluation, login, models, ops, scenarios, stats

Route = tuple[str, type[tornado.web.RequestHandler]]

# In order of how often they are called: matching goes from the top.
ROUTES: tuple[Route, ...] = (
    *core.routes,
    *scenarios.routes,
    *stats.routes,
    *evaluation.routes,
    *admin.routes,
    *login.routes,
    *ops.routes,
    *models.routes,
)


def compiled(routes: Iterable[Route]) -> list[URLSpec]:
    """The routes as Tornado takes them."""
    return [URLSpec(pattern(template), handler) for template, handler in routes]


def pattern(template: str) -> str:
    """The regular expression of a path template."""
    return "(?i)" + re.sub(r"\{(\w+)\}", r"(?P<\1>\\w+)", template) + "$"
