"""What tests of accounts and subscriptions have in common: messages and calls."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from finops.billing.v1 import (
    account_model_pb2,
    account_service_pb2,
    account_service_pb2_grpc,
    billing_service_pb2_grpc,
    catalogue_service_pb2_grpc,
    pricing_plan_model_pb2,
    pricing_plan_service_pb2,
    pricing_plan_service_pb2_grpc,
    subscription_messages_pb2,
    subscription_model_pb2,
    subscription_service_pb2_grpc,
)
from finops.common.v1.money_pb2 import Money
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel.ids import new_id
from tests.billing.conftest import Billing


class Desk(NamedTuple):
    """Stubs of one tenant's org admin, and of the seller."""

    accounts: account_service_pb2_grpc.AccountServiceAsyncStub
    billing: billing_service_pb2_grpc.BillingServiceAsyncStub
    subscriptions: subscription_service_pb2_grpc.SubscriptionServiceAsyncStub
    plans: pricing_plan_service_pb2_grpc.PricingPlanServiceAsyncStub
    catalogue: catalogue_service_pb2_grpc.CatalogueServiceAsyncStub
    seller: account_service_pb2_grpc.AccountServiceAsyncStub
    seller_billing: billing_service_pb2_grpc.BillingServiceAsyncStub


def desk_of(billing: Billing) -> Desk:
    """Returns the stubs."""
    mine, seller = billing.channel(), billing.seller()
    return Desk(
        account_service_pb2_grpc.AccountServiceStub(mine),
        billing_service_pb2_grpc.BillingServiceStub(mine),
        subscription_service_pb2_grpc.SubscriptionServiceStub(mine),
        pricing_plan_service_pb2_grpc.PricingPlanServiceStub(seller),
        catalogue_service_pb2_grpc.CatalogueServiceStub(seller),
        account_service_pb2_grpc.AccountServiceStub(seller),
        billing_service_pb2_grpc.BillingServiceStub(seller),
    )


def money(amount: str, code: str = "EUR") -> Money:
    """Returns money."""
    return Money(currency_code=code, amount=amount)


def stamp(at: datetime) -> Timestamp:
    """Returns an instant."""
    made = Timestamp()
    made.FromDatetime(at)
    return made


async def open_account(desk: Desk, **fields: object) -> account_model_pb2.BillingAccount:
    """Creates an account in EUR that is invoiced."""
    values: dict[str, object] = {
        "display_name": "Acme",
        "currency_code": "EUR",
        "time_zone": "UTC",
        "collection_method": account_model_pb2.COLLECTION_METHOD_SEND_INVOICE,
    }
    account = account_model_pb2.BillingAccount(**values | fields)  # type: ignore[arg-type]
    request = account_service_pb2.CreateBillingAccountRequest(account=account)
    return (await desk.accounts.CreateBillingAccount(request)).account


async def sell(desk: Desk, fee: str = "31", *, discount: str = "", **fields: object) -> str:
    """Puts a plan on sale in EUR, and returns its id. discount: the plan's own, a ratio."""
    plan = pricing_plan_model_pb2.PricingPlan(
        plan_id=f"plan-{new_id()}",
        display_name="Plan",
        state=pricing_plan_model_pb2.PLAN_STATE_ACTIVE,
        interval=pricing_plan_model_pb2.BILLING_INTERVAL_MONTH,
        rates=[pricing_plan_model_pb2.PlanRates(currency_code="EUR", flat_fee=money(fee))],
    )
    if discount:
        plan.rates[0].discounts.add(display_name="Loyal", discount_ratio=discount)
    for name, value in fields.items():
        setattr(plan, name, value)
    request = pricing_plan_service_pb2.CreatePricingPlanRequest(plan=plan)
    return (await desk.plans.CreatePricingPlan(request)).plan.plan_id


async def subscribe(
    desk: Desk, plan_id: str, *, coupon_code: str = "", **fields: object
) -> subscription_model_pb2.Subscription:
    """Subscribes the tenant's own account."""
    wanted = subscription_model_pb2.Subscription(plan_id=plan_id, **fields)  # type: ignore[arg-type]
    request = subscription_messages_pb2.CreateSubscriptionRequest(
        subscription=wanted, coupon_code=coupon_code
    )
    return (await desk.billing.CreateSubscription(request)).subscription
