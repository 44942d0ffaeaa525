"""Offline evaluation: what a policy would earn in a simulated world or on logged traffic."""
