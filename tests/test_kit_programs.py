"""Programs are started, hurt, watched and always ended; the kit's own numbered engine is the program here."""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest
from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2, engine_service_pb2_grpc

from tests.kit.netns import Network
from tests.kit.programs import Program, Stack, complaints_in, free_port
from tests.kit.waiting import until


def numbered_engine(directory: Path, **more: object) -> Program:
    return Program(
        "numbered",
        "tests.kit.scripted_engine",
        listen="--listen",
        arguments=("--rate", "100", "--quiet-s", "0.2"),
        directory=directory,
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture
async def program(tmp_path: Path) -> AsyncIterator[Program]:
    async with numbered_engine(tmp_path) as started:
        yield started


async def watched(address: str, count: int, after: events_pb2.Position | None = None) -> tuple[list[str], str]:
    """The next notifications of an engine, and its epoch."""
    texts: list[str] = []
    epoch = ""
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    async with asyncio.timeout(5), grpc.aio.insecure_channel(address, options=options) as channel:
        stub = engine_service_pb2_grpc.EngineServiceStub(channel)
        async for response in stub.WatchEvents(engine_service_pb2.WatchEventsRequest(after=after)):
            epoch = response.position.epoch
            texts += [event.notification.message for event in response.events]
            if len(texts) >= count:
                break
    return texts, epoch


async def test_numbered_engine_counts_and_restarts_on_its_port(program: Program) -> None:
    """It publishes n=1, n=2 … without holes; killed and started again it is there again, under another epoch."""
    texts, epoch = await watched(program.address, 10)
    first = int(texts[0].removeprefix("n="))
    assert texts == [f"n={number}" for number in range(first, first + len(texts))]
    ended = await program.kill()
    assert (ended.status, program.is_running) == (-signal.SIGKILL, False)
    address = program.address
    await program.restart()
    assert program.address == address
    again, other_epoch = await watched(program.address, 1)
    assert again
    assert other_epoch != epoch


async def test_stopped_program_is_silent_until_continued(program: Program) -> None:
    """SIGSTOP freezes it with its sockets open; SIGCONT lets it answer."""
    program.stop()
    with socket.create_connection((program.place.host, program.port), timeout=2) as peer:
        peer.settimeout(0.2)
        with pytest.raises(TimeoutError):
            peer.recv(1)
        program.cont()
        peer.settimeout(5)
        assert peer.recv(1)  # an HTTP/2 server speaks first


async def test_terminate_tells_status_and_seconds(program: Program) -> None:
    """SIGTERM, and how it ended."""
    ended = await program.terminate()
    assert ended.status == 0
    assert 0 < ended.seconds < 6
    assert program.status == 0


async def test_proc_figures_are_those_of_the_program(program: Program) -> None:
    """Memory, threads and descriptors are plausible, and follow what happens."""
    assert 10 << 20 < program.rss_bytes() < 500 << 20
    assert 1 <= program.thread_count() < 100
    assert program.cpu_s() > 0
    before = program.descriptor_count()
    peers = [socket.create_connection((program.place.host, program.port)) for _ in range(10)]
    await until(lambda: program.descriptor_count() > before + 5, within_s=2, what="more descriptors")
    for peer in peers:
        peer.close()
    await until(lambda: program.descriptor_count() <= before, within_s=2, what="the descriptors are gone")
    program.limit_descriptors(before + 3)
    assert resource.prlimit(program.pid, resource.RLIMIT_NOFILE)[0] == before + 3


async def test_program_that_cannot_start_is_diagnosed(program: Program, tmp_path: Path) -> None:
    """The failure shows what the program said."""
    with pytest.raises(AssertionError, match=r"second ended with status 1(.|\n)*cannot listen"):
        await Program(
            "second", "tests.kit.scripted_engine", listen="--listen", directory=tmp_path, port=program.port
        ).start()


async def test_end_checks_the_standard_error(tmp_path: Path) -> None:
    """A program that ended with a traceback, or with an error status, fails the test that used it."""
    program = Program("broken", "tests.kit.scripted_engine", listen="--listen", directory=tmp_path)

    async def use() -> None:
        async with program:
            with program.stderr_path.open("a") as stderr:
                stderr.write("Traceback (most recent call last):\n  boom\n")

    with pytest.raises(AssertionError, match="broken: Traceback"):
        await use()
    assert not program.is_running


async def test_end_is_sure_when_the_test_fails(tmp_path: Path) -> None:
    """Even a frozen program is gone after a failure, and the failure carries its last words."""
    program = numbered_engine(tmp_path)

    async def use() -> None:
        async with program:
            program.stop()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        await use()
    assert not program.is_running
    assert "numbered's standard error" in caught.value.__notes__[0]


def test_program_dies_with_the_test_process(tmp_path: Path) -> None:
    """When the test process is killed, the kernel kills what it had started."""
    script = (
        "import asyncio, pathlib, os\n"
        "from tests.test_kit_programs import numbered_engine\n"
        f"program = numbered_engine(pathlib.Path({str(tmp_path)!r}))\n"
        "asyncio.run(program.start())\n"
        "print(program.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    repository = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=repository, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    asyncio.run(until(lambda: not _is_alive(pid), within_s=5, what="the orphan is gone"))


def network_of(pid: int) -> Path:
    """The network namespace of a process."""
    return Path(f"/proc/{pid}/ns/net").readlink()


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_log_lines_are_parsed(tmp_path: Path) -> None:
    """JSON lines are events; other lines are left out, and half a line does not hurt."""
    program = Program("quiet", "none", listen="--listen", directory=tmp_path)
    assert program.logs() == []
    program.stderr_path.write_text('{"event": "a", "n": 1}\nhello\n{"event": "b"}\n{"event": "a", "n": 2}\n{"eve')
    assert [line["event"] for line in program.logs()] == ["a", "b", "a"]
    assert (await program.wait_logged("a", count=2))["n"] == 2
    with pytest.raises(AssertionError, match="quiet logs b 2 times"):
        await program.wait_logged("b", count=2, within_s=0.05)


@pytest.mark.parametrize(
    ("line", "is_complaint"),
    [
        ("Traceback (most recent call last):", True),
        ('{"event": "x", "exception": "Traceback (most recent call last):\\n"}', True),
        ("Task exception was never retrieved", True),
        ("RuntimeWarning: coroutine 'x' was never awaited", True),
        ("Task was destroyed but it is pending!", True),
        ("Unclosed client session", True),
        ('{"event": "client_closed", "level": "info"}', False),
        ('{"event": "engine_unreachable", "error": "connection refused"}', False),
    ],
)
def test_complaint_is_told_from_ordinary_lines(line: str, is_complaint: bool) -> None:
    """Mistakes in the program are complaints; faults that it reports are not."""
    assert bool(complaints_in(f"before\n{line}\nafter")) is is_complaint


def test_complaint_holds_the_whole_traceback() -> None:
    """Up to the next line of the log: without it nobody can find the mistake."""
    trace = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: no'
    assert complaints_in(f'{{"event": "a"}}\n{trace}\n{{"event": "b"}}\nmore') == [trace]


def test_call_that_was_cancelled_before_it_began_is_no_complaint() -> None:
    """gRPC prints that by itself; the same error anywhere else is one."""
    grpc = '  File "server.pyx.pxi", line 812, in grpc._cython.cygrpc._schedule_rpc_coro'
    ours = '  File "feed.py", line 1, in beyond'
    trace = "Traceback (most recent call last):\n{}\nasyncio.exceptions.CancelledError\n{{}}"
    assert complaints_in(trace.format(grpc)) == []
    assert len(complaints_in(trace.format(f"{grpc}\n{ours}"))) == 1


def test_free_ports_are_free_and_differ() -> None:
    """No port is given twice, and none that the kernel might take for an outgoing connection."""
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert max(ports) < 32_768


@pytest.mark.netns
async def test_program_runs_in_a_namespace(tmp_path: Path) -> None:
    """It listens on the namespace's address, is seen as ready, and is out of reach from here."""
    with Network("a") as network:
        async with numbered_engine(tmp_path, place=network.place("a")) as program:
            assert program.address.startswith(network.address("a"))
            assert network_of(program.pid) != network_of(os.getpid())


def test_stack_wires_its_programs() -> None:
    """Addresses are known before the start, and each part can be pointed elsewhere."""
    stack = Stack(gateways=2, poll_s=0.25, heartbeat_s=1, gateway_settings={"WS_GATEWAY_MAX_CLIENTS": "7"})
    assert [program.name for program in stack.programs] == ["engine", "bridge", "gateway-0", "gateway-1"]
    assert stack.bridge.settings["ENGINE_BRIDGE_ENGINE"] == stack.engine.grpc_url
    assert stack.bridge.settings["ENGINE_BRIDGE_POLL_S"] == "0.25"
    assert stack.gateways[1].settings["WS_GATEWAY_BRIDGE"] == stack.bridge.grpc_url
    assert stack.gateways[1].settings["WS_GATEWAY_MAX_CLIENTS"] == "7"
    assert stack.ws_url(1) == f"ws://{stack.gateways[1].address}/ws"
    stack.point_bridge_at("grpc://127.0.0.1:1")
    stack.point_gateways_at("127.0.0.1:2")
    assert stack.bridge.settings["ENGINE_BRIDGE_ENGINE"] == "grpc://127.0.0.1:1"
    assert stack.add_gateway().settings["WS_GATEWAY_BRIDGE"] == "grpc://127.0.0.1:2"


def test_stack_leaves_out_what_is_replaced() -> None:
    """With an engine of the test's own, or a bridge, none is started."""
    assert [program.name for program in Stack(engine_url="grpc://127.0.0.1:1").programs] == ["bridge", "gateway-0"]
    alone = Stack(bridge_address="127.0.0.1:1")
    assert [program.name for program in alone.programs] == ["gateway-0"]
    assert alone.gateway.settings["WS_GATEWAY_BRIDGE"] == "grpc://127.0.0.1:1"
    with pytest.raises(AssertionError, match="did not start"):
        _ = alone.bridge
