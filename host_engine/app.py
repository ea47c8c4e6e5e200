"""The engine put together: what is made, in which order it starts, and in which order it stops."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

import grpc.aio
import structlog
from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2 as rpc
from engine_rpc.v1 import engine_service_pb2_grpc as rpc_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection

from engine_runtime.grpc_defaults import SERVER_OPTIONS, bind
from host_engine import events, ledger
from host_engine.alerts import PoolAlerts
from host_engine.compressor import Compressor
from host_engine.config import Settings
from host_engine.errors import HostEngineError
from host_engine.execute import OutputLimits
from host_engine.feed import Feed
from host_engine.job import Job
from host_engine.jobs import Jobs
from host_engine.ledger import Ledger
from host_engine.partial import remove_leftover
from host_engine.rootdir import Root
from host_engine.roster import Roster, Worker
from host_engine.sampler import Sampler
from host_engine.service import EngineService
from host_engine.storage import StorageCollector
from host_engine.system import SystemReader
from host_engine.threads import Threads

__all__ = ["serve"]

log = structlog.get_logger()

_ERROR = events_pb2.NOTIFICATION_LEVEL_ERROR
_SERVICE = rpc.DESCRIPTOR.services_by_name["EngineService"].full_name

_SYSTEM_S = 1.0
_STORAGE_S = 5.0
# beside the workers' own: checks of paths and the record, which only a dead file system under ROOT can pile up
_SPARE_THREADS = 32

# together less than the 5 s that a program may take to stop
_HEALTH_TOLD_S = 0.3
_WORKERS_END_S = 2.5
_LEDGER_SETTLES_S = 0.7
_CALLS_END_S = 0.5


async def serve(settings: Settings, stop: asyncio.Event, listening: Callable[[int], None] = lambda _port: None) -> None:
    """Serves until `stop` is set. `listening` is told the port. StartupError: it cannot start."""
    root = Root(settings.root)
    try:
        await _Engine(settings, root).serve(stop, listening)
    finally:
        root.close()


class _Engine:
    """The parts of one engine. Made, started and stopped by `serve`."""

    def __init__(self, settings: Settings, root: Root) -> None:
        self._settings = settings
        self._root = root
        self._threads = Threads(settings.workers + _SPARE_THREADS)
        self._feed = Feed(max_watchers=settings.max_watchers)
        self._jobs = Jobs(
            self._feed.publish,
            workers_count=settings.workers,
            max_pending=settings.max_pending_jobs,
            kept=settings.kept_jobs,
        )
        self._ledger = Ledger(
            root, self._threads, lambda: ledger.encode(self._jobs.all()), partial(self._notify, "compression", _ERROR)
        )
        self._jobs.on_change = self._ledger.changed
        self._roster = Roster()
        self._reader = SystemReader()
        self._alerts = PoolAlerts()
        self._system = Sampler(
            self._roster.add(Worker("collector-system", "System collector", "system status", "collector")),
            lambda: self._threads.run("system", self._reader.read),
            interval_s=_SYSTEM_S,
            deadline_s=_SYSTEM_S,
        )
        self._storage = Sampler(
            self._roster.add(Worker("collector-storage", "Storage collector", "storage", "collector")),
            StorageCollector().collect,
            interval_s=_STORAGE_S,
            deadline_s=_STORAGE_S,
            on_value=self._watch_over,
        )
        self._compressors = [self._compressor(number) for number in range(1, settings.workers + 1)]

    async def serve(self, stop: asyncio.Event, listening: Callable[[int], None]) -> None:
        server = grpc.aio.server(options=SERVER_OPTIONS)
        port = bind(server, self._settings.listen, self._settings.server_files)
        healthy = await self._add_services(server)
        self._jobs.restore(await self._threads.run("recover", partial(_recover, self._root)))
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(self._ledger.run(), name="ledger")]
            await asyncio.gather(self._system.look(), self._storage.look())
            background.append(tasks.create_task(self._system.run(), name="collector-system"))
            background.append(tasks.create_task(self._storage.run(), name="collector-storage"))
            workers = [
                tasks.create_task(compressor.run(), name=f"compression-{number}")
                for number, compressor in enumerate(self._compressors, 1)
            ]
            await server.start()
            log.info("listening", address=self._settings.listen, port=port, root=str(self._settings.root))
            listening(port)
            try:
                await stop.wait()
            finally:
                await self._stop(server, healthy, workers)
                for task in background:
                    task.cancel()

    async def _stop(
        self, server: grpc.aio.Server, healthy: health.HealthServicer, workers: list[asyncio.Task[None]]
    ) -> None:
        """Nobody new, then the work, then its record, then the watchers, who thereby see how the work ended."""
        # a stalled health watcher holds the lock that this waits for
        await _within(_HEALTH_TOLD_S, healthy.enter_graceful_shutdown())
        self._jobs.stop()
        _, hanging = await asyncio.wait(workers, timeout=_WORKERS_END_S)
        for task in hanging:
            # its thread hangs in the disk; the record still says `running`, so the next start cleans up
            log.error("worker_hangs", worker=task.get_name())
            task.cancel()
        await _within(_LEDGER_SETTLES_S, self._ledger.settled())
        self._feed.close()
        await server.stop(_CALLS_END_S)

    async def _add_services(self, server: grpc.aio.Server) -> health.HealthServicer:
        service = EngineService(
            system=self._system,
            storage=self._storage,
            reader=self._reader,
            roster=self._roster,
            jobs=self._jobs,
            ledger=self._ledger,
            feed=self._feed,
            root=self._root,
            threads=self._threads,
        )
        rpc_grpc.add_EngineServiceServicer_to_server(service, server)
        healthy = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
        await healthy.set(_SERVICE, health_pb2.HealthCheckResponse.SERVING)
        names = (_SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        return healthy

    def _compressor(self, number: int) -> Compressor:
        return Compressor(
            self._roster.add(Worker(f"compression-{number}", f"Compressor {number}", "compression", "worker")),
            self._jobs,
            self._ledger,
            self._root,
            OutputLimits(self._settings.max_output_bytes, self._settings.min_free_bytes),
            self._threads,
            self._feed.publish,
        )

    def _watch_over(self, storage: events_pb2.StorageUpdate) -> None:
        for alert in self._alerts.observe(storage.pools):
            self._notify("storage", alert.level, alert.message)

    def _notify(self, source: str, level: events_pb2.NotificationLevel.ValueType, message: str) -> None:
        log.info("notification", source=source, level=events_pb2.NotificationLevel.Name(level), message=message)
        self._feed.publish(events.notification(message, level, source, time.time()))


def _recover(root: Root) -> list[Job]:
    """The jobs of the record, after whatever their unfinished outputs left beside their targets is gone. Blocks."""
    jobs = ledger.read(root)
    for job in jobs:
        if job.status == events_pb2.JOB_STATUS_COMPLETED:
            continue
        try:
            if remove_leftover(root, job.spec.output, job.spec.job_id):
                log.info("leftover_removed", job_id=job.spec.job_id)
        except (OSError, HostEngineError) as error:
            # the folder itself may be gone, and then so is what lay in it
            log.info("leftover_not_reached", job_id=job.spec.job_id, error=str(error))
    return jobs


async def _within(deadline_s: float, waiting: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(deadline_s):
            await waiting
    except TimeoutError:
        log.warning("stopping_without_waiting", deadline_s=deadline_s)
