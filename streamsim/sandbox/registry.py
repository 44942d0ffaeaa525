"""Which programs a worker can run: the one place where the sandbox names what runs inside it."""

from __future__ import annotations

from typing import Final

PROGRAMS: Final = {
    "policy": "streamsim.programs.policy",
    "check": "streamsim.programs.check",
    "simulate": "streamsim.programs.simulate",
    "propensity": "streamsim.programs.propensity",
    "estimates": "streamsim.programs.estimates",
    "figures": "streamsim.programs.figures",
    "model": "streamsim.programs.model",
    "probe": "streamsim.sandbox.worker.probe",
}
"""A program's name, and its module: one with a class `Program` (see `streamsim.sandbox.worker.main`)."""

PLAIN: Final = frozenset({"policy", "check", "simulate", "propensity", "probe"})
"""The programs that need no library but NumPy themselves, and run code that may need none."""

LIBRARIES: Final = ("streamsim.estimators",)
"""Packages whose modules user code can import by other names; the zygote preloads them with the programs."""
