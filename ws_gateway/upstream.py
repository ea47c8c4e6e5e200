"""The one stream from the bridge: resumes where the mirror stands, and says so when the bridge is silent or away."""

import asyncio
import random
import time
from typing import Any, Self

import grpc
import grpc.aio
import structlog
from engine_events.v1 import event_service_pb2 as pb
from engine_events.v1 import event_service_pb2_grpc, events_pb2

from engine_runtime.peer import Peer
from engine_runtime.tls import TlsFiles
from ws_gateway.mirror import Mirror, Reason

__all__ = ["Upstream"]

log = structlog.get_logger()

_FIRST_S = 5.0
"""The first message of a stream comes at once."""
_SILENCE_S = 15.0
"""And a progress mark every 5 s: keepalive alone does not notice a frozen bridge on a silent stream."""
_WHY_S = 0.5
_BACKOFF_FIRST_S, _BACKOFF_MAX_S = 0.2, 5.0
_STEADY_S = 30.0
"""A stream that stood this long makes the next break a new one."""
_MAX_MESSAGE_BYTES = 8 << 20
"""A batch is some 256 KiB and one event more."""


class _Broken(Exception):
    """The stream ended; `reason` is that of the rpc_error."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class _AnotherEpoch(Exception):
    """The bridge has a journal of which nothing has been copied."""


class Upstream:
    """Keeps a mirror up to date."""

    def __init__(
        self,
        address: str,
        mirror: Mirror,
        *,
        tls: TlsFiles | None = None,
        first_s: float = _FIRST_S,
        silence_s: float = _SILENCE_S,
        backoff_first_s: float = _BACKOFF_FIRST_S,
        backoff_max_s: float = _BACKOFF_MAX_S,
        steady_s: float = _STEADY_S,
    ) -> None:
        """`address`: HOST:PORT or unix:PATH. `tls` None: in the clear. StartupError: its files cannot be used.

        `first_s`, `silence_s`: how long to wait for the first and for any later message. The pauses between attempts
        are random, up to a bound that doubles from `backoff_first_s` to `backoff_max_s`, and begins anew after a stream
        that stood `steady_s`."""
        self._mirror = mirror
        self._address = address
        self._peer = Peer(address, tls, max_message_bytes=_MAX_MESSAGE_BYTES)
        self._after = events_pb2.Position()
        self._first_s = first_s
        self._silence_s = silence_s
        self._backoff_s = self._backoff_first_s = backoff_first_s
        self._backoff_max_s = backoff_max_s
        self._steady_s = steady_s
        self.failures = 0
        self.reached = asyncio.Event()
        """Set for good when the bridge's journal has been copied for the first time."""

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            async with self._peer.connect() as channel:
                await self._follow(event_service_pb2_grpc.EventServiceStub(channel))
            log.info("bridge_channel_renewed", bridge=self._address, reason="the certificates have changed")

    async def _follow(self, stub: "event_service_pb2_grpc.EventServiceAsyncStub") -> None:
        """Reads one stream after another, until one has broken and the next wants other certificates."""
        while True:
            began_s = time.monotonic()
            try:
                await self._read(stub, self._after)
            except _AnotherEpoch:
                self._after = events_pb2.Position()
                continue
            except _Broken as broken:
                self.failures += 1
                if self.failures == 1:
                    log.warning("bridge_lost", bridge=self._address, reason=broken.reason, error=str(broken))
                self._mirror.bridge_lost(self.failures, broken.reason)
                if self.failures == 1 and broken.reason == "rpc_timeout":
                    await self._say_why(stub)
            position = self._mirror.position
            self._after = events_pb2.Position(epoch=position.epoch, seq=position.seq)
            spent_s = time.monotonic() - began_s
            if spent_s > self._steady_s:
                self._backoff_s = self._backoff_first_s
            await asyncio.sleep(max(0.0, random.uniform(0, self._backoff_s) - spent_s))
            self._backoff_s = min(self._backoff_s * 2, self._backoff_max_s)
            if self._peer.is_renewed:
                return

    async def _say_why(self, stub: "event_service_pb2_grpc.EventServiceAsyncStub") -> None:
        """Logs what keeps a connection from coming about: gRPC tells only whoever does not wait for one."""
        try:
            await stub.GetBridgeStatus(pb.GetBridgeStatusRequest(), timeout=_WHY_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                log.warning("bridge_unreachable", bridge=self._address, error=(error.details() or "")[:500])

    async def _read(self, stub: "event_service_pb2_grpc.EventServiceAsyncStub", after: events_pb2.Position) -> None:
        """Reads one stream to its end, which is always an exception."""
        # the channel connects again by itself, within a second of the bridge's return; the call waits for that
        call = stub.Subscribe(pb.SubscribeRequest(after=after), wait_for_ready=True)
        patience = _Patience(self._first_s)
        try:
            async with patience:
                target, announced = self._begin(after, (await _next(call)).subscribed)
                patience.renew(self._silence_s)
                while True:
                    response = await _next(call)
                    patience.heard()
                    if response.batch.events:
                        for event in response.batch.events:
                            self._mirror.take(event)
                        announced -= len(response.batch.events)
                        seq = response.batch.events[-1].seq
                    elif response.HasField("gap"):
                        self._mirror.lose(response.gap.from_seq, response.gap.to_seq, response.gap.lost)
                        continue
                    elif response.HasField("progress"):
                        seq = response.progress.position.seq
                    else:
                        continue
                    if seq >= target or announced <= 0:
                        self._complete(seq)
        except TimeoutError:
            raise _Broken("rpc_timeout", f"nothing from the bridge for {patience.limit_s:g} s") from None
        finally:
            call.cancel()

    def _begin(self, after: events_pb2.Position, subscribed: pb.Subscribed) -> tuple[int, int]:
        """Takes the bridge's first word. The copy is complete once an event at or after this number has come, or as
        many as this."""
        epoch, seq = subscribed.position.epoch, subscribed.position.seq
        if epoch != self._mirror.position.epoch:
            if after.epoch:
                raise _AnotherEpoch
            self._mirror.begin(epoch)
        elif seq < after.seq:
            raise _Broken("rpc_failed", f"the bridge is at {seq}, behind what it said before ({after.seq})")
        log.info(
            "bridge_connected",
            bridge=self._address,
            position=f"{epoch}.{seq}",
            recovered=subscribed.recovered,
            replayed=subscribed.replayed,
            superseded=subscribed.superseded,
            lost=subscribed.lost,
        )
        self.failures = 0
        if not subscribed.replayed:
            self._complete(seq)
        return seq, subscribed.replayed

    def _complete(self, seq: int) -> None:
        self._mirror.complete(seq)
        self.reached.set()


class _Patience:
    """Ends its block with TimeoutError when nothing was heard for too long. A word heard costs the time of day, where a
    time-out for each would cost a timer and a tenth of all that is done for one event."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._end = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self._heard_s = 0.0
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        await self._end.__aenter__()
        self.renew(self.limit_s)
        return self

    async def __aexit__(self, *error: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._end.__aexit__(*error)

    def renew(self, limit_s: float) -> None:
        """Something was heard, and from now on this is the limit."""
        self.limit_s = limit_s
        self.heard()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(limit_s, self._look)

    def heard(self) -> None:
        self._heard_s = self._loop.time()

    def _look(self) -> None:
        end_s = self._heard_s + self.limit_s
        if end_s > self._loop.time():
            self._timer = self._loop.call_at(end_s, self._look)
        else:
            self._end.reschedule(end_s)


async def _next(call: "grpc.aio.UnaryStreamCall[pb.SubscribeRequest, pb.SubscribeResponse]") -> pb.SubscribeResponse:
    """The next message. _Broken: there is none."""
    try:
        response = await call.read()
    except grpc.aio.AioRpcError as error:
        raise _broken(error.code(), error.details()) from None
    except asyncio.CancelledError:
        # grpc.aio also raises this when the call or the channel ended, and nobody cancelled us
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise _Broken("rpc_disconnect", "the call was cancelled") from None
    if isinstance(response, pb.SubscribeResponse):
        return response
    if response is not grpc.aio.EOF:
        # grpc.aio gives None for bytes that are not the message
        raise _Broken("rpc_failed", "the bridge sent something that is no answer")
    raise _broken(await call.code(), await call.details())


def _broken(code: grpc.StatusCode, details: str | None) -> _Broken:
    reason: Reason = "rpc_failed"
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.OK):
        reason = "rpc_disconnect"
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
        reason = "rpc_timeout"
    return _Broken(reason, f"{code.name}: {details or 'no details'}"[:500])
