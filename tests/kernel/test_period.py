"""Periods are half-open and absolute; calendar edges follow the zone's own clock changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.period import (
    Granularity,
    InvalidPeriod,
    Period,
    UnknownTimeZone,
    day_start,
    floor,
    zone,
)

ZONES = [
    "UTC",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Apia",
]
BUCKETS = [each for each in Granularity if each is not Granularity.TOTAL]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


JANUARY = Period(utc("2026-01-01"), utc("2026-02-01"))


def test_a_period_holds_its_start_and_not_its_end() -> None:
    assert JANUARY.start in JANUARY
    assert JANUARY.end - timedelta(microseconds=1) in JANUARY
    assert JANUARY.end not in JANUARY
    assert JANUARY.start - timedelta(microseconds=1) not in JANUARY


def test_a_period_is_kept_in_utc() -> None:
    berlin = ZoneInfo("Europe/Berlin")

    period = Period(datetime(2026, 1, 1, tzinfo=berlin), datetime(2026, 2, 1, tzinfo=berlin))

    assert period == Period(utc("2025-12-31T23:00"), utc("2026-01-31T23:00"))
    assert period.start.tzinfo is UTC
    assert period.end.tzinfo is UTC


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (utc("2026-01-01"), utc("2026-01-01")),
        (utc("2026-01-02"), utc("2026-01-01")),
        (
            utc("2026-01-01T00:00"),
            datetime(2026, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=1))),
        ),
    ],
    ids=["empty", "reversed", "empty in two zones"],
)
def test_an_end_is_later_than_its_start(start: datetime, end: datetime) -> None:
    with pytest.raises(InvalidPeriod) as caught:
        Period(start, end)

    assert caught.value.reason == "INVALID_PERIOD"
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.metadata == {
        "start": start.isoformat(),
        "end": end.astimezone(UTC).isoformat(),
    }


@pytest.mark.parametrize("naive", ["start", "end"])
def test_an_instant_without_a_zone_is_refused(naive: str) -> None:
    edges = {"start": JANUARY.start, "end": JANUARY.end}
    edges[naive] = edges[naive].replace(tzinfo=None)

    with pytest.raises(InvalidPeriod, match="must name a time zone"):
        Period(**edges)


def test_the_hour_that_repeats_is_a_period_of_an_hour() -> None:
    new_york = ZoneInfo("America/New_York")
    first = datetime(2026, 11, 1, 1, 30, tzinfo=new_york)
    second = first.replace(fold=1)

    repeated = Period(first, second)

    assert repeated.duration == timedelta(hours=1)
    assert datetime(2026, 11, 1, 1, 45, tzinfo=new_york) in repeated
    assert datetime(2026, 11, 1, 1, 15, fold=1, tzinfo=new_york) in repeated
    assert datetime(2026, 11, 1, 1, 45, fold=1, tzinfo=new_york) not in repeated


def test_the_previous_period_ends_where_this_one_starts_and_is_as_long() -> None:
    assert JANUARY.previous() == Period(utc("2025-12-01"), utc("2026-01-01"))


@pytest.mark.parametrize("name", ZONES)
def test_an_iana_name_is_a_zone(name: str) -> None:
    assert zone(name).key == name
    assert zone(name) is zone(name)


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../etc/passwd", "/etc/passwd", "Europe", "a\0b", "x" * 300, "é"]
)
def test_a_name_that_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(UnknownTimeZone) as caught:
        zone(name)

    assert caught.value.reason == "UNKNOWN_TIME_ZONE"
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.metadata == {"time_zone": name}


@pytest.mark.parametrize(
    ("name", "day", "start"),
    [
        ("America/New_York", "2026-03-08", "2026-03-08T05:00"),
        ("America/New_York", "2026-03-09", "2026-03-09T04:00"),
        ("America/New_York", "2026-11-01", "2026-11-01T04:00"),
        ("America/New_York", "2026-11-02", "2026-11-02T05:00"),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00"),
        ("Australia/Lord_Howe", "2026-04-06", "2026-04-05T13:30"),
        # Cairo and Sao Paulo change at midnight: the day begins at 01:00.
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00"),
        ("Africa/Cairo", "2026-04-25", "2026-04-24T21:00"),
        ("Africa/Cairo", "2026-10-30", "2026-10-29T22:00"),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00"),
        ("America/Sao_Paulo", "2018-02-18", "2018-02-18T03:00"),
        # Havana repeats the hour from midnight on: the day begins with the first.
        ("America/Havana", "2026-11-01", "2026-11-01T04:00"),
        # Apia went from one side of the date line to the other, without a 30th of December.
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00"),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00"),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00"),
        ("Asia/Kathmandu", "2026-01-01", "2025-12-31T18:15"),
        ("Asia/Kathmandu", "1986-01-01", "1985-12-31T18:30"),
        # Toronto's clocks went from 23:30 to 00:30.
        ("America/Toronto", "1919-03-31", "1919-03-31T04:30"),
    ],
)
def test_a_day_begins_with_its_first_instant(name: str, day: str, start: str) -> None:
    assert day_start(date.fromisoformat(day), ZoneInfo(name)) == utc(start)


@pytest.mark.parametrize(
    ("name", "day", "hours"),
    [
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Africa/Cairo", "2026-04-24", 23),
        ("Africa/Cairo", "2026-10-29", 25),
        ("Pacific/Apia", "2011-12-30", 0),
        ("Asia/Kathmandu", "2026-01-01", 24),
    ],
)
def test_a_day_is_as_long_as_its_clock_changes_make_it(name: str, day: str, hours: float) -> None:
    local = date.fromisoformat(day)

    length = day_start(local + timedelta(days=1), ZoneInfo(name)) - day_start(local, ZoneInfo(name))

    assert length == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("name", "instant", "granularity", "start"),
    [
        ("America/New_York", "2026-03-08T06:59:59", Granularity.HOUR, "2026-03-08T06:00"),
        ("America/New_York", "2026-03-08T07:30", Granularity.HOUR, "2026-03-08T07:00"),
        ("America/New_York", "2026-11-01T05:30", Granularity.HOUR, "2026-11-01T05:00"),
        ("America/New_York", "2026-11-01T06:30", Granularity.HOUR, "2026-11-01T06:00"),
        ("Asia/Kathmandu", "2026-01-01T00:00", Granularity.HOUR, "2025-12-31T23:15"),
        # 02:00 goes back to 01:30: what follows is a bucket of half an hour.
        ("Australia/Lord_Howe", "2026-04-04T14:45", Granularity.HOUR, "2026-04-04T14:00"),
        ("Australia/Lord_Howe", "2026-04-04T15:15", Granularity.HOUR, "2026-04-04T15:00"),
        ("Australia/Lord_Howe", "2026-04-04T15:30", Granularity.HOUR, "2026-04-04T15:30"),
        # 02:00 goes to 02:30.
        ("Australia/Lord_Howe", "2026-10-03T15:29", Granularity.HOUR, "2026-10-03T14:30"),
        ("Australia/Lord_Howe", "2026-10-03T15:45", Granularity.HOUR, "2026-10-03T15:30"),
        ("America/New_York", "2026-03-09T03:59", Granularity.DAY, "2026-03-08T05:00"),
        ("Pacific/Apia", "2011-12-30T12:00", Granularity.DAY, "2011-12-30T10:00"),
        # 2026-03-08 is a Sunday, the last day of its week.
        ("America/New_York", "2026-03-08T12:00", Granularity.WEEK, "2026-03-02T05:00"),
        ("America/New_York", "2026-03-09T12:00", Granularity.WEEK, "2026-03-09T04:00"),
        ("UTC", "2026-01-01T00:00", Granularity.WEEK, "2025-12-29T00:00"),
        ("Africa/Cairo", "2026-04-30T20:59:59", Granularity.MONTH, "2026-03-31T22:00"),
        ("Africa/Cairo", "2026-04-30T21:00", Granularity.MONTH, "2026-04-30T21:00"),
        ("Pacific/Apia", "2012-01-01T00:00", Granularity.MONTH, "2011-12-31T10:00"),
    ],
)
def test_a_bucket_begins_where_the_zone_says(
    name: str, instant: str, granularity: Granularity, start: str
) -> None:
    assert floor(utc(instant), granularity, ZoneInfo(name)) == utc(start)


@pytest.mark.parametrize("granularity", BUCKETS)
@given(
    name=st.sampled_from(ZONES),
    moment=st.datetimes(datetime(2005, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - Hypothesis takes naive bounds
    step=st.timedeltas(timedelta(0), timedelta(days=40)),
)
def test_buckets_never_overlap(
    granularity: Granularity, name: str, moment: datetime, step: timedelta
) -> None:
    tz = ZoneInfo(name)

    start = floor(moment, granularity, tz)

    assert start <= moment
    assert start.tzinfo is UTC
    assert floor(start, granularity, tz) == start
    assert start <= floor(moment + step, granularity, tz)


@given(name=st.sampled_from(ZONES), day=st.dates(date(1900, 1, 2), date(2037, 12, 31)))
def test_nothing_before_a_days_start_belongs_to_it(name: str, day: date) -> None:
    tz = ZoneInfo(name)

    start = day_start(day, tz)

    assert start.astimezone(tz).date() >= day
    assert (start - timedelta(seconds=1)).astimezone(tz).date() < day


def test_a_total_has_no_buckets() -> None:
    with pytest.raises(InvalidPeriod, match="a total has no buckets") as caught:
        floor(JANUARY.start, Granularity.TOTAL, ZoneInfo("UTC"))

    assert caught.value.metadata == {}
