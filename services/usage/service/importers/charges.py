"""Turns the rows of a bill into events, whatever provider it is from.

A bill says the same few things about thousands of rows, so each kind of bill describes how to read
a row's attributes, period, quantity and costs, and what was read once is remembered by its text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from services.usage.domain.event import Attributes, Costs, UsageEvent
from services.usage.service.importers.attributes import CHARGE
from services.usage.service.importers.rows import RowProblem
from services.usage.service.importers.values import NO_VALUE, Remembered, number

Cells = Sequence[str]
Key = tuple[str, ...]
NumberReader = Callable[[str, str], Decimal]
EventReader = Callable[[Cells, str], UsageEvent]


class Measured(NamedTuple):
    """A quantity and its unit."""

    quantity: Decimal
    unit: str


ONE_CHARGE = Measured(Decimal(1), CHARGE)


class Span(NamedTuple):
    """When a charge was incurred, aware UTC, half-open."""

    start_at: datetime
    end_at: datetime


@dataclass(frozen=True, slots=True)
class BillLayout:
    """How to read the rows of one bill.

    attribute_cells, span_cells: the texts that decide a row's attributes and its span, at least two
    each. attributes: of a unit and those texts. span: of those texts. measured, costs: of the row.
    remainder: what else the row says, for `UsageEvent.bill_columns`.
    Each raises RowProblem.
    """

    source: str
    attribute_cells: Callable[[Cells], Key]
    attributes: Callable[[str, Key], Attributes]
    span_cells: Callable[[Cells], Key]
    span: Callable[[Key], Span]
    measured: Callable[[Cells], Measured]
    costs: Callable[[Cells], Costs]
    remainder: Callable[[Cells], str] | None = None


def bill_reader(layout: BillLayout) -> EventReader:
    """Returns what makes an event of a row and its id. It raises RowProblem."""

    def attributes_of(key: tuple[str, Key]) -> Attributes:
        return layout.attributes(*key)

    source = layout.source
    attributes = Remembered(attributes_of)
    attribute_cells = layout.attribute_cells
    span = Remembered(layout.span)
    span_cells = layout.span_cells
    measured = layout.measured
    costs = layout.costs
    remainder = layout.remainder

    def read(cells: Cells, event_id: str) -> UsageEvent:
        quantity, unit = measured(cells)
        start_at, end_at = span(span_cells(cells))
        return UsageEvent(
            source,
            event_id,
            start_at,
            end_at,
            attributes((unit, attribute_cells(cells))),
            quantity,
            (),
            costs(cells),
            bill_columns="" if remainder is None else remainder(cells),
        )

    return read


def number_cell(index: int, column: str, read: NumberReader = number) -> Callable[[Cells], Decimal]:
    """Returns a reader of a number that must be there."""

    def parse(text: str) -> Decimal:
        if text in NO_VALUE:
            raise RowProblem(column, "has no value, and must have one")
        return read(text, column)

    parse_once = Remembered(parse)

    def value(cells: Cells) -> Decimal:
        return parse_once(cells[index])

    return value


def optional_number_cell(
    index: int, column: str, read: NumberReader = number
) -> Callable[[Cells], Decimal | None]:
    """Returns a reader of a number that may be absent."""
    value = number_cell(index, column, read)

    def optional(cells: Cells) -> Decimal | None:
        return None if cells[index] in NO_VALUE else value(cells)

    return optional


def measured_cells(
    quantity: Callable[[Cells], Decimal | None], unit_index: int
) -> Callable[[Cells], Measured]:
    """Returns a reader of a quantity; where it or its unit is absent, it is one charge."""

    def measured(cells: Cells) -> Measured:
        amount = quantity(cells)
        unit = cells[unit_index].strip()
        if amount is None or unit in NO_VALUE:
            return ONE_CHARGE
        return Measured(amount, unit)

    return measured


def ordered(span: Span, column: str) -> Span:
    """Returns the span unchanged. Refuses an end before the start."""
    if span.end_at < span.start_at:
        raise RowProblem(column, "is before the start")
    return span
