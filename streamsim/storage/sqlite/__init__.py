"""The embedded backend: one SQLite file, opened by any number of processes of one machine."""
