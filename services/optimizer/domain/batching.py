"""Detector `bulk`: calls that could go together, and price thresholds just missed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal

import numpy as np

from services.kernel.money import EXACT, add_exactly
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
    rounded,
    scope_of,
    text_of,
)
from services.optimizer.domain.settings_of_detector import DetectorProfile, DetectorSettings
from services.optimizer.domain.spread import cost_spread, hourly
from services.optimizer.domain.statistics import Measure, Statistics, UsageSeries
from services.optimizer.domain.tariff import Tariff, TariffModel, best_tariff

PROFILE = DetectorProfile(
    detector_id="bulk",
    kinds=(Kind.BATCHING, Kind.VOLUME_PRICE),
    description="Finds calls (units request, call, invocation) that come so closely that batches "
    "of them would wait at most a minute, and monthly quantities just below a cheaper price.",
)
CALL_UNITS = frozenset({"request", "call", "invocation"})
BATCHABLE_TAG = "batchable"
WAIT_SECONDS = 60
BATCH_MAX = 100  # what interfaces of batches take at least
BATCH_MIN = 2.0  # smaller batches are hardly any
NEAR_RATIO = Decimal("0.25")  # of the threshold may be missing
HOUR_SECONDS = 3600
MISSED_DIGITS = Decimal("0.000001")


def find(statistics: Statistics, settings: DetectorSettings) -> Iterator[Finding]:
    """Yields advice about batches, then about thresholds."""
    yield from _batches(statistics, settings)
    yield from _thresholds(statistics)


def batched_calls(events: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Returns how many batches the calls of each hour make when none waits longer than a minute.

    Calls of an hour are taken as spread evenly over it, which makes the fewest of them meet.
    """
    size = np.clip(events * WAIT_SECONDS / HOUR_SECONDS, 1, BATCH_MAX)
    return float((events / size).sum())


def _batches(statistics: Statistics, settings: DetectorSettings) -> Iterator[Finding]:
    groups: dict[tuple[str, str, str], list[UsageSeries]] = defaultdict(list)
    for one in statistics.series:
        subject = one.subject
        is_call = subject.unit in CALL_UNITS and subject.tag(BATCHABLE_TAG).lower() == "true"
        if is_call and one.cost > 0 and not settings.excludes(subject.resource_id):
            groups[subject.resource_type, subject.service, subject.currency_code].append(one)
    for key, members in sorted(groups.items()):
        events = hourly(members, Measure.EVENTS, statistics.hour_count)
        calls, batches = float(events.sum()), batched_calls(events)
        # Only calls that carry a single item each can go together.
        items = add_exactly(one.quantity for one in members)
        if batches and calls / batches >= BATCH_MIN and items <= Decimal(calls) * 2:
            yield _batch_finding(statistics, key, members, calls=calls, batches=batches)


def _batch_finding(
    statistics: Statistics,
    key: tuple[str, str, str],
    members: Sequence[UsageSeries],
    *,
    calls: float,
    batches: float,
) -> Finding:
    resource_type, service, code = key
    monthly_cost = statistics.monthly(members)
    saving = part_of(monthly_cost, 1 - batches / calls)
    cost = add_exactly(one.cost for one in members)
    name = service or resource_type
    return Finding(
        kind=Kind.BATCHING,
        detector_id=PROFILE.detector_id,
        key=f"batch/{'/'.join(key)}",
        title=f"Send the calls of {name} in batches",
        summary=f"{calls:,.0f} calls carry one item each. Batches that wait a minute at most are "
        f"{batches:,.0f} calls and save {amount_text(saving, code)} a month.",
        scope=scope_of(members),
        currency_code=code,
        saving=estimate(
            saving, spread=cost_spread(statistics, members) + 0.1, ceiling=monthly_cost
        ),
        parts=parts_of(statistics, members),
        confidence=Decimal("0.7"),
        effort=Effort.MEDIUM,
        risk=Risk.LOW,
        risk_note="Answers come up to a minute later; a failed batch fails all of its items.",
        detail={
            "batching": {
                "call_count": round(calls),
                "batched_call_count": round(batches),
                "batch_size": text_of(calls / batches, 2),
                "wait_seconds": str(WAIT_SECONDS),
                "overhead_per_call": money_of(EXACT.divide(cost, Decimal(round(calls) or 1)), code),
            }
        },
        evidence=[Evidence("calls", str(round(calls)), "call", str(round(batches)), round(calls))],
        steps=[f"Collect items for {WAIT_SECONDS} s or {BATCH_MAX} of them, then call once."],
        verification_steps=["The number of calls falls; the number of items does not."],
        rollback_steps=["Call for each item again."],
    )


def _thresholds(statistics: Statistics) -> Iterator[Finding]:
    by_price: dict[str, tuple[Tariff, list[UsageSeries]]] = {}
    for one in statistics.series:
        tariff = best_tariff(
            statistics.tariffs, one.subject, one.subject.unit, statistics.period.end
        )
        if tariff is None or tariff.currency_code != one.subject.currency_code:
            continue  # what is billed in another currency is not priced by it
        if tariff.model is TariffModel.VOLUME and one.cost > 0:
            by_price.setdefault(tariff.price_id, (tariff, []))[1].append(one)
    for tariff, members in by_price.values():
        found = _threshold_finding(statistics, tariff, members)
        if found is not None:
            yield found


def volume_amount(tariff: Tariff, quantity: Decimal) -> Decimal:
    """Returns what a quantity costs when its last tier prices all of it."""
    tier = next(
        (one for one in tariff.tiers if one.up_to is None or quantity <= one.up_to),
        tariff.tiers[-1],
    )
    return EXACT.add(EXACT.divide(quantity * tier.unit_price, tariff.per), tier.flat_fee)


def _threshold_finding(
    statistics: Statistics, tariff: Tariff, members: Sequence[UsageSeries]
) -> Finding | None:
    monthly_cost = statistics.monthly(members)
    cost = add_exactly(one.cost for one in members)
    quantity = EXACT.divide(add_exactly(one.quantity for one in members) * monthly_cost, cost)
    for tier, following in zip(tariff.tiers, tariff.tiers[1:], strict=False):
        if tier.up_to is None or quantity > tier.up_to:
            continue
        missing = EXACT.subtract(tier.up_to, quantity) + MISSED_DIGITS
        there = volume_amount(tariff, tier.up_to + MISSED_DIGITS)
        saving = EXACT.subtract(volume_amount(tariff, quantity), there)
        if missing > tier.up_to * NEAR_RATIO or saving <= 0 or saving > monthly_cost:
            return None
        code = tariff.currency_code
        next_price = EXACT.divide(following.unit_price, tariff.per)
        name = members[0].subject.service or members[0].subject.resource_type
        return Finding(
            kind=Kind.VOLUME_PRICE,
            detector_id=PROFILE.detector_id,
            key=f"threshold/{tariff.price_id}",
            title=f"Take the cheaper price of {name} that is just missed",
            summary=f"{text_of(missing, 2)} {tariff.meter} more a month reach a price at which the "
            f"whole month costs {amount_text(saving, code)} less.",
            scope=scope_of(members),
            currency_code=code,
            saving=estimate(
                rounded(saving), spread=cost_spread(statistics, members) + 0.1, ceiling=monthly_cost
            ),
            parts=parts_of(statistics, members),
            confidence=Decimal("0.7"),
            effort=Effort.LOW,
            risk=Risk.LOW,
            risk_note="In a month with less usage the threshold is missed, as now.",
            detail={
                "batching": {
                    "threshold_quantity": text_of(tier.up_to),
                    "missing_quantity": text_of(missing),
                    "next_unit_price": money_of(next_price, code),
                }
            },
            evidence=[
                Evidence(
                    "monthly_quantity", text_of(quantity, 2), tariff.meter, text_of(tier.up_to, 2)
                )
            ],
            steps=[
                "Bring usage of other accounts and departments under the same contract.",
                "Buy the missing quantity at the month's end where that still costs less.",
            ],
            verification_steps=["The month's unit price is that of the next tier."],
            rollback_steps=["Nothing to undo: the price follows the quantity."],
        )
    return None
