"""The usual hub: aiohttp, a bounded queue and a writing task per client. A full queue loses its oldest event.

Usage: python -m bench.peers.queue_hub PORT FEED_PORT
"""

import asyncio
import sys

from aiohttp import web

from bench.peers.lines import serve_lines

_QUEUE = 1000


async def _main(port: int, feed_port: int) -> None:
    queues: set[asyncio.Queue[str]] = set()

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        queue: asyncio.Queue[str] = asyncio.Queue(_QUEUE)
        queues.add(queue)

        async def write() -> None:
            while True:
                await socket.send_str(await queue.get())

        writer = asyncio.create_task(write(), name="writer")
        try:
            async for _ in socket:
                pass
        finally:
            queues.discard(queue)
            writer.cancel()
        return socket

    def publish(line: str) -> None:
        for queue in queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(line)

    app = web.Application()
    app.router.add_get("/ws", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await serve_lines(feed_port, publish)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
