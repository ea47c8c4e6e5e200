"""The bridge: asks an engine behind circuit breakers, keeps the journal, streams it over gRPC."""
