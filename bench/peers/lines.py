"""The events, a line each, from whoever connects to the feed's port."""

import asyncio
from collections.abc import Callable

__all__ = ["serve_lines"]


async def serve_lines(port: int, take: Callable[[str], None]) -> None:
    """Calls `take` for each line, until it is cancelled."""

    async def read(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            take(line[:-1].decode())

    server = await asyncio.start_server(read, "127.0.0.1", port, limit=1 << 20)
    await server.serve_forever()
