"""Puts the bridge together, serves, and takes it apart in order."""

import asyncio
import secrets

import grpc.aio
import structlog
from engine_events.v1 import event_service_pb2, event_service_pb2_grpc, events_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from engine_bridge import engines
from engine_bridge.config import Settings
from engine_bridge.feed import Feed
from engine_bridge.health import Health
from engine_bridge.poller import poll
from engine_bridge.prober import Prober
from engine_bridge.service import EventService
from engine_bridge.source import BreakerSettings, Source
from engine_bridge.watcher import Watcher
from engine_runtime.grpc_defaults import SERVER_OPTIONS, bind
from eventlog import Journal

__all__ = ["serve"]

log = structlog.get_logger()

_ERROR_CODES = {
    "system.status": "SYSTEM_STATUS_FAILED",
    "storage.update": "STORAGE_UPDATE_FAILED",
    "agent.status": "AGENT_STATUS_FAILED",
    "compression.update": "COMPRESSION_JOBS_FAILED",
}
_SERVICE = event_service_pb2.DESCRIPTOR.services_by_name["EventService"].full_name
_GRACE_S = 1.0


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Runs the bridge until `stop`. StartupError: it cannot listen."""
    journal: Journal[events_pb2.Event] = Journal(
        secrets.token_hex(6), max_log_events=settings.history_events, max_bytes=settings.history_bytes
    )
    feed = Feed(journal)
    engine = engines.connect(settings.engine, settings.engine_files)
    breaker = BreakerSettings(settings.breaker_failures, settings.breaker_reset_s, settings.breaker_reset_max_s)
    polled = [Source(topic, _ERROR_CODES[topic], feed, breaker) for topic in engine.topics]
    watched = [Source("notification", "RPC_DISCONNECT", feed, breaker)] if engine.pushes else []

    health = Health()
    prober = Prober(engine, [*polled, *watched], on_health=lambda healthy: health.set("engine", healthy))
    service = EventService(
        feed,
        [*polled, *watched],
        engine_url=settings.engine,
        is_engine_healthy=lambda: prober.healthy,
        heartbeat_s=settings.heartbeat_s,
        max_subscribers=settings.max_subscribers,
    )
    server = grpc.aio.server(options=SERVER_OPTIONS)
    event_service_pb2_grpc.add_EventServiceServicer_to_server(service, server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    reflection.enable_server_reflection(
        [_SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME], server
    )
    bind(server, settings.listen, settings.server_files)
    for name in ("", _SERVICE, "engine"):
        health.set(name, True)

    await server.start()
    log.info("listening", address=settings.listen, engine=settings.engine, epoch=journal.epoch)
    try:
        async with asyncio.TaskGroup() as tasks:
            workers = [tasks.create_task(prober.run(), name="prober")]
            for index, source in enumerate(polled):
                job = poll(
                    source,
                    engine,
                    interval_s=settings.poll_s,
                    phase=index / len(polled),
                    call_timeout_s=settings.call_timeout_s,
                )
                workers.append(tasks.create_task(job, name=f"poll {source.topic}"))
            workers += [tasks.create_task(Watcher(source, polled, engine).run(), name="watch") for source in watched]
            await stop.wait()
            for worker in workers:
                worker.cancel()
    finally:
        # readers first: they are told to come back, and find the port closed until somebody serves it again
        health.stop()
        service.stop()
        await server.stop(_GRACE_S)
        await engine.close()
