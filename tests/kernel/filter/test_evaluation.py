"""Filters over values in Python."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from services.kernel.filter import (
    FilterValueInvalid,
    OperatorNotSupported,
    UnknownFilterField,
    evaluate,
    parse_filter,
)

RECORD = {
    "department": frozenset({"company", "engineering"}),
    "nobody": frozenset[str](),
    "tags": {"env": "prod"},
    "at": datetime(2026, 6, 30, 19, tzinfo=UTC),
    "amount": 5,
}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("", True),
        ("department:engineering", True),
        ("department:eng", False),
        ("department:*", True),
        ("nobody:*", False),
        ("NOT department:sales", True),
        ("tags:env AND tags.env = prod", True),
        ("tags:team OR amount > 5", False),
    ],
)
def test_a_record_fits_or_does_not(text: str, *, fits: bool) -> None:
    assert evaluate(parse_filter(text), RECORD) is fits


def test_a_date_begins_in_the_zone_given() -> None:
    tree = parse_filter("at >= 2026-07-01")

    assert evaluate(tree, RECORD, tz=ZoneInfo("Asia/Kathmandu"))
    assert not evaluate(tree, RECORD)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("amount = 1 AND unknown = 1", "UNKNOWN_FILTER_FIELD"),
        ("amount = 1 AND amount = x", "FILTER_VALUE_INVALID"),
        ("amount = 5 OR department = sales", "FILTER_OPERATOR_NOT_SUPPORTED"),
        ("amount = 5 OR tags = env", "FILTER_OPERATOR_NOT_SUPPORTED"),
    ],
)
def test_a_wrong_term_is_refused_even_where_another_decides(text: str, reason: str) -> None:
    kinds = (UnknownFilterField, FilterValueInvalid, OperatorNotSupported)

    with pytest.raises(kinds) as caught:
        evaluate(parse_filter(text), RECORD)

    assert caught.value.reason == reason
