"""`python -m tests.fuzz SECONDS [TARGET …]`: each target for so long, led by the coverage of our own code (atheris).

Ends with status 1 at the first input that a target fails on, which libFuzzer writes to `crash-…`. With `--one TARGET`
it becomes the fuzzer of that target.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import structlog

__all__ = ["main"]

_INSTRUMENTED = ["ws_gateway", "engine_bridge", "eventlog", "json", "jwt", "ipaddress", "urllib"]


def main() -> None:
    """Fuzzes."""
    if sys.argv[1] == "--one":
        _become(sys.argv[2], sys.argv[3:])
        return
    seconds = int(sys.argv[1])
    from tests.fuzz.targets import TARGETS

    for name in sys.argv[2:] or TARGETS:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as corpus:
            for number, sample in enumerate(TARGETS[name][1]):
                Path(corpus, f"{number}").write_bytes(sample)
            print(f"{name}: {seconds} s", flush=True)
            options = [
                f"-max_total_time={seconds}",
                "-max_len=4096",
                "-timeout=10",
                "-print_final_stats=1",
                "-verbosity=0",
            ]
            done = subprocess.run([sys.executable, "-m", "tests.fuzz", "--one", name, corpus, *options], check=False)
        if done.returncode:
            raise SystemExit(f"{name}: a failure, see above")


def _become(name: str, options: list[str]) -> None:
    import atheris

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))  # refusals are what is wanted
    with atheris.instrument_imports(include=_INSTRUMENTED):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([name, *options], TARGETS[name][0])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
