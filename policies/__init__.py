"""The catalogue of policies, as data: see docs/policies.md."""
