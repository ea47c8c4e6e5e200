"""The live page: the files that were built from web/. They hold no data, so nobody is asked for credentials."""

from pathlib import Path

from aiohttp import web

__all__ = ["FILES", "LivePage"]

FILES = Path(__file__).with_name("page_files")
"""Where the build puts the page, here and in the wheel."""

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_ASSET = r"{name:[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+}"
"""One name without a slash that does not start with a dot: it cannot lead out of the folder."""
_FOR_EVER = "public, max-age=31536000, immutable"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Versions of Python differ in what they take a script for. Only these are served."""
_NOT_BUILT = "The page is not built: `make page` does that. The events are at /api/v1/events and /ws all the same.\n"


class LivePage:
    """Serves one folder of files; they may be built anew while it does."""

    def __init__(self, files: Path = FILES) -> None:
        self._index = files / "index.html"
        self._assets = files / "assets"

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/", self.index), web.get(f"/assets/{_ASSET}", self.asset)]

    async def index(self, _request: web.Request) -> web.StreamResponse:
        """The page, asked for again each time, for it names the assets. 404: it has not been built."""
        if not self._index.is_file():
            return web.Response(status=404, text=_NOT_BUILT, headers={"Cache-Control": "no-store"})
        return web.FileResponse(self._index, headers={"Cache-Control": "no-cache", "Content-Security-Policy": _POLICY})

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """Scripts, styles and pictures. Their names change with what they hold, so they may be kept for ever."""
        path = self._assets / request.match_info["name"]
        content_type = _TYPES.get(path.suffix)
        if content_type is None or not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path, headers={"Cache-Control": _FOR_EVER, "Content-Type": content_type})
