"""Puts the gateway together, serves, and takes it apart in order."""

import asyncio
import logging
import socket
from typing import cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from engine_runtime.addresses import grpc_target, is_encrypted
from engine_runtime.process import StartupError
from engine_runtime.tls import server_contexts
from ws_gateway.access import Access
from ws_gateway.config import Settings
from ws_gateway.credentials import Credentials, JwtRules
from ws_gateway.door import Door, raise_descriptor_limit
from ws_gateway.errors import CredentialsFileError
from ws_gateway.garbage import collect_forever
from ws_gateway.gate import Gate
from ws_gateway.http import Pages
from ws_gateway.hub import Hub
from ws_gateway.limits import Admission, ClientLimits
from ws_gateway.listener import listening, own_send_buffer_bytes
from ws_gateway.mirror import Mirror
from ws_gateway.origin import Hosts, Origins
from ws_gateway.page import LivePage
from ws_gateway.protocol import Limits
from ws_gateway.session import Sessions
from ws_gateway.sse import EventStreams
from ws_gateway.upstream import Upstream

__all__ = ["serve"]

log = structlog.get_logger()

_CLOSE_WITHIN_S = 2.0
_REACH_WITHIN_S = 2.0
"""Clients of a gateway that just started wait this long until it has reached its bridge; then it serves without one."""


class _NotOurFault(logging.Filter):
    """A request that is no HTTP is answered 400. aiohttp writes a traceback too: anybody could fill a log so."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Runs the gateway until `stop`. StartupError: it cannot listen."""
    logging.getLogger("aiohttp.server").addFilter(_NotOurFault())
    # it warns of subprotocols that it does not know, with the tokens in them
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
    mirror = Mirror(max_log_events=settings.history_events, max_bytes=settings.history_bytes)
    hub = Hub(
        mirror,
        heartbeat_s=settings.heartbeat_s,
        stall_s=settings.stall_s,
        high_water_bytes=settings.high_water_bytes,
    )
    upstream = Upstream(
        grpc_target(settings.bridge), mirror, tls=settings.bridge_files if is_encrypted(settings.bridge) else None
    )
    admission = Admission(settings.max_clients, settings.max_clients_per_address)
    access = _access(settings)
    requests = Limits(depth=settings.max_json_depth, subscriptions=settings.max_subscriptions)
    sessions = Sessions(hub, admission, limits=_client_limits(settings), request_limits=requests, access=access)
    streams = EventStreams(hub, admission, request_limits=requests, access=access)
    gate = Gate(
        Hosts(socket.gethostname(), settings.allowed_hosts),
        Origins(settings.allowed_origins),
        settings.trusted_proxies,
    )

    app = web.Application(middlewares=[gate.middleware])
    app.on_response_prepare.append(gate.add_headers)
    app.add_routes(Pages(mirror, hub, upstream, admission, request_limits=requests, access=access).routes())
    app.add_routes(LivePage().routes())
    # a HEAD of an endless stream would be answered with the stream itself
    app.add_routes(
        [
            web.get("/ws", sessions.handle, allow_head=False),
            web.get("/api/v1/events", streams.handle, allow_head=False),
        ]
    )
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=settings.headers_s,  # also its only deadline for request headers
        lingering_time=settings.headers_s,  # for a body, which nobody reads
        shutdown_timeout=1,
        handle_signals=False,
        handler_cancellation=True,  # an event stream learns in no other way that its client is gone
    )
    tls = None if settings.tls_cert is None else server_contexts(settings.server_files)
    room = raise_descriptor_limit()
    if room < settings.max_clients:
        log.warning("descriptors_are_fewer_than_clients", clients=room, max_clients=settings.max_clients)
    with listening(settings.listen, settings.send_buffer_bytes) as listener:
        try:
            await runner.setup()
            server = cast(web.Server, runner.server)  # it has one once it is set up
            door = Door(
                listener,
                server,
                None if tls is None else tls.value,
                handshake_s=settings.tls_handshake_s,
                send_buffer_bytes=own_send_buffer_bytes(settings.listen, settings.send_buffer_bytes),
            )
            async with asyncio.TaskGroup() as tasks:
                workers = [
                    tasks.create_task(upstream.run(), name="upstream"),
                    tasks.create_task(hub.run(), name="hub"),
                    tasks.create_task(collect_forever(lambda: hub.left_clients, lambda: len(hub)), name="garbage"),
                ]
                # they are in the listener's queue already; whoever comes back at the first moment can be resumed only
                # from a copy of the bridge's journal
                try:
                    async with asyncio.timeout(_REACH_WITHIN_S):
                        await upstream.reached.wait()
                except TimeoutError:
                    pass
                taking_in = tasks.create_task(door.run(), name="door")
                log.info("listening", address=settings.listen, bridge=settings.bridge)
                await stop.wait()
                # no new clients, those who are here are told when to come back, and only then does the rest stop
                taking_in.cancel()
                await asyncio.wait([taking_in])
                listener.close()
                await streams.close_all()
                await sessions.close_all(_CLOSE_WITHIN_S)
                for worker in workers:
                    worker.cancel()
        finally:
            listener.close()
            await runner.cleanup()


def _client_limits(settings: Settings) -> ClientLimits:
    return ClientLimits(
        message_bytes=settings.max_message_bytes,
        messages_per_s=settings.messages_per_s,
        messages_burst=settings.messages_burst,
        bad_messages=settings.max_bad_messages,
        credentials_s=settings.credentials_s,
        unsent_bytes=settings.high_water_bytes,
        close_s=settings.close_s,
    )


def _access(settings: Settings) -> Access:
    rules = None
    if settings.jwt_key_file is not None:
        rules = JwtRules(
            settings.jwt_algorithm,
            settings.jwt_key_file,
            settings.jwt_audience,
            settings.jwt_issuer,
            settings.jwt_topics_claim,
        )
    try:
        credentials = Credentials(settings.tokens_file, rules)
    except CredentialsFileError as error:
        raise StartupError(str(error)) from None
    return Access(credentials, token_in_url=settings.token_in_url)
