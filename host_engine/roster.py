"""The engine's own workers as agents: what each does now, and how it has done so far. Pure: time is an argument."""

from collections.abc import Callable
from dataclasses import dataclass

from engine_events.v1 import events_pb2

__all__ = ["Roster", "Worker"]


@dataclass(frozen=True, slots=True)
class _Task:
    task_id: str
    task_type: str
    begun_s: float
    percent: Callable[[], float] | None
    phase: Callable[[], str]


class Worker:
    """One worker's record, kept by the worker itself."""

    def __init__(self, worker_id: str, codename: str, specialization: str, tier: str) -> None:
        self.worker_id = worker_id
        self._codename = codename
        self._specialization = specialization
        self._tier = tier
        self._task: _Task | None = None
        self._last_failed = False
        self._last_active_s: float | None = None
        self._succeeded_count = 0
        self._failed_count = 0
        self._spent_s = 0.0

    def begin(
        self,
        task_id: str,
        task_type: str,
        *,
        now_s: float,
        wall_s: float,
        phase: Callable[[], str] = lambda: "running",
        percent: Callable[[], float] | None = None,
    ) -> None:
        """`phase` and `percent` tell how far it is whenever somebody asks; `percent` None: nobody knows."""
        self._task = _Task(task_id, task_type, now_s, percent, phase)
        self._last_active_s = wall_s

    def finish(self, *, succeeded: bool | None, now_s: float, wall_s: float) -> float:
        """Seconds that the task took. `succeeded` None: it was cancelled, which is neither."""
        task, self._task = self._task, None
        spent_s = now_s - task.begun_s if task else 0.0
        self._last_active_s = wall_s
        if succeeded is not None:
            self._last_failed = not succeeded
            self._succeeded_count += succeeded
            self._failed_count += not succeeded
            self._spent_s += spent_s
        return spent_s

    def to_proto(self, memory_mb: float | None) -> events_pb2.Agent:
        finished_count = self._succeeded_count + self._failed_count
        agent = events_pb2.Agent(
            id=self.worker_id,
            codename=self._codename,
            status=self._status(),
            specialization=self._specialization,
            tier=self._tier,
            tasks_completed=finished_count,
        )
        if self._last_active_s is not None:
            agent.last_active = self._last_active_s
        if finished_count:
            agent.success_rate = self._succeeded_count / finished_count
            agent.average_latency = 1000.0 * self._spent_s / finished_count
        if memory_mb is not None:
            agent.memory_usage = memory_mb
        if self._task is not None:
            agent.current_task_id = self._task.task_id
            agent.task_type = self._task.task_type
            agent.task_status = self._task.phase()
            if self._task.percent is not None:
                agent.task_progress = self._task.percent()
        return agent

    def _status(self) -> events_pb2.AgentState.ValueType:
        if self._task is not None:
            return events_pb2.AGENT_STATE_BUSY
        return events_pb2.AGENT_STATE_ERROR if self._last_failed else events_pb2.AGENT_STATE_IDLE


class Roster:
    """All workers of the engine."""

    def __init__(self) -> None:
        self._workers: list[Worker] = []

    def add(self, worker: Worker) -> Worker:
        self._workers.append(worker)
        return worker

    def to_proto(self, *, resident_bytes: int | None, wall_s: float) -> events_pb2.AgentStatus:
        """`resident_bytes`: memory of the whole process, which the workers share, so each is shown an equal part."""
        memory_mb = resident_bytes / 1e6 / len(self._workers) if resident_bytes and self._workers else None
        agents = [worker.to_proto(memory_mb) for worker in self._workers]
        states = [agent.status for agent in agents]
        return events_pb2.AgentStatus(
            agents={agent.id: agent for agent in agents},
            total_agents=len(agents),
            active_agents=states.count(events_pb2.AGENT_STATE_BUSY),
            idle_agents=states.count(events_pb2.AGENT_STATE_IDLE),
            error_agents=states.count(events_pb2.AGENT_STATE_ERROR),
            timestamp=wall_s,
        )
