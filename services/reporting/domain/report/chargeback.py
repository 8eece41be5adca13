"""What each department owes: its own cost, what is allocated to it, and the sum in cents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Final

from services.kernel.money import EXACT, add_exactly
from services.reporting.domain.costs import CostAnswer, CostQuestion
from services.reporting.domain.figures import costs_link
from services.reporting.domain.report.document import Cell, Form, Number, Table
from services.reporting.domain.report.frame import Frame, group_link, name_of, share
from services.reporting.domain.report.spending import dimension_name, frame_total

ROWS_MAX: Final = 500
# With more rows than these, all figures of a report would not fit into one answer.
OWED_MAX: Final = 1_000


def rounded_parts(amounts: Sequence[Decimal], digits: int) -> list[Decimal]:
    """Rounds amounts to a currency's digits so that they add up to their rounded sum.

    Each is rounded down; the units left go to the largest remainders, ties to the earlier one.
    Source: largest remainder method (Hamilton).
    """
    unit = Decimal(1).scaleb(-digits)
    total = add_exactly(amounts).quantize(unit, context=EXACT)
    floors = [amount.quantize(unit, rounding=ROUND_FLOOR, context=EXACT) for amount in amounts]
    left = int(EXACT.divide(EXACT.subtract(total, add_exactly(floors)), unit))
    remainders = [EXACT.subtract(amount, low) for amount, low in zip(amounts, floors, strict=True)]
    order = sorted(range(len(amounts)), key=lambda place: (-remainders[place], place))
    for place in order[: max(left, 0)]:
        floors[place] = EXACT.add(floors[place], unit)
    return floors


@dataclass(frozen=True, slots=True)
class _Line:
    """What one group owes. own_query: where its own cost is from."""

    name: str
    own: Decimal
    borne: Decimal
    charge: Decimal
    own_query: str


def _added(name: str, lines: Sequence[_Line], own_query: str) -> _Line:
    return _Line(
        name,
        add_exactly(line.own for line in lines),
        add_exactly(line.borne for line in lines),
        add_exactly(line.charge for line in lines),
        own_query,
    )


def _owed_row(frame: Frame, line: _Line, total: Decimal, query: str) -> tuple[Cell, ...]:
    return (
        line.name,
        frame.money(line.own, line.own_query),
        frame.difference(line.borne, line.own, query),
        frame.money(line.borne, query),
        Number(share(line.borne, total), Form.RATIO, "", query),
        frame.money(line.charge, query),
    )


def owed_table(
    frame: Frame,
    group_by: tuple[str, ...],
    own: CostAnswer,
    borne: CostAnswer,
) -> Table:
    """Returns own cost, what allocation moves, and what is owed. The sums of both are one total."""
    words = frame.words
    own_question = frame.question(*group_by)
    borne_question = frame.question(*group_by, is_allocated=True)
    own_of = {row.group: row.cost for row in own.rows}
    borne_of = {row.group: row.cost for row in borne.rows}
    nothing = Decimal(0)
    groups = sorted({*own_of, *borne_of}, key=lambda group: (-borne_of.get(group, nothing), group))
    charges = rounded_parts([borne_of.get(group, nothing) for group in groups], frame.digits)
    total_own = own.total(frame.currency_code).cost
    total_borne = borne.total(frame.currency_code).cost
    borne_query = costs_link(borne_question)
    lines = [
        _Line(
            name_of(group, words),
            own_of.get(group, nothing),
            borne_of.get(group, nothing),
            charge,
            group_link(own_question, group),
        )
        for group, charge in zip(groups, charges, strict=True)
    ]
    if len(lines) > OWED_MAX + 1:
        name = words.word("{count} others", count=str(len(lines) - OWED_MAX))
        rest = lines[OWED_MAX:]
        lines[OWED_MAX:] = [_added(name, rest, costs_link(own_question))]
    return Table(
        title=words.word("What is owed"),
        columns=(
            dimension_name(frame, group_by),
            words.word("Own cost"),
            words.word("Allocated"),
            words.word("Cost to bear"),
            words.word("Share"),
            words.word("To charge"),
        ),
        rows=tuple(_owed_row(frame, line, total_borne, borne_query) for line in lines),
        total=(
            words.word("Total"),
            frame.money(total_own, costs_link(frame_total(own_question))),
            frame.difference(total_borne, total_own, borne_query),
            frame.money(total_borne, costs_link(frame_total(borne_question))),
            Number(share(total_borne, total_borne), Form.RATIO, "", borne_query),
            frame.money(add_exactly(charges), borne_query),
        ),
        note=words.word("Amounts to charge are rounded so that they add up to the rounded total."),
    )


def detail_table(frame: Frame, question: CostQuestion, answer: CostAnswer) -> Table:
    """Returns the lines behind what is owed, group after group, largest first in each."""
    words = frame.words
    first = len(question.group_by) - 1
    sums: dict[tuple[str, ...], Decimal] = {}
    for row in answer.rows:
        key = row.group[:first]
        sums[key] = EXACT.add(sums.get(key, Decimal(0)), row.cost)
    found = sorted(
        answer.rows, key=lambda row: (-sums[row.group[:first]], row.group[:first], -row.cost)
    )
    shown = found if len(found) <= ROWS_MAX + 1 else found[:ROWS_MAX]
    query = costs_link(question)
    rows: list[tuple[Cell, ...]] = [
        (
            name_of(row.group[:first], words),
            row.group[-1] or words.word("(not set)"),
            frame.money(row.cost, query),
            Number(share(row.cost, sums[row.group[:first]]), Form.RATIO, "", query),
        )
        for row in shown
    ]
    rest = found[len(shown) :]
    if rest:
        name = words.word("{count} others", count=str(len(rest)))
        rows.append((name, "", frame.money(add_exactly(row.cost for row in rest), query), ""))
    total = answer.total(frame.currency_code).cost
    return Table(
        title=words.word("What it is for"),
        columns=(
            dimension_name(frame, question.group_by[:-1]),
            dimension_name(frame, question.group_by[-1:]),
            words.word("Cost to bear"),
            words.word("Share of the group"),
        ),
        rows=tuple(rows),
        total=(words.word("Total"), "", frame.money(total, query), ""),
        text_columns=(1,),
    )
