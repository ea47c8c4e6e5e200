"""A circuit breaker that is right under asyncio: pybreaker's state machine behind a front that knows about awaiting.

pybreaker decides and records around a call that it thinks is synchronous. Here the decision is taken before the await
(`admit`) and the outcome recorded after it (on the ticket), so that a half-open breaker lets exactly one trial through,
a cancellation records nothing, and an outcome that is older than the breaker's last change of state changes nothing.
Time is the monotonic clock, given by the caller.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any

import pybreaker

__all__ = ["Guard", "State", "Ticket"]


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


_STATES = {
    pybreaker.STATE_CLOSED: State.CLOSED,
    pybreaker.STATE_OPEN: State.OPEN,
    pybreaker.STATE_HALF_OPEN: State.HALF_OPEN,
}


class Ticket:
    """Leave to make one call. Exactly one of the three methods says how it ended; later ones change nothing."""

    __slots__ = ("_change", "_guard", "_spent")

    def __init__(self, guard: "Guard", change: int) -> None:
        self._guard = guard
        self._change = change
        self._spent = False

    def succeeded(self) -> None:
        self._record(None)

    def failed(self, error: Exception) -> None:
        self._record(error)

    def abandoned(self) -> None:
        """The call was cancelled: neither a success nor a failure. A trial may be made again at once."""
        self._spent = True
        self._guard._release(self)

    def _record(self, error: Exception | None) -> None:
        if not self._spent:
            self._spent = True
            self._guard._record(self, self._change, error)


class Guard:
    """The breaker of one source.

    Opens after `failures` failures in a row; admits one trial after `reset_s`; each failed trial doubles the wait up to
    `reset_max_s`, a success closes and sets it back. `on_change(state)` is called, synchronously, at each change.
    """

    def __init__(
        self,
        *,
        failures: int,
        reset_s: float,
        reset_max_s: float,
        clock: Callable[[], float],
        on_change: Callable[[State], None],
    ) -> None:
        self._reset_s = reset_s
        self._reset_max_s = max(reset_s, reset_max_s)
        self._wait_s = reset_s
        self._clock = clock
        self._on_change = on_change
        self._open_until_s = 0.0
        self._changes = 0
        self._trial: Ticket | None = None
        self.state = State.CLOSED
        self.consecutive_failures = 0
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=failures,
            # pybreaker's own timer runs on the wall clock and is never asked: an open breaker is only ever moved by
            # `admit` and `half_open`, both before any call reaches it
            reset_timeout=reset_max_s,
            # otherwise the error of the call that trips the breaker is replaced by CircuitBreakerError
            throw_new_error_on_trip=False,
            listeners=[_Listener(self)],
        )

    @property
    def retry_after_s(self) -> float:
        """Seconds until the next trial is admitted; 0 unless open."""
        return max(0.0, self._open_until_s - self._clock()) if self.state is State.OPEN else 0.0

    def admit(self) -> Ticket | None:
        """Leave to call now, or None: refused, because the breaker is open or its one trial is under way."""
        if self.state is State.OPEN:
            if self._clock() < self._open_until_s:
                return None
            self._breaker.half_open()
        if self.state is State.HALF_OPEN:
            if self._trial is not None:
                return None
            self._trial = Ticket(self, self._changes)
            return self._trial
        return Ticket(self, self._changes)

    def half_open(self) -> None:
        """Allows a trial at once: the engine has been seen alive. Changes nothing unless open."""
        if self.state is State.OPEN:
            self._breaker.half_open()

    def _record(self, ticket: Ticket, change: int, error: Exception | None) -> None:
        self._release(ticket)
        if change != self._changes:
            return
        if error is None:
            self.consecutive_failures = 0
            self._breaker.call(_nothing)
            return
        self.consecutive_failures += 1
        try:
            self._breaker.call(_raise, error)
        except Exception as raised:
            if raised is not error:
                raise

    def _release(self, ticket: Ticket) -> None:
        if self._trial is ticket:
            self._trial = None

    def _changed(self, state: State) -> None:
        """The one place where the state changes: pybreaker has just moved."""
        before, self.state = self.state, state
        self._changes += 1
        self._trial = None
        if state is State.OPEN:
            if before is State.HALF_OPEN:
                self._wait_s = min(self._wait_s * 2, self._reset_max_s)
            self._open_until_s = self._clock() + self._wait_s
        elif state is State.CLOSED:
            self._wait_s = self._reset_s
        self._on_change(state)


class _Listener(pybreaker.CircuitBreakerListener):
    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        self._guard._changed(_STATES[new_state.name])


def _nothing() -> None:
    pass


def _raise(error: Exception) -> None:
    raise error
