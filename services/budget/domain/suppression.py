"""When notifications wait, are dropped or are bundled. Alerts themselves always fire."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from services.budget.domain.alert_errors import InvalidSuppressionRule
from services.budget.domain.notification import Subject
from services.budget.domain.threshold import Severity
from services.kernel.filter import evaluate, parse_filter
from services.kernel.period import Period, local_instant, zone

GROUP_FIELDS = ("budget_id", "kind", "severity", "department_id")
WINDOW_DEFAULT = timedelta(minutes=5)
COUNT_DEFAULT = 5


class SuppressionKind(Enum):
    """How a rule holds back."""

    QUIET_HOURS = "quiet_hours"
    MAINTENANCE = "maintenance"
    GROUPING = "grouping"


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Hours of some weekdays of a zone. Minutes of the day; an end before the start is next day's.

    weekdays: on which they begin, 0 is Monday; empty for all. Raises UnknownTimeZone.
    """

    time_zone: str
    start_minute: int
    end_minute: int
    weekdays: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        zone(self.time_zone)
        if self.start_minute == self.end_minute:
            raise InvalidSuppressionRule("quiet_hours must end at another time than they start")

    def end_after(self, now: datetime) -> datetime | None:
        """Returns when the quiet hours that hold an instant end; None when it is in none."""
        tz = zone(self.time_zone)
        today = now.astimezone(tz).date()
        for day in (today - timedelta(days=1), today):
            if self.weekdays and day.weekday() not in self.weekdays:
                continue
            midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - wall clock
            last = self.end_minute + (1440 if self.end_minute < self.start_minute else 0)
            start = local_instant(midnight + timedelta(minutes=self.start_minute), tz)
            end = local_instant(midnight + timedelta(minutes=last), tz)
            if start <= now < end:
                return end
        return None


@dataclass(frozen=True, slots=True)
class AlertGrouping:
    """From `count_min` alerts within `window` on they are bundled until the window is over."""

    window: timedelta = WINDOW_DEFAULT
    count_min: int = COUNT_DEFAULT
    group_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [name for name in self.group_by if name not in GROUP_FIELDS]
        if unknown:
            allowed = ", ".join(GROUP_FIELDS)
            raise InvalidSuppressionRule(
                f"grouping.group_by: there is no {unknown[0]!r}; there are {allowed}",
                field=unknown[0],
                allowed=allowed,
            )

    def key(self, subject: Subject) -> str:
        """Returns what the alerts of one group share."""
        record = subject.record()
        return "|".join(f"{name}={record[name]}" for name in self.group_by)


@dataclass(frozen=True, slots=True)
class SuppressionRule:
    """One rule, valid by construction.

    severity_through: what is at least so severe passes nevertheless; None lets nothing through.
    Raises InvalidSuppressionRule, InvalidFilter.
    """

    rule_id: str
    display_name: str
    kind: SuppressionKind
    created_at: datetime
    filter: str = ""
    severity_through: Severity | None = None
    quiet_hours: QuietHours | None = None
    window: Period | None = None
    grouping: AlertGrouping | None = None
    is_disabled: bool = False
    suppressed_count: int = 0
    revision: int = 1

    def __post_init__(self) -> None:
        needed = {
            SuppressionKind.QUIET_HOURS: ("quiet_hours", self.quiet_hours),
            SuppressionKind.MAINTENANCE: ("window", self.window),
            SuppressionKind.GROUPING: ("grouping", self.grouping),
        }
        for kind, (name, value) in needed.items():
            if (kind is self.kind) != (value is not None):
                verb = "needs" if kind is self.kind else "has no"
                raise InvalidSuppressionRule(f"a {self.kind.value} rule {verb} {name}", field=name)
        evaluate(parse_filter(self.filter), Subject().record())

    def applies(self, subject: Subject, now: datetime) -> bool:
        """Tells whether the rule holds a notification back at an instant."""
        if self.is_disabled:
            return False
        through = self.severity_through
        if through is not None and subject.severity.rank >= through.rank:
            return False
        if self.quiet_hours is not None and self.quiet_hours.end_after(now) is None:
            return False
        if self.window is not None and now not in self.window:
            return False
        return evaluate(parse_filter(self.filter), subject.record())
