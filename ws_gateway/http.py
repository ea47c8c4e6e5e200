"""The plain HTTP beside the streams: health, the latest states, and how the gateway is."""

import asyncio
import time

import orjson
from aiohttp import web

from eventlog import Position, Topics
from ws_gateway import protocol
from ws_gateway.access import OPEN, Access, require
from ws_gateway.hub import Hub
from ws_gateway.limits import Admission
from ws_gateway.mirror import Mirror
from ws_gateway.upstream import Upstream

__all__ = ["Pages"]


class Pages:
    """Everything is read from the mirror and the hub; nothing is asked of the bridge."""

    def __init__(
        self,
        mirror: Mirror,
        hub: Hub,
        upstream: Upstream,
        admission: Admission,
        *,
        request_limits: protocol.Limits = protocol.DEFAULT_LIMITS,
        access: Access = OPEN,
    ) -> None:
        self._request_limits = request_limits
        self._access = access
        self._mirror = mirror
        self._hub = hub
        self._upstream = upstream
        self._admission = admission
        self._started_at_s = time.monotonic()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/api/v1/snapshot", self.snapshot),
            web.get("/api/v1/status", self.status),
        ]

    async def healthz(self, _request: web.Request) -> web.Response:
        """200: the process turns its loop."""
        return _json({"status": "ok"})

    async def readyz(self, _request: web.Request) -> web.Response:
        """200: connected upstream and everything fresh. 503: `reasons` says what is not."""
        reasons = []
        if not self._mirror.connected:
            reasons.append("not connected to the bridge")
        stale = self._mirror.stale_topics()
        if stale:
            reasons.append("stale: " + ", ".join(stale))
        if not len(self._mirror.journal.states()):
            reasons.append("no state is known")
        return _json({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    async def snapshot(self, request: web.Request) -> web.Response:
        """The latest of every state, `types` (comma-separated) of them, as `/ws` would send it."""
        grant = require(self._access.of(request))
        query = protocol.parse_query(request.query.items(), self._request_limits)
        if isinstance(query, protocol.Refusal):
            return _json({"code": query.code, "message": query.message}, status=400)
        topics = Topics(query.types or ("*",), within=grant.topics)
        now_s, outage = self._mirror.now_s(), self._mirror.view.outage
        states = [entry.body for entry in self._mirror.journal.states(topics)]
        messages = [state.json if outage is None else state.stale_json(now_s) for state in states]
        position = orjson.dumps(_position(self._mirror.position))
        body = b'{"position":%b,"bridge_connected":%b,"events":[%b]}' % (
            position,
            b"true" if self._mirror.connected else b"false",
            b",".join(messages),
        )
        return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})

    async def status(self, request: web.Request) -> web.Response:
        """How the gateway is, for whoever has any credentials at all."""
        require(self._access.of(request))
        mirror, hub, journal = self._mirror, self._hub, self._mirror.journal
        return _json(
            {
                "uptime_s": round(time.monotonic() - self._started_at_s, 3),
                "tasks": len(asyncio.all_tasks()),
                "bridge": {
                    "connected": mirror.connected,
                    "consecutive_failures": self._upstream.failures,
                    "refused_events": mirror.refused,
                    "unknown_enums": mirror.unknown_enum_count,
                },
                "position": _position(mirror.position),
                "journal": {
                    "events": len(journal),
                    "bytes": journal.size_bytes,
                    "oldest_log_seq": journal.oldest_log_seq,
                    "max_log_events": journal.max_log_events,
                    "max_bytes": journal.max_bytes,
                },
                "freshness": mirror.ages_s(),
                "stale_topics": mirror.stale_topics(),
                "clients": {
                    "connected": len(hub),
                    "behind": hub.behind_count,
                    "dropped": hub.dropped_clients,
                    "vanished": hub.vanished_clients,
                    "refused": self._admission.refused,
                    "superseded_events": hub.superseded_events,
                    "lost_events": hub.lost_events,
                },
            }
        )


def _position(position: Position) -> dict[str, str | int]:
    return {"epoch": position.epoch, "seq": position.seq}


def _json(data: object, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(data), status=status, content_type="application/json", headers={"Cache-Control": "no-store"}
    )
