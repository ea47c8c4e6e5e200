"""The pictures in the README: the page as it is on this machine, at work and with its engine gone."""

import asyncio
import io
import os
from pathlib import Path

import grpc.aio
from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2, engine_service_pb2_grpc
from PIL import Image
from playwright.async_api import expect

from tests.browser import chromium
from tests.browser.screen import TOPICS, Screen
from tests.kit.programs import Stack

__all__ = ["take"]

_DESK = {"width": 1280, "height": 800}
_WHOLE = {"width": 1280, "height": 1430}
_PHONE = {"width": 390, "height": 844}
_WATCHED_S = 100.0
_MIB = 1 << 20
_COLOURS = 160
_MOST_BYTES = 150_000


async def take(folder: Path) -> None:
    """Runs the programs for some minutes, with something to do: page-light.png, page-stale.png, page-phone.png."""
    folder.mkdir(parents=True, exist_ok=True)
    async with Stack(poll_s=1, heartbeat_s=5) as stack, chromium.launch(chromium.find()) as browser:
        url = stack.http_url()
        light = await Screen.open(browser, url, viewport=_WHOLE, color_scheme="light")
        dark = await Screen.open(browser, url, viewport=_DESK, color_scheme="dark")
        phone = await Screen.open(browser, url, viewport=_PHONE, color_scheme="dark")
        await _compress(stack, "photos.tar", mib=24, level=3)
        await asyncio.sleep(_WATCHED_S)  # a chart needs something to show; nothing here can fail by it
        await _compress(stack, "music.tar", mib=200, level=15)
        await _compress(stack, "letters.tar", mib=120, level=12)
        await expect(light.page.locator(".jobs")).to_contain_text("running")
        await asyncio.sleep(6)
        await light.page.locator(".row", has_text="compression.update").first.click()
        await light.page.evaluate("scrollTo(0, 0)")
        _write(await light.page.screenshot(), folder / "page-light.png")
        _write(await phone.page.screenshot(), folder / "page-phone.png")
        await stack.engine.kill()
        for topic in TOPICS:
            await dark.wait_breaker(topic, "open")
        await asyncio.sleep(12)  # so that the silence is seen in the charts
        _write(await dark.page.screenshot(), folder / "page-stale.png")
        for screen in (light, dark, phone):
            await screen.close()


async def _compress(stack: Stack, name: str, *, mib: int, level: int) -> None:
    root = stack.directory / "engine-files"
    with (root / name).open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(_MIB // 2) + bytes(_MIB // 2))
    async with grpc.aio.insecure_channel(stack.engine.address) as channel:
        await engine_service_pb2_grpc.EngineServiceStub(channel).SubmitCompressionJob(
            engine_service_pb2.SubmitCompressionJobRequest(
                job_type=events_pb2.JOB_TYPE_COMPRESS_FILE,
                input_path=name,
                priority=events_pb2.JOB_PRIORITY_NORMAL,
                level=level,
            )
        )


def _write(png: bytes, path: Path) -> None:
    """Few colours are enough for a page, and make a small file. AssertionError: not small enough."""
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    assert path.stat().st_size < _MOST_BYTES, f"{path} has {path.stat().st_size} bytes"
