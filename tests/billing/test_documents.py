"""Invoices as files: whole, deterministic, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from services.billing.domain.account import Address, BillingAccount, Particulars, TaxId
from services.billing.domain.invoice_record import (
    ExchangeRate,
    Invoice,
    InvoiceLine,
    InvoiceTax,
)
from services.billing.domain.invoice_state import InvoiceKind, InvoiceState
from services.billing.domain.metering import Dimension, Metered
from services.billing.service.documents import CSV_COLUMNS, _csv_row
from services.billing.service.typesetting import InvoiceDocument, markup_of, typeset
from services.kernel.period import Period

FEBRUARY = Period(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))


def line(number: int = 1, **changed: object) -> InvoiceLine:
    made = InvoiceLine(
        line_id=f"line-{number}",
        line_key=f"usage:{number}",
        position=number,
        kind="usage",
        description=f"Tokens: user-{number}",
        period=FEBRUARY,
        quantity=Decimal("1234567.5"),
        unit="token",
        unit_price=Decimal("0.0000125"),
        exact_amount=Decimal("15.43209375"),
        amount=Decimal("15.43"),
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def document(*lines: InvoiceLine, locale: str = "en") -> InvoiceDocument:
    account = BillingAccount(
        tenant_id="acme",
        account_id="acme-account",
        display_name="Acme",
        currency_code="EUR",
        created_at=FEBRUARY.start,
        updated_at=FEBRUARY.start,
        particulars=Particulars(
            legal_name='Acme "North" #1',
            address=Address(country_code="CH", line1="Gasse 1", city="Bern"),
            tax_ids=(TaxId("eu_vat", "CHE-123"),),
            bank_details="IBAN CH00",
        ),
    )
    invoice = Invoice(
        tenant_id="acme",
        invoice_id="one",
        account_id="acme-account",
        kind=InvoiceKind.PERIOD,
        state=InvoiceState.OPEN,
        period=FEBRUARY,
        currency_code="EUR",
        subtotal=Decimal("15.43"),
        discount_total=Decimal(0),
        credit_total=Decimal(0),
        tax_total=Decimal("1.25"),
        total=Decimal("16.68"),
        line_count=len(lines),
        created_at=FEBRUARY.end,
        issued_at=FEBRUARY.end,
        number="INV-0A1B2C3D-000042",
        taxes=(
            InvoiceTax(
                tax_rate_id="ch",
                display_name="VAT",
                rate_ratio=Decimal("0.081"),
                taxable=Decimal("15.43"),
                amount=Decimal("1.25"),
            ),
        ),
        exchange_rates=(
            ExchangeRate(
                from_currency="USD",
                to_currency="EUR",
                rate=Decimal("0.9123"),
                rate_date=date(2026, 2, 27),
                source="ECB",
            ),
        ),
    )
    dimension = Dimension(
        dimension_id="7", resource_type="llm", unit="token", currency_code="USD", tags={}
    )
    usage = [
        (each, dimension, Metered(quantity=Decimal(5), cost=Decimal(0), events=2)) for each in lines
    ]
    return InvoiceDocument(
        invoice=invoice, account=account, lines=lines, usage=usage, locale=locale
    )


def test_a_pdf_is_the_same_bytes_whenever_it_is_made() -> None:
    first = typeset(document(line()))

    assert first.startswith(b"%PDF")
    assert typeset(document(line())) == first


def test_lines_tax_and_exchange_rate_with_its_day_are_printed() -> None:
    text = markup_of(document(line()))

    assert "INV-0A1B2C3D-000042" in text
    assert "VAT 8.1 % on 15.43" in text
    assert "1 USD = 0.9123 EUR" in text
    assert "ECB, 2026-02-27" in text
    assert "1,234,567.5" in text


def test_numbers_and_words_are_those_of_the_locale() -> None:
    text = markup_of(document(line(amount=Decimal("1515.43")), locale="de-DE"))

    assert "Rechnung INV" in text
    assert "1.515,43" in text


@pytest.mark.parametrize("text", ['"#evil[', "back\\slash", "#import", "two\nlines", "$x$"])
def test_what_came_from_outside_is_text_and_no_markup(text: str) -> None:
    assert typeset(document(line(description=text))).startswith(b"%PDF")


def test_a_long_invoice_goes_on_over_pages_and_its_appendix_says_where_it_ends() -> None:
    made = document(*(line(number) for number in range(1, 1_001)))

    assert typeset(made).startswith(b"%PDF")
    assert "500 more rows; the CSV file has all of them." in markup_of(made)
    assert markup_of(made).count("#columns-of-lines") == 1_000 // 50


def test_a_csv_row_has_every_column_and_no_formula() -> None:
    made = document(line(description="=HYPERLINK(1)"))
    buffer = io.StringIO()
    csv.writer(buffer).writerow(_csv_row(made.invoice, made.lines[0]))

    row = dict(zip(CSV_COLUMNS, next(csv.reader([buffer.getvalue()])), strict=True))

    assert row["description"] == "'=HYPERLINK(1)"
    assert row["exact_amount"] == "15.43209375"
    assert row["amount"] == "15.43"
