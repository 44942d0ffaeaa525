"""Experiments, the fields they take, and the catalogue of policies."""
