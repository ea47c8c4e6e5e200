"""`python -m tests.conformance.echo --listen HOST:PORT`: echoes through the WebSocket that a session speaks through.

Autobahn's cases want an echo, which the gateway is not. aiohttp's parser and writer, and every setting that the gateway
gives them, are the same here; only what is said over them is not.
"""

import argparse
import asyncio
import signal

from aiohttp import WSMsgType, web

from ws_gateway.session import answer_close, open_socket

__all__ = ["main"]

_MAX_MESSAGE_BYTES = 16 << 20
"""The most that WS_GATEWAY_MAX_MESSAGE_BYTES may be, and the longest message that Autobahn sends."""


async def _echo(request: web.Request) -> web.StreamResponse:
    socket = open_socket(_MAX_MESSAGE_BYTES, close_s=1.0)
    await socket.prepare(request)
    while not socket.closed:
        message = await socket.receive()
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        elif message.type is WSMsgType.PING:
            await socket.pong(message.data)
        elif message.type is WSMsgType.CLOSE:
            await answer_close(socket, message.data)
    return socket


async def _serve(address: str) -> None:
    host, _, port = address.rpartition(":")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app = web.Application()
    app.add_routes([web.get("/ws", _echo)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, int(port)).start()
        await stop.wait()
    finally:
        await runner.cleanup()


def main() -> None:
    """Echoes until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="Echoes over the gateway's WebSocket.")
    parser.add_argument("--listen", required=True, help="HOST:PORT")
    asyncio.run(_serve(parser.parse_args().listen))


if __name__ == "__main__":
    main()
