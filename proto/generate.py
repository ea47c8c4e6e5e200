"""Generates the Python packages `engine_events.v1` and `engine_rpc.v1` with their type stubs from the proto files.

Used by `make gen` and by the wheel's build hook; needs grpcio-tools and mypy-protobuf.
"""

import shutil
import sys
import sysconfig
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

PROTO_ROOT = Path(__file__).resolve().parent


def _plugin(name: str) -> str:
    """The path of a protoc plugin, which pip puts beside the interpreter even where that is not on PATH."""
    path = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if path is None:
        raise SystemExit(f"{name} is not installed (it comes with mypy-protobuf)")
    return f"--plugin={name}={path}"


def generate(out: Path) -> None:
    """Writes the packages below `out`, replacing what was there."""
    staging = out.with_name(out.name + ".new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    sources = sorted(str(path.relative_to(PROTO_ROOT)) for path in PROTO_ROOT.glob("engine_*/v1/*.proto"))
    status = protoc.main(
        [
            "protoc",
            f"-I{PROTO_ROOT}",
            f"-I{resources.files('grpc_tools') / '_proto'}",
            _plugin("protoc-gen-mypy"),
            _plugin("protoc-gen-mypy_grpc"),
            f"--python_out={staging}",
            f"--grpc_python_out={staging}",
            f"--mypy_out=quiet:{staging}",
            f"--mypy_grpc_out=quiet:{staging}",
            *sources,
        ]
    )
    if status != 0:
        raise SystemExit(f"protoc failed with status {status}")
    for folder in sorted({staging / Path(source).parent for source in sources}):
        for package in (folder, folder.parent):
            (package / "__init__.py").touch()
            (package / "py.typed").touch()
    shutil.rmtree(out, ignore_errors=True)
    staging.rename(out)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else PROTO_ROOT / "gen")
