"""Durable jobs of clients, and the Dask cluster that may run their parts."""
