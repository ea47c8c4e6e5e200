"""`python -m tests.soak`: clients and programs in chaos for as long as you like; exit status 1 for any violation."""

import argparse
import asyncio
import random
import sys

from tests.soak.run import soak


def main() -> None:
    """Runs a soak, prints what came of it."""
    parser = argparse.ArgumentParser(description="Clients come, stall and go while programs are killed and frozen.")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long")
    parser.add_argument("--seed", type=int, default=None, help="of all that is random; none: another each time")
    arguments = parser.parse_args()
    seed = random.randrange(1_000_000) if arguments.seed is None else arguments.seed
    report = asyncio.run(soak(arguments.minutes, seed))
    sys.stdout.write(str(report))
    raise SystemExit(1 if report.violations else 0)


if __name__ == "__main__":
    main()
