"""What any part of a store may raise."""

from __future__ import annotations


class DuplicateName(Exception):
    """The tenant has an experiment, or the installation a user, of this name."""


class StoreUnavailable(Exception):
    """The backend cannot be reached, or is over its high-water mark; nothing was applied."""


class OutcomeUnknown(StoreUnavailable):
    """The backend went away before it answered, for too long: all was applied, or nothing."""
