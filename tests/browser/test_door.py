"""A gateway that asks for credentials: the page itself is open, and asks for a token."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import expect

from tests.browser.conftest import ON_ONE_LOOP, Open
from tests.kit.programs import Stack

pytestmark = ON_ONE_LOOP

TOKEN = "a-token-of-thirty-two-characters"  # noqa: S105 - it opens nothing but this test


@pytest_asyncio.fixture(loop_scope="session")
async def guarded(tmp_path: Path) -> AsyncIterator[Stack]:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    tokens.chmod(0o600)
    async with Stack(poll_s=0.5, gateway_settings={"WS_GATEWAY_TOKENS_FILE": str(tokens)}) as stack:
        yield stack


async def test_page_asks_for_a_token_takes_it_and_keeps_it_for_the_tab(guarded: Stack, open_page: Open) -> None:
    screen = await open_page(guarded.http_url(), wait_fresh=False)
    dialog = screen.page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    assert await screen.serious_faults() == []
    await screen.page.get_by_placeholder("Token").fill("wrong")
    await screen.page.keyboard.press("Enter")
    await expect(dialog).to_contain_text("did not take that token")
    await screen.page.get_by_placeholder("Token").fill(TOKEN)
    await screen.page.keyboard.press("Enter")
    await screen.wait_topics("fresh")
    await expect(dialog).not_to_be_visible()
    await screen.page.reload()
    await screen.wait_topics("fresh")
    assert TOKEN not in screen.page.url


async def test_page_asks_nobody_where_nobody_is_asked(stack: Stack, open_page: Open) -> None:
    screen = await open_page(stack.http_url())
    await expect(screen.page.get_by_role("dialog")).not_to_be_visible()
