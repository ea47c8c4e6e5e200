"""What a browser sends: always a command or a refusal, whose answer can be encoded."""

import json

from ws_gateway import protocol, replies

__all__ = ["target"]


def target(data: bytes) -> None:
    """Any text, with halves of surrogate pairs in it too."""
    text = data.decode(errors="surrogateescape")
    result = protocol.parse(text)
    if isinstance(result, protocol.Refusal):
        answer = replies.error(result.code, result.message, 0.0, result.id)
    else:
        answer = replies.pong(0.0, result.id)
        if isinstance(result, protocol.Subscribe | protocol.Unsubscribe):
            after = protocol.subscriptions_after(protocol.DEFAULT_TYPES, result)
            if not isinstance(after, protocol.Refusal):
                answer = replies.subscriptions_reply("subscribe", after, 0.0, result.id)
    assert json.loads(answer).get("id") == result.id
