"""Measurements of savings as rows."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import RowMapping, insert, select
from sqlalchemy.dialects.postgresql import distinct_on

from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.pagination import Page, PageRequest, PageTokens
from services.kernel.period import Period
from services.kernel.transaction import Transaction
from services.optimizer.domain.counterfactual import RealizedSaving
from services.optimizer.domain.finding import Estimate
from services.optimizer.domain.lifecycle import Verdict
from services.optimizer.domain.savings import Measurement
from services.optimizer.tables.recommendations import measurement as table

_VERDICTS = {one.name: int(one) for one in Verdict}
_LISTING = Listing(
    filters={
        "verdict": FilterField(
            FieldType.CHOICE,
            table.c.verdict,
            choices=_VERDICTS
            | {f"SAVING_VERDICT_{name}": number for name, number in _VERDICTS.items()},
        ),
        "measure_time": FilterField(FieldType.TIMESTAMP, table.c.measured_at),
    },
    orders={"measure_time": table.c.measured_at, "measurement_id": table.c.measurement_id},
    default_order="measure_time desc",
    tie_break="measurement_id",
)


async def add(tx: Transaction, tenant_id: str, one: Measurement) -> None:
    """Adds a measurement."""
    saving = one.saving
    await tx.execute(
        insert(table).values(
            tenant_id=tenant_id,
            measurement_id=one.measurement_id,
            recommendation_id=one.recommendation_id,
            verdict=int(one.verdict),
            currency_code=one.currency_code,
            before_start=one.before.start,
            before_end=one.before.end,
            after_start=one.after.start,
            after_end=one.after.end,
            **{f"claimed_{name}": value for name, value in one.claimed._asdict().items()},
            **{f"realized_{name}": value for name, value in saving.realized._asdict().items()},
            actual_cost=saving.actual,
            counterfactual_cost=saving.counterfactual.expected,
            volume_effect=Decimal(str(round(saving.volume_effect, 9))),
            price_effect=Decimal(str(round(saving.price_effect_ratio, 9))),
            model=saving.model,
            error_ratio=Decimal(str(round(saving.error_ratio, 9))),
            measured_at=one.measured_at,
        )
    )


async def list_page(
    tx: Transaction, page: PageRequest, tokens: PageTokens, recommendation_id: str
) -> Page[Measurement]:
    """Returns a page of one recommendation's measurements."""
    statement = select(table).where(
        table.c.tenant_id == page.tenant_id, table.c.recommendation_id == recommendation_id
    )
    found = await _LISTING.page(tx, statement, page, tokens)
    return Page([_measurement(row) for row in found.items], found.next_page_token)


async def newest(
    tx: Transaction, tenant_id: str, ids: list[str] | None = None
) -> dict[str, Measurement]:
    """Returns by recommendation the newest measurement, of some recommendations or all."""
    statement = (
        select(table)
        .ext(distinct_on(table.c.recommendation_id))
        .where(table.c.tenant_id == tenant_id)
        .order_by(
            table.c.recommendation_id,
            table.c.measured_at.desc(),
            table.c.measurement_id.desc(),
        )
    )
    if ids is not None:
        statement = statement.where(table.c.recommendation_id.in_(ids))
    rows = (await tx.execute(statement)).mappings()
    return {row["recommendation_id"]: _measurement(row) for row in rows}


def _measurement(row: RowMapping) -> Measurement:
    price_ratio = row["price_effect"]
    realized = Estimate(*(row[f"realized_{name}"] for name in Estimate._fields))
    expected = row["counterfactual_cost"]
    actual = row["actual_cost"]
    return Measurement(
        measurement_id=row["measurement_id"],
        recommendation_id=row["recommendation_id"],
        verdict=Verdict(row["verdict"]),
        currency_code=row["currency_code"],
        before=Period(row["before_start"], row["before_end"]),
        after=Period(row["after_start"], row["after_end"]),
        claimed=Estimate(*(row[f"claimed_{name}"] for name in Estimate._fields)),
        saving=RealizedSaving(
            realized=realized,
            counterfactual=Estimate(expected, realized.lower + actual, realized.upper + actual),
            actual=actual,
            volume_effect=float(row["volume_effect"]),
            price_effect_ratio=float(price_ratio),
            error_ratio=float(row["error_ratio"]),
            model=row["model"],
        ),
        measured_at=row["measured_at"],
    )
