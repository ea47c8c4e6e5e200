"""All that lies between page and engine is broken in turn: the page tells the truth, and mends itself."""

import asyncio
import re

from playwright.async_api import expect

from tests.browser.conftest import ON_ONE_LOOP, Open
from tests.browser.screen import TOPICS
from tests.kit.programs import Stack
from tests.kit.scripted_engine import ScriptedEngine

pytestmark = ON_ONE_LOOP

TOLD_S = 4  # a second or two, and a busy machine


async def test_killed_engine_is_shown_as_stale_and_its_return_as_fresh(stack: Stack, open_page: Open) -> None:
    """Each panel says since when and why; the breakers are seen to open, and to close."""
    screen = await open_page(stack.http_url())
    await screen.wait_live("live")
    await stack.engine.kill()
    for topic in TOPICS:
        await screen.wait_topic(topic, "stale", within_s=TOLD_S)
    await screen.wait_live("4 of 4 stale")
    await screen.wait_link("engine", "away")
    await screen.wait_link("bridge", "ok")
    for notice in await screen.notices():
        assert notice.startswith("stale since ")
        assert "the engine" in notice
    for topic in TOPICS:
        await screen.wait_breaker(topic, "open", within_s=10)
    await stack.engine.start()
    await screen.wait_topics("fresh", within_s=TOLD_S)
    for topic in TOPICS:
        await screen.wait_breaker(topic, "closed")
    await screen.wait_link("engine", "ok")
    assert await screen.count("reconnects") == 0
    assert await screen.notices() == []


async def test_stale_age_goes_on_and_the_data_stays(stack: Stack, open_page: Open) -> None:
    """The last good values are still shown, and how old they are."""
    screen = await open_page(stack.http_url())
    system = screen.page.locator(".panel.system")
    await stack.engine.kill()
    await screen.wait_topic("system.status", "stale", within_s=TOLD_S)
    before = await system.locator(".value").first.inner_text()
    assert before.endswith("%")
    await expect(system.locator(".chip .age")).to_have_text(re.compile(r"([3-9]|\d\d) s"), timeout=8000)
    assert await system.locator(".value").first.inner_text() == before


async def test_killed_bridge_is_shown_and_its_return_too(stack: Stack, open_page: Open) -> None:
    screen = await open_page(stack.http_url())
    await screen.wait_live("live")
    await stack.bridge.kill()
    for topic in TOPICS:
        await screen.wait_topic(topic, "stale", within_s=TOLD_S)
    await screen.wait_link("bridge", "away")
    await screen.wait_link("engine", "unknown")
    assert all("the gateway has lost the bridge" in notice for notice in await screen.notices())
    await screen.wait_breaker("system.status", "unknown")
    await stack.bridge.start()
    await screen.wait_topics("fresh", within_s=10)
    await screen.wait_live("live")
    assert await screen.count("reconnects") == 0


async def test_gateway_killed_and_back_loses_no_event(open_page: Open) -> None:
    """What was said meanwhile is caught up on, once and in order, and nothing looks fresh before it is."""
    async with (
        ScriptedEngine() as engine,
        Stack(engine_url=engine.url, poll_s=0.5, heartbeat_s=1) as stack,
    ):
        screen = await open_page(stack.http_url())
        for number in range(3):
            engine.notify(f"n={number}")
        await expect(screen.page.locator(".notes")).to_contain_text("n=2")
        await stack.gateway.kill()
        await screen.wait_topics("stale", within_s=TOLD_S)
        await screen.wait_live("not connected")
        await screen.wait_link("gateway", "away")
        assert all("this page has lost the gateway" in notice for notice in await screen.notices())
        for number in range(3, 20):
            engine.notify(f"n={number}")
        await stack.gateway.start()
        await screen.wait_topics("fresh", within_s=15)
        await expect(screen.page.locator(".notes")).to_contain_text("n=19")
        told = [text for text in await screen.notifications() if text.startswith("n=")]
        assert told == [f"n={number}" for number in range(20)]
        assert await screen.count("lost") == 0
        assert await screen.count("reconnects") == 1
        await screen.wait_live("live")


async def test_frozen_gateway_does_not_look_alive(stack: Stack, open_page: Open) -> None:
    """The socket stays open and says nothing: the heartbeat that does not come gives it away."""
    screen = await open_page(stack.http_url())
    stack.gateway.stop()
    try:
        await screen.wait_topics("stale", within_s=15)
    finally:
        stack.gateway.cont()
    await screen.wait_topics("fresh", within_s=20)
    assert await screen.count("lost") == 0


async def test_offline_and_online_again(stack: Stack, open_page: Open) -> None:
    """The browser says so before any socket notices."""
    screen = await open_page(stack.http_url())
    await screen.wait_live("live")
    await screen.context.set_offline(True)
    await screen.wait_topics("stale", within_s=TOLD_S)
    await screen.wait_link("gateway", "away")
    await screen.context.set_offline(False)
    await screen.wait_topics("fresh", within_s=10)
    assert await screen.count("lost") == 0


async def test_page_opened_while_the_engine_is_away_does_not_pretend(stack: Stack, open_page: Open) -> None:
    """It shows the last good data as what it is, with the breakers open, though it was not there to be told."""
    await stack.engine.kill()
    await _breakers_open(stack)
    screen = await open_page(stack.http_url(), wait_fresh=False)
    await screen.wait_topics("stale")
    await screen.wait_breaker("system.status", "open")
    await screen.wait_live("4 of 4 stale")


async def test_gateway_that_is_not_there_is_said_to_be_away(stack: Stack, open_page: Open) -> None:
    """After a reload that came out of the cache, say: no data, and no pretending."""
    screen = await open_page(stack.http_url())
    await stack.gateway.kill()
    await screen.wait_live("not connected", within_s=TOLD_S)
    assert (await screen.page.title()).startswith("⚠ ")


async def _breakers_open(stack: Stack) -> None:
    async with asyncio.timeout(15):
        while True:
            _, body = await stack.get("/api/v1/snapshot?types=system.status")
            if "CIRCUIT_BREAKER_OPEN" in body:
                return
            await asyncio.sleep(0.05)  # the snapshot can only be asked; the time-out above is the deadline
