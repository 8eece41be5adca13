"""What is inefficient: failures, idle capacity, peaks, what is unusual."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from services.reporting.domain.anomaly.anomaly import Anomaly
from services.reporting.domain.figures import link
from services.reporting.domain.report.document import Form, Number, Paragraph, Table, Tile
from services.reporting.domain.report.frame import Frame, count
from services.reporting.domain.usage_analysis import UsageAnalysis

ANOMALIES_MAX: Final = 15
HUNDRED: Final = Decimal(100)


def analysis_link(frame: Frame) -> str:
    """Returns where an analysis is from."""
    return link(
        "usage-analytics",
        {
            "start": frame.period.start.isoformat(),
            "end": frame.period.end.isoformat(),
            "filter": frame.filter,
            "currency": frame.currency_code,
        },
    )


def efficiency_tiles(frame: Frame, analysis: UsageAnalysis) -> tuple[Tile, ...]:
    """Returns score, failures and their cost."""
    words, query = frame.words, analysis_link(frame)
    failed = Number(analysis.failed_share, Form.RATIO, "", query, words.word("Failed"))
    note = words.say("{share} of all", share=failed)
    return (
        Tile(
            words.word("Efficiency"),
            Number(analysis.score / HUNDRED, Form.RATIO, "", query),
            words.say("weighted mean of its parts"),
        ),
        Tile(words.word("Failed operations"), count(analysis.failed_events, query), note),
        Tile(
            words.word("Cost of failures"),
            frame.money(analysis.failed_cost, query),
            words.say(
                "{retries} retries", retries=count(analysis.retries, query, words.word("Retries"))
            ),
        ),
    )


def efficiency_table(frame: Frame, analysis: UsageAnalysis) -> Table:
    """Returns the parts of the score with what they say."""
    words, query = frame.words, analysis_link(frame)
    return Table(
        title=words.word("Parts of the efficiency"),
        columns=(
            words.word("Part"),
            words.word("What it says"),
            words.word("Score"),
            words.word("Weight"),
        ),
        rows=tuple(
            (
                words.word(part.name),
                part.explanation,
                Number(part.score / HUNDRED, Form.RATIO, "", query),
                Number(part.weight, Form.RATIO, "", query),
            )
            for part in analysis.parts
        ),
        text_columns=(1,),
    )


def error_table(frame: Frame, analysis: UsageAnalysis) -> Table:
    """Returns failures by error code, costliest first."""
    words, query = frame.words, analysis_link(frame)
    return Table(
        title=words.word("Failures by error"),
        columns=(words.word("Error"), words.word("Failed"), words.word("Billed cost")),
        rows=tuple(
            (
                each.error_code or words.word("(not set)"),
                count(each.failed_events, query),
                frame.money(each.cost, query),
            )
            for each in analysis.errors
        ),
    )


def peak_table(frame: Frame, analysis: UsageAnalysis) -> Table:
    """Returns the busiest hours."""
    words, query = frame.words, analysis_link(frame)
    return Table(
        title=words.word("Busiest hours, in {unit}", unit=analysis.unit),
        columns=(words.word("Hour"), words.word("Quantity"), words.word("Times the mean hour")),
        rows=tuple(
            (
                f"{each.start_at.astimezone(frame.tz):%Y-%m-%d %H:%M}",
                Number(each.quantity, Form.QUANTITY, "", query),
                Number(each.ratio_to_mean, Form.QUANTITY, "", query),
            )
            for each in analysis.peaks
        ),
    )


def capacity_text(frame: Frame, analysis: UsageAnalysis) -> Paragraph:
    """Says when demand reaches capacity; empty without samples of it."""
    words, query = frame.words, analysis_link(frame)
    if analysis.capacity is None:
        return ()
    used = Number(analysis.capacity.utilization, Form.RATIO, "", query, words.word("Utilization"))
    if analysis.capacity.days_until_full is None:
        return words.say("Capacity is used by {used}; its end is not in sight.", used=used)
    days = count(analysis.capacity.days_until_full, query, words.word("Days until full"))
    return words.say("Capacity is used by {used} and full in {days} days.", used=used, days=days)


def anomaly_table(frame: Frame, anomalies: Sequence[Anomaly]) -> Table:
    """Returns what was unusual in the period, largest impact first."""
    words = frame.words
    found = sorted(
        (each for each in anomalies if each.start_at in frame.period),
        key=lambda each: -abs(each.impact),
    )
    return Table(
        title=words.word("Unusual cost"),
        columns=(
            words.word("Where"),
            words.word("From"),
            words.word("Expected"),
            words.word("Observed"),
            words.word("Impact"),
            words.word("State"),
        ),
        rows=tuple(
            (
                ", ".join(each.scope.named.values()) or words.word("(not set)"),
                f"{each.start_at.astimezone(frame.tz):%Y-%m-%d}",
                *(
                    Number(value, form, each.scope.currency_code, anomaly_link(each))
                    for value, form in (
                        (each.expected, Form.MONEY),
                        (each.observed, Form.MONEY),
                        (each.impact, Form.MONEY_CHANGE),
                    )
                ),
                words.word(each.state.name.lower()),
            )
            for each in found[:ANOMALIES_MAX]
        ),
        text_columns=(1, 5),
    )


def anomaly_link(anomaly: Anomaly) -> str:
    """Returns where an anomaly's figures are from."""
    return link(f"anomalies/{anomaly.anomaly_id}")
