"""Well-behaved clients at the real gateway, what hostile ones do beside them, and how late events come meanwhile."""

import json
import secrets
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.fanout import run
from bench.load import Dialect, Load
from bench.processes import CLIENT_CORE, OUT, Child
from bench.publisher import Order
from bench.servers import Running, our_bridge, our_gateway
from tests.badinput.acts import AUDIENCE, Target
from tests.badinput.attacker import Answers
from tests.badinput.inputs import INPUTS, Input
from tests.kit.program import complaints_in

__all__ = ["Found", "Scene", "Window", "at_once", "measure", "scene"]

_RATE_PER_S = 20.0
_WARM_S = 0.4
_BRIDGE = {"ENGINE_BRIDGE_POLL_S": "1", "ENGINE_BRIDGE_BREAKER_RESET_S": "1"}
"""Fast enough that each hostile answer is seen within its window, and none of the next one's is held up by it."""


@dataclass(frozen=True)
class Window:
    """What the well-behaved clients saw in some seconds."""

    p99_ms: float
    missing: int
    """Events that one of them never got."""
    growth_bytes: int
    """The gateway's most memory in it, beyond what it had before."""


@dataclass
class Found:
    """What was found for one input, over all rounds."""

    what: Input
    answers: Counter[str]
    quiet_ms: list[float]
    meanwhile_ms: list[float]
    growth_bytes: int = 0
    missing: int = 0

    @property
    def is_answered(self) -> bool:
        """Whether every act was answered as it should be."""
        return set(self.answers) == {self.what.answer}

    @property
    def ratio(self) -> float:
        """How much later events came: the median over the rounds, each beside its own quiet windows."""
        return statistics.median(
            meanwhile / quiet for quiet, meanwhile in zip(self.quiet_ms, self.meanwhile_ms, strict=True)
        )


class Scene:
    """The programs, the clients at them and the attacker."""

    def __init__(self, running: Running, load: Load, attacker: Child, clients: int, log_begins: int) -> None:
        self._running = running
        self._load = load
        self._attacker = attacker
        self._clients = clients
        self._log_begins = log_begins

    def quiet(self, seconds: float) -> Window:
        """A window in which nothing else happens."""
        return self._window(seconds)

    def attacked(
        self, indexes: Sequence[int], seconds: float, *, share: float = 1.0
    ) -> tuple[Window, dict[int, Answers]]:
        """A window during which these inputs come, each at `share` of its rate; how often each answer was seen."""
        whole_s = _WARM_S + seconds
        for index in indexes:
            if INPUTS[index].engine:
                self._running.publisher.child.tell(json.dumps({"hostile": INPUTS[index].engine, "seconds": whole_s}))
        self._attacker.tell(json.dumps({"inputs": list(indexes), "seconds": whole_s, "share": share}))
        window = self._window(seconds)
        answers: list[Answers] = json.loads(self._attacker.hear(60.0))
        return window, dict(zip(indexes, answers, strict=True))

    def logged(self) -> list[str]:
        """The lines of the gateway's log since the beginning."""
        with (OUT / "ws-gateway.log").open("rb") as log:
            log.seek(self._log_begins)
            return log.read().decode(errors="replace").split("\n")

    def complaints(self) -> list[str]:
        """What the gateway's log should not hold: tracebacks, lost tasks, lines that somebody else wrote."""
        lines = self.logged()
        unescaped = [line[:500] for line in lines if line and not (line.isprintable() and line.startswith("{"))]
        return complaints_in("\n".join(lines)) + unescaped

    def _window(self, seconds: float) -> Window:
        before = self._memory("VmRSS")
        Path(f"/proc/{self._running.server.pid}/clear_refs").write_text("5")  # VmHWM begins anew
        sample = run(self._running, self._load, Order(_RATE_PER_S, seconds), self._clients, warm_s=_WARM_S)
        return Window(sample.p99_ms, sample.missing, max(0, self._memory("VmHWM") - before))

    def _memory(self, field: str) -> int:
        for line in Path(f"/proc/{self._running.server.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the gateway has ended")


@contextmanager
def scene(clients: int, *, niceness: int = 19) -> Iterator[Scene]:
    """Engine, bridge, gateway with credentials, `clients` well-behaved clients, and the attacker, which waits.
    `niceness` of the attacker: 0, where others keep the machine so busy that it would see answers too late.

    RuntimeError: a program did not start, or there is no C compiler for the load client.
    """
    token, secret = secrets.token_hex(16), secrets.token_hex(32)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="badinput-")))
        (directory / "tokens").write_text(f"{token}\n")
        (directory / "secret").write_text(secret)
        settings = {
            "WS_GATEWAY_TOKENS_FILE": str(directory / "tokens"),
            "WS_GATEWAY_JWT_KEY_FILE": str(directory / "secret"),
            "WS_GATEWAY_JWT_AUDIENCE": AUDIENCE,
            "WS_GATEWAY_LOG_LEVEL": "info",
        }
        OUT.mkdir(parents=True, exist_ok=True)
        log = OUT / "ws-gateway.log"
        log_begins = log.stat().st_size if log.exists() else 0
        bridged = our_bridge(engine_module="tests.badinput.engine", settings=_BRIDGE)
        publisher, bridge, engine, bridge_port = stack.enter_context(bridged)
        gateway, port = stack.enter_context(our_gateway(bridge_port, settings=settings))
        dialect = Dialect("/ws?types=notification", protocol=f"events.v1, bearer.{token}", ready="client_id")
        running = Running(gateway, port, dialect, publisher, (bridge, engine), bridge_port)
        load = stack.enter_context(Load(port, dialect))
        load.connect(clients)
        attacker = stack.enter_context(Child.python("tests.badinput.attacker", str(niceness), core=CLIENT_CORE))
        target = Target("127.0.0.1", port, token, b"", f"127.0.0.1:{bridge_port}")
        attacker.tell(json.dumps(asdict(target) | {"secret": secret}))
        if attacker.hear(20.0) != "ready":
            raise RuntimeError("the attacker did not get ready")
        yield Scene(running, load, attacker, clients, log_begins)


def measure(scene: Scene, indexes: Sequence[int], *, rounds: int, seconds: float) -> list[Found]:
    """Every input in every round, two of them between quiet windows, which are what each is compared with."""
    found = {index: Found(INPUTS[index], Counter(), [], []) for index in indexes}
    scene.quiet(seconds)  # everything is warm
    for number in range(1, rounds + 1):
        quiet_before = scene.quiet(seconds)
        for at in range(0, len(indexes), 2):
            attacked = {}
            for index in indexes[at : at + 2]:
                attacked[index], answers = scene.attacked([index], max(seconds, INPUTS[index].takes_s + 1))
                found[index].answers.update(answers[index])
            quiet_after = scene.quiet(seconds)
            for index, window in attacked.items():
                one = found[index]
                one.quiet_ms.append((quiet_before.p99_ms + quiet_after.p99_ms) / 2)
                one.meanwhile_ms.append(window.p99_ms)
                one.growth_bytes = max(one.growth_bytes, window.growth_bytes)
                one.missing += window.missing
                print(
                    f"{number}/{rounds} {one.what.name}: {one.quiet_ms[-1]:.1f} → {window.p99_ms:.1f} ms, "
                    f"{window.growth_bytes / 2**20:.1f} MiB, {dict(one.answers)}",
                    flush=True,
                )
            quiet_before = quiet_after
    return list(found.values())


_SHORT_SHARE = 0.05
_SHORT_S = 1.0
_TOGETHER = (("numbers",), ("bytes", "sizes"), ("missing",), ("", "topics"))
"""What the engine can do at the same time, with "" for all that clients do. After its 100,000 topics no new one of its
own is taken."""


def at_once(scene: Scene) -> tuple[Window, list[Found]]:
    """The short form: a quiet window, and all inputs in a few windows, each at a fraction of its rate."""
    quiet = scene.quiet(_SHORT_S)
    every: list[Found] = []
    for together in _TOGETHER:
        indexes = [index for index, what in enumerate(INPUTS) if what.engine in together]
        seconds = max(_SHORT_S, *(INPUTS[index].takes_s + 1 for index in indexes))
        window, answers = scene.attacked(indexes, seconds, share=_SHORT_SHARE)
        every += [
            Found(
                INPUTS[index],
                Counter(answers[index]),
                [quiet.p99_ms],
                [window.p99_ms],
                window.growth_bytes,
                window.missing,
            )
            for index in indexes
        ]
    return quiet, every
