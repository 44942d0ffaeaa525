"""JSON whose form this client does not know, because code of the tenant decides it.

An action, a context, a reward, theta, what an operation of a model returns: what is in them is between the
tenant's own programs, so type checkers let it be used as it is: `decision["action"]["arm"]` needs no cast.
What the client takes, in contrast, is an `object`: anything that JSON can say.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A JSON value: None, bool, int, float, str, a list or a dict with text keys."""

Object: TypeAlias = dict[str, Any]
"""A JSON object."""
