"""What was found, as a table in Markdown: what was not kept is in bold."""

import statistics
from collections.abc import Sequence

from tests.badinput.run import Found

__all__ = ["MAX_GROWTH_BYTES", "MAX_RATIO", "is_kept", "render"]

MAX_RATIO = 1.2
"""How much later than in the quiet the 99th percentile of the events may come."""
MAX_GROWTH_BYTES = 32 << 20
"""What the gateway may take for all hostile clients of an input together."""


def is_kept(found: Found) -> bool:
    """Whether every promise held."""
    return not found.missing and found.is_answered and _is_timely(found) and found.growth_bytes <= MAX_GROWTH_BYTES


def render(found: Sequence[Found], *, clients: int, rounds: int, machine: str) -> str:
    """A row for each input, and above them how it was measured."""
    lines = [
        f"{clients:,} well-behaved clients, 20 events a second each, {rounds} windows for each input; {machine}.",
        "",
        "| input | answer | answers seen | p99 quiet → meanwhile, ms | ratio | memory |",
        "|---|---|---|---:|---:|---:|",
    ]
    for one in found:
        seen = ", ".join(f"{answer} ({count:,})" for answer, count in one.answers.most_common(4))
        growth = f"{one.growth_bytes / 2**20:.0f} MiB"
        times = f"{statistics.median(one.quiet_ms):.1f} → {statistics.median(one.meanwhile_ms):.1f}"
        cells = [
            f"{one.what.promise}: {one.what.name}",
            one.what.answer,
            _bold(seen, one.is_answered),
            times + (f", **{one.missing} missing**" if one.missing else ""),
            _bold(f"{one.ratio:.2f}", _is_timely(one)),
            _bold(growth, one.growth_bytes <= MAX_GROWTH_BYTES),
        ]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _is_timely(found: Found) -> bool:
    return found.ratio <= MAX_RATIO


def _bold(text: str, is_kept: bool) -> str:
    return text if is_kept else f"**{text}**"
