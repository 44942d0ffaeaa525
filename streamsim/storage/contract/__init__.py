"""What every storage backend provides, as protocols and records."""
