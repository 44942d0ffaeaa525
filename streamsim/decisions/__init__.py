"""Serving decisions: one lane per experiment, one optimistic transaction per batch."""
