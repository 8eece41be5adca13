"""Requests against their contracts."""

from __future__ import annotations

import pytest

from services.kernel.errors import FieldViolations
from services.kernel.validation import VIOLATIONS_MAX, validate, violations_of
from tests.support.echo import EchoRequest


def test_a_valid_message_has_no_violations() -> None:
    assert violations_of(EchoRequest(text="x")) == []
    validate(EchoRequest(text="x"))


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (EchoRequest(), "text"),
        (EchoRequest(text="x", items=[EchoRequest(text="x"), EchoRequest()]), "items[1].text"),
        (EchoRequest(text="x", tags={"team": "long"}), 'tags["team"]'),
        (EchoRequest(text="x", tags={"k" * 99: "long"}), f'tags["{"k" * 64}"]'),
        (EchoRequest(text="x", numbered={7: "long"}), "numbered[7]"),
        (EchoRequest(text="x", answers={True: "long"}), "answers[true]"),
    ],
)
def test_a_path_leads_to_the_field_at_fault(request_: object, field: str) -> None:
    [(found, text)] = violations_of(request_)  # type: ignore[arg-type] # a message of the tests

    assert found == field
    assert text.startswith("must be at")


def test_the_error_carries_every_violation() -> None:
    with pytest.raises(FieldViolations) as refused:
        validate(EchoRequest(items=[EchoRequest()]))

    assert [field for field, _ in refused.value.violations] == ["text", "items[0].text"]


def test_a_thousand_violations_are_as_good_as_fifty() -> None:
    request = EchoRequest(text="x", items=[EchoRequest() for _ in range(1_000)])

    assert len(violations_of(request)) == VIOLATIONS_MAX
