"""Where gRPC servers listen: ports and Unix sockets, in the clear and over TLS, with real clients."""

import socket
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from engine_runtime.grpc_defaults import SERVER_OPTIONS, bind
from engine_runtime.process import StartupError
from engine_runtime.tls import TlsFiles
from tests.kit.certificates import Authority, Pair, shown_by
from tests.kit.waiting import until, until_answer


@asynccontextmanager
async def serving(listen: str = "127.0.0.1:0", tls: TlsFiles | None = None) -> AsyncIterator[str]:
    """A health server; gives the address of it."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = bind(server, listen, tls)
    await server.start()
    try:
        yield listen if listen.startswith("unix:") else f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def ask(channel: grpc.aio.Channel) -> str:
    """ "SERVING", or how the call failed."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def answer_to(address: str, credentials: grpc.ChannelCredentials) -> str:
    async with grpc.aio.secure_channel(address, credentials) as channel:
        return await ask(channel)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.issue("server")


async def test_client_with_a_certificate_of_the_authority_is_served_and_no_other(
    authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    friend, stranger = authority.issue("client", "client.example"), other.issue("client", "client.example")
    async with serving(tls=authority.server(pair)) as address:
        assert await answer_to(address, authority.channel_credentials(friend)) == "SERVING"
        assert await answer_to(address, authority.channel_credentials()) == "UNAVAILABLE"
        assert await answer_to(address, authority.channel_credentials(stranger)) == "UNAVAILABLE"
        assert await answer_to(address, other.channel_credentials(friend)) == "UNAVAILABLE"
        async with grpc.aio.insecure_channel(address) as channel:
            assert await ask(channel) == "UNAVAILABLE"


async def test_client_shows_nothing_where_no_authority_is_set(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    async with serving(tls=TlsFiles(pair.cert, pair.key, None)) as address:
        assert await answer_to(address, authority.channel_credentials()) == "SERVING"
        assert await answer_to(address, Authority(tmp_path, "other").channel_credentials()) == "UNAVAILABLE"


async def test_new_connections_are_shown_the_new_certificate_and_old_ones_stay(
    authority: Authority, pair: Pair
) -> None:
    friend = authority.issue("client", "client.example")
    async with (
        serving(tls=authority.server(pair)) as address,
        grpc.aio.secure_channel(address, authority.channel_credentials(friend)) as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watching = stub.Watch(health_pb2.HealthCheckRequest())
        await watching.read()
        before = await shown_by(address)
        authority.write(pair)
        await changed(address, before)
        assert await answer_to(address, authority.channel_credentials(friend)) == "SERVING"
        assert await ask(channel) == "SERVING"
        assert not watching.done(), "a stream goes on over the connection that it has"


async def test_authority_of_clients_is_exchanged_too(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    newcomer = other.issue("client", "client.example")
    credentials = grpc.ssl_channel_credentials(
        authority.file.read_bytes(), newcomer.key.read_bytes(), newcomer.cert.read_bytes()
    )
    clients = tmp_path / "clients.pem"
    clients.write_bytes(authority.file.read_bytes())
    async with serving(tls=TlsFiles(pair.cert, pair.key, clients)) as address:
        assert await answer_to(address, credentials) == "UNAVAILABLE"
        clients.write_bytes(authority.file.read_bytes() + other.file.read_bytes())
        await until_answer(
            lambda: answer_to(address, credentials),
            lambda answer: answer == "SERVING",
            within_s=10,
            what="the newcomer is served",
        )


async def test_bad_new_files_leave_the_old_ones_in_force(authority: Authority, pair: Pair) -> None:
    friend = authority.issue("client", "client.example")
    async with serving(tls=authority.server(pair)) as address:
        before = await shown_by(address)
        pair.cert.write_text("nonsense")
        looked = await seen_after_a_look(address)
        assert looked == before
        assert await answer_to(address, authority.channel_credentials(friend)) == "SERVING"
        authority.write(pair)
        await changed(address, before)


async def test_bad_files_at_the_start_are_one_clear_error(authority: Authority, pair: Pair) -> None:
    pair.key.write_text("nonsense")
    with pytest.raises(StartupError, match="cannot use the certificate"):
        async with serving(tls=authority.server(pair)):
            pass


async def test_port_in_use_is_one_clear_error_with_tls_too(authority: Authority, pair: Pair) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        for tls in (None, authority.server(pair)):
            with pytest.raises(StartupError, match=f"cannot listen on {listen}: the port is in use"):
                async with serving(listen, tls):
                    pass


async def test_unix_socket_serves_its_group_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    async with serving(f"unix:{path}") as address, grpc.aio.insecure_channel(address) as channel:
        assert await ask(channel) == "SERVING"
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()


async def test_unix_socket_of_a_dead_program_is_taken_over_and_of_a_living_one_is_not(tmp_path: Path) -> None:
    """gRPC alone would take it from anybody."""
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    async with serving(f"unix:{path}") as address:
        with pytest.raises(StartupError, match="another program serves there"):
            async with serving(f"unix:{path}"):
                pass
        async with grpc.aio.insecure_channel(address) as channel:
            assert await ask(channel) == "SERVING"


async def test_unix_socket_in_a_folder_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"cannot listen on unix:.*the folder is not there or not ours"):
        async with serving(f"unix:{tmp_path}/missing/a.sock"):
            pass


async def changed(address: str, before: bytes) -> None:
    """Returns when the server shows another certificate; it looks at its files once a second, when somebody comes."""
    await until_answer(
        lambda: shown_by(address), lambda shown: shown != before, within_s=10, what="another certificate is shown"
    )


async def seen_after_a_look(address: str) -> bytes:
    """What the server shows when its files have certainly been looked at: more than a second from now."""
    began_s = time.monotonic()
    await until(lambda: time.monotonic() - began_s > 1.1, within_s=5, what="time for a look")
    return await shown_by(address)
