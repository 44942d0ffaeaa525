"""Storage: one contract (`contract.py`), several backends behind it."""
