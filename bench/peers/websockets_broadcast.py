"""`websockets`: its own broadcast(), compression off.

Usage: python -m bench.peers.websockets_broadcast PORT FEED_PORT
"""

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

from bench.peers.lines import serve_lines


async def _main(port: int, feed_port: int) -> None:
    connections: set[ServerConnection] = set()

    async def handle(connection: ServerConnection) -> None:
        connections.add(connection)
        try:
            await connection.wait_closed()
        finally:
            connections.discard(connection)

    async with serve(handle, "127.0.0.1", port, compression=None, backlog=1024):
        await serve_lines(feed_port, lambda line: broadcast(connections, line))


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
