"""A stack of the real programs, a real browser, and windows whose complaints fail the test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.browser import chromium
from tests.browser.screen import Screen
from tests.kit.programs import Stack
from ws_gateway.page import FILES

Open = Callable[..., Awaitable[Screen]]


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Skips, or in CI fails, where there is no browser. The page itself must have been built."""
    assert (FILES / "index.html").exists(), "the page is not built: make page"
    return chromium.need()


@pytest.fixture
async def browser(chromium_path: str) -> AsyncIterator[Browser]:
    async with chromium.launch(chromium_path) as browser:
        yield browser


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    """Engine, bridge and gateway, ready, polling twice a second, with a heartbeat each second."""
    async with Stack(poll_s=0.5, heartbeat_s=1) as programs:
        yield programs


@pytest.fixture
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
