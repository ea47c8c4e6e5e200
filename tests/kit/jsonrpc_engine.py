"""A JSON-RPC 2.0 engine over HTTP that does what a test says, method by method: POST /api/v1/rpc, a real server."""

import copy
import json
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeAlias

from aiohttp import web

from tests.kit.script import HANG, Script

__all__ = ["METHODS", "Error", "JsonRpcEngine", "Raw", "Result", "normal_result"]

METHOD_NOT_FOUND = -32601
INVALID_REQUEST = -32600
PARSE_ERROR = -32700


@dataclass(frozen=True)
class Result:
    """Answers with this result, or with what a function makes of the params."""

    value: Any


@dataclass(frozen=True)
class Error:
    """Answers with a JSON-RPC error."""

    code: int
    message: str


@dataclass(frozen=True)
class Raw:
    """Answers with this body, whatever it is."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"


Behaviour: TypeAlias = Result | Error | Raw

METHODS = ("system.status", "agents.list", "compression.queue.running", "storage.pools.list", "health.check")
"""What the engine has; any other method is answered with -32601 unless something is set for it."""


def normal_result(method: str, call: int = 1) -> Any:
    """A plausible result; `call` makes each differ from the one before."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    results: dict[str, Any] = {
        "system.status": {
            "hostname": "scripted-json",
            "platform": "Linux scripted",
            "uptime": 1000 + call,
            "cpu_usage": 12.5,
            "memory_usage": {"used": 4 << 30, "total": 16 << 30, "used_percent": 25.0},
            "load_average": {"load1": 0.5, "load5": 0.25, "load15": 0.125},
        },
        "agents.list": [
            {
                "agent_id": "agent-1",
                "name": "Agent 1",
                "tier": "worker",
                "specialty": "compression",
                "status": "idle",
                "tasks_completed": call,
                "success_rate": 1.0,
                "avg_response_time_ms": 12.5,
                "memory_usage_mb": 64.0,
                "last_active": now,
            }
        ],
        "compression.queue.running": {
            "jobs": [
                {
                    "job_id": "job-1",
                    "status": "running",
                    "job_type": "compress_file",
                    "priority": "normal",
                    "progress": 50.0,
                    "phase": "compressing",
                    "bytes_processed": 500,
                    "bytes_total": 1000,
                    "current_ratio": 2.5,
                    "elapsed_seconds": 1.5,
                    "eta_seconds": 1.5,
                    "input_path": "/in",
                    "output_path": "/out",
                }
            ],
            "total_running": 1,
            "total_pending": 0,
            "total_jobs": 1,
        },
        "storage.pools.list": [
            {"name": "tank", "state": "ONLINE", "size": 1000, "allocated": 400, "free": 600, "capacity": 40.0}
        ],
        "health.check": {"status": "healthy"},
    }
    return results[method]


class JsonRpcEngine:
    """An engine whose every method can be made to answer anything, fail, hang or not exist, while it runs."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        """`port` 0: any, chosen at the first start and kept. `tls` None: in the clear; may be changed until the next
        start."""
        self.host = host
        self.port = port
        self.tls = tls
        self.script: Script[Behaviour] = Script()
        self.invalid_requests: list[str] = []
        """What was wrong with requests that were not JSON-RPC 2.0, in the order of arrival."""
        self.requests: list[dict[str, Any]] = []
        """Every well-formed request."""
        self.connection_headers: list[dict[str, str]] = []
        """The HTTP headers of every request."""
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """For ENGINE_BRIDGE_ENGINE."""
        return f"{'http' if self.tls is None else 'https'}://{self.host}:{self.port}/api/v1/rpc"

    @property
    def calls(self) -> Counter[str]:
        """Calls that arrived, by method."""
        return self.script.calls

    def result(self, method: str, value: Any) -> None:
        """From now on the method gives this; a function is called with the params."""
        self.script.set(method, Result(value))

    def missing(self, method: str) -> None:
        """From now on there is no such method (-32601)."""
        self.error(method, METHOD_NOT_FOUND, "Method not found")

    def error(self, method: str, code: int = -32000, message: str = "scripted") -> None:
        """From now on the method gives this JSON-RPC error."""
        self.script.set(method, Error(code, message))

    def raw(self, method: str, body: bytes | str, *, status: int = 200, content_type: str = "application/json") -> None:
        """From now on the method is answered with this HTTP answer: no JSON, HTTP 500, a wrong id, anything."""
        self.script.set(method, Raw(body.encode() if isinstance(body, str) else body, status, content_type))

    def hang(self, method: str) -> None:
        """From now on calls of the method are not answered, until something else is set for it."""
        self.script.set(method, HANG)

    def change(self, method: str, change: Callable[[Any], None]) -> None:
        """From now on the method gives its normal result after `change` was done to a copy of it."""

        def changed(_params: Any) -> Any:
            result = copy.deepcopy(normal_result(method, self.calls[method]))
            change(result)
            return result

        self.result(method, changed)

    def null_fields(self, method: str, *names: str) -> None:
        """From now on these fields of the result (of each item of a list) are null. No names: all of them."""
        self.change(method, lambda result: _each(result, lambda item: item.update(dict.fromkeys(names or item))))

    def drop_fields(self, method: str, *names: str) -> None:
        """From now on these fields of the result (of each item of a list) are absent. No names: all of them."""
        self.change(method, lambda result: _each(result, lambda item: [item.pop(name) for name in names or [*item]]))

    def load_average_as_list(self) -> None:
        """From now on load_average is [1, 5, 15 min] instead of an object."""
        self.change("system.status", lambda result: result.update(load_average=[0.5, 0.25, 0.125]))

    def restore(self, *methods: str) -> None:
        """These methods (none: all) behave normally again, calls that hang are answered."""
        if not methods:
            self.script.reset()
        for method in methods:
            self.script.set(method, None)

    async def start(self) -> None:
        """Listens. OSError: the port is in use."""
        application = web.Application(client_max_size=64 << 20)
        application.router.add_post("/api/v1/rpc", self._handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, self.host, self.port, ssl_context=self.tls)
        try:
            await site.start()
        except OSError:
            await runner.cleanup()
            raise
        self.port = runner.addresses[0][1]
        self._runner = runner

    async def stop(self) -> None:
        """Ends; calls that hang are cut off. Stopping twice is allowed."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def restart(self) -> None:
        """Stops and listens on the same port again."""
        await self.stop()
        await self.start()

    async def wait_called(self, method: str, count: int = 1, *, within_s: float = 5.0) -> None:
        """Waits until a method was called that many times since the start. AssertionError: not in time."""
        await self.script.wait_called(method, count, within_s=within_s)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.script.reset()
        await self.stop()

    async def _handle(self, request: web.Request) -> web.Response:
        self.connection_headers.append(dict(request.headers))
        try:
            call = json.loads(await request.text())
        except ValueError:
            self.invalid_requests.append("not JSON")
            return _answer(None, error=Error(PARSE_ERROR, "Parse error"))
        wrong = _wrong_with(call)
        if wrong is not None:
            self.invalid_requests.append(wrong)
            identity = call.get("id") if isinstance(call, dict) else None
            return _answer(identity, error=Error(INVALID_REQUEST, f"Invalid Request: {wrong}"))
        method = call["method"]
        self.requests.append(call)
        self.script.calls[method] += 1
        self.script.in_flight[method] += 1
        try:
            behaviour = await self.script.behaviour(method)
        finally:
            self.script.in_flight[method] -= 1
        return self._respond(call, behaviour)

    def _respond(self, call: dict[str, Any], behaviour: Behaviour | None) -> web.Response:
        method = call["method"]
        if behaviour is None and method not in METHODS:
            behaviour = Error(METHOD_NOT_FOUND, "Method not found")
        if isinstance(behaviour, Raw):
            return web.Response(body=behaviour.body, status=behaviour.status, content_type=behaviour.content_type)
        if isinstance(behaviour, Error):
            return _answer(call["id"], error=behaviour)
        value = normal_result(method, self.calls[method]) if behaviour is None else behaviour.value
        return _answer(call["id"], result=value(call.get("params")) if callable(value) else value)


def _wrong_with(call: Any) -> str | None:
    """What makes it no JSON-RPC 2.0 request (section 4 of its specification); None: it is one."""
    if not isinstance(call, dict):
        return "not an object"
    if call.get("jsonrpc") != "2.0":
        return f"jsonrpc is {call.get('jsonrpc')!r}"
    if not isinstance(call.get("method"), str):
        return f"method is {call.get('method')!r}"
    if "id" not in call or not isinstance(call["id"], str | int) or isinstance(call["id"], bool):
        return f"id is {call.get('id')!r}"
    if "params" in call and not isinstance(call["params"], dict | list):
        return f"params is {call['params']!r}"
    unknown = set(call) - {"jsonrpc", "method", "id", "params"}
    return f"unknown members {sorted(unknown)}" if unknown else None


def _answer(identity: Any, *, result: Any = None, error: Error | None = None) -> web.Response:
    body: dict[str, Any] = {"jsonrpc": "2.0", "id": identity}
    if error is not None:
        body["error"] = {"code": error.code, "message": error.message}
    else:
        body["result"] = result
    return web.json_response(body)


def _each(result: Any, change: Callable[[dict[str, Any]], object]) -> None:
    for item in result if isinstance(result, list) else [result]:
        change(item)
