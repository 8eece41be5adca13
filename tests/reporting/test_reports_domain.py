"""What reports compute: effects that add up, amounts that add up, periods, words and numbers."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from babel import Locale
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.money import add_exactly
from services.kernel.period import Period, zone
from services.reporting.domain.costs import CostAnswer, CostRow, CostSum
from services.reporting.domain.report.chargeback import owed_table, rounded_parts
from services.reporting.domain.report.document import Form, Number
from services.reporting.domain.report.frame import Frame
from services.reporting.domain.report.german import GERMAN
from services.reporting.domain.report.span_of_time import (
    last_full,
    period_label,
    previous_period,
    step_of,
)
from services.reporting.domain.report.variance import Amounts, decompose, regrouped
from services.reporting.domain.report.wording import Wording
from services.reporting.service.reports_numbers import Writing
from services.usage.domain import question as usage_question

EXAMPLES = settings(max_examples=60, deadline=None)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
MONEY = st.decimals(
    min_value=Decimal(-(10**15)), max_value=Decimal(10**15), places=18, allow_nan=False
)
QUANTITY = st.one_of(
    st.just(Decimal(0)),
    st.decimals(min_value=Decimal(-1000), max_value=Decimal(10**9), places=6, allow_nan=False),
)
AMOUNTS = st.builds(
    Amounts,
    key=st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")),
    unit=st.sampled_from(["hour", "token"]),
    cost_before=MONEY,
    cost_now=MONEY,
    quantity_before=QUANTITY,
    quantity_now=QUANTITY,
)


@EXAMPLES
@given(st.lists(AMOUNTS, max_size=12))
def test_volume_rate_and_mix_add_up_exactly_to_the_difference(amounts: list[Amounts]) -> None:
    effects = decompose(amounts)

    for each in (*effects, *regrouped(effects, (0,)), *regrouped(effects, ())):
        assert add_exactly((each.volume, each.rate, each.mix)) == each.difference
    assert add_exactly(each.now for each in effects) == add_exactly(
        each.cost_now for each in amounts
    )
    assert add_exactly(each.before for each in effects) == add_exactly(
        each.cost_before for each in amounts
    )


def amounts(key: str, *given_: int) -> Amounts:
    before, now, quantity_before, quantity_now = map(Decimal, given_)
    return Amounts((key,), "hour", before, now, quantity_before, quantity_now)


@pytest.mark.parametrize(
    ("given_", "effects"),
    [
        # (volume, rate, mix) of the whole
        ([amounts("a", 100, 200, 10, 20)], (100, 0, 0)),
        ([amounts("a", 100, 150, 10, 10)], (0, 50, 0)),
        # The same hours, but all of them of the dear group.
        ([amounts("a", 100, 0, 10, 0), amounts("b", 200, 400, 10, 20)], (0, 0, 100)),
        ([amounts("new", 0, 70, 0, 7)], (0, 0, 70)),
        ([amounts("flat", 50, 80, 0, 0)], (0, 30, 0)),
        ([amounts("gone", 90, 0, 9, 0)], (-90, 0, 0)),
    ],
)
def test_effects_are_what_a_controller_expects(
    given_: list[Amounts], effects: tuple[int, int, int]
) -> None:
    (whole,) = regrouped(decompose(given_), ())

    assert (whole.volume, whole.rate, whole.mix) == tuple(map(Decimal, effects))


@EXAMPLES
@given(st.lists(MONEY, max_size=20), st.sampled_from([0, 2, 3]))
def test_amounts_to_charge_add_up_to_the_rounded_total(parts: list[Decimal], digits: int) -> None:
    rounded = rounded_parts(parts, digits)

    unit = Decimal(1).scaleb(-digits)
    assert add_exactly(rounded) == round(add_exactly(parts), digits)
    assert all(
        abs(add_exactly((part, -whole))) <= unit for part, whole in zip(parts, rounded, strict=True)
    )


def test_thousands_of_groups_are_a_thousand_rows_and_one_that_adds_the_rest_up() -> None:
    period = Period(datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC))
    frame = Frame("acme", period, zone("UTC"), "USD", 2, "", (), Wording("en"), period.end)
    amount = Decimal("0.333333333333333333")
    rows = tuple(CostRow((f"d{place:04}",), None, "USD", amount) for place in range(3000))
    answer = CostAnswer(rows, (CostSum("USD", amount * 3000, 3000, 0, None),), "")

    table = owed_table(frame, ("department",), answer, answer)

    assert len(table.rows) == 1001
    assert table.rows[-1][0] == "2000 others"
    assert table.total is not None
    for place in (1, 3, 5):
        amounts = [cell.value for row in table.rows if isinstance(cell := row[place], Number)]
        whole = table.total[place]
        assert isinstance(whole, Number)
        assert add_exactly(amounts) == whole.value


@EXAMPLES
@given(
    st.integers(min_value=0, max_value=10 * 365 * 24 * 60).map(
        lambda minutes: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    ),
    st.sampled_from(ZONES),
    st.sampled_from(["day", "week", "month", "quarter", "year"]),
)
def test_the_last_full_period_is_whole_and_the_one_before_is_the_usage_services(
    now: datetime, name: str, kind: str
) -> None:
    tz = zone(name)

    period = last_full(kind, now, tz)

    assert period.end <= now
    start, end = (edge.astimezone(tz) for edge in (period.start, period.end))
    assert (start.hour, start.minute, end.hour, end.minute) == (0, 0, 0, 0)
    assert previous_period(period, tz) == usage_question.previous_period(period, tz)
    assert last_full(kind, period.end, tz) == period


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        ("day", "2026-06-14"),
        ("week", "2026-06-08 - 2026-06-14"),
        ("month", "2026-05"),
        ("quarter", "Q1 2026"),
        ("year", "2025"),
    ],
)
def test_periods_have_names_that_people_know(kind: str, label: str) -> None:
    tz = zone("Europe/Berlin")

    period = last_full(kind, datetime(2026, 6, 15, 9, tzinfo=UTC), tz)

    assert period_label(period, tz) == label


def test_a_period_with_other_edges_is_named_by_its_instants() -> None:
    start = datetime(2026, 6, 1, 10, tzinfo=UTC)
    period = Period(start, start + timedelta(hours=5))

    assert period_label(period, zone("UTC")) == "2026-06-01 10:00 - 2026-06-01 15:00"
    assert step_of(period).value == "hour"
    assert [
        step_of(Period(start, start + timedelta(days=days))).value for days in (30, 300, 900)
    ] == ["day", "week", "month"]


@pytest.mark.parametrize(
    ("form", "value", "unit", "locale", "text"),
    [
        (Form.MONEY, "1234.565", "USD", "en", "1,234.56 USD"),
        (Form.MONEY, "1234.5", "EUR", "de", "1.234,50 EUR"),
        (Form.MONEY, "1234.5", "JPY", "en", "1,234 JPY"),
        (Form.MONEY, "-0.001", "USD", "en", "0.00 USD"),
        (Form.MONEY_CHANGE, "12", "USD", "en", "+12.00 USD"),
        (Form.MONEY_CHANGE, "-12", "USD", "en", "\N{MINUS SIGN}12.00 USD"),
        (Form.MONEY_CHANGE, "0.001", "USD", "en", "0.00 USD"),
        (Form.UNIT_PRICE, "0.0000012345678", "USD", "en", "0.0000012346 USD"),
        (Form.UNIT_PRICE, "2", "USD", "en", "2.00 USD"),
        (Form.RATIO, "0.8", "", "en", "80.0 %"),
        (Form.CHANGE, "0.1234", "", "en", "+12.3 %"),
        (Form.CHANGE, "-0.0001", "", "en", "0.0 %"),
        (Form.COUNT, "12345", "", "de", "12.345"),
        (Form.QUANTITY, "1.23456", "", "en", "1.235"),
    ],
)
def test_numbers_are_written_as_people_read_them(
    form: Form, value: str, unit: str, locale: str, text: str
) -> None:
    written = Writing(Locale.parse(locale)).text(Number(Decimal(value), form, unit, "/"))

    assert written.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ") == (
        text
    )


def test_all_words_of_reports_are_there_in_german_with_their_places() -> None:
    folder = Path(__file__).parents[2] / "services" / "reporting"
    files = [
        *(folder / "domain" / "report").glob("*.py"),
        *(folder / "service").glob("reports*.py"),
        *(folder / "service").glob("schedules*.py"),
    ]
    words = {
        text.value
        for path in files
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("word", "say")
        for text in ast.walk(call.args[0])
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
    }

    places = re.compile(r"\{\w+\}")
    assert len(words) > 150
    assert words <= GERMAN.keys()
    for english, german in GERMAN.items():
        assert sorted(places.findall(english)) == sorted(places.findall(german)), english
