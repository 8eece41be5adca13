"""Every command that lists shows what lies beyond the first page."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from google.protobuf import descriptor_pool, message_factory

from tests.cli import conftest
from tests.cli.conftest import Result, Suite

Finops = Callable[..., Result]


class Listing(NamedTuple):
    """A command, its RPC, the field of the items, and of each item the id."""

    line: str
    rpc: str
    items: str
    key: str


LISTS = [
    Listing("budgets list", "budget.v1.BudgetService/ListBudgets", "budgets", "budget_id"),
    Listing("alerts list", "budget.v1.AlertService/ListAlerts", "alerts", "alert_id"),
    Listing(
        "alerts deliveries", "budget.v1.DeliveryService/ListDeliveries", "deliveries", "delivery_id"
    ),
    Listing(
        "alerts channels list",
        "budget.v1.ChannelService/ListNotificationChannels",
        "channels",
        "channel_id",
    ),
    Listing(
        "recommendations list",
        "optimizer.v1.OptimizerService/ListRecommendations",
        "recommendations",
        "recommendation_id",
    ),
    Listing("reports list", "reporting.v1.ReportingService/ListReports", "reports", "report_id"),
    Listing(
        "reports schedules",
        "reporting.v1.ReportScheduleService/ListReportSchedules",
        "schedules",
        "schedule_id",
    ),
    Listing(
        "subscriptions events s1",
        "billing.v1.SubscriptionService/ListSubscriptionEvents",
        "events",
        "plan_id",
    ),
    Listing(
        "plans show p1 --versions",
        "billing.v1.PricingPlanService/ListPricingPlanVersions",
        "plans",
        "plan_id",
    ),
]


@pytest.mark.parametrize("listing", LISTS, ids=[each.line for each in LISTS])
def test_a_list_of_two_pages_is_shown_whole(
    finops: Finops,
    suite: Suite,
    monkeypatch: pytest.MonkeyPatch,
    listing: Listing,
) -> None:
    path = f"/finops.{listing.rpc}"
    importlib.import_module("finops_sdk.client")
    method = descriptor_pool.Default().FindMethodByName(f"finops.{listing.rpc.replace('/', '.')}")
    request_class = message_factory.GetMessageClass(method.input_type)
    monkeypatch.setitem(conftest.REQUESTS, path, request_class)

    def page(request: Any) -> Any:
        answer: Any = message_factory.GetMessageClass(method.output_type)()
        setattr(
            getattr(answer, listing.items).add(), listing.key, f"on-{request.page_token or 'first'}"
        )
        answer.next_page_token = "" if request.page_token else "second"
        return answer

    suite.answers[path] = page
    shown = finops(*listing.line.split(), "--tenant", "acme", "--format", "json")

    assert shown.code == 0, shown.err
    assert "on-first" in shown.out
    assert "on-second" in shown.out


def test_every_line_of_an_invoice_is_shown(
    finops: Finops, suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = descriptor_pool.Default()
    find = pool.FindMethodByName("finops.billing.v1.BillingService.GetInvoice")
    listing = pool.FindMethodByName("finops.billing.v1.InvoiceService.ListInvoiceLines")
    for method in (find, listing):
        name = f"/{method.full_name.rpartition('.')[0]}/{method.name}"
        kind = message_factory.GetMessageClass(method.input_type)
        monkeypatch.setitem(conftest.REQUESTS, name, kind)
    suite.answers["/finops.billing.v1.BillingService/GetInvoice"] = message_factory.GetMessageClass(
        find.output_type
    )()

    def page(request: Any) -> Any:
        answer: Any = message_factory.GetMessageClass(listing.output_type)()
        answer.lines.add(description=f"on-{request.page_token or 'first'}")
        answer.next_page_token = "" if request.page_token else "second"
        return answer

    suite.answers["/finops.billing.v1.InvoiceService/ListInvoiceLines"] = page
    shown = finops("invoices", "show", "i1", "--tenant", "acme")

    assert shown.code == 0, shown.err
    assert "on-first" in shown.out
    assert "on-second" in shown.out
