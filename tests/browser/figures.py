"""How long until somebody sees something, and how much they must load for it."""

import gzip
import statistics
from dataclasses import dataclass

from playwright.async_api import Browser

from tests.browser import chromium
from tests.browser.screen import Screen
from tests.kit.programs import Stack
from ws_gateway.page import FILES

__all__ = ["figures", "with_figures"]

_VISITS = 15
_BEGIN, _END = "<!-- measured: written by `make page-figures` -->", "<!-- end of measured -->"
_MARKS = """
() => new Promise(done => {
  const look = () => {
    const [connect] = performance.getEntriesByName("connect"), [first] = performance.getEntriesByName("first-data")
    if (first) done([connect.startTime, first.startTime])
    else setTimeout(look, 5)
  }
  look()
})
"""


@dataclass(frozen=True)
class _Visit:
    connect_ms: float
    """From navigation until the client opens its socket."""
    first_data_ms: float
    """From navigation until every topic's snapshot was rendered."""


async def figures() -> str:
    """A table, as Markdown: visits with an empty cache to a running gateway."""
    async with Stack(poll_s=5) as stack, chromium.launch(chromium.find()) as browser:
        visits = [await _visit(browser, stack.http_url()) for _ in range(_VISITS + 2)]
    del visits[:2]  # the first ones warm the disk
    wait = [visit.first_data_ms - visit.connect_ms for visit in visits]
    whole = [visit.first_data_ms for visit in visits]
    rows = [
        ("connect to first snapshot rendered", f"{_median_and_worst(wait)}"),
        ("navigation, empty cache, to first snapshot rendered", f"{_median_and_worst(whole)}"),
        ("the page's JavaScript, gzip", f"{_gzip_kb('*.js')} kB"),
        ("the page's style sheet, gzip", f"{_gzip_kb('*.css')} kB"),
    ]
    return "\n".join(["| what | measured |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows)])


def with_figures(text: str, table: str) -> str:
    """The document with the table between its two markers. ValueError: they are not there, each once."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end or _BEGIN in after:
        raise ValueError(f"the document needs {_BEGIN} and {_END}, each once")
    return f"{before}{_BEGIN}\n{table}\n{_END}{after}"


async def _visit(browser: Browser, url: str) -> _Visit:
    screen = await Screen.open(browser, url, wait_fresh=False)
    connect_ms, first_data_ms = await screen.page.evaluate(_MARKS)
    await screen.close()
    return _Visit(connect_ms, first_data_ms)


def _median_and_worst(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ms (worst of {len(values)}: {max(values):.0f} ms)"


def _gzip_kb(pattern: str) -> str:
    sizes = [len(gzip.compress(path.read_bytes(), 9)) for path in (FILES / "assets").glob(pattern)]
    return f"{sum(sizes) / 1000:.1f}"
