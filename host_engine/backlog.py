"""The jobs that wait for a worker: the most urgent first, and among equals the first that came. Pure."""

import heapq
from itertools import count

from engine_events.v1 import events_pb2

__all__ = ["Backlog"]


class Backlog:
    """Job ids in the order in which workers take them."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str]] = []
        self._waiting: set[str] = set()
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, job_id: str, priority: events_pb2.JobPriority.ValueType) -> None:
        heapq.heappush(self._heap, (-int(priority), next(self._numbers), job_id))
        self._waiting.add(job_id)

    def discard(self, job_id: str) -> None:
        """Takes a job out of the order."""
        self._waiting.discard(job_id)
        # what was taken out stays in the heap until it comes up; cancelling over and over must not make it grow
        if len(self._heap) > 2 * len(self._waiting) + 64:
            self._heap = [item for item in self._heap if item[2] in self._waiting]
            heapq.heapify(self._heap)

    def take(self) -> str | None:
        """The next job's id. None: nothing waits."""
        while self._heap:
            job_id = heapq.heappop(self._heap)[2]
            if job_id in self._waiting:
                self._waiting.remove(job_id)
                return job_id
        return None
