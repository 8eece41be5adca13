"""The REST surface: fixed paths are there, and no two methods claim the same one."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.contracts.image import methods

# What the product's specification fixes, names and all.
FIXED = """
GET    /api/v1/finops/cost-attribution                   UsageService.QueryCosts
GET    /api/v1/finops/usage-analytics                    UsageService.AnalyzeUsage
POST   /api/v1/finops/budgets                            BudgetService.CreateBudget
GET    /api/v1/finops/budgets                            BudgetService.ListBudgets
GET    /api/v1/finops/budgets/{}                         BudgetService.GetBudget
PATCH  /api/v1/finops/budgets/{}                         BudgetService.UpdateBudget
DELETE /api/v1/finops/budgets/{}                         BudgetService.DeleteBudget
GET    /api/v1/finops/alerts                             AlertService.ListAlerts
GET    /api/v1/finops/alerts/{}                          AlertService.GetAlert
POST   /api/v1/finops/alerts/{}:acknowledge              AlertService.AcknowledgeAlert
POST   /api/v1/finops/alerts/{}:resolve                  AlertService.ResolveAlert
POST   /api/v1/finops/alerts/{}:snooze                   AlertService.SnoozeAlert
GET    /api/v1/finops/alerts:watch                       AlertService.WatchAlerts
GET    /api/v1/billing/summary                           BillingService.GetBillingSummary
POST   /api/v1/billing/generate-invoice                  BillingService.GenerateInvoice
POST   /api/v1/billing/subscription                      BillingService.CreateSubscription
GET    /api/v1/billing/subscription                      BillingService.GetSubscription
PATCH  /api/v1/billing/subscription                      BillingService.UpdateSubscription
POST   /api/v1/billing/subscription:pause                BillingService.PauseSubscription
POST   /api/v1/billing/subscription:cancel               BillingService.CancelSubscription
POST   /api/v1/billing/payment-method                    BillingService.SetPaymentMethod
GET    /api/v1/billing/payment-method                    BillingService.ListPaymentMethods
DELETE /api/v1/billing/payment-method/{}                 BillingService.DetachPaymentMethod
POST   /api/v1/billing/automated-billing                 BillingService.ConfigureAutomatedBilling
GET    /api/v1/billing/pricing-plans                     BillingService.ListPricingPlans
GET    /api/v1/billing/history                           BillingService.ListBillingHistory
POST   /api/v1/finops/recommendations                    OptimizerService.GenerateRecommendations
GET    /api/v1/finops/recommendations                    OptimizerService.ListRecommendations
GET    /api/v1/finops/recommendations/{}                 OptimizerService.GetRecommendation
GET    /api/v1/finops/dashboard                          ReportingService.GetDashboard
GET    /api/v1/finops/forecast                           ForecastService.Forecast
GET    /api/v1/finops/export                             ReportingService.Export
"""

# What the design adds to that.
DESIGNED = """
POST   /api/v1/finops/usage                              UsageService.RecordUsage
POST   /api/v1/finops/usage:stream                       UsageService.StreamUsage
POST   /api/v1/finops/usage:import                       UsageService.ImportUsage
GET    /api/v1/finops/usage                              UsageService.ListUsageEvents
GET    /api/v1/finops/costs:watch                        UsageService.WatchCosts
GET    /api/v1/finops/budgets/{}/status                  BudgetService.GetBudgetStatus
GET    /api/v1/finops/budgets/{}:backtest                BudgetService.BacktestBudget
POST   /api/v1/finops/spend:authorize                    BudgetService.AuthorizeSpend
POST   /api/v1/finops/spend:settle                       BudgetService.SettleSpend
POST   /api/v1/finops/spend:release                      BudgetService.ReleaseSpend
GET    /api/v1/finops/spend/{}:explain                   BudgetService.ExplainAuthorization
POST   /api/v1/finops/notification-channels              ChannelService.CreateNotificationChannel
POST   /api/v1/finops/notification-channels/{}:test      ChannelService.TestChannel
GET    /api/v1/finops/deliveries                         DeliveryService.ListDeliveries
POST   /api/v1/finops/escalation-policies                AlertPolicyService.CreateEscalationPolicy
POST   /api/v1/finops/suppression-rules                  AlertPolicyService.CreateSuppressionRule
GET    /api/v1/billing/invoices                          BillingService.ListInvoices
GET    /api/v1/billing/invoices/{}                       BillingService.GetInvoice
GET    /api/v1/billing/invoices/{}/pdf                   BillingService.GetInvoicePdf
POST   /api/v1/billing/runs                              BillingService.RunBilling
POST   /api/v1/billing/reconciliations                   BillingService.Reconcile
GET    /api/v1/billing/reconciliations/{}/diffs          BillingService.ListReconciliationDiffs
POST   /api/v1/billing/webhooks/stripe                   WebhookService.ReceiveStripeWebhook
PATCH  /api/v1/finops/recommendations/{}                 OptimizerService.UpdateRecommendation
GET    /api/v1/finops/recommendations:savings            OptimizerService.GetSavings
POST   /api/v1/finops/recommendations:simulate           OptimizerService.SimulateSavings
GET    /api/v1/finops/anomalies                          AnomalyService.ListAnomalies
GET    /api/v1/finops/anomalies/{}                       AnomalyService.GetAnomaly
POST   /api/v1/finops/reports                            ReportingService.CreateReport
GET    /api/v1/finops/reports                            ReportingService.ListReports
GET    /api/v1/finops/reports/{}                         ReportingService.GetReport
GET    /api/v1/finops/charts/{}                          ReportingService.GetChart
GET    /api/v1/compliance/audit-entries                  ComplianceService.ListAuditEntries
POST   /api/v1/compliance/audit-entries:verify           ComplianceService.VerifyAuditChain
POST   /api/v1/compliance/subjects:export                ComplianceService.ExportSubjectData
POST   /api/v1/compliance/subjects:erase                 ComplianceService.EraseSubject
GET    /api/v1/compliance/reports/{}                     ComplianceService.GetComplianceReport
"""

BODY_VERBS = {"POST", "PATCH", "PUT"}


def rows(table: str) -> list[tuple[str, str]]:
    """Returns (verb and path, service and method) of a table above."""
    cells = (line.split() for line in table.strip().splitlines())
    return [(f"{verb} {path}", method) for verb, path, method in cells]


def bound() -> dict[str, str]:
    """Returns `Service.Method` by verb and path."""
    return {
        binding.shape: ".".join(method.name.split(".")[-2:])
        for method in methods()
        for binding in method.bindings
    }


@pytest.mark.parametrize(("shape", "method"), rows(FIXED) + rows(DESIGNED))
def test_path_leads_to_its_method(shape: str, method: str) -> None:
    assert bound().get(shape) == method


def test_no_two_methods_claim_one_path() -> None:
    claimed = Counter(binding.shape for method in methods() for binding in method.bindings)

    assert {shape: times for shape, times in claimed.items() if times > 1} == {}


def test_every_path_is_under_the_api_version() -> None:
    roots = ("/api/v1/finops/", "/api/v1/billing/", "/api/v1/compliance/")

    astray = [shape for shape in bound() if not shape.partition(" ")[2].startswith(roots)]

    assert astray == []


def test_bodies_go_with_the_verbs_that_have_one() -> None:
    wrong = [
        method.name
        for method in methods()
        for binding in method.bindings
        if bool(binding.body) != (binding.verb in BODY_VERBS)
    ]

    assert wrong == []
