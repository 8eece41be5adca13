"""Prices as the usage service applies them: tiers, peaks and to what they belong."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache

from services.kernel.money import EXACT
from services.optimizer.domain.subject import Subject


class TariffModel(Enum):
    """How tiers make an amount."""

    PER_UNIT = "PRICING_MODEL_PER_UNIT"
    GRADUATED = "PRICING_MODEL_GRADUATED"
    VOLUME = "PRICING_MODEL_VOLUME"
    PACKAGE = "PRICING_MODEL_PACKAGE"


@dataclass(frozen=True, slots=True)
class TariffTier:
    """One tier. up_to: quantity that it ends at, None for the last."""

    up_to: Decimal | None
    unit_price: Decimal
    flat_fee: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """One price in force. Empty attributes match anything. per: units that a price is for.

    resource_id: may be a shell pattern, as the prices of models are. Names compare without case.
    """

    price_id: str
    resource_type: str
    meter: str
    currency_code: str
    model: TariffModel
    tiers: Sequence[TariffTier]
    provider: str = ""
    service: str = ""
    region: str = ""
    resource_id: str = ""
    per: Decimal = Decimal(1)
    peak_schedule_id: str = ""
    start_at: datetime | None = None
    end_at: datetime | None = None

    @property
    def unit_price(self) -> Decimal:
        """Price of one unit in the first tier."""
        return EXACT.divide(self.tiers[0].unit_price, self.per)

    def holds_at(self, instant: datetime) -> bool:
        """Tells whether it is in force at an instant."""
        return (self.start_at is None or self.start_at <= instant) and (
            self.end_at is None or instant < self.end_at
        )

    def matches(self, subject: Subject) -> bool:
        """Tells whether it prices a subject, whatever the meter."""
        return (
            self.resource_type == subject.resource_type
            and all(
                not mine or mine.casefold() == theirs.casefold()
                for mine, theirs in (
                    (self.provider, subject.provider),
                    (self.service, subject.service),
                    (self.region, subject.region),
                )
            )
            and (not self.resource_id or is_named(self.resource_id, subject.resource_id))
        )

    @property
    def specificity(self) -> tuple[int, bool]:
        """How much it names, and whether exactly; the one that names most wins."""
        named = sum(map(bool, (self.resource_id, self.service, self.region, self.provider)))
        return named, not has_pattern(self.resource_id)


def has_pattern(name: str) -> bool:
    """Tells whether a name is a shell pattern."""
    return any(character in name for character in "*?[")


@lru_cache(maxsize=65_536)
def is_named(pattern: str, name: str) -> bool:
    """Tells whether a name is meant by another, or by a shell pattern; case does not matter."""
    pattern, name = pattern.casefold(), name.casefold()
    return fnmatch.fnmatchcase(name, pattern) if has_pattern(pattern) else name == pattern


def best_tariff(
    tariffs: Sequence[Tariff], subject: Subject, meter: str, at: datetime
) -> Tariff | None:
    """Returns the most specific price of a meter that is in force, None without one."""
    found = [
        one for one in tariffs if one.meter == meter and one.holds_at(at) and one.matches(subject)
    ]
    return max(found, key=lambda one: (one.specificity, one.price_id), default=None)


@dataclass(frozen=True, slots=True)
class PeakSchedule:
    """Multipliers by hour of the week in the tenant's zone, 168 of them, 1 outside of peaks."""

    schedule_id: str
    multipliers: Mapping[int, Decimal]

    def multiplier(self, hour_of_week: int) -> Decimal:
        """Returns the multiplier of an hour of the week."""
        return self.multipliers.get(hour_of_week, Decimal(1))
