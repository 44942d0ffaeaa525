"""Settings: the sections and their defaults in `settings`, where values come from in `sources`."""

from streamsim.config.settings import (
    TEXTS,
    EvaluationSettings,
    JobSettings,
    LaneSettings,
    LoginSettings,
    ModelSettings,
    SandboxSettings,
    Settings,
)
from streamsim.config.sources import OPTIONS, REMOVED, RENAMED, SECTIONS, ConfigError, Option, accepted, load

__all__ = [
    "OPTIONS",
    "REMOVED",
    "RENAMED",
    "SECTIONS",
    "TEXTS",
    "ConfigError",
    "EvaluationSettings",
    "JobSettings",
    "LaneSettings",
    "LoginSettings",
    "ModelSettings",
    "Option",
    "SandboxSettings",
    "Settings",
    "accepted",
    "load",
]
