"""What docs/SECURITY.md tells its readers to type, typed."""

import asyncio
import re
from pathlib import Path

from tests.end_to_end.grpcurl import grpcurl
from tests.kit.programs import Stack
from ws_gateway.config import Settings

PAGE = Path(__file__).parents[2] / "docs" / "SECURITY.md"


def blocks(heading: str, language: str) -> list[str]:
    """The code under a heading."""
    section = PAGE.read_text().partition(f"\n{heading}\n")[2]
    section = re.split(r"\n##+ ", section)[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def exported(block: str, **words: str) -> dict[str, str]:
    """The variables that a block of `export` lines sets."""
    found = dict(re.findall(r"([A-Z_]+)=(\S+)", block))
    for name, value in found.items():
        for word, meaning in words.items():
            found[name] = found[name].replace(f"${word}", meaning)
        assert "$" not in found[name], f"{name}={value}"
    return found


async def shell(script: str, directory: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        "bash", "-euc", script, cwd=directory, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def test_recipe_for_mutual_tls_works_as_it_stands(tmp_path: Path) -> None:
    """Its openssl commands, its settings, and its grpcurl."""
    recipe, settings = blocks("### Mutual TLS, from nothing", "sh")
    await shell(recipe, tmp_path)
    folder = tmp_path / "tls"
    stack = Stack(poll_s=0.3)
    for program in stack.programs:  # each reads its own
        program.settings |= exported(settings, T=str(folder))
    stack.point_bridge_at(f"grpcs://{stack.engine.address}")
    stack.gateway.settings["WS_GATEWAY_BRIDGE"] = f"grpcs://{stack.bridge.address}"
    async with stack:
        flags = ["-cacert", f"{folder}/ca.pem", "-cert", f"{folder}/consumer.pem", "-key", f"{folder}/consumer.key"]
        assert "engine_events.v1.EventService" in await grpcurl(stack.bridge.address, "list", flags=flags)
        nobody = ["-connect-timeout", "3", "-cacert", f"{folder}/ca.pem"]
        await grpcurl(stack.bridge.address, "list", flags=nobody, fails=True)


def test_page_names_every_limit_with_its_default() -> None:
    """As the settings have it."""
    rows = re.findall(r"^\| (`WS_GATEWAY_[^|]*) \| ([0-9, ]+) \|", PAGE.read_text(), re.MULTILINE)
    assert len(rows) > 10
    for names, defaults in rows:
        first, *more = re.findall(r"`([A-Z_]+)`", names)
        stem = first.removeprefix("WS_GATEWAY_").lower()
        fields = [stem, *(f"messages{name.lower()}" for name in more)]
        for field, default in zip(fields, defaults.split(", "), strict=True):
            assert Settings.model_fields[field].default == float(default), field
