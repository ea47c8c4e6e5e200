"""A real browser and the real programs, both for all tests; windows of a test's own, whose complaints fail it.

All tests here share one loop (`ON_ONE_LOOP`), for starting four programs takes longer than most of them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser import chromium
from tests.browser.screen import Screen
from tests.kit.programs import Stack
from ws_gateway.page import FILES

Open = Callable[..., Awaitable[Screen]]

ON_ONE_LOOP = pytest.mark.asyncio(loop_scope="session")
"""For `pytestmark` of every module here."""


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Skips, or in CI fails, where there is no browser. The page itself must have been built."""
    assert (FILES / "index.html").exists(), "the page is not built: make page"
    return chromium.need()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium_path: str) -> AsyncIterator[Browser]:
    async with chromium.launch(chromium_path) as browser:
        yield browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def programs() -> AsyncIterator[Stack]:
    async with Stack(poll_s=0.5, heartbeat_s=1) as programs:
        yield programs


@pytest_asyncio.fixture(loop_scope="session")
async def stack(programs: Stack) -> Stack:
    """Engine, bridge and gateway, ready, polling twice a second, with a heartbeat each second. Whatever the test before
    has killed was started again."""
    for program in programs.programs:
        if not program.is_running:
            await program.start()
    await programs.wait_ready()
    return programs


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser) -> AsyncIterator[Open]:
    """Opens windows; at the end of the test none of them may have complained."""
    screens: list[Screen] = []

    async def open_page(url: str, **options: Any) -> Screen:
        screen = await Screen.open(browser, url, **options)
        screens.append(screen)
        return screen

    yield open_page
    for screen in screens:
        await screen.close()
