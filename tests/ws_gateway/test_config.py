"""The settings: the documented names and defaults, and what is refused with which words."""

from pathlib import Path

import pytest

from engine_runtime.settings import load
from ws_gateway.config import Settings
from ws_gateway.limits import ClientLimits
from ws_gateway.protocol import Limits


def loaded(*argv: str) -> Settings:
    return load(Settings, "ws_gateway", argv)


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        loaded(*argv)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_defaults_are_the_documented_ones() -> None:
    settings = loaded()
    assert (settings.listen, settings.bridge) == ("127.0.0.1:12080", "grpc://127.0.0.1:50051")
    assert (settings.heartbeat_s, settings.stall_s) == (30, 30)
    assert (settings.max_message_bytes, settings.max_clients, settings.max_clients_per_address) == (65_536, 10_000, 256)
    assert (settings.tls_cert, settings.tls_key) == (None, None)
    assert (settings.headers_s, settings.tls_handshake_s, settings.credentials_s, settings.close_s) == (10, 10, 5, 1)
    assert (settings.max_json_depth, settings.max_subscriptions, settings.max_bad_messages) == (16, 64, 10)
    assert (settings.messages_per_s, settings.messages_burst) == (20, 100)
    assert (settings.send_buffer_bytes, settings.high_water_bytes) == (65_536, 65_536)


def test_defaults_are_those_of_the_parts() -> None:
    """Each part has its own, for whoever uses it alone."""
    settings = loaded()
    assert ClientLimits() == ClientLimits(
        message_bytes=settings.max_message_bytes,
        messages_per_s=settings.messages_per_s,
        messages_burst=settings.messages_burst,
        bad_messages=settings.max_bad_messages,
        credentials_s=settings.credentials_s,
        unsent_bytes=settings.high_water_bytes,
        close_s=settings.close_s,
    )
    assert Limits() == Limits(depth=settings.max_json_depth, subscriptions=settings.max_subscriptions)


def test_flag_comes_before_the_environment_and_that_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WS_GATEWAY_HEARTBEAT_S", "7")
    monkeypatch.setenv("WS_GATEWAY_STALL_S", "8")
    settings = loaded("--stall-s", "9")
    assert (settings.heartbeat_s, settings.stall_s, settings.max_clients) == (7, 9, 10_000)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        loaded().heartbeat_s = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "url",
    ["grpc://127.0.0.1:50051", "grpc://bridge.local:1", "grpc://[::1]:50051/", "grpcs://a:1", "unix:/run/b.sock"],
)
def test_bridge_is_a_grpc_address(url: str) -> None:
    assert loaded("--bridge", url).bridge == url


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:50051", "127.0.0.1:50051", "grpc://", "grpc://host", "grpc://host:99999", "grpc://a:1/x"]
)
def test_other_address_of_a_bridge_is_refused_by_name(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = refusal(capsys, "--bridge", url)
    assert text.startswith(f"ws_gateway: WS_GATEWAY_BRIDGE={url!r}: ")
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--listen", "nowhere"),
        ("--listen", "127.0.0.1:65536"),
        ("--heartbeat-s", "0.5"),
        ("--heartbeat-s", "nan"),
        ("--stall-s", "0"),
        ("--max-message-bytes", "1"),
        ("--max-clients", "0"),
        ("--max-clients-per-address", "-1"),
        ("--history-events", "0"),
        ("--history-bytes", "1"),
        ("--log-level", "loud"),
        ("--headers-s", "0"),
        ("--tls-handshake-s", "0"),
        ("--credentials-s", "nan"),
        ("--close-s", "-1"),
        ("--max-json-depth", "2"),
        ("--max-subscriptions", "7"),
        ("--messages-per-s", "0"),
        ("--messages-burst", "0"),
        ("--max-bad-messages", "0"),
        ("--send-buffer-bytes", "1"),
        ("--high-water-bytes", "1"),
        ("--trusted-proxies", '["unix:"]'),
    ],
)
def test_bad_value_is_one_line_that_names_the_setting(
    flag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = refusal(capsys, flag, value)
    assert text.startswith("ws_gateway: WS_GATEWAY_" + flag[2:].upper().replace("-", "_"))
    assert text.count("\n") == 1


@pytest.mark.parametrize("name", ["cert", "key"])
def test_certificate_and_key_go_together(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "go together" in refusal(capsys, f"--tls-{name}", str(tmp_path / "one.pem"))
    settings = loaded("--tls-cert", "a.pem", "--tls-key", "b.pem")
    assert (settings.tls_cert, settings.tls_key) == (Path("a.pem"), Path("b.pem"))


def test_unix_socket_is_no_address_that_others_can_reach(capsys: pytest.CaptureFixture[str]) -> None:
    assert loaded("--listen", "unix:/run/g.sock", "--trusted-proxies", '["unix","10.0.0.0/8"]').listen
    assert "others can reach this address" in refusal(capsys, "--listen", "0.0.0.0:1")
    assert "for HOST:PORT" in refusal(capsys, "--listen", "unix:/g", "--tls-cert", "a.pem", "--tls-key", "b.pem")


def test_certificates_for_a_bridge_in_the_clear_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody who set them must find out later that everything went in the clear."""
    text = refusal(capsys, "--bridge-tls-ca", "ca.pem")
    assert text.startswith("ws_gateway: WS_GATEWAY_BRIDGE=grpc://127.0.0.1:50051 is not encrypted")
    assert loaded("--bridge", "grpcs://a:1", "--bridge-tls-ca", "ca.pem").bridge_tls_ca == Path("ca.pem")
    assert "go together" in refusal(capsys, "--bridge", "grpcs://a:1", "--bridge-tls-cert", "a.pem")


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
