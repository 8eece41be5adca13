"""A Stripe account with meters, on a clock of the test's: counts, prices and invoices by itself.

What it does is written after Stripe's documentation of meters, metered prices and subscriptions;
every request has passed the schema before. It prices with whole minor units and fractions of its
own, and shares no code with the service.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from typing import Any

from services.kernel.clock import Clock
from services.kernel.ids import new_id
from tests.support.stripe.overlay import Answer, stripe_error
from tests.support.stripe.recording import Recorded

DRAFT_SECONDS = 3600
DAY_SECONDS = 86_400
AGE_SECONDS_MAX = 35 * DAY_SECONDS
AHEAD_SECONDS_MAX = 300


@dataclass
class MeterWorld:
    """One account. dropped: identifiers whose events are taken and never counted.

    refuses: identifiers that are not taken back.
    remembers: for how many seconds identifiers are known.
    """

    clock: Clock
    dropped: set[str] = field(default_factory=set)
    refuses: set[str] = field(default_factory=set)
    remembers: int = DAY_SECONDS
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    meter_events: list[dict[str, Any]] = field(default_factory=list)
    canceled: set[str] = field(default_factory=set)
    answers: dict[str, Answer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ids = itertools.count(1)
        self._account = new_id()  # ids there are unique over all accounts

    @property
    def now(self) -> int:
        """The account's time."""
        return int(self.clock.now().timestamp())

    async def answer(self, asked: Recorded, key: str) -> Answer:
        """Returns status and body; the same for the same key."""
        if key and key in self.answers:
            return self.answers[key]
        self.advance()
        handler = getattr(self, f"_{asked.operation_id}", None)
        if handler is None:
            return 404, stripe_error("invalid_request_error", f"no {asked.operation_id} here")
        found: Answer = handler(asked.parameters, asked.path.split("/"))
        if key and found[0] == 200:
            self.answers[key] = found
        return found

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Returns all objects of a kind, oldest first."""
        return [found for found in self.objects.values() if found["object"] == kind]

    def _new(self, prefix: str, kind: str, **values: Any) -> dict[str, Any]:
        found = {
            "id": f"{prefix}_{self._account}{next(self._ids)}",
            "object": kind,
            "created": self.now,
            "livemode": False,
            **values,
        }
        self.objects[found["id"]] = found
        return found

    def _list(self, parameters: dict[str, Any], found: list[dict[str, Any]]) -> Answer:
        newest_first = list(reversed(found))
        after = parameters.get("starting_after")
        ids = [each["id"] for each in newest_first]
        begin = ids.index(after) + 1 if after else 0
        end = begin + int(parameters.get("limit", "10"))
        body = {"object": "list", "data": newest_first[begin:end], "url": "/"}
        return 200, body | {"has_more": end < len(ids)}

    def _PostCustomers(self, sent: dict[str, Any], _: list[str]) -> Answer:  # noqa: N802 - the operation's name
        return 200, self._new("cus", "customer", metadata=sent.get("metadata", {}))

    def _GetCustomers(self, sent: dict[str, Any], _: list[str]) -> Answer:  # noqa: N802
        return self._list(sent, self.of("customer"))

    def _PostBillingMeters(self, sent: dict[str, Any], _: list[str]) -> Answer:  # noqa: N802
        if any(found["event_name"] == sent["event_name"] for found in self.of("billing.meter")):
            message = "There is already an active meter with that event_name"
            return 400, stripe_error("invalid_request_error", message)
        return 200, self._new("mtr", "billing.meter", status="active", **sent)

    def _GetBillingMeters(self, sent: dict[str, Any], _: list[str]) -> Answer:  # noqa: N802
        return self._list(sent, self.of("billing.meter"))

    def _PostPrices(self, sent: dict[str, Any], _: list[str]) -> Answer:  # noqa: N802
        key = sent["lookup_key"]
        if any(found["lookup_key"] == key for found in self.of("price")):
            return 400, stripe_error("invalid_request_error", "A price uses that lookup key")
        if sent["recurring"]["meter"] not in self.objects:
            return 400, stripe_error("invalid_request_error", "No such meter")
        return 200, self._new("price", "price", active=True, **sent)

    def _GetPrices(self, sent: dict[str, Any], _: list[str]) -> Answer:  # noqa: N802
        keys = sent["lookup_keys"]
        return self._list(sent, [p for p in self.of("price") if p["lookup_key"] in keys])

    def _PostSubscriptions(self, sent: dict[str, Any], _: list[str]) -> Answer:  # noqa: N802
        anchor = int(sent["billing_cycle_anchor"])
        if anchor <= self.now:
            return 400, stripe_error("invalid_request_error", "The anchor must be in the future")
        return 200, self._new(
            "sub",
            "subscription",
            status="active",
            customer=sent["customer"],
            currency=sent["currency"],
            metadata=sent["metadata"],
            prices=[item["price"] for item in sent["items"]],
            collection_method=sent["collection_method"],
            period=[self.now, anchor],
        )

    def _GetSubscriptions(self, sent: dict[str, Any], _: list[str]) -> Answer:  # noqa: N802
        mine = [s for s in self.of("subscription") if s["customer"] == sent["customer"]]
        return self._list(sent, mine)

    def _GetSubscriptionsSubscriptionExposedId(  # noqa: N802
        self, _: dict[str, Any], path: list[str]
    ) -> Answer:
        if path[3] in self.objects:
            return 200, self.objects[path[3]]
        message = f"No such subscription: '{path[3]}'"
        return 404, stripe_error("invalid_request_error", message, code="resource_missing")

    def _DeleteSubscriptionsSubscriptionExposedId(  # noqa: N802
        self, sent: dict[str, Any], path: list[str]
    ) -> Answer:
        found = self.objects[path[3]]
        if found["status"] == "canceled":
            message = f"No such subscription: '{path[3]}'"
            return 404, stripe_error("invalid_request_error", message, code="resource_missing")
        assert sent == {"invoice_now": "true", "prorate": "false"}
        self._invoice(found, found["period"][0], self.now)
        self._finalize(self.of("invoice")[-1])
        found["status"] = "canceled"
        return 200, found

    def _PostBillingMeterEvents(self, sent: dict[str, Any], _: list[str]) -> Answer:  # noqa: N802
        identifier, at = sent["identifier"], int(sent["timestamp"])
        for event in self.meter_events:
            if event["identifier"] == identifier and event["came"] > self.now - self.remembers:
                message = f"An event already exists with identifier {identifier}."
                return 400, stripe_error("invalid_request_error", message)
        if not self.now - AGE_SECONDS_MAX <= at <= self.now + AHEAD_SECONDS_MAX:
            return 400, stripe_error("invalid_request_error", "The timestamp is out of bounds")
        int(sent["payload"]["value"])
        self.meter_events.append({**sent, "timestamp": at, "came": self.now})
        body = {"object": "billing.meter_event", "created": self.now, "livemode": False}
        return 200, {**sent, **body, "timestamp": at}

    def _PostBillingMeterEventAdjustments(  # noqa: N802
        self, sent: dict[str, Any], _: list[str]
    ) -> Answer:
        identifier = sent["cancel"]["identifier"]
        known = [e for e in self.meter_events if e["identifier"] == identifier]
        if (
            not known
            or known[0]["came"] < self.now - DAY_SECONDS
            or identifier in self.canceled | self.refuses
        ):
            return 400, stripe_error("invalid_request_error", "The event cannot be canceled")
        self.canceled.add(identifier)
        body = {"object": "billing.meter_event_adjustment", "livemode": False}
        return 200, {**sent, **body, "status": "pending"}

    def _GetBillingMetersIdEventSummaries(  # noqa: N802
        self, sent: dict[str, Any], path: list[str]
    ) -> Answer:
        begin, end = int(sent["start_time"]), int(sent["end_time"])
        assert (begin % 60, end % 60) == (0, 0), "Stripe takes whole minutes"
        summary = {
            "id": f"mtrusg_{next(self._ids)}",
            "object": "billing.meter_event_summary",
            "aggregated_value": float(self.counted(path[4], sent["customer"], begin, end)),
            "start_time": begin,
            "end_time": end,
            "livemode": False,
            "meter": path[4],
        }
        return 200, {"object": "list", "data": [summary], "has_more": False, "url": "/"}

    def _GetInvoices(self, sent: dict[str, Any], _: list[str]) -> Answer:  # noqa: N802
        mine = [
            invoice
            for invoice in self.of("invoice")
            if sent.get("subscription")
            in (None, invoice["parent"]["subscription_details"]["subscription"])
        ]
        return self._list(sent, mine)

    def _GetInvoicesInvoice(self, _: dict[str, Any], path: list[str]) -> Answer:  # noqa: N802
        return 200, self.objects[path[3]]

    def _GetInvoicesInvoiceLines(self, sent: dict[str, Any], path: list[str]) -> Answer:  # noqa: N802
        return self._list(sent, self.objects[path[3]]["its_lines"])

    def counted(self, meter_id: str, customer: str, begin: int, end: int) -> int:
        """Returns what a meter counted of a customer in a time."""
        name = self.objects[meter_id]["event_name"]
        return sum(
            int(event["payload"]["value"])
            for event in self.meter_events
            if event["event_name"] == name
            and event["payload"]["stripe_customer_id"] == customer
            and begin <= event["timestamp"] < end
            and event["identifier"] not in self.canceled | self.dropped
        )

    def advance(self) -> None:
        """Begins and ends periods, and finalizes drafts after an hour."""
        for found in self.of("subscription"):
            begin, end = found["period"]
            while found["status"] == "active" and end <= self.now:
                self._invoice(found, begin, end)
                after = self.clock.now().fromtimestamp(end, self.clock.now().tzinfo)
                following = (after.replace(day=1) + timedelta(days=32)).replace(day=after.day)
                begin, end = end, int(following.timestamp())
                found["period"] = [begin, end]
        for invoice in self.of("invoice"):
            if invoice["status"] == "draft":
                self._fill(invoice)
                if self.now >= invoice["created"] + DRAFT_SECONDS:
                    self._finalize(invoice)

    def _invoice(self, subscription: dict[str, Any], begin: int, end: int) -> None:
        parent = {
            "type": "subscription_details",
            "subscription_details": {
                "subscription": subscription["id"],
                "metadata": subscription["metadata"],
            },
        }
        found = self._new(
            "in",
            "invoice",
            status="draft",
            customer=subscription["customer"],
            currency=subscription["currency"],
            parent=parent,
            number=None,
            metadata={},
            amount_paid=0,
            spans=[begin, end],
        )
        found["created"] = end
        self._fill(found)

    def _fill(self, invoice: dict[str, Any]) -> None:
        subscription = self.objects[invoice["parent"]["subscription_details"]["subscription"]]
        begin, end = invoice["spans"]
        invoice["its_lines"] = [
            {
                "id": f"il_{invoice['id']}_{price_id}_{number}",
                "object": "line_item",
                "amount": round_half_up(exact),
                "currency": invoice["currency"],
                "quantity": quantity,
                "period": {"start": begin, "end": end},
                "pricing": {"type": "price_details", "price_details": {"price": price_id}},
            }
            for price_id in subscription["prices"]
            for number, (quantity, exact) in enumerate(
                priced(
                    self.objects[price_id],
                    max(
                        0,
                        self.counted(
                            self.objects[price_id]["recurring"]["meter"],
                            *(invoice["customer"], begin, end),
                        ),
                    ),
                )
            )
        ]
        invoice["total"] = sum(line["amount"] for line in invoice["its_lines"])
        invoice["amount_remaining"] = invoice["total"]

    def _finalize(self, invoice: dict[str, Any]) -> None:
        self._fill(invoice)
        invoice |= {"status": "paid", "amount_paid": invoice["total"], "amount_remaining": 0}
        invoice["number"] = f"STRIPE-{invoice['id']}"


def priced(price: dict[str, Any], quantity: int) -> Iterator[tuple[int, Fraction]]:
    """Yields quantity and exact minor units of each line that a price makes."""
    if price["billing_scheme"] == "per_unit":
        packages = quantity
        if "transform_quantity" in price:
            packages = -(-quantity // int(price["transform_quantity"]["divide_by"]))
        yield quantity, packages * Fraction(price["unit_amount_decimal"])
        return
    below = 0
    for tier in price["tiers"]:
        up_to = quantity if tier["up_to"] == "inf" else min(quantity, int(tier["up_to"]))
        unit = Fraction(tier["unit_amount_decimal"])
        flat = Fraction(tier.get("flat_amount_decimal", "0"))
        if price["tiers_mode"] == "volume":
            if up_to == quantity:
                yield quantity, quantity * unit + flat
                return
            continue
        if up_to > below or (below == 0 and quantity == 0):
            yield up_to - below, (up_to - below) * unit + (flat if quantity else 0)
        if up_to == quantity:
            return
        below = up_to


def round_half_up(exact: Fraction) -> int:
    """Returns whole minor units."""
    return int(exact + Fraction(1, 2))
