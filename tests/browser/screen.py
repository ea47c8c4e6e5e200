"""The live page as a person sees it: what it says of each topic, each link and itself; and what must never be."""

import json
import re
from pathlib import Path
from typing import Any, Self

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Error, Page, expect

__all__ = ["TOPICS", "Screen"]

TOPICS = ("system.status", "storage.update", "agent.status", "compression.update")
_PANELS = ("system", "storage", "agents", "compression")
_AXE = Path(__file__).resolve().parents[2] / "web/node_modules/axe-core/axe.min.js"

_LAYOUT = """
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted = (window.shifted ?? 0) + entry.value
}).observe({type: "layout-shift", buffered: true})
addEventListener("securitypolicyviolation", event => {
  (window.violations ??= []).push(`${event.violatedDirective} ${event.blockedURI}`)
})
"""


class Screen:
    """One page in one browser window. `complaints` has what a console or a policy said against it."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context = context
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", self._page_error)

    @classmethod
    async def open(cls, browser: Browser, url: str, *, wait_fresh: bool = True, **context: Any) -> Self:
        """A window of its own with the page in it, with every topic fresh. `context`: options of Playwright's."""
        window = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        await window.add_init_script(_LAYOUT)
        screen = cls(window, await window.new_page())
        await screen.page.goto(url)
        if wait_fresh:
            for topic in TOPICS:
                await screen.wait_topic(topic, "fresh")
        return screen

    # ---- what it says

    async def wait_topic(self, topic: str, condition: str, *, within_s: float = 10) -> None:
        """Waits until a topic is shown as fresh, stale or waiting. AssertionError: not in time."""
        item = self.page.locator(f'[data-topic="{topic}"]')
        await expect(item).to_have_attribute("data-condition", condition, timeout=within_s * 1000)

    async def wait_topics(self, condition: str, *, within_s: float = 10) -> None:
        """The same for all four, and their panels."""
        for topic in TOPICS:
            await self.wait_topic(topic, condition, within_s=within_s)
        for panel in _PANELS:
            await expect(self.page.locator(f".panel.{panel}")).to_have_attribute("data-condition", condition)

    async def wait_link(self, link: str, state: str, *, within_s: float = 10) -> None:
        """Waits until a link of the way (engine, bridge, gateway) is shown so."""
        item = self.page.locator(f'[data-link="{link}"]')
        await expect(item).to_have_attribute("data-state", state, timeout=within_s * 1000)

    async def wait_live(self, text: str, *, within_s: float = 10) -> None:
        """Waits for the word at the top."""
        await expect(self.page.locator(".live [role=status]")).to_have_text(text, timeout=within_s * 1000)

    async def wait_breaker(self, topic: str, state: str, *, within_s: float = 10) -> None:
        """Waits until a topic's circuit breaker is shown so."""
        breaker = self.page.locator(f'[data-topic="{topic}"] [data-breaker]')
        await expect(breaker).to_have_attribute("data-breaker", state, timeout=within_s * 1000)

    async def notices(self) -> list[str]:
        """What stands across the stale panels."""
        return await self.page.locator(".stale-notice").all_inner_texts()

    async def fact(self, name: str) -> str:
        """A figure of the last line."""
        return await self.page.locator(f'[data-fact="{name}"] dd').inner_text()

    async def count(self, name: str) -> int:
        """A figure of the last line that is a count."""
        return int(re.sub(r"\D", "", await self.fact(name)) or -1)

    async def notifications(self) -> list[str]:
        """The texts, oldest first."""
        return list(reversed(await self.page.locator(".notes .said").all_inner_texts()))

    # ---- what must never be

    async def shifted(self) -> float:
        """Cumulative layout shift so far."""
        return float(await self.page.evaluate("window.shifted ?? 0"))

    async def overflow_px(self) -> int:
        """How much wider than the window the page is."""
        return int(await self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    async def serious_faults(self) -> list[str]:
        """What axe finds that keeps somebody out: serious or critical."""
        await self.page.evaluate(_AXE.read_text())
        found = json.loads(await self.page.evaluate("axe.run().then(result => JSON.stringify(result.violations))"))
        return [
            f"{fault['id']}: {[node['html'][:120] + ' ' + node['failureSummary'] for node in fault['nodes'][:3]]}"
            for fault in found
            if fault["impact"] in ("serious", "critical")
        ]

    async def close(self) -> None:
        """Closes the window. AssertionError: the console or the policy complained."""
        self.complaints += [f"policy: {text}" for text in await self.page.evaluate("window.violations ?? []")]
        await self.context.close()
        assert self.complaints == []

    def _console(self, message: ConsoleMessage) -> None:
        # a browser itself notes every connection that fails, and those are what the tests are about
        if message.type in ("error", "warning") and not _CONNECTION.search(message.text):
            self.complaints.append(f"console: {message.text}")

    def _page_error(self, error: Error) -> None:
        self.complaints.append(f"error: {error.message}")


_CONNECTION = re.compile(r"WebSocket connection to|ERR_CONNECTION|ERR_INTERNET_DISCONNECTED|status of 401|net::ERR_")
