"""Peak schedules follow the local clock through every kind of clock change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.period import UnknownTimeZone
from services.usage.domain.peak import (
    LOOK_AHEAD,
    InvalidPeakSchedule,
    PeakSchedule,
    PeakWindow,
)

ZONES = ["America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Pacific/Apia", "UTC"]
DOUBLE = Decimal(2)


def window(days: str, start: str, end: str, multiplier: str = "2") -> PeakWindow:
    """Reads weekdays as digits and times as HH:MM."""
    begin, finish = (int(text[:2]) * 60 + int(text[3:]) for text in (start, end))
    return PeakWindow(frozenset(map(int, days)), begin, finish, Decimal(multiplier))


def schedule(zone: str, *windows: PeakWindow, exceptions: tuple[date, ...] = ()) -> PeakSchedule:
    return PeakSchedule("peak", zone, windows, frozenset(exceptions))


def doubled(peak: PeakSchedule, start: datetime, end: datetime) -> list[tuple[str, str]]:
    """Returns the stretches under multiplier 2, as UTC text."""
    return [
        (f"{segment.start_at:%m-%d %H:%M}", f"{segment.end_at:%m-%d %H:%M}")
        for segment in peak.segments(start, end)
        if segment.multiplier == DOUBLE
    ]


@pytest.mark.parametrize(
    ("zone", "peak", "around", "expected"),
    [
        # Forward at 02:00: the hour from 02:00 does not exist.
        ("America/New_York", ("7", "01:00", "03:00"), (2025, 3, 9), ("03-09 06:00", "03-09 07:00")),
        # Back at 02:00: the hour from 01:00 comes twice.
        (
            "America/New_York",
            ("7", "01:00", "03:00"),
            (2025, 11, 2),
            ("11-02 05:00", "11-02 08:00"),
        ),
        # Lord Howe moves by half an hour.
        (
            "Australia/Lord_Howe",
            ("7", "01:00", "03:00"),
            (2025, 10, 5),
            ("10-04 14:30", "10-04 16:00"),
        ),
        (
            "Australia/Lord_Howe",
            ("7", "01:00", "03:00"),
            (2025, 4, 6),
            ("04-05 14:00", "04-05 16:30"),
        ),
        # Cairo skips midnight, and repeats the last hour of a day.
        ("Africa/Cairo", ("5", "00:00", "02:00"), (2025, 4, 25), ("04-24 22:00", "04-24 23:00")),
        ("Africa/Cairo", ("4", "22:00", "24:00"), (2025, 10, 30), ("10-30 19:00", "10-30 22:00")),
        ("Pacific/Apia", ("7", "02:00", "05:00"), (2012, 4, 1), ("03-31 12:00", "03-31 16:00")),
        ("Pacific/Apia", ("7", "02:00", "05:00"), (2012, 9, 30), ("09-29 13:00", "09-29 15:00")),
    ],
)
def test_window_lasts_as_long_as_the_local_clock_is_in_it(
    zone: str,
    peak: tuple[str, str, str],
    around: tuple[int, int, int],
    expected: tuple[str, str],
) -> None:
    middle = datetime(*around, tzinfo=UTC)

    found = doubled(
        schedule(zone, window(*peak)), middle - timedelta(days=2), middle + timedelta(days=2)
    )

    assert found == [expected]


def test_a_day_that_the_date_line_swallowed_has_no_window() -> None:
    fridays = schedule("Pacific/Apia", window("5", "00:00", "24:00"))

    # Samoa went from Thursday 29 to Saturday 31 December 2011.
    found = doubled(fridays, datetime(2011, 12, 27, tzinfo=UTC), datetime(2012, 1, 3, tzinfo=UTC))

    assert found == []


def test_no_window_applies_on_an_exception_date() -> None:
    holiday = date(2025, 6, 4)
    peak = schedule("Europe/Berlin", window("12345", "09:00", "17:00"), exceptions=(holiday,))

    noons = [datetime(2025, 6, day, 10, tzinfo=UTC) for day in (3, 4, 5)]

    assert [peak.multiplier_at(noon) for noon in noons] == [2, 1, 2]
    assert peak.next_change(datetime(2025, 6, 3, 15, tzinfo=UTC)) == datetime(
        2025, 6, 5, 7, tzinfo=UTC
    )


def test_the_earlier_of_overlapping_windows_wins() -> None:
    peak = schedule(
        "UTC",
        window("1", "10:00", "12:00", "3"),
        window("1234567", "00:00", "24:00", "0.5"),
    )

    monday = datetime(2025, 6, 2, tzinfo=UTC)

    assert [peak.multiplier_at(monday + timedelta(hours=hour)) for hour in (9, 10, 11, 12)] == [
        Decimal("0.5"),
        3,
        3,
        Decimal("0.5"),
    ]


def test_a_schedule_without_change_is_asked_again_after_eight_days() -> None:
    constant = schedule("UTC", window("1234567", "00:00", "24:00"))
    start = datetime(2025, 6, 2, 3, tzinfo=UTC)

    assert constant.next_change(start) == start + LOOK_AHEAD
    assert len(list(constant.segments(start, start + timedelta(days=30)))) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: window("", "10:00", "12:00"),
        lambda: PeakWindow(frozenset({8}), 0, 60, DOUBLE),
        lambda: PeakWindow(frozenset({1}), 10, 60, DOUBLE),
        lambda: window("1", "12:00", "12:00"),
        lambda: PeakWindow(frozenset({1}), 0, 1455, DOUBLE),
        lambda: window("1", "10:00", "12:00", "-1"),
        lambda: window("1", "10:00", "12:00", "NaN"),
        lambda: window("1", "10:00", "12:00", "1.0000001"),
        lambda: schedule("UTC"),
        lambda: PeakSchedule("p", "UTC", (window("1", "10:00", "12:00"),) * 51),
        lambda: PeakSchedule(
            "p",
            "UTC",
            (window("1", "10:00", "12:00"),),
            frozenset(date(2025, 1, 1) + timedelta(days=day) for day in range(1001)),
        ),
    ],
)
def test_an_impossible_window_is_refused(make: object) -> None:
    assert callable(make)

    with pytest.raises(InvalidPeakSchedule) as refusal:
        make()

    assert refusal.value.reason == "INVALID_PEAK_SCHEDULE"


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(UnknownTimeZone):
        schedule("Mars/Olympus", window("1", "10:00", "12:00"))


@st.composite
def schedules(draw: st.DrawFn) -> PeakSchedule:
    windows = []
    for _ in range(draw(st.integers(1, 3))):
        start, end = sorted(draw(st.lists(st.integers(0, 96), min_size=2, max_size=2, unique=True)))
        days = draw(st.frozensets(st.integers(1, 7), min_size=1))
        multiplier = draw(st.sampled_from(["0", "0.5", "2", "2.5"]))
        windows.append(PeakWindow(days, start * 15, end * 15, Decimal(multiplier)))
    return PeakSchedule("peak", draw(st.sampled_from(ZONES)), tuple(windows))


@given(
    schedules(),
    st.sampled_from([(2025, 3, 9), (2025, 4, 5), (2025, 4, 24), (2025, 10, 5), (2011, 12, 29)]),
    st.integers(0, 2 * 86_400),
    st.integers(1, 3 * 86_400),
)
def test_segments_tile_the_period_and_agree_with_every_instant(
    peak: PeakSchedule, day: tuple[int, int, int], offset: int, length: int
) -> None:
    start = datetime(*day, tzinfo=UTC) + timedelta(seconds=offset)
    end = start + timedelta(seconds=length)

    segments = list(peak.segments(start, end))

    assert segments[0].start_at == start
    assert segments[-1].end_at == end
    for before, after in pairwise(segments):
        assert before.end_at == after.start_at
        assert before.multiplier != after.multiplier
    for segment in segments:
        for share in (0, 0.37, 0.999):
            instant = segment.start_at + (segment.end_at - segment.start_at) * share
            assert peak.multiplier_at(instant) == segment.multiplier
