"""What may be saved, in a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.reporting.domain.chart.rows import SavingChoice, to_json
from services.reporting.domain.figures import link
from services.reporting.domain.recommendations import OpenRecommendation, OpenSavings
from services.reporting.domain.report.document import ChartPlace, Form, Number, Paragraph, Table
from services.reporting.domain.report.frame import Frame

SHOWN_MAX: Final = 10
LIST: Final = "recommendations"
PRIORITIES: Final = "recommendation-priorities"
EFFORTS: Final = ("low", "medium", "high")
CHOICES_MIN: Final = 2


def recommendation_link(one: OpenRecommendation) -> str:
    """Returns where a recommendation is from."""
    return link(f"{LIST}/{one.recommendation_id}")


def joint_number(frame: Frame, savings: OpenSavings) -> Number:
    """Returns what all open recommendations save together in a month."""
    query = link(LIST, {"currency": frame.currency_code})
    label = frame.words.word("Open savings a month")
    return Number(savings.joint, Form.MONEY, savings.currency_code, query, label)


def savings_text(frame: Frame, savings: OpenSavings) -> Paragraph:
    """Says what may be saved."""
    words = frame.words
    if not savings.items:
        return words.say("The optimizer has no open recommendation.")
    return words.say(
        "{count} open recommendations save {amount} a month together, overlaps counted once.",
        count=str(len(savings.items)),
        amount=joint_number(frame, savings),
    )


def savings_charts(frame: Frame, items: Sequence[OpenRecommendation]) -> tuple[ChartPlace, ...]:
    """Returns what to do first, by effort and saving; nothing where there is no choice."""
    choices = [
        SavingChoice(one.title, one.effort, one.monthly_saving)
        for one in items[:SHOWN_MAX]
        if one.effort in EFFORTS and one.currency_code == frame.currency_code
    ]
    if len(choices) < CHOICES_MIN:
        return ()
    title = frame.words.word("What to do first: saving a month by effort")
    rows = tuple(to_json(choice) for choice in choices)
    return (ChartPlace(PRIORITIES, title, title, rows),)


def savings_table(frame: Frame, items: Sequence[OpenRecommendation]) -> Table:
    """Returns the best recommendations by rank."""
    words = frame.words
    return Table(
        title=words.word("Best recommendations"),
        columns=(
            words.word("Recommendation"),
            words.word("Effort"),
            words.word("Risk"),
            words.word("Saves a month"),
            words.word("At least"),
            words.word("Confidence"),
        ),
        rows=tuple(
            (
                one.title,
                words.word(one.effort),
                words.word(one.risk),
                Number(one.monthly_saving, Form.MONEY, one.currency_code, recommendation_link(one)),
                Number(one.monthly_lower, Form.MONEY, one.currency_code, recommendation_link(one)),
                Number(one.confidence, Form.RATIO, "", recommendation_link(one)),
            )
            for one in items[:SHOWN_MAX]
        ),
        text_columns=(1, 2),
    )
