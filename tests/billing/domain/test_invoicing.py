"""No cent is lost or made: sums, taxes, credit, permutations and full credits of invoices."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest

from services.billing.domain.currency import currency
from services.billing.domain.invoice import (
    AvailableCredit,
    Commitment,
    ComputedInvoice,
    ExactLine,
    InvoiceTerms,
    LineKind,
    Settlement,
)
from services.billing.domain.invoicing import invoice_of
from services.billing.domain.plan import Discount
from services.billing.domain.rounding import RoundingMode, allocate, round_once
from services.billing.domain.tax import AppliedTax
from tests.billing.domain.invoices import PERIOD, random_invoice

FULL = os.environ.get("FINOPS_FAULTS") == "full"
COUNT = 20_000 if FULL else 600
VAT = AppliedTax(tax_rate_id="vat", display_name="VAT 19 %", rate_ratio=Decimal("0.19"))
GROSS = replace(VAT, tax_rate_id="gross", inclusive=True)


def line(key: str, amount: str, **changed: object) -> ExactLine:
    made = ExactLine(
        key=key, kind=LineKind.FLAT, description=key, exact=Fraction(amount), period=PERIOD
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def invoice(*lines: ExactLine, **terms: object) -> ComputedInvoice:
    made = InvoiceTerms(currency_code="EUR")
    return invoice_of(lines, replace(made, **terms))  # type: ignore[arg-type]


def amounts(computed: ComputedInvoice) -> dict[str, tuple[Decimal, Decimal]]:
    return {each.line.key: (each.amount, each.tax_amount) for each in computed.lines}


def check(computed: ComputedInvoice, terms: InvoiceTerms) -> None:
    """Checks what holds for every invoice."""
    unit = currency(computed.currency_code)
    assert sum(each.amount for each in computed.lines) == computed.subtotal
    assert sum(each.tax_amount for each in computed.lines) == computed.tax_total
    assert sum(each.amount for each in computed.taxes) == computed.tax_total
    assert computed.subtotal + computed.tax_total == computed.total >= 0
    for each in (computed.total, *(one.amount for one in computed.lines)):
        unit.to_minor(each)
    for tax in computed.taxes:
        own = [one for one in computed.lines if one.tax_rate_id == tax.tax_rate_id]
        assert sum(one.amount for one in own) == tax.taxable
        assert sum(one.tax_amount for one in own) == tax.amount
        exact = Fraction(tax.taxable) * Fraction(tax.rate_ratio)
        # Once a group: at most half a unit, one where the tax was taken out of the prices.
        off = abs(Fraction(tax.amount) - exact) * 10**unit.exponent
        rate = next(one for one in terms.taxes.values() if one.tax_rate_id == tax.tax_rate_id)
        assert off <= (1 if rate.inclusive else Fraction(1, 2))
    for grant in terms.credits:
        assert 0 <= computed.credit_uses.get(grant.credit_grant_id, 0) <= grant.remaining
    used = sum(computed.credit_uses.values())
    assert computed.credit_total == computed.credit_made - used


def check_lines(computed: ComputedInvoice, terms: InvoiceTerms) -> None:
    """Checks that no line is a whole unit away from its exact amount."""
    unit = currency(computed.currency_code)
    inclusive = {tax.tax_rate_id for tax in terms.taxes.values() if tax.inclusive}
    for each in computed.lines:
        if each.tax_rate_id not in inclusive:
            off = abs(Fraction(each.amount) - each.line.exact) * 10**unit.exponent
            assert off < 1


def test_random_invoices_are_exact_whatever_the_order_of_their_lines() -> None:
    for seed in range(COUNT):
        made = random_invoice(seed)
        shuffled = random.Random(seed).sample(made.lines, len(made.lines))

        computed = invoice_of(made.lines, made.terms)
        again = invoice_of(shuffled, made.terms)

        check(computed, made.terms)
        check_lines(computed, made.terms)
        assert amounts(again) == amounts(computed), seed
        assert (again.total, again.credit_uses) == (computed.total, computed.credit_uses)


def test_crediting_every_line_gives_back_the_total() -> None:
    for seed in range(COUNT // 4):
        made = random_invoice(seed)
        computed = invoice_of(made.lines, made.terms)

        credited = [-(each.amount + each.tax_amount) for each in computed.lines]

        assert sum(credited) == -computed.total


def test_lines_add_up_where_each_rounded_alone_would_not() -> None:
    lines = [line(str(number), "0.333") for number in range(3)]

    computed = invoice(*lines)

    assert computed.total == Decimal("1.00")
    assert [each.amount for each in computed.lines] == [
        Decimal("0.34"),
        Decimal("0.33"),
        Decimal("0.33"),
    ]


@pytest.mark.parametrize(
    ("code", "expected"),
    [("JPY", "1235"), ("EUR", "1234.57"), ("KWD", "1234.568"), ("ISK", "1235")],
)
def test_a_currency_has_its_own_digits(code: str, expected: str) -> None:
    computed = invoice_of([line("a", "1234.5675")], InvoiceTerms(currency_code=code))

    assert computed.total == Decimal(expected)
    assert computed.total.as_tuple().exponent == -currency(code).exponent


@pytest.mark.parametrize(
    ("mode", "half", "three_halves"),
    [(RoundingMode.HALF_UP, 1, 2), (RoundingMode.HALF_EVEN, 0, 2)],
)
def test_a_half_goes_where_the_mode_says(mode: RoundingMode, half: int, three_halves: int) -> None:
    assert round_once(Fraction(1, 2), mode) == half
    assert round_once(Fraction(3, 2), mode) == three_halves
    assert round_once(-Fraction(1, 2), mode) == -half


def test_tax_is_taken_once_on_the_sum_of_its_lines() -> None:
    lines = [line(str(number), "0.03") for number in range(10)]

    computed = invoice(*lines, taxes={"": VAT})

    assert (computed.subtotal, computed.tax_total) == (Decimal("0.30"), Decimal("0.06"))
    assert sum(each.tax_amount for each in computed.lines) == Decimal("0.06")


def test_a_price_that_holds_its_tax_keeps_its_total() -> None:
    computed = invoice(line("a", "119"), line("b", "9.99"), taxes={"": GROSS})

    assert computed.total == Decimal("128.99")
    assert (computed.subtotal, computed.tax_total) == (Decimal("108.39"), Decimal("20.60"))


def test_each_tax_code_has_its_rate_and_others_the_standard_one() -> None:
    reduced = AppliedTax(tax_rate_id="low", display_name="VAT 7 %", rate_ratio=Decimal("0.07"))

    computed = invoice(
        line("a", "100"),
        line("b", "100", tax_code="books"),
        line("c", "100", tax_code="unknown"),
        line("d", "100", is_taxed=False),
        taxes={"": VAT, "books": reduced},
    )

    assert [(tax.tax_rate_id, tax.taxable, tax.amount) for tax in computed.taxes] == [
        ("low", Decimal(100), Decimal(7)),
        ("vat", Decimal(200), Decimal(38)),
    ]


def test_discounts_follow_one_another_and_take_only_from_their_charges() -> None:
    discounts: Sequence[Discount] = (
        Discount(source_id="d1", display_name="Half", ratio=Decimal("0.5")),
        Discount(
            source_id="d2", display_name="30", amount=Decimal(30), charge_ids=frozenset({"gpu"})
        ),
    )

    computed = invoice(line("a", "100"), line("b", "50", charge_id="gpu"), discounts=discounts)

    found = {each.line.key: each.amount for each in computed.lines}
    assert found["discount:d1::"] == Decimal(-75)
    assert found["discount:d2::"] == Decimal(-25), "no more than what is left of the charge"
    assert (computed.discount_total, computed.total) == (Decimal(-100), Decimal(50))


def test_a_commitment_is_trued_up_by_what_its_period_lacks_after_discounts() -> None:
    commitment = Commitment(minimum=Fraction(200), period=PERIOD, counted_before=Fraction("49.995"))
    half = Discount(source_id="d", display_name="Half", ratio=Decimal("0.5"))

    computed = invoice(line("a", "100"), commitment=commitment, discounts=[half])

    assert amounts(computed)["true_up"][0] == Decimal("100.01")
    assert invoice(line("a", "300"), commitment=commitment).total == Decimal(300)


def test_credit_pays_in_order_before_tax_and_never_more_than_its_charges() -> None:
    grants = (
        AvailableCredit(
            credit_grant_id="gpu",
            display_name="GPU",
            remaining=Decimal(500),
            charge_ids=frozenset({"gpu"}),
        ),
        AvailableCredit(credit_grant_id="any", display_name="Any", remaining=Decimal(20)),
    )

    computed = invoice(
        line("a", "100"), line("b", "40", charge_id="gpu"), credits=grants, taxes={"": VAT}
    )

    assert computed.credit_uses == {"gpu": Decimal(40), "any": Decimal(20)}
    assert (computed.subtotal, computed.total) == (Decimal(80), Decimal("95.20"))


def test_what_would_be_negative_becomes_credit_and_nothing_is_charged() -> None:
    computed = invoice(line("a", "30"), line("b", "-100"), taxes={"": VAT})

    assert computed.total == 0
    assert computed.tax_total == 0
    assert computed.credit_made == Decimal(70)


def test_excess_of_one_rate_pays_another_as_far_as_it_goes() -> None:
    low = AppliedTax(tax_rate_id="low", display_name="0 %", rate_ratio=Decimal(0))

    computed = invoice(
        line("a", "-10"), line("b", "11", tax_code="low"), taxes={"": VAT, "low": low}
    )

    assert computed.total == Decimal("0.00")
    assert computed.credit_made == Decimal("0.76")
    assert computed.tax_total == Decimal("-1.76")


def test_what_cannot_be_collected_is_carried_in_sight() -> None:
    step = invoice_of(
        [line("a", "5.124")], InvoiceTerms(currency_code="KWD", settlement=Settlement(step=10))
    )
    small = invoice(line("a", "0.49"), settlement=Settlement(minimum=50))
    enough = invoice(line("a", "0.50"), settlement=Settlement(minimum=50))

    assert (step.total, step.carried) == (Decimal("5.120"), Decimal("0.004"))
    assert amounts(step)["carry"][0] == Decimal("-0.004")
    assert (small.total, small.carried) == (Decimal("0.00"), Decimal("0.49"))
    assert (enough.total, enough.carried) == (Decimal("0.50"), Decimal("0.00"))


def test_an_empty_invoice_is_zero() -> None:
    computed = invoice()

    assert (computed.lines, computed.total) == ((), Decimal("0.00"))


def test_two_lines_may_not_have_one_key() -> None:
    with pytest.raises(ValueError, match="same key"):
        invoice(line("a", "1"), line("a", "1"))


def test_a_total_that_is_far_from_its_parts_is_still_handed_out_whole() -> None:
    assert allocate([Fraction(1), Fraction(1)], 7, ["a", "b"]) == [4, 3]
    assert allocate([], 0, []) == []
    with pytest.raises(ValueError, match="nobody"):
        allocate([], 1, [])


def test_a_fee_whose_ratio_is_taken_off_already_gives_only_fixed_amounts() -> None:
    fee = line("fee", "100", is_net=True)
    taken = line("taken", "-20", kind=LineKind.DISCOUNT, reduces="fee", is_discountable=False)
    half = Discount(source_id="half", display_name="Half", ratio=Decimal("0.5"))
    fixed = Discount(source_id="fixed", display_name="Fixed", amount=Decimal(500))
    commitment = Commitment(minimum=Fraction(85), period=PERIOD)

    ratio = invoice(fee, taken, discounts=[half], commitment=commitment)
    amount = invoice(fee, taken, discounts=[fixed])

    assert ratio.total == Decimal(85), "80 and what the commitment lacks"
    assert amount.total == Decimal(0)
