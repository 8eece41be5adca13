"""Payments, payment methods and attempts between contract and domain."""

from __future__ import annotations

from datetime import datetime

from finops.billing.v1 import payment_model_pb2 as models
from finops.billing.v1 import payment_service_pb2 as messages
from finops.billing.v1 import subscription_messages_pb2 as method_messages

from services.billing.convert.values import (
    from_amount,
    from_instant,
    from_money,
    to_instant,
    to_money,
)
from services.billing.domain.payment import (
    Payment,
    PaymentAttempt,
    PaymentMethod,
    Settlement,
)
from services.billing.service.provider.methods import MethodSource
from services.billing.service.provider.payments import PaymentImport, Transfer
from services.billing.service.provider.port import PortalSession, Setup
from services.kernel.money import format_decimal
from services.kernel.pagination import Page


def to_source(request: method_messages.SetPaymentMethodRequest) -> MethodSource:
    """Converts where a method comes from."""
    is_transfer = request.WhichOneof("source") == "bank_transfer"
    return MethodSource(
        setup_id=request.setup_id,
        provider_payment_method_id=request.provider_payment_method_id,
        reference=request.bank_transfer.reference if is_transfer else None,
    )


def to_transfer(payment: models.Payment) -> Transfer:
    """Converts a payment that somebody records. Raises InvalidDecimal, InvalidCurrency."""
    has_time = payment.HasField("value_time")
    return Transfer(
        invoice_id=payment.invoice_id,
        amount=to_money(payment.amount),
        reference=payment.reference,
        value_at=to_instant(payment.value_time) if has_time else None,
    )


def from_method(method: PaymentMethod, now: datetime) -> models.PaymentMethod:
    """Converts a method. now: by which it expires."""
    return models.PaymentMethod(
        payment_method_id=method.payment_method_id,
        account_id=method.account_id,
        kind=models.PaymentMethodKind.Value(f"PAYMENT_METHOD_KIND_{method.kind.name}"),
        state=models.PaymentMethodState.Value(f"PAYMENT_METHOD_STATE_{method.state(now).name}"),
        brand=method.brand,
        last4=method.last4,
        expire_month=method.expire_month,
        expire_year=method.expire_year,
        is_default=method.is_default,
        provider_payment_method_id=method.provider_payment_method_id,
        create_time=from_instant(method.created_at),
    )


def from_methods(
    page: Page[PaymentMethod], now: datetime
) -> method_messages.ListPaymentMethodsResponse:
    """Converts a page."""
    return method_messages.ListPaymentMethodsResponse(
        payment_methods=[from_method(method, now) for method in page.items],
        next_page_token=page.next_page_token,
    )


def from_portal(session: PortalSession) -> method_messages.CreatePortalSessionResponse:
    """Converts a session."""
    return method_messages.CreatePortalSessionResponse(
        url=session.url, expire_time=from_instant(session.expires_at)
    )


def from_setup(setup: Setup, publishable_key: str) -> messages.CreatePaymentMethodSetupResponse:
    """Converts a setup, whose secret goes to the browser and nowhere else."""
    return messages.CreatePaymentMethodSetupResponse(
        setup_id=setup.setup_id,
        client_secret=setup.client_secret,
        publishable_key=publishable_key,
    )


def from_payment(payment: Payment) -> models.Payment:
    """Converts a payment."""
    code = payment.amount.currency_code
    return models.Payment(
        payment_id=payment.payment_id,
        account_id=payment.account_id,
        invoice_id=payment.invoice_id,
        kind=models.PaymentKind.Value(f"PAYMENT_KIND_{payment.kind.name}"),
        state=models.PaymentState.Value(f"PAYMENT_STATE_{payment.state.name}"),
        amount=from_money(payment.amount),
        reference=payment.reference,
        value_time=from_instant(payment.value_at),
        refunded=from_amount(code, payment.refunded),
        fee=None if payment.fee is None else from_amount(code, payment.fee),
        payment_method_id=payment.payment_method_id,
        provider_payment_id=payment.provider_payment_id,
        credit_note_id=payment.credit_note_id,
        create_time=from_instant(payment.created_at),
        settlement=None if payment.settlement is None else _from_settlement(payment.settlement),
    )


def _from_settlement(found: Settlement) -> models.PaymentSettlement:
    difference, rate = found.exchange_difference, found.exchange_rate
    return models.PaymentSettlement(
        gross=from_money(found.gross),
        fee=from_money(found.fee),
        net=from_money(found.net),
        exchange_rate="" if rate is None else format_decimal(rate),
        exchange_difference=None if difference is None else from_money(difference),
        provider_transaction_id=found.provider_transaction_id,
    )


def from_payments(page: Page[Payment]) -> messages.ListPaymentsResponse:
    """Converts a page."""
    return messages.ListPaymentsResponse(
        payments=[from_payment(payment) for payment in page.items],
        next_page_token=page.next_page_token,
    )


def from_import(result: PaymentImport) -> models.PaymentImport:
    """Converts what a statement gave."""
    return models.PaymentImport(
        row_count=result.row_count,
        matched_count=len(result.payment_ids),
        duplicate_count=result.duplicate_count,
        problems=[
            models.PaymentImportProblem(
                row_number=each.row_number, reference=each.reference, reason=each.reason
            )
            for each in result.problems
        ],
        payment_ids=result.payment_ids,
    )


def from_attempt(attempt: PaymentAttempt) -> models.PaymentAttempt:
    """Converts an attempt."""
    return models.PaymentAttempt(
        attempt_id=attempt.attempt_id,
        invoice_id=attempt.invoice_id,
        attempt_number=attempt.attempt_number,
        state=models.PaymentAttemptState.Value(f"PAYMENT_ATTEMPT_STATE_{attempt.state.name}"),
        amount=from_money(attempt.amount),
        payment_method_id=attempt.payment_method_id,
        decline_code=attempt.decline_code,
        retryable=attempt.retryable,
        attempt_time=from_instant(attempt.attempted_at),
        next_attempt_time=from_instant(attempt.next_attempt_at),
    )


def from_attempts(page: Page[PaymentAttempt]) -> messages.ListPaymentAttemptsResponse:
    """Converts a page."""
    return messages.ListPaymentAttemptsResponse(
        attempts=map(from_attempt, page.items), next_page_token=page.next_page_token
    )
