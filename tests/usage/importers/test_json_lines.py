"""Events as JSON lines, held to the contract by the generated messages."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from buf.validate import validate_pb2
from finops.usage.v1 import usage_model_pb2
from google.protobuf import json_format

from services.kernel.validation import violations_of
from services.usage.convert.usage import to_event
from services.usage.convert.validity import semantic_violations
from services.usage.domain.event import Outcome
from services.usage.service.importers import ImportKind, ImportOptions
from services.usage.service.importers.attributes import LENGTHS_MAX
from services.usage.service.importers.json_event import EVENT_FIELDS
from tests.usage.importers.reading import events, measured, rejects

EVENT: dict[str, Any] = {
    "eventId": "call-1",
    "source": "gateway-eu",
    "startTime": "2026-01-31T12:00:00.123456Z",
    "resourceType": "llm",
    "quantity": "1500",
    "unit": "token",
}
FULL: dict[str, Any] = EVENT | {
    "end_time": "2026-01-31T14:00:01+02:00",
    "components": [
        {"meter": "input_token", "quantity": "1000"},
        {"meter": "output_token", "quantity": "500"},
    ],
    "cost": {"currencyCode": "USD", "billed": "-0.25", "list": "0.5"},
    "userId": "ada",
    "department": "labs",
    "project": "atlas",
    "resourceId": "gpt-4o",
    "service": "s",
    "serviceCategory": "AI and Machine Learning",
    "provider": "openai",
    "region": "eu",
    "subAccountId": "sub",
    "chargeCategory": "Usage",
    "tags": {"env": "prod", "a": ""},
    "outcome": "OUTCOME_FAILED",
    "errorCode": "RATE_LIMITED",
    "retries": 2,
    "latencyMs": "1200",
    "capacity": "10.5",
    "utilization": 0.125,
}
CLOUD_EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/gateway",
    "type": "llm",
    "subject": "ada",
    "time": "2026-01-31T12:00:00Z",
    "data": {"quantity": 3, "unit": "request"},
}


def lines(folder: Path, *documents: object) -> Path:
    path = folder / "events.ndjson"
    path.write_text("\n".join(json.dumps(item) for item in documents) + "\n\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("document", [EVENT, FULL, FULL | {"outcome": 3, "cost": None}])
def test_line_is_read_as_the_contract_reads_it(tmp_path: Path, document: dict[str, Any]) -> None:
    message = json_format.ParseDict(document, usage_model_pb2.UsageEvent())

    (event,) = events(lines(tmp_path, document), ImportKind.NDJSON)

    assert violations_of(message) == []
    assert event == to_event(message)


def test_every_field_of_the_contract_is_known() -> None:
    assert list(EVENT_FIELDS) == [
        field.name for field in usage_model_pb2.UsageEvent.DESCRIPTOR.fields
    ]


def test_lengths_are_those_of_the_contract() -> None:
    fields = usage_model_pb2.UsageEvent.DESCRIPTOR.fields_by_name
    limits = {
        name: fields[name].GetOptions().Extensions[validate_pb2.field].string.max_len
        for name in LENGTHS_MAX
    }

    assert limits == LENGTHS_MAX


def test_numbers_are_read_exactly_and_nulls_are_absent(tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    text = json.dumps(EVENT | {"userId": None, "quantity": 0})
    path.write_text(text.replace('"quantity": 0', '"quantity": 0.100000000000000001'))

    (event,) = events(path, ImportKind.NDJSON)

    assert event.quantity == Decimal("0.100000000000000001")
    assert event.attributes.user_id == ""


INVALID = [
    ({"eventId": ""}, "event_id"),
    ({"eventId": "a\nb"}, "event_id"),
    ({"eventId": "x" * 257}, "event_id"),
    ({"source": "x" * 129}, "source"),
    ({"source": 7}, "source"),
    ({"startTime": "2026-01-31T12:00:00"}, "start_time"),
    ({"startTime": 1769860800}, "start_time"),
    ({"startTime": "1969-01-31T12:00:00Z"}, "start_time"),
    ({"endTime": "2026-01-30T12:00:00Z"}, "end_time"),
    ({"resourceType": ""}, "resource_type"),
    ({"resourceType": "x" * 129}, "resource_type"),
    ({"unit": None}, "unit"),
    ({"quantity": "-1"}, "quantity"),
    ({"quantity": True}, "quantity"),
    ({"quantity": "1e-19"}, "quantity"),
    ({"quantity": None}, "quantity"),
    ({"components": [{"meter": "a", "quantity": "-1"}]}, "components[0].quantity"),
    ({"components": [{"meter": "a", "quantity": "1"}] * 2}, "components"),
    ({"components": [{"meter": "a"}]}, "components[0].quantity"),
    ({"components": {}}, "components"),
    ({"cost": {"billed": "1"}}, "cost.currency_code"),
    ({"cost": {"currencyCode": "usd", "billed": "1"}}, "cost.currency_code"),
    ({"cost": {"currencyCode": "USD"}}, "cost.billed"),
    ({"cost": {"currencyCode": "USD", "billed": "1", "net": "1"}}, "cost.net"),
    ({"cost": "1"}, "cost"),
    ({"tags": {"": "x"}}, "tags"),
    ({"tags": {"a": 1}}, "tags"),
    ({"tags": []}, "tags"),
    ({"outcome": "FAILED"}, "outcome"),
    ({"outcome": 4}, "outcome"),
    ({"retries": -1}, "retries"),
    ({"retries": 10_001}, "retries"),
    ({"latencyMs": "1.5"}, "latency_ms"),
    ({"capacity": "-1"}, "capacity"),
    ({"utilization": 10.5}, "utilization"),
    ({"utilization": []}, "utilization"),
    ({"userId": "a\x00b"}, "user_id"),
    ({"surprise": 1}, "surprise"),
]
# The generated parser takes these, or leaves them to the request.
STRICTER = [
    ({"outcome": True}, "outcome"),
    ({"event_id": "twice"}, "event_id"),
    ({"tenantId": "rival"}, "tenant_id"),
]


@pytest.mark.parametrize(("change", "field"), INVALID + STRICTER)
def test_invalid_event_is_refused_with_its_line_and_field(
    tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    path = lines(tmp_path, EVENT, EVENT | change)

    (reject,) = rejects(path, ImportKind.NDJSON, ImportOptions(tenant_id="acme"))

    assert (reject.row_number, reject.field) == (2, field)


@pytest.mark.parametrize("change", [change for change, _ in INVALID])
def test_what_the_importer_refuses_the_contract_refuses_too(change: dict[str, Any]) -> None:
    try:
        message = json_format.ParseDict(EVENT | change, usage_model_pb2.UsageEvent())
    except json_format.ParseError:
        return

    assert violations_of(message) or semantic_violations(message)


@pytest.mark.parametrize(
    "line", ["[1]", "1", '{"a": NaN}', "{", '{"a": ' + "[" * 100_000, "\\udcff", '"' + "9" * 5000]
)
def test_line_that_is_no_json_object_is_refused_alone(tmp_path: Path, line: str) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text(f"{line}\n{json.dumps(EVENT)}\n")

    (reject,) = rejects(path, ImportKind.NDJSON)

    assert (reject.row_number, reject.field) == (1, "")
    assert len(reject.text_excerpt) <= 200


def test_line_of_other_bytes_than_utf_8_is_refused_alone(tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    path.write_bytes(b'{"eventId": "\xff"}\n' + json.dumps(EVENT).encode())

    (reject,) = rejects(path, ImportKind.NDJSON)

    assert (reject.row_number, reject.reason) == (1, "is not UTF-8 text")


def test_event_that_names_the_importing_tenant_or_no_source_is_taken(tmp_path: Path) -> None:
    path = lines(tmp_path, EVENT | {"tenantId": "acme", "source": ""})

    (event,) = events(path, ImportKind.NDJSON, ImportOptions(tenant_id="acme"))

    assert event.source == "import/ndjson"


def test_cloud_event_lends_its_identity_time_subject_and_type(tmp_path: Path) -> None:
    (event,) = events(lines(tmp_path, CLOUD_EVENT))

    assert (event.event_id, event.source) == ("e-1", "/gateway")
    assert event.start_at == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert event.attributes.resource_type == "llm"
    assert event.attributes.user_id == "ada"
    assert measured(event) == "3 request"
    assert event.outcome is Outcome.SUCCEEDED


def test_cloud_events_data_comes_first(tmp_path: Path) -> None:
    payload: dict[str, Any] = CLOUD_EVENT["data"]
    document = CLOUD_EVENT | {
        "data": payload
        | {"startTime": "2026-01-30T12:00:00Z", "user_id": "bob", "resourceType": "vm"},
        "extension": "ignored",
    }

    (event,) = events(lines(tmp_path, document))

    assert event.start_at.day == 30
    assert event.attributes.user_id == "bob"
    assert event.attributes.resource_type == "vm"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"datacontenttype": "text/csv"}, "datacontenttype"),
        ({"data": None}, "data"),
        ({"data": "text"}, "data"),
        ({"data": {"quantity": 1, "unit": "x", "eventId": "2"}}, "data.event_id"),
        ({"id": None}, "event_id"),
        ({"source": None}, "source"),
        ({"time": None}, "start_time"),
    ],
)
def test_cloud_event_that_is_not_in_order_is_refused(
    tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    path = lines(tmp_path, CLOUD_EVENT | change)

    (reject,) = rejects(path, ImportKind.CLOUDEVENTS)

    assert (reject.row_number, reject.field) == (1, field)
