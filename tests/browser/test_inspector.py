"""The event inspector: everything that comes, some of it, none of it for a while; one in full, to take along."""

import json
import re

from playwright.async_api import expect

from tests.browser.conftest import ON_ONE_LOOP, Open
from tests.kit.programs import Stack
from tests.kit.scripted_engine import ScriptedEngine

pytestmark = ON_ONE_LOOP


async def test_filter_shows_what_matches_of_what_has_come_already(stack: Stack, open_page: Open) -> None:
    screen = await open_page(stack.http_url())
    rows = screen.page.locator(".row .type")
    await screen.page.get_by_placeholder("Filter").fill("agent.*, storage.update")
    await expect(rows.first).to_have_text("agent.status")
    assert set(await rows.all_inner_texts()) <= {"agent.status", "storage.update"}
    await screen.page.get_by_placeholder("Filter").fill("nothing.of.the.kind")
    await expect(screen.page.locator(".list")).to_contain_text("Nothing that matches")


async def test_pause_holds_the_list_still_and_nothing_else(stack: Stack, open_page: Open) -> None:
    """Events are counted while nobody wants to see them move, and are there when it goes on."""
    screen = await open_page(stack.http_url())
    rows = screen.page.locator(".row")
    await screen.page.get_by_role("button", name="Pause").click()
    held = await rows.first.get_attribute("id")
    await expect(screen.page.locator(".tools")).to_contain_text(re.compile(r"([5-9]|\d\d) since the pause"))
    assert await rows.first.get_attribute("id") == held
    await screen.wait_topics("fresh")
    await screen.page.get_by_role("button", name="Go on").click()
    await expect(rows.first).not_to_have_attribute("id", held or "")


async def test_event_is_shown_in_full_and_copied_as_json(open_page: Open) -> None:
    """As it came, to the last field; an engine's own types too."""
    async with ScriptedEngine() as engine, Stack(engine_url=engine.url, poll_s=0.5) as stack:
        screen = await open_page(stack.http_url(), permissions=["clipboard-read", "clipboard-write"])
        engine.push_other("scheduler.metrics", {"queue": [1, 2, 3], "text": "<b>ä</b>"})
        await screen.page.get_by_placeholder("Filter").fill("scheduler.*")
        await screen.page.locator(".row").first.click()
        await screen.page.get_by_role("button", name="Copy JSON").click()
        await expect(screen.page.get_by_role("status").filter(has_text="copied")).to_be_visible()
        copied = json.loads(await screen.page.evaluate("navigator.clipboard.readText()"))
    assert copied["type"] == "scheduler.metrics"
    assert copied["data"] == {"queue": [1, 2, 3], "text": "<b>ä</b>"}
    assert isinstance(copied["seq"], int)


async def test_reader_further_down_is_not_pushed_away(open_page: Open) -> None:
    """Scrolling holds the list; the newest come on top again when it goes on."""
    async with ScriptedEngine() as engine, Stack(engine_url=engine.url, poll_s=0.5) as stack:
        screen = await open_page(stack.http_url())
        for number in range(100):
            engine.notify(f"n={number}")
        await screen.page.get_by_placeholder("Filter").fill("notification")
        rows = screen.page.locator(".rows")
        await expect(rows).to_contain_text("n=99")
        await rows.evaluate("node => { node.scrollTop = 28 * 50 }")
        await expect(rows).to_contain_text("n=49")
        for number in range(100, 1000):  # more than are kept of those that are not held
            engine.notify(f"n={number}")
        await expect(screen.page.locator(".notes")).to_contain_text("n=999")
        await expect(screen.page.locator(".tools")).to_contain_text("since the pause")
        await expect(rows).to_contain_text("n=49")
