"""Detector `architecture`: services that call each other so often that the calls are the cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal

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
    scope_of,
    text_of,
)
from services.optimizer.domain.settings_of_detector import DetectorProfile, DetectorSettings
from services.optimizer.domain.spread import cost_spread
from services.optimizer.domain.statistics import Statistics, UsageSeries

PROFILE = DetectorProfile(
    detector_id="architecture",
    kinds=(Kind.CHATTY_SERVICES,),
    description="Counts the calls between services (tag `caller`) for each operation of the caller "
    "and finds pairs with many small ones.",
)
CALLER_TAG = "caller"
CALLS_MAX = 5.0  # for one operation; more are a conversation
OVERHEAD_SHARE_MIN = Decimal("0.05")  # of both services' cost: less is not worth a redesign
EVENTS_MIN = 1000


def find(statistics: Statistics, settings: DetectorSettings) -> Iterator[Finding]:
    """Yields one piece of advice for each pair of services that talks too much."""
    pairs: dict[tuple[str, str, str], list[UsageSeries]] = defaultdict(list)
    operations: dict[str, int] = defaultdict(int)
    costs: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for one in statistics.series:
        subject, caller = one.subject, one.subject.tag(CALLER_TAG)
        costs[subject.service, subject.currency_code].append(one.cost)
        if not caller:
            operations[subject.service] += one.events
        elif subject.service not in ("", caller) and not settings.excludes(subject.resource_id):
            pairs[caller, subject.service, subject.currency_code].append(one)
    for key, members in sorted(pairs.items()):
        calls, own = sum(one.events for one in members), operations.get(key[0], 0)
        spent = add_exactly(one.cost for one in members)
        both = add_exactly([*costs[key[0], key[2]], *costs[key[1], key[2]]])
        is_heavy = both > 0 and EXACT.divide(spent, both) >= OVERHEAD_SHARE_MIN
        if own and calls >= EVENTS_MIN and calls / own > CALLS_MAX and is_heavy:
            yield _finding(statistics, key, members, calls=calls, operations=own, both=both)


def _finding(
    statistics: Statistics,
    key: tuple[str, str, str],
    members: Sequence[UsageSeries],
    *,
    calls: int,
    operations: int,
    both: Decimal,
) -> Finding:
    caller, called, code = key
    each = calls / operations
    monthly_cost = statistics.monthly(members)
    # One call for an operation has to stay.
    saving = part_of(monthly_cost, 1 - 1 / each)
    spent = add_exactly(one.cost for one in members)
    return Finding(
        kind=Kind.CHATTY_SERVICES,
        detector_id=PROFILE.detector_id,
        key="/".join(key),
        title=f"Let {caller} ask {called} once for each operation",
        summary=f"{caller} calls {called} {each:.1f} times for one operation. One call would save "
        f"{amount_text(saving, code)} a month.",
        scope=scope_of(members),
        currency_code=code,
        saving=estimate(
            saving, spread=cost_spread(statistics, members) + 0.15, ceiling=monthly_cost
        ),
        parts=parts_of(statistics, members),
        confidence=Decimal("0.6"),
        effort=Effort.HIGH,
        risk=Risk.MEDIUM,
        risk_note="Both interfaces change; they have to be rolled out in order.",
        detail={
            "services": {
                "pairs": [
                    {
                        "from_service": caller,
                        "to_service": called,
                        "call_count": calls,
                        "calls_per_operation": text_of(each, 3),
                        "cost": money_of(spent, code),
                    }
                ],
                "overhead_ratio": text_of(EXACT.divide(spent, both)),
            }
        },
        evidence=[Evidence("calls_per_operation", text_of(each, 3), "call", "1", calls)],
        steps=[
            f"Add a call to {called} that answers for a list.",
            f"Collect what one operation of {caller} needs, and ask once.",
        ],
        verification_steps=[f"Calls from {caller} to {called} for one operation fall towards one."],
        rollback_steps=["Use the single call again; it stays in place."],
    )
