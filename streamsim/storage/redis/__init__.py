"""Experiments, theta, advices and the outbox in Redis; each script stands beside the Python that calls it."""
