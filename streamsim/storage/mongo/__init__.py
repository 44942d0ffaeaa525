"""Accounts, logs, models, runs and jobs in MongoDB."""
