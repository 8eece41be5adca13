"""Numbers that know where they come from: each with the REST path and query that give it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from urllib.parse import quote, urlencode

from services.kernel.money import format_decimal
from services.kernel.period import Granularity
from services.reporting.domain.costs import CostQuestion

PATH: Final = "/api/v1/finops"
COSTS_PATH: Final = f"{PATH}/cost-attribution"
TAG_PREFIX: Final = "tag:"
# A dimension that filters do not know, because its groups overlap, and the tenant's own.
_WITHOUT_FILTER: Final = ("manager", "tenant")
_FILTER_LENGTH_MAX: Final = 4_096  # characters; the contract's own bound


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a report or dashboard. unit: currency code or unit; query: where it is from."""

    section: str
    label: str
    value: Decimal
    unit: str
    query: str

    @property
    def text(self) -> str:
        """The number with all its digits."""
        return format_decimal(self.value)


def costs_link(question: CostQuestion) -> str:
    """Returns the REST path and query of a cost question."""
    given: list[tuple[str, str]] = [
        *(("group_by", name) for name in question.group_by),
        ("start", _instant(question.period.start)),
        ("end", _instant(question.period.end)),
    ]
    if question.granularity is not Granularity.TOTAL:
        given.append(("granularity", question.granularity.value))
    optional = {
        "filter": question.filter,
        "cost_type": "" if question.cost_type == "billed" else question.cost_type,
        "currency": question.currency_code,
        "compare_previous": "true" if question.has_previous else "",
        "allocated": "true" if question.is_allocated else "",
    }
    given += [(name, value) for name, value in optional.items() if value]
    return f"{COSTS_PATH}?{urlencode(given)}"


def group_question(question: CostQuestion, group: Sequence[str]) -> CostQuestion:
    """Returns the question for one group of a question's answer: its total is the group's cost.

    Of groups that no filter selects, it is the question itself, one of whose rows they are. So it
    is where allocation moves cost, because a filter would act before it.
    """
    names = question.group_by
    if question.is_allocated or any(name in _WITHOUT_FILTER for name in names):
        return question
    conditions = [
        f"{_field(name)} = {quoted(value)}" for name, value in zip(names, group, strict=True)
    ]
    narrowed = both(question.filter, " AND ".join(conditions))
    if len(narrowed) > _FILTER_LENGTH_MAX:
        return question
    return replace(question, group_by=(), filter=narrowed)


def both(one: str, other: str) -> str:
    """Returns the filter that holds where both do; an empty one is true."""
    if not (one and other):
        return one or other
    return f"({one}) AND ({other})"


def quoted(value: str) -> str:
    """Returns a text as a filter's literal, in which nothing is a wildcard."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("*", "\\*")
    return f'"{escaped}"'


def link(path: str, parameters: Mapping[str, str] | None = None) -> str:
    """Returns another path below the API's own. path: its parts are escaped but for slashes."""
    query = urlencode({name: value for name, value in (parameters or {}).items() if value})
    return f"{PATH}/{quote(path, safe='/:')}" + (f"?{query}" if query else "")


def _field(dimension: str) -> str:
    if not dimension.startswith(TAG_PREFIX):
        return dimension
    key = dimension.removeprefix(TAG_PREFIX)
    return f"tags.{quoted(key)}"


def _instant(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
