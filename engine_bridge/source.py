"""One topic of the engine: its breaker, the states it answers for, and what is said when it fails."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from engine_events.v1 import events_pb2

from engine_bridge.errors import CallFailed
from engine_bridge.feed import Feed
from engine_bridge.freshness import Holdings
from engine_bridge.guard import Guard, State, Ticket

__all__ = ["OFF_S", "BreakerSettings", "Source"]

log = structlog.get_logger()

OFF_S = 300.0
"""A method that the engine does not have is looked for again when the engine comes back, and this often, seconds."""
_COMPLAIN_EVERY_S = 30.0
"""An `rpc_error` comes at the first failure and then this often: readers need to know, not to be flooded."""


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    failures: int
    reset_s: float
    reset_max_s: float


class Source:
    """What is the same for a topic that is polled and for the stream of what the engine pushes."""

    def __init__(
        self,
        topic: str,
        error_code: str,
        feed: Feed,
        breaker: BreakerSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.topic = topic
        self.error_code = error_code
        self.feed = feed
        self.holdings = Holdings(feed.journal)
        self.clock = clock
        self.guard = Guard(
            failures=breaker.failures,
            reset_s=breaker.reset_s,
            reset_max_s=breaker.reset_max_s,
            clock=clock,
            on_change=self._breaker_changed,
        )
        self.off = False
        self.rejected = 0
        self.last_error = ""
        self.last_success_s: float | None = None
        """Unix seconds."""
        self.next_try_s: float | None = None
        """Unix seconds."""
        self.on_failure: Callable[[], None] = lambda: None
        self._revived = asyncio.Event()
        self._revived_once = False
        self._complained_at_s: float | None = None

    @property
    def is_failing(self) -> bool:
        return self.guard.consecutive_failures > 0

    def succeeded(self, ticket: Ticket) -> None:
        """The engine answered. What it said is published by the caller."""
        ticket.succeeded()
        if self.last_error:
            log.info("source_recovered", topic=self.topic)
        self.off = False
        self.last_error = ""
        self.last_success_s = self.feed.now_s()
        self._revived_once = False
        self._complained_at_s = None

    def failed(self, ticket: Ticket, error: CallFailed) -> None:
        """The engine did not answer: tells the readers, by stale states and an rpc_error."""
        if not self.last_error:
            log.warning("source_failed", topic=self.topic, error=str(error))
        # the engine's text may hold lone surrogates, which no protobuf string can
        self.last_error = str(error).encode("utf-8", "replace").decode()
        self.go_stale("RPC_DISCONNECT")
        ticket.failed(error)
        self._complain(error.reason)
        self.on_failure()

    def refused(self) -> None:
        """The breaker did not let a call through: tells the readers."""
        self.go_stale("CIRCUIT_BREAKER_OPEN")
        self._complain(events_pb2.RPC_ERROR_REASON_CIRCUIT_OPEN)

    def switch_off(self, ticket: Ticket) -> None:
        """The engine lacks the method. That is no failure, but whatever it said before is old."""
        ticket.succeeded()
        if not self.off:
            log.info("source_off", topic=self.topic, reason="the engine does not have this method")
            self.go_stale("RPC_DISCONNECT")
        self.off = True
        self.last_error = ""
        self._revived_once = False
        self._complained_at_s = None

    def go_stale(self, error_code: str) -> None:
        self.feed.publish(self.holdings.unanswered(error_code, last_update_s=self.last_success_s or 0))

    def revive(self, *, after_outage: bool) -> None:
        """The engine has been seen alive: try at once instead of waiting.

        Unless it was seen dead before (`after_outage`), only once until the next success: a method that fails on a
        healthy engine is left to its interval and its breaker.
        """
        looked_for = self.off and not self.is_failing
        if after_outage or looked_for or (self.guard.consecutive_failures == 1 and not self._revived_once):
            self._revived_once = True
            self.guard.half_open()
            self._revived.set()

    def retry_now(self) -> None:
        """Something else about the engine failed: look at once."""
        if not self.is_failing:
            self._revived.set()

    async def rest(self, seconds: float) -> bool:
        """Waits, but not past a revival: True if there was one."""
        self.next_try_s = self.feed.now_s() + seconds
        try:
            async with asyncio.timeout(seconds):
                await self._revived.wait()
        except TimeoutError:
            return False
        finally:
            self._revived.clear()
            self.next_try_s = None
        return True

    def _complain(self, reason: events_pb2.RpcErrorReason.ValueType) -> None:
        now_s = self.clock()
        if self._complained_at_s is not None and now_s - self._complained_at_s < _COMPLAIN_EVERY_S:
            return
        self._complained_at_s = now_s
        payload = events_pb2.RpcError(
            reason=reason,
            error_code=self.error_code,
            topic=self.topic,
            consecutive_failures=self.guard.consecutive_failures,
            timestamp=self.feed.now_s(),
        )
        self.feed.publish([events_pb2.Event(type="rpc_error", rpc_error=payload)])

    def _breaker_changed(self, state: State) -> None:
        payload = events_pb2.CircuitBreaker(
            topic=self.topic,
            consecutive_failures=self.guard.consecutive_failures,
            retry_after_s=self.guard.retry_after_s,
            timestamp=self.feed.now_s(),
        )
        log.warning("breaker_changed", topic=self.topic, state=state.value, retry_after_s=self.guard.retry_after_s)
        self.feed.publish([events_pb2.Event(type=f"circuit_breaker.{state.value}", circuit_breaker=payload)])
