"""What the billing service refuses, each with its reason."""

from __future__ import annotations

from services.kernel.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)


class UnknownCurrency(InvalidArgument):
    """Invoices are made in currencies of ISO 4217 that have minor units, such as EUR."""

    reason = "UNKNOWN_CURRENCY"


class InvalidPlan(InvalidArgument):
    """A plan has unique charges, rising tiers, and amounts of zero or more."""

    reason = "INVALID_PLAN"


class PlanCurrencyMissing(FailedPrecondition):
    """The plan has no prices in this currency; add them, or subscribe in one that it has."""

    reason = "PLAN_CURRENCY_MISSING"


class ExchangeRateMissing(FailedPrecondition):
    """No exchange rate is known for this usage; load one, then compute the invoice again."""

    reason = "EXCHANGE_RATE_MISSING"


class InvalidTaxRate(InvalidArgument):
    """A tax rate is 0 to 1, and ends after it begins."""

    reason = "INVALID_TAX_RATE"


class InvoiceStateForbids(FailedPrecondition):
    """The invoice's state does not allow this; read the invoice to see where it is."""

    reason = "INVOICE_STATE_FORBIDS"


class InvoiceNotFound(NotFound):
    """No invoice with this id exists for the tenant."""

    reason = "INVOICE_NOT_FOUND"


class InvoiceLineNotFound(NotFound):
    """The invoice has no line with this id."""

    reason = "INVOICE_LINE_NOT_FOUND"


class NothingToInvoice(FailedPrecondition):
    """The account has no subscription in that period; name another month or subscribe first."""

    reason = "NOTHING_TO_INVOICE"


class PeriodNotOver(FailedPrecondition):
    """The period has not ended; preview it, or invoice it after its end."""

    reason = "PERIOD_NOT_OVER"


class PeriodNotWhole(InvalidArgument):
    """An invoice is of a whole period of the subscription; give the month or that period."""

    reason = "PERIOD_NOT_WHOLE"


class CreditNoteNotFound(NotFound):
    """No credit note with this id exists for the tenant."""

    reason = "CREDIT_NOTE_NOT_FOUND"


class CreditExceedsInvoice(FailedPrecondition):
    """More would be credited than is left of the invoice; credit at most what is creditable."""

    reason = "CREDIT_EXCEEDS_INVOICE"


class CreditNoteStateForbids(FailedPrecondition):
    """The credit note's state does not allow this; read it to see where it is."""

    reason = "CREDIT_NOTE_STATE_FORBIDS"


class SelfApproval(FailedPrecondition):
    """Whoever wrote a credit note cannot approve it; ask another person."""

    reason = "SELF_APPROVAL"


class SettlementForbidden(FailedPrecondition):
    """What is paid is refunded or put to the balance; what is unpaid reduces the amount due."""

    reason = "SETTLEMENT_FORBIDDEN"


class BillingRunNotFound(NotFound):
    """No billing run with this id exists."""

    reason = "BILLING_RUN_NOT_FOUND"


class BillingRunStateForbids(FailedPrecondition):
    """The billing run's state does not allow this; read it to see where it is."""

    reason = "BILLING_RUN_STATE_FORBIDS"


class InvalidAccount(InvalidArgument):
    """A billing account has a name, a currency, and dunning days that rise."""

    reason = "INVALID_ACCOUNT"


class InvalidCreditGrant(InvalidArgument):
    """Credit is whole minor units of its currency, and lapses after it begins."""

    reason = "INVALID_CREDIT_GRANT"


class InvalidCoupon(InvalidArgument):
    """A coupon takes off either a ratio or an amount."""

    reason = "INVALID_COUPON"


class SubscriptionStateForbids(FailedPrecondition):
    """The subscription is in a state from which this does not follow."""

    reason = "SUBSCRIPTION_STATE_FORBIDS"


class AccountNotFound(NotFound):
    """No such billing account exists; create one, or name it by account_id."""

    reason = "ACCOUNT_NOT_FOUND"


class AccountExists(AlreadyExists):
    """The tenant, or the department, has a billing account already; change it instead."""

    reason = "ACCOUNT_EXISTS"


class AccountInUse(FailedPrecondition):
    """The account still runs a subscription or owes something; end and settle that first."""

    reason = "ACCOUNT_IN_USE"


class ResourceChanged(Aborted):
    """It was changed after it was read; read it again and repeat the change."""

    reason = "BILLING_RESOURCE_CHANGED"


class PlanNotFound(NotFound):
    """No such pricing plan exists, or it is not sold to this tenant."""

    reason = "PLAN_NOT_FOUND"


class PlanExists(AlreadyExists):
    """A pricing plan with this id exists already; update it, which adds a version."""

    reason = "PLAN_EXISTS"


class PlanNotOnSale(FailedPrecondition):
    """The plan is not on sale, or only an admin may subscribe to it."""

    reason = "PLAN_NOT_ON_SALE"


class CouponNotFound(NotFound):
    """No coupon with this id or code exists."""

    reason = "COUPON_NOT_FOUND"


class CouponExists(AlreadyExists):
    """A coupon with this code exists already; take another code."""

    reason = "COUPON_EXISTS"


class CouponNotRedeemable(FailedPrecondition):
    """The coupon has ended, is used up, or is not for this plan, currency or subscription."""

    reason = "COUPON_NOT_REDEEMABLE"


class TaxRateNotFound(NotFound):
    """No row of the tax table has this id."""

    reason = "TAX_RATE_NOT_FOUND"


class TaxRateOverlap(FailedPrecondition):
    """Another row holds for the same place and code then; end it first or change the dates."""

    reason = "TAX_RATE_OVERLAP"


class CreditGrantNotFound(NotFound):
    """No credit grant with this id exists for the tenant."""

    reason = "CREDIT_GRANT_NOT_FOUND"


class CreditGrantEnded(FailedPrecondition):
    """The credit grant is used up, lapsed or void; there is nothing left to end."""

    reason = "CREDIT_GRANT_ENDED"


class SubscriptionNotFound(NotFound):
    """No such subscription exists, or the account has none that runs."""

    reason = "SUBSCRIPTION_NOT_FOUND"


class SubscriptionExists(AlreadyExists):
    """The account has a running subscription already; change or cancel it instead."""

    reason = "SUBSCRIPTION_EXISTS"


class IntervalWaits(FailedPrecondition):
    """A plan of another interval begins with the next period; use NEXT_PERIOD."""

    reason = "INTERVAL_WAITS"


class PreviewOutdated(FailedPrecondition):
    """The preview is unknown, has lapsed or shows other amounts; make a new one."""

    reason = "PREVIEW_OUTDATED"


class InvalidInstant(InvalidArgument):
    """The instant lies outside of where this can happen."""

    reason = "INVALID_BILLING_INSTANT"


class NoRecipient(FailedPrecondition):
    """The account has no contacts; give addresses, or add contact_emails to the account."""

    reason = "NO_RECIPIENT"


class WebhookEndpointNotFound(NotFound):
    """There is no such webhook endpoint, or it has no signing secret; set one first."""

    reason = "WEBHOOK_ENDPOINT_NOT_FOUND"


class WebhookSignatureInvalid(InvalidArgument):
    """The webhook is not signed by the endpoint's secret, or too long ago; nothing was stored."""

    reason = "WEBHOOK_SIGNATURE_INVALID"


class WebhookModeMismatch(InvalidArgument):
    """The webhook is of the other mode, test or live, than the endpoint's settings."""

    reason = "WEBHOOK_MODE_MISMATCH"


class WebhookTooLarge(InvalidArgument):
    """A webhook's body has at most 1 MiB."""

    reason = "WEBHOOK_TOO_LARGE"


class WebhookEventNotFound(NotFound):
    """There is no such event in the inbox."""

    reason = "WEBHOOK_EVENT_NOT_FOUND"


class ProviderSettingsInvalid(InvalidArgument):
    """The provider's settings contradict each other."""

    reason = "PROVIDER_SETTINGS_INVALID"


class ProviderRefused(FailedPrecondition):
    """The payment provider does not do this; its answer says why."""

    reason = "PROVIDER_REFUSED"


class ProviderUnavailable(Unavailable):
    """The payment provider does not answer at the moment; try again in a minute."""

    reason = "PROVIDER_UNAVAILABLE"


class PaymentMethodNotFound(NotFound):
    """There is no such payment method in this account."""

    reason = "PAYMENT_METHOD_NOT_FOUND"


class PaymentNotFound(NotFound):
    """There is no such payment."""

    reason = "PAYMENT_NOT_FOUND"


class PaymentReferenceReused(AlreadyExists):
    """Another payment was recorded under this reference; use the bank's own for each transfer."""

    reason = "PAYMENT_REFERENCE_REUSED"


class PaymentExceedsInvoice(FailedPrecondition):
    """The payment is more than the invoice still asks for."""

    reason = "PAYMENT_EXCEEDS_INVOICE"


class RefundExceedsPayment(FailedPrecondition):
    """The refund is more than what is left of the payment or of its credit note."""

    reason = "REFUND_EXCEEDS_PAYMENT"


class ReconciliationNotFound(NotFound):
    """There is no such reconciliation."""

    reason = "RECONCILIATION_NOT_FOUND"


class ReconciliationDiffNotFound(NotFound):
    """There is no such difference."""

    reason = "RECONCILIATION_DIFF_NOT_FOUND"


class ReconciliationDiffClosed(FailedPrecondition):
    """The difference is closed already."""

    reason = "RECONCILIATION_DIFF_CLOSED"


class InvalidStatement(InvalidArgument):
    """The file is no bank statement that can be read; send CSV or camt.053."""

    reason = "INVALID_STATEMENT"


class UsageStillArriving(Aborted):
    """Usage of these hours came in while it was compared; compare it again later."""

    reason = "USAGE_STILL_ARRIVING"


class ChargeUnderWay(Aborted):
    """A charge of the invoice is under way; repeat this once it has ended, in some seconds."""

    reason = "CHARGE_UNDER_WAY"


class PaymentDeclined(FailedPrecondition):
    """The bank refused the charge; pay by another method, or confirm where it asks for that."""

    reason = "PAYMENT_DECLINED"
