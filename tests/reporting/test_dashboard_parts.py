"""What dashboards are put together from: periods, trends, rankings, filters and sentences."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.money import add_exactly
from services.kernel.period import Period, zone
from services.reporting.domain.budgets import BudgetState
from services.reporting.domain.costs import CostAnswer, CostRow
from services.reporting.domain.dashboard.composing import (
    daily_average,
    drivers_of,
    expected_of_month,
    movers_of,
    trend_of,
)
from services.reporting.domain.dashboard.dashboard import (
    AlertGlance,
    CostDriver,
    DayForecast,
    Outlook,
    Summary,
)
from services.reporting.domain.dashboard.highlights import SENTENCES_MAX, highlights
from services.reporting.domain.dashboard.question import (
    DashboardQuestion,
    Frame,
    frame_of,
    is_told_by,
    reaches,
    widest,
)
from services.reporting.domain.dashboard.regions import country_of

NOW = datetime(2026, 6, 15, 9, 30, tzinfo=UTC)
QUESTION = DashboardQuestion("acme")


def framed(start: str = "", end: str = "", *, now: datetime = NOW, time_zone: str = "UTC") -> Frame:
    question = replace(QUESTION, start=start, end=end)
    return frame_of(question, now, zone(time_zone), "USD")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("", "", ("2026-06-01", "2026-06-15T09:30")),
        ("", "2026-06-01", ("2026-05-01", "2026-06-01")),
        ("2026-04-10", "", ("2026-04-10", "2026-06-15T09:30")),
        ("2026-04-10T12:00:00Z", "2026-04-11", ("2026-04-10T12:00", "2026-04-11")),
    ],
)
def test_a_period_begins_with_the_month_that_holds_its_end(
    start: str, end: str, expected: tuple[str, str]
) -> None:
    period = framed(start, end).period

    assert (period.start, period.end) == (utc(expected[0]), utc(expected[1]))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-03-01", "2026-04-01", ("2026-02-01", "2026-03-01")),
        ("2026-04-01", "2026-07-01", ("2026-01-01", "2026-04-01")),
        ("2026-05-11", "2026-05-18", ("2026-05-04", "2026-05-11")),
        ("2026-05-11T06:00:00Z", "2026-05-11T09:00:00Z", ("2026-05-11T03:00", "2026-05-11T06:00")),
    ],
)
def test_months_are_compared_with_months_and_days_with_days(
    start: str, end: str, expected: tuple[str, str]
) -> None:
    previous = framed(start, end).previous

    assert (previous.start, previous.end) == (utc(expected[0]), utc(expected[1]))


def test_days_of_a_zone_with_a_clock_change_are_compared_with_days() -> None:
    frame = framed("2026-03-29", "2026-03-30", time_zone="Europe/Berlin")

    assert frame.period.duration == timedelta(hours=23)
    assert frame.previous.duration == timedelta(hours=24)


def test_the_average_counts_only_the_days_that_are_over() -> None:
    whole = daily_average(Decimal(30), framed("2026-06-05", "2026-06-15"))
    running = daily_average(Decimal(30), framed("2026-06-15", "2026-06-16"))

    assert whole == 3
    assert running == Decimal("75.789473684210526316")  # 30 in nine and a half hours


HISTORY = Period(utc("2024-06-15"), utc("2026-06-15"))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        # Up to now: the period before begins within a day, so its days tell nothing of it.
        ("", "", ("2024-06-15", "2026-06-15T09:30")),
        ("2026-05-16", "2026-06-15", ("2024-06-15", "2026-06-15")),
        ("2022-05-11", "2022-05-18", ("2022-05-04", "2022-05-18")),
        ("2026-05-11T06:00:00Z", "2026-05-12", ("2026-05-11T06:00", "2026-05-12")),
        ("2026-05-11", "2026-05-12T06:00:00Z", ("2026-05-09T18:00", "2026-05-12T06:00")),
    ],
)
def test_days_are_read_together_where_none_is_read_in_vain(
    start: str, end: str, expected: tuple[str, str]
) -> None:
    whole = widest(framed(start, end), HISTORY)

    assert (whole.start, whole.end) == (utc(expected[0]), utc(expected[1]))


def test_without_a_forecast_only_the_days_to_compare_are_read() -> None:
    whole = widest(framed("2026-05-11", "2026-05-18"), None)

    assert whole == Period(utc("2026-05-04"), utc("2026-05-18"))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-05-01T12:00", "2026-05-20", True),
        ("2026-05-01T12:00", "2026-05-03", True),
        ("2026-05-02", "2026-05-03", True),
        ("2026-05-02T12:00", "2026-05-03", False),
        ("2026-05-01", "2026-05-03", False),
        ("2026-05-03", "2026-05-21", False),
    ],
)
def test_days_tell_what_begins_and_ends_with_them(start: str, end: str, *, expected: bool) -> None:
    whole = Period(utc("2026-05-01T12:00"), utc("2026-05-20"))

    assert is_told_by(whole, Period(utc(start), utc(end)), zone("UTC")) is expected


amounts = st.decimals(min_value=-(10**15), max_value=10**15, places=18)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["EUR", "USD"]), amounts),
        max_size=12,
        unique_by=lambda row: row[:2],
    ),
    edges=st.lists(st.integers(0, 9), min_size=1, max_size=3),
)
def test_parts_of_an_answer_add_up_to_the_last_digit(
    rows: list[tuple[int, str, Decimal]], edges: list[int]
) -> None:
    start = utc("2026-05-01T12:00")
    whole = Period(start, utc("2026-05-10T18:00"))
    days = [start.replace(hour=0) + timedelta(days=number) for number in range(10)]
    answer = CostAnswer(
        tuple(
            CostRow((), days[number], code, cost, events=number, unpriced_events=1)
            for number, code, cost in rows
        ),
        (),
        "7",
    )
    cuts = [whole.start, *(days[edge] for edge in sorted(set(edges)) if edge), whole.end]

    parts = [answer.within(Period(one, other), whole) for one, other in itertools.pairwise(cuts)]

    assert {row for part in parts for row in part.rows} == set(answer.rows)
    assert sum(len(part.rows) for part in parts) == len(answer.rows)
    for part in parts:
        for total in part.totals:
            mine = [row for row in part.rows if row.currency_code == total.currency_code]
            assert total.cost == add_exactly(row.cost for row in mine)
            assert (total.events, total.unpriced_events) == (
                sum(row.events for row in mine),
                len(mine),
            )


def test_rankings_order_by_cost_and_by_change() -> None:
    rows = [
        CostRow(("a",), None, "USD", Decimal(10), previous_cost=Decimal(30)),
        CostRow(("b",), None, "USD", Decimal(60), previous_cost=Decimal(55)),
        CostRow(("c",), None, "USD", Decimal(30), previous_cost=Decimal(30)),
        CostRow(("",), None, "USD", Decimal(0), previous_cost=Decimal(10)),
    ]

    drivers = drivers_of("project", rows, whole=Decimal(100))

    assert [(each.value, each.share) for each in drivers] == [
        ("b", Decimal("0.6")),
        ("c", Decimal("0.3")),
        ("a", Decimal("0.1")),
        ("", Decimal(0)),
    ]
    assert [(each.value, each.change) for each in movers_of(drivers)] == [
        ("a", Decimal(-20)),
        ("", Decimal(-10)),
        ("b", Decimal(5)),
    ]
    assert drivers_of("service", rows[3:], whole=Decimal(100)) == []


def outlook(first: date, days: int, amount: str = "5") -> Outlook:
    each = DayForecast(Decimal(amount), Decimal(4), Decimal(6))
    course = tuple((first + timedelta(days=place), each) for place in range(days))
    return Outlook(each, course, "ets", Decimal("0.1"))


def test_a_trend_tells_days_to_come_apart_from_days_without_cost() -> None:
    frame = framed("2026-06-13", "2026-06-18")
    costs = {utc("2026-06-13"): Decimal(7), utc("2026-06-15"): Decimal(2)}
    before = {utc("2026-06-08"): Decimal(3)}

    trend = trend_of(frame, costs, before, outlook(date(2026, 6, 15), 4))

    assert [(each.day.day, each.cost, each.previous_cost) for each in trend] == [
        (13, 7, 3),
        (14, 0, 0),
        (15, 2, 0),
        (16, None, 0),
        (17, None, 0),
        (18, None, None),
    ]
    assert [each.forecast is not None for each in trend] == [False, False, True, True, True, True]


def test_a_period_that_is_over_has_no_forecast_behind_it() -> None:
    frame = framed("2026-05-01", "2026-06-01")

    trend = trend_of(frame, {}, {}, outlook(date(2026, 6, 15), 30))

    assert len(trend) == 31
    assert not any(each.forecast for each in trend)


def test_a_month_ends_with_what_came_and_what_is_expected() -> None:
    middle = expected_of_month(Decimal(100), outlook(date(2026, 6, 15), 30), framed())
    on_the_first = framed(now=utc("2026-07-01T08:00"))
    whole = expected_of_month(Decimal(0), outlook(date(2026, 7, 1), 30), on_the_first)

    assert middle == 100 + 16 * 5
    assert whole == 31 * 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ('department = "a" OR NOT service != "b"', True),
        ('department:"a"', False),
        ('department = "a" AND project = "b"', False),
        ('tags.team = "x"', False),
    ],
)
def test_a_filter_reaches_lists_that_have_its_fields(text: str, *, expected: bool) -> None:
    assert reaches(text, frozenset({"department", "service", "tags"})) is expected


def test_regions_have_countries() -> None:
    found = [country_of(name) for name in ("eu-west-1", "us-central1", "West Europe", "moon-1")]

    assert found == ["IE", "US", "NL", ""]


def summary(**changed: object) -> Summary:
    plain = Summary(
        cost=Decimal(120),
        previous_cost=Decimal(100),
        daily_average=Decimal(4),
        expected=None,
        wasted=Decimal(0),
        saved=None,
        operation_count=10,
        previous_operation_count=10,
        active_user_count=1,
        unpriced_event_count=0,
    )
    return replace(plain, **changed)  # type: ignore[arg-type]


def said(one: Summary, **parts: object) -> tuple[str, ...]:
    known: dict[str, object] = {
        "currency_code": "USD",
        "movers": (),
        "budgets": (),
        "alerts": (),
        "anomalies": (),
        "potential_saving": None,
    }
    return highlights(one, **known | parts)  # type: ignore[arg-type]


def test_sentences_say_what_changed_and_what_it_was() -> None:
    mover = CostDriver("project", "chat", Decimal(50), Decimal(35), None)
    budget = BudgetState(
        "b", "Research", "USD", Decimal(10), Decimal(12), Decimal(0), Decimal(-2), Decimal("1.2"),
        utc("2026-06-01"), None, None, None,
    )  # fmt: skip

    alert = AlertGlance("a", "critical", "open", "Research is at 120 %.", "b", NOW)

    sentences = said(
        summary(unpriced_event_count=1234, wasted=Decimal("2.4")),
        movers=(mover,),
        budgets=(budget,),
        alerts=(alert,),
        potential_saving=Decimal("1500.5"),
    )

    assert sentences == (
        "1,234 events have no price, so their cost is missing in every figure.",
        "Research is over its limit.",
        "Cost rose by 20.0 % to 120.00 USD, most by project chat (15.00 USD).",
        "Failed work cost 2.40 USD, 2.0 % of everything.",
        "Open recommendations would save 1,500.50 USD a month.",
    )
    assert len(sentences) == SENTENCES_MAX
    assert said(summary(), alerts=(alert,))[0] == "Research is at 120 %."


def test_nothing_to_say_is_not_said() -> None:
    assert said(summary(previous_cost=Decimal(120))) == ()
    assert said(summary(previous_cost=Decimal(0))) == ()


def test_unit_costs_are_known_only_with_operations() -> None:
    assert summary().unit_cost == 12
    assert summary().unit_cost_change_ratio == Decimal("0.2")
    assert summary(operation_count=0).unit_cost is None
    assert summary(previous_operation_count=0).unit_cost_change_ratio is None


def test_a_frame_knows_the_calendar_of_its_zone() -> None:
    frame = framed(now=utc("2026-06-30T23:30"), time_zone="Asia/Tokyo")

    assert frame.month_start == utc("2026-06-30T15:00")
    assert frame.period == Period(utc("2026-06-30T15:00"), utc("2026-06-30T23:30"))
