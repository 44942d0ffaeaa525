"""The client under its old name. It is a distribution of its own: import `streamsim_client`."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from pkgutil import iter_modules

try:
    import streamsim_client
    from streamsim_client import *  # noqa: F403
    from streamsim_client import __all__ as __all__
except ModuleNotFoundError as error:
    if error.name != "streamsim_client":
        raise
    raise ModuleNotFoundError(
        "the client is a distribution of its own: pip install streamsim-client", name=error.name
    ) from None

warnings.warn("streamsim.client is now streamsim_client: import that", DeprecationWarning, stacklevel=2)

# `from streamsim.client.runs import Project` gives the same class as the new name does, not a copy.
for _module in iter_modules(streamsim_client.__path__):
    sys.modules[f"{__name__}.{_module.name}"] = globals()[_module.name] = import_module(
        f"streamsim_client.{_module.name}"
    )
