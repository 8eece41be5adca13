"""Credit notes."""

from __future__ import annotations

from sqlalchemy import CHAR, Column, Integer, Table, Text

from services.billing.tables.base import INSTANT, MONEY, metadata

credit_note = Table(
    "credit_note",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("credit_note_id", Text, primary_key=True),
    Column("invoice_id", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("settlement", Text, nullable=False),
    Column("currency_code", CHAR(3), nullable=False),
    Column("subtotal", MONEY, nullable=False),
    Column("tax_total", MONEY, nullable=False),
    Column("total", MONEY, nullable=False),
    Column("author", Text, nullable=False),
    Column("approver", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("void_reason", Text, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("settled_at", INSTANT),
)

credit_note_line = Table(
    "credit_note_line",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("credit_note_id", Text, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("line_id", Text, nullable=False),
    Column("amount", MONEY, nullable=False),
    Column("tax_amount", MONEY, nullable=False),
)
