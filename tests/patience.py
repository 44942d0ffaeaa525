"""How long tests wait for what must happen."""

PATIENCE_S = 120.0
"""Only ends what hangs: no test is about time, and a busy machine may stand still for many seconds."""
