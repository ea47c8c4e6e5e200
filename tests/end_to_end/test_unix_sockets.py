"""Engine, bridge and gateway that reach one another over Unix sockets, and consumers that do."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.end_to_end.grpcurl import grpcurl
from tests.kit.program import Program, end_all

SERVICE = "engine_events.v1.EventService"


class Local:
    """The three programs, with no port open."""

    def __init__(self, directory: Path) -> None:
        root = directory / "engine-files"
        root.mkdir()
        self.engine_path, self.bridge_path, self.gateway_path = (
            directory / f"{name}.sock" for name in ("engine", "bridge", "gateway")
        )
        self.engine = self._program(directory, "host_engine", "HOST_ENGINE", self.engine_path, ROOT=str(root))
        self.bridge = self._program(
            directory,
            "engine_bridge",
            "ENGINE_BRIDGE",
            self.bridge_path,
            ENGINE=f"unix:{self.engine_path}",
            POLL_S="0.3",
        )
        self.gateway = self._program(
            directory, "ws_gateway", "WS_GATEWAY", self.gateway_path, BRIDGE=f"unix:{self.bridge_path}"
        )
        self.programs = [self.engine, self.bridge, self.gateway]

    @staticmethod
    def _program(directory: Path, module: str, prefix: str, listen: Path, **settings: str) -> Program:
        named = {f"{prefix}_{name}": value for name, value in settings.items()}
        return Program(
            module,
            module,
            listen=f"{prefix}_LISTEN",
            directory=directory,
            settings={**named, f"{prefix}_LISTEN": f"unix:{listen}"},
        )

    async def start(self, program: Program) -> None:
        await program.start(wait=False)
        await program.wait_logged("listening", count=len(program.logs("listening")) + 1, within_s=20)


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Local]:
    made = Local(tmp_path)
    error: BaseException | None = None
    try:
        for program in made.programs:
            await made.start(program)
        yield made
    except BaseException as caught:
        error = caught
        raise
    finally:
        await end_all(made.programs, error)
    for path in (made.engine_path, made.bridge_path, made.gateway_path):
        assert not path.exists(), "each program removes its socket at the end"


async def until_fresh(local: Local) -> None:
    """Returns when the gateway shows a state that is not stale."""
    connector = aiohttp.UnixConnector(str(local.gateway_path))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        asyncio.timeout(15),
        session.ws_connect("http://localhost/ws") as browser,
    ):
        while True:
            message = await browser.receive_json()
            if message["type"] == "system.status" and not message["data"]["stale"]:
                return


async def test_events_go_all_the_way_with_no_port_open(local: Local) -> None:
    await until_fresh(local)
    for path in (local.engine_path, local.bridge_path, local.gateway_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


async def test_grpcurl_reads_the_bridge_over_its_socket(local: Local) -> None:
    assert SERVICE in await grpcurl(str(local.bridge_path), "list", flags=["-plaintext", "-unix"])


async def test_killed_programs_are_found_again_at_their_sockets(local: Local) -> None:
    """What they left is taken over."""
    await until_fresh(local)
    for program, path in ((local.engine, local.engine_path), (local.bridge, local.bridge_path)):
        await program.kill()
        assert path.exists()
        await local.start(program)
        await until_fresh(local)


async def test_second_program_on_a_socket_refuses_in_one_line(local: Local, tmp_path: Path) -> None:
    for first in local.programs:
        directory = tmp_path / f"second-{first.name}"
        directory.mkdir()
        second = Program(
            first.name,
            first.name,
            listen=next(name for name in first.settings if name.endswith("_LISTEN")),
            directory=directory,
            settings={**first.settings, "HOST_ENGINE_ROOT": str(directory)},
        )
        await second.start(wait=False)
        try:
            assert await second.wait_ended(within_s=20) == 1
        finally:
            await second.kill()
        (line,) = [line for line in second.stderr().splitlines() if not line.startswith("{")]
        assert line.endswith("another program serves there")
    await until_fresh(local)
