"""Detector `errors`: work that failed or was repeated, and what it cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal

from services.kernel.money import EXACT, add_exactly
from services.optimizer.domain.failure import ErrorClassCost, FailureCost, failure_cost
from services.optimizer.domain.finding import (
    Effort,
    Estimate,
    Evidence,
    Finding,
    Kind,
    Risk,
    amount_text,
    money_of,
    parts_of,
    rounded,
    scope_of,
    text_of,
)
from services.optimizer.domain.settings_of_detector import DetectorProfile, DetectorSettings
from services.optimizer.domain.spread import cost_spread
from services.optimizer.domain.statistics import (
    AttemptGroup,
    Statistics,
    UsageSeries,
)

PROFILE = DetectorProfile(
    detector_id="errors",
    kinds=(Kind.ERROR_REDUCTION,),
    description="Adds up failed and repeated attempts by error class, and replays retry policies "
    "on the recorded attempts.",
)
TOLERATED_RATIO = Decimal("0.01")  # of the cost: failures that every system has
FAILED_MIN = 20
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
CLASSES_SHOWN = 20


def find(statistics: Statistics, settings: DetectorSettings) -> Iterator[Finding]:
    """Yields advice for each service or resource type whose failures cost more than they may."""
    groups: dict[tuple[str, ...], list[AttemptGroup]] = defaultdict(list)
    for one in statistics.attempts:
        series = statistics.by_id.get(one.series_id)
        if series is not None and not settings.excludes(series.subject.resource_id):
            groups[_key(series)].append(one)
    for key, attempts in groups.items():
        members = [one for one in statistics.series if _key(one) == key]
        found = _finding(statistics, key, members, attempts)
        if found is not None:
            yield found


def _key(series: UsageSeries) -> tuple[str, ...]:
    subject = series.subject
    return (subject.resource_type, subject.service, subject.provider, subject.currency_code)


def _finding(
    statistics: Statistics,
    key: tuple[str, ...],
    members: Sequence[UsageSeries],
    attempts: Sequence[AttemptGroup],
) -> Finding | None:
    failures = failure_cost(attempts, hour_count=statistics.hour_count)
    spend = add_exactly(one.cost for one in members)
    wasted = EXACT.add(failures.failed_cost, failures.retried_cost)
    excess = EXACT.subtract(wasted, spend * TOLERATED_RATIO)
    if excess <= 0 or failures.failed_count + sum(one.retries for one in attempts) < FAILED_MIN:
        return None
    parts = parts_of(statistics, members)
    monthly_cost = add_exactly(part.monthly_cost for part in parts)
    to_month = EXACT.divide(monthly_cost, spend) if spend else Decimal(0)
    policy_saving = EXACT.subtract(failures.cost, failures.simulated_cost)
    half = rounded(excess * to_month * Decimal(str(round(cost_spread(statistics, members), 6))) * 2)
    expected = rounded(min(excess * to_month, monthly_cost))
    lower = min(expected, max(rounded(policy_saving * to_month), expected - half))
    saving = Estimate(expected, lower, min(monthly_cost, max(expected, rounded(wasted * to_month))))
    name = key[1] or key[0]
    total = sum(one.events for one in members)
    code = members[0].subject.currency_code
    worst = failures.classes[0].error_code if failures.classes else "retries"
    return Finding(
        kind=Kind.ERROR_REDUCTION,
        detector_id=PROFILE.detector_id,
        key="/".join(key),
        title=f"Failed and repeated work of {name} costs {amount_text(expected, code)} a month",
        summary=f"{failures.failed_count} of {total} operations of {name} failed and were paid "
        f"for; most of it is {worst}. Mend its cause, and repeat only what passes by itself.",
        scope=scope_of(members),
        currency_code=code,
        saving=saving,
        parts=parts,
        confidence=Decimal("0.75"),
        effort=Effort.MEDIUM,
        risk=Risk.LOW,
        risk_note="Fewer attempts may let an operation fail that a later one would have saved.",
        detail={"retry": _detail(statistics, failures, total, code)},
        evidence=[
            Evidence(
                "failed_cost",
                text_of(failures.failed_cost, 9),
                code,
                sample_count=failures.failed_count,
                query="/api/v1/finops/usage-analytics",
            ),
            Evidence("retried_cost", text_of(failures.retried_cost, 9), code),
            Evidence("policy_saving", text_of(policy_saving, 9), code),
        ],
        steps=_steps(failures),
        verification_steps=[
            "The cost of failed work of the four weeks after is lower than of those before."
        ],
        rollback_steps=["Set the retry settings back to what they were."],
    )


def _detail(
    statistics: Statistics, failures: FailureCost, total: int, code: str
) -> dict[str, object]:
    return {
        "failed_cost": money_of(failures.failed_cost, code),
        "retried_cost": money_of(failures.retried_cost, code),
        "failed_count": failures.failed_count,
        "failure_ratio": text_of(failures.failed_count / total if total else 0.0),
        "classes": [
            _class_detail(statistics, one, code) for one in failures.classes[:CLASSES_SHOWN]
        ],
        "retryable_error_codes": list(failures.policy.retryable),
        "attempts_max": failures.policy.attempts_max,
        "backoff_seconds": text_of(failures.policy.backoff_seconds),
        "simulated_cost": money_of(failures.simulated_cost, code),
    }


def _class_detail(statistics: Statistics, one: ErrorClassCost, code: str) -> dict[str, object]:
    series = statistics.by_id.get(one.series_id) if one.series_id is not None else None
    peak = ""
    if one.peak_hour is not None:
        hour = int(statistics.local_hours[one.peak_hour])
        peak = f"{DAYS[hour // 24]} {hour % 24:02d}"
    return {
        "error_code": one.error_code,
        "count": one.count,
        "cost": money_of(one.cost, code),
        "retry_success_ratio": "" if one.retry_success is None else text_of(one.retry_success),
        "peak_hour": peak,
        "user_id": series.subject.user_id if series else "",
        "resource_id": series.subject.resource_id if series else "",
        "burst": one.is_burst,
    }


def _steps(failures: FailureCost) -> list[str]:
    steps = [
        f"Find the cause of {one.error_code or 'errors without a code'}: {one.count} failures."
        for one in failures.classes[:3]
    ]
    policy = failures.policy
    if policy.retryable:
        steps.append(
            f"Repeat {', '.join(code or 'errors without a code' for code in policy.retryable)} "
            f"at most {policy.attempts_max - 1} times, after {policy.backoff_seconds} s, doubled "
            "each time, with jitter."
        )
    hopeless = [
        one.error_code for one in failures.classes if one.error_code not in policy.retryable
    ]
    if hopeless:
        steps.append(f"Do not repeat {', '.join(hopeless)}: hardly a repeat succeeded.")
    return steps
