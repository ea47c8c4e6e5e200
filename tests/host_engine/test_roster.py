"""Workers as agents."""

from engine_events.v1 import events_pb2

from host_engine.roster import Roster, Worker


def worker() -> Worker:
    return Worker("w-1", "Worker", "tests", "worker")


def test_worker_new_knows_nothing_yet() -> None:
    agent = worker().to_proto(None)
    assert agent.status == events_pb2.AGENT_STATE_IDLE
    assert agent.tasks_completed == 0
    for field in ("success_rate", "average_latency", "last_active", "current_task_id", "memory_usage"):
        assert not agent.HasField(field)


def test_worker_at_work_shows_its_task() -> None:
    busy = worker()
    busy.begin("t-1", "compress_file", now_s=1, wall_s=100, phase=lambda: "compressing", percent=lambda: 42.0)
    agent = busy.to_proto(None)
    assert agent.status == events_pb2.AGENT_STATE_BUSY
    assert (agent.current_task_id, agent.task_type, agent.task_progress, agent.task_status) == (
        "t-1", "compress_file", 42.0, "compressing",
    )  # fmt: skip


def test_worker_counts_what_succeeded_and_failed() -> None:
    tried = worker()
    for number, succeeded in enumerate([True, True, True, False]):
        tried.begin("t", "x", now_s=number, wall_s=number)
        tried.finish(succeeded=succeeded, now_s=number + 0.5, wall_s=number + 0.5)
    agent = tried.to_proto(None)
    assert agent.status == events_pb2.AGENT_STATE_ERROR
    assert (agent.tasks_completed, agent.success_rate, agent.average_latency) == (4, 0.75, 500.0)
    assert not agent.HasField("current_task_id")


def test_worker_whose_task_was_cancelled_counts_nothing() -> None:
    tried = worker()
    tried.begin("t", "x", now_s=0, wall_s=0)
    tried.finish(succeeded=None, now_s=1, wall_s=1)
    agent = tried.to_proto(None)
    assert (agent.status, agent.tasks_completed) == (events_pb2.AGENT_STATE_IDLE, 0)


def test_roster_counts_states_and_shares_memory() -> None:
    roster = Roster()
    for number in range(3):
        roster.add(Worker(f"w-{number}", "", "", "")).begin("t", "x", now_s=0, wall_s=0)
    roster.add(worker())
    status = roster.to_proto(resident_bytes=8_000_000, wall_s=5)
    assert (status.total_agents, status.active_agents, status.idle_agents, status.error_agents) == (4, 3, 1, 0)
    assert {agent.memory_usage for agent in status.agents.values()} == {2.0}
