"""The settings."""

from pathlib import Path

import pytest

from engine_runtime.settings import load
from host_engine.config import Settings


def test_settings_not_given_have_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOST_ENGINE_ROOT", raising=False)
    values = load(Settings, "host_engine", [])
    assert (values.listen, values.root, values.workers) == ("127.0.0.1:50052", Path("engine-files"), 2)


def test_settings_come_from_the_environment_and_flags_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST_ENGINE_LISTEN", "127.0.0.1:1")
    monkeypatch.setenv("HOST_ENGINE_WORKERS", "3")
    values = load(Settings, "host_engine", ["--workers", "4"])
    assert (values.listen, values.workers) == ("127.0.0.1:1", 4)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:1", "[::1]:1", "127.8.8.8:1", "unix:/run/engine.sock"])
def test_address_of_this_machine_alone_is_taken(listen: str) -> None:
    assert Settings(listen=listen).listen == listen


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "example.org:1"])
def test_address_that_others_reach_needs_to_be_meant(listen: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        load(Settings, "host_engine", ["--listen", listen])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert load(Settings, "host_engine", ["--listen", listen, "--insecure"]).listen == listen
    mutual = ["--tls-cert", "a.pem", "--tls-key", "a.key", "--tls-client-ca", "ca.pem"]
    assert load(Settings, "host_engine", ["--listen", listen, *mutual]).listen == listen
    with pytest.raises(SystemExit):
        load(Settings, "host_engine", ["--listen", listen, *mutual[:4]])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tls-cert", "a.pem"],
        ["--tls-client-ca", "ca.pem"],
        ["--listen", "nowhere"],
        ["--listen", "a:99999"],
        ["--workers", "0"],
        ["--workers", "x"],
        ["--log-level", "loud"],
    ],
)
def test_settings_that_are_wrong_are_one_line_and_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        load(Settings, "host_engine", arguments)
    assert ended.value.code == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert text.startswith("host_engine: HOST_ENGINE_")
