"""Failed and retried work: what it costs, and which retry policy would have cost less.

An event is one operation with 1 + retries attempts; its cost is of all of them alike. A policy is
replayed on the recorded attempts: what it would have stopped earlier costs that much less.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from services.kernel.money import EXACT, add_exactly
from services.optimizer.domain.statistics import AttemptGroup

SUCCESS_KEPT = 0.99  # share of the successes after a retry that a policy must keep
RETRY_PAYS_RATIO = 0.05  # below it, hardly a repeat succeeds: the error is not passing
RETRIED_MIN = 5  # operations; fewer say nothing about whether repeats succeed
BURST_SHARE = 0.5  # of a class's failures in the busiest hundredth of the hours
BURST_MEAN_MIN = 3  # failures an hour there
ATTEMPTS_MAX = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorClassCost:
    """One error code. count: operations that failed so. retry_success: None without repeats."""

    error_code: str
    count: int
    cost: Decimal
    retry_success: float | None
    is_burst: bool
    peak_hour: int | None
    series_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Which errors get another attempt, how many at most, and the first pause in seconds."""

    retryable: Sequence[str]
    attempts_max: int
    backoff_seconds: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCost:
    """All failed and retried work. cost: of every recorded attempt in it."""

    failed_cost: Decimal
    retried_cost: Decimal
    failed_count: int
    classes: Sequence[ErrorClassCost]
    policy: RetryPolicy
    simulated_cost: Decimal
    cost: Decimal


def failure_cost(groups: Sequence[AttemptGroup], *, hour_count: int) -> FailureCost:
    """Adds up failed and retried work exactly, and finds the policy that would have cost least.

    groups: only operations that failed or were repeated. hour_count: hours that they lie in.
    """
    failed = [one for one in groups if one.is_failed]
    classes = _classes(groups, hour_count)
    policy = best_policy(groups, classes)
    return FailureCost(
        failed_cost=add_exactly(one.cost for one in failed),
        retried_cost=add_exactly(repeated_cost(one) for one in groups if not one.is_failed),
        failed_count=sum(one.operations for one in failed),
        classes=classes,
        policy=policy,
        simulated_cost=add_exactly(cost_under(one, policy) for one in groups),
        cost=add_exactly(one.cost for one in groups),
    )


def repeated_cost(group: AttemptGroup) -> Decimal:
    """Returns what the attempts beyond the first one cost."""
    return EXACT.divide(group.cost * group.retries, Decimal(group.retries + 1))


def cost_under(group: AttemptGroup, policy: RetryPolicy) -> Decimal:
    """Returns what the recorded attempts would have cost under a policy."""
    allowed = policy.attempts_max if group.error_code in policy.retryable else 1
    attempts = group.retries + 1
    if not group.is_failed or attempts <= allowed:
        # A success is kept as it was: the policy is chosen so that it hardly loses any.
        return group.cost
    return EXACT.divide(group.cost * allowed, Decimal(attempts))


def best_policy(groups: Sequence[AttemptGroup], classes: Sequence[ErrorClassCost]) -> RetryPolicy:
    """Returns the fewest attempts that keep the successes, for the errors that pass by themselves.

    The pause starts at half a second where errors come in bursts, because those last, and else at
    a tenth.
    """
    retryable = [
        one.error_code
        for one in classes
        if one.retry_success is None or one.retry_success >= RETRY_PAYS_RATIO
    ]
    won = np.zeros(ATTEMPTS_MAX + 1)
    for one in groups:
        if not one.is_failed:
            won[min(one.retries + 1, ATTEMPTS_MAX)] += one.operations
    total = won.sum()
    attempts = 1
    if total:
        attempts = int(np.searchsorted(np.cumsum(won) / total, SUCCESS_KEPT))
    has_bursts = any(one.is_burst for one in classes)
    return RetryPolicy(
        retryable=retryable,
        attempts_max=max(attempts, 1) if retryable else 1,
        backoff_seconds=Decimal("0.5") if has_bursts else Decimal("0.1"),
    )


def _classes(groups: Sequence[AttemptGroup], hour_count: int) -> list[ErrorClassCost]:
    by_code: dict[str, list[AttemptGroup]] = defaultdict(list)
    for one in groups:
        by_code[one.error_code].append(one)
    found = [_class_of(code, members, hour_count) for code, members in by_code.items()]
    return sorted((one for one in found if one.count), key=lambda one: (-one.cost, one.error_code))


def _class_of(code: str, members: Sequence[AttemptGroup], hour_count: int) -> ErrorClassCost:
    failed = [one for one in members if one.is_failed]
    retried = sum(one.operations for one in members if one.retries)
    won = sum(one.operations for one in members if one.retries and not one.is_failed)
    hours = np.zeros(max(hour_count, 1))
    for one in failed:
        hours[one.hour] += one.operations
    total = float(hours.sum())
    ranked = np.sort(hours)[::-1].cumsum()
    fewest = int(np.searchsorted(ranked, total * BURST_SHARE)) + 1
    # Of a few failures, any spread has half in a hundredth of the hours: there one at a time.
    is_dense = float(ranked[fewest - 1]) >= BURST_MEAN_MIN * fewest
    is_burst = total > 0 and fewest <= max(1, hour_count // 100) and is_dense
    return ErrorClassCost(
        error_code=code,
        count=int(total),
        cost=add_exactly(one.cost for one in failed),
        retry_success=won / retried if retried >= RETRIED_MIN else None,
        is_burst=is_burst,
        peak_hour=int(hours.argmax()) if is_burst else None,
        series_id=_dominant(failed),
    )


def _dominant(failed: Sequence[AttemptGroup]) -> int | None:
    counts: dict[int, int] = defaultdict(int)
    for one in failed:
        counts[one.series_id] += one.operations
    total = sum(counts.values())
    series_id, most = max(counts.items(), key=lambda pair: pair[1], default=(0, 0))
    return series_id if total and most > total / 2 else None
