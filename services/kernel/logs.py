"""One JSON object a line on standard output, with trace ids and without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED: Final = "[redacted]"
DEPTH_MAX: Final = 6  # of nested values looked through; deeper ones are not logged at all

_SECRET_NAMES: Final = re.compile(
    r"authorization|cookie|password|passwd|secret|api_?key$|key_text|token$|private_key|email",
    re.IGNORECASE,
)
# What secrets look like wherever they turn up: an API key, a payment provider's keys, signing and
# client secrets, a bearer credential, a JWT, the password in a URL; and e-mail addresses, which are
# personal.
_SECRET_VALUES: Final = re.compile(
    r"fk_[0-9a-z]+_[0-9a-zA-Z]+"
    r"|(?:[rs]k_(?:live|test)|whsec)_\w+|\w+_secret_\w+"
    r"|(?i:bearer)\s+[\w.~+/=-]+"
    r"|eyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
    r"|[\w.+-]+@[\w-]+\.[\w.-]+"
)


def configure_logs(service: str, level: str) -> None:
    """Sends structlog's and the standard library's records to standard output, as JSON."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Origin(service),
        add_trace,
    ]
    rendered: list[Processor] = [
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.JSONRenderer(serializer=_dumps),
    ]
    structlog.configure(
        processors=[*shared, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.INFO), force=True)
    for chatty in ("httpx", "httpcore", "alembic"):  # they log every step of what we log as one
        logging.getLogger(chatty).setLevel(logging.WARNING)


def add_trace(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Adds the ids of the current span, where there is one."""
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"] = f"{span.trace_id:032x}"
        event["span_id"] = f"{span.span_id:016x}"
    return event


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replaces secrets and e-mail addresses by name and by look, in nested values too."""
    return {key: _redacted(key, value, 0) for key, value in event.items()}


def _redacted(name: str, value: Any, depth: int) -> Any:
    if _SECRET_NAMES.search(name) is not None:
        return REDACTED
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if depth >= DEPTH_MAX:
        return REDACTED
    if isinstance(value, Mapping):
        return {str(key): _redacted(str(key), item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_redacted("", item, depth + 1) for item in value]
    return _SECRET_VALUES.sub(REDACTED, str(value))


class _Origin:
    """Names the service in every record."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = self._service
        return event


def _dumps(event: EventDict, **_: object) -> str:
    return json.dumps(event, ensure_ascii=False, default=str)
