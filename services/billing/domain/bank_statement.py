"""Bank statements: CSV with named columns, or camt.053; only money that came in. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from xml.etree import ElementTree as ET

from services.billing.errors import InvalidStatement
from services.kernel.money import Money, parse_decimal

ROWS_MAX = 100_000
COLUMNS = ("date", "amount", "currency", "reference")


@dataclass(frozen=True, slots=True)
class StatementRow:
    """One credit. row_number: from 1. text: what the payer wrote, which names an invoice."""

    row_number: int
    reference: str
    text: str
    amount: Money
    value_at: datetime


def read_statement(content: bytes, kind: str) -> list[StatementRow]:
    """Reads a statement. kind: `csv`, `camt053`, or "" to find out. Raises InvalidStatement."""
    is_xml = content.lstrip()[:1] == b"<" if not kind else kind == "camt053"
    try:
        rows = list(_camt(content) if is_xml else _csv(content))
    except (ValueError, KeyError, TypeError, ET.ParseError) as error:
        raise InvalidStatement(f"The statement cannot be read: {error}"[:300]) from error
    if len(rows) > ROWS_MAX:
        raise InvalidStatement(f"A statement has at most {ROWS_MAX} rows.")
    return rows


def _csv(content: bytes) -> Iterator[StatementRow]:
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise InvalidStatement(f"The CSV lacks the columns {', '.join(missing)}.")
    for number, row in enumerate(reader, start=1):
        if row["amount"].startswith("-"):
            continue
        text = f"{row['reference']} {row.get('text') or ''}"
        yield StatementRow(
            row_number=number,
            reference=row["reference"].strip(),
            text=text,
            amount=Money(row["currency"].strip(), parse_decimal(row["amount"].strip())),
            value_at=_midnight(row["date"].strip()),
        )


def _camt(content: bytes) -> Iterator[StatementRow]:
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise InvalidStatement("A statement declares no entities.")
    root = ET.fromstring(content)  # noqa: S314 - without entities there is nothing to expand
    for number, entry in enumerate(root.iterfind(".//{*}Ntry"), start=1):
        if entry.findtext("{*}CdtDbtInd") != "CRDT":
            continue
        amount = entry.find("{*}Amt")
        if amount is None or amount.text is None:
            raise InvalidStatement(f"Entry {number} has no amount.")
        texts = [found.text or "" for found in entry.iterfind(".//{*}Ustrd")]
        texts += [found.text or "" for found in entry.iterfind(".//{*}CdtrRefInf/{*}Ref")]
        reference = (
            entry.findtext("{*}AcctSvcrRef")
            or entry.findtext(".//{*}AcctSvcrRef")
            or entry.findtext(".//{*}EndToEndId")
            or ""
        )
        day = entry.findtext("{*}ValDt/{*}Dt") or entry.findtext("{*}BookgDt/{*}Dt") or ""
        yield StatementRow(
            row_number=number,
            reference=reference.strip(),
            text=" ".join([reference, *texts]),
            amount=Money(amount.attrib["Ccy"], parse_decimal(amount.text.strip())),
            value_at=_midnight(day),
        )


def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(), UTC)
