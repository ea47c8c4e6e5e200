"""What somebody sees who opens the page: real data at once, in their colours, on their screen, by their means."""

import re
import shutil
import socket

import psutil
import pytest
from playwright.async_api import expect

from tests.browser.conftest import ON_ONE_LOOP, Open
from tests.browser.screen import TOPICS
from tests.kit.programs import Stack

pytestmark = ON_ONE_LOOP

WIDTHS = [(360, 740), (768, 1024), (1280, 900), (2560, 1440)]


async def test_page_shows_this_machine(stack: Stack, open_page: Open) -> None:
    """Real data: this host's name, its memory, its root file system, its engine's workers; everything fresh."""
    screen = await open_page(stack.http_url())
    await screen.wait_topics("fresh")
    await screen.wait_live("live")
    for link in ("engine", "bridge", "gateway"):
        await screen.wait_link(link, "ok")
    await expect(screen.page.locator("h1")).to_have_text(socket.gethostname())
    total_gib = psutil.virtual_memory().total / 2**30
    await expect(screen.page.locator(".panel.system")).to_contain_text(f"of {total_gib:.1f} GiB")
    used_pct = shutil.disk_usage("/")
    pool = screen.page.get_by_role("meter", name="/, in use", exact=True)
    shown = int(await pool.get_attribute("aria-valuenow") or "-1")
    assert shown == pytest.approx(100 * used_pct.used / (used_pct.used + used_pct.free), abs=1.5)
    await expect(screen.page.get_by_role("row", name="Compressor 1")).to_be_visible()
    await expect(screen.page.locator(".panel.compression")).to_contain_text("No compression jobs")
    for topic in TOPICS:
        await screen.wait_breaker(topic, "closed")
    others = screen.page.locator(".others")  # what the engine calls its own, as the heartbeat knows it
    await expect(others).to_contain_text(re.compile(r"scheduler\.metrics \d+ s"))


async def test_charts_grow_and_tell_their_values_to_a_screen_reader(stack: Stack, open_page: Open) -> None:
    screen = await open_page(stack.http_url())
    chart = screen.page.get_by_role("img", name="CPU")
    await expect(chart).to_have_attribute("aria-label", re.compile(r"CPU: now \d+ %, between"), timeout=15_000)


@pytest.mark.parametrize(("width", "height"), WIDTHS)
async def test_page_fits_the_screen_and_nothing_moves(stack: Stack, open_page: Open, width: int, height: int) -> None:
    """From a phone to a wall: no scrolling sideways, and data comes into places that were kept for it."""
    screen = await open_page(stack.http_url(), viewport={"width": width, "height": height})
    await screen.wait_live("live")
    assert await screen.overflow_px() <= 0
    await stack.engine.kill()
    await screen.wait_topics("stale")
    assert await screen.overflow_px() <= 0
    assert await screen.shifted() < 0.01


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_page_keeps_nobody_out(stack: Stack, open_page: Open, scheme: str) -> None:
    """axe finds nothing serious: fresh, and stale."""
    screen = await open_page(stack.http_url(), color_scheme=scheme, reduced_motion="reduce")
    await screen.wait_live("live")
    assert await screen.serious_faults() == []
    await stack.engine.kill()
    await screen.wait_topics("stale")
    assert await screen.serious_faults() == []


async def test_page_is_light_or_dark_as_the_system_is_until_somebody_chooses(stack: Stack, open_page: Open) -> None:
    """And the choice is kept for the next visit."""
    screen = await open_page(stack.http_url(), color_scheme="dark")
    page = screen.page

    async def brightness() -> float:
        colour = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) / 3

    assert await brightness() < 60
    await page.emulate_media(color_scheme="light")
    assert await brightness() > 200
    await page.get_by_role("button", name="Colours: system").click()
    await page.get_by_role("button", name="Colours: light").click()
    assert await brightness() < 60
    await page.reload()
    await expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    assert await brightness() < 60


async def test_page_is_worked_by_keyboard_alone(stack: Stack, open_page: Open) -> None:
    """Tab reaches the filter; arrows choose an event, which is then shown in full."""
    screen = await open_page(stack.http_url())
    page = screen.page
    for _ in range(30):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.type === 'search'"):
            break
    await page.keyboard.type("system.*")
    await expect(page.locator(".row").nth(1)).to_be_visible()  # there is a next one to go to
    await page.get_by_role("listbox").focus()
    await page.keyboard.press("ArrowDown")
    detail = page.get_by_label("The event as JSON")
    await expect(detail).to_contain_text('"type": "system.status"')
    first = await detail.inner_text()
    await page.keyboard.press("ArrowDown")
    await expect(detail).not_to_have_text(first, use_inner_text=True)
