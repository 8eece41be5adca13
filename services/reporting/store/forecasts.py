"""Forecasts that were made."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Row

from services.kernel.database import Transaction
from services.kernel.period import Period
from services.reporting.domain.forecast.comparison import MadeForecast
from services.reporting.tables.forecasts import made_forecast


def question_key(filter_text: str, cost_type: str, currency_code: str, days: int) -> str:
    """Returns the digest of what makes forecasts comparable."""
    parts = "\x1f".join((filter_text, cost_type, currency_code, str(days)))
    return hashlib.sha256(parts.encode()).hexdigest()


async def add(tx: Transaction, made: MadeForecast) -> None:
    """Keeps a forecast, unless one of the same question and day is kept already."""
    key = question_key(made.filter, made.cost_type, made.currency_code, made.horizon_days)
    statement = insert(made_forecast).on_conflict_do_nothing()
    await tx.execute(
        statement,
        {
            "tenant_id": made.tenant_id,
            "question_key": key,
            "horizon_start": made.horizon.start,
            "horizon_end": made.horizon.end,
            "horizon_days": made.horizon_days,
            "filter": made.filter,
            "cost_type": made.cost_type,
            "currency_code": made.currency_code,
            "made_at": made.made_at,
            "model": made.model,
            "expected": made.expected,
            "lower": made.lower,
            "upper": made.upper,
            "level": made.level,
        },
    )


async def made_in(
    tx: Transaction,
    period: Period,
    *,
    horizon_days: int,
    filter_text: str,
    currency_code: str,
    over_at: datetime,
    limit: int,
) -> list[MadeForecast]:
    """Returns forecasts of billed cost whose horizon ended by `over_at`, newest first."""
    table = made_forecast.c
    statement = (
        select(made_forecast)
        .where(
            table.tenant_id == tx.tenant_id,
            table.question_key == question_key(filter_text, "billed", currency_code, horizon_days),
            table.made_at >= period.start,
            table.made_at < period.end,
            table.horizon_end <= over_at,
        )
        .order_by(table.horizon_start.desc())
        .limit(limit)
    )
    return made_from((await tx.execute(statement)).all())


async def questions_since(tx: Transaction, since: datetime) -> list[MadeForecast]:
    """Returns the newest forecast of every question of which one was made since, all tenants."""
    table = made_forecast.c
    newest = (
        func.row_number()
        .over(
            partition_by=(table.tenant_id, table.question_key),
            order_by=table.horizon_start.desc(),
        )
        .label("place")
    )
    numbered = select(made_forecast, newest).where(table.made_at >= since).subquery()
    statement = select(numbered).where(numbered.c.place == 1)
    return made_from((await tx.execute(statement)).all())


async def trim(tx: Transaction, before: datetime) -> None:
    """Deletes forecasts made before an instant."""
    await tx.execute(delete(made_forecast).where(made_forecast.c.made_at < before))


def made_from(rows: Sequence[Row[Any]]) -> list[MadeForecast]:
    """Reads rows."""
    return [
        MadeForecast(
            tenant_id=row.tenant_id,
            made_at=row.made_at,
            horizon=Period(row.horizon_start, row.horizon_end),
            horizon_days=row.horizon_days,
            filter=row.filter,
            cost_type=row.cost_type,
            currency_code=row.currency_code.strip(),
            model=row.model,
            expected=row.expected,
            lower=row.lower,
            upper=row.upper,
            level=row.level,
        )
        for row in rows
    ]
