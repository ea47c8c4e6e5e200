"""The real programs together: engine, bridge and gateways, each on a port of its own, wired as a test wants them.

`program` has the single one; its words can be imported from here.
"""

import asyncio
import shutil
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from tests.kit.client import get
from tests.kit.netns import Place
from tests.kit.program import Exit, Program, complaints_in, end_all, free_port

__all__ = ["Exit", "Program", "Stack", "complaints_in", "free_port"]


class Stack:
    """Host engine, bridge and gateway(s), each on a port of its own; an async context manager.

    Programs exist, with their addresses, as soon as the Stack does, so that their `settings` can be changed and proxies
    put between them before `async with`. `engine_url`: use this engine and start none. `bridge_address`: HOST:PORT; use
    this bridge and start none (and no engine). `places`: where "engine", "bridge" and "gateway" (all of them) run.

    On leaving, every program gets SIGTERM and must end cleanly within 6 s, and none may have complained in its standard
    error: AssertionError otherwise. When the test failed already, its failure is given the ends of their logs.
    """

    def __init__(
        self,
        *,
        engine_url: str | None = None,
        bridge_address: str | None = None,
        gateways: int = 1,
        poll_s: float = 0.5,
        heartbeat_s: float | None = None,
        stall_s: float | None = None,
        engine_settings: Mapping[str, str] | None = None,
        bridge_settings: Mapping[str, str] | None = None,
        gateway_settings: Mapping[str, str] | None = None,
        places: Mapping[str, Place] | None = None,
        wait_ready: bool = True,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="kit-stack-"))
        self._remove_directory = weakref.finalize(self, shutil.rmtree, self.directory, True)
        self.allowed_complaints: list[str] = []
        """Regular expressions: a line of standard error that one of them is found in is no complaint. For what a test
        provokes itself; ".": check nothing."""
        self._places = dict(places or {})
        self._wait_ready = wait_ready
        self._engine: Program | None = None
        self._bridge: Program | None = None
        self.gateways: list[Program] = []
        if engine_url is None and bridge_address is None:
            root = self.directory / "engine-files"
            root.mkdir()
            self._engine = self._program("engine", "host_engine", "HOST_ENGINE_LISTEN", engine_settings)
            self._engine.settings.setdefault("HOST_ENGINE_ROOT", str(root))
            engine_url = self._engine.grpc_url
        if bridge_address is None:
            assert engine_url is not None
            self._bridge = self._program("bridge", "engine_bridge", "ENGINE_BRIDGE_LISTEN", bridge_settings)
            self._bridge.settings.setdefault("ENGINE_BRIDGE_POLL_S", str(poll_s))
            self.point_bridge_at(engine_url)
            bridge_address = self._bridge.address
        self._bridge_address = bridge_address
        self._gateway_settings = dict(gateway_settings or {})
        if heartbeat_s is not None:
            self._gateway_settings.setdefault("WS_GATEWAY_HEARTBEAT_S", str(heartbeat_s))
        if stall_s is not None:
            self._gateway_settings.setdefault("WS_GATEWAY_STALL_S", str(stall_s))
        for _ in range(gateways):
            self.add_gateway()

    @property
    def engine(self) -> Program:
        """The host engine. AssertionError: this stack has none."""
        assert self._engine is not None, "this stack uses an engine that it did not start"
        return self._engine

    @property
    def bridge(self) -> Program:
        """The bridge. AssertionError: this stack has none."""
        assert self._bridge is not None, "this stack uses a bridge that it did not start"
        return self._bridge

    @property
    def gateway(self) -> Program:
        """The first gateway."""
        return self.gateways[0]

    @property
    def programs(self) -> list[Program]:
        """All of them, in the order in which they are started."""
        return [program for program in (self._engine, self._bridge, *self.gateways) if program is not None]

    def add_gateway(self, **settings: str) -> Program:
        """One more gateway; the caller starts it if the stack was started already."""
        program = self._program(
            f"gateway-{len(self.gateways)}",
            "ws_gateway",
            "WS_GATEWAY_LISTEN",
            {"WS_GATEWAY_BRIDGE": f"grpc://{self._bridge_address}", **self._gateway_settings, **settings},
            role="gateway",
        )
        self.gateways.append(program)
        return program

    def point_bridge_at(self, engine_url: str) -> None:
        """From its next start the bridge uses this engine (say, a proxy's address)."""
        self.bridge.settings["ENGINE_BRIDGE_ENGINE"] = engine_url

    def point_gateways_at(self, bridge_address: str) -> None:
        """From their next start all gateways use the bridge at this HOST:PORT (say, a proxy's address)."""
        self._bridge_address = bridge_address
        for gateway in self.gateways:
            gateway.settings["WS_GATEWAY_BRIDGE"] = f"grpc://{bridge_address}"

    def ws_url(self, gateway: int = 0) -> str:
        """The WebSocket URL of a gateway."""
        return f"ws://{self.gateways[gateway].address}/ws"

    def http_url(self, path: str = "/", gateway: int = 0) -> str:
        """An HTTP URL of a gateway."""
        return f"http://{self.gateways[gateway].address}{path}"

    async def get(self, path: str, gateway: int = 0, *, within_s: float = 5.0) -> tuple[int, str]:
        """Status and body of a GET to a gateway, from the gateway's own network namespace."""
        answer = await get(
            self.http_url(path, gateway), namespace=self.gateways[gateway].place.namespace, within_s=within_s
        )
        return answer.status, answer.text

    async def wait_ready(self, *, within_s: float = 20.0) -> None:
        """Waits until every gateway's /readyz says 200. AssertionError, with its last answer: not in time."""
        deadline_s = time.monotonic() + within_s
        for index in range(len(self.gateways)):
            answer: object = "nothing"
            while True:
                try:
                    status, answer = await self.get("/readyz", index)
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    status, answer = 0, repr(error)
                if status == 200:
                    break
                if time.monotonic() > deadline_s:
                    tails = "\n".join(program.stderr_tail(15) for program in self.programs)
                    raise AssertionError(f"{self.gateways[index].name} not ready in {within_s} s: {answer}\n{tails}")
                await asyncio.sleep(0.05)  # the loop above is the deadline; /readyz can only be asked

    async def __aenter__(self) -> Self:
        try:
            for program in self.programs:
                await program.start()
            if self._wait_ready:
                await self.wait_ready()
        except BaseException as error:
            await end_all(self.programs, error)
            self._remove_directory()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await end_all(self.programs, error, allowed=self.allowed_complaints)
        finally:
            self._remove_directory()

    def _program(
        self, name: str, module: str, listen: str, settings: Mapping[str, str] | None, role: str | None = None
    ) -> Program:
        place = self._places.get(role or name)
        insecure = {}
        if place is not None and place.namespace is not None:
            # other machines could reach the address, if the network were not the test's own
            insecure = {listen.removesuffix("LISTEN") + "INSECURE": "true"}
        return Program(
            name, module, listen=listen, directory=self.directory, settings=insecure | dict(settings or {}), place=place
        )
