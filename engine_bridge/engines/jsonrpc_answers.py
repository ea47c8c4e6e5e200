"""JSON-RPC results as events. Pure. Any field may be missing, null or of the wrong kind, and is then not known; extra
ones are ignored; only a result of the wrong shape altogether is refused."""

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from engine_events.v1 import events_pb2

from engine_bridge.freshness import CURRENT, QUEUE

__all__ = ["NotAnAnswer", "agent_status", "compression_update", "storage_update", "system_status"]

_MAX_ITEMS = 10_000
_MAX_TEXT = 4096


class NotAnAnswer(Exception):
    """The result is not of the documented shape; its text says how."""


def system_status(result: Any) -> list[events_pb2.Event]:
    status = _object(result)
    memory = _object_or_empty(status.get("memory_usage"))
    used, total = _count(memory.get("used")), _count(memory.get("total"))
    percent = _number(memory.get("used_percent"))
    if percent is None and used is not None and total:
        percent = 100 * used / total
    payload = events_pb2.SystemStatus(
        hostname=_text(status.get("hostname")),
        platform=_text(status.get("platform")),
        uptime=_number(status.get("uptime")),
        cpu_usage=_number(status.get("cpu_usage")),
        memory_used=used,
        memory_total=total,
        memory_pct=percent,
        load_average=_load(status.get("load_average")),
        timestamp=_moment(status.get("timestamp")) or 0,
    )
    return [events_pb2.Event(type="system.status", key=CURRENT, system_status=payload)]


def storage_update(result: Any) -> list[events_pb2.Event]:
    payload = events_pb2.StorageUpdate()
    for pool in _objects(result, "pools"):
        size, allocated = _count(pool.get("size")), _count(pool.get("allocated"))
        capacity = _first_number(pool, "capacity", "capacity_pct")
        if capacity is None and size and allocated is not None:
            capacity = 100 * allocated / size
        payload.pools.append(
            events_pb2.StoragePool(
                name=_text(pool.get("name")),
                type=_text(pool.get("type")),
                state=_enum(events_pb2.PoolState, "POOL_STATE_", pool.get("state")),
                mount_point=_text(pool.get("mount_point")),
                device=_text(pool.get("device")),
                size=size,
                allocated=allocated,
                free=_count(pool.get("free")),
                capacity_pct=capacity,
                read_errors=_count(pool.get("read_errors")),
                write_errors=_count(pool.get("write_errors")),
                checksum_errors=_count(pool.get("checksum_errors")),
            )
        )
    return [events_pb2.Event(type="storage.update", key=CURRENT, storage_update=payload)]


def agent_status(result: Any) -> list[events_pb2.Event]:
    payload = events_pb2.AgentStatus()
    for agent in _objects(result, "agents"):
        agent_id = _text(agent.get("agent_id")) or _text(agent.get("id"))
        if not agent_id:
            continue
        payload.agents[agent_id].CopyFrom(
            events_pb2.Agent(
                id=agent_id,
                codename=_text(agent.get("name")) or _text(agent.get("codename")),
                status=_enum(events_pb2.AgentState, "AGENT_STATE_", agent.get("status")),
                specialization=_text(agent.get("specialty")) or _text(agent.get("specialization")),
                tier=_text(agent.get("tier")),
                last_active=_moment(agent.get("last_active")),
                tasks_completed=_count(agent.get("tasks_completed")),
                success_rate=_number(agent.get("success_rate")),
                memory_usage=_first_number(agent, "memory_usage_mb", "memory_usage"),
                average_latency=_first_number(agent, "avg_response_time_ms", "average_latency"),
                current_task_id=_text_or_none(agent.get("current_task_id")),
                task_type=_text_or_none(agent.get("task_type")),
                task_progress=_number(agent.get("task_progress")),
                task_status=_text_or_none(agent.get("task_status")),
            )
        )
    states = [agent.status for agent in payload.agents.values()]
    payload.total_agents = len(states)
    payload.active_agents = states.count(events_pb2.AGENT_STATE_BUSY)
    payload.idle_agents = states.count(events_pb2.AGENT_STATE_IDLE)
    payload.error_agents = states.count(events_pb2.AGENT_STATE_ERROR)
    return [events_pb2.Event(type="agent.status", key=CURRENT, agent_status=payload)]


def compression_update(result: Any) -> list[events_pb2.Event]:
    listing = _object(result)
    jobs = [_job(job) for job in _objects(listing.get("jobs"), "jobs")]
    jobs = [job for job in jobs if job.job_id and job.job_id != QUEUE]
    states = [job.status for job in jobs]
    queue = events_pb2.CompressionQueue(
        jobs=jobs,
        total_running=_total(listing.get("total_running"), states.count(events_pb2.JOB_STATUS_RUNNING)),
        total_pending=_total(listing.get("total_pending"), states.count(events_pb2.JOB_STATUS_PENDING)),
        total_jobs=_total(listing.get("total_jobs"), len(jobs)),
        timestamp=_moment(listing.get("timestamp")) or 0,
    )
    events = [events_pb2.Event(type="compression.update", key=QUEUE, compression_queue=queue)]
    return events + [events_pb2.Event(type="compression.update", key=job.job_id, compression_job=job) for job in jobs]


def _job(job: dict[str, Any]) -> events_pb2.CompressionJob:
    return events_pb2.CompressionJob(
        job_id=_text(job.get("job_id")),
        status=_enum(events_pb2.JobStatus, "JOB_STATUS_", job.get("status")),
        job_type=_enum(events_pb2.JobType, "JOB_TYPE_", job.get("job_type")),
        priority=_enum(events_pb2.JobPriority, "JOB_PRIORITY_", job.get("priority")),
        progress=_number(job.get("progress")),
        phase=_text(job.get("phase")),
        bytes_processed=_count(job.get("bytes_processed")),
        bytes_total=_count(job.get("bytes_total")),
        compression_ratio=_first_number(job, "current_ratio", "compression_ratio"),
        elapsed_seconds=_number(job.get("elapsed_seconds")),
        eta_seconds=_number(job.get("eta_seconds")),
        input_path=_text(job.get("input_path")),
        output_path=_text(job.get("output_path")),
        error=_text(job.get("error")),
        timestamp=_moment(job.get("timestamp")) or 0,
    )


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NotAnAnswer("the result is not an object")
    return value


def _object_or_empty(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any, name: str) -> list[dict[str, Any]]:
    """A list, or an object that holds one under `name`; null is an empty list (Go's engines send it so)."""
    if isinstance(value, dict):
        value = value.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise NotAnAnswer(f"{name} is not a list")
    if len(value) > _MAX_ITEMS:
        raise NotAnAnswer(f"{name} has more than {_MAX_ITEMS} items")
    return [item for item in value if isinstance(item, dict)]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _first_number(item: dict[str, Any], *names: str) -> float | None:
    return next((number for number in map(_number, map(item.get, names)) if number is not None), None)


def _count(value: Any) -> int | None:
    number = _number(value)
    if number is None or number < 0 or number >= 1 << 64:
        return None
    return value if isinstance(value, int) else int(number)


def _total(value: Any, otherwise: int) -> int:
    count = _count(value)
    return count if count is not None and count < 1 << 32 else otherwise


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    # a lone surrogate is valid JSON and cannot be written as UTF-8
    return value[:_MAX_TEXT].encode("utf-8", "replace").decode("utf-8")


def _text_or_none(value: Any) -> str | None:
    return _text(value) or None


def _moment(value: Any) -> float | None:
    """Unix seconds of an RFC 3339 text, or of a number that is Unix seconds already. Nothing before 1970 is a moment:
    Go's zero time (year 1) means never."""
    unix_s = _rfc3339(value) if isinstance(value, str) else _number(value)
    return unix_s if unix_s is not None and unix_s > 0 else None


def _rfc3339(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _load(value: Any) -> Iterable[float]:
    values = [value.get(key) for key in ("load1", "load5", "load15")] if isinstance(value, dict) else value
    if not isinstance(values, list):
        return []
    numbers = [_number(item) for item in values[:3]]
    return [math.nan if number is None else number for number in numbers] if any(n is not None for n in numbers) else []


def _enum(enum: Any, prefix: str, value: Any) -> Any:
    if not isinstance(value, str):
        return 0
    return dict(enum.items()).get(prefix + value.upper(), 0)
