"""Where a client says that it was: a position, or one that no journal holds, or a refusal."""

from eventlog import Position
from ws_gateway.protocol import NOWHERE, Query, Refusal, parse_last_event_id, parse_query

__all__ = ["target"]


def target(data: bytes) -> None:
    """The parts of an address, separated by zeros, and the whole as an event stream's last id."""
    text = data.decode(errors="replace")
    names = ("epoch", "seq", "types", "snapshot")
    given = {name: part for name, part in zip(names, text.split("\0"), strict=False) if part != "-"}
    query = parse_query(given.items())
    assert isinstance(query, Query | Refusal)
    position = parse_last_event_id(text)
    assert position == NOWHERE or f"{position.epoch}.{position.seq}" == _plain(text)
    if isinstance(query, Query) and query.resume not in (None, NOWHERE):
        assert query.resume == Position(given.get("epoch", ""), int(given["seq"]))


def _plain(text: str) -> str:
    """Without the zeros that a number may begin with."""
    epoch, _, seq = text.rpartition(".")
    return f"{epoch}.{int(seq)}"
