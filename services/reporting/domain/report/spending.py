"""Where the money goes: totals, the largest groups, and what moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from services.kernel.money import EXACT, add_exactly
from services.reporting.domain.costs import CostAnswer, CostQuestion, CostRow
from services.reporting.domain.figures import costs_link
from services.reporting.domain.report.document import Cell, Form, Number, Paragraph, Table
from services.reporting.domain.report.frame import Frame, group_link, name_of, share

TOP: Final = 10  # rows that a reader takes in; the rest is one row
MOVERS: Final = 8
NAMES: Final = {
    "department": "Department",
    "project": "Project",
    "user": "Person",
    "manager": "Manager",
    "resource_type": "Resource type",
    "resource_id": "Resource",
    "service": "Service",
    "service_category": "Service category",
    "provider": "Provider",
    "region": "Region",
    "sub_account": "Account",
    "charge_category": "Charge category",
    "unit": "Unit",
    "tenant": "Tenant",
}


def dimension_name(frame: Frame, group_by: Sequence[str]) -> str:
    """Returns what a column of groups is headed with."""
    return " / ".join(
        frame.words.word(NAMES[name]) if name in NAMES else name.partition(":")[2]
        for name in group_by
    )


def by(frame: Frame, group_by: Sequence[str]) -> str:
    """Returns the title of a table of groups."""
    dimension = dimension_name(frame, group_by)
    return frame.words.word("Cost by {dimension}", dimension=in_title(frame, dimension))


def in_title(frame: Frame, dimension: str) -> str:
    """Returns a dimension as it stands within a title: nouns keep their capitals in German."""
    return dimension if frame.words.language == "de" else dimension.lower()


def total_text(frame: Frame, answer: CostAnswer) -> Paragraph:
    """Says what everything cost, and against the period before."""
    question = frame.question(has_previous=True)
    query = costs_link(question)
    total = answer.total(frame.currency_code)
    previous = total.previous_cost or Decimal(0)
    cost = frame.money(total.cost, costs_link(frame.question()), frame.words.word("Cost"))
    then = frame.money(previous, query, frame.words.word("Cost before"))
    if not previous:
        return frame.words.say("Cost was {cost}; there was none in the period before.", cost=cost)
    change = share(total.cost - previous, abs(previous))
    by = Number(abs(change), Form.RATIO, "", query, frame.words.word("Change of cost"))
    text = (
        "Cost was {cost}, {by} more than the {then} of the period before."
        if change > 0
        else "Cost was {cost}, {by} less than the {then} of the period before."
        if change < 0
        else "Cost was {cost}, as much as the {then} of the period before, within {by}."
    )
    return frame.words.say(text, cost=cost, by=by, then=then)


def breakdown(
    frame: Frame,
    question: CostQuestion,
    answer: CostAnswer,
    *,
    title: str,
    top: int | None = TOP,
) -> Table:
    """Returns groups by cost with share and change, the rest in one row, and their sum.

    The sum is the answer's own total; groups of managers overlap and so add up to more.
    """
    words = frame.words
    total = answer.total(frame.currency_code)
    rows = [row for row in answer.rows if row.cost or row.previous_cost]
    shown = rows if top is None or len(rows) <= top + 1 else rows[:top]
    found = [_row(frame, question, row, total.cost) for row in shown]
    rest = rows[len(shown) :]
    if rest:
        found.append(_rest_row(frame, question, rest, total.cost))
    query = costs_link(frame_total(question))
    previous = total.previous_cost or Decimal(0)
    return Table(
        title=title,
        columns=(
            dimension_name(frame, question.group_by),
            words.word("Cost"),
            words.word("Share"),
            words.word("Before"),
            words.word("Difference"),
            words.word("Change"),
        ),
        rows=tuple(found),
        total=(
            words.word("Total"),
            frame.money(total.cost, query),
            Number(share(total.cost, total.cost), Form.RATIO, "", query),
            frame.money(previous, query),
            frame.difference(total.cost, previous, query),
            frame.change(total.cost, previous, query),
        ),
    )


def frame_total(question: CostQuestion) -> CostQuestion:
    """Returns the question for the sum of a question's groups."""
    return replace(question, group_by=())


def movers(frame: Frame, question: CostQuestion, answer: CostAnswer) -> Table:
    """Returns the groups whose cost changed most, up or down, with their part of the change."""
    words = frame.words
    rows = sorted(answer.rows, key=lambda row: -abs(_moved(row)))[:MOVERS]
    total = answer.total(frame.currency_code)
    whole = EXACT.subtract(total.cost, total.previous_cost or Decimal(0))
    found: list[tuple[Cell, ...]] = []
    for row in rows:
        if not _moved(row):
            continue
        query = group_link(question, row.group)
        previous = row.previous_cost or Decimal(0)
        found.append(
            (
                name_of(row.group, words),
                frame.money(previous, query),
                frame.money(row.cost, query),
                frame.difference(row.cost, previous, query),
                frame.change(row.cost, previous, query),
                Number(share(_moved(row), abs(whole)), Form.CHANGE, "", query),
            )
        )
    return Table(
        title=words.word("What moved most"),
        columns=(
            dimension_name(frame, question.group_by),
            words.word("Before"),
            words.word("Now"),
            words.word("Difference"),
            words.word("Change"),
            words.word("Part of all change"),
        ),
        rows=tuple(found),
    )


def mover_text(frame: Frame, question: CostQuestion, answer: CostAnswer) -> Paragraph:
    """Names the largest rise and the largest fall; empty where nothing moved."""
    words = frame.words
    up = max(answer.rows, key=_moved, default=None)
    down = min(answer.rows, key=_moved, default=None)
    spans: list[str | Number] = []
    if up is not None and _moved(up) > 0:
        spans += words.say(
            "Most of the rise is {name} with {amount}. ",
            name=name_of(up.group, words),
            amount=_move(frame, question, up),
        )
    if down is not None and _moved(down) < 0:
        spans += words.say(
            "The largest fall is {name} with {amount}.",
            name=name_of(down.group, words),
            amount=_move(frame, question, down),
        )
    return tuple(spans)


def _move(frame: Frame, question: CostQuestion, row: CostRow) -> Number:
    query = group_link(question, row.group)
    label = f"{name_of(row.group, frame.words)}: {frame.words.word('Difference')}"
    return frame.difference(row.cost, row.previous_cost or Decimal(0), query, label)


def _moved(row: CostRow) -> Decimal:
    return EXACT.subtract(row.cost, row.previous_cost or Decimal(0))


def _row(frame: Frame, question: CostQuestion, row: CostRow, whole: Decimal) -> tuple[Cell, ...]:
    query = group_link(question, row.group)
    name = name_of(row.group, frame.words)
    return _cells(frame, name, row.cost, row.previous_cost, whole=whole, query=query)


def _rest_row(
    frame: Frame, question: CostQuestion, rows: Sequence[CostRow], whole: Decimal
) -> tuple[Cell, ...]:
    cost = add_exactly(row.cost for row in rows)
    previous = add_exactly(row.previous_cost or Decimal(0) for row in rows)
    name = frame.words.word("{count} others", count=str(len(rows)))
    return _cells(frame, name, cost, previous, whole=whole, query=costs_link(question))


def _cells(
    frame: Frame,
    name: str,
    cost: Decimal,
    previous: Decimal | None,
    *,
    whole: Decimal,
    query: str,
) -> tuple[Cell, ...]:
    then = previous or Decimal(0)
    return (
        name,
        frame.money(cost, query),
        Number(share(cost, whole), Form.RATIO, "", query),
        frame.money(then, query),
        frame.difference(cost, then, query),
        frame.change(cost, then, query),
    )
