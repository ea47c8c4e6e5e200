"""`python locks/renew.py`: writes locks/NAME.txt, every package that is installed with its version and its hashes.

run.txt has what the programs need and what generates and builds; each other one what its extra adds to that.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

__all__ = ["EXTRAS", "main"]

EXTRAS = ("dev", "bench", "fuzz", "lock", "node")
"""Each is resolved so that it fits those before it."""
_HERE = Path(__file__).parent
_PROJECT = _HERE.parent / "pyproject.toml"


def main() -> None:
    """Resolves everything anew, to the newest versions that pyproject.toml allows."""
    project = tomllib.loads(_PROJECT.read_text())["project"]
    extras = project["optional-dependencies"]
    done: list[str] = []
    for name, wanted in (("run", project["dependencies"] + extras["gen"]), *((name, extras[name]) for name in EXTRAS)):
        lock = _HERE / f"{name}.txt"
        command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--upgrade", "--universal"]
        command += ["--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header", *done]
        subprocess.run([*command, "--output-file", str(lock), "-"], input="\n".join(wanted), text=True, check=True)
        done += ["--constraint", str(lock)]


if __name__ == "__main__":
    main()
