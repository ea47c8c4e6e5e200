"""The wheel's build hook: ships the generated proto packages, made afresh from the proto files, and the live page."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProtoBuildHook(BuildHookInterface[Any]):
    """Generates proto/gen and sees to the page before files are collected. An editable install uses what make wrote."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        gen = Path(self.root) / "proto" / "gen"
        runpy.run_path(str(Path(self.root) / "proto" / "generate.py"))["generate"](gen)
        for package in ("engine_events", "engine_rpc"):
            build_data["force_include"][str(gen / package)] = package
        # an sdist brings the page along; a checkout builds it, and a wheel without it is never made by accident
        page = Path(self.root) / "ws_gateway" / "page_files"
        if not (page / "index.html").exists():
            runpy.run_path(str(Path(self.root) / "web" / "build.py"))["build"](install_node=False)
        build_data["force_include"][str(page)] = "ws_gateway/page_files"
