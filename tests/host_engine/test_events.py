"""The events that the engine publishes."""

from engine_events.v1 import events_pb2

from eventlog import is_type
from host_engine import events


def test_events_have_their_type_key_and_time() -> None:
    job = events.job_changed(events_pb2.CompressionJob(job_id="7"), 1.5)
    queue = events.queue_changed(events_pb2.CompressionQueue(), 1.5)
    said = events.notification("hello", events_pb2.NOTIFICATION_LEVEL_INFO, "storage", 1.5)
    free = events.free("agent.task_completed", "", {"n": 1, "ok": True, "word": "x"}, 1.5)
    assert [(event.type, event.key) for event in (job, queue, said, free)] == [
        ("compression.update", "7"),
        ("compression.update", "queue"),
        ("notification", ""),
        ("agent.task_completed", ""),
    ]
    for event in (job, queue, said, free):
        assert is_type(event.type)
        assert (event.observed_at.seconds, event.observed_at.nanos) == (1, 500_000_000)
    assert dict(free.other) == {"n": 1, "ok": True, "word": "x", "timestamp": 1.5}
