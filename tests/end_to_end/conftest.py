"""One stack of the three real programs for a test, and a check of every history that the test recorded."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.kit.client import Recorder
from tests.kit.history import check, is_notice
from tests.kit.programs import Stack
from tests.kit.record import Message

Connect = Callable[..., Awaitable[Recorder]]


async def resume(client: Recorder, url: str | None = None) -> Message:
    """Comes back with the client's position; what the new welcome says of it."""
    mark = client.mark()
    await client.resume(url)
    welcome = await client.wait_for(is_notice, since=mark)
    answer: Message = welcome.message["data"]["resume"]
    return answer


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    """Engine, bridge and gateway, ready, polling twice a second."""
    async with Stack(poll_s=0.5) as programs:
        yield programs


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connects recorders; at the end of the test each of their histories is judged by every rule that needs no more."""
    recorders: list[Recorder] = []

    async def connect(url: str, **options: object) -> Recorder:
        recorder = await Recorder.connect(url, **options)  # type: ignore[arg-type]
        recorders.append(recorder)
        return recorder

    yield connect
    violations = []
    for recorder in recorders:
        await recorder.close()
        closed = recorder.closed
        violations += check(recorder.history, closed=None if closed is None else (closed.code, closed.reason))
    assert violations == []
