"""Segregation of duties, and the filter that each service is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from services.kernel.filter import InvalidFilter, UnknownFilterField, evaluate, parse_filter
from services.reporting.domain.compliance import AuditRecord, kind_of
from services.reporting.domain.compliance_duties import DutyWatch
from services.reporting.domain.compliance_filter import for_service, read

NOW = datetime(2026, 6, 15, tzinfo=UTC)


def entry(sequence: int, actor: str, action: str, resource: str, **state: Any) -> AuditRecord:
    return AuditRecord(
        service="billing",
        sequence=sequence,
        recorded_at=NOW,
        actor=actor,
        action=action,
        resource=resource,
        before=state.get("before"),
        after=state.get("after"),
        trace_id="",
        entry_hash="",
    )


def exceptions(*records: AuditRecord) -> list[tuple[str, tuple[str, ...]]]:
    watch = DutyWatch()
    for record in records:
        watch.add(record)
    return [(each.actor, each.entries) for each in watch.exceptions()]


def test_who_raises_a_budget_and_records_a_payment_is_named_with_both_entries() -> None:
    raised = entry(
        1, "eve", "budgets.update", "budgets/b", before={"amount": "10"}, after={"amount": "20"}
    )
    paid = entry(2, "eve", "payments.record", "payments/p")

    assert exceptions(raised, paid) == [("eve", ("billing/1", "billing/2"))]


def test_lowering_a_budget_is_no_raise() -> None:
    lowered = entry(
        1,
        "eve",
        "budgets.update",
        "budgets/b",
        before={"amount": {"currency_code": "USD", "amount": "20"}},
        after={"amount": {"currency_code": "USD", "amount": "10"}},
    )
    paid = entry(2, "eve", "payments.record", "payments/p")

    assert exceptions(lowered, paid) == []


@pytest.mark.parametrize(
    ("approver", "approved", "expected"),
    [
        ("eve", "credit-notes/1", [("eve", ("billing/1", "billing/2"))]),
        ("bob", "credit-notes/1", []),
        ("eve", "credit-notes/2", []),
    ],
)
def test_an_author_approves_no_credit_note_of_their_own(
    approver: str, approved: str, expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    created = entry(1, "eve", "credit_notes.create", "credit-notes/1")

    assert exceptions(created, entry(2, approver, "credit_notes.approve", approved)) == expected


def test_what_services_do_by_themselves_is_no_exception() -> None:
    made = entry(1, "service:billing", "invoices.generate", "invoices/1")
    paid = entry(2, "service:billing", "payments.record", "payments/1")

    assert exceptions(made, paid) == []


@pytest.mark.parametrize(
    ("noun", "kind"),
    [("budgets", "budget"), ("api_keys", "api_key"), ("billing", "billing"), ("access", "access")],
)
def test_a_noun_names_its_kind(noun: str, kind: str) -> None:
    assert kind_of(noun) == kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        'service = "b*" AND actor = "a\\"b*"',
        "actor = ada OR service = usage",
        "NOT (service = usage OR action:create) AND resource = x",
        "NOT service:*",
        "service = billing OR NOT (service = usage AND actor = ada)",
    ],
)
def test_each_service_is_asked_what_the_whole_filter_says(text: str) -> None:
    expression = read(text, NOW)

    for service in ("usage", "billing"):
        for actor in ("ada", 'a"bc', "x"):
            fields = {"actor": actor, "action": "budgets.create", "resource": "x"}
            expected = evaluate(expression, {**fields, "service": service})
            asked = for_service(expression, service)
            found = asked is not None and evaluate(parse_filter(asked), fields)
            assert found is expected


@pytest.mark.parametrize(
    ("text", "error"), [("color = red", UnknownFilterField), ("actor =", InvalidFilter)]
)
def test_a_filter_that_no_service_has_is_refused(text: str, error: type[InvalidFilter]) -> None:
    with pytest.raises(error):
        read(text, NOW)
