"""When a schedule runs: a cron expression by the clocks of a zone, whatever they do.

A time that clocks show twice is taken the first time only; one that they skip is taken at the first
instant after the gap. So every day has its run, and none has two.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

from services.kernel.errors import FieldViolations
from services.kernel.period import local_instant

FIELDS: Final = 5
# Reports are about days and longer; more often would only keep the database busy.
DISTANCE_MIN: Final = timedelta(hours=1)
TICKS_LOOKED_AT: Final = 30
# No clock is moved by more within a day.
CHANGE_MAX: Final = timedelta(hours=3)


def require_cron(cron: str, after: datetime, tz: ZoneInfo) -> str:
    """Returns a cron expression unchanged. Raises FieldViolations for one that makes no sense."""
    field = "schedule.schedule"
    if len(cron.split()) != FIELDS or not croniter.is_valid(cron):
        text = f"{cron[:60]!r} is not a cron expression of five fields such as 0 7 1 * *"
        raise FieldViolations([(field, text)])
    tick = next_tick(cron, after, tz)
    if tick is None:
        raise FieldViolations([(field, f"{cron[:60]!r} never comes")])
    for _ in range(TICKS_LOOKED_AT):
        following = next_tick(cron, tick, tz)
        if following is None:
            break
        if following - tick < DISTANCE_MIN:
            raise FieldViolations([(field, "runs must be at least an hour apart")])
        tick = following
    return cron


def next_tick(cron: str, after: datetime, tz: ZoneInfo) -> datetime | None:
    """Returns the first run after an instant; None where the expression comes no more."""
    ticks = croniter(cron, after.astimezone(tz).replace(tzinfo=None))
    try:
        while True:
            instant = local_instant(ticks.get_next(datetime), tz)
            if instant > after:
                return instant
    except CroniterBadDateError:
        return None


def last_tick(cron: str, until: datetime, tz: ZoneInfo) -> datetime:
    """Returns the last run up to an instant, which may be the instant itself."""
    ticks = croniter(cron, until.astimezone(tz).replace(tzinfo=None) + CHANGE_MAX)
    while True:
        instant = local_instant(ticks.get_prev(datetime), tz)
        if instant <= until:
            return instant
