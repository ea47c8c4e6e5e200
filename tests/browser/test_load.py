"""A hundred events a second cost the page little, and its memory stays. `make page-soak` is the long form."""

import pytest

from tests.browser.conftest import ON_ONE_LOOP, Open
from tests.browser.load import cost_of, heap_bytes, node_count, under_load
from tests.kit.programs import Stack
from tests.kit.scripted_engine import ScriptedEngine

pytestmark = ON_ONE_LOOP

MIB = 1 << 20


@pytest.mark.alone
@pytest.mark.timeout(180)
async def test_hundred_events_a_second_leave_the_page_at_ease(open_page: Open) -> None:
    """The main thread is idle more often than not, no task keeps a person waiting, and what is kept is bounded.

    Frames are not counted: without a graphics card, and with two cores for all, they say nothing of the page.
    """
    async with (
        ScriptedEngine() as engine,
        Stack(engine_url=engine.url, poll_s=0.5, heartbeat_s=1) as stack,
    ):
        screen = await open_page(stack.http_url())
        cdp = await screen.context.new_cdp_session(screen.page)
        async with under_load(engine, 100):
            await cost_of(screen.page, cdp, 8)  # until every list is as long as it gets
            before, nodes = await heap_bytes(cdp), await node_count(cdp)
            cost = await cost_of(screen.page, cdp, 10)
            grown = await heap_bytes(cdp) - before
            new_nodes = await node_count(cdp) - nodes
        assert cost.received_per_s > 80, str(cost)
        assert cost.busy_share < 0.5, str(cost)
        assert cost.longest_task_ms < 800, str(cost)
        assert grown < 3 * MIB, f"{grown / MIB:.1f} MiB in ten seconds"
        assert new_nodes < 500, f"{new_nodes} nodes in ten seconds"
        assert await screen.count("lost") == 0
        await screen.wait_live("live")
