"""Host and Origin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_runtime.addresses import is_loopback
from ws_gateway.origin import Hosts, Origins

HOSTS = Hosts("Nas.lan", ["dash.example"])


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:12080", "LOCALHOST.", "127.0.0.1:12080", "192.168.1.5", "[::1]:12080", "[fe80::1]"),
        *("nas.lan", "nas", "NAS:80", "nas.local", "other.local:12080", "dash.example", "dash.example:443"),
    ],
)
def test_host_that_names_this_machine_is_ours(host: str) -> None:
    assert HOSTS.is_ours(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "nas.lan.evil.example", ".local"),
        *("dash.example.evil", "local", "nas lan", "nas.lan:x", "nas.lan:1:2", "user@nas.lan", "nas.lan/", "[nas.lan]"),
    ],
)
def test_host_that_names_another_is_not_ours(host: str) -> None:
    """A name that resolves to this machine only because its owner says so is how DNS rebinding works."""
    assert not HOSTS.is_ours(host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "nas:12080"),
        ("http://nas:12080", "nas:12080"),
        ("http://NAS:12080", "nas:12080"),
        ("http://nas", "nas"),
        ("http://nas:80", "nas"),
        ("https://nas", "nas:443"),
        ("https://nas", "nas"),
        ("http://[::1]:12080", "[::1]:12080"),
        ("https://dash.example", "nas:12080"),
        ("https://dash.example:8443", "nas:12080"),
    ],
)
def test_page_of_the_same_host_or_a_configured_one_may_connect(origin: str | None, host: str) -> None:
    assert Origins(["https://dash.example", "https://dash.example:8443/"]).may(origin, host)


@pytest.mark.parametrize(
    "origin",
    [
        *("null", "", "http://evil.example", "http://nas.evil.example:12080", "http://nas:12081", "http://nas"),
        *("http://nas:12080.evil.example", "http://nas:12080/", "http://nas:12080@evil.example", "nas:12080"),
        *("http://evil.example#nas:12080", "file://", "ftp://nas:12080", "http://dash.example", "http://nas:99999"),
        *("chrome-extension://abcdef", "http://nas:12080\t", "http://evil@nas:12080", "//nas:12080", "http://[nas"),
    ],
)
def test_page_of_another_site_may_not(origin: str) -> None:
    assert not Origins(["https://dash.example"]).may(origin, "nas:12080")


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_header_whatever_raises(origin: str, host: str) -> None:
    HOSTS.is_ours(host)
    Origins().may(origin, host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "nas", "localhost.example"])
def test_what_others_can_reach_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)
