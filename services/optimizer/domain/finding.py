"""What a detector finds: advice with the figures that it stands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from services.kernel.money import EXACT, FRACTION_DIGITS_MAX, add_exactly, format_decimal
from services.optimizer.domain.statistics import Statistics, UsageSeries
from services.optimizer.domain.subject import Subject

Detail: TypeAlias = Mapping[str, object]  # one entry: the contract's detail in its JSON form

RESOURCES_SHOWN = 100
USERS_SHOWN = 20
INTERVAL_RATIO = Decimal("0.9")  # probability that every claim's interval is made for
NORMAL_90 = 1.645  # half-width of that interval in standard deviations
_UNIT = Decimal(1).scaleb(-FRACTION_DIGITS_MAX)


class Kind(IntEnum):
    """Kinds of waste, as the contract numbers them."""

    ERROR_REDUCTION = 1
    RIGHTSIZING = 2
    IDLE_RESOURCE = 3
    SCALING = 4
    SCHEDULING = 5
    SHUTDOWN = 6
    BATCHING = 7
    VOLUME_PRICE = 8
    CONSOLIDATION = 9
    CACHING = 10
    CHATTY_SERVICES = 11
    COMMITMENT = 12
    UNUSED_COMMITMENT = 13
    MODEL_SUBSTITUTION = 14
    REGION_MOVE = 15
    CARBON = 16


class Effort(IntEnum):
    """Work that advice takes: less than a day, days, weeks."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3


class Risk(IntEnum):
    """What can go wrong: nothing that lasts, a while of trouble, a loss."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3


class Estimate(NamedTuple):
    """An amount that is not known exactly, with the bounds of its 90 % interval."""

    expected: Decimal
    lower: Decimal
    upper: Decimal

    def scaled(self, factor: Decimal) -> Estimate:
        """Returns all three times a factor of zero or more."""
        return Estimate(*(rounded(EXACT.multiply(each, factor)) for each in self))


class Evidence(NamedTuple):
    """One figure and where it comes from. query: the REST call that gives it again."""

    metric: str
    value: str
    unit: str = ""
    reference: str = ""
    sample_count: int = 0
    query: str = ""


class Part(NamedTuple):
    """A series that advice touches, and what that costs in an average month."""

    series_id: int
    monthly_cost: Decimal


class Scope(NamedTuple):
    """What advice is about, as the contract shows it; empty where several."""

    resource_ids: tuple[str, ...]
    resource_count: int
    resource_type: str
    service: str
    provider: str
    region: str
    department: str
    project: str
    user_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Advice of one detector. key: the same for the same cause, whenever it is found.

    saving: of an average month. parts: what it touches; their cost is never below the saving.
    confidence: probability, from 0 to 1, that at least the lower bound is saved. worth: what is
    saved in the tenant's currency, by which advice is compared; 0 where no rate tells.
    """

    kind: Kind
    detector_id: str
    key: str
    title: str
    summary: str
    scope: Scope
    currency_code: str
    saving: Estimate
    parts: Sequence[Part]
    confidence: Decimal
    effort: Effort
    risk: Risk
    risk_note: str
    detail: Detail
    steps: Sequence[str]
    verification_steps: Sequence[str]
    rollback_steps: Sequence[str]
    evidence: Sequence[Evidence] = field(default=())
    one_time_cost: Decimal | None = None
    monthly_kg_co2e: Decimal | None = None
    worth: Decimal = Decimal(0)

    @property
    def monthly_cost(self) -> Decimal:
        """What it touches in an average month."""
        return add_exactly(part.monthly_cost for part in self.parts)


def scope_of(members: Sequence[UsageSeries]) -> Scope:
    """Returns what series have in common, and which resources and people they are."""
    ordered = sorted(members, key=lambda one: -one.cost)
    resources = tuple(
        dict.fromkeys(one.subject.resource_id for one in ordered if one.subject.resource_id)
    )
    users = tuple(dict.fromkeys(one.subject.user_id for one in ordered if one.subject.user_id))
    subjects = [one.subject for one in ordered]
    return Scope(
        resource_ids=resources[:RESOURCES_SHOWN],
        resource_count=len(resources),
        resource_type=_common(subjects, "resource_type"),
        service=_common(subjects, "service"),
        provider=_common(subjects, "provider"),
        region=_common(subjects, "region"),
        department=_common(subjects, "department"),
        project=_common(subjects, "project"),
        user_ids=users[:USERS_SHOWN],
    )


def _common(subjects: Sequence[Subject], name: str) -> str:
    values = {getattr(subject, name) for subject in subjects}
    return str(values.pop()) if len(values) == 1 else ""


def parts_of(statistics: Statistics, members: Sequence[UsageSeries]) -> tuple[Part, ...]:
    """Returns the series as parts with their cost of an average month, those without cost left."""
    parts = (Part(one.series_id, rounded(statistics.monthly_of(one))) for one in members)
    return tuple(part for part in parts if part.monthly_cost > 0)


def estimate(expected: Decimal, *, spread: float, ceiling: Decimal) -> Estimate:
    """Returns an estimate with a relative standard deviation, within zero and the spend it touches.

    spread: standard deviation over the expected value.
    """
    expected = rounded(min(max(expected, Decimal(0)), ceiling))
    half = rounded(expected * Decimal(str(round(NORMAL_90 * spread, 6))))
    return Estimate(
        expected, max(Decimal(0), expected - half), min(rounded(ceiling), expected + half)
    )


def part_of(amount: Decimal, share: float) -> Decimal:
    """Returns a share of an exact amount; the share is a measured figure, the amount is money."""
    return rounded(EXACT.multiply(amount, Decimal(str(round(share, 9)))))


def rounded(amount: Decimal) -> Decimal:
    """Returns the amount with as many digits as money has."""
    return amount.quantize(_UNIT, rounding=ROUND_HALF_EVEN, context=EXACT)


def text_of(ratio: float | Decimal, digits: int = 6) -> str:
    """Returns a measured figure as plain text with at most so many digits after the point."""
    return format_decimal(Decimal(str(round(ratio, digits))))


def money_of(amount: Decimal, currency_code: str) -> dict[str, str]:
    """Returns money in the contract's JSON form."""
    return {"currency_code": currency_code, "amount": format_decimal(rounded(amount))}


def amount_text(amount: Decimal, currency_code: str) -> str:
    """Returns an amount for people, with two digits."""
    return f"{amount.quantize(Decimal('0.01'), context=EXACT):,} {currency_code}"
