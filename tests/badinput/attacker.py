"""`python -m tests.badinput.attacker NICENESS`: the hostile clients, in a process of their own that bears their cost.

On a small machine it shares a core with the well-behaved clients, who must not wait for it when they are measured. The
first line on standard input is the target. Each further one, `{"inputs": [INDEX, …], "seconds": S, "share": F}`,
is answered when all hostile clients are done: for each input, how often each answer was seen.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.badinput.acts import Target
from tests.badinput.inputs import INPUTS, Input

__all__ = ["Answers"]

Answers = dict[str, int]
"""How often each answer was seen."""


async def _attack(what: Input, target: Target, seconds: float, share: float) -> Answers:
    """`share` of its rate, in all its clients together, each of which acts once at least."""
    answers: Counter[str] = Counter()
    began_s = time.monotonic()
    period_s = what.clients / (what.per_s * share)

    async def client(number: int) -> None:
        due_s = began_s + period_s * number / what.clients
        while True:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            try:
                answers[await what.act(target)] += 1
            except (OSError, AssertionError, ValueError, KeyError) as error:  # an answer too, and never the right one
                answers[repr(error)[:200]] += 1
            due_s = max(due_s + period_s, time.monotonic())
            if due_s + what.takes_s > began_s + seconds:
                return

    async with asyncio.TaskGroup() as clients:
        for number in range(what.clients):
            clients.create_task(client(number), name=f"hostile client {number}")
    return dict(answers)


async def _attack_all(indexes: Sequence[int], target: Target, seconds: float, share: float) -> list[Answers]:
    return await asyncio.gather(*(_attack(INPUTS[index], target, seconds, share) for index in indexes))


async def _main() -> None:
    os.nice(int(sys.argv[1]))
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    told = json.loads(await reader.readline())
    target = Target(**told | {"secret": told["secret"].encode()})
    print("ready", flush=True)
    while line := await reader.readline():
        order = json.loads(line)
        answers = await _attack_all(order["inputs"], target, order["seconds"], order["share"])
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
