"""How each of the three programs starts, logs, listens, reaches its peer and stops. Knows nothing of events."""
