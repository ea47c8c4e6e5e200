"""The events that this engine publishes, as one-line builders. Pure: time is an argument, Unix seconds."""

from engine_events.v1 import events_pb2
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

__all__ = ["free", "job_changed", "notification", "queue_changed"]


def job_changed(job: events_pb2.CompressionJob, now_s: float) -> events_pb2.Event:
    return events_pb2.Event(
        type="compression.update", key=job.job_id, observed_at=_timestamp(now_s), compression_job=job
    )


def queue_changed(queue: events_pb2.CompressionQueue, now_s: float) -> events_pb2.Event:
    return events_pb2.Event(
        type="compression.update", key="queue", observed_at=_timestamp(now_s), compression_queue=queue
    )


def notification(
    message: str, level: events_pb2.NotificationLevel.ValueType, source: str, now_s: float
) -> events_pb2.Event:
    said = events_pb2.Notification(message=message, level=level, source=source, timestamp=now_s)
    return events_pb2.Event(type="notification", observed_at=_timestamp(now_s), notification=said)


def free(type_: str, key: str, data: dict[str, str | float | bool], now_s: float) -> events_pb2.Event:
    """An event of a type of the engine's own, with free data; `timestamp` is added to it."""
    other = Struct()
    other.update({**data, "timestamp": now_s})
    return events_pb2.Event(type=type_, key=key, observed_at=_timestamp(now_s), other=other)


def _timestamp(now_s: float) -> Timestamp:
    return Timestamp(seconds=int(now_s), nanos=int(now_s % 1 * 1e9))
