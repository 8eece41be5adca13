"""Logs: one JSON object a line, with traces and without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

from services.kernel.api_keys import new_api_key
from services.kernel.logs import REDACTED, configure_logs
from tests.support.server import token_of

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Configures logs for one test, and reads them."""
    root = logging.getLogger()
    handlers, level, configuration = root.handlers[:], root.level, structlog.get_config()
    root.handlers = []  # so that the test runner's own are not closed
    written = io.StringIO()
    with redirect_stdout(written):
        configure_logs("proof", "info")
    try:
        yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    finally:
        root.handlers, root.level = handlers, level
        structlog.configure(**configuration)


def test_an_event_is_one_object(lines: Lines) -> None:
    structlog.get_logger("any").info("invoice issued", invoice="invoices/1", lines=3)

    [line] = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "invoice issued",
        "invoice": "invoices/1",
        "lines": 3,
        "level": "info",
        "service": "proof",
    }


def test_events_carry_the_trace(lines: Lines) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("tests")
    with tracer.start_as_current_span("call") as span:
        structlog.get_logger().info("inside")
        logging.getLogger("library").warning("beside")
    structlog.get_logger().info("outside")

    inside, beside, outside = lines()
    assert inside["trace_id"] == beside["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert inside["span_id"] == f"{span.get_span_context().span_id:016x}"
    assert "trace_id" not in outside


def test_libraries_log_in_the_same_form(lines: Lines) -> None:
    logging.getLogger("library").warning("lost %s of %d", "one", 2)
    logging.getLogger("library").info("shown")
    logging.getLogger("library").debug("not shown")

    first, second = lines()
    assert (first["event"], first["level"], first["service"]) == (
        "lost one of 2",
        "warning",
        "proof",
    )
    assert second["event"] == "shown"


def test_less_than_the_level_is_not_logged(lines: Lines) -> None:
    structlog.get_logger().debug("not shown")

    assert lines() == []


SECRETS = {
    "a token": token_of("viewer"),
    "an API key": new_api_key().text,
    "a header": "Bearer abc.def-ghi",
    "the password of a URL": "postgresql://finops:hunter2@db/finops",
    "an e-mail address": "ada.lovelace@example.com",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
def test_what_looks_like_a_secret_is_not_logged(lines: Lines, secret: str) -> None:
    log = structlog.get_logger()
    log.info(f"got {secret}", value=secret, nested={"deep": [("x", secret)]})  # noqa: G004 - as it should not be
    logging.getLogger("library").warning("got %s", secret)
    log.error("failed", exc_info=ValueError(secret))

    text = json.dumps(lines())
    assert REDACTED in text
    assert secret not in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    "name",
    ["authorization", "Authorization", "password", "jwt_secret", "api_key", "token", "email"],
)
def test_what_is_named_like_a_secret_is_not_logged(lines: Lines, name: str) -> None:
    structlog.get_logger().info("event", **{name: "plain"}, nested={name: {"a": "plain"}})

    [line] = lines()
    assert line[name] == line["nested"][name] == REDACTED


def test_what_is_no_secret_is_logged(lines: Lines) -> None:
    values = {"tenant": "acme", "tokens": 12_000, "key_id": "k1", "ratio": 0.5, "is_ok": True}
    structlog.get_logger().info("event", **values, none=None, url="https://example.com/a:b@c")

    [line] = lines()
    assert {name: line[name] for name in values} == values
    assert line["none"] is None


def test_endless_nesting_is_cut(lines: Lines) -> None:
    nested: dict[str, Any] = {}
    nested["again"] = nested

    structlog.get_logger().info("event", nested=nested)

    assert REDACTED in json.dumps(lines())
