"""How late events are at the bridge, and at a gRPC reader of it: `python -m bench.hops HOST:PORT SECONDS`.

Prints one JSON object: the medians and the 99th percentiles, ms, of engine to the bridge's journal and of the journal
to a reader in another process, which is where the gateway stands.
"""

import asyncio
import json
import statistics
import sys
import time

import grpc.aio
from engine_events.v1 import event_service_pb2, event_service_pb2_grpc

from engine_runtime.grpc_defaults import CHANNEL_OPTIONS


async def _main(address: str, seconds: float) -> None:
    ahead_ns = time.time_ns() - time.monotonic_ns()
    to_bridge: list[float] = []
    to_reader: list[float] = []
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        call = event_service_pb2_grpc.EventServiceStub(channel).Subscribe(
            event_service_pb2.SubscribeRequest(types=["notification"])
        )
        print("ready", flush=True)
        try:
            async with asyncio.timeout(seconds):
                async for response in call:
                    now_ns = time.monotonic_ns()
                    for event in response.batch.events:
                        made_ns = int(event.notification.message[12:31])
                        published_ns = event.published_at.ToNanoseconds() - ahead_ns
                        to_bridge.append((published_ns - made_ns) / 1e6)
                        to_reader.append((now_ns - published_ns) / 1e6)
        except TimeoutError:
            call.cancel()
    print(json.dumps({"engine_to_bridge": _summary(to_bridge), "bridge_to_reader": _summary(to_reader)}), flush=True)


def _summary(values: list[float]) -> dict[str, float]:
    return {"p50_ms": statistics.median(values), "p99_ms": statistics.quantiles(values, n=100)[98]}


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], float(sys.argv[2])))
