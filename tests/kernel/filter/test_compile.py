"""Filters become conditions with bound values, or are refused with what is allowed."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import ColumnElement, column, literal
from sqlalchemy.dialects import postgresql

from services.kernel.filter import (
    Comparator,
    FieldType,
    FilterField,
    FilterValue,
    FilterValueInvalid,
    InvalidFilter,
    OperatorNotSupported,
    Pattern,
    UnknownFilterField,
    compile_filter,
    evaluate,
    parse_filter,
)
from tests.kernel.filter.records import FIELDS, RECORDS


def rendered(condition: ColumnElement[bool]) -> tuple[str, list[object]]:
    compiled = condition.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    # The casts that SQLAlchemy adds and the table's name only hide the shape.
    plain = re.sub(r"::[A-Z]+|filter_record\.", "", str(compiled))
    return plain, list(compiled.params.values())


@pytest.mark.parametrize(
    ("text", "sql", "values"),
    [
        ("", "true", []),
        ('name = "ada"', "name = %(param_1)s", ["ada"]),
        ("name != ada", "name IS DISTINCT FROM %(param_1)s", ["ada"]),
        ("NOT name = ada", "name IS DISTINCT FROM %(param_1)s", ["ada"]),
        ("NOT name != ada", "name = %(param_1)s", ["ada"]),
        ('name = "a*"', r"name LIKE %(name_1)s ESCAPE '\'", ["a%"]),
        (r'name = "50%_\**"', r"name LIKE %(name_1)s ESCAPE '\'", [r"50\%\_*%"]),
        ("amount >= 12.50", "amount >= %(param_1)s", [Decimal("12.50")]),
        ("state = ACTIVE", "state = %(param_1)s", [1]),
        ("enabled = true", "enabled = %(param_1)s", [True]),
    ],
)
def test_a_filter_becomes_a_condition_with_bound_values(
    text: str, sql: str, values: list[object]
) -> None:
    assert rendered(compile_filter(text, FIELDS)) == (sql, values)


def test_a_date_begins_in_the_zone_given() -> None:
    condition = compile_filter("at < 2026-07-01", FIELDS, tz=ZoneInfo("Asia/Kathmandu"))

    assert rendered(condition)[1] == [datetime(2026, 6, 30, 18, 15, tzinfo=UTC)]


@pytest.mark.parametrize(
    "text",
    [
        "2026-07-01T00:00:00Z",
        "2026-07-01t02:00:00+02:00",
        "2026-06-30T20:00:00.000000999-04:00",
        "2026-07-01",
    ],
)
def test_a_time_is_read_as_the_same_instant_in_utc(text: str) -> None:
    condition = compile_filter(f"at = {text}", FIELDS)

    assert rendered(condition)[1] == [datetime(2026, 7, 1, tzinfo=UTC)]


@pytest.mark.parametrize("field", ["nmae", "NAME", "tenant_id"])
def test_an_unknown_field_names_the_allowed_ones(field: str) -> None:
    with pytest.raises(UnknownFilterField) as caught:
        compile_filter(f"name = x AND {field} = 1", FIELDS)

    assert caught.value.reason == "UNKNOWN_FILTER_FIELD"
    assert caught.value.metadata == {
        "position": "14",
        "field": field,
        "allowed": "amount, at, count, enabled, name, state, tags",
    }


def test_a_key_inside_a_plain_field_is_refused() -> None:
    with pytest.raises(UnknownFilterField, match="name has no keys inside"):
        compile_filter("name.first = ada", FIELDS)
    with pytest.raises(UnknownFilterField, match="name has no keys inside"):
        evaluate(parse_filter("name.first = ada"), RECORDS[0])


@pytest.mark.parametrize(
    ("text", "position", "value"),
    [
        ("amount = ten", 10, "ten"),
        ("amount = 1e5", 10, "1e5"),
        ("amount = 1*", 10, "1*"),
        ("amount = 123456789012345678901", 10, "123456789012345678901"),
        ("count = 1.5", 9, "1.5"),
        ("count = 9223372036854775808", 9, "9223372036854775808"),
        ("enabled = yes", 11, "yes"),
        ("at = yesterday", 6, "yesterday"),
        ("at = 2026-02-30", 6, "2026-02-30"),
        ("at = 2026-01-01T25:00:00Z", 6, "2026-01-01T25:00:00Z"),
        ("at = 2026-01-01T00:00:00", 6, "2026-01-01T00:00:00"),
        ("at = 0001-01-01T00:00:00+14:00", 6, "0001-01-01T00:00:00+14:00"),
        ("state = GONE", 9, "GONE"),
        ("name < a*", 8, "a*"),
        ('name:"a*"', 6, "a*"),
    ],
)
def test_a_value_of_another_type_is_refused(text: str, position: int, value: str) -> None:
    with pytest.raises(FilterValueInvalid) as caught:
        compile_filter(text, FIELDS)

    assert caught.value.reason == "FILTER_VALUE_INVALID"
    assert caught.value.metadata["position"] == str(position)
    assert caught.value.metadata["value"] == value
    assert caught.value.metadata["field"] == text.partition(" ")[0].partition(":")[0]
    assert caught.value.metadata["expected"]


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        ("state < ACTIVE", "<"),
        ("enabled > true", ">"),
        ("amount:5", ":"),
        ("at:2026", ":"),
        ("count:1", ":"),
        ("tags = env", "="),
        ("tags < env", "<"),
        ("tags = *", "="),
    ],
)
def test_an_operator_that_the_field_lacks_is_refused(text: str, operator: str) -> None:
    with pytest.raises(OperatorNotSupported) as caught:
        compile_filter(text, FIELDS)

    assert caught.value.reason == "FILTER_OPERATOR_NOT_SUPPORTED"
    assert caught.value.metadata["operator"] == operator
    assert caught.value.metadata["position"] == "1"
    assert caught.value.metadata["field"] == re.split("[ :]", text)[0]
    assert "allowed" in caught.value.metadata


def subtree(comparator: Comparator, value: FilterValue) -> ColumnElement[bool] | None:
    if comparator is Comparator.HAS and isinstance(value, str):
        return column("path").op("<@")(literal(value))
    return None


def test_a_field_may_give_a_comparison_a_meaning_of_its_own() -> None:
    fields = {"department": FilterField(FieldType.STRING, column("department"), subtree)}

    assert rendered(compile_filter("department:eng", fields)) == (
        "path <@ %(param_1)s",
        ["eng"],
    )
    assert rendered(compile_filter("NOT department:eng", fields)) == (
        "(path <@ %(param_1)s) IS NOT true",
        ["eng"],
    )
    assert rendered(compile_filter("department = eng", fields))[0] == "department = %(param_1)s"
    assert "IS NOT NULL" in rendered(compile_filter("department:*", fields))[0]


def test_a_meaning_sees_the_typed_value_and_never_the_inequality() -> None:
    seen: list[tuple[Comparator, FilterValue]] = []

    def meaning(comparator: Comparator, value: FilterValue) -> ColumnElement[bool] | None:
        seen.append((comparator, value))
        return None

    fields = {
        "amount": FilterField(FieldType.NUMBER, column("amount"), meaning),
        "name": FilterField(FieldType.STRING, column("name"), meaning),
    }
    compile_filter('amount != 1.5 AND name = "a*"', fields)

    assert seen == [
        (Comparator.EQUAL, Decimal("1.5")),
        (Comparator.EQUAL, Pattern(("a", ""))),
    ]


def test_a_field_without_a_column_has_only_its_own_meaning() -> None:
    fields = {"manager": FilterField(FieldType.STRING, meaning=subtree)}

    assert rendered(compile_filter("manager:ada", fields))[1] == ["ada"]
    with pytest.raises(OperatorNotSupported) as caught:
        compile_filter("manager = ada", fields)
    assert caught.value.metadata["operator"] == "="


@given(
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=40),
    st.sampled_from(["name = {}", "name != {}", "name:{}", "tags.{} = 1", "tags:{}"]),
)
def test_no_text_of_the_caller_reaches_the_statement(text: str, template: str) -> None:
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("*", "\\*") + '"'
    unlikely = "zq" + quoted[1:-1] + "qz"

    condition = compile_filter(template.format(f'"{unlikely}"'), FIELDS)

    assert "zq" not in rendered(condition)[0]


@pytest.mark.parametrize(
    "attack",
    [
        "name = x' OR '1'='1",
        "name = x; DROP TABLE event",
        "name = 1) OR (1=1",
        "1 = 1",
        "pg_sleep(10) = 1",
        "name = x -- comment",
    ],
)
def test_text_that_is_sql_and_not_a_filter_is_refused(attack: str) -> None:
    with pytest.raises(InvalidFilter):
        compile_filter(attack, FIELDS)
