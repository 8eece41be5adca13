"""What usage that came from no bill is in FOCUS: categories, units and prices.

An event says what was used; FOCUS wants a category of service, units in its own spelling, and a
unit price whose product with the quantity is the cost, exactly.
"""

from __future__ import annotations

from decimal import Context, Decimal, DecimalException, DivisionByZero, Inexact, InvalidOperation
from functools import lru_cache
from typing import Final, NamedTuple

from services.kernel.money import FRACTION_DIGITS_MAX, format_decimal

OWN_PROVIDER: Final = "Internal"  # of usage that names none
CHARGES: Final = "Charges"  # unit of a price for a whole event
USAGE: Final = "Usage"
OTHER: Final = "Other"
_AI: Final = "AI and Machine Learning"
_CATEGORIES: Final = {
    "llm": _AI,
    "ai": _AI,
    "model": _AI,
    "inference": _AI,
    "embedding": _AI,
    "gpu": "Compute",
    "vm": "Compute",
    "compute": "Compute",
    "cpu": "Compute",
    "container": "Compute",
    "function": "Compute",
    "kubernetes": "Compute",
    "storage": "Storage",
    "bucket": "Storage",
    "disk": "Storage",
    "volume": "Storage",
    "database": "Databases",
    "db": "Databases",
    "cache": "Databases",
    "network": "Networking",
    "egress": "Networking",
    "traffic": "Networking",
    "queue": "Integration",
    "api": "Integration",
}
_SUBCATEGORIES: Final = {_AI: "Generative AI", "Compute": "Virtual Machines"}
_UNITS: Final = {"gb": "GB", "gib": "GiB", "mb": "MB", "mib": "MiB", "tb": "TB", "tib": "TiB"}
_EXACT: Final = Context(prec=60, traps=[Inexact, InvalidOperation, DivisionByZero])
_UNIT: Final = Decimal(1).scaleb(-FRACTION_DIGITS_MAX)


class Priced(NamedTuple):
    """A quantity and the unit prices that give the costs; decimal text."""

    quantity: str
    list_price: str
    contracted_price: str
    is_by_unit: bool


def category_of(resource_type: str) -> str:
    """Returns the category of service that a kind of resource belongs to."""
    words = resource_type.lower().replace("-", "_").replace(".", "_").split("_")
    return next((_CATEGORIES[word] for word in words if word in _CATEGORIES), OTHER)


def subcategory_of(category: str) -> str:
    """Returns a subcategory of the category that is never wrong about native usage."""
    return _SUBCATEGORIES.get(category, f"Other ({category})")


def unit_of(unit: str) -> str:
    """Returns a unit as FOCUS spells it: `gb_hour` becomes `GB-Hours`."""
    words = unit.replace("-", "_").split("_")
    spelled = [_UNITS.get(word.lower(), word[:1].upper() + word[1:]) for word in words if word]
    if not spelled:
        return CHARGES
    last = spelled[-1]
    is_plural = last.endswith("s") or last in _UNITS.values()
    return "-".join([*spelled[:-1], last if is_plural else f"{last}s"])


@lru_cache(maxsize=65_536)
def priced(quantity: str, list_cost: str, contracted_cost: str) -> Priced:
    """Returns the unit prices that times the quantity are the costs, to the last digit.

    Where no price of 18 digits does that, the event as a whole is what is priced.
    """
    amount, listed, contracted = Decimal(quantity), Decimal(list_cost), Decimal(contracted_cost)
    prices = [_price(cost, amount) for cost in (listed, contracted)]
    if all(price is not None for price in prices):
        by_list, by_contract = (format_decimal(price) for price in prices if price is not None)
        return Priced(quantity, by_list, by_contract, is_by_unit=True)
    is_negative = listed < 0 or contracted < 0
    sign = -1 if is_negative else 1
    by_list, by_contract = (format_decimal(sign * cost) for cost in (listed, contracted))
    return Priced(str(sign), by_list, by_contract, is_by_unit=False)


def _price(cost: Decimal, quantity: Decimal) -> Decimal | None:
    """Returns the exact price of a unit, None where there is none of zero or more."""
    if not quantity:
        return quantity if not cost else None
    try:
        price = _EXACT.divide(cost, quantity)
        exact = price.quantize(_UNIT, context=_EXACT)
    except DecimalException:
        return None
    return exact if exact >= 0 else None
