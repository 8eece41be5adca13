"""Orders of lists: `amount desc, name`."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from services.kernel.filter.errors import InvalidOrder

TERMS_MAX = 8  # more sort keys than that never differ in effect, and each costs a sort step

_TERM = re.compile(r"([A-Za-z_][A-Za-z0-9_.\-/]*)(?:\s+(asc|desc))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One sort key."""

    field: str
    is_descending: bool = False

    def __str__(self) -> str:
        return f"{self.field} desc" if self.is_descending else self.field


def parse_order(
    text: str, allowed: Collection[str], *, default: str, tie_break: str
) -> tuple[OrderTerm, ...]:
    """Reads an order, most significant field first; an empty one is the default.

    tie_break: a unique field that is appended, in the last term's direction, unless it is named:
    keyset pages need a total order, and one direction throughout can use one index.
    Raises InvalidOrder for a field that is not allowed, named twice, or not well formed.
    """
    terms: list[OrderTerm] = []
    for position, part in enumerate((text.strip() or default).split(","), start=1):
        found = _TERM.fullmatch(part.strip())
        if found is None:
            raise InvalidOrder(
                f"order_by, term {position}: {part.strip()[:60]!r} is not a field with an "
                "optional asc or desc",
                term=position,
                allowed=", ".join(sorted(allowed)),
            )
        term = OrderTerm(found.group(1), is_descending=found.group(2) == "desc")
        if term.field not in allowed:
            raise InvalidOrder(
                f"order_by, term {position}: there is no field {term.field[:60]!r} to order by; "
                f"there are {', '.join(sorted(allowed))}",
                term=position,
                allowed=", ".join(sorted(allowed)),
            )
        if any(term.field == before.field for before in terms):
            raise InvalidOrder(
                f"order_by, term {position}: {term.field} is named twice",
                term=position,
                allowed=", ".join(sorted(allowed)),
            )
        terms.append(term)
    if len(terms) > TERMS_MAX:
        raise InvalidOrder(
            f"an order has at most {TERMS_MAX} terms, this one {len(terms)}",
            term=TERMS_MAX + 1,
            allowed=", ".join(sorted(allowed)),
        )
    if all(term.field != tie_break for term in terms):
        terms.append(OrderTerm(tie_break, is_descending=terms[-1].is_descending))
    return tuple(terms)
