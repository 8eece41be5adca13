"""A year of invented usage: the same events for the same day on every machine."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

from finops.usage.v1.usage_model_pb2 import (
    OUTCOME_FAILED,
    OUTCOME_SUCCEEDED,
    UsageComponent,
    UsageEvent,
)
from google.protobuf.timestamp_pb2 import Timestamp

from cli.demo.company import (
    ANOMALY_DAYS_AGO,
    BUCKETS,
    CODER,
    LARGE,
    MACHINES,
    SMALL,
    SOURCE,
    USERS,
    ZONE,
    Machine,
    Model,
)

DAYS = 365
_SEED = "finops demo 1"
_SATURDAY = 5
_WORK_BEGINS, _WORK_ENDS = 8, 19
_HEAVY = {"research": 3.0, "product": 2.2, "support": 2.6, "platform": 1.6}  # runs, against others
_ERRORS = ("RATE_LIMITED", "TIMEOUT", "CONTENT_FILTERED")
_ERROR_WEIGHTS = (11, 6, 3)
_PRODUCTION_SHARE = 0.7
_RETRIED_SHARE = 0.06  # of the runs that succeed
_FAILURE_RATE = 0.035
_BAD_WEEK_DAYS_AGO = range(60, 67)  # one provider failed often then
_BAD_WEEK_FAILURE_RATE = 0.18
_RUNAWAY_USER = "omar.farouk"
_RUNAWAY_RUNS = 200  # a night
_RUNS_A_DAY, _RUNS_SPREAD = 1.0, 0.3  # of one person in a team that uses them little
_PROJECTS = {
    "research": ("ranking", "assistant"),
    "product": ("assistant", "storefront"),
    "support": ("assistant",),
    "platform": ("storefront", "ledger"),
}


def events(today: date) -> Iterator[UsageEvent]:
    """Yields the events of the year before `today`, a local date, oldest day first.

    About 100,000. Each day has its own random numbers, so that a later run adds days and repeats
    the others exactly.
    """
    for days_ago in range(DAYS, 0, -1):
        day = today - timedelta(days=days_ago)
        yield from _runs(day, days_ago)
        yield from _machine_hours(day)
        yield from _storage(day, days_ago)


def _random(day: date, part: str) -> random.Random:
    return random.Random(f"{_SEED} {day} {part}")  # noqa: S311 - the same numbers every time


def _runs(day: date, days_ago: int) -> Iterator[UsageEvent]:
    """Yields the runs of language models: few on weekends, more every month."""
    draw = _random(day, "runs")
    level = 0.25 if day.weekday() >= _SATURDAY else 1.0
    growth = 1.0 + 0.9 * (DAYS - days_ago) / DAYS
    number = 0
    for user, department, _ in USERS:
        count = round(
            draw.gauss(_RUNS_A_DAY, _RUNS_SPREAD) * _HEAVY.get(department, 0.7) * level * growth
        )
        for _ in range(count):
            number += 1
            yield _run(draw, day, number, user, department, is_bad=days_ago in _BAD_WEEK_DAYS_AGO)
    if days_ago in ANOMALY_DAYS_AGO:
        for _ in range(_RUNAWAY_RUNS):
            number += 1
            yield _runaway_run(draw, day, number)


def _model_for(draw: random.Random, department: str) -> Model:
    if department in ("product", "platform"):
        return draw.choices((CODER, LARGE, SMALL), (6, 2, 2))[0]
    if department == "research":
        return draw.choices((LARGE, SMALL, CODER), (6, 2, 2))[0]
    return draw.choices((SMALL, LARGE), (8, 2))[0]


def _run(
    draw: random.Random, day: date, number: int, user: str, department: str, *, is_bad: bool
) -> UsageEvent:
    model = _model_for(draw, department)
    rate = _BAD_WEEK_FAILURE_RATE if is_bad and model is CODER else _FAILURE_RATE
    has_failed = draw.random() < rate
    hour = min(max(draw.gauss(13, 3), 0.0), 23.9)
    whole = int(draw.lognormvariate(10.4, 1.0))
    cached = int(whole * draw.choice((0, 0, 0.4, 0.7)))
    event = _model_event(
        day,
        number,
        seconds=int(hour * 3600),
        user=user,
        model=model,
        tokens=(whole - cached, cached, int(draw.lognormvariate(7.9, 0.9))),
    )
    event.project = draw.choice(_PROJECTS.get(department, ("assistant",)))
    event.latency_ms = int(draw.lognormvariate(7.6, 0.6))
    event.tags["environment"] = "prod" if draw.random() < _PRODUCTION_SHARE else "dev"
    if has_failed:
        event.outcome = OUTCOME_FAILED
        event.error_code = draw.choices(_ERRORS, _ERROR_WEIGHTS)[0]
        event.retries = draw.randint(1, 3)
    elif draw.random() < _RETRIED_SHARE:
        event.retries = 1
    return event


def _runaway_run(draw: random.Random, day: date, number: int) -> UsageEvent:
    """Returns one run of an agent that calls itself all night with an ever longer context."""
    event = _model_event(
        day,
        number,
        seconds=draw.randrange(6 * 3600),
        user=_RUNAWAY_USER,
        model=LARGE,
        tokens=(draw.randint(60_000, 180_000), 0, draw.randint(1_000, 6_000)),
    )
    event.project = "ranking"
    event.tags["environment"] = "dev"
    event.tags["agent"] = "nightly-eval"
    return event


def _model_event(
    day: date, number: int, *, seconds: int, user: str, model: Model, tokens: tuple[int, int, int]
) -> UsageEvent:
    meters = ("input_token", "cached_input_token", "output_token")
    return UsageEvent(
        event_id=f"run-{day}-{number}",
        source=SOURCE,
        start_time=_instant(day, seconds),
        resource_type="llm",
        resource_id=model.name,
        provider=model.provider,
        service="inference",
        service_category="AI and Machine Learning",
        quantity=str(sum(tokens)),
        unit="token",
        components=[
            UsageComponent(meter=meter, quantity=str(count))
            for meter, count in zip(meters, tokens, strict=True)
            if count
        ],
        user_id=user,
        outcome=OUTCOME_SUCCEEDED,
    )


def _machine_hours(day: date) -> Iterator[UsageEvent]:
    draw = _random(day, "machines")
    after = _instant(day + timedelta(days=1), 0)
    hours = (after.seconds - _instant(day, 0).seconds) // 3600  # 23 or 25 when clocks change
    for machine in MACHINES:
        for hour in range(hours):
            is_work = day.weekday() < _SATURDAY and _WORK_BEGINS <= hour < _WORK_ENDS
            if machine.is_always_on or is_work:
                yield _machine_hour(draw, day, hour, machine, is_work=is_work)


def _machine_hour(
    draw: random.Random, day: date, hour: int, machine: Machine, *, is_work: bool
) -> UsageEvent:
    is_customer_facing = machine.environment == "prod" and machine.is_always_on
    idle = machine.busy * 0.45 if is_customer_facing else 0.02
    utilization = (machine.busy if is_work else idle) * draw.uniform(0.85, 1.15)
    start = _instant(day, hour * 3600)
    return UsageEvent(
        event_id=f"vm-{machine.name}-{day}-{hour:02}",
        source=SOURCE,
        start_time=start,
        end_time=Timestamp(seconds=start.seconds + 3600),
        resource_type="vm",
        resource_id=machine.name,
        provider="example-cloud",
        service=machine.kind,
        service_category="Compute",
        region=machine.region,
        quantity="1",
        unit="hour",
        department=machine.department,
        project=machine.project,
        tags={"environment": machine.environment},
        outcome=OUTCOME_SUCCEEDED,
        capacity="1",
        utilization=round(min(utilization, 1.0), 4),
    )


def _storage(day: date, days_ago: int) -> Iterator[UsageEvent]:
    grown = DAYS - days_ago
    for position, (bucket, department) in enumerate(BUCKETS):
        yield UsageEvent(
            event_id=f"storage-{bucket}-{day}",
            source=SOURCE,
            start_time=_instant(day, 0),
            resource_type="storage",
            resource_id=bucket,
            provider="example-cloud",
            service="object-storage",
            service_category="Storage",
            region="eu-central",
            quantity=str(4_000 * (position + 1) + 22 * grown),
            unit="gb_day",
            department=department,
            tags={"environment": "prod"},
            outcome=OUTCOME_SUCCEEDED,
        )


def _instant(day: date, seconds: int) -> Timestamp:
    """Returns so many seconds of elapsed time after local midnight."""
    midnight = datetime.combine(day, time(), ZONE).astimezone(UTC)
    return Timestamp(seconds=int(midnight.timestamp()) + seconds)
