"""Addresses and URLs, as settings have them."""

from pathlib import Path

import pytest

from engine_runtime.addresses import check_grpc_url, check_listen, grpc_target, is_encrypted, is_local, unix_path


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:65535", "host-a.example:0", "unix:/run/a.sock", "unix:a"])
def test_address_to_listen_on_is_a_port_or_a_socket(address: str) -> None:
    assert check_listen(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "1",
        ":1",
        "a:b",
        "a:65536",
        "unix:",
        "unix:/",
        "unix:/run/",
        "unix:@a",
        "unix:/a b",
        "unix:/%41",
        "unix:/a?b",
    ],
)
def test_other_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"is not|above"):
        check_listen(address)


def test_path_of_a_socket_is_as_long_as_the_kernel_takes() -> None:
    longest = "/" + "a" * 106
    assert unix_path(f"unix:{longest}") == Path(longest)
    with pytest.raises(ValueError, match="at most 107 characters, this has 108"):
        unix_path(f"unix:{longest}a")


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:1", True),
        ("127.8.8.8:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/run/a.sock", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.0.2.1:1", False),
        ("localhost.example:1", False),
    ],
)
def test_address_is_local_if_no_other_machine_can_reach_it(address: str, local: bool) -> None:
    assert is_local(address) is local


@pytest.mark.parametrize(
    ("url", "target", "encrypted"),
    [
        ("grpc://a:1", "a:1", False),
        ("grpc://[::1]:1/", "[::1]:1", False),
        ("grpcs://a.example:1/", "a.example:1", True),
        ("unix:/run/a.sock", "unix:/run/a.sock", False),
    ],
)
def test_url_names_a_server_and_whether_to_encrypt(url: str, target: str, encrypted: bool) -> None:
    assert check_grpc_url(url) == url
    assert (grpc_target(url), is_encrypted(url)) == (target, encrypted)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a:1",
        "http://a:1",
        "grpc://",
        "grpc://a",
        "grpc://a:1/x",
        "grpcs://a:1?b",
        "grpc://u@a:1",
        "unix:",
        "grpc:a:1",
    ],
)
def test_other_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"neither|is not|no path"):
        check_grpc_url(url)
