"""The process that every worker is forked from, and what confines a worker before it reads user code."""
