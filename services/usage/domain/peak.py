"""Peak schedules: when of the week a price is multiplied, in the schedule's own zone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from services.kernel.errors import InvalidArgument
from services.kernel.period import zone

SLOT_MINUTES = 15
SLOTS_A_DAY = 24 * 60 // SLOT_MINUTES
WINDOWS_MAX = 50
EXCEPTIONS_MAX = 1000
# A search for the next change gives up here; a week holds every change but a holiday's.
LOOK_AHEAD = timedelta(days=8)

_ONE = Decimal(1)
_MULTIPLIER_MAX = Decimal(999)


class InvalidPeakSchedule(InvalidArgument):
    """A peak window has weekdays, a start before its end in 15-minute steps, and a multiplier."""

    reason = "INVALID_PEAK_SCHEDULE"


@dataclass(frozen=True, slots=True)
class PeakWindow:
    """Hours of some weekdays with their own multiplier.

    weekdays: 1 for Monday to 7 for Sunday. start_minute, end_minute: local minutes after midnight,
    0 to 1440, multiples of 15, half-open. multiplier: 0 to 999, at most 6 fraction digits.
    Raises InvalidPeakSchedule.
    """

    weekdays: frozenset[int]
    start_minute: int
    end_minute: int
    multiplier: Decimal

    def __post_init__(self) -> None:
        if not self.weekdays or not self.weekdays <= frozenset(range(1, 8)):
            raise InvalidPeakSchedule("weekdays are 1 for Monday to 7 for Sunday, at least one")
        minutes = (self.start_minute, self.end_minute)
        if any(minute % SLOT_MINUTES for minute in minutes):
            raise InvalidPeakSchedule("a window begins and ends on a multiple of 15 minutes")
        if not 0 <= self.start_minute < self.end_minute <= SLOTS_A_DAY * SLOT_MINUTES:
            raise InvalidPeakSchedule("a window ends after it begins, within one day")
        multiplier = self.multiplier
        if not (multiplier.is_finite() and 0 <= multiplier <= _MULTIPLIER_MAX):
            raise InvalidPeakSchedule("a multiplier is a number from 0 to 999")
        if multiplier != multiplier.quantize(Decimal("0.000001")):
            raise InvalidPeakSchedule("a multiplier has at most 6 digits after the point")


class PeakSegment(NamedTuple):
    """A stretch of time under one multiplier, half-open, in UTC."""

    start_at: datetime
    end_at: datetime
    multiplier: Decimal


@dataclass(frozen=True, slots=True)
class PeakSchedule:
    """Windows of the week in which a price is multiplied; outside all of them by 1.

    Where two windows overlap, the earlier in the list wins. On an exception date, a local date
    such as a holiday, no window applies. Windows follow the local clock: an hour that a clock
    change repeats is in its window twice, an hour that it skips does not exist.
    Raises InvalidPeakSchedule, UnknownTimeZone.
    """

    peak_schedule_id: str
    time_zone: str
    windows: tuple[PeakWindow, ...]
    exception_dates: frozenset[date] = frozenset()
    display_name: str = field(default="", compare=False)
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)
    _slots: tuple[tuple[Decimal, ...], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < len(self.windows) <= WINDOWS_MAX:
            raise InvalidPeakSchedule(f"a schedule has 1 to {WINDOWS_MAX} windows")
        if len(self.exception_dates) > EXCEPTIONS_MAX:
            raise InvalidPeakSchedule(f"a schedule has at most {EXCEPTIONS_MAX} exception dates")
        object.__setattr__(self, "_zone", zone(self.time_zone))
        object.__setattr__(self, "_slots", _week_of_slots(self.windows))

    def multiplier_at(self, instant: datetime) -> Decimal:
        """Returns the multiplier in force at an aware instant."""
        local = instant.astimezone(self._zone)
        if self.exception_dates and local.date() in self.exception_dates:
            return _ONE
        slot = (local.hour * 60 + local.minute) // SLOT_MINUTES
        return self._slots[local.weekday()][slot]

    def next_change(self, instant: datetime) -> datetime:
        """Returns the first instant after this one at which the multiplier is another, in UTC.

        Where it stays the same for 8 days, the answer is the end of those days: ask again then.
        """
        multiplier = self.multiplier_at(instant)
        end = instant.astimezone(UTC) + LOOK_AHEAD
        at = self._slot_end(instant)
        while at < end and self.multiplier_at(at) == multiplier:
            at = self._slot_end(at)
        return min(at, end)

    def segments(self, start_at: datetime, end_at: datetime) -> Iterator[PeakSegment]:
        """Yields the stretches of one multiplier that make up the period, in order."""
        at, end = start_at.astimezone(UTC), end_at.astimezone(UTC)
        while at < end:
            multiplier = self.multiplier_at(at)
            change = self.next_change(at)
            while change < end and self.multiplier_at(change) == multiplier:
                change = self.next_change(change)
            yield PeakSegment(at, min(change, end), multiplier)
            at = change

    def _slot_end(self, instant: datetime) -> datetime:
        """Returns the end of the quarter of an hour on the local clock, in UTC."""
        local = instant.astimezone(self._zone)
        past = timedelta(
            minutes=local.minute % SLOT_MINUTES,
            seconds=local.second,
            microseconds=local.microsecond,
        )
        return instant.astimezone(UTC) - past + timedelta(minutes=SLOT_MINUTES)


def _week_of_slots(windows: Sequence[PeakWindow]) -> tuple[tuple[Decimal, ...], ...]:
    """Returns 7 days of 96 multipliers, Monday first."""
    week = [[_ONE] * SLOTS_A_DAY for _ in range(7)]
    for window in reversed(windows):  # the earlier window is written last and so wins
        slots = range(window.start_minute // SLOT_MINUTES, window.end_minute // SLOT_MINUTES)
        for weekday in window.weekdays:
            for slot in slots:
                week[weekday - 1][slot] = window.multiplier
    return tuple(tuple(day) for day in week)
