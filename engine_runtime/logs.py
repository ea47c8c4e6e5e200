"""Structured logs on standard error: readable on a terminal, one JSON object a line otherwise."""

import asyncio
import logging
import sys

import structlog

__all__ = ["configure"]


class _NobodysMistake(logging.Filter):
    """grpc.aio writes a traceback for a call that it cancels itself, when it ends before it has begun."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def configure(program: str, level: str = "info") -> None:
    """Sets logging up for the whole process. Control characters in values are escaped: one event is one line."""
    terminal = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _escape,
        _program_as_logger if terminal else _in_order,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(pad_event_to=24) if terminal else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(program=program)
    # what libraries log goes the same way, warnings and worse only
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    # grpc writes a traceback for every message that it cannot decode; whoever reads the message says so in one line
    logging.getLogger("grpc._common").setLevel(logging.CRITICAL)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_NobodysMistake())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _program_as_logger(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Three programs share a terminal: which one speaks stands in front."""
    event["logger"] = event.pop("program", "")
    return event


def _in_order(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """What happened comes first, then what it was about."""
    first = ("timestamp", "level", "program", "event")
    return {**{key: event[key] for key in first if key in event}, **event}


def _escape(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Client and engine text may hold newlines and terminal escapes; neither may forge a line of the log."""
    for key, value in event.items():
        if isinstance(value, str) and key != "exception" and not value.isprintable():
            event[key] = value.encode("unicode_escape").decode("ascii")
    return event
