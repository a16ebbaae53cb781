"""Sets hosts up to start this server."""
