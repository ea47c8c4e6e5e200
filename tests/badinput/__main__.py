"""`python -m tests.badinput DOCUMENT`: every bad input at the gateway while well-behaved clients are there.

Writes into the document what was answered, and how late events came meanwhile. Ends with status 1 if a promise was
not kept. `--only TEXT`: only the inputs whose names hold it, printed and not written.
"""

import argparse
import shutil
import sys
from pathlib import Path

from tests.badinput.inputs import INPUTS
from tests.badinput.run import measure, scene
from tests.badinput.table import is_kept, render
from tests.kit.document import with_table
from tests.kit.measure import machine

__all__ = ["main"]


def main() -> None:
    """Runs everything, and writes the table in any case: it shows in bold what was not kept."""
    parser = argparse.ArgumentParser(description="Bad input at the gateway, and what well-behaved clients notice.")
    parser.add_argument("document", type=Path, help="where the table goes")
    parser.add_argument("--clients", type=int, default=1000, help="well-behaved ones")
    parser.add_argument("--rounds", type=int, default=4, help="windows for each input, with quiet ones between them")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a window")
    parser.add_argument("--only", default="", help="only the inputs whose names hold this")
    told = parser.parse_args()
    if shutil.which("cc") is None:
        sys.exit("there is no C compiler, `cc`: the load client cannot be built, nothing was measured")
    indexes = [index for index, what in enumerate(INPUTS) if told.only in what.name]
    with scene(told.clients) as stage:
        found = measure(stage, indexes, rounds=told.rounds, seconds=told.seconds)
        complaints = stage.complaints()
    table = render(found, clients=told.clients, rounds=told.rounds, machine=machine())
    if told.only:
        print(table)
    else:
        told.document.write_text(with_table(told.document.read_text(), table, "make badinput"))
    for line in complaints:
        print(f"in the gateway's log: {line}", file=sys.stderr)
    if complaints or not all(is_kept(one) for one in found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
