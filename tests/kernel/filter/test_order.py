"""Orders parse to sort keys that make a total order."""

from __future__ import annotations

import grpc
import pytest

from services.kernel.errors import to_status
from services.kernel.filter import InvalidOrder, OrderTerm, parse_order

ALLOWED = ("amount", "name", "create_time", "id")


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", ["create_time desc", "id desc"]),
        ("name", ["name", "id"]),
        ("name asc", ["name", "id"]),
        (" amount  desc ,name ", ["amount desc", "name", "id"]),
        ("name, amount desc", ["name", "amount desc", "id desc"]),
        ("id desc", ["id desc"]),
        ("id, name", ["id", "name"]),
    ],
)
def test_an_order_ends_with_the_tie_break(text: str, terms: list[str]) -> None:
    parsed = parse_order(text, ALLOWED, default="create_time desc", tie_break="id")

    assert [str(term) for term in parsed] == terms


def test_a_term_says_its_field_and_direction() -> None:
    parsed = parse_order("amount desc", ALLOWED, default="name", tie_break="amount")

    assert parsed == (OrderTerm("amount", is_descending=True),)


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("price", 1),
        ("name, price", 2),
        ("name,", 2),
        ("name DESC", 1),
        ("name desc desc", 1),
        ("name; DROP TABLE event", 1),
        ("name, name desc", 2),
    ],
)
def test_an_order_that_is_not_one_is_refused_with_what_is_allowed(text: str, term: int) -> None:
    with pytest.raises(InvalidOrder) as caught:
        parse_order(text, ALLOWED, default="name", tie_break="id")

    assert caught.value.reason == "INVALID_ORDER_BY"
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.metadata == {
        "term": str(term),
        "allowed": "amount, create_time, id, name",
    }
    assert b"order_by" in to_status(caught.value).details[1].value


def test_an_order_has_at_most_eight_terms() -> None:
    fields = [f"field_{number}" for number in range(9)]

    with pytest.raises(InvalidOrder, match="at most 8 terms"):
        parse_order(", ".join(fields), fields, default="field_0", tie_break="field_0")
