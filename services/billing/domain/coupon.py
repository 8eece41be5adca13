"""Coupons: discounts that a code opens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum

from services.billing.domain.plan import Discount
from services.billing.errors import InvalidCoupon
from services.kernel.money import Money


class CouponState(Enum):
    """Where a coupon is in its life."""

    ACTIVE = "active"
    EXPIRED = "expired"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupon:
    """One coupon.

    code: in upper case. discount_ratio, amount: one of them. duration_periods: 0 for ever.
    plan_ids: empty for all. redemptions_max: 0 for no limit. Raises InvalidCoupon.
    """

    coupon_id: str
    code: str
    display_name: str
    created_at: datetime
    discount_ratio: Decimal | None = None
    amount: Money | None = None
    duration_periods: int = 0
    plan_ids: tuple[str, ...] = ()
    redemptions_max: int = 0
    redemption_count: int = 0
    expire_at: datetime | None = None
    ended_at: datetime | None = None
    revision: int = 1

    def __post_init__(self) -> None:
        if (self.discount_ratio is None) == (self.amount is None):
            raise InvalidCoupon("a coupon has either discount_ratio or amount")

    def state(self, at: datetime) -> CouponState:
        """Returns the state at an instant."""
        if self.ended_at is not None:
            return CouponState.ENDED
        is_used_up = 0 < self.redemptions_max <= self.redemption_count
        is_late = self.expire_at is not None and self.expire_at < at
        return CouponState.EXPIRED if is_used_up or is_late else CouponState.ACTIVE

    def discount(self, ends_at: datetime | None) -> Discount:
        """Returns what it takes off. ends_at: what begins then or later is not discounted."""
        return Discount(
            source_id=f"coupon:{self.code}",
            display_name=self.display_name,
            ratio=self.discount_ratio,
            amount=None if self.amount is None else self.amount.amount,
            ends_at=ends_at,
        )
