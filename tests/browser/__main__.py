"""`python -m tests.browser soak|figures|pictures`: what takes too long for a test, or writes into the documents."""

import argparse
import asyncio
import sys
from pathlib import Path

from tests.browser.figures import figures, with_figures
from tests.browser.pictures import take
from tests.browser.soak import soak

__all__ = ["main"]


def main() -> None:
    """Does one of the three; exit status 1: the soak was not good."""
    parser = argparse.ArgumentParser(description=__doc__)
    words = parser.add_subparsers(dest="word", required=True)
    words.add_parser("soak").add_argument("--minutes", type=float, default=10.0)
    words.add_parser("figures").add_argument("document", type=Path)
    words.add_parser("pictures").add_argument("folder", type=Path)
    arguments = parser.parse_args()
    match arguments.word:
        case "soak":
            report = asyncio.run(soak(arguments.minutes))
            sys.stdout.write(str(report))
            raise SystemExit(0 if report.is_good else 1)
        case "figures":
            table = asyncio.run(figures())
            sys.stdout.write(table + "\n")
            arguments.document.write_text(with_figures(arguments.document.read_text(), table))
        case _:
            asyncio.run(take(arguments.folder))


if __name__ == "__main__":
    main()
