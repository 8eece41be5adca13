"""What the peer lacks of Stripe's behaviour, kept beside it.

It drops metadata of new invoices and of lines, knows no tax amounts of a line, no own numbers, no
payments of an invoice, no portal, no meters, mixes currencies, and charges what was credited.
Whatever it does not take is in
one of the tables below; anything else is forwarded and refused by it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.stripe.recording import Recorded

Forward = Callable[..., Awaitable[tuple[int, Any]]]
Answer = tuple[int, Any]

# Parameters that are checked against the schema and then kept back from the peer.
STRIPPED = {
    "PostInvoices": ("number", "metadata"),
    "PostInvoicesInvoicePay": ("payment_method", "off_session"),
}
MINIMA = {"usd": 50, "eur": 50, "jpy": 50, "chf": 50, "gbp": 30}
THREE_DECIMALS = ("bhd", "jod", "kwd", "omr", "tnd")
PAGE = 100


def stripe_error(kind: str, message: str, *, code: str | None = None) -> dict[str, Any]:
    """Returns an error's body."""
    error = {"type": kind, "message": message}
    if code is not None:
        error["code"] = code
    return {"error": error}


class PeerOverlay:
    """Answers what the peer cannot, and completes what it answers."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._kept: dict[str, dict[str, Any]] = {}  # what an object has beyond the peer's answer
        self._line_taxes: dict[str, int] = {}  # of all lines of an invoice, by its id
        self._disputes: dict[str, str] = {}  # status, by charge
        self._paying = asyncio.Lock()  # a charge is told from others by when it was made
        self._tax_of: dict[str, list[str]] = {}  # lines of the peer that are tax, by invoice
        self._currency: dict[str, str] = {}
        self.payments: list[dict[str, Any]] = []
        # What each new customer pays with, as a payer would have said on Stripe's page.
        self.card: dict[str, str] | None = None
        self._ids = itertools.count(1)
        # Whether charges are debits, which end later, and those that have not: intents by invoice.
        self.takes_days = False
        self._debits: dict[str, dict[str, Any]] = {}

    async def answer(self, asked: Recorded, key: str) -> Answer:
        """Returns status and body."""
        special: dict[str, Callable[[Recorded, str], Awaitable[Answer]]] = {
            "PostCustomers": self._create_customer,
            "PostInvoices": self._create_invoice,
            "PostInvoicesInvoiceAddLines": self._add_lines,
            "GetInvoicesInvoiceLines": self._lines,
            "PostInvoicesInvoicePay": self._pay,
            "GetInvoicePayments": self._list_payments,
            "PostBillingPortalSessions": self._portal,
            "GetPaymentIntentsIntent": self._intent,
            "GetChargesChargeDispute": self._dispute,
        }
        handler = special.get(asked.operation_id, self._plain)
        return await handler(asked, key)

    async def _plain(self, asked: Recorded, key: str) -> Answer:
        status, body = await self._forward(asked.method, asked.path, asked.parameters, key)
        return status, self._completed(body)

    async def _create_customer(self, asked: Recorded, key: str) -> Answer:
        status, body = await self._plain(asked, key)
        if status == 200 and self.card is not None and body["id"] not in self._currency:
            await self.give_card(body["id"], self.card)
        return status, body

    async def give_card(self, customer: str, card: dict[str, str]) -> str:
        """Gives a customer a card as its default, and returns the payment method's id."""
        parameters = {"type": "card", "card": card}
        _, method = await self._forward("POST", "/v1/payment_methods", parameters)
        method_id = str(method["id"])
        path = f"/v1/payment_methods/{method_id}/attach"
        await self._forward("POST", path, {"customer": customer})
        default = {"invoice_settings": {"default_payment_method": method_id}}
        await self._forward("POST", f"/v1/customers/{customer}", default)
        return method_id

    async def _create_invoice(self, asked: Recorded, key: str) -> Answer:
        parameters = dict(asked.parameters)
        customer, currency = parameters["customer"], parameters.get("currency", "usd")
        if self._currency.setdefault(customer, currency) != currency:
            return 400, stripe_error(
                "invalid_request_error", "You cannot combine currencies on a single customer."
            )
        kept = {
            name: parameters.pop(name) for name in STRIPPED["PostInvoices"] if name in parameters
        }
        status, body = await self._forward("POST", asked.path, parameters, key)
        if status == 200:
            self._kept.setdefault(body["id"], kept)
        return status, self._completed(body)

    async def _add_lines(self, asked: Recorded, key: str) -> Answer:
        invoice_id = asked.path.split("/")[3]
        lines = asked.parameters["lines"]
        sent: list[dict[str, Any]] = []
        for line in lines:
            sent.append({n: v for n, v in line.items() if n not in ("metadata", "tax_amounts")})
            tax = _tax(line)
            if tax:
                sent.append({"amount": str(tax), "description": "tax"})
        known = {found["id"] for found in await self._all_lines(invoice_id)}
        status, body = await self._forward("POST", asked.path, {"lines": sent}, key)
        if status != 200:
            return status, body
        # The peer lists the newest first.
        added = [f for f in reversed(await self._all_lines(invoice_id)) if f["id"] not in known]
        taxes = self._tax_of.setdefault(invoice_id, [])
        waiting = iter(added)
        for line in lines if added else ():
            kept: dict[str, Any] = {"metadata": line.get("metadata", {})}
            found = next(waiting)
            if _tax(line):
                taxes.append(next(waiting)["id"])
                kept["taxes"] = [{"amount": _tax(line), "tax_behavior": "exclusive"}]
            self._kept[found["id"]] = kept
            self._line_taxes[invoice_id] = self._line_taxes.get(invoice_id, 0) + _tax(line)
        return 200, self._completed(body)

    async def _lines(self, asked: Recorded, _: str) -> Answer:
        invoice_id = asked.path.split("/")[3]
        hidden = set(self._tax_of.get(invoice_id, ()))
        lines = [line for line in await self._all_lines(invoice_id) if line["id"] not in hidden]
        after = asked.parameters.get("starting_after")
        ids = [line["id"] for line in lines]
        begin = ids.index(after) + 1 if after else 0
        end = begin + int(asked.parameters.get("limit", "10"))
        return 200, _page(asked.path, self._completed(lines[begin:end]), has_more=end < len(lines))

    async def _all_lines(self, invoice_id: str) -> list[dict[str, Any]]:
        return await self._all(f"/v1/invoices/{invoice_id}/lines")

    async def _pay(self, asked: Recorded, key: str) -> Answer:
        invoice_id = asked.path.split("/")[3]
        status, invoice = await self._forward("GET", f"/v1/invoices/{invoice_id}", {})
        if status != 200:
            return status, invoice
        currency, due = invoice["currency"], invoice["amount_remaining"]
        parameters = dict(asked.parameters)
        method, _ = (parameters.pop(name, None) for name in STRIPPED["PostInvoicesInvoicePay"])
        if self.takes_days:
            return 200, self._completed(self._debited(invoice))
        if parameters.get("paid_out_of_band") != "true":
            if 0 < due < MINIMA.get(currency, 0) or (currency in THREE_DECIMALS and due % 10):
                return 400, stripe_error(
                    "invalid_request_error", "Amount is not possible", code="amount_too_small"
                )
            if method is not None:
                changed = {"invoice_settings": {"default_payment_method": method}}
                await self._forward("POST", f"/v1/customers/{invoice['customer']}", changed)
        async with self._paying:
            before = {known["id"] for known in await self._charges(invoice["customer"])}
            status, body = await self._forward("POST", asked.path, parameters, key)
            for charge in await self._charges(invoice["customer"]):
                if charge["id"] not in before and charge["paid"]:
                    self._lower(invoice_id, charge, due)
                    self.payments.append(self._payment(invoice_id, charge))
        return status, self._completed(body)

    def _lower(self, invoice_id: str, charge: dict[str, Any], due: int) -> None:
        """Makes a charge what credit notes had left: the peer takes the whole amount."""
        if charge["amount"] > due:
            charge["amount"] = due
            self._kept[charge["id"]] = {"amount": due, "amount_captured": due}
            self._kept.setdefault(invoice_id, {})["amount_paid"] = due

    async def _charges(self, customer: str) -> list[dict[str, Any]]:
        parameters = {"customer": customer, "limit": str(PAGE)}
        _, body = await self._forward("GET", "/v1/charges", parameters)
        charges: list[dict[str, Any]] = body["data"]
        return charges

    async def all_charges(self) -> list[dict[str, Any]]:
        """Returns every charge that took money: the judge of every fault test."""
        charges = self._completed(await self._all("/v1/charges"))
        return [charge for charge in charges if charge["paid"]]

    async def all_invoices(self) -> list[dict[str, Any]]:
        """Returns every invoice there is."""
        return await self._all("/v1/invoices")

    async def all_events(self) -> list[dict[str, Any]]:
        """Returns every event there was, newest first."""
        return await self._all("/v1/events")

    async def _all(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            parameters = {"limit": str(PAGE)}
            if found:
                parameters["starting_after"] = found[-1]["id"]
            _, body = await self._forward("GET", path, parameters)
            found += body["data"]
            if not body["has_more"]:
                return found

    def _payment(self, invoice_id: str, charge: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"inpay_{next(self._ids)}",
            "object": "invoice_payment",
            "invoice": invoice_id,
            "amount_paid": charge["amount"],
            "amount_requested": charge["amount"],
            "currency": charge["currency"],
            "created": charge["created"],
            "is_default": True,
            "livemode": False,
            "status": "paid",
            "payment": {"type": "charge", "charge": charge["id"]},
        }

    async def _list_payments(self, asked: Recorded, _: str) -> Answer:
        invoice_id = asked.parameters.get("invoice")
        found = [p for p in self.payments if invoice_id in (None, p["invoice"])]
        if invoice_id in self._debits and asked.parameters.get("status") != "paid":
            intent = {"type": "payment_intent", "payment_intent": self._debits[invoice_id]["id"]}
            found = [{"invoice": invoice_id, "status": "open", "payment": intent}, *found]
        return 200, _page(asked.path, found, has_more=False)

    def _debited(self, invoice: dict[str, Any]) -> dict[str, Any]:
        known = self._debits.get(invoice["id"], {})
        assert known.get("status") != "processing", "a debit under way is charged again"
        self._debits[invoice["id"]] = {
            "id": f"pi_{next(self._ids)}",
            "object": "payment_intent",
            "status": "processing",
        }
        return invoice

    async def end_debit(self, invoice_id: str, decline_code: str = "") -> None:
        """Lets the bank pay what it works on, or refuse it with a code."""
        if decline_code:
            error = {"code": "payment_method_provider_decline", "decline_code": decline_code}
            self._debits[invoice_id] |= {
                "status": "requires_payment_method",
                "last_payment_error": error,
            }
            return
        self.takes_days = False
        del self._debits[invoice_id]
        path = f"/v1/invoices/{invoice_id}/pay"
        asked = Recorded("PostInvoicesInvoicePay", "POST", path, {}, "", "")
        status, _ = await self._pay(asked, "")
        assert status == 200

    async def _intent(self, asked: Recorded, key: str) -> Answer:
        for intent in self._debits.values():
            if asked.path.endswith(intent["id"]):
                return 200, intent
        return await self._plain(asked, key)

    def dispute(self, charge_id: str, status: str) -> dict[str, Any]:
        """Lets the payer dispute a charge, and returns the event that tells of it.

        The peer's own disputes begin only with charges that no invoice asked for.
        """
        self._kept.setdefault(charge_id, {}).update(disputed=True)
        self._disputes[charge_id] = status
        found = {"id": f"du_{charge_id}", "object": "dispute", "charge": charge_id}
        is_closed = status in ("won", "lost")
        return {
            "id": f"evt_{next(self._ids)}",
            "object": "event",
            "type": f"charge.dispute.{'closed' if is_closed else 'created'}",
            "created": int(time.time()),
            "livemode": False,
            "data": {"object": found | {"status": status}},
        }

    async def _dispute(self, asked: Recorded, _: str) -> Answer:
        charge_id = asked.path.split("/")[3]
        status = self._disputes[charge_id]
        return 200, {"id": f"du_{charge_id}", "object": "dispute", "status": status}

    async def _portal(self, asked: Recorded, _: str) -> Answer:
        number = next(self._ids)
        return 200, {
            "id": f"bps_{number}",
            "object": "billing_portal.session",
            "created": int(time.time()),
            "customer": asked.parameters["customer"],
            "livemode": False,
            "return_url": asked.parameters.get("return_url"),
            "url": f"http://127.0.0.1/portal/{number}",
        }

    def _completed(self, value: Any) -> Any:
        """Adds what was kept back to an answer, at any depth."""
        if isinstance(value, list):
            return [self._completed(inner) for inner in value]
        if not isinstance(value, dict):
            return value
        found = {name: self._completed(inner) for name, inner in value.items()}
        kept = self._kept.get(str(found.get("id")), {})
        for name, inner in kept.items():
            if name == "metadata":
                found["metadata"] = {**inner, **(found.get("metadata") or {})}
            elif name != "number" or found.get("status") != "draft":
                found[name] = inner
        if found.get("object") == "invoice" and "total" in found:
            self._split_tax(found)
        return found

    def _split_tax(self, invoice: dict[str, Any]) -> None:
        taxes = self._line_taxes.get(invoice["id"], 0)
        invoice["total_taxes"] = [{"amount": taxes}] if taxes else []
        invoice["total_excluding_tax"] = invoice["total"] - taxes
        invoice["subtotal"] = invoice["total"] - taxes


def _tax(line: dict[str, Any]) -> int:
    return sum(int(found["amount"]) for found in line.get("tax_amounts", ()))


def _page(path: str, found: list[Any], *, has_more: bool) -> dict[str, Any]:
    return {"object": "list", "data": found, "has_more": has_more, "url": path}
