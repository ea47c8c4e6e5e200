"""Settings from flags and variables: good ones, and one clear line for each bad one."""

import pytest

from engine_bridge.config import Settings
from engine_runtime.settings import load


def read(*flags: str) -> Settings:
    return load(Settings, "engine_bridge", flags)


def test_defaults_are_those_of_the_contract() -> None:
    settings = read()
    assert settings.listen == "127.0.0.1:50051"
    assert settings.engine == "grpc://127.0.0.1:50052"
    assert (settings.poll_s, settings.call_timeout_s) == (5, 2)
    assert (settings.breaker_failures, settings.breaker_reset_s, settings.breaker_reset_max_s) == (5, 10, 300)
    assert (settings.history_events, settings.history_bytes) == (10_000, 16_777_216)


def test_variable_is_read_and_a_flag_goes_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_BRIDGE_POLL_S", "7")
    monkeypatch.setenv("ENGINE_BRIDGE_LISTEN", "[::1]:1")
    settings = read("--poll-s", "3")
    assert (settings.poll_s, settings.listen) == (3, "[::1]:1")


@pytest.mark.parametrize(
    "engine",
    [
        "grpc://127.0.0.1:50052",
        "grpc://engine.local:1/",
        "grpc://[::1]:50052",
        "grpcs://engine.local:50052",
        "unix:/run/engine.sock",
        "http://127.0.0.1:8080/api/v1/rpc",
        "https://engine.local/api/v1/rpc",
        "http://[::1]:8080/",
    ],
)
def test_engine_of_a_known_kind_is_taken(engine: str) -> None:
    assert read("--engine", engine).engine == engine


@pytest.mark.parametrize(
    "engine",
    [
        "",
        "127.0.0.1:50052",
        "ftp://127.0.0.1:1/",
        "grpc://127.0.0.1",
        "grpc://127.0.0.1:70000",
        "grpc://user@host:1",
        "grpc://127.0.0.1:1/path",
        "grpcs://127.0.0.1:1/path",
        "unix:",
        "http://",
        "http:///path",
        "http://host:99999/",
        "http://host:port/",
        "http://host:0/",
        "http://[::1",
    ],
)
def test_engine_that_is_none_is_refused_in_one_line(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read("--engine", engine)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"engine_bridge: ENGINE_BRIDGE_ENGINE={engine!r}: ")


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--listen", "localhost"),
        ("--listen", "localhost:65536"),
        ("--listen", ":1"),
        ("--poll-s", "0"),
        ("--poll-s", "-1"),
        ("--poll-s", "nan"),
        ("--poll-s", "inf"),
        ("--poll-s", "soon"),
        ("--call-timeout-s", "0"),
        ("--breaker-failures", "0"),
        ("--breaker-failures", "1.5"),
        ("--breaker-reset-s", "0"),
        ("--breaker-reset-max-s", "nan"),
        ("--history-events", "0"),
        ("--history-bytes", "1000"),
        ("--heartbeat-s", "0"),
        ("--heartbeat-s", "61"),
        ("--max-subscribers", "0"),
        ("--log-level", "loud"),
    ],
)
def test_value_out_of_range_is_refused_in_one_line(flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read(flag, value)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"engine_bridge: ENGINE_BRIDGE_{flag[2:].upper().replace('-', '_')}={value!r}: ")


def test_every_mistake_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read("--poll-s", "0", "--engine", "nowhere")
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read("--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in text


def test_settings_do_not_change() -> None:
    settings = read()
    with pytest.raises(ValueError, match="frozen"):
        settings.poll_s = 1  # type: ignore[misc]


TLS = ("--tls-cert", "a.pem", "--tls-key", "a.key")


@pytest.mark.parametrize("flags", [(), TLS])
def test_address_that_others_reach_needs_client_certificates_or_a_word(
    flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """TLS alone keeps secrets, and asks nobody who they are."""
    with pytest.raises(SystemExit) as caught:
        read("--listen", "0.0.0.0:1", *flags)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "set ENGINE_BRIDGE_TLS_CERT, _KEY and _CLIENT_CA, or ENGINE_BRIDGE_INSECURE=true" in line
    assert read("--listen", "0.0.0.0:1", *flags, "--insecure").insecure
    assert read("--listen", "0.0.0.0:1", *TLS, "--tls-client-ca", "ca.pem").listen == "0.0.0.0:1"
    assert read("--listen", "unix:/run/bridge.sock").listen == "unix:/run/bridge.sock"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (TLS[:2], "ENGINE_BRIDGE_TLS_CERT and ENGINE_BRIDGE_TLS_KEY go together"),
        (("--tls-client-ca", "ca.pem"), "ENGINE_BRIDGE_TLS_CLIENT_CA needs"),
        (("--listen", "unix:/a", *TLS), "ENGINE_BRIDGE_TLS_CERT is for HOST:PORT"),
        (("--engine-tls-ca", "ca.pem"), "ENGINE_BRIDGE_ENGINE=grpc://127.0.0.1:50052 is not encrypted"),
        (
            ("--engine", "grpcs://a:1", "--engine-tls-key", "a.key"),
            "ENGINE_BRIDGE_ENGINE_TLS_CERT and ENGINE_BRIDGE_ENGINE_TLS_KEY go together",
        ),
    ],
)
def test_settings_that_make_no_sense_together_are_one_line(
    flags: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        read(*flags)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"engine_bridge: {words}")


@pytest.mark.parametrize("engine", ["grpcs://a:1", "https://a:1/rpc"])
def test_certificates_for_an_encrypted_engine_are_taken(engine: str) -> None:
    assert read("--engine", engine, "--engine-tls-ca", "ca.pem").engine == engine
