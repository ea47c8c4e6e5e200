"""This machine as an engine: system status, storage, its own workers and zstd compression jobs, over engine_rpc.v1."""
