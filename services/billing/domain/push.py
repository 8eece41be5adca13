"""How an invoice is cut into requests, and the fence before it is finalized: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal

from services.billing.domain.provider import PushedInvoice, PushedLine, RemoteInvoice, RemoteState
from services.kernel.money import EXACT, add_exactly
from services.kernel.period import Period

LINES_MAX = 250  # Stripe's own bound on the items of an invoice
CHUNK = 100  # lines of one request
DESCRIPTION_MAX = 500


def grouped(lines: Sequence[PushedLine]) -> list[PushedLine]:
    """Returns the lines as sent: each, or one a tax rate where there are more than 250.

    The document and the CSV have every line; the sums are equal to the last minor unit.
    """
    if len(lines) <= LINES_MAX:
        return list(lines)
    groups: dict[tuple[str, Decimal], list[PushedLine]] = {}
    for line in lines:
        groups.setdefault((line.tax_name, line.tax_ratio), []).append(line)
    return [
        PushedLine(
            line_id=f"group-{number}",
            description=f"{len(found)} lines, see the attached document",
            amount=add_exactly(line.amount for line in found),
            tax_amount=add_exactly(line.tax_amount for line in found),
            tax_name=found[0].tax_name,
            tax_ratio=found[0].tax_ratio,
            period=Period(
                min(line.period.start for line in found), max(line.period.end for line in found)
            ),
        )
        for number, found in enumerate(groups.values(), start=1)
    ]


def chunks(lines: Sequence[PushedLine]) -> list[Sequence[PushedLine]]:
    """Returns the lines of each request."""
    return [lines[index : index + CHUNK] for index in range(0, len(lines), CHUNK)]


def fence(invoice: PushedInvoice, remote: RemoteInvoice) -> str:
    """Returns what the provider's draft has wrong; "" when it is exactly ours.

    An invoice that is not exactly ours is never finalized: this is what keeps a line that was sent
    twice from being charged twice.
    """
    if remote.state is not RemoteState.DRAFT:
        return f"it is {remote.state.value}, not a draft"
    if remote.currency_code != invoice.currency_code:
        return f"its currency is {remote.currency_code}, not {invoice.currency_code}"
    wanted = Counter((line.line_id, line.amount, line.tax_amount) for line in invoice.lines)
    there = Counter((line.line_id, line.amount, line.tax_amount) for line in remote.lines)
    if wanted != there:
        missing, extra = (_total(wanted - there), _total(there - wanted))
        return f"{missing} lines are missing or differ, {extra} are not ours"
    if remote.total != invoice.total:
        return f"its total is {remote.total}, not {invoice.total}"
    tax = add_exactly(line.tax_amount for line in remote.lines)
    if EXACT.compare(tax, invoice.tax_total):
        return f"its tax is {tax}, not {invoice.tax_total}"
    return ""


def missing_lines(lines: Iterable[PushedLine], remote: RemoteInvoice) -> int:
    """Returns how many of the lines the provider does not have."""
    there = {line.line_id for line in remote.lines}
    return sum(line.line_id not in there for line in lines)


def _total(counted: Counter[tuple[str, Decimal, Decimal]]) -> int:
    return sum(counted.values())
