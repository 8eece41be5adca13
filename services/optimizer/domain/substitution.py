"""Detector `models`: work that a cheaper model of the same maker could do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType

from services.kernel.money import EXACT
from services.optimizer.domain.finding import (
    Effort,
    Estimate,
    Evidence,
    Finding,
    Kind,
    Risk,
    amount_text,
    money_of,
    part_of,
    parts_of,
    rounded,
    scope_of,
    text_of,
)
from services.optimizer.domain.settings_of_detector import DetectorProfile, DetectorSettings
from services.optimizer.domain.statistics import Statistics, UsageSeries
from services.optimizer.domain.tariff import Tariff, best_tariff, has_pattern, is_named

PROFILE = DetectorProfile(
    detector_id="models",
    kinds=(Kind.MODEL_SUBSTITUTION,),
    description="Prices the simple work (tag `complexity` of low) of a language model at the "
    "prices of the maker's cheaper models; whether the answers are good enough is the owner's "
    "to judge.",
)
COMPLEXITY_TAG = "complexity"
SIMPLE = "low"
INPUT, OUTPUT = "input_token", "output_token"
RESOURCE_TYPE = "llm"
OUTPUT_WEIGHT = Decimal("0.25")  # of all tokens, where the usage does not tell them apart
MOVABLE_RATIO = 0.7  # of work marked as simple: some of it proves not to be
SAVING_RATIO_MIN = Decimal("0.2")


def find(statistics: Statistics, settings: DetectorSettings) -> Iterator[Finding]:
    """Yields one piece of advice for each model that does simple work dearly."""
    groups: dict[tuple[str, str, str], list[UsageSeries]] = defaultdict(list)
    for one in statistics.series:
        subject = one.subject
        is_simple = subject.tag(COMPLEXITY_TAG).lower() == SIMPLE and one.cost > 0
        is_free = not settings.excludes(subject.resource_id)
        if subject.resource_type == RESOURCE_TYPE and is_simple and is_free:
            groups[subject.provider, subject.resource_id, subject.currency_code].append(one)
    blended = blended_prices(statistics)
    for key, members in sorted(groups.items()):
        found = _finding(statistics, key, members, blended)
        if found is not None:
            yield found


def proposed_model(finding: Finding) -> str:
    """Returns the model that this detector's advice gives the work to."""
    detail = finding.detail["substitution"]
    return str(detail["proposed"]) if isinstance(detail, Mapping) else ""


def blended_prices(statistics: Statistics) -> Mapping[tuple[str, str, str], Decimal]:
    """Returns the price of a mean token by (provider, model, currency), those in force."""
    models = {
        (one.provider, one.resource_id, one.currency_code)
        for one in statistics.tariffs
        if one.resource_type == RESOURCE_TYPE and one.resource_id
    }
    by_model: dict[tuple[str, str, str], dict[str, Tariff]] = defaultdict(dict)
    for tariff in statistics.tariffs:
        key = (tariff.provider, tariff.resource_id, tariff.currency_code)
        if key in models and tariff.holds_at(statistics.period.end):
            by_model[key][tariff.meter] = tariff
    return MappingProxyType(
        {
            key: meters[INPUT].unit_price * (1 - OUTPUT_WEIGHT)
            + meters[OUTPUT].unit_price * OUTPUT_WEIGHT
            for key, meters in by_model.items()
            if INPUT in meters and OUTPUT in meters
        }
    )


def price_of(
    blended: Mapping[tuple[str, str, str], Decimal], key: tuple[str, str, str]
) -> Decimal | None:
    """Returns a model's price by its name, else by the longest pattern that means it."""
    provider, model, code = key
    found = [
        (name, price)
        for (maker, name, currency), price in blended.items()
        if maker == provider and currency == code and is_named(name, model)
    ]
    return max(
        found,
        key=lambda pair: (not has_pattern(pair[0]), len(pair[0]), pair[0]),
        default=("", None),
    )[1]


def _finding(
    statistics: Statistics,
    key: tuple[str, str, str],
    members: Sequence[UsageSeries],
    blended: Mapping[tuple[str, str, str], Decimal],
) -> Finding | None:
    provider, model, code = key
    current = price_of(blended, key)
    chosen = _target(provider, code, current or Decimal(0), blended)
    if not current or chosen is None:
        return None
    name, target = chosen
    monthly_cost = statistics.monthly(members)
    full = rounded(monthly_cost * (1 - EXACT.divide(target, current)))
    saving = Estimate(part_of(full, MOVABLE_RATIO), part_of(full, 0.4), full)
    subject = members[0].subject
    tariffs = [
        best_tariff(
            statistics.tariffs, subject._replace(resource_id=one), INPUT, statistics.period.end
        )
        for one in (model, name)
    ]
    prices = [one.unit_price if one else Decimal(0) for one in tariffs]
    return Finding(
        kind=Kind.MODEL_SUBSTITUTION,
        detector_id=PROFILE.detector_id,
        key="/".join(key),
        title=f"Give the simple work of {model} to {name}",
        summary=f"Work marked as simple costs {amount_text(monthly_cost, code)} a month with "
        f"{model}. {name} would do {MOVABLE_RATIO:.0%} of it for "
        f"{amount_text(saving.expected, code)} less.",
        scope=scope_of(members),
        currency_code=code,
        saving=saving,
        parts=parts_of(statistics, members),
        confidence=Decimal("0.6"),
        effort=Effort.MEDIUM,
        risk=Risk.HIGH,
        risk_note="Answers may be worse; only a test on your own work can tell.",
        detail={
            "substitution": {
                "current": model,
                "proposed": name,
                "current_unit_price": money_of(prices[0], code),
                "proposed_unit_price": money_of(prices[1], code),
                "movable_ratio": text_of(MOVABLE_RATIO),
                "quality_note": "Compare both models on a hundred requests of your own, blind, "
                "before anything moves.",
            }
        },
        evidence=[
            Evidence("blended_price_ratio", text_of(EXACT.divide(target, current), 4), "ratio", "1")
        ],
        steps=[
            f"Answer a hundred recorded requests with {name} and have the owner judge them.",
            f"Send a tenth of the simple work to {name}, then all that it does well.",
        ],
        verification_steps=["Cost for a request falls; corrections and repeats do not grow."],
        rollback_steps=[f"Send the work back to {model}."],
    )


def _target(
    provider: str,
    code: str,
    current: Decimal,
    blended: Mapping[tuple[str, str, str], Decimal],
) -> tuple[str, Decimal] | None:
    """Returns the dearest of the maker's cheaper models, the smallest step in quality.

    A pattern is a model when it leaves but the version open.
    """
    others = {
        name: price
        for (maker, name, currency), price in blended.items()
        if maker == provider
        and currency == code
        and price <= current * (1 - SAVING_RATIO_MIN)
        and not has_pattern(name.removesuffix("*"))
    }
    return max(others.items(), key=lambda pair: (pair[1], pair[0]), default=None)
