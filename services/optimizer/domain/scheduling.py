"""Detector `scheduling`: work that can wait for cheaper hours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation

import numpy as np

from services.kernel.money import EXACT
from services.optimizer.domain.finding import (
    Effort,
    Evidence,
    Finding,
    Kind,
    Risk,
    amount_text,
    estimate,
    money_of,
    part_of,
    parts_of,
    scope_of,
    text_of,
)
from services.optimizer.domain.off_hours import window_text
from services.optimizer.domain.settings_of_detector import DetectorProfile, DetectorSettings
from services.optimizer.domain.spread import cost_spread
from services.optimizer.domain.statistics import (
    HOURS_OF_WEEK,
    Statistics,
    UsageSeries,
)
from services.optimizer.domain.tariff import PeakSchedule, Tariff, best_tariff

PROFILE = DetectorProfile(
    detector_id="scheduling",
    kinds=(Kind.SCHEDULING,),
    description="Finds work that may wait (tags `deadline_hours`, or `workload` of batch, etl, "
    "training, report or backup) in hours that its price schedule makes dearer.",
)
DEADLINE_TAG = "deadline_hours"
WORKLOAD_TAG = "workload"
DEFERRABLE = frozenset({"batch", "etl", "training", "report", "backup"})
DEFAULT_DEADLINE_HOURS = 24


def find(statistics: Statistics, settings: DetectorSettings) -> Iterator[Finding]:
    """Yields one piece of advice for each schedule and kind of work that pays its peaks."""
    groups: dict[tuple[str, str, str, int, str], list[tuple[UsageSeries, Tariff]]] = defaultdict(
        list
    )
    for one in statistics.series:
        deadline = deadline_hours(one)
        if deadline is None or settings.excludes(one.subject.resource_id):
            continue
        tariff = best_tariff(
            statistics.tariffs, one.subject, one.subject.unit, statistics.period.end
        )
        if tariff is not None and tariff.peak_schedule_id in statistics.schedules:
            subject = one.subject
            work = (subject.resource_type, subject.service)
            key = (*work, tariff.peak_schedule_id, deadline, subject.currency_code)
            groups[key].append((one, tariff))
    for key, members in sorted(groups.items()):
        found = _finding(statistics, key, members)
        if found is not None:
            yield found


def deadline_hours(one: UsageSeries) -> int | None:
    """Returns for how many hours work may wait, None when it may not."""
    text = one.subject.tag(DEADLINE_TAG)
    if text:
        try:
            return max(0, int(Decimal(text)))
        except (InvalidOperation, ValueError, OverflowError):
            return None
    is_deferrable = one.subject.tag(WORKLOAD_TAG).lower() in DEFERRABLE
    return DEFAULT_DEADLINE_HOURS if is_deferrable else None


def cheaper_hour(schedule: PeakSchedule, hour: int, deadline: int) -> int:
    """Returns by how many hours work of an hour of the week waits for the cheapest, at the soonest.

    0 where none within the deadline is cheaper.
    """
    now = schedule.multiplier(hour)
    best, wait = now, 0
    for delay in range(1, min(deadline, HOURS_OF_WEEK - 1) + 1):
        then = schedule.multiplier((hour + delay) % HOURS_OF_WEEK)
        if then < best:
            best, wait = then, delay
    return wait


def shift(
    statistics: Statistics, one: UsageSeries, schedule: PeakSchedule, deadline: int
) -> tuple[float, float, float]:
    """Returns shares of a series' cost: what is saved, what moves, and the mean wait in hours."""
    weights = statistics.clocked_cost(one)
    total = float(weights.sum())
    if total <= 0:
        return 0.0, 0.0, 0.0
    by_hour = np.bincount(statistics.local_hours, weights, HOURS_OF_WEEK)
    saved = moved = waited = 0.0
    for hour in np.flatnonzero(by_hour):
        wait = cheaper_hour(schedule, int(hour), deadline)
        if wait:
            now = schedule.multiplier(int(hour))
            then = schedule.multiplier((int(hour) + wait) % HOURS_OF_WEEK)
            share = float(by_hour[hour]) / total
            saved += share * float(1 - then / now)
            moved += share
            waited += share * wait
    return saved, moved, waited / moved if moved else 0.0


def _finding(
    statistics: Statistics,
    key: tuple[str, str, str, int, str],
    members: Sequence[tuple[UsageSeries, Tariff]],
) -> Finding | None:
    resource_type, service, schedule_id, deadline, code = key
    schedule = statistics.schedules[schedule_id]
    series = [one for one, _ in members]
    saving, moved_cost, waited = Decimal(0), Decimal(0), 0.0
    for one in series:
        monthly = statistics.monthly_of(one)
        saved_share, moved_share, wait = shift(statistics, one, schedule, deadline)
        saving += part_of(monthly, saved_share)
        moved_cost += part_of(monthly, moved_share)
        waited = max(waited, wait)
    monthly_cost = statistics.monthly(series)
    if saving <= 0 or monthly_cost <= 0:
        return None
    moved = EXACT.divide(moved_cost, monthly_cost)
    tariff = members[0][1]
    peaks = [hour for hour in range(HOURS_OF_WEEK) if schedule.multiplier(hour) > 1]
    top = max(schedule.multipliers.values(), default=Decimal(1))
    name = service or resource_type
    return Finding(
        kind=Kind.SCHEDULING,
        detector_id=PROFILE.detector_id,
        key="/".join(map(str, key[:-1])),
        title=f"Run the deferrable work of {name} off-peak",
        summary=f"{amount_text(saving, code)} a month is paid for running work at peak prices that "
        f"may wait up to {deadline} hours.",
        scope=scope_of(series),
        currency_code=code,
        saving=estimate(saving, spread=cost_spread(statistics, series), ceiling=monthly_cost),
        parts=parts_of(statistics, series),
        confidence=Decimal("0.8"),
        effort=Effort.MEDIUM,
        risk=Risk.LOW,
        risk_note="Results come later; what depends on them has to wait.",
        detail={
            "scheduling": {
                "current_window": "as it comes",
                "proposed_window": f"not in {window_text(peaks)}",
                "off_hours": peaks,
                "movable_ratio": text_of(moved),
                "peak_unit_price": money_of(tariff.unit_price * top, code),
                "off_peak_unit_price": money_of(tariff.unit_price, code),
                "delay_hours": text_of(waited, 2),
                "deadline_note": f"every run still ends within {deadline} hours of its request",
            }
        },
        evidence=[Evidence("peak_share", text_of(100 * moved, 2), "percent")],
        steps=[
            f"Queue the work of {name} and release it outside of {window_text(peaks)}.",
            "Let a run through whose deadline would pass.",
        ],
        verification_steps=["Its cost in the peak hours falls; its quantity does not."],
        rollback_steps=["Release work at once again."],
    )
