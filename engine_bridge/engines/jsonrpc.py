"""Engines that speak JSON-RPC 2.0 over HTTP POST. They are asked; they push nothing."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiohttp
from engine_events.v1 import events_pb2

from engine_bridge.engines import jsonrpc_answers as answers
from engine_bridge.engines.contract import Pushed
from engine_bridge.errors import BadAnswer, MethodMissing, TimedOut, Unreachable
from engine_runtime.tls import TlsFiles, client_contexts

__all__ = ["JsonRpcEngine"]

_METHOD_NOT_FOUND = -32601  # JSON-RPC 2.0, section 5.1
_MAX_ANSWER_BYTES = 3 << 20
"""An answer larger than this is refused: it becomes one event, and gRPC readers take 4 MiB unless told otherwise."""

# topic -> (method, how its result becomes events)
_METHODS: dict[str, tuple[str, Callable[[Any], list[events_pb2.Event]]]] = {
    "system.status": ("system.status", answers.system_status),
    "storage.update": ("storage.pools.list", answers.storage_update),
    "agent.status": ("agents.list", answers.agent_status),
    "compression.update": ("compression.queue.running", answers.compression_update),
}


class JsonRpcEngine:
    """One engine behind one URL."""

    topics: Sequence[str] = tuple(_METHODS)
    pushes = False

    def __init__(self, url: str, tls: TlsFiles | None = None) -> None:
        """`tls`: for an https URL. StartupError: the files cannot be used."""
        self._url = url
        self._contexts = None if tls is None else client_contexts(tls)
        self._ids = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, topic: str, timeout_s: float) -> list[events_pb2.Event]:
        method, convert = _METHODS[topic]
        result = await self._call(method, timeout_s)
        try:
            return convert(result)
        except answers.NotAnAnswer as error:
            raise BadAnswer(f"{method}: {error}") from None

    async def watch(self, after: events_pb2.Position | None) -> AsyncIterator[Pushed]:
        raise MethodMissing("a JSON-RPC engine pushes nothing")
        yield Pushed()  # makes this an iterator

    async def is_healthy(self, timeout_s: float) -> bool:
        try:
            result = await self._call("health.check", timeout_s)
        except MethodMissing:
            return True
        except BadAnswer:
            return True
        except (Unreachable, TimedOut):
            return False
        return not isinstance(result, dict) or result.get("status", "ok") in ("healthy", "ok")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _call(self, method: str, timeout_s: float) -> Any:
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": {}}
        if self._session is None:
            # trust_env stays off: a proxy from the environment has no business between us and the engine
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=16))
        try:
            async with (
                asyncio.timeout(timeout_s),
                # a connection is taken again only for the context that it was made with
                self._session.post(
                    self._url,
                    json=request,
                    allow_redirects=False,
                    ssl=True if self._contexts is None else self._contexts.value(),
                ) as response,
            ):
                text = await response.content.read(_MAX_ANSWER_BYTES + 1)
                while len(text) <= _MAX_ANSWER_BYTES and (more := await response.content.read(_MAX_ANSWER_BYTES)):
                    text += more
                status = response.status
        except TimeoutError:
            raise TimedOut(f"{method}: no answer within {timeout_s:g} s") from None
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError) as error:
            raise Unreachable(f"{method}: {type(error).__name__}: {error}"[:500]) from None
        except aiohttp.ClientError as error:
            raise BadAnswer(f"{method}: {error}"[:500]) from None
        if len(text) > _MAX_ANSWER_BYTES:
            raise BadAnswer(f"{method}: an answer of more than {_MAX_ANSWER_BYTES} bytes")
        return _result(method, request["id"], status, text)


def _result(method: str, request_id: object, status: int, text: bytes) -> Any:
    """The result in a response (JSON-RPC 2.0, section 5). Errors may come with any HTTP status."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        raise BadAnswer(f"{method}: HTTP status {status}, not JSON") from None
    if not isinstance(answer, dict):
        raise BadAnswer(f"{method}: HTTP status {status}, not a JSON-RPC response")
    error = answer.get("error")
    if isinstance(error, dict):
        if error.get("code") == _METHOD_NOT_FOUND:
            raise MethodMissing(f"{method}: the engine has no such method")
        raise BadAnswer(f"{method}: error {error.get('code')}: {error.get('message')}"[:500])
    if error is not None or "result" not in answer or status != 200:
        raise BadAnswer(f"{method}: HTTP status {status}, no result")
    if answer.get("id") != request_id:
        raise BadAnswer(f"{method}: the response is to another request")
    return answer["result"]
