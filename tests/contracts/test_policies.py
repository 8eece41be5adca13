"""Every method says what it needs, what it leaves behind, and whether it may be repeated."""

from __future__ import annotations

import re

import pytest

from tests.contracts.image import Method, field_names, methods, request_of

PERMISSION = re.compile(r"public|[a-z][a-z_]*\.[a-z][a-z_]*")
READING = (
    "Get",
    "List",
    "Read",
    "Watch",
    "Find",
    "Query",
    "BatchQuery",
    "Analyze",
    "Export",
    "Download",
    "Explain",
)

# A method that is not a GET changes something, so it is audited. These are not, and why:
COMPUTES_ONLY = "computes an answer and stores nothing"
OWN_RECORD = "what it stores is append-only and is its own record; an audit entry would repeat it"
NOT_AUDITED = {
    "finops.billing.v1.BillingService.PreviewInvoice": COMPUTES_ONLY,
    "finops.billing.v1.CreditNoteService.PreviewCreditNote": COMPUTES_ONLY,
    "finops.billing.v1.SubscriptionService.PreviewSubscriptionChange": COMPUTES_ONLY,
    "finops.billing.v1.WebhookService.ReceiveStripeWebhook": OWN_RECORD,
    "finops.budget.v1.BudgetService.AuthorizeSpend": OWN_RECORD,
    "finops.budget.v1.BudgetService.BacktestBudget": COMPUTES_ONLY,
    "finops.budget.v1.BudgetService.ReleaseSpend": OWN_RECORD,
    "finops.budget.v1.BudgetService.SettleSpend": OWN_RECORD,
    "finops.budget.v1.DeliveryService.PublishNotification": OWN_RECORD,
    "finops.optimizer.v1.OptimizerService.SimulateSavings": COMPUTES_ONLY,
    "finops.reporting.v1.ComplianceService.VerifyAuditChain": COMPUTES_ONLY,
    "finops.reporting.v1.ForecastService.Forecast": OWN_RECORD,
    "finops.usage.v1.AllocationService.PreviewAllocation": COMPUTES_ONLY,
    "finops.usage.v1.ApiKeyService.LookUpApiKey": COMPUTES_ONLY,
    "finops.usage.v1.UsageService.RecordUsage": OWN_RECORD,
    "finops.usage.v1.UsageService.StreamUsage": OWN_RECORD,
}

# A method without a token. Each has another proof of who calls.
PUBLIC = {
    "finops.billing.v1.WebhookService.ReceiveStripeWebhook": "the signature of the body",
    "finops.reporting.v1.ExportService.DownloadExport": "the signature of the link",
}


def changes(method: Method) -> bool:
    """Whether a method may change something, going by its HTTP verb, else by its name."""
    if method.bindings:
        return any(binding.verb != "GET" for binding in method.bindings)
    return not method.descriptor.name.startswith(READING)


@pytest.mark.parametrize("method", methods(), ids=lambda method: method.name)
def test_method_names_its_permission(method: Method) -> None:
    assert PERMISSION.fullmatch(method.policy.permission)


@pytest.mark.parametrize("method", methods(), ids=lambda method: method.name)
def test_method_that_changes_something_is_audited_or_says_why_not(method: Method) -> None:
    if not changes(method) or method.name in NOT_AUDITED:
        return

    assert method.policy.audit


@pytest.mark.parametrize("method", methods(), ids=lambda method: method.name)
def test_method_that_only_reads_is_not_audited(method: Method) -> None:
    if changes(method):
        return

    assert not method.policy.audit
    assert not method.policy.idempotent


@pytest.mark.parametrize("method", methods(), ids=lambda method: method.name)
def test_repeatable_method_has_a_request_id(method: Method) -> None:
    assert method.policy.idempotent == ("request_id" in field_names(request_of(method)))


@pytest.mark.parametrize("method", methods(), ids=lambda method: method.name)
def test_cacheable_method_is_a_get(method: Method) -> None:
    if not method.policy.cacheable:
        return

    assert method.bindings
    assert {binding.verb for binding in method.bindings} == {"GET"}


def test_exceptions_are_needed() -> None:
    unaudited = {method.name for method in methods() if not method.policy.audit and changes(method)}

    assert set(NOT_AUDITED) == unaudited


def test_methods_without_token_have_another_proof() -> None:
    public = {method.name for method in methods() if method.policy.permission == "public"}

    assert public == set(PUBLIC)
