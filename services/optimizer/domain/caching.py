"""Detector `caching`: repeated work that a cache would serve, such as the prefixes of prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from services.kernel.money import EXACT, add_exactly, format_decimal
from services.optimizer.domain.finding import (
    Effort,
    Evidence,
    Finding,
    Kind,
    Risk,
    amount_text,
    estimate,
    money_of,
    parts_of,
    rounded,
    scope_of,
    text_of,
)
from services.optimizer.domain.settings_of_detector import DetectorProfile, DetectorSettings
from services.optimizer.domain.spread import cost_spread
from services.optimizer.domain.statistics import Statistics, UsageSeries
from services.optimizer.domain.tariff import best_tariff

PROFILE = DetectorProfile(
    detector_id="caching",
    kinds=(Kind.CACHING,),
    description="Prices the input tokens that repeat a prefix seen before (unit "
    "`repeated_input_token`) at the price of cached ones.",
)
REPEATED_UNIT = "repeated_input_token"
CACHED_METER = "cached_input_token"


class PrefixRequest(NamedTuple):
    """One request. repeated: leading input tokens that an earlier request had in the same place."""

    input_tokens: int
    repeated_tokens: int
    output_tokens: int


class TokenPrices(NamedTuple):
    """Prices of one token."""

    input_price: Decimal
    cached_price: Decimal
    output_price: Decimal


class PrefixSaving(NamedTuple):
    """What requests cost without and with a cache of prefixes, exact."""

    cost: Decimal
    cached_cost: Decimal
    repeated_tokens: int
    input_tokens: int

    @property
    def saving(self) -> Decimal:
        """The difference of the two pricings."""
        return EXACT.subtract(self.cost, self.cached_cost)


def prefix_saving(requests: Sequence[PrefixRequest], prices: TokenPrices) -> PrefixSaving:
    """Prices requests twice: all input in full, and repeated prefixes as cached."""
    inputs = sum(one.input_tokens for one in requests)
    outputs = sum(one.output_tokens for one in requests)
    repeated = sum(min(one.repeated_tokens, one.input_tokens) for one in requests)
    output_cost = EXACT.multiply(prices.output_price, Decimal(outputs))
    full = EXACT.add(EXACT.multiply(prices.input_price, Decimal(inputs)), output_cost)
    cached = add_exactly(
        (
            EXACT.multiply(prices.input_price, Decimal(inputs - repeated)),
            EXACT.multiply(prices.cached_price, Decimal(repeated)),
            output_cost,
        )
    )
    return PrefixSaving(full, cached, repeated, inputs)


def find(statistics: Statistics, settings: DetectorSettings) -> Iterator[Finding]:
    """Yields one piece of advice for each model whose prompts repeat prefixes at full price."""
    groups: dict[tuple[str, str, str], list[UsageSeries]] = defaultdict(list)
    for one in statistics.series:
        subject = one.subject
        is_repeated = subject.unit == REPEATED_UNIT and one.cost > 0 and one.quantity > 0
        if is_repeated and not settings.excludes(subject.resource_id):
            groups[subject.provider, subject.resource_id, subject.currency_code].append(one)
    for key, members in sorted(groups.items()):
        found = _finding(statistics, key, members)
        if found is not None:
            yield found


def _finding(
    statistics: Statistics, key: tuple[str, str, str], members: Sequence[UsageSeries]
) -> Finding | None:
    _, model, code = key
    subject = members[0].subject
    tariff = best_tariff(statistics.tariffs, subject, CACHED_METER, statistics.period.end)
    if tariff is None or tariff.currency_code != code:
        return None
    quantity = add_exactly(one.quantity for one in members)
    cost = add_exactly(one.cost for one in members)
    cached_cost = EXACT.multiply(tariff.unit_price, quantity)
    if cached_cost >= cost:
        return None
    monthly_cost = statistics.monthly(members)
    saving = rounded(EXACT.divide(monthly_cost * (cost - cached_cost), cost))
    inputs = add_exactly(
        one.quantity
        for one in statistics.series
        if one.subject.resource_id == model and one.subject.unit in (REPEATED_UNIT, "input_token")
    )
    repeated = text_of(EXACT.divide(quantity, inputs)) if inputs else "1"
    return Finding(
        kind=Kind.CACHING,
        detector_id=PROFILE.detector_id,
        key="/".join(key),
        title=f"Keep the prefixes of prompts to {model} in the provider's cache",
        summary=f"{quantity:,.0f} input tokens repeat a prefix seen before and are paid in full; "
        f"from the cache they cost {amount_text(saving, code)} less a month.",
        scope=scope_of(members),
        currency_code=code,
        saving=estimate(saving, spread=cost_spread(statistics, members), ceiling=monthly_cost),
        parts=parts_of(statistics, members),
        confidence=Decimal("0.8"),
        effort=Effort.LOW,
        risk=Risk.LOW,
        risk_note="A cache that has forgotten a prefix is paid as before.",
        detail={
            "caching": {
                "repeated_ratio": repeated,
                "hit_ratio": repeated,
                "cached_quantity": format_decimal(quantity),
                "unit": "input_token",
                "cached_unit_price": money_of(tariff.unit_price, code),
            }
        },
        evidence=[Evidence("repeated_input_tokens", format_decimal(quantity), "input_token")],
        steps=[
            "Put what does not change (instructions, tools, documents) first in every prompt.",
            "Mark the prefix for the provider's cache, and send related requests close together.",
        ],
        verification_steps=[
            "Cached input tokens appear in the usage, repeated ones at full price disappear."
        ],
        rollback_steps=["Remove the cache marks."],
    )
