"""Periods follow the clocks of their zone: over clock changes, month ends and skipped days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.budget.domain.calendar import Cadence, PeriodRule
from services.kernel.errors import FieldViolations
from services.kernel.period import Period

ZONES = (
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Pacific/Apia",
    "America/Havana",
    "Asia/Kolkata",
    "UTC",
)
REPEATING = [each for each in Cadence if each is not Cadence.CUSTOM]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def new_year(year: int) -> datetime:
    """Returns a naive instant, as strategies take their bounds."""
    return datetime(year, 1, 1, tzinfo=UTC).replace(tzinfo=None)


def period_of(rule: PeriodRule, text: str) -> Period:
    found = rule.period_at(utc(text))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("zone", "instant", "hours"),
    [
        ("America/New_York", "2026-03-08T12:00", 23),
        ("America/New_York", "2026-11-01T12:00", 25),
        ("Australia/Lord_Howe", "2026-04-05T00:00", 24.5),
        ("Australia/Lord_Howe", "2026-10-04T00:00", 23.5),
        # Egypt's clocks go forward at midnight, so that the day begins at one o'clock.
        ("Africa/Cairo", "2026-04-24T12:00", 23),
        ("Africa/Cairo", "2026-10-29T12:00", 25),
        ("Pacific/Apia", "2021-04-04T00:00", 25),
        ("Pacific/Apia", "2020-09-27T00:00", 23),
    ],
)
def test_a_day_is_as_long_as_its_clocks_say(zone: str, instant: str, hours: float) -> None:
    day = period_of(PeriodRule(Cadence.DAILY, zone), instant)

    assert day.duration == timedelta(hours=hours)


def test_a_day_that_a_zone_skips_has_no_period() -> None:
    rule = PeriodRule(Cadence.DAILY, "Pacific/Apia")

    before = period_of(rule, "2011-12-30T09:59")
    after = period_of(rule, "2011-12-30T10:00")

    apia = ZoneInfo("Pacific/Apia")
    assert before.end == after.start
    assert before.start.astimezone(apia).day == 29
    assert after.start.astimezone(apia).day == 31
    assert after.duration == timedelta(days=1)


def test_a_day_whose_midnight_is_skipped_begins_after_the_gap() -> None:
    day = period_of(PeriodRule(Cadence.DAILY, "Africa/Cairo"), "2026-04-24T12:00")

    assert day.start == utc("2026-04-23T22:00")
    assert day.start.astimezone(ZoneInfo("Africa/Cairo")).hour == 1


@pytest.mark.parametrize(
    ("anchor", "instant", "start", "end"),
    [
        ("2026-01-31", "2026-02-15", "2026-01-31", "2026-02-28"),
        ("2026-01-31", "2026-03-30", "2026-02-28", "2026-03-31"),
        ("2026-01-31", "2028-02-29", "2028-02-29", "2028-03-31"),
        ("2026-01-30", "2026-04-01", "2026-03-30", "2026-04-30"),
        ("2026-03-31", "2026-01-05", "2025-12-31", "2026-01-31"),
    ],
)
def test_an_anchor_at_the_months_end_stays_at_the_months_end(
    anchor: str, instant: str, start: str, end: str
) -> None:
    rule = PeriodRule(Cadence.MONTHLY, anchor_at=utc(anchor))

    assert period_of(rule, instant) == Period(utc(start), utc(end))


def test_a_year_from_a_leap_day_ends_on_the_last_of_february() -> None:
    rule = PeriodRule(Cadence.YEARLY, anchor_at=utc("2024-02-29"))

    assert period_of(rule, "2025-06-01") == Period(utc("2025-02-28"), utc("2026-02-28"))
    assert period_of(rule, "2028-06-01") == Period(utc("2028-02-29"), utc("2029-02-28"))


def test_weeks_quarters_and_years_begin_where_the_owner_says() -> None:
    sunday = PeriodRule(Cadence.WEEKLY, first_weekday=6)
    fiscal = PeriodRule(Cadence.YEARLY, first_month=4)
    quarter = PeriodRule(Cadence.QUARTERLY, first_month=2)

    assert period_of(sunday, "2026-03-17") == Period(utc("2026-03-15"), utc("2026-03-22"))
    assert period_of(fiscal, "2026-03-31") == Period(utc("2025-04-01"), utc("2026-04-01"))
    assert period_of(quarter, "2026-01-15") == Period(utc("2025-11-01"), utc("2026-02-01"))


def test_an_anchor_in_an_hour_that_comes_twice_keeps_which_one_it_is() -> None:
    second = utc("2026-11-01T06:30")  # half past one in New York, for the second time
    rule = PeriodRule(Cadence.DAILY, "America/New_York", anchor_at=second)

    assert period_of(rule, "2026-11-01T06:30").start == second
    assert period_of(rule, "2026-11-02T06:30").start == utc("2026-11-02T06:30")


def test_custom_days_are_counted_from_the_anchor() -> None:
    rule = PeriodRule(Cadence.CUSTOM, anchor_at=utc("2026-03-01"), custom_days=10)

    assert period_of(rule, "2026-03-10T23:59") == Period(utc("2026-03-01"), utc("2026-03-11"))
    assert period_of(rule, "2026-02-28") == Period(utc("2026-02-19"), utc("2026-03-01"))


def test_a_custom_period_comes_once() -> None:
    only = Period(utc("2026-03-05"), utc("2026-06-01"))
    rule = PeriodRule(Cadence.CUSTOM, custom_period=only)

    assert rule.period_at(only.start) == only
    assert rule.period_at(only.end) is None


def test_a_rule_that_contradicts_itself_is_refused() -> None:
    for wrong in ({"custom_days": 3}, {"cadence": Cadence.CUSTOM}):
        with pytest.raises(FieldViolations):
            PeriodRule(**({"cadence": Cadence.DAILY} | wrong))


rules = st.builds(
    PeriodRule,
    cadence=st.sampled_from(REPEATING),
    time_zone=st.sampled_from(ZONES),
    anchor_at=st.none() | st.datetimes(new_year(2009), new_year(2035), timezones=st.just(UTC)),
    first_weekday=st.integers(0, 6),
    first_month=st.integers(1, 12),
)
instants = st.datetimes(new_year(2008), new_year(2036), timezones=st.just(UTC))


@settings(max_examples=400, deadline=None)
@given(rule=rules, at=instants)
def test_periods_cover_all_time_once(rule: PeriodRule, at: datetime) -> None:
    period = rule.period_at(at)
    assert period is not None

    assert period.start <= at < period.end
    following = rule.period_at(period.end)
    assert following is not None
    assert following.start == period.end
    preceding = rule.period_at(period.start - timedelta(microseconds=1))
    assert preceding is not None
    assert preceding.end == period.start


@settings(max_examples=150, deadline=None)
@given(rule=rules)
def test_an_anchor_is_the_start_of_a_period(rule: PeriodRule) -> None:
    if rule.anchor_at is not None:
        period = rule.period_at(rule.anchor_at)
        assert period is not None
        assert period.start == rule.anchor_at


@settings(max_examples=100, deadline=None)
@given(zone=st.sampled_from(ZONES), at=instants)
def test_calendar_periods_begin_at_the_first_instant_of_a_local_day(
    zone: str, at: datetime
) -> None:
    rule = PeriodRule(Cadence.MONTHLY, zone)
    period = rule.period_at(at)
    assert period is not None

    local = period.start.astimezone(ZoneInfo(zone))
    before = (period.start - timedelta(seconds=1)).astimezone(ZoneInfo(zone))
    assert (local.day, before.date() < local.date()) == (1, True)
