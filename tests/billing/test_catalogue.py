"""Plans by version, coupons with limits, and a tax table without overlaps."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from finops.billing.v1 import billing_service_pb2, billing_service_pb2_grpc
from finops.billing.v1 import catalogue_model_pb2 as models
from finops.billing.v1 import catalogue_service_pb2 as messages
from finops.billing.v1 import pricing_plan_model_pb2 as plan_models
from finops.billing.v1 import pricing_plan_service_pb2 as plan_messages
from finops.billing.v1 import subscription_messages_pb2 as subscription_messages
from finops.billing.v1 import subscription_model_pb2 as subscription_models

from services.billing.domain.seeded_plans import seeded_plans
from services.kernel.database import Database
from services.kernel.ids import new_id
from services.kernel.jobs import Job
from tests.billing.buying import Desk, desk_of, money, open_account, sell, stamp, subscribe
from tests.billing.conftest import NOW, Billing
from tests.billing.test_subscriptions import FIRST, waiting
from tests.support.server import refused


@pytest.fixture
async def desk(billing: Billing) -> Desk:
    return desk_of(billing)


def coupon(**fields: object) -> messages.CreateCouponRequest:
    values: dict[str, object] = {"code": f"c{new_id()}", "discount_ratio": "0.5"}
    return messages.CreateCouponRequest(coupon=models.Coupon(**values | fields))  # type: ignore[arg-type]


def tax(start: str, end: str = "", **fields: object) -> messages.CreateTaxRateRequest:
    values: dict[str, object] = {
        "country_code": "CH",
        "display_name": "VAT 8.1 %",
        "rate_ratio": "0.081",
        "start_date": start,
        "end_date": end,
    }
    return messages.CreateTaxRateRequest(tax_rate=models.TaxRate(**values | fields))  # type: ignore[arg-type]


async def test_a_plan_changes_by_versions_and_subscribers_keep_theirs_until_moved(
    desk: Desk, billing: Billing
) -> None:
    await open_account(desk)
    plan_id = await sell(desk, "31")
    made = await subscribe(desk, plan_id, start_time=stamp(FIRST), billing_day=1)
    dearer = plan_models.PricingPlan(
        plan_id=plan_id,
        rates=[plan_models.PlanRates(currency_code="EUR", flat_fee=money("62"))],
    )

    second = await desk.plans.UpdatePricingPlan(plan_messages.UpdatePricingPlanRequest(plan=dearer))
    kept = await desk.billing.GetSubscription(subscription_messages.GetSubscriptionRequest())
    await desk.plans.UpdatePricingPlan(
        plan_messages.UpdatePricingPlanRequest(plan=dearer, migrate_subscriptions=True)
    )
    billing.clock.advance(timedelta(days=30))
    await advance_now(billing)
    moved = await desk.billing.GetSubscription(subscription_messages.GetSubscriptionRequest())
    versions = await desk.plans.ListPricingPlanVersions(
        plan_messages.ListPricingPlanVersionsRequest(plan_id=plan_id)
    )

    assert (made.plan_version, second.plan.version) == (1, 2)
    assert (kept.subscription.plan_version, moved.subscription.plan_version) == (1, 3)
    assert [plan.version for plan in versions.plans] == [3, 2, 1]
    assert versions.plans[2].rates[0].flat_fee.amount == "31"


async def advance_now(billing: Billing) -> None:
    await billing.service.advancing.run(
        Job(job_id=1, entrypoint="", payload=b"", attempt=1, tenant_id=None)
    )


async def test_a_version_of_later_is_sold_later_and_a_retired_plan_to_nobody(
    desk: Desk, billing: Billing
) -> None:
    await open_account(desk)
    plan_id = await sell(desk, "31")
    later = plan_messages.UpdatePricingPlanRequest(
        plan=plan_models.PricingPlan(plan_id=plan_id, description="New"),
        effective_time=stamp(NOW + timedelta(days=1)),
    )
    await desk.plans.UpdatePricingPlan(later)

    today = await listed(desk, plan_id)
    billing.clock.advance(timedelta(days=2))
    tomorrow = await listed(desk, plan_id)
    await desk.plans.DeletePricingPlan(plan_messages.DeletePricingPlanRequest(plan_id=plan_id))
    gone = await listed(desk, plan_id)
    refusal = await refused(subscribe(desk, plan_id))

    assert (today, tomorrow, gone) == ([1], [2], [])
    assert refusal.reason == "PLAN_NOT_ON_SALE"


async def listed(desk: Desk, plan_id: str) -> list[int]:
    """Returns the versions of a plan that a tenant sees."""
    stub: billing_service_pb2_grpc.BillingServiceAsyncStub = desk.billing
    request = billing_service_pb2.ListPricingPlansRequest(
        filter=f'plan_id = "{plan_id}" AND currency_code = "EUR"'
    )
    return [plan.version for plan in (await stub.ListPricingPlans(request)).plans]


async def test_every_part_of_a_plan_comes_back_as_it_was_put_in(desk: Desk) -> None:
    charge = plan_models.PlanCharge(
        charge_id="gpu",
        display_name="GPU hours",
        filter='resource_type = "gpu"',
        unit="hour",
        price_model=plan_models.PRICE_MODEL_GRADUATED,
        package_size="1",
        cost_ratio="1",
        tiers=[
            plan_models.PriceTier(up_to_quantity="100", unit_price=money("2.000000000000000001")),
            plan_models.PriceTier(unit_price=money("1.5"), flat_price=money("3")),
        ],
        included_quantity="10",
        minimum=money("1"),
        maximum=money("1000"),
        route=plan_models.CHARGE_ROUTE_RATED,
        tax_code="saas",
        group_by="project",
    )
    rates = plan_models.PlanRates(
        currency_code="EUR",
        flat_fee=money("9.99"),
        minimum_commitment=money("50"),
        charges=[charge],
        discounts=[
            plan_models.PlanDiscount(display_name="Early", discount_ratio="0.1", charge_ids=["gpu"])
        ],
    )
    plan = plan_models.PricingPlan(
        display_name="Whole",
        interval=plan_models.BILLING_INTERVAL_QUARTER,
        rates=[rates],
        trial_days=7,
        features=["A", "B"],
    )

    made = await desk.plans.CreatePricingPlan(plan_messages.CreatePricingPlanRequest(plan=plan))
    found = await desk.plans.GetPricingPlan(
        plan_messages.GetPricingPlanRequest(plan_id=made.plan.plan_id)
    )

    assert found.plan == made.plan
    assert found.plan.rates == plan.rates
    assert (found.plan.trial_days, list(found.plan.features)) == (7, ["A", "B"])


async def test_plans_that_make_no_sense_are_refused(desk: Desk) -> None:
    mixed = plan_models.PlanRates(currency_code="EUR", flat_fee=money("1", "USD"))
    odd = plan_models.PlanCharge(
        charge_id="a", display_name="A", price_model=plan_models.PRICE_MODEL_VOLUME
    )
    plan_id = await sell(desk)
    cases = {
        "CURRENCY_MISMATCH": {"rates": [mixed]},
        "INVALID_PLAN": {"rates": [plan_models.PlanRates(currency_code="EUR", charges=[odd])]},
        "UNKNOWN_CURRENCY": {"rates": [plan_models.PlanRates(currency_code="ABC")]},
        "PLAN_EXISTS": {
            "plan_id": plan_id,
            "rates": [plan_models.PlanRates(currency_code="EUR")],
        },
    }

    for reason, fields in cases.items():
        plan = plan_models.PricingPlan(display_name="P", interval=1, **fields)  # type: ignore[arg-type]
        request = plan_messages.CreatePricingPlanRequest(plan=plan)
        assert (await refused(desk.plans.CreatePricingPlan(request))).reason == reason
    missing = plan_messages.GetPricingPlanRequest(plan_id="none")
    assert (await refused(desk.plans.GetPricingPlan(missing))).reason == "PLAN_NOT_FOUND"


async def test_the_first_plans_are_seeded_once(billing: Billing) -> None:
    plans = seeded_plans(NOW)

    await billing.service.plans.seed(plans)
    again = await billing.service.plans.seed(plans)

    assert not again
    assert [plan.plan_id for plan in plans] == ["starter", "professional", "enterprise"]
    assert all(plan.currency_codes == ("USD", "EUR", "JPY") for plan in plans)


async def test_a_coupon_takes_off_as_long_as_it_lasts(
    desk: Desk, billing: Billing, billing_database: Database
) -> None:
    account = await open_account(desk)
    made = (await desk.catalogue.CreateCoupon(coupon(duration_periods=2))).coupon
    plan_id = await sell(desk, "31")

    subscription = await subscribe(
        desk, plan_id, coupon_code=made.code.lower(), start_time=stamp(NOW), billing_day=1
    )

    assert list(subscription.coupon_codes) == [made.code]
    lines = await waiting(billing_database, billing.tenant, account.account_id)
    assert [float(line.exact) for line in lines] == [10.75], "half of what is left of March"
    billing.clock.advance(timedelta(days=60))
    await advance_now(billing)
    found = await desk.billing.GetSubscription(subscription_messages.GetSubscriptionRequest())
    assert list(found.subscription.coupon_codes) == []


async def test_of_many_redemptions_at_once_no_more_succeed_than_the_limit(
    billing: Billing,
) -> None:
    desk = desk_of(billing)
    made = (await desk.catalogue.CreateCoupon(coupon(redemptions_max=2))).coupon
    plan_id = await sell(desk)
    await open_account(desk)
    departments = [f"d{number}" for number in range(5)]
    accounts = [await open_account(desk, department_id=name) for name in departments]

    answers = await asyncio.gather(
        *(
            subscribe(desk, plan_id, coupon_code=made.code, account_id=account.account_id)
            for account in accounts
        ),
        return_exceptions=True,
    )

    redeemed = [each for each in answers if isinstance(each, subscription_models.Subscription)]
    assert len(redeemed) == 2
    found = await desk.catalogue.GetCoupon(messages.GetCouponRequest(coupon_id=made.coupon_id))
    assert found.coupon.redemption_count == 2
    assert found.coupon.state == models.COUPON_STATE_EXPIRED


async def test_coupons_that_do_not_fit_are_refused(desk: Desk) -> None:
    await open_account(desk)
    plan_id = await sell(desk)
    other = (await desk.catalogue.CreateCoupon(coupon(plan_ids=["other"]))).coupon
    dollars = coupon(discount_ratio="", amount=money("5", "USD"))
    foreign = (await desk.catalogue.CreateCoupon(dollars)).coupon
    ended = (await desk.catalogue.CreateCoupon(coupon())).coupon
    await desk.catalogue.DeleteCoupon(messages.DeleteCouponRequest(coupon_id=ended.coupon_id))

    for code in (other.code, foreign.code, ended.code):
        refusal = await refused(subscribe(desk, plan_id, coupon_code=code))
        assert refusal.reason == "COUPON_NOT_REDEEMABLE"
    unknown = await refused(subscribe(desk, plan_id, coupon_code="none"))
    assert unknown.reason == "COUPON_NOT_FOUND"
    both = coupon(amount=money("5"))
    assert (await refused(desk.catalogue.CreateCoupon(both))).reason == "INVALID_COUPON"
    twice = coupon(code=other.code.lower())
    assert (await refused(desk.catalogue.CreateCoupon(twice))).reason == "COUPON_EXISTS"


async def test_what_a_coupon_grants_stays_while_its_end_may_change(desk: Desk) -> None:
    made = (await desk.catalogue.CreateCoupon(coupon())).coupon
    wanted = models.Coupon(
        coupon_id=made.coupon_id, display_name="Named", expire_time=stamp(NOW), etag=made.etag
    )

    changed = await desk.catalogue.UpdateCoupon(messages.UpdateCouponRequest(coupon=wanted))
    request = messages.UpdateCouponRequest(coupon=wanted)
    request.update_mask.paths.append("discount_ratio")
    fixed = await refused(desk.catalogue.UpdateCoupon(request))
    listed_coupons = await desk.catalogue.ListCoupons(
        messages.ListCouponsRequest(filter=f'code = "{made.code}" AND state = ACTIVE')
    )

    assert (changed.coupon.display_name, changed.coupon.discount_ratio) == ("Named", "0.5")
    assert fixed.reason == "UNKNOWN_MASK_PATH"
    assert [each.coupon_id for each in listed_coupons.coupons] == [made.coupon_id]


async def test_a_place_has_one_tax_rate_at_a_time(desk: Desk) -> None:
    code = f"x{new_id()}"
    made = (await desk.catalogue.CreateTaxRate(tax("2024-01-01", tax_code=code))).tax_rate

    overlap = await refused(desk.catalogue.CreateTaxRate(tax("2026-01-01", tax_code=code)))
    ended = models.TaxRate(tax_rate_id=made.tax_rate_id, end_date="2026-01-01", etag=made.etag)
    await desk.catalogue.UpdateTaxRate(messages.UpdateTaxRateRequest(tax_rate=ended))
    await desk.catalogue.CreateTaxRate(tax("2026-01-01", tax_code=code, rate_ratio="0.085"))
    rates = await desk.catalogue.ListTaxRates(
        messages.ListTaxRatesRequest(filter=f'tax_code = "{code}"', order_by="start_date")
    )

    assert overlap.reason == "TAX_RATE_OVERLAP"
    assert [rate.rate_ratio for rate in rates.tax_rates] == ["0.081", "0.085"]
    assert rates.tax_rates[0].end_date == "2026-01-01"
    bad = await refused(desk.catalogue.CreateTaxRate(tax("2026-13-01", tax_code=code)))
    assert bad.reason == "INVALID_TAX_RATE"
    missing = messages.UpdateTaxRateRequest(tax_rate=models.TaxRate(tax_rate_id="none"))
    unknown = await refused(desk.catalogue.UpdateTaxRate(missing))
    assert unknown.reason == "TAX_RATE_NOT_FOUND"


async def test_a_plan_without_the_currency_cannot_be_subscribed_to(desk: Desk) -> None:
    await open_account(desk, currency_code="USD")

    refusal = await refused(subscribe(desk, await sell(desk)))

    assert refusal.reason == "PLAN_CURRENCY_MISSING"
