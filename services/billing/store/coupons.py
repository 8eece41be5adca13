"""Coupons as rows of the tenant `*`, and who redeemed them as rows of each tenant."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, case, func, select, update
from sqlalchemy.dialects.postgresql import insert

from services.billing.domain.coupon import Coupon, CouponState
from services.billing.domain.plan import Discount
from services.billing.tables.base import GLOBAL_TENANT
from services.billing.tables.catalogue import coupon as table
from services.billing.tables.catalogue import coupon_redemption as redemption_table
from services.kernel.database import Transaction
from services.kernel.filter import FieldType, FilterField
from services.kernel.listing import Listing
from services.kernel.money import Money
from services.kernel.pagination import Page, PageRequest, PageTokens


def _listing(at: datetime) -> Listing:
    used_up = (table.c.redemptions_max > 0) & (table.c.redemption_count >= table.c.redemptions_max)
    state = case(
        (table.c.ended_at.is_not(None), CouponState.ENDED.value),
        (used_up | (table.c.expire_at < at), CouponState.EXPIRED.value),
        else_=CouponState.ACTIVE.value,
    )
    return Listing(
        filters={
            "coupon_id": FilterField(FieldType.STRING, table.c.coupon_id),
            "code": FilterField(FieldType.STRING, table.c.code),
            "state": FilterField(
                FieldType.CHOICE, state, choices={each.name: each.value for each in CouponState}
            ),
        },
        orders={
            "code": table.c.code,
            "create_time": table.c.created_at,
            "coupon_id": table.c.coupon_id,
        },
        default_order="create_time desc",
        tie_break="coupon_id",
    )


async def add_coupon(tx: Transaction, coupon: Coupon) -> bool:
    """Adds a coupon; False where there is one of that code."""
    statement = insert(table).values(**_row(coupon)).on_conflict_do_nothing()
    return await tx.scalar(statement.returning(table.c.coupon_id)) is not None


async def find_coupon(tx: Transaction, coupon_id: str = "", *, code: str = "") -> Coupon | None:
    """Returns a coupon by its id or its code; None where there is none."""
    wanted = table.c.coupon_id == coupon_id if coupon_id else table.c.code == code.upper()
    found = await tx.execute(select(table).where(table.c.tenant_id == GLOBAL_TENANT, wanted))
    row = found.mappings().one_or_none()
    return None if row is None else _coupon_of(row)


async def list_coupons(
    tx: Transaction, page: PageRequest, tokens: PageTokens, *, at: datetime
) -> Page[Coupon]:
    """Returns a page of coupons. at: the instant of their states."""
    coupons = select(table).where(table.c.tenant_id == GLOBAL_TENANT)
    found = await _listing(at).page(tx, coupons, page, tokens)
    return Page([_coupon_of(row) for row in found.items], found.next_page_token)


async def update_coupon(tx: Transaction, coupon: Coupon) -> None:
    """Stores what may change of a coupon: its name, end and limit."""
    await tx.execute(
        update(table)
        .where(table.c.tenant_id == GLOBAL_TENANT, table.c.coupon_id == coupon.coupon_id)
        .values(
            display_name=coupon.display_name,
            redemptions_max=coupon.redemptions_max,
            expire_at=coupon.expire_at,
            ended_at=coupon.ended_at,
            revision=coupon.revision,
        )
    )


async def redeem(
    tx: Transaction, coupon: Coupon, subscription_id: str, at: datetime, ends_at: datetime | None
) -> bool:
    """Redeems a coupon for a subscription of the transaction's tenant.

    False where it is redeemed for it already, has ended, or its limit over all tenants is reached.
    """
    statement = insert(redemption_table).values(
        tenant_id=tx.tenant_id,
        subscription_id=subscription_id,
        coupon_id=coupon.coupon_id,
        redeemed_at=at,
        ends_at=ends_at,
    )
    added = statement.on_conflict_do_nothing().returning(redemption_table.c.coupon_id)
    if await tx.scalar(added) is None:
        return False
    return bool(await tx.scalar(select(func.billing.redeem_coupon(coupon.coupon_id, at))))


async def redeemed(
    tx: Transaction, tenant_id: str, subscription_id: str
) -> list[tuple[Coupon, datetime | None]]:
    """Returns the coupons of a subscription, in the order of redemption, and when each ends."""
    found = await tx.execute(
        select(table, redemption_table.c.ends_at)
        .join(redemption_table, redemption_table.c.coupon_id == table.c.coupon_id)
        .where(
            table.c.tenant_id == GLOBAL_TENANT,
            redemption_table.c.tenant_id == tenant_id,
            redemption_table.c.subscription_id == subscription_id,
        )
        .order_by(redemption_table.c.redeemed_at, table.c.coupon_id)
    )
    return [(_coupon_of(row), row["ends_at"]) for row in found.mappings()]


async def coupon_discounts(
    tx: Transaction, tenant_id: str, subscription_id: str
) -> tuple[Discount, ...]:
    """Returns what the coupons of a subscription take off, in the order of redemption."""
    found = await redeemed(tx, tenant_id, subscription_id)
    return tuple(coupon.discount(ends_at) for coupon, ends_at in found)


def _row(coupon: Coupon) -> dict[str, Any]:
    return {
        "tenant_id": GLOBAL_TENANT,
        "coupon_id": coupon.coupon_id,
        "code": coupon.code,
        "display_name": coupon.display_name,
        "discount_ratio": coupon.discount_ratio,
        "amount": None if coupon.amount is None else coupon.amount.amount,
        "currency_code": None if coupon.amount is None else coupon.amount.currency_code,
        "duration_periods": coupon.duration_periods,
        "plan_ids": list(coupon.plan_ids),
        "redemptions_max": coupon.redemptions_max,
        "redemption_count": coupon.redemption_count,
        "expire_at": coupon.expire_at,
        "ended_at": coupon.ended_at,
        "created_at": coupon.created_at,
        "revision": coupon.revision,
    }


def _coupon_of(row: RowMapping) -> Coupon:
    amount = row["amount"]
    return Coupon(
        coupon_id=row["coupon_id"],
        code=row["code"],
        display_name=row["display_name"],
        discount_ratio=row["discount_ratio"],
        amount=None if amount is None else Money(row["currency_code"], amount),
        duration_periods=row["duration_periods"],
        plan_ids=tuple(row["plan_ids"]),
        redemptions_max=row["redemptions_max"],
        redemption_count=row["redemption_count"],
        expire_at=row["expire_at"],
        ended_at=row["ended_at"],
        created_at=row["created_at"],
        revision=row["revision"],
    )
