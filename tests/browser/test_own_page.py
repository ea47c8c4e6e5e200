"""The page that docs/BROWSER.md shows, as it stands there, served from another origin than the gateway's."""

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from aiohttp import web
from playwright.async_api import expect

from tests.browser.conftest import ON_ONE_LOOP, Open
from tests.kit.programs import Stack, free_port

pytestmark = ON_ONE_LOOP

_REPOSITORY = Path(__file__).resolve().parents[2]
_CLIENT = _REPOSITORY / "web/client/dist/engine-events-client.min.js"


@pytest_asyncio.fixture(loop_scope="session")
async def own_page(tmp_path: Path) -> AsyncIterator[tuple[Stack, str]]:
    """A stack, and the address of a page that may connect to it."""
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    async with Stack(poll_s=0.5, gateway_settings={"WS_GATEWAY_ALLOWED_ORIGINS": f'["{origin}"]'}) as stack:
        example = re.search(r"```html\n(.*?)```", (_REPOSITORY / "docs/BROWSER.md").read_text(), re.DOTALL)
        assert example is not None
        html = example[1].replace("127.0.0.1:12080", stack.gateway.address)
        (tmp_path / "index.html").write_text(html)
        shutil.copy(_CLIENT, tmp_path)
        app = web.Application()
        app.router.add_get("/favicon.ico", _no_icon)  # a browser asks, and its console complains of a 404
        app.router.add_static("/", tmp_path)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield stack, f"{origin}/index.html"
        await runner.cleanup()


async def _no_icon(_request: web.Request) -> web.Response:
    return web.Response(status=204)


async def test_ten_lines_show_a_live_number_and_say_when_it_is_old(
    own_page: tuple[Stack, str], open_page: Open
) -> None:
    stack, url = own_page
    screen = await open_page(url, wait_fresh=False)
    number = screen.page.locator("#cpu")
    await expect(number).to_have_text(re.compile(r"^[0-9.]+ %$"), timeout=10_000)
    await stack.engine.kill()
    await expect(number).to_contain_text("(RPC_DISCONNECT)", timeout=5_000)
    await stack.engine.start()
    await expect(number).to_have_text(re.compile(r"^[0-9.]+ %$"), timeout=10_000)
