"""Users: who may log in, their sessions, tokens and passwords."""
