"""How each of the three programs starts, logs, binds and stops. Knows nothing of events."""
