"""The live page's files, as the gateway hands them out."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from ws_gateway.gate import Gate
from ws_gateway.origin import Hosts, Origins
from ws_gateway.page import LivePage

Client = TestClient[web.Request, web.Application]

SCRIPT = b"console.log('a page')\n" * 100


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A built page, and beside it something that is nobody's business."""
    assets = tmp_path / "page_files" / "assets"
    assets.mkdir(parents=True)
    (tmp_path / "page_files" / "index.html").write_text("<!doctype html><title>Engine events</title>")
    (assets / "main-B4c_d-1.js").write_bytes(SCRIPT)
    (assets / "main-B4c_d-1.js.gz").write_bytes(gzip.compress(SCRIPT))
    (assets / "main-B4c_d-1.css").write_text("body{}")
    (assets / "icon-1.svg").write_text("<svg/>")
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path / "page_files"


@pytest.fixture
async def client(files: Path) -> AsyncIterator[Client]:
    gate = Gate(Hosts("here", []), Origins([]), [])
    app = web.Application(middlewares=[gate.middleware])
    app.on_response_prepare.append(gate.add_headers)
    app.add_routes(LivePage(files).routes())
    async with TestClient(TestServer(app), auto_decompress=False) as client:
        yield client


async def test_page_may_load_from_its_own_host_only_and_nothing_inline(client: Client) -> None:
    answer = await client.get("/")
    assert (answer.status, answer.content_type) == (200, "text/html")
    policy = dict(rule.split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_page_is_asked_for_again_and_not_sent_again(client: Client) -> None:
    """A new build is seen at the next visit; until then a visit costs no bytes."""
    first = await client.get("/")
    assert first.headers["Cache-Control"] == "no-cache"
    second = await client.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert (second.status, await second.read()) == (304, b"")
    assert second.headers["Content-Security-Policy"] == first.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("main-B4c_d-1.js", "text/javascript"), ("main-B4c_d-1.css", "text/css"), ("icon-1.svg", "image/svg+xml")],
)
async def test_asset_has_its_type_and_may_be_kept_for_ever(client: Client, name: str, kind: str) -> None:
    answer = await client.get(f"/assets/{name}")
    assert (answer.status, answer.content_type) == (200, kind)
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


async def test_asset_is_sent_compressed_to_whoever_takes_that(client: Client) -> None:
    small = await client.get("/assets/main-B4c_d-1.js", headers={"Accept-Encoding": "gzip"})
    assert (small.headers["Content-Encoding"], small.content_type) == ("gzip", "text/javascript")
    assert gzip.decompress(await small.read()) == SCRIPT
    plain = await client.get("/assets/main-B4c_d-1.js", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert await plain.read() == SCRIPT


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../../secret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/assets/..%5c..%5csecret.txt",
        "/assets//etc/passwd",
        "/assets/%00main.js",
        "/assets/",
        "/assets",
        "/assets/none-1.js",
        "/index.html",
    ],
)
async def test_nothing_else_is_served(client: Client, path: str) -> None:
    async with aiohttp.ClientSession() as session:
        from_root = str(client.make_url("/")).removesuffix("/")
        async with session.get(URL(from_root + path, encoded=True)) as answer:
            assert answer.status == 404
            assert "secret" not in await answer.text()


async def test_page_is_built_anew_while_the_gateway_runs(client: Client, files: Path) -> None:
    (files / "index.html").write_text("<!doctype html><title>New</title>")
    (files / "assets" / "new-1.js").write_text("1")
    assert "New" in await (await client.get("/")).text()
    assert (await client.get("/assets/new-1.js")).status == 200


async def test_page_that_was_not_built_says_how_to(tmp_path: Path) -> None:
    app = web.Application()
    app.add_routes(LivePage(tmp_path / "none").routes())
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/")
        assert answer.status == 404
        text = await answer.text()
        assert "make page" in text
        assert text.count("\n") == 1
