"""When detectors run by themselves: each by its own schedule, and on new usage unless it is off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import structlog
from croniter import CroniterError, croniter

from services.kernel.period import zone
from services.optimizer.domain.detectors import PROFILES
from services.optimizer.domain.settings_of_detector import SCHEDULE_DEFAULT, SCHEDULE_OFF
from services.optimizer.errors import InvalidSchedule
from services.optimizer.store.runs import Scheduled

_CRON_FIELDS = 5
_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)
log = structlog.get_logger(__name__)


def require_schedule(text: str) -> None:
    """Raises InvalidSchedule unless the text is `off` or a cron expression of a time that comes."""
    if text == SCHEDULE_OFF:
        return
    if len(text.split()) != _CRON_FIELDS or not croniter.is_valid(text):
        raise InvalidSchedule(
            f"{text[:60]!r} is no schedule; write five fields such as `0 3 * * *`, or off",
            value=text[:60],
        )
    try:
        croniter(text, _ANY_TIME).get_prev(datetime)
    except CroniterError as error:
        raise InvalidSchedule(
            f"{text[:60]!r} never comes; name a day that exists, such as `0 3 1 * *`, or off",
            value=text[:60],
        ) from error


def due_by_schedule(one: Scheduled, now: datetime) -> Sequence[str]:
    """Returns the detectors of whose schedule a tick lies since the run before."""
    local = now.astimezone(zone(one.time_zone))
    by_cron: dict[str, bool] = {}
    due = []
    for name in due_by_usage(one.schedules):
        cron = one.schedules.get(name, SCHEDULE_DEFAULT)
        if cron not in by_cron:
            by_cron[cron] = _has_come(cron, local, one)
        if by_cron[cron]:
            due.append(name)
    return due


def _has_come(cron: str, local: datetime, one: Scheduled) -> bool:
    try:
        tick: datetime = croniter(cron, local).get_prev(datetime)
    except (CroniterError, OverflowError) as error:
        # Kept from before such a schedule was refused; it must not stop anybody's runs.
        log.warning("schedule skipped", tenant=one.tenant_id, schedule=cron, error=repr(error))
        return False
    return tick > one.since


def due_by_usage(schedules: Mapping[str, str]) -> Sequence[str]:
    """Returns the detectors that run by themselves at all. schedules: those that were changed."""
    return [name for name in PROFILES if schedules.get(name, SCHEDULE_DEFAULT) != SCHEDULE_OFF]
