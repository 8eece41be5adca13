"""Why cost changed: volume, rate and mix, which add up to the difference to the last digit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from services.kernel.money import EXACT, add_exactly

DIGITS = Decimal(1).scaleb(-18)
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Amounts:
    """Cost and quantity of one group in one unit, before and now."""

    key: Key
    unit: str
    cost_before: Decimal
    cost_now: Decimal
    quantity_before: Decimal
    quantity_now: Decimal


@dataclass(frozen=True, slots=True)
class Effects:
    """What changed the cost of a group. volume + rate + mix = now - before, exactly."""

    key: Key
    before: Decimal
    now: Decimal
    volume: Decimal
    rate: Decimal
    mix: Decimal

    @property
    def difference(self) -> Decimal:
        """Cost now less cost before."""
        return EXACT.subtract(self.now, self.before)


def decompose(amounts: Sequence[Amounts]) -> list[Effects]:
    """Splits the change of each group's cost. One key may have several units.

    Quantities add up within a unit only, so each unit is a family of its own, with
    R = quantity now / quantity before over the family. Of a group with cost c and quantity q:
      volume = c_before (R - 1): what it would have changed, had it grown as its family did;
      mix = c_before (q_now / q_before - R): that it grew otherwise;
      rate = c_now - c_before q_now / q_before: that a unit of it costs otherwise.
    New groups are mix, and cost without quantity before is rate. Each is exact to 18 digits; what
    the rounding of volume and rate leaves is in mix.
    Source: price-volume-mix analysis with the prior period's prices (Laspeyres) for volume and mix.
    """
    families: dict[str, list[Fraction]] = defaultdict(lambda: [Fraction(0), Fraction(0)])
    for each in amounts:
        family = families[each.unit]
        family[0] += Fraction(each.quantity_before)
        family[1] += Fraction(each.quantity_now)
    parts: dict[Key, list[Effects]] = defaultdict(list)
    for each in amounts:
        parts[each.key].append(_effects(each, *families[each.unit]))
    return [_sum(key, effects) for key, effects in parts.items()]


def regrouped(effects: Iterable[Effects], places: Sequence[int]) -> list[Effects]:
    """Adds the effects up by some parts of their keys."""
    found: dict[Key, list[Effects]] = defaultdict(list)
    for each in effects:
        found[tuple(each.key[place] for place in places)].append(each)
    return [_sum(key, group) for key, group in found.items()]


def _effects(each: Amounts, family_before: Fraction, family_now: Fraction) -> Effects:
    before, now = Fraction(each.cost_before), Fraction(each.cost_now)
    volume = rate = Decimal(0)
    difference = EXACT.subtract(each.cost_now, each.cost_before)
    if each.quantity_before <= 0 or family_before <= 0:
        # Without a quantity before there is no price before, and so neither volume nor mix of it.
        if before:
            rate = difference
    else:
        growth = family_now / family_before
        volume = _decimal(before * (growth - 1))
        rate = _decimal(now - before * Fraction(each.quantity_now) / Fraction(each.quantity_before))
    mix = EXACT.subtract(EXACT.subtract(difference, volume), rate)
    return Effects(each.key, each.cost_before, each.cost_now, volume, rate, mix)


def _sum(key: Key, parts: Sequence[Effects]) -> Effects:
    return Effects(
        key,
        add_exactly(part.before for part in parts),
        add_exactly(part.now for part in parts),
        add_exactly(part.volume for part in parts),
        add_exactly(part.rate for part in parts),
        add_exactly(part.mix for part in parts),
    )


def _decimal(value: Fraction) -> Decimal:
    """Returns the nearest decimal of 18 digits, ties to even."""
    units = round(value * 10**18)
    return EXACT.multiply(Decimal(units), DIGITS)
