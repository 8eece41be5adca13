"""What the demo company pays: an account that gets invoices, and the professional plan."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

from finops.billing.v1 import account_model_pb2, billing_service_pb2, subscription_model_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from cli.demo import company

PLAN = "professional"
MONTHS_AGO = 3  # so many months are there to be invoiced


def account() -> account_model_pb2.BillingAccount:
    """Returns the company's billing account; every name and number in it is invented."""
    return account_model_pb2.BillingAccount(
        display_name="Demo company (generated)",
        legal_name="Demo Company GmbH (generated)",
        address=account_model_pb2.Address(
            line1="Musterweg 1", city="Berlin", postal_code="10115", country_code="DE"
        ),
        currency_code="USD",
        time_zone=company.ZONE.key,
        contact_emails=["billing@demo.example"],
        collection_method=account_model_pb2.COLLECTION_METHOD_SEND_INVOICE,
        payment_terms_days=30,
    )


def subscription(today: date) -> subscription_model_pb2.Subscription:
    """Returns the subscription, from the first day of a month some months before today on."""
    months = today.year * 12 + today.month - 1 - MONTHS_AGO
    begin = date(months // 12, months % 12 + 1, 1)
    start = Timestamp()
    start.FromDatetime(datetime.combine(begin, time.min, tzinfo=company.ZONE).astimezone(UTC))
    return subscription_model_pb2.Subscription(plan_id=PLAN, start_time=start, billing_day=1)


def automated() -> billing_service_pb2.ConfigureAutomatedBillingRequest:
    """Returns when the company is billed by itself: on the first of each month."""
    return billing_service_pb2.ConfigureAutomatedBillingRequest(
        tenant_id=company.TENANT, enabled=True, billing_day=1
    )
