"""Simulation models and their runs: a run is a journal, and a sandboxed process is only a cache of it."""
