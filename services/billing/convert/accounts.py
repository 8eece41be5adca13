"""Billing accounts and automated billing between contract and domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from finops.billing.v1 import account_model_pb2 as models
from finops.billing.v1 import account_service_pb2 as messages
from finops.billing.v1 import billing_model_pb2, billing_service_pb2

from services.billing.convert.values import from_amount, from_instant, to_money
from services.billing.domain.account import (
    ATTEMPT_DAYS,
    GRACE_HOURS,
    TERMS_DAYS_SENT,
    AccountState,
    Address,
    AutomatedBilling,
    BillingAccount,
    CollectionMethod,
    Dunning,
    DunningEnd,
    Particulars,
    TaxId,
    TaxMode,
)
from services.billing.domain.rounding import RoundingMode
from services.billing.errors import InvalidAccount
from services.kernel.listing import ListRequest, page_request
from services.kernel.pagination import Page, PageRequest
from services.kernel.update_mask import fields_to_update

_SERVICE = "finops.billing.v1.AccountService"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # the service says when
_COLLECTION = (None, CollectionMethod.CHARGE_AUTOMATICALLY, CollectionMethod.SEND_INVOICE)
_ROUNDING = (None, RoundingMode.HALF_UP, RoundingMode.HALF_EVEN)
_TAX = (None, TaxMode.NONE, TaxMode.TABLE, TaxMode.STRIPE)
_DUNNING_ENDS = (None, DunningEnd.UNCOLLECTIBLE, DunningEnd.CANCEL, DunningEnd.KEEP)
_STATES = (None, AccountState.ACTIVE, AccountState.CLOSED)
_PARTICULARS = ("legal_name", "address", "tax_ids", "contact_emails", "bank_details")
_FIELDS = (
    "display_name",
    "department_id",
    "currency_code",
    "time_zone",
    "locale",
    "collection_method",
    "payment_terms_days",
    "rounding_mode",
    "tax_mode",
    "dunning",
    "credit_approval_limit",
    *_PARTICULARS,
)
_IGNORED = (
    "account_id",
    "tenant_id",
    "state",
    "credit_balance",
    "provider_customer_id",
    "etag",
    "create_time",
    "update_time",
)


def to_page(request: ListRequest, tenant_id: str, method: str) -> PageRequest:
    """Returns which page is asked. method: the RPC's own name."""
    return page_request(request, tenant_id=tenant_id, method=f"{_SERVICE}/{method}")


def to_account(message: models.BillingAccount, tenant_id: str, *, time_zone: str) -> BillingAccount:
    """Converts a new account, with its defaults filled in. Raises InvalidAccount."""
    return BillingAccount(
        tenant_id=tenant_id,
        account_id="",
        created_at=_EPOCH,
        updated_at=_EPOCH,
        particulars=_to_particulars(message),
        **_values(message, time_zone=time_zone),
    )


def to_account_change(
    request: messages.UpdateBillingAccountRequest,
) -> Callable[[BillingAccount], BillingAccount]:
    """Returns what the update makes of an account. Raises UnknownMaskPath."""
    message = request.account
    fields = fields_to_update(message, request.update_mask, updatable=_FIELDS, ignored=_IGNORED)

    def change(account: BillingAccount) -> BillingAccount:
        values = _values(message, time_zone=account.time_zone)
        changed = {name: value for name, value in values.items() if name in fields}
        given = _to_particulars(message)
        particulars = replace(
            account.particulars,
            **{name: getattr(given, name) for name in _PARTICULARS if name in fields},
        )
        return replace(account, **changed, particulars=particulars)

    return change


def _values(message: models.BillingAccount, *, time_zone: str) -> dict[str, Any]:
    collection = _COLLECTION[message.collection_method] or CollectionMethod.CHARGE_AUTOMATICALLY
    is_sent = collection is CollectionMethod.SEND_INVOICE
    limit = None
    if message.HasField("credit_approval_limit"):
        money = to_money(message.credit_approval_limit)
        if money.currency_code != message.currency_code:
            raise InvalidAccount(
                "credit_approval_limit: it is in the account's currency",
                field="credit_approval_limit",
            )
        limit = money.amount
    return {
        "display_name": message.display_name,
        "department_id": message.department_id,
        "currency_code": message.currency_code,
        "time_zone": message.time_zone or time_zone,
        "locale": message.locale or "en",
        "collection_method": collection,
        "payment_terms_days": message.payment_terms_days or (TERMS_DAYS_SENT if is_sent else 0),
        "rounding_mode": _ROUNDING[message.rounding_mode] or RoundingMode.HALF_UP,
        "tax_mode": _TAX[message.tax_mode] or TaxMode.TABLE,
        "dunning": Dunning(
            tuple(message.dunning.attempt_days) or ATTEMPT_DAYS,
            _DUNNING_ENDS[message.dunning.end_action] or DunningEnd.UNCOLLECTIBLE,
            message.dunning.grace_days,
        ),
        "credit_approval_limit": limit,
    }


def _to_particulars(message: models.BillingAccount) -> Particulars:
    address = message.address
    return Particulars(
        legal_name=message.legal_name,
        address=Address(**{name: getattr(address, name) for name in Address.__slots__})
        if message.HasField("address")
        else None,
        tax_ids=tuple(TaxId(tax_id.kind, tax_id.value) for tax_id in message.tax_ids),
        contact_emails=tuple(message.contact_emails),
        bank_details=message.bank_details,
    )


def from_account(account: BillingAccount) -> models.BillingAccount:
    """Converts a stored account."""
    known = account.particulars
    message = models.BillingAccount(
        account_id=account.account_id,
        tenant_id=account.tenant_id,
        display_name=account.display_name,
        department_id=account.department_id,
        legal_name=known.legal_name,
        tax_ids=[models.TaxId(kind=one.kind, value=one.value) for one in known.tax_ids],
        currency_code=account.currency_code,
        time_zone=account.time_zone,
        locale=account.locale,
        contact_emails=known.contact_emails,
        collection_method=_name(models.CollectionMethod, _COLLECTION, account.collection_method),
        payment_terms_days=account.payment_terms_days,
        rounding_mode=_name(models.RoundingMode, _ROUNDING, account.rounding_mode),
        tax_mode=_name(models.TaxMode, _TAX, account.tax_mode),
        dunning=models.DunningPolicy(
            attempt_days=account.dunning.attempt_days,
            end_action=_name(models.DunningEnd, _DUNNING_ENDS, account.dunning.end_action),
            grace_days=account.dunning.grace_days,
        ),
        bank_details=known.bank_details,
        state=_name(models.AccountState, _STATES, account.state),
        credit_balance=from_amount(account.currency_code, account.credit_balance),
        etag=str(account.revision),
        create_time=from_instant(account.created_at),
        update_time=from_instant(account.updated_at),
    )
    if account.credit_approval_limit is not None:
        limit = from_amount(account.currency_code, account.credit_approval_limit)
        message.credit_approval_limit.CopyFrom(limit)
    if known.address is not None:
        address = {name: getattr(known.address, name) for name in Address.__slots__}
        message.address.CopyFrom(models.Address(**address))
    return message


def _name(enum: Any, known: tuple[object, ...], value: object) -> Any:
    return enum.Name(known.index(value))


def from_accounts(page: Page[BillingAccount]) -> messages.ListBillingAccountsResponse:
    """Converts a page."""
    return messages.ListBillingAccountsResponse(
        accounts=map(from_account, page.items), next_page_token=page.next_page_token
    )


def to_automated(
    request: billing_service_pb2.ConfigureAutomatedBillingRequest,
) -> AutomatedBilling:
    """Converts what is set, with its defaults filled in; the account's id is as it was asked."""

    def chosen(name: str) -> bool:
        value: bool = getattr(request, name)
        return value if request.HasField(name) else True  # type: ignore[arg-type]

    return AutomatedBilling(
        account_id=request.account_id,
        enabled=request.enabled,
        billing_day=request.billing_day or 1,
        include_usage=chosen("include_usage"),
        auto_payment=chosen("auto_payment"),
        send_notifications=chosen("send_notifications"),
        grace_hours=request.grace_hours or GRACE_HOURS,
    )


def from_automated(
    automated: AutomatedBilling, next_at: datetime | None
) -> billing_model_pb2.AutomatedBilling:
    """Converts what is set, and when the next invoice is made."""
    return billing_model_pb2.AutomatedBilling(
        account_id=automated.account_id,
        enabled=automated.enabled,
        billing_day=automated.billing_day,
        include_usage=automated.include_usage,
        auto_payment=automated.auto_payment,
        send_notifications=automated.send_notifications,
        grace_hours=automated.grace_hours,
        next_billing_time=from_instant(next_at),
        update_time=from_instant(automated.updated_at),
        etag=str(automated.revision),
    )
