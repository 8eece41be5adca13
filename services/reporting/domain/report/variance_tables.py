"""The variance report: what volume, rate and mix did to cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from services.kernel.money import add_exactly
from services.kernel.period import Granularity, Period
from services.reporting.domain.chart.rows import VarianceStep, to_json
from services.reporting.domain.costs import CostQuestion, CostRow
from services.reporting.domain.figures import costs_link
from services.reporting.domain.report.document import (
    Cell,
    ChartPlace,
    Form,
    Number,
    Paragraph,
    Table,
    Tile,
)
from services.reporting.domain.report.frame import Frame, group_link, name_of, share
from services.reporting.domain.report.spending import dimension_name, in_title
from services.reporting.domain.report.variance import Amounts, Effects, decompose, regrouped

PRICE_DIGITS: Final = 12  # significant digits of a computed price
ROWS_MAX: Final = 25
CHART: Final = "cost-variance"


@dataclass(frozen=True, slots=True)
class Variance:
    """Both periods' answers, taken apart. key: the groups' values, the unit last."""

    frame: Frame
    group_by: tuple[str, ...]
    before: Period
    amounts: tuple[Amounts, ...]
    effects: tuple[Effects, ...]

    @property
    def total(self) -> Effects:
        """The effects over everything; all zero where there is nothing."""
        found = regrouped(self.effects, ())
        nothing = Decimal(0)
        return found[0] if found else Effects((), nothing, nothing, nothing, nothing, nothing)

    @property
    def question(self) -> CostQuestion:
        """The question over both periods whose answer the effects are computed from."""
        frame = self.frame
        starts = [each.astimezone(frame.tz) for each in (self.before.start, frame.period.start)]
        is_monthly = all(each.day == 1 for each in starts)
        return CostQuestion(
            tenant_id=frame.tenant_id,
            period=Period(self.before.start, frame.period.end),
            group_by=(*self.group_by, "unit"),
            granularity=Granularity.MONTH if is_monthly else Granularity.DAY,
            filter=frame.filter,
            currency_code=frame.currency_code,
        )


def variance_of(
    frame: Frame,
    group_by: tuple[str, ...],
    before: Period,
    rows_before: Sequence[CostRow],
    rows_now: Sequence[CostRow],
) -> Variance:
    """Takes the change apart. rows: grouped by the dimensions and by unit."""
    then: Mapping[tuple[str, ...], CostRow] = {row.group: row for row in rows_before}
    now = {row.group: row for row in rows_now}
    keys = sorted({*then, *now})
    nothing = Decimal(0)
    amounts = tuple(
        Amounts(
            key=key,
            unit=key[-1],
            cost_before=then[key].cost if key in then else nothing,
            cost_now=now[key].cost if key in now else nothing,
            quantity_before=(then[key].quantity or nothing) if key in then else nothing,
            quantity_now=(now[key].quantity or nothing) if key in now else nothing,
        )
        for key in keys
    )
    return Variance(frame, group_by, before, amounts, tuple(decompose(amounts)))


def variance_text(variance: Variance) -> list[Paragraph]:
    """Says what happened and what did it."""
    frame, words, total = variance.frame, variance.frame.words, variance.total
    query = costs_link(variance.question)
    compared = costs_link(frame.question(has_previous=True))
    return [
        words.say(
            "Cost went from {then} to {now}, by {difference}.",
            then=frame.money(total.before, compared, words.word("Before")),
            now=frame.money(total.now, compared, words.word("Now")),
            difference=frame.difference(
                total.now, total.before, compared, words.word("Difference")
            ),
        ),
        words.say(
            "Volume did {volume}, rates did {rate}, mix did {mix}; together exactly the "
            "difference.",
            volume=_signed(variance, total.volume, query, words.word("Volume")),
            rate=_signed(variance, total.rate, query, words.word("Rate")),
            mix=_signed(variance, total.mix, query, words.word("Mix")),
        ),
        words.say(
            "Volume is what all groups would cost more had each grown as its unit did as a "
            "whole; mix is that groups grew otherwise than the whole, new ones among them; "
            "rate is that a unit of the same group costs otherwise than before."
        ),
    ]


def variance_tiles(variance: Variance) -> tuple[Tile, ...]:
    """Returns difference, volume, rate and mix."""
    frame, words, total = variance.frame, variance.frame.words, variance.total
    query = costs_link(variance.question)
    compared = costs_link(frame.question(has_previous=True))
    difference = frame.difference(total.now, total.before, compared)
    return (
        Tile(words.word("Difference"), difference),
        Tile(words.word("Volume"), _signed(variance, total.volume, query)),
        Tile(words.word("Rate"), _signed(variance, total.rate, query)),
        Tile(words.word("Mix"), _signed(variance, total.mix, query)),
    )


def variance_chart(variance: Variance) -> ChartPlace:
    """Returns the way from the cost before to the cost now."""
    words, total = variance.frame.words, variance.total
    steps = (
        VarianceStep(words.word("Before"), total.before, "total"),
        VarianceStep(words.word("Volume"), total.volume),
        VarianceStep(words.word("Rate"), total.rate),
        VarianceStep(words.word("Mix"), total.mix),
        VarianceStep(words.word("Now"), total.now, "total"),
    )
    title = words.word("From the cost before to the cost now")
    return ChartPlace(CHART, title, title, tuple(to_json(step) for step in steps))


def effect_table(variance: Variance, places: Sequence[int]) -> Table:
    """Returns the effects by some of the dimensions, largest change first, and their sum."""
    frame, words = variance.frame, variance.frame.words
    names = tuple(variance.group_by[place] for place in places)
    found = sorted(regrouped(variance.effects, places), key=lambda each: -abs(each.difference))
    shown = found if len(found) <= ROWS_MAX + 1 else found[:ROWS_MAX]
    question = frame.question(*names, has_previous=True)
    query = costs_link(variance.question)
    rows = [
        _effect_row(
            variance, name_of(each.key, words), each, (group_link(question, each.key), query)
        )
        for each in shown
    ]
    rest = found[len(shown) :]
    if rest:
        name = words.word("{count} others", count=str(len(rest)))
        rows.append(_effect_row(variance, name, _added(rest), (costs_link(question), query)))
    compared = costs_link(frame.question(has_previous=True))
    dimension = dimension_name(frame, names)
    return Table(
        title=words.word("Effects by {dimension}", dimension=in_title(frame, dimension)),
        columns=(
            dimension,
            words.word("Before"),
            words.word("Volume"),
            words.word("Rate"),
            words.word("Mix"),
            words.word("Now"),
            words.word("Difference"),
        ),
        rows=tuple(rows),
        total=_effect_row(variance, words.word("Total"), variance.total, (compared, query)),
    )


def price_table(variance: Variance) -> Table:
    """Returns the groups whose price of a unit changed cost most."""
    frame, words = variance.frame, variance.frame.words
    rates = {each.key: each.rate for each in variance.effects}
    found = sorted(variance.amounts, key=lambda each: -abs(rates[each.key]))
    rows: list[tuple[Cell, ...]] = []
    for each in found[:ROWS_MAX]:
        if not rates[each.key] or each.quantity_before <= 0 or each.quantity_now <= 0:
            continue
        before = price_of(each.cost_before, each.quantity_before)
        now = price_of(each.cost_now, each.quantity_now)
        query = group_link(variance.question, each.key)
        rows.append(
            (
                name_of(each.key[:-1], words),
                each.unit,
                Number(before, Form.UNIT_PRICE, frame.currency_code, query),
                Number(now, Form.UNIT_PRICE, frame.currency_code, query),
                Number(share(now - before, before), Form.CHANGE, "", query) if before else "",
                _signed(variance, rates[each.key], query),
            )
        )
    return Table(
        title=words.word("What a unit cost"),
        columns=(
            dimension_name(frame, variance.group_by),
            words.word("Unit"),
            words.word("Before"),
            words.word("Now"),
            words.word("Change"),
            words.word("Rate effect"),
        ),
        rows=tuple(rows),
        text_columns=(1,),
    )


def price_of(cost: Decimal, quantity: Decimal) -> Decimal:
    """Returns the cost of a unit with twelve significant digits."""
    price = cost / quantity
    return round(price, PRICE_DIGITS - 1 - price.adjusted()) if price else Decimal(0)


def _effect_row(
    variance: Variance, name: str, effects: Effects, queries: tuple[str, str]
) -> tuple[Cell, ...]:
    frame = variance.frame
    compared, query = queries
    return (
        name,
        frame.money(effects.before, compared),
        _signed(variance, effects.volume, query),
        _signed(variance, effects.rate, query),
        _signed(variance, effects.mix, query),
        frame.money(effects.now, compared),
        frame.difference(effects.now, effects.before, compared),
    )


def _added(effects: Sequence[Effects]) -> Effects:
    return Effects(
        (),
        add_exactly(each.before for each in effects),
        add_exactly(each.now for each in effects),
        add_exactly(each.volume for each in effects),
        add_exactly(each.rate for each in effects),
        add_exactly(each.mix for each in effects),
    )


def _signed(variance: Variance, value: Decimal, query: str, label: str = "") -> Number:
    return Number(value, Form.MONEY_CHANGE, variance.frame.currency_code, query, label)
