"""Books what a provider pays out for payments: its fees, and what its exchange rate cost."""

from __future__ import annotations

from collections.abc import Sequence

from services.billing.domain.currency import currency
from services.billing.domain.payment import Payment, Settlement
from services.billing.domain.provider import RemotePayment, RemoteSettlement
from services.billing.store import payments, settlements
from services.kernel.clock import Clock
from services.kernel.database import Database
from services.kernel.exchange import ExchangeRates, MissingRate
from services.kernel.money import EXACT, Money


class Settling:
    """Keeps payouts beside the invoices' ledger, which is in the customers' currencies."""

    def __init__(self, database: Database, rates: ExchangeRates, *, clock: Clock) -> None:
        """rates: what a payment is worth in the currency of payouts."""
        self._database = database
        self._rates = rates
        self._clock = clock

    async def record(
        self, tenant_id: str, ours: Sequence[Payment], theirs: Sequence[RemotePayment]
    ) -> None:
        """Books each payment that both sides know, once."""
        known = {payment.provider_payment_id: payment for payment in ours}
        async with self._database.transaction(tenant_id) as tx:
            for remote in theirs:
                payment = known.get(remote.provider_payment_id)
                if payment is None or remote.settlement is None:
                    continue
                found = self._settlement(payment, remote.settlement)
                is_new = await settlements.add(
                    tx, tenant_id, payment.payment_id, found, self._clock.now()
                )
                if is_new and remote.fee is not None:
                    await payments.set_fee(tx, tenant_id, payment.payment_id, remote.fee)

    def _settlement(self, payment: Payment, remote: RemoteSettlement) -> Settlement:
        gross = Money(remote.currency_code, remote.gross)
        return Settlement(
            provider_transaction_id=remote.provider_transaction_id,
            gross=gross,
            fee=Money(remote.currency_code, remote.fee),
            exchange_rate=remote.exchange_rate,
            exchange_difference=self._difference(payment, gross),
        )

    def _difference(self, payment: Payment, gross: Money) -> Money | None:
        code = gross.currency_code
        if code == payment.amount.currency_code:
            return None
        try:
            day = payment.value_at.date()
            rate = self._rates.rate(payment.amount.currency_code, code, day)
        except MissingRate:
            return None
        worth = rate.convert(payment.amount.amount)
        rounded = EXACT.quantize(worth, currency(code).to_amount(1))
        return Money(code, EXACT.subtract(gross.amount, rounded))
