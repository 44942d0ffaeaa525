"""Whether policy code needs libraries beside NumPy, as far as its text tells.

It only chooses the process that the code starts in (see `streamsim.sandbox.host.pool`): all of it runs in
either. So what looks as if it could need more is said to.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Final

_WORD: Final = re.compile(r"[^\W\d]\w*")
_IMPORTS: Final = re.compile(r"\bfrom\s+([\w.]+)\s+import\b|\bimport\b([^\n;]*)")
_MORE: Final = frozenset(
    {
        # SciPy, and the estimators that use it, by the names that they have in policy code.
        *("sp", "scipy", "libs", "lm", "scikit", "thmp", "thompson", "tbl", "thompson_bayesian_linear"),
        # Other experiments, whose code is not here.
        "Experiment",
        # Whatever a name that is made up stands for.
        *("__import__", "importlib", "runpy", "pkgutil", "pickle", "exec", "eval"),
    }
)
_LOOKED_AT: Final = 1 << 16
"""Characters of code; in more than that anything may be, and looking would hold up others."""
_KNOWN: Final = sys.stdlib_module_names | {"numpy"}


def only_numpy(code: Iterable[str]) -> bool:
    """Whether pieces of policy code do with Python's own modules and NumPy.

    >>> only_numpy(["import math, json", "self.action['arm'] = str(np.argmax(random.random()))"])
    True
    >>> only_numpy(["from sklearn.linear_model import SGDClassifier"]), only_numpy(["sp.stats.norm()"])
    (False, False)
    """
    for text in code:
        if len(text) > _LOOKED_AT:
            return False
        if not _MORE.isdisjoint(_WORD.findall(text)):
            return False
        for package, names in _IMPORTS.findall(text):
            if not _KNOWN.issuperset(map(_root, [package] if package else names.split(","))):
                return False
    return True


def _root(name: str) -> str:
    found = _WORD.search(name)
    return found[0] if found else ""
