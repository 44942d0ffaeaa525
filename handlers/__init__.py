"""The HTTP face: one module per API, each ending with its routes."""
