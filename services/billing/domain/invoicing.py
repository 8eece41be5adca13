"""Computes invoices: the one function behind previews and real invoices alike.

Sums are rounded once for each tax rate, and whole minor units go to the lines by largest
remainder; so lines always add up to the total, in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from services.billing.domain.currency import currency
from services.billing.domain.invoice import (
    UNTAXED,
    AvailableCredit,
    BilledLine,
    ComputedInvoice,
    ExactLine,
    InvoiceTerms,
    LineKind,
    TaxTotal,
)
from services.billing.domain.plan import Discount
from services.billing.domain.rounding import allocate, round_once
from services.billing.domain.tax import AppliedTax

_NOTHING = Fraction(0)


@dataclass(slots=True)
class _Group:
    """Lines of one tax rate. units: of each line, before tax, in whole minor units."""

    tax: AppliedTax | None
    lines: list[ExactLine] = field(default_factory=list)
    units: list[int] = field(default_factory=list)
    # Where prices hold the tax: what is in them, until credit changes the taxable sum.
    inclusive_tax: int | None = None

    @property
    def key(self) -> str:
        """The rate's id, "" without a tax."""
        return UNTAXED if self.tax is None else self.tax.tax_rate_id

    @property
    def ratio(self) -> Fraction:
        """The rate."""
        return _NOTHING if self.tax is None else Fraction(self.tax.rate_ratio)

    @property
    def net(self) -> int:
        """The taxable sum."""
        return sum(self.units)

    def add(self, line: ExactLine, units: int) -> None:
        """Adds a line of whole minor units, after which the tax is computed anew."""
        self.lines.append(line)
        self.units.append(units)
        self.inclusive_tax = None


class _Computation:
    """One invoice on its way from exact lines to whole minor units."""

    def __init__(self, lines: Sequence[ExactLine], terms: InvoiceTerms) -> None:
        self.terms = terms
        self.currency = currency(terms.currency_code)
        self.scale = 10**self.currency.exponent
        self.lines = list(lines)
        # What is left of each line after discounts and credit, in major units.
        self.left = {line.key: line.exact for line in self.lines}
        for line in self.lines:
            if line.reduces in self.left:
                self.left[line.reduces] += line.exact
                self.left[line.key] = _NOTHING
        self.groups: dict[str, _Group] = {}
        self.credit_uses: dict[str, int] = {}
        self.credit_made = 0
        self.carried = 0
        if len(self.left) != len(self.lines):
            raise ValueError("two lines of one invoice have the same key")

    def compute(self) -> ComputedInvoice:
        base = list(self.lines)
        discounts = [each for discount in self.terms.discounts for each in self._discount(discount)]
        true_up = self._true_up()
        for line in (*base, *discounts, *true_up):
            self._group(line).lines.append(line)
        for group in self.groups.values():
            self._round(group)
        for available in self.terms.credits:
            self._pay(available)
        if self.terms.moves_excess:
            self._credit_excess()
        self._settle()
        return self._result()

    def _group(self, line: ExactLine) -> _Group:
        tax = self.terms.tax_of(line)
        key = UNTAXED if tax is None else tax.tax_rate_id
        return self.groups.setdefault(key, _Group(tax))

    def _discount(self, discount: Discount) -> list[ExactLine]:
        """Takes a discount from the lines it applies to: one line for each tax rate of theirs."""
        taken_from = [
            line
            for line in self.lines
            if line.is_discountable
            and not (line.is_net and discount.ratio is not None)
            and self.left[line.key] > 0
            and discount.covers(line.charge_id, line.period.start if line.period else None)
        ]
        base = sum((self.left[line.key] for line in taken_from), _NOTHING)
        if not base:
            return []
        if discount.ratio is not None:
            share = Fraction(discount.ratio)
        else:
            share = min(Fraction(discount.amount or 0) / base, Fraction(1))
        by_code: dict[tuple[str, str], Fraction] = {}
        for line in taken_from:
            tax = self.terms.tax_of(line)
            code = (UNTAXED if tax is None else tax.tax_rate_id, line.tax_code)
            part = self.left[line.key] * share
            self.left[line.key] -= part
            by_code[code] = by_code.get(code, _NOTHING) + part
        return [
            ExactLine(
                key=f"discount:{discount.source_id}:{tax_rate_id}:{tax_code}",
                kind=LineKind.DISCOUNT,
                description=discount.display_name,
                exact=-part,
                tax_code=tax_code,
                is_discountable=False,
                is_taxed=bool(tax_rate_id),
            )
            for (tax_rate_id, tax_code), part in sorted(by_code.items())
            if part
        ]

    def _true_up(self) -> list[ExactLine]:
        commitment = self.terms.commitment
        if commitment is None:
            return []
        counted = commitment.counted_before + sum(
            (
                self.left[line.key]
                for line in self.lines
                if line.period is not None and line.period.start in commitment.period
            ),
            _NOTHING,
        )
        missing = commitment.minimum - counted
        if missing <= 0:
            return []
        line = ExactLine(
            key="true_up",
            kind=LineKind.TRUE_UP,
            description="Minimum commitment",
            exact=missing,
            period=commitment.period,
            is_discountable=False,
        )
        self.left[line.key] = missing
        self.lines.append(line)
        return [line]

    def _round(self, group: _Group) -> None:
        """Rounds the group's sum once and gives every line its whole minor units."""
        exacts = [line.exact * self.scale for line in group.lines]
        keys = [line.key for line in group.lines]
        gross = round_once(sum(exacts, _NOTHING), self.terms.rounding)
        units = allocate(exacts, gross, keys)
        if group.tax is not None and group.tax.inclusive:
            inside = 1 + group.ratio
            tax = round_once(gross * group.ratio / inside, self.terms.rounding)
            # One unit at a rate of 1 is half tax: it stays a price, so that no tax is on nothing.
            tax = 0 if tax == gross else tax
            units = allocate([each / inside for each in units], gross - tax, keys)
            group.inclusive_tax = tax
        group.units = units

    def _pay(self, available: AvailableCredit) -> None:
        """Uses credit on the groups in turn, each at most down to zero."""
        remaining = self.currency.to_minor(available.remaining)
        for key in sorted(self.groups):
            group = self.groups[key]
            paid_lines = [
                line
                for line in group.lines
                if self.left.get(line.key, _NOTHING) > 0
                and (not available.charge_ids or line.charge_id in available.charge_ids)
            ]
            exact = sum((self.left[line.key] for line in paid_lines), _NOTHING)
            most = group.net
            if available.charge_ids:
                most = min(most, exact * self.scale // 1)
            used = max(0, min(remaining, most))
            if not used:
                continue
            share = min(Fraction(used, self.scale) / exact, Fraction(1)) if exact else _NOTHING
            for line in paid_lines:
                self.left[line.key] -= self.left[line.key] * share
            line = self._credit_line(
                f"credit:{available.credit_grant_id}:{key}", available.display_name, -used
            )
            group.add(line, -used)
            remaining -= used
            grant_id = available.credit_grant_id
            self.credit_uses[grant_id] = self.credit_uses.get(grant_id, 0) + used

    def _credit_line(self, key: str, description: str, units: int) -> ExactLine:
        return ExactLine(
            key=key,
            kind=LineKind.CREDIT,
            description=description,
            exact=Fraction(units, self.scale),
            is_discountable=False,
        )

    def _tax(self, group: _Group, *, moved: int = 0) -> int:
        if group.inclusive_tax is not None and not moved:
            return group.inclusive_tax
        return round_once((group.net + moved) * group.ratio, self.terms.rounding)

    def _total(self) -> int:
        return sum(group.net + self._tax(group) for group in self.groups.values())

    def _credit_excess(self) -> None:
        """Moves the least to the account's credit that leaves a total of zero or more.

        It moves before tax, because credit pays before tax: the tax then comes off where the
        credit is used.
        """
        for group in sorted(self.groups.values(), key=lambda each: (each.net, each.key)):
            others = self._total() - group.net - self._tax(group)
            if others + group.net + self._tax(group) >= 0 or group.net >= 0:
                return
            low, high = 0, -group.net
            while low < high:
                middle = (low + high) // 2
                if others + group.net + middle + self._tax(group, moved=middle) >= 0:
                    high = middle
                else:
                    low = middle + 1
            line = self._credit_line(f"balance:{group.key}", "Moved to the credit balance", low)
            group.add(line, low)
            self.credit_made += low

    def _settle(self) -> None:
        """Carries to the next invoice what a provider cannot collect."""
        settlement = self.terms.settlement
        if settlement is None:
            return
        total = self._total()
        self.carried = total if total < settlement.minimum else total % settlement.step
        if self.carried:
            line = ExactLine(
                key="carry",
                kind=LineKind.CARRY_OVER,
                description="Carried to the next invoice",
                exact=Fraction(-self.carried, self.scale),
                is_discountable=False,
                is_taxed=False,
            )
            self.groups.setdefault(UNTAXED, _Group(None)).add(line, -self.carried)

    def _result(self) -> ComputedInvoice:
        amount = self.currency.to_amount
        billed: list[tuple[ExactLine, int, int, str]] = []
        taxes: list[TaxTotal] = []
        for group in self.groups.values():
            tax = self._tax(group)
            parts = [units * group.ratio for units in group.units]
            keys = [line.key for line in group.lines]
            shares = allocate(parts, tax, keys)
            billed += [
                (line, units, share, group.key)
                for line, units, share in zip(group.lines, group.units, shares, strict=True)
            ]
            if group.tax is not None:
                taxes.append(self._tax_total(group, group.tax, tax))
        order = {line.key: place for place, line in enumerate(self.lines)}
        billed.sort(key=lambda each: (order.get(each[0].key, len(order)), each[0].key))
        lines = tuple(
            BilledLine(
                line=line,
                position=position,
                amount=amount(units),
                tax_amount=amount(share),
                tax_rate_id=tax_rate_id,
            )
            for position, (line, units, share, tax_rate_id) in enumerate(billed, start=1)
        )
        subtotal = sum(units for _, units, _, _ in billed)
        tax_total = sum(share for _, _, share, _ in billed)
        return ComputedInvoice(
            currency_code=self.currency.code,
            lines=lines,
            taxes=tuple(sorted(taxes, key=lambda tax: tax.tax_rate_id)),
            subtotal=amount(subtotal),
            discount_total=amount(_sum_of(billed, LineKind.DISCOUNT)),
            credit_total=amount(_sum_of(billed, LineKind.CREDIT)),
            tax_total=amount(tax_total),
            total=amount(subtotal + tax_total),
            credit_uses={grant: amount(units) for grant, units in self.credit_uses.items()},
            credit_made=amount(self.credit_made),
            carried=amount(self.carried),
        )

    def _tax_total(self, group: _Group, tax: AppliedTax, units: int) -> TaxTotal:
        return TaxTotal(
            tax_rate_id=tax.tax_rate_id,
            display_name=tax.display_name,
            rate_ratio=tax.rate_ratio,
            taxable=self.currency.to_amount(group.net),
            amount=self.currency.to_amount(units),
            reverse_charge=tax.reverse_charge,
        )


def invoice_of(lines: Sequence[ExactLine], terms: InvoiceTerms) -> ComputedInvoice:
    """Computes an invoice from its exact lines, which have unique keys.

    Lines come out in the order they came in, then discounts, credit and carried amounts. The
    amounts do not depend on that order. O(n log n).
    """
    return _Computation(lines, terms).compute()


def _sum_of(billed: Sequence[tuple[ExactLine, int, int, str]], kind: LineKind) -> int:
    return sum(units for line, units, _, _ in billed if line.kind is kind)
