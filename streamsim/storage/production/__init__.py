"""The production backend: Redis and MongoDB together."""
