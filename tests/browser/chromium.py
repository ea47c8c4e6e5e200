"""Finds a Chromium, or has apt bring one; and opens it. One browser for a test: nothing is carried over."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, async_playwright

__all__ = ["MissingBrowserError", "find", "launch", "need"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--no-first-run",
    "--no-sandbox",  # as root it does not start otherwise; it only ever sees pages of ours
    "--js-flags=--expose-gc",
    "--enable-precise-memory-info",
]


class MissingBrowserError(Exception):
    """There is no Chromium, and it could not be installed; the text is one line."""


def find() -> str:
    """Path of a Chromium. Root on Debian has it installed where it is missing. MissingBrowserError: there is none."""
    found = _path()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "--yes", "chromium"]):
            subprocess.run(
                command, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, capture_output=True, check=False
            )
        found = _path()
    if found is None:
        raise MissingBrowserError("no Chromium: install it (`apt-get install chromium`) for the tests of the page")
    return found


def need() -> str:
    """The same for a test: without a browser it is skipped, but for CI, where it fails."""
    try:
        return find()
    except MissingBrowserError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@asynccontextmanager
async def launch(path: str) -> AsyncIterator[Browser]:
    """A headless browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


def _path() -> str | None:
    return next((found for found in map(shutil.which, _NAMES) if found is not None), None)
