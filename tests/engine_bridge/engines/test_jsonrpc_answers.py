"""JSON values as events: the documented shapes, and everything else."""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
from engine_events.v1 import events_pb2
from hypothesis import example, given
from hypothesis import strategies as st

from engine_bridge.engines.jsonrpc_answers import (
    NotAnAnswer,
    agent_status,
    compression_update,
    storage_update,
    system_status,
)

Convert = Callable[[Any], list[events_pb2.Event]]
CONVERTERS: list[Convert] = [system_status, storage_update, agent_status, compression_update]

NAMES = re.findall(
    r"\w+",
    """hostname platform uptime cpu_usage memory_usage used total used_percent load_average load1 load5 load15 timestamp
    pools name type state mount_point device size allocated free capacity read_errors agents agent_id id codename tier
    specialty status tasks_completed success_rate avg_response_time_ms memory_usage_mb last_active current_task_id
    task_progress jobs job_id job_type priority progress phase bytes_processed bytes_total current_ratio eta_seconds
    elapsed_seconds input_path output_path error total_running total_pending total_jobs""",
)
WORDS = ["ONLINE", "idle", "running", "compress_file", "high", "2024-01-01T00:00:00Z", "\ud800", "ß" * 5000, "queue"]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, 2**64 - 1, 2**64, 10**400, -1, 0])
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=8)
    | st.sampled_from(WORDS)
)
KEYS = st.sampled_from(NAMES) | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=8), max_leaves=30
)
RECORDS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=12)


def one(events: list[events_pb2.Event]) -> events_pb2.Event:
    (event,) = events
    return event


def check(convert: Convert, value: Any) -> None:
    try:
        events = convert(value)
    except NotAnAnswer:
        return
    assert events
    for event in events:
        assert event.type
        assert event.key
        again = events_pb2.Event.FromString(event.SerializeToString())
        assert again.type == event.type
    if convert is compression_update:
        assert [event.key for event in events].count("queue") == 1


@pytest.mark.parametrize("convert", CONVERTERS)
@given(value=VALUES | RECORDS | st.lists(RECORDS, max_size=4) | RECORDS.map(lambda job: {"jobs": [job]}))
@example(value={"jobs": [{"job_id": "queue"}, {"job_id": ""}, {"job_id": "\ud800"}]})
@example(value=[{"agent_id": "\udfff", "last_active": "9999-12-31T23:59:59-23:59"}])
@example(value=[{"agent_id": "a", "last_active": "0001-01-01T00:00:00+23:59"}])
@example(value={"load_average": [float("nan"), None, "x"], "memory_usage": {"used": 10**400, "total": True}})
def test_any_value_gives_events_that_can_be_sent_or_is_no_answer(convert: Convert, value: Any) -> None:
    check(convert, value)


@pytest.mark.parametrize("convert", CONVERTERS)
@pytest.mark.parametrize("value", ["text", 7, True, 1.5])
def test_result_of_another_shape_altogether_is_no_answer(convert: Convert, value: Any) -> None:
    with pytest.raises(NotAnAnswer):
        convert(value)


@pytest.mark.parametrize("convert", [system_status, compression_update])
@pytest.mark.parametrize("value", [None, [], [{}]])
def test_result_that_is_to_be_an_object_and_is_none_is_no_answer(convert: Convert, value: Any) -> None:
    with pytest.raises(NotAnAnswer):
        convert(value)


@pytest.mark.parametrize("value", [None, [], {"pools": None}, {"pools": []}])
def test_empty_list_in_any_form_is_no_pools(value: Any) -> None:
    """Go writes an empty list as null."""
    assert one(storage_update(value)).storage_update == events_pb2.StorageUpdate()


@pytest.mark.parametrize("value", [{"jobs": "x"}, {"jobs": 7}])
def test_jobs_that_are_no_list_are_no_answer(value: Any) -> None:
    with pytest.raises(NotAnAnswer):
        compression_update(value)


def test_list_beyond_its_bound_is_no_answer() -> None:
    assert len(one(storage_update([{}] * 10_000)).storage_update.pools) == 10_000
    with pytest.raises(NotAnAnswer, match="more than 10000"):
        storage_update([{}] * 10_001)


# ---- system.status


def test_system_status_in_full() -> None:
    event = one(
        system_status(
            {
                "hostname": "nas",
                "platform": "Linux",
                "uptime": 3600,
                "cpu_usage": 12.5,
                "memory_usage": {"used": 4 << 30, "total": 16 << 30, "used_percent": 25.5},
                "load_average": {"load1": 1, "load5": 0.5, "load15": 0.25},
                "timestamp": "2024-01-01T00:00:00Z",
                "something_else": {"ignored": True},
            }
        )
    )
    assert (event.type, event.key) == ("system.status", "current")
    assert event.system_status == events_pb2.SystemStatus(
        hostname="nas",
        platform="Linux",
        uptime=3600,
        cpu_usage=12.5,
        memory_used=4 << 30,
        memory_total=16 << 30,
        memory_pct=25.5,
        load_average=[1, 0.5, 0.25],
        timestamp=1704067200,
    )


def test_memory_percentage_is_worked_out_when_it_is_not_given() -> None:
    memory = one(system_status({"memory_usage": {"used": 1, "total": 4}})).system_status
    assert memory.memory_pct == 25.0
    nothing = one(system_status({"memory_usage": {"used": 1, "total": 0}})).system_status
    assert not nothing.HasField("memory_pct")


@pytest.mark.parametrize("value", ["12", None, True, float("nan"), float("inf"), [], {}, 10**400])
def test_number_of_the_wrong_kind_is_not_known(value: Any) -> None:
    """Not zero: a machine without load and one that does not say are two things."""
    system = one(system_status({"cpu_usage": value, "uptime": value, "hostname": "h"})).system_status
    assert system == events_pb2.SystemStatus(hostname="h")


@pytest.mark.parametrize("value", [-1, 2**64, 10**400, "4", True, float("nan"), -0.5])
def test_count_out_of_range_is_not_known(value: Any) -> None:
    system = one(system_status({"memory_usage": {"used": value, "total": value}})).system_status
    assert system == events_pb2.SystemStatus()


def test_count_given_as_a_float_is_whole() -> None:
    assert one(system_status({"memory_usage": {"used": 4.0e9}})).system_status.memory_used == 4_000_000_000


@pytest.mark.parametrize("value", [7, None, ["a"], {}, True])
def test_text_of_the_wrong_kind_is_empty(value: Any) -> None:
    assert one(system_status({"hostname": value})).system_status.hostname == ""


def test_text_is_bounded_and_can_be_sent() -> None:
    system = one(system_status({"hostname": "h" * 100_000, "platform": "a\ud800b"})).system_status
    assert len(system.hostname) == 4096
    assert system.platform == "a?b"


@pytest.mark.parametrize("value", [None, "0.5", 0.5, [], [None, None, None], {}, {"load1": "x"}, ["a", "b"]])
def test_load_average_of_the_wrong_kind_is_not_known(value: Any) -> None:
    assert list(one(system_status({"load_average": value})).system_status.load_average) == []


def test_load_average_known_in_part_has_nan_for_the_rest() -> None:
    """Which the gateway's JSON shows as null."""
    load = list(one(system_status({"load_average": {"load1": 1, "load15": 3}})).system_status.load_average)
    assert (load[0], load[2]) == (1, 3)
    assert math.isnan(load[1])


def test_load_average_of_more_than_three_is_cut() -> None:
    assert list(one(system_status({"load_average": [1, 2, 3, 4]})).system_status.load_average) == [1, 2, 3]


# ---- storage.update


def test_pool_in_full() -> None:
    pool = {
        "name": "tank",
        "type": "raidz1",
        "state": "DEGRADED",
        "mount_point": "/tank",
        "device": "sda",
        "size": 1000,
        "allocated": 400,
        "free": 600,
        "capacity": 41.5,
        "read_errors": 1,
        "write_errors": 2,
        "checksum_errors": 3,
    }
    event = one(storage_update([pool]))
    assert (event.type, event.key) == ("storage.update", "current")
    expected = events_pb2.StoragePool(
        **{name: value for name, value in pool.items() if name not in ("state", "capacity")},  # type: ignore[arg-type]
        state=events_pb2.POOL_STATE_DEGRADED,
        capacity_pct=41.5,
    )
    assert list(event.storage_update.pools) == [expected]
    assert event == one(storage_update({"pools": [pool]})), "bare or under its name"


def test_capacity_is_worked_out_when_it_is_not_given() -> None:
    pools = one(storage_update([{"size": 1000, "allocated": 250}, {"size": 0, "allocated": 0}])).storage_update.pools
    assert pools[0].capacity_pct == 25.0
    assert not pools[1].HasField("capacity_pct")


@pytest.mark.parametrize("state", ["", "ON FIRE", None, 1, ["ONLINE"]])
def test_unknown_pool_state_is_unspecified(state: Any) -> None:
    assert one(storage_update([{"state": state}])).storage_update.pools[0].state == events_pb2.POOL_STATE_UNSPECIFIED


def test_items_that_are_no_objects_are_left_out() -> None:
    assert len(one(storage_update([None, 7, "x", [], {"name": "a"}])).storage_update.pools) == 1


# ---- agent.status


def test_agent_in_full() -> None:
    event = one(
        agent_status(
            [
                {
                    "agent_id": "a1",
                    "name": "Alpha",
                    "tier": "worker",
                    "specialty": "compression",
                    "status": "busy",
                    "tasks_completed": 7,
                    "success_rate": 0.5,
                    "avg_response_time_ms": 12.5,
                    "memory_usage_mb": 64,
                    "last_active": "2024-01-01T00:00:00+01:00",
                    "current_task_id": "t",
                    "task_type": "compress",
                    "task_progress": 50,
                    "task_status": "at it",
                }
            ]
        )
    )
    assert (event.type, event.key) == ("agent.status", "current")
    assert event.agent_status.agents["a1"] == events_pb2.Agent(
        id="a1",
        codename="Alpha",
        status=events_pb2.AGENT_STATE_BUSY,
        specialization="compression",
        tier="worker",
        last_active=1704063600,
        tasks_completed=7,
        success_rate=0.5,
        memory_usage=64,
        average_latency=12.5,
        current_task_id="t",
        task_type="compress",
        task_progress=50,
        task_status="at it",
    )


def test_other_names_of_agent_fields_are_known() -> None:
    agent = {"id": "a", "codename": "c", "specialization": "s", "memory_usage": 1, "average_latency": 2}
    parsed = one(agent_status({"agents": [agent]})).agent_status.agents["a"]
    assert (parsed.codename, parsed.specialization, parsed.memory_usage, parsed.average_latency) == ("c", "s", 1, 2)


def test_agents_are_counted_by_status() -> None:
    states = ["idle", "busy", "BUSY", "error", "offline", "unheard of"]
    agents = one(agent_status([{"id": str(number), "status": state} for number, state in enumerate(states)]))
    counts = agents.agent_status
    assert (counts.total_agents, counts.active_agents, counts.idle_agents, counts.error_agents) == (6, 2, 1, 1)


def test_agents_without_an_id_are_left_out_and_equal_ids_are_one() -> None:
    agents = one(agent_status([{"name": "nobody"}, {"id": "a", "name": "first"}, {"id": "a", "name": "second"}]))
    assert agents.agent_status.total_agents == 1
    assert agents.agent_status.agents["a"].codename == "second"


@pytest.mark.parametrize(
    "value", ["0001-01-01T00:00:00Z", "2024-01-01T00:00:00", "yesterday", "", None, 0, -5, True, float("nan")]
)
def test_moment_that_is_none_is_not_known(value: Any) -> None:
    """Go's zero time, a time without a zone, and anything that is no time."""
    agent = one(agent_status([{"id": "a", "last_active": value}])).agent_status.agents["a"]
    assert not agent.HasField("last_active")


@pytest.mark.parametrize("value", [1704067200, 1704067200.0, "2024-01-01T00:00:00Z", "2023-12-31T23:00:00.000-01:00"])
def test_moment_is_unix_seconds_or_rfc_3339(value: Any) -> None:
    agent = one(agent_status([{"id": "a", "last_active": value}])).agent_status.agents["a"]
    assert agent.last_active == 1704067200


# ---- compression.update


def test_queue_and_its_jobs_in_full() -> None:
    queue, job = compression_update(
        {
            "jobs": [
                {
                    "job_id": "j1",
                    "status": "running",
                    "job_type": "decompress_data",
                    "priority": "critical",
                    "progress": 50,
                    "phase": "reading",
                    "bytes_processed": 5,
                    "bytes_total": 10,
                    "current_ratio": 2.5,
                    "elapsed_seconds": 1,
                    "eta_seconds": 1.5,
                    "input_path": "/in",
                    "output_path": "/out",
                    "error": "",
                }
            ],
            "total_running": 1,
            "total_pending": 4,
            "total_jobs": 9,
        }
    )
    expected = events_pb2.CompressionJob(
        job_id="j1",
        status=events_pb2.JOB_STATUS_RUNNING,
        job_type=events_pb2.JOB_TYPE_DECOMPRESS_DATA,
        priority=events_pb2.JOB_PRIORITY_CRITICAL,
        progress=50,
        phase="reading",
        bytes_processed=5,
        bytes_total=10,
        compression_ratio=2.5,
        elapsed_seconds=1,
        eta_seconds=1.5,
        input_path="/in",
        output_path="/out",
    )
    assert (queue.type, queue.key, job.type, job.key) == ("compression.update", "queue", "compression.update", "j1")
    assert job.compression_job == expected
    assert queue.compression_queue == events_pb2.CompressionQueue(
        jobs=[expected], total_running=1, total_pending=4, total_jobs=9
    )


@pytest.mark.parametrize("total", [None, -1, "3", 2**32, True])
def test_totals_are_counted_when_they_are_not_given(total: Any) -> None:
    jobs = [{"job_id": str(number), "status": state} for number, state in enumerate(["running", "pending", "pending"])]
    queue = compression_update({"jobs": jobs, "total_running": total, "total_pending": total, "total_jobs": total})[
        0
    ].compression_queue
    assert (queue.total_running, queue.total_pending, queue.total_jobs) == (1, 2, 3)


def test_jobs_without_an_id_and_ones_named_queue_are_left_out() -> None:
    events = compression_update({"jobs": [{"status": "running"}, {"job_id": "queue"}, {"job_id": "a"}]})
    assert [event.key for event in events] == ["queue", "a"]
    assert events[0].compression_queue.total_jobs == 1
