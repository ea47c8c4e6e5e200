"""What is done to the programs: killed, ended, frozen, and started again, at random from a seed."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence

from tests.kit.programs import Program

__all__ = ["Chaos"]

_NUMBERS_APART = 1_000_000


class Chaos:
    """One thing after the other, to one program after the other."""

    def __init__(self, rng: random.Random, programs: Sequence[Program], *, numbered: Program | None) -> None:
        """`numbered`: the engine that is to go on with larger numbers at each start."""
        self.done: Counter[str] = Counter()
        self.gateway_gone_s: list[tuple[float, float]] = []
        """When a gateway was killed or ended, and when it was there again, monotonic."""
        self.violations: list[str] = []
        self._rng = rng
        self._programs = list(programs)
        self._numbered = numbered
        self._starts = 1

    async def run(self, *, until_s: float, restarts: bool) -> None:
        """Goes on until then (monotonic); without `restarts` programs are only frozen. All run at the end."""
        while time.monotonic() < until_s:
            await asyncio.sleep(self._rng.uniform(2, 8))
            program = self._rng.choice(self._programs)
            actions = [self._freeze]
            if restarts:
                actions += [self._kill, self._terminate]
            action = self._rng.choice(actions)
            self.done[f"{program.name} {action.__name__[1:]}"] += 1
            await action(program)

    async def _freeze(self, program: Program) -> None:
        program.stop()
        try:
            await asyncio.sleep(self._rng.uniform(0.2, 6))
        finally:
            program.cont()

    async def _kill(self, program: Program) -> None:
        gone_s = time.monotonic()
        await program.kill()
        await self._start_again(program, gone_s)

    async def _terminate(self, program: Program) -> None:
        gone_s = time.monotonic()
        end = await program.terminate()
        if end.status != 0 or end.seconds > 5:
            self.violations.append(f"{program.name} ended with status {end.status} {end.seconds:.1f} s after SIGTERM")
        await self._start_again(program, gone_s)

    async def _start_again(self, program: Program, gone_s: float) -> None:
        await asyncio.sleep(self._rng.uniform(0, 3))
        if program is self._numbered:
            self._starts += 1
            program.arguments = ("--first", str(self._starts * _NUMBERS_APART))
        await program.start()
        if program.name.startswith("gateway"):
            self.gateway_gone_s.append((gone_s, time.monotonic()))
