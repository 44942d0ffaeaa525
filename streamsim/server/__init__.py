"""One server process: settings become services, services an HTTP server, and upkeep runs beside it."""
