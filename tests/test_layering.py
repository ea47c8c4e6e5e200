"""Who may import whom. A new module must be given its place in the table below, or this fails.

`__main__` > app > shells (sockets, streams, tasks) > adapters > pure > words (settings, errors): nothing imports
upward, nothing imports in a circle, the three programs never import one another, and each library has its place.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LAYERS = ("__main__", "app", "shell", "adapter", "pure", "words")
"""From above to below."""

PLACES: Mapping[str, Mapping[str, str]] = {
    "eventlog": {"pure": "eventlog journal", "words": "position topics"},
    "engine_runtime": {
        "adapter": "engine_runtime grpc_defaults logs memory peer process reloaded tls unix_sockets",
        "words": "addresses settings",
    },
    "host_engine": {
        "__main__": "__main__",
        "app": "app",
        "shell": "service",
        "adapter": "codec compressor execute feed job jobs ledger mounts partial requests rootdir sampler storage "
        "system threads zpool",
        "pure": "alerts backlog events frames mdstat roster",
        "words": "host_engine config errors",
    },
    "engine_bridge": {
        "__main__": "__main__",
        "app": "app",
        "shell": "health poller prober service source watcher",
        "adapter": "engines engines.grpc engines.jsonrpc feed guard",
        "pure": "engines.jsonrpc_answers freshness intake timestamps",
        "words": "engine_bridge config engines.contract errors",
    },
    "ws_gateway": {
        "__main__": "__main__",
        "app": "app",
        "shell": "access door gate http listener page session sse upstream",
        "adapter": "batches behind credentials encode garbage hub kernel mirror pulse subscriber wire",
        "pure": "limits origin protocol replies translate",
        "words": "ws_gateway config errors",
    },
}
"""Every module of ours, by package and layer. (A package's own name stands for its __init__.)"""

SHARED = {"eventlog", "engine_runtime"}
"""What the programs share. These import none of the programs; eventlog not even the other."""

GENERATED = {"engine_events", "engine_rpc"}

LIBRARIES: Mapping[str, set[str]] = {
    "aiohttp": {"engine_bridge.engines.jsonrpc"},
    "google": {"*"},
    "grpc": {
        "engine_runtime.grpc_defaults",
        "engine_runtime.peer",
        "engine_bridge.app",
        "engine_bridge.engines.grpc",
        "engine_bridge.health",
        "engine_bridge.service",
        "host_engine.app",
        "host_engine.service",
        "ws_gateway.upstream",
    },
    "grpc_health": {"engine_bridge.app", "engine_bridge.engines.grpc", "engine_bridge.health", "host_engine.app"},
    "grpc_reflection": {"engine_bridge.app", "host_engine.app"},
    "jwt": {"ws_gateway.credentials"},
    "orjson": {"ws_gateway.encode", "ws_gateway.http", "ws_gateway.replies"},
    "psutil": {"host_engine.mounts", "host_engine.system"},
    "pybreaker": {"engine_bridge.guard"},
    "pydantic": {"engine_runtime.settings", "engine_bridge.config", "host_engine.config", "ws_gateway.config"},
    "pydantic_settings": {"engine_runtime.settings", "engine_bridge.config", "host_engine.config", "ws_gateway.config"},
    "structlog": {"*"},
    "zstandard": {"host_engine.codec", "host_engine.execute"},
}
"""Where each library may be imported. aiohttp's server also in ws_gateway's shells and its app, see below."""

NAMED_TUPLE = {"_asdict", "_fields", "_make", "_replace"}
"""Public, whatever they look like."""

IMPURE = {
    "asyncio",
    "aiohttp",
    "grpc",
    "os",
    "select",
    "selectors",
    "signal",
    "socket",
    "subprocess",
    "threading",
    "time",
}
"""No pure part knows a loop, a clock, a socket, a process or the environment: time is an argument."""


def layer_of(module: str) -> str | None:
    """None: the table does not have it."""
    package, _, rest = module.partition(".")
    for layer, names in PLACES.get(package, {}).items():
        if (rest or package) in names.split():
            return layer
    return None


def imports_of(tree: ast.Module, modules: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Line and full name of each import; `from package import module` names the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                names_module = whole in modules or f"{node.module}" in ("aiohttp", "os")
                yield node.lineno, "." if node.level else (whole if names_module else node.module or "")


def may_use(library: str, name: str, module: str) -> bool:
    """Whether a library may be imported by a module of ours."""
    if name == "aiohttp.web" or (library == "aiohttp" and module.startswith("ws_gateway.")):
        return module.startswith("ws_gateway.") and layer_of(module) in ("app", "shell")
    return bool({"*", module} & LIBRARIES.get(library, set()))


def import_violations(module: str, tree: ast.Module, modules: Mapping[str, str]) -> Iterator[str]:
    layer = layer_of(module)
    if layer is None:
        yield f"{module}: is not in the table"
        return
    package = module.partition(".")[0]
    for line, name in imports_of(tree, modules):
        top = name.partition(".")[0]
        where = f"{module}:{line}: {name}"
        if not top:
            yield f"{where}: relative imports hide what is imported"
        elif top == package:
            below = layer_of(name)
            if below is not None and LAYERS.index(below) < LAYERS.index(layer):
                yield f"{where}: {layer} imports {below}"
        elif top in PLACES:
            if top not in SHARED:
                yield f"{where}: programs never import one another, nor does what they share import them"
            elif package == "eventlog":
                yield f"{where}: eventlog imports the standard library only"
        elif top in sys.stdlib_module_names:
            if (layer == "pure" or package == "eventlog") and top in IMPURE:
                yield f"{where}: a pure part"
            if name in ("os.environ", "os.getenv", "os.environb"):
                yield f"{where}: settings are read once, by engine_runtime.settings"
        elif package == "eventlog":
            yield f"{where}: eventlog imports the standard library only"
        elif top not in GENERATED and not may_use(top, name, module):
            yield f"{where}: not the place for this library"
        elif layer == "pure" and top in IMPURE:
            yield f"{where}: a pure part"


def own_names(tree: ast.Module) -> set[str]:
    """The private names that a module itself gives to attributes: its classes may know one another."""
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name("self" | "cls"), attr=name, ctx=ast.Store()):
                names.add(name)
    return names


def body_violations(module: str, tree: ast.Module) -> Iterator[str]:
    own = own_names(tree) | NAMED_TUPLE
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else None
            where = f"{module}:{node.lineno}: {owner or '…'}.{node.attr}"
            if owner == "os" and node.attr in ("environ", "getenv", "environb"):
                yield f"{where}: settings are read once, by engine_runtime.settings"
            private = node.attr.startswith("_") and not node.attr.endswith("__")
            if private and owner not in ("self", "cls") and node.attr not in own:
                yield f"{where}: somebody else's private attribute"
        elif isinstance(node, ast.Call):
            function = node.func
            called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if called in ("import_module", "__import__"):
                yield f"{module}:{node.lineno}: {called}: an import that nobody sees"


def cycle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"imports in a circle: {' < '.join(error.args[1])}"]
    return []


def violations(sources: Mapping[str, str]) -> list[str]:
    """What is wrong with these modules, given as name → source."""
    found: list[str] = []
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        tree = ast.parse(source)
        found += import_violations(module, tree, sources)
        found += body_violations(module, tree)
        graph[module] = {name for _, name in imports_of(tree, sources) if name in sources}
    return found + cycle(graph)


def sources() -> dict[str, str]:
    """Every module of ours."""
    found = {}
    for package in PLACES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path.read_text()
    return found


# --- what holds


def test_every_import_goes_down() -> None:
    """And every library is where it belongs, and nobody looks into another's private parts."""
    assert violations(sources()) == []


def test_table_has_no_module_that_is_gone() -> None:
    present = sources()
    listed = {
        package if name == package else f"{package}.{name}"
        for package, layers in PLACES.items()
        for names in layers.values()
        for name in names.split()
    }
    # a module that is being written may be listed before it is there, never the other way round
    assert listed - set(present) == set()


def test_no_module_is_in_two_layers() -> None:
    for layers in PLACES.values():
        names = [name for listed in layers.values() for name in listed.split()]
        assert len(names) == len(set(names))
        assert set(layers) <= set(LAYERS)


def test_every_package_is_in_the_table() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert packages == set(PLACES)


# --- that it would be noticed if it did not


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        pytest.param("ws_gateway.protocol", "from ws_gateway.hub import Hub", "pure imports adapter", id="upward"),
        pytest.param("ws_gateway.hub", "from ws_gateway import session", "adapter imports shell", id="upward by name"),
        pytest.param("ws_gateway.config", "import ws_gateway.app", "words imports app", id="words import"),
        pytest.param(
            "engine_bridge.guard", "from engine_bridge.poller import poll", "adapter imports shell", id="guard"
        ),
        pytest.param("host_engine.app", "from host_engine.__main__ import main", "app imports __main__", id="main"),
        pytest.param(
            "engine_bridge.service", "import ws_gateway.hub", "never import one another", id="bridge, gateway"
        ),
        pytest.param(
            "ws_gateway.hub", "from host_engine import jobs", "never import one another", id="gateway, engine"
        ),
        pytest.param("engine_runtime.logs", "import engine_bridge.feed", "never import one another", id="shared"),
        pytest.param("engine_runtime.logs", "import eventlog", "", id="shared may know the other"),
        pytest.param("eventlog.journal", "from engine_runtime import logs", "standard library only", id="eventlog"),
        pytest.param("eventlog.journal", "import orjson", "standard library only", id="eventlog, library"),
        pytest.param("eventlog.topics", "import asyncio", "a pure part", id="eventlog, loop"),
        pytest.param("eventlog.position", "from time import monotonic", "a pure part", id="eventlog, clock"),
        pytest.param("ws_gateway.limits", "import time", "a pure part", id="pure, clock"),
        pytest.param("engine_bridge.freshness", "import asyncio.timeouts", "a pure part", id="pure, loop"),
        pytest.param("ws_gateway.replies", "from os import path", "a pure part", id="pure, os"),
        pytest.param("ws_gateway.protocol", "def f():\n import aiohttp", "not the place", id="inside a function"),
        pytest.param("ws_gateway.hub", "from aiohttp import web", "not the place", id="server in an adapter"),
        pytest.param(
            "engine_bridge.engines.jsonrpc", "from aiohttp import web", "not the place", id="server in bridge"
        ),
        pytest.param("engine_bridge.engines.jsonrpc", "import aiohttp.web", "not the place", id="server in bridge too"),
        pytest.param("engine_bridge.source", "import pybreaker", "not the place", id="pybreaker"),
        pytest.param("ws_gateway.http", "import psutil", "not the place", id="psutil"),
        pytest.param("engine_bridge.feed", "from zstandard import ZstdError", "not the place", id="zstandard"),
        pytest.param("ws_gateway.hub", "import numpy", "not the place", id="new library"),
        pytest.param("ws_gateway.hub", "from . import session", "relative", id="relative"),
        pytest.param("ws_gateway.app", "import os\nos.environ['A']", "settings are read once", id="environ"),
        pytest.param("ws_gateway.app", "import os\nos.getenv('A')", "settings are read once", id="getenv"),
        pytest.param("ws_gateway.app", "from os import environ", "settings are read once", id="from os"),
        pytest.param(
            "ws_gateway.app", "from importlib import import_module as i\nimport_module('a')", "nobody sees", id="i"
        ),
        pytest.param("ws_gateway.session", "def f(ws): ws._writer.close()", "private attribute", id="private"),
        pytest.param("ws_gateway.session", "def f(s): s.a.b()._req = 1", "private attribute", id="private, deep"),
        pytest.param("ws_gateway.session", "class A:\n def f(self): self._a.__len__()", "", id="own and special ones"),
        pytest.param(
            "ws_gateway.session", "class A:\n def f(s): self._b = s._b; s._asdict()", "", id="the module's own"
        ),
        pytest.param("ws_gateway.telemetry", "", "not in the table", id="unlisted"),
        pytest.param("ws_gateway.session", "from aiohttp import web", "", id="server in a shell"),
        pytest.param("ws_gateway.hub", "import asyncio, time\nfrom eventlog import Topics", "", id="down"),
        pytest.param("ws_gateway.hub", "from engine_events.v1 import events_pb2", "", id="generated"),
    ],
)
def test_checker_complains_of_what_is_wrong_and_of_nothing_else(module: str, source: str, complaint: str) -> None:
    """Each sample as if it were the whole of a module among the real ones."""
    names = dict.fromkeys(sources(), "")
    found = violations({**names, module: source})
    if complaint:
        assert len(found) == 1, found
        assert complaint in found[0]
    else:
        assert found == []


def test_checker_complains_of_a_circle() -> None:
    names = dict.fromkeys(sources(), "")
    circle = {
        "ws_gateway.hub": "from ws_gateway.mirror import Mirror",
        "ws_gateway.mirror": "from ws_gateway.subscriber import Subscriber",
        "ws_gateway.subscriber": "from ws_gateway import hub",
    }
    (found,) = violations({**names, **circle})
    assert found.startswith("imports in a circle: ws_gateway.")
