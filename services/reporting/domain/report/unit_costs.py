"""What a unit, an operation and a person cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from services.kernel.money import add_exactly
from services.reporting.domain.costs import CostAnswer, CostQuestion, CostRow
from services.reporting.domain.figures import costs_link
from services.reporting.domain.report.document import Cell, Form, Number, Table
from services.reporting.domain.report.frame import Frame, count, group_link, name_of, share
from services.reporting.domain.report.spending import dimension_name
from services.reporting.domain.report.variance_tables import price_of

ROWS_MAX: Final = 25
PEOPLE_MAX: Final = 15


def unit_price(frame: Frame, cost: Decimal, quantity: Decimal, query: str, label: str = "") -> Cell:
    """Returns cost / quantity, "" of nothing."""
    if quantity <= 0:
        return ""
    return Number(price_of(cost, quantity), Form.UNIT_PRICE, frame.currency_code, query, label)


def unit_table(
    frame: Frame, question: CostQuestion, now: CostAnswer, before: Sequence[CostRow]
) -> Table:
    """Returns what a unit of each group cost, now and before. question: with the unit last."""
    words = frame.words
    then = {row.group: row for row in before}
    rows: list[tuple[Cell, ...]] = []
    for row in now.rows[:ROWS_MAX]:
        query = group_link(question, row.group)
        quantity = row.quantity or Decimal(0)
        price = price_of(row.cost, quantity) if quantity > 0 else Decimal(0)
        old = then.get(row.group)
        has_old = old is not None and (old.quantity or 0) > 0
        price_then = price_of(old.cost, old.quantity) if old and has_old and old.quantity else None
        change: Cell = ""
        if price_then and price:
            change = Number(share(price - price_then, price_then), Form.CHANGE, "", query)
        rows.append(
            (
                name_of(row.group[:-1], words),
                row.group[-1],
                frame.money(row.cost, query),
                Number(quantity, Form.QUANTITY, "", query),
                unit_price(frame, row.cost, quantity, query),
                change,
            )
        )
    return Table(
        title=words.word("Cost of a unit"),
        columns=(
            dimension_name(frame, question.group_by[:-1]),
            words.word("Unit"),
            words.word("Cost"),
            words.word("Quantity"),
            words.word("Cost of a unit"),
            words.word("Change"),
        ),
        rows=tuple(rows),
        text_columns=(1,),
        note=_cut_note(frame, len(now.rows), ROWS_MAX),
    )


def operation_table(frame: Frame, question: CostQuestion, answer: CostAnswer) -> Table:
    """Returns what an operation of each group cost; failed ones are paid by the others."""
    words = frame.words
    total_events = sum(row.events for row in answer.rows)
    total_failed = sum(row.failed_events for row in answer.rows)
    total = answer.total(frame.currency_code).cost
    rows = [
        _operation_row(
            frame,
            name_of(row.group, words),
            (row.cost, row.events, row.failed_events),
            group_link(question, row.group),
        )
        for row in answer.rows[:ROWS_MAX]
    ]
    query = costs_link(frame.question())
    return Table(
        title=words.word("Cost of an operation"),
        columns=(
            dimension_name(frame, question.group_by),
            words.word("Cost"),
            words.word("Operations"),
            words.word("Failed"),
            words.word("Cost of one"),
            words.word("Cost of a success"),
        ),
        rows=tuple(rows),
        total=_operation_row(
            frame, words.word("Total"), (total, total_events, total_failed), query
        ),
        note=_cut_note(frame, len(answer.rows), ROWS_MAX),
    )


def _operation_row(
    frame: Frame, name: str, given: tuple[Decimal, int, int], query: str
) -> tuple[Cell, ...]:
    cost, events, failed = given
    return (
        name,
        frame.money(cost, query),
        count(events, query),
        count(failed, query),
        unit_price(frame, cost, Decimal(events), query),
        unit_price(frame, cost, Decimal(events - failed), query),
    )


def people_table(frame: Frame, question: CostQuestion, answer: CostAnswer) -> Table:
    """Returns each group's cost by its active people. question: by group and, last, person."""
    words = frame.words
    costs: dict[tuple[str, ...], list[Decimal]] = defaultdict(list)
    people: dict[tuple[str, ...], int] = defaultdict(int)
    for row in answer.rows:
        costs[row.group[:-1]].append(row.cost)
        people[row.group[:-1]] += bool(row.group[-1])
    sums = {group: add_exactly(amounts) for group, amounts in costs.items()}
    query = costs_link(question)
    found = sorted(sums, key=lambda group: (-sums[group], group))
    return Table(
        title=words.word("Cost of an active person"),
        columns=(
            dimension_name(frame, question.group_by[:-1]),
            words.word("Cost"),
            words.word("People"),
            words.word("Cost of one"),
        ),
        rows=tuple(
            (
                name_of(group, words),
                frame.money(sums[group], query),
                count(people[group], query),
                unit_price(frame, sums[group], Decimal(people[group]), query),
            )
            for group in found[:ROWS_MAX]
        ),
        note=words.word("A person is active who caused usage in the period."),
    )


def trend_table(frame: Frame, question: CostQuestion, answer: CostAnswer) -> Table:
    """Returns what an operation cost month by month. question: by month."""
    words = frame.words
    query = costs_link(question)
    rows: list[tuple[Cell, ...]] = []
    for row in sorted(answer.rows, key=lambda each: each.start_at or frame.now):
        start = row.start_at or frame.now
        rows.append(
            (
                f"{start.astimezone(frame.tz):%Y-%m}",
                frame.money(row.cost, query),
                count(row.events, query),
                unit_price(frame, row.cost, Decimal(row.events - row.failed_events), query),
            )
        )
    return Table(
        title=words.word("Month by month"),
        columns=(
            words.word("Month"),
            words.word("Cost"),
            words.word("Operations"),
            words.word("Cost of a success"),
        ),
        rows=tuple(rows),
    )


def _cut_note(frame: Frame, found: int, most: int) -> str:
    left = found - most
    return (
        frame.words.word("{count} smaller ones are left out.", count=str(left)) if left > 0 else ""
    )
