"""The HTTP API: one module per API, each ending with its routes."""
