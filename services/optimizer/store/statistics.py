"""Usage statistics as rows: applied change by change, read as whole series."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from services.kernel.money import EXACT
from services.kernel.period import Period
from services.kernel.transaction import Transaction
from services.optimizer.domain.statistics import (
    AttemptGroup,
    Measure,
    UsageSeries,
    UtilizationSamples,
)
from services.optimizer.domain.subject import Subject
from services.optimizer.domain.usage_change import UsageChange

HOURS = 24
MEASURES = len(Measure)
_COLUMNS = Subject._fields[:-1]

_DIMENSIONS = f"""
INSERT INTO dimension (tenant_id, series_id, {", ".join(_COLUMNS)}, tags)
SELECT * FROM unnest($1::text[], $2::bigint[],
    {", ".join(f"${index}::text[]" for index in range(3, 3 + len(_COLUMNS)))},
    ${3 + len(_COLUMNS)}::jsonb[])
ON CONFLICT (tenant_id, series_id) DO UPDATE SET department = excluded.department
WHERE dimension.department <> excluded.department
"""

_KNOWN = """
SELECT known.tenant_id, known.day, known.series_id, known.hours FROM usage_day AS known
JOIN unnest($1::text[], $2::date[], $3::bigint[]) AS wanted(tenant_id, day, series_id)
USING (tenant_id, day, series_id)
"""

_STORE = """
INSERT INTO usage_day AS known
    (tenant_id, day, series_id, cost, quantity, events, failed_events, hours)
SELECT * FROM unnest($1::text[], $2::date[], $3::bigint[], $4::numeric[], $5::numeric[],
    $6::bigint[], $7::bigint[], $8::bytea[])
ON CONFLICT (tenant_id, day, series_id) DO UPDATE SET
    cost = known.cost + excluded.cost, quantity = known.quantity + excluded.quantity,
    events = known.events + excluded.events,
    failed_events = known.failed_events + excluded.failed_events, hours = excluded.hours
"""

_CHANGED = """
INSERT INTO changed_day AS known (tenant_id, day)
SELECT * FROM unnest($1::text[], $2::date[]) ORDER BY 1, 2
ON CONFLICT (tenant_id, day) DO UPDATE SET changes = known.changes + 1, changed_at = now()
"""

_SERIES = f"""
SELECT used.*, {", ".join(f"named.{name}" for name in _COLUMNS)}, named.tags::text AS tags
FROM (
    SELECT series_id, sum(cost) AS cost, sum(quantity) AS quantity,
        sum(events)::bigint AS events, sum(failed_events)::bigint AS failed_events,
        array_agg(day ORDER BY day) AS days, string_agg(hours, '' ORDER BY day) AS hours
    FROM usage_day WHERE tenant_id = $1 AND day >= $2 AND day < $3 GROUP BY series_id
) AS used JOIN dimension AS named ON named.tenant_id = $1 AND named.series_id = used.series_id
ORDER BY used.series_id
"""


class _Sum:
    """What the changes of one day add up to."""

    __slots__ = ("cost", "events", "failed", "hours", "quantity")

    def __init__(self) -> None:
        self.cost = Decimal(0)
        self.quantity = Decimal(0)
        self.events = 0
        self.failed = 0
        self.hours = np.zeros((MEASURES, HOURS), dtype="<f8")

    def add(self, change: UsageChange) -> None:
        self.cost = EXACT.add(self.cost, change.cost)
        self.quantity = EXACT.add(self.quantity, change.quantity)
        self.events += change.events
        self.failed += change.failed_events
        weights = (change.cost, change.quantity, change.events)
        self.hours[:, change.hour_at.astimezone(UTC).hour] += [float(each) for each in weights]


async def apply_changes(tx: Transaction, changes: Sequence[tuple[str, UsageChange]]) -> set[str]:
    """Adds changes of any tenants to their days; returns the tenants. One writer at a time."""
    sums: dict[tuple[str, date, int], _Sum] = {}
    subjects: dict[tuple[str, int], Subject] = {}
    marked: set[tuple[str, date]] = set()
    for tenant_id, change in changes:
        day = change.hour_at.astimezone(UTC).date()
        sums.setdefault((tenant_id, day, change.series_id), _Sum()).add(change)
        subjects[tenant_id, change.series_id] = change.subject
        if change.has_details:
            marked.add((tenant_id, day))
    await _store_dimensions(tx, subjects)
    keys = sorted(sums)
    for row in await tx.driver.fetch(_KNOWN, *_columns(keys)):
        key = (row["tenant_id"], row["day"], row["series_id"])
        sums[key].hours += np.frombuffer(row["hours"], dtype="<f8").reshape(MEASURES, HOURS)
    rows = [
        (*key, one.cost, one.quantity, one.events, one.failed, one.hours.tobytes())
        for key, one in ((key, sums[key]) for key in keys)
    ]
    await tx.driver.execute(_STORE, *_columns(rows))
    if marked:
        await tx.driver.execute(_CHANGED, *_columns(sorted(marked)))
    return {tenant_id for tenant_id, _ in changes}


async def _store_dimensions(tx: Transaction, subjects: dict[tuple[str, int], Subject]) -> None:
    rows = [
        (*key, *subject[:-1], json.dumps(dict(subject.tags)))
        for key, subject in sorted(subjects.items())
    ]
    await tx.driver.execute(_DIMENSIONS, *_columns(rows))


def _columns(rows: Sequence[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return list(zip(*rows, strict=True))


async def load_series(tx: Transaction, tenant_id: str, period: Period) -> list[UsageSeries]:
    """Returns every series with usage in a period of whole UTC days."""
    first = period.start.date()
    rows = await tx.driver.fetch(_SERIES, tenant_id, first, period.end.date())
    count = (period.end.date() - first).days
    grid = np.zeros((len(rows), MEASURES, count, HOURS))
    for place, row in zip(grid, rows, strict=True):
        days = [(day - first).days for day in row["days"]]
        hours = np.frombuffer(row["hours"], dtype="<f8").reshape(len(days), MEASURES, HOURS)
        place[:, days, :] = hours.transpose(1, 0, 2)
    shaped = grid.reshape(len(rows), MEASURES, count * HOURS)
    return [
        UsageSeries(
            series_id=row["series_id"],
            subject=_subject(row),
            cost=row["cost"],
            quantity=row["quantity"],
            events=row["events"],
            failed_events=row["failed_events"],
            hours=hours,
        )
        for row, hours in zip(rows, shaped, strict=True)
    ]


def _subject(row: object) -> Subject:
    tags = json.loads(row["tags"])  # type: ignore[index]
    values = [row[name] for name in _COLUMNS]  # type: ignore[index]
    return Subject._make([*values, tuple(sorted(tags.items()))])


async def load_subjects(tx: Transaction, tenant_id: str) -> dict[Subject, int]:
    """Returns the series of a tenant by what they are about."""
    rows = await tx.driver.fetch(
        f"SELECT series_id, {', '.join(_COLUMNS)}, tags::text AS tags FROM dimension"
        " WHERE tenant_id = $1",
        tenant_id,
    )
    return {_subject(row): row["series_id"] for row in rows}


async def load_utilization(
    tx: Transaction, tenant_id: str, period: Period, *, resource_id: str | None = None
) -> list[UtilizationSamples]:
    """Returns the samples of a period, of one resource or all."""
    first = period.start.date()
    rows = await tx.driver.fetch(
        """
        SELECT resource_id, measure, max(capacity) AS capacity, max(unit) AS unit,
            array_agg(day ORDER BY day) AS days, array_agg(minutes ORDER BY day) AS minutes,
            array_agg(ratios ORDER BY day) AS ratios
        FROM utilization_day
        WHERE tenant_id = $1 AND day >= $2 AND day < $3 AND ($4::text IS NULL OR resource_id = $4)
        GROUP BY resource_id, measure ORDER BY resource_id, measure
        """,
        tenant_id,
        first,
        period.end.date(),
        resource_id,
    )
    found = []
    for row in rows:
        hours = [
            (day - first).days * HOURS + np.frombuffer(minutes, dtype="<i2") / 60
            for day, minutes in zip(row["days"], row["minutes"], strict=True)
        ]
        ratios = np.frombuffer(b"".join(row["ratios"]), dtype="<f4").astype(np.float64)
        found.append(
            UtilizationSamples(
                row["resource_id"],
                row["measure"],
                np.concatenate(hours),
                ratios,
                row["capacity"],
                row["unit"],
            )
        )
    return found


async def load_attempts(tx: Transaction, tenant_id: str, period: Period) -> list[AttemptGroup]:
    """Returns the failed and repeated work of a period."""
    first = period.start.date()
    rows = await tx.driver.fetch(
        "SELECT * FROM attempt_day WHERE tenant_id = $1 AND day >= $2 AND day < $3",
        tenant_id,
        first,
        period.end.date(),
    )
    return [
        AttemptGroup(
            row["series_id"],
            row["error_code"],
            row["is_failed"],
            row["retries"],
            (row["day"] - first).days * HOURS + row["hour"],
            row["operations"],
            row["cost"],
        )
        for row in rows
    ]


class ChangedDay(NamedTuple):
    """A day to read again. changes: how many it had when it was taken."""

    tenant_id: str
    day: date
    changes: int


async def changed_days(
    tx: Transaction, *, limit: int, tenant_id: str | None, period: Period | None = None
) -> list[ChangedDay]:
    """Returns days to read again, of a period or all, those that changed longest ago first."""
    rows = await tx.driver.fetch(
        """
        SELECT tenant_id, day, changes FROM changed_day
        WHERE ($2::text IS NULL OR tenant_id = $2)
        AND ($3::date IS NULL OR day BETWEEN $3 AND $4) ORDER BY changed_at LIMIT $1
        """,
        limit,
        tenant_id,
        None if period is None else period.start.astimezone(UTC).date(),
        None if period is None else period.end.astimezone(UTC).date(),
    )
    return [ChangedDay(row["tenant_id"], row["day"], row["changes"]) for row in rows]


class DaySamples(NamedTuple):
    """The samples of one measure of one resource on one UTC day; minutes of the day."""

    resource_id: str
    measure: str
    capacity: Decimal | None
    unit: str
    minutes: Sequence[int]
    ratios: Sequence[float]


async def replace_details(
    tx: Transaction,
    changed: ChangedDay,
    samples: Iterable[DaySamples],
    attempts: Iterable[AttemptGroup],
) -> None:
    """Stores what a day's events say, in place of what was known; the mark goes unless renewed.

    Does nothing where the mark is gone: somebody else has read the day meanwhile.
    """
    key = (changed.tenant_id, changed.day)
    mark = "SELECT changes FROM changed_day WHERE tenant_id = $1 AND day = $2 FOR UPDATE"
    if await tx.driver.fetchval(mark, *key) is None:
        return
    for table in ("utilization_day", "attempt_day"):
        await tx.driver.execute(f"DELETE FROM {table} WHERE tenant_id = $1 AND day = $2", *key)
    await tx.driver.executemany(
        "INSERT INTO utilization_day VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        [
            (
                *key,
                one.resource_id,
                one.measure,
                one.capacity,
                one.unit,
                np.array(one.minutes, dtype="<i2").tobytes(),
                np.array(one.ratios, dtype="<f4").tobytes(),
            )
            for one in samples
        ],
    )
    await tx.driver.executemany(
        "INSERT INTO attempt_day VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        [
            (
                *key,
                one.series_id,
                one.hour,
                one.error_code,
                one.is_failed,
                one.retries,
                one.operations,
                one.cost,
            )
            for one in attempts
        ],
    )
    await tx.driver.execute(
        "DELETE FROM changed_day WHERE tenant_id = $1 AND day = $2 AND changes = $3",
        *changed,
    )


async def forget_before(tx: Transaction, day: date) -> None:
    """Deletes statistics of days before one."""
    for table in ("usage_day", "utilization_day", "attempt_day"):
        await tx.driver.execute(f"DELETE FROM {table} WHERE day < $1", day)


def minute_of_day(instant: datetime) -> int:
    """Returns the minute of the UTC day."""
    utc = instant.astimezone(UTC)
    return utc.hour * 60 + utc.minute
