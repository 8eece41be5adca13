"""What every section of a report shares: time, money, scope and words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from services.kernel.money import EXACT
from services.kernel.period import Granularity, Period
from services.reporting.domain.costs import CostQuestion
from services.reporting.domain.figures import costs_link, group_question
from services.reporting.domain.report.document import Cell, Form, Number
from services.reporting.domain.report.wording import Wording

RATIO_DIGITS = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Frame:
    """The scope of a report. group_by: empty is as the kind needs. digits: of the minor unit."""

    tenant_id: str
    period: Period
    tz: ZoneInfo
    currency_code: str
    digits: int
    filter: str
    group_by: tuple[str, ...]
    words: Wording
    now: datetime

    def question(
        self,
        *group_by: str,
        granularity: Granularity = Granularity.TOTAL,
        has_previous: bool = False,
        is_allocated: bool = False,
    ) -> CostQuestion:
        """Returns a question within the report's scope."""
        return CostQuestion(
            tenant_id=self.tenant_id,
            period=self.period,
            group_by=group_by,
            granularity=granularity,
            filter=self.filter,
            currency_code=self.currency_code,
            has_previous=has_previous,
            is_allocated=is_allocated,
        )

    def money(self, value: Decimal, query: str, label: str = "") -> Number:
        """Returns an amount of the report's currency."""
        return Number(value, Form.MONEY, self.currency_code, query, label)

    def difference(self, now: Decimal, then: Decimal, query: str, label: str = "") -> Number:
        """Returns how much an amount changed."""
        return Number(
            EXACT.subtract(now, then), Form.MONEY_CHANGE, self.currency_code, query, label
        )

    def change(self, now: Decimal, then: Decimal, query: str, label: str = "") -> Cell:
        """Returns by which share an amount changed; a word where there was nothing before."""
        if not then:
            return self.words.word("new") if now else ""
        return Number(share(now - then, abs(then)), Form.CHANGE, "", query, label)


def share(part: Decimal, whole: Decimal) -> Decimal:
    """Returns part / whole with six digits, zero of nothing."""
    return (part / whole).quantize(RATIO_DIGITS) if whole else Decimal(0)


def count(value: int, query: str, label: str = "") -> Number:
    """Returns a number of things."""
    return Number(Decimal(value), Form.COUNT, "", query, label)


def group_link(question: CostQuestion, group: tuple[str, ...]) -> str:
    """Returns where the cost of one group of an answer is from."""
    return costs_link(group_question(question, group))


def name_of(group: tuple[str, ...], words: Wording) -> str:
    """Returns a name of a group for people; "" where usage says nothing is named as such."""
    return " / ".join(value or words.word("(not set)") for value in group)
