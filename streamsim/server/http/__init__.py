"""The HTTP server: the Tornado application, our own server under it, and Tornado's as the reference."""
