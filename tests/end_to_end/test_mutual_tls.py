"""Engine, bridge and gateway that show one another certificates, and consumers that have to as well."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Connect
from tests.end_to_end.grpcurl import grpcurl
from tests.kit.certificates import Authority, Pair, shown_by
from tests.kit.client import Recorder
from tests.kit.programs import Program, Stack
from tests.kit.waiting import until_answer

SERVICE = "engine_events.v1.EventService"


@dataclass
class Secured:
    """A stack in which every link wants certificates of one authority."""

    stack: Stack
    authority: Authority
    pairs: dict[str, Pair]

    @property
    def wss_url(self) -> str:
        return f"wss://{self.stack.gateway.address}/ws"

    async def connect(self, connect: Connect) -> Recorder:
        return await connect(self.wss_url, types=["*"], tls=self.authority.client_context())

    def grpcurl_flags(self, pair: Pair | None, authority: Authority | None = None) -> list[str]:
        shown = [] if pair is None else ["-cert", str(pair.cert), "-key", str(pair.key)]
        return ["-connect-timeout", "3", "-cacert", str((authority or self.authority).file), *shown]


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Secured]:
    authority = Authority(tmp_path)
    pairs = {name: authority.issue(name) for name in ("engine", "bridge", "gateway", "consumer")}

    def server(prefix: str, name: str) -> dict[str, str]:
        return {f"{prefix}_TLS_CERT": str(pairs[name].cert), f"{prefix}_TLS_KEY": str(pairs[name].key)}

    def client(prefix: str, name: str) -> dict[str, str]:
        return {**server(prefix, name), f"{prefix}_TLS_CA": str(authority.file)}

    stack = Stack(
        poll_s=0.3,
        engine_settings={**server("HOST_ENGINE", "engine"), "HOST_ENGINE_TLS_CLIENT_CA": str(authority.file)},
        bridge_settings={
            **server("ENGINE_BRIDGE", "bridge"),
            "ENGINE_BRIDGE_TLS_CLIENT_CA": str(authority.file),
            **client("ENGINE_BRIDGE_ENGINE", "bridge"),
        },
        gateway_settings={**server("WS_GATEWAY", "gateway"), **client("WS_GATEWAY_BRIDGE", "gateway")},
        wait_ready=False,  # /readyz is behind TLS
    )
    stack.point_bridge_at(f"grpcs://{stack.engine.address}")
    stack.gateway.settings["WS_GATEWAY_BRIDGE"] = f"grpcs://{stack.bridge.address}"
    async with stack:
        await stack.gateway.wait_logged("bridge_connected", within_s=10)
        yield Secured(stack, authority, pairs)


async def test_events_go_all_the_way_over_mutual_tls(secured: Secured, connect: Connect) -> None:
    """And none of the programs talks to anybody who shows nothing."""
    client = await secured.connect(connect)
    status = await client.wait_for(lambda m: m["type"] == "system.status" and not m["data"]["stale"], within_s=10)
    assert status.message["data"]["hostname"]
    for program in (secured.stack.engine, secured.stack.bridge):
        await grpcurl(program.address, "list", flags=secured.grpcurl_flags(None), fails=True)
        await grpcurl(program.address, "list", flags=["-plaintext", "-connect-timeout", "3"], fails=True)


async def test_grpcurl_with_a_certificate_is_served_by_the_bridge_and_with_a_strangers_not(
    secured: Secured, tmp_path: Path
) -> None:
    address, consumer = secured.stack.bridge.address, secured.pairs["consumer"]
    flags = secured.grpcurl_flags(consumer)
    assert SERVICE in (await grpcurl(address, "list", flags=flags)).split()
    status = json.loads(await grpcurl(address, f"{SERVICE}/GetBridgeStatus", flags=flags))
    assert status["engine"].startswith("grpcs://")
    other = Authority(tmp_path, "other")
    for wrong in (secured.grpcurl_flags(other.issue("consumer")), secured.grpcurl_flags(consumer, other)):
        await grpcurl(address, "list", flags=wrong, fails=True)


async def test_certificates_are_exchanged_while_everything_runs(secured: Secured, connect: Connect) -> None:
    """All of them. Nobody is disconnected, and after an outage the programs find one another with the new ones."""
    client = await secured.connect(connect)
    await client.wait_for("system.status", within_s=10)
    servers = [secured.stack.engine, secured.stack.bridge, secured.stack.gateway]
    before = {program.address: await shown_by(program.address) for program in servers}
    for pair in secured.pairs.values():
        secured.authority.write(pair)
    for program in servers:
        await _shows_another(program, before[program.address])
    mark = client.mark()
    await client.wait_for(lambda m: m["type"] == "system.status" and not m["data"]["stale"], since=mark)
    assert client.closed is None
    for program in servers:
        assert len(program.logs("listening")) == 1
    assert not secured.stack.bridge.logs("engine_channel_renewed"), "what works is left alone"
    await secured.stack.bridge.restart()
    mark = client.mark()
    await client.wait_for(lambda m: m["type"] == "system.status" and not m["data"]["stale"], since=mark, within_s=15)
    assert client.closed is None
    assert await client.ask({"type": "ping"}, "pong")


async def test_clients_whose_certificates_were_wrong_come_in_once_they_are_right(
    secured: Secured, connect: Connect, tmp_path: Path
) -> None:
    """As when they had expired. The gateway and the bridge are not started anew."""
    stranger = Authority(tmp_path, "stranger")
    for name in ("gateway", "bridge"):
        # these are servers too, with the same files; the connections that they have go on
        stranger.write(secured.pairs[name])
    await secured.stack.engine.kill()
    await secured.stack.bridge.wait_logged("engine_channel_renewed", within_s=10)
    await secured.stack.engine.start()
    failures = len(secured.stack.bridge.logs("breaker_changed"))
    await secured.stack.bridge.wait_logged("breaker_changed", count=failures + 1, within_s=30)
    assert not secured.stack.bridge.logs("source_recovered")
    for name in ("gateway", "bridge"):
        secured.authority.write(secured.pairs[name])
    await secured.stack.bridge.wait_logged("source_recovered", within_s=15)
    watching = await secured.connect(connect)
    await watching.wait_for(lambda m: m["type"] == "system.status" and not m["data"]["stale"], within_s=10)


async def test_bad_file_later_leaves_the_old_one_in_force_and_is_logged(secured: Secured) -> None:
    bridge = secured.stack.bridge
    secured.pairs["bridge"].key.write_text("nonsense")

    async def is_logged() -> bool:
        await shown_by(bridge.address)
        return bool(bridge.logs("certificate_not_reloaded"))

    await until_answer(is_logged, bool, within_s=10, what="the bridge logs that it cannot use the new file")
    line = bridge.logs("certificate_not_reloaded")[0]
    assert (line["program"], line["level"]) == ("engine_bridge", "error")
    assert line["error"] == "no certificate chain and key in PEM"
    assert SERVICE in await grpcurl(bridge.address, "list", flags=secured.grpcurl_flags(secured.pairs["consumer"]))


@pytest.mark.parametrize("program", ["engine", "bridge", "gateway"])
@pytest.mark.parametrize("wrong", ["missing", "nonsense", "mismatched"])
async def test_program_does_not_start_with_files_that_it_cannot_use(program: str, wrong: str, tmp_path: Path) -> None:
    """One line that names the file, and status 1."""
    authority = Authority(tmp_path)
    pair, other = authority.issue("a"), authority.issue("b")
    key = {"missing": tmp_path / "none.key", "nonsense": tmp_path / "nonsense.key", "mismatched": other.key}[wrong]
    (tmp_path / "nonsense.key").write_text("nonsense")
    stack = Stack()
    chosen, prefix = {
        "engine": (stack.engine, "HOST_ENGINE"),
        "bridge": (stack.bridge, "ENGINE_BRIDGE"),
        "gateway": (stack.gateway, "WS_GATEWAY"),
    }[program]
    chosen.settings |= {f"{prefix}_TLS_CERT": str(pair.cert), f"{prefix}_TLS_KEY": str(key)}
    assert str(key) in await _refusal(chosen, status=1)


@pytest.mark.parametrize(("program", "prefix"), [("bridge", "ENGINE_BRIDGE_ENGINE"), ("gateway", "WS_GATEWAY_BRIDGE")])
async def test_program_does_not_start_with_an_authority_that_it_cannot_use(
    program: str, prefix: str, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    stack = Stack()
    chosen = stack.bridge if program == "bridge" else stack.gateway
    chosen.settings |= {prefix: "grpcs://127.0.0.1:1", f"{prefix}_TLS_CA": str(tmp_path / "ca.pem")}
    assert "no certificate in PEM" in await _refusal(chosen, status=1)


async def test_address_that_others_can_reach_is_listened_on_with_client_certificates(tmp_path: Path) -> None:
    """That is who they are. Without the authority it is refused, certificate or not."""
    authority = Authority(tmp_path)
    pair = authority.issue("bridge")
    stack = Stack()
    bridge = stack.bridge
    bridge.settings |= {
        "ENGINE_BRIDGE_LISTEN": f"0.0.0.0:{bridge.port}",
        "ENGINE_BRIDGE_TLS_CERT": str(pair.cert),
        "ENGINE_BRIDGE_TLS_KEY": str(pair.key),
    }
    assert "set ENGINE_BRIDGE_TLS_CERT, _KEY and _CLIENT_CA" in await _refusal(bridge, status=2)
    bridge.settings["ENGINE_BRIDGE_TLS_CLIENT_CA"] = str(authority.file)
    async with bridge:
        flags = ["-cacert", str(authority.file), "-cert", str(pair.cert), "-key", str(pair.key)]
        assert SERVICE in await grpcurl(bridge.address, "list", flags=flags)


async def _shows_another(program: Program, before: bytes) -> None:
    await until_answer(
        lambda: shown_by(program.address),
        lambda shown: shown != before,
        within_s=10,
        what=f"{program.name} shows its new certificate",
    )


async def _refusal(program: Program, *, status: int) -> str:
    """The one line with which a program does not start."""
    await program.start(wait=False)
    try:
        assert await program.wait_ended(within_s=20) == status
    finally:
        await program.kill()
    (line,) = program.stderr().splitlines()
    return line
