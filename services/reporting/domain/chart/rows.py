"""What charts are drawn from: one kind of row a chart, which also travels as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Final, Protocol, TypeVar, get_type_hints

from services.kernel.money import format_decimal, parse_decimal
from services.reporting.domain.chart.canvas import instant_text


@dataclass(frozen=True, slots=True)
class CostStep:
    """Cost in one step of time. group: empty for the whole.

    Of a step to come, cost is expected, with its intervals of 80 and 95 %.
    """

    start_at: datetime
    cost: Decimal
    group: str = ""
    lower_80: Decimal | None = None
    upper_80: Decimal | None = None
    lower_95: Decimal | None = None
    upper_95: Decimal | None = None

    @property
    def is_forecast(self) -> bool:
        """Whether the step is to come."""
        return self.lower_80 is not None


@dataclass(frozen=True, slots=True)
class GroupCost:
    """Cost of one group, in one of a larger one where `parent` names it."""

    name: str
    cost: Decimal
    parent: str = ""


@dataclass(frozen=True, slots=True)
class HourCost:
    """Cost in one hour of one weekday, all weeks together. weekday: 0 is Monday; hour: 0 to 23."""

    weekday: int
    hour: int
    cost: Decimal


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """How a budget stands. expected, lower, upper: spend at the period's end, None if unknown."""

    name: str
    limit: Decimal
    spent: Decimal
    held: Decimal = Decimal(0)
    expected: Decimal | None = None
    lower: Decimal | None = None
    upper: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BurnStep:
    """What remains of a budget at an instant.

    kind: `actual`; `expected`, with its interval of 80 %; `end`, where the period ends; `runway`,
    where nothing remains any more. The first actual step is the period's start.
    """

    at: datetime
    remaining: Decimal
    kind: str = "actual"
    lower: Decimal | None = None
    upper: Decimal | None = None


@dataclass(frozen=True, slots=True)
class VarianceStep:
    """A part of the way from one amount to another. kind: `total` or `change`."""

    name: str
    amount: Decimal
    kind: str = "change"


@dataclass(frozen=True, slots=True)
class SavingChoice:
    """A way to save. effort: `low`, `medium` or `high`."""

    title: str
    effort: str
    monthly_saving: Decimal


@dataclass(frozen=True, slots=True)
class AlertMark:
    """An alert that fired. severity: `info`, `warning` or `critical`."""

    fired_at: datetime
    severity: str
    label: str
    is_open: bool = False


class Row(Protocol):
    """A row of any chart."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


_R = TypeVar("_R", bound=Row)

_READERS: Final[dict[Any, Callable[[Any], Any]]] = {
    Decimal: parse_decimal,
    Decimal | None: lambda text: None if text is None else parse_decimal(text),
    datetime: datetime.fromisoformat,
}


def to_json(row: Row) -> dict[str, Any]:
    """Returns a row with decimals and instants as text."""
    return {field.name: _written(getattr(row, field.name)) for field in fields(row)}


def from_json(kind: type[_R], row: Mapping[str, Any]) -> _R:
    """Returns the row that `to_json` wrote. Raises KeyError, TypeError, ValueError for another."""
    hints = get_type_hints(kind)
    return kind(
        **{name: _READERS.get(hints[name], hints[name])(value) for name, value in row.items()}
    )


def _written(value: object) -> object:
    if isinstance(value, Decimal):
        return format_decimal(value)
    return instant_text(value) if isinstance(value, datetime) else value
