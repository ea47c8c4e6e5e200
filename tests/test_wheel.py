"""What is installed from the wheel is whole: a gateway from a fresh environment serves the live page."""

import asyncio
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.kit.client import get
from tests.kit.program import free_port
from ws_gateway.page import FILES

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from this checkout."""
    assert (FILES / "index.html").exists(), "the page is not built: make page"
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


def run(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_wheel_has_the_page_and_the_generated_packages_and_nothing_of_the_workshop(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "ws_gateway/page_files/index.html" in names
    for kind in ("js", "js.br", "js.gz", "css"):
        assert [name for name in names if re.fullmatch(rf"ws_gateway/page_files/assets/[\w-]+\.{kind}", name)]
    assert "engine_events/v1/events_pb2.py" in names
    assert [name for name in names if name.startswith(("web/", "tests/")) or "node_modules" in name] == []


async def test_gateway_of_the_wheel_serves_the_page(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, which borrows the libraries of this one but not this checkout."""
    run(sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv"), cwd=tmp_path)
    python = str(tmp_path / "venv" / "bin" / "python")
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        str(wheel),
        cwd=tmp_path,
    )
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    # a path in a .pth file is searched last, and the .pth files in it (this checkout's own) are not read
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    address = f"127.0.0.1:{free_port()}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "WS_GATEWAY_"))}
    gateway = await asyncio.create_subprocess_exec(
        str(tmp_path / "venv" / "bin" / "ws-gateway"),
        cwd=tmp_path,
        env=environment | {"WS_GATEWAY_LISTEN": address, "WS_GATEWAY_BRIDGE": f"grpc://127.0.0.1:{free_port()}"},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert gateway.stderr is not None
        async with asyncio.timeout(20):
            async for line in gateway.stderr:
                if b"listening" in line:
                    break
        page = await get(f"http://{address}/")
        assert page.status == 200
        (script,) = re.findall(r'src="\./(assets/[^"]+\.js)"', page.text)
        assert (await get(f"http://{address}/{script}")).status == 200
    finally:
        gateway.terminate()
        await gateway.communicate()
    assert gateway.returncode == 0
