"""Adapters of modelling libraries. They run only inside the sandbox; see `base` for what each offers."""
