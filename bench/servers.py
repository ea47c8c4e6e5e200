"""Starts one server under test with its publisher, and says how to be its client."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.load import Dialect, compile_c
from bench.processes import CLIENT_CORE, OUT, REPOSITORY, SERVER_CORE, Child, free_port
from bench.publisher import Order

__all__ = [
    "CENTRIFUGO",
    "C_JOINED",
    "LIMITS",
    "OURS",
    "PYTHON",
    "SERVERS",
    "C",
    "MissingPeer",
    "Publisher",
    "Running",
    "our_bridge",
    "our_gateway",
    "our_stack",
    "status",
    "wait_connected",
]


class MissingPeer(Exception):
    """This peer cannot be run here; the text says why."""


class Publisher:
    """The process that makes events on order."""

    def __init__(self, child: Child) -> None:
        self.child = child
        if child.hear(20.0) != "ready":
            raise RuntimeError(f"{child.name} did not get ready")

    def start(self, order: Order) -> None:
        self.child.tell(json.dumps(asdict(order)))

    def wait(self, within_s: float) -> int:
        """Until the order that was started has been carried out; gives how many events were made."""
        return int(json.loads(self.child.hear(within_s))["sent"])


@dataclass
class Running:
    """A server that is up."""

    server: Child
    port: int
    dialect: Dialect
    publisher: Publisher
    before: tuple[Child, ...] = ()
    """What of ours stands before it: the bridge and the engine."""
    bridge_port: int = 0


@contextmanager
def our_bridge(
    *, history_events: int = 10_000, engine_module: str = "bench.engine", settings: Mapping[str, str] | None = None
) -> Iterator[tuple[Publisher, Child, Child, int]]:
    """The bench engine and the real bridge on the client's core: publisher, bridge, engine, the bridge's port.
    `settings`: beside, or instead of, those of every bench."""
    engine_port, bridge_port = free_port(), free_port()
    own = {
        "ENGINE_BRIDGE_LOG_LEVEL": "warning",
        "ENGINE_BRIDGE_LISTEN": f"127.0.0.1:{bridge_port}",
        "ENGINE_BRIDGE_ENGINE": f"grpc://127.0.0.1:{engine_port}",
        "ENGINE_BRIDGE_POLL_S": "60",
        "ENGINE_BRIDGE_HISTORY_EVENTS": str(history_events),
        "ENGINE_BRIDGE_HISTORY_BYTES": str(max(16 << 20, history_events * 512)),
    }
    with ExitStack() as stack:
        engine = stack.enter_context(Child.python(engine_module, f"127.0.0.1:{engine_port}", core=CLIENT_CORE))
        publisher = Publisher(engine)
        bridge = stack.enter_context(
            Child.python("engine_bridge", core=CLIENT_CORE, settings=own | dict(settings or {}))
        )
        bridge.wait_listening(bridge_port)
        yield publisher, bridge, engine, bridge_port


@contextmanager
def our_gateway(
    bridge_port: int, *, history_events: int = 10_000, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[Child, int]]:
    """The real gateway on the server's core, with its port. `settings`: beside, or instead of, those of every bench."""
    port = free_port()
    own = {
        "WS_GATEWAY_LOG_LEVEL": "warning",
        "WS_GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "WS_GATEWAY_BRIDGE": f"grpc://127.0.0.1:{bridge_port}",
        "WS_GATEWAY_HISTORY_EVENTS": str(history_events),
        "WS_GATEWAY_HISTORY_BYTES": str(max(32 << 20, history_events * 1024)),
        "WS_GATEWAY_MAX_CLIENTS": "60000",
        "WS_GATEWAY_MAX_CLIENTS_PER_ADDRESS": "60000",
    }
    with Child.python("ws_gateway", core=SERVER_CORE, settings=own | dict(settings or {})) as gateway:
        gateway.wait_listening(port)
        yield gateway, port


@contextmanager
def our_stack() -> Iterator[Running]:
    """The real bridge and the real gateway, with the settings that they have by default."""
    with our_bridge() as (publisher, bridge, engine, bridge_port), our_gateway(bridge_port) as (gateway, port):
        dialect = Dialect("/ws?types=notification", ready="client_id")
        running = Running(gateway, port, dialect, publisher, (bridge, engine), bridge_port)
        wait_connected(port)
        yield running


def status(port: int) -> dict[str, dict[str, Any]]:
    """What our gateway says of itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/status", timeout=60) as answer:
        told: dict[str, dict[str, Any]] = json.load(answer)
        return told


def wait_connected(port: int, within_s: float = 60.0) -> dict[str, dict[str, Any]]:
    """Until our gateway has copied the bridge's journal; gives its status."""
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        told = status(port)
        if told["bridge"]["connected"] and told["freshness"]:
            return told
        time.sleep(0.05)
    raise RuntimeError("the gateway did not reach the bridge; see its log")


@contextmanager
def _fed(command: list[str], name: str, dialect: Dialect, *, directory: Path = REPOSITORY) -> Iterator[Running]:
    """A peer that takes `PORT FEED_PORT` as its last arguments and reads events, a line each, on the second."""
    port, feed_port = free_port(), free_port()
    command = [str(port) if word == "PORT" else str(feed_port) if word == "FEED" else word for word in command]
    with ExitStack() as stack:
        server = stack.enter_context(Child(command, core=SERVER_CORE, name=name, directory=directory))
        server.wait_listening(port)
        publisher = stack.enter_context(
            Child.python("bench.publisher", "lines", f"127.0.0.1:{feed_port}", core=CLIENT_CORE)
        )
        yield Running(server, port, dialect, Publisher(publisher))


def limit(kind: str) -> AbstractContextManager[Running]:
    """The C program that only sends: `each` event by itself, or `joined`."""
    return _fed([compile_c("limit"), "PORT", "FEED", kind], "limit", Dialect("/"))


def _node(name: str) -> list[str]:
    """Command of a Node peer; installs what it needs and puts the peer beside it, where Node looks for modules."""
    directory = OUT / "node"
    directory.mkdir(parents=True, exist_ok=True)
    peers = REPOSITORY / "bench" / "peers"
    for file in ("package.json", "lines.mjs", f"{name}.mjs"):
        shutil.copy(peers / file, directory / file)
    if not (directory / "node_modules").exists():
        npm = _tool("npm")
        subprocess.run([npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=directory, check=True)
    return [_tool("node"), str(directory / f"{name}.mjs"), "PORT", "FEED"]


def _tool(name: str) -> str:
    path = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if path is None:
        raise MissingPeer(f"there is no `{name}` here")
    return path


def node_ws() -> AbstractContextManager[Running]:
    """Node `ws`."""
    return _fed(_node("ws"), "ws", Dialect("/"))


def socketio() -> AbstractContextManager[Running]:
    """Socket.IO, WebSocket only. Engine.IO's packet 2 is a ping and 3 its answer; 40 joins the default namespace."""
    dialect = Dialect("/socket.io/?EIO=4&transport=websocket", hello=["40"], ready='40{"sid"', echo=("2", "3"))
    return _fed(_node("socketio"), "socketio", dialect)


def websockets() -> AbstractContextManager[Running]:
    """Python `websockets`, its broadcast()."""
    return _fed([sys.executable, "-m", "bench.peers.websockets_broadcast", "PORT", "FEED"], "websockets", Dialect("/"))


def bare_writes() -> AbstractContextManager[Running]:
    """What Python allows: transports that are only written to."""
    return _fed([sys.executable, "-m", "bench.peers.bare_writes", "PORT", "FEED"], "bare_writes", Dialect("/"))


def queue_hub() -> AbstractContextManager[Running]:
    """aiohttp with a queue and a task per client."""
    return _fed([sys.executable, "-m", "bench.peers.queue_hub", "PORT", "FEED"], "queue_hub", Dialect("/ws"))


@contextmanager
def centrifugo() -> Iterator[Running]:
    """Centrifugo, fed by its own HTTP API."""
    program = OUT / "go" / "bin" / "centrifugo"
    if not program.exists():
        paths = {"GOPATH": str(OUT / "go"), "GOCACHE": str(OUT / "go" / "cache"), "GOFLAGS": "-modcacherw"}
        environment = {**os.environ, **paths, "CGO_ENABLED": "0"}
        built = subprocess.run([_tool("go"), "install", CENTRIFUGO], env=environment, check=False)
        if built.returncode:
            raise MissingPeer("it did not build")
    port = free_port()
    config = OUT / "centrifugo.json"
    settings = {
        "log": {"level": "error"},
        "http_server": {"address": "127.0.0.1", "port": port},
        "client": {"insecure": True},  # no tokens: none of the peers checks any
        "http_api": {"insecure": True},
    }
    config.write_text(json.dumps(settings))
    dialect = Dialect(
        "/connection/websocket",
        hello=['{"id":1,"connect":{}}', '{"id":2,"subscribe":{"channel":"bench"}}'],
        ready='"id":2',
        echo=("{}", "{}"),
    )
    with ExitStack() as stack:
        server = stack.enter_context(Child([str(program), "-c", str(config)], core=SERVER_CORE, name="centrifugo"))
        server.wait_listening(port)
        address = f"127.0.0.1:{port}"
        publisher = stack.enter_context(Child.python("bench.publisher", "centrifugo", address, core=CLIENT_CORE))
        yield Running(server, port, dialect, Publisher(publisher))


@contextmanager
def nats() -> Iterator[Running]:
    """NATS over WebSocket."""
    port, feed_port = free_port(), free_port()
    config = OUT / "nats.conf"
    config.write_text(
        f'listen: "127.0.0.1:{feed_port}"\n'
        f'websocket {{ listen: "127.0.0.1:{port}", no_tls: true, compression: false }}\n'
    )
    dialect = Dialect(
        "/",
        hello=[r'CONNECT {"verbose":false,"pedantic":false,"protocol":1}\r\n', r"SUB bench 1\r\n", r"PING\r\n"],
        binary=True,
        ready="PONG",
        echo=(r"PING\r\n", r"PONG\r\n"),
    )
    with ExitStack() as stack:
        server = stack.enter_context(
            Child([_tool("nats-server"), "-c", str(config)], core=SERVER_CORE, name="nats-server")
        )
        server.wait_listening(port)
        address = f"127.0.0.1:{feed_port}"
        publisher = stack.enter_context(Child.python("bench.publisher", "nats", address, core=CLIENT_CORE))
        yield Running(server, port, dialect, Publisher(publisher))


OURS = "ws_gateway"
C, C_JOINED, PYTHON = "C, one send each", "C, joined sends", "Python, bare writes"
LIMITS = (C, C_JOINED, PYTHON)
"""What can be done at most: no peers."""
CENTRIFUGO = "github.com/centrifugal/centrifugo/v6@v6.9.1"
SERVERS: dict[str, Callable[[], AbstractContextManager[Running]]] = {
    OURS: our_stack,
    C: lambda: limit("each"),
    C_JOINED: lambda: limit("joined"),
    PYTHON: bare_writes,
    "Node ws": node_ws,
    "Socket.IO": socketio,
    "websockets broadcast": websockets,
    "aiohttp, queue per client": queue_hub,
    "NATS": nats,
    "Centrifugo": centrifugo,
}
"""By the names of the report."""
