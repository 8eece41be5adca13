"""Events as lines of JSON: the contract's UsageEvent, or a CloudEvent that carries one.

NDJSON: each line is a `finops.usage.v1.UsageEvent` in the proto3 JSON mapping, with field names in
either spelling. CloudEvents: each line is a structured-mode event of version 1.0 whose `data` is
such a UsageEvent; `id` and `source` are its identity, and `time`, `subject` and `type` stand in for
`start_time`, `user_id` and `resource_type` where the data does not give them.

A field the contract does not have, or a value outside its limits, refuses the line; so does a line
that names another tenant than the one importing. Decimals may be JSON numbers and are read exactly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from services.usage.domain.event import UsageEvent
from services.usage.service.importers.json_event import event_fields, event_of
from services.usage.service.importers.rows import (
    ImportKind,
    ImportOptions,
    Parsed,
    Rejected,
    Row,
    RowProblem,
    excerpt,
)
from services.usage.service.importers.tables import Lines, open_text

LineReader = Callable[[dict[str, Any]], UsageEvent]

_SPEC_VERSION = "1.0"
_JSON_TYPE = "json"
_STAND_INS = {"start_time": "time", "user_id": "subject", "resource_type": "type"}


def is_cloudevent(line: str) -> bool:
    """Tells by a first line. Answers no where it is not JSON."""
    try:
        document = _document(line)
    except RowProblem:
        return False
    return "specversion" in document


def event_reader(options: ImportOptions) -> LineReader:
    """Returns the reader of UsageEvents."""
    source = options.source_of(ImportKind.NDJSON)

    def read(document: dict[str, Any]) -> UsageEvent:
        return event_of(event_fields(document), source=source, tenant_id=options.tenant_id)

    return read


def cloudevent_reader(options: ImportOptions) -> LineReader:
    """Returns the reader of CloudEvents. The source is the event's own."""

    def read(document: dict[str, Any]) -> UsageEvent:
        if document.get("specversion") != _SPEC_VERSION:
            raise RowProblem("specversion", f"is not {_SPEC_VERSION}")
        content_type = document.get("datacontenttype", _JSON_TYPE)
        if not isinstance(content_type, str) or _JSON_TYPE not in content_type:
            raise RowProblem("datacontenttype", "is not JSON")
        payload = document.get("data")
        if not isinstance(payload, dict):
            raise RowProblem("data", "is not a JSON object")
        fields = event_fields(payload)
        for name, attribute in (("event_id", "id"), ("source", "source")):
            if name in fields:
                raise RowProblem(f"data.{name}", f"is given by the CloudEvent's own {attribute}")
            fields[name] = document.get(attribute)
        for name, attribute in _STAND_INS.items():
            if name not in fields and document.get(attribute) is not None:
                fields[name] = document[attribute]
        return event_of(fields, source="", tenant_id=options.tenant_id)

    return read


def json_rows(path: Path, read: LineReader) -> Iterator[Row]:
    """Yields the events of a file, by line; blank lines are skipped."""
    with open_text(path) as file:
        for number, line in enumerate(Lines(file), 1):
            text = line.strip()
            if not text:
                continue
            try:
                event = read(_document(text))
            except RowProblem as problem:
                yield Rejected(number, problem.reason, problem.column, excerpt(text))
            else:
                yield Parsed(number, event)


def _document(text: str) -> dict[str, Any]:
    """Reads one line. Raises RowProblem unless it is a JSON object of UTF-8 text."""
    try:
        text.encode()
        document = json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
    except UnicodeEncodeError as error:
        raise RowProblem("", "is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise RowProblem("", f"is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise RowProblem("", "is not a JSON object; write one event a line")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
