r"""All endpoints in one table.

Each handler module ends with `routes`, pairs of a path template and a handler class. `{name}` in a template
is a part of the path made of letters, digits and underscores (`\w+`), `{name:part}` one of anything but
slashes, and `{name:rest}` all that is left; each is handed to the method by name. All letters of a path match
in either case.
"""

from __future__ import annotations

import re
from functools import cache

from tornado.routing import URLSpec

from handlers import (
    admin,
    administration,
    console,
    core,
    evaluation,
    jobs,
    login,
    models,
    ops,
    runs,
    scenarios,
    stats,
)
from handlers.base import BaseHandler

_PARTS = {None: r"\w+", "part": "[^/]+", "rest": ".+"}

Route = tuple[str, type[BaseHandler]]

# In order of how often they are called: matching goes from the top.
ROUTES: tuple[Route, ...] = (
    *core.routes,
    *scenarios.routes,
    *stats.routes,
    *evaluation.routes,
    *admin.routes,
    *login.routes,
    *administration.routes,
    *ops.routes,
    *jobs.routes,
    *models.routes,
    *runs.routes,
)

# What browsers load: no part of the API, and not in its description.
PAGES: tuple[Route, ...] = (*console.routes,)


@cache
def compiled(routes: tuple[Route, ...]) -> list[URLSpec]:
    """The routes as Tornado takes them, and does not change them."""
    return [URLSpec(pattern(template), handler) for template, handler in routes]


def pattern(template: str) -> str:
    """The regular expression of a path template."""
    return "(?i)" + re.sub(r"\{(\w+)(?::(\w+))?\}", _group, template) + "$"


def _group(part: re.Match[str]) -> str:
    return f"(?P<{part[1]}>{_PARTS[part[2]]})"
