"""`python -m bench`: all measures in interleaved rounds, then bench/RESULTS.md; `--short`: a few ratios, checked."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict

from bench import report, short
from bench.measures import MEASURES, Row, missing_peers
from bench.processes import OUT

_SELDOM = frozenset({"copy", "growth", "split", "translation"})
"""These take every other round: they are not compared with a peer's."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a minute: ratios only; status 1 if one is out of bounds")
    parser.add_argument("--only", choices=sorted(MEASURES), action="append", help="this measure; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, 5 if not given")
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if arguments.short:
        return short.run()
    wanted = arguments.only or list(MEASURES)
    began_s = time.monotonic()
    rows: list[Row] = []
    for number in range(arguments.rounds):
        for row in _round(wanted, number):
            rows.append(row)
            figures = " ".join(f"{name}={value:.4g}" for name, value in row.values.items())
            print(
                f"{time.monotonic() - began_s:5.0f}s round {number + 1} {row.measure} {row.server} {row.at} {figures}"
            )
    (OUT / "rows.json").write_text(json.dumps([asdict(row) for row in rows]))
    minutes = (time.monotonic() - began_s) / 60
    report.write(rows, missing_peers, rounds=arguments.rounds, minutes=minutes, is_whole=not arguments.only)
    return 0


def _round(wanted: list[str], number: int) -> Iterator[Row]:
    for name in wanted:
        if name in _SELDOM and number % 2:
            continue
        try:
            yield from MEASURES[name]()
        except RuntimeError as error:
            print(f"{name}: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
